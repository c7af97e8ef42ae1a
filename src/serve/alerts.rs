//! The alert rules of the package, `packaging/prometheus/buoy.rules.yml`, written from one list.
//!
//! What holds while an address moves in good order alarms nobody: two scrapes of two nodes are not
//! of the same moment, so a planned move may look like two owners, or like none, for one scrape.
//! `packaging/prometheus/buoy.rules.test.yml` is their proof, run by promtool.

use std::fmt::Write as _;

/// One rule.
struct Rule {
    alert: &'static str,
    expression: &'static str,
    /// How long it must hold; empty if it need not.
    lasts: &'static str,
    severity: &'static str,
    summary: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        alert: "BuoyGroupWithoutOwner",
        expression: "sum by (cluster, pool, group) (buoy_group_owned) == 0",
        lasts: "15s",
        severity: "critical",
        summary: "{{ $labels.group }} ({{ $labels.pool }}) is answered by no node",
    },
    Rule {
        alert: "BuoyGroupTwoOwners",
        expression: "sum by (cluster, pool, group) (buoy_group_owned) > 1",
        lasts: "30s",
        severity: "critical",
        summary: "{{ $labels.group }} ({{ $labels.pool }}) is answered by {{ $value }} nodes",
    },
    Rule {
        alert: "BuoyDaemonDown",
        expression: "buoy_up == 0",
        lasts: "30s",
        severity: "critical",
        summary: "the daemon on {{ $labels.instance }} does not answer",
    },
    Rule {
        alert: "BuoyNodeDead",
        expression: "max by (cluster, peer) (buoy_peer_state{state=\"dead\"}) == 1",
        lasts: "10s",
        severity: "warning",
        summary: "{{ $labels.peer }} is dead",
    },
    Rule {
        alert: "BuoyNoSpare",
        expression: "min by (cluster, pool) (buoy_pool_eligible_nodes) < 2",
        lasts: "5m",
        severity: "warning",
        summary: "pool {{ $labels.pool }} has no second node that could take over",
    },
    Rule {
        alert: "BuoyFlapping",
        expression: "sum by (cluster, pool, group) (increase(buoy_group_acquired_total[10m])) > 3",
        lasts: "",
        severity: "warning",
        summary: "{{ $labels.group }} moved {{ $value }} times in ten minutes",
    },
    Rule {
        alert: "BuoyHostLate",
        expression: "buoy_loop_lag_seconds > 0.5 * buoy_detection_seconds",
        lasts: "1m",
        severity: "warning",
        summary: "{{ $labels.instance }} runs late by {{ $value }} s; peers may declare it dead",
    },
    Rule {
        alert: "BuoyNoFence",
        expression: "buoy_fence_bound_seconds == +Inf",
        lasts: "1m",
        severity: "warning",
        summary: "{{ $labels.instance }} would keep answering if its daemon froze",
    },
    Rule {
        alert: "BuoyCheckFailing",
        expression: "buoy_check_passing == 0",
        lasts: "1m",
        severity: "warning",
        summary: "check {{ $labels.check }} fails on {{ $labels.instance }}",
    },
    Rule {
        alert: "BuoyStranger",
        expression: "max by (cluster, pool, group) (buoy_group_second_claimant) == 1",
        lasts: "",
        severity: "critical",
        summary: "a host outside the cluster claims {{ $labels.group }} too",
    },
    Rule {
        alert: "BuoyConfigDiffers",
        expression: "max by (cluster, peer) (buoy_peer_config_differs) == 1",
        lasts: "10m",
        severity: "warning",
        summary: "{{ $labels.peer }} runs with another configuration than its peers",
    },
    Rule {
        alert: "BuoyReloadFailed",
        expression: "buoy_config_last_reload_successful == 0",
        lasts: "1m",
        severity: "warning",
        summary: "{{ $labels.instance }} refused its configuration and runs with the old one",
    },
    Rule {
        alert: "BuoyDrainForgotten",
        expression: "buoy_draining == 1",
        lasts: "4h",
        severity: "info",
        summary: "{{ $labels.instance }} has been drained for hours",
    },
];

/// The file.
#[must_use]
pub fn text() -> String {
    let mut text =
        "# Made by `buoy serve --print rules`.\ngroups:\n- name: buoy\n  rules:\n".to_owned();
    for rule in RULES {
        let Rule { alert, expression, lasts, severity, summary } = rule;
        let _ = writeln!(text, "  - alert: {alert}\n    expr: {expression}");
        if !lasts.is_empty() {
            let _ = writeln!(text, "    for: {lasts}");
        }
        let _ = writeln!(text, "    labels: {{severity: {severity}}}");
        let _ = writeln!(text, "    annotations: {{summary: \"{summary}\"}}");
    }
    text
}

/// Names of metrics in an expression.
#[cfg(test)]
pub(super) fn names(expression: &str) -> Vec<&str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = expression.split(|letter| !is_part(letter));
    words.filter(|word| word.starts_with("buoy_") || word.starts_with("process_")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn rules_ask_for_metrics_that_there_are() {
        for rule in RULES {
            let names = names(rule.expression);
            assert!(!names.is_empty(), "{}", rule.alert);
            for name in names {
                assert!(table::find(name).is_some(), "{}: there is no {name}", rule.alert);
            }
        }
    }

    #[test]
    fn the_file_of_the_package_is_made_from_this() {
        let file = include_str!("../../packaging/prometheus/buoy.rules.yml");
        assert_eq!(file, text(), "buoy serve --print rules > packaging/prometheus/buoy.rules.yml");
    }
}
