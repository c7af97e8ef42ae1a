//! Stories of mode majority: whatever happens, no two hosts answer for a group (S1, checked at
//! every step), and what has a majority of the voters is served. Numbers H, S and L5 are those of
//! docs/invariants.md, numbers A those of docs/faults.md.

use std::time::Duration;

use buoy::protocol::{Configuration, Mode, Order, Rule, Strategy, Timing};

use crate::cluster::Cluster;
use crate::draw::{MICROSECOND, MILLISECOND, SECOND};
use crate::options::{Options, Voting};
use crate::plan::Plan;
use crate::story::Outcome;

/// Who is cut off or dead has lost its groups within this: the longest promise, what asking again
/// for it costs, and what taking takes.
const TAKEN_WITHIN: u64 = 700 * MILLISECOND;
/// A group that is moved alone is away for no longer than this.
const MOVED_WITHIN: u64 = 10 * MILLISECOND;
/// A group handed over is away for no longer than this.
const HANDED_OVER_WITHIN: u64 = 20 * MILLISECOND;
/// Whoever may answer again does so within this.
const BACK_WITHIN: u64 = 500 * MILLISECOND;

/// The first lease of all waits for what voters must remember to be on their disks, and is asked for
/// again.
const ASKED_FOR_WITHIN: u64 = 50 * MILLISECOND;

fn strict(nodes: usize, groups: usize, witness: bool, broken: Option<Rule>) -> Options {
    Options { broken, ..Options::strict(nodes, groups, witness) }
}

/// The host hears no other and is heard by none; clients reach it as before.
fn isolate(cluster: &mut Cluster, host: usize) {
    for other in (0..cluster.hosts.len()).filter(|other| *other != host) {
        cluster.cut(host, other);
        cluster.cut(other, host);
    }
}

/// The kernel of the host lets nothing through for any group.
fn closed(cluster: &Cluster, host: usize) -> bool {
    cluster.groups_of(host).is_empty()
}

/// H18: an owner dies. Its groups are served again when its promises are over, by the others.
pub(crate) fn strict_host_death(broken: Option<Rule>) -> Outcome {
    for seed in 0..12 {
        let witness = seed % 2 == 1;
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 6, witness, broken) })?;
        let owner = cluster.owner(0);
        cluster.run_for(seed * 11 * MILLISECOND)?;
        cluster.mark();
        cluster.crash(owner, None);
        cluster.wait_until("H18", TAKEN_WITHIN, Cluster::misled)?;
        cluster.run_for(5 * SECOND)?;
        cluster.expect_outage("H18", TAKEN_WITHIN)?;
    }
    Ok(())
}

/// H8: an owner is cut off. It is silent before the others open, takes nothing back when the
/// network heals, and nothing that the others have moves.
pub(crate) fn minority_closes(broken: Option<Rule>) -> Outcome {
    for seed in 0..12 {
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 6, false, broken) })?;
        let owner = cluster.owner(0);
        cluster.run_for(seed * 11 * MILLISECOND)?;
        isolate(&mut cluster, owner);
        cluster.run_for(TAKEN_WITHIN)?;
        cluster.expect("H8", closed(&cluster, owner), "the minority answers")?;
        cluster.wait_until("H8", MILLISECOND, Cluster::uncovered)?;
        cluster.run_for(3 * SECOND)?;
        let others: Vec<usize> = (0..3).filter(|host| *host != owner).collect();
        let before: Vec<Vec<usize>> = others.iter().map(|host| cluster.groups_of(*host)).collect();
        cluster.heal();
        cluster.watch("H9", SECOND, Cluster::uncovered)?;
        let after: Vec<Vec<usize>> = others.iter().map(|host| cluster.groups_of(*host)).collect();
        let kept = before.iter().zip(&after).all(|(before, after)| {
            before.len() <= after.len() + 2 && after.iter().all(|group| before.contains(group))
        });
        cluster.expect("H9", kept, "what the majority has moved more than balance needs")?;
        cluster.settle()?;
    }
    Ok(())
}

/// A short cut: shorter than a lease, longer than the detection time. The others have claimed by
/// then, but who has the lease keeps the group.
pub(crate) fn short_cut(broken: Option<Rule>) -> Outcome {
    for seed in 0..12 {
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 6, false, broken) })?;
        let owner = cluster.owner(0);
        let groups = cluster.groups_of(owner);
        isolate(&mut cluster, owner);
        cluster.run_for(430 * MILLISECOND)?;
        cluster.heal();
        cluster.run_for(SECOND)?;
        let same = groups.iter().all(|group| cluster.open[*group] == [owner]);
        cluster.expect("H8", same, "a group has left the node that had the lease")?;
        cluster.settle()?;
    }
    Ok(())
}

