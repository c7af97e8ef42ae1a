//! `buoy plan` at the daemon: a copy of the core, asked what it would do.
//!
//! The protocol thread gives a copy of itself and goes on; the text is checked and the copy asked on
//! a thread for things that take long, so neither heartbeats nor other answers wait for a plan. A
//! text that a reload would refuse is refused here with the same words; the keys are taken to be
//! those in force, and no file is opened, because whoever asks may not read what the daemon may.
//! Nothing changes, whatever happens; whoever asked and has gone loses the answer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use super::clock;
use super::host::software;
use super::inbox::{Mailbox, Request};
use super::setup;
use crate::config::{self, Config};
use crate::control::plan::Foreseen;
use crate::control::server::PlanWanted;
use crate::protocol::{
    ConnectionsFate, GroupKey, Hypothesis, Incarnation, Node, NodeId, PlannedMove,
};

/// What becomes of the connections of groups.
type Fates = BTreeMap<GroupKey, ConnectionsFate>;

/// What would move, or all that is wrong with the file.
type Answer = Result<Foreseen, Vec<String>>;

/// Has a plan made; the answer comes by itself. Dropped if the protocol thread is too busy.
pub(super) fn foresee(
    mailbox: &Mailbox,
    (in_force, path): (&Config, &Path),
    me: NodeId,
    wanted: PlanWanted,
    reply: oneshot::Sender<Answer>,
) {
    let (answer, copy) = oneshot::channel();
    if mailbox.offer(Request::Copy(answer)).is_err() {
        return;
    }
    let (in_force, path): (Config, PathBuf) = (in_force.clone(), path.to_owned());
    tokio::spawn(async move {
        let Ok(node) = copy.await else { return };
        let work = move || plan(*node, (&in_force, &path), me, wanted);
        if let Ok(answer) = tokio::task::spawn_blocking(work).await {
            let _ = reply.send(answer);
        }
    });
}

fn plan(node: Node, (in_force, path): (&Config, &Path), me: NodeId, wanted: PlanWanted) -> Answer {
    match wanted {
        PlanWanted::Without(nodes) => {
            let (moves, fates) = foreseen(node, Hypothesis::Without(nodes));
            Ok(Foreseen { moves, fates, names: None })
        }
        PlanWanted::Text(text) => {
            let config = checked(&text, path, in_force, me)?;
            let protocol = config.protocol(me, Incarnation(0), 0, software(), false);
            let hypothesis = Hypothesis::Reconfigured(Box::new(protocol));
            let (moves, fates) = foreseen(node, hypothesis);
            Ok(Foreseen { moves, fates, names: Some(setup::names(&config, me)) })
        }
    }
}

/// What would move, and what would become of its connections.
fn foreseen(node: Node, hypothesis: Hypothesis) -> (Vec<PlannedMove>, Fates) {
    let now = node.clone();
    let moves = node.foresee(clock::now(), hypothesis);
    let fates = moves.iter().map(|one| (one.group, now.fate_of_connections(one))).collect();
    (moves, fates)
}

/// What the text means where the file in force lies, if a reload would take it.
fn checked(text: &str, path: &Path, in_force: &Config, me: NodeId) -> Result<Config, Vec<String>> {
    let config = config::parse_with_keys(text, path, in_force.keys.clone())
        .map_err(|refused| refused.faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    if !config.nodes.iter().any(|node| node.id == me) {
        return Err(vec!["the file no longer has this node".to_owned()]);
    }
    let changes = config::difference(in_force, &config);
    match changes.iter().find(|change| change.is_refused()) {
        Some(change) => Err(vec![change.to_string()]),
        None => Ok(config),
    }
}
