//! The gate is one of the host: what it holds back is not answered on any device, and nobody opens
//! it by changing the rules.

use std::io::ErrorKind;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use buoy::kernel::{Door, FenceSettings, GroupAddresses, Lease, Renewal, Settings, Vouched};
use buoy::protocol::{KernelEvent, Mode, Ticket};

use crate::fixture::{Fixture, group, key};
use crate::namespace::{Neighbour, alone, ip, isolated, run, try_run};
use crate::until::{PATIENCE, until};

const TABLE: &str = "buoy_whole_host";
const WEB: &str = "10.77.0.100";
const WEB6: &str = "fd77::100";
/// Nobody answers for so long: then nobody does.
const SILENCE: Duration = Duration::from_millis(100);
/// Between two renewals.
const PACE: Duration = Duration::from_millis(20);
const SECOND: &str = "02:00:00:00:00:11";
/// The switch has this address, of what was the neighbour's device.
const SWITCH: &str = "br0";

/// Two addresses on a device, behind the door of their mode, which is closed.
fn held(interface: &str, mode: Mode) -> (Fixture, Lease) {
    let web = group(interface, &[&format!("{WEB}/32"), &format!("{WEB6}/128")]);
    let vouched = Vouched(Arc::new(|| Duration::from_secs(60)));
    let fence = FenceSettings { table: TABLE.to_owned(), vouched, lifetime: None, preserve: false };
    let fixture = Fixture::start_with(Settings {
        groups: vec![GroupAddresses { mode, ..web }],
        peer_addresses: Vec::new(),
        fence: Some(fence),
        ..Settings::default()
    });
    fixture.kernel.acquire(key(WEB), Ticket(1));
    assert_eq!(fixture.next(), KernelEvent::Present { group: key(WEB), ticket: Ticket(1) });
    let lease = fixture.kernel.lease().expect("netlink").expect("this kernel has nf_tables");
    (fixture, lease)
}

fn open(lease: &mut Lease, door: Door) {
    let renewal = lease.renew(door, Duration::from_secs(60));
    assert!(matches!(renewal, Renewal::Done), "{renewal:?}");
}

fn close(lease: &mut Lease, door: Door) {
    let renewal = lease.close(door);
    assert!(matches!(renewal, Renewal::Done), "{renewal:?}");
}

/// Makes the neighbour a switch with the neighbour's addresses, so that more cables can be plugged.
fn switch(neighbour: &Neighbour) {
    for command in [
        "link set eth0 address 02:00:00:00:00:77",
        "addr flush dev eth0",
        "link add br0 type bridge",
        "link set br0 address 02:00:00:00:00:09 up",
        "link set eth0 master br0",
        "addr add 10.77.0.9/24 dev br0",
        "addr add fd77::9/64 dev br0 nodad",
    ] {
        neighbour.ip(command);
    }
}

/// Plugs one more card of this host into the switch.
fn plug(neighbour: &Neighbour, name: &str, hardware: &str) {
    ip(&format!("link add {name} type veth peer name p{name} netns {}", neighbour.thread_id()));
    ip(&format!("link set {name} address {hardware} up"));
    neighbour.ip(&format!("link set p{name} master {SWITCH} up"));
}

