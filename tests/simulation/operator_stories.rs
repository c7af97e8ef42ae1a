//! Stories of operators: orders, files, stops, hand-overs that are cut short (H24, H54 to H58 in
//! docs/invariants.md).

use std::time::Duration;

use buoy::protocol::{
    Errand, Event, Group, HardwareAddress, KernelEvent, Message, Order, Preserve, Rule,
};

use crate::cluster::Cluster;
use crate::draw::{MICROSECOND, MILLISECOND, SECOND};
use crate::options::Options;
use crate::plan::Plan;
use crate::story::{Outcome, calm};
use crate::trace::Violation;

/// A group handed over is away for no longer than this.
const HANDED_OVER_WITHIN: u64 = 20 * MILLISECOND;

/// An hour in which nothing happens: nothing happens.
pub(crate) fn calm_hour(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    cluster.run_for(3_600 * SECOND)?;
    cluster.expect_moves("L7", 0)?;
    cluster.expect_outage("L7", 0)?;
    cluster.expect("L7", cluster.safety.accusations == 0, "somebody was accused")?;
    cluster.expect("L7", cluster.unwell().is_none(), "all is not well")?;
    Ok(())
}

/// H24: a new group is known to one node only, which dies. Nobody who does not know the group has
/// it; when the others know it, one takes it.
pub(crate) fn list_differs(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(Options { groups_spare: 1, ..calm(3, 3, broken) })?;
    let mut plan = cluster.plans[0].clone();
    let (key, like) = (cluster.groups[3], plan.groups[&cluster.groups[0]].clone());
    plan.groups.insert(key, Group { addresses: vec![key], ..like });
    cluster.plans.push(plan);
    cluster.adopt(0, 1);
    cluster.wait_until("H24", 2 * SECOND, Cluster::uncovered)?;
    cluster.expect("H24", cluster.open[3] == [0], "n0 alone knows it")?;
    cluster.watch("H24", 20 * SECOND, Cluster::uncovered)?;
    cluster.crash(0, None);
    cluster.watch("H24", 5 * SECOND, |this| {
        (!this.open[3].is_empty()).then(|| "a conflicting host has it".to_owned())
    })?;
    cluster.adopt(1, 1);
    cluster.adopt(2, 1);
    cluster.wait_until("H24", 2 * SECOND, Cluster::uncovered)?;
    cluster.hosts[0].plan = 1;
    cluster.power_on(0);
    cluster.settle()?;
    Ok(())
}

/// H55: all nodes reload a file in which nothing has changed. Nothing moves.
pub(crate) fn reload(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    for plan in 1..4 {
        let same = cluster.plans[0].clone();
        cluster.plans.push(same);
        for host in 0..3 {
            cluster.adopt(host, plan);
            cluster.run_for(70 * MILLISECOND)?;
        }
    }
    cluster.watch("H55", 10 * SECOND, Cluster::condemned)?;
    cluster.expect_moves("H55", 0)?;
    cluster.expect_outage("H55", 0)?;
    Ok(())
}

/// A node is drained and keeps the connections that it had. Who has a group of it now does not hand
/// it on while connections to it are kept; when it dies and a third node takes the group, nothing
/// is kept any more.
pub(crate) fn kept_connections(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    let preserve = Some(Preserve { limit: Duration::from_secs(600), brief: false });
    let plan = Plan { preserve, ..cluster.plans[0].clone() };
    cluster.plans.push(plan);
    let groups = cluster.groups.clone();
    for host in 0..3 {
        cluster.adopt(host, 1);
        cluster.run_for(10 * MILLISECOND)?;
        for group in &groups {
            let hardware = HardwareAddress([2, 0, 0, 0, 0, 1]);
            cluster.step(host, Event::Kernel(KernelEvent::Keepable { group: *group, hardware }));
        }
    }
    let first = cluster.owner(0);
    let drain = |cluster: &mut Cluster, host: usize| {
        let id = cluster.hosts[host].id;
        cluster.order(host, Order::Drain(id));
    };
    drain(&mut cluster, first);
    cluster.wait_until("kept", SECOND, |this| this.not_empty(first))?;
    let second = cluster.owner(0);
    let kept = |this: &Cluster| this.hosts[first].kernel.kept.contains(&0);
    cluster.expect("kept", kept(&cluster), "the first owner keeps nothing")?;
    cluster.step(first, Event::Kernel(KernelEvent::Kept(vec![(groups[0], 5)])));
    drain(&mut cluster, second);
    cluster.watch("kept", 8 * SECOND, |this| {
        (this.open[0] != [second]).then(|| format!("g0 is at {:?}", this.open[0]))
    })?;
    cluster.crash(second, None);
    cluster.wait_until("kept", 2 * SECOND, Cluster::uncovered)?;
    cluster.run_for(100 * MILLISECOND)?;
    cluster.expect("kept", !kept(&cluster), "the first owner keeps connections of a third")?;
    Ok(())
}

