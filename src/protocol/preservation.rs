//! Connections that stay with the old owner of a group when the group is moved in good order.
//!
//! ```text
//!   old owner                                     new owner
//!     | Offer(groups, where they are kept) --------> |  notes where
//!     | <------------- OfferAnswer(will forward)     |
//!     | its kernel: no answer for the address,       |
//!     |   no new connection, those there go on       |
//!     | Claims(MovingTo) --------------------------> |  its kernel: what begins is its own, what
//!     |                                              |  is not its own goes to the old owner;
//!     | Kept(so many are left), every second ------> |  then the address is added
//!     | Kept(0): none is left, time is up,           |
//!     |   or a third node has the group -----------> |  forwards no more
//! ```
//!
//! The old owner decides when it ends: it counts. The new owner ends it by itself when it hears
//! nothing for [`KEPT_FORGOTTEN`], or the old owner is gone: then its own kernel resets what it
//! does not know, and clients that only read are told. There is one former owner at most: a group rests
//! until what its former owner keeps has ended (`Rule::OneKeeper`); where that is brief, an operator's
//! order and failing checks do not wait for it, and the connections of the group's second move are not
//! kept. Also without a connection the old owner keeps a group for [`ANSWERS_WITHIN`]: what clients have
//! asked over UDP before the move is answered by it (see `mute`). A node that stops keeps them for as long as it may take to hand over, and no longer.
//!
//! What is kept, and for whom, is known here alone. How groups stand is asked of [`Groups`]; that a
//! group is released is done by `client_connections`, which is told what has ended.

use std::collections::BTreeMap;
use std::time::Duration;

use super::env::Env;
use super::group::Holding;
use super::types::{
    Action, GroupKey, HardwareAddress, Instant, KEPT_MAX, Kept, Message, NodeId, Preserved, Rule,
};

/// The receiver is told so often how many are left.
const KEPT_EVERY: Duration = Duration::from_secs(1);
/// Not told for so long, it forgets: four messages may be lost.
const KEPT_FORGOTTEN: Duration = Duration::from_secs(5);

/// Answers to what was asked over UDP before a move leave within this: most resolvers of DNS are faster.
const ANSWERS_WITHIN: Duration = Duration::from_millis(300);

/// How groups and peers stand, as far as kept connections go.
pub(super) trait Groups {
    /// Returns what this node has of a group.
    fn holding(&self, group: GroupKey) -> Holding;

    /// Returns who has a group by the latest claim.
    fn owner(&self, group: GroupKey) -> Option<NodeId>;

    /// Returns whether a peer lives.
    fn is_alive(&self, node: NodeId) -> bool;
}

/// What a former owner kept, which has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Of this group.
    pub(super) group: GroupKey,
    /// Who has the group, and forwards.
    pub(super) to: NodeId,
    /// How many connections were left, if that is known.
    pub(super) left: Option<u32>,
}

/// At the old owner.
#[derive(Clone, Copy, Debug)]
struct Keeping {
    to: NodeId,
    answers_until: Instant,
    until: Instant,
    connections: Option<u32>,
}

/// At the new owner.
#[derive(Clone, Copy, Debug)]
struct Forwarding {
    from: NodeId,
    until: Instant,
    connections: Option<u32>,
}

impl Forwarding {
    /// Whether the former owner has said that nothing is left.
    fn is_done(&self) -> bool {
        self.connections == Some(0)
    }
}

/// All that a node has to do with connections of former owners, its own included.
#[derive(Clone, Debug, Default)]
pub(super) struct Preservation {
    keeping: BTreeMap<GroupKey, Keeping>,
    forwarding: BTreeMap<GroupKey, Forwarding>,
    tell_at: Instant,
}

impl Preservation {
    /// Keeps the connections of a group that is handed to another node, for so long at most.
    pub(super) fn keep(&mut self, now: Instant, group: GroupKey, to: NodeId, limit: Duration) {
        let answers_until = now + ANSWERS_WITHIN.min(limit);
        let keeping = Keeping { to, answers_until, until: now + limit, connections: None };
        self.keeping.insert(group, keeping);
        self.tell_at = now;
    }

    /// Keeps nothing for longer than that.
    pub(super) fn end_by(&mut self, at: Instant) {
        self.keeping.values_mut().for_each(|keeping| keeping.until = keeping.until.min(at));
    }

    /// Returns whether this node keeps connections of any group.
    pub(super) fn is_keeping(&self) -> bool {
        !self.keeping.is_empty()
    }

    /// Takes in how many connections of groups that were handed over are left here.
    pub(super) fn note_counted(&mut self, counted: &[(GroupKey, u32)]) {
        for (group, connections) in counted {
            if let Some(keeping) = self.keeping.get_mut(group) {
                keeping.connections = Some(*connections);
            }
        }
    }

