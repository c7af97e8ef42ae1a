//! The quorum by itself: when voters are asked, what follows from their answers, and the machines
//! behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::env::Env;
use super::super::types::{
    Action, Bid, Group, GroupKey, Incarnation, LastResort, LeaseGrant, LeaseRequest, Member,
    Message, Mode, NodeId, PoolId, Preference, Recollection, Report, Strategy, Timing, Vote,
};
use super::{PeerView, Quorum, Situation};

mod electorate;
mod promises;
mod records;
mod small_model;

const ME: NodeId = NodeId(1);
const OTHERS: [NodeId; 2] = [NodeId(2), NodeId(3)];
const ADDRESS: GroupKey = GroupKey(7);
const BOTH: Situation = Situation { near: [true; 7], contested_since: None };
const NOBODY: Situation =
    Situation { near: [true, false, false, false, false, false, false], contested_since: None };

/// Three voters, and a group in mode majority.
fn environment() -> Env {
    let group = Group {
        pool: PoolId(1),
        addresses: vec![ADDRESS],
        strategy: Strategy::Balance,
        mode: Mode::Majority,
        prefer: Preference::default(),
        failback: None,
        force: false,
        last_resort: LastResort::Keep,
        gate: None,
    };
    let mut env = Env::alone(ME);
    let voters = [ME, OTHERS[0], OTHERS[1]];
    env.configuration.nodes = voters.map(|node| (node, Member::of_weight(1))).into();
    env.configuration.groups = BTreeMap::from([(ADDRESS, group)]);
    env
}

/// A quorum of three at 10 s, whose own voter does not vote yet.
#[derive(Clone)]
struct World {
    env: Env,
    quorum: Quorum,
}

impl World {
    fn new() -> Self {
        let env = environment();
        let mut quorum = Quorum::new(env.now);
        quorum.reconfigure(&env);
        quorum.recall(&env, Recollection::Nothing);
        Self { env, quorum }
    }

    fn wait(&mut self, milliseconds: u64) {
        self.env.now = self.env.now + Duration::from_millis(milliseconds);
    }

    /// Who is asked for a lease now, and what.
    fn asks(&mut self, situation: &Situation) -> Vec<(NodeId, LeaseRequest)> {
        self.quorum.ask(&mut self.env, situation);
        let sent = std::mem::take(&mut self.env.actions).into_iter();
        sent.filter_map(|action| {
            let Action::Send { to, message: Message::LeaseRequest(request) } = action else {
                return None;
            };
            Some((to, request))
        })
        .collect()
    }

    fn asked(&mut self, situation: &Situation) -> Vec<NodeId> {
        self.asks(situation).into_iter().map(|(node, _)| node).collect()
    }

    /// The voter answers all that was asked of it.
    fn answer(&mut self, from: NodeId, asked: &[(NodeId, LeaseRequest)], vote: Vote) {
        for (_, request) in asked.iter().filter(|(to, _)| *to == from) {
            let upto = if vote == Vote::Granted { request.upto } else { 0 };
            let grant = LeaseGrant {
                asked_at: request.asked_at,
                have: request.upto,
                vote,
                upto,
                refused: Vec::new(),
                backing: None,
            };
            self.quorum.on_grant(&mut self.env, &peer(from), &grant);
        }
    }
}

fn peer(node: NodeId) -> PeerView {
    let lease = Timing::LAN.lease();
    PeerView { node, incarnation: Some(Incarnation(1)), isolated: false, lease }
}

#[test]
fn two_votes_of_three_make_a_lease_that_counts_from_the_asking() {
    let mut world = World::new();
    world.quorum.want(ADDRESS);
    let (asked_at, asked) = (world.env.now, world.asks(&BOTH));
    assert_eq!(asked.iter().map(|(to, _)| *to).collect::<Vec<_>>(), OTHERS);
    world.wait(50);
    world.answer(OTHERS[0], &asked, Vote::Granted);
    assert!(world.quorum.until(ADDRESS) <= world.env.now, "one vote is no majority");
    world.answer(OTHERS[1], &asked, Vote::Granted);
    // Older software vouches for 60 ms less.
    let lease = Timing::LAN.lease().checked_sub(Duration::from_millis(60)).unwrap();
    assert_eq!(world.quorum.until(ADDRESS), asked_at + lease);
    world.quorum.forget(world.env.now);
    assert!(world.quorum.until(ADDRESS) <= world.env.now, "it was counted by a clock that stood");
}

