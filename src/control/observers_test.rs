//! The socket for those who only read: what it answers, what it refuses, and its limits.

use std::fs;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use super::fake_daemon::{DEADLINE, FakeDaemon, RawClient, now};
use super::fixture::node;
use super::request::Request;
use super::response::{Event, Explanation, Status};
use super::server::{CLIENTS_MAX, OBSERVERS_SOCKET_NAME};
use crate::protocol::{Report, Verdict};

const STATUS: &[u8] = b"{\"request\":\"status\"}\n";

fn observe(daemon: &FakeDaemon) -> RawClient {
    let socket = daemon.socket.with_file_name(OBSERVERS_SOCKET_NAME);
    let stream = UnixStream::connect(socket).expect("the fake daemon listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    RawClient(BufReader::new(stream))
}

#[test]
fn observers_are_told_status_events_and_reasons() {
    let daemon = FakeDaemon::start();
    let peer = node("lb2");
    daemon.recorder.record(now(), &Report::PeerRestarted { peer });
    let mut client = observe(&daemon);
    client.say(STATUS);
    let status: Status = serde_json::from_str(&client.line()).unwrap();
    assert_eq!(status.node, "lb1");
    client.say(b"{\"request\":\"explain\",\"group\":\"10.77.0.100\"}\n");
    let told: Explanation = serde_json::from_str(&client.line()).unwrap();
    assert_eq!(told.line[0].node, "lb2");
    client.ask(&Request::Events { since_ms: None, group: None, follow: true });
    let event: Event = serde_json::from_str(&client.line()).unwrap();
    assert_eq!(event.kind, "peer_restarted");
    let (from, to, silence) = (Verdict::Up, Verdict::Left, DEADLINE);
    daemon.recorder.record(now(), &Report::PeerChanged { peer, from, to, silence });
    let event: Event = serde_json::from_str(&client.line()).unwrap();
    assert_eq!((event.seq, event.kind.as_str()), (2, "peer_changed"));
}

#[test]
fn observers_order_nothing() {
    let daemon = FakeDaemon::start();
    let mut client = observe(&daemon);
    for order in [
        r#"{"request":"drain"}"#,
        r#"{"request":"drain","node":"lb1","now":true}"#,
        r#"{"request":"undrain"}"#,
        r#"{"request":"move","group":"10.77.0.100","node":"lb2"}"#,
        r#"{"request":"plan","without":["lb1"]}"#,
        r#"{"request":"reload"}"#,
    ] {
        client.say(format!("{order}\n").as_bytes());
        let answer = client.line();
        assert!(answer.starts_with(r#"{"refused":{"code":"read_only","#), "{order}: {answer}");
    }
    client.say(STATUS);
    assert!(client.line().starts_with("{\"schema\":1,"));
    assert!(daemon.world.lock().unwrap().orders.is_empty());
}

#[test]
fn requests_of_observers_are_short() {
    let daemon = FakeDaemon::start();
    let mut client = observe(&daemon);
    client.say(&[b'x'; 4096]);
    let answer = client.line();
    assert!(answer.starts_with(r#"{"refused":{"code":"request_too_long","#), "{answer}");
    assert_eq!(client.line(), "", "the connection has ended");
}

#[test]
fn a_crowd_of_observers_keeps_no_operator_out() {
    let daemon = FakeDaemon::start();
    let mut crowd: Vec<RawClient> = (0..CLIENTS_MAX).map(|_| observe(&daemon)).collect();
    for client in &mut crowd {
        client.say(STATUS);
        assert!(client.line().starts_with("{\"schema\":1,"));
    }
    let answer = observe(&daemon).line();
    assert!(answer.starts_with(r#"{"refused":{"code":"too_many_clients","#), "{answer}");
    let mut operator = daemon.connect();
    operator.say(STATUS);
    assert!(operator.line().starts_with("{\"schema\":1,"));
}

#[test]
fn the_socket_is_for_owner_and_group() {
    let daemon = FakeDaemon::start();
    let socket = daemon.socket.with_file_name(OBSERVERS_SOCKET_NAME);
    let mode = fs::symlink_metadata(socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}