/// H8: everybody is alone. Nobody answers, nobody claims; healed, everybody has what it had.
pub(crate) fn everybody_alone(broken: Option<Rule>) -> Outcome {
    for seed in 0..6 {
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 6, false, broken) })?;
        let before = cluster.open.clone();
        for host in 0..3 {
            isolate(&mut cluster, host);
        }
        cluster.run_for(TAKEN_WITHIN)?;
        cluster.watch("H8", 5 * SECOND, |this| {
            this.open.iter().find_map(|open| {
                (!open.is_empty()).then(|| format!("{open:?} answers without a majority"))
            })
        })?;
        cluster.heal();
        cluster.wait_until("H9", BACK_WITHIN, Cluster::uncovered)?;
        cluster.run_for(SECOND)?;
        cluster.expect("H9", cluster.open == before, "groups have moved for nothing")?;
        cluster.settle()?;
    }
    Ok(())
}

/// H10: an owner stands still with its guardian for ten seconds. Its kernel is silent when the
/// others open; thawed, it gives way.
pub(crate) fn strict_freeze(broken: Option<Rule>) -> Outcome {
    for seed in 0..12 {
        let witness = seed % 2 == 1;
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 6, witness, broken) })?;
        let owner = cluster.owner(0);
        cluster.pause(owner, 10 * SECOND);
        cluster.run_for(TAKEN_WITHIN)?;
        cluster.expect("H10", closed(&cluster, owner), "a frozen owner answers")?;
        cluster.run_for(10 * SECOND)?;
        cluster.expect("H10", cluster.uncovered().is_none(), "not one owner for each group")?;
        cluster.expect_outage("H10", TAKEN_WITHIN)?;
        cluster.settle()?;
    }
    Ok(())
}

/// H13: the machine of an owner stands still with its clock. On going on its kernel may answer for
/// what was left of the lease, until the daemon has heard a peer.
pub(crate) fn strict_machine_pause(broken: Option<Rule>) -> Outcome {
    for seed in 0..12 {
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 6, false, broken) })?;
        let owner = cluster.owner(0);
        cluster.pause_machine(owner, 3 * SECOND);
        cluster.run_for(3 * SECOND)?;
        cluster.wait_until("S1'", 250 * MILLISECOND, |this| this.not_empty(owner))?;
        cluster.watch("S1'", SECOND, Cluster::uncovered)?;
        cluster.settle()?;
    }
    Ok(())
}

/// H12: the daemon dies and its guardian with it. The kernel closes the gate; after a restart the
/// old promises are waited for.
pub(crate) fn strict_crash(broken: Option<Rule>) -> Outcome {
    for seed in 0..12 {
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 6, false, broken) })?;
        let owner = cluster.owner(0);
        cluster.kill_daemon(owner, None, false);
        cluster.run_for(seed * 60 * MILLISECOND)?;
        cluster.start(owner);
        cluster.wait_until("H12", TAKEN_WITHIN + 50 * MILLISECOND, Cluster::misled)?;
        cluster.settle()?;
    }
    Ok(())
}

/// H11: the daemon dies, its guardian says farewell: no promise is waited for.
pub(crate) fn strict_farewell(broken: Option<Rule>) -> Outcome {
    for seed in 0..12 {
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 6, false, broken) })?;
        let owner = cluster.owner(0);
        cluster.kill_daemon(owner, None, true);
        cluster.run_for(SECOND)?;
        cluster.expect_outage("H11", 40 * MILLISECOND)?;
    }
    Ok(())
}

