//! What a node reports of its own host besides the protocol: its checks and its hooks.
//!
//! Made by the daemon, which runs both; shown by `buoy status`. The shapes are part of the published
//! status: fields may be added, never renamed. Their tables are left out where there is none.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration_text::span;
use super::measures::Histogram;
use super::table::{Table, numbers, words};

/// One check of the asked node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Name in the configuration.
    pub check: String,
    /// Type in the configuration.
    #[serde(rename = "type")]
    pub kind: String,
    /// `passing`, `failing`, or `unknown` until its first run has ended.
    pub state: String,
    /// Time in that state, in milliseconds.
    pub since_ms: u64,
    /// Result of its last run in words; empty before the first.
    pub last: String,
    /// Result of its last failed run; `null` if none has failed since the start.
    pub last_failure: Option<String>,
    /// Time since that run, in milliseconds.
    pub last_failure_ms: Option<u64>,
    /// Number of changes between passing and failing, the first result included.
    #[serde(default)]
    pub transitions: u64,
    /// How long its runs took; left out before the first.
    #[serde(default, skip_serializing_if = "Histogram::is_empty")]
    pub durations: Histogram,
    /// `require` or `prefer`.
    pub effect: String,
    /// Names of the pools to which it applies.
    pub pools: Vec<String>,
}

/// One hook of the asked node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Name in the configuration.
    pub hook: String,
    /// Whether its program is running.
    pub running: bool,
    /// Number of events in its queue.
    pub waiting: u64,
    /// Number of runs.
    pub runs: u64,
    /// Number of failed runs, timeouts included.
    pub failures: u64,
    /// Number of events for which it was not run because its queue was full.
    pub dropped: u64,
    /// Result of its last run in words; empty before the first.
    pub last: String,
}

/// The table of checks, with an empty line before it; nothing if there is none.
pub(super) fn checks(checks: &[Check]) -> String {
    if checks.is_empty() {
        return String::new();
    }
    let mut table = Table::new(vec![
        words("CHECK"),
        words("TYPE"),
        words("STATE"),
        numbers("SINCE"),
        words("EFFECT"),
        words("POOLS"),
        words("LAST"),
    ]);
    for check in checks {
        table.row(vec![
            check.check.clone(),
            check.kind.clone(),
            check.state.clone(),
            span(Duration::from_millis(check.since_ms)),
            check.effect.clone(),
            check.pools.join(" "),
            last(check),
        ]);
    }
    format!("\n{}", table.text())
}

fn last(check: &Check) -> String {
    match (&check.last_failure, check.last_failure_ms) {
        (Some(failure), Some(ago)) if *failure != check.last => {
            let ago = span(Duration::from_millis(ago));
            format!("{} ({ago} ago: {failure})", check.last)
        }
        _ if check.last.is_empty() => "-".to_owned(),
        _ => check.last.clone(),
    }
}

/// The table of hooks, with an empty line before it; nothing if there is none.
pub(super) fn hooks(hooks: &[Hook]) -> String {
    if hooks.is_empty() {
        return String::new();
    }
    let mut table = Table::new(vec![
        words("HOOK"),
        numbers("RUNS"),
        numbers("FAILED"),
        numbers("DROPPED"),
        numbers("WAITING"),
        words("NOW"),
        words("LAST"),
    ]);
    for hook in hooks {
        table.row(vec![
            hook.hook.clone(),
            hook.runs.to_string(),
            hook.failures.to_string(),
            hook.dropped.to_string(),
            hook.waiting.to_string(),
            if hook.running { "runs" } else { "-" }.to_owned(),
            if hook.last.is_empty() { "-".to_owned() } else { hook.last.clone() },
        ]);
    }
    format!("\n{}", table.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_there_only_with_something_in_them() {
        assert_eq!((checks(&[]), hooks(&[])), (String::new(), String::new()));
        let check = |name: &str, state: &str, last: &str, failure: Option<&str>| Check {
            check: name.to_owned(),
            kind: "haproxy".to_owned(),
            state: state.to_owned(),
            since_ms: 81_000,
            last: last.to_owned(),
            last_failure: failure.map(str::to_owned),
            last_failure_ms: failure.map(|_| 2000),
            transitions: 1,
            durations: Histogram::default(),
            effect: "require".to_owned(),
            pools: vec!["web".to_owned(), "api".to_owned()],
        };
        let refused = "connecting failed: connection refused";
        let told = [
            check("proxy", "failing", refused, Some(refused)),
            check("again", "passing", "process 7 works", Some(refused)),
            check("new", "unknown", "", None),
        ];
        let golden = "
CHECK  TYPE     STATE    SINCE  EFFECT   POOLS    LAST
proxy  haproxy  failing  1m21s  require  web api  connecting failed: connection refused
again  haproxy  passing  1m21s  require  web api  process 7 works (2.0s ago: connecting failed: \
                      connection refused)
new    haproxy  unknown  1m21s  require  web api  -
";
        assert_eq!(checks(&told), golden, "{}", checks(&told));
        let hook = Hook {
            hook: "router".to_owned(),
            running: true,
            waiting: 2,
            runs: 7,
            failures: 1,
            dropped: 0,
            last: "acquired 10.77.0.100: ended with status 1".to_owned(),
        };
        let golden = "
HOOK    RUNS  FAILED  DROPPED  WAITING  NOW   LAST
router     7       1        0        2  runs  acquired 10.77.0.100: ended with status 1
";
        assert_eq!(hooks(&[hook]), golden);
    }
}
