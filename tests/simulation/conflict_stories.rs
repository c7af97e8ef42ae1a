//! Stories of silent hosts whose kernels answer, and of hosts outside the cluster (H7, H10, H36 in
//! docs/invariants.md).

use std::collections::BTreeSet;

use buoy::protocol::{KernelEvent, Rule};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::options::Options;
use crate::story::{Outcome, calm};

/// The conflicting host has gone: it is asked for again within a second, and then what taking takes.
const TAKEN_WITHIN: u64 = 1_300 * MILLISECOND;
/// The same where the first in line cannot take it: the others ask every five seconds.
const TAKEN_BY_OTHERS_WITHIN: u64 = 10_300 * MILLISECOND;
/// The kernel's lease ends 600 ms after the last step; that is noticed a heartbeat after the latest
/// moment at which it may have ended, so two heartbeats later at most, and then the groups are taken.
const UNANSWERED_MOST: u64 = 240 * MILLISECOND;

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

/// H7, H55: the heartbeats of one of many are cut (its port was changed, a firewall was closed), its
/// kernel answers. The others hear each other and not it: nobody takes anything, for as long as it
/// lasts, also when the next one follows it.
pub(crate) fn heartbeats_cut_of_many(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(0, 3), (1, 3), (2, 4), (3, 5)] {
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 10, broken) })?;
        for cut in 0..2 {
            let owner = cut;
            for other in (0..nodes).filter(|other| *other != owner) {
                cluster.cut(owner, other);
                cluster.cut(other, owner);
            }
            if cut == 1 {
                // These two have the same file again.
                cluster.network.join(0, 1);
                cluster.network.join(1, 0);
            }
            cluster.watch("H7", 10 * SECOND, Cluster::doubled)?;
            cluster.expect_moves("H7", 0)?;
            cluster.expect_outage("H7", 0)?;
        }
        cluster.heal();
        cluster.settle()?;
        cluster.expect_moves("H7", 0)?;
    }
    Ok(())
}

/// H10: the daemon of one of many stands still with its guardian. Its kernel answers while its lease
/// runs, and not for a moment do two; then the others take.
pub(crate) fn frozen_of_many(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in (0..10).map(|seed| (seed, 3 + usize::from(seed % 2 == 0) * 2)) {
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 10, broken) })?;
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

/// A node starts while it hears nobody (its key or a firewall is wrong), and waits until it may think
/// itself alone. When it begins to hear the owner it asks what that has before it takes anything.
pub(crate) fn begins_to_hear(broken: Option<Rule>) -> Outcome {
    for seed in 0..5 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(2, 6, broken) })?;
        cluster.crash(1, None);
        cluster.wait_until("N3", 2 * SECOND, Cluster::uncovered)?;
        cluster.cut(0, 1);
        cluster.cut(1, 0);
        cluster.power_on(1);
        cluster.watch("N3", 40 * SECOND, |this| this.not_empty(1))?;
        cluster.network.join(0, 1);
        cluster.network.join(1, 0);
        cluster.mark();
        // What it is then given for balance it does not take while the other answers.
        cluster.watch("N3", 5 * SECOND, Cluster::doubled)?;
        cluster.expect_outage("N3", 20 * MILLISECOND)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// H7, H44: the heartbeats of a pair are cut, and one of them cannot hold one of its groups any more.
/// Nothing says so but that its kernel answers for the others and not for this one.
pub(crate) fn freed_without_heartbeats(broken: Option<Rule>) -> Outcome {
    for seed in 0..5 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(2, 12, broken) })?;
        cluster.cut(0, 1);
        cluster.cut(1, 0);
        cluster.run_for(2 * SECOND)?;
        let owner = cluster.owner(0);
        let event = KernelEvent::Usable { group: cluster.groups[0], usable: false };
        cluster.tell_soon(owner, event);
        cluster.wait_until("H44", 3 * SECOND, |this| {
            let open = &this.open[0];
            (*open != [1 - owner]).then(|| format!("g0 is answered for by {open:?}"))
        })?;
        cluster.watch("H7", 10 * SECOND, Cluster::doubled)?;
        cluster.expect_moves("H7", 1)?;
        let event = KernelEvent::Usable { group: cluster.groups[0], usable: true };
        cluster.tell_soon(owner, event);
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// H36: a host outside the cluster has an address before the cluster starts. Nobody takes it; when
/// the conflicting host has gone somebody does.
pub(crate) fn conflict_before_the_start(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(1, 1), (2, 2), (3, 3), (4, 5)] {
        let mut cluster = Cluster::new(Options { seed, ..calm(nodes, 4, broken) });
        cluster.conflict_comes(0);
        cluster.watch("H36", 60 * SECOND, |this| {
            let open = &this.open[0];
            (!open.is_empty()).then(|| format!("g0 is taken by {open:?}"))
        })?;
        let uncovered = (1..4).find(|group| cluster.open[*group].len() != 1);
        cluster.expect("H36", uncovered.is_none(), "another group is not served")?;
        cluster.conflict_goes(0);
        cluster.wait_until("H36", TAKEN_WITHIN, Cluster::uncovered)?;
        cluster.settle()?;
    }
    Ok(())
}

