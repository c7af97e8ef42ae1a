//! Stories of checks that fail: at the owner, everywhere, in turns, while somebody dies.

use buoy::protocol::{Fitness, Order, Rule};

use crate::checks::web;
use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::options::Options;
use crate::story::{Outcome, calm};

/// A group handed over is away for no longer than this.
const HANDED_OVER_WITHIN: u64 = 20 * MILLISECOND;
/// The same in mode majority: what was given up has to be granted again.
const STRICTLY_WITHIN: u64 = 40 * MILLISECOND;

/// A required check fails at an owner: all of its groups go, clients hardly notice, and they stay
/// away until it passes. Then it gets its share again.
pub(crate) fn checks_fail_at_owner(broken: Option<Rule>) -> Outcome {
    for nodes in [2, 3, 5] {
        let mut cluster = Cluster::settled(calm(nodes, 10, broken))?;
        let owner = cluster.owner(0);
        cluster.check(owner, web(), Fitness::Unfit);
        cluster.wait_until("C1", SECOND, Cluster::misplaced)?;
        cluster.watch("C1", 70 * SECOND, |this| this.not_empty(owner))?;
        cluster.expect_outage("C1", HANDED_OVER_WITHIN)?;
        cluster.check(owner, web(), Fitness::Fit);
        cluster.wait_until("C1", 10 * SECOND, Cluster::unwell)?;
        cluster.settle()?;
    }
    Ok(())
}

/// The same in mode majority.
pub(crate) fn strict_checks_fail_at_owner(broken: Option<Rule>) -> Outcome {
    let options = Options { broken, ..Options::strict(3, 6, false) };
    let mut cluster = Cluster::settled(options)?;
    let owner = cluster.owner(0);
    cluster.check(owner, web(), Fitness::Unfit);
    cluster.wait_until("C1", SECOND, Cluster::misplaced)?;
    cluster.watch("C1", 20 * SECOND, |this| this.not_empty(owner))?;
    cluster.expect_outage("C1", STRICTLY_WITHIN)?;
    Ok(())
}

/// A required check fails at all nodes within a moment, in two orders and at once. Every group is
/// still answered for, nothing moves any more, and each owner says so once.
pub(crate) fn checks_fail_everywhere(broken: Option<Rule>) -> Outcome {
    for apart in [0, 30, 400] {
        let mut cluster = Cluster::settled(calm(3, 6, broken))?;
        for host in 0..3 {
            cluster.check(host, web(), Fitness::Unfit);
            cluster.run_for(apart * MILLISECOND)?;
        }
        cluster.run_for(2 * SECOND)?;
        cluster.expect_outage("C3", 2 * HANDED_OVER_WITHIN)?;
        let told = cluster.safety.last_resorts;
        cluster.expect("C3", (1..=3).contains(&told), &format!("told {told} times"))?;
        cluster.mark();
        cluster.watch("C3", 60 * SECOND, Cluster::uncovered)?;
        cluster.expect_moves("C3", 0)?;
        let told = cluster.safety.last_resorts;
        cluster.expect("C3", told == 0, &format!("told {told} times more"))?;
        cluster.check(1, web(), Fitness::Fit);
        cluster.wait_until("C1", SECOND, Cluster::misplaced)?;
    }
    Ok(())
}

/// The same where the last resort is to let go: nobody has the groups until a check passes.
pub(crate) fn checks_fail_and_release(broken: Option<Rule>) -> Outcome {
    let options = Options { release: true, ..calm(3, 6, broken) };
    let mut cluster = Cluster::settled(options)?;
    for host in 0..3 {
        cluster.check(host, web(), Fitness::Unfit);
    }
    cluster.run_for(200 * MILLISECOND)?;
    let taken = cluster.safety.acquisitions;
    cluster.expect("C4", taken <= 6, &format!("groups were taken {taken} times, to be let go"))?;
    cluster.watch("C4", 30 * SECOND, Cluster::misplaced)?;
    cluster.crash(2, None);
    cluster.watch("C4", 5 * SECOND, Cluster::misplaced)?;
    cluster.check(0, web(), Fitness::Reluctant);
    cluster.wait_until("C4", SECOND, Cluster::misplaced)?;
    cluster.check(0, web(), Fitness::Fit);
    cluster.check(1, web(), Fitness::Fit);
    cluster.check(2, web(), Fitness::Fit);
    cluster.power_on(2);
    cluster.settle()?;
    Ok(())
}

/// After that the checks pass at all nodes in the same moment: each group is taken once.
pub(crate) fn checks_pass_at_once(broken: Option<Rule>) -> Outcome {
    for nodes in [2, 3, 5] {
        let options = Options { release: true, ..calm(nodes, 9, broken) };
        let mut cluster = Cluster::settled(options)?;
        for fitness in [Fitness::Unfit, Fitness::Fit] {
            for host in 0..nodes {
                cluster.check(host, web(), fitness);
            }
            cluster.run_for(10 * SECOND)?;
        }
        let doublings = cluster.safety.doublings;
        cluster.expect("C4", doublings == 0, &format!("{doublings} were taken twice"))?;
        cluster.settle()?;
    }
    Ok(())
}

