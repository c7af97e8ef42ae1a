//! Stories of placement by load: noise, a node that becomes busy, nodes at their limits.

use buoy::protocol::{Order, Rule};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::loads::Loads;
use crate::options::Options;
use crate::story::{Outcome, calm};
use crate::trace::Violation;

/// A minute and what a hand-over takes: no group moves twice in a minute.
const MINUTE: u64 = 60 * SECOND;

/// A cluster that has been running for some minutes: loads are known, and what they move at first
/// has moved.
fn running(options: Options) -> Result<Cluster, Violation> {
    let mut cluster = Cluster::new(options);
    cluster.wait_until("settled", 60 * SECOND, Cluster::uncovered)?;
    cluster.run_for(300 * SECOND)?;
    cluster.mark();
    Ok(cluster)
}

fn loaded(groups: usize, loads: Loads, broken: Option<Rule>) -> Options {
    let nodes = loads.besides.len();
    Options { loads: Some(loads), ..calm(nodes, groups, broken) }
}

/// An hour of noise: each measure is wrong by up to a tenth, and the load goes up and down by
/// almost another tenth, at each node at another time. Nothing moves.
pub(crate) fn load_noise(broken: Option<Rule>) -> Outcome {
    let loads = Loads { each: 30, besides: vec![0; 3], wave: 80, noise: 100 };
    let mut cluster = running(loaded(60, loads, broken))?;
    cluster.run_for(3_600 * SECOND)?;
    cluster.expect_moves("N1", 0)?;
    cluster.expect_outage("N1", 0)?;
    Ok(())
}

/// A node becomes twice as busy as the others: it gives some groups away, none of them twice in a
/// minute, and then nothing moves. When it does nothing else any more it gets as many back.
pub(crate) fn doubled_load(broken: Option<Rule>) -> Outcome {
    let loads = Loads { each: 25, besides: vec![150; 3], wave: 0, noise: 50 };
    let mut cluster = running(loaded(18, loads, broken))?;
    cluster.keep_busy(0, 450);
    cluster.wait_until("N2", 180 * SECOND, |this| {
        let left = this.groups_of(0).len();
        (left > 5).then(|| format!("n0 still has {left} groups"))
    })?;
    cluster.run_for(600 * SECOND)?;
    cluster.expect("N2", cluster.groups_of(0).len() >= 3, "n0 gave more than made sense")?;
    cluster.expect("N2", cluster.safety.shortest_rest >= MINUTE, "a group moved twice")?;
    cluster.mark();
    cluster.run_for(1_200 * SECOND)?;
    cluster.expect_moves("N2", 0)?;
    cluster.keep_busy(0, 0);
    cluster.wait_until("N2", 300 * SECOND, |this| {
        let got = this.groups_of(0).len();
        (got < 6).then(|| format!("n0 has only {got} groups"))
    })?;
    cluster.expect("N2", cluster.safety.shortest_rest >= MINUTE, "a group moved twice")?;
    cluster.expect_outage("N2", 20 * MILLISECOND)?;
    Ok(())
}

/// Two nodes near their limits, one a little nearer: what one gave the other would only have to
/// give back, and nothing is gained by it.
pub(crate) fn loaded_to_the_limit(broken: Option<Rule>) -> Outcome {
    let loads = Loads { each: 80, besides: vec![150, 0], wave: 0, noise: 30 };
    let mut cluster = running(loaded(20, loads, broken))?;
    cluster.run_for(3_600 * SECOND)?;
    cluster.expect_moves("N3", 2)?;
    cluster.expect("N3", cluster.groups_of(0).len() >= 8, "n0 gave more than made sense")?;
    Ok(())
}

/// A node that was drained comes back, idle. All others see that it is the least busy, and go on seeing
/// so while groups arrive, because its load is smoothed. Together they give it its share and no more:
/// each gives only what is above its own share, and the receiver declines what is above its.
pub(crate) fn no_herd(broken: Option<Rule>) -> Outcome {
    let loads = Loads { each: 10, besides: vec![0; 5], wave: 0, noise: 0 };
    let mut cluster = running(loaded(40, loads, broken))?;
    let id = cluster.hosts[4].id;
    cluster.order(0, Order::Drain(id));
    cluster.wait_until("N5", 20 * SECOND, |this| this.not_empty(4))?;
    cluster.run_for(300 * SECOND)?;
    cluster.mark();
    cluster.order(0, Order::Undrain(id));
    cluster.watch("N5", 600 * SECOND, |this| {
        let got = this.groups_of(4).len();
        (got > 10).then(|| format!("n4 was given {got} groups"))
    })?;
    cluster.expect("N5", cluster.groups_of(4).len() >= 6, "n4 did not get its share")?;
    cluster.expect_moves("N5", 10)?;
    Ok(())
}

/// A node dies and comes back at once. Its groups, which have just moved, rest for a minute.
pub(crate) fn moved_groups_rest(broken: Option<Rule>) -> Outcome {
    for seed in 0..6 {
        let loads = Loads { each: 30, besides: vec![100; 3], wave: 0, noise: 0 };
        let options = Options { seed, loads: Some(loads), ..calm(3, 9, broken) };
        let mut cluster = running(options)?;
        cluster.crash(0, None);
        cluster.run_for(SECOND)?;
        cluster.power_on(0);
        cluster.wait_until("N4", 180 * SECOND, Cluster::unwell)?;
        cluster.expect("N4", cluster.safety.shortest_rest >= MINUTE, "a group moved twice")?;
    }
    Ok(())
}
