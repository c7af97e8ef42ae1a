//! A node goes, with or without warning; the others take what it had.

use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::filter::Rule;
use buoy::lab::plan::{Shape, vip, vip6};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, READING, SOON, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("host_death", host_death),
    ("link_down_with_a_second_path", link_down_with_a_second_path),
    ("link_down_with_one_path", link_down_with_one_path),
    ("clean_stop", clean_stop),
    ("one_of_two_paths_cut", one_of_two_paths_cut),
    ("thirty_groups_spread_and_return", thirty_groups_spread_and_return),
    ("ipv6_alone", ipv6_alone),
    ("group_of_both_families_moves_together", group_of_both_families_moves_together),
];

/// The figures of docs/benchmark.md are for quiet machines; a busy one may take three times as long.
const OUTAGE_MAX: Duration = Duration::from_millis(1500);

/// The owner's host loses power: it is off the network at once and says nothing. The others
/// notice by silence and take its groups; when it boots it gets its share back, and no more.
fn host_death() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let had = scene.owned_by(victim);
        let begin = clock::now();
        Fault::HostDeath.begin(&mut scene.cluster, victim)?;
        scene.away(victim)?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= OUTAGE_MAX, "out for {:?}", figures.worst);
        assert!(figures.lost > 0, "a dead host that answers is not dead");
        scene.others_undisturbed(&had, begin)?;
        let other = (victim + 1) % 3;
        scene.sees(other, victim, "dead")?;
        Fault::HostDeath.end(&mut scene.cluster, victim)?;
        scene.sees(other, victim, "up")?;
        scene.back(victim)
    })
}

/// The cable of the owner's client network is pulled while a second heartbeat network lives: it
/// lets go by itself and tells the others, so nobody waits for silence.
fn link_down_with_a_second_path() -> Outcome {
    with(&Shape { paths: 2, ..Shape::default() }, |scene| {
        let victim = scene.owner(vip(100))?;
        let begin = clock::now();
        Fault::LinkDown.begin(&mut scene.cluster, victim)?;
        scene.away(victim)?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= OUTAGE_MAX, "out for {:?}", figures.worst);
        let kernel = scene.cluster.kernel(victim)?;
        assert!(!kernel.holds(vip(100)), "it lets go of what it cannot serve");
        scene.sees((victim + 1) % 3, victim, "up")?;
        Fault::LinkDown.end(&mut scene.cluster, victim)?;
        scene.back(victim)
    })
}

/// The same without a second network: the others can only notice by silence, and the owner has
/// let go by the time its link is back.
fn link_down_with_one_path() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let begin = clock::now();
        Fault::LinkDown.begin(&mut scene.cluster, victim)?;
        until("it lets go of what it cannot serve", SOON, || {
            let kernel = scene.cluster.kernel(victim).map_err(|error| error.to_string())?;
            if kernel.holds(vip(100)) { Err("it holds it".to_owned()) } else { Ok(()) }
        })?;
        scene.away(victim)?;
        assert!(scene.figures(begin).worst <= OUTAGE_MAX);
        let healed = clock::now();
        Fault::LinkDown.end(&mut scene.cluster, victim)?;
        scene.back(victim)?;
        let figures = scene.figures(healed);
        assert!(figures.two_owners <= OUTAGE_MAX, "two owners for {:?}", figures.two_owners);
        Ok(())
    })
}

/// `systemctl stop`: every address is handed over before the daemon ends, with code 0, within
/// two seconds, leaving no address behind. No moment has two owners.
fn clean_stop() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let begin = clock::now();
        scene.cluster.signal(victim, Signal::SIGTERM);
        let process = scene.cluster.process(victim).ok_or("it was started")?;
        let status = process.wait(Duration::from_secs(4)).ok_or("it did not end in 4 s")?;
        assert_eq!(status.code(), Some(0), "{status}");
        let kernel = scene.cluster.kernel(victim)?;
        let left: Vec<_> = scene.served.iter().filter(|vip| kernel.holds(**vip)).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        scene.away(victim)?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        assert!(figures.two_owners <= READING, "two owners for {:?}", figures.two_owners);
        assert_eq!(figures.by_turns, Duration::ZERO, "two nodes answered at once");
        scene.sees((victim + 1) % 3, victim, "left")?;
        scene.cluster.start(victim)?;
        scene.back(victim)
    })
}

