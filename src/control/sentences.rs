//! Causes, reports, standings and refusals as plain sentences with the operator's names.
//!
//! Status, events, explanations, log lines and errors all speak through here, so that the same
//! thing is always said in the same words. A sentence has no capital and no full stop: it stands
//! in a table cell, in a log field or after a colon. `refusals` has what to do about a refusal.

use std::time::Duration;

use super::duration_text::precise;
use super::layout_words;
use super::membership_words;
use super::names::Names;
use super::orders_in_words;
use super::restart_words;
pub use super::standing_words::{candidate, inability, removed_by, standing, would_take};
use super::timing_words;
use crate::protocol::{
    Cause, Convergence, Fitness, GroupKey, HardwareAddress, Inability, NodeId, NodePhase, PoolId,
    Remover, Report, Verdict,
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
        Cause::Conflict(node) => {
            format!("{} owned it too after a network split and gave way", names.node(node))
        }
        Cause::TakenBack(node) => {
            format!("offered to {}, which did not take it", names.node(node))
        }
    }
}

fn kept_ended(group: GroupKey, (to, left): (NodeId, Option<u32>), names: &Names) -> String {
    let (me, owner) = (names.node(names.me()), names.node(to));
    let group = names.group(group).group;
    let end = match left {
        Some(0) => ": all have ended".to_owned(),
        Some(left) => format!("; {} were reset", counted(u64::from(left), "connection")),
        None => String::new(),
    };
    format!("{me} no longer serves old connections to {group}, which {owner} owns{end}")
}

/// A report in one sentence. `silence` as in [`cause`].
#[must_use]
pub fn report(report: &Report, silence: Option<Duration>, names: &Names) -> String {
    let me = names.node(names.me());
    let named = |group| names.group(group).group;
    match *report {
        Report::PeerChanged { peer, from, to, silence } => {
            peer_changed(&names.node(peer), from, to, silence)
        }
        Report::PeerRestarted { peer } => format!("{} restarted", names.node(peer)),
        Report::PhaseChanged { from, to } => phase_changed(&me, from, to),
        Report::OwnerChanged { group, from, to, cause, .. } => {
            owner_changed(&names.group(group).group, (from, to), (cause, silence), names)
        }
        Report::Acquired { group, .. } => format!("{me} answers for {}", named(group)),
        Report::Released { group, .. } => format!("{me} no longer answers for {}", named(group)),
        Report::GaveWay { group, to, .. } => {
            format!("{me} gave way to {} for {}", names.node(to), names.group(group).group)
        }
        Report::AddressWithheld { group, address, owner } => {
            layout_words::withheld(address, owner, group, names)
        }
        Report::AddressAdmitted { group, address } => layout_words::admitted(address, group, names),
        Report::Unable { group, why } => unable(&me, (group, why), names),
        Report::Repaired { group, remover, times } => {
            repaired(&me, &names.group(group).group, (remover, times))
        }
        Report::Converged { group, hosts, after, .. } => format!(
            "{}: {hosts} of {hosts} neighbours resolve it to {me}, {} after it was added",
            names.group(group).group,
            precise(after)
        ),
        Report::NotConverged { group, outcome, .. } => format!(
            "{}: {} of {} neighbours resolve it to {me}, not {}",
            names.group(group).group,
            outcome.answered,
            outcome.asked,
            astray(&outcome)
        ),
        Report::Stalled { length } => {
            format!("{me} stalled: it did not run for {}", precise(length))
        }
        Report::KeptEnded { group, to, left } => kept_ended(group, (to, left), names),
        Report::OfferFailed { to, groups, why } => not_taken(&me, to, (groups, why), names),
        Report::GateOverdue { group } => gate_overdue(&me, &names.group(group).group),
        Report::VotersDiffer { voter } => format!(
            "{} has another list of voters and grants no leases: load the same configuration on \
             both nodes",
            names.node(voter)
        ),
        Report::MajorityLost { groups } => majority(&me, groups, "stopped answering", "no"),
        Report::MajorityBack { groups } => majority(&me, groups, "answers again", "a"),
        Report::KernelAnswers { peer, group, hardware } => format!(
            "{} is silent, but its kernel still answers for {} ({hardware}): its groups are not \
             taken over",
            names.node(peer),
            names.group(group).group
        ),
        Report::SecondClaimant { group, hardware, node } => {
            let group = names.group(group).group;
            second_claimant(&me, &group, hardware, node.map(|node| names.node(node)))
        }
        Report::FitnessChanged { node, pool, fitness } => checked(node, pool, fitness, names),
        Report::LastResort { pool, kept, .. } => last_resort(&names.pool(pool), kept),
        Report::Draining { on } => draining(&me, on),
        Report::StandingOrder(order) => orders_in_words::sentence(&order, names),
        Report::TimingChanged { from, to, held_by, proposal } => {
            timing_words::changed(&me, (from, to), (held_by, proposal), names)
        }
        Report::Unlisted { by, on } => membership_words::unlisted(&me, &names.node(by), on),
        Report::WentOn { groups, after } => restart_words::went_on(&me, groups, after),
        Report::NotInPlace { why } => restart_words::not_in_place(&me, why, names),
    }
}