/// H36: a conflicting host has sat down on an address without a word, and its owner dies. The heirs ask
/// before they take, and leave it to it.
pub(crate) fn conflict_at_a_takeover(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(1, 2), (2, 3), (3, 5)] {
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 6, broken) })?;
        let owner = cluster.owner(0);
        cluster.conflict_comes(0);
        cluster.crash(owner, None);
        cluster.watch("H36", 5 * SECOND, |this| {
            let open = &this.open[0];
            (!open.is_empty()).then(|| format!("g0 is taken by {open:?}"))
        })?;
        cluster.conflict_goes(0);
        cluster.wait_until("H36", TAKEN_WITHIN, Cluster::uncovered)?;
    }
    Ok(())
}

/// H36: a conflicting host announces an address that is served three times within the ten seconds in which
/// it is defended once. The clients that it misleads each time are told one by one.
pub(crate) fn conflict_that_comes_again(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 3, broken))?;
    cluster.run_for(10 * SECOND)?;
    cluster.conflict_comes(0);
    for _ in 0..3 {
        cluster.conflict_speaks(0);
        cluster.expect(
            "H36",
            cluster.misled().is_some(),
            "the conflicting host convinces nobody",
        )?;
        cluster.wait_until("H36", 5 * MILLISECOND, Cluster::misled)?;
        cluster.run_for(1_500 * MILLISECOND)?;
    }
    // Twice within a second: the second time they wait for what is left of it.
    for wait in [5, 1_005] {
        cluster.conflict_speaks(0);
        cluster.wait_until("H36", wait * MILLISECOND, Cluster::misled)?;
    }
    cluster.conflict_goes(0);
    cluster.settle()?;
    Ok(())
}

/// H36: a conflicting host has sat down on an address without a word, and the link of its owner goes, or its
/// daemon dies and the guardian says so. There is no time to ask: one node has it for the time of an
/// answer, and the others know it from that.
pub(crate) fn conflict_when_a_link_goes(broken: Option<Rule>) -> Outcome {
    for (seed, nodes, dies) in [(1, 2, false), (2, 3, true), (3, 5, true), (4, 8, false)] {
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 6, broken) })?;
        let owner = cluster.owner(0);
        cluster.conflict_comes(0);
        let group = cluster.groups[0];
        if dies {
            cluster.kill_daemon(owner, None, true);
        } else {
            cluster.tell_soon(owner, KernelEvent::Usable { group, usable: false });
        }
        let mut takers = BTreeSet::new();
        for _ in 0..60_000 {
            cluster.run_for(MILLISECOND / 10)?;
            takers.extend(cluster.open[0].iter().copied().filter(|host| *host != owner));
        }
        cluster.expect("H36", takers.len() <= 1, &format!("taken by {takers:?}"))?;
        cluster.conflict_goes(0);
        cluster.wait_until("H36", TAKEN_BY_OTHERS_WITHIN, Cluster::uncovered)?;
        cluster.tell_soon(owner, KernelEvent::Usable { group, usable: true });
        cluster.start(owner);
        cluster.settle()?;
    }
    Ok(())
}

/// H36: a conflicting host comes to an address that is served, and says so again and again. The owner
/// keeps it, and answers it once in ten seconds.
pub(crate) fn conflict_that_comes_later(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 3, broken))?;
    cluster.run_for(10 * SECOND)?;
    let owner = cluster.owner(0);
    cluster.conflict_comes(0);
    cluster.conflict_speaks(0);
    cluster.expect("H36", cluster.misled().is_some(), "the conflicting host convinces nobody")?;
    cluster.wait_until("H36", 5 * MILLISECOND, Cluster::misled)?;
    cluster.conflicts.announced = 0;
    for _ in 0..200 {
        cluster.run_for(100 * MILLISECOND)?;
        cluster.conflict_speaks(0);
    }
    cluster.run_for(100 * MILLISECOND)?;
    let announced = cluster.conflicts.announced;
    // Two defences, and a refresh of each group.
    cluster.expect("H36", announced <= 2 + 3, &format!("{announced} announcements"))?;
    cluster.expect("H36", cluster.open[0] == [owner], "the owner has yielded")?;
    cluster.conflict_goes(0);
    cluster.wait_until("H36", 100 * SECOND, Cluster::misled)?;
    cluster.settle()?;
    Ok(())
}

/// H36: the operator wants an address whoever has it.
pub(crate) fn conflict_displaced_by_force(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::new(calm(2, 3, broken));
    let key = cluster.groups[0];
    cluster.plans[0].groups.get_mut(&key).expect("it is configured").force = true;
    cluster.conflict_comes(0);
    cluster.wait_until("H36", 5 * SECOND, Cluster::uncovered)?;
    Ok(())
}
