//! Real sockets on the loopback network, ports chosen by the kernel.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{BindError, Path, Transport};
use crate::protocol::{Instant, NodeId};
use crate::wire::DATAGRAM_MAX;

const NOW: Instant = Instant::START;
const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn path(local: &str) -> Path {
    Path { local: local.parse().unwrap(), peers: BTreeMap::new() }
}

/// Two nodes with a path for each pair of addresses.
fn pair(addresses: &[(&str, &str)]) -> (Transport, Transport) {
    let bind = |local: Vec<&str>| Transport::bind(local.into_iter().map(path).collect()).unwrap();
    let mut a = bind(addresses.iter().map(|(a, _)| *a).collect());
    let mut b = bind(addresses.iter().map(|(_, b)| *b).collect());
    let (at_a, at_b): (Vec<_>, Vec<_>) = (a.locals().collect(), b.locals().collect());
    let towards = |here: &[SocketAddr], there: &[SocketAddr], peer| {
        let paths = here.iter().zip(there);
        paths.map(|(h, t)| Path { local: *h, peers: BTreeMap::from([(peer, *t)]) }).collect()
    };
    a.reconfigure(towards(&at_a, &at_b, B)).unwrap();
    b.reconfigure(towards(&at_b, &at_a, A)).unwrap();
    (a, b)
}

type Taken = (Vec<u8>, usize, SocketAddr, Option<Duration>);

/// Waits for `count` datagrams, at most five seconds.
fn take(transport: &mut Transport, count: usize) -> Vec<Taken> {
    let mut taken = Vec::new();
    while taken.len() < count {
        assert!(ready(transport.descriptors(), 5000), "only {} of {count} came", taken.len());
        transport.receive(64, |received| {
            let datagram = received.datagram.to_vec();
            taken.push((datagram, received.path, received.from, received.kernel_time));
        });
    }
    taken
}

fn ready<'a>(descriptors: impl Iterator<Item = BorrowedFd<'a>>, milliseconds: u16) -> bool {
    let mut polled: Vec<_> =
        descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)).collect();
    poll(&mut polled, PollTimeout::from(milliseconds)).unwrap() > 0
}

#[test]
fn one_datagram_goes_out_on_every_path() {
    let (mut a, mut b) = pair(&[("127.0.1.1:0", "127.0.1.2:0"), ("127.0.2.1:0", "127.0.2.2:0")]);
    a.send(B, b"hello", NOW);
    let taken = take(&mut b, 2);
    let came: Vec<_> = taken.iter().map(|(bytes, path, ..)| (bytes.as_slice(), *path)).collect();
    assert_eq!(came, [(&b"hello"[..], 0), (b"hello", 1)]);
    let from: Vec<_> = taken.iter().map(|(_, _, from, _)| *from).collect();
    assert_eq!(from, a.locals().collect::<Vec<_>>());
    assert_eq!(a.counters().paths[1].sent, 1);
    assert_eq!(b.counters().paths[1].received, 1);
}

#[test]
fn the_kernel_tells_when_a_datagram_came() {
    let (mut a, mut b) = pair(&[("127.0.1.1:0", "127.0.1.2:0")]);
    #[expect(clippy::disallowed_methods, reason = "compared with the kernel's clock")]
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let before = clock();
    a.send(B, b"hello", NOW);
    let taken = take(&mut b, 1);
    let after = clock();
    let kernel_time = taken[0].3.expect("this kernel tells times of arrival");
    assert!(before <= kernel_time && kernel_time <= after, "{before:?} {kernel_time:?} {after:?}");
}

#[test]
fn ipv6_works_as_ipv4_does() {
    let (mut a, mut b) = pair(&[("[::1]:0", "[::1]:0")]);
    a.send(B, b"hello", NOW);
    b.send(A, b"and back", NOW);
    assert_eq!(take(&mut b, 1)[0].0, b"hello");
    assert_eq!(take(&mut a, 1)[0].0, b"and back");
}

