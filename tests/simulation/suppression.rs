//! A switch that knows where addresses are, and does not carry questions that everybody would hear
//! (ARP suppression).
//!
//! It answers them itself, from what it knows, also for hosts that are gone, or drops them. What is
//! sent to one host alone it carries. Hosts outside the cluster are not behind it.

use std::collections::BTreeMap;

use buoy::protocol::HardwareAddress;

use crate::cluster::{Cluster, Happening};
use crate::conflicts::hardware;
use crate::faults::Ending;
use crate::trace::note;

/// What the switch does with a question to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suppression {
    /// It answers it for the host that announced the address last.
    Answers,
    /// It drops it, as a Linux bridge drops probes that name no sender.
    Drops,
}

/// The switch between the hosts.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    suppression: Option<Suppression>,
    /// Faults that go on.
    faults: u32,
    /// By group: the host that announced it last.
    known: BTreeMap<usize, usize>,
}

impl Switch {
    /// From now on it does this with questions to everybody, or carries them.
    pub(crate) fn suppress(&mut self, suppression: Option<Suppression>) {
        self.suppression = suppression;
    }

    /// A host has announced a group.
    pub(crate) fn learn(&mut self, group: usize, host: usize) {
        self.known.insert(group, host);
    }

    /// Every fault is over.
    pub(crate) fn heal(&mut self) {
        (self.suppression, self.faults) = (None, 0);
    }
}

impl Cluster {
    /// A fault: the switch suppresses questions for so long, in one way or the other.
    pub(crate) fn let_switch_suppress(&mut self, length: u64) {
        let answers = self.draw.bits() & 1 == 0;
        let suppression = if answers { Suppression::Answers } else { Suppression::Drops };
        note!(self, "-- the switch suppresses questions: {suppression:?}");
        self.switch.suppress(Some(suppression));
        self.switch.faults += 1;
        let (era, ending) = (self.faults.era, Ending::QuestionsPass);
        self.schedule(self.now + length, Happening::End { era, ending });
    }

    /// Such a fault ends.
    pub(crate) fn end_suppression(&mut self) {
        self.switch.faults = self.switch.faults.saturating_sub(1);
        if self.switch.faults == 0 {
            self.switch.suppress(None);
        }
    }

    /// A host asks everybody who has a group, and some hosts alone. Returns the hosts among these
    /// that answer, by the question that each has heard: whether it was to that host alone.
    pub(crate) fn question_reaches(
        &self,
        asker: usize,
        group: usize,
        at: &[HardwareAddress],
    ) -> Vec<(usize, bool)> {
        let hears = |other: &usize| {
            *other != asker
                && self.network.passes_frame(asker, *other)
                && self.network.passes_frame(*other, asker)
        };
        let open = self.open[group].iter().copied().filter(hears);
        let asked_alone = |other: usize| at.contains(&hardware(other));
        match self.switch.suppression {
            // One answer stands for both.
            None => open.map(|other| (other, asked_alone(other))).collect(),
            Some(suppression) => {
                let known = self.switch.known.get(&group).copied();
                let known = known.filter(|host| {
                    suppression == Suppression::Answers
                        && *host != asker
                        && self.network.has_link(asker)
                });
                let alone = open.filter(|other| asked_alone(*other)).map(|other| (other, true));
                alone.chain(known.map(|host| (host, false))).collect()
            }
        }
    }
}
