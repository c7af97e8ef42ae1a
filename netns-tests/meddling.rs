//! Somebody else changes addresses and interfaces under the daemon's feet.

use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::namespace::NamespaceError;
use buoy::lab::plan::{Shape, vip, vip6};
use buoy::lab::stalls::Stalls;
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, SOON, Scene, with, with_unstarted};
use crate::until::until;
use crate::web::say;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("address_removed_by_others", address_removed_by_others),
    ("addresses_flushed_by_others", addresses_flushed_by_others),
    ("own_address_gone_moves_everything_at_once", own_address_gone_moves_everything_at_once),
    ("interface_down_and_up", interface_down_and_up),
    ("interface_deleted_and_made_anew", interface_deleted_and_made_anew),
    ("firewall_of_the_host", firewall_of_the_host),
];

/// An address is to be back within 100 ms; a busy machine may take a little longer.
const BACK_MAX: Duration = Duration::from_millis(250);

/// How long a peer in profile `lan` is not heard before it is found dead: 300 ms less a heartbeat, which may
/// just have come.
const DETECTION: Duration = Duration::from_millis(240);

/// Somebody deletes a served address of each family: the owner puts it back at once, announces it,
/// and the event is recorded. It does not move.
fn address_removed_by_others() -> Outcome {
    with(&Shape::default(), |scene| {
        let node = scene.owner(vip(105))?;
        let begin = clock::now();
        let commands = "addr del 10.77.0.105/32 dev eth0\naddr del fd77::105/128 dev eth0\n";
        scene.cluster.namespace(node).ip(commands)?;
        for vip in [vip(105), vip6(0x105)] {
            let mut took = Duration::MAX;
            until("it is back", SOON, || {
                let timeline = scene.cluster.watch.timeline();
                let gone = timeline.of(vip).find(|change| change.at >= begin && !change.held);
                let gone = gone.ok_or("it was not removed")?.at;
                let back = timeline.of(vip).find(|change| change.at >= gone && change.held);
                took = back.ok_or("it is not back")?.at.duration_since(gone);
                Ok(())
            })?;
            assert!(took <= BACK_MAX, "{vip} was back only after {took:?}");
        }
        scene.at_rest()?;
        assert_eq!(scene.owner(vip(105))?, node, "it stays where it was");
        let events = scene.command(node, &["events", "--group", "10.77.0.105"])?;
        assert!(events.contains("removed"), "the event is not recorded:\n{events}");
        Ok(())
    })
}

/// `ip addr flush` takes the host's own addresses and all served ones; the host's own come back
/// by whoever manages them. Every address is served again on one node.
fn addresses_flushed_by_others() -> Outcome {
    with(&Shape::default(), |scene| {
        let node = scene.owner(vip(100))?;
        match scene.cluster.namespace(node).ip("addr flush dev eth0 scope global\n") {
            // It looks again until nothing is left, at most ten times: on a busy machine the
            // daemon may be quicker each time.
            Err(NamespaceError::Refusal(_, said)) if said.contains("remains incomplete") => {}
            flushed => flushed?,
        }
        let own = format!(
            "addr add 10.77.0.{}/24 dev eth0\naddr add fd77::{:x}/64 dev eth0 nodad\n",
            11 + node,
            11 + node
        );
        scene.cluster.namespace(node).ip(&own)?;
        until("everything is served", SOON, || scene.each_on_one_node())?;
        scene.at_rest()?;
        for other in (0..3).filter(|other| *other != node) {
            scene.sees(other, node, "up")?;
        }
        Ok(())
    })
}

/// The only address by which a host can be reached is gone, with all that it serves: it says what it lets
/// go before it is silent, so the others need not find it dead first.
fn own_address_gone_moves_everything_at_once() -> Outcome {
    with(&Shape::default(), |scene| {
        let node = scene.owner(vip(100))?;
        let stalls = Stalls::watch()?;
        let begin = clock::now();
        // Refused in the end where the daemon puts its addresses back at once.
        let _flushed = scene.cluster.namespace(node).ip("addr flush dev eth0 scope global\n");
        until("the others serve everything", SOON, || match scene.owner(vip(100)) {
            Ok(owner) if owner != node => scene.each_on_one_node(),
            found => Err(format!("{found:?}")),
        })?;
        let worst = scene.figures(begin).worst;
        let slack = stalls.longest();
        say(&format!("out for {worst:.1?} at most (pauses {slack:.1?})"));
        assert!(worst < DETECTION + slack, "out for {worst:?}: its death was waited for");
        Ok(())
    })
}

/// The interface is set down: its IPv6 addresses are gone and nothing passes. The others take
/// over; when it is up again the node gets its share back, with both families.
fn interface_down_and_up() -> Outcome {
    with(&Shape::default(), |scene| {
        let node = scene.owner(vip(105))?;
        scene.cluster.namespace(node).ip("link set eth0 down\n")?;
        scene.away(node)?;
        let own = format!("link set eth0 up\naddr add fd77::{:x}/64 dev eth0 nodad\n", 11 + node);
        scene.cluster.namespace(node).ip(&own)?;
        scene.back(node)
    })
}

/// The interface is deleted and made again, with another index, as by a driver reload: the others
/// take over, and the node finds its new interface.
fn interface_deleted_and_made_anew() -> Outcome {
    with(&Shape::default(), |scene| {
        let node = scene.owner(vip(100))?;
        let index = |scene: &Scene| -> Result<u32, Box<dyn std::error::Error>> {
            let kernel = scene.cluster.kernel(node)?;
            let found = kernel.names.iter().find(|(_, name)| *name == "eth0");
            Ok(*found.ok_or("there is no eth0")?.0)
        };
        let before = index(scene)?;
        scene.cluster.network.recreate(node, 0)?;
        assert_ne!(index(scene)?, before, "it is a new interface");
        until("the node is seen again", SOON, || {
            match scene.state_of((node + 1) % 3, node).as_deref() {
                Some("up") => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        })?;
        scene.back(node)
    })
}

/// The hosts have a strict firewall of their own, in the hooks that the gate uses too. It is as it
/// was to the end, and the daemons move addresses as without it.
fn firewall_of_the_host() -> Outcome {
    const FIREWALL: &str = "table inet firewall {
        set known { type ipv4_addr; elements = { 10.77.0.1, 10.77.0.11, 10.77.0.12, 10.77.0.13 } }
        chain early { type filter hook prerouting priority raw; policy accept;
            fib saddr type broadcast drop; }
        chain in { type filter hook input priority filter; policy drop;
            iif lo accept; ct state established,related accept; ct state invalid drop;
            ip saddr @known udp dport 4748 accept; icmp type echo-request accept;
            meta l4proto ipv6-icmp accept; }
        chain out { type filter hook output priority filter; policy accept; }
    }";
    with_unstarted(&Shape::default(), |scene| {
        let list = |scene: &Scene, node: usize| {
            scene.cluster.namespace(node).output("nft", &["list", "table", "inet", "firewall"])
        };
        for node in 0..3 {
            scene.cluster.namespace(node).output("nft", &[FIREWALL])?;
        }
        let before = list(scene, 0)?;
        scene.cluster.start_all()?;
        scene.at_rest()?;
        let victim = scene.owner(vip(100))?;
        let killed = clock::now();
        scene.cluster.signal(victim, Signal::SIGKILL);
        scene.away(victim)?;
        let figures = scene.figures(killed);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        scene.cluster.start(victim)?;
        scene.back(victim)?;
        for node in 0..3 {
            assert_eq!(list(scene, node)?, before, "the firewall of {node} has changed");
        }
        Ok(())
    })
}
