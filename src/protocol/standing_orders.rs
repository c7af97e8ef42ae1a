//! Orders that stand: known to every node, ended by an operator or by time.
//!
//! ```text
//!   operator --> node that was asked: draws an id, tells every peer at once
//!                  | each heartbeat carries one standing order, in turn
//!                  v
//!   every node: knows it, tells it on --> survives whoever was asked, and a split: what one half
//!                                         knows, both know after the merge
//! ```
//!
//! The set only grows: an id is added, and is over once anybody says that an operator has ended it
//! or its time is up. So two halves that meet agree without asking which of them was right, and an
//! order that only one half knew stands in both. Times are carried as what is left; of two answers
//! the shorter counts, so that a machine that stood still does not prolong it. What is over is
//! remembered for an hour, or until its place is needed: longer than a node is cut off for as a
//! rule, and if not, what comes back ends by its own time.
//!
//! What all nodes have forgotten at once is gone, but for one thing: the daemon has the drain of its own
//! node that is to outlast restarts of the host on disk (`Node::recall_standing`). A node that has
//! been restarted learns from the others, too, that it is to be drained.

use std::time::Duration;

use super::env::Env;
use super::types::{
    Instant, Lasting, Refusal, Report, STANDING_ORDERS_MAX, STANDS_MAX, StandingChange,
    StandingOrder, Text,
};

/// See the module's text.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What this node knows of standing orders.
#[derive(Clone, Debug, Default)]
pub(super) struct StandingOrders {
    entries: Vec<Entry>,
    /// Which of them the next heartbeats carry.
    turn: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    /// As it came; what is left of it is `until`.
    order: StandingOrder,
    until: Option<Instant>,
    over_since: Option<Instant>,
}

impl Entry {
    fn told(&self, now: Instant) -> StandingOrder {
        // Rounded up: it must not become shorter each time that it is told on.
        let left = |until: Instant| {
            let left = until.since(now) + Duration::from_nanos(999_999);
            Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
        };
        StandingOrder { left: self.until.map(left), ..self.order }
    }
}

