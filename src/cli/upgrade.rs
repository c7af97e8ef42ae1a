//! `buoy upgrade`: what may be typed, and its exit codes.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::arguments::{percent, since};
use super::{Failure, Streams, inquiry};
use crate::control::client::Command;
use crate::exit::Exit;
use crate::upgrade::{self, GroupSize, OnFailure, Options};

/// Arguments of `upgrade`.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Shell command to run for each node while it is drained; {node} is replaced by its name
    #[arg(long, value_name = "COMMAND", required_unless_present = "abort")]
    run: Option<String>,
    /// Nodes to change, in this order, separated by commas [default: all, the asked one last]
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    nodes: Vec<String>,
    /// Number or share of nodes to change at a time; the first is always changed alone
    #[arg(long, value_name = "N|PERCENT", value_parser = group, default_value = "1")]
    group: GroupSize,
    /// Time for which a node must be ready before it is undrained
    #[arg(long, value_name = "DURATION", value_parser = since, default_value = "60s")]
    soak: Duration,
    /// Longest time until a node is ready, including a reboot
    #[arg(long, value_name = "DURATION", value_parser = since, default_value = "20m")]
    timeout: Duration,
    /// Longest time for the command of one node, after which it is killed and the step fails
    #[arg(long, value_name = "DURATION", value_parser = since, default_value = "1h")]
    command_timeout: Duration,
    /// Refuse a step that would leave less of the weight in service
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    keep: Option<u8>,
    /// What to do when a step fails
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    on_failure: Reaction,
    /// Shell command that reverts a node, run like --run
    #[arg(long, value_name = "COMMAND", required_if_eq("on_failure", "rollback"))]
    rollback: Option<String>,
    /// Show the steps without taking them
    #[arg(long)]
    dry_run: bool,
    /// Continue an interrupted upgrade, from any node
    #[arg(long, conflicts_with_all = ["abort", "dry_run"])]
    resume: bool,
    /// End an upgrade after its present step, and its hold
    #[arg(long, conflicts_with_all = ["run", "dry_run"])]
    abort: bool,
}

/// What becomes of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Reaction {
    /// Stop; the node of the failed step stays drained.
    Stop,
    /// Revert the changed nodes with --rollback.
    Rollback,
}

/// A number, or a part of all.
fn group(text: &str) -> Result<GroupSize, String> {
    if text.ends_with('%') {
        return percent(text).map(GroupSize::Percent);
    }
    let number = text.parse::<usize>().ok().filter(|number| *number > 0);
    number.map(GroupSize::Nodes).ok_or_else(|| "write it like 2 or 25%".to_owned())
}

/// Upgrades, or ends an upgrade.
pub(super) fn run(
    wanted: Wanted,
    socket: PathBuf,
    json: bool,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    if wanted.abort {
        let record = Command::Upgrade { words: None, again: true, lasts: upgrade::STANDS };
        let exit = inquiry::run(&record, &socket, json, streams)?;
        if exit.code() != Exit::Done.code() {
            return Ok(exit);
        }
        return inquiry::run(&Command::Release, &socket, json, streams);
    }
    let Some(run) = wanted.run else { return Ok(Exit::Usage) };
    let options = Options {
        socket,
        json,
        run,
        nodes: wanted.nodes,
        group: wanted.group,
        soak: wanted.soak,
        timeout: wanted.timeout,
        command_timeout: wanted.command_timeout,
        keep: wanted.keep,
        on_failure: match wanted.on_failure {
            Reaction::Stop => OnFailure::Stop,
            Reaction::Rollback => OnFailure::RollBack,
        },
        rollback: wanted.rollback,
        dry_run: wanted.dry_run,
        resume: wanted.resume,
    };
    let (exit, code, reason) = match upgrade::run(&options, streams.out) {
        Ok(()) => return Ok(Exit::Done),
        Err(upgrade::Failure::Output(error)) => return Err(error),
        Err(failure @ upgrade::Failure::Refused(_)) => (Exit::Refused, "refused", failure),
        Err(failure @ upgrade::Failure::Failed(_)) => (Exit::Failed, "upgrade_failed", failure),
        Err(failure @ upgrade::Failure::RolledBack(_)) => {
            (Exit::Failed, "upgrade_rolled_back", failure)
        }
    };
    let reason = reason.to_string();
    writeln!(streams.err, "buoy: {reason}")?;
    if json {
        Failure { code, details: &[] }.write(exit, &reason, streams)?;
    }
    Ok(exit)
}