fn unable(me: &str, (group, why): (GroupKey, Inability), names: &Names) -> String {
    format!("{me} cannot hold {}: {}", names.group(group).group, inability(why, group, names))
}

fn repaired(me: &str, group: &str, (remover, times): (Remover, u32)) -> String {
    match remover {
        Remover::Somebody => format!(
            "another program removed an address of {group} on {me}; buoy restored it ({times} in \
             the last minute)"
        ),
        Remover::Guardian { .. } | Remover::Lifetime => {
            format!("{group} was restored on {me}: {}", removed_by(remover, times))
        }
    }
}

fn not_taken(
    me: &str,
    to: NodeId,
    (groups, why): (u16, Option<(GroupKey, Inability)>),
    names: &Names,
) -> String {
    let (to, stay) = (names.node(to), if groups == 1 { "stays" } else { "stay" });
    let groups = counted(u64::from(groups), "group");
    let why = why.map_or_else(String::new, |why| format!(": {}", declined(why, names)));
    format!("{to} did not take {groups}, which {stay} on {me}{why}")
}

/// What the receiver of an offer has said of a group that it did not take.
#[must_use]
pub fn declined((group, why): (GroupKey, Inability), names: &Names) -> String {
    format!("it cannot hold {}: {}", names.group(group).group, inability(why, group, names))
}

fn second_claimant(
    me: &str,
    group: &str,
    hardware: HardwareAddress,
    node: Option<String>,
) -> String {
    match node {
        None => format!(
            "address conflict: {hardware}, a host outside the cluster, claims {group} too; {me} \
             defends it"
        ),
        Some(node) => {
            format!("address conflict: {node} ({hardware}) claims {group} too, which {me} owns")
        }
    }
}

fn checked(node: NodeId, pool: PoolId, is: Fitness, names: &Names) -> String {
    format!("{} is {}", names.node(node), fitness(is, &names.pool(pool)))
}

