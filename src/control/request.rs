//! What may be asked over the control socket: one JSON object on one line.
//!
//! ```text
//! {"request":"status"}                          {"request":"explain","group":"10.77.0.100"}
//! {"request":"events","since_ms":600000}        {"request":"drain","node":"lb1"}
//! {"request":"move","group":"10.77.0.100","node":"lb2"}            {"request":"reload"}
//! {"request":"hold","for_ms":7200000}           {"request":"release"}           {"request":"undo"}
//! {"request":"plan","without":["lb1"]}          {"request":"plan","text":"[cluster] ..."}
//! ```
//!
//! Unknown requests and unknown fields are refused, so that a misspelt filter is never taken for
//! none. Names are those of the configuration; a group may also be named by any of its addresses.
//! The daemon opens no file that a client names: it may read more than the client may.

use serde::{Deserialize, Serialize};

/// Longest request, newline included: a plan with the longest text. JSON writes two bytes for each
/// quotation mark and each end of a line.
pub const REQUEST_BYTES_MAX: usize = 2 * PLAN_TEXT_BYTES_MAX + 64 * 1024;
/// Longest text of a configuration to plan with: 4096 groups in the long form are 400 KB. All
/// clients together can have the daemon hold no more than 70 MB.
pub const PLAN_TEXT_BYTES_MAX: usize = 1024 * 1024;

/// A request to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// All nodes and groups. Answered by one [`Status`](super::response::Status), or with
    /// `watch_ms` by one each so many milliseconds until the client ends the connection.
    Status {
        /// Interval of repetition; values below 20 count as 20.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watch_ms: Option<u32>,
    },
    /// The flight recorder. Answered by [`Event`](super::response::Event) lines and, unless it
    /// follows, one [`End`](super::response::End).
    Events {
        /// Only events of the last `since_ms` milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since_ms: Option<u64>,
        /// Only events of this group, by its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Whether to send new events as they occur.
        #[serde(default)]
        follow: bool,
    },
    /// Why a group is on its owner. Answered by [`Explanation`](super::response::Explanation).
    Explain {
        /// Name of the group, `pool/name`, or one of its addresses.
        group: String,
    },
    /// Move every group off a node and keep them off. Answered by
    /// [`Done`](super::response::Done) as soon as the node has agreed.
    Drain {
        /// Name of the node; by default that of the asked daemon.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
        /// Whether to move groups without waiting for connections.
        #[serde(default, skip_serializing_if = "is_not")]
        now: bool,
        /// Whether to refuse while another node is out of service, or the voters left without it
        /// would be no majority.
        #[serde(default, skip_serializing_if = "is_not")]
        if_safe: bool,
        /// Percent of the weight that must stay in service, else it is refused; at most 100.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<u8>,
        /// Why; 64 bytes are kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Time after which it is undrained by itself; at most 7 days.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
        /// Whether it outlasts a restart of the host, as long as one of the other nodes lives.
        #[serde(default, skip_serializing_if = "is_not")]
        persist: bool,
    },
    /// Let nothing move for balance or as fail-back, in the whole cluster. Answered by
    /// [`Done`](super::response::Done).
    Hold {
        /// Time after which it ends by itself; two hours if missing, at most 7 days.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
        /// Why; 64 bytes are kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Write or end the record of an upgrade. Answered by [`Done`](super::response::Done).
    Upgrade {
        /// How far it is; missing to end it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        words: Option<String>,
        /// Whether it may replace one that stands.
        #[serde(default, skip_serializing_if = "is_not")]
        again: bool,
        /// Time after which it is over by itself; at most 7 days.
        for_ms: u64,
    },
    /// End a hold, whoever ordered it. Answered by [`Done`](super::response::Done).
    Release {},
    /// Let a node own groups again. Answered by [`Done`](super::response::Done).
    Undrain {
        /// Name of the node; by default that of the asked daemon.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
    },
    /// Move one group now. Answered by [`Done`](super::response::Done) as soon as agreed.
    Move {
        /// Name of the group, `pool/name`, or one of its addresses.
        group: String,
        /// Name of the receiving node.
        node: String,
    },
    /// Take back the last order of this user at this node. Answered by
    /// [`Done`](super::response::Done), whose word is that of the order which takes it back.
    Undo {},
    /// What would move under a condition. Answered by [`Plan`](super::plan::Plan).
    Plan {
        /// If these nodes drained.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        without: Vec<String>,
        /// If this were the configuration file; at most [`PLAN_TEXT_BYTES_MAX`] bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The path that earlier versions sent instead of the text. Refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config: Option<String>,
    },
    /// Read the configuration file again. Answered by [`Applied`](super::response::Applied).
    Reload {},
}

