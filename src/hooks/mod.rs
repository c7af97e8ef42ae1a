//! Runs the operator's programs, or writes lines for them, when something happens.
//!
//! ```text
//!   Happening --> queues (pure): one per group, one for what is of no group
//!                   |  the next job of each queue that has none running, 8 at once in all
//!                   v
//!                 job: run the program (programs), or write a line into a FIFO --> Done
//! ```
//!
//! Promised: for one group hooks run in the order in which things happened, and in the order of the
//! file for each, never two at once; so the last one that ran was told the state that holds. A hook
//! that does not end is killed with its process group after its timeout and the next one begins.
//! What does not fit the queues is dropped, counted and told; at the end of the daemon whatever was
//! not run to its end is told one by one ([`Trouble::CutOff`]). What a hook does, or fails to do, is
//! not waited for by the protocol: `before_acquire` and `before_release` tell that a change has been
//! ordered and run beside it. The one exception is `gate`: when all its hooks for a group have ended,
//! or were dropped, that is told ([`News::Gate`]); for how long it is waited for is the protocol's.
//!
//! A program finds what happened in its environment ([`Happening::environment`]); with
//! `style = "keepalived"` it also gets `INSTANCE NAME STATE PRIORITY` behind its arguments, where
//! NAME is the group and PRIORITY always 100. A FIFO gets the same as a line, `INSTANCE "NAME"
//! STATE PRIORITY`; without a reader the line is lost, and a reader that comes gets the last line of each
//! group first.

mod fifo;
mod gathering;
mod queues;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout};

use crate::config::{Deed, HookConfig, Occasion, Style};
use crate::programs::{Ending, Program, Runner};

use fifo::Line;
use gathering::Gathering;
use queues::{Job, Queues};

/// Jobs at once over all groups: a failover of a thousand groups must not be a thousand processes.
const RUNNING_MAX: usize = 8;
/// As many at the end of the daemon, when there is little time and little else to do.
const RUNNING_AT_END_MAX: usize = 32;
/// How often readers of FIFOs are looked for: systemd starts a service again after this at the earliest.
const READERS_EVERY: Duration = Duration::from_millis(100);
/// For keepalived's scripts, which want a number; buoy has no priorities.
const PRIORITY: &str = "100";

/// An event with everything that hooks get of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Kind of the event.
    pub occasion: Occasion,
    /// Name of its group; events without a group have a queue of their own.
    pub group: Option<String>,
    /// Pool of the group.
    pub pool: Option<String>,
    /// Ticket under which the end of all its hooks is reported, if the core waits for it.
    pub ticket: Option<u64>,
    /// Environment of the programs, such as `("BUOY_GROUP", "10.77.0.100")`.
    pub environment: Vec<(String, String)>,
}

impl Happening {
    /// Returns a short description, such as `acquired 10.77.0.100`.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.group {
            Some(group) => format!("{} {group}", self.occasion.word()),
            None => self.occasion.word().to_owned(),
        }
    }
}

/// News for the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A hook failed or was not run.
    Trouble(Trouble),
    /// All hooks of an event with a ticket have ended, whatever their status.
    Gate(Arc<Happening>),
}

/// A hook failed or was not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It failed.
    Failed {
        /// Name of the hook.
        hook: String,
        /// Event that it was run for.
        happening: Arc<Happening>,
        /// How it ended, with the beginning of its output.
        words: String,
    },
    /// It was not run because its queue was full.
    Dropped {
        /// Name of the hook.
        hook: String,
        /// Event that was dropped.
        happening: Arc<Happening>,
    },
    /// The daemon exited before it had ended.
    CutOff {
        /// Name of the hook.
        hook: String,
        /// Event that it was run for or waited for.
        happening: Arc<Happening>,
        /// Whether it had been started; then it was killed.
        began: bool,
    },
}

/// State and counters of one hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Name of the hook.
    pub hook: String,
    /// Whether its program is running.
    pub running: bool,
    /// Number of events in its queue.
    pub waiting: u64,
    /// Number of runs.
    pub runs: u64,
    /// Number of failed runs.
    pub failures: u64,
    /// Number of dropped events.
    pub dropped: u64,
    /// Result of the last run in words.
    pub last: String,
}

/// All hooks of this node.
#[derive(Debug)]
pub struct Hooks {
    configured: Vec<Arc<HookConfig>>,
    queues: Queues,
    gathering: Gathering,
    /// Each is seen to its end by `programs`, also if this is dropped.
    running: JoinSet<Done>,
    known: BTreeMap<String, Row>,
    lines: BTreeMap<String, Line>,
    /// When readers of them are looked for; made by the first look, within the runtime.
    readers: Option<Interval>,
    dropped: Vec<Trouble>,
    /// Happenings with a ticket whose hooks have ended.
    ended: Vec<Arc<Happening>>,
    running_max: usize,
}

