//! Connections survive a planned move: the old owner keeps them, the new one sends theirs there.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use buoy::kernel::{Door, FenceSettings, Lease, Renewal, Settings, Vouched};
use buoy::protocol::{HardwareAddress, KernelEvent, Ticket};

use crate::fixture::{Fixture, group, key};
use crate::namespace::{Neighbour, ip, isolated, try_run};
use crate::until::{PATIENCE, until};

const WEB: &str = "10.77.0.100";
const WEB6: &str = "fd77::100";
/// Of the host where a test runs, which is the old owner.
const OLD: HardwareAddress = HardwareAddress([2, 0, 0, 0, 0, 1]);
const NEW: &str = "02:00:00:00:00:02";
const PORT: u16 = 8080;
/// Nobody answers for so long: then nobody does. Who is answered within it has lost no packet: less
/// than the second after which the client's kernel sends the first one again.
const SILENCE: Duration = Duration::from_millis(800);
/// More than all buffers on the way hold.
const DOWNLOAD: usize = 24 << 20;

/// An owner with its door open for long.
fn owner() -> (Fixture, Lease) {
    let vouched = Vouched(Arc::new(|| Duration::from_secs(60)));
    let table = "buoy_handing".to_owned();
    let fence = FenceSettings { table, vouched, lifetime: None, preserve: true };
    let fixture = Fixture::start_with(Settings {
        groups: vec![group("eth0", &[&format!("{WEB}/32"), &format!("{WEB6}/128")])],
        peer_addresses: Vec::new(),
        fence: Some(fence),
        ..Settings::default()
    });
    assert_eq!(fixture.kernel.no_preserving(), None);
    let mut lease = fixture.kernel.lease().expect("netlink").expect("this kernel has nf_tables");
    let opened = lease.renew(Door::Vouched, Duration::from_secs(60));
    assert!(matches!(opened, Renewal::Done), "{opened:?}");
    (fixture, lease)
}

/// The next event that is no count.
fn next(owner: &Fixture) -> KernelEvent {
    let mut told = owner.next();
    while matches!(told, KernelEvent::Kept(_)) {
        told = owner.next();
    }
    told
}

/// Waits until the group is here; returns where its connections could be kept.
fn acquire(owner: &Fixture, ticket: Ticket) -> HardwareAddress {
    owner.kernel.acquire(key(WEB), ticket);
    let told = next(owner);
    let KernelEvent::Keepable { hardware, .. } = told else { panic!("{told:?}") };
    assert_eq!(next(owner), KernelEvent::Present { group: key(WEB), ticket });
    hardware
}

fn hand(owner: &Fixture, ticket: Ticket) {
    owner.kernel.hand(key(WEB), ticket);
    assert_eq!(next(owner), KernelEvent::Absent { group: key(WEB), ticket });
}

fn byte(at: usize) -> u8 {
    u8::try_from((at ^ at >> 8 ^ at >> 16) & 0xff).expect("one byte")
}

/// Serves everybody who comes, each on a thread of its own.
fn serve(serve: fn(TcpStream)) {
    let listener = TcpListener::bind(("::", PORT)).expect("the port is free");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || serve(client));
        }
    });
}

fn send_download(mut client: TcpStream) {
    let all: Vec<u8> = (0..DOWNLOAD).map(byte).collect();
    drop(client.write_all(&all));
}

/// Sends a byte ten times a second until the client goes.
fn tick(mut client: TcpStream) {
    drop(client.set_nodelay(true));
    drop(client.set_read_timeout(Some(Duration::from_millis(100))));
    while client.write_all(b".").is_ok() && client.read(&mut [0]).is_err() {}
}

/// Connects to an address that is served; panics if it is not.
fn connect(client: &Neighbour, to: &str) -> TcpStream {
    connect_within(client, to, PATIENCE).expect("it is served")
}

/// Connects to an address without the loss of a packet, if that is possible.
fn connect_at_once(client: &Neighbour, to: &str) -> std::io::Result<TcpStream> {
    connect_within(client, to, SILENCE)
}

