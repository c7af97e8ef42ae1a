//! Which connections peers are to be told of next: all, again and again, the new ones first.
//!
//! Pure; `connections` feeds it with what each look has found. A connection that a second look has
//! found is told at once, and again each [`AGAIN`], so that a datagram that was lost is made good
//! and a peer that has just become heir gets everything. So the many that live for one request only
//! are never told. What has ended is just not told any more: peers forget it by themselves.
//!
//! At most `max` connections are kept, those that a look finds first: that is the order of the
//! kernel's table, which is as good as any drawing of lots and stays the same from look to look.
//! Messages leave at [`PACE`], one at a time: 20,000 connections of IPv4 are told in 2.3 s, of IPv6
//! in 6.7 s, and the protocol thread never has more than one of them to seal between two heartbeats
//! of the profile `fast`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant as Moment;

use crate::protocol::{CONNECTIONS_V4_MAX, CONNECTIONS_V6_MAX, Connection, GroupKey};

/// A connection is told again after this.
pub(super) const AGAIN: Duration = Duration::from_secs(10);
/// Between two messages.
const PACE: Duration = Duration::from_millis(10);
/// Messages that wait at most: 7 s. What finds no room counts as not yet told.
const QUEUE_MAX: usize = 700;

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// When a look found it first.
    since: Moment,
    /// When it was put into the queue last, if it was.
    told: Option<Moment>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    max: usize,
    /// Those that the last look found.
    known: BTreeMap<Connection, Known>,
    queue: VecDeque<(GroupKey, Vec<Connection>)>,
    next_at: Option<Moment>,
}

impl Sharing {
    /// Keeps at most so many from now on; 0 tells nothing.
    pub(super) fn limit(&mut self, max: usize) {
        self.max = max;
    }

    /// How many are kept at most.
    pub(super) const fn max(&self) -> usize {
        self.max
    }

    /// Takes in what a look has found, at most [`Sharing::max`] of all that there are.
    pub(super) fn found(&mut self, now: Moment, found: &BTreeMap<GroupKey, Vec<Connection>>) {
        // While there is something to tell for the first time nothing is told again.
        let rested = self.queue.is_empty();
        let before = std::mem::take(&mut self.known);
        for (group, connections) in found {
            let mut due = Vec::new();
            for connection in connections {
                let known = before.get(connection);
                let wanted = match known.map(|known| known.told) {
                    None => false,
                    Some(None) => true,
                    Some(Some(at)) => rested && now.saturating_duration_since(at) >= AGAIN,
                };
                if wanted {
                    due.push(*connection);
                }
                let known = known.copied().unwrap_or(Known { since: now, told: None });
                self.known.insert(*connection, known);
            }
            let (v4, v6): (Vec<_>, Vec<_>) = due.iter().partition(|one| one.address.is_ipv4());
            self.put(now, *group, v4.chunks(CONNECTIONS_V4_MAX));
            self.put(now, *group, v6.chunks(CONNECTIONS_V6_MAX));
        }
    }

