//! When a takeover is verified, what its outcome means, and who is told of which hosts.

use super::*;

const GROUP: GroupKey = GroupKey(mix(1));
const FIRST: NodeId = NodeId(1);
const SECOND: NodeId = NodeId(2);

fn settled(nodes: u32) -> Cluster {
    let mut cluster = Cluster::start(nodes, 1);
    cluster.run(Duration::from_secs(7));
    assert_eq!(cluster.covered(), 1);
    cluster
}

fn outcome(answered: u16, asked: u16, after: u64) -> Convergence {
    let missing = [None; MISSING_TOLD];
    Convergence { asked, answered, after: Duration::from_millis(after), missing }
}

/// Tells the owner what its kernel side found; says what it reports.
fn find(cluster: &mut Cluster, epoch: u64, outcome: Convergence) -> Vec<Report> {
    let owner = cluster.owner(GROUP)[0];
    cluster.reports.clear();
    let event = KernelEvent::Verified { group: GROUP, epoch: Epoch(epoch), outcome };
    cluster.step(owner, Event::Kernel(event));
    cluster.reports.iter().map(|(_, report)| *report).collect()
}

fn converged(cluster: &Cluster, node: NodeId) -> Option<Duration> {
    cluster.nodes[&node].status(cluster.now).groups[0].converged
}

#[test]
fn a_takeover_is_verified_once_with_the_neighbours_of_the_dead_first() {
    let mut cluster = settled(3);
    let owner = cluster.owner(GROUP)[0];
    assert_eq!(cluster.verified, [(owner, None)], "of repeats none is verified again");
    cluster.kill(owner);
    cluster.run(Duration::from_secs(7));
    let heir = cluster.owner(GROUP)[0];
    assert_eq!(cluster.verified[1..], [(heir, Some(owner))]);
    let outcome = outcome(4, 4, 12);
    find(&mut cluster, 2, outcome);
    cluster.run(Duration::from_secs(150));
    assert_eq!(cluster.verified.len(), 2, "all follow: refreshes are not verified");
}

#[test]
fn the_outcome_is_told_when_it_changes_and_only_of_the_present_epoch() {
    let mut cluster = settled(2);
    let owner = cluster.owner(GROUP)[0];
    assert_eq!(find(&mut cluster, 2, outcome(4, 4, 12)), [], "another taking");
    assert_eq!(find(&mut cluster, 1, outcome(0, 0, 0)), [], "nobody answered anything");
    assert_eq!(converged(&cluster, owner), None);

    let (group, epoch) = (GROUP, Epoch(1));
    let short = outcome(3, 4, 12);
    let told = Report::NotConverged { group, epoch, outcome: short };
    assert_eq!(find(&mut cluster, 1, short), [told]);
    assert_eq!(find(&mut cluster, 1, short), [], "it is known");
    assert_eq!(converged(&cluster, owner), None);

    let after = Duration::from_millis(1400);
    let told = Report::Converged { group, epoch, hosts: 4, after };
    assert_eq!(find(&mut cluster, 1, outcome(4, 4, 1400)), [told]);
    assert_eq!(find(&mut cluster, 1, outcome(4, 4, 9)), [], "it had converged");
    assert_eq!(converged(&cluster, owner), Some(after));
    let other = if owner == FIRST { SECOND } else { FIRST };
    assert_eq!(converged(&cluster, other), None, "only the owner knows");
}

#[test]
fn as_long_as_some_do_not_follow_each_refresh_is_verified() {
    let mut cluster = settled(2);
    find(&mut cluster, 1, outcome(3, 4, 12));
    cluster.run(Duration::from_secs(150));
    assert_eq!(cluster.verified.len(), 3, "{:?}", cluster.verified);
}

#[test]
fn an_owner_tells_its_peers_and_they_hand_it_on() {
    let mut cluster = settled(3);
    let owner = cluster.owner(GROUP)[0];
    let others: Vec<NodeId> = cluster.nodes.keys().copied().filter(|it| *it != owner).collect();
    let hosts: Vec<Neighbour> = (0..200)
        .map(|last| Neighbour { address: [10, 0, 0, last].into(), hardware: [2, 0, 0, 0, 0, last] })
        .collect();
    let event = |hosts: &Vec<Neighbour>| Event::Kernel(KernelEvent::Neighbours(hosts.clone()));
    cluster.step(others[0], event(&hosts));
    cluster.run(Duration::from_millis(5));
    assert_eq!(cluster.acquainted, [], "who owns nothing has nothing to tell");
    cluster.step(owner, event(&hosts));
    cluster.run(Duration::from_millis(5));
    let wanted = hosts[..NEIGHBOURS_V4_MAX].to_vec();
    let expected: Vec<_> = others.iter().map(|at| (*at, owner, wanted.clone())).collect();
    assert_eq!(cluster.acquainted, expected);
}
