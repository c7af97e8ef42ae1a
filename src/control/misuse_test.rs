//! What clients and file systems can do to the control socket, and that the daemon lives on.

use std::fs;
use std::io::{BufRead, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use super::client::{self, Command, Error};
use super::fake_daemon::{DEADLINE, Directory, FakeDaemon, RawClient, now, settings};
use super::fixture::{group, node};
use super::recorder::EVENTS_MAX;
use super::request::{PLAN_TEXT_BYTES_MAX, REQUEST_BYTES_MAX, Request};
use super::selection::Selection;
use super::server::{BindError, CLIENTS_MAX, OBSERVERS_SOCKET_NAME, Server};
use crate::protocol::{Cause, Epoch, Report};

const STATUS: &[u8] = b"{\"request\":\"status\"}\n";

/// Statuses that a follower may get after it has spoken: 4 s of them.
const LINES_UNDER_WAY_MAX: usize = 200;

fn follow() -> Request {
    Request::Events { since_ms: None, group: None, follow: true }
}

fn moved() -> Report {
    Report::OwnerChanged {
        group: group("10.77.0.100"),
        from: Some(node("lb1")),
        to: Some(node("lb2")),
        epoch: Epoch(8),
        cause: Cause::Silence(node("lb1")),
    }
}

fn assert_served(client: &mut RawClient) {
    client.say(STATUS);
    let answer = client.line();
    assert!(answer.starts_with("{\"schema\":1,"), "{answer}");
}

fn assert_refused(client: &mut RawClient, code: &str) {
    let answer = client.line();
    assert!(answer.starts_with(&format!("{{\"refused\":{{\"code\":\"{code}\",")), "{answer}");
}

#[test]
fn garbage_is_refused_and_the_connection_goes_on() {
    let daemon = FakeDaemon::start();
    let mut client = daemon.connect();
    for garbage in [&b"hello\n"[..], b"\n", b"\xff\xfe\0\n", b"{\"request\":\"stop\"}\n", b"[[[[\n"]
    {
        client.say(garbage);
        assert_refused(&mut client, "malformed");
    }
    let nested = [&[b'['; 60_000][..], b"\n"].concat();
    client.say(&nested);
    assert_refused(&mut client, "malformed");
    assert_served(&mut client);
}

#[test]
fn lines_may_come_in_pieces_together_and_without_an_end() {
    let daemon = FakeDaemon::start();
    let mut client = daemon.connect();
    client.say(&STATUS[..7]);
    client.say(&STATUS[7..]);
    assert!(client.line().starts_with("{\"schema\""));
    client.say(&[STATUS, STATUS, &STATUS[..STATUS.len() - 1]].concat());
    client.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    for _ in 0..3 {
        assert!(client.line().starts_with("{\"schema\""));
    }
    assert_eq!(client.line(), "");
}

#[test]
fn a_line_may_be_so_long_and_no_longer() {
    let daemon = FakeDaemon::start();
    let mut client = daemon.connect();
    let mut longest = vec![b'x'; REQUEST_BYTES_MAX];
    longest[REQUEST_BYTES_MAX - 1] = b'\n';
    client.say(&longest);
    assert_refused(&mut client, "malformed");
    client.say(&[b'x'; REQUEST_BYTES_MAX]);
    assert_refused(&mut client, "request_too_long");
    assert_eq!(client.line(), "", "the connection has ended");
    assert_served(&mut daemon.connect());
}

#[test]
fn of_forty_clients_eight_are_turned_away_and_a_free_place_is_given_again() {
    let daemon = FakeDaemon::start();
    let mut served: Vec<RawClient> = (0..CLIENTS_MAX).map(|_| daemon.connect()).collect();
    served.iter_mut().for_each(assert_served);
    for _ in CLIENTS_MAX..40 {
        assert_refused(&mut daemon.connect(), "too_many_clients");
    }
    let (_, result) = daemon.run(&Command::Status(Selection::default()), false);
    let Err(Error::Refused(refused)) = result else { panic!("{result:?}") };
    assert_eq!(refused.code, "too_many_clients");
    served.iter_mut().for_each(assert_served);
    drop(served.pop());
    // The server notices the departure before or after the next client comes.
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while daemon.run(&Command::Status(Selection::default()), false).1.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the place was not given again");
    }
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_slows_nobody() {
    let daemon = FakeDaemon::start();
    let mut follower = daemon.connect();
    daemon.recorder.record(now(), &moved());
    follower.ask(&follow());
    let first = follower.line();
    assert!(first.contains("owner_changed"), "{first}");
    for _ in 0..EVENTS_MAX {
        daemon.recorder.record(now(), &moved());
    }
    assert_served(&mut daemon.connect());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dropped = runtime
        .block_on(async { tokio::time::timeout(DEADLINE, daemon.recorder.unsubscribed()).await });
    assert!(dropped.is_ok(), "the follower still has its place");
    let mut rest = Vec::new();
    match follower.0.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    let all = first.len() * (EVENTS_MAX - 1);
    assert!(rest.len() < all, "all {all} bytes came, so the test has shown nothing");
    assert_served(&mut daemon.connect());
}

#[test]
fn a_follower_that_speaks_or_leaves_is_let_go() {
    let daemon = FakeDaemon::start();
    let requests = [follow(), Request::Status { watch_ms: Some(20) }];
    for request in requests {
        let mut client = daemon.connect();
        daemon.recorder.record(now(), &moved());
        client.ask(&request);
        assert_ne!(client.line(), "");
        client.say(b"enough\n");
        // Statuses may still be under way; the end may come as a reset, because nobody read
        // "enough".
        let ended = (0..LINES_UNDER_WAY_MAX)
            .any(|_| !matches!(client.0.read_line(&mut String::new()), Ok(length) if length > 0));
        assert!(ended, "the server went on");
    }
    let mut leaver = daemon.connect();
    leaver.ask(&follow());
    assert_ne!(leaver.line(), "");
    drop(leaver);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let gone = runtime
        .block_on(async { tokio::time::timeout(DEADLINE, daemon.recorder.unsubscribed()).await });
    assert!(gone.is_ok(), "a follower that left still has its place");
}

fn status_at(socket: &Path) -> Error {
    client::run(&Command::Status(Selection::default()), socket, false, &mut Vec::new()).unwrap_err()
}

#[test]
fn clients_tell_a_missing_a_dead_and_a_hasty_daemon_apart() {
    let directory = Directory::new();
    let socket = directory.socket();
    assert!(matches!(status_at(&socket), Error::Missing(_)));
    let listener = UnixListener::bind(&socket).unwrap();
    let hasty = std::thread::spawn(move || drop(listener.accept().expect("the client comes")));
    let error = status_at(&socket);
    assert!(matches!(error, Error::Lost(_)), "{error:?}");
    hasty.join().unwrap();
    let error = status_at(&socket);
    assert!(matches!(error, Error::NobodyListens(_)), "{error:?}");
    assert_eq!(error.exit_code(), 4);
}

#[test]
fn a_stale_socket_is_replaced_and_removed_at_the_end() {
    let directory = Directory::new();
    let socket = directory.socket();
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists(), "the listener left its file behind");
    let (settings, _inquiries) = settings(socket.clone());
    let server = Server::bind(settings).unwrap();
    let mode = fs::symlink_metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let names = || -> Vec<_> {
        let entries = fs::read_dir(&directory.0).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["control.sock", "status.sock"], "nothing else is in the directory");
    drop(server);
    assert!(names().is_empty(), "{:?}", names());
}

