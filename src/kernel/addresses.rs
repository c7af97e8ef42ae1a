//! Adds and deletes addresses through rtnetlink.
//!
//! Each call is one future; `apply` runs many at once, so that the kernel works while we wait for
//! its answers. An answer is only an answer: that an address is there, or gone, is told by the
//! events that `watch` reads.
//!
//! Every address bears our mark (see `mark`) and `NOPREFIXROUTE`, so that it makes no route to a
//! network (see `routes`). A /32 has scope `host`: the kernel chooses it neither for what leaves by
//! a gateway nor, as it would with scope `link`, for what stays on the link. With a shorter prefix
//! it must have the scope of the primary address, and is not chosen because it is a secondary one.
//! IPv6 addresses skip duplicate address detection (it would cost more than a second, and ownership
//! is what the protocol decides) and have no preferred lifetime, so that the host never chooses
//! them as the source of its own traffic.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use rtnetlink::Handle;

use super::links::{Place, bits};
use super::mark::{Mark, PROTOCOL_TAG};
use super::reconcile::{Change, Refusal};

// Error numbers of Linux, the same on every architecture that Rust supports but MIPS and SPARC,
// where `Refusal::Other` is the worst that follows for the last one.
const EPERM: i32 = 1;
/// Also what the kernel says to an IPv6 address where IPv6 is off.
const EACCES: i32 = 13;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
const EADDRNOTAVAIL: i32 = 99;
/// `RT_SCOPE_HOST`.
const SCOPE_HOST: u8 = 254;

/// Opens the connection through which changes are made. To be called within the runtime.
pub(super) fn connect() -> io::Result<Handle> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    Ok(handle)
}

/// Makes one change; what is added lives for so many seconds, if given.
pub(super) async fn make(
    handle: Handle,
    change: Change,
    (mark, lifetime): (Mark, Option<u32>),
) -> (Change, Result<(), Refusal>) {
    let place = change.place();
    let done = match change {
        Change::Add(_) => {
            let mut request = handle.address().add(place.link, place.address, place.prefix);
            request.message_mut().header.scope = scope(&place).into();
            describe(request.message_mut(), place.address, (mark, lifetime));
            request.execute().await
        }
        Change::Remove { .. } => handle.address().del(named(&place)).execute().await,
    };
    (change, done.map_err(refusal))
}

/// The scope that an address has at this place.
pub(super) fn scope(place: &Place) -> u8 {
    if place.address.is_ipv4() && place.prefix == bits(place.address) { SCOPE_HOST } else { 0 }
}

/// Lets the kernel keep the addresses of the link that are secondary to one that goes. To be called
/// only where it would take addresses with it that are not ours.
pub(super) fn promote_secondaries(link: &str) {
    let setting = format!("/proc/sys/net/ipv4/conf/{link}/promote_secondaries");
    match std::fs::write(&setting, "1") {
        Ok(()) => tracing::info!(
            link,
            "promote_secondaries set, so that removing an address removes no other"
        ),
        Err(error) => tracing::warn!(
            link,
            %error,
            "removing an address of buoy may remove addresses of the host: set \
             promote_secondaries to 1 with sysctl"
        ),
    }
}

fn describe(message: &mut AddressMessage, address: IpAddr, (mark, lifetime): (Mark, Option<u32>)) {
    let mut flags = AddressFlags::Noprefixroute;
    let attributes = &mut message.attributes;
    if address.is_ipv6() {
        flags |= AddressFlags::Nodad;
    }
    let mut lifetimes = CacheInfo::default();
    lifetimes.ifa_valid = lifetime.unwrap_or(u32::MAX);
    lifetimes.ifa_preferred = if address.is_ipv6() { 0 } else { lifetimes.ifa_valid };
    attributes.push(AddressAttribute::CacheInfo(lifetimes));
    attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Flags(_)));
    attributes.push(AddressAttribute::Flags(flags));
    attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL_TAG)));
    attributes.push(AddressAttribute::RoutePriority(mark.value()));
}

/// The message that names the address and nothing else.
fn named(place: &Place) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = match place.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.index = place.link;
    message.header.prefix_len = place.prefix;
    message.attributes.push(AddressAttribute::Local(place.address));
    message.attributes.push(AddressAttribute::Address(place.address));
    message
}

fn refusal(error: rtnetlink::Error) -> Refusal {
    let rtnetlink::Error::NetlinkError(message) = error else { return Refusal::Disconnected };
    match io::Error::raw_os_error(&message.to_io()) {
        Some(EPERM | EACCES) => Refusal::NotPermitted,
        Some(EEXIST) => Refusal::Exists,
        Some(ENODEV) => Refusal::NoLink,
        Some(EADDRNOTAVAIL) => Refusal::Missing,
        Some(code) => Refusal::Other(code),
        None => Refusal::Disconnected,
    }
}

/// Whether the kernel lets us change addresses at all; changes nothing.
///
/// Asks to delete an address from link 0, which does not exist: the permission is looked at first.
pub(super) async fn permitted(handle: Handle) -> bool {
    let nowhere = Place { address: IpAddr::from([0, 0, 0, 0]), link: 0, prefix: 32 };
    let (_, answer) =
        make(handle, Change::Remove { place: nowhere, connections: false }, Default::default())
            .await;
    answer != Err(Refusal::NotPermitted)
}
