//! The table of metrics: the only place where their names stand. Those of groups are in
//! `table_groups`, those of checks and hooks in `table_local`, those that read one counter of the daemon
//! in [`COUNTERS`].
//!
//! A node tells of itself and of what it sees; the truth about a group is the sum over nodes. No
//! label has a value that changes in the course of things, such as an owner: its series would stay
//! behind. What a daemon does not tell, because it is older, has no series.

use super::metrics::{Emit, Kind, Known, Metric, Read, seconds};
use super::table_groups::GROUPS;
use super::table_local::LOCAL;
use crate::control::measures::Measures;
use crate::control::response::{FenceKind, Node, NodeState, Role, Status};

/// Every metric.
pub(super) fn all() -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().chain(LOCAL).chain(COUNTERS).chain(GROUPS)
}

/// The metric of this name, as queries write it.
#[cfg(test)]
pub(super) fn find(sample: &str) -> Option<&'static Metric> {
    let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.strip_suffix(end));
    all().find(|metric| {
        metric.sample_name() == sample
            || (metric.kind == Kind::Histogram && plain == Some(metric.name))
    })
}

pub(super) const fn metric(
    (name, kind): (&'static str, Kind),
    help: &'static str,
    labels: &'static [&'static str],
    read: Read,
) -> Metric {
    Metric { name, kind, help, labels, read }
}

pub(super) const fn gauge(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&Known<'_>, &mut Emit<'_, '_>),
) -> Metric {
    metric((name, Kind::Gauge), help, labels, Read::Daemon(read))
}

pub(super) const fn counter(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&Known<'_>, &mut Emit<'_, '_>),
) -> Metric {
    metric((name, Kind::Counter), help, labels, Read::Daemon(read))
}

const STATES: [NodeState; 6] = [
    NodeState::Up,
    NodeState::Suspect,
    NodeState::Indirect,
    NodeState::Dead,
    NodeState::Left,
    NodeState::Unknown,
];

