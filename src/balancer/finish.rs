//! Has HAProxy finish its connections once groups have been handed over: a reload by its master process.
//!
//! ```text
//!   handed over, and again, ... --> GATHER after the first --> "reload" to the master socket
//! ```
//!
//! The process that had the connections takes no new one then, sends GOAWAY to clients of HTTP/2, closes
//! connections of HTTP/1.1 after the response under way, and ends with the last one. Nothing waits for
//! this, and one that cannot be asked is a trouble each time. HAProxy 2.6 closes without an answer;
//! later versions answer when the new process runs, or why it does not.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::{News, Wanted, ask, list};

/// Groups that are handed over within this time after the first are one reload.
const GATHER: Duration = Duration::from_millis(500);
/// A new process runs by then, or the file is refused.
const WITHIN: Duration = Duration::from_secs(10);
const RELOAD: &str = "reload\n";

/// Asks whenever that is due, until the other end of `handed` is dropped.
pub(super) async fn keep(
    wanted: watch::Receiver<Wanted>,
    mut handed: mpsc::Receiver<()>,
    news: mpsc::Sender<News>,
) {
    while handed.recv().await.is_some() {
        sleep(GATHER).await;
        while handed.try_recv().is_ok() {}
        let haproxy = wanted.borrow().haproxy.clone();
        let Some(master) = haproxy.and_then(|haproxy| haproxy.master) else { continue };
        let answer = timeout(WITHIN, ask(&master, RELOAD)).await;
        let outcome = match answer {
            Ok(answer) => answer.and_then(|answer| understood(&answer)),
            Err(_) => Err(format!("no answer within {WITHIN:?}")),
        };
        let told = match outcome {
            Ok(()) => News::Finishes,
            Err(words) => News::NotFinishing(words),
        };
        // What does not fit is about a HAProxy that fails all the time.
        let _ = news.try_send(told);
    }
}

/// Whether HAProxy has taken the order.
fn understood(answer: &str) -> Result<(), String> {
    let first = answer.lines().map(str::trim).find(|line| !line.is_empty());
    match first {
        None | Some("Success=1") => Ok(()),
        Some("Success=0") => Err("HAProxy does not start with its file".to_owned()),
        Some(_) => list::accepted(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_all_versions_are_understood() {
        for (answer, expected) in [
            ("", Ok(())),
            ("\n", Ok(())),
            ("Success=1\n--\n[NOTICE] ...\n", Ok(())),
            ("Success=0\n--\n[ALERT] ...\n", Err("HAProxy does not start with its file")),
            ("Permission denied\n", Err("it answered: Permission denied")),
        ] {
            assert_eq!(understood(answer), expected.map_err(str::to_owned), "{answer:?}");
        }
    }
}
