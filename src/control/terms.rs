//! What goes with an order: on which terms it is given, by whom, why and for how long.

use std::collections::BTreeSet;
use std::time::Duration;

use super::names::Names;
use super::response::Rejected;
use super::sentences::counted;
use crate::protocol::{
    Indispensable, Lasting, Mode, NodeId, OutBecause, Roster, STANDS_MAX, SpareTerms,
    StandingChange, Status, Text,
};

/// A hold for which no time is given ends after this: one that is forgotten is noticed at the
/// latest when the maintenance must have been over.
pub const HOLD_DEFAULT: Duration = Duration::from_secs(2 * 3600);

/// On which terms a drain or a hold is ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What must be left.
    pub spare: SpareTerms,
    /// Why, in the words of the user; more than 64 bytes are cut.
    pub reason: Option<String>,
    /// Whether a drain outlasts a restart of the host.
    pub persist: bool,
    /// Time after which the order ends by itself.
    pub lasts: Option<Duration>,
}

impl Terms {
    /// Returns the terms, or refuses a time that is none.
    pub(super) fn of(
        spare: SpareTerms,
        reason: Option<&String>,
        for_ms: Option<u64>,
    ) -> Result<Self, Rejected> {
        let lasts = for_ms.map(Duration::from_millis);
        if lasts.is_some_and(|lasts| lasts.is_zero() || lasts > STANDS_MAX) {
            let reason = "an order lasts at most 7 days, and some time";
            return Err(Rejected::new("bad_time", reason));
        }
        if spare.keep.is_some_and(|keep| keep > 100) {
            return Err(Rejected::new("bad_share", "at most 100 % of the weight can be kept"));
        }
        Ok(Self { spare, reason: reason.cloned(), persist: false, lasts })
    }

    /// Returns what is to be known of the order while it stands.
    pub(super) fn standing(&self, what: Lasting, by: &str) -> StandingChange {
        let reason = Text::cut(self.reason.as_deref().unwrap_or_default());
        let (by, persists, lasts) = (Text::cut(by), self.persist, self.lasts);
        StandingChange::Give { what, by, reason, persists, lasts }
    }

    /// Returns whether it matters to somebody that they are kept.
    pub(super) fn say_something(&self) -> bool {
        self.reason.is_some() || self.lasts.is_some() || self.persist
    }
}

/// Refuses a drain after which too little would be left.
pub(super) fn refuse_unsafe(
    status: &Status,
    node: NodeId,
    terms: SpareTerms,
    names: &Names,
) -> Result<(), Rejected> {
    let nodes: BTreeSet<NodeId> = status.nodes.iter().map(|one| one.node).collect();
    let with = |is: fn(&super::names::NodeName) -> bool| {
        nodes.iter().copied().filter(|node| is(&names.role(*node))).collect()
    };
    let strict = status.groups.iter().any(|one| names.group(one.group).mode == Mode::Majority);
    let voters = if strict { with(|name| name.votes) } else { BTreeSet::new() };
    let roster = Roster { owners: with(|name| name.owns), voters };
    status.spare(node, &roster, terms).map_err(|why| {
        Rejected::new("not_safe", format!("{} stays: {}", names.node(node), sentence(&why, names)))
    })
}

fn sentence(why: &Indispensable, names: &Names) -> String {
    match why {
        Indispensable::LastOne => "no other node is in service".to_owned(),
        Indispensable::OthersOut(out) => {
            let out = out.iter().map(|(node, because)| out_because(&names.node(*node), *because));
            out.collect::<Vec<_>>().join(", ")
        }
        Indispensable::TooLittleLeft { left, of, keep } => {
            let percent = left * 100 / (*of).max(1);
            format!("{percent} % of the weight would be left ({left} of {of}), {keep} % must stay")
        }
        Indispensable::NoMajority { left, of } => {
            format!(
                "{} of {of} would be left, which is no majority",
                counted(*left as u64, "voter")
            )
        }
    }
}

fn out_because(node: &str, because: OutBecause) -> String {
    match because {
        OutBecause::NotUp => format!("{node} is not up"),
        OutBecause::Drains => format!("{node} is drained already"),
        OutBecause::NotActive => format!("{node} is not active yet"),
        OutBecause::Unfit => format!("required checks fail at {node}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{names, node, status};
    use super::*;

    #[test]
    fn a_refusal_names_who_is_out_and_what_would_be_left() {
        let (names, status) = (names(), status());
        for (why, sentence_wanted) in [
            (Indispensable::LastOne, "no other node is in service"),
            (
                Indispensable::OthersOut(vec![
                    (node("lb2"), OutBecause::Drains),
                    (node("lb3"), OutBecause::Unfit),
                ]),
                "lb2 is drained already, required checks fail at lb3",
            ),
            (
                Indispensable::TooLittleLeft { left: 100, of: 300, keep: 75 },
                "33 % of the weight would be left (100 of 300), 75 % must stay",
            ),
            (
                Indispensable::NoMajority { left: 1, of: 2 },
                "1 voter of 2 would be left, which is no majority",
            ),
        ] {
            assert_eq!(sentence(&why, &names), sentence_wanted);
        }
        let all = SpareTerms { alone: false, keep: Some(100) };
        let refused = refuse_unsafe(&status, node("lb1"), all, &names).unwrap_err().refused;
        assert_eq!(refused.code, "not_safe");
        assert!(refused.reason.starts_with("lb1 stays: "), "{}", refused.reason);
    }

    #[test]
    fn times_and_shares_have_limits() {
        let codes = [(Some(101), None), (None, Some(0)), (None, Some(8 * 86_400_000))].map(
            |(keep, for_ms)| {
                let spare = SpareTerms { alone: false, keep };
                Terms::of(spare, None, for_ms).unwrap_err().refused.code
            },
        );
        assert_eq!(codes, ["bad_share", "bad_time", "bad_time"]);
        assert!(
            Terms::of(SpareTerms { alone: true, keep: Some(100) }, None, Some(7 * 86_400_000))
                .is_ok()
        );
    }
}