/// A job that has ended.
#[derive(Debug)]
struct Done {
    job: Job,
    /// What came of it, and whether that is well.
    outcome: Result<String, String>,
}

impl Hooks {
    /// With these hooks.
    #[must_use]
    pub fn new(hooks: &[HookConfig]) -> Self {
        let mut all = Self {
            configured: Vec::new(),
            queues: Queues::default(),
            gathering: Gathering::default(),
            running: JoinSet::new(),
            known: BTreeMap::new(),
            lines: BTreeMap::new(),
            readers: None,
            dropped: Vec::new(),
            ended: Vec::new(),
            running_max: RUNNING_MAX,
        };
        all.reconfigure(hooks);
        all
    }

    /// Goes on with these hooks. What waits is still done, as it was configured when it happened.
    pub fn reconfigure(&mut self, hooks: &[HookConfig]) {
        self.configured = hooks.iter().cloned().map(Arc::new).collect();
        let mut known = std::mem::take(&mut self.known);
        for hook in hooks {
            let row = known.remove(&hook.name);
            let row = row.unwrap_or_else(|| Row { hook: hook.name.clone(), ..Row::default() });
            self.known.insert(hook.name.clone(), row);
            if let Deed::Line(path) = &hook.deed {
                let line = self.lines.remove(&hook.name).filter(|line| line.is_for(path));
                let line = line.unwrap_or_else(|| Line::new(path.clone()));
                self.lines.insert(hook.name.clone(), line);
            }
        }
    }

    /// Returns whether any hook is configured for this event.
    #[must_use]
    pub fn wants(&self, occasion: Occasion) -> bool {
        self.configured.iter().any(|hook| hook.on.contains(&occasion))
    }

    /// Remembers, for readers of FIFOs that come later, that this node has a group since before the
    /// start. Runs and writes nothing.
    pub fn remember(&self, pool: &str, group: &str) {
        for hook in &self.configured {
            let of_pool = hook.pools.as_ref().is_none_or(|pools| pools.iter().any(|of| of == pool));
            let Some(line) = self.lines.get(&hook.name).filter(|_| of_pool) else { continue };
            if hook.on.contains(&Occasion::Acquired) {
                line.remember(group, state_line(group, Occasion::Acquired));
            }
        }
    }

    /// Something happened: puts the hooks that are for it into its queue. Returns at once. To be
    /// called within the runtime.
    pub fn tell(&mut self, happening: Happening) {
        let happening = Arc::new(happening);
        let mut jobs = Vec::new();
        for hook in &self.configured {
            let of_pool = match (&hook.pools, &happening.pool) {
                (Some(pools), Some(pool)) => pools.contains(pool),
                (Some(_), None) | (None, _) => true,
            };
            if !of_pool || !hook.on.contains(&happening.occasion) {
                continue;
            }
            if let Some(time) = hook.gather {
                self.gathering.add((Instant::now(), time), hook, &happening);
                continue;
            }
            jobs.push(Job { hook: Arc::clone(hook), happening: Arc::clone(&happening) });
        }
        self.queue(jobs);
        self.note_end(&happening);
        self.begin();
    }

