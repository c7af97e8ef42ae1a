//! Causes, reports, standings and refusals as plain sentences with the operator's names.
//!
//! Status, events, explanations, log lines and errors all speak through here, so that the same
//! thing is always said in the same words. A sentence has no capital and no full stop: it stands
//! in a table cell, in a log field or after a colon. `refusals` has what to do about a refusal.

use std::time::Duration;

use super::duration_text::precise;
use super::names::Names;
use super::restart_words;
use crate::protocol::{
    Cause, Convergence, Failure, Fitness, GroupKey, HardwareAddress, Inability, NodeId, NodePhase,
    PoolId, Remover, Report, Standing, Verdict,
};

/// Why a group came to its owner. `silence` is how long a silent node had been so, if known.
#[must_use]
pub fn cause(cause: Cause, silence: Option<Duration>, names: &Names) -> String {
    match cause {
        Cause::FirstClaim => "nobody had claimed it".to_owned(),
        Cause::Silence(node) => {
            let length =
                silence.map_or_else(String::new, |length| format!(" for {}", precise(length)));
            format!("{} fell silent{length}", names.node(node))
        }
        Cause::Restart(node) => format!("{} restarted", names.node(node)),
        Cause::Deaf(node) => format!("{} still spoke but heard nobody", names.node(node)),
        Cause::Departure(node) => format!("{} left in good order", names.node(node)),
        Cause::Inability(node) => format!("{} could not hold it", names.node(node)),
        Cause::Balance(node) => format!("handed over by {} for balance", names.node(node)),
        Cause::Drain(node) => format!("handed over by {}, which drains", names.node(node)),
        Cause::Operator(node) => {
            format!("handed over by {} on the operator's order", names.node(node))
        }
        Cause::Failback(node) => {
            format!("handed back by {} to its preferred node", names.node(node))
        }
        Cause::Checks(node) => format!("handed over by {}: its checks fail", names.node(node)),
        Cause::Conflict(node) => {
            format!("{} had it too after a split and gave way", names.node(node))
        }
        Cause::TakenBack(node) => {
            format!("promised to {}, which did not take it", names.node(node))
        }
    }
}

fn kept_ended(group: GroupKey, (to, left): (NodeId, Option<u32>), names: &Names) -> String {
    let (me, owner) = (names.node(names.me()), names.node(to));
    let group = names.group(group).group;
    let left = counted(u64::from(left.unwrap_or_default()), "connection");
    format!("{me} serves {group} no more, which {owner} has; {left} had not ended")
}

/// A report in one sentence. `silence` as in [`cause`].
#[must_use]
pub fn report(report: &Report, silence: Option<Duration>, names: &Names) -> String {
    let me = names.node(names.me());
    match *report {
        Report::PeerChanged { peer, from, to, silence } => {
            peer_changed(&names.node(peer), from, to, silence)
        }
        Report::PeerRestarted { peer } => format!("{} restarted", names.node(peer)),
        Report::PhaseChanged { from, to } => phase_changed(&me, from, to),
        Report::OwnerChanged { group, from, to, cause, .. } => {
            owner_changed(&names.group(group).group, (from, to), (cause, silence), names)
        }
        Report::Acquired { group, .. } => {
            format!("{me} answers for {}", names.group(group).group)
        }
        Report::Released { group, .. } => {
            format!("{me} no longer answers for {}", names.group(group).group)
        }
        Report::GaveWay { group, to, .. } => {
            format!("{me} gave way to {} for {}", names.node(to), names.group(group).group)
        }
        Report::Unable { group, why } => {
            format!("{me} cannot hold {}: {}", names.group(group).group, inability(why))
        }
        Report::Repaired { group, remover, times } => {
            put_back((&me, &names.group(group).group), remover, times)
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
        Report::Stalled { length } => format!("{me} did not run for {}", precise(length)),
        Report::KeptEnded { group, to, left } => kept_ended(group, (to, left), names),
        Report::OfferFailed { to, groups } => {
            let groups = counted(u64::from(groups), "group");
            format!("{} did not take {groups}, which stay at {me}", names.node(to))
        }
        Report::GateOverdue { group } => gate_overdue(&me, &names.group(group).group),
        Report::VotersDiffer { voter } => format!(
            "{} goes by another list of voters and grants nothing: reload the same file on both",
            names.node(voter)
        ),
        Report::MajorityLost { groups } => majority(&me, groups, "stopped answering", "no"),
        Report::MajorityBack { groups } => majority(&me, groups, "answers again", "a"),
        Report::KernelAnswers { peer, group, hardware } => format!(
            "{} is silent, but its kernel still answers for {} ({hardware}): nothing of it is taken",
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
        Report::WentOn { groups, after } => restart_words::went_on(&me, groups, after),
        Report::NotInPlace { why } => restart_words::not_in_place(&me, why, names),
    }
}

fn second_claimant(
    me: &str,
    group: &str,
    hardware: HardwareAddress,
    node: Option<String>,
) -> String {
    match node {
        None => format!(
            "{hardware}, a host outside the cluster, claims {group} too; {me} does not yield"
        ),
        Some(node) => format!("{node} ({hardware}) speaks for {group} too while {me} has it"),
    }
}

fn checked(node: NodeId, pool: PoolId, is: Fitness, names: &Names) -> String {
    format!("{} is {}", names.node(node), fitness(is, &names.pool(pool)))
}

fn draining(me: &str, on: bool) -> String {
    if on {
        format!("{me} drains: it gives its groups away")
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
                "reluctant: a preferred check of pool {pool} fails, or a required one is not known yet"
            )
        }
        Fitness::Unfit => format!("unfit: checks of pool {pool} fail"),
    }
}

