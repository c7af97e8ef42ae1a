//! Questions by UDP and TCP, with limits on what one client can take.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use super::answer::{self, Transport};
use super::limiter::{Limiter, Verdict};
use super::view::View;
use super::zone::Zone;

/// TCP connections at a time; further ones wait in the kernel's queue.
const STREAMS_MAX: usize = 128;
/// A connection that asks nothing for so long is closed (RFC 7766, section 6.2.3).
const IDLE_MAX: Duration = Duration::from_secs(5);
/// Questions by one connection. What a client has sent beyond that is lost, and asked again.
const QUESTIONS_MAX: usize = 10_000;
/// A question has one name; longer messages are not read on.
const QUESTION_MAX: usize = 4096;
/// After an error of a socket, such as no memory.
const PAUSE: Duration = Duration::from_millis(10);

/// What all sockets answer from.
#[derive(Debug)]
pub(super) struct Site {
    zone: Zone,
    view: watch::Receiver<View>,
    limiter: Mutex<Limiter>,
    questions: AtomicU64,
    random: RandomState,
}

impl Site {
    pub(super) fn new(zone: Zone, view: watch::Receiver<View>) -> Self {
        let (limiter, questions) = (Mutex::default(), AtomicU64::new(0));
        Self { zone, view, limiter, questions, random: RandomState::new() }
    }

    pub(super) fn zone(&self) -> &Zone {
        &self.zone
    }

    fn answer(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let number = self.questions.fetch_add(1, Ordering::Relaxed);
        let draw = |index: usize| self.random.hash_one((number, index));
        answer::answer(query, transport, &self.zone, &self.view.borrow(), draw)
    }
}

/// Answers by UDP, for ever.
pub(super) async fn datagrams(socket: UdpSocket, site: Arc<Site>) {
    let mut query = vec![0; QUESTION_MAX];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut query).await else {
            sleep(PAUSE).await;
            continue;
        };
        let query = &query[..length];
        let now = Instant::now().into_std();
        let verdict = {
            let mut limiter = site.limiter.lock().unwrap_or_else(PoisonError::into_inner);
            limiter.judge(from.ip(), now)
        };
        let reply = match verdict {
            Verdict::Answer => site.answer(query, Transport::Udp),
            Verdict::Truncate => answer::truncated(query),
            Verdict::Drop => None,
        };
        if let Some(reply) = reply {
            // A client that cannot be reached asks again.
            let _sent = socket.send_to(&reply, from).await;
        }
    }
}

/// Answers by TCP, for ever.
pub(super) async fn streams(listener: TcpListener, site: Arc<Site>) {
    let room = Arc::new(Semaphore::new(STREAMS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let site = Arc::clone(&site);
                tokio::spawn(async move {
                    // The client sees that it ended.
                    let _ended = converse(stream, &site).await;
                    drop(place);
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Each message has its length in front (RFC 1035, section 4.2.2).
async fn converse(mut stream: TcpStream, site: &Site) -> io::Result<()> {
    for _ in 0..QUESTIONS_MAX {
        let query = timeout(IDLE_MAX, async {
            let length = usize::from(stream.read_u16().await?);
            if length > QUESTION_MAX {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            let mut query = vec![0; length];
            stream.read_exact(&mut query).await?;
            Ok(query)
        })
        .await??;
        let Some(reply) = site.answer(&query, Transport::Tcp) else { return Ok(()) };
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        let message = [&length.to_be_bytes()[..], &reply].concat();
        timeout(IDLE_MAX, stream.write_all(&message)).await??;
    }
    Ok(())
}
