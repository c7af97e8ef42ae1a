//! The same link-local address on two links: the gateway of two networks, as router pairs give it.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6, TcpStream};
use std::time::Duration;

use buoy::lab::network::{Interface, mac_text};
use buoy::lab::plan::{Configuration, Plan, Shape, vip};
use nix::net::if_::if_nametoindex;
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{SOON, Scene, with_plan};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[("one_gateway_on_two_links", one_gateway_on_two_links)];

const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const LINKS: [&str; 2] = ["eth0", "eth1"];
/// A connection does not begin within this: no host answers.
const SILENCE: Duration = Duration::from_millis(300);
/// Each link prefers another node, so that each of them has one of the two.
const POOLS: &str = "
[[pool]]
name = \"lan0\"
interface = \"eth0\"
strategy = \"priority\"
prefer = [\"lb1\", \"lb2\"]
vips = [\"fe80::1\"]

[[pool]]
name = \"lan1\"
interface = \"eth1\"
strategy = \"priority\"
prefer = [\"lb2\", \"lb1\"]
vips = [\"fe80::1\"]
";

fn plan() -> Plan {
    let groups = vec![vec![vip(100)]];
    let mut plan = Shape { nodes: 2, paths: 2, groups, ..Shape::default() }.plan();
    plan.client.interfaces.push(Interface {
        name: "eth1".to_owned(),
        network: 1,
        addresses: vec![(IpAddr::from([10, 78, 0, 1]), 24)],
    });
    if let Configuration::Text(text) = &mut plan.configuration {
        text.push_str(POOLS);
    }
    plan
}

/// For each link the node that answers the client there, if any does: a closed port refuses, and the
/// client's kernel knows whose hardware address has.
fn answering(scene: &Scene) -> Result<[Option<usize>; 2], String> {
    let mut owners = [None; 2];
    for ((owner, link), network) in owners.iter_mut().zip(LINKS).zip(0..) {
        let refused = scene.cluster.client().run(|| {
            let zone = if_nametoindex(link).expect("the client has both links");
            let to = SocketAddrV6::new(GATEWAY, 9, 0, zone).into();
            let answer = TcpStream::connect_timeout(&to, SILENCE);
            answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        });
        if !refused.map_err(|error| error.to_string())? {
            continue;
        }
        let shown = ["-6", "neigh", "show", "fe80::1", "dev", link];
        let shown = scene.cluster.client().output("ip", &shown);
        let shown = shown.map_err(|error| error.to_string())?;
        let hosts = &scene.cluster.network.hosts()[..scene.cluster.nodes()];
        *owner = hosts.iter().position(|host| shown.contains(&mac_text(host.mac(network))));
    }
    Ok(owners)
}

fn answered_by(scene: &Scene, what: &str, wanted: [Option<usize>; 2]) -> Outcome {
    until(what, SOON, || match answering(scene)? {
        seen if seen == wanted => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
}

/// Whether the node has the address on each of the links.
fn has(scene: &Scene, node: usize) -> Result<[bool; 2], Box<dyn std::error::Error>> {
    let mut has = [false; 2];
    for (has, link) in has.iter_mut().zip(LINKS) {
        let shown = ["-6", "addr", "show", "dev", link];
        *has = scene.cluster.namespace(node).output("ip", &shown)?.contains("fe80::1/");
    }
    Ok(has)
}

/// Each link's gateway is a group of its own: it moves alone, by an order and when its link fails, and
/// is closed alone; when a node dies, the other has both.
fn one_gateway_on_two_links() -> Outcome {
    with_plan(plan(), |scene| {
        scene.cluster.start_all()?;
        answered_by(scene, "each node has one link's gateway", [Some(0), Some(1)])?;
        assert_eq!((has(scene, 0)?, has(scene, 1)?), ([true, false], [false, true]));

        let refused = scene.command(0, &["move", "fe80::1", "lb2"]);
        let said = refused.expect_err("it is the name of two groups").to_string();
        assert!(said.contains("fe80::1%INTERFACE"), "{said}");
        scene.command(0, &["move", "fe80::1%eth0", "lb2"])?;
        answered_by(scene, "one node has both", [Some(1), Some(1)])?;
        // The former owner has the address for its connections, without answering.
        until("only one has them", SOON, || match (has(scene, 0), has(scene, 1)) {
            (Ok([false, false]), Ok([true, true])) => Ok(()),
            other => Err(format!("{other:?}")),
        })?;

        scene.cluster.network.set_carrier(1, 1, false)?;
        answered_by(scene, "the gateway of the failed link has moved", [Some(1), Some(0)])?;
        assert_eq!((has(scene, 0)?, has(scene, 1)?), ([false, true], [true, false]));
        scene.cluster.network.set_carrier(1, 1, true)?;

        scene.cluster.signal(1, Signal::SIGSTOP);
        answered_by(scene, "a node that stands still is silent", [Some(0), Some(0)])?;
        scene.cluster.signal(1, Signal::SIGCONT);
        until("the node that goes on has given way", SOON, || {
            match has(scene, 1).map_err(|error| error.to_string())? {
                [false, false] => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        })?;
        assert_eq!(has(scene, 0)?, [true, true]);

        scene.cluster.signal_family(0, Signal::SIGKILL);
        answered_by(scene, "the survivor has both", [Some(1), Some(1)])
    })
}