const METRICS: &[Metric] = &[
    metric(
        ("buoy_up", Kind::Gauge),
        "Whether the daemon answers; if not, its other metrics are missing",
        &[],
        Read::Always(|known, emit| emit.flag(&[], known.is_some())),
    ),
    metric(
        ("buoy_web_build", Kind::Info),
        "The program that answers scrapes",
        &["version"],
        Read::Always(|_, emit| emit.info(&[env!("CARGO_PKG_VERSION")])),
    ),
    metric(
        ("buoy", Kind::Info),
        "The node that reports these metrics",
        &["cluster", "node", "role", "profile", "phase", "version"],
        Read::Daemon(info),
    ),
    gauge("buoy_snapshot_timestamp_seconds", "Time of the reported status", &[], |known, emit| {
        emit.gauge(&[], known.taken);
    }),
    gauge(
        "buoy_peer_state",
        "State of a peer as this node sees it: 1 for the current state",
        &["cluster", "peer", "state"],
        |known, emit| {
            for peer in peers(known.status) {
                for state in STATES {
                    let labels = [&known.status.cluster, &peer.name, state.word()];
                    emit.flag(&labels, peer.state == state);
                }
            }
        },
    ),
    gauge(
        "buoy_peer_last_heard_seconds",
        "Time since a peer was heard directly",
        &["cluster", "peer"],
        |known, emit| {
            for peer in peers(known.status) {
                if let Some(heard) = peer.last_heard_ms {
                    emit.gauge(&[&known.status.cluster, &peer.name], millis(heard));
                }
            }
        },
    ),
    gauge(
        "buoy_peer_config_differs",
        "Whether a peer runs with another configuration",
        &["cluster", "peer"],
        |known, emit| {
            for peer in peers(known.status) {
                emit.flag(&[&known.status.cluster, &peer.name], peer.config_differs);
            }
        },
    ),
    gauge(
        "buoy_pool_eligible_nodes",
        "Nodes that could take a group of the pool now",
        &["cluster", "pool"],
        |known, emit| {
            for pool in pools(known.status) {
                let nodes = known.status.nodes.iter().filter(|node| eligible(node, pool)).count();
                emit.number(&[&known.status.cluster, pool], nodes as u64);
            }
        },
    ),
    gauge(
        "buoy_pool_groups_owned",
        "Groups of the pool for which this node's kernel answers",
        &["cluster", "pool"],
        |known, emit| {
            let status = known.status;
            for pool in pools(status) {
                let here = |group: &&_| super::table_groups::answers_here(status, group);
                let groups = status.groups.iter().filter(|group| group.pool == pool);
                emit.number(&[&status.cluster, pool], groups.filter(here).count() as u64);
            }
        },
    ),
    gauge("buoy_draining", "Whether the operator drains this node", &[], |known, emit| {
        if let Some(me) = me(known.status) {
            emit.flag(&[], me.draining);
        }
    }),
    gauge(
        "buoy_drain_connections_left",
        "Connections that the drain of this node waits for",
        &[],
        |known, emit| {
            let waits = me(known.status).and_then(|me| me.waits.as_ref());
            if let Some(left) = waits.and_then(|waits| waits.connections) {
                emit.number(&[], u64::from(left));
            }
        },
    ),
    gauge(
        "buoy_loop_lag_seconds",
        "Worst lateness of the protocol loop in the last minute",
        &[],
        |known, emit| {
            if let Some(me) = me(known.status) {
                emit.gauge(&[], seconds(me.loop_lag_us));
            }
        },
    ),
    metric(
        ("buoy_loop_lateness_seconds", Kind::Histogram),
        "Lateness of the protocol loop at its wake-ups",
        &[],
        Read::Daemon(|known, emit| {
            if let Some(measures) = measures(known) {
                emit.histogram(&[], &measures.lateness);
            }
        }),
    ),
    gauge(
        "buoy_detection_seconds",
        "Silence after which a peer is declared dead; with profile `auto` the one in force",
        &[],
        |known, emit| {
            if let Some(measures) = measures(known) {
                emit.gauge(&[], millis(measures.detection_ms));
            }
        },
    ),
    metric(
        ("buoy_takeover_detection_seconds", Kind::Histogram),
        "Silence of peers when they were declared dead",
        &[],
        Read::Daemon(|known, emit| {
            if let Some(measures) = measures(known) {
                emit.histogram(&[], &measures.detection);
            }
        }),
    ),
    metric(
        ("buoy_takeover_convergence_seconds", Kind::Histogram),
        "Time from adding a group here until all neighbours resolved it to this node",
        &["cluster", "pool"],
        Read::Daemon(|known, emit| {
            for (pool, histogram) in measures(known).iter().flat_map(|it| &it.convergence) {
                emit.histogram(&[&known.status.cluster, pool], histogram);
            }
        }),
    ),
    gauge(
        "buoy_fence_bound_seconds",
        "How long this host answers after its daemon dies; infinite if nothing ends it",
        &[],
        |known, emit| {
            emit.gauge(&[], known.status.fence.bound_ms.map_or(f64::INFINITY, millis));
        },
    ),
    metric(
        ("buoy_fence", Kind::Info),
        "What ends the answers of this host after its daemon dies",
        &["kind"],
        Read::Daemon(|known, emit| {
            emit.info(&[match known.status.fence.kind {
                FenceKind::Gate => "gate",
                FenceKind::Lifetime => "lifetime",
                FenceKind::None => "none",
            }]);
        }),
    ),
    counter(
        "buoy_datagrams",
        "Datagrams by heartbeat path and result",
        &["path", "direction", "result"],
        |known, emit| {
            for path in measures(known).iter().flat_map(|it| &it.paths) {
                for (direction, counts) in [("sent", &path.sent), ("received", &path.received)] {
                    for (result, count) in counts {
                        emit.counter(&[&path.local, direction, result], *count);
                    }
                }
            }
        },
    ),
    counter(
        "buoy_datagrams_refused",
        "Received datagrams that were refused, by reason",
        &["reason"],
        |known, emit| {
            for (reason, count) in measures(known).iter().flat_map(|it| &it.refused) {
                emit.counter(&[reason], *count);
            }
        },
    ),
    counter("buoy_events", "Events by kind", &["kind"], |known, emit| {
        for (kind, count) in measures(known).iter().flat_map(|it| &it.events) {
            emit.counter(&[kind], *count);
        }
    }),
    counter(
        "buoy_tickles",
        "Tickle ACKs sent to clients of a dead owner, so that they reset their connections",
        &["result"],
        |known, emit| {
            for (result, name) in [("sent", "tickles_sent"), ("failed", "tickles_failed")] {
                if let Some(count) = known.status.counters.get(name) {
                    emit.counter(&[result], *count);
                }
            }
        },
    ),
    gauge(
        "buoy_config_last_reload_successful",
        "Whether the last reload succeeded",
        &[],
        |known, emit| {
            if let Some(measures) = measures(known) {
                emit.flag(&[], measures.reload.successful);
            }
        },
    ),
    gauge(
        "buoy_config_last_reload_success_timestamp_seconds",
        "When a configuration was last loaded successfully",
        &[],
        |known, emit| {
            if let Some(measures) = measures(known) {
                emit.gauge(&[], millis(measures.reload.successful_ms));
            }
        },
    ),
    counter("process_cpu_seconds", "Processor time of the daemon", &[], |known, emit| {
        if let Some(measures) = measures(known) {
            emit.seconds_counted(&[], millis(measures.process.cpu_ms));
        }
    }),
    gauge("process_resident_memory_bytes", "Memory of the daemon", &[], |known, emit| {
        if let Some(measures) = measures(known) {
            emit.number(&[], measures.process.resident_bytes);
        }
    }),
    gauge("process_open_fds", "Open files and sockets of the daemon", &[], |known, emit| {
        if let Some(measures) = measures(known) {
            emit.number(&[], measures.process.open_files);
        }
    }),
    gauge("process_start_time_seconds", "When the daemon started", &[], |known, emit| {
        if let Some(measures) = measures(known) {
            emit.gauge(&[], millis(measures.started_ms));
        }
    }),
];

