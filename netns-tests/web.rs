//! A real HAProxy on every node, and a client that asks one address over and over.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::namespace::Namespace;
use buoy::lab::plan::{Configuration, Shape};
use buoy::lab::process::Process;

use crate::Outcome;
use crate::scene::{SOON, Scene, with_plan};
use crate::until::until;

/// Where Debian installs it.
const PROGRAM: &str = "/usr/sbin/haproxy";
const NGINX: &str = "/usr/sbin/nginx";
/// Its stats socket, in each node's own network.
pub(crate) const STATS: &str = "127.0.0.1:9999";
/// The socket of its master process, where it has one.
pub(crate) const MASTER: &str = "127.0.0.1:9998";
/// A request that takes longer has failed: many times what one takes here.
const REQUEST_WITHIN: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(3);

/// Makes a cluster whose file has these tables behind its own; starts nothing.
pub(crate) fn with_tables(
    shape: &Shape,
    tables: &str,
    test: impl FnOnce(&mut Scene) -> Outcome,
) -> Outcome {
    let mut plan = shape.plan();
    plan.configuration = Configuration::Text(format!("{}\n{tables}\n", shape.text()));
    with_plan(plan, |scene| {
        for node in 0..scene.cluster.nodes() {
            scene.cluster.namespace(node).ip("link set lo up\n")?;
        }
        test(scene)
    })
}

/// Starts every daemon and waits until all is served and at rest.
pub(crate) fn start(scene: &mut Scene) -> Outcome {
    scene.cluster.start_all()?;
    started(scene)
}

/// Waits until daemons that were started serve every address.
pub(crate) fn started(scene: &mut Scene) -> Outcome {
    until("every address is served by one node", SOON, || scene.each_on_one_node())?;
    scene.at_rest()
}

/// Starts a HAProxy on a node, which answers with the node's name, and waits until it listens.
pub(crate) fn start_haproxy(
    scene: &Scene,
    node: usize,
) -> Result<Process, Box<dyn std::error::Error>> {
    let name = scene.cluster.name(node);
    let answers = format!("http-request return status 200 content-type text/plain string {name}");
    start_haproxy_with(scene, node, (&answers, &format!("server self {STATS}")))
}

/// The same, with what its frontend does and the server behind it.
pub(crate) fn start_haproxy_with(
    scene: &Scene,
    node: usize,
    (frontend, server): (&str, &str),
) -> Result<Process, Box<dyn std::error::Error>> {
    start_haproxy_in(scene, node, &["-db"], (frontend, server))
}

/// One that begins anew when it is sent SIGUSR2 or its master is asked to reload, and lets what it has finish.
pub(crate) fn start_haproxy_that_reloads(
    scene: &Scene,
    node: usize,
) -> Result<Process, Box<dyn std::error::Error>> {
    let name = scene.cluster.name(node);
    let answers = format!("http-request return status 200 content-type text/plain string {name}");
    start_haproxy_in(
        scene,
        node,
        &["-W", "-S", MASTER],
        (&answers, &format!("server self {STATS}")),
    )
}

fn start_haproxy_in(
    scene: &Scene,
    node: usize,
    mode: &[&str],
    (frontend, server): (&str, &str),
) -> Result<Process, Box<dyn std::error::Error>> {
    let directory = scene.cluster.node_directory(node);
    let text = format!(
        "global\n  stats socket ipv4@{STATS} level user\n  \
         stats socket {} level admin expose-fd listeners\n  nbthread 1\n  maxconn 1000\n\
         defaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n\
         frontend www\n  bind :::80 v4v6\n  \
         http-after-response set-header Connection close if {{ dst -f {} }}\n  {frontend}\n\
         backend app\n  {server}\n",
        directory.join("haproxy.sock").display(),
        draining_list()?.display()
    );
    let file = directory.join("haproxy.cfg");
    std::fs::write(&file, text)?;
    if !Path::new(PROGRAM).exists() {
        return Err(format!("{PROGRAM} is missing: install the package haproxy").into());
    }
    let mut arguments: Vec<String> = mode.iter().map(|word| (*word).to_owned()).collect();
    arguments.extend(["-f".to_owned(), file.display().to_string()]);
    let namespace = scene.cluster.namespace(node);
    let log = directory.join("haproxy.log");
    let process = Process::start(namespace, Path::new(PROGRAM), &arguments, &log)?;
    listens(scene, node, (STATS, &log))?;
    Ok(process)
}