impl StandingOrders {
    /// Does what an operator at this node wants. Returns the orders that peers must hear of at once.
    pub(super) fn change(
        &mut self,
        env: &mut Env,
        change: StandingChange,
    ) -> Result<Vec<u64>, Refusal> {
        let at = env.configuration.me;
        let (what, new) = match change {
            StandingChange::End(what) => (what, None),
            StandingChange::Give { what, by, reason, persists, lasts } => {
                let left = lasts.map(|lasts| lasts.min(STANDS_MAX));
                let id = env.random.next_u64();
                let ended = false;
                let order = StandingOrder { id, what, at, left, ended, persists, by, reason };
                (what, Some(order))
            }
        };
        if new.is_some() && !self.make_room() {
            return Err(Refusal::Busy);
        }
        let mut ended = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.order.what == what) {
            if entry.over_since.is_none() {
                entry.order.ended = true;
                entry.over_since = Some(env.now);
                ended.push(entry.told(env.now));
            }
        }
        let mut tell: Vec<u64> = ended.iter().map(|order| order.id).collect();
        if let Some(order) = new {
            self.insert(env, order);
            tell.insert(0, order.id);
        } else if let Some(order) = ended.pop() {
            env.report(Report::StandingOrder(order));
        }
        Ok(tell)
    }

    /// Takes in what a peer says of one. Returns whether it stands and was not known.
    pub(super) fn learn(&mut self, env: &mut Env, said: &StandingOrder) -> bool {
        let until = said.left.map(|left| env.now + left.min(STANDS_MAX));
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.order.id == said.id) else {
            // What is over is good to know, but not in the place of something else.
            let room = self.entries.len() < STANDING_ORDERS_MAX;
            let stands = said.is_in_force();
            if stands && self.make_room() {
                self.insert(env, *said);
                return true;
            }
            if !stands && room {
                self.entries.push(Entry { order: *said, until, over_since: Some(env.now) });
            }
            return false;
        };
        entry.until = match (entry.until, until) {
            (Some(known), Some(told)) => Some(known.min(told)),
            (known, told) => known.or(told),
        };
        // A node that hears many others has to cut them.
        if said.by.as_str().len() > entry.order.by.as_str().len() {
            entry.order.by = said.by;
        }
        if said.reason.as_str().len() > entry.order.reason.as_str().len() {
            entry.order.reason = said.reason;
        }
        if said.ended && entry.over_since.is_none() {
            entry.order.ended = true;
            entry.over_since = Some(env.now);
            let (what, told) = (entry.order.what, entry.told(env.now));
            if !self.stands(what) {
                env.report(Report::StandingOrder(told));
            }
        }
        false
    }

    /// Ends those whose time is up, and forgets those that are over for long. Returns what does not
    /// stand any more because of the time.
    pub(super) fn expire(&mut self, env: &mut Env) -> Vec<Lasting> {
        let now = env.now;
        let mut up = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.over_since.is_none()) {
            if entry.until.is_some_and(|until| until <= now) {
                entry.over_since = Some(now);
                up.push(entry.told(now));
            }
        }
        up.retain(|order| !self.stands(order.what));
        for order in &up {
            env.report(Report::StandingOrder(*order));
        }
        let old = |since: Instant| now.since(since) > REMEMBERED;
        self.entries.retain(|entry| !entry.over_since.is_some_and(old));
        up.iter().map(|order| order.what).collect()
    }

    /// Returns whether an order for this is in force.
    pub(super) fn stands(&self, what: Lasting) -> bool {
        self.entries.iter().any(|entry| entry.order.what == what && entry.over_since.is_none())
    }

    /// Returns when the time of one is up.
    pub(super) fn deadline(&self) -> Instant {
        let in_force = self.entries.iter().filter(|entry| entry.over_since.is_none());
        in_force.filter_map(|entry| entry.until).min().unwrap_or(Instant::NEVER)
    }

    /// Returns those in force.
    pub(super) fn in_force(&self, now: Instant) -> Vec<StandingOrder> {
        let in_force = self.entries.iter().filter(|entry| entry.over_since.is_none());
        in_force.map(|entry| entry.told(now)).collect()
    }

    /// Returns what a heartbeat carries now, with texts of so many bytes at most.
    pub(super) fn told(&self, now: Instant, text_max: usize) -> Option<StandingOrder> {
        let entry = self.entries.get(self.turn % self.entries.len().max(1))?;
        let mut order = entry.told(now);
        order.by = shortened(&order.by, text_max);
        order.reason = shortened(&order.reason, text_max - order.by.as_str().len().min(text_max));
        Some(order)
    }

    /// The next heartbeats carry the next one.
    pub(super) fn next_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1) % self.entries.len().max(1);
    }

    /// The next heartbeats carry this one.
    pub(super) fn turn_to(&mut self, id: u64) {
        let place = self.entries.iter().position(|entry| entry.order.id == id);
        self.turn = place.unwrap_or(self.turn);
    }

    /// Forgets one that is over if there is no room for another. Returns whether there is room.
    fn make_room(&mut self) -> bool {
        if self.entries.len() < STANDING_ORDERS_MAX {
            return true;
        }
        let over =
            self.entries.iter().enumerate().filter_map(|(at, it)| Some((it.over_since?, at)));
        let Some((_, oldest)) = over.min() else { return false };
        self.entries.remove(oldest);
        true
    }

    fn insert(&mut self, env: &mut Env, order: StandingOrder) {
        let until = order.left.map(|left| env.now + left.min(STANDS_MAX));
        self.entries.push(Entry { order, until, over_since: None });
        env.report(Report::StandingOrder(order));
    }
}

