//! Logs between two tables, whatever is lost on the way.

use std::time::Duration;

use super::super::env::Env;
use super::super::types::{
    Action, CLAIMS_PER_MESSAGE, Cause, Claim, Claims, Epoch, GroupKey, Incarnation, Instant,
    LogPosition, Message, NodeId, Tenure,
};
use super::log::{Acknowledged, Inbound, Outbound};
use super::{Acceptance, Audience, ReplicatedClaims};

const ME: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);
const RETRY: Duration = Duration::from_millis(20);

/// A peer that hears the owners but those of these claims.
struct Reachable(bool);

impl Audience for Reachable {
    fn needs(&self, _to: NodeId, claim: &Claim) -> bool {
        claim.owner == NodeId(9)
    }

    fn patience(&self, _to: NodeId) -> Option<Duration> {
        self.0.then_some(RETRY)
    }
}

fn claim(group: u64, owner: NodeId) -> Claim {
    Claim {
        group: GroupKey(group),
        epoch: Epoch(1),
        owner,
        incarnation: Incarnation(4),
        revision: 0,
        tenure: Tenure::Held,
        support: 1,
        heirs: [None; 2],
        cause: Cause::FirstClaim,
    }
}

/// What has been sent since this was last called.
fn sent(env: &mut Env) -> Vec<Claims> {
    let slice = |action| {
        let Action::Send { to: PEER, message: Message::Claims(slice) } = action else {
            return None;
        };
        Some(slice)
    };
    std::mem::take(&mut env.actions).into_iter().filter_map(slice).collect()
}

fn groups(slices: &[Claims]) -> Vec<u64> {
    slices.iter().flat_map(|slice| &slice.claims).map(|claim| claim.group.0).collect()
}

fn position(stream: u32, version: u32) -> LogPosition {
    LogPosition { stream, version }
}

#[test]
fn a_log_is_sent_once_and_again_until_it_is_acknowledged() {
    let (mut env, mut claims) = (Env::alone(ME), ReplicatedClaims::new(Incarnation(4)));
    claims.enrol(PEER);
    for (group, owner) in [(1, ME), (2, NodeId(3)), (3, NodeId(9))] {
        let entered = claims.enter(&env, &Reachable(true), claim(group, owner));
        assert_eq!(entered, Acceptance::Newer(None));
    }
    claims.spread(&mut env, &Reachable(false));
    assert_eq!(sent(&mut env), [], "it cannot be told anything");
    claims.note_written();
    claims.spread(&mut env, &Reachable(true));
    let first = sent(&mut env);
    assert_eq!(groups(&first), [1, 3], "what it needs");
    claims.spread(&mut env, &Reachable(true));
    assert_eq!(sent(&mut env), []);
    assert_eq!(claims.deadline(&env, &Reachable(true)), env.now + RETRY);
    env.now = env.now + RETRY;
    claims.spread(&mut env, &Reachable(true));
    assert_eq!(sent(&mut env), first);
    let (end, _) = claims.positions(PEER);
    assert!(!claims.is_acknowledged(PEER));
    claims.acknowledge(&env, &Reachable(true), PEER, end);
    assert!(claims.is_acknowledged(PEER));
    assert_eq!(claims.deadline(&env, &Reachable(true)), Instant::NEVER);
    // It says that it has nothing: it has forgotten us.
    claims.acknowledge(&env, &Reachable(true), PEER, LogPosition::default());
    claims.spread(&mut env, &Reachable(true));
    let again = sent(&mut env);
    assert_eq!(groups(&again), [1, 3]);
    assert_eq!(again[0].base, position(end.stream + 1, 0));
}