fn connect_within(client: &Neighbour, to: &str, time: Duration) -> std::io::Result<TcpStream> {
    let target = SocketAddr::new(to.parse().expect("an address"), PORT);
    let stream = client.perform(move || TcpStream::connect_timeout(&target, time))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A former owner that keeps a connection of the client to each address, on which ticks come.
fn handed_over(client: &Neighbour) -> (Fixture, Lease, [TcpStream; 2]) {
    let (old, lease) = owner();
    serve(tick);
    acquire(&old, Ticket(1));
    let there = [WEB, WEB6].map(|to| connect(client, to));
    hand(&old, Ticket(2));
    (old, lease, there)
}

/// Puts a second host on the wire: the neighbour becomes a switch with an address.
fn second_host(client: &Neighbour) -> Neighbour {
    let new = Neighbour::start();
    for command in [
        "link set eth0 address 02:00:00:00:00:77",
        "addr flush dev eth0",
        "link add br0 type bridge",
        "link set br0 address 02:00:00:00:00:09 up",
        "link set eth0 master br0",
        &format!("link add eth1 type veth peer name eth0 netns {}", new.thread_id()),
        "link set eth1 master br0 up",
        "addr add 10.77.0.9/24 dev br0",
        "addr add fd77::9/64 dev br0 nodad",
    ] {
        client.ip(command);
    }
    new.ip("link set lo up");
    new.ip(&format!("link set eth0 address {NEW} up"));
    new.ip("addr add 10.77.0.2/24 dev eth0");
    new.ip("addr add fd77::2/64 dev eth0 nodad");
    until("the second host is reached", || {
        client.reaches("10.77.0.2") && client.reaches("fd77::2")
    });
    until("the first host is reached", || client.reaches("10.77.0.1") && client.reaches("fd77::1"));
    new
}

/// Reads so much of a download and compares it.
fn read_on(stream: &mut TcpStream, from: usize, to: usize) {
    let mut buffer = vec![0; to - from];
    stream.read_exact(&mut buffer).expect("the connection lives");
    let wrong = (from..to).find(|at| buffer[at - from] != byte(*at));
    assert_eq!(wrong, None, "a byte is wrong");
}

/// Downloads begun at the old owner are whole, byte by byte, over IPv4 and IPv6; who comes later is
/// served by the new owner, and nothing is left behind.
#[test]
fn downloads_survive_a_move_and_newcomers_go_to_the_new_owner() {
    let name = "handing::downloads_survive_a_move_and_newcomers_go_to_the_new_owner";
    isolated(name, |client| {
        let new_host = second_host(client);
        let (old, _old_lease) = owner();
        let (new, _new_lease) = new_host.perform(owner);
        serve(send_download);
        new_host.perform(|| serve(|mut client| drop(client.write_all(b"new"))));

        assert_eq!(acquire(&old, Ticket(1)), OLD);
        let mut downloads = [WEB, WEB6].map(|to| connect(client, to));
        for download in &mut downloads {
            read_on(download, 0, 1 << 20);
        }
        new.kernel.forward(key(WEB), Some(OLD));
        hand(&old, Ticket(2));
        acquire(&new, Ticket(1));
        new.kernel.announce(key(WEB));
        until("the client has learned", || {
            let knows = |to| client.ip(&format!("neigh show {to} dev br0")).contains(NEW);
            knows(WEB) && knows(WEB6)
        });
        for to in [WEB, WEB6].repeat(20) {
            let mut newcomer = connect_at_once(client, to).expect("it is served");
            let mut said = String::new();
            newcomer.read_to_string(&mut said).expect("it is answered");
            assert_eq!(said, "new");
        }
        let told = old.next();
        assert_eq!(told, KernelEvent::Kept(vec![(key(WEB), 2)]));
        for download in &mut downloads {
            read_on(download, 1 << 20, DOWNLOAD);
            assert_eq!(download.read(&mut [0]).expect("its end comes in good order"), 0);
        }
        drop(downloads);
        until("all have ended", || old.next() == KernelEvent::Kept(vec![(key(WEB), 0)]));
        old.kernel.release(key(WEB), Ticket(3));
        until("it is gone", || {
            old.next() == KernelEvent::Absent { group: key(WEB), ticket: Ticket(3) }
        });
        assert!(!ip("addr show dev eth0").contains(WEB));
        new.kernel.forward(key(WEB), None);
        for to in [WEB, WEB6] {
            connect_at_once(client, to).expect("it is served");
        }
        until("the rules are gone", || {
            let rules = new_host.perform(|| crate::namespace::run("nft", "list ruleset"));
            !rules.contains("fwd to")
        });
        old.stop();
        new_host.perform(move || new.stop());
    });
}

/// What was asked over UDP before a move is answered by the old owner; what is asked after it, is not.
#[test]
fn what_was_asked_over_udp_before_the_move_is_answered() {
    isolated("handing::what_was_asked_over_udp_before_the_move_is_answered", |client| {
        let (old, _lease) = owner();
        acquire(&old, Ticket(1));
        for at in [WEB, WEB6] {
            let here = SocketAddr::new(at.parse().expect("an address"), PORT);
            let server = UdpSocket::bind(here).expect("the port is free");
            let asker = client.perform(move || {
                let any = if here.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
                let socket = UdpSocket::bind(any)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.connect(here)?;
                socket.send(b"before").map(|_| socket)
            });
            let asker = asker.expect("it is sent");
            let mut buffer = [0; 16];
            let (length, from) = server.recv_from(&mut buffer).expect("it is asked");
            assert_eq!(&buffer[..length], b"before");
            hand(&old, Ticket(2));
            asker.send(b"after").expect("it is sent");
            server.send_to(b"answer", from).expect("it is sent");
            let length = asker.recv(&mut buffer).expect("it is answered");
            assert_eq!(&buffer[..length], b"answer");
            server.set_read_timeout(Some(SILENCE)).expect("a time");
            let asked = server.recv_from(&mut buffer).map_err(|error| error.kind());
            assert_eq!(asked, Err(ErrorKind::WouldBlock), "the address is another's");
            acquire(&old, Ticket(3));
        }
        old.stop();
    });
}

/// What belongs to the former owner goes on to it also when it comes by another card.
#[test]
fn segments_that_come_by_another_card_go_on_as_well() {
    isolated("handing::segments_that_come_by_another_card_go_on_as_well", |client| {
        let new_host = second_host(client);
        let second = "02:00:00:00:00:22";
        new_host
            .ip(&format!("link add eth1 type veth peer name peth1 netns {}", client.thread_id()));
        new_host.ip(&format!("link set eth1 address {second} up"));
        client.ip("link set peth1 master br0 up");
        let (old, _old_lease) = owner();
        let (new, _new_lease) = new_host.perform(owner);
        serve(tick);
        acquire(&old, Ticket(1));
        let mut there = [WEB, WEB6].map(|to| connect(client, to));
        new.kernel.forward(key(WEB), Some(OLD));
        hand(&old, Ticket(2));
        acquire(&new, Ticket(1));
        for (to, prefix) in [(WEB, ""), (WEB6, "-6 ")] {
            client.ip(&format!("{prefix}neigh replace {to} lladdr {second} dev br0 nud permanent"));
        }
        for stream in &mut there {
            let mut ticks = [0; 20];
            stream.read_exact(&mut ticks).expect("the connection lives");
        }
        old.stop();
        new_host.perform(move || new.stop());
    });
}

/// Groups that come from one host share the rules; one that comes a second time gets others, because
/// connections of the first time are still known there.
#[test]
fn groups_of_one_former_owner_share_their_rules() {
    isolated("handing::groups_of_one_former_owner_share_their_rules", |_client| {
        let vouched = Vouched(Arc::new(|| Duration::from_secs(60)));
        let table = "buoy_handing".to_owned();
        let second = "10.77.0.101";
        let owner = Fixture::start_with(Settings {
            groups: vec![
                group("eth0", &[&format!("{WEB}/32"), &format!("{WEB6}/128")]),
                group("eth0", &[&format!("{second}/32")]),
            ],
            fence: Some(FenceSettings { table, vouched, lifetime: None, preserve: true }),
            ..Settings::default()
        });
        let rules = || crate::namespace::run("nft", "list ruleset");
        let forwards = |count: usize, addresses: &[&str]| {
            let rules = rules();
            let (_, netdev) = rules.split_once("table netdev").unwrap_or_default();
            let there = [WEB, WEB6, second].map(|one| netdev.contains(one));
            let due = [WEB, WEB6, second].map(|one| addresses.contains(&one));
            netdev.matches("chain forward").count() == count && there == due
        };
        owner.kernel.forward(key(WEB), Some(OLD));
        owner.kernel.forward(key(second), Some(OLD));
        until("both share one", || forwards(1, &[WEB, WEB6, second]));
        owner.kernel.forward(key(WEB), None);
        until("one has ended", || forwards(1, &[second]));
        owner.kernel.forward(key(WEB), Some(OLD));
        until("it has others", || forwards(2, &[WEB, WEB6, second]));
        owner.kernel.forward(key(second), None);
        owner.kernel.forward(key(WEB), None);
        until("all have ended", || forwards(0, &[]));
        owner.stop();
    });
}

/// Somebody goes to the rules for a former owner from rules of his own, so that the kernel does not
/// let them be removed: nothing is forwarded all the same.
#[test]
fn forwarding_ends_also_where_its_rules_are_made_use_of() {
    isolated("handing::forwarding_ends_also_where_its_rules_are_made_use_of", |_client| {
        let (owner, mut lease) = owner();
        // As before Linux 6.9; later nobody else can do that.
        lease.disown().expect("it is built again");
        let nft = |words: &str| crate::namespace::run("nft", words);
        let forwards = || nft("list ruleset").contains("chain forward");
        acquire(&owner, Ticket(1));
        owner.kernel.forward(key(WEB), Some(OLD));
        until("it forwards", forwards);
        let rules = nft("list ruleset");
        let (_, chain) = rules.split_once("chain flow4_").expect("there is one");
        let number = chain.split_whitespace().next().expect("it has a number");
        nft("add chain netdev buoy_handing others");
        nft(&format!("add rule netdev buoy_handing others goto flow4_{number}"));
        owner.kernel.forward(key(WEB), None);
        until("it does not", || !forwards());
        owner.stop();
    });
}

/// After it was handed over an address answers no question and lets nothing begin; what was there
/// goes on, and what its host asks on behalf of it names another address.
#[test]
fn an_address_that_was_handed_over_is_mute() {
    isolated("handing::an_address_that_was_handed_over_is_mute", |client| {
        let (old, _lease, mut there) = handed_over(client);

        client.ip("neigh flush dev eth0");
        for to in [WEB, WEB6] {
            assert!(connect_at_once(client, to).is_err(), "{to} says where it is");
        }
        for (to, prefix) in [(WEB, ""), (WEB6, "-6 ")] {
            client.ip(&format!("{prefix}neigh replace {to} lladdr {NEW} dev eth0 nud stale"));
        }
        // The host asks where its clients are.
        ip("neigh flush dev eth0");
        until("it has been told", || {
            let knows = |of: &str| ip(&format!("neigh show {of} dev eth0")).contains("lladdr");
            knows("10.77.0.9") && knows("fd77::9")
        });
        for to in [WEB, WEB6] {
            assert_eq!(client.knows(to), NEW, "the question says that {to} is here");
        }
        for (to, prefix) in [(WEB, ""), (WEB6, "-6 ")] {
            let old = "02:00:00:00:00:01";
            client.ip(&format!("{prefix}neigh replace {to} lladdr {old} dev eth0 nud permanent"));
            assert!(connect_at_once(client, to).is_err(), "a connection to {to} has begun");
        }
        for stream in &mut there {
            let mut ticks = [0; 20];
            stream.read_exact(&mut ticks).expect("the connection lives");
        }

        // Taken again it answers, and the connections go on.
        acquire(&old, Ticket(3));
        for to in [WEB, WEB6] {
            connect_at_once(client, to).expect("it is served");
        }
        for stream in &mut there {
            stream.read_exact(&mut [0]).expect("the connection lives");
        }
        // Handed over again and let go, they are reset.
        hand(&old, Ticket(4));
        old.kernel.release(key(WEB), Ticket(5));
        until("it is gone", || {
            old.next() == KernelEvent::Absent { group: key(WEB), ticket: Ticket(5) }
        });
        for stream in &mut there {
            drop(stream.read_to_end(&mut Vec::new()).expect_err("it is reset"));
        }
        old.stop();
    });
}

/// Who does not know yet that another host has the address can begin a connection for a moment; it
/// is kept like those that were there, and no more begin afterwards.
#[test]
fn connections_that_begin_during_the_move_are_kept() {
    isolated("handing::connections_that_begin_during_the_move_are_kept", |client| {
        let (old, _lease) = owner();
        serve(tick);
        acquire(&old, Ticket(1));
        drop([WEB, WEB6].map(|to| connect(client, to)));
        stays_with(client);
        let mut late = Vec::new();
        let mut ticket = 2;
        // On a busy machine a moment may be over before the client has its turn.
        until("both begin", || {
            hand(&old, Ticket(ticket));
            late = [WEB, WEB6].iter().flat_map(|to| connect_at_once(client, to)).collect();
            if late.len() < 2 {
                acquire(&old, Ticket(ticket + 1));
            }
            ticket += 2;
            late.len() == 2
        });
        until("no more begin", || {
            [WEB, WEB6].iter().all(|to| connect_at_once(client, to).is_err())
        });
        for stream in &mut late {
            let mut ticks = [0; 20];
            stream.read_exact(&mut ticks).expect("the connection lives");
        }
        old.stop();
    });
}

/// A client whose frames go on to a host that is mute by now.
fn stays_with(client: &Neighbour) {
    for (to, prefix) in [(WEB, ""), (WEB6, "-6 ")] {
        let old = "02:00:00:00:00:01";
        client.ip(&format!("{prefix}neigh replace {to} lladdr {old} dev eth0 nud permanent"));
    }
}

/// Somebody takes all addresses from the card, or sets it down: what is kept comes back, mute, and
/// its connections go on.
#[test]
fn kept_connections_outlast_a_flush_and_a_link_that_was_down() {
    isolated("handing::kept_connections_outlast_a_flush_and_a_link_that_was_down", |client| {
        let (old, _lease, mut there) = handed_over(client);
        stays_with(client);
        let down_and_up = ["link set eth0 down", "link set eth0 up"];
        for commands in [&["addr flush dev eth0"][..], &down_and_up] {
            for command in commands {
                // A flush looks again until nothing is left, and may find what was put back.
                drop(try_run("ip", command));
            }
            ip("addr replace 10.77.0.1/24 dev eth0");
            ip("addr replace fd77::1/64 dev eth0 nodad");
            for stream in &mut there {
                let mut ticks = [0; 20];
                stream.read_exact(&mut ticks).expect("the connection lives");
            }
            for to in [WEB, WEB6] {
                assert!(connect_at_once(client, to).is_err(), "a connection to {to} has begun");
            }
        }
        old.stop();
    });
}

/// The card gets another hardware address, to which nobody sends what belongs to its connections:
/// their clients are told at once.
#[test]
fn kept_connections_are_reset_when_the_hardware_address_changes() {
    isolated("handing::kept_connections_are_reset_when_the_hardware_address_changes", |client| {
        let (old, _lease, mut there) = handed_over(client);
        stays_with(client);
        ip("link set eth0 address 02:00:00:00:00:44");
        for stream in &mut there {
            drop(stream.read_to_end(&mut Vec::new()).expect_err("it is reset"));
        }
        until("nothing is kept", || old.next() == KernelEvent::Kept(vec![(key(WEB), 0)]));
        old.stop();
    });
}
