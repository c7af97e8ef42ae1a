//! Routes and rules that a node has only while it has their group.

use std::fs;
use std::net::IpAddr;

use buoy::lab::plan::{Configuration, Plan, Shape, vip};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::fence::kill_both;
use crate::runner::Test;
use crate::scene::{SOON, Scene, with_plan};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("routes_follow_their_group", routes_follow_their_group),
    ("node_that_cannot_add_a_route_is_unable", node_that_cannot_add_a_route_is_unable),
];

/// A router: what leaves with its address goes to the client, which routes for it.
const POOL: &str = "
[[pool]]
name = \"gw\"
interface = \"eth0\"
strategy = \"priority\"
prefer = [\"lb1\", \"lb2\"]
failback = \"never\"

[[pool.vips]]
name = \"gw\"
addresses = [\"10.77.0.200\", \"fd77::200\"]
routes = [
    { to = \"10.99.0.0/16\", via = \"10.77.0.1\", source = \"10.77.0.200\", table = 100 },
    { to = \"default\", via = \"fd77::1\", dev = \"eth*\", source = \"fd77::200\", table = 100 },
    { to = \"10.99.7.0/24\", type = \"blackhole\", table = 100 },
]
rules = [
    { to = \"10.99.0.0/16\", table = 100, priority = 1000 },
    { from = \"fd77::200\", table = 100, priority = 1000 },
]
";

/// Where the routes lead to.
const BEHIND: &str = "10.99.0.1";

fn plan(nodes: u8) -> Plan {
    let groups = vec![vec![vip(100)]];
    let mut plan = Shape { nodes, groups, ..Shape::default() }.plan();
    let behind = (BEHIND.parse().expect("an address"), 32);
    plan.client.interfaces[0].addresses.push(behind);
    if let Configuration::Text(text) = &mut plan.configuration {
        text.push_str(POOL);
    }
    plan
}

/// What a node has of the routes and rules, by a sign of each, and whether it has the addresses.
fn parts(scene: &Scene, node: usize) -> Result<Vec<bool>, String> {
    let host = scene.cluster.namespace(node);
    let output = |words: &[&str]| host.output("ip", words).map_err(|error| error.to_string());
    let v4 = output(&["route", "show", "table", "all"])?;
    let v6 = output(&["-6", "route", "show", "table", "all"])?;
    let (rules_v4, rules_v6) = (output(&["rule"])?, output(&["-6", "rule"])?);
    let addresses = output(&["addr"])?;
    Ok(vec![
        v4.contains("10.99.0.0/16 via 10.77.0.1 dev eth0 table 100"),
        v4.contains("blackhole 10.99.7.0/24 table 100"),
        v6.contains("default via fd77::1 dev eth0 table 100"),
        rules_v4.contains("to 10.99.0.0/16 lookup 100"),
        rules_v6.contains("from fd77::200 lookup 100"),
        addresses.contains("10.77.0.200/32") && addresses.contains("fd77::200/128"),
    ])
}

/// Waits until only this node has any of it, and has all of it.
fn only_at(scene: &Scene, what: &str, owner: Option<usize>) -> Outcome {
    until(what, SOON, || {
        for node in 0..scene.cluster.nodes() {
            let parts = parts(scene, node)?;
            let wanted = Some(node) == owner;
            if parts.iter().any(|has| *has != wanted) {
                return Err(format!("{}: {parts:?}", scene.cluster.name(node)));
            }
        }
        Ok(())
    })
}

/// By which address the node would reach what is behind the client.
fn source(scene: &Scene, node: usize) -> Result<Option<IpAddr>, Box<dyn std::error::Error>> {
    let shown = scene.cluster.namespace(node).output("ip", &["route", "get", BEHIND]);
    // Without the routes there is no way.
    let Ok(shown) = shown else { return Ok(None) };
    let mut words = shown.split_whitespace().skip_while(|word| *word != "src");
    Ok(words.nth(1).map(str::parse).transpose()?)
}

/// They are added with the group, go with a drain, a death, a crash without a guardian and a reload,
/// and come back when somebody flushes them.
fn routes_follow_their_group() -> Outcome {
    with_plan(plan(2), |scene| {
        scene.cluster.start_all()?;
        only_at(scene, "the first node has the routes", Some(0))?;
        assert_eq!(source(scene, 0)?, Some(IpAddr::from([10, 77, 0, 200])));
        assert_eq!(source(scene, 1)?, None, "no way at the other node");

        scene.command(0, &["drain"])?;
        only_at(scene, "the routes moved with a drain", Some(1))?;
        scene.command(0, &["undrain"])?;

        for family in ["-4", "-6"] {
            let flush = [family, "route", "flush", "table", "100"];
            scene.cluster.namespace(1).output("ip", &flush)?;
            only_at(scene, "flushed routes are back", Some(1))?;
        }
        scene.cluster.namespace(1).ip("rule del priority 1000\n")?;
        only_at(scene, "a rule is back", Some(1))?;
        let status = scene.command(1, &["status"])?;
        assert!(!status.contains("MISSING ROUTE"), "{status}");

        // The guardian removes what the daemon can no more.
        scene.cluster.signal(1, Signal::SIGKILL);
        only_at(scene, "the routes moved with a death", Some(0))?;
        scene.cluster.start(1)?;
        scene.sees(0, 1, "up")?;

        // Without a guardian they stay, and the next start removes them.
        kill_both(scene, 0)?;
        until("the other node has them", SOON, || match parts(scene, 1)? {
            parts if parts.iter().all(|has| *has) => Ok(()),
            parts => Err(format!("{parts:?}")),
        })?;
        assert!(parts(scene, 0)?.iter().any(|has| *has), "the guardian is dead too");
        scene.cluster.start(0)?;
        only_at(scene, "the start removed what was left", Some(1))?;
        scene.sees(1, 0, "up")?;

        for node in 0..2 {
            let file = scene.cluster.configuration_file(node);
            let text = fs::read_to_string(&file)?;
            fs::write(file, text.replace("priority = 1000", "priority = 1001"))?;
            let said = scene.command(node, &["reload"])?;
            assert!(said.contains("2 rules added, 2 rules removed"), "{said}");
        }
        until("the reload applied the difference", SOON, || {
            let rules = scene.cluster.namespace(1).output("ip", &["rule"]);
            let rules = rules.map_err(|error| error.to_string())?;
            if rules.contains("1001:") && !rules.contains("1000:") { Ok(()) } else { Err(rules) }
        })?;
        only_at(scene, "all else is as it was", Some(1))
    })
}

/// A node whose own route stands in the way does not take the group: the next one does, and the
/// first says which route it is, until that is gone.
fn node_that_cannot_add_a_route_is_unable() -> Outcome {
    with_plan(plan(3), |scene| {
        scene.cluster.start_all()?;
        only_at(scene, "the first node has the routes", Some(0))?;
        let own = "10.99.0.0/16 via 10.77.0.1 table 100";
        scene.cluster.namespace(1).ip(&format!("route add {own}\n"))?;
        scene.cluster.signal(0, Signal::SIGKILL);
        until("the third node has the group", SOON, || match parts(scene, 2)? {
            parts if parts.iter().all(|has| *has) => Ok(()),
            parts => Err(format!("{parts:?}")),
        })?;
        let status = scene.command(1, &["status"])?;
        for part in ["MISSING ROUTE", "gw", "10.99.0.0/16 via 10.77.0.1", "another route"] {
            assert!(status.contains(part), "no {part:?} in\n{status}");
        }
        let explained = scene.command(2, &["explain", "gw"])?;
        assert!(explained.contains("a route or rule of it cannot be added"), "{explained}");
        let shown = scene.cluster.namespace(1).output("ip", &["route", "show", "table", "100"])?;
        assert!(shown.contains("10.99.0.0/16"), "that of the host stays: {shown}");

        scene.cluster.namespace(1).ip(&format!("route del {own}\n"))?;
        scene.cluster.signal(2, Signal::SIGKILL);
        until("the second node has the group at last", SOON, || match parts(scene, 1)? {
            parts if parts.iter().all(|has| *has) => Ok(()),
            parts => Err(format!("{parts:?}")),
        })?;
        let status = scene.command(1, &["status"])?;
        assert!(!status.contains("MISSING ROUTE"), "{status}");
        Ok(())
    })
}
