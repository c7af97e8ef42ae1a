//! Causes, standings, inabilities and the words for states as plain sentences with the operator's
//! names.
//!
//! Status, events, explanations, log lines and errors use these, so that the same thing is always
//! said in the same words. A sentence has no capital and no full stop: it stands in a table cell, in
//! a log field or after a colon. `events` has the sentences of events, `refusals` what to do about a
//! refusal.

use std::time::Duration;

use super::duration_text::{precise, span};
use super::names::Names;
use super::response::NodeState;
use crate::protocol::{
    Candidate, Cause, Failure, Fitness, GroupKey, HardwareAddress, Inability, NodeId, NodePhase,
    Outside, Remover, Standing, Verdict, Withheld,
};

/// Why a group came to its owner. `silence` is how long a silent node had been so, if known.
#[must_use]
pub fn cause(cause: Cause, silence: Option<Duration>, names: &Names) -> String {
    match cause {
        Cause::FirstClaim => "no node had claimed it".to_owned(),
        Cause::Silence(node) => {
            let node = names.node(node);
            match silence {
                Some(length) => format!("{node} was silent for {}", precise(length)),
                None => format!("{node} fell silent"),
            }
        }
        Cause::Restart(node) => format!("{} restarted", names.node(node)),
        Cause::Deaf(node) => format!("{} was sending but not receiving", names.node(node)),
        Cause::Departure(node) => format!("{} left cleanly", names.node(node)),
        Cause::Inability(node) => format!("{} could not hold it", names.node(node)),
        Cause::Removed(node) => {
            format!(
                "{} owned it until the group was removed from its configuration",
                names.node(node)
            )
        }
        Cause::AddressConflict(node) => {
            format!("{} released it: a host outside the cluster answered for it", names.node(node))
        }
        Cause::HandedOver(node) => format!("handed over by {}", names.node(node)),
        Cause::Balance(node) => format!("handed over by {} for balance", names.node(node)),
        Cause::Drain(node) => format!("handed over by {}, which is draining", names.node(node)),
        Cause::Operator(node) => {
            format!("handed over by {} at the operator's request", names.node(node))
        }
        Cause::Failback(node) => {
            format!("handed back by {} to its preferred node", names.node(node))
        }
        Cause::Checks(node) => format!("handed over by {}: its checks fail", names.node(node)),
        Cause::Placement(node) => {
            format!("handed over by {} as the rules of its pool demand", names.node(node))
        }
        Cause::Conflict(node) => {
            format!("{} owned it too after a network split and gave way", names.node(node))
        }
        Cause::TakenBack(node) => {
            format!("offered to {}, which did not take it", names.node(node))
        }
    }
}

/// Why a node cannot hold a group.
#[must_use]
pub fn inability(why: Inability, group: GroupKey, names: &Names) -> String {
    let text = match (why, names.link(group)) {
        (Inability::Conflict(hardware), _) => {
            return format!("a host outside the cluster answers for it ({hardware})");
        }
        (Inability::Outside(outside), _) => return outside_words(outside),
        (Inability::LinkDown, Some(link)) => return format!("its link {link} is down or missing"),
        (Inability::LinkDown, None) => {
            "no interface that is up is in its network; name its interface, or bring the link up"
        }
        (Inability::NoNetwork, _) => {
            "no interface of this host is in its network: name one with `interface`"
        }
        (Inability::NetworkLost, _) => {
            "this host has lost its own address or its route in that network, or its link there \
             carries in one direction at most"
        }
        (Inability::Kernel(Failure::NoInterface), Some(link)) => {
            return format!("its interface {link} does not exist");
        }
        (Inability::Kernel(Failure::NoInterface), None) => "the interface does not exist",
        (Inability::Kernel(Failure::NotPermitted), _) => {
            "the kernel does not permit it (IPv6 is disabled, or the daemon lacks CAP_NET_ADMIN)"
        }
        (Inability::Kernel(Failure::ForeignAddress), _) => {
            "the address is on this host already and was not added by buoy"
        }
        (Inability::Kernel(Failure::Duplicate), _) => {
            "duplicate address detection found the address on another host"
        }
        (Inability::Kernel(Failure::Refused), _) => "the kernel refused the address",
        (Inability::Kernel(Failure::Timeout), _) => "the kernel did not answer in time",
        (Inability::Kernel(Failure::Route), _) => {
            "a route or rule of it cannot be added: 'buoy status' there says which, and what to do"
        }
        (Inability::FlushWar, _) => "another program keeps removing the address",
    };
    text.to_owned()
}

/// What routers outside the cluster have of a group.
fn outside_words(outside: Outside) -> String {
    let at = |hardware: Option<HardwareAddress>| {
        hardware.map(|hardware| format!(" ({hardware})")).unwrap_or_default()
    };
    match outside {
        Outside::Nobody => "no router outside the cluster has it".to_owned(),
        Outside::Unknown => {
            "it is not known yet whether a router outside the cluster has it (VRRP)".to_owned()
        }
        Outside::GivesWay(hardware) => {
            format!(
                "a router outside the cluster has it and is expected to give way{}",
                at(hardware)
            )
        }
        Outside::Differs(hardware) => format!(
            "a router outside the cluster advertises it with settings that differ from the file, \
             so buoy does not advertise it{}",
            at(hardware)
        ),
        Outside::Prevails(hardware) => {
            format!(
                "a router outside the cluster has it and takes precedence (VRRP){}",
                at(hardware)
            )
        }
    }
}

