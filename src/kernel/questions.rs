//! Questions about the network that others than the protocol have: for checks.
//!
//! Does a host answer an echo request or ARP, and where does a route lead? Each question has a
//! socket of its own that is gone with the answer, changes nothing on the host, and may be dropped
//! at any time. Nobody's answer is silence: [`echo`] and [`arp`] then wait for ever, and the caller
//! has the limit. Asked `CAP_NET_RAW` for, as the daemon has it; without it they fail at once.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures::TryStreamExt;
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::announce::Announcer;
use super::links::Link;
use super::{arp as bytes, claimants, reach};

/// Where the kernel would send a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface by its name.
    pub interface: String,
    /// The next host; `None` where the network is connected.
    pub gateway: Option<IpAddr>,
}

/// Why a question could not be asked, or was answered by no.
#[derive(Debug)]
pub enum Unanswered {
    /// There is no route to it, the interface is missing or down; the kernel's words.
    NoRoute(String),
    /// The interface does not exist.
    NoInterface(String),
    /// The interface has no hardware address, so nobody can be asked by ARP there.
    NoHardware(String),
    /// The question could not be sent.
    Socket(io::Error),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute(why) => write!(out, "no route: {why}"),
            Self::NoInterface(name) => write!(out, "there is no interface {name}"),
            Self::NoHardware(name) => write!(out, "{name} has no hardware address"),
            Self::Socket(error) => write!(out, "cannot be asked: {error}"),
        }
    }
}

impl std::error::Error for Unanswered {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket(source) => Some(source),
            Self::NoRoute(_) | Self::NoInterface(_) | Self::NoHardware(_) => None,
        }
    }
}

/// Waits until the host answers one echo request, through this interface if one is named.
///
/// # Errors
/// When the question cannot be sent.
pub async fn echo(address: IpAddr, interface: Option<&str>) -> Result<(), Unanswered> {
    reach::answers(SocketAddr::new(address, 0), interface).await.map_err(Unanswered::Socket)
}

/// Waits until the host answers one ARP request that has no sender address, so that nobody learns
/// anything of it.
///
/// # Errors
/// When there is no route to it or the question cannot be sent.
pub async fn arp(address: Ipv4Addr, interface: Option<&str>) -> Result<(), Unanswered> {
    let handle = connect()?;
    let name = match interface {
        Some(name) => name.to_owned(),
        None => look_up(&handle, address.into(), None).await?.interface,
    };
    let link = link(&handle, &name).await?;
    let hardware = link.hardware.ok_or(Unanswered::NoHardware(name))?;
    let asked = BTreeSet::from([address.into()]);
    let answers = claimants::Answers::listen(asked).map_err(Unanswered::Socket)?;
    let frame = bytes::probe(hardware, address);
    Announcer::default().send(&link, &frame).map_err(Unanswered::Socket)?;
    while answers.next().await.1 != Some(link.index) {}
    Ok(())
}

/// Asks the kernel where it would send a packet, through this interface if one is named.
///
/// # Errors
/// When it would send it nowhere, or cannot be asked.
pub async fn route(address: IpAddr, interface: Option<&str>) -> Result<Route, Unanswered> {
    look_up(&connect()?, address, interface).await
}

fn connect() -> Result<Handle, Unanswered> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(Unanswered::Socket)?;
    // It ends with the handle.
    tokio::spawn(connection);
    Ok(handle)
}

async fn look_up(
    handle: &Handle,
    address: IpAddr,
    interface: Option<&str>,
) -> Result<Route, Unanswered> {
    let through = match interface {
        Some(name) => Some(link(handle, name).await?.index),
        None => None,
    };
    let message = question(address, through);
    let answer = handle.route().get(message).execute();
    let mut answer = std::pin::pin!(answer);
    let told = answer.try_next().await.map_err(|error| Unanswered::NoRoute(error.to_string()))?;
    let told = told.ok_or_else(|| Unanswered::NoRoute("the kernel returned none".to_owned()))?;
    let mut route = Route { interface: String::new(), gateway: None };
    for attribute in &told.attributes {
        if let RouteAttribute::Oif(index) = attribute {
            route.interface = name_of(handle, *index).await?;
        } else if let RouteAttribute::Gateway(RouteAddress::Inet(gateway)) = attribute {
            route.gateway = Some((*gateway).into());
        } else if let RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) = attribute {
            route.gateway = Some((*gateway).into());
        }
    }
    Ok(route)
}

fn question(address: IpAddr, through: Option<u32>) -> RouteMessage {
    match address {
        IpAddr::V4(address) => {
            let builder = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32);
            through.map_or(builder.clone(), |link| builder.output_interface(link)).build()
        }
        IpAddr::V6(address) => {
            let builder = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(address, 128);
            through.map_or(builder.clone(), |link| builder.output_interface(link)).build()
        }
    }
}

async fn link(handle: &Handle, name: &str) -> Result<Link, Unanswered> {
    let missing = || Unanswered::NoInterface(name.to_owned());
    let mut answer = handle.link().get().match_name(name.to_owned()).execute();
    let told = answer.try_next().await.ok().flatten().ok_or_else(missing)?;
    let hardware = told.attributes.iter().find_map(|attribute| {
        let LinkAttribute::Address(bytes) = attribute else { return None };
        <[u8; 6]>::try_from(bytes.as_slice()).ok()
    });
    Ok(Link {
        index: told.header.index,
        name: name.to_owned(),
        hardware,
        usable: told.header.flags.contains(LinkFlags::Up),
        loopback: told.header.flags.contains(LinkFlags::Loopback),
        ..Link::default()
    })
}

async fn name_of(handle: &Handle, index: u32) -> Result<String, Unanswered> {
    let missing = || Unanswered::NoInterface(format!("number {index}"));
    let mut answer = handle.link().get().match_index(index).execute();
    let told = answer.try_next().await.ok().flatten().ok_or_else(missing)?;
    let name = told.attributes.iter().find_map(|attribute| {
        let LinkAttribute::IfName(name) = attribute else { return None };
        Some(name.clone())
    });
    name.ok_or_else(missing)
}
