//! Stories of files that do not agree on who is a member. B1 and L6 are faults of docs/faults.md.

use buoy::protocol::Rule;

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::options::Options;
use crate::plan::Plan;
use crate::story::{Outcome, calm};
use crate::trace::Violation;

/// A group handed over is away for no longer than this.
const HANDED_OVER_WITHIN: u64 = 20 * MILLISECOND;

/// Three hosts, and a second file without the last of them.
fn without_the_last(broken: Option<Rule>) -> Result<Cluster, Violation> {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    let first = cluster.plans[0].clone();
    cluster.plans.push(Plan { absent: [2].into(), ..first });
    Ok(cluster)
}

/// Nothing is answered twice, or by the host that is not listed, for a while.
fn stays_out(cluster: &mut Cluster, length: u64) -> Result<(), Violation> {
    cluster.watch("B1", length, |this| this.doubled().or_else(|| this.not_empty(2)))
}

/// B1: a host is taken out of the file of the two others, which reload 10 ms apart, and runs on. It
/// gives all that it has away, as for a drain, and nobody has anything twice at any time.
pub(crate) fn removed_while_running(broken: Option<Rule>) -> Outcome {
    let mut cluster = without_the_last(broken)?;
    cluster.expect("B1", cluster.not_empty(2).is_some(), "the last host has nothing")?;
    for host in 0..2 {
        cluster.adopt(host, 1);
        cluster.watch("B1", 10 * MILLISECOND, Cluster::doubled)?;
    }
    cluster.wait_until("B1", SECOND, |this| this.doubled().or_else(|| this.not_empty(2)))?;
    cluster.wait_until("B1", SECOND, Cluster::uncovered)?;
    stays_out(&mut cluster, 60 * SECOND)?;
    cluster.expect_outage("B1", HANDED_OVER_WITHIN)?;
    cluster.expect("B1", cluster.safety.accusations == 0, "somebody was accused")?;
    // A host of the new file dies: the other takes over, and not the one that is not listed.
    cluster.crash(0, None);
    cluster.wait_until("B1", 2 * SECOND, Cluster::uncovered)?;
    stays_out(&mut cluster, 10 * SECOND)?;
    Ok(())
}

/// The file reaches one host only, for a long time, and is taken back there.
pub(crate) fn removed_by_one_and_listed_again(broken: Option<Rule>) -> Outcome {
    let mut cluster = without_the_last(broken)?;
    cluster.adopt(0, 1);
    cluster.wait_until("B1", SECOND, |this| this.doubled().or_else(|| this.not_empty(2)))?;
    cluster.wait_until("B1", SECOND, Cluster::uncovered)?;
    stays_out(&mut cluster, 600 * SECOND)?;
    let again = cluster.plans[0].clone();
    cluster.plans.push(again);
    cluster.adopt(0, 2);
    cluster.wait_until("B1", 30 * SECOND, |this| {
        this.not_empty(2).is_none().then(|| "the last host has nothing".to_owned())
    })?;
    cluster.expect_outage("B1", HANDED_OVER_WITHIN)?;
    cluster.settle()?;
    Ok(())
}

/// The same by restarts: who starts with the new file has never heard of the host that it does not
/// list, but of its claims.
pub(crate) fn removed_by_restarts(broken: Option<Rule>) -> Outcome {
    let mut cluster = without_the_last(broken)?;
    for host in 0..2 {
        cluster.hosts[host].plan = 1;
        cluster.stop(host, Some(SECOND));
        cluster.watch("B1", 12 * SECOND, Cluster::doubled)?;
    }
    stays_out(&mut cluster, 30 * SECOND)?;
    cluster.expect_outage("B1", HANDED_OVER_WITHIN)?;
    Ok(())
}

