//! Nodes that do not hear each other although all of them run.

use std::net::IpAddr;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::filter::Rule;
use buoy::lab::network::Direction;
use buoy::lab::plan::{Shape, vip};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::fence::nft;
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, SOON, Scene, with, with_unstarted};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("deaf_owner", deaf_owner),
    ("mute_owner", mute_owner),
    ("owner_deaf_on_the_clients_network", owner_deaf_on_the_clients_network),
    ("owner_not_heard_on_the_clients_network", owner_not_heard_on_the_clients_network),
    (
        "owner_that_cannot_send_ip_on_the_clients_network",
        owner_that_cannot_send_ip_on_the_clients_network,
    ),
    ("deaf_node_of_a_pair_where_nobody_answers_echo_requests", deaf_node_of_a_pair),
    ("split_and_heal", split_and_heal),
    ("everybody_alone_and_healed", everybody_alone_and_healed),
    ("hundred_heartbeats_lost", hundred_heartbeats_lost),
    ("link_up_without_traffic_at_boot", link_up_without_traffic_at_boot),
];

/// Detection, and the time that the others need to learn that it is one-way; for a busy machine.
const OUTAGE_MAX: Duration = Duration::from_secs(3);
/// What a bridge of IEEE 802.1D waits before it forwards: half of it, to be quick.
const FORWARDING_DELAY: Duration = Duration::from_secs(15);
/// How long a cut lasts.
const CUT: Duration = Duration::from_secs(2);

/// Nothing reaches the owner, but what it says is heard: its heartbeats go on. The others learn
/// from them that it hears nobody, and take its groups for as long as it lasts.
fn deaf_owner() -> Outcome {
    one_way(Fault::Deaf)
}

/// Nothing that the owner says is heard, but it hears all: it must not think that all is well.
fn mute_owner() -> Outcome {
    one_way(Fault::Mute)
}

/// With two heartbeat networks nothing reaches the owner on that of the clients. Its peers live on the
/// other one; the host that used to answer there does not.
fn owner_deaf_on_the_clients_network() -> Outcome {
    for nodes in [2, 3] {
        one_way_on_the_clients_network(nodes, |scene, victim| {
            Ok(scene.cluster.network.cut(victim, 0, Direction::ToHost)?)
        })?;
    }
    Ok(())
}

/// With two heartbeat networks nothing that the owner sends on that of the clients arrives; it hears
/// its peers on both. They report that they hear it on the other one only.
fn owner_not_heard_on_the_clients_network() -> Outcome {
    for nodes in [2, 3] {
        one_way_on_the_clients_network(nodes, |scene, victim| {
            Ok(scene.cluster.network.cut(victim, 0, Direction::FromHost)?)
        })?;
    }
    Ok(())
}

/// The same by a packet filter on the owner, which drops all IPv4 and IPv6 that would go out there. Its
/// ARP and neighbour discovery are answered; so it must not be ARP that is asked.
fn owner_that_cannot_send_ip_on_the_clients_network() -> Outcome {
    one_way_on_the_clients_network(3, |scene, victim| {
        // Packet filters see no ARP; of ICMPv6 neighbour discovery is left alone.
        let rules = "add table inet lab-cut
            add chain inet lab-cut out { type filter hook output priority 0; }
            add rule inet lab-cut out oifname eth0 meta l4proto != ipv6-icmp drop
            add rule inet lab-cut out oifname eth0 icmpv6 type { echo-request, echo-reply } drop";
        nft(scene, victim, rules)
    })
}

