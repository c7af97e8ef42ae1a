//! Who else has an address of ours: asked before it is taken, noticed while it is held.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use buoy::protocol::{HardwareAddress, KernelEvent, Ticket};

use crate::fixture::{Fixture, group, key};
use crate::namespace::{Neighbour, alone, ip, isolated};
use crate::until::PATIENCE;

const NEIGHBOUR: HardwareAddress = HardwareAddress([2, 0, 0, 0, 0, 9]);
/// Nobody answers so late in a network of two namespaces.
const SILENCE: Duration = Duration::from_millis(200);

fn claimed(first: &str, hardware: HardwareAddress) -> KernelEvent {
    KernelEvent::Claimed { group: key(first), hardware, direct: false }
}

fn start(addresses: &[&str]) -> Fixture {
    Fixture::start(vec![group("eth0", addresses)])
}

/// Acquires the group and waits until it is there.
fn hold(fixture: &Fixture, first: &str) {
    fixture.kernel.acquire(key(first), Ticket(1));
    assert_eq!(fixture.next(), KernelEvent::Present { group: key(first), ticket: Ticket(1) });
}

/// The neighbour asks for a third host in the name of the address.
fn ask_as_owner(neighbour: &Neighbour) {
    neighbour.perform(|| {
        let socket = UdpSocket::bind("10.77.0.100:0").expect("the address is there");
        // It is not sent before that host has answered, which is not there.
        socket.send_to(b"?", "10.77.0.77:9").expect("it waits for the neighbour's answer");
    });
}

/// Asks until the neighbour's answer comes at once, as it does if nothing is lost or late. On a
/// host with much to do a single frame may be: then the protocol asks again as well.
fn answered_quickly(fixture: &Fixture, address: &str) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        fixture.kernel.probe(key(address), Vec::new());
        match fixture.next_within(Duration::from_millis(100)) {
            Some(event) => return assert_eq!(event, claimed(address, NEIGHBOUR)),
            None => continue,
        }
    }
    panic!("{address} was never answered within 100 ms");
}

#[test]
fn who_has_the_address_answers_a_probe_and_nobody_else_does() {
    isolated("claimants::who_has_the_address_answers_a_probe_and_nobody_else_does", |neighbour| {
        for (bare, whole) in [("10.77.0.100", "10.77.0.100/32"), ("fd77::100", "fd77::100/128")] {
            let fixture = start(&[whole]);
            fixture.kernel.probe(key(bare), Vec::new());
            assert_eq!(fixture.next_within(SILENCE), None, "nobody has {bare}");

            let nodad = if bare.contains(':') { " nodad" } else { "" };
            neighbour.ip(&format!("addr add {whole} dev eth0{nodad}"));
            answered_quickly(&fixture, bare);
            assert_eq!(neighbour.knows(bare), "", "a probe makes nobody believe anything");
            neighbour.ip(&format!("addr del {whole} dev eth0"));
            fixture.stop();
        }
    });
}

/// What is told of a host that has the address and is asked at this hardware address, until it is
/// told that the host itself answers, or for a while.
fn answered_directly(fixture: &Fixture, address: &str, at: HardwareAddress) -> Option<()> {
    for _ in 0..10 {
        fixture.kernel.probe(key(address), vec![at]);
        while let Some(event) = fixture.next_within(SILENCE) {
            let KernelEvent::Claimed { group, hardware, direct } = event else {
                panic!("{event:?} is no claim");
            };
            assert_eq!((group, hardware), (key(address), NEIGHBOUR));
            if direct {
                return Some(());
            }
        }
    }
    None
}

#[test]
fn an_answer_to_a_question_to_one_host_is_told_from_others() {
    isolated("claimants::an_answer_to_a_question_to_one_host_is_told_from_others", |neighbour| {
        let nobody = HardwareAddress([2, 0, 0, 0, 0, 0x77]);
        for (bare, whole) in [("10.77.0.100", "10.77.0.100/32"), ("fd77::100", "fd77::100/128")] {
            let fixture = start(&[whole]);
            let nodad = if bare.contains(':') { " nodad" } else { "" };
            neighbour.ip(&format!("addr add {whole} dev eth0{nodad}"));
            assert_eq!(answered_directly(&fixture, bare, NEIGHBOUR), Some(()), "{bare}");
            assert_eq!(answered_directly(&fixture, bare, nobody), None, "{bare}");
            neighbour.ip(&format!("addr del {whole} dev eth0"));
            fixture.stop();
        }
    });
}

/// Without an address in the network this host cannot ask one host alone as a neighbour does. Then
/// what it hears counts as much.
#[test]
fn who_cannot_ask_one_host_alone_goes_by_all_answers() {
    isolated("claimants::who_cannot_ask_one_host_alone_goes_by_all_answers", |neighbour| {
        ip("addr del 10.77.0.1/24 dev eth0");
        let fixture = start(&["10.77.0.100/32"]);
        neighbour.ip("addr add 10.77.0.100/32 dev eth0");
        assert_eq!(answered_directly(&fixture, "10.77.0.100", NEIGHBOUR), Some(()));
        fixture.stop();
    });
}

