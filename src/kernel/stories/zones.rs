//! Stories of one link-local address that two groups have, each on a link of its own.

use std::net::IpAddr;

use crate::kernel::GroupAddresses;
use crate::kernel::links::{Address, Link, Observation, Place, Readiness};
use crate::kernel::reconcile::{Change, Reconciler};
use crate::kernel::scoped::Scoped;
use crate::protocol::{Failure, GroupKey, Instant, KernelEvent, Mode, Ticket};

/// On `eth0`, which is link 2.
const ONE: GroupKey = GroupKey(1);
/// On `eth1`, which is link 3, in mode `Majority`.
const OTHER: GroupKey = GroupKey(2);

fn gateway() -> IpAddr {
    "fe80::1".parse().unwrap()
}

fn on(link: u32) -> Place {
    Place { address: gateway(), link, prefix: 64 }
}

fn group(key: GroupKey, interface: &str) -> GroupAddresses {
    GroupAddresses {
        key,
        name: interface.to_owned(),
        mode: if key == ONE { Mode::Availability } else { Mode::Majority },
        interface: Some(interface.to_owned()),
        addresses: vec![(gateway(), 64)],
        keys: [(gateway(), key)].into(),
        routing: Default::default(),
    }
}

fn link(index: u32, name: &str, usable: bool) -> Observation {
    let name = name.to_owned();
    Observation::Link(Link { index, name, usable, ..Link::default() })
}

fn seen(link: u32, ours: bool) -> Observation {
    let (place, readiness) = (on(link), Readiness::Ready);
    Observation::Address(Address { place, network: gateway(), ours, readiness, primary: true })
}

/// Both groups, neither here.
fn fresh() -> Reconciler {
    let groups = vec![group(ONE, "eth0"), group(OTHER, "eth1")];
    let mut reconciler = Reconciler::new(groups, Instant::START);
    reconciler.observe(link(2, "eth0", true));
    reconciler.observe(link(3, "eth1", true));
    follows(&mut reconciler);
    reconciler
}

/// What follows, but for events of links.
fn follows(reconciler: &mut Reconciler) -> (Vec<Change>, Vec<KernelEvent>) {
    let settled = reconciler.settle(Instant::START);
    let of_links = |event: &KernelEvent| {
        matches!(event, KernelEvent::Usable { .. } | KernelEvent::Attached { .. })
    };
    (settled.changes, settled.events.into_iter().filter(|event| !of_links(event)).collect())
}

fn acquire(reconciler: &mut Reconciler, group: GroupKey, link: u32) {
    let ticket = Ticket(group.0);
    reconciler.acquire((group, ticket), None, Instant::START);
    let add = Change::Add(on(link));
    assert_eq!(follows(reconciler), (vec![add], vec![]));
    reconciler.answered(&add, Ok(()), Instant::START);
    reconciler.observe(seen(link, true));
    assert_eq!(follows(reconciler), (vec![], vec![KernelEvent::Present { group, ticket }]));
}

fn held() -> Reconciler {
    let mut reconciler = fresh();
    acquire(&mut reconciler, ONE, 2);
    acquire(&mut reconciler, OTHER, 3);
    reconciler
}

#[test]
fn each_group_has_the_address_on_its_own_link() {
    let mut reconciler = held();
    assert_eq!(reconciler.owner(Scoped::at(gateway(), 2)), Some(ONE));
    assert_eq!(reconciler.owner(Scoped::at(gateway(), 3)), Some(OTHER));
    assert_eq!(reconciler.owner(Scoped::at(gateway(), 4)), None);
    assert_eq!(reconciler.mode(Scoped::at(gateway(), 2)), Mode::Availability);
    assert_eq!(reconciler.mode(Scoped::at(gateway(), 3)), Mode::Majority);
    reconciler.release(ONE, Ticket(9));
    let remove = Change::Remove { place: on(2), connections: true };
    assert_eq!(follows(&mut reconciler), (vec![remove], vec![]));
    reconciler.answered(&remove, Ok(()), Instant::START);
    assert!(!reconciler.is_elsewhere(&on(2)), "the gate lets it go");
    reconciler.observe(Observation::AddressGone(on(2)));
    let absent = KernelEvent::Absent { group: ONE, ticket: Ticket(9) };
    assert_eq!(follows(&mut reconciler), (vec![], vec![absent]));
    assert_eq!(reconciler.held().collect::<Vec<_>>(), [on(3)]);
}