/// H61: a voter dies and comes back without memory while another owner is cut off: it must not
/// promise again what it has promised.
pub(crate) fn voter_forgets(broken: Option<Rule>) -> Outcome {
    for seed in 0..24 {
        let options = Options { seed, ..strict(3, 2, true, broken) };
        let maturity = Duration::from_millis(30);
        let timing = Timing { maturity_min: maturity, ..options.timing };
        let mut cluster = Cluster::settled(Options { timing, ..options })?;
        let (witness, owner) = (2, cluster.owner(0));
        let other = cluster.other_than(&[witness, owner]);
        cluster.cut(owner, other);
        cluster.cut(other, owner);
        cluster.run_for(seed * 20 * MILLISECOND)?;
        // The witness forgets, and then hears the one that has no lease, and not the other.
        cluster.cut(owner, witness);
        cluster.cut(witness, owner);
        cluster.kill_daemon(witness, None, false);
        cluster.start(witness);
        cluster.run_for(2 * SECOND)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// The witness of a pair dies: nothing happens. Then a node of the pair dies as well: the other is
/// silent, and serves again as soon as the witness is back.
pub(crate) fn witness_lost(broken: Option<Rule>) -> Outcome {
    for seed in 0..6 {
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 6, true, broken) })?;
        cluster.crash(2, None);
        cluster.watch("H8", 3 * SECOND, Cluster::uncovered)?;
        let (owner, other) = (cluster.owner(0), 1 - cluster.owner(0));
        cluster.crash(owner, None);
        cluster.run_for(TAKEN_WITHIN)?;
        cluster.expect("H8", closed(&cluster, other), "one of three answers")?;
        cluster.power_on(2);
        cluster.wait_until("H8", 2 * SECOND, Cluster::uncovered)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// L5: a node is drained and filled again, and stopped in good order. Clients hardly notice.
pub(crate) fn strict_drain(broken: Option<Rule>) -> Outcome {
    for seed in 0..6 {
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 12, false, broken) })?;
        let owner = cluster.owner(0);
        let id = cluster.hosts[owner].id;
        cluster.order(owner, Order::Drain(id));
        cluster.wait_until("L5", 3 * SECOND, |this| this.not_empty(owner))?;
        cluster.run_for(SECOND)?;
        cluster.order(owner, Order::Undrain(id));
        cluster.settle()?;
        cluster.stop(owner, None);
        cluster.run_for(2 * SECOND)?;
        cluster.expect_outage("L5", HANDED_OVER_WITHIN)?;
    }
    Ok(())
}

/// A node that has had no group for a while is granted the lease of one that is moved to it with its first
/// request: the move takes no longer than one to a node that has groups.
pub(crate) fn idle_node_gets_its_lease_at_once(broken: Option<Rule>) -> Outcome {
    for seed in 0..6 {
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 1, false, broken) })?;
        let (first, group) = (cluster.owner(0), cluster.groups[0]);
        let other = cluster.other_than(&[first]);
        for (from, to) in [(first, other), (other, first), (first, other)] {
            cluster.mark();
            let to_node = cluster.hosts[to].id;
            cluster.order(from, Order::Move { group, to: to_node });
            cluster.wait_until("L1", 100 * MILLISECOND, |this| {
                (this.open[0] != [to]).then(|| "not moved".to_owned())
            })?;
            cluster.run_for(5 * SECOND)?;
            cluster.expect_outage("L1", MOVED_WITHIN)?;
        }
    }
    Ok(())
}

