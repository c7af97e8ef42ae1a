//! The commands that a running daemon answers, and what its refusals mean as exit codes.

use std::io;
use std::path::Path;

use crate::control::client;
use crate::exit::Exit;

use super::{Failure, Streams};

/// Asks the daemon behind `socket` and writes what it answers.
pub(super) fn run(
    question: &client::Command,
    socket: &Path,
    json: bool,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let Err(error) = client::run(question, socket, json, streams.out) else {
        return Ok(Exit::Done);
    };
    let exit = match error.exit_code() {
        4 => Exit::Unreachable,
        5 => Exit::Refused,
        _ => Exit::Failed,
    };
    writeln!(streams.err, "buoy: {error}")?;
    // A refusal of the daemon has been passed on already.
    if json && !matches!(error, client::Error::Refused(_) | client::Error::Output(_)) {
        let failure = Failure { code: error.code(), details: error.details() };
        failure.write(exit, &error.to_string(), streams)?;
    }
    Ok(exit)
}
