//! What the daemon has counted and measured, for its status.
//!
//! Read by the main thread when somebody asks, from counters that other threads only add to, and
//! from what the kernel tells of this process (`/proc/self`, which waits for no disk).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio::time::Instant as Moment;

use super::clock;
use super::event_loop::Vital;
use super::picture::Picture;
use crate::config::Config;
use crate::control::adaptive_timing::AdaptiveTiming;
use crate::control::awaited::{Awaited, Oldest, Port};
use crate::control::duration_text::millis;
use crate::control::measures::{Measures, Path, Process, Reload};
use crate::control::names::Names;
use crate::control::response::{Fence, FenceKind, MISSING_SHOWN_MAX, MissingRoute, MissingRoutes};
use crate::control::server::Snapshot;
use crate::kernel::{self, Kernel};
use crate::protocol::GroupKey;
use crate::transport::PathCounters;
use crate::wire::RefusedDatagram;

/// What the main thread remembers of its own life.
#[derive(Debug)]
pub(super) struct Life {
    started: Duration,
    reload: Reload,
}

impl Life {
    /// Begins now, with the configuration that was just read.
    pub(super) fn begin() -> Self {
        let started = clock::wall();
        Self { started, reload: Reload { successful: true, successful_ms: millis(started) } }
    }

    /// A reload has ended.
    pub(super) fn reloaded(&mut self, successful: bool) {
        self.reload.successful = successful;
        if successful {
            self.reload.successful_ms = millis(clock::wall());
        }
    }

    /// All that is measured, but for what the picture of the protocol thread has.
    pub(super) fn measures(&self, config: &Config, vital: &Vital) -> Measures {
        Measures {
            profile: config.profile.to_owned(),
            detection_ms: millis(config.timing.detection()),
            started_ms: millis(self.started),
            process: process(),
            reload: self.reload.clone(),
            lateness: vital.lateness.read(),
            ..Measures::default()
        }
    }
}

fn process() -> Process {
    let used = getrusage(UsageWho::RUSAGE_SELF)
        .map(|usage| usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    Process {
        cpu_ms: used.ok().and_then(|used| u64::try_from(used).ok()).unwrap_or(0),
        resident_bytes: resident(&status).unwrap_or(0),
        // The directory that is being read is one of them.
        open_files: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count).saturating_sub(1)
            as u64,
    }
}

/// The line `VmRSS: 1234 kB`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn path(local: String, path: &PathCounters) -> Path {
    let named = |counts: &[(&str, u64)]| -> BTreeMap<String, u64> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    Path {
        local,
        sent: named(&[
            ("ok", path.sent),
            ("full", path.send_full),
            ("unreachable", path.send_unreachable),
            ("refused", path.send_refused),
            ("not_permitted", path.send_not_permitted),
            ("address_missing", path.send_address_missing),
            ("other", path.send_other),
        ]),
        received: named(&[
            ("ok", path.received),
            ("stranger", path.unknown_senders),
            ("error", path.receive_errors),
            ("dropped_by_kernel", u64::from(path.dropped_by_kernel)),
        ]),
    }
}

/// Counters that are no part of the picture.
pub(super) fn counters(kernel: &Kernel, vital: &Vital) -> Vec<(&'static str, u64)> {
    let kernel = kernel.counters();
    vec![
        ("real_time_priority", u64::from(vital.real_time.load(Ordering::Relaxed))),
        ("reports_dropped", vital.reports_dropped.load(Ordering::Relaxed)),
        ("events_not_written", vital.events_not_written.load(Ordering::Relaxed)),
        ("announcements", kernel.announcements.value()),
        ("announcement_errors", kernel.announcement_errors.value()),
        ("neighbour_lists", kernel.neighbour_lists.value()),
        ("questions_to_neighbours", kernel.questions.value()),
        ("neighbours_told_directly", kernel.told_directly.value()),
        ("addresses_put_back", kernel.repairs.value()),
        ("addresses_swept", kernel.swept.value()),
        ("netlink_overruns", kernel.overruns.value()),
        ("kernel_errors", kernel.errors.value()),
        ("connections_ended", kernel.connections_ended.value()),
        ("connections_left", kernel.connections_left.value()),
        ("connections_told", kernel.connections_told.value()),
        ("connections_remembered", kernel.connections_remembered.value()),
        ("connections_refused", kernel.connections_refused.value()),
        ("connection_notes_lost", kernel.connection_notes_lost.value()),
        ("tickles_sent", kernel.tickles_sent.value()),
        ("tickles_failed", kernel.tickles_failed.value()),
        ("gates_rebuilt", kernel.gates_rebuilt.value()),
        ("groups_asked_about", kernel.probes.value()),
        ("claims_heard", kernel.claims_heard.value()),
        ("claims_floods", kernel.claims_floods.value()),
        ("guardian_pid", vital.guardian.load(Ordering::Relaxed)),
        ("guardians_lost", vital.guardians_lost.load(Ordering::Relaxed)),
    ]
}

