//! From what the protocol says to what the control socket answers. Pure; used by the server only.
//!
//! Nodes and groups come out in the order of the configuration file, because the protocol's own
//! order is that of hashes and means nothing to a reader.

use std::collections::BTreeMap;

use super::duration_text::millis;
use super::inquiry::Snapshot;
use super::labels::inability_label;
use super::measures::Measures;
use super::names::Names;
use super::peer_problems::problems;
use super::preserving;
use super::response::{self, NodeState, SCHEMA};
use super::sentences;
use super::standing_orders;
use crate::protocol::{
    Explanation, Fitness, GroupState, GroupStatus, Mode, NodePhase, NodeStatus, SoftwareVersion,
    Verdict,
};

/// The whole status.
pub(super) fn status(snapshot: &Snapshot, names: &Names) -> response::Status {
    let picture = &snapshot.status;
    let mut nodes: Vec<_> = picture.nodes.iter().collect();
    nodes.sort_by_key(|one| (names.node_place(one.node), one.node));
    let mut groups: Vec<_> = picture.groups.iter().collect();
    groups.sort_by_key(|one| (names.group_place(one.group), one.group));
    response::Status {
        schema: SCHEMA,
        cluster: names.cluster().to_owned(),
        node: names.node(picture.me),
        phase: sentences::phase(picture.phase).to_owned(),
        nodes: nodes.into_iter().map(|one| node(one, snapshot, names)).collect(),
        groups: groups.into_iter().map(|one| counted_group(one, snapshot, names)).collect(),
        fence: snapshot.fence.clone(),
        not_preserving: snapshot.not_preserving.clone(),
        checks: snapshot.checks.clone(),
        hooks: snapshot.hooks.clone(),
        virtual_routers: snapshot.virtual_routers.clone(),
        overheard_routers: snapshot.overheard_routers.clone(),
        missing_routes: snapshot.missing_routes.clone(),
        orders: snapshot.orders.iter().map(|one| standing_orders::shown(one, names)).collect(),
        restart: snapshot.restart.clone(),
        counters: counters(snapshot),
        measures: measures(snapshot),
    }
}

fn measures(snapshot: &Snapshot) -> Option<Measures> {
    let reported = &snapshot.reported;
    Some(Measures {
        events: owned(&reported.events),
        detection: reported.detection.clone(),
        convergence: reported.convergence.clone(),
        ..snapshot.measures.clone()?
    })
}

fn owned(counts: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn counters(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    snapshot.counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn node(one: &NodeStatus, snapshot: &Snapshot, names: &Names) -> response::Node {
    let held_back = snapshot.held_back.get(&one.node).into_iter().flatten();
    let role = names.role(one.node);
    // What the dead said last is not what they do.
    let phase = match one.verdict {
        Verdict::Up | Verdict::Suspect | Verdict::Indirect => one.phase,
        Verdict::Left => Some(NodePhase::Left),
        Verdict::Unknown | Verdict::Dead => None,
    };
    response::Node {
        name: names.node(one.node),
        state: one.verdict.into(),
        last_heard_ms: one.last_heard.map(millis),
        draining: one.draining,
        waits: one.waiting.map(|waiting| response::Waits {
            connections: waiting.connections,
            left_ms: millis(waiting.left),
            awaited: snapshot.awaited_by_drain.clone().filter(|_| one.node == names.me()),
        }),
        load_permille: one.load.map(|load| load.utilisation),
        unfit: pools(one, Fitness::Unfit, names),
        reluctant: pools(one, Fitness::Reluctant, names),
        version: one.software.map(version),
        held_back: held_back.map(|feature| (*feature).to_owned()).collect(),
        phase: phase.map(|phase| sentences::phase(phase).to_owned()),
        role: if role.owns { response::Role::Member } else { response::Role::Witness },
        voter: role.votes,
        weight: one.weight,
        owns: one.owns,
        loop_lag_us: u64::try_from(one.loop_lag.as_micros()).unwrap_or(u64::MAX),
        config_differs: one.config_differs,
        preserving: preserving::label(one.preserving),
        kernel_answers: one
            .kernel_answers
            .map(|(group, hardware)| format!("{} ({hardware})", names.group(group).group)),
        problems: problems(one, snapshot, names),
    }
}

/// The pools of which a node's checks say this, by name.
fn pools(one: &NodeStatus, fitness: Fitness, names: &Names) -> Vec<String> {
    let named = one.unfit.iter().filter(|(_, is)| *is == fitness);
    let mut named: Vec<String> = named.map(|(pool, _)| names.pool(*pool)).collect();
    // What it lacks is no outcome of checks.
    named.retain(|pool| names.rules().missing(one.node, pool).is_empty());
    named.sort();
    named
}

impl From<Verdict> for NodeState {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Unknown => Self::Unknown,
            Verdict::Up => Self::Up,
            Verdict::Suspect => Self::Suspect,
            Verdict::Indirect => Self::Indirect,
            Verdict::Dead => Self::Dead,
            Verdict::Left => Self::Left,
        }
    }
}

