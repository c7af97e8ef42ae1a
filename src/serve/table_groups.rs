//! The metrics with a series for each group: 4096 groups have some 25,000. A scrape of
//! `/metrics?groups=no` leaves them out.

use super::metrics::{Emit, Kind, Known, Metric, Read};
use super::table::metric;
use crate::control::response::{Group, GroupState, Status};

/// Whether the kernel of the asked node answers for a group.
pub(super) fn answers_here(status: &Status, group: &Group) -> bool {
    group.state == GroupState::Owned && group.owner.as_deref() == Some(&*status.node)
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&Known<'_>, &mut Emit<'_, '_>),
) -> Metric {
    metric((name, Kind::Gauge), help, labels, Read::Groups(read))
}

const fn counter(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&Known<'_>, &mut Emit<'_, '_>),
) -> Metric {
    metric((name, Kind::Counter), help, labels, Read::Groups(read))
}

const GROUP: &[&str] = &["cluster", "pool", "group"];

/// Those metrics.
pub(super) const GROUPS: &[Metric] = &[
    gauge(
        "buoy_group_owned",
        "Whether this node's kernel answers for the group; the sum over all nodes should be 1",
        &["cluster", "pool", "group", "mode"],
        |known, emit| {
            let status = known.status;
            for group in &status.groups {
                let labels = [&status.cluster, &group.pool, &*group.group, group.mode.word()];
                emit.flag(&labels, answers_here(status, group));
            }
        },
    ),
    gauge("buoy_group_epoch", "The highest epoch known", GROUP, |known, emit| {
        each(known, |labels, group| emit.number(labels, group.epoch));
    }),
    gauge(
        "buoy_group_owned_since_timestamp_seconds",
        "When this node took a group that it owns",
        GROUP,
        |known, emit| {
            each(known, |labels, group| {
                if answers_here(known.status, group) {
                    let since = std::time::Duration::from_millis(group.since_ms).as_secs_f64();
                    emit.gauge(labels, known.taken - since);
                }
            });
        },
    ),
    counter(
        "buoy_group_acquired",
        "How often this node became the owner, by cause",
        &["cluster", "pool", "group", "cause"],
        |known, emit| {
            each(known, |[cluster, pool, name], group| {
                for (cause, count) in &group.acquired {
                    emit.counter(&[cluster, pool, name, cause], *count);
                }
            });
        },
    ),
    counter(
        "buoy_group_released",
        "How often this node stopped being the owner, by cause",
        &["cluster", "pool", "group", "cause"],
        |known, emit| {
            each(known, |[cluster, pool, name], group| {
                for (cause, count) in &group.released {
                    emit.counter(&[cluster, pool, name, cause], *count);
                }
            });
        },
    ),
    gauge(
        "buoy_group_unable",
        "1 for a group that this node could not hold, with the reason",
        &["cluster", "pool", "group", "reason"],
        |known, emit| {
            each(known, |[cluster, pool, name], group| {
                if let Some(reason) = &group.unable {
                    emit.flag(&[cluster, pool, name, reason], true);
                }
            });
        },
    ),
    gauge(
        "buoy_group_second_claimant",
        "1 for a group of this node that a host outside the cluster has claimed in the last minute",
        GROUP,
        |known, emit| {
            each(known, |labels, group| {
                if group.claimant.is_some() {
                    emit.flag(labels, true);
                }
            });
        },
    ),
    gauge(
        "buoy_group_connections",
        "Established TCP connections to a group of this node",
        GROUP,
        |known, emit| {
            each(known, |labels, group| {
                if let Some(connections) = group.connections {
                    emit.number(labels, connections);
                }
            });
        },
    ),
    gauge(
        "buoy_group_preserved_connections",
        "Connections that a former owner still serves, as reported by it and by the owner",
        GROUP,
        |known, emit| {
            each(known, |labels, group| {
                let preserved = group.preserved.as_ref();
                if let Some(connections) = preserved.and_then(|it| it.connections) {
                    emit.number(labels, u64::from(connections));
                }
            });
        },
    ),
];

fn each<'a>(known: &Known<'a>, mut emit: impl FnMut(&[&'a str; 3], &'a Group)) {
    for group in &known.status.groups {
        emit(&[&known.status.cluster, &group.pool, &group.group], group);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::metrics::{Format, write};
    use super::super::sample;

    #[test]
    fn four_thousand_groups_have_six_series_each_at_most() {
        let mut status = sample::status();
        let one = status.groups[0].clone();
        status.groups = (0..4096)
            .map(|number| super::Group { group: format!("g{number}"), ..one.clone() })
            .collect();
        let text = write(Some((&Arc::new(status), 1.0)), true, Format::OpenMetrics);
        let of_groups = text.lines().filter(|line| line.starts_with("buoy_group_"));
        let of_groups = of_groups.filter(|line| line.contains("group=\"g")).count();
        // Owned, epoch, since, connections, and two causes for which it came.
        assert_eq!(of_groups, 6 * 4096);
        assert!(text.len() < 3_000_000, "{} bytes", text.len());
    }
}