/// Waits until something listens at this address in the network of a node.
fn listens(scene: &Scene, node: usize, (at, log): (&str, &Path)) -> Outcome {
    let at: SocketAddr = at.parse()?;
    until("it listens", SOON, || {
        let connect = || TcpStream::connect_timeout(&at, REQUEST_WITHIN);
        match scene.cluster.namespace(node).run(connect) {
            Ok(Ok(_)) => Ok(()),
            other => {
                Err(format!("{other:?}: {}", std::fs::read_to_string(log).unwrap_or_default()))
            }
        }
    })
}

/// The list of drained addresses that the HAProxies of all nodes know by this name, empty as a file.
fn draining_list() -> std::io::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("buoy-draining-{}.lst", std::process::id()));
    std::fs::write(&path, "")?;
    Ok(path)
}

/// The table that has them told of drains.
pub(crate) fn haproxy_table() -> std::io::Result<String> {
    let list = draining_list()?;
    Ok(format!("[haproxy]\nsocket = \"{STATS}\"\ndraining_list = \"{}\"\n", list.display()))
}

/// The drained addresses that the HAProxy of a node knows.
pub(crate) fn drained_at(
    scene: &Scene,
    node: usize,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let (stats, list) = (STATS.parse()?, draining_list()?);
    let ask = move || {
        let mut stream = TcpStream::connect_timeout(&stats, REQUEST_WITHIN)?;
        stream.write_all(format!("show acl {}\n", list.display()).as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = scene.cluster.namespace(node).run(ask)??;
    let entry = |line: &str| Some(line.split_once(' ')?.1.to_owned());
    Ok(answer.lines().filter_map(entry).collect())
}

/// Starts an nginx on a node, which answers with the node's name, and waits until it listens.
pub(crate) fn start_nginx(
    scene: &Scene,
    node: usize,
) -> Result<Process, Box<dyn std::error::Error>> {
    start_nginx_at(scene, node, 80)
}

/// The same at another port.
pub(crate) fn start_nginx_at(
    scene: &Scene,
    node: usize,
    port: u16,
) -> Result<Process, Box<dyn std::error::Error>> {
    start_nginx_in(scene, node, ("master_process off;", &format!("{port} ipv6only=off")))
}

/// One for HTTP/2 that begins anew when it is sent SIGHUP, and lets what it has finish.
pub(crate) fn start_nginx_that_reloads(
    scene: &Scene,
    node: usize,
) -> Result<Process, Box<dyn std::error::Error>> {
    start_nginx_in(scene, node, ("worker_processes 1;", "80 ipv6only=off http2"))
}

fn start_nginx_in(
    scene: &Scene,
    node: usize,
    (processes, listen): (&str, &str),
) -> Result<Process, Box<dyn std::error::Error>> {
    let port = listen.split(' ').next().unwrap_or_default();
    let directory = scene.cluster.node_directory(node);
    let (name, place) = (scene.cluster.name(node), directory.display());
    let text = format!(
        "daemon off;\n{processes}\npid {place}/nginx.pid;\n\
         error_log {place}/nginx.log;\nevents {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000;\n  \
         client_body_temp_path {place}/body;\n  proxy_temp_path {place}/proxy;\n  \
         fastcgi_temp_path {place}/fastcgi;\n  uwsgi_temp_path {place}/uwsgi;\n  \
         scgi_temp_path {place}/scgi;\n  server {{\n    listen [::]:{listen};\n    \
         location / {{ return 200 \"{name}\"; }}\n  }}\n}}\n"
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, text)?;
    if !Path::new(NGINX).exists() {
        return Err(format!("{NGINX} is missing: install the package nginx-light").into());
    }
    let log = directory.join("nginx.log");
    let namespace = scene.cluster.namespace(node);
    let words = ["-c", &file.display().to_string(), "-e", &log.display().to_string()];
    let process = Process::start(namespace, Path::new(NGINX), &words.map(str::to_owned), &log)?;
    listens(scene, node, (&format!("127.0.0.1:{port}"), &log))?;
    Ok(process)
}

/// What a client saw of one address.
pub(crate) struct Load {
    /// Requests made.
    pub(crate) requests: usize,
    /// When each request that failed began and ended, and why.
    pub(crate) failed: Vec<(Instant, Instant, String)>,
    /// Longest time without a good answer, measured from one to the next.
    pub(crate) gap: Duration,
    /// Who answered last.
    pub(crate) last: String,
}

/// Asks the address over new connections, one after the other, while `act` happens.
pub(crate) fn under_load(
    scene: &mut Scene,
    vip: IpAddr,
    act: impl FnOnce(&mut Scene) -> Outcome,
) -> Result<Load, Box<dyn std::error::Error>> {
    let client: Namespace = scene.cluster.client().clone();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            client.enter().map_err(|error| error.to_string())?;
            Ok::<Load, String>(ask(SocketAddr::new(vip, 80), &ended))
        });
        let outcome = act(scene);
        ended.store(true, Ordering::Relaxed);
        let load = asking.join().map_err(|_| "the client panicked")??;
        outcome.map(|()| load)
    })
}

