//! What a hand-written story is told with: start, wait until, watch, expect.
//!
//! A story is a plain function which gets the rule that is to be broken, if any, so that the
//! mutation suite can tell all of them again. Faults are the verbs of `faults.rs`; all checks of
//! `safety.rs` stay on. A story ends in the first thing that was not as told.

use buoy::protocol::{Rule, Verdict};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::options::Options;
use crate::trace::Violation;

/// Between two looks of a story.
const STEP: u64 = 2 * MILLISECOND;
/// Every cluster of a story has settled within this.
const SETTLED_WITHIN: u64 = 60 * SECOND;
/// Quiet time before the story goes on: longer than the observer remembers a fault.
const QUIET: u64 = 6 * SECOND;
/// Lines of the trace that a failing story shows.
const LINES: usize = 60;

/// How a story ends.
pub(crate) type Outcome = Result<(), String>;
/// A story, told with this rule broken.
pub(crate) type Story = fn(Option<Rule>) -> Outcome;

impl From<Violation> for String {
    fn from(mut violation: Violation) -> Self {
        let kept = violation.lines.len().min(LINES);
        violation.lines.drain(..violation.lines.len() - kept);
        violation.to_string()
    }
}

/// A calm cluster of so many nodes and groups, with this rule broken.
pub(crate) fn calm(nodes: usize, groups: usize, broken: Option<Rule>) -> Options {
    Options { broken, ..Options::calm(nodes, groups) }
}

impl Cluster {
    /// A cluster that has started, settled, and been quiet for a while.
    pub(crate) fn settled(options: Options) -> Result<Self, Violation> {
        let mut cluster = Self::new(options);
        cluster.settle()?;
        Ok(cluster)
    }

    /// Waits until all is well and quiet, and measures again from there.
    pub(crate) fn settle(&mut self) -> Result<(), Violation> {
        self.wait_until("settled", SETTLED_WITHIN, Self::unwell)?;
        self.wait_until("settled", SETTLED_WITHIN, |this| {
            let quiet = this.now > this.safety.moved_at + QUIET;
            (!quiet).then(|| "groups keep moving".to_owned())
        })?;
        self.run_for(QUIET)?;
        self.mark();
        Ok(())
    }

    /// Outages, moves and accusations are counted from here.
    pub(crate) fn mark(&mut self) {
        for client in &mut self.clients {
            client.mark(self.now);
        }
        self.safety.moves = 0;
        self.safety.acquisitions = 0;
        self.safety.last_resorts = 0;
        self.safety.shortest_rest = u64::MAX;
        self.safety.accusations = 0;
    }

    /// Goes on for a while.
    pub(crate) fn run_for(&mut self, length: u64) -> Result<(), Violation> {
        self.run_to(self.now + length)
    }

    /// Goes on until nothing is missing; fails after `within`.
    pub(crate) fn wait_until(
        &mut self,
        rule: &'static str,
        within: u64,
        missing: impl Fn(&Self) -> Option<String>,
    ) -> Result<(), Violation> {
        let end = self.now + within;
        while let Some(text) = missing(self) {
            if self.now >= end {
                let within = within / MILLISECOND;
                return Err(self.violated(rule, format!("not within {within} ms: {text}")));
            }
            self.run_for(STEP.min(end - self.now))?;
        }
        Ok(())
    }

    /// Goes on for a while in which nothing may be wrong at any time.
    pub(crate) fn watch(
        &mut self,
        rule: &'static str,
        length: u64,
        wrong: impl Fn(&Self) -> Option<String>,
    ) -> Result<(), Violation> {
        let end = self.now + length;
        while self.now < end {
            if let Some(text) = wrong(self) {
                return Err(self.violated(rule, text));
            }
            self.run_for(STEP)?;
        }
        Ok(())
    }

    /// Something is so now.
    pub(crate) fn expect(
        &self,
        rule: &'static str,
        holds: bool,
        text: &str,
    ) -> Result<(), Violation> {
        if holds { Ok(()) } else { Err(self.violated(rule, text.to_owned())) }
    }

    /// No client was without an answer from any group for longer than this since the mark.
    pub(crate) fn expect_outage(&self, rule: &'static str, most: u64) -> Result<(), Violation> {
        for (client, this) in self.clients.iter().enumerate() {
            for group in 0..self.groups.len() {
                let outage = this.outage(self.now, group);
                if outage > most {
                    let (outage, most) = (outage / MILLISECOND, most / MILLISECOND);
                    let text = format!(
                        "client {client} was without g{group} for {outage} ms, {most} allowed"
                    );
                    return Err(self.violated(rule, text));
                }
            }
        }
        Ok(())
    }

    /// At most so many groups have changed their host since the mark.
    pub(crate) fn expect_moves(&self, rule: &'static str, most: u64) -> Result<(), Violation> {
        let moves = self.safety.moves;
        self.expect(rule, moves <= most, &format!("{moves} moves, {most} allowed"))
    }

    /// The host that answers for a group, in a cluster where one does.
    pub(crate) fn owner(&self, group: usize) -> usize {
        self.open[group].first().copied().expect("a settled cluster answers for every group")
    }

    /// A host that is not one of these.
    pub(crate) fn other_than(&self, hosts: &[usize]) -> usize {
        let mut others = (0..self.hosts.len()).filter(|host| !hosts.contains(host));
        others.next().expect("a story names fewer hosts than there are")
    }

    /// Groups that a host answers for.
    pub(crate) fn groups_of(&self, host: usize) -> Vec<usize> {
        (0..self.groups.len()).filter(|group| self.open[*group].contains(&host)).collect()
    }

    /// The host answers for something.
    pub(crate) fn not_empty(&self, host: usize) -> Option<String> {
        let groups = self.groups_of(host);
        (!groups.is_empty()).then(|| format!("n{host} answers for {groups:?}"))
    }

    /// Two hosts answer for a group.
    pub(crate) fn doubled(&self) -> Option<String> {
        let group = self.open.iter().position(|open| open.len() > 1)?;
        Some(format!("g{group} is answered for by {:?}", self.open[group]))
    }

    /// The kernel of the host has an address of any group, whether its link is up or not.
    pub(crate) fn holds_any(&self, host: usize) -> Option<String> {
        let held = self.hosts[host].kernel.present.iter().position(|held| *held);
        held.map(|group| format!("n{host} holds g{group}"))
    }

    /// A daemon counts a peer as dead.
    pub(crate) fn condemned_by(&self, host: usize) -> Option<String> {
        let now = self.hosts[host].clock.read(self.now);
        let status = self.hosts[host].node.as_ref()?.status(now);
        let dead = status.nodes.iter().find(|node| node.verdict == Verdict::Dead)?;
        Some(format!("n{host} counts n{} as dead", self.index[&dead.node]))
    }

    /// Any daemon counts any peer as dead.
    pub(crate) fn condemned(&self) -> Option<String> {
        (0..self.hosts.len()).find_map(|host| self.condemned_by(host))
    }

    /// Anything that is not as it should be in a cluster without faults.
    pub(crate) fn unwell(&self) -> Option<String> {
        [Self::uncovered, Self::accused, Self::misled, Self::unbalanced]
            .iter()
            .find_map(|wrong| wrong(self))
    }

    /// Heartbeats from one host to another get lost from now on.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.disturb(to, SECOND);
        self.network.cut(from, to);
    }
}
