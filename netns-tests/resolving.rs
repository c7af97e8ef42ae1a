//! `buoy dns` beside real daemons, asked by real resolvers: unbound and BIND 9.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use buoy::lab::fault::Fault;
use buoy::lab::namespace::Namespace;
use buoy::lab::plan::{Shape, vip};
use buoy::lab::process::Process;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PROGRAM, SOON, Scene, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] =
    &[("resolvers_get_what_is_in_service", resolvers_get_what_is_in_service)];

const ZONE: &str = "ha.example.net";
const UNBOUND: (&str, &str, u16) = ("/usr/sbin/unbound", "unbound", 5301);
const NAMED: (&str, &str, u16) = ("/usr/sbin/named", "bind9", 5302);
/// The client's address: a name server on a host without a daemon.
const REMOTE: &str = "10.77.0.1";
/// A resolver asks a server that has failed again after some seconds.
const RESOLVED: Duration = Duration::from_secs(60);

type Failure = Box<dyn std::error::Error>;

fn server(node: usize) -> String {
    Shape::node_address(u8::try_from(node).unwrap_or(u8::MAX), 0).to_string()
}

/// Starts the name server of a node, at port 53 of its own address.
fn serve(scene: &Scene, node: usize) -> Result<Process, Failure> {
    let socket = scene.cluster.runtime_directory(node).join("status.sock");
    let log = scene.cluster.node_directory(node).join("dns.log");
    let at = scene.cluster.namespace(node);
    serve_from(at, &server(node), &socket.display().to_string(), &log)
}

fn serve_from(
    namespace: &Namespace,
    address: &str,
    source: &str,
    log: &Path,
) -> Result<Process, Failure> {
    let arguments = [
        "dns".to_owned(),
        format!("--zone={ZONE}"),
        format!("--listen={address}:53"),
        format!("--server=ns0={}", server(0)),
        format!("--server=ns1={}", server(1)),
        "--ttl=1s".to_owned(),
        format!("--source={source}"),
    ];
    Ok(Process::start(namespace, Path::new(PROGRAM), &arguments, log)?)
}

/// Starts the page of a node and, on the client's host, a name server that reads it.
fn serve_remotely(scene: &Scene, node: usize) -> Result<[Process; 2], Failure> {
    let directory = scene.cluster.node_directory(node);
    let page = format!("{}:4749", server(node));
    let socket = scene.cluster.runtime_directory(node).join("status.sock");
    let arguments =
        ["serve".to_owned(), format!("--listen={page}"), format!("--socket={}", socket.display())];
    let (at, log) = (scene.cluster.namespace(node), directory.join("serve.log"));
    let serve = Process::start(at, Path::new(PROGRAM), &arguments, &log)?;
    let dns = serve_from(scene.cluster.client(), REMOTE, &page, &directory.join("remote-dns.log"))?;
    Ok([serve, dns])
}

/// Starts a resolver in the client's network, to which the zone is delegated.
fn resolver(
    scene: &Scene,
    (program, package, port): (&str, &str, u16),
) -> Result<Process, Failure> {
    if !Path::new(program).exists() {
        return Err(format!("{program} is missing: install the package {package}").into());
    }
    let directory = scene.cluster.node_directory(0).join(package);
    std::fs::create_dir_all(&directory)?;
    let (path, one, two) = (directory.display(), server(0), server(1));
    let (text, arguments) = if program == UNBOUND.0 {
        let text = format!(
            "server:\n  interface: 127.0.0.1@{port}\n  do-daemonize: no\n  username: \"\"\n  \
             chroot: \"\"\n  pidfile: \"\"\n  directory: \"{path}\"\n  use-syslog: no\n  \
             module-config: \"iterator\"\n  infra-host-ttl: 1\n\
             stub-zone:\n  name: \"{ZONE}\"\n  stub-addr: {one}\n  stub-addr: {two}\n"
        );
        (text, vec!["-d".to_owned(), "-c".to_owned()])
    } else {
        let text = format!(
            "options {{ directory \"{path}\"; listen-on port {port} {{ 127.0.0.1; }}; \
             listen-on-v6 {{ none; }}; recursion yes; dnssec-validation no; pid-file none; \
             session-keyfile none; servfail-ttl 0; }};\ncontrols {{ }};\nzone \"{ZONE}\" {{ \
             type static-stub; server-addresses {{ {one}; {two}; }}; }};\n"
        );
        (text, vec!["-g".to_owned(), "-n".to_owned(), "1".to_owned(), "-c".to_owned()])
    };
    let file = directory.join("conf");
    std::fs::write(&file, text)?;
    let arguments: Vec<_> = arguments.into_iter().chain([file.display().to_string()]).collect();
    let log = directory.join("log");
    Ok(Process::start(scene.cluster.client(), Path::new(program), &arguments, &log)?)
}

