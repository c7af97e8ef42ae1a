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
    match client::run(question, socket, json, streams.out) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => failed(&error, json, streams),
    }
}

/// Writes why there was no answer, and returns the exit code that says so.
pub(super) fn failed(
    error: &client::Error,
    json: bool,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
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
