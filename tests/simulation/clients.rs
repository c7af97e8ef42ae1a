//! Clients with neighbour caches, each talking to every group all the time.
//!
//! Who answers is what the caches say, not what the kernels could do. An outage is the time in
//! which a client's entry points to a host that does not answer it. Probes are not simulated one
//! by one: whether they would be answered changes only with an event, so the gap is exact.
//! An entry is made by asking, the first answer wins, and a dead one is asked for again only after
//! the client's own timers (Linux: stale, delay 5 s, three probes). An announcement changes any
//! entry at once, except for a class of old clients that ignore updates for a second after each.

use crate::draw::{Draw, SECOND};

/// Old clients ignore updates for so long after an update, ignored ones included.
const LOCKTIME: u64 = SECOND;

/// One neighbour entry and what became of the traffic behind it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// Whose hardware address it has.
    pub(crate) host: Option<usize>,
    /// When it was last confirmed or changed.
    learnt: u64,
    /// Since when nobody answers.
    pub(crate) dark_since: Option<u64>,
    /// The longest time without an answer since it was last asked for.
    pub(crate) outage: u64,
    /// Names the next query under way; an older one is void.
    pub(crate) query: u64,
}

/// One client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// By group.
    pub(crate) entries: Vec<Entry>,
    /// Whether it is of the old class.
    locktime: bool,
    /// Time after which it asks again for an entry that is dead.
    pub(crate) patience: u64,
}

impl Client {
    /// A client which knows nobody yet.
    pub(crate) fn new(groups: usize, locktime: bool, draw: &mut Draw) -> Self {
        let entry = Entry { dark_since: Some(0), ..Entry::default() };
        Self {
            entries: vec![entry; groups],
            locktime,
            patience: draw.between(6 * SECOND, 25 * SECOND),
        }
    }

    /// An announcement of the host arrives; tells whether the entry changed.
    pub(crate) fn hear_announcement(&mut self, now: u64, group: usize, host: usize) -> bool {
        let locktime = self.locktime;
        let entry = &mut self.entries[group];
        let locked = locktime && entry.host.is_some() && now < entry.learnt + LOCKTIME;
        entry.learnt = now;
        if !locked {
            entry.host = Some(host);
        }
        !locked
    }

    /// Asks everybody; the first answer wins.
    pub(crate) fn ask(&mut self, now: u64, group: usize, answers: &[usize], draw: &mut Draw) {
        let entry = &mut self.entries[group];
        entry.host = if answers.is_empty() { None } else { Some(draw.pick(answers)) };
        entry.learnt = now;
    }

    /// Notes whether the group answers this client now. Tells when to ask again, if it went dark.
    pub(crate) fn note(&mut self, now: u64, group: usize, answered: bool) -> Option<u64> {
        let patience = self.patience;
        let entry = &mut self.entries[group];
        match (answered, entry.dark_since) {
            (true, Some(since)) => {
                entry.outage = entry.outage.max(now - since);
                entry.dark_since = None;
                entry.query += 1;
                None
            }
            (false, None) => {
                entry.dark_since = Some(now);
                Some(now + if entry.host.is_some() { patience } else { SECOND })
            }
            (true, None) | (false, Some(_)) => None,
        }
    }

    /// The longest outage of the group since the last mark, the present one included.
    pub(crate) fn outage(&self, now: u64, group: usize) -> u64 {
        let entry = &self.entries[group];
        entry.outage.max(entry.dark_since.map_or(0, |since| now - since))
    }

    /// Starts measuring again.
    pub(crate) fn mark(&mut self, now: u64) {
        for entry in &mut self.entries {
            entry.outage = 0;
            entry.dark_since = entry.dark_since.map(|_| now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Client;
    use crate::draw::{Draw, MILLISECOND, SECOND};

    #[test]
    fn the_outage_is_the_longest_time_without_an_answer() {
        let mut client = Client::new(1, false, &mut Draw::new(1));
        assert_eq!(client.note(SECOND, 0, true), None);
        client.mark(SECOND);
        client.entries[0].host = Some(0);
        let again = client.note(2 * SECOND, 0, false).expect("went dark");
        assert_eq!(again, 2 * SECOND + client.patience);
        client.note(2 * SECOND + 300 * MILLISECOND, 0, true);
        client.note(3 * SECOND, 0, false);
        assert_eq!(client.outage(3 * SECOND + MILLISECOND, 0), 300 * MILLISECOND);
        assert_eq!(client.outage(4 * SECOND, 0), SECOND);
    }

    #[test]
    fn an_old_client_ignores_updates_for_a_second_after_each() {
        let mut client = Client::new(1, true, &mut Draw::new(1));
        assert!(client.hear_announcement(0, 0, 0));
        assert!(!client.hear_announcement(900 * MILLISECOND, 0, 1));
        assert!(!client.hear_announcement(1_800 * MILLISECOND, 0, 1));
        assert!(client.hear_announcement(2_900 * MILLISECOND, 0, 1));
    }

    #[test]
    fn the_first_answer_wins_and_silence_leaves_no_entry() {
        let mut client = Client::new(1, false, &mut Draw::new(1));
        let mut draw = Draw::new(2);
        client.ask(0, 0, &[4], &mut draw);
        assert_eq!(client.entries[0].host, Some(4));
        client.ask(0, 0, &[], &mut draw);
        assert_eq!(client.entries[0].host, None);
    }
}