fn draining(me: &str, on: bool) -> String {
    if on {
        format!("{me} is draining: it hands its groups over")
    } else {
        format!("{me} may own groups again")
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

/// What becomes of the groups of a pool that no node is fit for.
#[must_use]
pub fn last_resort(pool: &str, kept: bool) -> String {
    let becomes = if kept {
        "its groups stay where they are"
    } else {
        "its groups are released (last_resort)"
    };
    format!("no node passes the checks of pool {pool}: {becomes}")
}

/// Who does not follow a takeover: the names of some, and how many more.
#[must_use]
pub fn astray(outcome: &Convergence) -> String {
    let named: Vec<String> = outcome.missing.iter().flatten().map(ToString::to_string).collect();
    let all = usize::from(outcome.asked.saturating_sub(outcome.answered));
    match all.saturating_sub(named.len()) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn majority(me: &str, groups: u16, does: &str, article: &str) -> String {
    let groups = counted(u64::from(groups), "group");
    format!("{me} {does} for {groups}: {article} majority of the voters grants it a lease")
}

fn peer_changed(peer: &str, from: Verdict, to: Verdict, silence: Duration) -> String {
    let silence = precise(silence);
    match to {
        Verdict::Unknown => format!("{peer} has not been heard yet"),
        Verdict::Up if from == Verdict::Unknown => format!("{peer} is up"),
        Verdict::Up => format!("{peer} is up again, was {}", verdict(from)),
        Verdict::Suspect => format!("{peer} is suspect: silent for {silence}, asking other peers"),
        Verdict::Indirect => {
            format!("{peer} is heard only by other nodes: silent here for {silence}")
        }
        Verdict::Dead => format!("{peer} is dead: silent for {silence}"),
        Verdict::Left => format!("{peer} left cleanly"),
    }
}

fn phase_changed(me: &str, from: NodePhase, to: NodePhase) -> String {
    format!("{me} is {}, was {}", phase(to), phase(from))
}

fn gate_overdue(me: &str, group: &str) -> String {
    format!("the gate hooks of {group} did not finish in time on {me}; the move proceeds")
}

fn owner_changed(
    group: &str,
    (from, to): (Option<NodeId>, Option<NodeId>),
    (why, silence): (Cause, Option<Duration>),
    names: &Names,
) -> String {
    let why_text = cause(why, silence, names);
    match (from.map(|node| names.node(node)), to.map(|node| names.node(node))) {
        (Some(from), Some(to)) if from == to => format!("{to} took {group} again: {why_text}"),
        (Some(from), Some(to)) => format!("{group} moved from {from} to {to}: {why_text}"),
        (None, Some(to)) => format!("{to} took {group}: {why_text}"),
        // The cause is why the former owner once took it, not why it is gone.
        (Some(gone), None) => format!("{gone} released {group}; no node owns it now"),
        (None, None) => format!("no node owns {group}"),
    }
}

/// The word for a verdict, as in the contract.
#[must_use]
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unknown => "unknown",
        Verdict::Up => "up",
        Verdict::Suspect => "suspect",
        Verdict::Indirect => "indirect",
        Verdict::Dead => "dead",
        Verdict::Left => "left",
    }
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
    use super::super::fixture::{group, names, node};
    use super::*;
    use crate::protocol::Epoch;
    use crate::protocol::Standing;

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
    fn owner_changes_tell_both_owners_and_the_cause() {
        let names = names();
        let changed = |from: Option<&str>, to: Option<&str>, cause| {
            let told = Report::OwnerChanged {
                group: group("10.77.0.100"),
                from: from.map(node),
                to: to.map(node),
                epoch: Epoch(8),
                cause,
            };
            report(&told, None, &names)
        };
        let silent = Cause::Silence(node("lb1"));
        assert_eq!(
            changed(Some("lb1"), Some("lb2"), silent),
            "10.77.0.100 moved from lb1 to lb2: lb1 fell silent"
        );
        assert_eq!(
            changed(None, Some("lb2"), Cause::FirstClaim),
            "lb2 took 10.77.0.100: no node had claimed it"
        );
        assert_eq!(
            changed(Some("lb2"), None, silent),
            "lb2 released 10.77.0.100; no node owns it now",
            "why lb2 once took it is not why it is gone"
        );
    }

    #[test]
    fn takeovers_tell_who_follows_and_name_a_few_who_do_not() {
        let (names, group, epoch) = (names(), group("10.77.0.100"), Epoch(8));
        let all = Report::Converged { group, epoch, hosts: 5, after: Duration::from_millis(12) };
        assert_eq!(
            report(&all, None, &names),
            "10.77.0.100: 5 of 5 neighbours resolve it to lb1, 12 ms after it was added"
        );
        let missing = [7, 8, 9].map(|last| Some([10, 77, 0, last].into()));
        let outcome =
            Convergence { asked: 6, answered: 1, after: Duration::from_millis(3), missing };
        assert_eq!(
            report(&Report::NotConverged { group, epoch, outcome }, None, &names),
            "10.77.0.100: 1 of 6 neighbours resolve it to lb1, \
             not 10.77.0.7, 10.77.0.8, 10.77.0.9 and 2 more"
        );
    }

    #[test]
    fn a_link_is_blamed_only_by_its_name() {
        let group = group("10.77.0.100");
        let names = names();
        let told = |names: &Names| standing(Standing::Unable(Inability::LinkDown), group, names);
        assert_eq!(
            told(&names),
            "cannot hold it: no interface that is up is in its network; name its interface, or \
             bring the link up"
        );
        let names = names.with_links([(group, "eth0".to_owned())].into());
        assert_eq!(told(&names), "cannot hold it: its link eth0 is down or missing");
        let why = Some((group, Inability::LinkDown));
        let failed = Report::OfferFailed { to: node("lb2"), groups: 1, why };
        assert_eq!(
            report(&failed, None, &names),
            "lb2 did not take 1 group, which stays on lb1: it cannot hold 10.77.0.100: its link \
             eth0 is down or missing"
        );
    }

    #[test]
    fn hosts_outside_the_cluster_are_named_by_their_hardware() {
        let names = names();
        let (group, hardware) = (group("10.77.0.100"), HardwareAddress([2, 0, 0, 0, 0, 0xab]));
        let told = |told: Report| report(&told, None, &names);
        assert_eq!(
            told(Report::Unable { group, why: Inability::Conflict(hardware) }),
            "lb1 cannot hold 10.77.0.100: a host outside the cluster answers for it \
             (02:00:00:00:00:ab)"
        );
        assert_eq!(
            told(Report::SecondClaimant { group, hardware, node: None }),
            "address conflict: 02:00:00:00:00:ab, a host outside the cluster, claims 10.77.0.100 \
             too; lb1 defends it"
        );
        assert_eq!(
            told(Report::KernelAnswers { peer: node("lb2"), group, hardware }),
            "lb2 is silent, but its kernel still answers for 10.77.0.100 (02:00:00:00:00:ab): its \
             groups are not taken over"
        );
    }

    #[test]
    fn checks_are_told_with_the_pool() {
        let (names, pool) = (names(), PoolId::from_name("web"));
        let told = |told: Report| report(&told, None, &names);
        let changed = |fitness| told(Report::FitnessChanged { node: node("lb2"), pool, fitness });
        assert_eq!(changed(Fitness::Unfit), "lb2 is unfit: required checks of pool web fail");
        assert_eq!(
            changed(Fitness::Reluctant),
            "lb2 is reluctant: a preferred check of pool web fails, or a required one has no \
             result yet"
        );
        assert_eq!(changed(Fitness::Fit), "lb2 is fit: the checks of pool web pass");
        assert_eq!(
            told(Report::LastResort { pool, kept: true, groups: 2 }),
            "no node passes the checks of pool web: its groups stay where they are"
        );
        assert_eq!(
            cause(Cause::Checks(node("lb1")), None, &names),
            "handed over by lb1: its checks fail"
        );
        let group = group("10.77.0.100");
        assert_eq!(
            standing(Standing::Unfit, group, &names),
            "unfit: required checks of pool web fail"
        );
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(1, "group"), "1 group");
        assert_eq!(counted(0, "group"), "0 groups");
    }
}
