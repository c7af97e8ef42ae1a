//! Stories of clients that no broadcast reaches (H34 in docs/invariants.md): a switch answers for
//! them, or holds them back.

use buoy::protocol::Rule;

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::options::Options;
use crate::story::{Outcome, calm};

/// Detection, a take-over, and the second round of announcements.
const FOLLOWED_WITHIN: u64 = 400 * MILLISECOND;

/// The heir has never met the clients of the dead owner, and no broadcast reaches them. It knows
/// of them, asks, and tells them one by one.
pub(crate) fn broadcasts_held_back(broken: Option<Rule>) -> Outcome {
    for seed in 0..10 {
        let calm = calm(3, 1, broken);
        let mut cluster = Cluster::settled(Options { seed, clients: 3, muffled: true, ..calm })?;
        cluster.crash(cluster.owner(0), None);
        cluster.run_for(30 * SECOND)?;
        cluster.expect_outage("H34", FOLLOWED_WITHIN)?;
    }
    Ok(())
}

/// H25: of three nodes one runs software that reads neither lists of clients nor of connections. It is
/// sent none, and serves as the others do.
pub(crate) fn older_software(broken: Option<Rule>) -> Outcome {
    for seed in 0..3 {
        let calm = calm(3, 3, broken);
        let older = vec![2];
        let options = Options { seed, clients: 3, muffled: true, older, ..calm };
        let mut cluster = Cluster::settled(options)?;
        cluster.run_for(20 * SECOND)?;
        cluster.crash(0, None);
        cluster.wait_until("H25", 2 * SECOND, Cluster::uncovered)?;
    }
    Ok(())
}

/// Clients that only read would never notice that their owner has died; its heir knows of them.
pub(crate) fn readers_of_the_dead(broken: Option<Rule>) -> Outcome {
    for seed in 0..4 {
        let calm = calm(3, 2, broken);
        let mut cluster = Cluster::settled(Options { seed, clients: 3, muffled: true, ..calm })?;
        let dead = cluster.owner(0);
        cluster.crash(dead, None);
        cluster.run_for(30 * SECOND)?;
        let heir = cluster.owner(0);
        let told = &cluster.hosts[heir].neighbourhood.tickled;
        let all = (0..3).all(|client| told.contains(&(0, client)));
        cluster.expect("L4", all, &format!("of the clients only {told:?} were told"))?;
    }
    Ok(())
}
