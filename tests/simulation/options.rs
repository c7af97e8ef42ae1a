//! What a run is made of, drawn from its seed: sizes, weather, and which faults are in the mix.
//!
//! Each run switches on a random subset of the faults (swarm testing): a mix of everything hides
//! what a few faults in a row would show.

use std::time::Duration;

use buoy::protocol::{Preserve, Rule, Timing};

use crate::draw::{Draw, MICROSECOND, MILLISECOND, SECOND};
use crate::faults::Kind;
use crate::loads::Loads;
use crate::network::Weather;

/// chrony's `maxslewrate`.
const SLEW: i64 = 83_333;

/// From this seed on, of three runs one is with profile `auto`: on all hosts, or on all but one.
const ADAPTIVE_FROM: u64 = 100_000;

/// Who votes: the last so many hosts; and whether the last one is a witness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voting {
    /// Voters.
    pub(crate) voters: usize,
    /// Whether the last host owns nothing. Its weight is 0 then.
    pub(crate) witness: bool,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The seed of everything.
    pub(crate) seed: u64,
    /// Hosts.
    pub(crate) nodes: usize,
    /// Groups in the first configuration.
    pub(crate) groups: usize,
    /// Groups that later configurations may add.
    pub(crate) groups_spare: usize,
    /// Clients outside the cluster.
    pub(crate) clients: usize,
    /// Heartbeat paths, 1 or 2.
    pub(crate) paths: usize,
    /// Profile.
    pub(crate) timing: Timing,
    /// Hosts with profile `auto`, which begin with `timing`.
    pub(crate) adaptive: Vec<usize>,
    /// Weight of each node.
    pub(crate) weights: Vec<u16>,
    /// Whether groups prefer nodes.
    pub(crate) preferences: bool,
    /// Whether clients ignore an update within a second of the last (Linux before 4.11).
    pub(crate) locktime: bool,
    /// Whether no broadcast reaches clients, only what is sent to one of them alone.
    pub(crate) muffled: bool,
    /// Hosts whose software knows none of the features that are told in heartbeats.
    pub(crate) older: Vec<usize>,
    /// Whether groups are in several pools, one of which lets go as a last resort.
    pub(crate) pools: bool,
    /// Whether the groups that are in no pool of their own let go as a last resort.
    pub(crate) release: bool,
    /// How long something that never ends may hold a planned move.
    pub(crate) gate: Option<Duration>,
    /// How busy hosts are, if that counts.
    pub(crate) loads: Option<Loads>,
    /// State of the network apart from faults.
    pub(crate) weather: Weather,
    /// Wake-ups of the daemon that come up to 20 ms late, in millionths.
    pub(crate) lag: u32,
    /// Kernel orders that take up to 30 ms, in millionths.
    pub(crate) kernel_slow: u32,
    /// Whether kernels have a gate and daemons a guardian.
    pub(crate) fenced: bool,
    /// Who votes and who owns, if groups are in mode majority.
    pub(crate) strict: Option<Voting>,
    /// The most that a clock runs fast, in parts per million.
    pub(crate) drift: u64,
    /// The most that jiffies are slewed, in parts per million; they are late as well then.
    pub(crate) slew: i64,
    /// Whether hosts have profiles of their own.
    pub(crate) profiles: bool,
    /// Whether daemons are restarted in place instead of stopped and started.
    pub(crate) in_place: bool,
    /// How connections are kept through planned moves, where kernels can; they end within three
    /// seconds.
    pub(crate) preserve: Option<Preserve>,
    /// Whether later configurations have addresses in other groups.
    pub(crate) layouts: bool,
    /// Daemons start within so long.
    pub(crate) start_spread: u64,
    /// Faults in the mix.
    pub(crate) faults: Vec<Kind>,
    /// Time from one fault to the next is at most twice this.
    pub(crate) fault_gap: u64,
    /// The first fault comes not before.
    pub(crate) fault_start: u64,
    /// No fault comes after.
    pub(crate) fault_end: u64,
    /// Only so many faults are made: shortens a failing run.
    pub(crate) fault_limit: u64,
    /// The rule that does not hold, if one is to be missed.
    pub(crate) broken: Option<Rule>,
    /// Whether to keep lines of text for a failure report.
    pub(crate) traced: bool,
}