fn answers(neighbour: &Neighbour, address: &str) -> bool {
    let to = SocketAddr::new(address.parse().expect("an address"), 9);
    neighbour.perform(move || {
        let refused = TcpStream::connect_timeout(&to, SILENCE);
        refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
}

/// Whether both addresses answer to packets that come with this hardware address.
fn answering_at(neighbour: &Neighbour, hardware: &str) -> [bool; 2] {
    [WEB, WEB6].map(|to| {
        let six = if to == WEB6 { "-6 " } else { "" };
        let known = format!("lladdr {hardware} dev {SWITCH} nud permanent");
        neighbour.ip(&format!("{six}neigh replace {to} {known}"));
        let answered = answers(neighbour, to);
        neighbour.ip(&format!("{six}neigh del {to} dev {SWITCH}"));
        answered
    })
}

/// Who says that they have the addresses, when they are asked for.
fn claimed(neighbour: &Neighbour) -> [bool; 2] {
    [WEB, WEB6].map(|to| {
        drop(neighbour.ip(&format!("neigh flush to {to}")));
        let _ = answers(neighbour, to);
        let shown = neighbour.ip(&format!("neigh show {to} dev {SWITCH}"));
        shown.contains("lladdr")
    })
}

/// Looks at every card with the door open, as a check of the check, and closed.
fn closed_on(neighbour: &Neighbour, cards: &[&str], (lease, door): (&mut Lease, Door)) {
    open(lease, door);
    until("it answers on every card", || {
        cards.iter().all(|card| answering_at(neighbour, card) == [true; 2])
    });
    assert!(claimed(neighbour)[0], "nobody says that it has {WEB}");
    close(lease, door);
    for card in cards {
        assert_eq!(answering_at(neighbour, card), [false; 2], "at {card}: {}", ip("addr"));
    }
    assert_eq!(claimed(neighbour), [false; 2], "somebody says so: {}", ip("addr"));
}

#[test]
fn a_closed_door_is_closed_on_every_card() {
    isolated("whole_host::a_closed_door_is_closed_on_every_card", |neighbour| {
        let first = "02:00:00:00:00:01";
        switch(neighbour);
        plug(neighbour, "eth1", SECOND);
        ip("addr add 10.77.0.21/24 dev eth1");
        for (mode, door) in [(Mode::Availability, Door::Vouched), (Mode::Majority, Door::Granted)] {
            let (fixture, mut lease) = held("eth0", mode);
            closed_on(neighbour, &[first, SECOND], (&mut lease, door));

            // One that comes later, without any address, and one that is made again.
            plug(neighbour, "eth2", "02:00:00:00:00:12");
            closed_on(neighbour, &[first, SECOND, "02:00:00:00:00:12"], (&mut lease, door));
            ip("link del eth2");
            plug(neighbour, "eth2", "02:00:00:00:00:13");
            closed_on(neighbour, &[first, "02:00:00:00:00:13"], (&mut lease, door));

            // It becomes a port of a bridge.
            ip("link add br1 type bridge");
            ip("link set br1 address 02:00:00:00:00:14 up");
            ip("link set eth2 master br1");
            closed_on(neighbour, &[first, "02:00:00:00:00:14"], (&mut lease, door));
            ip("link del br1");
            ip("link del eth2");
            fixture.stop();
        }
    });
}

#[test]
fn a_closed_door_stays_closed_when_its_device_is_renamed() {
    isolated("whole_host::a_closed_door_stays_closed_when_its_device_is_renamed", |neighbour| {
        switch(neighbour);
        let (fixture, mut lease) = held("eth0", Mode::Majority);
        closed_on(neighbour, &["02:00:00:00:00:01"], (&mut lease, Door::Granted));
        // Whoever changes names does not wait for anybody: nothing may look at this afterwards.
        fixture.kernel.leave();
        ip("link set eth0 name wan0");
        closed_on(neighbour, &["02:00:00:00:00:01"], (&mut lease, Door::Granted));
        fixture.kernel.join();
    });
}

#[test]
fn addresses_on_the_loopback_device_are_behind_the_door() {
    isolated("whole_host::addresses_on_the_loopback_device_are_behind_the_door", |neighbour| {
        switch(neighbour);
        let (fixture, mut lease) = held("lo", Mode::Majority);
        closed_on(neighbour, &["02:00:00:00:00:01"], (&mut lease, Door::Granted));
        // The host itself is served, whoever is in charge outside.
        for to in [WEB, WEB6] {
            let to = SocketAddr::new(to.parse().expect("an address"), 9);
            let refused = TcpStream::connect_timeout(&to, PATIENCE).expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        fixture.stop();
    });
}

#[test]
fn others_cannot_open_a_gate_that_is_owned() {
    isolated("whole_host::others_cannot_open_a_gate_that_is_owned", |neighbour| {
        switch(neighbour);
        let (fixture, mut lease) = held("eth0", Mode::Majority);
        let card = "02:00:00:00:00:01";
        closed_on(neighbour, &[card], (&mut lease, Door::Granted));
        run("nft", "flush ruleset");
        for words in
            ["flush table inet", "delete table inet", "flush table arp", "delete table arp"]
        {
            let refused = try_run("nft", &format!("{words} {TABLE}"));
            assert!(refused.is_err(), "{words} was carried out");
        }
        assert!(matches!(lease.look(), Renewal::Done));
        closed_on(neighbour, &[card], (&mut lease, Door::Granted));

        // Nobody owns it when its process is gone, and it is there.
        fixture.kernel.leave();
        fixture.kernel.join();
        drop(lease);
        assert!(run("nft", "list tables").contains(TABLE));
        assert_eq!(answering_at(neighbour, card), [false; 2]);
        let mut heir = Lease::open(TABLE).expect("netlink");
        assert!(matches!(heir.close(Door::Granted), Renewal::Done));
        buoy::kernel::remove_gate(TABLE).expect("anybody can remove it now");
        assert_eq!(answering_at(neighbour, card), [true; 2]);
        assert!(matches!(heir.close(Door::Granted), Renewal::Gone));
    });
}

#[test]
fn a_gate_that_others_can_change_is_put_back_as_it_was() {
    isolated("whole_host::a_gate_that_others_can_change_is_put_back_as_it_was", |neighbour| {
        switch(neighbour);
        let (fixture, mut lease) = held("eth0", Mode::Majority);
        let card = "02:00:00:00:00:01";
        lease.disown().expect("it is built again");
        for way in [
            "flush ruleset",
            "flush table inet",
            "delete table inet",
            "flush table arp",
            "delete table arp",
            "flush chain inet {} in",
            "flush chain inet {} granted",
            "flush chain arp {} out",
            "flush set inet {} granted4",
            "flush set inet {} granted6",
            "flush set arp {} granted4",
            "delete element inet {} granted4 {10.77.0.100}",
            "add table inet {} {flags dormant;}",
        ] {
            let named = way.replace("{}", TABLE);
            let named = if way.ends_with("inet") || way.ends_with("arp") {
                format!("{named} {TABLE}")
            } else {
                named
            };
            open(&mut lease, Door::Granted);
            close(&mut lease, Door::Granted);
            assert!(matches!(lease.look(), Renewal::Done), "before {named}");
            run("nft", &named);
            assert!(matches!(lease.look(), Renewal::Gone), "{named} is not noticed");
            lease.repair([None, None]).expect("the kernel takes it");
            assert!(matches!(lease.look(), Renewal::Done), "after {named}");
            assert_eq!(answering_at(neighbour, card), [false; 2], "after {named}");
            assert_eq!(claimed(neighbour), [false; 2], "after {named}");
            run("nft", &named);
            lease.repair([None, Some(Duration::from_secs(60))]).expect("the kernel takes it");
            assert_eq!(answering_at(neighbour, card), [true; 2], "{named}: it was to be open");
        }
        // Changes of others are no reason to do anything.
        run("nft", "add table inet foreign");
        assert!(matches!(lease.look(), Renewal::Done));
        fixture.stop();
    });
}

/// Loads a large set, in a namespace where a renewal by rules would have to wait for that.
fn load(elements: usize) -> std::process::Child {
    let list: Vec<String> = (0..elements)
        .map(|number| format!("11.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255))
        .collect();
    let text = format!(
        "table inet foreign {{\n set blocked {{\n type ipv4_addr\n elements = {{ {} }}\n }}\n}}\n",
        list.join(", ")
    );
    let path = std::env::temp_dir().join(format!("buoy-large-set-{}", std::process::id()));
    std::fs::write(&path, text).expect("there is room for it");
    let file = std::fs::File::open(&path).expect("it was just written");
    std::fs::remove_file(&path).expect("it was just written");
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(file).spawn().expect("`nft` is installed")
}

/// While somebody loads half a million elements a rule cannot be changed for long: a door stays
/// open all the same if it is renewed, and closes in time if it is not.
#[test]
fn a_renewal_does_not_wait_for_changes_of_others() {
    alone("whole_host::a_renewal_does_not_wait_for_changes_of_others", |neighbour| {
        let length = Duration::from_millis(400);
        let (fixture, mut lease) = held("eth0", Mode::Majority);
        assert!(answers_own(neighbour), "the cable does not work");
        assert!(matches!(lease.renew(Door::Granted, length), Renewal::Done));
        let (over, ended) = channel::<()>();
        let renewing = thread::spawn(move || {
            let mut slowest = Duration::ZERO;
            loop {
                let begun = Instant::now();
                let renewal = lease.renew(Door::Granted, length);
                assert!(matches!(renewal, Renewal::Done), "{renewal:?}");
                slowest = slowest.max(begun.elapsed());
                if ended.recv_timeout(PACE) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            (lease, slowest)
        });
        let mut child = load(500_000);
        let (mut lost, mut held_up) = ([0_u32; 2], Duration::ZERO);
        while child.try_wait().expect("it is ours").is_none() {
            let begun = Instant::now();
            // What rules would have waited for.
            run("nft", "add table arp foreign");
            held_up = held_up.max(begun.elapsed());
            for _ in 0..20 {
                lost[0] += u32::from(!answers(neighbour, WEB));
                lost[1] += u32::from(!answers_own(neighbour));
            }
        }
        drop(over);
        let (mut lease, slowest) = renewing.join().expect("every renewal was done");
        let line = format!("a change took {held_up:?}, the slowest renewal {slowest:?}");
        writeln!(std::io::stderr(), "{line}; lost {lost:?}").expect("standard error is open");
        assert!(held_up > slowest * 4, "a change took {held_up:?}, a renewal {slowest:?}");
        assert!(lost[0] <= lost[1], "{lost:?} of the address and of the host's own were lost");

        // Nobody renews: it closes although rules cannot be changed.
        run("nft", "delete table inet foreign");
        let mut child = load(500_000);
        assert!(matches!(lease.renew(Door::Granted, length), Renewal::Done));
        let opened = Instant::now();
        let mut last = Duration::ZERO;
        until("it is closed", || {
            let asked = opened.elapsed();
            let answered = answers(neighbour, WEB);
            last = if answered { asked } else { last };
            !answered
        });
        assert!(last <= length, "it was open for {last:?}");
        drop(child.kill());
        drop(child.wait());
        fixture.stop();
    });
}

/// Whether the host answers for its own address.
fn answers_own(neighbour: &Neighbour) -> bool {
    answers(neighbour, "10.77.0.1")
}
