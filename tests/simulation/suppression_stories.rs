//! Stories of switches that do not carry questions to everybody, but answer or drop them (c38 in
//! docs/faults.md).

use buoy::protocol::Rule;

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::options::Options;
use crate::story::{Outcome, calm};
use crate::suppression::Suppression;

/// A host is dead: what its detection and the taking of its groups take, whatever the switch answers.
const RELIEVED_WITHIN: u64 = 400 * MILLISECOND;
/// What a planned move takes a client away for.
const MOVED_WITHIN: u64 = 10 * MILLISECOND;
/// As of `frozen_of_two`: the lease of a frozen host has ended, and its groups are taken.
const UNANSWERED_MOST: u64 = 240 * MILLISECOND;

/// H7, c38: a host dies, and the switch goes on answering for it. It is relieved as soon as without
/// such a switch.
pub(crate) fn dead_owner_answered_for(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(0, 2), (1, 2), (2, 3), (3, 5)] {
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 6, broken) })?;
        cluster.switch.suppress(Some(Suppression::Answers));
        let owner = cluster.owner(0);
        cluster.crash(owner, None);
        cluster.wait_until("c38", RELIEVED_WITHIN, Cluster::uncovered)?;
        // Groups may move for balance, and are not given back for what the switch answers.
        cluster.mark();
        cluster.watch("c38", 10 * SECOND, Cluster::doubled)?;
        cluster.expect_outage("c38", MOVED_WITHIN)?;
        cluster.wait_until("c38", RELIEVED_WITHIN, Cluster::uncovered)?;
        cluster.power_on(owner);
        cluster.settle()?;
    }
    Ok(())
}

/// H7, c38: the heartbeats of a host are cut, and the switch carries no question to everybody. Its
/// kernel is asked at its hardware address, and answers: nobody takes anything.
pub(crate) fn living_owner_not_asked_by_broadcast(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(0, 2), (1, 2), (2, 3), (3, 5)] {
        let how = if seed % 2 == 0 { Suppression::Drops } else { Suppression::Answers };
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 6, broken) })?;
        cluster.switch.suppress(Some(how));
        let owner = cluster.owner(0);
        for other in (0..nodes).filter(|other| *other != owner) {
            cluster.cut(owner, other);
            cluster.cut(other, owner);
        }
        cluster.watch("c38", 10 * SECOND, Cluster::doubled)?;
        cluster.expect_moves("c38", 0)?;
        cluster.expect_outage("c38", 0)?;
        cluster.heal();
        cluster.settle()?;
        cluster.expect_moves("c38", 0)?;
    }
    Ok(())
}

/// H10, c38: the daemon of a host stands still, and when its lease has ended the switch answers for
/// it. Not for a moment do two, and then the others take.
pub(crate) fn frozen_owner_answered_for(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(0, 2), (1, 2), (2, 3)] {
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 6, broken) })?;
        cluster.switch.suppress(Some(Suppression::Answers));
        let owner = cluster.owner(0);
        cluster.run_for(seed * 13 * MILLISECOND)?;
        cluster.mark();
        cluster.pause(owner, 3 * SECOND);
        cluster.watch("H10", 3 * SECOND - MILLISECOND, Cluster::doubled)?;
        cluster.expect("H10", cluster.misled().is_none(), "a client is lost")?;
        cluster.expect_outage("H10", UNANSWERED_MOST)?;
        cluster.settle()?;
    }
    Ok(())
}