fn shortened<const N: usize>(text: &Text<N>, bytes: usize) -> Text<N> {
    let text = text.as_str();
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    Text::cut(&text[..end.unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use super::super::types::{Action, NodeId, Random};
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn give(what: Lasting, lasts: Option<Duration>) -> StandingChange {
        let (by, reason) = (Text::cut("alice"), Text::cut("kernel 6.1.99"));
        StandingChange::Give { what, by, reason, persists: false, lasts }
    }

    /// Two nodes that know nothing, and can tell each other.
    fn pair() -> [(Env, StandingOrders); 2] {
        [1, 2].map(|node| {
            let mut env = Env::alone(NodeId(node));
            env.random = Random::new(u64::from(node));
            (env, StandingOrders::default())
        })
    }

    /// The first tells the second all that it knows.
    fn tell(from: &mut (Env, StandingOrders), to: &mut (Env, StandingOrders)) {
        for _ in 0..from.1.entries.len() {
            let told = from.1.told(from.0.now, 640).expect("there are some");
            to.1.learn(&mut to.0, &told);
            from.1.next_turn();
        }
    }

    fn merge(pair: &mut [(Env, StandingOrders); 2]) {
        let [one, two] = pair;
        tell(one, two);
        tell(two, one);
    }

    fn holds(pair: &[(Env, StandingOrders); 2]) -> [bool; 2] {
        [0, 1].map(|at| pair[at].1.stands(Lasting::Hold))
    }

    #[test]
    fn a_merge_of_two_halves_loses_no_hold_and_no_end_of_one() {
        // What each half does before they meet, and whether it holds then.
        let hold = give(Lasting::Hold, Some(HOUR));
        let end = StandingChange::End(Lasting::Hold);
        let table: &[(&[StandingChange], &[StandingChange], bool)] = &[
            (&[hold], &[], true),
            (&[hold], &[end], true),
            (&[hold], &[hold, end], true),
            (&[hold, end], &[hold], true),
            (&[hold, hold], &[], true),
            (&[hold, end], &[hold, end], false),
            (&[hold, hold, end], &[], false),
            (&[give(Lasting::Drain(NodeId(2)), None)], &[end], false),
        ];
        for (row, (one, two, stands)) in table.iter().enumerate() {
            let mut pair = pair();
            for (half, changes) in [one, two].into_iter().enumerate() {
                let (env, orders) = &mut pair[half];
                for change in *changes {
                    orders.change(env, *change).expect("there is room");
                }
            }
            merge(&mut pair);
            assert_eq!(holds(&pair), [*stands; 2], "row {row}");
            let (env, orders) = &mut pair[1];
            let _ = orders.change(env, end);
            merge(&mut pair);
            assert_eq!(holds(&pair), [false; 2], "row {row}: the end of all that is known");
        }
    }

    #[test]
    fn it_ends_by_itself_and_is_told_neither_longer_nor_shorter() {
        let mut pair = pair();
        let (env, orders) = &mut pair[0];
        orders.change(env, give(Lasting::Hold, Some(HOUR))).expect("there is room");
        let end = pair[0].0.now + HOUR;
        for _ in 0..1000 {
            for half in &mut pair {
                half.0.now = half.0.now + Duration::from_micros(100_300);
            }
            merge(&mut pair);
        }
        assert_eq!([pair[0].1.deadline(), pair[1].1.deadline()].iter().min(), Some(&end));
        assert!(pair[1].1.deadline().since(end) < Duration::from_millis(1));
        // The other machine stood still for a while: it goes by what the first says.
        pair[1].0.now = pair[1].0.now.before(Duration::from_secs(60));
        pair[1].1.entries[0].until = Some(end);
        let [one, two] = &mut pair;
        tell(one, two);
        assert!(end.since(two.1.deadline()) > Duration::from_secs(59));
        for half in &mut pair {
            half.0.now = end;
            assert_eq!(half.1.expire(&mut half.0), [Lasting::Hold]);
            assert_eq!(half.1.expire(&mut half.0), []);
            assert!(matches!(
                half.0.actions.last(),
                Some(Action::Report(Report::StandingOrder(order))) if !order.is_in_force()
            ));
        }
        merge(&mut pair);
        assert_eq!(holds(&pair), [false; 2], "what is over does not come back");
    }

    #[test]
    fn the_last_of_two_counts_and_is_all_that_is_reported() {
        let mut pair = pair();
        for lasts in [HOUR, 2 * HOUR] {
            let [one, two] = &mut pair;
            let change = give(Lasting::Hold, Some(lasts));
            for id in one.1.change(&mut one.0, change).expect("there is room") {
                one.1.turn_to(id);
                let told = one.1.told(one.0.now, 640).expect("there is one");
                two.1.learn(&mut two.0, &told);
            }
        }
        assert_eq!(pair[1].0.actions.len(), 2, "{:?}", pair[1].0.actions);
        assert_eq!(pair[1].1.in_force(pair[1].0.now).len(), 1);
        assert_eq!(pair[1].1.deadline(), pair[0].0.now + 2 * HOUR);
    }

    #[test]
    fn there_are_no_more_than_fit() {
        let [(mut env, mut orders), _] = pair();
        for node in 1..=STANDING_ORDERS_MAX {
            let node = NodeId(u32::try_from(node).expect("few"));
            assert!(orders.change(&mut env, give(Lasting::Drain(node), None)).is_ok());
        }
        let hold = give(Lasting::Hold, Some(HOUR));
        assert_eq!(orders.change(&mut env, hold), Err(Refusal::Busy));
        assert!(orders.change(&mut env, StandingChange::End(Lasting::Drain(NodeId(3)))).is_ok());
        assert!(orders.change(&mut env, hold).is_ok(), "what is over makes room");
        assert_eq!(orders.entries.len(), STANDING_ORDERS_MAX);
    }

    #[test]
    fn texts_are_cut_where_a_heartbeat_is_full() {
        let [(mut env, mut orders), _] = pair();
        orders.change(&mut env, give(Lasting::Hold, None)).expect("there is room");
        for (bytes, by, reason) in [(0, "", ""), (3, "ali", ""), (8, "alice", "ker")] {
            let told = orders.told(env.now, bytes).expect("there is one");
            assert_eq!((told.by.as_str(), told.reason.as_str()), (by, reason));
        }
    }
}
