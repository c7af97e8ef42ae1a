//! How busy this host is: `/proc/loadavg` and `/proc/stat`, once a second.
//!
//! A task of the main thread; the files are read on a thread for things that take long, so nothing
//! waits for them. What is measured is offered to the protocol thread, which smooths it; a sample
//! that finds the inbox full is lost and the next one comes. A host whose files cannot be read, or
//! are not understood, publishes no load and counts by its weight; that is logged when it begins
//! and when it ends.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::inbox::Mailbox;
use crate::protocol::{Event, Measure};

/// Between two samples.
const EVERY: Duration = Duration::from_secs(1);
/// The lines of 1024 CPUs; the rest of `/proc/stat` is about interrupts.
const READ_MAX: u64 = 128 * 1024;

/// Time that the CPUs have had since the host started, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    idle: u64,
    all: u64,
    cpus: u32,
}

/// Makes a measure of two samples that follow each other.
#[derive(Debug, Default)]
struct Sampler {
    before: Option<Ticks>,
}

impl Sampler {
    /// What the two files say now; `None` for the first sample and for what is not understood.
    fn sample(&mut self, loadavg: &str, stat: &str) -> Option<Measure> {
        let now = ticks(stat);
        let before = std::mem::replace(&mut self.before, now)?;
        let now = now?;
        let all = now.all.checked_sub(before.all).filter(|all| *all > 0)?;
        // The kernel's count of idle time may run back a little (proc(5)).
        let idle = now.idle.saturating_sub(before.idle).min(all);
        let busy = u16::try_from((all - idle) * 1000 / all).ok()?;
        let average: f64 = loadavg.split_ascii_whitespace().next()?.parse().ok()?;
        let hundredths = (average * 100.0 / f64::from(now.cpus)).clamp(0.0, f64::from(u16::MAX));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let average = hundredths as u16;
        Some(Measure { average, busy, ..Measure::default() })
    }
}

/// The first lines of `/proc/stat`: `cpu user nice system idle iowait irq softirq steal ...`, then
/// one for each CPU.
fn ticks(stat: &str) -> Option<Ticks> {
    let mut lines = stat.lines();
    let (name, numbers) = lines.next()?.split_once(' ')?;
    if name != "cpu" {
        return None;
    }
    // Guest time is counted in user time too.
    let numbers: Vec<u64> = numbers
        .split_ascii_whitespace()
        .take(8)
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    let idle = numbers.get(3)?.checked_add(*numbers.get(4)?)?;
    let all = numbers.iter().try_fold(0_u64, |sum, number| sum.checked_add(*number))?;
    let cpus = lines.take_while(|line| line.starts_with("cpu")).count().max(1);
    Some(Ticks { idle, all, cpus: u32::try_from(cpus).ok()? })
}

fn read(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(READ_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Measures until the task is aborted, which may be at any time.
pub(super) async fn measure(mailbox: Mailbox) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sampler = Sampler::default();
    let mut failing = false;
    loop {
        ticks.tick().await;
        let files = || Ok::<_, io::Error>((read("/proc/loadavg")?, read("/proc/stat")?));
        let read = tokio::task::spawn_blocking(files).await;
        let first = sampler.before.is_none() && !failing;
        let measure = match &read {
            Ok(Ok((loadavg, stat))) => sampler.sample(loadavg, stat),
            Ok(Err(_)) | Err(_) => None,
        };
        if measure.is_none() && first {
            continue;
        }
        if failing != measure.is_none() {
            failing = measure.is_none();
            if failing {
                tracing::warn!(
                    "the load of this host cannot be measured: its configured weight is used"
                );
            } else {
                tracing::info!("the load of this host can be measured again");
            }
        }
        // A full inbox is a busy host; the next sample says so.
        let _ = mailbox.offer(Event::Load(measure));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(user: u64, idle: u64, iowait: u64) -> String {
        format!(
            "cpu  {user} 0 0 {idle} {iowait} 0 0 0 7 0\ncpu0 1 0 0 1 0 0 0 0 0 0\n\
             cpu1 1 0 0 1 0 0 0 0 0 0\nintr 12 0 0\nctxt 5\n"
        )
    }

    #[test]
    fn two_samples_make_a_measure() {
        let mut sampler = Sampler::default();
        assert_eq!(sampler.sample("0.50 0.10 0.01 1/200 77\n", &stat(100, 900, 0)), None);
        let measure = sampler.sample("0.50 0.10 0.01 1/200 77\n", &stat(150, 1030, 20));
        let wanted = Measure { average: 25, busy: 250, connections: None, given: None };
        assert_eq!(measure, Some(wanted));
        let measure = sampler.sample("1300.00 1 1 1/2 3", &stat(350, 1020, 20));
        assert_eq!(measure.map(|it| (it.average, it.busy)), Some((65_000, 1000)));
    }

    #[test]
    fn what_is_not_understood_is_no_measure() {
        let good = stat(100, 900, 0);
        let bad =
            ["", "cpu", "cpu x", "cpu 1 2 3", "intr 1 2 3 4 5", "cpu 1 2 3 4 99999999999999999999"];
        for text in bad {
            let mut sampler = Sampler::default();
            sampler.sample("0.5", &good);
            assert_eq!(sampler.sample("0.5", text), None, "{text:?}");
        }
        for loadavg in ["", "x", "-"] {
            let mut sampler = Sampler::default();
            sampler.sample("0.5", &good);
            assert_eq!(sampler.sample(loadavg, &stat(150, 950, 0)), None, "{loadavg:?}");
        }
        let mut sampler = Sampler::default();
        sampler.sample("0.5", &good);
        assert_eq!(sampler.sample("0.5", &good), None, "no time has passed");
    }

    #[test]
    fn this_host_is_understood() {
        let mut sampler = Sampler { before: Some(Ticks { idle: 0, all: 0, cpus: 1 }) };
        let (loadavg, stat) = (read("/proc/loadavg").unwrap(), read("/proc/stat").unwrap());
        assert!(sampler.sample(&loadavg, &stat).is_some(), "{loadavg}{stat}");
    }
}
