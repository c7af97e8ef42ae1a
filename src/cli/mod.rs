//! The command line: what may be typed, and which module answers it.
//!
//! ```text
//!  run  -> daemon           status events explain plan drain undrain move hold release ready reload
//!                             -> control::client
//!  serve -> serve           top, status --watch -> top         upgrade -> upgrade
//!  lab  -> lab              dns -> dns
//!  check keygen import report -> here, with config, keepalived
//! ```
//!
//! Results go to standard output, what went wrong to standard error, and every command ends in one
//! [`Exit`]. A reader that closes the pipe early (`buoy events | head`) ends the command quietly.

mod all_nodes;
mod arguments;
mod check;
mod dns;
mod import;
mod inquiry;
mod keygen;
mod lab;
mod outside;
mod panics;
mod plan;
mod report;
mod restart;
mod upgrade;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use serde_json::json;

use crate::control::client::Command as Question;
use crate::control::ready::Readiness;
use crate::control::selection::Selection;
use crate::exit::Exit;
use crate::lab::Options;
use crate::top::{self, Form};
use crate::{daemon, logging, serve};

use arguments::{Arguments, Command, Events, Status, Target};

/// Runs the command given in the process arguments and tells the exit code.
#[must_use]
pub fn main() -> ExitCode {
    panics::end_the_process();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refusal) => {
            let json = std::env::args_os().any(|argument| argument == "--json");
            return refused_usage(&refusal, json).into();
        }
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

/// What went wrong, for scripts.
struct Failure<'a> {
    /// One word.
    code: &'a str,
    /// More sentences.
    details: &'a [String],
}

impl Failure<'_> {
    /// Writes it as one object, the answer to a command with `--json`.
    fn write(&self, exit: Exit, reason: &str, streams: &mut Streams<'_>) -> io::Result<()> {
        let Self { code, details } = self;
        let error = json!({
            "code": code, "reason": reason, "details": details, "exit": exit.code()
        });
        writeln!(streams.out, "{}", json!({ "schema": 1, "error": error }))
    }
}

/// Help and version are asked for; everything else is wrong usage.
fn refused_usage(refusal: &clap::Error, json: bool) -> Exit {
    let printed = refusal.print();
    if json && refusal.use_stderr() {
        let text = refusal.to_string();
        let reason = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let (mut out, mut err) = (io::stdout(), io::stderr());
        let failure = Failure { code: "usage", details: &[] };
        // The exit code says the same to whoever has closed the pipe.
        let _ = failure.write(Exit::Usage, reason, &mut Streams { out: &mut out, err: &mut err });
    }
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
    let asked = socket.clone();
    let socket = socket.unwrap_or_else(|| PathBuf::from(arguments::SOCKET));
    let ask = |question, streams: &mut Streams<'_>| inquiry::run(&question, &socket, json, streams);
    match command {
        Command::Check { file, restart, without_key } => {
            let path = file.unwrap_or_else(config_or_default);
            if restart {
                restart::run(&path, &socket, json, streams)
            } else {
                check::run(&path, without_key, json, streams)
            }
        }
        Command::Completions { shell } => completions(shell, streams),
        Command::Import { files, nodes, cluster, vrrp, output } => {
            import::run(&import::Wanted { files, nodes, cluster, vrrp, output, json }, streams)
        }
        Command::Keygen { path } => keygen::run(&path, json, streams),
        Command::Status(wanted) => show_status(wanted, &socket, json, streams),
        Command::Top => run_top(&socket, streams),
        Command::Events(Events { since, group, all_nodes: true, via, .. }) => {
            let via = via.unwrap_or_else(|| all_nodes::VIA.to_owned());
            all_nodes::run(&all_nodes::Wanted { since, group, via }, &socket, json, streams)
        }
        Command::Events(Events { since, group, follow, .. }) => {
            ask(Question::Events { since, group, follow }, streams)
        }
        Command::Explain { group } => ask(Question::Explain { group }, streams),
        Command::Drain { target: Target { node, no_wait }, now, terms } => {
            ask(Question::Drain { node, wait: !no_wait, now, terms: terms.into() }, streams)
        }
        Command::Hold(terms) => ask(Question::Hold { terms: terms.into() }, streams),
        Command::Release => ask(Question::Release, streams),
        Command::Undo => ask(Question::Undo, streams),
        Command::Upgrade(wanted) => upgrade::run(*wanted, socket, json, streams),
        Command::Ready { node, soak, timeout } => {
            ask(Question::Ready(Readiness { node, soak, within: timeout }), streams)
        }
        Command::Undrain(Target { node, no_wait: _ }) => ask(Question::Undrain { node }, streams),
        Command::Move { group, node, no_wait } => {
            ask(Question::Move { group, node, wait: !no_wait }, streams)
        }
        Command::Plan { without } => match plan_of(without, config.as_deref(), json, streams)? {
            Ok(question) => ask(question, streams),
            Err(exit) => Ok(exit),
        },
        Command::Reload => ask(Question::Reload, streams),
        Command::Report { output } => {
            report::run(&report::Wanted { config: config_or_default(), socket, output }, streams)
        }
        Command::Guard => run_guard(streams),
        Command::HoldTables { table, detached } => {
            daemon::hold_tables(&table, detached)?;
            Ok(Exit::Done)
        }
        Command::Run(run) => run_daemon(run, config_or_default(), json, streams),
        Command::Serve(wanted) => {
            let socket = asked.unwrap_or_else(|| PathBuf::from(arguments::OBSERVERS_SOCKET));
            run_page(wanted, socket, json, streams)
        }
        Command::Dns(wanted) => dns::run(&wanted, asked, json, streams),
        Command::Lab { file, bench, majority, soak } => {
            let options = Options { config: file.or(config), bench, majority, soak };
            lab::run(&options, json, streams)
        }
    }
}

