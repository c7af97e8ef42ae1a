//! Tells the HAProxy of this host which addresses are being drained, and asks it to finish its connections
//! once groups have been handed over (`finish`).
//!
//! ```text
//!   draining, addresses, configuration --> task: wanted list --> show acl, add acl, del acl
//!                                            ^   every second (drained), 5 s (not), and at once
//!                                            +---+--> News when it cannot be told, or can again
//! ```
//!
//! What it is told is a list of addresses, and what that means is one rule in HAProxy's own
//! configuration: `http-after-response set-header Connection close if { dst -f LIST }`. Such a
//! response is whole, and its connection ends with it; new connections are served as ever, so that
//! no request fails while the address is still here. The other ways that HAProxy 2.6 has, each tried:
//! `disable frontend` has new connections refused, `set maxconn frontend 0` has them wait until they
//! time out, `set server` and agents are about what is behind it, and `shutdown sessions` cuts
//! responses.
//!
//! The list is compared with what is wanted again and again, so it does not matter who was restarted
//! meanwhile: a HAProxy that was reloaded gets it again, a buoy that was killed puts it right at its
//! next start, and if that never comes connections are closed after each response and nothing worse.
//! A drain does not wait for any of this. An answer that is late, too long or not understood is a
//! trouble, told once.

mod finish;
mod list;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::config::{Endpoint, HaproxyConfig};

/// All questions of one comparison have been answered by then.
const WITHIN: Duration = Duration::from_secs(1);
/// Between two comparisons while the node drains: HAProxy may be reloaded.
const DRAINED_EVERY: Duration = Duration::from_secs(1);
/// The same while it does not: only what others put into the list is wrong then.
const IDLE_EVERY: Duration = Duration::from_secs(5);
/// After one that failed while the node drains.
const AGAIN: Duration = Duration::from_millis(200);
/// Bytes of an answer: 4096 addresses several times over.
const ANSWER_MAX: usize = 1024 * 1024;
/// News that may wait; there are two for each restart of a HAProxy.
const NEWS_MAX: usize = 16;

/// What is to be told to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// To whom; nobody is told if there is none.
    pub haproxy: Option<HaproxyConfig>,
    /// Whether the node drains.
    pub draining: bool,
    /// All addresses that the node may hold.
    pub addresses: BTreeSet<IpAddr>,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// HAProxy could not be told, for this reason.
    Failed(String),
    /// It can be told again.
    Back,
    /// Its list has so many addresses now and had others before.
    Told(usize),
    /// It was asked to finish its connections.
    Finishes,
    /// It could not be asked to, for this reason.
    NotFinishing(String),
}

/// The task; it ends when this is dropped.
#[derive(Debug)]
pub struct Balancer {
    wanted: watch::Sender<Wanted>,
    handed: mpsc::Sender<()>,
    news: mpsc::Receiver<News>,
}

impl Balancer {
    /// Begins to tell. To be called within the runtime.
    #[must_use]
    pub fn start(wanted: Wanted) -> Self {
        let (wanted, told) = watch::channel(wanted);
        let (sink, news) = mpsc::channel(NEWS_MAX);
        let (handed, asks) = mpsc::channel(1);
        tokio::spawn(finish::keep(told.clone(), asks, sink.clone()));
        tokio::spawn(keep(told, sink));
        Self { wanted, handed, news }
    }

    /// Changes what is to be told.
    pub fn change(&self, change: impl FnOnce(&mut Wanted)) {
        self.wanted.send_modify(change);
    }

    /// A group has been handed over: its connections are to end. Returns at once.
    pub fn finish(&self) {
        // One that waits already is enough.
        let _ = self.handed.try_send(());
    }

    /// Waits for the next news. Nothing is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            // The task has panicked, which ends the process.
            None => std::future::pending().await,
        }
    }
}

async fn keep(mut wanted: watch::Receiver<Wanted>, news: mpsc::Sender<News>) {
    let mut trouble: Option<String> = None;
    loop {
        let now = wanted.borrow_and_update().clone();
        let mut pause = if now.draining { DRAINED_EVERY } else { IDLE_EVERY };
        if let Some(haproxy) = &now.haproxy {
            let none = BTreeSet::new();
            let due = if now.draining { &now.addresses } else { &none };
            let outcome = timeout(WITHIN, put_right(haproxy, due)).await;
            let told = match outcome.unwrap_or_else(|_| Err(format!("no answer within {WITHIN:?}")))
            {
                Ok(changed) => {
                    let back = trouble.take().map(|_| News::Back);
                    back.into_iter().chain(changed.then_some(News::Told(due.len()))).collect()
                }
                Err(words) => {
                    pause = if now.draining { AGAIN } else { IDLE_EVERY };
                    let new = trouble.as_ref() != Some(&words);
                    trouble = Some(words.clone());
                    if new { vec![News::Failed(words)] } else { Vec::new() }
                }
            };
            for one in told {
                // What does not fit is about a HAProxy that comes and goes all the time.
                let _ = news.try_send(one);
            }
        } else {
            trouble = None;
        }
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

/// Compares the list with what it should be, and makes it so; tells whether it was not.
async fn put_right(haproxy: &HaproxyConfig, due: &BTreeSet<IpAddr>) -> Result<bool, String> {
    let show = list::show(&haproxy.list);
    let mut changed = false;
    // Once to make the difference and once to see that it is made.
    for _ in 0..2 {
        let found = list::read(&ask(&haproxy.at, &show).await?, &haproxy.list)?;
        let lines = list::difference(&haproxy.list, &found, due);
        if lines.is_empty() {
            return Ok(changed);
        }
        for line in lines {
            list::accepted(&ask(&haproxy.at, &line).await?)?;
        }
        changed = true;
    }
    let found = list::read(&ask(&haproxy.at, &show).await?, &haproxy.list)?;
    match list::difference(&haproxy.list, &found, due).is_empty() {
        true => Ok(true),
        false => Err("its list is not what was written".to_owned()),
    }
}

/// Sends one line and reads all that is answered; the stats socket closes after one.
async fn ask(at: &Endpoint, line: &str) -> Result<String, String> {
    let refused = |error: io::Error| at.not_connected(&error);
    match at {
        Endpoint::Tcp(address) => {
            exchange(TcpStream::connect(address).await.map_err(refused)?, line).await
        }
        Endpoint::Unix(path) => {
            exchange(UnixStream::connect(path).await.map_err(refused)?, line).await
        }
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    line: &str,
) -> Result<String, String> {
    let broken = |error: io::Error| format!("the connection broke: {}", short(&error));
    stream.write_all(line.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    let most = u64::try_from(ANSWER_MAX).unwrap_or(u64::MAX) + 1;
    stream.take(most).read_to_end(&mut answer).await.map_err(broken)?;
    if answer.len() > ANSWER_MAX {
        return Err(format!("the answer is longer than {ANSWER_MAX} bytes"));
    }
    String::from_utf8(answer).map_err(|_| list::NONSENSE.to_owned())
}

/// An error without its number.
fn short(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests;
