//! What the gate and its doors cost, and that an open one loses nothing. Prints its figures:
//! `BUOY_PINGS=1000000 cargo test --release --test kernel -- --nocapture fence_speed`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use buoy::kernel::{
    Door, FenceSettings, Fenced, GroupAddresses, Lease, Renewal, Settings, Vouched,
};
use buoy::protocol::{KernelEvent, Mode, Ticket};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::fixture::{Fixture, group};
use crate::lifetimes::Owner;
use crate::namespace::alone;
use crate::until::{PATIENCE, until};

const TABLE: &str = "buoy_fence_speed";
const ADDRESSES: usize = 1000;
/// Unless the environment says otherwise.
const PINGS: usize = 100_000;
/// Echo requests that are not answered yet; far less than a host's queues hold.
const WINDOW: usize = 64;
/// Lease and pace of the profile `lan`.
const LEASE: Duration = Duration::from_millis(600);
const PACE: Duration = Duration::from_millis(120);

fn tell(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error is open");
}

/// Processor time of the thread whose numbers lie there.
fn processor_time(thread: &str) -> Duration {
    let text = fs::read_to_string(format!("{thread}/schedstat")).expect("the kernel counts this");
    let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.expect("the first number is the time"))
}

fn address(number: usize) -> Ipv4Addr {
    let octet = |number: usize| u8::try_from(number).expect("less than 250");
    Ipv4Addr::new(10, 80, octet(number / 250), octet(number % 250 + 1))
}

/// Half of the addresses behind each door.
fn groups() -> Vec<GroupAddresses> {
    let modes = [(0, Mode::Availability), (1, Mode::Majority)];
    modes
        .map(|(first, mode)| {
            let names =
                (first..ADDRESSES).step_by(2).map(|number| format!("{}/32", address(number)));
            let names: Vec<String> = names.collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            GroupAddresses { mode, ..group("eth0", &names) }
        })
        .to_vec()
}

fn held(settings: Settings) -> Fixture {
    let groups = settings.groups.clone();
    let fixture = Fixture::start_with(settings);
    for group in &groups {
        fixture.kernel.acquire(group.key, Ticket(1));
        assert_eq!(fixture.next(), KernelEvent::Present { group: group.key, ticket: Ticket(1) });
    }
    fixture
}

fn open_both(lease: &mut Lease) {
    for door in Door::ALL {
        let renewed = lease.renew(door, LEASE);
        assert!(matches!(renewed, Renewal::Done), "{renewed:?}");
    }
}

/// Pings every address in turn; ends when an answer does not come and returns how many did not.
fn flood(pings: usize) -> usize {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).expect("root");
    socket.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    let mut packet = [0; 256];
    for begin in (0..pings).step_by(WINDOW) {
        let window = begin..pings.min(begin + WINDOW);
        for number in window.clone() {
            let to = SocketAddr::new(address(number % ADDRESSES).into(), 0);
            socket.send_to(&echo_request(number), &SockAddr::from(to)).expect("a route");
        }
        let mut waiting = window.len();
        while waiting > 0 {
            match (&socket).read(&mut packet) {
                // Behind the header of IPv4, an echo reply is of type 0.
                Ok(length) => waiting -= usize::from(length > 20 && packet[20] == 0),
                Err(_) => return waiting,
            }
        }
    }
    0
}

fn echo_request(number: usize) -> [u8; 8] {
    let [low, high, ..] = number.to_le_bytes();
    let mut request = [8, 0, 0, 0, 0xb0, 0x07, high, low];
    let words = request.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = u16::try_from((folded & 0xffff) + (folded >> 16)).expect("sixteen bits");
    request[2..4].copy_from_slice(&(!folded).to_be_bytes());
    request
}

fn always(lifetime: Option<u32>) -> FenceSettings {
    FenceSettings {
        table: TABLE.to_owned(),
        vouched: Vouched(Arc::new(|| LEASE)),
        lifetime,
        preserve: false,
    }
}

