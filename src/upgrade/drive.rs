//! One upgrade from its first step to its last, against whatever cluster it is given.
//!
//! ```text
//!   hold -> for each group of nodes, the first alone:
//!             may they go? -> record -> drain -> run the command -> wait until ready -> undrain
//!                                          |          |                 |
//!                                          +----------+-----------------+--> stop, or roll back
//!   -> end of the record -> release: now every node gets its share
//! ```
//!
//! Because nothing moves for balance meanwhile, a node that is done and empty is the least loaded: what
//! is drained next goes there, and moves once. After a failure the record and the hold stand, and the
//! node stays drained: the upgrade can be resumed or aborted from any node.

use std::time::Duration;

use super::course::{self, Course};
use crate::control::response::Status;

/// What becomes of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// All stays as it is.
    Stop,
    /// The nodes that were changed are changed back, the last first.
    RollBack,
}

/// What is to be done with each node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Work {
    /// Run with `{node}` replaced.
    pub(super) run: String,
    /// Run likewise to take it back.
    pub(super) roll_back: Option<String>,
    /// How long a node must have been ready.
    pub(super) soak: Duration,
    /// What becomes of a failure.
    pub(super) on_failure: OnFailure,
}

/// What an upgrade needs of the world.
pub(super) trait World {
    /// Returns what is known now.
    fn status(&mut self) -> Result<Status, String>;
    /// Lets nothing move for balance or as fail-back.
    fn hold(&mut self) -> Result<(), String>;
    /// Ends that.
    fn release(&mut self) -> Result<(), String>;
    /// Writes the record; in place of one that stands only if `again`.
    fn record(&mut self, words: &str, again: bool) -> Result<(), String>;
    /// Ends the record.
    fn end_record(&mut self) -> Result<(), String>;
    /// Takes everything off a node, and waits for that.
    fn drain(&mut self, node: &str) -> Result<(), String>;
    /// Lets it have groups again.
    fn undrain(&mut self, node: &str) -> Result<(), String>;
    /// Runs the command for each node, all at the same time. Returns what failed, by node.
    fn run(&mut self, command: &str, nodes: &[String]) -> Vec<(String, String)>;
    /// Waits until a node is ready.
    fn ready(&mut self, node: &str, soak: Duration) -> Result<(), String>;
    /// Whether the operator wants no further step to be begun.
    fn stop_is_wanted(&self) -> bool;
    /// Tells of a step.
    fn tell(&mut self, step: &Step<'_>);
}

/// Something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step<'a> {
    /// How many nodes are done.
    pub(super) done: usize,
    /// Of how many.
    pub(super) of: usize,
    /// The node it is about.
    pub(super) node: Option<&'a str>,
    /// What kind of step, one word.
    pub(super) word: &'static str,
    /// In words.
    pub(super) text: &'a str,
}

/// How an upgrade ended that did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Before anything was changed, or between two steps.
    Refused(String),
    /// Within a step; the node is drained.
    Failed(String),
    /// Everything was taken back.
    RolledBack(String),
}

pub(super) struct Drive<'a, W> {
    pub(super) world: &'a mut W,
    pub(super) course: Course,
    pub(super) work: &'a Work,
}

