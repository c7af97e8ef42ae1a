//! Stories of voters that stop in good order and start again: they keep what they had promised, and
//! vote at once. S1 (docs/invariants.md) is checked at every step; H61 is a number of that list.

use std::time::Duration;

use buoy::protocol::{Rule, Timing};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::operators::STOP_WITHIN;
use crate::options::Options;
use crate::story::Outcome;

/// A daemon that has started is heard by the others, and hears them, after this.
const HEARD_WITHIN: u64 = 130 * MILLISECOND;
/// A group whose owner is stopped, or whose guardian says good-bye, is away for no longer.
const RELIEVED_WITHIN: u64 = 60 * MILLISECOND;
/// A record of promises that is older than this is not used.
const OUTDATED: u64 = 31 * SECOND;

fn strict(nodes: usize, groups: usize, witness: bool, broken: Option<Rule>) -> Options {
    Options { broken, ..Options::strict(nodes, groups, witness) }
}

/// Two owners and a witness, which owns nothing and is soon active.
fn pair(seed: u64, broken: Option<Rule>) -> Options {
    let options = strict(3, 2, true, broken);
    let timing = Timing { maturity_min: Duration::from_millis(30), ..options.timing };
    Options { seed, timing, ..options }
}

impl Cluster {
    /// A daemon stops in good order and starts again after so long.
    fn restart(&mut self, host: usize, after: u64) -> Outcome {
        self.stop(host, None);
        self.wait_until("H61", STOP_WITHIN, |this| {
            this.hosts[host].node.is_some().then(|| format!("n{host} has not stopped"))
        })?;
        self.run_for(after)?;
        self.start(host);
        Ok(())
    }
}

/// H61: hosts are restarted one right after the other: as soon as one is heard, the next, which owns
/// groups, is stopped, or dies with a guardian. Of three voters two are enough, so the one that has
/// just started has to vote.
pub(crate) fn voters_restarted_in_a_row(broken: Option<Rule>) -> Outcome {
    for seed in 0..8 {
        let mut cluster = Cluster::settled(Options { seed, ..strict(3, 6, false, broken) })?;
        for turn in 0..3 {
            let first = cluster.owner(0);
            cluster.restart(first, turn * 40 * MILLISECOND)?;
            cluster.run_for(HEARD_WITHIN)?;
            let next = cluster.owner(0);
            if seed % 2 == 0 {
                cluster.restart(next, 30 * MILLISECOND)?;
            } else {
                cluster.kill_daemon(next, Some(SECOND), true);
            }
            cluster.run_for(SECOND)?;
            cluster.expect_outage("H61", RELIEVED_WITHIN)?;
            cluster.settle()?;
        }
    }
    Ok(())
}

/// H61: a voter stops and starts again while another owner is cut off: it does not promise to the
/// one what it has promised to the other.
pub(crate) fn voter_keeps_promises(broken: Option<Rule>) -> Outcome {
    for seed in 0..24 {
        let mut cluster = Cluster::settled(pair(seed, broken))?;
        let (witness, owner) = (2, cluster.owner(0));
        let other = cluster.other_than(&[witness, owner]);
        cluster.cut(owner, other);
        cluster.cut(other, owner);
        cluster.run_for(seed * 20 * MILLISECOND)?;
        cluster.cut(owner, witness);
        cluster.cut(witness, owner);
        cluster.restart(witness, 0)?;
        cluster.run_for(2 * SECOND)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// H61: a voter has started again and promised more, and dies. The next process must not find what
/// the first has left; in every other run the disk is put back to where it had that, later.
pub(crate) fn voter_finds_outdated_promises(broken: Option<Rule>) -> Outcome {
    for seed in 0..24 {
        let mut cluster = Cluster::settled(pair(seed, broken))?;
        let (witness, owner) = (2, cluster.owner(0));
        let other = cluster.other_than(&[witness, owner]);
        cluster.stop(witness, None);
        cluster.run_for(SECOND)?;
        let record = cluster.hosts[witness].promises.clone();
        cluster.expect("H61", record.is_some(), "it has left nothing")?;
        cluster.start(witness);
        let put_back = seed % 2 == 1;
        cluster.run_for(if put_back { OUTDATED } else { 2 * SECOND })?;
        cluster.cut(owner, other);
        cluster.cut(other, owner);
        cluster.run_for(seed * 20 * MILLISECOND)?;
        cluster.cut(owner, witness);
        cluster.cut(witness, owner);
        cluster.kill_daemon(witness, None, false);
        if put_back {
            cluster.hosts[witness].promises = record;
        }
        cluster.start(witness);
        cluster.run_for(2 * SECOND)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}