#[test]
fn an_address_that_is_held_here_can_be_asked_for() {
    isolated("claimants::an_address_that_is_held_here_can_be_asked_for", |neighbour| {
        let fixture = start(&["10.77.0.100/32"]);
        neighbour.ip("addr add 10.77.0.100/32 dev eth0");
        fixture.kernel.probe(key("10.77.0.100"), Vec::new());
        fixture.kernel.acquire(key("10.77.0.100"), Ticket(1));
        let mut seen = vec![fixture.next(), fixture.next()];
        seen.sort_by_key(|event| matches!(event, KernelEvent::Claimed { .. }));
        let present = KernelEvent::Present { group: key("10.77.0.100"), ticket: Ticket(1) };
        assert_eq!(seen, [present, claimed("10.77.0.100", NEIGHBOUR)]);
        fixture.stop();
    });
}

#[test]
fn a_second_claimant_is_noticed_by_his_first_frame() {
    isolated("claimants::a_second_claimant_is_noticed_by_his_first_frame", |neighbour| {
        let fixture = start(&["10.77.0.100/32", "fd77::100/128"]);
        hold(&fixture, "10.77.0.100");
        fixture.kernel.announce(key("10.77.0.100"));
        assert_eq!(fixture.next_within(SILENCE), None, "our own frames are no claim");
        neighbour.ip("addr add 10.77.0.100/32 dev eth0");
        ask_as_owner(neighbour);
        assert_eq!(fixture.next(), claimed("10.77.0.100", NEIGHBOUR));
        fixture.stop();
    });
}

#[test]
fn claims_of_what_is_not_here_and_was_not_asked_for_are_not_told() {
    isolated(
        "claimants::claims_of_what_is_not_here_and_was_not_asked_for_are_not_told",
        |neighbour| {
            let fixture = start(&["10.77.0.100/32"]);
            neighbour.ip("addr add 10.77.0.100/32 dev eth0");
            ask_as_owner(neighbour);
            assert_eq!(fixture.next_within(SILENCE), None);
            assert!(fixture.kernel.counters().claims_heard.value() > 0, "none was heard");
            fixture.stop();
        },
    );
}

/// Frames of a flood; some ten thousand a second arrive.
const FLOOD: usize = 40_000;

/// The neighbour claims the address with so many frames, as fast as it can.
fn flood(neighbour: &Neighbour) {
    neighbour.perform(|| {
        let mut frame = vec![0xff; 6];
        frame.extend(NEIGHBOUR.0);
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        frame.extend(NEIGHBOUR.0);
        frame.extend([10, 77, 0, 100]);
        frame.extend(NEIGHBOUR.0);
        frame.extend([10, 77, 0, 100]);
        let links = pnet_datalink::interfaces();
        let link = links.iter().find(|link| link.name == "eth0").expect("the cable is there");
        let channel = pnet_datalink::channel(link, pnet_datalink::Config::default());
        let Ok(pnet_datalink::Channel::Ethernet(mut sender, _)) = channel else {
            panic!("no frames can be sent");
        };
        for _ in 0..FLOOD {
            // What does not fit is lost, as in any flood.
            let _ = sender.send_to(&frame, None);
        }
    });
}

#[test]
fn a_flood_of_claims_is_not_read_and_holds_up_nothing() {
    alone("claimants::a_flood_of_claims_is_not_read_and_holds_up_nothing", |neighbour| {
        let fixture = start(&["10.77.0.100/32"]);
        hold(&fixture, "10.77.0.100");
        let begun = Instant::now();
        flood(neighbour);
        let released = Instant::now();
        fixture.kernel.release(key("10.77.0.100"), Ticket(2));
        let absent = KernelEvent::Absent { group: key("10.77.0.100"), ticket: Ticket(2) };
        let mut told = 0;
        while fixture.next() != absent {
            told += 1;
        }
        let took = released.elapsed();
        assert!(took < Duration::from_millis(500), "the release took {took:?}");
        let seconds = usize::try_from(begun.elapsed().as_secs()).expect("few") + 2;
        assert!(told <= 1100 * seconds, "{told} claims were told in {seconds} s");
        assert!(fixture.kernel.counters().claims_floods.value() > 0, "it was no flood");
        fixture.stop();
    });
}

#[test]
fn hardware_addresses_are_told_at_the_start_and_when_they_change() {
    isolated("claimants::hardware_addresses_are_told_at_the_start_and_when_they_change", |_| {
        let fixture = start(&["10.77.0.100/32"]);
        assert_eq!(fixture.next_hardware(), [HardwareAddress([2, 0, 0, 0, 0, 1])]);
        ip("link set eth0 address 02:00:00:00:00:55");
        let begun = Instant::now();
        while fixture.next_hardware() != [HardwareAddress([2, 0, 0, 0, 0, 0x55])] {
            assert!(begun.elapsed() < PATIENCE, "never told");
        }
        // A second card may answer for the address as well.
        ip("link add eth1 type veth peer name peer1");
        ip("link set eth1 address 02:00:00:00:00:66");
        ip("link set peer1 address 02:00:00:00:00:77");
        let all = [0x55, 0x66, 0x77].map(|last| HardwareAddress([2, 0, 0, 0, 0, last]));
        while fixture.next_hardware() != all {
            assert!(begun.elapsed() < PATIENCE, "never told");
        }
        fixture.stop();
    });
}