#[test]
fn voters_are_asked_as_often_as_it_matters() {
    let (heartbeat, retry) = (Timing::LAN.heartbeat, Timing::LAN.retry);
    let mut world = World::new();
    // Nothing is wanted: asked until they agree, then no more.
    let asked = world.asks(&BOTH);
    assert_eq!((asked.len(), world.asked(&BOTH)), (2, Vec::new()));
    world.answer(OTHERS[0], &asked, Vote::Granted);
    world.env.now = world.env.now + heartbeat;
    let asked = world.asks(&BOTH);
    assert_eq!(asked.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [OTHERS[1]]);
    world.answer(OTHERS[1], &asked, Vote::Granted);
    world.env.now = world.env.now + heartbeat * 10;
    assert_eq!(world.asked(&BOTH), []);
    // Something new goes out at once, then with every retry until it has arrived.
    world.quorum.want(ADDRESS);
    assert_eq!(world.asked(&BOTH), OTHERS);
    assert_eq!(world.asked(&BOTH), []);
    world.env.now = world.env.now + retry;
    let asked = world.asks(&BOTH);
    assert_eq!(asked.len(), 2);
    OTHERS.iter().for_each(|voter| world.answer(*voter, &asked, Vote::Granted));
    // Renewed with every heartbeat; more often while a group waits or is contested.
    let contest = Some(world.env.now);
    for (waiting, contested, after) in
        [(false, None, heartbeat), (true, None, retry), (false, contest, retry)]
    {
        world.quorum.set_waiting(waiting);
        let situation = Situation { contested_since: contested, ..BOTH };
        let mut later = world.clone();
        later.env.now = later.env.now + after.checked_sub(Duration::from_nanos(1)).unwrap();
        assert_eq!(later.asked(&situation), [], "{waiting} {contested:?}");
        later.env.now = later.env.now + Duration::from_nanos(1);
        assert_eq!(later.asked(&situation), OTHERS, "{waiting} {contested:?}");
    }
    world.wait(1);
    let situation = Situation { contested_since: Some(world.env.now), ..BOTH };
    assert_eq!(world.asked(&situation), OTHERS, "a contest is decided by what is asked after it");
}

#[test]
fn a_majority_settles_within_two_heartbeats() {
    let mut world = World::new();
    assert!(!world.quorum.watch(&world.env, &NOBODY));
    assert!(!world.quorum.watch(&world.env, &BOTH));
    assert!(!world.quorum.is_settled());
    world.env.now = world.env.now + Timing::LAN.heartbeat * 2;
    assert!(world.quorum.watch(&world.env, &BOTH));
    assert!(world.quorum.is_settled());
    assert!(world.quorum.watch(&world.env, &NOBODY), "it is lost at once");
    assert!(!world.quorum.is_settled());
}

#[test]
fn voters_of_another_list_are_no_majority_and_are_reported_once() {
    let mut world = World::new();
    for differ in [1, 2] {
        world.env.now = world.env.now + Duration::from_secs(1);
        let asked = world.asks(&BOTH);
        OTHERS.iter().for_each(|voter| world.answer(*voter, &asked, Vote::VotersDiffer));
        let told = std::mem::take(&mut world.env.actions);
        let reports = OTHERS.map(|voter| Action::Report(Report::VotersDiffer { voter }));
        assert_eq!(told, if differ == 1 { reports.to_vec() } else { Vec::new() });
        assert!(!world.quorum.is_in_touch(&world.env, &BOTH));
        assert!(world.quorum.is_opposed(&world.env, &BOTH));
        assert!(!world.quorum.is_opposed(&world.env, &NOBODY), "nobody near opposes");
    }
}

#[test]
fn what_a_voter_says_to_whom() {
    let mut world = World::new();
    let request = |world: &World, older: bool, voters: u64| LeaseRequest {
        asked_at: world.env.now.as_nanos(),
        voters,
        base: 0,
        upto: 0,
        wishes: Vec::new(),
        bid: (!older).then_some(Bid { lease: Timing::LAN.lease(), answered: None }),
    };
    let digest = world.quorum.digest();
    let says = |world: &mut World, older, voters| {
        let request = request(world, older, voters);
        world.quorum.vote(&world.env, &peer(OTHERS[0]), &request)[0].vote
    };
    assert_eq!(says(&mut world, false, digest + 1), Vote::VotersDiffer);
    assert_eq!(says(&mut world, false, digest), Vote::Starting, "nothing is stored");
    let _ = world.quorum.follow_lists(&mut world.env);
    world.quorum.stored(world.env.now, true);
    let _ = world.quorum.follow_lists(&mut world.env);
    assert_eq!(says(&mut world, false, digest), Vote::Starting, "of its former life");
    world.env.now = world.env.now + Duration::from_secs(60);
    assert_eq!(says(&mut world, false, digest), Vote::Granted);
    assert_eq!(says(&mut world, true, digest), Vote::Starting, "it asks for more than is stored");
}
