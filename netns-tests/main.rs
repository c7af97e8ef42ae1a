//! The real daemons on the real kernel: hosts are network namespaces, faults are real.
//!
//! Needs root or user namespaces, and `ip`, `haproxy`, `nginx`, `keepalived`, `frr` and `prometheus`; without them
//! it fails and says so. How they run: `runner`. Arguments are those of cargo's own
//! test runner: name filters, `--exact`, `--skip NAME`, `--list`; others of it are accepted.

mod adapting;
mod address_conflicts;
mod balancer;
mod bearing;
mod beats;
mod chaos;
mod checking;
mod crash;
mod crowd;
mod dead_owner;
mod draining;
mod fence;
mod flood;
mod following;
mod frr;
mod gateways;
mod hooking;
mod http2;
mod incumbents;
mod lifetimes;
mod limits;
mod majority;
mod marks;
mod meddling;
mod membership;
mod migrating;
mod partition;
mod planned;
mod preserving;
mod probing;
mod promises;
mod refusal;
mod regrouping;
mod remembering;
mod requests;
mod resolving;
mod restarting;
mod resting;
mod routers;
mod routing;
mod runner;
mod scene;
mod scraping;

mod soft_stopping;
mod strict_restarting;
mod stuck;
mod suppression;
mod surroundings;
mod takeover;
mod telling;
mod until;
mod upgrade;
mod upgrading;
mod voters;
mod web;
mod witness;

use std::process::ExitCode;

use runner::Test;

/// What a test tells: nothing, or why it failed.
pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let tests: Vec<Test> = [
        probing::TESTS,
        takeover::TESTS,
        planned::TESTS,
        partition::TESTS,
        crash::TESTS,
        dead_owner::TESTS,
        draining::TESTS,
        preserving::TESTS,
        requests::TESTS,
        fence::TESTS,
        stuck::TESTS,
        surroundings::TESTS,
        address_conflicts::TESTS,
        suppression::TESTS,
        routers::TESTS,
        routing::TESTS,
        migrating::TESTS,
        frr::TESTS,
        flood::TESTS,
        following::TESTS,
        gateways::TESTS,
        limits::TESTS,
        lifetimes::TESTS,
        majority::TESTS,
        voters::TESTS,
        adapting::TESTS,
        promises::TESTS,
        regrouping::TESTS,
        marks::TESTS,
        meddling::TESTS,
        membership::TESTS,
        refusal::TESTS,
        remembering::TESTS,
        witness::TESTS,
        resting::TESTS,
        restarting::TESTS,
        strict_restarting::TESTS,
        checking::TESTS,
        hooking::TESTS,
        soft_stopping::TESTS,
        balancer::TESTS,
        bearing::TESTS,
        telling::TESTS,
        resolving::TESTS,
        scraping::TESTS,
        upgrade::TESTS,
        upgrading::TESTS,
        chaos::TESTS,
    ]
    .concat();
    runner::main(&tests)
}