fn ask(to: SocketAddr, ended: &AtomicBool) -> Load {
    let (mut requests, mut failed, mut gap) = (0, Vec::new(), Duration::ZERO);
    let (mut last, mut good_at) = (String::new(), clock::now());
    while !ended.load(Ordering::Relaxed) {
        let begun = clock::now();
        let answer = request(to);
        let done = clock::now();
        requests += 1;
        match answer {
            Ok(answer) => {
                gap = gap.max(done.duration_since(good_at));
                good_at = done;
                last = answer;
            }
            Err(error) => failed.push((begun, done, error.to_string())),
        }
        clock::pause(PAUSE);
    }
    Load { requests, failed, gap, last }
}

/// One request over a connection of its own; the body of the answer.
pub(crate) fn request(to: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, REQUEST_WITHIN)?;
    stream.set_read_timeout(Some(REQUEST_WITHIN))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
        _ => Err(std::io::Error::other(format!("{answer:?}"))),
    }
}

/// Prints a figure beside the name of the test.
pub(crate) fn say(figure: &str) {
    let mut out = std::io::stderr();
    // Nobody to read it is no reason to fail.
    let _ = write!(out, "{figure}; ");
    let _ = out.flush();
}

/// What a node's status says of a check: its state and what it found last.
pub(crate) fn check_of(scene: &Scene, node: usize, check: &str) -> Option<(String, String)> {
    let status = scene.cluster.status(node)?;
    let rows = status["checks"].as_array()?;
    let row = rows.iter().find(|row| row["check"].as_str() == Some(check))?;
    Some((row["state"].as_str()?.to_owned(), row["last"].as_str()?.to_owned()))
}

/// Waits until a check of a node is in this state and says something that contains these words.
pub(crate) fn check_is(
    scene: &Scene,
    node: usize,
    (check, state): (&str, &str),
    words: &str,
) -> Outcome {
    let what = format!("check {check} of {} is {state}: {words}", scene.cluster.name(node));
    until(&what, SOON, || match check_of(scene, node, check) {
        Some((is, last)) if is == state && last.contains(words) => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
}
