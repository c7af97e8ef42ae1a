//! One fault, done to the host that has the addresses, and what the client saw of it.

use std::error::Error;
use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::rig::{HEIR, OWNER, Rig, own_address};
use crate::system::{self, System};

/// ucarp and keepalived with their defaults need 3.6 s.
const RECOVERY_MAX: Duration = Duration::from_secs(20);
const LOSS: Duration = Duration::from_secs(20);
/// One frame in three.
const LOSS_ONE_IN: u32 = 3;
const IDLE: Duration = Duration::from_secs(20);
/// A daemon without traffic of its own settles in this time after it has taken its addresses.
const CALM: Duration = Duration::from_secs(5);
/// After `ip addr flush` the host's own address comes back, as DHCP or an operator brings it.
const FLUSHED: Duration = Duration::from_secs(1);
/// What a frozen or killed daemon leaves behind is watched for so long.
const AFTERMATH: Duration = Duration::from_secs(8);

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// The owner's host loses power; with so many addresses.
    HostDies(usize),
    /// The owner's daemon is ended by SIGTERM.
    Stop,
    /// The owner's daemon is killed, without the processes that it has started; its host lives.
    Killed,
    /// All processes of the owner's daemon are killed; its host lives.
    AllKilled,
    /// All processes of the owner's daemon are stopped by SIGSTOP; its host lives.
    Frozen,
    /// `ip addr flush` on the owner's interface; its own address is back a second later.
    Flushed,
    /// One frame in three between the hosts is lost.
    Loss,
    /// Nothing happens.
    Idle,
}

/// What was measured in one run. Times are in milliseconds; what a case does not measure is absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// The longest time without an answer, of the address that was worst off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outage_ms: Option<f64>,
    /// From the first answer by the new owner to the last by the old one, of the first address, to
    /// a client that asks the whole network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) two_answer_ms: Option<f64>,
    /// How often the addresses changed their host although both were there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) false_takeovers: Option<usize>,
    /// Processor time of all processes on the owner's host, in hundredths of a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) processor_percent: Option<f64>,
    /// Memory of all processes on the owner's host in MB: resident, and with shared pages counted
    /// once (proportional set size).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resident_mb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proportional_mb: Option<f64>,
    /// Why there is no figure, or what was wrong in the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostDies(1) => out.write_str("owner's host dies"),
            Self::HostDies(addresses) => write!(out, "owner's host dies, {addresses} addresses"),
            Self::Stop => out.write_str("owner's daemon is stopped"),
            Self::Killed => out.write_str("owner's daemon is killed, host alive"),
            Self::AllKilled => out.write_str("all its processes are killed, host alive"),
            Self::Frozen => out.write_str("owner's daemon is frozen"),
            Self::Flushed => out.write_str("ip addr flush on the owner"),
            Self::Loss => out.write_str("one frame in three lost for 20 s"),
            Self::Idle => out.write_str("idle for 20 s"),
        }
    }
}

impl Case {
    /// All of them, in the order of the table.
    pub(crate) fn all(addresses: &[usize]) -> Vec<Self> {
        let mut all: Vec<_> = addresses.iter().copied().map(Self::HostDies).collect();
        all.extend([Self::Stop, Self::Killed, Self::AllKilled, Self::Frozen, Self::Flushed]);
        all.extend([Self::Loss, Self::Idle]);
        all
    }

    /// How many addresses there are.
    pub(crate) fn addresses(self) -> usize {
        match self {
            Self::HostDies(addresses) => addresses,
            Self::Stop
            | Self::Killed
            | Self::AllKilled
            | Self::Frozen
            | Self::Flushed
            | Self::Loss
            | Self::Idle => 1,
        }
    }

    /// Whether the system can meet this case: ucarp has one address, the ideal switch no daemon.
    pub(crate) fn suits(self, system: &System) -> bool {
        match system {
            System::Buoy(_) | System::Keepalived(..) => true,
            System::Ucarp => self.addresses() == 1,
            System::Ideal => matches!(self, Self::HostDies(_) | Self::Stop),
        }
    }

    /// Builds hosts, starts the system, makes the fault and measures.
    ///
    /// # Errors
    /// When the hosts cannot be built or the system does not come up.
    pub(crate) fn measure(self, system: &System) -> Result<Figures, Box<dyn Error>> {
        let interval = if self == Self::Idle { Duration::from_secs(1) } else { interval(self) };
        let mut rig = Rig::build(self.addresses(), interval)?;
        system.start(&mut rig)?;
        if self == Self::Idle {
            return idle(&rig);
        }
        rig.settle()?;
        let from = clock::now();
        self.make(system, &mut rig)?;
        let recovered = rig.recover(RECOVERY_MAX);
        if matches!(self, Self::Killed | Self::AllKilled | Self::Frozen) {
            clock::pause(AFTERMATH);
        }
        let mut figures = judge(&rig, from);
        if self == Self::Loss {
            figures =
                Figures { false_takeovers: Some(takeovers(&rig, from)), ..Figures::default() };
        }
        if !recovered {
            figures.fault = Some("not all addresses were answered in the end".to_owned());
        }
        Ok(figures)
    }

