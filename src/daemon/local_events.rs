//! Checks, hooks and the balancer as rows of the status and as events; events as hooks get them. Pure.

use crate::balancer;
use crate::checks::{self, Change, State};
use crate::config::Occasion;
use crate::control::duration_text::millis;
use crate::control::events::{self, EventRecord, HookRun, Level};
use crate::control::local::{Check, Hook};
use crate::control::names::Names;
use crate::hooks::{self, Happening, Trouble};
use crate::protocol::GroupKey;

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

/// A change of a check as an event.
pub(super) fn check_changed(change: &Change, names: &Names) -> EventRecord {
    let level = match change.to {
        State::Failing => Level::Warn,
        State::Passing | State::Unknown => Level::Info,
    };
    let states = (change.from.word(), change.to.word());
    let (name, pools) = (change.check.clone(), change.pools.clone());
    let check = events::Check { name, effect: change.effect.word(), pools };
    events::check_changed(check, states, level, &change.words, names)
}

/// A trouble with a hook as an event.
pub(super) fn hook_trouble(trouble: &Trouble, names: &Names) -> EventRecord {
    let run = |hook, happening: &Happening| HookRun {
        hook,
        event: happening.words(),
        group: group_of(happening, names),
        pool: happening.pool.clone(),
    };
    match trouble {
        Trouble::Failed { hook, happening, words } => {
            events::hook_failed(run(hook, happening), words, names)
        }
        Trouble::Dropped { hook, happening } => {
            let cause = "was not run: its queue is full";
            events::hook_dropped(run(hook, happening), cause, names)
        }
        Trouble::CutOff { hook, happening, began: true } => {
            let cause = "was killed before it finished: the daemon is stopping";
            events::hook_failed(run(hook, happening), cause, names)
        }
        Trouble::CutOff { hook, happening, began: false } => {
            let cause = "was not run: the daemon is stopping";
            events::hook_dropped(run(hook, happening), cause, names)
        }
    }
}

/// News of the balancer as an event.
pub(super) fn balancer_news(news: &balancer::News, names: &Names) -> EventRecord {
    match news {
        balancer::News::Failed(cause) => events::balancer_failed(cause, names),
        balancer::News::Back => events::balancer_back(names),
        balancer::News::Finishes => events::balancer_finishes(None, names),
        balancer::News::NotFinishing(why) => events::balancer_finishes(Some(why.as_str()), names),
        balancer::News::Told(count) => events::balancer_told(*count, names),
    }
}

/// The group that something is about.
pub(super) fn group_of(happening: &Happening, names: &Names) -> Option<GroupKey> {
    let (pool, group) = (happening.pool.as_deref()?, happening.group.as_deref()?);
    names.find_group(&format!("{pool}/{group}")).ok()
}

