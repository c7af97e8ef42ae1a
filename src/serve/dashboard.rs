//! The dashboard of the package for Grafana, `packaging/grafana/buoy.json`, written from one list.

use serde_json::{Value, json};

/// What is drawn of one or more queries.
struct Panel {
    title: &'static str,
    /// `stat` for numbers of now, `timeseries` for what they were.
    kind: &'static str,
    unit: &'static str,
    /// Columns of 24.
    width: u64,
    /// Queries with their legends.
    queries: &'static [(&'static str, &'static str)],
}

const PANELS: &[Panel] = &[
    Panel {
        title: "Groups without an owner",
        kind: "stat",
        unit: "none",
        width: 6,
        queries: &[(
            "count(sum by (cluster, pool, group) (buoy_group_owned{cluster=~\"$cluster\"}) == 0) or vector(0)",
            "",
        )],
    },
    Panel {
        title: "Groups with two owners",
        kind: "stat",
        unit: "none",
        width: 6,
        queries: &[(
            "count(sum by (cluster, pool, group) (buoy_group_owned{cluster=~\"$cluster\"}) > 1) or vector(0)",
            "",
        )],
    },
    Panel {
        title: "Dead nodes",
        kind: "stat",
        unit: "none",
        width: 6,
        queries: &[(
            "sum(max by (cluster, peer) (buoy_peer_state{state=\"dead\", cluster=~\"$cluster\"}))",
            "",
        )],
    },
    Panel {
        title: "Daemons that do not answer",
        kind: "stat",
        unit: "none",
        width: 6,
        queries: &[("count(buoy_up == 0) or vector(0)", "")],
    },
    Panel {
        title: "Groups owned",
        kind: "timeseries",
        unit: "none",
        width: 12,
        queries: &[(
            "sum by (instance, pool) (buoy_pool_groups_owned{cluster=~\"$cluster\"})",
            "{{instance}} {{pool}}",
        )],
    },
    Panel {
        title: "Moves, by cause",
        kind: "timeseries",
        unit: "none",
        width: 12,
        queries: &[(
            "sum by (cause) (increase(buoy_group_acquired_total{cluster=~\"$cluster\"}[$__rate_interval]))",
            "{{cause}}",
        )],
    },
    Panel {
        title: "Convergence time",
        kind: "timeseries",
        unit: "s",
        width: 12,
        queries: &[
            (
                "histogram_quantile(0.5, sum by (le, pool) (rate(buoy_takeover_convergence_seconds_bucket{cluster=~\"$cluster\"}[$__rate_interval])))",
                "{{pool}} median",
            ),
            (
                "histogram_quantile(0.99, sum by (le, pool) (rate(buoy_takeover_convergence_seconds_bucket{cluster=~\"$cluster\"}[$__rate_interval])))",
                "{{pool}} 99 %",
            ),
        ],
    },
    Panel {
        title: "Loop lateness and detection time",
        kind: "timeseries",
        unit: "s",
        width: 12,
        queries: &[
            ("buoy_loop_lag_seconds", "{{instance}}"),
            ("min(buoy_detection_seconds)", "dead"),
        ],
    },
    Panel {
        title: "Nodes that could take over",
        kind: "timeseries",
        unit: "none",
        width: 12,
        queries: &[(
            "min by (cluster, pool) (buoy_pool_eligible_nodes{cluster=~\"$cluster\"})",
            "{{pool}}",
        )],
    },
    Panel {
        title: "Datagrams refused or not sent",
        kind: "timeseries",
        unit: "pps",
        width: 12,
        queries: &[
            (
                "sum by (instance, result) (rate(buoy_datagrams_total{result!=\"ok\"}[$__rate_interval])) > 0",
                "{{instance}} {{result}}",
            ),
            (
                "sum by (instance, reason) (rate(buoy_datagrams_refused_total[$__rate_interval])) > 0",
                "{{instance}} {{reason}}",
            ),
        ],
    },
    Panel {
        title: "Checks",
        kind: "timeseries",
        unit: "none",
        width: 12,
        queries: &[("buoy_check_passing", "{{instance}} {{check}}")],
    },
    Panel {
        title: "Processor time of the daemons",
        kind: "timeseries",
        unit: "percentunit",
        width: 12,
        queries: &[(
            "rate(process_cpu_seconds_total[$__rate_interval]) and on (instance) buoy_info",
            "{{instance}}",
        )],
    },
];

/// Columns of a dashboard, and lines of a panel.
const COLUMNS: u64 = 24;
const LINES: u64 = 8;

/// The file.
#[must_use]
pub fn text() -> String {
    let (mut x, mut y) = (0, 0);
    let mut panels = Vec::new();
    for (id, panel) in (1_u64..).zip(PANELS) {
        if x + panel.width > COLUMNS {
            (x, y) = (0, y + LINES);
        }
        panels.push(drawn(panel, id, (x, y)));
        x += panel.width;
    }
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let dashboard = json!({
        "title": "buoy",
        "uid": "buoy",
        "schemaVersion": 38,
        "refresh": "10s",
        "time": { "from": "now-1h", "to": "now" },
        "templating": { "list": [
            { "name": "datasource", "type": "datasource", "query": "prometheus" },
            {
                "name": "cluster", "type": "query", "datasource": source, "includeAll": true,
                "multi": true, "current": { "text": "All", "value": "$__all" },
                "query": "label_values(buoy_info, cluster)", "refresh": 2,
            },
        ] },
        "panels": panels,
    });
    format!("{dashboard:#}\n")
}

fn drawn(panel: &Panel, id: u64, (x, y): (u64, u64)) -> Value {
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let targets = panel.queries.iter().zip('A'..).map(|((expression, legend), name)| {
        json!({ "expr": expression, "legendFormat": legend, "refId": name.to_string() })
    });
    json!({
        "id": id,
        "title": panel.title,
        "type": panel.kind,
        "datasource": source,
        "gridPos": { "h": LINES, "w": panel.width, "x": x, "y": y },
        "fieldConfig": { "defaults": { "unit": panel.unit, "min": 0 }, "overrides": [] },
        "targets": targets.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{alerts, table};
    use super::*;

    #[test]
    fn panels_ask_for_metrics_that_there_are() {
        for panel in PANELS {
            for (expression, _) in panel.queries {
                let names = alerts::names(expression);
                assert!(!names.is_empty(), "{}: {expression}", panel.title);
                for name in names {
                    assert!(table::find(name).is_some(), "{}: there is no {name}", panel.title);
                }
            }
        }
    }

    #[test]
    fn the_file_of_the_package_is_made_from_this() {
        let file = include_str!("../../packaging/grafana/buoy.json");
        assert_eq!(file, text(), "buoy serve --print dashboard > packaging/grafana/buoy.json");
    }
}
