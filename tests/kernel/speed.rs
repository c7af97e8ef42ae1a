//! How long things take. Fails only if they do not happen, because a busy machine is no fault:
//! `cargo test --release --test kernel -- --nocapture speed` prints the figures
//! (least, median, most).

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use buoy::kernel::GroupAddresses;
use buoy::protocol::{KernelEvent, Ticket};

use crate::connections::allow_descriptors;
use crate::fixture::{Fixture, group};
use crate::namespace::alone;

/// Acquires and releases all groups at once, some times; prints the medians.
fn measure(what: &str, groups: Vec<GroupAddresses>, rounds: u64) {
    let fixture = Fixture::start(groups.clone());
    let (mut acquired, mut released) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let begun = Instant::now();
        for group in &groups {
            fixture.kernel.acquire(group.key, Ticket(round));
        }
        for _ in &groups {
            let event = fixture.next();
            assert!(matches!(event, KernelEvent::Present { .. }), "{event:?}");
        }
        acquired.push(begun.elapsed());
        let begun = Instant::now();
        for group in &groups {
            fixture.kernel.release(group.key, Ticket(round));
        }
        for _ in &groups {
            let event = fixture.next();
            assert!(matches!(event, KernelEvent::Absent { .. }), "{event:?}");
        }
        released.push(begun.elapsed());
    }
    fixture.stop();
    acquired.sort();
    released.sort();
    let shown = |times: &[Duration]| {
        let mut text = String::new();
        for time in [times.first(), times.get(times.len() / 2), times.last()] {
            let milliseconds = time.expect("rounds were measured").as_secs_f64() * 1000.0;
            write!(text, "{milliseconds:8.2}").expect("a string takes everything");
        }
        text
    };
    let (acquired, released) = (shown(&acquired), shown(&released));
    writeln!(std::io::stderr(), "{what:30} present {acquired} ms   absent {released} ms")
        .expect("standard error is open");
}

/// Releases an address with so many connections.
fn with_connections(count: usize) {
    let web = group("eth0", &["10.80.0.1/32"]);
    let fixture = Fixture::start(vec![web.clone()]);
    fixture.kernel.acquire(web.key, Ticket(1));
    assert!(matches!(fixture.next(), KernelEvent::Present { .. }));
    allow_descriptors(3 * count);
    let listener = TcpListener::bind("10.80.0.1:0").expect("the address is here");
    let to = listener.local_addr().expect("it is bound");
    let connect = |_| {
        let client = TcpStream::connect(to).expect("somebody listens");
        (client, listener.accept().expect("the client has connected"))
    };
    let connected: Vec<_> = (0..count).map(connect).collect();
    let begun = Instant::now();
    fixture.kernel.release(web.key, Ticket(2));
    assert!(matches!(fixture.next(), KernelEvent::Absent { .. }));
    let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
    let ended = fixture.kernel.counters().connections_ended.value();
    let line = format!("{count} connections (both ends here): absent {milliseconds:.2} ms");
    writeln!(std::io::stderr(), "{line}, {ended} of {} ended", 2 * count)
        .expect("standard error is open");
    // The reset of one end may end the other, whose turn then does not come.
    assert!((count..=2 * count).contains(&usize::try_from(ended).expect("a count")), "{line}");
    assert_eq!(fixture.kernel.counters().connections_left.value(), 0, "{line}");
    drop(connected);
    fixture.stop();
}

fn v4(number: usize) -> String {
    format!("10.80.{}.{}/32", number / 250, number % 250 + 1)
}

#[test]
fn figures() {
    alone("speed::figures", |_| {
        measure("1 group, 1 v4", vec![group("eth0", &["10.80.0.1/32"])], 50);
        measure("1 group, 1 v6", vec![group("eth0", &["fd77::1:1/128"])], 50);
        measure("1 group, v4 + v6", vec![group("eth0", &["10.80.0.1/32", "fd77::1:1/128"])], 50);
        let hundred = (0..100).map(|number| group("eth0", &[&v4(number)])).collect();
        measure("100 groups, 1 v4 each", hundred, 10);
        let hundred = (0..100).map(|number| group("eth0", &[&format!("fd77::7:{number:x}/128")]));
        measure("100 groups, 1 v6 each", hundred.collect(), 10);
        let thousand = (0..1000).map(|number| group("eth0", &[&v4(number)])).collect();
        measure("1000 groups, 1 v4 each", thousand, 2);
        let names: Vec<String> = (0..1000).map(v4).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        measure("1 group, 1000 v4", vec![group("eth0", &names)], 2);
        with_connections(200);
        with_connections(400);
        with_connections(4000);
    });
}
