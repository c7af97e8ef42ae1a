//! Stories of silent hosts whose kernels answer, and of hosts outside the cluster (H7, H10, H36).

use buoy::protocol::Rule;

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::options::Options;
use crate::story::{Outcome, calm};

/// The stranger has gone: he is asked for again within a second, and then what taking takes.
const TAKEN_WITHIN: u64 = 1_300 * MILLISECOND;
/// The kernel's lease ends 600 ms after the last step; up to a detection time later that is noticed.
const UNANSWERED_MOST: u64 = 380 * MILLISECOND;

/// H7: of a pair only the heartbeats are cut, and clients see both. Nobody takes anything, for as
/// long as it lasts.
pub(crate) fn heartbeats_cut_of_two(broken: Option<Rule>) -> Outcome {
    for seed in 0..5 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(2, 6, broken) })?;
        cluster.cut(0, 1);
        cluster.cut(1, 0);
        cluster.watch("H7", 20 * SECOND, Cluster::doubled)?;
        cluster.expect_moves("H7", 0)?;
        cluster.expect_outage("H7", 0)?;
        cluster.network.join(0, 1);
        cluster.network.join(1, 0);
        cluster.settle()?;
        cluster.expect_moves("H7", 0)?;
    }
    Ok(())
}

/// H10: of a pair the daemon of one stands still. Its kernel answers while its lease runs, and not
/// for a moment do both; then the other takes.
pub(crate) fn frozen_of_two(broken: Option<Rule>) -> Outcome {
    for seed in 0..10 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(2, 6, broken) })?;
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

/// H36: a host outside the cluster has an address before the cluster starts. Nobody takes it; when
/// the stranger has gone somebody does.
pub(crate) fn stranger_before_the_start(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(1, 1), (2, 2), (3, 3), (4, 5)] {
        let mut cluster = Cluster::new(Options { seed, ..calm(nodes, 4, broken) });
        cluster.stranger_comes(0);
        cluster.watch("H36", 60 * SECOND, |this| {
            let open = &this.open[0];
            (!open.is_empty()).then(|| format!("g0 is taken by {open:?}"))
        })?;
        let uncovered = (1..4).find(|group| cluster.open[*group].len() != 1);
        cluster.expect("H36", uncovered.is_none(), "another group is not served")?;
        cluster.stranger_goes(0);
        cluster.wait_until("H36", TAKEN_WITHIN, Cluster::uncovered)?;
        cluster.settle()?;
    }
    Ok(())
}

/// H36: a stranger has sat down on an address without a word, and its owner dies. The heirs ask
/// before they take, and leave it to him.
pub(crate) fn stranger_at_a_takeover(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(1, 2), (2, 3), (3, 5)] {
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 6, broken) })?;
        let owner = cluster.owner(0);
        cluster.stranger_comes(0);
        cluster.crash(owner, None);
        cluster.watch("H36", 5 * SECOND, |this| {
            let open = &this.open[0];
            (!open.is_empty()).then(|| format!("g0 is taken by {open:?}"))
        })?;
        cluster.stranger_goes(0);
        cluster.wait_until("H36", TAKEN_WITHIN, Cluster::uncovered)?;
    }
    Ok(())
}

/// H36: a stranger comes to an address that is served, and says so again and again. The owner
/// keeps it, and answers him once in ten seconds.
pub(crate) fn stranger_who_comes_later(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 3, broken))?;
    cluster.run_for(10 * SECOND)?;
    let owner = cluster.owner(0);
    cluster.stranger_comes(0);
    cluster.stranger_speaks(0);
    cluster.expect("H36", cluster.misled().is_some(), "the stranger convinces nobody")?;
    cluster.wait_until("H36", 5 * MILLISECOND, Cluster::misled)?;
    cluster.strangers.announced = 0;
    for _ in 0..200 {
        cluster.run_for(100 * MILLISECOND)?;
        cluster.stranger_speaks(0);
    }
    cluster.run_for(100 * MILLISECOND)?;
    let announced = cluster.strangers.announced;
    // Two defences, and a refresh of each group.
    cluster.expect("H36", announced <= 2 + 3, &format!("{announced} announcements"))?;
    cluster.expect("H36", cluster.open[0] == [owner], "the owner has yielded")?;
    cluster.stranger_goes(0);
    cluster.wait_until("H36", 100 * SECOND, Cluster::misled)?;
    cluster.settle()?;
    Ok(())
}

/// H36: the operator wants an address whoever has it.
pub(crate) fn stranger_displaced_by_force(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::new(calm(2, 3, broken));
    let key = cluster.groups[0];
    cluster.plans[0].groups.get_mut(&key).expect("it is configured").force = true;
    cluster.stranger_comes(0);
    cluster.wait_until("H36", 5 * SECOND, Cluster::uncovered)?;
    Ok(())
}
