//! Which faults happen when: drawn from a seed, so that the same seed gives the same schedule.

use std::fmt;
use std::time::Duration;

/// Nodes of the cluster that suffers.
pub(crate) const NODES: usize = 3;
/// Networks of a host: the clients', a second one, and a second card on the clients' wire.
pub(crate) const CARDS: usize = 3;
/// Faults of one run.
const FAULTS: u64 = 14;

/// What of a node's two processes is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Daemon,
    Both,
}

/// What somebody does to the rules of nf_tables on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meddling {
    /// `flush ruleset`, as the first line of many firewall files.
    FlushRuleset,
    /// `flush table` for every table: the rules go, tables and sets stay.
    FlushTables,
    /// `delete table` for every table.
    DeleteTables,
}

/// One fault; a node is a number, a host is a node or, as the last, the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Hosts whose bits are set do not reach the others, on any network.
    Partition(u8),
    /// Nothing leaves the node.
    Mute(usize),
    /// Nothing reaches the node.
    Deaf(usize),
    /// Frames from one host to another are lost, on any network.
    OneWay(usize, usize),
    /// One frame in so many is lost.
    Loss(u32),
    /// SIGKILL; the end is a start.
    Kill(usize, Part),
    /// SIGKILL for the guardian, which the daemon starts again.
    KillGuardian(usize),
    /// SIGTERM; the end is a start.
    Stop(usize),
    /// SIGSTOP; the end is SIGCONT.
    Freeze(usize, Part),
    /// The cable of one card is pulled.
    Carrier(usize, usize),
    /// `ip addr flush`; the end puts the host's own addresses back.
    FlushAddresses(usize),
    /// Somebody else's firewall.
    Rules(usize, Meddling),
    /// The card is deleted and made again.
    Recreate(usize),
    /// The card gets another hardware address; the end gives it the old one.
    Hardware(usize),
    /// SIGHUP.
    Reload(usize),
    /// `buoy drain`; the end is `buoy undrain`.
    Drain(usize),
    /// `buoy move` of a group, by its number, to a node.
    Move(usize, usize),
    /// Loops that use processors.
    Busy(usize),
}

/// A fault in time, counted from the start of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: Duration,
    pub(crate) length: Duration,
    pub(crate) kind: Kind,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, length, kind } = self;
        write!(out, "{:6.2} s, for {:4.2} s: {kind:?}", at.as_secs_f64(), length.as_secs_f64())
    }
}

/// The schedule of a seed, in order of time.
pub(crate) fn draw(seed: u64, groups: usize) -> Vec<Fault> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut at = Duration::ZERO;
    let mut faults = Vec::new();
    for _ in 0..FAULTS {
        // Half of the gaps are shorter than what a death takes to be noticed and repaired.
        let gap = if random.below(2) == 0 { random.below(700) } else { 700 + random.below(2300) };
        at += Duration::from_millis(gap);
        let length = Duration::from_millis(100 + random.below(3900));
        let kind = random.kind(groups);
        faults.push(Fault { at, length, kind });
    }
    faults
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }

    fn part(&mut self) -> Part {
        if self.below(2) == 0 { Part::Daemon } else { Part::Both }
    }

    fn kind(&mut self, groups: usize) -> Kind {
        let node = self.index(NODES);
        match self.below(20) {
            0 | 1 => Kind::Partition(u8::try_from(1 + self.below(14)).unwrap_or(1)),
            2 => Kind::Mute(node),
            3 => Kind::Deaf(node),
            4 => Kind::OneWay(self.index(NODES + 1), node),
            5 => Kind::Loss([2, 3, 5, 10, 50][self.index(5)]),
            6 | 7 => Kind::Kill(node, self.part()),
            8 => Kind::KillGuardian(node),
            9 => Kind::Stop(node),
            10 | 11 => Kind::Freeze(node, self.part()),
            12 => Kind::Carrier(node, self.index(CARDS)),
            13 => Kind::FlushAddresses(node),
            14 => {
                let all = [Meddling::FlushRuleset, Meddling::FlushTables, Meddling::DeleteTables];
                Kind::Rules(node, all[self.index(3)])
            }
            15 => Kind::Recreate(node),
            16 => Kind::Hardware(node),
            17 => Kind::Reload(node),
            18 if self.below(2) == 0 => Kind::Drain(node),
            18 => Kind::Busy(1 + self.index(3)),
            _ => Kind::Move(self.index(groups), node),
        }
    }
}
