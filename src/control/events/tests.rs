//! What the golden files do not show of events: their fields.

use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

use super::*;
use crate::control::fixture::{group, names, node};
use crate::control::sentences::standing;
use crate::protocol::{Cause, Epoch, Inability, NodeId, PoolId, Standing, Verdict};

#[test]
fn words_are_those_of_one_kind() {
    for kind in Kind::ALL {
        assert_eq!(Kind::with_word(kind.word()), Some(*kind));
    }
    assert_eq!(Kind::with_word("of_a_newer_version"), None);
}

fn taken(from: Option<NodeId>, to: Option<NodeId>) -> EventRecord {
    let (group, cause) = (group("10.77.0.100"), Cause::Silence(node("lb2")));
    let silence = Some(Duration::from_millis(312));
    describe(&Report::OwnerChanged { group, from, to, epoch: Epoch(8), cause }, silence, &names())
}

#[test]
fn hooks_hear_of_planned_moves_from_this_node_alone() {
    let [me, other, third] = ["lb1", "lb2", "lb3"].map(node);
    let group = group("10.77.0.100");
    for (from, to, cause, is_told) in [
        (Some(me), Some(other), Cause::Operator(me), true),
        (Some(me), Some(other), Cause::Balance(me), true),
        (Some(me), Some(other), Cause::Failback(me), true),
        (Some(me), Some(other), Cause::Drain(me), true),
        (Some(me), Some(other), Cause::Checks(me), true),
        (Some(me), Some(other), Cause::Silence(me), false),
        (Some(me), Some(other), Cause::Conflict(me), false),
        (Some(me), Some(me), Cause::TakenBack(other), false),
        (Some(me), None, Cause::Drain(me), false),
        (Some(other), Some(me), Cause::Drain(other), false),
        (Some(other), Some(third), Cause::Operator(other), false),
        (None, Some(other), Cause::Drain(me), false),
    ] {
        let report = Report::OwnerChanged { group, from, to, epoch: Epoch(8), cause };
        let told = after_a_move(&report, &names());
        assert_eq!(told.is_some(), is_told, "{report:?}");
        let to = told.and_then(|told| told.event.to);
        assert_eq!(to.as_deref(), is_told.then_some("lb2"));
    }
    let [off, on] = [false, true].map(|on| after_a_move(&Report::Draining { on }, &names()));
    assert_eq!((off.map(|off| off.kind), on), (Some(Kind::Undrained), None));
}

#[test]
fn a_change_of_ownership_is_one_line_with_names_and_the_cause() {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        taken(Some(node("lb2")), Some(node("lb1"))).log();
        taken(Some(node("lb2")), None).log();
    });
    let same = r#" event="owner_changed" node="lb1" group="10.77.0.100" epoch=8 from="lb2""#;
    let because = r#"because="lb2 was silent for 312 ms""#;
    let expected = [
        format!(r#"INFO message=owner changed{same} to="lb1" {because}"#),
        format!("WARN message=owner changed{same}"),
    ];
    assert_eq!(*lines.0.lock().unwrap(), expected);
}

#[test]
fn an_event_is_about_a_node_a_group_or_a_pool() {
    let taken = taken(None, Some(node("lb2")));
    assert_eq!(
        (taken.event.node.as_deref(), taken.group),
        (Some("lb2"), Some(group("10.77.0.100")))
    );
    assert_eq!((taken.owner.as_deref(), taken.event.pool.as_deref()), (Some("lb2"), Some("web")));
    let pool = PoolId::from_name("web");
    let kept = describe(&Report::LastResort { pool, kept: true, groups: 2 }, None, &names());
    assert_eq!((kept.event.node.as_deref(), kept.event.group), (Some("lb1"), None));
    assert_eq!(kept.event.pool.as_deref(), Some("web"));
    let (peer, silence) = (NodeId(0xab), Duration::ZERO);
    let (from, to) = (Verdict::Up, Verdict::Suspect);
    let dead = describe(&Report::PeerChanged { peer, from, to, silence }, None, &names());
    assert_eq!(dead.peer.as_deref(), Some("node-000000ab"), "a node that is not configured");
}

#[test]
fn a_link_is_blamed_only_by_its_name() {
    let group = group("10.77.0.100");
    let names = names();
    let unable =
        |names: &Names| standing(node("lb2"), Standing::Unable(Inability::LinkDown), group, names);
    assert_eq!(
        unable(&names),
        "cannot hold it: no interface that is up is in its network; name its interface, or \
         bring the link up"
    );
    let names = names.with_links([(group, "eth0".to_owned())].into());
    assert_eq!(unable(&names), "cannot hold it: its link eth0 is down or missing");
    let why = Some((group, Inability::LinkDown));
    let failed = Report::OfferFailed { to: node("lb2"), groups: 1, why };
    assert_eq!(
        describe(&failed, None, &names).event.sentence,
        "lb2 did not take 1 group, which stays on lb1: it cannot hold 10.77.0.100: its link \
         eth0 is down or missing"
    );
}

/// Notes the lines of the log, each with its fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
