//! Sentences about who is a member, and about peers that cannot be heard. Each with its remedy.

use std::net::IpAddr;
use std::time::Duration;

use super::duration_text::span;
use super::inquiry::Snapshot;
use super::names::Names;
use crate::protocol::{NodeStatus, Verdict};

/// A living peer does not list this node, or does so again.
pub(crate) fn unlisted(me: &str, by: &str, on: bool) -> String {
    if on {
        format!(
            "{by} does not list {me} in its configuration: {me} hands its addresses over and \
             takes none; stop the daemon of {me}, or add {me} to the file of {by} and reload there"
        )
    } else {
        format!("{by} lists {me} in its configuration again, or has gone")
    }
}

/// What is wrong between this node and another.
pub(super) fn problems(one: &NodeStatus, snapshot: &Snapshot, names: &Names) -> Vec<String> {
    let (me, peer) = (names.node(names.me()), names.node(one.node));
    let mut problems = Vec::new();
    if !one.listed {
        problems.push(format!(
            "{peer} is running but not in the configuration of {me}: it hands its addresses over \
             and gets none; stop its daemon, or add it to the file again and reload"
        ));
    }
    if one.unlists_me {
        problems.push(unlisted(&me, &peer, true));
    }
    let silent = match one.verdict {
        Verdict::Up | Verdict::Left => false,
        Verdict::Unknown | Verdict::Suspect | Verdict::Indirect | Verdict::Dead => true,
    };
    match snapshot.obstacles.get(&one.node) {
        Some(obstacle) => problems.push(obstacle.clone()),
        None if silent && one.listed && one.node != names.me() => {
            problems.extend(unheard(one, snapshot, &peer));
        }
        None => {}
    }
    problems
}

/// This node has started and grants no leases yet.
pub(crate) fn silent_voter(me: &str, silence: Duration) -> String {
    format!(
        "{me} does not know what it had promised as a voter before it started: it grants nothing for \
         another {}",
        span(silence)
    )
}

/// What comes from a peer and cannot be read.
pub(crate) fn sealed_otherwise(peer: &str, from: IpAddr) -> String {
    format!(
        "{from} ({peer}) sends datagrams that the cluster key of this node does not open: compare \
         the key files of both hosts"
    )
}

/// What comes from a peer is of another cluster.
pub(crate) fn other_cluster(peer: &str, from: IpAddr) -> String {
    format!(
        "{from} ({peer}) sends datagrams of a cluster with another name: compare [cluster] name on \
         both hosts"
    )
}

/// What comes from a peer is of another version.
pub(crate) fn other_version(peer: &str, from: IpAddr) -> String {
    format!("{from} ({peer}) sends datagrams of a version that this version of buoy cannot read")
}

/// Two hosts of one name.
pub(crate) fn twins(peer: &str, from: IpAddr) -> String {
    format!(
        "two hosts use the node name {peer}; the second is {from}: stop its daemon, or give it \
         another name"
    )
}

/// Another host has the name of this one.
pub(crate) fn twin_of_me(me: &str, by: &str) -> String {
    format!(
        "{by} reports another host with the node name {me}: stop the daemon of one of them, or give \
         it another name"
    )
}

/// A key that a reload would replace.
pub(crate) fn key_replaced(id: u8) -> String {
    format!(
        "key {id} has a different secret in the file: nodes with the old secret and nodes with \
         the new one could not hear each other. Add the new key under a new id on every node, \
         make it active on every node, then remove key {id}; reload after each step"
    )
}

/// A key that a reload would remove.
pub(crate) fn key_in_use(id: u8, by: &str) -> String {
    format!(
        "key {id} is missing from the file, and {by} still uses it: make the new key active on \
         {by} and reload there first"
    )
}

fn unheard(one: &NodeStatus, snapshot: &Snapshot, peer: &str) -> Option<String> {
    let port = snapshot.port?;
    let silence = match one.last_heard {
        Some(length) if length < UNHEARD_AFTER => return None,
        Some(length) => format!("nothing has arrived from {peer} for {}", span(length)),
        None => format!("nothing arrives from {peer}"),
    };
    Some(format!(
        "{silence}: check that UDP port {port} is open on both hosts and that its daemon is \
         running"
    ))
}

/// Silence that is told: shorter ones are those of a restart.
const UNHEARD_AFTER: Duration = Duration::from_secs(3);