/// Counters of the status that have a metric of their own.
const COUNTERS: &[Metric] = &[
    kept(
        "real_time_priority",
        "buoy_real_time_priority",
        "Whether the protocol has real-time priority",
    ),
    counted("reports_dropped", "buoy_reports_dropped", "Events that were dropped unprocessed"),
    counted("events_not_written", "buoy_events_not_written", "Events that could not be saved"),
    counted("announcements", "buoy_announcements", "Addresses announced"),
    counted("announcement_errors", "buoy_announcement_errors", "Frames that could not be sent"),
    counted("neighbour_lists", "buoy_neighbour_lists", "Neighbour lists received from peers"),
    counted("questions_to_neighbours", "buoy_neighbour_questions", "Probes of neighbours"),
    counted("neighbours_told_directly", "buoy_neighbours_told", "Unicast announcements"),
    counted("addresses_put_back", "buoy_addresses_put_back", "Address removals undone"),
    counted("addresses_swept", "buoy_addresses_swept", "Addresses of a former daemon removed"),
    counted("netlink_overruns", "buoy_netlink_overruns", "Times that kernel events were lost"),
    counted("kernel_errors", "buoy_kernel_errors", "Changes that the kernel refused"),
    counted(
        "connections_ended",
        "buoy_connections_ended",
        "Connections closed when their address was released",
    ),
    counted("connections_left", "buoy_connections_left", "Releases with connections left"),
    counted("connections_told", "buoy_connections_told", "Connections reported to peers"),
    kept(
        "connections_remembered",
        "buoy_connections_remembered",
        "Connections of peers remembered now",
    ),
    counted(
        "connections_refused",
        "buoy_connections_refused",
        "Connections of peers dropped for lack of room",
    ),
    counted("connection_notes_lost", "buoy_connection_notes_lost", "Reports of connections lost"),
    counted("gates_rebuilt", "buoy_gate_rebuilt", "Times that the gate was missing and rebuilt"),
    counted("groups_asked_about", "buoy_group_probes", "Probes for other hosts with a group"),
    counted("claims_heard", "buoy_claims_heard", "Frames in which another host claimed an address"),
    counted("claims_floods", "buoy_claims_floods", "Floods of such frames"),
    kept("guardian_pid", "buoy_guardian_pid", "The process that guards the daemon; 0 if none"),
    counted("guardians_lost", "buoy_guardian_lost", "Guardians lost"),
];