/// Connections whose end something on this host waits for: those of a drain, and of each group.
pub(super) fn awaited(kernel: &Kernel) -> (Option<Awaited>, BTreeMap<GroupKey, Awaited>) {
    let now = Moment::now();
    let here = kernel.awaited();
    let drain = here.drain.map(|awaited| shown(&awaited, now));
    let kept = here.kept.iter().map(|(group, awaited)| (*group, shown(awaited, now)));
    (drain, kept.collect())
}

fn shown(awaited: &kernel::Awaited, now: Moment) -> Awaited {
    let port = |(port, connections): (&u16, &u32)| Port { port: *port, connections: *connections };
    let mut ports: Vec<Port> = awaited.ports.iter().map(port).collect();
    ports.sort_by_key(|port| Reverse(port.connections));
    let oldest = awaited.oldest.map(|oldest| Oldest {
        client: oldest.client.to_string(),
        to: oldest.local.to_string(),
        known_ms: millis(now.saturating_duration_since(oldest.since)),
    });
    Awaited { ports, other_ports: awaited.others, oldest }
}

/// Notes what profile `auto` has chosen.
pub(super) fn note_timing(
    (measures, fence): (&mut Measures, &mut Fence),
    picture: &Picture,
    names: &Names,
) {
    if let Some(timing) = &picture.timing {
        if fence.kind == FenceKind::Gate {
            fence.bound_ms = Some(millis(timing.timing.lease()));
        }
        measures.detection_ms = millis(timing.timing.detection());
        measures.timing = Some(AdaptiveTiming::new(timing, names));
    }
}

/// Adds what the picture of the protocol thread has.
pub(super) fn snapshot(
    picture: Picture,
    fence: Fence,
    mut counters: Vec<(&'static str, u64)>,
    mut measures: (Vec<String>, Measures),
) -> Snapshot {
    let refused = RefusedDatagram::NAMES.iter().zip(picture.refused);
    let paths = &picture.transport.paths;
    counters.extend([
        ("datagrams_sent", paths.iter().map(|path| path.sent).sum()),
        ("datagrams_received", paths.iter().map(|path| path.received).sum()),
        ("datagrams_of_strangers", paths.iter().map(|path| path.unknown_senders).sum()),
        (
            "datagrams_dropped_by_kernel",
            paths.iter().map(|path| u64::from(path.dropped_by_kernel)).sum(),
        ),
    ]);
    let (locals, measures) = (measures.0, &mut measures.1);
    measures.refused = refused.clone().map(|(name, count)| ((*name).to_owned(), count)).collect();
    counters.extend(refused.filter(|(_, count)| *count > 0).map(|(name, count)| (*name, count)));
    measures.paths = locals.into_iter().zip(paths).map(|(local, it)| path(local, it)).collect();
    let (held_back, measures) = (picture.held_back, Some(std::mem::take(measures)));
    let orders = picture.orders;
    Snapshot { fence, counters, held_back, measures, orders, ..picture.status.into() }
}

/// The routes and rules that this host lacks, for people.
pub(super) fn missing_routes(kernel: &Kernel, names: &Names) -> Vec<MissingRoutes> {
    let all = kernel.missing_routes().into_iter();
    let mut missing: Vec<MissingRoutes> = all
        .map(|(group, missing)| MissingRoutes {
            group: names.group(group).group,
            count: missing.len(),
            first: missing
                .into_iter()
                .take(MISSING_SHOWN_MAX)
                .map(|one| MissingRoute { route: one.what, why: one.why })
                .collect(),
        })
        .collect();
    missing.sort_by(|one, other| one.group.cmp(&other.group));
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        let process = process();
        assert!(process.resident_bytes > 100_000, "{process:?}");
        assert!((1..10_000).contains(&process.open_files), "{process:?}");
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1234 kB\n"), Some(1_263_616));
        assert_eq!(["", "VmRSS:\t1 MB", "VmRSS:"].map(resident), [None; 3]);
    }

    #[test]
    fn a_refused_reload_keeps_the_time_of_the_last_good_one() {
        let mut life = Life::begin();
        let good = life.reload.successful_ms;
        life.reloaded(false);
        assert_eq!(life.reload, Reload { successful: false, successful_ms: good });
        life.reloaded(true);
        assert!(life.reload.successful && life.reload.successful_ms >= good);
    }
}
