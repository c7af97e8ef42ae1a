//! Clients that do not behave: each costs its own connection and nothing else.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use tokio::time::Instant;

use super::door::{CONNECTIONS_MAX, Limits, REQUEST_BYTES_MAX};
use super::fixture::{Running, eventually, line_with};
use super::routes::STREAMS_MAX;
use super::sample;

/// Short enough for a test to see it, long enough for a busy machine.
const SHORT: Duration = Duration::from_millis(400);

fn hasty(limits: impl FnOnce(&mut Limits)) -> Running {
    let mut own = Limits::default();
    limits(&mut own);
    Running::start(sample::JSON, own)
}

#[test]
fn only_reading_is_answered() {
    let site = Running::usual();
    for (request, code) in [
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405),
        ("DELETE /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nabcd", 413),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 421),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example:4749\r\nConnection: close\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
            400,
        ),
        ("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400),
        ("GET /?from=minus HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400),
        ("HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200),
        ("nonsense\r\n\r\n", 400),
    ] {
        let answer = site.say(request);
        assert_eq!(answer.code, code, "{request}{}", answer.head);
    }
}

#[test]
fn a_request_that_is_too_long_is_refused() {
    let site = Running::usual();
    let long = "x".repeat(2 * REQUEST_BYTES_MAX);
    let answer = site.get_with("/", &format!("X-Long: {long}\r\n"));
    assert_eq!(answer.code, 431, "{}", answer.head);
    assert_eq!(site.get(&format!("/?pool={long}")).code / 100, 4);
    let many: String = (0..100).map(|number| format!("X-{number}: 1\r\n")).collect();
    assert_eq!(site.get_with("/", &many).code, 431);
    assert_eq!(site.get("/healthz").code, 200);
}

#[test]
fn a_request_that_does_not_come_whole_ends_its_connection() {
    let site = hasty(|limits| limits.header_wait = SHORT);
    for begun in ["", "GET / HTTP/1.1\r\nHost: loc"] {
        let mut stream = site.connect();
        stream.write_all(begun.as_bytes()).unwrap();
        let mut rest = Vec::new();
        // Whatever is said, it ends; without the limit this would wait for the deadline.
        assert!(stream.read_to_end(&mut rest).is_ok(), "{begun:?}");
    }
    let mut kept = site.connect();
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answers = String::new();
    kept.read_to_string(&mut answers).unwrap();
    assert!(answers.starts_with("HTTP/1.1 200"), "a kept connection is closed too: {answers}");
}

#[test]
fn a_listener_may_wait_for_longer_than_a_request() {
    let site = hasty(|limits| limits.header_wait = SHORT);
    site.daemon.followed();
    let mut listener = site.listen("");
    // Another connection, begun later, is closed first; then the listener's time is up too.
    let mut rest = Vec::new();
    site.connect().read_to_end(&mut rest).unwrap();
    site.daemon.tell(1, "late");
    assert!(line_with(&mut listener, "data:").contains("late"));
}

#[test]
fn a_client_that_takes_nothing_is_let_go() {
    let group = r#"{"pool":"web","group":"x","addresses":[],"owner":null,"state":"unowned","epoch":0,"since_ms":0,"reason":"REASON"},"#;
    // More than the buffers of a connection take.
    let groups = group.replace("REASON", &"long ".repeat(20_000)).repeat(160);
    let status = sample::JSON.replace(r#""groups":["#, &format!(r#""groups":[{groups}"#));
    let limits = Limits { write_wait: SHORT, ..Limits::default() };
    let site = Running::start(&status, limits);
    let mut stream = site.connect();
    eventually("the status is there", || {
        stream = site.connect();
        stream.write_all(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        begin.ends_with(b"200")
    });
    let begin = Instant::now();
    eventually("its time is up, while others are served", || {
        site.get("/healthz").code == 200 && begin.elapsed() > SHORT * 3
    });
    let mut rest = Vec::new();
    let cut = stream.read_to_end(&mut rest);
    assert!(cut.is_err() || rest.len() < status.len(), "all {} bytes came", status.len());
}

#[test]
fn connections_have_a_limit_and_a_place_is_given_again() {
    let site = Running::usual();
    let mut all: Vec<_> = (0..CONNECTIONS_MAX).map(|_| site.connect()).collect();
    for stream in &mut all {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");
    }
    let answer = site.say("");
    assert_eq!((answer.code, answer.body.as_str()), (503, "too many connections\n"));
    drop(all.pop());
    eventually("a place is free", || site.get("/healthz").code == 200);
}

#[test]
fn listeners_have_a_limit_that_leaves_room_for_questions() {
    let site = Running::usual();
    let mut all: Vec<_> = (0..STREAMS_MAX).map(|_| site.listen("")).collect();
    assert_eq!(site.get("/events").code, 503);
    assert_eq!(site.get("/healthz").code, 200);
    drop(all.pop());
    site.daemon.followed();
    // Whoever has gone is noticed when something is said to it.
    let mut seq = 0;
    eventually("a place is free", || {
        seq += 1;
        site.daemon.tell(seq, "again");
        site.listen_code() == 200
    });
}

#[test]
fn no_connection_lasts_for_ever() {
    let site = hasty(|limits| limits.connection_max = SHORT);
    // Without the limit this would wait for the deadline.
    let ended = site.listen("").read_to_end(&mut Vec::new());
    let reset = |error: &std::io::Error| error.kind() != ErrorKind::WouldBlock;
    assert!(ended.as_ref().err().is_none_or(reset), "{ended:?}");
}
