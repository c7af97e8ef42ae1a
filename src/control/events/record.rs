//! One event with everything that is made of it.

use super::kind::Kind;
use crate::control::names::Names;
use crate::control::response::Event;
use crate::protocol::{Epoch, GroupKey};

/// How much an event matters, in the log.
///
/// It follows from the consequence: `Warn` when an address is without an owner or a node cannot do
/// its duty, `Info` for every other change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `INFO`; priority 6 in the journal.
    Info,
    /// `WARN`; priority 4 in the journal.
    Warn,
}

/// One event, complete: what is recorded, what is logged, and what hooks get of it.
///
/// Kind, level, message and sentence are required; fields that do not apply are absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    pub(crate) kind: Kind,
    /// As programs get it, but for number and time.
    pub(crate) event: Event,
    pub(super) level: Level,
    /// What happened, a constant phrase for the log; `None` for the sentence.
    pub(super) message: Option<&'static str>,
    /// The group, as `event` names it.
    pub(crate) group: Option<GroupKey>,
    /// Owner of the group after the event, for hooks.
    pub(crate) owner: Option<String>,
    /// The other node that is concerned, for the log and hooks.
    pub(crate) peer: Option<String>,
    /// The check whose state changed.
    pub(crate) check: Option<Check>,
    /// Why, for the log, where it is not the cause.
    pub(super) because: Option<String>,
}

/// A check in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Name in the configuration.
    pub name: String,
    /// `require` or `prefer`.
    pub effect: &'static str,
    /// Names of the pools to which it applies.
    pub pools: Vec<String>,
}

impl EventRecord {
    /// Returns an event about this node.
    pub(super) fn new(
        kind: Kind,
        (level, message): (Level, &'static str),
        sentence: String,
        names: &Names,
    ) -> Self {
        Self { message: Some(message), ..Self::with_sentence(kind, level, sentence, names) }
    }

    /// Returns an event about this node whose log line begins with its sentence.
    pub(super) fn with_sentence(kind: Kind, level: Level, sentence: String, names: &Names) -> Self {
        let me = names.node(names.me());
        let event = Event {
            seq: 0,
            time: String::new(),
            kind: kind.word().to_owned(),
            observer: me.clone(),
            node: Some(me),
            pool: None,
            group: None,
            from: None,
            to: None,
            epoch: None,
            cause: None,
            sentence,
        };
        let (group, owner, peer, check, because) = (None, None, None, None, None);
        Self { kind, event, level, message: None, group, owner, peer, check, because }
    }

    /// About another node than this one, or about none.
    pub(super) fn node(mut self, node: impl Into<Option<String>>) -> Self {
        self.event.node = node.into();
        self
    }

    pub(super) fn group(mut self, group: GroupKey, names: &Names) -> Self {
        let name = names.group(group);
        (self.event.pool, self.event.group) = (Some(name.pool), Some(name.group));
        Self { group: Some(group), ..self }
    }

    pub(super) fn pool(mut self, pool: String) -> Self {
        self.event.pool = Some(pool);
        self
    }

    pub(super) fn peer(self, peer: impl Into<Option<String>>) -> Self {
        Self { peer: peer.into(), ..self }
    }

    pub(super) fn owner(self, owner: Option<String>) -> Self {
        Self { owner, ..self }
    }

    pub(super) fn from(mut self, from: impl Into<Option<String>>) -> Self {
        self.event.from = from.into();
        self
    }

    pub(super) fn to(mut self, to: impl Into<Option<String>>) -> Self {
        self.event.to = to.into();
        self
    }

    pub(super) fn change(self, from: &str, to: &str) -> Self {
        self.from(from.to_owned()).to(to.to_owned())
    }

    pub(super) fn epoch(mut self, epoch: Epoch) -> Self {
        self.event.epoch = Some(epoch.0);
        self
    }

    /// Why it happened: for programs, hooks and the log.
    pub(super) fn cause(mut self, cause: impl Into<Option<String>>) -> Self {
        self.event.cause = cause.into();
        self
    }

    /// More about it than the message says, for the log alone.
    pub(super) fn because(self, because: impl Into<String>) -> Self {
        Self { because: Some(because.into()), ..self }
    }

    /// Writes the event to the log: one line. Values are fields, the message is a constant phrase.
    pub(crate) fn log(&self) {
        let event = &self.event;
        let check = self.check.as_ref();
        macro_rules! write_at {
            ($level:ident) => {
                tracing::$level!(
                    event = self.kind.word(),
                    node = event.observer,
                    group = event.group,
                    peer = self.peer,
                    check = check.map(|it| it.name.as_str()),
                    epoch = event.epoch,
                    from = event.from,
                    to = event.to,
                    effect = check.map(|it| it.effect),
                    pools = check.map(|it| it.pools.join(" ")),
                    because = self.reason(),
                    "{}",
                    self.message()
                )
            };
        }
        match self.level {
            Level::Warn => write_at!(warn),
            Level::Info => write_at!(info),
        }
    }

    fn message(&self) -> &str {
        self.message.unwrap_or(&self.event.sentence)
    }

    fn reason(&self) -> Option<&str> {
        self.because.as_deref().or(self.event.cause.as_deref())
    }

    /// Returns level, message and reason as the log has them.
    #[cfg(test)]
    pub(crate) fn log_text(&self) -> String {
        let level = match self.level {
            Level::Warn => "WARN",
            Level::Info => "INFO",
        };
        let reason = self.reason().map_or_else(String::new, |reason| format!(": {reason}"));
        format!("{level:<5} {}{reason}", self.message())
    }
}
