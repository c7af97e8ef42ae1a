//! `buoy serve`: metrics, a page, and answers for balancers, in a process of its own.
//!
//! ```text
//!  daemon ==== status.sock ====> feed --> snapshot --> metrics (table) --> /metrics
//!                                  |                   page, ready     --> / /ready /status.json
//!                                  \----> history, events              --> / /events
//! ```
//!
//! It has no capability, no key and no configuration, and speaks to the daemon only through the
//! socket that takes no orders; so nothing that comes over HTTP reaches the process that holds the
//! addresses. However many ask, the daemon is asked for its status once a second, four times when
//! something happens. When the daemon is gone, so are its numbers: `buoy_up` is 0 and the page says
//! so. The names of metrics stand in `table` alone; alerts and dashboard are made from it.

mod alerts;
#[cfg(test)]
mod browser_test;
mod clock;
mod dashboard;
mod door;
mod feed;
#[cfg(test)]
mod fixture;
mod history;
mod html;
#[cfg(test)]
mod loopback_test;
mod metrics;
#[cfg(test)]
mod misuse_test;
mod page;
mod page_parts;
mod ready;
mod routes;
#[cfg(test)]
mod sample;
mod table;
mod table_groups;
mod table_local;
mod timeline;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::confinement;
use crate::logging;
use crate::programs;

use door::Limits;
pub(crate) use feed::Feed;
use routes::Site;

pub use alerts::text as alert_rules;
pub use dashboard::text as dashboard;
pub use table::has_counter;
pub use table::list as metric_names;

/// What `buoy serve` was told on its command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The daemon's socket for those who only read.
    pub socket: PathBuf,
    /// Names under which it may be asked, besides addresses and `localhost`.
    pub hosts: Vec<String>,
    /// How log lines look.
    pub log_format: logging::Format,
    /// How many `-v`.
    pub verbose: u8,
}

/// Why nothing is served. Nothing was changed.
#[derive(Debug)]
pub enum Error {
    /// The address cannot be listened at.
    Listen(SocketAddr, io::Error),
    /// The system refused.
    System(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, source) => {
                write!(out, "cannot listen on {address}: {source}; choose another --listen")
            }
            Self::System(source) => write!(out, "the system refused: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(_, source) | Self::System(source) => Some(source),
        }
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot begin.
pub fn run(options: Options) -> Result<(), Error> {
    // Before the log, which has a thread of its own.
    let dropped = programs::drop_capabilities();
    let listener = StdListener::bind(options.listen)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| Error::Listen(options.listen, source))?;
    // From here on it needs that socket and the daemon's, and no file.
    let confined = confinement::confine(&[]);
    let _log = logging::start(options.log_format, options.verbose);
    if let Err(error) = dropped {
        tracing::warn!(%error, "capabilities cannot be dropped");
    }
    match confined {
        Ok(confined) => tracing::info!("{confined}"),
        Err(error) => tracing::warn!(error, "Landlock cannot be used"),
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::System)?;
    runtime.block_on(serve(options, listener)).map_err(Error::System)
}

async fn serve(options: Options, listener: StdListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    tracing::info!(%address, socket = %options.socket.display(), "serving http");
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "every host that reaches this address can read the status");
    }
    let feed = Arc::new(Feed::new(&options.socket));
    let router = routes::router(Site::new(Arc::clone(&feed), options.hosts));
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        () = feed.follow() => {}
        () = door::serve(listener, router, Limits::default()) => {}
        _ = terminate.recv() => tracing::info!("stopped"),
        _ = interrupt.recv() => tracing::info!("stopped"),
    }
    Ok(())
}
