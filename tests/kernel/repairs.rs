//! Somebody else removes addresses, or makes more noise than can be read.

use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use buoy::kernel::{self, Settings};
use buoy::protocol::{KernelEvent, Remover, Ticket};

use crate::fixture::{Fixture, group, key};
use crate::namespace::{ip, isolated};
use crate::until::{PATIENCE, until};

/// What the issue allows.
const REPAIR_MAX: Duration = Duration::from_millis(100);

#[test]
fn a_removed_address_is_back_at_once() {
    isolated("repairs::a_removed_address_is_back_at_once", |_| {
        let fixture = Fixture::start(vec![group("eth0", &["10.77.0.100/32", "fd77::100/128"])]);
        let web = key("10.77.0.100");
        fixture.kernel.acquire(web, Ticket(1));
        assert_eq!(fixture.next(), KernelEvent::Present { group: web, ticket: Ticket(1) });

        for (count, gone) in ["10.77.0.100/32", "fd77::100/128"].into_iter().enumerate() {
            ip(&format!("addr del {gone} dev eth0"));
            let removed = Instant::now();
            assert_eq!(
                fixture.next(),
                KernelEvent::Repaired { group: web, remover: Remover::Somebody }
            );
            assert!(count > 0 || removed.elapsed() < REPAIR_MAX, "{:?}", removed.elapsed());
            assert!(ip("addr show dev eth0").contains(gone));
        }
        assert_eq!(fixture.kernel.counters().repairs.value(), 2);
        fixture.stop();
    });
}

#[test]
fn a_flush_is_undone_and_told_once_or_twice() {
    isolated("repairs::a_flush_is_undone_and_told_once_or_twice", |_| {
        let addresses: Vec<String> = (100..120).map(|last| format!("10.77.0.{last}/32")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let fixture = Fixture::start(vec![group("eth0", &addresses)]);
        let web = key("10.77.0.100");
        fixture.kernel.acquire(web, Ticket(1));
        assert_eq!(fixture.next(), KernelEvent::Present { group: web, ticket: Ticket(1) });

        // It gives up when addresses keep coming back, which is what they shall do.
        drop(crate::namespace::try_run("ip", "addr flush dev eth0 to 10.77.0.96/27"));
        assert_eq!(
            fixture.next(),
            KernelEvent::Repaired { group: web, remover: Remover::Somebody }
        );
        until("all are back", || {
            let shown = ip("addr show dev eth0");
            addresses.iter().all(|address| shown.contains(address))
        });
        let more = std::iter::from_fn(|| fixture.next_within(Duration::from_millis(300)));
        assert!(more.count() <= 1);
        fixture.stop();
    });
}

#[test]
fn lost_events_do_not_matter() {
    isolated("repairs::lost_events_do_not_matter", |_| {
        let web = key("10.77.0.100");
        let (told, events) = channel();
        // While the test holds this, the kernel thread is stuck in the first event that it tells.
        let gate = Arc::new(Mutex::new(()));
        let gated = Arc::clone(&gate);
        let sink = Box::new(move |event| {
            drop(gated.lock());
            if !matches!(event, KernelEvent::Hardware(_)) {
                let _ = told.send(event);
            }
        });
        let groups = vec![group("eth0", &["10.77.0.100/32"])];
        let settings = Settings { groups, ..Settings::default() };
        let kernel = kernel::start(settings, sink).expect("the tests have the permissions");

        let closed = gate.lock().expect("nobody panicked");
        kernel.acquire(web, Ticket(1));
        until("it is added", || ip("addr show dev eth0").contains("10.77.0.100/32"));
        make_noise(12_000);
        ip("addr del 10.77.0.100/32 dev eth0");
        drop(closed);

        let next = || events.recv_timeout(PATIENCE).expect("an event within the deadline");
        assert_eq!(next(), KernelEvent::Present { group: web, ticket: Ticket(1) });
        assert_eq!(next(), KernelEvent::Repaired { group: web, remover: Remover::Somebody });
        assert!(ip("addr show dev eth0").contains("10.77.0.100/32"));
        assert!(kernel.counters().overruns.value() > 0, "no event was lost: more noise is needed");
        kernel.stop();
    });
}

/// Adds and deletes an address of nobody so many times.
fn make_noise(times: usize) {
    let lines = "addr add 10.99.0.1/32 dev lo\naddr del 10.99.0.1/32 dev lo\n".repeat(times);
    let mut command = Command::new("ip");
    let command = command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().expect("`ip` is installed");
    let mut input = child.stdin.take().expect("asked for above");
    std::io::Write::write_all(&mut input, lines.as_bytes()).expect("`ip` reads");
    drop(input);
    assert!(child.wait().expect("it was started").success());
}