#[test]
fn a_limit_leaves_the_rest_for_later_and_paths_take_turns() {
    let (mut a, mut b) = pair(&[("127.0.1.1:0", "127.0.1.2:0"), ("127.0.2.1:0", "127.0.2.2:0")]);
    for _ in 0..10 {
        a.send(B, b"x", NOW);
    }
    let mut paths = Vec::new();
    while paths.len() < 6 {
        assert!(ready(b.descriptors(), 5000));
        b.receive(6 - paths.len(), |received| paths.push(received.path));
    }
    assert_eq!(paths, [0, 1, 0, 1, 0, 1]);
    assert_eq!(take(&mut b, 14).len(), 14);
}

#[test]
fn unknown_senders_are_told_apart_and_counted_and_count_towards_the_limit() {
    let (mut a, mut b) = pair(&[("127.0.1.1:0", "127.0.1.2:0")]);
    let unknown = UdpSocket::bind("127.0.9.9:0").unwrap();
    for _ in 0..3 {
        unknown.send_to(b"garbage", b.locals().next().unwrap()).unwrap();
    }
    a.send(B, b"hello", NOW);
    let mut came = 0;
    b.receive(2, |received| came += u32::from(!received.known));
    assert_eq!((came, b.counters().paths[0].unknown_senders), (2, 2));
    assert_eq!(take(&mut b, 2)[1].0, b"hello");
    assert_eq!(b.counters().paths[0].unknown_senders, 3);
}

/// A peer whose address the file has wrong is sent to where it was heard from, and no more when it
/// is heard from where the file has it.
#[test]
fn a_peer_is_sent_to_where_it_was_last_heard() {
    let (mut a, mut b) = pair(&[("127.0.1.1:0", "127.0.1.2:0")]);
    let (at_a, at_b) = (a.locals().next().unwrap(), b.locals().next().unwrap());
    let wrong: SocketAddr = "127.0.1.9:9".parse().unwrap();
    let path = |to| vec![Path { local: at_a, peers: BTreeMap::from([(B, to)]) }];
    let mut a = {
        a.reconfigure(path(wrong)).unwrap();
        a
    };
    // Where it was before the reload is not forgotten.
    a.send(B, b"still there", NOW);
    assert_eq!(take(&mut b, 1)[0].0, b"still there");
    assert_eq!(a.destinations().len(), 2);
    assert!(!a.heard(B, 0, at_b), "known already");
    let elsewhere: SocketAddr = "127.0.1.3:7".parse().unwrap();
    assert!(a.heard(B, 0, elsewhere));
    assert!(a.destinations().contains(&(B, at_a, elsewhere)));
    assert!(a.heard(B, 0, wrong), "heard from where the file has it");
    assert_eq!(a.destinations(), [(B, at_a, wrong)]);
}

/// The port is changed: the old one is listened on until each peer has been heard from its new
/// address on the new one, by the next process too.
#[test]
fn a_former_port_goes_on_until_every_peer_is_heard_on_the_new_one() {
    const C: NodeId = NodeId(3);
    let (mut a, mut b) = pair(&[("127.0.1.1:0", "127.0.1.2:0")]);
    let (old_a, old_b) = (a.locals().next().unwrap(), b.locals().next().unwrap());
    let spare = |host: &str| UdpSocket::bind((host, 0)).unwrap().local_addr().unwrap();
    let (new_a, new_b, new_c) = (spare("127.0.1.1"), spare("127.0.1.2"), spare("127.0.1.3"));
    let peers = BTreeMap::from([(B, new_b), (C, new_c)]);
    let new = vec![Path { local: new_a, peers }];
    a.reconfigure(new.clone()).unwrap();
    assert_eq!(a.locals().collect::<Vec<_>>(), [new_a, old_a]);
    b.send(A, b"to the old port", NOW);
    assert_eq!(take(&mut a, 1)[0].0, b"to the old port");
    a.send(B, b"both", NOW);
    assert_eq!(take(&mut b, 1)[0].2, old_a);

    let remembered = a.in_use();
    drop(a);
    let mut a = Transport::bind(new).unwrap();
    a.recall(remembered);
    assert_eq!(a.locals().collect::<Vec<_>>(), [new_a, old_a]);
    assert!(a.destinations().contains(&(B, old_a, old_b)));
    a.heard(B, 0, new_b);
    assert_eq!(a.locals().count(), 2, "the other is not there yet");
    assert!(a.heard(C, 0, new_c));
    assert_eq!(a.locals().collect::<Vec<_>>(), [new_a]);
}