    /// Has the kernel forward, before it adds a group, to the former owner, which keeps connections
    /// there.
    pub(super) fn forward(
        &mut self,
        env: &mut Env,
        group: GroupKey,
        from: NodeId,
        keeper: HardwareAddress,
    ) {
        let until = env.now + KEPT_FORGOTTEN;
        self.forwarding.insert(group, Forwarding { from, until, connections: None });
        env.actions.push(Action::Forward { group, to: Some(keeper) });
    }

    /// Takes in what a former owner tells.
    pub(super) fn hear(&mut self, now: Instant, from: NodeId, list: &[Kept]) {
        for kept in list {
            let known = self.forwarding.get_mut(&kept.group);
            if let Some(forwarding) = known.filter(|known| known.from == from) {
                forwarding.connections = kept.connections;
                forwarding.until = if forwarding.is_done() { now } else { now + KEPT_FORGOTTEN };
            }
        }
    }

    /// Returns whether a former owner still keeps connections to a group that is here.
    pub(super) fn is_forwarding(&self, group: GroupKey) -> bool {
        self.forwarding.contains_key(&group)
    }

    /// Returns who forwards to this node what it still serves of a group.
    pub(super) fn kept_for(&self, group: GroupKey) -> Option<NodeId> {
        self.keeping.get(&group).map(|keeping| keeping.to)
    }

    /// Returns who still serves connections to a group that others, or none, have now.
    pub(super) fn preserved(&self, now: Instant, me: NodeId, group: GroupKey) -> Option<Preserved> {
        let here = self.keeping.get(&group).map(|keeping| {
            let left = Some(keeping.until.since(now));
            Preserved { by: me, connections: keeping.connections, left }
        });
        here.or_else(|| {
            let known = self.forwarding.get(&group)?;
            Some(Preserved { by: known.from, connections: known.connections, left: None })
        })
    }

    /// Ends what is not to be forwarded any more.
    pub(super) fn end_forwarding(&mut self, env: &mut Env, groups: &impl Groups) {
        let over = |(group, known): (&GroupKey, &Forwarding)| {
            let holding = groups.holding(*group);
            let over =
                env.now >= known.until || !groups.is_alive(known.from) || holding == Holding::Idle;
            // Who has it told in good order that it is over has ended the connections itself.
            let left = !known.is_done() && matches!(holding, Holding::Held { .. });
            over.then_some((*group, left))
        };
        let over: Vec<_> = self.forwarding.iter().filter_map(over).collect();
        for (group, left) in over {
            self.forwarding.remove(&group);
            env.actions.push(Action::Forward { group, to: None });
            if left {
                env.actions.push(Action::Tickle { group });
            }
        }
    }

    /// Ends what is kept no more; returns that of it which the kernel is to release.
    pub(super) fn end_keeping(&mut self, env: &Env, groups: &impl Groups) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.keeping.retain(|group, keeping| {
            let holding = groups.holding(*group);
            if holding.meant() {
                // It is this node's again, connections and all.
                return false;
            }
            let other = groups.owner(*group);
            let passed_on = other.is_some_and(|owner| owner != keeping.to)
                && env.enforces(Rule::KeptForReceiver);
            let empty = keeping.connections == Some(0) && env.now >= keeping.answers_until;
            let over = empty || env.now >= keeping.until || passed_on;
            // Not before the kernel has confirmed that it does not answer any more.
            let over = over && holding == Holding::Idle;
            if over {
                ended.push(Ended { group: *group, to: keeping.to, left: keeping.connections });
            }
            !over
        });
        ended
    }

    /// Tells receivers how many connections are left, when that is due.
    pub(super) fn tell(&mut self, env: &mut Env) {
        if env.now < self.tell_at || self.keeping.is_empty() {
            return;
        }
        self.tell_at = env.now + KEPT_EVERY;
        let mut lists: BTreeMap<NodeId, Vec<Kept>> = BTreeMap::new();
        for (group, keeping) in &self.keeping {
            // Zero says that it is over, which is said when it is.
            let connections = keeping.connections.filter(|count| *count > 0);
            lists.entry(keeping.to).or_default().push(Kept { group: *group, connections });
        }
        for (to, list) in lists {
            for some in list.chunks(KEPT_MAX) {
                env.send(to, Message::Kept(some.to_vec()));
            }
        }
    }

    /// Returns when something ends, or is to be told, by time alone.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        let tell = (!self.keeping.is_empty()).then_some(self.tell_at);
        // What is over stays until the kernel has confirmed; its event wakes the node.
        let ends = self.keeping.values().flat_map(|keeping| [keeping.answers_until, keeping.until]);
        let kept = ends.filter(|at| *at > now);
        let forwarded = self.forwarding.values().map(|known| known.until);
        kept.chain(forwarded).chain(tell).min().unwrap_or(Instant::NEVER)
    }
}

#[cfg(test)]
mod tests {

    use super::super::types::{Epoch, Ticket};
    use super::*;