impl Options {
    /// A calm cluster for scenarios: everybody starts at once, no faults, fair weather.
    pub(crate) fn calm(nodes: usize, groups: usize) -> Self {
        Self {
            seed: 1,
            nodes,
            groups,
            groups_spare: 0,
            clients: 1,
            paths: 1,
            timing: Timing::LAN,
            adaptive: Vec::new(),
            weights: vec![100; nodes],
            preferences: false,
            locktime: false,
            muffled: false,
            older: Vec::new(),
            pools: false,
            release: false,
            gate: None,
            loads: None,
            weather: Weather::fair(),
            lag: 0,
            kernel_slow: 0,
            fenced: true,
            strict: None,
            drift: 300,
            slew: 0,
            profiles: false,
            in_place: false,
            preserve: None,
            layouts: false,
            start_spread: 5 * MILLISECOND,
            faults: Vec::new(),
            fault_gap: SECOND,
            fault_start: u64::MAX,
            fault_end: 0,
            fault_limit: 0,
            broken: None,
            traced: true,
        }
    }

    /// The run of a seed.
    pub(crate) fn drawn(seed: u64) -> Self {
        let mut draw = Draw::new(seed ^ 0x5eed);
        let nodes = match draw.between(0, 199) {
            0..=4 => 1,
            5..=69 => 2,
            70..=149 => 3,
            150..=196 => 5,
            _ => 16,
        };
        let groups = match draw.between(0, 99) {
            0..=19 => 1,
            20..=89 => usize::try_from(draw.between(2, 12)).expect("small"),
            90..=97 => usize::try_from(draw.between(13, 64)).expect("small"),
            _ => 200,
        };
        let fault_start = draw.between(0, 5) * SECOND;
        let profile = draw.between(0, 9);
        let mut options = Self {
            seed,
            groups_spare: draw.index(3),
            clients: [0, 1, 1, 2, 3][draw.index(5)],
            paths: [1, 1, 1, 2][draw.index(4)],
            timing: [Timing::FAST, Timing::LAN][usize::from(profile > 0)],
            adaptive: adaptive(seed, nodes),
            weights: (0..nodes).map(|_| draw.pick(&[100, 100, 100, 50, 200, 1, 1000])).collect(),
            preferences: draw.chance(250_000),
            locktime: draw.chance(200_000),
            muffled: false,
            older: Vec::new(),
            weather: weather(&mut draw),
            lag: if profile > 0 { draw.pick(&[0, 0, 2_000, 20_000]) } else { 0 },
            kernel_slow: draw.pick(&[0, 0, 20_000]),
            fenced: draw.chance(750_000),
            start_spread: draw.pick(&[MILLISECOND, 300 * MILLISECOND, 3 * SECOND]),
            faults: Kind::ALL.iter().copied().filter(|_| draw.chance(300_000)).collect(),
            fault_gap: draw.pick(&[150, 400, 1_000, 3_000]) * MILLISECOND,
            fault_start,
            fault_end: fault_start + draw.between(5, 15) * SECOND,
            fault_limit: u64::MAX,
            // Not drawn: the other seeds stay what they were.
            in_place: seed.is_multiple_of(4),
            preserve: preserve(seed),
            layouts: seed % 3 == 1,
            traced: false,
            ..Self::calm(nodes, groups)
        };
        if draw.chance(300_000) {
            options.weights = vec![100; nodes];
        }
        if options.faults.is_empty() {
            options.faults.push(draw.pick(Kind::ALL));
        }
        if options.nodes > 1 && draw.chance(400_000) {
            options.be_strict(&mut draw);
        }
        if options.layouts && !options.faults.contains(&Kind::Rollout) {
            options.faults.push(Kind::Rollout);
        }
        if draw.chance(200_000) {
            options.faults.push(Kind::Conflict);
        }
        if draw.chance(250_000) {
            options.faults.push(Kind::Checks);
            options.pools = draw.chance(500_000);
            options.release = draw.chance(250_000);
        }
        // Not drawn: the other seeds stay what they were.
        if options.paths > 1 && seed.is_multiple_of(2) {
            options.faults.extend([Kind::DataDeaf, Kind::DataMute]);
        }
        options.faults.extend((seed % 5 == 2).then_some(Kind::Suppression));
        // Planned moves are held for a while in some runs.
        options.gate = draw.chance(100_000).then_some(Duration::from_millis(500));
        options
    }