/// What becomes of the groups of a pool that no node is fit for.
#[must_use]
pub fn last_resort(pool: &str, kept: bool) -> String {
    let becomes = if kept { "kept where it is" } else { "let go, as last_resort says" };
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
        Verdict::Unknown => format!("{peer} is not known yet"),
        Verdict::Up if from == Verdict::Unknown => format!("{peer} is up"),
        Verdict::Up => format!("{peer} is up again, was {}", verdict(from)),
        Verdict::Suspect => format!("{peer} is suspect: silent for {silence}, peers are asked"),
        Verdict::Indirect => {
            format!("{peer} is heard by others only: silent here for {silence}")
        }
        Verdict::Dead => format!("{peer} is dead: silent for {silence}"),
        Verdict::Left => format!("{peer} left in good order"),
    }
}

fn phase_changed(me: &str, from: NodePhase, to: NodePhase) -> String {
    format!("{me} is {}, was {}", phase(to), phase(from))
}

fn gate_overdue(me: &str, group: &str) -> String {
    format!("the gate of {group} was not done in time; it may leave {me}")
}

fn owner_changed(
    group: &str,
    (from, to): (Option<NodeId>, Option<NodeId>),
    (why, silence): (Cause, Option<Duration>),
    names: &Names,
) -> String {
    let why_text = cause(why, silence, names);
    match (from.map(|node| names.node(node)), to.map(|node| names.node(node))) {
        (Some(from), Some(to)) if from == to => format!("{to} took {group} anew: {why_text}"),
        (Some(from), Some(to)) => format!("{group} moved from {from} to {to}: {why_text}"),
        (None, Some(to)) => format!("{to} took {group}: {why_text}"),
        // The cause is why the former owner once took it, not why it is gone.
        (Some(gone), None) => format!("{gone} let go of {group}, nobody has it for now"),
        (None, None) => format!("nobody has {group}"),
    }
}

/// Why a node cannot hold a group.
#[must_use]
pub fn inability(why: Inability) -> String {
    let text = match why {
        Inability::Stranger(hardware) => {
            return format!("a host outside the cluster answers for it ({hardware})");
        }
        Inability::LinkDown => "its link is down or missing",
        Inability::Kernel(Failure::NoInterface) => "the interface does not exist",
        Inability::Kernel(Failure::NotPermitted) => {
            "the daemon lacks the permission (CAP_NET_ADMIN)"
        }
        Inability::Kernel(Failure::ForeignAddress) => {
            "the address is already on this host and is not ours"
        }
        Inability::Kernel(Failure::Duplicate) => {
            "duplicate address detection found the address elsewhere"
        }
        Inability::Kernel(Failure::Refused) => "the kernel refused the address",
        Inability::Kernel(Failure::Timeout) => "the kernel did not answer in time",
        Inability::FlushWar => "somebody keeps removing the address",
    };
    text.to_owned()
}

fn put_back((me, group): (&str, &str), remover: Remover, times: u32) -> String {
    match remover {
        Remover::Somebody => format!(
            "somebody removed an address of {group} on {me}; it was put back ({times} in a minute)"
        ),
        Remover::Guardian { .. } | Remover::Lifetime => {
            format!("{group} was put back on {me}: {}", removed_by(remover, times))
        }
    }
}

/// Who removed an address, and why if that is known.
#[must_use]
pub fn removed_by(remover: Remover, times: u32) -> String {
    match remover {
        Remover::Somebody => format!("somebody removed it, {times} times in the last minute"),
        Remover::Guardian { unrenewed, renewal } => {
            let why = if renewal.is_zero() {
                "the daemon did not run".to_owned()
            } else {
                format!("nf_tables took {}", precise(renewal))
            };
            let unrenewed = precise(unrenewed);
            format!(
                "the guardian removed the address: the lease could not be renewed for {unrenewed} \
                 ({why})"
            )
        }
        Remover::Lifetime => "its lifetime ended, because the daemon did not prolong it in time \
                              (it did not run)"
            .to_owned(),
    }
}

