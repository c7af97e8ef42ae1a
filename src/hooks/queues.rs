//! What waits to be done, in order for each group. Pure.
//!
//! Only one job of a group runs at a time; of several groups that have work, the one whose job has
//! waited longest is next. A group may have [`WAITING_MAX`] jobs waiting; a hook that hangs for its
//! whole timeout each time would otherwise let them grow for ever.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Happening;
use crate::config::HookConfig;

/// Jobs of one group that may wait: a group that moves to and fro ten times.
const WAITING_MAX: usize = 64;
/// Jobs of all groups: two for each of 4096.
const WAITING_IN_ALL_MAX: usize = 8192;

/// A hook to be run for something that happened.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) hook: Arc<HookConfig>,
    pub(super) happening: Arc<Happening>,
}

/// There is no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Queues {
    groups: BTreeMap<Option<String>, Queue>,
    /// Groups with something to do and nothing running, the longest waiting first.
    ready: VecDeque<Option<String>>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// What runs.
    running: Option<Job>,
}

impl Queues {
    /// Puts a job behind the others of its group.
    pub(super) fn push(&mut self, job: Job) -> Result<(), Full> {
        if self.waiting >= WAITING_IN_ALL_MAX {
            return Err(Full);
        }
        let key = job.happening.group.clone();
        let queue = self.groups.entry(key.clone()).or_default();
        if queue.waiting.len() >= WAITING_MAX {
            return Err(Full);
        }
        if queue.waiting.is_empty() && queue.running.is_none() {
            self.ready.push_back(key);
        }
        queue.waiting.push_back(job);
        self.waiting += 1;
        Ok(())
    }

    /// Takes the next job that may begin.
    pub(super) fn next(&mut self) -> Option<Job> {
        let queue = self.groups.get_mut(&self.ready.pop_front()?)?;
        let job = queue.waiting.pop_front()?;
        queue.running = Some(job.clone());
        self.waiting -= 1;
        Some(job)
    }

    /// A job has ended: the next of its group may begin.
    pub(super) fn done(&mut self, job: &Job) {
        let key = &job.happening.group;
        let Some(queue) = self.groups.get_mut(key) else { return };
        queue.running = None;
        if queue.waiting.is_empty() {
            self.groups.remove(key);
        } else {
            self.ready.push_back(key.clone());
        }
    }

    /// Whether a job for this very happening waits.
    pub(super) fn has(&self, happening: &Arc<Happening>) -> bool {
        let queue = self.groups.get(&happening.group);
        let mut waiting = queue.into_iter().flat_map(|queue| &queue.waiting);
        waiting.any(|job| Arc::ptr_eq(&job.happening, happening))
    }

    /// How many jobs wait for a hook, and whether it runs.
    pub(super) fn count(&self, hook: &str) -> (u64, bool) {
        let queues = || self.groups.values();
        let waiting = queues().flat_map(|queue| &queue.waiting);
        let waiting = waiting.filter(|job| job.hook.name == hook).count();
        let mut running = queues().filter_map(|queue| queue.running.as_ref());
        (waiting as u64, running.any(|job| job.hook.name == hook))
    }

    /// Takes all that runs or waits, by group and in its order; tells of each whether it runs.
    pub(super) fn take_all(&mut self) -> Vec<(Job, bool)> {
        let groups = std::mem::take(self).groups.into_values();
        let jobs = |queue: Queue| {
            let waiting = queue.waiting.into_iter().map(|job| (job, false));
            queue.running.map(|job| (job, true)).into_iter().chain(waiting)
        };
        groups.flat_map(jobs).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Deed, Occasion};

    fn job(group: &str, hook: &str) -> Job {
        let hook = HookConfig {
            name: hook.to_owned(),
            on: vec![Occasion::Acquired],
            deed: Deed::Line(PathBuf::from("/fifo")),
            pools: None,
            gather: None,
        };
        let happening = Happening {
            occasion: Occasion::Acquired,
            group: Some(group.to_owned()),
            pool: None,
            ticket: None,
            environment: Vec::new(),
        };
        Job { hook: Arc::new(hook), happening: Arc::new(happening) }
    }

    fn taken(queues: &mut Queues) -> Option<(String, Job)> {
        let job = queues.next()?;
        Some((format!("{}/{}", job.happening.group.clone().unwrap(), job.hook.name), job))
    }

    #[test]
    fn one_at_a_time_per_group_in_order_and_groups_beside_each_other() {
        let mut queues = Queues::default();
        for (group, hook) in [("a", "1"), ("a", "2"), ("b", "1"), ("a", "3")] {
            queues.push(job(group, hook)).unwrap();
        }
        let (first, of_a) = taken(&mut queues).unwrap();
        let (second, of_b) = taken(&mut queues).unwrap();
        assert_eq!((first.as_str(), second.as_str()), ("a/1", "b/1"));
        assert!(queues.next().is_none(), "both groups are busy");
        assert_eq!((queues.count("1"), queues.count("2")), ((0, true), (1, false)));
        queues.done(&of_b);
        assert!(queues.next().is_none(), "b has nothing more");
        queues.done(&of_a);
        let (third, of_a) = taken(&mut queues).unwrap();
        assert_eq!(third, "a/2");
        queues.done(&of_a);
        assert_eq!(taken(&mut queues).unwrap().0, "a/3");
    }

    #[test]
    fn what_waits_is_limited_and_nothing_is_kept_of_idle_groups() {
        let mut queues = Queues::default();
        for _ in 0..WAITING_MAX {
            queues.push(job("a", "1")).unwrap();
        }
        assert_eq!(queues.push(job("a", "1")), Err(Full));
        queues.push(job("b", "1")).unwrap();
        let running = queues.next().unwrap();
        queues.push(job("a", "1")).unwrap();
        queues.done(&running);
        while let Some(job) = queues.next() {
            queues.done(&job);
        }
        assert!(queues.groups.is_empty() && queues.ready.is_empty() && queues.waiting == 0);
    }
}