/// Who removed an address, and why if that is known.
#[must_use]
pub fn removed_by(remover: Remover, times: u32) -> String {
    match remover {
        Remover::Somebody => {
            format!("another program removed it, {times} times in the last minute")
        }
        Remover::Guardian { unrenewed, renewal } => {
            let why = if renewal.is_zero() {
                "the daemon did not run".to_owned()
            } else {
                format!("nf_tables took {}", precise(renewal))
            };
            let unrenewed = precise(unrenewed);
            format!(
                "the guardian removed the address because the lease was not renewed for {unrenewed} \
                 ({why})"
            )
        }
        Remover::Lifetime => {
            "its lifetime expired because the daemon did not run in time to extend it".to_owned()
        }
    }
}

/// Why a node would, or would not, be next for a group.
#[must_use]
pub fn standing(node: NodeId, standing: Standing, group: GroupKey, names: &Names) -> String {
    let pool = &names.group(group).pool;
    match standing {
        Standing::Heir(1) => "first heir in the owner's claim".to_owned(),
        Standing::Heir(2) => "second heir in the owner's claim".to_owned(),
        Standing::Heir(place) => format!("heir number {place} in the owner's claim"),
        Standing::Preferred(place) => format!("number {place} in the configured preference"),
        Standing::Ranked => "by the weighted order that every node computes".to_owned(),
        Standing::Down(Verdict::Unknown) => "never heard".to_owned(),
        Standing::Down(is) => format!("not up: {}", verdict(is)),
        Standing::Draining => "draining (operator request)".to_owned(),
        Standing::NotActive(is) => format!("not active: {}", phase(is)),
        Standing::Unable(why) => format!("cannot hold it: {}", inability(why, group, names)),
        Standing::Reluctant => fitness(Fitness::Reluctant, pool),
        Standing::Unfit => fitness(Fitness::Unfit, pool),
        Standing::LastResort => {
            format!("{}, as on every node: last resort", fitness(Fitness::Unfit, pool))
        }
        Standing::Lacking { last_resort } => {
            let lacks = names.rules().lacks(node, pool);
            if last_resort { format!("{lacks}, as does every node: last resort") } else { lacks }
        }
        Standing::IllCompany => {
            format!("only if no other node can take it: {}", names.rules().company(pool))
        }
    }
}

/// The same of one candidate, with what keeps groups from being given to it without need.
#[must_use]
pub fn candidate(candidate: &Candidate, group: GroupKey, names: &Names) -> String {
    let standing = standing(candidate.node, candidate.standing, group, names);
    let standing = match candidate.unable_for {
        Some(length) => format!("{standing} (for {})", span(length)),
        None => standing,
    };
    match candidate.damped {
        Some(left) => format!(
            "{standing}; excluded from fail-back and balancing for {}: it restarted, fell silent \
             or could not hold groups three times within a minute",
            span(left)
        ),
        None => standing,
    }
}

/// Whether a node of this standing would take the group at all.
#[must_use]
pub fn would_take(standing: Standing) -> bool {
    match standing {
        Standing::Heir(_)
        | Standing::Preferred(_)
        | Standing::Ranked
        | Standing::Reluctant
        | Standing::LastResort
        | Standing::Lacking { last_resort: true }
        | Standing::IllCompany => true,
        Standing::Down(_)
        | Standing::Draining
        | Standing::NotActive(_)
        | Standing::Unable(_)
        | Standing::Unfit
        | Standing::Lacking { last_resort: false } => false,
    }
}

/// What a node withholds from a group that it has.
pub(super) fn withheld(withheld: &Withheld, names: &Names) -> String {
    let address = names.address(withheld.address);
    let more = match withheld.count {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    match withheld.owner {
        Some(owner) => {
            let (me, owner) = (names.node(names.me()), names.node(owner));
            format!(
                "without {address}{more}: {owner} has it in another group; reload the older \
                 file of {me} and {owner}"
            )
        }
        None => format!("without {address}{more}, which is being taken"),
    }
}

/// What the checks of a node say of a pool.
#[must_use]
pub fn fitness(fitness: Fitness, pool: &str) -> String {
    match fitness {
        Fitness::Fit => format!("fit: the checks of pool {pool} pass"),
        Fitness::Reluctant => {
            format!(
                "reluctant: a preferred check of pool {pool} fails, or a required one has no \
                 result yet"
            )
        }
        Fitness::Unfit => format!("unfit: required checks of pool {pool} fail"),
    }
}

/// The word for a verdict, as in the contract.
#[must_use]
pub fn verdict(verdict: Verdict) -> &'static str {
    NodeState::from(verdict).word()
}

/// The word for a phase.
#[must_use]
pub fn phase(phase: NodePhase) -> &'static str {
    match phase {
        NodePhase::Listening => "listening",
        NodePhase::Active => "active",
        NodePhase::Resuming => "resuming",
        NodePhase::Isolated => "isolated",
        NodePhase::Leaving => "leaving",
        NodePhase::Left => "left",
    }
}

/// A number with its noun: `"1 group"`, `"3 groups"`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{names, node};
    use super::*;
    use crate::protocol::NodeId;

    #[test]
    fn causes_name_nodes_and_silence() {
        let names = names();
        let silence = Some(Duration::from_millis(312));
        assert_eq!(
            cause(Cause::Silence(node("lb1")), silence, &names),
            "lb1 was silent for 312 ms"
        );
        assert_eq!(cause(Cause::Silence(node("lb1")), None, &names), "lb1 fell silent");
        assert_eq!(
            cause(Cause::Balance(node("lb2")), None, &names),
            "handed over by lb2 for balance"
        );
        assert_eq!(
            cause(Cause::Drain(NodeId(1)), None, &names),
            "handed over by node-00000001, which is draining"
        );
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(1, "group"), "1 group");
        assert_eq!(counted(0, "group"), "0 groups");
    }
}