/// H15: the clock of an owner runs slow and those of the voters fast, by 1.5 %, which is as much as
/// the margin of a promise bears with its slack. It outlasts the lease all the same.
pub(crate) fn clocks_drift(broken: Option<Rule>) -> Outcome {
    for seed in 0..12 {
        let mut options = strict(3, 2, true, broken);
        options.weather.delay = 20 * MICROSECOND;
        options.weather.jitter = MICROSECOND;
        let mut cluster = Cluster::settled(Options { seed, ..options })?;
        let owner = cluster.owner(0);
        for host in (0..3).filter(|host| *host != owner) {
            cluster.hosts[host].clock.hasten(cluster.now, 15_000);
        }
        cluster.hosts[owner].clock.hasten(cluster.now, 0);
        cluster.run_for(5 * SECOND + seed * 7 * MILLISECOND)?;
        isolate(&mut cluster, owner);
        cluster.run_for(2 * SECOND)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// H62, H63: grants of three of five voters are under way for half a second while their owner
/// hands its group over, and come when it believes the new owner dead and wants the group again.
/// They are void.
pub(crate) fn late_grants(broken: Option<Rule>) -> Outcome {
    for seed in 0..12 {
        let voting = Voting { voters: 5, witness: false };
        let options = Options { seed, ..strict(5, 1, false, broken) };
        let mut cluster = Cluster::settled(Options { strict: Some(voting), ..options })?;
        let owner = cluster.owner(0);
        let receiver = cluster.other_than(&[owner]);
        let others: Vec<usize> = (0..5).filter(|host| ![owner, receiver].contains(host)).collect();
        for other in &others {
            cluster.network.detour(*other, owner, 450 * MILLISECOND);
        }
        cluster.run_for(120 * MILLISECOND)?;
        for other in &others {
            cluster.network.detour(*other, owner, 0);
        }
        let (group, to) = (cluster.groups[0], cluster.hosts[receiver].id);
        cluster.order(owner, Order::Move { group, to });
        cluster.wait_until("L5", 100 * MILLISECOND, |this| {
            (this.open[0] != [receiver]).then(|| "not moved".to_owned())
        })?;
        isolate(&mut cluster, receiver);
        cluster.run_for(2 * SECOND)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// H3: an owner whose way to the voters takes long. Its lease is counted from its asking.
pub(crate) fn slow_way(broken: Option<Rule>) -> Outcome {
    for seed in 0..12 {
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 2, true, broken) })?;
        let owner = cluster.owner(0);
        cluster.network.weather.late = 900_000;
        cluster.network.weather.late_most = 250 * MILLISECOND;
        cluster.run_for(SECOND + seed * 13 * MILLISECOND)?;
        for host in (0..3).filter(|host| *host != owner) {
            cluster.cut(owner, host);
        }
        cluster.run_for(3 * SECOND)?;
        cluster.network.weather.late = 0;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// H24: the file of one node names other voters. It is granted nothing and takes nothing, nobody is
/// disturbed; with the file of the others it gets its share.
pub(crate) fn voters_differ(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::new(strict(4, 8, false, broken));
    let other = Plan { other_voters: true, ..cluster.plans[0].clone() };
    cluster.plans.push(other);
    cluster.hosts[0].powered = false;
    cluster.wait_until("H24", 5 * SECOND, Cluster::uncovered)?;
    cluster.run_for(10 * SECOND)?;
    cluster.mark();
    cluster.hosts[0].plan = 1;
    cluster.power_on(0);
    cluster.watch("H24", 30 * SECOND, |this| this.not_empty(0).or_else(|| this.misled()))?;
    cluster.expect_moves("H24", 0)?;
    let mended = cluster.plans[0].clone();
    cluster.plans.push(mended);
    cluster.adopt(0, 2);
    cluster.settle()?;
    cluster.expect("H24", !cluster.groups_of(0).is_empty(), "it has got nothing")?;
    Ok(())
}

fn to_majority(configuration: &mut Configuration) {
    configuration.groups.values_mut().for_each(|group| group.mode = Mode::Majority);
}

fn without_a_vote(configuration: &mut Configuration) {
    configuration.nodes.values_mut().take(1).for_each(|member| member.votes = false);
}

/// A8, A9: the mode becomes `majority` by reload, host by host, and `availability` again; then one
/// host has no vote any more, which is nothing to groups in that mode. Nothing moves, and clients
/// hardly notice.
pub(crate) fn mode_goes_to_and_fro(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(Options { broken, ..Options::calm(3, 6) })?;
    let first = cluster.plans[0].clone();
    let changes: [Option<fn(&mut Configuration)>; 3] =
        [Some(to_majority), None, Some(without_a_vote)];
    for adjust in changes {
        cluster.plans.push(Plan { adjust, ..first.clone() });
        let plan = cluster.plans.len() - 1;
        for host in 0..3 {
            cluster.adopt(host, plan);
            cluster.watch("A8", 2 * SECOND, Cluster::doubled)?;
            cluster.expect("A8", cluster.uncovered().is_none(), "a group is closed")?;
        }
    }
    cluster.expect_outage("A8", ASKED_FOR_WITHIN)?;
    cluster.expect_moves("A9", 0).map_err(String::from)
}

/// A12: an owner of 299 groups stands still. Those who take them are refused more groups than one
/// answer can name until its promises are over. What is moved to one of them meanwhile is served.
pub(crate) fn many_are_refused(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::new(Options { traced: false, ..strict(3, 300, false, broken) });
    let ids: Vec<_> = cluster.hosts.iter().map(|host| host.id).collect();
    let last = cluster.groups[299];
    for (key, group) in &mut cluster.plans[0].groups {
        group.strategy = Strategy::Priority;
        group.prefer = [ids[if *key == last { 2 } else { 0 }]].into_iter().collect();
    }
    cluster.settle()?;
    cluster.expect("A12", cluster.groups_of(0).len() == 299, "it does not have what it should")?;
    cluster.pause(0, 5 * SECOND);
    cluster.run_for(400 * MILLISECOND)?;
    cluster.order(2, Order::Move { group: last, to: ids[1] });
    cluster.wait_until("A12", 40 * MILLISECOND, |this| {
        (this.open[299] != [1]).then(|| "not moved".to_owned())
    })?;
    cluster.expect("A12", cluster.groups_of(1).len() == 1, "no group is refused")?;
    Ok(())
}
