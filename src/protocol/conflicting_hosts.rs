//! The hosts outside of the cluster that answer for one group.
//!
//! `address_conflict` keeps two of these for each group: hosts to which the group is left, each until it
//! has not answered for its time, and hosts that have claimed it while it was held. Several may answer for
//! one address, and one of them may later turn out to be a peer: what is known of the others is kept
//! (seed 78682).

use std::time::Duration;

use super::types::{HardwareAddress, Instant};

/// As many are remembered of a group: who floods the network with claims must not fill the memory.
const REMEMBERED: usize = 4;

/// A host outside of the cluster that has answered for the group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shunned {
    pub(super) hardware: HardwareAddress,
    /// When it has answered last.
    pub(super) since: Instant,
    /// If it has not answered again for so long it is gone; it is asked for when half of it is over.
    pub(super) length: Duration,
}

impl Shunned {
    pub(super) fn until(&self) -> Instant {
        self.since + self.length
    }
}

/// Those that have answered for one group, in the order in which they answered last.
#[derive(Clone, Debug, Default)]
pub(super) struct ConflictingHosts {
    heard: Vec<Shunned>,
}

impl ConflictingHosts {
    /// Notes an answer. Of more than [`REMEMBERED`] hosts the one that answered longest ago is forgotten.
    pub(super) fn note(&mut self, shunned: Shunned) {
        self.heard.retain(|known| known.hardware != shunned.hardware);
        self.heard.push(shunned);
        if self.heard.len() > REMEMBERED {
            self.heard.remove(0);
        }
    }

    /// Forgets those whose hardware address is among these; returns whether there were any.
    pub(super) fn forget(&mut self, hardware: &[HardwareAddress]) -> bool {
        let before = self.heard.len();
        self.heard.retain(|known| !hardware.contains(&known.hardware));
        self.heard.len() < before
    }

    /// Whether this host keeps the group.
    pub(super) fn holds_back(&self, hardware: HardwareAddress, now: Instant) -> bool {
        self.heard.iter().any(|known| known.hardware == hardware && now < known.until())
    }

    /// The host that keeps the group for longest; `None` if none does.
    pub(super) fn longest(&self, now: Instant) -> Option<Shunned> {
        self.heard.iter().filter(|known| now < known.until()).copied().max_by_key(Shunned::until)
    }

    /// Those that have answered within this time, the last one last.
    pub(super) fn heard_within(
        &self,
        now: Instant,
        length: Duration,
    ) -> impl Iterator<Item = HardwareAddress> + '_ {
        let lately = move |known: &&Shunned| now.since(known.since) <= length;
        self.heard.iter().filter(lately).map(|known| known.hardware)
    }

    /// Sets for how long each of them keeps the group.
    pub(super) fn last_for(&mut self, length: impl Fn(HardwareAddress) -> Duration) {
        for known in &mut self.heard {
            known.length = length(known.hardware);
        }
    }

    /// The hosts that are remembered, whether they still count or not.
    pub(super) fn hardware(&self) -> impl Iterator<Item = HardwareAddress> + '_ {
        self.heard.iter().map(|known| known.hardware)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(1);

    fn host(number: u8) -> HardwareAddress {
        HardwareAddress([2, 238, 0, 0, 0, number])
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn heard(answers: &[(u8, u64)]) -> ConflictingHosts {
        let mut hosts = ConflictingHosts::default();
        for (number, millis) in answers {
            hosts.note(Shunned { hardware: host(*number), since: at(*millis), length: LENGTH });
        }
        hosts
    }

    #[test]
    fn each_counts_until_it_has_been_silent_for_its_time() {
        let hosts = heard(&[(1, 0), (2, 300), (1, 100)]);
        let longest = |millis| hosts.longest(at(millis)).map(|it| it.hardware);
        assert_eq!(longest(400), Some(host(2)));
        assert_eq!(longest(1299), Some(host(2)));
        assert_eq!(longest(1300), None);
        assert!(hosts.holds_back(host(1), at(1099)) && !hosts.holds_back(host(1), at(1100)));
    }

    #[test]
    fn one_that_is_forgotten_leaves_the_others() {
        let mut hosts = heard(&[(1, 0), (2, 300)]);
        assert!(hosts.forget(&[host(2)]) && !hosts.forget(&[host(2)]));
        assert_eq!(hosts.longest(at(400)).map(|it| it.hardware), Some(host(1)));
    }

    #[test]
    fn of_many_the_last_are_remembered() {
        let hosts = heard(&[(1, 0), (2, 1), (3, 2), (1, 3), (4, 4), (5, 5)]);
        let known: Vec<HardwareAddress> = hosts.hardware().collect();
        assert_eq!(known, [3, 1, 4, 5].map(host));
    }
}
