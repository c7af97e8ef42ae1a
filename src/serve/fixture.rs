//! A site for tests: a daemon that says what a test has it say, the site before it, and a client.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::door::{self, Limits};
use super::feed::Feed;
use super::routes::{self, Site};
use super::sample;

/// No answer of a test takes so long, however busy the machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// A daemon that answers with a given line, and counts how often it was asked.
pub(super) struct Daemon {
    pub(super) socket: PathBuf,
    pub(super) asked: Arc<AtomicUsize>,
    followers: Arc<(Mutex<Vec<UnixStream>>, Condvar)>,
    past: Arc<Mutex<Vec<String>>>,
    /// Those who asked a frozen daemon, if it is frozen.
    waiting: Arc<Mutex<Option<Vec<UnixStream>>>>,
}

impl Daemon {
    /// Listens in a directory of its own, which the drop removes.
    pub(super) fn start(status: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("buoy-serve-test-{}-{number}", std::process::id()));
        fs::create_dir(&directory).expect("a directory of its own");
        let socket = directory.join("status.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (asked, followers, past) = <(Arc<AtomicUsize>, Arc<_>, Arc<_>)>::default();
        let waiting = Arc::<Mutex<Option<Vec<UnixStream>>>>::default();
        let frozen = Arc::clone(&waiting);
        let daemon = Self { socket, asked, followers, past, waiting };
        let (status, asked) = (status.to_owned(), Arc::clone(&daemon.asked));
        let (followers, past) = (Arc::clone(&daemon.followers), Arc::clone(&daemon.past));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
                if reader.read_line(&mut line).is_err() {
                    continue;
                }
                if line.contains("events") {
                    for event in past.lock().unwrap().iter() {
                        let _ = stream.write_all(event.as_bytes());
                    }
                    followers.0.lock().unwrap().push(stream);
                    followers.1.notify_all();
                } else if let Some(waiting) = &mut *frozen.lock().unwrap() {
                    waiting.push(stream);
                } else {
                    asked.fetch_add(1, Ordering::Relaxed);
                    // Whoever asked may have gone.
                    let _ = stream.write_all(status.as_bytes());
                }
            }
        });
        daemon
    }

    /// Tells an event to whoever follows, and later to whoever comes.
    pub(super) fn tell(&self, seq: u64, sentence: &str) {
        let event = serde_json::json!({
            "seq": seq, "time": format!("2026-03-01T09:07:05.{seq:03}Z"), "kind": "stalled",
            "observer": "lb1", "sentence": sentence
        });
        let line = format!("{event}\n");
        self.past.lock().unwrap().push(line.clone());
        for follower in self.followers.0.lock().unwrap().iter_mut() {
            let _ = follower.write_all(line.as_bytes());
        }
    }

    /// Waits until somebody follows.
    pub(super) fn followed(&self) {
        let (followers, changed) = &*self.followers;
        let followers = followers.lock().unwrap();
        let waited = changed.wait_timeout_while(followers, DEADLINE, |all| all.is_empty()).unwrap();
        assert!(!waited.1.timed_out(), "nobody follows");
    }

    /// Takes connections and says nothing any more.
    pub(super) fn freeze(&self) {
        *self.waiting.lock().unwrap() = Some(Vec::new());
    }

    /// Is gone, as after a crash: its socket stays and nobody listens.
    pub(super) fn die(&self) {
        fs::remove_file(&self.socket).expect("the socket is there");
        for follower in self.followers.0.lock().unwrap().drain(..) {
            let _ = follower.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let directory = self.socket.parent().unwrap_or(Path::new("/nonexistent"));
        let _ = fs::remove_dir_all(directory);
    }
}

/// Waits for a condition.
pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "waited in vain until {what}");
        thread::yield_now();
    }
}

/// A site on a port of its own.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) daemon: Daemon,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// With the usual limits and the usual status.
    pub(super) fn usual() -> Self {
        Self::start(sample::JSON, Limits::default())
    }

    pub(super) fn start(status: &str, limits: Limits) -> Self {
        let daemon = Daemon::start(status);
        let feed = Arc::new(Feed::new(&daemon.socket));
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                tell.send(listener.local_addr().expect("an address")).expect("the test waits");
                let router = routes::router(Site::new(Arc::clone(&feed), Vec::new()));
                tokio::select! {
                    () = feed.follow() => {}
                    () = door::serve(listener, router, limits) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = told.recv().expect("the site starts");
        Self { address, daemon, stop: Some(stop), thread: Some(thread) }
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the site listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        stream
    }

    /// The answer to these bytes, to its end; the site may end the connection before it has read
    /// them all.
    pub(super) fn say(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        let _ = stream.write_all(request.as_bytes());
        let mut text = Vec::new();
        match stream.read_to_end(&mut text) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{request:.80}"),
        }
        Answer::read(&String::from_utf8(text).expect("text"))
    }

    /// Asks as a browser on this host does.
    pub(super) fn get(&self, path: &str) -> Answer {
        self.get_with(path, "")
    }

    /// The same, with further headers.
    pub(super) fn get_with(&self, path: &str, headers: &str) -> Answer {
        self.say(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost:4749\r\n{headers}Connection: close\r\n\r\n"
        ))
    }

    /// The code that a new listener to events gets; it leaves at once.
    pub(super) fn listen_code(&self) -> u16 {
        let mut stream = self.connect();
        stream
            .write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("the site takes it");
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).expect("an answer");
        String::from_utf8_lossy(&begin[9..]).parse().expect("a code")
    }

    /// A listener to events that has been let in.
    pub(super) fn listen(&self, headers: &str) -> BufReader<TcpStream> {
        let mut stream = self.connect();
        let request = format!("GET /events HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("the site takes it");
        let mut reader = BufReader::new(stream);
        let head = line_with(&mut reader, "HTTP/1.1");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        line_with(&mut reader, "transfer-encoding");
        reader
    }
}

/// Reads on to a line that has this in it.
pub(super) fn line_with(reader: &mut impl BufRead, part: &str) -> String {
    loop {
        let mut line = String::new();
        let length = reader.read_line(&mut line).expect("a line before the deadline");
        assert!(length > 0, "it ended without {part:?}");
        if line.contains(part) {
            return line;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the site does not panic");
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// 0 if there was none.
    pub(super) code: u16,
    pub(super) head: String,
    /// As sent: with the lengths of its pieces, if it came in pieces.
    pub(super) body: String,
}

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Self { code, head: head.to_lowercase(), body: body.to_owned() }
    }
}
