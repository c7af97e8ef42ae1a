//! Stories of files that have the same addresses in different groups while they are rolled out:
//! no address has two owners, and none is without one for longer than a planned move takes. A2 is a
//! fault of docs/faults.md.

use std::collections::BTreeSet;

use buoy::protocol::{Failure, GroupKey, Rule, Status};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::options::Options;
use crate::plan::Plan;
use crate::story::{Outcome, calm};

/// An address is away for no longer than this when its group is another one: as if it were moved.
const REGROUPED_WITHIN: u64 = 120 * MILLISECOND;
/// An interrupted rollout stays so for a while; an hour is many of these.
const INTERRUPTED: u64 = 20 * SECOND;

impl Cluster {
    /// What the daemon of a host says of itself.
    fn status(&self, host: usize) -> Status {
        let this = &self.hosts[host];
        let node = this.node.as_ref().expect("the host runs");
        node.status(this.clock.read(self.now))
    }
}

type Change = fn(&Plan, &[GroupKey]) -> Plan;

/// All that can become of two addresses, and of three in two groups.
const CHANGES: &[(&str, Change)] = &[
    ("merged", |plan, keys| plan.merged(keys[1], keys[0])),
    ("merged the other way", |plan, keys| plan.merged(keys[0], keys[1])),
    ("three in one", |plan, keys| plan.merged(keys[1], keys[0]).merged(keys[1], keys[2])),
    ("merged and turned", |plan, keys| plan.merged(keys[1], keys[0]).turned(keys[1])),
    ("moved", |plan, keys| plan.merged(keys[0], keys[1]).moved(keys[0], keys[2], 1)),
    ("first one moved", |plan, keys| plan.merged(keys[0], keys[1]).moved(keys[0], keys[2], 0)),
];

fn options(strict: bool, seed: u64, broken: Option<Rule>) -> Options {
    let options = if strict { Options::strict(3, 3, false) } else { calm(3, 3, broken) };
    Options { seed, broken, ..options }
}

/// Reloads the newest file on the hosts, in this order, with so long between two of them; nobody
/// may answer twice, and everybody be answered.
fn roll_out(cluster: &mut Cluster, order: &[usize], gap: u64) -> Outcome {
    let plan = cluster.plans.len() - 1;
    for host in order {
        cluster.adopt(*host, plan);
        cluster.watch("A2", gap, Cluster::doubled)?;
        cluster.expect_outage("A2", REGROUPED_WITHIN)?;
        cluster.mark();
    }
    Ok(())
}

fn orders() -> [[usize; 3]; 6] {
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
}

/// Every change, forward and back, host by host in every order.
fn every_change(strict: bool, broken: Option<Rule>) -> Outcome {
    for (seed, (name, change)) in (0_u64..).zip(CHANGES) {
        for order in orders() {
            let mut cluster = Cluster::settled(options(strict, seed, broken))?;
            let before = cluster.plans[0].clone();
            let after = change(&before, &cluster.groups.clone());
            for plan in [after, before] {
                cluster.plans.push(plan);
                roll_out(&mut cluster, &order, 2 * SECOND)
                    .map_err(|text| format!("{name}, {order:?}: {text}"))?;
                cluster
                    .wait_until("A2", SECOND, Cluster::uncovered)
                    .map_err(|found| format!("{name}, {order:?}: {}", String::from(found)))?;
            }
        }
    }
    Ok(())
}

/// A2: every change of composition in mode availability.
pub(crate) fn regrouped(broken: Option<Rule>) -> Outcome {
    every_change(false, broken)
}

/// The same in mode majority.
pub(crate) fn strict_regrouped(broken: Option<Rule>) -> Outcome {
    every_change(true, broken)
}

/// A2 as it was found: two addresses become one group, the owner of the second reloads alone. Both
/// are served by those who had them; the address that is withheld is told with who has it; then the
/// other reloads, and gives it away.
fn merged_on_one(strict: bool, broken: Option<Rule>) -> Outcome {
    for seed in 0..6 {
        let mut cluster = Cluster::settled(options(strict, seed, broken))?;
        let (first, second) = (cluster.owner(1), cluster.owner(0));
        let merged = cluster.plans[0].merged(cluster.groups[1], cluster.groups[0]);
        cluster.plans.push(merged);
        cluster.adopt(first, 1);
        cluster.watch("A2", INTERRUPTED, Cluster::uncovered)?;
        cluster.expect_moves("A2", 0)?;
        cluster.expect_outage("A2", 0)?;
        let status = cluster.status(first);
        let key = cluster.groups[1];
        let withheld = status.groups.iter().find(|it| it.group == key).and_then(|it| it.withheld);
        let told = withheld.map(|it| (it.address, it.owner));
        let owner = Some(cluster.hosts[second].id);
        let apart = first == second || told == Some((cluster.groups[0], owner));
        cluster.expect("A2", apart, &format!("status says of the address: {withheld:?}"))?;
        let others: Vec<usize> = (0..3).filter(|host| *host != first).collect();
        roll_out(&mut cluster, &others, SECOND)?;
        cluster.expect("A2", cluster.open[0] == cluster.open[1], "the group is in two places")?;
        cluster.settle()?;
    }
    Ok(())
}

/// See [`merged_on_one`].
pub(crate) fn merged_on_the_owner(broken: Option<Rule>) -> Outcome {
    merged_on_one(false, broken)
}

/// See [`merged_on_one`].
pub(crate) fn strict_merged_on_the_owner(broken: Option<Rule>) -> Outcome {
    merged_on_one(true, broken)
}

