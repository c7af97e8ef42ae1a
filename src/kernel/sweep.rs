//! Removes all that is ours: what a predecessor left, at the start, and everything at the end.

use std::time::Duration;

use futures::stream::StreamExt;
use tokio::time::{Instant as Moment, sleep_until};

use super::StartError;
use super::addresses;
use super::apply::{CHANGES_MAX, Shell};
use super::links::Place;
use super::reconcile::Change;
use super::watch;

/// Removing everything at the end is given up after this; the next start sweeps the rest.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// Dumps after which what still bears our mark is taken to be irremovable.
const SWEEPS_MAX: usize = 5;

impl Shell {
    /// Removes whatever bears our mark. Returns how many addresses that were.
    pub(super) async fn sweep(&mut self) -> Result<usize, StartError> {
        let mut count = 0;
        let routes = self.routing.sweep(&self.kept.routing());
        self.counters.swept.add(routes);
        if routes > 0 {
            tracing::info!(routes, "removed routes and rules of a previous daemon");
        }
        for _ in 0..SWEEPS_MAX {
            let found = self.marked()?;
            if found.is_empty() {
                return Ok(count);
            }
            count = count.max(found.len());
            let remove = |place: &Place| Change::Remove { place: *place, connections: true };
            let changes: Vec<Change> = found.iter().map(remove).collect();
            self.closing.proceed_to_the_end(changes.clone(), &self.counters);
            for chunk in changes.chunks(CHANGES_MAX) {
                let make = |change: &Change| {
                    addresses::make(self.handle.clone(), *change, (self.mark, None))
                };
                let removals = chunk.iter().map(make);
                futures::future::join_all(removals).await;
            }
        }
        let found = self.marked()?;
        if found.is_empty() { Ok(count) } else { Err(StartError::Leftovers { count: found.len() }) }
    }

    /// What bears our mark and is not kept.
    fn marked(&self) -> Result<Vec<Place>, StartError> {
        let observations = watch::dump(self.mark).map_err(StartError::Netlink)?;
        let goes = |place: &Place| !self.kept.has(place, &observations);
        Ok(watch::ours(&observations).filter(goes).collect())
    }

    /// Removes everything of ours, in good order as far as time allows.
    pub(super) async fn remove_everything(&mut self) {
        self.reconciler.release_everything();
        self.settle();
        let given_up = Moment::now() + STOP_TIMEOUT;
        while !self.reconciler.is_clean() && Moment::now() < given_up {
            let deadline = self.deadline().min(given_up);
            tokio::select! {
                biased;
                () = self.watch.readable() => self.receive(),
                Some((change, answer)) = self.running.next() => self.answered(change, answer),
                () = tokio::task::yield_now(), if self.closing.is_waiting() => {}
                () = sleep_until(deadline) => {}
            }
            self.settle();
        }
        if let Err(error) = self.sweep().await {
            tracing::error!(%error, "addresses of buoy cannot be removed");
        }
    }
}
