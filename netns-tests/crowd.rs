//! Many HTTP clients at once, some that keep their connections and some that take a new one for each
//! request, and what they count as failed.
//!
//! As real clients do: a connection that was used before and is closed, or reset, before the first
//! byte of an answer proves nothing of the request, so it is made again, once, on a new connection;
//! that is counted as *repeated*. Everything else that is not a whole answer with status 200 has
//! *failed*: a connection that is refused, reset or not made within five seconds, a new one that is
//! closed without an answer, an answer that is cut, or none within five seconds.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use buoy::lab::clock;

use crate::Outcome;
use crate::scene::Scene;

/// For connecting, and for an answer: a connection attempt that gets lost is repeated by the kernel
/// after one second, then three.
const WITHIN: Duration = Duration::from_secs(5);
/// Slower answers are counted.
const SLOW: Duration = Duration::from_millis(500);
const STACK: usize = 128 * 1024;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: buoy\r\n\r\n";
/// Failures that are kept in words.
const TOLD_MAX: usize = 20;

/// Who asks, and how often.
pub(crate) struct Crowd {
    /// Clients that keep their connection.
    pub(crate) keeping: usize,
    /// Clients that take a new one for each request.
    pub(crate) renewing: usize,
    /// From one request of a client to its next.
    pub(crate) every: Duration,
}

/// What all of them saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) good: usize,
    pub(crate) repeated: usize,
    /// Good, but slower than half a second.
    pub(crate) slow: usize,
    pub(crate) worst: Duration,
    pub(crate) failed: usize,
    /// The first of them, in words.
    pub(crate) words: Vec<String>,
    /// How long it went on.
    pub(crate) took: Duration,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.good += other.good;
        self.repeated += other.repeated;
        self.slow += other.slow;
        self.worst = self.worst.max(other.worst);
        self.failed += other.failed;
        self.words.extend(other.words);
        self.words.truncate(TOLD_MAX);
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let rate = self.good as f64 / self.took.as_secs_f64();
        format!(
            "{} requests in {:.1?} ({rate:.0}/s): {} failed, {} repeated, {} slower than {SLOW:?}, \
             worst {:.0?}",
            self.good + self.failed,
            self.took,
            self.failed,
            self.repeated,
            self.slow,
            self.worst
        )
    }

    /// Fails if any request has.
    pub(crate) fn none_failed(&self) -> Outcome {
        if self.failed == 0 && self.good > 0 {
            return Ok(());
        }
        Err(format!("{}\n{}", self.line(), self.words.join("\n")).into())
    }
}

/// Lets a crowd ask all these addresses while `act` happens.
pub(crate) fn crowded(
    scene: &mut Scene,
    crowd: &Crowd,
    act: impl FnOnce(&mut Scene) -> Outcome,
) -> Result<Tally, Box<dyn std::error::Error>> {
    let (vips, namespace) = (scene.served.clone(), scene.cluster.client().clone());
    let ended = AtomicBool::new(false);
    let begun = clock::now();
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for number in 0..crowd.keeping + crowd.renewing {
            let (to, keeps) = (vips[number % vips.len()], number < crowd.keeping);
            // Spread over the interval.
            let total = u32::try_from(crowd.keeping + crowd.renewing)?;
            let offset = crowd.every * u32::try_from(number)? / total;
            let (ended, namespace, every) = (&ended, namespace.clone(), crowd.every);
            let body = move || {
                namespace.enter().map_err(|error| error.to_string())?;
                clock::pause(offset);
                Ok::<Tally, String>(Client::new(to, keeps).ask(every, ended))
            };
            clients.push(thread::Builder::new().stack_size(STACK).spawn_scoped(scope, body)?);
        }
        let outcome = act(scene);
        ended.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        for client in clients {
            tally.add(client.join().map_err(|_| "a client panicked")??);
        }
        tally.took = clock::now().duration_since(begun);
        outcome
            .map_err(|error| format!("{error}\n{}\n{}", tally.line(), tally.words.join("\n")))?;
        Ok(tally)
    })
}

