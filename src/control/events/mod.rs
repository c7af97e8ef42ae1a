//! The catalogue of events: each event stands here once, with everything that is made of it.
//!
//! ```text
//!  protocol::Report ---- describe --+                  +-> recorder: JSON, `buoy events`, counters
//!  daemon: start, orders -----------+-> EventRecord ---+-> log: level, message, fields
//!  checks, hooks, balancer ---------+                  +-> hooks: environment
//! ```
//!
//! An event is added by a line in the table of `kind` and a function that returns its [`EventRecord`],
//! beside its like; a [`Report`] needs an arm in [`describe`] too. The compiler refuses a report
//! without an arm and a record without kind, level, message and sentence; the golden test in
//! `control/wording_test.rs` refuses a kind without an example.

mod addresses;
mod daemon;
mod hooks_only;
mod kind;
mod moves;
mod node;
mod ownership;
mod peers;
mod record;
mod services;
mod standing_orders;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::names::Names;
use crate::protocol::Report;

pub(crate) use daemon::{not_continued, ordered, overwritten, started};
pub(crate) use hooks_only::{
    after_a_move, before_acquire, before_release, drained, gate, started_without,
};
pub use kind::{Kind, Scope};
pub use record::{Check, EventRecord, Level};
pub(crate) use services::{
    HookRun, balancer_back, balancer_failed, balancer_finishes, balancer_told, check_changed,
    hook_dropped, hook_failed,
};

/// Returns what a report of the core is to people and programs. `silence` is how long a node that is
/// the cause had been silent, if known.
#[must_use]
pub fn describe(report: &Report, silence: Option<Duration>, names: &Names) -> EventRecord {
    match *report {
        Report::PeerChanged { peer, from, to, silence } => {
            peers::changed(peer, (from, to), silence, names)
        }
        Report::PeerRestarted { peer } => peers::restarted(peer, names),
        Report::VotersDiffer { voter } => peers::voters_differ(voter, names),
        Report::KernelAnswers { peer, group, hardware } => {
            peers::kernel_answers(peer, group, hardware, names)
        }
        Report::FitnessChanged { node, pool, fitness } => {
            peers::fitness_changed(node, pool, fitness, names)
        }
        Report::Unlisted { by, on } => peers::unlisted(by, on, names),
        Report::OwnerChanged { group, from, to, epoch, cause } => {
            let change = ownership::Change { from, to, epoch, cause, silence };
            ownership::changed(group, change, names)
        }
        Report::Acquired { group, epoch } => ownership::acquired(group, epoch, names),
        Report::Released { group, epoch } => ownership::released(group, epoch, names),
        Report::GaveWay { group, to, epoch } => ownership::gave_way(group, to, epoch, names),
        Report::SecondClaimant { group, hardware, node } => {
            ownership::second_claimant(group, hardware, node, names)
        }
        Report::Converged { group, epoch, hosts, after } => {
            ownership::converged(group, epoch, (hosts, after), names)
        }
        Report::NotConverged { group, epoch, outcome } => {
            ownership::not_converged(group, epoch, &outcome, names)
        }
        Report::AddressWithheld { group, address, owner } => {
            addresses::withheld(group, address, owner, names)
        }
        Report::AddressAdmitted { group, address } => addresses::admitted(group, address, names),
        Report::Unable { group, why } => addresses::unable(group, why, names),
        Report::Repaired { group, remover, times } => {
            addresses::repaired(group, remover, times, names)
        }
        Report::KeptEnded { group, to, left } => moves::kept_ended(group, to, left, names),
        Report::OfferFailed { to, groups, why } => moves::offer_failed(to, groups, why, names),
        Report::GateOverdue { group } => moves::gate_overdue(group, names),
        Report::LastResort { pool, kept, .. } => moves::last_resort(pool, kept, names),
        Report::MajorityLost { groups } => moves::majority_lost(groups, names),
        Report::MajorityBack { groups } => moves::majority_back(groups, names),
        Report::PhaseChanged { from, to } => node::phase_changed(from, to, names),
        Report::Stalled { length } => node::stalled(length, names),
        Report::Draining { on } => node::draining(on, names),
        Report::WentOn { groups, after } => node::went_on(groups, after, names),
        Report::NotInPlace { why } => node::not_in_place(why, names),
        Report::TimingChanged { from, to, held_by, proposal } => {
            node::timing_changed((from, to), held_by, proposal, names)
        }
        Report::StandingOrder(order) => standing_orders::changed(&order, names),
    }
}
