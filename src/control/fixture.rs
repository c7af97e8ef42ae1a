//! One small cluster that the tests of this module share: three nodes, three groups.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::names::{GroupName, Names, NodeName};
use crate::protocol::{
    Candidate, Cause, Epoch, Explanation, Fitness, GroupKey, GroupState, GroupStatus, Inability,
    Incarnation, Mode, NodeId, NodePhase, NodeStatus, PoolId, Preserving, SoftwareVersion,
    Standing, Status, Verdict, Waiting,
};

/// Id of a node by name.
pub(super) fn node(name: &str) -> NodeId {
    NodeId::from_name(name)
}

/// Key of a group by its first address.
pub(super) fn group(first: &str) -> GroupKey {
    GroupKey::from_first_address(address(first))
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Names of the cluster `edge`, seen by `lb1`.
pub(crate) fn names() -> Names {
    let named = |addresses: &[&str]| {
        let name = GroupName {
            pool: "web".to_owned(),
            group: addresses[0].to_owned(),
            addresses: addresses.iter().map(|text| address(text)).collect(),
            mode: if addresses.len() > 1 { Mode::Majority } else { Mode::Availability },
        };
        (group(addresses[0]), name)
    };
    Names::new(
        "edge".to_owned(),
        node("lb1"),
        vec![
            (node("lb1"), NodeName::member("lb1")),
            (node("lb2"), NodeName { votes: false, ..NodeName::member("lb2") }),
            (node("lb3"), NodeName { owns: false, ..NodeName::member("lb3") }),
        ],
        vec![
            named(&["10.77.0.100"]),
            named(&["10.77.0.101"]),
            named(&["10.77.0.102", "fd77::102"]),
        ],
    )
}

fn node_status(name: &str, verdict: Verdict, owns: u16) -> NodeStatus {
    NodeStatus {
        listed: true,
        unlists_me: false,
        node: node(name),
        verdict,
        phase: Some(NodePhase::Active),
        last_heard: Some(Duration::from_millis(42)),
        draining: false,
        waiting: None,
        load: None,
        unfit: Vec::new(),
        weight: 1,
        owns,
        software: Some(SoftwareVersion { major: 0, minor: 1, patch: 0 }),
        loop_lag: Duration::from_micros(180),
        config_differs: false,
        preserving: Preserving::Unknown,
        kernel_answers: None,
    }
}

/// Group `first` at `owner`.
pub(super) fn owned(first: &str, owner: &str, cause: Cause) -> GroupStatus {
    GroupStatus {
        group: group(first),
        owner: Some(node(owner)),
        state: GroupState::Owned,
        epoch: Epoch(7),
        since: Duration::from_millis(81_234),
        cause: Some(cause),
        converged: None,
        unable_here: None,
        claimant: None,
        withheld: None,
        preserved: None,
    }
}

/// `lb1` owns one group, `lb2` drains and owns one, `lb3` is dead, one group is nobody's.
pub(super) fn status() -> Status {
    let nobodys = GroupStatus {
        owner: None,
        state: GroupState::Unowned,
        epoch: Epoch(0),
        cause: None,
        unable_here: Some(Inability::LinkDown),
        ..owned("10.77.0.102", "lb1", Cause::FirstClaim)
    };
    let mut status = Status {
        me: node("lb1"),
        incarnation: Incarnation(9),
        phase: NodePhase::Active,
        nodes: vec![
            NodeStatus { last_heard: Some(Duration::ZERO), ..node_status("lb1", Verdict::Up, 1) },
            NodeStatus {
                draining: true,
                unfit: vec![(PoolId::from_name("web"), Fitness::Unfit)],
                weight: 2,
                config_differs: true,
                ..node_status("lb2", Verdict::Up, 1)
            },
            NodeStatus {
                phase: None,
                last_heard: None,
                software: None,
                loop_lag: Duration::ZERO,
                ..node_status("lb3", Verdict::Unknown, 0)
            },
        ],
        groups: vec![
            GroupStatus {
                converged: Some(Duration::from_millis(12)),
                ..owned("10.77.0.100", "lb1", Cause::Silence(node("lb3")))
            },
            owned("10.77.0.101", "lb2", Cause::Balance(node("lb1"))),
            nobodys,
        ],
    };
    status.nodes.sort_by_key(|one| one.node);
    status.groups.sort_by_key(|one| one.group);
    status
}

/// The same; what drains waits for connections to end.
pub(super) fn waiting_status() -> Status {
    let mut status = status();
    for one in status.nodes.iter_mut().filter(|one| one.draining) {
        one.waiting = Some(Waiting { connections: Some(12), left: Duration::from_secs(25) });
    }
    status
}

/// Connections on `lb1`; those of the second group were there before it went to `lb2`.
pub(super) fn connections() -> BTreeMap<GroupKey, u64> {
    BTreeMap::from([(group("10.77.0.100"), 2000), (group("10.77.0.101"), 3)])
}

/// Why the first group is at `lb1`.
pub(super) fn explanation() -> Explanation {
    Explanation {
        group: owned("10.77.0.100", "lb1", Cause::Silence(node("lb3"))),
        candidates: vec![
            Candidate {
                node: node("lb2"),
                standing: Standing::Heir(1),
                unable_for: None,
                damped: None,
            },
            Candidate {
                node: node("lb3"),
                standing: Standing::Down(Verdict::Unknown),
                unable_for: None,
                damped: None,
            },
        ],
    }
}
