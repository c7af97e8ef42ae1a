//! The commands that a running daemon answers, and what its refusals mean as exit codes.

use std::io;
use std::path::Path;

use crate::control::client;
use crate::exit::Exit;

use super::Streams;

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
    writeln!(streams.err, "buoy: {error}")?;
    Ok(match error.exit_code() {
        4 => Exit::Unreachable,
        5 => Exit::Refused,
        _ => Exit::Failed,
    })
}