/// How a request ended without an answer.
enum Cut {
    /// Closed before the first byte of one.
    Before(String),
    /// In any other way.
    Otherwise(String),
}

impl Cut {
    fn words(self) -> String {
        match self {
            Self::Before(words) | Self::Otherwise(words) => words,
        }
    }
}

struct Client {
    to: SocketAddr,
    keeps: bool,
    kept: Option<TcpStream>,
}

impl Client {
    fn new(to: IpAddr, keeps: bool) -> Self {
        Self { to: SocketAddr::new(to, 80), keeps, kept: None }
    }

    fn ask(mut self, every: Duration, ended: &AtomicBool) -> Tally {
        let mut tally = Tally::default();
        let mut due = clock::now();
        while !ended.load(Ordering::Relaxed) {
            let begun = clock::now();
            match self.request() {
                Ok(repeated) => {
                    let took = clock::now().duration_since(begun);
                    tally.good += 1;
                    tally.repeated += usize::from(repeated);
                    tally.slow += usize::from(took > SLOW);
                    tally.worst = tally.worst.max(took);
                }
                Err(words) => {
                    tally.failed += 1;
                    let kind = if self.keeps { "kept" } else { "new" };
                    let took = clock::now().duration_since(begun);
                    tally.words.push(format!("{} ({kind}) after {took:?}: {words}", self.to));
                    tally.words.truncate(TOLD_MAX);
                }
            }
            due += every;
            let now = clock::now();
            due = due.max(now);
            clock::pause(due.duration_since(now));
        }
        tally
    }

    /// One request; tells whether it had to be made again.
    fn request(&mut self) -> Result<bool, String> {
        let mut repeated = false;
        if let Some(stream) = self.kept.take() {
            match self.once(stream) {
                Ok(()) => return Ok(false),
                Err(Cut::Before(_)) => repeated = true,
                Err(Cut::Otherwise(words)) => return Err(words),
            }
        }
        let stream = TcpStream::connect_timeout(&self.to, WITHIN)
            .map_err(|error| format!("connecting: {error}"))?;
        let ready = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(WITHIN)));
        ready.map_err(|error| error.to_string())?;
        self.once(stream).map_err(Cut::words)?;
        Ok(repeated)
    }

    /// Asks on this connection, and keeps it if both ends want that.
    fn once(&mut self, mut stream: TcpStream) -> Result<(), Cut> {
        const ENDED: [ErrorKind; 3] =
            [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted];
        let cut = |error: &std::io::Error, begun: bool| {
            let before = !begun && ENDED.contains(&error.kind());
            if before { Cut::Before(error.to_string()) } else { Cut::Otherwise(error.to_string()) }
        };
        stream.write_all(REQUEST).map_err(|error| cut(&error, false))?;
        let (mut answer, mut chunk) = (Vec::new(), [0; 1024]);
        loop {
            if let Some(open) = whole(&answer).map_err(Cut::Otherwise)? {
                if open && self.keeps {
                    self.kept = Some(stream);
                }
                return Ok(());
            }
            match stream.read(&mut chunk).map_err(|error| cut(&error, !answer.is_empty()))? {
                0 if answer.is_empty() => return Err(Cut::Before("closed".to_owned())),
                0 => return Err(Cut::Otherwise("the answer is cut".to_owned())),
                length => answer.extend_from_slice(&chunk[..length]),
            }
        }
    }
}

/// Whether this is a whole answer, and then whether its connection stays open.
fn whole(answer: &[u8]) -> Result<Option<bool>, String> {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    let head = head.to_ascii_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        return Err(format!("{head:?}"));
    }
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let length: Option<usize> = field("content-length:").and_then(|length| length.parse().ok());
    let length = length.ok_or_else(|| format!("an answer without a length: {head:?}"))?;
    Ok((body.len() >= length).then_some(field("connection:") != Some("close")))
}
