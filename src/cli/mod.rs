//! The command line: what may be typed, and which module answers it.
//!
//! ```text
//!  run  -> daemon           status events explain drain undrain move reload -> control::client
//!  lab  -> lab              check keygen -> here, with config
//! ```
//!
//! Results go to standard output, what went wrong to standard error, and every command ends in one
//! [`Exit`]. A reader that closes the pipe early (`buoy events | head`) ends the command quietly.

mod arguments;
mod check;
mod keygen;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::exit::Exit;

use arguments::{Arguments, Command};

/// Runs the command given in the process arguments and tells the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refusal) => return refused_usage(&refusal).into(),
    };
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut streams = Streams { out: &mut out, err: &mut err };
    match dispatch(arguments, &mut streams) {
        Ok(exit) => exit.into(),
        Err(closed) if closed.kind() == io::ErrorKind::BrokenPipe => Exit::Done.into(),
        Err(unwritten) => {
            // If standard error is closed as well, only the exit code is left to tell.
            let _ = writeln!(err, "buoy: the result cannot be written: {unwritten}");
            Exit::Failed.into()
        }
    }
}

/// Where results and complaints go.
struct Streams<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

/// Help and version are asked for; everything else is wrong usage.
fn refused_usage(refusal: &clap::Error) -> Exit {
    let printed = refusal.print();
    let asked = matches!(refusal.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    match (asked, printed) {
        (true, Ok(())) => Exit::Done,
        (true, Err(closed)) if closed.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        (true, Err(_)) => Exit::Failed,
        (false, _) => Exit::Usage,
    }
}

fn dispatch(arguments: Arguments, streams: &mut Streams<'_>) -> io::Result<Exit> {
    let Arguments { config, socket, json, command } = arguments;
    let config_or_default = || config.clone().unwrap_or_else(|| PathBuf::from(arguments::CONFIG));
    match command {
        Command::Check { file } => {
            let path = file.unwrap_or_else(config_or_default);
            check::run(&path, json, streams)
        }
        Command::Keygen { path } => keygen::run(&path, json, streams),
        Command::Run(_) => missing("run", streams),
        Command::Lab { .. } => missing("lab", streams),
        Command::Status
        | Command::Events(_)
        | Command::Explain { .. }
        | Command::Drain(_)
        | Command::Undrain(_)
        | Command::Move { .. }
        | Command::Reload => missing("control", streams),
    }
}

/// The seam: commands whose module is not merged yet say so.
fn missing(module: &str, streams: &mut Streams<'_>) -> io::Result<Exit> {
    writeln!(streams.err, "buoy: module {module} is not in this build")?;
    Ok(Exit::Failed)
}