/// A node is drained from another, stays empty, is restarted, stays empty, and is undrained.
pub(crate) fn drain_and_undrain(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 9, broken))?;
    let id = cluster.hosts[1].id;
    cluster.order(0, Order::Drain(id));
    cluster.wait_until("L5", 5 * SECOND, |this| this.not_empty(1))?;
    cluster.watch("L5", 20 * SECOND, |this| this.not_empty(1))?;
    cluster.expect_outage("L5", HANDED_OVER_WITHIN)?;
    cluster.crash(1, None);
    cluster.run_for(SECOND)?;
    cluster.power_on(1);
    cluster.watch("L5", 10 * SECOND, |this| this.not_empty(1))?;
    cluster.crash(2, None);
    cluster.watch("L5", 10 * SECOND, |this| this.not_empty(1))?;
    cluster.power_on(2);
    cluster.run_for(5 * SECOND)?;
    cluster.mark();
    cluster.order(0, Order::Undrain(id));
    cluster.settle()?;
    Ok(())
}

/// H54: a daemon is told to stop. It hands over first, and clients hardly notice.
pub(crate) fn clean_stop(broken: Option<Rule>) -> Outcome {
    for nodes in [2, 3, 5] {
        let mut cluster = Cluster::settled(calm(nodes, 10, broken))?;
        cluster.stop(0, None);
        cluster.wait_until("H54", SECOND, |this| {
            this.hosts[0].node.is_some().then(|| "n0 has not stopped".to_owned())
        })?;
        cluster.run_for(10 * SECOND)?;
        cluster.expect_outage("H54", HANDED_OVER_WITHIN)?;
    }
    Ok(())
}

/// An operator moves a group. It arrives and stays.
pub(crate) fn move_stays(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    let owner = cluster.owner(0);
    let to = cluster.other_than(&[owner]);
    let order = Order::Move { group: cluster.groups[0], to: cluster.hosts[to].id };
    cluster.order(cluster.other_than(&[owner, to]), order);
    let elsewhere = |this: &Cluster| {
        (this.open[0] != [to]).then(|| format!("g0 is at {:?}, not at n{to}", this.open[0]))
    };
    cluster.wait_until("move", SECOND, elsewhere)?;
    cluster.watch("move", 120 * SECOND, elsewhere)?;
    cluster.expect_outage("move", HANDED_OVER_WITHIN)?;
    Ok(())
}

/// Orders the first group from its owner to another host, and goes on for a while. Tells both.
fn move_begun(cluster: &mut Cluster, length: u64) -> Result<(usize, usize), Violation> {
    let owner = cluster.owner(0);
    let to = cluster.other_than(&[owner]);
    let order = Order::Move { group: cluster.groups[0], to: cluster.hosts[to].id };
    cluster.order(owner, order);
    cluster.run_for(length)?;
    Ok((owner, to))
}

/// After a fault in the middle of a hand-over.
fn no_worse_than_a_death(cluster: &mut Cluster) -> Result<(), Violation> {
    cluster.wait_until("H58", SECOND, Cluster::misled)?;
    cluster.run_for(5 * SECOND)?;
    cluster.expect_outage("H58", 700 * MILLISECOND)
}

/// H58: the receiver of a hand-over dies at each of its steps. The group is not lost for longer
/// than by a death.
pub(crate) fn receiver_dies(broken: Option<Rule>) -> Outcome {
    for step in 0..16 {
        let mut cluster = Cluster::settled(calm(3, 3, broken))?;
        let (_, to) = move_begun(&mut cluster, step * 100 * MICROSECOND)?;
        cluster.crash(to, None);
        no_worse_than_a_death(&mut cluster)?;
    }
    Ok(())
}

/// H58: the giver dies at each step of a hand-over.
pub(crate) fn giver_dies(broken: Option<Rule>) -> Outcome {
    for step in 0..16 {
        let mut cluster = Cluster::settled(calm(3, 3, broken))?;
        let (owner, _) = move_begun(&mut cluster, step * 100 * MICROSECOND)?;
        cluster.crash(owner, None);
        no_worse_than_a_death(&mut cluster)?;
    }
    Ok(())
}