/// The fault begins: the others serve everything, and the owner has nothing for as long as it lasts.
fn one_way_on_the_clients_network(
    nodes: u8,
    begin: impl Fn(&mut Scene, usize) -> Outcome,
) -> Outcome {
    with(&Shape { nodes, paths: 2, ..Shape::default() }, |scene| {
        let victim = scene.owner(vip(100))?;
        begin(scene, victim)?;
        let has_nothing = |scene: &Scene| {
            let holds = |vip: &&IpAddr| scene.cluster.watch.holders(**vip).contains(&victim);
            let held = scene.served.iter().find(holds);
            held.map_or(Ok(()), |vip| Err(format!("the cut node has {vip}")))
        };
        until("the cut node has let go", SOON, || has_nothing(scene))?;
        scene.served_by_others(victim)?;
        throughout("the cut node serves nothing", CUT, || has_nothing(scene))?;
        scene.sees((victim + 1) % usize::from(nodes), victim, "up")?;
        scene.cluster.network.heal()?;
        nft(scene, victim, "add table inet lab-cut; delete table inet lab-cut")?;
        scene.back(victim)
    })
}

/// Of a pair one node is deaf, and no other host on the network answers echo requests. It finds that by ARP,
/// and does not take what the other has.
fn deaf_node_of_a_pair() -> Outcome {
    with_unstarted(&Shape { nodes: 2, ..Shape::default() }, |scene| {
        for family in ["ipv4/icmp_echo_ignore_all", "ipv6/icmp/echo_ignore_all"] {
            scene.cluster.client().set_sysctl(family, "1")?;
        }
        for node in 0..2 {
            scene.cluster.start(node)?;
        }
        scene.at_rest()?;
        let victim = scene.owner(vip(100))?;
        let had = scene.owned_by(1 - victim);
        // Whom it knows it learns every ten seconds at the latest.
        clock::pause(Duration::from_secs(11));
        scene.cluster.network.cut(victim, 0, Direction::ToHost)?;
        until("it finds itself isolated", SOON, || {
            let phase = scene.cluster.status(victim).map(|it| it["phase"].clone());
            match phase {
                Some(phase) if phase == "isolated" => Ok(()),
                other => Err(format!("it is {other:?}")),
            }
        })?;
        throughout("it takes nothing of the other", CUT, || {
            let taken = had.iter().find(|vip| scene.cluster.watch.holders(**vip).contains(&victim));
            taken.map_or(Ok(()), |vip| Err(format!("{vip} is taken")))
        })?;
        scene.cluster.network.heal()?;
        scene.back(victim)
    })
}

fn one_way(fault: Fault) -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let begin = clock::now();
        fault.begin(&mut scene.cluster, victim)?;
        let others_serve = |scene: &Scene| {
            let answering = scene.cluster.answering(OUTAGE_MAX / 30);
            let wrong = answering.iter().find(|(_, who)| who.is_none_or(|who| who == victim));
            wrong.map_or(Ok(()), |(vip, who)| Err(format!("{vip} is answered by {who:?}")))
        };
        until("the others serve everything", SOON, || match scene.owned_by(victim).as_slice() {
            [] => others_serve(scene),
            still => Err(format!("{still:?} are answered by the cut node")),
        })?;
        let taken_over = clock::now();
        throughout("the cut node serves nothing", CUT, || {
            match scene.owned_by(victim).as_slice() {
                [] => Ok(()),
                some => Err(format!("{some:?} are answered by the cut node")),
            }
        })?;
        // All have been taken, whatever the cut node still says and holds.
        scene.no_probe_lost((taken_over, clock::now()))?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= OUTAGE_MAX, "out for {:?}", figures.worst);
        let healed = clock::now();
        fault.end(&mut scene.cluster, victim)?;
        scene.back(victim)?;
        let figures = scene.figures(healed);
        assert!(figures.worst <= OUTAGE_MAX, "healing cost {:?}", figures.worst);
        Ok(())
    })
}

/// One node and the others do not hear each other; the client hears all. Both sides serve every
/// address. Healed, each address has one owner soon, and the client's cache knows it.
fn split_and_heal() -> Outcome {
    cut_and_healed(&[0], 2)
}

/// No node hears another; the client hears all. Each serves every address, until it is healed.
fn everybody_alone_and_healed() -> Outcome {
    cut_and_healed(&[0, 1, 2], 3)
}

