//! What a dead daemon left, what a stopped one leaves, and what is refused at start.

use std::net::IpAddr;
use std::process::Command;

use buoy::kernel::{self, Settings, StartError};
use buoy::protocol::{KernelEvent, Ticket};
use netlink_packet_route::address::{AddressAttribute, AddressProtocol};

use crate::fixture::{Fixture, group, key};
use crate::namespace::{ip, isolated};
use crate::until::until;

/// Adds an address that bears the protocol tag, as a daemon would have on this kernel.
fn add_tagged(index: u32, address: &str, prefix: u8, tag: u8) {
    let address: IpAddr = address.parse().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().expect("netlink");
        tokio::spawn(connection);
        let mut request = handle.address().add(index, address, prefix);
        let attributes = &mut request.message_mut().attributes;
        attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(tag)));
        request.execute().await.expect("an address can be added");
    });
}

#[test]
fn leftovers_are_gone_when_start_returns() {
    isolated("leftovers::leftovers_are_gone_when_start_returns", |_| {
        let index: u32 = ip("-o link show eth0")
            .split(':')
            .next()
            .and_then(|text| text.trim().parse().ok())
            .expect("a line of `ip` begins with the index");
        add_tagged(index, "10.77.0.100", 32, 0xb0);
        add_tagged(index, "fd77::100", 128, 0xb0);
        add_tagged(1, "10.77.0.101", 24, 0xb0);
        add_tagged(index, "10.77.0.103", 32, 0xb1);
        // The mark of kernels that know no protocol tag.
        ip("addr add 10.77.0.102/32 dev eth0 metric 1651863417");
        ip("addr add 10.77.0.104/32 dev eth0 metric 7");
        let fixture = Fixture::start(vec![group("eth0", &["10.77.0.100/32"])]);
        let shown = ip("addr show");
        for gone in ["10.77.0.100", "fd77::100", "10.77.0.101", "10.77.0.102"] {
            assert!(!shown.contains(gone), "{gone} in {shown}");
        }
        for stays in ["10.77.0.1/24", "fd77::1/64", "10.77.0.103", "10.77.0.104"] {
            assert!(shown.contains(stays), "{stays} not in {shown}");
        }
        assert_eq!(fixture.kernel.counters().swept.value(), 4);
        fixture.stop();
    });
}

#[test]
fn nothing_is_left_when_stopped_or_dropped() {
    isolated("leftovers::nothing_is_left_when_stopped_or_dropped", |_| {
        let web = key("10.77.0.100");
        let before = ip("addr show");
        for stopped in [true, false] {
            let groups = vec![group("eth0", &["10.77.0.100/32", "fd77::100/128"])];
            let fixture = Fixture::start(groups);
            fixture.kernel.acquire(web, Ticket(1));
            assert_eq!(fixture.next(), KernelEvent::Present { group: web, ticket: Ticket(1) });
            if stopped {
                fixture.stop();
                assert_eq!(ip("addr show"), before);
            } else {
                drop(fixture);
                until("nothing is left", || ip("addr show") == before);
            }
        }
    });
}

#[test]
fn a_missing_capability_is_named() {
    const WITHOUT: &str = "BUOY_KERNEL_TEST_WITHOUT";
    const NAME: &str = "leftovers::a_missing_capability_is_named";
    if let Some(wanted) = std::env::var_os(WITHOUT) {
        let refused = kernel::start(Settings::default(), Box::new(|_| ()));
        match refused {
            Err(error @ StartError::NotPermitted { capability }) => {
                assert_eq!(wanted, capability);
                assert!(error.to_string().contains("run as root, or grant it"), "{error}");
            }
            other => panic!("{other:?} instead of a refusal for want of {wanted:?}"),
        }
        return;
    }
    isolated(NAME, |_| {
        for (option, capability) in [("-net_admin", "CAP_NET_ADMIN"), ("-net_raw", "CAP_NET_RAW")] {
            let this = std::env::current_exe().expect("a running program has a path");
            let outcome = Command::new("setpriv")
                .args(["--bounding-set", option])
                .arg(this)
                .args(["--exact", NAME, "--nocapture"])
                .env(WITHOUT, capability)
                .output();
            let output = outcome.expect("this test needs the command `setpriv` of util-linux");
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "without {capability}: {text}");
        }
    });
}