impl<W: World> Drive<'_, W> {
    /// Does all that is left to do.
    pub(super) fn go(&mut self, resumed: bool) -> Result<(), Stopped> {
        let status = self.world.status().map_err(Stopped::Refused)?;
        let mut next = self.course.next();
        if let Some(why) = self.course.refusal(&status, &next) {
            return Err(Stopped::Refused(why));
        }
        let words = self.course.words(&status, &next);
        self.world.record(&words, resumed).map_err(Stopped::Refused)?;
        self.world.hold().map_err(Stopped::Failed)?;
        let mut again = resumed;
        while !next.is_empty() {
            if let Err(why) = self.step(&next, again) {
                return Err(self.fail(&next, &why));
            }
            again = false;
            next = self.course.next();
            let status = self.world.status().map_err(Stopped::Refused)?;
            if course::record(&status).is_none() {
                return Err(Stopped::Refused("it has been aborted".to_owned()));
            }
            let words = self.course.words(&status, &next);
            self.world.record(&words, true).map_err(Stopped::Refused)?;
            if !next.is_empty() && self.world.stop_is_wanted() {
                let text = "you have stopped it after a step; 'buoy upgrade --resume' continues, \
                            'buoy upgrade --abort' ends it";
                return Err(Stopped::Refused(text.to_owned()));
            }
            if !next.is_empty()
                && let Some(why) = self.course.refusal(&status, &next)
            {
                return Err(Stopped::Refused(why));
            }
        }
        self.world.end_record().map_err(Stopped::Failed)?;
        self.world.release().map_err(Stopped::Failed)
    }

    fn step(&mut self, next: &[String], again: bool) -> Result<(), String> {
        for node in next {
            let text = if again { "drain again" } else { "drain" };
            self.tell(Some(node), "drain", text);
            self.world.drain(node)?;
        }
        self.change(&self.work.run, next)?;
        for node in next {
            self.world.ready(node, self.work.soak)?;
            self.world.undrain(node)?;
            self.course.done.insert(node.clone());
            self.tell(Some(node), "done", "ready and in service again");
        }
        Ok(())
    }

    fn change(&mut self, command: &str, nodes: &[String]) -> Result<(), String> {
        for node in nodes {
            self.tell(Some(node), "run", &super::command_for(command, node));
        }
        let failed = self.world.run(command, nodes);
        for (node, why) in &failed {
            self.tell(Some(node), "failed", why);
        }
        failed.into_iter().next().map_or(Ok(()), |(node, why)| Err(format!("{node}: {why}")))
    }

    fn fail(&mut self, next: &[String], why: &str) -> Stopped {
        self.tell(None, "failed", why);
        let (OnFailure::RollBack, Some(command)) =
            (self.work.on_failure, self.work.roll_back.clone())
        else {
            return Stopped::Failed(why.to_owned());
        };
        // What was under way is drained and goes first, then the done ones, the last first.
        let done: Vec<String> = self.course.nodes.iter().rev().cloned().collect();
        let done = done.into_iter().filter(|node| self.course.done.contains(node));
        let under_way = next.iter().filter(|node| !self.course.done.contains(*node)).cloned();
        let back: Vec<String> = under_way.chain(done).collect();
        for node in &back {
            let taken_back = self.take_back(&command, node);
            if let Err(again) = taken_back {
                self.tell(Some(node), "failed", &again);
                return Stopped::Failed(format!("{why}; and back: {again}"));
            }
        }
        let ended = self.world.end_record().and_then(|()| self.world.release());
        match ended {
            Ok(()) => Stopped::RolledBack(why.to_owned()),
            Err(again) => Stopped::Failed(format!("{why}; and back: {again}")),
        }
    }

    fn take_back(&mut self, command: &str, node: &str) -> Result<(), String> {
        self.tell(Some(node), "roll_back", "drain");
        self.world.drain(node)?;
        self.change(command, &[node.to_owned()])?;
        self.world.ready(node, self.work.soak)?;
        self.world.undrain(node)?;
        self.course.done.remove(node);
        self.tell(Some(node), "rolled_back", "ready and in service again");
        Ok(())
    }

    fn tell(&mut self, node: Option<&str>, word: &'static str, text: &str) {
        let of = self.course.nodes.len();
        let done = self.course.nodes.iter().filter(|node| self.course.done.contains(*node)).count();
        self.world.tell(&Step { done, of, node, word, text });
    }
}

#[cfg(test)]
mod tests {
    use super::super::course::GroupSize;
    use super::super::course::tests::status;
    use super::*;
    use crate::control::response::StandingOrder;

    /// A cluster that does what it is told and writes it down.
    struct Fake {
        status: Status,
        log: Vec<String>,
        /// The command that fails, with its node.
        fails: &'static str,
        /// The node that is not ready.
        unready: &'static str,
        /// The operator wants it to stop.
        stops: bool,
    }

    impl Fake {
        fn new(fails: &'static str, unready: &'static str) -> Self {
            let status = status(&["lb1", "lb2", "lb3"]);
            Self { status, log: Vec::new(), fails, unready, stops: false }
        }

        fn drains(&mut self, node: &str, on: bool) {
            let mut nodes = self.status.nodes.iter_mut();
            nodes.find(|it| it.name == node).expect("a node").draining = on;
        }
    }

    impl World for Fake {
        fn status(&mut self) -> Result<Status, String> {
            Ok(self.status.clone())
        }

        fn hold(&mut self) -> Result<(), String> {
            self.log.push("hold".to_owned());
            Ok(())
        }

        fn release(&mut self) -> Result<(), String> {
            self.log.push("release".to_owned());
            Ok(())
        }

        fn record(&mut self, words: &str, again: bool) -> Result<(), String> {
            if !again && course::record(&self.status).is_some() {
                return Err("an upgrade runs".to_owned());
            }
            let reason = Some(words.to_owned());
            let (order, at) = ("upgrade".to_owned(), "lb1".to_owned());
            let (node, by, persists, left_ms) = (None, None, false, None);
            self.status.orders =
                vec![StandingOrder { order, node, by, at, reason, persists, left_ms }];
            Ok(())
        }

        fn end_record(&mut self) -> Result<(), String> {
            self.status.orders.clear();
            Ok(())
        }

        fn drain(&mut self, node: &str) -> Result<(), String> {
            self.log.push(format!("drain {node}"));
            self.drains(node, true);
            Ok(())
        }

        fn undrain(&mut self, node: &str) -> Result<(), String> {
            self.log.push(format!("undrain {node}"));
            self.drains(node, false);
            Ok(())
        }