/// Why a node would, or would not, be next for a group of this pool.
#[must_use]
pub fn standing(standing: Standing, pool: &str) -> String {
    match standing {
        Standing::Heir(1) => "first heir in the owner's claim".to_owned(),
        Standing::Heir(2) => "second heir in the owner's claim".to_owned(),
        Standing::Heir(place) => format!("heir number {place} in the owner's claim"),
        Standing::Preferred(place) => format!("number {place} in the configured preference"),
        Standing::Ranked => "by the weighted order that all nodes compute alike".to_owned(),
        Standing::Down(Verdict::Unknown) => "never heard".to_owned(),
        Standing::Down(is) => format!("not up: {}", verdict(is)),
        Standing::Draining => "draining: kept free by the operator".to_owned(),
        Standing::NotActive(is) => format!("not active: {}", phase(is)),
        Standing::Unable(why) => format!("cannot hold it: {}", inability(why)),
        Standing::Reluctant => fitness(Fitness::Reluctant, pool),
        Standing::Unfit => fitness(Fitness::Unfit, pool),
        Standing::LastResort => {
            format!("{}, as at all nodes: the last resort", fitness(Fitness::Unfit, pool))
        }
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
        | Standing::LastResort => true,
        Standing::Down(_)
        | Standing::Draining
        | Standing::NotActive(_)
        | Standing::Unable(_)
        | Standing::Unfit => false,
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

    #[test]
    fn causes_name_nodes_and_silence() {
        let names = names();
        let silence = Some(Duration::from_millis(312));
        assert_eq!(
            cause(Cause::Silence(node("lb1")), silence, &names),
            "lb1 fell silent for 312 ms"
        );
        assert_eq!(cause(Cause::Silence(node("lb1")), None, &names), "lb1 fell silent");
        assert_eq!(
            cause(Cause::Balance(node("lb2")), None, &names),
            "handed over by lb2 for balance"
        );
        assert_eq!(
            cause(Cause::Drain(NodeId(1)), None, &names),
            "handed over by node-00000001, which drains"
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
            "lb2 took 10.77.0.100: nobody had claimed it"
        );
        assert_eq!(
            changed(Some("lb2"), None, silent),
            "lb2 let go of 10.77.0.100, nobody has it for now",
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
    fn hosts_outside_the_cluster_are_named_by_their_hardware() {
        let names = names();
        let (group, hardware) = (group("10.77.0.100"), HardwareAddress([2, 0, 0, 0, 0, 0xab]));
        let told = |told: Report| report(&told, None, &names);
        assert_eq!(
            told(Report::Unable { group, why: Inability::Stranger(hardware) }),
            "lb1 cannot hold 10.77.0.100: a host outside the cluster answers for it \
             (02:00:00:00:00:ab)"
        );
        assert_eq!(
            told(Report::SecondClaimant { group, hardware, node: None }),
            "02:00:00:00:00:ab, a host outside the cluster, claims 10.77.0.100 too; lb1 does not \
             yield"
        );
        assert_eq!(
            told(Report::KernelAnswers { peer: node("lb2"), group, hardware }),
            "lb2 is silent, but its kernel still answers for 10.77.0.100 (02:00:00:00:00:ab): \
             nothing of it is taken"
        );
    }

    #[test]
    fn checks_are_told_with_the_pool() {
        let (names, pool) = (names(), PoolId::from_name("web"));
        let told = |told: Report| report(&told, None, &names);
        let changed = |fitness| told(Report::FitnessChanged { node: node("lb2"), pool, fitness });
        assert_eq!(changed(Fitness::Unfit), "lb2 is unfit: checks of pool web fail");
        assert_eq!(
            changed(Fitness::Reluctant),
            "lb2 is reluctant: a preferred check of pool web fails, or a required one is not known yet"
        );
        assert_eq!(changed(Fitness::Fit), "lb2 is fit: the checks of pool web pass");
        assert_eq!(
            told(Report::LastResort { pool, kept: true, groups: 2 }),
            "no node passes the checks of pool web: kept where it is"
        );
        assert_eq!(
            cause(Cause::Checks(node("lb1")), None, &names),
            "handed over by lb1: its checks fail"
        );
        assert_eq!(standing(Standing::Unfit, "web"), "unfit: checks of pool web fail");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(1, "group"), "1 group");
        assert_eq!(counted(0, "group"), "0 groups");
    }
}
