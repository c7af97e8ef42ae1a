//! Connections that go on: statuses again and again, events as they happen. For those who show the
//! present to people, such as `buoy top`.
//!
//! Blocking. A daemon that says nothing for [`SILENCE_MAX`] although a status is due is lost; the
//! caller opens another connection and shows what it has meanwhile with its age.

use std::path::Path;
use std::time::Duration;

use super::client::{Link, understand};
use super::failure::Error;
use super::request::Request;
use super::response::{Done, Event, Explanation, Status};

/// Longest wait for a status that is due.
pub const SILENCE_MAX: Duration = Duration::from_secs(3);

/// Statuses, one each interval.
pub struct Statuses {
    link: Link,
}

impl Statuses {
    /// Asks the daemon at `socket` for a status each interval, 20 ms to a second.
    ///
    /// # Errors
    /// If the daemon is not reachable.
    pub fn open(socket: &Path, every: Duration) -> Result<Self, Error> {
        let mut link = Link::open(socket)?;
        link.wait_at_most(Some(SILENCE_MAX))?;
        let watch_ms = Some(u32::try_from(every.as_millis()).unwrap_or(u32::MAX));
        link.ask(&Request::Status { watch_ms })?;
        Ok(Self { link })
    }

    /// Waits for the next line, as the daemon wrote it.
    ///
    /// # Errors
    /// If it does not come in time, or the daemon has ended.
    pub fn line(&mut self) -> Result<String, Error> {
        self.link.line()
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// As [`Self::line`], and if it is not understood.
    pub fn status(&mut self) -> Result<Status, Error> {
        understand(&self.line()?)
    }
}

/// Events, those of the past first.
pub struct Events {
    link: Link,
}

impl Events {
    /// Asks the daemon at `socket` for events from so long ago on.
    ///
    /// # Errors
    /// If the daemon is not reachable.
    pub fn open(socket: &Path, since: Duration) -> Result<Self, Error> {
        let mut link = Link::open(socket)?;
        link.wait_at_most(None)?;
        let since_ms = Some(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        link.ask(&Request::Events { since_ms, group: None, follow: true })?;
        Ok(Self { link })
    }

    /// Waits for the next one, for ever.
    ///
    /// # Errors
    /// If the daemon has ended.
    pub fn event(&mut self) -> Result<Event, Error> {
        understand(&self.link.line()?)
    }
}

/// Asks why a group is where it is.
///
/// # Errors
/// If the daemon is not reachable, or knows no such group.
pub fn explain(socket: &Path, group: &str) -> Result<Explanation, Error> {
    let mut link = Link::open(socket)?;
    link.ask(&Request::Explain { group: group.to_owned() })?;
    understand(&link.line()?)
}

/// Orders a node to drain, or to own groups again. Does not wait until it has.
///
/// # Errors
/// If the daemon is not reachable, or refuses.
pub fn drain(socket: &Path, node: &str, drain: bool) -> Result<Done, Error> {
    let node = Some(node.to_owned());
    let mut link = Link::open(socket)?;
    link.ask(&if drain {
        let (keep, reason, for_ms) = (None, None, None);
        Request::Drain { node, now: false, if_safe: false, keep, reason, for_ms, persist: false }
    } else {
        Request::Undrain { node }
    })?;
    understand(&link.line()?)
}