#[test]
fn what_is_lost_on_one_link_is_put_back_there() {
    let mut reconciler = held();
    reconciler.observe(Observation::AddressGone(on(3)));
    assert_eq!(follows(&mut reconciler), (vec![Change::Add(on(3))], vec![]));
}

#[test]
fn a_claim_concerns_the_group_of_its_link() {
    let mut reconciler = fresh();
    acquire(&mut reconciler, OTHER, 3);
    assert_eq!(reconciler.meant(gateway(), Some(2)), Some((ONE, false)));
    assert_eq!(reconciler.meant(gateway(), Some(3)), Some((OTHER, true)));
    assert_eq!(reconciler.meant(gateway(), Some(4)), None);
    assert_eq!(reconciler.meant(gateway(), None), None);
}

#[test]
fn an_address_of_the_host_itself_matters_on_its_own_link_only() {
    let mut reconciler = fresh();
    reconciler.observe(seen(3, false));
    follows(&mut reconciler);
    acquire(&mut reconciler, ONE, 2);
    let ticket = Ticket(2);
    reconciler.acquire((OTHER, ticket), None, Instant::START);
    let failure = Failure::ForeignAddress;
    let failed = KernelEvent::Failed { group: OTHER, ticket, failure };
    assert_eq!(follows(&mut reconciler), (vec![], vec![failed]));
}

#[test]
fn a_group_whose_link_is_missing_does_not_take_the_other_for_its_own() {
    let mut reconciler = held();
    reconciler.observe(Observation::LinkGone(3));
    assert_eq!(follows(&mut reconciler), (vec![], vec![]));
    reconciler.release(OTHER, Ticket(9));
    let absent = KernelEvent::Absent { group: OTHER, ticket: Ticket(9) };
    assert_eq!(follows(&mut reconciler), (vec![], vec![absent]));
    assert_eq!(reconciler.held().collect::<Vec<_>>(), [on(2)]);
    let addresses: Vec<IpAddr> = reconciler.addresses().collect();
    assert_eq!(addresses, [gateway(), gateway()], "who else has it is listened for all the same");
}

#[test]
fn a_link_that_is_made_again_gets_the_address_again() {
    let mut reconciler = held();
    reconciler.observe(Observation::LinkGone(3));
    follows(&mut reconciler);
    reconciler.observe(link(7, "eth1", true));
    assert_eq!(follows(&mut reconciler), (vec![Change::Add(on(7))], vec![]));
    assert_eq!(reconciler.zones(), [((ONE, gateway()), 2), ((OTHER, gateway()), 7)].into());
}

#[test]
fn a_group_that_gets_another_interface_leaves_the_former() {
    let mut reconciler = held();
    reconciler.observe(link(4, "eth2", true));
    follows(&mut reconciler);
    let groups = vec![group(ONE, "eth0"), group(OTHER, "eth2")];
    reconciler.reconfigure(groups, Instant::START);
    let ticket = Ticket(2);
    reconciler.acquire((OTHER, ticket), None, Instant::START);
    let moves = vec![
        Change::Add(on(4)),
        // It has only changed its place: its connections are not ended.
        Change::Remove { place: on(3), connections: false },
    ];
    assert_eq!(follows(&mut reconciler), (moves, vec![]));
}

#[test]
fn groups_that_swap_their_interfaces_keep_what_is_there() {
    let mut reconciler = held();
    let groups = vec![group(ONE, "eth1"), group(OTHER, "eth0")];
    reconciler.reconfigure(groups, Instant::START);
    for group in [ONE, OTHER] {
        reconciler.acquire((group, Ticket(group.0)), None, Instant::START);
    }
    let (changes, events) = follows(&mut reconciler);
    assert_eq!(changes, []);
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(reconciler.mode(Scoped::at(gateway(), 2)), Mode::Majority);
}