/// Runs the guardian, unless a person has typed the command.
fn run_guard(streams: &mut Streams<'_>) -> io::Result<Exit> {
    if io::stdin().is_terminal() {
        writeln!(streams.err, "buoy: the daemon starts its guardian itself: 'buoy run'")?;
        return Ok(Exit::Usage);
    }
    daemon::guard();
    Ok(Exit::Done)
}

/// Returns what `buoy plan` asks the daemon; the exit code if nothing can be asked.
fn plan_of(
    without: Vec<String>,
    config: Option<&Path>,
    json: bool,
    streams: &mut Streams<'_>,
) -> io::Result<Result<Question, Exit>> {
    if without.is_empty() && config.is_none() {
        let words = "name what to plan: --without NODE,... or --config FILE";
        writeln!(streams.err, "error: {words}\n\nFor more, try 'buoy plan --help'.")?;
        if json {
            Failure { code: "usage", details: &[] }.write(Exit::Usage, words, streams)?;
        }
        return Ok(Err(Exit::Usage));
    }
    match config.map(plan::text).transpose() {
        Ok(text) => Ok(Ok(Question::Plan { without, text })),
        Err(refused) => {
            writeln!(streams.err, "buoy: {refused}")?;
            if json {
                writeln!(streams.out, "{}", check::refused_json(&refused))?;
            }
            Ok(Err(Exit::Configuration))
        }
    }
}

/// Writes the status once, or again and again.
fn show_status(
    Status { pool, node, problems, watch }: Status,
    socket: &Path,
    json: bool,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let selection = Selection { pool, node, problems };
    if !watch {
        return inquiry::run(&Question::Status(selection), socket, json, streams);
    }
    let form = if json { Form::Json } else { Form::of(io::stdout().is_terminal()) };
    match top::watch(socket, &selection, form, streams.out) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => inquiry::failed(&error, json, streams),
    }
}

/// Shows the live view until its user ends it.
fn run_top(socket: &Path, streams: &mut Streams<'_>) -> io::Result<Exit> {
    let Err(error) = top::run(socket) else { return Ok(Exit::Done) };
    writeln!(streams.err, "buoy: {error}")?;
    Ok(if matches!(error, top::Error::NoTerminal) { Exit::Usage } else { Exit::Failed })
}

/// Writes what a shell needs to complete commands, options and their values.
fn completions(shell: clap_complete::Shell, streams: &mut Streams<'_>) -> io::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "buoy", &mut text);
    streams.out.write_all(&text)?;
    Ok(Exit::Done)
}

/// Serves metrics and the page until it is told to stop, or prints what is made from its table.
fn run_page(
    wanted: arguments::Serve,
    socket: PathBuf,
    json: bool,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    if let Some(print) = wanted.print {
        let text = match print {
            arguments::Print::Rules => serve::alert_rules(),
            arguments::Print::Dashboard => serve::dashboard(),
            arguments::Print::Metrics => serve::metric_names(),
        };
        write!(streams.out, "{text}")?;
        return Ok(Exit::Done);
    }
    let options = serve::Options {
        listen: wanted.listen,
        socket,
        hosts: wanted.allow_host,
        log_format: log_format(wanted.log_format, json),
        verbose: u8::from(wanted.verbose),
    };
    let Err(error) = serve::run(options) else { return Ok(Exit::Done) };
    writeln!(streams.err, "buoy: {error}")?;
    Ok(Exit::Failed)
}

fn log_format(wanted: Option<arguments::LogFormat>, json: bool) -> logging::Format {
    match wanted {
        Some(arguments::LogFormat::Json) => logging::Format::Json,
        Some(arguments::LogFormat::Text) => logging::Format::Text,
        None if json => logging::Format::Json,
        None => logging::Format::Text,
    }
}

/// Runs the daemon until it is told to stop.
fn run_daemon(
    run: arguments::Run,
    config: PathBuf,
    json: bool,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let options = daemon::Options {
        config,
        node: run.node,
        runtime_dir: run.runtime_dir,
        state_dir: run.state_dir,
        log_format: log_format(run.log_format, json),
        verbose: u8::from(run.verbose),
    };
    let Err(error) = daemon::run(options) else { return Ok(Exit::Done) };
    writeln!(streams.err, "buoy: {error}")?;
    let exit = if error.exit_code() == Exit::Configuration.code() {
        Exit::Configuration
    } else {
        Exit::Failed
    };
    if json {
        Failure { code: "run", details: &[] }.write(exit, &error.to_string(), streams)?;
    }
    Ok(exit)
}
