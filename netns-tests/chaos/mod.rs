//! Random overlapping faults on real daemons, judged by a client that looks at frames alone.
//!
//! ```text
//!   seed -> schedule -> world (does the faults, keeps what was true when) --+
//!                       asker (asks every 20 ms, keeps who answered) -------+-> judge
//! ```
//!
//! Each host has three cards: one on the clients' network, one on a second network, and one more
//! on the clients' wire that bears no address. `BUOY_CHAOS=N` runs the seeds from 0 to N - 1 in
//! both modes, `BUOY_CHAOS=A..B` those; `BUOY_CHAOS_MODE=majority` or `availability` only one mode.
//! A failure prints the seed, a schedule that is as short as a few further runs could make it
//! (`BUOY_CHAOS_SHRINK`, 0 of them in the usual run), and every node's record.

mod asker;
mod judge;
mod schedule;
mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use buoy::lab::clock;
use buoy::lab::network::Interface;
use buoy::lab::plan::{Shape, vip, vip6};
use buoy::protocol::Mode;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{SOON, Scene, with_plan};
use crate::until::until;
use asker::Asker;
use judge::{Violation, judge};
use schedule::{Fault, NODES, draw};
use world::Stage;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("chaos_in_mode_majority", chaos_in_mode_majority),
    ("chaos_in_mode_availability", chaos_in_mode_availability),
];

fn chaos_in_mode_majority() -> Outcome {
    run_seeds("majority", Mode::Majority)
}

fn chaos_in_mode_availability() -> Outcome {
    run_seeds("availability", Mode::Availability)
}

/// The seeds of `BUOY_CHAOS`; two in the usual run.
fn seeds() -> Result<Range<u64>, Box<dyn std::error::Error>> {
    let Ok(told) = std::env::var("BUOY_CHAOS") else { return Ok(0..2) };
    Ok(match told.split_once("..") {
        Some((from, to)) => from.parse()?..to.parse()?,
        None => 0..told.parse()?,
    })
}

fn run_seeds(name: &str, mode: Mode) -> Outcome {
    if std::env::var("BUOY_CHAOS_MODE").is_ok_and(|only| only != name) {
        return Ok(());
    }
    let mut faults = 0;
    for seed in seeds()? {
        let schedule = draw(seed, groups().len());
        faults += schedule.len();
        let Err(failure) = run(&schedule, mode) else { continue };
        let shortest = shorten(schedule, mode);
        let lines: Vec<String> = shortest.iter().map(Fault::to_string).collect();
        return Err(format!(
            "seed {seed} in mode {name}: BUOY_CHAOS={seed}..{} BUOY_CHAOS_MODE={name}\n\
             shortest schedule that failed:\n  {}\n{failure}",
            seed + 1,
            lines.join("\n  ")
        )
        .into());
    }
    crate::web::say(&format!("{faults} faults in mode {name}"));
    Ok(())
}

/// Leaves out one fault after the other for as long as the rest still fails.
fn shorten(mut schedule: Vec<Fault>, mode: Mode) -> Vec<Fault> {
    let told = std::env::var("BUOY_CHAOS_SHRINK").ok().and_then(|text| text.parse().ok());
    let mut place = schedule.len();
    for _ in 0..told.unwrap_or(0) {
        let Some(next) = place.checked_sub(1) else { break };
        place = next;
        let mut shorter = schedule.clone();
        shorter.remove(place);
        if run(&shorter, mode).is_err() {
            schedule = shorter;
        }
    }
    schedule
}

fn groups() -> Vec<Vec<IpAddr>> {
    let mut groups: Vec<Vec<IpAddr>> = (100..104).map(|last| vec![vip(last)]).collect();
    groups.push(vec![vip6(0x104)]);
    groups.push(vec![vip(105), vip6(0x105)]);
    groups
}

/// One schedule on a fresh cluster.
fn run(schedule: &[Fault], mode: Mode) -> Outcome {
    let pool = match mode {
        Mode::Majority => "mode = \"majority\"",
        Mode::Availability => "",
    };
    let nodes = u8::try_from(NODES)?;
    let shape = Shape { nodes, paths: 2, groups: groups(), pool, ..Shape::default() };
    let mut plan = shape.plan();
    for host in plan.nodes.iter_mut() {
        let name = "eth2".to_owned();
        host.interfaces.push(Interface { name, network: 2, addresses: Vec::new() });
    }
    with_plan(plan, |scene| {
        // The third card hangs on the first one's wire.
        let ports = scene.cluster.network.hosts().iter().take(NODES).map(|host| host.port(2));
        let moves: String = ports.map(|port| format!("link set {port} master n0\n")).collect();
        scene.cluster.network.switch().ip(&moves)?;
        scene.cluster.start_all()?;
        scene.at_rest()?;
        let addresses = scene.served.clone();
        let client = scene.cluster.network.hosts().last().ok_or("no client")?;
        let own = (client.mac(0), Ipv4Addr::new(10, 77, 0, 1), "fd77::1".parse::<Ipv6Addr>()?);
        let asker = Asker::start(&client.namespace, own, &addresses)?;
        let mut stage = Stage::new(scene);
        stage.play(schedule)?;
        let healed = clock::now();
        until("one node answers for every address again", SOON, || {
            rest(&asker, &addresses, stage.scene)
        })?;
        let took = clock::now().duration_since(healed);
        let found = judge(&asker.transcript(), &stage.history, &addresses, mode);
        if found.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = found.into_iter().map(|Violation(line)| line).collect();
        let told = format!("{}\nat rest {took:.1?} after the last fault", lines.join("\n"));
        Err(format!("{told}\n{}", stage.describe()).into())
    })
}

/// Whether every address was answered by one host, and by no other, for a while.
fn rest(asker: &Asker, addresses: &[IpAddr], scene: &Scene) -> Result<(), String> {
    const ROUNDS: usize = 25;
    let transcript = asker.transcript();
    let from = transcript.rounds.len().checked_sub(ROUNDS).ok_or("too early")?;
    let since = transcript.rounds[from];
    for (number, address) in addresses.iter().enumerate() {
        let answers = transcript.answers.iter().rev().take_while(|(at, _, _)| *at >= since);
        let of_it: Vec<_> = answers.filter(|(_, of, _)| *of == number).collect();
        let hosts: std::collections::BTreeSet<_> =
            of_it.iter().map(|(_, _, mac)| scene.cluster.network.host_of(*mac)).collect();
        if of_it.len() < ROUNDS / 2 || hosts.len() != 1 {
            return Err(format!("{address}: {} answers by {hosts:?}", of_it.len()));
        }
    }
    Ok(())
}
