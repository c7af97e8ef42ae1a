//! Words for checks and hooks: rows of the status, lines of the log, events, environments of hooks.
//! Pure but for [`log_change`].

use std::time::Duration;

use crate::balancer;
use crate::checks::{self, Change, State};
use crate::config::Occasion;
use crate::control::local::{Check, Hook, Notice};
use crate::control::names::Names;
use crate::control::response::Event;
use crate::hooks::{self, Happening, Trouble};
use crate::protocol::{GroupKey, Report};

/// A check for the status.
pub(super) fn check_row(row: checks::Row) -> Check {
    let (last_failure, ago) = row.last_failure.unzip();
    Check {
        check: row.check,
        kind: row.kind.to_owned(),
        state: row.state.word().to_owned(),
        since_ms: millis(row.since),
        last: row.last,
        last_failure,
        last_failure_ms: ago.map(millis),
        transitions: row.transitions,
        durations: row.durations,
        effect: row.effect.word().to_owned(),
        pools: row.pools,
    }
}

/// A hook for the status.
pub(super) fn hook_row(row: hooks::Row) -> Hook {
    Hook {
        hook: row.hook,
        running: row.running,
        waiting: row.waiting,
        runs: row.runs,
        failures: row.failures,
        dropped: row.dropped,
        last: row.last,
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Writes a change of a check to the log: one line.
pub(super) fn log_change(change: &Change) {
    macro_rules! write_at {
        ($level:ident) => {
            tracing::$level!(
                check = change.check,
                from = change.from.word(),
                to = change.to.word(),
                effect = change.effect.word(),
                pools = change.pools.join(" "),
                because = change.words,
                "check changed"
            )
        };
    }
    match change.to {
        State::Failing => write_at!(warn),
        State::Passing | State::Unknown => write_at!(info),
    }
}

/// A change of a check as an event.
pub(super) fn changed(change: &Change, names: &Names) -> Notice {
    let one = match change.pools.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    };
    let pools = if one.is_some() { "pool" } else { "pools" };
    Notice {
        kind: "check_changed",
        group: None,
        pool: one,
        from: Some(change.from.word().to_owned()),
        to: Some(change.to.word().to_owned()),
        cause: Some(change.words.clone()),
        sentence: format!(
            "check {} of {} is {}, was {} ({} for {pools} {}): {}",
            change.check,
            names.node(names.me()),
            change.to.word(),
            change.from.word(),
            change.effect.word(),
            change.pools.join(", "),
            change.words
        ),
    }
}

/// A trouble with a hook as an event.
pub(super) fn trouble(trouble: &Trouble, names: &Names) -> Notice {
    let (kind, hook, happening, cause) = match trouble {
        Trouble::Failed { hook, happening, words } => {
            ("hook_failed", hook, happening, words.as_str())
        }
        Trouble::Dropped { hook, happening } => {
            ("hooks_dropped", hook, happening, "was not run: its queue is full")
        }
        Trouble::CutOff { hook, happening, began: true } => (
            "hook_failed",
            hook,
            happening,
            "was killed before it finished: the daemon is stopping",
        ),
        Trouble::CutOff { hook, happening, began: false } => {
            ("hooks_dropped", hook, happening, "was not run: the daemon is stopping")
        }
    };
    Notice {
        kind,
        group: group_of(happening, names),
        pool: happening.pool.clone(),
        from: None,
        to: None,
        cause: Some(cause.to_owned()),
        sentence: format!("hook {hook}, for {}: {cause}", happening.words()),
    }
}

/// What became of telling the balancer, as an event.
pub(super) fn balancer_said(news: &balancer::News, names: &Names) -> Notice {
    let me = names.node(names.me());
    let (kind, cause, sentence) = match news {
        balancer::News::Failed(words) => (
            "balancer_failed",
            Some(words.clone()),
            format!("HAProxy on {me} cannot be notified of a drain: {words}"),
        ),
        balancer::News::Back => {
            ("balancer_back", None, format!("HAProxy on {me} can be notified of a drain again"))
        }
        balancer::News::Told(0) => {
            ("balancer_told", None, format!("HAProxy on {me} keeps connections open again"))
        }
        balancer::News::Told(count) => (
            "balancer_told",
            None,
            format!(
                "HAProxy on {me} closes connections to {count} addresses after their next \
                 response"
            ),
        ),
    };
    Notice { kind, group: None, pool: None, from: None, to: None, cause, sentence }
}

/// What a report of the protocol is to hooks.
pub(super) fn occasion(report: &Report) -> Option<Occasion> {
    match report {
        Report::Acquired { .. } => Some(Occasion::Acquired),
        Report::Released { .. } => Some(Occasion::Released),
        Report::Unable { .. } => Some(Occasion::Unable),
        Report::OwnerChanged { .. } => Some(Occasion::OwnerChanged),
        Report::PeerChanged { .. } => Some(Occasion::PeerChanged),
        Report::PhaseChanged { .. } => Some(Occasion::PhaseChanged),
        Report::Draining { .. } => Some(Occasion::Draining),
        Report::PeerRestarted { .. }
        | Report::Unlisted { .. }
        | Report::StandingOrder(_)
        | Report::TimingChanged { .. }
        | Report::GaveWay { .. }
        | Report::AddressWithheld { .. }
        | Report::AddressAdmitted { .. }
        | Report::Repaired { .. }
        | Report::Converged { .. }
        | Report::NotConverged { .. }
        | Report::Stalled { .. }
        | Report::KeptEnded { .. }
        | Report::OfferFailed { .. }
        | Report::GateOverdue { .. }
        | Report::VotersDiffer { .. }
        | Report::MajorityLost { .. }
        | Report::MajorityBack { .. }
        | Report::KernelAnswers { .. }
        | Report::SecondClaimant { .. }
        | Report::FitnessChanged { .. }
        | Report::WentOn { .. }
        | Report::NotInPlace { .. }
        | Report::LastResort { .. } => None,
    }
}

/// A report as it is told to hooks.
pub(super) fn reported(occasion: Occasion, event: &Event, names: &Names) -> Happening {
    let owner = match occasion {
        Occasion::OwnerChanged => event.to.clone(),
        Occasion::Acquired => Some(names.node(names.me())),
        Occasion::Gate
        | Occasion::BeforeAcquire
        | Occasion::BeforeRelease
        | Occasion::Released
        | Occasion::Unable
        | Occasion::PeerChanged
        | Occasion::PhaseChanged
        | Occasion::Draining
        | Occasion::CheckChanged => None,
    };
    let of_peer = occasion == Occasion::PeerChanged;
    let fields = Fields {
        owner,
        peer: event.node.clone().filter(|_| of_peer),
        from: event.from.clone(),
        to: event.to.clone(),
        epoch: event.epoch,
        cause: event.cause.clone(),
        sentence: event.sentence.clone(),
        check: None,
    };
    happening(occasion, (event.pool.clone(), event.group.clone()), fields, names)
}

/// That the kernel has been told to add, or to remove, the addresses of a group.
pub(super) fn ordered(
    occasion: Occasion,
    (pool, group): (String, String),
    names: &Names,
) -> Happening {
    let does = if occasion == Occasion::BeforeAcquire { "takes" } else { "releases" };
    let sentence = format!("{} {does} {group}", names.node(names.me()));
    let fields = Fields { sentence, ..Fields::default() };
    happening(occasion, (Some(pool), Some(group)), fields, names)
}

/// That this process begins without a group: whatever one before it had, and however that ended.
pub(super) fn at_start((pool, group): (String, String), names: &Names) -> Happening {
    let sentence = format!("{} started without {group}", names.node(names.me()));
    let fields =
        Fields { cause: Some("the daemon started".to_owned()), sentence, ..Fields::default() };
    happening(Occasion::Released, (Some(pool), Some(group)), fields, names)
}

/// That a planned move of a group waits for its gate.
pub(super) fn gate(ticket: u64, (pool, group): (String, String), names: &Names) -> Happening {
    let sentence = format!("{} is about to hand over {group}", names.node(names.me()));
    let fields = Fields { sentence, ..Fields::default() };
    let told = happening(Occasion::Gate, (Some(pool), Some(group)), fields, names);
    Happening { ticket: Some(ticket), ..told }
}

/// The group that something is about.
pub(super) fn group_of(happening: &Happening, names: &Names) -> Option<GroupKey> {
    let (pool, group) = (happening.pool.as_deref()?, happening.group.as_deref()?);
    names.find_group(&format!("{pool}/{group}")).ok()
}

/// A change of a check as it is told to hooks.
pub(super) fn happened(change: &Change, notice: &Notice, names: &Names) -> Happening {
    let fields = Fields {
        from: notice.from.clone(),
        to: notice.to.clone(),
        cause: notice.cause.clone(),
        sentence: notice.sentence.clone(),
        check: Some(change.check.clone()),
        ..Fields::default()
    };
    let pool = Some(change.pools.join(" "));
    let told = happening(Occasion::CheckChanged, (pool, None), fields, names);
    // A hook for one of the pools is meant, whichever that is.
    Happening { pool: None, ..told }
}

/// What is not the same for everything that happens.
#[derive(Default)]
struct Fields {
    owner: Option<String>,
    peer: Option<String>,
    from: Option<String>,
    to: Option<String>,
    epoch: Option<u64>,
    cause: Option<String>,
    sentence: String,
    check: Option<String>,
}

fn happening(
    occasion: Occasion,
    (pool, group): (Option<String>, Option<String>),
    fields: Fields,
    names: &Names,
) -> Happening {
    let full = pool.iter().zip(&group).map(|(pool, group)| format!("{pool}/{group}")).next();
    let key = full.and_then(|full| names.find_group(&full).ok());
    let addresses = key.map(|key| names.group(key).addresses).unwrap_or_default();
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let text = |value: Option<String>| value.unwrap_or_default();
    let environment = [
        ("BUOY_EVENT", occasion.word().to_owned()),
        ("BUOY_CLUSTER", names.cluster().to_owned()),
        ("BUOY_NODE", names.node(names.me())),
        ("BUOY_POOL", text(pool.clone())),
        ("BUOY_GROUP", text(group.clone())),
        ("BUOY_ADDRESSES", addresses.join(" ")),
        ("BUOY_OWNER", text(fields.owner)),
        ("BUOY_PEER", text(fields.peer)),
        ("BUOY_CHECK", text(fields.check)),
        ("BUOY_FROM", text(fields.from)),
        ("BUOY_TO", text(fields.to)),
        ("BUOY_EPOCH", text(fields.epoch.map(|epoch| epoch.to_string()))),
        ("BUOY_CAUSE", text(fields.cause)),
        ("BUOY_SENTENCE", fields.sentence),
    ];
    let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value));
    Happening { occasion, group, pool, ticket: None, environment: environment.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Effect;
    use crate::control::names::{GroupName, NodeName};
    use crate::protocol::{Mode, NodeId};

    fn names() -> Names {
        let addresses = vec!["10.77.0.100".parse().unwrap(), "fd77::100".parse().unwrap()];
        let (pool, group) = ("web".to_owned(), "10.77.0.100".to_owned());
        let group = GroupName { pool, group, addresses, mode: Mode::Availability };
        let me = NodeId::from_name("lb1");
        let nodes = vec![(me, NodeName::member("lb1"))];
        Names::new("edge".to_owned(), me, nodes, vec![(GroupKey(7), group)])
    }

    fn told<'a>(happening: &'a Happening, name: &str) -> &'a str {
        let found = happening.environment.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap()
    }

    #[test]
    fn hooks_are_told_group_pool_and_addresses() {
        let group = ("web".to_owned(), "10.77.0.100".to_owned());
        let told_of = ordered(Occasion::BeforeAcquire, group, &names());
        for (name, value) in [
            ("BUOY_EVENT", "before_acquire"),
            ("BUOY_CLUSTER", "edge"),
            ("BUOY_NODE", "lb1"),
            ("BUOY_POOL", "web"),
            ("BUOY_GROUP", "10.77.0.100"),
            ("BUOY_ADDRESSES", "10.77.0.100 fd77::100"),
            ("BUOY_OWNER", ""),
            ("BUOY_SENTENCE", "lb1 takes 10.77.0.100"),
        ] {
            assert_eq!(told(&told_of, name), value, "{name}");
        }
    }

    #[test]
    fn changes_of_checks_are_one_sentence_with_their_cause() {
        let change = Change {
            check: "proxy".to_owned(),
            from: State::Passing,
            to: State::Failing,
            words: "connecting failed: connection refused".to_owned(),
            effect: Effect::Require,
            pools: vec!["api".to_owned(), "web".to_owned()],
        };
        let notice = changed(&change, &names());
        assert_eq!(
            notice.sentence,
            "check proxy of lb1 is failing, was passing (require for pools api, web): \
             connecting failed: connection refused"
        );
        let told_of = happened(&change, &notice, &names());
        assert_eq!((told(&told_of, "BUOY_CHECK"), told(&told_of, "BUOY_TO")), ("proxy", "failing"));
        assert_eq!(told(&told_of, "BUOY_POOL"), "api web");
        assert_eq!((told_of.group, told_of.pool), (None, None), "hooks of any pool are meant");
    }

    #[test]
    fn troubles_with_hooks_belong_to_their_group() {
        let group = ("web".to_owned(), "10.77.0.100".to_owned());
        let happening = std::sync::Arc::new(ordered(Occasion::BeforeRelease, group, &names()));
        let words = "did not end within 500 ms".to_owned();
        let failed = Trouble::Failed { hook: "router".to_owned(), happening, words };
        let notice = trouble(&failed, &names());
        assert_eq!((notice.kind, notice.group), ("hook_failed", Some(GroupKey(7))));
        assert_eq!(
            notice.sentence,
            "hook router, for before_release 10.77.0.100: did not end within 500 ms"
        );
    }
}