/// A preferred check fails at an owner: its groups go to nodes at which it passes. When it fails
/// at all, nothing moves. Who is unfit gives to who is reluctant.
pub(crate) fn preferred_checks(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    cluster.check(0, web(), Fitness::Reluctant);
    cluster.wait_until("C1", 3 * SECOND, |this| this.not_empty(0))?;
    cluster.check(1, web(), Fitness::Reluctant);
    cluster.check(2, web(), Fitness::Reluctant);
    cluster.run_for(3 * SECOND)?;
    cluster.settle()?;
    cluster.watch("C1", 30 * SECOND, Cluster::unwell)?;
    cluster.expect_moves("C1", 0)?;
    cluster.check(2, web(), Fitness::Unfit);
    cluster.wait_until("C1", 3 * SECOND, |this| this.not_empty(2))?;
    cluster.check(1, web(), Fitness::Fit);
    cluster.wait_until("C1", 3 * SECOND, Cluster::misplaced)?;
    cluster.expect_outage("C1", HANDED_OVER_WITHIN)?;
    Ok(())
}

/// A check that fails and passes every other second. After the first few times its node gets
/// nothing any more until it has been quiet for a while.
pub(crate) fn flapping_checks(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 9, broken))?;
    for _ in 0..30 {
        cluster.check(0, web(), Fitness::Unfit);
        cluster.run_for(2 * SECOND)?;
        cluster.check(0, web(), Fitness::Fit);
        cluster.run_for(4 * SECOND)?;
    }
    cluster.expect_moves("C5", 24)?;
    cluster.expect_outage("C5", HANDED_OVER_WITHIN)?;
    cluster.wait_until("C5", 90 * SECOND, Cluster::unwell)?;
    Ok(())
}

/// The owner dies in the moment in which checks fail at its first heir: the other takes, at the
/// usual time, and nothing moves twice. When they fail at both, somebody takes all the same.
pub(crate) fn checks_fail_while_owner_dies(broken: Option<Rule>) -> Outcome {
    for (both, early) in [(false, 0), (false, 20), (false, 200), (true, 0), (true, 1_000)] {
        for unfit in [1, 2] {
            let mut cluster = Cluster::settled(calm(3, 6, broken))?;
            cluster.check(unfit, web(), Fitness::Unfit);
            if both {
                cluster.check(3 - unfit, web(), Fitness::Unfit);
            }
            cluster.run_for(early * MILLISECOND / 100)?;
            let elsewhere = cluster.groups.len() - cluster.groups_of(3 - unfit).len();
            let moves = cluster.safety.moves + u64::try_from(elsewhere).expect("few groups");
            cluster.crash(0, None);
            cluster.run_for(5 * SECOND)?;
            if !both {
                cluster.expect("C6", cluster.misplaced().is_none(), "the fit node has all")?;
                // An unfit heir that had taken would have moved its groups on, faster than a look.
                cluster.expect_moves("C6", moves)?;
            }
            cluster.expect("C6", cluster.uncovered().is_none(), "somebody has each group")?;
            cluster.expect_outage("C6", 700 * MILLISECOND)?;
        }
    }
    Ok(())
}

/// The only fit node cannot have the groups, because its kernel refuses them or its link is down,
/// when their owner dies: the unfit one takes them after a moment.
pub(crate) fn fit_node_cannot(broken: Option<Rule>) -> Outcome {
    for link in [false, true] {
        let options = Options { paths: 2, ..calm(3, 3, broken) };
        let mut cluster = Cluster::settled(options)?;
        cluster.check(2, web(), Fitness::Unfit);
        cluster.wait_until("C1", SECOND, Cluster::misplaced)?;
        cluster.run_for(2 * SECOND)?;
        if link {
            cluster.pull_link(1);
        } else {
            cluster.break_kernel(1, buoy::protocol::Failure::Refused, 0b1111);
        }
        cluster.run_for(2 * SECOND)?;
        cluster.mark();
        cluster.crash(0, None);
        cluster.wait_until("C6", 2 * SECOND, |this| {
            (0..3).find(|group| this.open[*group].is_empty()).map(|group| format!("g{group}"))
        })?;
    }
    Ok(())
}

/// A node is drained while checks fail at one of the others: everything goes to the third. Then
/// they fail there too, and the drained node takes nothing all the same.
pub(crate) fn drain_beside_failing_checks(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 9, broken))?;
    cluster.check(1, web(), Fitness::Unfit);
    let id = cluster.hosts[0].id;
    cluster.order(0, Order::Drain(id));
    cluster.watch("C1", 5 * SECOND, |this| {
        let grown = this.groups_of(1).len() > 3;
        grown.then(|| "n1 was given more".to_owned())
    })?;
    cluster.expect("C1", cluster.groups_of(2).len() == 9, "n2 has all")?;
    cluster.check(2, web(), Fitness::Unfit);
    cluster.watch("C3", 10 * SECOND, |this| this.not_empty(0))?;
    cluster.expect("C3", cluster.uncovered().is_none(), "somebody has each group")?;
    cluster.expect_outage("C1", HANDED_OVER_WITHIN)?;
    Ok(())
}
