//! A client of HTTP/2 over plain TCP that keeps one connection, as gRPC and browsers do, and goes to a new
//! one when the server says GOAWAY.
//!
//! As little of RFC 9113 as that takes: one stream at a time, no padding, answers smaller than the window.
//! A request has failed if its answer does not come on the connection that it was sent on; none is
//! repeated.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use buoy::lab::clock;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(10);
/// A request that takes longer has failed.
const WITHIN: Duration = Duration::from_secs(3);
/// Bytes of a frame: what a peer may send unless it is told otherwise (RFC 9113 6.5.2).
const FRAME_MAX: usize = 16_384;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACKNOWLEDGED: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What the client has seen until now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Requests that were answered.
    pub(crate) answered: usize,
    /// Requests that were not, and why.
    pub(crate) failed: Vec<String>,
    /// How often the server said GOAWAY.
    pub(crate) goaways: usize,
    /// Connections that were opened.
    pub(crate) connections: usize,
    /// The last answer.
    pub(crate) last: String,
}

/// Asks until `ended`; what it sees is in `seen` all the time. To be called within the client's network.
pub(crate) fn ask(to: SocketAddr, seen: &Mutex<Seen>, ended: &AtomicBool) {
    let note = |change: &dyn Fn(&mut Seen)| {
        change(&mut seen.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let mut connection: Option<Connection> = None;
    while !ended.load(Ordering::Relaxed) {
        let answer = (|| {
            let open = match connection.take().filter(|open| !open.is_going()) {
                Some(open) => open,
                None => {
                    note(&|seen| seen.connections += 1);
                    Connection::open(to)?
                }
            };
            connection.insert(open).request()
        })();
        match answer {
            Ok(body) => note(&|seen| {
                seen.answered += 1;
                seen.last.clone_from(&body);
            }),
            Err(error) => {
                connection = None;
                note(&|seen| seen.failed.push(error.to_string()));
            }
        }
        clock::pause(PAUSE);
        // What has come meanwhile.
        if let Some(open) = &mut connection
            && open.look().is_err()
        {
            note(&|seen| seen.failed.push("closed without a GOAWAY".to_owned()));
            connection = None;
        }
        if connection.as_ref().is_some_and(Connection::is_going) {
            note(&|seen| seen.goaways += 1);
            connection = None;
        }
    }
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    next_stream: u32,
    going: bool,
}

/// One frame: its kind, flags, stream and payload.
struct Frame(u8, u8, u32, Vec<u8>);

impl Connection {
    fn open(to: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&to, WITHIN)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WITHIN))?;
        stream.write_all(PREFACE)?;
        let mut this = Self { stream, received: Vec::new(), next_stream: 1, going: false };
        this.send(SETTINGS, 0, 0, &[])?;
        Ok(this)
    }

    /// Whether the server has said that it takes no more requests here.
    const fn is_going(&self) -> bool {
        self.going
    }

    fn request(&mut self) -> io::Result<String> {
        let number = self.next_stream;
        self.next_stream += 2;
        // GET, http, / of the static table, and an authority in letters (RFC 7541 6.1, 6.2.2).
        let mut fields = vec![0x82, 0x86, 0x84, 0x01, 4];
        fields.extend(b"test");
        self.send(HEADERS, END_STREAM | END_HEADERS, number, &fields)?;
        let mut body = Vec::new();
        loop {
            let Frame(kind, flags, of, payload) = self.frame()?;
            if of != number {
                continue;
            }
            match kind {
                DATA => body.extend(payload),
                HEADERS => {}
                RESET => return Err(io::Error::other(format!("reset: {payload:?}"))),
                _ => continue,
            }
            if flags & END_STREAM != 0 {
                return String::from_utf8(body).map_err(io::Error::other);
            }
        }
    }

    /// Takes in what has come without waiting for more.
    fn look(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(true)?;
        let outcome = loop {
            match self.frame() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                // It says so and closes.
                Err(_) if self.going => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.stream.set_nonblocking(false)?;
        outcome
    }

    /// The next frame. What is of the connection as a whole is answered, too.
    fn frame(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.taken()? {
                let Frame(kind, flags, _, payload) = &frame;
                let asked = flags & ACKNOWLEDGED == 0;
                match *kind {
                    SETTINGS if asked => self.send(SETTINGS, ACKNOWLEDGED, 0, &[])?,
                    PING if asked => self.send(PING, ACKNOWLEDGED, 0, &payload.clone())?,
                    GOAWAY => self.going = true,
                    _ => {}
                }
                return Ok(frame);
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.received.extend(&piece[..length]),
            }
        }
    }

    /// A frame that has come as a whole.
    fn taken(&mut self) -> io::Result<Option<Frame>> {
        let Some(head) = self.received.first_chunk::<9>() else { return Ok(None) };
        let [a, b, c, kind, flags, number @ ..] = *head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if length > FRAME_MAX {
            return Err(io::Error::other(format!("a frame of {length} bytes")));
        }
        let Some(payload) = self.received.get(9..9 + length) else { return Ok(None) };
        let frame = Frame(kind, flags, u32::from_be_bytes(number), payload.to_vec());
        self.received.drain(..9 + length);
        Ok(Some(frame))
    }

    fn send(&mut self, kind: u8, flags: u8, of: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?.to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(of.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame)
    }
}
