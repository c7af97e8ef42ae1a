//! `buoy dns`: an authoritative name server for one delegated zone, in a process of its own.
//!
//! ```text
//!  daemon ==== status.sock ====> sources --> view --\
//!  other sites, /status.json --> (site)              +--> zone --> answer --> socket (UDP, TCP)
//!                        command line --> zone -----/               limiter --^
//! ```
//!
//! A name of the zone stands for a pool, and is answered with those addresses of the pool that a node
//! owns at this moment and whose checks pass there. `zone` and `answer` are pure: a question and
//! what is known in, a message out. The process has no capability once its sockets are open, no key
//! and no configuration file, and sees the daemon by the socket that takes no orders, as `serve` does.
//!
//! While nothing is known (the daemon does not answer, or is still listening) every question is
//! answered with SERVFAIL, upon which a resolver asks the zone's next name server (RFC 2308,
//! section 7). What a daemon has said is dropped at the moment at which it stops answering.

mod answer;
#[cfg(test)]
mod answer_test;
mod limiter;
mod socket;
mod sources;
mod view;
mod zone;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::logging;
use crate::programs;

pub use crate::serve::Error;
pub use sources::Source;
pub use zone::{Faulty, Name, Names, Server, WhenUnhealthy, Zone, name};

/// What `buoy dns` was told on its command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// The zone and how it is answered.
    pub zone: Zone,
    /// Where it listens, by UDP and TCP; not the unspecified address, because answers must come from
    /// the address that was asked.
    pub listen: Vec<SocketAddr>,
    /// Where the state of clusters is read, in order of preference.
    pub sources: Vec<Source>,
    /// How log lines look.
    pub log_format: logging::Format,
    /// How many `-v`.
    pub verbose: u8,
}

/// Answers until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot begin.
pub fn run(options: Options) -> Result<(), Error> {
    // Port 53 needs a capability; nothing that follows does.
    let sockets = options.listen.iter().map(|address| open(*address));
    let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
    // Before the log, which has a thread of its own.
    let dropped = programs::drop_capabilities();
    let _log = logging::start(options.log_format, options.verbose);
    if let Err(error) = dropped {
        tracing::warn!(%error, "capabilities cannot be dropped");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::System)?;
    runtime.block_on(serve(options, sockets)).map_err(Error::System)
}

fn open(address: SocketAddr) -> Result<(UdpSocket, TcpListener), Error> {
    let open = || {
        let (udp, tcp) = (UdpSocket::bind(address)?, TcpListener::bind(address)?);
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok((udp, tcp))
    };
    open().map_err(|source| Error::Listen(address, source))
}

async fn serve(options: Options, sockets: Vec<(UdpSocket, TcpListener)>) -> io::Result<()> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (tell, view) = watch::channel(view::View::default());
    let mut tasks = tokio::task::JoinSet::new();
    let site = std::sync::Arc::new(socket::Site::new(options.zone, view));
    for (udp, tcp) in sockets {
        let address = udp.local_addr()?;
        tracing::info!(%address, zone = %site.zone().apex(), "answering");
        tasks.spawn(socket::datagrams(tokio::net::UdpSocket::from_std(udp)?, site.clone()));
        tasks.spawn(socket::streams(tokio::net::TcpListener::from_std(tcp)?, site.clone()));
    }
    tokio::select! {
        () = sources::follow(options.sources, tell) => {}
        _ = tasks.join_next() => {}
        _ = terminate.recv() => tracing::info!("stopped"),
        _ = interrupt.recv() => tracing::info!("stopped"),
    }
    Ok(())
}

/// The lifetime of answers if none is given: how long a client may go on to an address that has left.
pub const TTL: Duration = Duration::from_secs(5);
