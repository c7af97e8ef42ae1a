//! The listening socket: how many connections, for how long, and what becomes of slow clients.
//!
//! Nothing that a client does takes more than its connection: their number and their length are
//! limited, a request must come whole within [`HEADER_WAIT`] and be short, and a client that does
//! not take what it asked for within [`WRITE_WAIT`] is let go. One that comes too many is told so.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};

/// Connections at a time: several monitors and balancers, and some people.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// A request comes within this time; a connection that is kept for the next is closed after it.
const HEADER_WAIT: Duration = Duration::from_secs(10);
/// Longest request with its headers.
pub(super) const REQUEST_BYTES_MAX: usize = 8192;
const HEADERS_MAX: usize = 64;
/// A client takes something of its answer within this time.
const WRITE_WAIT: Duration = Duration::from_secs(10);
/// No connection lasts longer; whoever follows events connects again by itself.
const CONNECTION_MAX: Duration = Duration::from_secs(15 * 60);
/// Wait after an accept that failed, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\n\
    retry-after: 5\r\nconnection: close\r\ncontent-length: 21\r\n\r\ntoo many connections\n";

/// Times that tests shorten.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) header_wait: Duration,
    pub(super) write_wait: Duration,
    pub(super) connection_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header_wait: HEADER_WAIT, write_wait: WRITE_WAIT, connection_max: CONNECTION_MAX }
    }
}

/// Serves everybody who comes; ends only by being dropped.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits) {
    let mut clients = JoinSet::new();
    loop {
        // Those who have left are counted out before the next is let in.
        let accepted = tokio::select! {
            biased;
            Some(_) = clients.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) if clients.len() < CONNECTIONS_MAX => {
                clients.spawn(connection(stream, from, router.clone(), limits));
            }
            Ok((stream, _)) => turn_away(&stream),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn turn_away(stream: &TcpStream) {
    // One try is enough: the buffer of a new connection is empty, and nobody is waited for.
    if let Err(error) = stream.try_write(TURNED_AWAY) {
        tracing::debug!(%error, "client disconnected before it was rejected");
    }
}

async fn connection(stream: TcpStream, from: SocketAddr, router: Router, limits: Limits) {
    let _ = stream.set_nodelay(true);
    let stream = Hasty { stream, wait: limits.write_wait, until: None };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_wait)
        .max_buf_size(REQUEST_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let service = TowerToHyperService::new(router);
    let served = http.serve_connection(TokioIo::new(stream), service);
    match timeout(limits.connection_max, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, %from, "client disconnected"),
        Err(_) => tracing::debug!(%from, "client was served long enough"),
    }
}

/// A stream whose writes fail when the other side takes nothing for too long.
struct Hasty {
    stream: TcpStream,
    wait: Duration,
    /// Runs while something waits to be taken.
    until: Option<Pin<Box<Sleep>>>,
}

impl Hasty {
    /// What became of a write; while it waits, for so long at most.
    fn hurry<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(self.wait)));
        ready!(until.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Hasty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Hasty {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.hurry(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.hurry(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
