//! What `buoy plan --config` says is what then happens (N4 in docs/faults.md).

use std::collections::BTreeMap;

use buoy::protocol::{Hypothesis, NodeId, Rule};

use crate::cluster::Cluster;
use crate::draw::{Draw, MILLISECOND, SECOND};
use crate::options::Options;
use crate::story::{Outcome, calm};

/// Changes that are planned and made.
const CHANGES: u64 = 60;
/// What was moved for balance rests for a minute before it is moved again.
const AT_REST: u64 = 200 * SECOND;

/// Small clusters get another file, with groups more and less and other weights. Every node has said
/// before where each group would be, and there they are.
pub(crate) fn plans_come_true(broken: Option<Rule>) -> Outcome {
    let mut differ = Vec::new();
    for seed in 0..CHANGES {
        let mut draw = Draw::new(seed);
        let (nodes, groups) = (2 + draw.index(3), 1 + draw.index(7));
        let options = Options { seed, groups_spare: 4, ..calm(nodes, groups, broken) };
        let mut cluster = Cluster::settled(options)?;
        cluster.run_for(AT_REST)?;
        let mut next = cluster.plans[0].clone();
        for _ in 0..=draw.index(4) {
            next = next.changed(&mut cluster);
        }
        // Hosts that others list no more are told so by these, which no plan knows.
        next.absent.clear();
        cluster.plans.push(next);
        let foreseen: Vec<_> = (0..nodes).map(|host| foreseen(&mut cluster, host)).collect();
        for host in 0..nodes {
            cluster.adopt(host, 1);
            cluster.run_for(draw.between(0, 20 * MILLISECOND))?;
        }
        cluster.run_for(AT_REST)?;
        for (host, foreseen) in foreseen.into_iter().enumerate() {
            for (group, key) in cluster.groups.iter().enumerate() {
                let is = cluster.open[group].iter().map(|host| cluster.hosts[*host].id).next();
                let due = foreseen[key];
                if is != due {
                    differ.push(format!("{seed}: n{host} of {nodes}: {key} {due:?}, is {is:?}"));
                }
            }
        }
        cluster.expect("N4", differ.is_empty(), &differ.join("\n"))?;
    }
    Ok(())
}

/// Where each group would be, as this host says.
fn foreseen(
    cluster: &mut Cluster,
    host: usize,
) -> BTreeMap<buoy::protocol::GroupKey, Option<NodeId>> {
    let mut after: BTreeMap<_, _> = cluster
        .groups
        .iter()
        .zip(&cluster.open)
        .map(|(key, open)| (*key, open.first().map(|host| cluster.hosts[*host].id)))
        .collect();
    let now = cluster.hosts[host].clock.read(cluster.now);
    let old = std::mem::replace(&mut cluster.hosts[host].plan, 1);
    let configuration = cluster.configuration(host);
    cluster.hosts[host].plan = old;
    let node = cluster.hosts[host].node.as_ref().expect("it runs").clone();
    for one in node.foresee(now, Hypothesis::Reconfigured(Box::new(configuration))) {
        after.insert(one.group, one.to);
    }
    after
}