/// The receiver of a hand-over loses its data link while the giver's slow kernel lets go, and
/// lives on by its second path. What it was promised and cannot take goes back.
pub(crate) fn receiver_loses_its_link(broken: Option<Rule>) -> Outcome {
    for seed in 0..16 {
        let options = Options { seed, paths: 2, kernel_slow: 1_000_000, ..calm(3, 3, broken) };
        let mut cluster = Cluster::settled(options)?;
        let (_, to) = move_begun(&mut cluster, MILLISECOND)?;
        cluster.pull_link(to);
        no_worse_than_a_death(&mut cluster)?;
    }
    Ok(())
}

/// What the receiver of a hand-over says gets lost on the way to the giver, from each step on.
/// The giver does not take back what the receiver may have.
pub(crate) fn receiver_is_not_heard(broken: Option<Rule>) -> Outcome {
    for step in 0..16 {
        let mut cluster = Cluster::settled(calm(3, 1, broken))?;
        let (owner, to) = move_begun(&mut cluster, step * 100 * MICROSECOND)?;
        cluster.cut(to, owner);
        cluster.run_for(150 * MILLISECOND)?;
        cluster.heal();
        cluster.run_for(5 * SECOND)?;
        cluster.expect_moves("S9", 1)?;
        cluster.expect_outage("H58", 300 * MILLISECOND)?;
    }
    Ok(())
}

/// Kernels are slow, and a node is drained: at no time do two answer.
pub(crate) fn drain_with_slow_kernels(broken: Option<Rule>) -> Outcome {
    let options = Options { kernel_slow: 1_000_000, ..calm(3, 9, broken) };
    let mut cluster = Cluster::settled(options)?;
    let id = cluster.hosts[1].id;
    cluster.order(1, Order::Drain(id));
    cluster.watch("S9", 5 * SECOND, Cluster::doubled)?;
    cluster.expect("L5", cluster.not_empty(1).is_none(), "n1 is not empty")?;
    Ok(())
}

/// Something that never ends is to be done before a group may move: a drain waits for it, and no
/// longer than it may take. A failover does not wait.
pub(crate) fn gates_hold_what_is_planned(broken: Option<Rule>) -> Outcome {
    let options = Options { gate: Some(Duration::from_secs(2)), ..calm(3, 9, broken) };
    let mut cluster = Cluster::settled(options)?;
    let before = cluster.groups_of(1);
    cluster.expect("gate", !before.is_empty(), "n1 has nothing")?;
    cluster.order(0, Order::Drain(cluster.hosts[1].id));
    cluster.watch("gate", 1_900 * MILLISECOND, |this| {
        (this.groups_of(1) != before).then(|| "a gate did not hold".to_owned())
    })?;
    cluster.wait_until("gate", 300 * MILLISECOND, |this| this.not_empty(1))?;
    cluster.expect_outage("gate", HANDED_OVER_WITHIN)?;
    cluster.crash(2, None);
    cluster.wait_until("gate", 500 * MILLISECOND, Cluster::uncovered)?;
    Ok(())
}

/// One of two is drained when the other dies. It was taken out for a reason, and takes nothing.
pub(crate) fn drained_survivor(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(2, 4, broken))?;
    let id = cluster.hosts[1].id;
    cluster.order(1, Order::Drain(id));
    cluster.wait_until("L5", 5 * SECOND, |this| this.not_empty(1))?;
    cluster.crash(0, None);
    cluster.watch("L5", 10 * SECOND, |this| this.not_empty(1))?;
    Ok(())
}

/// H3: a repeat of an order to drain comes when the node has been undrained since. It is not drained
/// again.
pub(crate) fn late_repeat(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    let id = cluster.hosts[1].id;
    let ticket = cluster.order(0, Order::Drain(id));
    cluster.wait_until("B4", 5 * SECOND, |this| this.not_empty(1))?;
    cluster.order(0, Order::Undrain(id));
    cluster.wait_until("B4", 30 * SECOND, Cluster::unwell)?;
    let ticket = ticket.expect("the daemon runs");
    cluster.send(0, id, Message::Errand(Errand { ticket, order: Order::Drain(id) }));
    cluster.watch("B4", 10 * SECOND, |this| {
        this.hosts[1].draining.then(|| "it drains again".to_owned())
    })?;
    cluster.expect("B4", cluster.unwell().is_none(), "it has lost its share")?;
    Ok(())
}