    /// Puts jobs into their queues; what does not fit is dropped.
    fn queue(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            let (hook, happening) = (job.hook.name.clone(), Arc::clone(&job.happening));
            if self.queues.push(job).is_err() {
                if let Some(row) = self.known.get_mut(&hook) {
                    row.dropped += 1;
                }
                self.dropped.push(Trouble::Dropped { hook, happening });
            }
        }
    }

    /// Waits for the next news. Nothing is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> News {
        loop {
            if let Some(dropped) = self.dropped.pop() {
                return News::Trouble(dropped);
            }
            if let Some(ended) = self.ended.pop() {
                return News::Gate(ended);
            }
            let done = tokio::select! {
                Some(done) = self.running.join_next() => done,
                () = look_for_readers(&mut self.readers, &self.lines) => continue,
                () = until(self.gathering.due()) => {
                    let jobs = self.gathering.close(Instant::now());
                    self.queue(jobs);
                    self.begin();
                    continue;
                }
            };
            // A job that was aborted belongs to a daemon that ends.
            let Ok(done) = done else { continue };
            if let Some(trouble) = self.note(done) {
                return News::Trouble(trouble);
            }
        }
    }

    /// Returns state and counters of each hook in the order of the file.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let row = |hook: &Arc<HookConfig>| {
            let row = self.known.get(&hook.name).cloned().unwrap_or_default();
            let (waiting, running) = self.queues.count(&hook.name);
            let waiting = waiting + self.gathering.count(&hook.name);
            Row { waiting, running, ..row }
        };
        self.configured.iter().map(row).collect()
    }

    /// Lets what waits be done for so long, then kills what runs. For the end of the daemon. Tells
    /// of every hook that has failed meanwhile, was killed or was not begun.
    pub async fn finish(mut self, limit: Duration) -> Vec<Trouble> {
        self.running_max = RUNNING_AT_END_MAX;
        let jobs = self.gathering.close_all();
        self.queue(jobs);
        self.begin();
        let mut troubles = std::mem::take(&mut self.dropped);
        let idle = async {
            while let Some(done) = self.running.join_next().await {
                troubles.extend(done.ok().and_then(|done| self.note(done)));
            }
        };
        if timeout(limit, idle).await.is_err() {
            // What was run is killed as soon as nobody waits for it.
            self.running.shutdown().await;
        }
        let cut_off = |(job, began): (Job, bool)| {
            let (hook, happening) = (job.hook.name.clone(), job.happening);
            Trouble::CutOff { hook, happening, began }
        };
        troubles.extend(self.queues.take_all().into_iter().map(cut_off));
        troubles
    }

    fn note(&mut self, done: Done) -> Option<Trouble> {
        let Done { job, outcome } = done;
        self.queues.done(&job);
        self.note_end(&job.happening);
        let failed = outcome.is_err();
        let words = outcome.unwrap_or_else(|words| words);
        if let Some(row) = self.known.get_mut(&job.hook.name) {
            row.runs += 1;
            row.failures += u64::from(failed);
            row.last = format!("{}: {words}", job.happening.words());
        }
        self.begin();
        let (hook, happening) = (job.hook.name.clone(), job.happening);
        failed.then_some(Trouble::Failed { hook, happening, words })
    }

    /// Notes that nothing is left to be done for this, if somebody waits for that.
    fn note_end(&mut self, happening: &Arc<Happening>) {
        if happening.ticket.is_some() && !self.queues.has(happening) {
            self.ended.push(Arc::clone(happening));
        }
    }

    fn begin(&mut self) {
        while self.running.len() < self.running_max {
            let Some(job) = self.queues.next() else { return };
            let line = self.lines.get(&job.hook.name).cloned();
            self.running.spawn(do_job(job, line));
        }
    }
}

/// Waits until then; for ever if that is never.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Gives readers of FIFOs that have come the present state. Ends each tenth of a second; never without FIFOs.
async fn look_for_readers(readers: &mut Option<Interval>, lines: &BTreeMap<String, Line>) {
    if lines.is_empty() {
        return std::future::pending().await;
    }
    let readers = readers.get_or_insert_with(|| {
        let mut readers = interval(READERS_EVERY);
        readers.set_missed_tick_behavior(MissedTickBehavior::Delay);
        readers
    });
    readers.tick().await;
    lines.values().for_each(Line::greet);
}

async fn do_job(job: Job, line: Option<Line>) -> Done {
    let outcome = match (&job.hook.deed, line) {
        (Deed::Line(path), line) => {
            // A reload may have taken the hook away while this waited.
            let line = line.unwrap_or_else(|| Line::new(path.clone()));
            let state = job.happening.occasion.keepalived();
            let group = state.and_then(|_| job.happening.group.clone());
            line.write(group, line_for(&job.happening)).await
        }
        (Deed::Run { command, user, timeout, style }, _) => {
            let mut command = command.clone();
            command.extend(arguments(&job.happening, *style));
            let environment = job.happening.environment.clone();
            let program = Program { command, user: user.clone(), environment, timeout: *timeout };
            let outcome = Runner::default().run(&program).await;
            let words = match outcome.output.lines().next() {
                Some(first) => format!("{}: {first}", outcome.ending),
                None => outcome.ending.to_string(),
            };
            match outcome.ending {
                Ending::Exited(0) => Ok(words),
                Ending::Exited(_)
                | Ending::Killed(_)
                | Ending::TimedOut(_)
                | Ending::Flooded
                | Ending::Cancelled
                | Ending::NotStarted(_) => Err(words),
            }
        }
    };
    Done { job, outcome: outcome.map_err(shortened).map(shortened) }
}

/// What goes into one line of a table: programs print what they like.
fn shortened(words: String) -> String {
    const WORDS_MAX: usize = 200;
    let visible = words.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    visible.take(WORDS_MAX).collect()
}

fn arguments(happening: &Happening, style: Style) -> Vec<String> {
    match (style, happening.occasion.keepalived()) {
        (Style::Keepalived, Some(state)) => {
            let name = happening.group.clone().unwrap_or_default();
            ["INSTANCE", &name, state, PRIORITY].map(str::to_owned).to_vec()
        }
        (Style::Buoy | Style::Keepalived, _) => Vec::new(),
    }
}

fn line_for(happening: &Happening) -> String {
    state_line(happening.group.as_deref().unwrap_or_default(), happening.occasion)
}

fn state_line(name: &str, occasion: Occasion) -> String {
    let state = occasion.keepalived().unwrap_or_default();
    format!("INSTANCE \"{name}\" {state} {PRIORITY}\n")
}

#[cfg(test)]
mod tests;