    fn make(self, system: &System, rig: &mut Rig) -> Result<(), Box<dyn Error>> {
        match self {
            Self::HostDies(_) => {
                rig.cut(OWNER)?;
                if *system == System::Ideal {
                    system::take(rig, HEIR)?;
                }
            }
            Self::Stop if *system == System::Ideal => {
                system::release(rig, OWNER)?;
                system::take(rig, HEIR)?;
            }
            Self::Stop => rig.signal(OWNER, Signal::SIGTERM),
            Self::Killed => rig.signal(OWNER, Signal::SIGKILL),
            Self::AllKilled => rig.signal_all(OWNER, Signal::SIGKILL),
            Self::Frozen => rig.signal_all(OWNER, Signal::SIGSTOP),
            Self::Flushed => {
                let own = own_address(OWNER);
                // Refused in the end where a daemon puts its addresses back at once.
                let _flushed = rig.namespace(OWNER).ip("addr flush dev eth0\n");
                clock::pause(FLUSHED);
                rig.namespace(OWNER).ip(&format!("addr add {own}/16 dev eth0\n"))?;
            }
            Self::Loss => {
                rig.lose(LOSS_ONE_IN)?;
                clock::pause(LOSS);
                rig.network.heal()?;
            }
            Self::Idle => {}
        }
        Ok(())
    }
}

/// Between two probes of one address: more addresses are probed more rarely, so that the client
/// takes the same part of the machine from all systems.
fn interval(case: Case) -> Duration {
    let addresses = u64::try_from(case.addresses()).unwrap_or(u64::MAX);
    Duration::from_micros(40 * addresses).max(Duration::from_millis(1))
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The worst of what the client saw of any address since then.
fn judge(rig: &Rig, from: Instant) -> Figures {
    let until = buoy::lab::probe::Prober::judged_until();
    let seen = rig.prober.seen(from, until);
    let outage = seen.iter().map(|(_, seen)| seen.outage).max().unwrap_or_default();
    Figures {
        outage_ms: Some(milliseconds(outage)),
        two_answer_ms: Some(milliseconds(overlap(rig, from))),
        ..Figures::default()
    }
}

/// From the first answer by the heir to the last by the former owner, as others are told.
fn overlap(rig: &Rig, from: Instant) -> Duration {
    let answers: Vec<_> =
        rig.questioner.answers().into_iter().filter(|(at, _)| *at >= from).collect();
    let first = answers.iter().find(|(_, mac)| *mac == rig.mac(HEIR));
    let last = answers.iter().rev().find(|(_, mac)| *mac == rig.mac(OWNER));
    match (first, last) {
        (Some((first, _)), Some((last, _))) => last.saturating_duration_since(*first),
        _ => Duration::ZERO,
    }
}

/// How often an address came to a host since then.
fn takeovers(rig: &Rig, from: Instant) -> usize {
    let timeline = rig.watch.timeline();
    let of =
        |address| timeline.of(address).filter(|change| change.held && change.at >= from).count();
    rig.addresses.iter().map(|address| of(*address)).sum()
}

/// What the processes on the owner's host cost while nothing happens.
fn idle(rig: &Rig) -> Result<Figures, Box<dyn Error>> {
    rig.settle()?;
    clock::pause(CALM);
    let (before, begin) = (processor_time(rig), clock::now());
    clock::pause(IDLE);
    let used = processor_time(rig).saturating_sub(before);
    let elapsed = clock::now().duration_since(begin);
    Ok(Figures {
        processor_percent: Some(used.as_secs_f64() / elapsed.as_secs_f64() * 100.0),
        resident_mb: Some(memory(rig, "Rss:")),
        proportional_mb: Some(memory(rig, "Pss:")),
        ..Figures::default()
    })
}

/// Time on a processor of all threads on the owner's host (`/proc/PID/task/*/schedstat`).
fn processor_time(rig: &Rig) -> Duration {
    let mut total = Duration::ZERO;
    for pid in rig.processes(OWNER) {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok());
            total += Duration::from_nanos(nanoseconds.unwrap_or(0));
        }
    }
    total
}

/// A line of `/proc/PID/smaps_rollup`, in kB, of all processes on the owner's host; in MB.
fn memory(rig: &Rig, line: &str) -> f64 {
    let of = |pid: nix::unistd::Pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let found = text.lines().find_map(|text| text.strip_prefix(line));
        let words = found.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        words.unwrap_or(0.0)
    };
    rig.processes(OWNER).into_iter().map(of).sum::<f64>() / 1024.0
}