    const ME: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);
    const GROUP: GroupKey = GroupKey(7);
    const KEEPER: HardwareAddress = HardwareAddress([2, 0, 0, 0, 0, 2]);
    const IDLE: Holding = Holding::Idle;
    const HELD: Holding = Holding::Held { ticket: Ticket(1), epoch: Epoch(1) };

    /// What this node has of the group, who owns it, and whether the other lives.
    #[derive(Clone, Copy)]
    struct World(Holding, NodeId, bool);

    impl Groups for World {
        fn holding(&self, _group: GroupKey) -> Holding {
            self.0
        }

        fn owner(&self, _group: GroupKey) -> Option<NodeId> {
            Some(self.1)
        }

        fn is_alive(&self, _node: NodeId) -> bool {
            self.2
        }
    }

    #[test]
    fn what_is_kept_ends_when_it_must_and_not_before_the_kernel_has_let_go() {
        let removing = Holding::Removing {
            ticket: Ticket(1),
            epoch: Epoch(1),
            purpose: super::super::group::Purpose::MoveTo(OTHER),
        };
        let given = World(IDLE, OTHER, true);
        let limit = Duration::from_secs(60);
        for (case, world, count, after, ends) in [
            ("some are left", given, Some(3), 1000, false),
            ("not counted yet", given, None, 1000, false),
            ("none is left, but answers may", given, Some(0), 299, false),
            ("none is left", given, Some(0), 300, true),
            ("time is up", given, Some(3), 60_000, true),
            ("a third node has it", World(IDLE, NodeId(3), true), Some(3), 1000, true),
            ("the kernel has not let go", World(removing, OTHER, true), Some(0), 61_000, false),
        ] {
            let (mut env, mut kept) = (Env::alone(ME), Preservation::default());
            kept.keep(env.now, GROUP, OTHER, limit);
            count.into_iter().for_each(|count| kept.note_counted(&[(GROUP, count)]));
            env.now = env.now + Duration::from_millis(after);
            let ended = kept.end_keeping(&env, &world);
            let expected = Ended { group: GROUP, to: OTHER, left: count };
            assert_eq!(ended, if ends { vec![expected] } else { Vec::new() }, "{case}");
            assert_eq!(kept.kept_for(GROUP).is_none(), ends, "{case}");
        }
        let (env, mut kept) = (Env::alone(ME), Preservation::default());
        kept.keep(env.now, GROUP, OTHER, limit);
        assert_eq!(kept.end_keeping(&env, &World(HELD, ME, true)), [], "it came back");
        assert_eq!(kept.kept_for(GROUP), None);
    }

    #[test]
    fn a_receiver_is_told_at_once_and_every_second() {
        let (mut env, mut kept) = (Env::alone(ME), Preservation::default());
        kept.keep(env.now, GROUP, OTHER, Duration::from_secs(60));
        for (count, connections) in [(None, None), (Some(5), Some(5)), (Some(0), None)] {
            count.into_iter().for_each(|count| kept.note_counted(&[(GROUP, count)]));
            assert_eq!(kept.deadline(env.now), env.now);
            kept.tell(&mut env);
            let message = Message::Kept(vec![Kept { group: GROUP, connections }]);
            assert_eq!(std::mem::take(&mut env.actions), [Action::Send { to: OTHER, message }]);
            kept.tell(&mut env);
            assert_eq!(env.actions, []);
            env.now = env.now + KEPT_EVERY;
        }
    }

    #[test]
    fn forwarding_ends_and_clients_are_told_if_nobody_has_ended_their_connections() {
        let over = [Action::Forward { group: GROUP, to: None }, Action::Tickle { group: GROUP }];
        for (case, world, told, after, actions) in [
            ("some are left", World(HELD, ME, true), Some(3), 1, 0),
            ("none is left", World(HELD, ME, true), Some(0), 1, 1),
            ("nothing was heard", World(HELD, ME, true), None, 5, 2),
            ("the former owner is dead", World(HELD, ME, false), Some(3), 1, 2),
            ("the group has gone on", World(IDLE, NodeId(3), true), Some(3), 1, 1),
        ] {
            let (mut env, mut kept) = (Env::alone(ME), Preservation::default());
            kept.forward(&mut env, GROUP, OTHER, KEEPER);
            let begun = [Action::Forward { group: GROUP, to: Some(KEEPER) }];
            assert_eq!(std::mem::take(&mut env.actions), begun);
            if let Some(count) = told {
                let list = [Kept { group: GROUP, connections: Some(count) }];
                kept.hear(env.now, NodeId(9), &list);
                kept.hear(env.now, OTHER, &list);
            }
            env.now = env.now + Duration::from_secs(after);
            kept.end_forwarding(&mut env, &world);
            assert_eq!(env.actions, over[..actions], "{case}");
            assert_eq!(kept.is_forwarding(GROUP), actions == 0, "{case}");
        }
    }
}
