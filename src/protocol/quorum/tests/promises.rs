//! What a voter promises, and what of it counts for the one that asks.

use std::time::Duration;

use super::super::super::types::{
    Backing, Bid, GroupKey, Incarnation, Instant, LeaseGrant, LeaseRequest, NodeId, Vote, Wish,
    promise,
};
use super::super::leases::{GrantTerms, Leases};
use super::super::voter::{Holder, Terms, Voter};

const LEASE: Duration = Duration::from_millis(600);

fn terms(lease: Duration) -> Terms {
    Terms {
        lease,
        promise: promise(lease),
        refusal: None,
        isolated: false,
        heard: true,
        idle_is_first: true,
        longest: lease,
        lists: vec![1],
        named: true,
    }
}

fn holder(node: u32) -> Holder {
    Holder { node: NodeId(node), incarnation: Incarnation(1) }
}

/// Asks at `at` milliseconds for groups that were not asked for before; the answer to what was asked
/// at `answered` has come.
fn request(at: u64, answered: Option<u64>, groups: u32) -> LeaseRequest {
    let wish = |version| Wish { version, group: GroupKey(version.into()), wanted: true };
    LeaseRequest {
        asked_at: at * 1_000_000,
        voters: 0,
        base: 0,
        upto: groups,
        wishes: (1..=groups).map(wish).collect(),
        bid: Some(Bid { lease: LEASE, answered: answered.map(|at| at * 1_000_000) }),
    }
}

fn votes(grants: &[LeaseGrant]) -> Vec<Vote> {
    grants.iter().map(|grant| grant.vote).collect()
}

#[test]
fn all_that_is_refused_is_named_in_as_many_messages_as_it_takes() {
    let (now, mut voter) = (Instant::from_millis(10_000), Voter::new(Instant::START));
    let (first, second) = (holder(1), holder(2));
    let _ = voter.answer(now, first, &request(1, None, 300), &terms(LEASE));
    let grants = voter.answer(now, second, &request(1, None, 310), &terms(LEASE));
    let bounds = |grant: &LeaseGrant| {
        let after = grant.backing.as_ref().map(|it: &Backing| it.after);
        (after, grant.upto, grant.refused.len())
    };
    let parts: Vec<_> = grants.iter().map(bounds).collect();
    assert_eq!(parts, [(Some(0), 128, 128), (Some(128), 256, 128), (Some(256), 310, 44)]);
    // Whoever takes in all of them has what was not refused, and nothing else.
    let me = NodeId(9);
    let mut leases = Leases::default();
    leases.set_voters(Instant::START, vec![me]);
    (1..=310).for_each(|group| leases.want(GroupKey(group)));
    let asked = leases.requests(Instant::from_millis(1), me, LEASE);
    assert!(!asked.is_empty());
    for grant in &grants {
        let terms = GrantTerms { lease: LEASE, from: None, floored: true };
        leases.grant(me, grant, terms);
    }
    let leased = |group: &u64| leases.until(GroupKey(*group)) > Instant::START;
    assert_eq!((1..=310).filter(leased).collect::<Vec<_>>(), (301..=310).collect::<Vec<_>>());
    // Older software would take the second message for a grant of what the first refuses.
    let older = LeaseRequest { bid: None, ..request(2, None, 310) };
    let grants = voter.answer(now, second, &older, &terms(LEASE));
    assert_eq!((grants.len(), grants[0].upto), (1, 128));
}

#[test]
fn who_does_not_hear_the_answers_is_promised_nothing_more() {
    let at = Instant::from_millis;
    let mut voter = Voter::new(Instant::START);
    let (deaf, other) = (holder(1), holder(2));
    let mut ask = |now, holder, answered| {
        votes(&voter.answer(at(now), holder, &request(now, answered, 1), &terms(LEASE)))[0]
    };
    assert_eq!(ask(1_000, deaf, None), Vote::Granted, "the first");
    assert_eq!(ask(1_100, deaf, Some(1_000)), Vote::Granted);
    assert_eq!(ask(1_390, deaf, Some(1_100)), Vote::Granted, "it may hear the next");
    for now in [1_410, 1_500, 1_900] {
        assert_eq!(ask(now, deaf, Some(1_100)), Vote::Starting, "at {now}");
    }
    // The promise of 1390 is over after 661 ms.
    assert_eq!(ask(2_052, other, None), Vote::Granted);
    assert_eq!(ask(2_053, deaf, Some(1_100)), Vote::Granted, "but not of what the other has");
    let grants = voter.answer(at(2_060), deaf, &request(2_060, Some(2_055), 1), &terms(LEASE));
    assert_eq!(grants[0].refused, [GroupKey(1)], "it hears again");
}

/// A node that has had nothing for a while, and so has asked for nothing, is granted its first wish at once.
#[test]
fn who_has_had_nothing_for_a_while_is_promised_at_once_what_nobody_waits_for() {
    let at = Instant::from_millis;
    for awaited in [false, true] {
        let mut voter = Voter::new(Instant::START);
        let (back, other) = (holder(1), holder(2));
        let mut ask = |now, holder, answered| {
            voter.answer(at(now), holder, &request(now, answered, 1), &terms(LEASE)).remove(0)
        };
        assert_eq!(ask(1_000, back, None).vote, Vote::Granted);
        if awaited {
            assert_eq!(ask(1_100, other, None).refused, [GroupKey(1)]);
        }
        let wanted = if awaited { Vote::Starting } else { Vote::Granted };
        assert_eq!(ask(5_000, back, Some(1_000)).vote, wanted);
        // The answer is under way.
        assert_eq!(ask(5_010, back, Some(1_000)).vote, wanted);
        // It does not hear it.
        assert_eq!(ask(5_310, back, Some(1_000)).vote, Vote::Starting);
    }
}
