//! Checks, hooks and the balancer of this host.

use super::{Check, EventRecord, Kind, Level};
use crate::control::names::Names;
use crate::protocol::GroupKey;

/// A check changed from one state to another, in words.
pub(crate) fn check_changed(
    check: Check,
    (from, to): (&str, &str),
    level: Level,
    cause: &str,
    names: &Names,
) -> EventRecord {
    let (one, noun) = match check.pools.as_slice() {
        [one] => (Some(one.clone()), "pool"),
        _ => (None, "pools"),
    };
    let sentence = format!(
        "check {} of {} is {to}, was {from} ({} for {noun} {}): {cause}",
        check.name,
        names.node(names.me()),
        check.effect,
        check.pools.join(", ")
    );
    let record = EventRecord::new(Kind::CheckChanged, (level, "check changed"), sentence, names)
        .change(from, to)
        .cause(cause.to_owned());
    let record = match one {
        Some(pool) => record.pool(pool),
        None => record,
    };
    EventRecord { check: Some(check), ..record }
}

/// A hook and what it was to be run for.
pub(crate) struct HookRun<'a> {
    /// Name of the hook.
    pub(crate) hook: &'a str,
    /// The event in words.
    pub(crate) event: String,
    /// The group of that event.
    pub(crate) group: Option<GroupKey>,
    /// The pool of that event, if its group is not known.
    pub(crate) pool: Option<String>,
}

/// A hook failed.
pub(crate) fn hook_failed(run: HookRun<'_>, cause: &str, names: &Names) -> EventRecord {
    hook_trouble(Kind::HookFailed, run, cause, names)
}

/// A hook was not run.
pub(crate) fn hook_dropped(run: HookRun<'_>, cause: &str, names: &Names) -> EventRecord {
    hook_trouble(Kind::HooksDropped, run, cause, names)
}

fn hook_trouble(kind: Kind, run: HookRun<'_>, cause: &str, names: &Names) -> EventRecord {
    let HookRun { hook, event, group, pool } = run;
    let sentence = format!("hook {hook}, for {event}: {cause}");
    let record = EventRecord::with_sentence(kind, Level::Warn, sentence, names);
    let record = match (group, pool) {
        (Some(group), _) => record.group(group, names),
        (None, Some(pool)) => record.pool(pool),
        (None, None) => record,
    };
    record.cause(cause.to_owned())
}

/// HAProxy cannot be notified of a drain.
pub(crate) fn balancer_failed(cause: &str, names: &Names) -> EventRecord {
    let me = names.node(names.me());
    let sentence = format!("HAProxy on {me} cannot be notified of a drain: {cause}");
    EventRecord::with_sentence(Kind::BalancerFailed, Level::Warn, sentence, names)
        .cause(cause.to_owned())
}

/// HAProxy was asked to finish its connections, or could not be asked, for this reason.
pub(crate) fn balancer_finishes(cause: Option<&str>, names: &Names) -> EventRecord {
    let me = names.node(names.me());
    let Some(cause) = cause else {
        let sentence = format!("HAProxy on {me} finishes its connections: groups were handed over");
        return EventRecord::with_sentence(Kind::BalancerTold, Level::Info, sentence, names);
    };
    let sentence = format!("HAProxy on {me} could not be asked to finish its connections: {cause}");
    EventRecord::with_sentence(Kind::BalancerFailed, Level::Warn, sentence, names)
        .cause(cause.to_owned())
}

/// HAProxy can be notified of a drain again.
pub(crate) fn balancer_back(names: &Names) -> EventRecord {
    let me = names.node(names.me());
    let sentence = format!("HAProxy on {me} can be notified of a drain again");
    EventRecord::with_sentence(Kind::BalancerBack, Level::Info, sentence, names)
}

/// HAProxy was notified that connections to this number of addresses shall end.
pub(crate) fn balancer_told(count: usize, names: &Names) -> EventRecord {
    let me = names.node(names.me());
    let sentence = match count {
        0 => format!("HAProxy on {me} keeps connections open again"),
        _ => format!(
            "HAProxy on {me} closes connections to {count} addresses after their next response"
        ),
    };
    EventRecord::with_sentence(Kind::BalancerTold, Level::Info, sentence, names)
}