        fn run(&mut self, command: &str, nodes: &[String]) -> Vec<(String, String)> {
            let all = nodes.iter().map(|node| (node, super::super::command_for(command, node)));
            let all: Vec<_> = all.collect();
            self.log.extend(all.iter().map(|(_, command)| command.clone()));
            let failed = all.into_iter().filter(|(_, command)| *command == self.fails);
            failed.map(|(node, _)| (node.clone(), "exit status 1".to_owned())).collect()
        }

        fn ready(&mut self, node: &str, _soak: Duration) -> Result<(), String> {
            let unready = node == self.unready && self.log.last() == Some(&format!("up {node}"));
            if unready { Err(format!("{node} was not ready")) } else { Ok(()) }
        }

        fn stop_is_wanted(&self) -> bool {
            self.stops
        }

        fn tell(&mut self, _step: &Step<'_>) {}
    }

    fn drive(fake: &mut Fake, on_failure: OnFailure, resume: bool) -> Result<(), Stopped> {
        let work = Work {
            run: "up {node}".to_owned(),
            roll_back: Some("down {node}".to_owned()),
            soak: Duration::ZERO,
            on_failure,
        };
        let mut course =
            Course::new(&fake.status, &[], GroupSize::Nodes(1), None).expect("names of nodes");
        assert_eq!(course.resume(&fake.status), resume);
        Drive { world: fake, course, work: &work }.go(resume)
    }

    fn words(log: &[String]) -> String {
        log.join(", ")
    }

    #[test]
    fn every_node_is_drained_changed_and_put_back_while_nothing_else_moves() {
        let mut fake = Fake::new("", "");
        assert_eq!(drive(&mut fake, OnFailure::Stop, false), Ok(()));
        assert_eq!(
            words(&fake.log),
            "hold, drain lb2, up lb2, undrain lb2, drain lb3, up lb3, undrain lb3, \
             drain lb1, up lb1, undrain lb1, release"
        );
        assert_eq!(course::record(&fake.status), None);
    }

    #[test]
    fn a_failure_stops_it_and_it_is_resumed_where_it_was() {
        for (fails, unready) in [("up lb3", ""), ("", "lb3")] {
            let mut fake = Fake::new(fails, unready);
            let stopped = drive(&mut fake, OnFailure::Stop, false);
            assert!(matches!(stopped, Err(Stopped::Failed(_))), "{stopped:?}");
            let log = words(&fake.log);
            assert!(log.ends_with("undrain lb2, drain lb3, up lb3"), "{log}");
            let reason = course::record(&fake.status).and_then(|it| it.reason.clone());
            assert_eq!(reason.as_deref(), Some("2 1 of 3 done, now lb3"));
            (fake.fails, fake.unready) = ("", "");
            fake.log.clear();
            assert_eq!(drive(&mut fake, OnFailure::Stop, true), Ok(()));
            let log = words(&fake.log);
            assert_eq!(
                log,
                "hold, drain lb3, up lb3, undrain lb3, drain lb1, up lb1, undrain lb1, release"
            );
        }
    }

    #[test]
    fn a_failure_is_rolled_back_the_last_first() {
        let mut fake = Fake::new("up lb1", "");
        let stopped = drive(&mut fake, OnFailure::RollBack, false);
        assert_eq!(stopped, Err(Stopped::RolledBack("lb1: exit status 1".to_owned())));
        let log = words(&fake.log);
        let back = "up lb1, drain lb1, down lb1, undrain lb1, drain lb3, down lb3, undrain lb3, \
                    drain lb2, down lb2, undrain lb2, release";
        assert!(log.ends_with(back), "{log}");
        assert_eq!(course::record(&fake.status), None);
    }

    #[test]
    fn it_is_stopped_between_two_steps_and_resumed() {
        let mut fake = Fake::new("", "");
        fake.stops = true;
        let stopped = drive(&mut fake, OnFailure::RollBack, false);
        assert!(matches!(stopped, Err(Stopped::Refused(_))), "{stopped:?}");
        assert_eq!(words(&fake.log), "hold, drain lb2, up lb2, undrain lb2");
        fake.stops = false;
        fake.log.clear();
        assert_eq!(drive(&mut fake, OnFailure::RollBack, true), Ok(()));
        assert!(words(&fake.log).starts_with("hold, drain lb3, up lb3"), "{:?}", fake.log);
    }

    #[test]
    fn what_must_not_begin_changes_nothing() {
        let mut fake = Fake::new("", "");
        fake.drains("lb3", true);
        let stopped = drive(&mut fake, OnFailure::Stop, false);
        assert_eq!(stopped, Err(Stopped::Refused("lb3 is drained".to_owned())));
        assert_eq!(fake.log, Vec::<String>::new());
        fake.drains("lb3", false);
        fake.record("x", false).expect("there is none");
        let stopped = drive(&mut fake, OnFailure::Stop, false);
        assert_eq!(stopped, Err(Stopped::Refused("an upgrade runs".to_owned())));
        assert_eq!(fake.log, Vec::<String>::new());
    }
}