fn cut_and_healed(alone: &[usize], sides: usize) -> Outcome {
    with(&Shape::default(), |scene| {
        for node in alone {
            Fault::Split.begin(&mut scene.cluster, *node)?;
        }
        until("every side serves every address", SOON, || {
            for vip in &scene.served {
                let holders = scene.cluster.watch.holders(*vip);
                if holders.len() != sides || alone.iter().any(|node| !holders.contains(node)) {
                    return Err(format!("{vip} is held by {holders:?}"));
                }
            }
            Ok(())
        })?;
        clock::pause(CUT);
        let healed = clock::now();
        Fault::Split.end(&mut scene.cluster, 0)?;
        until("each address has one owner", SOON, || {
            let two = scene.served.iter().find(|vip| scene.cluster.watch.holders(**vip).len() != 1);
            two.map_or(Ok(()), |vip| Err(format!("{vip} has not")))
        })?;
        let took = clock::now().duration_since(healed);
        assert!(took <= OUTAGE_MAX, "one owner only after {took:?}");
        scene.at_rest()?;
        let figures = scene.figures(healed);
        assert!(figures.worst <= OUTAGE_MAX, "healing cost {:?}", figures.worst);
        Ok(())
    })
}

/// One heartbeat in twenty is lost at random until a hundred are: nobody moves anything.
fn hundred_heartbeats_lost() -> Outcome {
    let shape = Shape { cluster: "[timing]\nheartbeat = \"50ms\"\nmisses = 4", ..Shape::default() };
    with(&shape, |scene| {
        let datagrams = |scene: &Scene, column: &str| -> Result<u64, String> {
            let mut sum = 0;
            for node in 0..scene.cluster.nodes() {
                let text = scene
                    .cluster
                    .namespace(node)
                    .run(|| std::fs::read_to_string("/proc/thread-self/net/snmp"))
                    .map_err(|error| error.to_string())?
                    .map_err(|error| error.to_string())?;
                let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
                let names = lines.next().unwrap_or_default().split_whitespace();
                let values = lines.next().unwrap_or_default().split_whitespace();
                let value = names.zip(values).find(|(name, _)| *name == column);
                sum += value.and_then(|(_, value)| value.parse::<u64>().ok()).unwrap_or(0);
            }
            Ok(sum)
        };
        let missing = |scene: &Scene| {
            let (sent, arrived) =
                (datagrams(scene, "OutDatagrams")?, datagrams(scene, "InDatagrams")?);
            // Datagrams on their way make it negative at times: the senders are read first.
            Ok::<_, String>(sent.cast_signed() - arrived.cast_signed())
        };
        let before = missing(scene)?;
        let begin = clock::now();
        scene.cluster.network.add_rule(Rule::loss(4748, 20))?;
        until("a hundred are lost", Duration::from_secs(60), || {
            match missing(scene)?.saturating_sub(before) {
                lost if lost >= 100 => Ok(()),
                lost => Err(format!("{lost} are")),
            }
        })?;
        scene.nothing_happened(begin)
    })
}

/// A node starts behind a switch port whose link is up and that forwards nothing yet, as spanning
/// tree does. It takes nothing; when the port forwards it is given its share.
fn link_up_without_traffic_at_boot() -> Outcome {
    with(&Shape::default(), |scene| {
        let late = 0;
        scene.cluster.signal(late, Signal::SIGTERM);
        scene.away(late)?;
        for direction in [Direction::FromHost, Direction::ToHost] {
            scene.cluster.network.cut(late, 0, direction)?;
        }
        let begin = clock::now();
        scene.cluster.start(late)?;
        clock::pause(FORWARDING_DELAY);
        let listens = scene.cluster.status(late).is_some_and(|it| it["phase"] == "listening");
        assert!(listens, "it does not wait");
        for vip in &scene.served {
            let timeline = scene.cluster.watch.timeline();
            let taken = timeline.of(*vip).any(|change| change.node == late && change.at >= begin);
            assert!(!taken, "it has taken {vip}");
        }
        scene.cluster.network.heal()?;
        scene.back(late)?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        Ok(())
    })
}