/// The records that a name server or resolver answers with, in order; an error if it does not.
fn ask(scene: &Scene, at: &str, port: u16, name: &str, kind: &str) -> Result<Vec<String>, String> {
    let (at, port) = (format!("@{at}"), port.to_string());
    let name = if name.is_empty() { ZONE.to_owned() } else { format!("{name}.{ZONE}") };
    let words = [at.as_str(), "-p", &port, "+timeout=2", "+retry=0", &name, kind];
    let text = scene.cluster.client().output("kdig", &words).map_err(|error| error.to_string())?;
    let status = text.split("status: ").nth(1).and_then(|rest| rest.split(';').next());
    if status != Some("NOERROR") {
        return Err(status.map_or_else(|| text.clone(), str::to_owned));
    }
    let section = text.split(";; ANSWER SECTION:\n").nth(1).unwrap_or_default();
    let mut answers: Vec<_> = section
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().collect::<Vec<_>>().get(4).copied())
        .map(str::to_owned)
        .collect();
    answers.sort_unstable();
    Ok(answers)
}

/// Waits until a name server or resolver answers with these records.
fn answers(scene: &Scene, (at, port): (&str, u16), name: &str, expected: &[String]) -> Outcome {
    until(&format!("{at}:{port} answers {name} with {expected:?}"), RESOLVED, || {
        match ask(scene, at, port, name, "A")? {
            seen if seen == expected => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
}

fn resolvers_get_what_is_in_service() -> Outcome {
    with(&Shape::of_the_story(), |scene| {
        scene.cluster.client().ip("link set lo up\n")?;
        let _servers = [serve(scene, 0)?, serve(scene, 1)?];
        let _resolvers = [resolver(scene, UNBOUND)?, resolver(scene, NAMED)?];
        let resolvers = [("127.0.0.1", UNBOUND.2), ("127.0.0.1", NAMED.2)];
        let web: Vec<_> = (100..=105).map(|last| vip(last).to_string()).collect();
        let ledger = [vip(110).to_string()];
        for resolver in resolvers {
            answers(scene, resolver, "web", &web)?;
            answers(scene, resolver, "ledger", &ledger)?;
            let absent = ask(scene, resolver.0, resolver.1, "absent", "A");
            assert_eq!(absent, Err("NXDOMAIN".to_owned()));
            assert_eq!(ask(scene, resolver.0, resolver.1, "web", "AAAA")?, ["fd77::105"]);
            assert_eq!(ask(scene, resolver.0, resolver.1, "web", "MX")?, Vec::<String>::new());
        }
        let _remote = serve_remotely(scene, 1)?;
        answers(scene, (REMOTE, 53), "web", &web)?;
        let servers = ask(scene, &server(0), 53, "", "NS")?;
        assert_eq!(servers, [format!("ns0.{ZONE}."), format!("ns1.{ZONE}.")]);

        // The side without a majority serves nothing of the pool in mode majority, and says so.
        Fault::Split.begin(&mut scene.cluster, 0)?;
        answers(scene, (&server(0), 53), "ledger", &[])?;
        answers(scene, (&server(1), 53), "ledger", &ledger)?;
        Fault::Split.end(&mut scene.cluster, 0)?;
        answers(scene, (&server(0), 53), "ledger", &ledger)?;

        // A name server whose daemon is gone knows nothing; resolvers go on with the other.
        scene.cluster.signal_family(0, Signal::SIGKILL);
        until("it says that it knows nothing", SOON, || {
            match ask(scene, &server(0), 53, "web", "A") {
                Err(code) if code == "SERVFAIL" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })?;
        for resolver in resolvers {
            answers(scene, resolver, "web", &web)?;
        }
        Ok(())
    })
}
