//! In front of a real HAProxy that is gone everywhere.

use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::plan::Shape;
use buoy::lab::process::Process;
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{SOON, Scene};
use crate::until::{throughout, until};
use crate::web::{check_is, start, start_haproxy, with_tables};

/// What there is to run here.
pub(crate) const TESTS: &[Test] =
    &[("service_stays_where_no_node_is_well", service_stays_where_no_node_is_well)];

const PROXY: &str = r#"
[[check]]
name = "proxy"
type = "haproxy"
socket = "127.0.0.1:9999"
frontends = ["www"]
backends = ["app"]
interval = "100ms"
fall = 2
rise = 2
dwell = "1s"
"#;

/// Three nodes with a HAProxy each; every address is asked for its page once.
fn with_proxies(tables: &str, test: impl FnOnce(&mut Scene, Vec<Process>) -> Outcome) -> Outcome {
    with_tables(&Shape::default(), tables, |scene| {
        let proxies = (0..scene.cluster.nodes()).map(|node| start_haproxy(scene, node));
        let proxies = proxies.collect::<Result<Vec<_>, _>>()?;
        start(scene)?;
        for node in 0..scene.cluster.nodes() {
            check_is(scene, node, ("proxy", "passing"), "works")?;
        }
        scene.at_rest()?;
        test(scene, proxies)
    })
}

/// Dead on every node: nothing moves, every node says so, addresses are still answered.
fn service_stays_where_no_node_is_well() -> Outcome {
    with_proxies(PROXY, |scene, proxies| {
        for proxy in &proxies {
            proxy.signal(Signal::SIGKILL);
        }
        for node in 0..scene.cluster.nodes() {
            check_is(scene, node, ("proxy", "failing"), "connection refused")?;
            let status = scene.command(node, &["status"])?;
            assert!(status.contains("failing"), "{status}");
        }
        until("every address is on one node", SOON, || scene.none_misplaced())?;
        scene.at_rest()?;
        let quiet = clock::now();
        throughout("all addresses stay", Duration::from_secs(5), || scene.none_misplaced())?;
        scene.nothing_happened(quiet)
    })
}
