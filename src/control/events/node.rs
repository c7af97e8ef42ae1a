//! What happens to this node itself.

use std::time::Duration;

use super::{EventRecord, Kind, Level};
use crate::control::duration_text::precise;
use crate::control::names::Names;
use crate::control::sentences::{counted, phase};
use crate::control::{adaptive_timing, restart_in_place};
use crate::protocol::{NodeId, NodePhase, Obstacle, TimingLevel, TimingProposal};

pub(super) fn phase_changed(from: NodePhase, to: NodePhase, names: &Names) -> EventRecord {
    let level = match to {
        NodePhase::Resuming | NodePhase::Isolated => Level::Warn,
        NodePhase::Listening | NodePhase::Active | NodePhase::Leaving | NodePhase::Left => {
            Level::Info
        }
    };
    let (from, to) = (phase(from), phase(to));
    let sentence = format!("{} is {to}, was {from}", names.node(names.me()));
    EventRecord::new(Kind::PhaseChanged, (level, "phase changed"), sentence, names).change(from, to)
}

pub(super) fn stalled(length: Duration, names: &Names) -> EventRecord {
    let because = format!("it did not run for {}", precise(length));
    let sentence = format!("{} stalled: {because}", names.node(names.me()));
    EventRecord::new(Kind::Stalled, (Level::Warn, "this node stalled"), sentence, names)
        .because(because)
}

pub(super) fn draining(on: bool, names: &Names) -> EventRecord {
    let me = names.node(names.me());
    let (message, sentence) = if on {
        ("draining switched on", format!("{me} is draining: it hands its groups over"))
    } else {
        ("draining switched off", format!("{me} may own groups again"))
    };
    EventRecord::new(Kind::Draining, (Level::Info, message), sentence, names)
}

pub(super) fn went_on(groups: u16, after: Duration, names: &Names) -> EventRecord {
    let (groups, silent) = (counted(u64::from(groups), "group"), precise(after));
    let sentence = format!(
        "{} was restarted in place and kept {groups}; it was silent for {silent}",
        names.node(names.me())
    );
    EventRecord::new(Kind::WentOn, (Level::Info, "restarted in place"), sentence, names)
        .because(format!("{groups} kept, silent for {silent}"))
}

pub(super) fn not_in_place(why: Obstacle, names: &Names) -> EventRecord {
    let because = restart_in_place::obstacle(why, names);
    let sentence = format!(
        "{} hands its groups over instead of restarting in place: {because}",
        names.node(names.me())
    );
    EventRecord::new(Kind::NotInPlace, (Level::Warn, "no restart in place"), sentence, names)
        .because(because)
}

pub(super) fn timing_changed(
    (from, to): (TimingLevel, TimingLevel),
    held_by: NodeId,
    proposal: TimingProposal,
    names: &Names,
) -> EventRecord {
    // Slower intervals are worth a look.
    let level = if to > from { Level::Warn } else { Level::Info };
    let cause = adaptive_timing::reason(&names.node(held_by), proposal);
    let sentence = format!(
        "{} detects failures within {}, was {}: {cause}",
        names.node(names.me()),
        precise(to.timing().detection()),
        precise(from.timing().detection())
    );
    EventRecord::new(Kind::TimingChanged, (level, "timing changed"), sentence, names)
        .change(&adaptive_timing::short(from), &adaptive_timing::short(to))
        .cause(cause)
}
