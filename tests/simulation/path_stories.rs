//! Stories of hosts whose data link carries in one direction, while a second path for heartbeats
//! works (H5, H6 in docs/invariants.md).

use buoy::protocol::{Attachment, Rule};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::network::Weather;
use crate::options::Options;
use crate::story::{Outcome, calm};

/// Two leases, tests, and the time that a network must be lost.
const RELIEVED_WITHIN: u64 = 2 * SECOND;
/// A group handed over is away for no longer than this.
const HANDED_OVER_WITHIN: u64 = 20 * MILLISECOND;

fn two_paths(nodes: usize, seed: u64, broken: Option<Rule>) -> Options {
    Options { seed, paths: 2, ..calm(nodes, 6, broken) }
}

/// An owner is relieved within a time, has nothing for as long as the fault lasts, and its clients
/// notice the end of it no more than any planned move.
fn one_way(sends: bool, broken: Option<Rule>) -> Outcome {
    for (nodes, seed) in [2, 3, 5].into_iter().flat_map(|nodes| [(nodes, 1), (nodes, 2)]) {
        let mut cluster = Cluster::settled(two_paths(nodes, seed, broken))?;
        let owner = cluster.owner(0);
        cluster.cut_data(owner, sends);
        cluster.wait_until("H6", RELIEVED_WITHIN, Cluster::misled)?;
        cluster.expect_outage("H6", RELIEVED_WITHIN)?;
        cluster.mark();
        cluster.watch("H6", 30 * SECOND, |this| this.not_empty(owner))?;
        cluster.expect_moves("H6", 0)?;
        cluster.heal();
        cluster.settle()?;
        let has = cluster.not_empty(owner).is_some();
        cluster.expect("H6", has, "it has its share again")?;
    }
    Ok(())
}

/// An owner hears its peers and clients on the data network, and neither hears it there.
pub(crate) fn data_link_of_an_owner_sends_nothing(broken: Option<Rule>) -> Outcome {
    one_way(true, broken)
}

/// An owner hears neither peers nor clients on the data network; both hear it.
pub(crate) fn data_link_of_an_owner_receives_nothing(broken: Option<Rule>) -> Outcome {
    one_way(false, broken)
}

/// The data network carries nothing from any host, as when its switch fails: nothing moves.
pub(crate) fn data_links_of_all_send_nothing(broken: Option<Rule>) -> Outcome {
    for (nodes, sends) in [(2, true), (3, true), (3, false), (5, true)] {
        let mut cluster = Cluster::settled(two_paths(nodes, 1, broken))?;
        for host in 0..nodes {
            cluster.cut_data(host, sends);
        }
        cluster.watch("H6", 20 * SECOND, Cluster::uncovered)?;
        cluster.expect_moves("H6", 0)?;
        cluster.heal();
        cluster.run_for(20 * SECOND)?;
        cluster.expect_moves("H6", 0)?;
        cluster.settle()?;
    }
    Ok(())
}

/// No client has ever answered. That one of three is not heard which hears the others is known from
/// their hearing each other; which of two it is, and whether one that hears none is deaf, is not.
pub(crate) fn data_link_one_way_with_no_client_to_ask(broken: Option<Rule>) -> Outcome {
    for (nodes, sends, relieved) in [(3, true, true), (3, false, false), (2, true, false)] {
        let options = Options { clients: 0, ..two_paths(nodes, 1, broken) };
        let mut cluster = Cluster::settled(options)?;
        let owner = cluster.owner(0);
        cluster.cut_data(owner, sends);
        cluster.run_for(10 * SECOND)?;
        let empty = cluster.not_empty(owner).is_none();
        cluster.expect(
            "H6",
            empty == relieved,
            "it is relieved where that is sure, and only there",
        )?;
        cluster.expect("H6", cluster.uncovered().is_none(), "all is covered")?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// The data link of an owner carries something now and then: its groups do not go to and fro.
pub(crate) fn data_link_that_loses_nearly_all(broken: Option<Rule>) -> Outcome {
    for sends in [true, false] {
        let weather = Weather { loss: 20_000, ..Weather::fair() };
        let mut cluster = Cluster::settled(Options { weather, ..two_paths(3, 1, broken) })?;
        let owner = cluster.owner(0);
        let held = u64::try_from(cluster.groups_of(owner).len()).expect("few");
        for _ in 0..20 {
            cluster.cut_data(owner, sends);
            cluster.run_for(2_500 * MILLISECOND)?;
            cluster.join_data(owner, sends);
            cluster.run_for(300 * MILLISECOND)?;
        }
        // Away, and not back before it has been well for five seconds.
        cluster.expect_moves("H6", held)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// All hosts lose their own addresses in the network of the groups at once, or one after the other:
/// each group stays with some node, and is taken by one when that dies.
pub(crate) fn network_lost_by_all(broken: Option<Rule>) -> Outcome {
    for gap in [0, MILLISECOND, 300 * MILLISECOND, 3 * SECOND] {
        let mut cluster = Cluster::settled(calm(3, 6, broken))?;
        for host in 0..3 {
            cluster.lose_network(host, Attachment::Lost);
            cluster.run_for(gap)?;
        }
        cluster.run_for(SECOND)?;
        cluster.watch("J4", 10 * SECOND, Cluster::uncovered)?;
        let owner = cluster.owner(0);
        cluster.crash(owner, None);
        cluster.run_for(SECOND)?;
        cluster.watch("J4", 5 * SECOND, Cluster::uncovered)?;
        cluster.power_on(owner);
        for host in (0..3).filter(|host| *host != owner) {
            cluster.lose_network(host, Attachment::Attached);
        }
        cluster.settle()?;
        cluster.expect_outage("J4", HANDED_OVER_WITHIN)?;
    }
    Ok(())
}