    /// All groups in mode majority; a pair gets a witness, as every pair must.
    fn be_strict(&mut self, draw: &mut Draw) {
        self.fenced = true;
        self.drift = draw.pick(&[300, 2_000]);
        self.slew = SLEW;
        if draw.chance(300_000) {
            self.profiles = true;
            self.faults.push(Kind::Profile);
        }
        let witness = self.nodes == 2 || (self.nodes == 3 && draw.chance(200_000));
        if self.nodes == 2 {
            self.nodes = 3;
            self.weights.push(0);
        }
        let voters = match self.nodes {
            3 => 3,
            5 => draw.pick(&[3, 5]),
            _ => draw.pick(&[3, 5, 7]),
        };
        self.strict = Some(Voting { voters, witness });
        if witness {
            self.weights[self.nodes - 1] = 0;
        }
    }

    /// A calm cluster with its groups in mode majority and three voters, one of them a witness
    /// if said so.
    pub(crate) fn strict(nodes: usize, groups: usize, witness: bool) -> Self {
        let mut weights = vec![100; nodes];
        if witness {
            weights[nodes - 1] = 0;
        }
        let strict = Some(Voting { voters: 3, witness });
        Self { strict, weights, slew: SLEW, ..Self::calm(nodes, groups) }
    }

    /// The slowest times that a host may have.
    pub(crate) fn slowest(&self) -> Timing {
        if self.profiles || !self.adaptive.is_empty() { Timing::VM } else { self.timing }
    }

    /// A big run: few faults, many nodes or groups.
    pub(crate) fn big(seed: u64, nodes: usize, groups: usize) -> Self {
        Self {
            nodes,
            groups,
            weights: vec![100; nodes],
            timing: Timing::LAN,
            fault_start: 5 * SECOND,
            fault_end: 9 * SECOND,
            fault_gap: SECOND,
            ..Self::drawn(seed)
        }
    }
}

/// The hosts with profile `auto`. Not drawn, and none in a run that is recorded.
fn adaptive(seed: u64, nodes: usize) -> Vec<usize> {
    let adaptive = seed >= ADAPTIVE_FROM && seed.is_multiple_of(3);
    let first = usize::from(!seed.is_multiple_of(2));
    (first..nodes).filter(|_| adaptive).collect()
}

fn weather(draw: &mut Draw) -> Weather {
    let mut weather = Weather::fair();
    if draw.chance(300_000) {
        weather.loss = draw.pick(&[1_000, 10_000, 20_000, 50_000]);
    }
    if draw.chance(100_000) {
        weather.burst_length = draw.between(50, 500) * MILLISECOND;
        weather.burst_loss = draw.pick(&[500_000, 900_000]);
    }
    if draw.chance(200_000) {
        weather.late = draw.pick(&[1_000, 20_000]);
        weather.late_most = draw.pick(&[20, 100, 1_000]) * MILLISECOND;
    }
    if draw.chance(200_000) {
        weather.jitter = draw.pick(&[MILLISECOND, 10 * MILLISECOND, 500 * MICROSECOND]);
    }
    if draw.chance(200_000) {
        weather.duplicate = 20_000;
    }
    weather
}

/// For as long as requests take on most seeds, on some for as long as they last, on some not at all.
fn preserve(seed: u64) -> Option<Preserve> {
    let (seconds, brief) = match seed % 6 {
        0 => (600, false),
        1 => return None,
        _ => (2, true),
    };
    Some(Preserve { limit: Duration::from_secs(seconds), brief })
}
