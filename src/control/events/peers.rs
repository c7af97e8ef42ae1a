//! What happens to other nodes, as seen from here.

use std::time::Duration;

use super::{EventRecord, Kind, Level};
use crate::control::duration_text::precise;
use crate::control::names::Names;
use crate::control::peer_problems;
use crate::control::sentences::{fitness as checks_say, verdict};
use crate::protocol::{Fitness, GroupKey, HardwareAddress, NodeId, PoolId, Verdict};

pub(super) fn changed(
    peer: NodeId,
    (from, to): (Verdict, Verdict),
    silence: Duration,
    names: &Names,
) -> EventRecord {
    let (peer, silence) = (names.node(peer), precise(silence));
    let silent = format!("nothing heard from it for {silence}");
    let (level, sentence, because) = match to {
        Verdict::Unknown => (Level::Info, format!("{peer} has not been heard yet"), silent),
        Verdict::Up => {
            let sentence = match from {
                Verdict::Unknown => format!("{peer} is up"),
                Verdict::Up
                | Verdict::Suspect
                | Verdict::Indirect
                | Verdict::Dead
                | Verdict::Left => format!("{peer} is up again, was {}", verdict(from)),
            };
            (Level::Info, sentence, "a heartbeat arrived".to_owned())
        }
        Verdict::Suspect => (
            Level::Info,
            format!("{peer} is suspect: silent for {silence}, asking other peers"),
            silent,
        ),
        Verdict::Indirect => (
            Level::Info,
            format!("{peer} is heard only by other nodes: silent here for {silence}"),
            format!("{silent}, but a peer still hears it"),
        ),
        Verdict::Dead => (Level::Warn, format!("{peer} is dead: silent for {silence}"), silent),
        Verdict::Left => {
            (Level::Info, format!("{peer} left cleanly"), "it left cleanly".to_owned())
        }
    };
    EventRecord::new(Kind::PeerChanged, (level, "peer changed"), sentence, names)
        .node(peer.clone())
        .peer(peer)
        .change(verdict(from), verdict(to))
        .because(because)
}

pub(super) fn restarted(peer: NodeId, names: &Names) -> EventRecord {
    let peer = names.node(peer);
    let sentence = format!("{peer} restarted");
    EventRecord::new(Kind::PeerRestarted, (Level::Info, "peer restarted"), sentence, names)
        .node(peer.clone())
        .peer(peer)
        .because("its process is new and owns nothing")
}

pub(super) fn voters_differ(voter: NodeId, names: &Names) -> EventRecord {
    let voter = names.node(voter);
    let sentence = format!(
        "{voter} has another list of voters and grants no leases: load the same configuration on \
         both nodes"
    );
    let message = "voter has another list of voters";
    EventRecord::new(Kind::VotersDiffer, (Level::Warn, message), sentence, names)
        .node(voter.clone())
        .peer(voter)
        .because("it grants this node no leases until both have loaded the same configuration")
}

pub(super) fn kernel_answers(
    peer: NodeId,
    group: GroupKey,
    hardware: HardwareAddress,
    names: &Names,
) -> EventRecord {
    let peer = names.node(peer);
    let sentence = format!(
        "{peer} is silent, but its kernel still answers for {} ({hardware}): its groups are not \
         taken over",
        names.group(group).group
    );
    let message = "peer is silent but its kernel answers";
    EventRecord::new(Kind::KernelAnswers, (Level::Warn, message), sentence, names)
        .node(peer.clone())
        .peer(peer)
        .group(group, names)
        .because(format!("{hardware} answers; the groups of the peer are not taken over"))
}

pub(super) fn fitness_changed(
    node: NodeId,
    pool: PoolId,
    fitness: Fitness,
    names: &Names,
) -> EventRecord {
    let (node, pool) = (names.node(node), names.pool(pool));
    let (level, word) = match fitness {
        Fitness::Fit => (Level::Info, "fit"),
        // Every node is reluctant until the first results; a check that fails is another event.
        Fitness::Reluctant => (Level::Info, "reluctant"),
        Fitness::Unfit => (Level::Warn, "unfit"),
    };
    let because = checks_say(fitness, &pool);
    let sentence = format!("{node} is {because}");
    let message = "outcome of checks changed";
    EventRecord::new(Kind::FitnessChanged, (level, message), sentence, names)
        .node(node.clone())
        .peer(node)
        .pool(pool)
        .to(word.to_owned())
        .because(because)
}

pub(super) fn unlisted(by: NodeId, on: bool, names: &Names) -> EventRecord {
    let (me, peer) = (names.node(names.me()), names.node(by));
    let line = if on {
        (Level::Warn, "not in the configuration of a peer")
    } else {
        (Level::Info, "in the configuration of the peer again")
    };
    let sentence = peer_problems::unlisted(&me, &peer, on);
    EventRecord::new(Kind::Unlisted, line, sentence.clone(), names)
        .from(peer.clone())
        .peer(peer)
        .because(sentence)
}
