//! `kernel` on the real Linux, in fresh network namespaces. See `namespace` for what that needs.
#![expect(clippy::disallowed_methods, reason = "these tests measure how long the kernel takes")]

mod fixture;
mod namespace;

use buoy::protocol::{KernelEvent, Ticket};

use self::fixture::{Fixture, group, key};
use self::namespace::{ip, isolated};

const FALSE_HARDWARE: &str = "02:00:00:00:00:ee";

#[test]
fn a_group_comes_is_announced_and_goes() {
    isolated("a_group_comes_is_announced_and_goes", |neighbour| {
        let fixture = Fixture::start(vec![group("eth0", &["10.77.0.100/32"])]);
        let web = key("10.77.0.100");

        fixture.kernel.acquire(web, Ticket(1));
        assert_eq!(fixture.next(), KernelEvent::Present { group: web, ticket: Ticket(1) });
        assert!(ip("addr show dev eth0").contains("inet 10.77.0.100/32"));
        assert!(neighbour.reaches("10.77.0.100"));

        let lie =
            format!("neigh replace 10.77.0.100 lladdr {FALSE_HARDWARE} nud reachable dev eth0");
        neighbour.ip(&lie);
        assert_eq!(neighbour.knows("10.77.0.100"), FALSE_HARDWARE);
        fixture.kernel.announce(web);
        namespace::until("the neighbour has learned", || {
            neighbour.knows("10.77.0.100") == "02:00:00:00:00:01"
        });
        assert_eq!(fixture.kernel.counters().announcements.value(), 1);

        fixture.kernel.release(web, Ticket(2));
        assert_eq!(fixture.next(), KernelEvent::Absent { group: web, ticket: Ticket(2) });
        assert!(!ip("addr show dev eth0").contains("10.77.0.100"));
        fixture.stop();
    });
}
