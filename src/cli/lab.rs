//! `buoy lab`: hands the user's wishes to `lab` and maps how it ended.

use std::io;

use crate::exit::Exit;
use crate::lab::{self, Error, Options};

use super::{Failure, Streams};

/// Runs the lab until its end, or until Ctrl-C. What it shows is for people only.
pub(super) fn run(options: &Options, json: bool, streams: &mut Streams<'_>) -> io::Result<Exit> {
    if json {
        let reason = "buoy lab prints text for people: leave --json out";
        writeln!(streams.err, "error: {reason}")?;
        Failure { code: "usage", details: &[] }.write(Exit::Usage, reason, streams)?;
        return Ok(Exit::Usage);
    }
    let error = match lab::run(options, &mut streams.out) {
        Ok(()) => return Ok(Exit::Done),
        Err(Error::Output(error)) => return Err(error),
        Err(error) => error,
    };
    writeln!(streams.err, "buoy: {error}")?;
    Ok(match error {
        Error::Config(_) => Exit::Configuration,
        Error::System(_) | Error::NotReady(_) | Error::Output(_) | Error::Interrupted => {
            Exit::Failed
        }
    })
}
