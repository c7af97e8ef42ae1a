//! Where the state of clusters comes from: the daemon of this host, and other hosts by HTTP.
//!
//! The daemon of this host is asked again whenever it reports an event, so that an answer follows its
//! decision within milliseconds. Others are asked for `/status.json` of their `buoy serve` twice a
//! second. A source that does not answer is forgotten at once, and so is what it said.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::view::{Cluster, View, together};
use crate::control::response::Status;
use crate::serve::Feed;

/// Between two questions to another host.
const POLL: Duration = Duration::from_millis(500);
/// Another host that has not answered by then is not known.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Longest status taken from another host: one of the most groups has about 2 MB.
const STATUS_MAX: usize = 16 << 20;
/// The least between two questions to the daemon, however much happens.
const AGAIN: Duration = Duration::from_millis(50);
/// The most, if nothing happens.
const REFRESH: Duration = Duration::from_secs(1);

/// Where the state of a cluster is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The read-only socket of the daemon on this host.
    Daemon(PathBuf),
    /// The `buoy serve` of another host: its address or name, and port.
    Site(String),
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon(path) => path.display().fmt(out),
            Self::Site(authority) => write!(out, "http://{authority}/status.json"),
        }
    }
}

/// Keeps the view up to date, for ever.
pub(super) async fn follow(sources: Vec<Source>, view: watch::Sender<View>) {
    let (tell, mut told) = mpsc::channel(sources.len().max(1));
    let mut tasks = tokio::task::JoinSet::new();
    let mut known = vec![None; sources.len()];
    for (index, source) in sources.into_iter().enumerate() {
        let tell = tell.clone();
        tasks.spawn(async move {
            match &source {
                Source::Daemon(path) => ask_daemon(path, index, &tell).await,
                Source::Site(authority) => ask_site(authority, index, &tell).await,
            }
        });
    }
    drop(tell);
    let mut reasons = vec![String::new(); known.len()];
    while let Some((index, answer)) = told.recv().await {
        let reason = answer.as_ref().err().cloned().unwrap_or_default();
        if reasons[index] != reason {
            if reason.is_empty() {
                tracing::info!(source = index + 1, "the state of its cluster is known");
            } else {
                tracing::warn!(source = index + 1, reason, "the state of its cluster is not known");
            }
            reasons[index] = reason;
        }
        known[index] = answer.ok();
        let pools = together(known.iter());
        view.send_if_modified(|view| {
            let changed = view.pools != pools;
            if changed {
                view.serial = view.serial.wrapping_add(1);
                view.pools = pools;
            }
            changed
        });
    }
}

type Told = (usize, Result<Cluster, String>);

async fn ask_daemon(socket: &Path, index: usize, tell: &mpsc::Sender<Told>) {
    let feed = Arc::new(Feed::new(socket));
    let mut news = feed.listen();
    let follow = {
        let feed = Arc::clone(&feed);
        async move { feed.follow().await }
    };
    let ask = async {
        loop {
            let snapshot = feed.snapshot_not_older_than(AGAIN).await;
            let answer = match &snapshot.answer {
                Ok(answer) => cluster(&answer.status),
                Err(reason) => Err(reason.clone()),
            };
            if tell.send((index, answer)).await.is_err() {
                return;
            }
            sleep(AGAIN).await;
            // Lagging behind is news as well.
            let _news = timeout(REFRESH, news.recv()).await;
        }
    };
    tokio::select! {
        () = follow => {}
        () = ask => {}
    }
}

fn cluster(status: &Status) -> Result<Cluster, String> {
    Cluster::of(status).ok_or_else(|| format!("{} is {}", status.node, status.phase))
}

async fn ask_site(authority: &str, index: usize, tell: &mpsc::Sender<Told>) {
    loop {
        let answer = match timeout(ANSWER_MAX, fetch(authority)).await {
            Ok(Ok(status)) => cluster(&status),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("{authority} did not answer within {} s", ANSWER_MAX.as_secs())),
        };
        if tell.send((index, answer)).await.is_err() {
            return;
        }
        sleep(POLL).await;
    }
}

/// Fetches `/status.json`.
async fn fetch(authority: &str) -> io::Result<Status> {
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let request = hyper::Request::get("/status.json")
        .header("host", authority)
        .body(http_body_util::Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        if !response.status().is_success() {
            return Err(io::Error::other(format!("{authority} answers {}", response.status())));
        }
        let body = http_body_util::Limited::new(response.into_body(), STATUS_MAX);
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        serde_json::from_slice(&body).map_err(io::Error::other)
    };
    tokio::select! {
        status = exchange => status,
        ended = connection => Err(ended.err().map_or_else(
            || io::Error::other(format!("{authority} closed the connection")),
            io::Error::other,
        )),
    }
}
