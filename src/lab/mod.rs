//! `buoy lab`: a whole cluster on this machine, with failures to watch and figures of them.
//!
//! ```text
//!  story, bench      what is done in which order, what is printed
//!    experiment      one fault until all is at rest, and its figures
//!      fault         what can happen to a node
//!      cluster       network + daemons + probing client + watch of the kernels
//!        network, namespace, filter, process, plan
//!        probe, record, echo       what a client sees
//!        ownership, dump           what the kernels have
//!    stalls            whether the machine itself stood still
//! ```
//!
//! It runs the same executable in every node's namespace and sees it as a user does: by its
//! commands and its file. The tests in `netns-tests/` are built from the same parts. Nothing of
//! it is left behind, however it ends: the kernel takes back namespaces that nobody is in.

pub mod bench;
pub mod clock;
pub mod cluster;
pub mod dump;
pub mod echo;
pub mod experiment;
pub mod fault;
pub mod filter;
pub mod interruption;
mod muted;
pub mod namespace;
pub mod network;
pub mod ownership;
pub mod plan;
pub mod probe;
pub mod process;
pub mod record;
mod soak;
pub mod stage;
pub mod stalls;
pub mod story;

use std::io;
use std::path::{Path, PathBuf};
use std::{env, fmt};

use crate::config;

use self::interruption::Interruption;
use self::namespace::NamespaceError;
use self::plan::{Given, Plan, Shape};

/// What the lab is to do.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The user's own file; without one, three nodes are made up.
    pub config: Option<PathBuf>,
    /// Repeat each case so often and print a table of figures, instead of telling the story.
    pub bench: Option<u32>,
    /// Of these, the cases of mode majority instead of those of mode availability.
    pub majority: bool,
    /// Measure long quiet instead: own cost, starvation, random loss.
    pub soak: bool,
}

/// Why the lab ended before its end.
#[derive(Debug)]
pub enum Error {
    /// The given file has faults; all of them are told.
    Config(config::Refused),
    /// The machine does not let the lab work.
    System(NamespaceError),
    /// The addresses were not all answered after the start; these are the daemons' logs.
    NotReady(String),
    /// Nobody reads the output.
    Output(io::Error),
    /// Ctrl-C, or the like.
    Interrupted,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(refused) => refused.fmt(out),
            Self::System(error @ NamespaceError::System(..)) => {
                write!(out, "{error}")?;
                let source = std::error::Error::source(error);
                source.map_or(Ok(()), |source| write!(out, ": {source}"))
            }
            Self::System(error) => error.fmt(out),
            Self::NotReady(logs) => {
                write!(out, "the cluster did not come up; the logs of its daemons:\n{logs}")
            }
            Self::Output(error) => write!(out, "write the output: {error}"),
            Self::Interrupted => out.write_str("interrupted; everything has been cleaned up"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(_) | Self::NotReady(_) | Self::Interrupted => None,
            Self::System(error) => Some(error),
            Self::Output(error) => Some(error),
        }
    }
}

impl From<NamespaceError> for Error {
    fn from(error: NamespaceError) -> Self {
        Self::System(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Runs the lab and prints what happens to `out`. To be called before the process has a second
/// thread: without root, only a process with one thread may enter a user namespace.
///
/// # Errors
/// See [`Error`]. Everything that was made is gone in any case.
pub fn run(options: &Options, out: &mut impl io::Write) -> Result<(), Error> {
    let plan = options.config.as_deref().map(given).transpose()?;
    namespace::enter_user_namespace()?;
    let interruption = Interruption::listen()?;
    let program = env::current_exe()
        .map_err(|error| NamespaceError::System("find the own executable", error))?;
    match options.bench {
        _ if options.soak => soak::run(&program, &interruption, out),
        Some(runs) => bench::run((runs, options.majority), &program, &interruption, out),
        None => {
            let plan = plan.unwrap_or_else(|| Shape::of_the_story().plan());
            story::run(plan, &program, &interruption, out)
        }
    }
}

/// The plan for the user's own file.
fn given(file: &Path) -> Result<Plan, Error> {
    let config = config::load(file).map_err(Error::Config)?;
    // The daemons are started from elsewhere.
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let nodes = config.nodes.iter().map(|node| (node.name.clone(), node.addresses.clone()));
    let majority = config.groups.iter().filter(|group| group.needs_majority());
    let majority = majority.flat_map(|group| &group.vips).map(|vip| vip.address).collect();
    let groups = config.groups.iter().map(|group| {
        let addresses = group.vips.iter().map(|vip| vip.address).collect();
        (addresses, group.interface.clone())
    });
    let (nodes, groups) = (nodes.collect(), groups.collect());
    Ok(Given { file, nodes, groups, majority }.plan())
}
