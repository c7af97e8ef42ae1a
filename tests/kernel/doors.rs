//! The gate and its doors: who passes while which lease runs.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use buoy::kernel::{Door, FenceSettings, GroupAddresses, Lease, Renewal, Settings, Vouched};
use buoy::protocol::{KernelEvent, Mode, Ticket};

use crate::fixture::{Fixture, group, key};
use crate::namespace::{Neighbour, isolated, run};
use crate::until::{PATIENCE, until};

const TABLE: &str = "buoy_doors";
const WEB: &str = "10.77.0.100";
const WEB6: &str = "fd77::100";
const MAIL: &str = "10.77.0.110";
const MAIL6: &str = "fd77::110";
/// Nobody answers for so long: then the door is closed.
const SILENCE: Duration = Duration::from_millis(100);

/// `WEB` on this node's word, `MAIL` in the mode given; both here.
fn held(mail: Mode) -> (Fixture, Lease) {
    let fixture = Fixture::start_with(Settings {
        groups: groups(mail),
        peer_addresses: Vec::new(),
        fence: gate(),
        ..Settings::default()
    });
    for (group, ticket) in [(key(WEB), Ticket(1)), (key(MAIL), Ticket(2))] {
        fixture.kernel.acquire(group, ticket);
        assert_eq!(fixture.next(), KernelEvent::Present { group, ticket });
    }
    let lease = fixture.kernel.lease().expect("netlink").expect("this kernel has nf_tables");
    (fixture, lease)
}

fn gate() -> Option<FenceSettings> {
    let vouched = Vouched(Arc::new(|| Duration::from_secs(1)));
    Some(FenceSettings { table: TABLE.to_owned(), vouched, lifetime: None, preserve: false })
}

fn groups(mail: Mode) -> Vec<GroupAddresses> {
    let web = group("eth0", &[&format!("{WEB}/32"), &format!("{WEB6}/128")]);
    let behind = group("eth0", &[&format!("{MAIL}/32"), &format!("{MAIL6}/128")]);
    vec![web, GroupAddresses { mode: mail, ..behind }]
}

fn open(lease: &mut Lease, door: Door, length: Duration) {
    let renewal = lease.renew(door, length);
    assert!(matches!(renewal, Renewal::Done), "{renewal:?}");
}

/// Whether the address answers within [`SILENCE`]: a closed port refuses.
fn answers(neighbour: &Neighbour, address: &str) -> bool {
    let to = SocketAddr::new(address.parse().expect("an address"), 9);
    neighbour.perform(move || {
        let refused = TcpStream::connect_timeout(&to, SILENCE);
        refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
}

/// Which of the four addresses answer, in the order WEB, WEB6, MAIL, MAIL6.
fn answering(neighbour: &Neighbour) -> [bool; 4] {
    // Nobody shall be silent only because it was not found.
    drop(neighbour.ip("neigh flush dev eth0"));
    [WEB, WEB6, MAIL, MAIL6].map(|address| answers(neighbour, address))
}

#[test]
fn each_door_is_opened_by_its_own_lease() {
    isolated("doors::each_door_is_opened_by_its_own_lease", |neighbour| {
        let (fixture, mut lease) = held(Mode::Majority);
        assert_eq!(answering(neighbour), [false; 4]);
        open(&mut lease, Door::Granted, PATIENCE);
        assert_eq!(answering(neighbour), [false, false, true, true]);
        open(&mut lease, Door::Vouched, PATIENCE);
        assert_eq!(answering(neighbour), [true; 4]);
        assert!(matches!(lease.close(Door::Granted), Renewal::Done));
        assert_eq!(answering(neighbour), [true, true, false, false]);
        assert!(matches!(lease.close(Door::Granted), Renewal::Done), "closed twice");
        assert!(matches!(lease.renew(Door::Vouched, Duration::from_micros(999)), Renewal::Done));
        assert_eq!(answering(neighbour), [false; 4], "less than a millisecond is nothing");
        fixture.stop();
    });
}

#[test]
fn a_door_closes_by_itself_and_not_late() {
    isolated("doors::a_door_closes_by_itself_and_not_late", |neighbour| {
        let (fixture, mut lease) = held(Mode::Majority);
        for door in Door::ALL {
            let address = if door == Door::Granted { MAIL } else { WEB };
            let length = Duration::from_millis(400);
            open(&mut lease, door, length);
            let opened = Instant::now();
            assert!(answers(neighbour, address), "{door:?} is not open");
            let mut last = Duration::ZERO;
            until("the door is closed", || {
                let asked = opened.elapsed();
                let answered = answers(neighbour, address);
                last = if answered { asked } else { last };
                !answered
            });
            assert!(last <= length, "{door:?} was open {last:?} after it was opened");
        }
        fixture.stop();
    });
}

#[test]
fn a_group_that_changes_its_mode_changes_its_door() {
    isolated("doors::a_group_that_changes_its_mode_changes_its_door", |neighbour| {
        let (fixture, mut lease) = held(Mode::Availability);
        open(&mut lease, Door::Vouched, PATIENCE);
        assert_eq!(answering(neighbour), [true; 4]);
        for (mode, behind) in [(Mode::Majority, false), (Mode::Availability, true)] {
            fixture.kernel.reconfigure(groups(mode), Vec::new());
            let present = KernelEvent::Present { group: key(MAIL), ticket: Ticket(2) };
            assert_eq!(fixture.next(), present);
            open(&mut lease, Door::Vouched, PATIENCE);
            assert_eq!(answering(neighbour), [true, true, behind, behind], "{mode:?}");
        }
        fixture.stop();
        assert!(!run("nft", "list tables").contains(TABLE));
    });
}

#[test]
fn thousands_of_addresses_are_covered_and_uncovered() {
    isolated("doors::thousands_of_addresses_are_covered_and_uncovered", |_| {
        let name = |number: usize| format!("10.80.{}.{}/32", number / 250, number % 250 + 1);
        let names: Vec<String> = (0..4500).map(name).collect();
        let groups: Vec<GroupAddresses> = names
            .chunks(900)
            .map(|some| group("eth0", &some.iter().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        let fence = gate();
        let settings = Settings {
            groups: groups.clone(),
            peer_addresses: Vec::new(),
            fence,
            ..Settings::default()
        };
        let fixture = Fixture::start_with(settings);
        let listed = || run("nft", &format!("list set inet {TABLE} vouched4"));
        let count = |text: &str| text.matches("10.80.").count();
        for (ticket, group) in (1..).zip(&groups) {
            fixture.kernel.acquire(group.key, Ticket(ticket));
        }
        let mut present = 0;
        while present < groups.len() {
            present += usize::from(matches!(fixture.next(), KernelEvent::Present { .. }));
        }
        assert_eq!(count(&listed()), 4500);
        let mut lease = fixture.kernel.lease().expect("netlink").expect("there is a gate");
        lease.disown().expect("it is built again");
        run("nft", "flush ruleset");
        assert!(matches!(lease.look(), Renewal::Gone));
        lease.repair([None, None]).expect("it is put back");
        assert_eq!(count(&listed()), 4500, "all are covered again");
        assert!(matches!(lease.look(), Renewal::Done));
        fixture.kernel.release(groups[0].key, Ticket(99));
        let absent = KernelEvent::Absent { group: groups[0].key, ticket: Ticket(99) };
        assert_eq!(fixture.next(), absent);
        until("they are uncovered", || count(&listed()) == 3600);
        fixture.stop();
    });
}