fn version(software: SoftwareVersion) -> String {
    format!("{}.{}.{}", software.major, software.minor, software.patch)
}

/// Only the owner's connections are told: what others have left is nobody's concern.
fn counted_group(one: &GroupStatus, snapshot: &Snapshot, names: &Names) -> response::Group {
    let here = one.owner == Some(snapshot.status.me);
    let connections = snapshot.connections.get(&one.group).copied().filter(|_| here);
    let moves = snapshot.reported.groups.get(&one.group).cloned().unwrap_or_default();
    let (acquired, released) = (owned(&moves.acquired), owned(&moves.released));
    let mut told = response::Group { connections, acquired, released, ..group(one, names) };
    let kept_here = one.preserved.is_some_and(|it| it.by == snapshot.status.me);
    if let Some(preserved) = told.preserved.as_mut().filter(|_| kept_here) {
        preserved.awaited = snapshot.awaited_by_group.get(&one.group).cloned();
    }
    told
}

fn group(one: &GroupStatus, names: &Names) -> response::Group {
    let name = names.group(one.group);
    response::Group {
        pool: name.pool,
        group: name.group,
        addresses: name.addresses.iter().map(ToString::to_string).collect(),
        mode: match name.mode {
            Mode::Availability => response::Mode::Availability,
            Mode::Majority => response::Mode::Majority,
        },
        owner: one.owner.map(|owner| names.node(owner)),
        state: group_state(one.state),
        epoch: one.epoch.0,
        since_ms: millis(one.since),
        reason: reason(one, names),
        converged_ms: one.converged.map(millis),
        connections: None,
        unable: one.unable_here.map(|why| inability_label(why).to_owned()),
        acquired: BTreeMap::new(),
        released: BTreeMap::new(),
        unable_here: one.unable_here.map(|why| sentences::inability(why, one.group, names)),
        claimant: one.claimant.map(|hardware| hardware.to_string()),
        withheld: one.withheld.map(|withheld| sentences::withheld(&withheld, names)),
        preserved: one.preserved.map(|preserved| response::Preserved {
            by: names.node(preserved.by),
            connections: preserved.connections,
            left_ms: preserved.left.map(millis),
            awaited: None,
        }),
    }
}

fn group_state(state: GroupState) -> response::GroupState {
    match state {
        GroupState::Owned => response::GroupState::Owned,
        GroupState::Moving => response::GroupState::Moving,
        GroupState::Waiting => response::GroupState::Waiting,
        GroupState::Closed => response::GroupState::Closed,
        GroupState::Unowned => response::GroupState::Unowned,
    }
}

fn reason(one: &GroupStatus, names: &Names) -> String {
    match one.state {
        GroupState::Waiting => {
            return "waiting for a lease from a majority of the voters".to_owned();
        }
        GroupState::Closed => return "no majority of the voters: no node answers".to_owned(),
        GroupState::Owned | GroupState::Moving | GroupState::Unowned => {}
    }
    match (one.owner, one.cause) {
        (Some(_), Some(cause)) => sentences::cause(cause, None, names),
        (Some(owner), None) => format!("reported by {}", names.node(owner)),
        // The cause is why the last owner once took it, not why it is gone.
        (None, Some(_)) if one.state == GroupState::Moving => "being handed over".to_owned(),
        (None, Some(_)) => "its last owner is gone and no node has taken it yet".to_owned(),
        (None, None) => "no node has claimed it yet".to_owned(),
    }
}