/// Two heartbeat networks: with either of them cut for heartbeats nobody moves anything. With
/// both cut, somebody does, which shows that the cuts were cuts.
fn one_of_two_paths_cut() -> Outcome {
    with(&Shape { paths: 2, ..Shape::default() }, |scene| {
        let deaf_on = |network: usize| -> Vec<Rule> {
            let ports = scene.cluster.network.hosts().iter().take(3).map(|h| h.port(network));
            let rule = |port: String| Rule { udp_port: Some(4748), ..Rule::cut(None, Some(&port)) };
            ports.map(rule).collect()
        };
        let rules = [deaf_on(0), deaf_on(1)];
        for on in &rules {
            let begin = clock::now();
            for rule in on {
                scene.cluster.network.add_rule(rule.clone())?;
            }
            clock::pause(Duration::from_secs(2));
            scene.nothing_happened(begin)?;
            for (node, other) in [(0, 1), (1, 2), (2, 0)] {
                scene.sees(node, other, "up")?;
            }
            scene.cluster.network.heal()?;
            clock::pause(Duration::from_millis(500));
        }
        for rule in rules.iter().flatten() {
            scene.cluster.network.add_rule(rule.clone())?;
        }
        until("both cut, they lose each other", SOON, || match scene.state_of(0, 1).as_deref() {
            Some("up") | None => Err("it sees it".to_owned()),
            Some(_) => Ok(()),
        })?;
        scene.cluster.network.heal()?;
        scene.at_rest()
    })
}

/// Three nodes, thirty groups: ten each. One dies: the others share its ten and keep their own
/// without losing a probe. It returns: it gets ten back, and nothing else moves.
fn thirty_groups_spread_and_return() -> Outcome {
    let groups: Vec<_> = (100..130).map(|last| vec![vip(last)]).collect();
    with(&Shape { groups, ..Shape::default() }, |scene| {
        let evenly = |scene: &crate::scene::Scene, nodes: &[usize], each: usize| {
            until("the groups are spread evenly", SOON, || {
                let counts: Vec<_> = nodes.iter().map(|node| scene.owned_by(*node).len()).collect();
                let even = counts.iter().all(|count| count.abs_diff(each) <= 1);
                if even { Ok(()) } else { Err(format!("{counts:?}")) }
            })
        };
        evenly(scene, &[0, 1, 2], 10)?;
        scene.at_rest()?;
        let had = scene.owned_by(1);
        let begin = clock::now();
        Fault::HostDeath.begin(&mut scene.cluster, 1)?;
        scene.away(1)?;
        evenly(scene, &[0, 2], 15)?;
        scene.at_rest()?;
        let figures = scene.figures(begin);
        scene.others_undisturbed(&had, begin)?;
        assert!(figures.worst <= OUTAGE_MAX, "out for {:?}", figures.worst);
        let begin = clock::now();
        Fault::HostDeath.end(&mut scene.cluster, 1)?;
        scene.back(1)?;
        evenly(scene, &[0, 1, 2], 10)?;
        scene.at_rest()?;
        let figures = scene.figures(begin);
        let has = scene.owned_by(1).len();
        assert!(figures.affected <= has + 1, "{} moved to give it {has}", figures.affected);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        Ok(())
    })
}

/// Groups of IPv6 addresses only: without a second of waiting for duplicate address detection,
/// and the client's neighbour cache follows at once.
fn ipv6_alone() -> Outcome {
    let groups: Vec<_> = (0x100..0x106).map(|last| vec![vip6(last)]).collect();
    with(&Shape { groups, ..Shape::default() }, |scene| {
        let victim = scene.owner(vip6(0x100))?;
        let begin = clock::now();
        Fault::HostDeath.begin(&mut scene.cluster, victim)?;
        scene.away(victim)?;
        assert!(scene.figures(begin).worst <= OUTAGE_MAX);
        Fault::HostDeath.end(&mut scene.cluster, victim)?;
        scene.back(victim)?;
        let begin = clock::now();
        let other = (0..3).find(|node| scene.owner(vip6(0x101)) != Ok(*node)).unwrap_or(0);
        scene.command(0, &["move", "fd77::101", scene.cluster.name(other)])?;
        until("it has moved", SOON, || match scene.owner(vip6(0x101))? {
            owner if owner == other => Ok(()),
            owner => Err(format!("owner is {owner}")),
        })?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        Ok(())
    })
}

/// A group of an IPv4 and an IPv6 address is on one node, whatever happens to that node.
fn group_of_both_families_moves_together() -> Outcome {
    with(&Shape::default(), |scene| {
        for round in 0..2 {
            let victim = scene.owner(vip(105))?;
            assert_eq!(scene.owner(vip6(0x105))?, victim, "round {round}");
            Fault::HostDeath.begin(&mut scene.cluster, victim)?;
            scene.away(victim)?;
            let heir = scene.owner(vip(105))?;
            assert_eq!(scene.owner(vip6(0x105))?, heir, "round {round}");
            Fault::HostDeath.end(&mut scene.cluster, victim)?;
            scene.sees(heir, victim, "up")?;
            scene.at_rest()?;
        }
        Ok(())
    })
}
