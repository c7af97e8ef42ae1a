//! Bridges that answer ARP and neighbour solicitations for the hosts behind them, living or dead.
//!
//! A Linux bridge with `neigh_suppress` on a port answers broadcasts for addresses that it knows
//! behind that port, and lets no probe without a sender through to it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::filter::Rule;
use buoy::lab::network::mac_text;
use buoy::lab::plan::{Shape, vip, vip6};

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{SOON, Scene, with};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("dead_owner_behind_a_suppressing_bridge", dead_owner_behind_a_suppressing_bridge),
    ("living_owner_behind_a_suppressing_bridge", living_owner_behind_a_suppressing_bridge),
];

/// A pair with addresses of one family, so that each shows by itself that its owner is alive or dead.
/// Each family in turn.
fn each_family(test: fn(&mut Scene, IpAddr) -> Outcome) -> Outcome {
    for one in [vip as fn(u8) -> IpAddr, |last| vip6(last.into())] {
        let groups = (100..104).map(|last| vec![one(last)]).collect();
        with(&Shape { nodes: 2, groups, ..Shape::default() }, |scene| test(scene, one(100)))?;
    }
    Ok(())
}

/// The bridge suppresses questions about what this node has now, and knows where that is. It goes on
/// knowing where the node is when its port is down, as a fabric does that has not heard otherwise.
fn suppress(scene: &Scene, node: usize) -> Result<Vec<IpAddr>, Box<dyn std::error::Error>> {
    let host = &scene.cluster.network.hosts()[node];
    let (port, mac) = (host.port(0), mac_text(host.mac(0)));
    let owned = scene.owned_by(node);
    let switch = scene.cluster.network.switch();
    switch.set_sysctl("ipv6/conf/n0/disable_ipv6", "0")?;
    let mut commands = format!("link set {port} type bridge_slave neigh_suppress on\n");
    for vip in &owned {
        let _ = writeln!(commands, "neigh replace {vip} lladdr {mac} dev n0 nud permanent");
    }
    switch.ip(&commands)?;
    switch.output("bridge", &["fdb", "replace", &mac, "dev", &port, "master", "static"])?;
    Ok(owned)
}

/// The owner dies, and the bridge goes on answering for its IPv6 addresses: they are taken, as those
/// of IPv4 are.
fn dead_owner_behind_a_suppressing_bridge() -> Outcome {
    each_family(|scene, first| {
        let victim = scene.owner(first)?;
        let owned = suppress(scene, victim)?;
        Fault::HostDeath.begin(&mut scene.cluster, victim)?;
        until("the other has what it had", SOON, || {
            let held = |vip: &&IpAddr| scene.cluster.watch.holders(**vip).contains(&(1 - victim));
            match owned.iter().find(|vip| !held(vip)) {
                Some(vip) => Err(format!("{vip} is not taken")),
                None => Ok(()),
            }
        })?;
        assert!(owned.len() > 1, "{owned:?}");
        Ok(())
    })
}

/// Nothing but the heartbeats of the owner is lost. The bridge carries no probe to it, and answers
/// the solicitations itself; it is asked at its hardware address, and keeps all that it has.
fn living_owner_behind_a_suppressing_bridge() -> Outcome {
    each_family(|scene, first| {
        let victim = scene.owner(first)?;
        suppress(scene, victim)?;
        let begin = clock::now();
        scene.cluster.network.add_rule(Rule::loss(4748, 1))?;
        until("the other says that its kernel answers", SOON, || {
            let state = scene.state_of(1 - victim, victim);
            let status = scene.cluster.status(1 - victim).ok_or("no status")?;
            let nodes = status["nodes"].as_array().ok_or("no nodes")?;
            let answers = nodes.iter().any(|node| !node["kernel_answers"].is_null());
            if answers { Ok(()) } else { Err(format!("it is {state:?}: {status}")) }
        })?;
        throughout("each address has one owner", Duration::from_secs(3), || {
            let two = scene.served.iter().find(|vip| scene.cluster.watch.holders(**vip).len() != 1);
            two.map_or(Ok(()), |vip| Err(format!("{vip} has not")))
        })?;
        scene.cluster.network.heal()?;
        scene.sees(0, 1, "up")?;
        scene.sees(1, 0, "up")?;
        scene.nothing_happened(begin)
    })
}
