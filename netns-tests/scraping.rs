//! `buoy serve` beside real daemons, and a real Prometheus that scrapes it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use buoy::lab::namespace::Namespace;
use buoy::lab::plan::Shape;
use buoy::lab::process::Process;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PROGRAM, SOON, Scene, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] =
    &[("a_prometheus_sees_a_node_die_and_come_back", a_prometheus_sees_a_node_die_and_come_back)];

/// Where Debian installs it.
const PROMETHEUS: &str = "/usr/bin/prometheus";
/// Its own address, in the client's network.
const QUERIES: &str = "127.0.0.1:9090";
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// An alert that holds for 2 s, seen by scrapes each second on a busy machine.
const ALARM_WITHIN: Duration = Duration::from_secs(60);

type Failure = Box<dyn std::error::Error>;

/// The body of an answer to a GET, asked from within a network.
fn get(namespace: &Namespace, at: SocketAddr, path: &str) -> Result<(u16, String), String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&at, ANSWER_WITHIN)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        // Pieces of unknown length are for later versions than this.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {at}\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = namespace.run(ask).map_err(|error| error.to_string())?;
    let text = text.map_err(|error| format!("{at}{path}: {error}"))?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("{at}: {text:?}"))?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((code.ok_or_else(|| format!("{at}: {head}"))?, body.to_owned()))
}

/// Where the page of a node listens: its own address.
fn page(node: usize) -> SocketAddr {
    SocketAddr::new(Shape::node_address(u8::try_from(node).unwrap_or(u8::MAX), 0), 4749)
}

/// Starts the page of a node.
fn serve(scene: &Scene, node: usize) -> Result<Process, Failure> {
    let directory = scene.cluster.node_directory(node);
    let socket = scene.cluster.runtime_directory(node).join("status.sock");
    let arguments = ["serve", "--listen"].map(str::to_owned).into_iter();
    let listen = [page(node).to_string(), "--socket".to_owned()];
    let arguments: Vec<String> =
        arguments.chain(listen).chain([socket.display().to_string()]).collect();
    let namespace = scene.cluster.namespace(node);
    let log = directory.join("serve.log");
    Ok(Process::start(namespace, Path::new(PROGRAM), &arguments, &log)?)
}

/// Starts a Prometheus in the client's network, with the rules of the package; those that wait for
/// 10 s wait for 2 s here.
fn start_prometheus(scene: &Scene) -> Result<Process, Failure> {
    if !Path::new(PROMETHEUS).exists() {
        return Err(format!("{PROMETHEUS} is missing: install the package prometheus").into());
    }
    let directory = scene.cluster.node_directory(0);
    let rules = include_str!("../packaging/prometheus/buoy.rules.yml");
    std::fs::write(directory.join("rules.yml"), rules.replace("for: 10s", "for: 2s"))?;
    let targets: Vec<_> =
        (0..scene.cluster.nodes()).map(|node| format!("{:?}", page(node).to_string())).collect();
    let text = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: [rules.yml]\n\
         scrape_configs:\n- job_name: buoy\n  static_configs:\n  - targets: [{}]\n",
        targets.join(", ")
    );
    let file = directory.join("prometheus.yml");
    std::fs::write(&file, text)?;
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", directory.join("prometheus").display()),
        format!("--web.listen-address={QUERIES}"),
    ];
    let log = directory.join("prometheus.log");
    Ok(Process::start(scene.cluster.client(), Path::new(PROMETHEUS), &arguments, &log)?)
}

/// The values that a query has now.
fn query(scene: &Scene, query: &str) -> Result<Vec<String>, String> {
    let at = QUERIES.parse().map_err(|error| format!("{error}"))?;
    let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let (_, body) = get(scene.cluster.client(), at, &format!("/api/v1/query?query={escaped}"))?;
    let answer: serde_json::Value =
        serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
    let result = answer["data"]["result"].as_array().ok_or(body)?;
    Ok(result.iter().filter_map(|one| one["value"][1].as_str()).map(str::to_owned).collect())
}

/// Waits until a query has these values.
fn shows(scene: &Scene, asked: &str, values: &[&str]) -> Outcome {
    until(&format!("{asked} is {values:?}"), ALARM_WITHIN, || match query(scene, asked)? {
        seen if seen == values => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
}

fn a_prometheus_sees_a_node_die_and_come_back() -> Outcome {
    with(&Shape::default(), |scene| {
        let _pages: Vec<_> = (0..3).map(|node| serve(scene, node)).collect::<Result<_, _>>()?;
        let client = scene.cluster.client();
        client.ip("link set lo up\n")?;
        for node in 0..3 {
            until("its page is there", SOON, || match get(client, page(node), "/healthz")? {
                (200, _) => Ok(()),
                other => Err(format!("{other:?}")),
            })?;
        }
        everything_counted_is_told(scene)?;
        let _prometheus = start_prometheus(scene)?;
        let groups = scene.cluster.plan.groups.len();
        let all = format!("{groups}");
        shows(scene, "sum(buoy_group_owned)", &[&all])?;
        shows(scene, "count(sum by (group) (buoy_group_owned) == 1)", &[&all])?;
        shows(scene, "sum(up)", &["3"])?;
        let firing =
            "count(ALERTS{alertname=\"BuoyNodeDead\", alertstate=\"firing\", peer=\"lb1\"})";
        assert_eq!(query(scene, firing)?, Vec::<String>::new(), "it fires before anything happens");
        scene.cluster.signal_family(0, Signal::SIGKILL);
        shows(scene, firing, &["1"])?;
        shows(scene, "buoy_up == 0", &["0"])?;
        shows(scene, "sum(buoy_group_owned)", &[&all])?;
        shows(scene, "count(buoy_group_owned)", &[&format!("{}", 2 * groups)])?;
        scene.cluster.start(0)?;
        shows(scene, firing, &[])?;
        shows(scene, "count(buoy_up == 1)", &["3"])
    })
}

/// Every counter of a daemon is in the metrics, which promtool finds well formed.
fn everything_counted_is_told(scene: &Scene) -> Outcome {
    let status = scene.cluster.status(0).ok_or("no status")?;
    let counters = status["counters"].as_object().ok_or("no counters")?;
    let refused = status["measures"]["refused"].as_object().ok_or("no refused")?;
    let told = |name: &String| buoy::serve::has_counter(name) || refused.contains_key(name);
    let untold: Vec<_> = counters.keys().filter(|name| !told(name)).collect();
    assert!(untold.is_empty(), "counters that no metric tells: {untold:?}");
    let (_, metrics) = get(scene.cluster.client(), page(0), "/metrics")?;
    let file = scene.cluster.node_directory(0).join("metrics.txt");
    std::fs::write(&file, metrics)?;
    let command = format!("promtool check metrics < {}", file.display());
    let checked = scene.cluster.client().output("sh", &["-c", &command])?;
    assert_eq!(checked, "", "promtool has complaints");
    Ok(())
}