/// A reload merges a group into another one at the moment at which the kernel refuses the other one,
/// and is slow to remove what it has of both (seed 21193): nobody else answers before that.
fn merged_while_the_kernel_fails(strict: bool, broken: Option<Rule>) -> Outcome {
    for seed in 0..6 {
        let options =
            Options { groups: 9, kernel_slow: 1_000_000, ..options(strict, seed, broken) };
        let mut cluster = Cluster::settled(options)?;
        let owner = cluster.owner(0);
        // The two do not fail together: their numbers differ modulo 4.
        let other = (1..9).find(|it| it % 4 != 0 && cluster.owner(*it) == owner);
        let other = other.expect("it owns three of nine");
        let merged = cluster.plans[0].merged(cluster.groups[0], cluster.groups[other]);
        cluster.plans.push(merged);
        cluster.break_kernel(owner, Failure::Timeout, 0b0001);
        cluster.adopt(owner, 1);
        cluster.watch("A2", INTERRUPTED, Cluster::doubled)?;
        cluster.expect("A2", cluster.owner(other) != owner, "what its kernel refuses is there")?;
        cluster.mend_kernel(owner);
        let others: Vec<usize> = (0..3).filter(|host| *host != owner).collect();
        roll_out(&mut cluster, &others, SECOND)?;
        cluster.settle()?;
    }
    Ok(())
}

/// See [`merged_while_the_kernel_fails`].
pub(crate) fn merged_and_refused(broken: Option<Rule>) -> Outcome {
    merged_while_the_kernel_fails(false, broken)
}

/// See [`merged_while_the_kernel_fails`].
pub(crate) fn strict_merged_and_refused(broken: Option<Rule>) -> Outcome {
    merged_while_the_kernel_fails(true, broken)
}

/// A rollout is interrupted, and each host dies once meanwhile: who is left serves every address,
/// whichever file it goes by.
fn interrupted(strict: bool, broken: Option<Rule>) -> Outcome {
    for (seed, dies) in [(0, 0), (1, 1), (2, 2), (3, 0), (4, 1), (5, 2)] {
        let mut cluster = Cluster::settled(options(strict, seed, broken))?;
        let merged = cluster.plans[0].merged(cluster.groups[1], cluster.groups[0]);
        cluster.plans.push(merged);
        let first = usize::try_from(seed % 3).unwrap_or(0);
        cluster.adopt(first, 1);
        cluster.watch("A2", INTERRUPTED, Cluster::uncovered)?;
        cluster.crash(dies, None);
        cluster.wait_until("A2", 2 * SECOND, Cluster::uncovered)?;
        cluster.watch("A2", INTERRUPTED, Cluster::uncovered)?;
        cluster.power_on(dies);
        cluster.watch("A2", INTERRUPTED, Cluster::doubled)?;
        cluster.mark();
        roll_out(&mut cluster, &[0, 1, 2], 2 * SECOND)?;
        cluster.settle()?;
    }
    Ok(())
}

/// See [`interrupted`].
pub(crate) fn interrupted_rollout(broken: Option<Rule>) -> Outcome {
    interrupted(false, broken)
}

/// See [`interrupted`].
pub(crate) fn strict_interrupted_rollout(broken: Option<Rule>) -> Outcome {
    interrupted(true, broken)
}

/// Mode majority: the owner of an address is cut off while its file and that of the others differ.
/// Whoever has the address in a group waits for its lease as for that of a group.
pub(crate) fn strict_regrouped_and_cut(broken: Option<Rule>) -> Outcome {
    for seed in 0..12 {
        let mut cluster = Cluster::settled(options(true, seed, broken))?;
        let owner = cluster.owner(0);
        let merged = cluster.plans[0].merged(cluster.groups[1], cluster.groups[0]);
        cluster.plans.push(merged);
        for host in (0..3).filter(|host| *host != owner) {
            cluster.adopt(host, 1);
        }
        cluster.run_for((1 + seed) * 130 * MILLISECOND)?;
        for other in (0..3).filter(|host| *host != owner) {
            cluster.cut(owner, other);
            cluster.cut(other, owner);
        }
        cluster.wait_until("A2", 2 * SECOND, Cluster::uncovered)?;
        cluster.run_for(3 * SECOND)?;
        cluster.heal();
        cluster.watch("A2", 3 * SECOND, Cluster::doubled)?;
        cluster.settle()?;
    }
    Ok(())
}

/// Where files agree, a group with many addresses moves as a whole, and nothing is withheld.
pub(crate) fn whole_groups_move(broken: Option<Rule>) -> Outcome {
    for strict in [false, true] {
        let mut options = options(strict, 1, broken);
        options.groups = 12;
        let mut cluster = Cluster::new(options);
        let keys = cluster.groups.clone();
        let whole = keys[1..6]
            .iter()
            .fold(cluster.plans[0].clone(), |plan, key| plan.merged(keys[0], *key));
        cluster.plans.push(whole);
        for host in 0..3 {
            cluster.hosts[host].plan = 1;
        }
        cluster.settle()?;
        let owner = cluster.owner(0);
        cluster.crash(owner, None);
        cluster.run_for(2 * SECOND)?;
        let owners: BTreeSet<&Vec<usize>> = cluster.open[..6].iter().collect();
        cluster.expect("A2", owners.len() == 1, &format!("a group is in pieces: {owners:?}"))?;
        cluster.power_on(owner);
        cluster.settle()?;
        let held = cluster.status(cluster.owner(0));
        let withheld = held.groups.iter().any(|group| group.withheld.is_some());
        cluster.expect("A2", !withheld, "something is withheld although files agree")?;
    }
    Ok(())
}
