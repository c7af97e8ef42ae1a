//! Stories of mode majority in which hosts do not go by the same file, or hear one way only:
//! S1 (docs/invariants.md) is checked at every step, and what has a majority of the voters of one
//! list is served. A1, A3 and L7 are faults of docs/faults.md.

use buoy::protocol::{Rule, Timing};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::options::{Options, Voting};
use crate::plan::Plan;
use crate::story::Outcome;

/// The lease and the promise of the slowest profile, and what taking takes.
const SLOWEST: u64 = 5 * SECOND;
/// Whoever is deaf has lost its groups within this: half a lease in which it might still hear, the
/// promise, and what taking takes.
const RELIEVED_WITHIN: u64 = 1_100 * MILLISECOND;
/// A change of the voters costs no more than this: settling, the silence after it, and asking.
const CHANGED_WITHIN: u64 = 2_500 * MILLISECOND;

fn strict(nodes: usize, groups: usize, broken: Option<Rule>) -> Options {
    Options { broken, ..Options::strict(nodes, groups, false) }
}

fn isolate(cluster: &mut Cluster, hosts: &[usize]) {
    for host in hosts {
        for other in (0..cluster.hosts.len()).filter(|other| !hosts.contains(other)) {
            cluster.cut(*host, other);
            cluster.cut(other, *host);
        }
    }
}

