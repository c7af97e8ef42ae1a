//! Where there can be no gate: addresses that end by themselves, or no start.
//!
//! Somebody else owns a table of the gate's name, as nf_tables lets a process do (Linux 5.12), and
//! refuses everybody else.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use buoy::kernel::{
    self, FenceSettings, Fenced, GateWanted, GroupAddresses, Settings, StartError, Vouched,
};
use buoy::protocol::{KernelEvent, Mode, Remover, Ticket};

use crate::fixture::{Fixture, group, key};
use crate::namespace::{Neighbour, ip, isolated, try_run};
use crate::until::until;

const TABLE: &str = "buoy_lifetimes";
const SECONDS: u32 = 2;
/// What the kernel may take beyond a lifetime (0.51 s seen), and a busy machine beyond that.
const SLACK: Duration = Duration::from_millis(1000);

/// A process that owns the table; ends when its input does.
pub(crate) struct Owner(Child);

impl Owner {
    /// Takes the table.
    pub(crate) fn start(table: &str) -> Self {
        let mut command = Command::new("nft");
        let command = command.arg("-i").stdin(Stdio::piped()).stdout(Stdio::null());
        let child = command.spawn().expect("`nft` is installed");
        let mut input = child.stdin.as_ref().expect("asked for above");
        writeln!(input, "add table inet {table} {{ flags owner; }}").expect("`nft` reads");
        until("the table is owned", || {
            try_run("nft", "list tables").is_ok_and(|tables| tables.contains(table))
        });
        Self(child)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn settings(mode: Mode, said: Option<&Arc<AtomicBool>>) -> Settings {
    let group = group("eth0", &["10.77.0.100/32", "fd77::100/128"]);
    let lifetime = said.map(|_| SECONDS);
    let said = said.cloned().unwrap_or_default();
    let left = move || Duration::from_millis(u64::from(said.load(Ordering::Relaxed)) * 600);
    let vouched = Vouched(Arc::new(left));
    Settings {
        groups: vec![GroupAddresses { mode, ..group }],
        peer_addresses: Vec::new(),
        fence: Some(FenceSettings { table: TABLE.to_owned(), vouched, lifetime, preserve: false }),
        ..Settings::default()
    }
}

fn here() -> [bool; 2] {
    let shown = ip("addr show dev eth0");
    ["inet 10.77.0.100/32", "inet6 fd77::100/128"].map(|address| shown.contains(address))
}

/// Both answer, at once or after a while.
fn reached(neighbour: &Neighbour) {
    for address in ["10.77.0.100", "fd77::100"] {
        assert!(neighbour.reaches(address), "{address}: {}", ip("addr show dev eth0"));
    }
}

#[test]
fn addresses_live_as_long_as_the_node_vouches() {
    isolated("lifetimes::addresses_live_as_long_as_the_node_vouches", |neighbour| {
        let _owner = Owner::start(TABLE);
        let vouched = Arc::new(AtomicBool::new(true));
        let fixture = Fixture::start_with(settings(Mode::Availability, Some(&vouched)));
        assert_eq!(fixture.kernel.fence(), &Fenced::Lifetimes(SECONDS));
        let web = key("10.77.0.100");
        fixture.kernel.acquire(web, Ticket(1));
        assert_eq!(fixture.next(), KernelEvent::Present { group: web, ticket: Ticket(1) });
        let shown = ip("addr show dev eth0");
        assert_eq!(shown.matches("valid_lft forever").count(), 3, "the host's own: {shown}");
        // Prolonged for longer than it lives, without anybody noticing.
        let life = Duration::from_secs(SECONDS.into());
        assert_eq!(fixture.next_within(life + SLACK), None);
        assert_eq!(here(), [true; 2]);
        reached(neighbour);

        vouched.store(false, Ordering::Relaxed);
        let begun = Instant::now();
        until("they have ended by themselves", || here() == [false; 2]);
        let took = begun.elapsed();
        assert!(took <= life + SLACK, "they lived for {took:?}");
        assert_eq!(fixture.next_within(SLACK), None, "they are gone and nobody puts them back");
        assert_eq!(here(), [false; 2]);

        vouched.store(true, Ordering::Relaxed);
        assert_eq!(
            fixture.next(),
            KernelEvent::Repaired { group: web, remover: Remover::Lifetime }
        );
        reached(neighbour);
        let shown = ip("-6 addr show dev eth0");
        assert!(!shown.contains("tentative"), "{shown}");

        vouched.store(false, Ordering::Relaxed);
        until("they have ended once more", || here() == [false; 2]);
        fixture.kernel.release(web, Ticket(2));
        assert_eq!(fixture.next(), KernelEvent::Absent { group: web, ticket: Ticket(2) });
        fixture.stop();
    });
}

#[test]
fn without_a_gate_a_start_that_needs_it_is_refused() {
    isolated("lifetimes::without_a_gate_a_start_that_needs_it_is_refused", |_| {
        let owner = Owner::start(TABLE);
        let vouched = Arc::new(AtomicBool::new(true));
        let start = |mode, otherwise| kernel::start(settings(mode, otherwise), Box::new(|_| ()));
        for (mode, otherwise, expected) in [
            (Mode::Availability, None, GateWanted::Required),
            (Mode::Majority, Some(&vouched), GateWanted::Majority),
            (Mode::Majority, None, GateWanted::Required),
        ] {
            let refused = start(mode, otherwise).expect_err("there can be no gate");
            let StartError::NoGate { wanted, .. } = refused else { panic!("{refused:?}") };
            assert_eq!(wanted, expected);
            assert!(refused.to_string().contains(TABLE), "{refused}");
        }
        drop(owner);
        let kernel = start(Mode::Majority, None).expect("nobody owns the table any more");
        assert_eq!(kernel.fence(), &Fenced::Gate(TABLE.to_owned()));
        kernel.stop();
    });
}