/// Left out, so that a daemon that does not know of it yet understands the rest.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_not(flag: &bool) -> bool {
    !*flag
}

impl Request {
    /// Returns the value of `request` in the JSON object.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Events { .. } => "events",
            Self::Explain { .. } => "explain",
            Self::Drain { .. } => "drain",
            Self::Undrain { .. } => "undrain",
            Self::Hold { .. } => "hold",
            Self::Release {} => "release",
            Self::Upgrade { .. } => "upgrade",
            Self::Move { .. } => "move",
            Self::Undo {} => "undo",
            Self::Plan { .. } => "plan",
            Self::Reload {} => "reload",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }

    fn plan(without: &[&str], text: Option<&str>) -> Request {
        let without = without.iter().map(|node| (*node).to_owned()).collect();
        Request::Plan { without, text: text.map(str::to_owned), config: None }
    }

    fn drain(now: bool) -> Request {
        let (node, keep, reason, for_ms) = (None, None, None, None);
        Request::Drain { node, now, if_safe: false, keep, reason, for_ms, persist: false }
    }

    #[test]
    fn every_request_has_its_golden_line() {
        let group = || "10.77.0.100".to_owned();
        let golden = [
            (r#"{"request":"status"}"#, Request::Status { watch_ms: None }),
            (r#"{"request":"status","watch_ms":100}"#, Request::Status { watch_ms: Some(100) }),
            (
                r#"{"request":"events","since_ms":600000,"group":"10.77.0.100","follow":true}"#,
                Request::Events { since_ms: Some(600_000), group: Some(group()), follow: true },
            ),
            (r#"{"request":"explain","group":"10.77.0.100"}"#, Request::Explain { group: group() }),
            (r#"{"request":"drain"}"#, drain(false)),
            (r#"{"request":"drain","now":true}"#, drain(true)),
            (
                r#"{"request":"drain","if_safe":true,"keep":75,"reason":"fan","for_ms":7200000,"persist":true}"#,
                Request::Drain {
                    node: None,
                    now: false,
                    if_safe: true,
                    keep: Some(75),
                    reason: Some("fan".to_owned()),
                    for_ms: Some(7_200_000),
                    persist: true,
                },
            ),
            (r#"{"request":"hold"}"#, Request::Hold { for_ms: None, reason: None }),
            (
                r#"{"request":"hold","for_ms":60000,"reason":"kernel"}"#,
                Request::Hold { for_ms: Some(60_000), reason: Some("kernel".to_owned()) },
            ),
            (r#"{"request":"release"}"#, Request::Release {}),
            (
                r#"{"request":"upgrade","words":"3 2 of 3 done","again":true,"for_ms":60000}"#,
                Request::Upgrade {
                    words: Some("3 2 of 3 done".to_owned()),
                    again: true,
                    for_ms: 60_000,
                },
            ),
            (
                r#"{"request":"undrain","node":"lb1"}"#,
                Request::Undrain { node: Some("lb1".to_owned()) },
            ),
            (
                r#"{"request":"move","group":"10.77.0.100","node":"lb2"}"#,
                Request::Move { group: group(), node: "lb2".to_owned() },
            ),
            (r#"{"request":"plan","without":["lb1","lb2"]}"#, plan(&["lb1", "lb2"], None)),
            (r#"{"request":"plan","text":"[cluster]\n"}"#, plan(&[], Some("[cluster]\n"))),
            (r#"{"request":"reload"}"#, Request::Reload {}),
        ];
        for (line, request) in golden {
            assert_eq!(parse(line), Ok(request.clone()), "{line}");
            assert_eq!(serde_json::to_string(&request).unwrap(), line);
            assert!(line.contains(request.word()), "{line}");
        }
        let short = Request::Events { since_ms: None, group: None, follow: false };
        assert_eq!(parse(r#"{"request":"events"}"#), Ok(short), "follow may be left out");
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for line in [
            r#"{"request":"stop"}"#,
            r#"{"request":"events","grup":"x"}"#,
            r#"{"request":"reload","force":true}"#,
            r#"{"request":"explain"}"#,
            r#"{"request":"status","watch_ms":-1}"#,
            "{}",
            "[]",
            "status",
        ] {
            assert!(parse(line).is_err(), "{line} was accepted");
        }
    }
}