/// A1: the owner's file says slower times than those of the voters, or a faster one, by reload or
/// restart, before the cluster starts or while it runs. Then its cable is cut.
pub(crate) fn profiles_differ(broken: Option<Rule>) -> Outcome {
    let profiles = [Timing::FAST, Timing::LAN, Timing::VM];
    for seed in 0..18 {
        let timing = profiles[usize::try_from(seed % 3).expect("small")];
        let other = profiles[usize::try_from(seed / 3 % 3).expect("small")];
        let options = Options { seed, timing, profiles: true, ..strict(3, 3, broken) };
        let mut cluster = Cluster::settled(options)?;
        let owner = cluster.owner(0);
        let voter = cluster.other_than(&[owner]);
        let odd = if seed % 2 == 0 { owner } else { voter };
        if seed < 9 {
            cluster.set_profile(odd, Some(other));
        } else {
            cluster.kill_daemon(odd, None, false);
            cluster.hosts[odd].timing = Some(other);
            cluster.start(odd);
        }
        cluster.wait_until("A1", 60 * SECOND, Cluster::uncovered)?;
        cluster.run_for(2 * SECOND + seed * 37 * MILLISECOND)?;
        let owner = cluster.owner(0);
        isolate(&mut cluster, &[owner]);
        cluster.run_for(2 * SLOWEST)?;
        cluster.expect("A1", cluster.uncovered().is_none(), "not one owner for each group")?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// A1: a voter that has granted long leases starts again with a short one in its file, and forgets
/// whom it has promised.
pub(crate) fn profile_of_a_voter_that_starts_again(broken: Option<Rule>) -> Outcome {
    for seed in 0..8 {
        let options = strict(3, 2, broken);
        let options = Options { seed, timing: Timing::VM, profiles: true, ..options };
        let mut cluster = Cluster::settled(options)?;
        let owner = cluster.owner(0);
        let voter = cluster.other_than(&[owner]);
        let other = cluster.other_than(&[owner, voter]);
        isolate(&mut cluster, &[owner]);
        cluster.run_for(seed * 100 * MILLISECOND)?;
        for host in [voter, other] {
            cluster.kill_daemon(host, None, false);
            cluster.hosts[host].timing = Some(Timing::FAST);
            cluster.start(host);
        }
        cluster.run_for(2 * SLOWEST)?;
        cluster.expect("A1", cluster.uncovered().is_none(), "not one owner for each group")?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// L7: an owner hears nobody, or no node; it is heard. The voters relieve it.
pub(crate) fn deaf_strict_owner(broken: Option<Rule>) -> Outcome {
    for seed in 0..12 {
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 3, broken) })?;
        let owner = cluster.owner(0);
        if seed % 2 == 0 {
            cluster.deafen(owner);
        } else {
            for host in (0..3).filter(|host| *host != owner) {
                cluster.cut(host, owner);
            }
        }
        cluster.run_for(RELIEVED_WITHIN + seed * 7 * MILLISECOND)?;
        cluster.expect("L7", cluster.uncovered().is_none(), "a deaf owner is not relieved")?;
        cluster.run_for(4 * SECOND)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// L7: the cut lasts for any time, one way or the other. Nothing is at two hosts, and it heals.
pub(crate) fn one_way_cuts_of_every_length(broken: Option<Rule>) -> Outcome {
    for step in 0..16 {
        let mut cluster = Cluster::settled(Options { seed: step, ..strict(3, 3, broken) })?;
        let owner = cluster.owner(0);
        for host in (0..3).filter(|host| *host != owner) {
            let (from, to) = if step % 2 == 0 { (host, owner) } else { (owner, host) };
            cluster.cut(from, to);
        }
        cluster.run_for((step + 1) * 120 * MILLISECOND)?;
        cluster.heal();
        cluster.wait_until("L7", RELIEVED_WITHIN, Cluster::uncovered)?;
        cluster.settle()?;
    }
    Ok(())
}

/// Five hosts, of which the last three vote; by the other file all five do.
fn growing(seed: u64, broken: Option<Rule>) -> Result<Cluster, crate::trace::Violation> {
    let strict = Some(Voting { voters: 5, witness: false });
    let options = Options { seed, strict, ..strict_of_five(broken) };
    let mut cluster = Cluster::new(options);
    // The file with fewer voters first.
    cluster.plans[0].other_voters = true;
    let more = Plan { other_voters: false, ..cluster.plans[0].clone() };
    cluster.settle()?;
    cluster.plans.push(more);
    Ok(cluster)
}

fn strict_of_five(broken: Option<Rule>) -> Options {
    strict(5, 3, broken)
}

/// A3: voters are added host by host, by reload or restart; the network splits in the middle of it,
/// for an hour as far as anybody knows; no group has two owners, and it ends well.
pub(crate) fn split_while_voters_are_added(broken: Option<Rule>) -> Outcome {
    for seed in 0..20 {
        let mut cluster = growing(seed, broken)?;
        let reached: &[usize] = [&[0, 1, 2][..], &[2, 0, 1], &[2, 3], &[4, 0, 1], &[0, 1, 2, 3]]
            [usize::try_from(seed % 5).expect("small")];
        for host in reached {
            if seed < 10 {
                cluster.adopt(*host, 1);
            } else {
                cluster.hosts[*host].plan = 1;
                cluster.kill_daemon(*host, None, false);
                cluster.start(*host);
            }
            cluster.run_for(3 * SECOND)?;
        }
        isolate(&mut cluster, if seed % 2 == 0 { &[3, 4] } else { &[2, 0, 1] });
        cluster.run_for(20 * SECOND)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// A3: a rollout of other voters to each host after the other, and back again, costs each group a
/// moment at most.
pub(crate) fn voters_are_added_and_removed(broken: Option<Rule>) -> Outcome {
    for seed in 0..4 {
        let mut cluster = growing(seed, broken)?;
        let fewer = cluster.plans[0].clone();
        cluster.plans.push(fewer);
        for plan in [1, 2] {
            for host in [2, 3, 4, 0, 1] {
                cluster.adopt(host, plan);
                cluster.run_for(3 * SECOND)?;
            }
            cluster.wait_until("A3", SECOND, Cluster::uncovered)?;
        }
        cluster.expect_outage("A3", 2 * CHANGED_WITHIN)?;
        cluster.settle()?;
    }
    Ok(())
}

/// A3: voters go by one list, by another and back, some of them, while the network falls apart in
/// every way and daemons die.
pub(crate) fn voters_go_to_and_fro(broken: Option<Rule>) -> Outcome {
    for seed in 0..30 {
        let mut cluster = growing(seed, broken)?;
        let mut plan = 0;
        for _ in 0..12 {
            let next = Plan {
                other_voters: !cluster.plans[plan].other_voters,
                ..cluster.plans[plan].clone()
            };
            plan = cluster.plans.len();
            cluster.plans.push(next);
            for _ in 0..cluster.draw.between(1, 4) {
                let host = cluster.draw.index(5);
                cluster.adopt(host, plan);
                if cluster.draw.chance(300_000) {
                    cluster.kill_daemon(host, None, false);
                    cluster.start(host);
                }
                let wait = cluster.draw.between(0, 900) * MILLISECOND;
                cluster.run_for(wait)?;
            }
            let side: Vec<usize> = (0..5).filter(|_| cluster.draw.chance(500_000)).collect();
            cluster.network.heal();
            if cluster.draw.chance(700_000) {
                isolate(&mut cluster, &side);
            }
            cluster.run_for(SECOND)?;
        }
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}
