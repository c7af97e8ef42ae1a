//! Stories of restarts in place in mode majority: leases and promises go on with the next process, and
//! end when they would have ended. S1 (docs/invariants.md) is checked at every step.

use buoy::protocol::Rule;

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::options::Options;
use crate::story::Outcome;

/// Groups of a host that does not come back are served by others after the longest promise, and what
/// taking takes.
const TAKEN_WITHIN: u64 = 800 * MILLISECOND;

fn strict(seed: u64, nodes: usize, groups: usize, broken: Option<Rule>) -> Options {
    Options { seed, broken, ..Options::strict(nodes, groups, nodes == 3 && seed % 2 == 1) }
}

fn isolate(cluster: &mut Cluster, host: usize) {
    for other in (0..cluster.hosts.len()).filter(|other| *other != host) {
        cluster.cut(host, other);
        cluster.cut(other, host);
    }
}

/// The owner's daemon is restarted in place, quickly or less so, again and again, and then every other
/// host's: no client is without an answer, nothing moves, and the life goes on. Afterwards it hands
/// over as ever.
pub(crate) fn strict_restart_in_place(broken: Option<Rule>) -> Outcome {
    for (seed, nodes, gap) in [(1, 3, 30), (2, 3, 90), (3, 5, 150), (4, 3, 200), (5, 3, 200)] {
        let mut cluster = Cluster::settled(strict(seed, nodes, 6, broken))?;
        let owner = cluster.owner(0);
        let hosts = (0..nodes).filter(|host| *host != owner);
        for host in [owner, owner].into_iter().chain(hosts) {
            let (had, life) = (cluster.groups_of(host), cluster.hosts[host].incarnation);
            cluster.mark();
            cluster.restart_in_place(host, gap * MILLISECOND);
            cluster.watch("in place", 2 * SECOND, |this| {
                this.uncovered().or_else(|| this.condemned()).or_else(|| this.misled())
            })?;
            let went_on =
                cluster.hosts[host].is_running() && cluster.hosts[host].incarnation == life;
            cluster.expect("in place", went_on, "it began a new life")?;
            cluster.expect("in place", cluster.groups_of(host) == had, "it has other groups")?;
            cluster.expect_outage("in place", 0)?;
            cluster.expect_moves("in place", 0)?;
        }
        cluster.stop(owner, None);
        cluster.wait_until("in place", 2 * SECOND, |this| this.not_empty(owner))?;
        cluster.wait_until("in place", SECOND, Cluster::misled)?;
        cluster.expect_outage("in place", 20 * MILLISECOND)?;
    }
    Ok(())
}

/// The owner is cut off while no process of it runs. The next one goes on with what is left of its
/// leases and cannot renew them: it is silent before the others answer.
pub(crate) fn strict_restart_in_place_cut_off(broken: Option<Rule>) -> Outcome {
    for seed in 0..8 {
        let mut cluster = Cluster::settled(strict(seed, 3, 6, broken))?;
        let owner = cluster.owner(0);
        cluster.restart_in_place(owner, (300 + seed * 35) * MILLISECOND);
        cluster.run_for(20 * MILLISECOND)?;
        let rests = cluster.hosts[owner].node.is_none();
        cluster.expect("in place", rests, "it has not left all to the next process")?;
        isolate(&mut cluster, owner);
        cluster.run_for(TAKEN_WITHIN)?;
        cluster.wait_until("in place", MILLISECOND, Cluster::uncovered)?;
        cluster.run_for(SECOND)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// The next process comes when the leases are over, or never: a new life begins, or none, and the
/// others serve when their promises are over.
pub(crate) fn strict_restart_in_place_comes_too_late(broken: Option<Rule>) -> Outcome {
    for seed in 0..8 {
        let mut cluster = Cluster::settled(strict(seed, 3, 6, broken))?;
        let owner = cluster.owner(0);
        let life = cluster.hosts[owner].incarnation;
        cluster.restart_in_place(owner, (610 + seed * 40) * MILLISECOND);
        cluster.wait_until("in place", 2 * SECOND, |this| {
            let other = this.hosts[owner].incarnation != life;
            (!other).then(|| "it goes on with its life".to_owned())
        })?;
        cluster.wait_until("in place", TAKEN_WITHIN, Cluster::uncovered)?;
        cluster.settle()?;
    }
    Ok(())
}

/// A voter is restarted in place while an owner is cut off from it: it does not promise to the other
/// what it has promised to that one.
pub(crate) fn strict_restart_in_place_of_a_voter(broken: Option<Rule>) -> Outcome {
    for seed in 0..24 {
        let options = Options { broken, ..Options::strict(3, 2, true) };
        let mut cluster = Cluster::settled(Options { seed, ..options })?;
        let (witness, owner) = (2, cluster.owner(0));
        let other = cluster.other_than(&[witness, owner]);
        cluster.cut(owner, other);
        cluster.cut(other, owner);
        cluster.run_for(seed * 20 * MILLISECOND)?;
        cluster.restart_in_place(witness, 40 * MILLISECOND);
        cluster.run_for(10 * MILLISECOND)?;
        cluster.cut(owner, witness);
        cluster.cut(witness, owner);
        cluster.run_for(2 * SECOND)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}