/// The same so fast that the second ends before the first has become active: nobody but the host
/// that is not listed can have anything for a second, and it serves until somebody else can.
pub(crate) fn removed_by_fast_restarts(broken: Option<Rule>) -> Outcome {
    for gap in [50, 200, 400, 600, 900] {
        let mut cluster = without_the_last(broken)?;
        for host in 0..2 {
            cluster.hosts[host].plan = 1;
            cluster.stop(host, None);
            cluster.wait_until("B1", 2 * SECOND, |this| {
                let ended = this.hosts[host].node.is_none();
                (!ended).then(|| format!("n{host} does not end"))
            })?;
            cluster.power_on(host);
            cluster.watch("B1", gap * MILLISECOND, Cluster::doubled)?;
        }
        cluster
            .wait_until("B1", 3 * SECOND, |this| this.doubled().or_else(|| this.not_empty(2)))?;
        cluster.wait_until("B1", SECOND, Cluster::uncovered)?;
        stays_out(&mut cluster, 30 * SECOND)?;
        cluster.expect_outage("B1", HANDED_OVER_WITHIN)?;
    }
    Ok(())
}

/// A host that has died is taken out of the file of another, which forgets it, and comes back in the
/// same life: its log of claims is told from the beginning, and then there is silence.
pub(crate) fn forgotten_and_heard_again(broken: Option<Rule>) -> Outcome {
    let mut cluster = without_the_last(broken)?;
    cluster.pause(2, 5 * SECOND);
    cluster.wait_until("B1", 3 * SECOND, |this| {
        this.condemned_by(0).is_none().then(|| "n0 does not notice".to_owned())
    })?;
    cluster.adopt(0, 1);
    cluster.run_for(SECOND)?;
    cluster.run_for(10 * SECOND)?;
    cluster.expect("S7", cluster.condemned().is_none(), "somebody counts as dead")?;
    let before = cluster.safety.datagrams;
    cluster.run_for(10 * SECOND)?;
    let sent = cluster.safety.datagrams - before;
    // Heartbeats of three hosts to two others each 100 ms, and little else.
    cluster.expect("S7", sent < 700, &format!("{sent} datagrams in ten seconds"))?;
    Ok(())
}

/// L6: a host starts that hears its peers and is not heard by them, so that no handshake is ever
/// done. It takes nothing.
pub(crate) fn senses_but_is_not_heard(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    cluster.crash(2, None);
    cluster.wait_until("L6", 2 * SECOND, Cluster::uncovered)?;
    // The other two balance between them first.
    cluster.run_for(10 * SECOND)?;
    cluster.network.mute(2);
    cluster.power_on(2);
    cluster.mark();
    cluster.watch("L6", 60 * SECOND, |this| this.holds_any(2))?;
    cluster.expect_outage("L6", 0)?;
    cluster.expect_moves("L6", 0)?;
    Ok(())
}

/// A host that heard nobody when it started begins to hear one that has just started too (seed
/// 24659). That one knows by a claim who owns the groups, and does not say who lives: nobody is asked
/// before it listens long enough. The owner, which is heard some heartbeats later, is not robbed.
pub(crate) fn hears_a_newcomer_first(broken: Option<Rule>) -> Outcome {
    for seed in 0..10 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(3, 6, broken) })?;
        let timing = cluster.options.timing;
        cluster.crash(1, None);
        cluster.crash(2, None);
        cluster.wait_until("S10", 2 * SECOND, Cluster::uncovered)?;
        for other in 0..2 {
            cluster.cut(other, 2);
        }
        cluster.power_on(2);
        let [least, heartbeat] = [timing.maturity_min, timing.heartbeat]
            .map(|length| u64::try_from(length.as_nanos()).expect("a second"));
        cluster.watch("S10", least - 2 * heartbeat, Cluster::uncovered)?;
        cluster.power_on(1);
        cluster.watch("S10", 3 * heartbeat, Cluster::uncovered)?;
        cluster.network.join(1, 2);
        cluster.watch("S10", 2 * heartbeat, Cluster::uncovered)?;
        cluster.network.join(0, 2);
        cluster.watch("S10", 2 * SECOND, Cluster::doubled)?;
        cluster.settle()?;
    }
    Ok(())
}
