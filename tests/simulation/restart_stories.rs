//! Stories of restarts in place: nobody notices, and nobody is in doubt who has what.

use buoy::protocol::{Order, Rule};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::options::Options;
use crate::story::{Outcome, calm};

/// The owner's daemon is restarted in place, quickly or less so. No client is without an answer,
/// nothing moves, nobody is accused, and nothing is announced; and again, because the second
/// process has to remember as much as the first.
pub(crate) fn restart_in_place(broken: Option<Rule>) -> Outcome {
    for (seed, nodes, gap) in [(1, 2, 30), (2, 3, 90), (3, 5, 200), (4, 3, 240), (5, 2, 240)] {
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 6, broken) })?;
        let host = cluster.owner(0);
        let life = cluster.hosts[host].incarnation;
        for _ in 0..2 {
            cluster.mark();
            let announced = cluster.hosts[host].announced;
            let had = cluster.groups_of(host);
            cluster.restart_in_place(host, gap * MILLISECOND);
            cluster.watch("in place", 2 * SECOND, |this| {
                this.uncovered().or_else(|| this.condemned()).or_else(|| this.misled())
            })?;
            let went_on = cluster.hosts[host].is_running();
            cluster.expect("in place", went_on, "it does not run")?;
            cluster.expect("in place", cluster.groups_of(host) == had, "it has other groups")?;
            let same = cluster.hosts[host].incarnation == life;
            cluster.expect("in place", same, "it began a new life")?;
            let quiet = cluster.hosts[host].announced == announced;
            cluster.expect("in place", quiet, "it announced something")?;
            cluster.expect_outage("in place", 0)?;
            cluster.expect_moves("in place", 0)?;
        }
        // It knows the others and they know it: it hands over as ever.
        let had = cluster.groups_of(host).len();
        cluster.expect("in place", had > 0, "it has nothing")?;
        cluster.stop(host, None);
        cluster.wait_until("in place", 2 * SECOND, |this| this.not_empty(host))?;
        cluster.wait_until("in place", SECOND, Cluster::misled)?;
        cluster.expect_outage("in place", 20 * MILLISECOND)?;
    }
    Ok(())
}

/// While it is away its peers, cut off from it, take what it had. It goes on when the cut has
/// healed, but does not hear them yet: its kernel stops to answer when the lease is over, because
/// it vouches for nothing that it has not verified.
pub(crate) fn restart_in_place_knows_nothing(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    let host = cluster.owner(0);
    let others: Vec<usize> = (0..3).filter(|other| *other != host).collect();
    // The network is parted, so its kernel does not answer the others either.
    cluster.split(&[host], &[]);
    cluster.restart_in_place(host, 500 * MILLISECOND);
    cluster.run_for(480 * MILLISECOND)?;
    let taken = cluster.doubled().is_some();
    cluster.expect("in place", taken, "the others have taken nothing")?;
    cluster.heal();
    for other in &others {
        cluster.cut(*other, host);
    }
    cluster.run_for(140 * MILLISECOND)?;
    cluster.watch("in place", 120 * MILLISECOND, Cluster::doubled)?;
    cluster.heal();
    cluster.settle()?;
    Ok(())
}

/// While it is away an owner gives a group to a third node and leaves. The next process hears the
/// good-bye, and not yet who has the group: it takes nothing before it has heard all who live.
pub(crate) fn restart_in_place_takes_nothing(broken: Option<Rule>) -> Outcome {
    for seed in 0..3 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(3, 6, broken) })?;
        let group = cluster.groups_of(1)[0];
        cluster.cut(1, 0);
        cluster.cut(2, 0);
        cluster.restart_in_place(0, 120 * MILLISECOND);
        cluster.run_for(10 * MILLISECOND)?;
        let order = Order::Move { group: cluster.groups[group], to: cluster.hosts[2].id };
        cluster.order(1, order);
        cluster.run_for(120 * MILLISECOND)?;
        cluster.expect("in place", cluster.open[group] == [2], "the group has not moved")?;
        cluster.network.join(1, 0);
        cluster.kill_daemon(1, Some(2 * SECOND), true);
        cluster.watch("in place", 250 * MILLISECOND, Cluster::doubled)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// It is cut off as in [`restart_in_place_knows_nothing`], but hears the others when it goes on: it gives way within a round trip or two.
pub(crate) fn restart_in_place_gives_way(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    let host = cluster.owner(0);
    for other in (0..3).filter(|other| *other != host) {
        cluster.cut(other, host);
        cluster.cut(host, other);
    }
    cluster.restart_in_place(host, 500 * MILLISECOND);
    cluster.run_for(499 * MILLISECOND)?;
    cluster.heal();
    cluster.run_for(250 * MILLISECOND)?;
    cluster.watch("in place", SECOND, Cluster::doubled)?;
    cluster.settle()?;
    Ok(())
}

/// The next process starts too late, or the addresses are gone: a new life begins as ever.
pub(crate) fn restart_in_place_comes_too_late(broken: Option<Rule>) -> Outcome {
    for seed in 0..4 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(3, 6, broken) })?;
        let host = cluster.owner(0);
        let life = cluster.hosts[host].incarnation;
        let gap = if seed % 2 == 0 { 2 * SECOND } else { 100 * MILLISECOND };
        cluster.restart_in_place(host, gap);
        if seed % 2 == 1 {
            cluster.run_for(50 * MILLISECOND)?;
            cluster.remove_address(host, 0);
        }
        cluster.run_for(gap)?;
        cluster.run_for(100 * MILLISECOND)?;
        let other = cluster.hosts[host].incarnation != life;
        cluster.expect("in place", other, "it went on")?;
        cluster.settle()?;
    }
    Ok(())
}

/// An operator drains the owner and it is restarted while groups are on their way: it hands over.
pub(crate) fn restart_in_place_while_busy(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 12, broken))?;
    let host = cluster.owner(0);
    let node = cluster.hosts[host].id;
    cluster.order(host, Order::Drain(node));
    cluster.run_for(MILLISECOND)?;
    cluster.restart_in_place(host, 100 * MILLISECOND);
    cluster.wait_until("in place", 2 * SECOND, |this| this.not_empty(host))?;
    cluster.expect_outage("in place", 20 * MILLISECOND)?;
    cluster.run_for(10 * SECOND)?;
    cluster.expect("in place", cluster.hosts[host].is_running(), "it does not run")?;
    Ok(())
}