/// Why a group is where it is.
pub(super) fn explanation(explanation: &Explanation, names: &Names) -> response::Explanation {
    let mut place = 0;
    let line = explanation.candidates.iter().map(|candidate| {
        let takes = sentences::would_take(candidate.standing);
        place += u32::from(takes);
        response::Candidate {
            place: takes.then_some(place),
            node: names.node(candidate.node),
            reason: sentences::candidate(candidate, explanation.group.group, names),
        }
    });
    let line = line.collect();
    response::Explanation {
        schema: SCHEMA,
        node: names.node(names.me()),
        group: group(&explanation.group, names),
        line,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn status_has_its_golden_json() {
        let snapshot = Snapshot {
            status: fixture::waiting_status(),
            fence: response::Fence { kind: response::FenceKind::Gate, bound_ms: Some(600) },
            connections: fixture::connections(),
            counters: vec![("datagrams_refused", 3)],
            ..fixture::status().into()
        };
        let answer = status(&snapshot, &fixture::names());
        let golden = concat!(
            r#"{"schema":1,"cluster":"edge","node":"lb1","phase":"active","nodes":["#,
            r#"{"name":"lb1","state":"up","last_heard_ms":0,"draining":false,"waits":null,"version":"0.1.0","#,
            r#""phase":"active","role":"member","voter":true,"weight":1,"owns":1,"loop_lag_us":180,"config_differs":false,"kernel_answers":null,"load_permille":null,"unfit":[],"reluctant":[]},"#,
            r#"{"name":"lb2","state":"up","last_heard_ms":42,"draining":true,"waits":{"connections":12,"left_ms":25000},"version":"0.1.0","#,
            r#""phase":"active","role":"member","voter":false,"weight":2,"owns":1,"loop_lag_us":180,"config_differs":true,"kernel_answers":null,"load_permille":null,"unfit":["web"],"reluctant":[]},"#,
            r#"{"name":"lb3","state":"unknown","last_heard_ms":null,"draining":false,"waits":null,"#,
            r#""version":null,"phase":null,"role":"witness","voter":true,"weight":1,"owns":0,"loop_lag_us":0,"#,
            r#""config_differs":false,"kernel_answers":null,"load_permille":null,"unfit":[],"reluctant":[]}],"groups":["#,
            r#"{"pool":"web","group":"10.77.0.100","addresses":["10.77.0.100"],"#,
            r#""mode":"availability","owner":"lb1","state":"owned","epoch":7,"since_ms":81234,"reason":"lb3 fell silent","#,
            r#""converged_ms":12,"connections":2000,"unable_here":null,"claimant":null,"preserved":null},"#,
            r#"{"pool":"web","group":"10.77.0.101","addresses":["10.77.0.101"],"#,
            r#""mode":"availability","owner":"lb2","state":"owned","epoch":7,"since_ms":81234,"#,
            r#""reason":"handed over by lb1 for balance","converged_ms":null,"connections":null,"unable_here":null,"claimant":null,"preserved":null},"#,
            r#"{"pool":"web","group":"10.77.0.102","addresses":["10.77.0.102","fd77::102"],"#,
            r#""mode":"majority","owner":null,"state":"unowned","epoch":0,"since_ms":81234,"#,
            r#""reason":"no node has claimed it yet","#,
            r#""converged_ms":null,"connections":null,"unable_here":"no interface that is up is in its network; name its interface, or bring the link up","unable":"link","claimant":null,"preserved":null}],"#,
            r#""fence":{"kind":"gate","bound_ms":600},"not_preserving":null,"checks":[],"hooks":[],"#,
            r#""counters":{"datagrams_refused":3}}"#,
        );
        assert_eq!(serde_json::to_string(&answer).unwrap(), golden);
        assert_eq!(serde_json::from_str::<response::Status>(golden).unwrap(), answer);
    }

    #[test]
    fn a_status_with_only_the_contracts_fields_is_understood() {
        let contract = concat!(
            r#"{"schema":1,"cluster":"edge","node":"lb1","nodes":[{"name":"lb1","state":"up","#,
            r#""last_heard_ms":0,"draining":false,"version":"0.1.0"}],"groups":[{"pool":"web","#,
            r#""group":"10.77.0.100","addresses":["10.77.0.100"],"owner":"lb1","state":"owned","#,
            r#""epoch":7,"since_ms":81234,"reason":"...","added_later":[]}]}"#,
        );
        let status: response::Status = serde_json::from_str(contract).unwrap();
        assert_eq!(status.groups[0].owner.as_deref(), Some("lb1"));
    }

    #[test]
    fn explanation_numbers_those_who_would_take_it() {
        let answer = explanation(&fixture::explanation(), &fixture::names());
        let line: Vec<_> = answer.line.iter().map(|one| (one.place, one.node.as_str())).collect();
        assert_eq!(line, [(Some(1), "lb2"), (None, "lb3")]);
        assert_eq!(answer.line[1].reason, "never heard");
    }
}
