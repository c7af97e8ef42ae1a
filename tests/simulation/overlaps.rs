//! Two hosts that answer for the same group: how long they may, if they hear each other
//! (S3 and S4 in docs/invariants.md).

use std::collections::BTreeMap;

use crate::cluster::Cluster;
use crate::draw::MILLISECOND;
use crate::safety::SLACK;

impl Cluster {
    /// S3, S4: two hosts that hear each other do not both answer, but for the time they need.
    pub(crate) fn check_overlaps(&mut self) {
        let doubles: Vec<usize> =
            (0..self.open.len()).filter(|group| self.open[*group].len() > 1).collect();
        let mut together = BTreeMap::new();
        for group in doubles {
            self.check_strict(group);
            let open = self.open[group].clone();
            for (place, one) in open.iter().enumerate() {
                for other in &open[place + 1..] {
                    let key = (group, *one.min(other), *one.max(other));
                    let since = self.safety.together.get(&key).copied().unwrap_or(self.now);
                    together.insert(key, since);
                    self.check_overlap(group, (*one, *other), since);
                }
            }
        }
        self.safety.together = together;
    }

    fn check_overlap(&mut self, group: usize, pair: (usize, usize), since: u64) {
        let (one, other) = pair;
        let runs = |host: usize| self.hosts[host].is_running();
        if !runs(one) || !runs(other) {
            return;
        }
        let Some(audible) = self.safety.audible_since(one, other, self.now) else { return };
        let weather = &self.network.weather;
        let lossy = weather.loss > 0 || weather.burst_length > 0;
        let bound =
            3 * self.heartbeat() * if lossy { 3 } else { 1 } + 4 * weather.delay_most() + SLACK;
        let calm_since = if weather.is_tame() { self.safety.storm_until } else { 0 };
        let length = self.now - since.max(audible).max(calm_since);
        if length > bound {
            let millis = length / MILLISECOND;
            let text =
                format!("n{one} and n{other} hear each other, both answer g{group}: {millis} ms");
            self.flag("S4", text);
        }
    }
}
