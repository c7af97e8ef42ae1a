//! `buoy dns`: reads its options and starts the name server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::arguments::{LogFormat, OBSERVERS_SOCKET};
use super::{Streams, log_format};
use crate::config::parse_duration;
use crate::dns::{self, Faulty, Name, Names, Server, Source, WhenUnhealthy, Zone};
use crate::exit::Exit;

/// A week: no resolver keeps a record for longer (RFC 8767, section 4).
const TTL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Arguments of `dns`.
#[derive(Debug, Args)]
pub(super) struct Dns {
    /// Zone to answer, as it is delegated: ha.example.net
    #[arg(long, value_name = "ZONE")]
    zone: String,
    /// Address and port to listen at, by UDP and TCP; may be repeated
    #[arg(long, value_name = "ADDRESS:PORT", required = true)]
    listen: Vec<SocketAddr>,
    /// Name server of the zone; may be repeated [default: ns.ZONE at the addresses of --listen]
    #[arg(long, value_name = "NAME=ADDRESS,...")]
    server: Vec<String>,
    /// Name and the pools it stands for; may be repeated, @ is ZONE [default: the names of all pools]
    #[arg(long, value_name = "NAME=POOL,...")]
    name: Vec<String>,
    /// How long resolvers may keep an answer
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = ttl)]
    ttl: Duration,
    /// Answer at most N addresses, chosen at random by the weight of their nodes [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    answers: Option<u16>,
    /// What to answer while the checks of no owner pass
    #[arg(long, value_name = "WHAT", default_value = "serve")]
    unhealthy: Unhealthy,
    /// Where to read the state: a daemon's socket or HOST:PORT of a buoy serve; may be repeated
    #[arg(long, value_name = "SOURCE")]
    source: Vec<String>,
    /// Format of log lines [default: text, or json with --json]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Log more
    #[arg(short, long)]
    verbose: bool,
}

/// What a name is answered with while the checks of no owner pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Unhealthy {
    /// The addresses that are owned all the same.
    Serve,
    /// No address.
    Empty,
    /// A failure (SERVFAIL).
    Fail,
}

/// Answers until it is told to stop.
pub(super) fn run(
    wanted: &Dns,
    socket: Option<PathBuf>,
    json: bool,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let zone = match zone(wanted) {
        Ok(zone) => zone,
        Err(fault) => {
            writeln!(streams.err, "error: {fault}\n\nFor more, try 'buoy dns --help'.")?;
            return Ok(Exit::Usage);
        }
    };
    let mut sources: Vec<_> = wanted.source.iter().map(|text| source(text)).collect();
    if sources.is_empty() {
        sources.push(Source::Daemon(socket.unwrap_or_else(|| PathBuf::from(OBSERVERS_SOCKET))));
    }
    let options = dns::Options {
        zone,
        listen: wanted.listen.clone(),
        sources,
        log_format: log_format(wanted.log_format, json),
        verbose: u8::from(wanted.verbose),
    };
    let Err(error) = dns::run(options) else { return Ok(Exit::Done) };
    writeln!(streams.err, "buoy: {error}")?;
    Ok(Exit::Failed)
}

/// A path of a socket, else a host and port.
fn source(text: &str) -> Source {
    if text.contains('/') && !text.starts_with("http://") {
        return Source::Daemon(PathBuf::from(text));
    }
    let authority = text.strip_prefix("http://").unwrap_or(text);
    Source::Site(authority.trim_end_matches('/').to_owned())
}

fn zone(wanted: &Dns) -> Result<Zone, String> {
    let said = |fault: Faulty| fault.to_string();
    if let Some(any) = wanted.listen.iter().find(|address| address.ip().is_unspecified()) {
        return Err(format!(
            "--listen {any}: name the addresses, because answers must come from the one that was asked"
        ));
    }
    let apex = dns::name(&wanted.zone).map_err(said)?;
    let mut servers = Vec::new();
    for text in &wanted.server {
        let (name, addresses) = text.split_once('=').unwrap_or((text, ""));
        let addresses = addresses.split(',').filter(|address| !address.is_empty());
        let addresses = addresses.map(|address| {
            address
                .parse::<IpAddr>()
                .map_err(|_| format!("--server {text}: \"{address}\" is no address"))
        });
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        servers.push(Server { name: in_zone(name, &apex)?, addresses });
    }
    if servers.is_empty() {
        let addresses = wanted.listen.iter().map(SocketAddr::ip).collect();
        servers.push(Server { name: in_zone("ns", &apex)?, addresses });
    }
    let mut names = Names::new();
    for text in &wanted.name {
        let Some((name, pools)) = text.split_once('=') else {
            return Err(format!("--name {text}: write NAME=POOL"));
        };
        let pools = pools.split(',').map(str::to_owned);
        names.entry(in_zone(name, &apex)?).or_default().extend(pools);
    }
    let names = Some(names).filter(|names| !names.is_empty());
    let zone = Zone::new(apex, servers, names).map_err(said)?;
    let unhealthy = match wanted.unhealthy {
        Unhealthy::Serve => WhenUnhealthy::Serve,
        Unhealthy::Empty => WhenUnhealthy::Empty,
        Unhealthy::Fail => WhenUnhealthy::Fail,
    };
    let zone = zone.with_ttl(wanted.ttl).with_unhealthy(unhealthy);
    Ok(match wanted.answers {
        Some(answers) => zone.with_at_most(usize::from(answers)),
        None => zone,
    })
}

/// A name as zone files have it: relative to the zone without a dot at its end, `@` for the zone.
fn in_zone(text: &str, apex: &Name) -> Result<Name, String> {
    let absolute = match text {
        "@" => apex.to_string(),
        name if name.ends_with('.') => name.to_owned(),
        name => format!("{name}.{apex}"),
    };
    dns::name(&absolute).map_err(|fault| fault.to_string())
}

fn ttl(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).map_err(|fault| fault.to_string())?;
    if time < Duration::from_secs(1) || time > TTL_MAX || time.subsec_nanos() > 0 {
        return Err("whole seconds, 1s to 168h".to_owned());
    }
    Ok(time)
}
