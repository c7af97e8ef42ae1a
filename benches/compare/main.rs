//! Compares buoy with keepalived, ucarp and an ideal switch: `cargo bench --bench compare`.
//!
//! ```text
//!  main        options, which system meets which case, how often
//!    system    what is installed and started on each of two hosts
//!    rig       two hosts, a switch and a client that probes, in network namespaces
//!    question  a client that asks the whole network who has an address
//!    case      one fault, and what the client saw of it
//!    report    the table, and one line of JSON for each run
//!    plot      the distribution of outages, and outage over the number of addresses (SVG)
//! ```
//!
//! All systems get the same hosts, the same client and the same faults. What a system does is
//! judged by the client's probes and by the hosts' kernels; no daemon is asked. The runs of all
//! systems are interleaved, so that a disturbance of the machine meets all of them.
//!
//! keepalived and ucarp come from the distribution's packages. One that is missing is installed if
//! this runs as root and `apt-get` is there, else it is left out with a line that says so.

mod case;
mod plot;
mod question;
mod report;
mod rig;
mod system;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use buoy::lab::namespace;
use buoy::lab::stalls::{Processors, Stalls};
use clap::Parser;

use self::case::Case;
use self::report::Measured;
use self::system::System;

/// Compares buoy with keepalived, ucarp and an ideal switch on this machine.
#[derive(Debug, Parser)]
struct Options {
    /// Repeat each case so often.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Numbers of addresses for the death of the owner's host.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 500])]
    addresses: Vec<usize>,
    /// Measure only cases whose name contains this.
    #[arg(long)]
    case: Option<String>,
    /// Measure only systems whose name contains this.
    #[arg(long)]
    system: Option<String>,
    /// Directory for results.jsonl and the plots.
    #[arg(long, default_value = "target/compare")]
    output: PathBuf,
    /// Measure nothing: show the results of former runs, from their files.
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut out = io::stdout().lock();
    if !options.from.is_empty() {
        return show(&report::read_lines(&options.from)?, &options, &mut out);
    }
    let systems = systems(&options, &mut out)?;
    warn_of_neighbour_table(&options, &mut out)?;
    std::fs::create_dir_all(&options.output)?;
    let lines = options.output.join("results.jsonl");
    let mut lines = io::BufWriter::new(std::fs::File::create(lines)?);
    // Before the first thread: without root only a process with one thread may do this.
    namespace::enter_user_namespace()?;
    let stalls = Stalls::watch()?;
    let mut results: Vec<Measured> = Vec::new();
    let wanted = |name: &str, part: &Option<String>| {
        part.as_ref().is_none_or(|part| name.contains(part.as_str()))
    };
    for run in 1..=options.runs {
        for case in Case::all(&options.addresses) {
            if !wanted(&case.to_string(), &options.case) {
                continue;
            }
            for system in systems.iter().filter(|system| case.suits(system)) {
                let (before, _) = (Processors::now()?, stalls.longest());
                let figures = case.measure(system).unwrap_or_else(|error| case::Figures {
                    fault: Some(error.to_string()),
                    ..case::Figures::default()
                });
                let measured = Measured {
                    system: system.name(),
                    case: case.to_string(),
                    addresses: case.addresses(),
                    run,
                    figures,
                    longest_stall_ms: stalls.longest().as_secs_f64() * 1e3,
                    stolen_percent: Processors::now()?.stolen_since(before),
                };
                writeln!(out, "run {run}: {measured}")?;
                report::write_line(&measured, &mut lines)?;
                results.push(measured);
            }
        }
    }
    lines.flush()?;
    show(&results, &options, &mut out)
}

fn show(
    results: &[Measured],
    options: &Options,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(&options.output)?;
    writeln!(out, "\n{}", report::table(results))?;
    for plot in plot::draw(results, &options.output)? {
        writeln!(out, "{}", plot.display())?;
    }
    Ok(())
}

/// Returns the systems that are asked for and can be had here, and says which cannot.
fn systems(options: &Options, out: &mut impl Write) -> Result<Vec<System>, Box<dyn Error>> {
    let mut systems = Vec::new();
    for system in System::ALL {
        if options.system.as_ref().is_some_and(|part| !system.name().contains(part.as_str())) {
            continue;
        }
        match system.install() {
            Ok(()) => systems.push(system),
            Err(reason) => writeln!(out, "{} is left out: {reason}", system.name())?,
        }
    }
    if systems.is_empty() {
        return Err("no system is left to be measured".into());
    }
    Ok(systems)
}

/// All network namespaces share one table of neighbours (arp(7)).
fn warn_of_neighbour_table(options: &Options, out: &mut impl Write) -> io::Result<()> {
    const LIMIT: &str = "/proc/sys/net/ipv4/neigh/default/gc_thresh3";
    let limit: usize = std::fs::read_to_string(LIMIT)?.trim().parse().unwrap_or(0);
    let most = options.addresses.iter().copied().max().unwrap_or(0);
    // The client's entries, and those of the host that takes over while it asks.
    if limit < most * 2 + 64 {
        writeln!(
            out,
            "net.ipv4.neigh.default.gc_thresh3 is {limit}: with {most} addresses the neighbour \
             tables may be full, which delays all systems; set it to {}",
            most * 4
        )?;
    }
    Ok(())
}
