//! One look of one check, whatever its type.
//!
//! What is kept from one look to the next is kept here: the process that was found, the
//! certificates that are trusted, the program that is still being ended. Each look returns in a
//! few words what it found; whoever calls has the timeout and may drop a look at any time.

use std::time::Duration;

use super::http::Asker;
use super::local::Finder;
use super::systemd::Manager;
use super::{Look, haproxy, local, network, stream};
use crate::config::{CheckConfig, CheckKind};
use crate::programs::{Ending, OUTPUT_KEPT, Program, Runner};

/// Programs have the limit themselves and tell how they ended: a little later than others.
const PROGRAM_GRACE: Duration = Duration::from_millis(500);

/// Looks for one check, again and again.
pub(super) struct Looker {
    check: CheckConfig,
    asker: Option<Asker>,
    finder: Finder,
    manager: Manager,
    runner: Runner,
}

impl Looker {
    pub(super) fn new(check: &CheckConfig) -> Self {
        let asker = match &check.kind {
            CheckKind::Http(http) => Some(Asker::new((**http).clone())),
            CheckKind::Tcp { .. }
            | CheckKind::Haproxy { .. }
            | CheckKind::Process(_)
            | CheckKind::Systemd { .. }
            | CheckKind::File { .. }
            | CheckKind::Gateway { .. }
            | CheckKind::Route { .. }
            | CheckKind::Exec { .. } => None,
        };
        Self {
            check: check.clone(),
            asker,
            finder: Finder::default(),
            manager: Manager::of_system(),
            runner: Runner::default(),
        }
    }

    /// How much longer than its timeout a look may take, because it keeps to that by itself.
    pub(super) fn grace(&self) -> Duration {
        match self.check.kind {
            CheckKind::Exec { .. } => PROGRAM_GRACE,
            CheckKind::Tcp { .. }
            | CheckKind::Http(_)
            | CheckKind::Haproxy { .. }
            | CheckKind::Process(_)
            | CheckKind::Systemd { .. }
            | CheckKind::File { .. }
            | CheckKind::Gateway { .. }
            | CheckKind::Route { .. } => Duration::ZERO,
        }
    }

    /// Looks once.
    pub(super) async fn look(&mut self) -> Look {
        match &self.check.kind {
            CheckKind::Tcp { at } => stream::connect(at).await.map(|_| "accepted".to_owned()),
            CheckKind::Http(_) => match &mut self.asker {
                Some(asker) => asker.look().await,
                None => Err("is no http check".to_owned()),
            },
            CheckKind::Haproxy { at, frontends, backends } => {
                haproxy::look(at, frontends, backends).await
            }
            CheckKind::Process(named) => self.finder.look(named).await,
            CheckKind::File { file, wanted } => local::look_at_file(file.clone(), *wanted).await,
            CheckKind::Gateway { address, interface, ask } => {
                network::look_at_gateway(*address, interface.as_deref(), *ask).await
            }
            CheckKind::Route { address, interface, connected } => {
                network::look_at_route(*address, interface.as_deref(), *connected).await
            }
            CheckKind::Exec { command, user } => {
                let program = self.program(command.clone(), user.clone());
                let outcome = self.runner.run(&program).await;
                let said = if outcome.output.is_empty() {
                    outcome.ending.to_string()
                } else {
                    debug_assert!(outcome.output.len() <= 3 * OUTPUT_KEPT);
                    format!("{}: {}", outcome.ending, outcome.output)
                };
                match outcome.ending {
                    Ending::Exited(0) => Ok(said),
                    Ending::Exited(_)
                    | Ending::Killed(_)
                    | Ending::TimedOut(_)
                    | Ending::Flooded
                    | Ending::Cancelled
                    | Ending::NotStarted(_) => Err(said),
                }
            }
            CheckKind::Systemd { unit } => self.manager.look(unit).await,
        }
    }

    fn program(&self, command: Vec<String>, user: Option<String>) -> Program {
        let environment = vec![
            ("BUOY_CHECK".to_owned(), self.check.name.clone()),
            ("BUOY_POOLS".to_owned(), self.check.pools.join(" ")),
        ];
        Program { command, user, environment, timeout: self.check.timeout }
    }
}