    fn put<'a>(
        &mut self,
        now: Moment,
        group: GroupKey,
        messages: impl Iterator<Item = &'a [Connection]>,
    ) {
        let room = QUEUE_MAX.saturating_sub(self.queue.len());
        for some in messages.take(room) {
            for connection in some {
                if let Some(known) = self.known.get_mut(connection) {
                    known.told = Some(now);
                }
            }
            self.queue.push_back((group, some.to_vec()));
        }
    }

    /// When a look found the connection first; `None` if the last one did not, or not among those that are
    /// kept.
    pub(super) fn since(&self, connection: &Connection) -> Option<Moment> {
        self.known.get(connection).map(|known| known.since)
    }

    /// What is to be told now.
    pub(super) fn next(&mut self, now: Moment) -> Option<(GroupKey, Vec<Connection>)> {
        if self.next_at.is_some_and(|at| now < at) {
            return None;
        }
        let next = self.queue.pop_front()?;
        self.next_at = Some(now + PACE);
        Some(next)
    }

    /// When [`Sharing::next`] has something.
    pub(super) fn deadline(&self, now: Moment) -> Option<Moment> {
        (!self.queue.is_empty()).then(|| self.next_at.unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupKey = GroupKey(7);

    fn connections(ports: std::ops::Range<u16>) -> Vec<Connection> {
        let connection = |client_port| Connection {
            address: [10, 77, 0, 100].into(),
            port: 80,
            client: [10, 77, 0, 9].into(),
            client_port,
        };
        ports.map(connection).collect()
    }

    /// The ports told until nothing is left, and how long that took.
    fn told(sharing: &mut Sharing, now: Moment) -> (Vec<u16>, Duration) {
        let (mut ports, mut at) = (Vec::new(), now);
        while let Some(due) = sharing.deadline(at) {
            at = at.max(due);
            let (group, some) = sharing.next(at).expect("it is due");
            assert_eq!((group, some.len() <= CONNECTIONS_V4_MAX), (GROUP, true));
            assert_eq!(sharing.next(at), None, "one at a time");
            ports.extend(some.iter().map(|one| one.client_port));
        }
        (ports, at - now)
    }

    #[test]
    fn new_ones_are_told_at_once_and_the_others_from_time_to_time() {
        let (mut sharing, begin) = (Sharing::default(), Moment::now());
        let look = |sharing: &mut Sharing, after: u64, ports| {
            let now = begin + Duration::from_secs(after);
            sharing.found(now, &BTreeMap::from([(GROUP, connections(ports))]));
            told(sharing, now).0
        };
        assert!(look(&mut sharing, 0, 1..4).is_empty(), "they may end at once");
        assert_eq!(look(&mut sharing, 1, 1..5), [1, 2, 3]);
        assert_eq!(look(&mut sharing, 2, 2..5), [4], "1 has ended");
        assert!(look(&mut sharing, 10, 1..5).is_empty(), "1 is a new one");
        assert_eq!(look(&mut sharing, 11, 1..5), [1, 2, 3]);
        assert_eq!(look(&mut sharing, 12, 1..5), [4]);
    }

    #[test]
    fn thousands_are_told_at_a_steady_pace() {
        let (mut sharing, begin) = (Sharing::default(), Moment::now());
        let all = BTreeMap::from([(GROUP, connections(1..20_001))]);
        sharing.found(begin, &all);
        sharing.found(begin, &all);
        let (ports, took) = told(&mut sharing, begin);
        assert_eq!(ports.len(), 20_000);
        assert_eq!(took, PACE * 222);
    }

    #[test]
    fn what_finds_no_room_is_told_later() {
        let (mut sharing, begin) = (Sharing::default(), Moment::now());
        let all = BTreeMap::from([(GROUP, connections(1..65_000))]);
        (0..9).for_each(|_| sharing.found(begin, &all));
        let first = told(&mut sharing, begin).0.len();
        assert_eq!(first, QUEUE_MAX * CONNECTIONS_V4_MAX);
        sharing.found(begin, &all);
        assert_eq!(told(&mut sharing, begin + AGAIN / 2).0.len(), 64_999 - first);
    }

    #[test]
    fn no_message_has_both_families() {
        let (mut sharing, begin) = (Sharing::default(), Moment::now());
        let mut mixed = connections(1..3);
        mixed.push(Connection {
            address: "fd77::100".parse().unwrap(),
            client: "fd77::9".parse().unwrap(),
            ..mixed[0]
        });
        let found = BTreeMap::from([(GROUP, mixed)]);
        sharing.found(begin, &found);
        sharing.found(begin, &found);
        let first = sharing.next(begin).expect("something is due").1;
        let second = sharing.next(begin + PACE).expect("something is due").1;
        assert_eq!((first.len(), second.len()), (2, 1));
    }
}