#[test]
fn slices_that_are_lost_doubled_or_overtaken_leave_no_gap() {
    let mut env = Env::alone(ME);
    let mut claims = ReplicatedClaims::new(Incarnation(4));
    let mut peer = ReplicatedClaims::new(Incarnation(4));
    let theirs = Env::alone(PEER);
    claims.enrol(PEER);
    peer.enrol(ME);
    let count = u64::try_from(3 * CLAIMS_PER_MESSAGE + 1).unwrap();
    (1..=count).for_each(|group| {
        let _ = claims.enter(&env, &Reachable(true), claim(group, ME));
    });
    claims.spread(&mut env, &Reachable(true));
    let slices = sent(&mut env);
    assert_eq!(slices.len(), 4);
    peer.aim(ME, claims.positions(PEER).0);
    for (place, complete) in
        [(1, false), (0, false), (2, false), (1, false), (3, false), (2, false)]
    {
        for claim in &slices[place].claims {
            let _ = peer.enter(&theirs, &Reachable(true), *claim);
        }
        let _ = peer.append(ME, &slices[place]);
        assert_eq!(peer.is_complete(ME), complete, "after slice {place}");
    }
    assert_eq!(peer.iter().count(), slices.iter().map(|slice| slice.claims.len()).sum::<usize>());
    let _ = peer.append(ME, &slices[3]);
    assert!(peer.is_complete(ME));
}

#[test]
fn a_peer_that_comes_back_is_sent_another_stream() {
    let (env, mut claims) = (Env::alone(ME), ReplicatedClaims::new(Incarnation(4)));
    claims.enrol(PEER);
    let (first, _) = claims.positions(PEER);
    claims.keep_only(|_| true);
    claims.enrol(PEER);
    assert_eq!(claims.positions(PEER).0, first);
    claims.keep_only(|_| false);
    assert_eq!(claims.positions(PEER).0, LogPosition::default());
    claims.enrol(PEER);
    assert_eq!(claims.positions(PEER).0.stream, first.stream + 1);
    claims.restart_log(&env, &Reachable(true), PEER);
    assert_eq!(claims.memory(PEER), (first.stream + 2, LogPosition::default()));
}

#[test]
fn what_is_due_and_what_an_acknowledgement_means() {
    let now = Instant::from_millis(1_000);
    let mut log = Outbound::new(7);
    log.extend(5);
    assert_eq!(log.due(now, None, false), Some(0), "nothing was sent yet");
    let _ = log.send(now, &super::table::ClaimTable::default(), 0, |_| true);
    for (patience, news, due) in
        [(None, true, None), (Some(RETRY), false, None), (Some(Duration::ZERO), false, Some(0))]
    {
        assert_eq!(log.due(now, patience, news), due, "{patience:?} {news}");
    }
    log.extend(9);
    assert_eq!(log.due(now, None, false), None, "there is no news");
    assert_eq!(log.due(now, None, true), Some(5));
    for (told, means, lacking) in [
        (position(6, 9), Acknowledged::Noted, true),
        (position(7, 3), Acknowledged::Noted, true),
        (position(7, 5), Acknowledged::GoOn, true),
        (position(7, 5), Acknowledged::Noted, true),
        (LogPosition::default(), Acknowledged::Forgotten, true),
        (position(7, 12), Acknowledged::Noted, false),
    ] {
        assert_eq!((log.acknowledge(told), log.is_lacking()), (means, lacking), "{told:?}");
    }
}

#[test]
fn a_later_stream_begins_anew_and_an_earlier_one_is_left() {
    let slice = |stream, base, upto| Claims { base: position(stream, base), upto, claims: vec![] };
    let mut log = Inbound::default();
    for (slice, have) in [
        (slice(5, 1, 3), position(0, 0)),
        (slice(5, 0, 3), position(5, 3)),
        (slice(5, 4, 6), position(5, 3)),
        (slice(5, 2, 4), position(5, 4)),
        (slice(4, 0, 9), position(5, 4)),
        (slice(6, 0, 2), position(6, 2)),
    ] {
        log.append(&slice);
        assert_eq!(log.have(), have, "{slice:?}");
    }
}