#[test]
fn a_datagram_that_is_too_long_is_seen_as_such() {
    let (mut a, mut b) = pair(&[("127.0.1.1:0", "127.0.1.2:0")]);
    a.send(B, &[1; DATAGRAM_MAX + 500], NOW);
    a.send(B, &[2; DATAGRAM_MAX], NOW);
    let taken = take(&mut b, 2);
    let lengths: Vec<_> = taken.iter().map(|(bytes, ..)| bytes.len()).collect();
    assert_eq!(lengths, [DATAGRAM_MAX + 1, DATAGRAM_MAX]);
}

#[test]
fn a_peer_that_is_down_and_a_network_that_is_not_there_stop_nothing() {
    let (mut a, mut b) = pair(&[("127.0.1.1:0", "127.0.1.2:0")]);
    let local = a.locals().next().unwrap();
    let alive = b.locals().next().unwrap();
    let nobody = UdpSocket::bind("127.0.1.3:0").unwrap().local_addr().unwrap();
    // 192.0.2.0/24 is reserved for documentation; bound to a loopback address it has no route.
    let peers = BTreeMap::from([
        (B, alive),
        (NodeId(3), nobody),
        (NodeId(4), "192.0.2.1:9".parse().unwrap()),
    ]);
    a.reconfigure(vec![Path { local, peers }]).unwrap();
    for _ in 0..5 {
        a.send(NodeId(3), b"lost", NOW);
        a.send(NodeId(4), b"lost", NOW);
        a.send(B, b"hello", NOW);
    }
    assert_eq!(take(&mut b, 5).len(), 5);
    let counted = &a.counters().paths[0];
    assert_eq!(
        counted.send_unreachable + counted.send_address_missing + counted.send_not_permitted,
        5,
        "{counted:?}"
    );
}

#[test]
fn an_address_that_is_not_there_yet_can_be_bound() {
    let mut transport = Transport::bind(vec![path("192.0.2.77:0")]).unwrap();
    let local = transport.locals().next().unwrap();
    let peers = BTreeMap::from([(B, "192.0.2.78:9".parse().unwrap())]);
    transport.reconfigure(vec![Path { local, peers }]).unwrap();
    transport.send(B, b"lost", NOW);
    let counted = &transport.counters().paths[0];
    assert_eq!(counted.sent, 0, "{counted:?}");
    assert_eq!(counted.send_address_missing + counted.send_unreachable, 1, "{counted:?}");
}

#[test]
fn a_busy_port_is_told_with_its_remedy_and_nothing_changes() {
    let other = UdpSocket::bind("127.0.1.1:0").unwrap();
    let busy = other.local_addr().unwrap();
    let (mut a, mut b) = pair(&[("127.0.1.1:0", "127.0.1.2:0")]);
    let fault = a.reconfigure(vec![path("127.0.1.4:0"), path(&busy.to_string())]).unwrap_err();
    assert!(matches!(fault, BindError::Busy { local, .. } if local == busy), "{fault:?}");
    let text = fault.to_string();
    assert!(text.contains(&busy.port().to_string()) && text.contains("127.0.1.1"), "{text}");
    assert!(text.contains("stop the other program"), "{text}");
    a.send(B, b"hello", NOW);
    assert_eq!(take(&mut b, 1)[0].0, b"hello");
}

#[test]
fn a_reload_keeps_what_waits_in_a_socket_that_stays() {
    let (mut a, mut b) = pair(&[("127.0.1.1:0", "127.0.1.2:0")]);
    a.send(B, b"before", NOW);
    let here = b.locals().next().unwrap();
    let there = a.locals().next().unwrap();
    let stays = Path { local: here, peers: BTreeMap::from([(A, there)]) };
    b.reconfigure(vec![path("127.0.2.2:0"), stays]).unwrap();
    let (bytes, path, ..) = take(&mut b, 1).remove(0);
    assert_eq!((bytes.as_slice(), path), (&b"before"[..], 1));
    assert_eq!(b.descriptors().count(), 2);
}
