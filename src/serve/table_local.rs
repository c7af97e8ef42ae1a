//! The metrics of checks and hooks of the asked node. A check has 18 series.

use super::metrics::{Kind, Metric, Read};
use super::table::{counter, gauge, metric};

/// Those metrics.
pub(super) const LOCAL: &[Metric] = &[
    gauge(
        "buoy_check_passing",
        "Whether a check of this node passes; no series until it is known",
        &["check", "type", "effect"],
        |known, emit| {
            for check in known.status.checks.iter().filter(|check| check.state != "unknown") {
                let labels = [&*check.check, &check.kind, &check.effect];
                emit.flag(&labels, check.state == "passing");
            }
        },
    ),
    counter(
        "buoy_check_transitions",
        "How often a check of this node began to pass or to fail",
        &["check", "type", "effect"],
        |known, emit| {
            for check in &known.status.checks {
                let labels = [&*check.check, &check.kind, &check.effect];
                emit.counter(&labels, check.transitions);
            }
        },
    ),
    metric(
        ("buoy_check_duration_seconds", Kind::Histogram),
        "How long the runs of a check of this node took",
        &["check", "type", "effect"],
        Read::Daemon(|known, emit| {
            for check in known.status.checks.iter().filter(|check| !check.durations.is_empty()) {
                emit.histogram(&[&check.check, &check.kind, &check.effect], &check.durations);
            }
        }),
    ),
    counter("buoy_hook_runs", "How often a hook was run", &["hook"], |known, emit| {
        known.status.hooks.iter().for_each(|hook| emit.counter(&[&hook.hook], hook.runs));
    }),
    counter("buoy_hook_failures", "How often a hook failed", &["hook"], |known, emit| {
        known.status.hooks.iter().for_each(|hook| emit.counter(&[&hook.hook], hook.failures));
    }),
    counter(
        "buoy_hook_dropped",
        "Events for which a hook was not run because its queue was full",
        &["hook"],
        |known, emit| {
            known.status.hooks.iter().for_each(|hook| emit.counter(&[&hook.hook], hook.dropped));
        },
    ),
];