/// Counters of the status that are read as labels of another metric, or are sums of such.
const ELSEWHERE: [&str; 6] = [
    "tickles_sent",
    "tickles_failed",
    "datagrams_sent",
    "datagrams_received",
    "datagrams_of_strangers",
    "datagrams_dropped_by_kernel",
];

/// Whether a counter of the status is to be found in the metrics; reasons of refused datagrams are,
/// as labels that the daemon names.
#[must_use]
pub fn has_counter(name: &str) -> bool {
    let own = COUNTERS.iter().any(|one| matches!(one.read, Read::Counter(read) if read == name));
    own || ELSEWHERE.contains(&name)
}

const fn counted(name: &'static str, sample: &'static str, help: &'static str) -> Metric {
    metric((sample, Kind::Counter), help, &[], Read::Counter(name))
}

const fn kept(name: &'static str, sample: &'static str, help: &'static str) -> Metric {
    metric((sample, Kind::Gauge), help, &[], Read::Counter(name))
}

fn info(known: &Known<'_>, emit: &mut Emit<'_, '_>) {
    let status = known.status;
    let me = me(status);
    let role = match me.map_or(Role::Member, |me| me.role) {
        Role::Member => "member",
        Role::Witness => "witness",
    };
    let profile = measures(known).map_or("", |measures| &measures.profile);
    let version = me.and_then(|me| me.version.as_deref()).unwrap_or("");
    emit.info(&[&status.cluster, &status.node, role, profile, &status.phase, version]);
}

fn measures<'a>(known: &Known<'a>) -> Option<&'a Measures> {
    known.status.measures.as_ref()
}

pub(super) fn me(status: &Status) -> Option<&Node> {
    status.nodes.iter().find(|node| node.name == status.node)
}

fn peers(status: &Status) -> impl Iterator<Item = &Node> {
    status.nodes.iter().filter(|node| node.name != status.node)
}

/// Pools in the order of the file.
pub(super) fn pools(status: &Status) -> Vec<&str> {
    let mut pools: Vec<&str> = Vec::new();
    for group in &status.groups {
        if pools.last() != Some(&&*group.pool) && !pools.contains(&&*group.pool) {
            pools.push(&group.pool);
        }
    }
    pools
}

fn eligible(node: &Node, pool: &str) -> bool {
    node.role == Role::Member
        && node.state == NodeState::Up
        && node.phase.as_deref() == Some("active")
        && !node.draining
        && !node.unfit.iter().any(|unfit| unfit == pool)
}

#[expect(clippy::cast_precision_loss, reason = "times up to the year 280,000 are exact")]
fn millis(millis: u64) -> f64 {
    millis as f64 / 1e3
}

/// Every metric as a line of the table in the documentation.
#[must_use]
pub fn list() -> String {
    let mut text = "| metric | type | labels | what |\n|---|---|---|---|\n".to_owned();
    for metric in all() {
        let kind = match metric.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        };
        let labels = metric.labels.join(", ");
        let labels = if labels.is_empty() { "-" } else { &labels };
        let name = metric.sample_name();
        text.push_str(&format!("| `{name}` | {kind} | {labels} | {} |\n", metric.help));
    }
    text
}