#[test]
fn an_open_gate_loses_nothing_while_its_doors_are_renewed() {
    alone("fence_speed::an_open_gate_loses_nothing_while_its_doors_are_renewed", |neighbour| {
        let pings = std::env::var("BUOY_PINGS").ok().and_then(|text| text.parse().ok());
        let pings = pings.unwrap_or(PINGS);
        let fence = always(None);
        let fixture = held(Settings {
            groups: groups(),
            peer_addresses: Vec::new(),
            fence: Some(fence),
            ..Settings::default()
        });
        let mut lease = fixture.kernel.lease().expect("netlink").expect("there is a gate");
        neighbour.ip("route add 10.80.0.0/16 via 10.77.0.1");
        open_both(&mut lease);
        let (stop, stopped) = channel::<()>();
        let renewing = thread::spawn(move || {
            let begun = processor_time("/proc/thread-self");
            let mut renewals = 0_u32;
            loop {
                open_both(&mut lease);
                renewals += 1;
                match stopped.recv_timeout(PACE) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            (processor_time("/proc/thread-self") - begun, renewals)
        });
        let begun = Instant::now();
        let lost = neighbour.perform(move || flood(pings));
        let took = begun.elapsed();
        drop(stop);
        let (spent, renewals) = renewing.join().expect("every renewal was done");
        let each = spent / renewals;
        tell(&format!(
            "{pings} pings to {ADDRESSES} addresses in {:.1} s, {lost} lost; both doors renewed \
             {renewals} times, {} us of processor time each time: {:.3} % of a core",
            took.as_secs_f64(),
            each.as_micros(),
            100.0 * each.as_secs_f64() / PACE.as_secs_f64(),
        ));
        assert_eq!(lost, 0);
        fixture.stop();
    });
}

/// The thread that makes the changes in the namespace of the caller: other tests have their own.
fn kernel_thread() -> String {
    let here = fs::read_link("/proc/thread-self/ns/net").expect("this thread has a namespace");
    let tasks = fs::read_dir("/proc/self/task").expect("this process has threads");
    let mut paths = tasks.map(|task| task.expect("a thread").path().to_string_lossy().into_owned());
    let found = paths.find(|path| {
        let named = fs::read_to_string(format!("{path}/comm"));
        let there = fs::read_link(format!("{path}/ns/net"));
        named.is_ok_and(|name| name.trim() == "kernel") && there.is_ok_and(|there| there == here)
    });
    found.expect("it was started")
}

#[test]
fn prolonging_lifetimes_has_its_price() {
    alone("fence_speed::prolonging_lifetimes_has_its_price", |_| {
        let _owner = Owner::start(TABLE);
        let v4 = |number: usize| format!("{}/32", address(number));
        let v6 = |number: usize| format!("fd77::7:{number:x}/128");
        for (what, name) in [("IPv4", &v4 as &dyn Fn(usize) -> String), ("IPv6", &v6)] {
            let names: Vec<String> = (0..ADDRESSES).map(name).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let fence = always(Some(3));
            let fixture = held(Settings {
                groups: vec![group("eth0", &names)],
                peer_addresses: Vec::new(),
                fence: Some(fence),
                ..Settings::default()
            });
            assert_eq!(fixture.kernel.fence(), &Fenced::Lifetimes(3));
            let thread = kernel_thread();
            let (begun, spent) = (Instant::now(), processor_time(&thread));
            until("two lives have passed", || begun.elapsed() >= Duration::from_millis(4900));
            let share = (processor_time(&thread) - spent).as_secs_f64();
            let share = 100.0 * share / begun.elapsed().as_secs_f64();
            assert_eq!(fixture.next_within(Duration::ZERO), None, "something has changed");
            tell(&format!("lifetimes of {ADDRESSES} addresses of {what}: {share:.1} % of a core"));
            fixture.stop();
        }
    });
}
