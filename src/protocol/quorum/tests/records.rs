//! What a voter leaves to its next process, and what that makes of it (H61 in docs/invariants.md).

use std::time::Duration;

use super::super::super::types::{
    LifePromise, PROMISES_AGE_MAX, PromiseRecord, VoterRecord, Wish, promise,
};
use super::*;

/// What a node asks for in its first request.
fn request(world: &World, asked_at: u64) -> LeaseRequest {
    LeaseRequest {
        asked_at,
        voters: world.quorum.digest(),
        base: 0,
        upto: 1,
        wishes: vec![Wish { version: 1, group: ADDRESS, wanted: true }],
        bid: Some(Bid { lease: Timing::LAN.lease(), answered: Some(asked_at) }),
    }
}

/// Whether the voter promises the address to this node now.
fn promises(world: &mut World, to: NodeId) -> bool {
    let request = request(world, world.env.now.as_nanos());
    let grant = world.quorum.vote(&world.env, &peer(to), &request).remove(0);
    grant.vote == Vote::Granted && grant.refused.is_empty()
}

/// A voter that votes, a minute after its start.
fn voting() -> World {
    let mut world = World::new();
    world.quorum.reconfigure(&world.env);
    let _ = world.quorum.follow_lists(&mut world.env);
    world.quorum.stored(world.env.now, true);
    let _ = world.quorum.follow_lists(&mut world.env);
    world.wait(60_000);
    world
}

fn list() -> Vec<NodeId> {
    vec![ME, OTHERS[0], OTHERS[1]]
}

/// The next process after `wait` milliseconds, and whether what was left fits.
fn next(
    before: &World,
    record: &PromiseRecord,
    wait: u64,
    lists: Vec<Vec<NodeId>>,
) -> (World, bool) {
    let mut world = World { env: before.env.clone(), quorum: Quorum::new(before.env.now) };
    world.wait(wait);
    let longest = Timing::LAN.lease();
    world.quorum.reconfigure(&world.env);
    world.quorum.recall(&world.env, Recollection::Record(VoterRecord { lists, longest }));
    let fits = world.quorum.recall_promises(&world.env, record);
    let _ = world.quorum.follow_lists(&mut world.env);
    (world, fits)
}

#[test]
fn what_was_promised_is_kept_and_the_rest_is_free_at_once() {
    let mut world = voting();
    assert!(promises(&mut world, OTHERS[0]));
    let until = world.env.now + promise(Timing::LAN.lease());
    world.wait(100);
    let record = world.quorum.retire(&world.env).expect("it votes");
    let kept = LifePromise {
        node: OTHERS[0],
        incarnation: Incarnation(1),
        until,
        lease: Timing::LAN.lease(),
        addresses: vec![ADDRESS],
    };
    assert_eq!(record.promises, [kept]);
    let (mut after, fits) = next(&world, &record, 50, vec![list()]);
    assert!(fits);
    assert!(!promises(&mut after, OTHERS[1]), "it is another's");
    assert!(promises(&mut after.clone(), OTHERS[0]), "it is asked for by whom it was promised to");
    after.env.now = until;
    assert!(promises(&mut after, OTHERS[1]), "the promise is over");
}

#[test]
fn nothing_is_granted_after_the_record_was_made() {
    let mut world = voting();
    assert!(promises(&mut world, OTHERS[0]));
    assert!(world.quorum.retire(&world.env).is_some());
    for node in OTHERS {
        let request = request(&world, world.env.now.as_nanos());
        let grant = world.quorum.vote(&world.env, &peer(node), &request).remove(0);
        assert_eq!(grant.vote, Vote::Starting);
    }
    assert_eq!(world.quorum.retire(&world.env), None, "there is one record of each life");
}

#[test]
fn a_voter_that_does_not_vote_leaves_nothing() {
    let mut world = World::new();
    world.quorum.reconfigure(&world.env);
    assert_eq!(world.quorum.retire(&world.env), None, "it has stored nothing");
}

#[test]
fn the_silence_of_a_life_that_was_short_goes_on() {
    let mut first = voting();
    assert!(promises(&mut first, OTHERS[0]));
    // It is killed; the next is silent, and stops before that is over.
    let mut second = World { env: first.env.clone(), quorum: Quorum::new(first.env.now) };
    let record = VoterRecord { lists: vec![list()], longest: Timing::LAN.lease() };
    second.quorum.reconfigure(&second.env);
    second.quorum.recall(&second.env, Recollection::Record(record));
    let _ = second.quorum.follow_lists(&mut second.env);
    let silent_until = second.env.now + promise(Timing::LAN.lease());
    second.wait(100);
    let record = second.quorum.retire(&second.env).expect("it votes");
    assert_eq!((record.silent_until, record.promises.len()), (silent_until, 0));
    let (mut third, fits) = next(&second, &record, 10, vec![list()]);
    assert!(fits);
    assert!(!promises(&mut third, OTHERS[1]));
    third.env.now = silent_until;
    assert!(promises(&mut third, OTHERS[1]));
}

#[test]
fn a_record_that_does_not_fit_is_of_no_use() {
    let world = voting();
    let good = world.clone().quorum.retire(&world.env).expect("it votes");
    let mut other_node = good.clone();
    other_node.me = OTHERS[0];
    let mut other_list = good.clone();
    other_list.list.pop();
    let mut future = good.clone();
    future.at = good.at + Duration::from_millis(2);
    let old = u64::try_from(PROMISES_AGE_MAX.as_millis()).expect("seconds") + 1;
    let one = || vec![list()];
    let two = vec![list(), vec![ME]];
    let cases = [
        ("good", &good, 0, one(), true),
        ("as old as it may be", &good, old - 1, one(), true),
        ("older", &good, old, one(), false),
        ("of another node", &other_node, 1, one(), false),
        ("of another list", &other_list, 1, one(), false),
        ("from the future", &future, 1, one(), false),
        ("another list is remembered too", &good, 1, two, false),
        ("nothing is remembered", &good, 1, Vec::new(), false),
    ];
    for (what, record, wait, lists, fits) in cases {
        let (mut after, found) = next(&world, record, wait, lists);
        assert_eq!(found, fits, "{what}");
        assert_eq!(promises(&mut after, OTHERS[1]), fits, "{what}");
    }
}
