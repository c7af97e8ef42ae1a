//! A restart in place, as the shell sees it: one process leaves a file, the next takes it.
//!
//! ```text
//!   first process                         runtime directory          second process
//!   protocol thread rests --> Estate ---> restart  --- renamed --->  restart.taken
//!   last renewal of the lease                 \                      adopts addresses and gate
//!   guardian is to stand by                    \-- renamed by the guardian when the lease is
//!   kernel thread leaves all as it is               over: restart.expired, and it acts
//! ```
//!
//! The file is a token: whoever renames it first has it, so either another process goes on with
//! this life or the guardian ends it, and never both. That the next process goes on is seen by its
//! name (see `kernel::presence`), not by the file: one that took the file and failed, or runs under
//! another cluster's name, does not keep the guardian from acting. The file is used once: sequences
//! that were issued under a key must not be issued again. Every failure ends in what would happen without a restart
//! in place: the old process hands over, or the new one begins a new life and sweeps.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use super::clock;
use super::host;
use super::runtime_directory::RuntimeDirectory;
use super::setup;
use super::state_file::{self, Estate, Origin, Unusable};
use crate::config::{Config, Restart};
use crate::control::events;
use crate::control::names::Names;
use crate::control::recorder::Recorder;
use crate::kernel::{self, Mark};
use crate::protocol::{Incarnation, Instant, NodeId, PromiseRecord};

/// How the daemon ends.
#[derive(Debug)]
pub(crate) enum Parting {
    /// With nothing left but what this node has promised as a voter, if that is known.
    Ordinary(Option<Box<PromiseRecord>>),
    /// For another process to go on.
    InPlace(StandBy),
}

/// What the guardian waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StandBy {
    /// The token.
    pub(crate) file: PathBuf,
    /// When it is to act if nobody has taken that.
    pub(crate) until: Instant,
}

/// Leaves the file. On failure the guardian finds the daemon dead and acts at once.
pub(crate) fn leave(
    directory: &RuntimeDirectory,
    (config, me): (&Config, NodeId),
    estate: &Estate,
) -> Parting {
    // Whichever door closes first.
    let until = estate.granted_until.map_or(estate.open_until, |at| at.min(estate.open_until));
    let written = origin(config, me)
        .map(|origin| state_file::text(estate, &origin, env!("CARGO_PKG_VERSION")))
        .and_then(|text| directory.leave_state(&text));
    if let Err(error) = written {
        tracing::error!(%error, "no restart in place: the state file cannot be written");
    }
    // Without a file the guardian acts when it looks for it.
    Parting::InPlace(StandBy { file: directory.state_file(), until })
}

/// Takes the file, if there is one and this process can go on from there; tells why if it cannot.
pub(crate) fn take(
    directory: &RuntimeDirectory,
    config: &Config,
    me: NodeId,
    (mark, tell): (Mark, impl Fn(&Unusable)),
) -> Option<Estate> {
    let estate = match directory.take_state() {
        Ok(text) => judge(&text?, config, (me, mark)),
        Err(error) => Err(Unusable::Unreadable(error)),
    };
    estate.inspect_err(|why| tell(why)).ok()
}

fn judge(text: &str, config: &Config, (me, mark): (NodeId, Mark)) -> Result<Estate, Unusable> {
    if config.restart != Restart::InPlace {
        return Err(Unusable::NotWanted);
    }
    let origin = origin(config, me).map_err(Unusable::Unreadable)?;
    let estate = state_file::read(text, &origin)?;
    let groups = setup::groups(config, me);
    let present = kernel::whole_groups(&groups, mark).map_err(Unusable::Unreadable)?;
    let configuration = config.protocol(me, Incarnation(0), 0, host::software(), false);
    let fits = estate.memory.fits(clock::now(), &configuration, &present);
    fits.map_err(Unusable::Misfit)?;
    Ok(estate)
}

/// Tells people why a new life begins although the last was to go on.
pub(crate) fn tell(unusable: &Unusable, recorder: &Recorder, names: &Names) {
    let record = events::not_continued(unusable.words(names), names);
    record.log();
    recorder.note(SystemTime::UNIX_EPOCH + clock::wall(), &record);
}

fn origin(config: &Config, me: NodeId) -> std::io::Result<Origin> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    // Times in the file are of a clock that versions before 0.2 did not go by: neither reads what the
    // other wrote for its own.
    let boot = format!("{boot} raw");
    Ok(Origin { cluster: config.cluster.clone(), node: me, boot })
}