/// An event as hooks get it.
pub(super) fn happening(occasion: Occasion, record: &EventRecord, names: &Names) -> Happening {
    let EventRecord { event, owner, peer, check, .. } = record;
    let addresses = record.group.map(|group| names.group(group).addresses).unwrap_or_default();
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    // A change of a check runs the hooks of every pool.
    let pool = event.pool.clone().filter(|_| check.is_none());
    let pools = check.as_ref().map(|check| check.pools.join(" ")).or_else(|| pool.clone());
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let environment = [
        ("BUOY_EVENT", occasion.word().to_owned()),
        ("BUOY_CLUSTER", names.cluster().to_owned()),
        ("BUOY_NODE", event.observer.clone()),
        ("BUOY_POOL", text(&pools)),
        ("BUOY_GROUP", text(&event.group)),
        ("BUOY_ADDRESSES", addresses.join(" ")),
        ("BUOY_OWNER", text(owner)),
        ("BUOY_PEER", text(peer)),
        ("BUOY_CHECK", check.as_ref().map(|check| check.name.clone()).unwrap_or_default()),
        ("BUOY_FROM", text(&event.from)),
        ("BUOY_TO", text(&event.to)),
        ("BUOY_EPOCH", event.epoch.map(|epoch| epoch.to_string()).unwrap_or_default()),
        ("BUOY_CAUSE", text(&event.cause)),
        ("BUOY_SENTENCE", event.sentence.clone()),
    ];
    let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value));
    let group = event.group.clone();
    Happening { occasion, group, pool, ticket: None, environment: environment.collect() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::Effect;
    use crate::control::events::{Kind, Scope};
    use crate::control::names::{GroupName, NodeName};
    use crate::protocol::{Cause, Epoch, Mode, NodeId, Report, Verdict};

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

    fn change(pools: &[&str]) -> Change {
        Change {
            check: "proxy".to_owned(),
            from: State::Passing,
            to: State::Failing,
            words: "connecting failed: connection refused".to_owned(),
            effect: Effect::Require,
            pools: pools.iter().map(|pool| (*pool).to_owned()).collect(),
        }
    }

    #[test]
    fn hooks_get_group_pool_and_addresses() {
        let event = events::before_acquire(GroupKey(7), &names());
        let happening = happening(Occasion::BeforeAcquire, &event, &names());
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
            assert_eq!(told(&happening, name), value, "{name}");
        }
    }

    #[test]
    fn hooks_get_owner_peer_and_cause_of_a_report() {
        let (group, lb2) = (GroupKey(7), NodeId::from_name("lb2"));
        let changed = Report::OwnerChanged {
            group,
            from: Some(lb2),
            to: Some(NodeId::from_name("lb1")),
            epoch: Epoch(8),
            cause: Cause::Silence(lb2),
        };
        let (from, to) = (Verdict::Suspect, Verdict::Dead);
        let silence = Duration::from_millis(312);
        let dead = Report::PeerChanged { peer: lb2, from, to, silence };
        let of = |report: &Report| {
            let event = events::describe(report, Some(silence), &names());
            happening(Occasion::with_word(event.kind.word()).unwrap(), &event, &names())
        };
        let wanted =
            ["owner_changed", "lb1", "", "node-", "lb1", "8", "node-", "10.77.0.100 moved"];
        let keys = ["EVENT", "OWNER", "PEER", "FROM", "TO", "EPOCH", "CAUSE", "SENTENCE"];
        for (key, wanted) in keys.into_iter().zip(wanted) {
            let value = told(&of(&changed), &format!("BUOY_{key}")).to_owned();
            assert!(value.starts_with(wanted), "{key}: {value}");
        }
        let dead = of(&dead);
        assert!(told(&dead, "BUOY_PEER").starts_with("node-"));
        assert_eq!((told(&dead, "BUOY_TO"), told(&dead, "BUOY_OWNER")), ("dead", ""));
    }

    #[test]
    fn hooks_can_be_run_for_events_of_the_catalogue_only() {
        for occasion in Occasion::ALL {
            assert!(Kind::with_word(occasion.word()).is_some(), "{occasion:?}");
        }
        let only_hooks = Kind::ALL.iter().filter(|kind| kind.scope() == Scope::Hooks);
        for kind in only_hooks {
            assert!(Occasion::with_word(kind.word()).is_some(), "{kind:?}");
        }
    }

    #[test]
    fn hooks_of_any_pool_get_a_change_of_a_check() {
        let event = check_changed(&change(&["api", "web"]), &names());
        let happening = happening(Occasion::CheckChanged, &event, &names());
        let get = |name| told(&happening, name);
        assert_eq!((get("BUOY_CHECK"), get("BUOY_TO")), ("proxy", "failing"));
        assert_eq!(get("BUOY_POOL"), "api web");
        assert_eq!((&happening.group, &happening.pool), (&None, &None));
        let one = check_changed(&change(&["web"]), &names());
        assert_eq!(one.event.pool.as_deref(), Some("web"));
    }

    #[test]
    fn troubles_with_hooks_belong_to_their_group() {
        let event = events::before_release(GroupKey(7), &names());
        let happening = Arc::new(happening(Occasion::BeforeRelease, &event, &names()));
        let words = "did not end within 500 ms".to_owned();
        let failed = Trouble::Failed { hook: "router".to_owned(), happening, words };
        let event = hook_trouble(&failed, &names());
        assert_eq!((event.kind, event.group), (Kind::HookFailed, Some(GroupKey(7))));
        assert_eq!(
            event.event.sentence,
            "hook router, for before_release 10.77.0.100: did not end within 500 ms"
        );
    }
}
