//! What happens to the daemon of this node and its record.

use super::{EventRecord, Kind, Level};
use crate::control::names::Names;
use crate::control::response::Done;

/// The daemon started; `former` if the record has events of former processes.
pub(crate) fn started(version: &str, former: bool, names: &Names) -> EventRecord {
    let me = names.node(names.me());
    let former = if former { "; earlier events are of former processes" } else { "" };
    let sentence = format!("the daemon of {me} started (buoy {version}){former}");
    EventRecord::new(Kind::Started, (Level::Info, "started"), sentence, names)
}

/// The daemon started without the state that the former process had left for it.
pub(crate) fn not_continued(why: String, names: &Names) -> EventRecord {
    let sentence = format!(
        "{} was not restarted in place and starts with no state: {why}",
        names.node(names.me())
    );
    let line = (Level::Warn, "no restart in place: starting with no state");
    EventRecord::new(Kind::NotInPlace, line, sentence, names).cause(why)
}

/// An order was accepted. What stands is an event of every node; the rest of the one that was asked.
pub(crate) fn ordered(done: &Done, by: &str, names: &Names) -> EventRecord {
    let sentence = match (done.done.as_str(), &done.group) {
        ("release", _) => format!("{by} ended the hold"),
        ("upgrade", _) => format!("{by} ended the upgrade"),
        ("undrain", _) => format!("{by} let {} have groups again", done.node),
        (_, Some(group)) => format!("{by} moved {group} to {}", done.node),
        (word, None) => format!("{by} ordered {word} {}", done.node),
    };
    EventRecord::with_sentence(Kind::Ordered, Level::Info, sentence, names)
}

/// The record forgot events before they were read.
pub(crate) fn overwritten(missed: u64, names: &Names) -> EventRecord {
    let sentence = format!("{missed} events were lost: they came faster than they could be read");
    EventRecord::with_sentence(Kind::Overwritten, Level::Info, sentence, names).node(None::<String>)
}
