//! A third node that has nothing to do with the addresses.

use buoy::lab::clock;
use buoy::lab::plan::{Configuration, Plan, Shape};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{SOON, with_plan};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] =
    &[("witness_off_the_network_holds_nothing", witness_off_the_network_holds_nothing)];

/// Two members, and a witness that has no interface in the clients' network: the heartbeats have
/// a network of their own.
fn plan() -> Plan {
    let shape = Shape { paths: 2, pool: "interface = \"eth0\"", ..Shape::default() };
    let mut text = shape.text();
    for node in 0..3 {
        let clients = Shape::node_address(node, 0);
        text = text.replace(&format!("\"{clients}\", "), "");
    }
    let third = format!("[\"{}\"]\n", Shape::node_address(2, 1));
    text = text.replace(&third, &format!("{third}role = \"witness\"\n"));
    let mut plan = Plan { configuration: Configuration::Text(text), ..shape.plan() };
    plan.nodes[2].interfaces.remove(0);
    plan
}

/// The witness starts without a complaint, is told from the members, and owns nothing, also when a
/// member dies and when it is the only one left.
fn witness_off_the_network_holds_nothing() -> Outcome {
    with_plan(plan(), |scene| {
        scene.cluster.start_all()?;
        until("every address is served by one member", SOON, || {
            scene.each_on_one_node()?;
            scene.balanced(&[0, 1])
        })?;
        for node in 0..3 {
            let status = scene.cluster.status(node).ok_or("no status")?;
            let roles: Vec<&str> =
                (0..3).filter_map(|place| status["nodes"][place]["role"].as_str()).collect();
            assert_eq!(roles, ["member", "member", "witness"], "seen by {node}");
        }
        let said = scene.command(2, &["status"])?;
        assert!(said.contains("is a witness"), "{said}");
        let log = scene.cluster.log(2);
        assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
        let refused = scene.command(0, &["move", "10.77.0.100", "lb3"]);
        let refused = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("lb3 is a witness"), "{refused}");

        let begin = clock::now();
        scene.cluster.signal(0, Signal::SIGKILL);
        scene.away(0)?;
        assert_eq!(scene.owned_by(1).len(), scene.served.len());
        scene.sees(2, 0, "left")?;
        scene.cluster.signal(1, Signal::SIGKILL);
        scene.sees(2, 1, "left")?;
        until("nobody answers", SOON, || match scene.owned_by(1).len() {
            0 => Ok(()),
            some => Err(format!("{some} are answered")),
        })?;
        let timeline = scene.cluster.watch.timeline();
        let at_witness = |vip| timeline.of(vip).any(|change| change.node == 2);
        assert!(!scene.served.iter().any(|vip| at_witness(*vip)), "since {begin:?}");
        scene.cluster.start(0)?;
        scene.back(0)
    })
}