#[test]
fn a_live_socket_is_refused_and_keeps_working() {
    let daemon = FakeDaemon::start();
    let (second, _inquiries) = settings(daemon.socket.clone());
    let error = Server::bind(second).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "another daemon answers at {}; stop it, or start this one with another --runtime-dir",
            daemon.directory.socket().display()
        )
    );
    assert_served(&mut daemon.connect());
}

#[test]
fn what_is_no_socket_is_never_removed() {
    let directory = Directory::new();
    let socket = directory.socket();
    fs::write(&socket, "precious").unwrap();
    let (first, _inquiries) = settings(socket.clone());
    let error = Server::bind(first).unwrap_err();
    assert!(matches!(error, BindError::NotASocket { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
    let (nowhere, _inquiries) = settings(directory.0.join("missing").join("control.sock"));
    let error = Server::bind(nowhere).unwrap_err();
    assert!(matches!(error, BindError::Refused { .. }), "{error:?}");
}

#[test]
fn a_server_that_was_replaced_leaves_the_new_socket_alone() {
    let directory = Directory::new();
    let socket = directory.socket();
    let (first, _inquiries) = settings(socket.clone());
    let old = Server::bind(first).unwrap();
    fs::remove_file(&socket).unwrap();
    fs::remove_file(socket.with_file_name(OBSERVERS_SOCKET_NAME)).unwrap();
    let (second, _inquiries) = settings(socket.clone());
    let _new = Server::bind(second).unwrap();
    drop(old);
    assert!(socket.exists(), "the old server removed the new one's socket");
}

#[test]
fn watching_repeats_the_status() {
    let daemon = FakeDaemon::start();
    let mut client = daemon.connect();
    client.0.get_ref().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.ask(&Request::Status { watch_ms: Some(0) });
    for _ in 0..3 {
        assert!(client.line().starts_with("{\"schema\":1,"));
    }
}

#[test]
fn no_answer_repeats_what_may_be_a_key() {
    const KEY: &str = "5f0c93b7a1e2d4867b3c9d0e1f2a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c";
    let daemon = FakeDaemon::start();
    let mut client = daemon.connect();
    for request in [
        format!("1 {KEY} active"),
        format!(r#""{KEY}""#),
        format!(r#"{{"request":"{KEY}"}}"#),
        format!(r#"{{"request":"status","{KEY}":1}}"#),
        format!(r#"{{"request":"status","watch_ms":"{KEY}"}}"#),
        format!(r#"{{"request":"explain","group":"{KEY}"}}"#),
        format!(r#"{{"request":"explain","group":"web/{KEY}"}}"#),
        format!(r#"{{"request":"events","group":"{KEY}"}}"#),
        format!(r#"{{"request":"move","group":"{KEY}","node":"{KEY}"}}"#),
        format!(r#"{{"request":"move","group":"10.77.0.100","node":"{KEY}"}}"#),
        format!(r#"{{"request":"drain","node":"{KEY}"}}"#),
        format!(r#"{{"request":"plan","without":["{KEY}"]}}"#),
        format!(r#"{{"request":"plan","config":"/{KEY}"}}"#),
    ] {
        client.say(format!("{request}\n").as_bytes());
        let answer = client.line();
        assert!(answer.starts_with(r#"{"refused":"#), "{request}: {answer}");
        let shown = (0..=KEY.len() - 8).map(|start| &KEY[start..start + 8]);
        let shown: Vec<&str> = shown.filter(|piece| answer.contains(piece)).collect();
        assert!(shown.is_empty(), "{request}: {answer}");
    }
}

#[test]
fn the_daemon_reads_no_file_for_a_client() {
    let daemon = FakeDaemon::start();
    let mut client = daemon.connect();
    client.say(b"{\"request\":\"plan\",\"config\":\"/etc/buoy/cluster.key\"}\n");
    assert_refused(&mut client, "path_refused");
    let plan = |text: String| Request::Plan { without: Vec::new(), text: Some(text), config: None };
    client.ask(&plan("x".repeat(PLAN_TEXT_BYTES_MAX + 1)));
    assert_refused(&mut client, "request_too_long");
    // The longest text fits a request, with a line end in each second place.
    client.ask(&plan("#\n".repeat(PLAN_TEXT_BYTES_MAX / 2)));
    assert!(client.line().starts_with("{\"schema\":1,"));
}
