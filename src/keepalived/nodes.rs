//! Who the nodes are: names and addresses of the hosts of all files, and of those without a file.
//!
//! An address is taken from `--node`, else from `unicast_src_ip`, else from `mcast_src_ip`, else
//! from a BFD session, else from the host on which the import runs if the file is its own. Nothing
//! else is a fact: what is missing is asked for. With one file only the peer is a placeholder, which
//! the report names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::model::{Host, Said};
use super::report::{Findings, listed};
use super::source::Place;
use super::text::{self, Table, list, quoted};
use super::{Here, Request};

/// A node of the new file.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) addresses: Vec<IpAddr>,
    /// Where its addresses come from.
    from: String,
}

impl Node {
    /// Its table.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new("[[node]]");
        table.explain("name", quoted(&self.name), "");
        table.explain("addresses", list(&self.addresses), self.from.clone());
        table
    }
}

/// The name of a placeholder.
const UNKNOWN: &str = "unknown";

/// Gives each host the name of its node.
pub(super) fn name_hosts(
    hosts: &mut [Host],
    request: &Request,
    here: &Here<'_>,
    findings: &mut Findings,
) {
    let ids: Vec<Option<Said<String>>> =
        hosts.iter().map(|host| host.globals.router_id.clone()).collect();
    let several = hosts.len() > 1;
    for (index, host) in hosts.iter_mut().enumerate() {
        let Some(file) = request.hosts.get(index) else { continue };
        let id = ids.get(index).and_then(Option::as_ref);
        let same = |other: &&Said<String>| id.is_some_and(|id| id.value == other.value);
        let twins: Vec<&Place> =
            ids.iter().flatten().filter(same).map(|other| &other.place).collect();
        let stem = stem(&file.path);
        // The name of a file is taken where somebody has named a node so.
        let stem_is_given = request.nodes.iter().any(|(name, _)| *name == stem);
        let name = match (&file.name, id) {
            (Some(name), _) => name.clone(),
            (None, Some(id)) if twins.len() < 2 => id.value.clone(),
            (None, None) if !several => here.name.to_owned(),
            (None, _) => stem.clone(),
        };
        host.name = text::name(&name);
        let named = file.name.is_some() || stem_is_given;
        let remedy = "write NAME=FILE for each file, like lb1=lb1.conf lb2=lb2.conf";
        match id {
            Some(id) if twins.len() > 1 => {
                let text =
                    format!("router_id {} is used twice: name the nodes with --node", id.value);
                if named {
                    findings.tell(text, &twins);
                } else {
                    findings.refuse(&id.place, "router_id", text, remedy);
                }
            }
            None if several && !named => {
                let problem = format!("{} has no router_id: its node has no name", file.path);
                findings.refuse_all(problem, remedy);
            }
            Some(_) | None => {}
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for host in hosts.iter() {
        if seen.contains(&host.name.as_str()) {
            let problem = format!("two files are for node {}", host.name);
            findings.refuse_all(problem, "give each file another NAME, like lb1=lb1.conf");
        }
        seen.push(&host.name);
    }
}

/// `lb1` of `/etc/lb1.conf`.
fn stem(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).to_owned()
}

/// Finds the nodes and their addresses.
pub(super) fn find(
    hosts: &mut [Host],
    request: &Request,
    here: &Here<'_>,
    findings: &mut Findings,
) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    for (index, host) in hosts.iter().enumerate() {
        let given = request.nodes.iter().find(|(name, _)| *name == host.name);
        let (mut addresses, mut from) = own_addresses(host);
        if let Some((_, given)) = given {
            if addresses.is_empty() {
                asked.push(host.name.clone());
                answered.extend(given.iter().map(ToString::to_string));
            }
            (addresses, from) = (given.clone(), "--node".to_owned());
        }
        let path = request.hosts.get(index).map_or("", |file| file.path.as_str());
        let is_here = host.name == here.name || path.starts_with("/etc/keepalived/");
        if addresses.is_empty() && is_here && hosts.len() == 1 {
            (addresses, from) = address_here(host, here, findings);
        }
        if addresses.is_empty() {
            let problem =
                format!("{}: the address of its node is not in the file (multicast)", host.name);
            let remedy = format!("add --node {}=ADDRESS, or run the import there", host.name);
            findings.refuse_all(problem, remedy);
        }
        nodes.push(Node { name: host.name.clone(), addresses, from });
    }
    if !asked.is_empty() {
        let (their, are) = if asked.len() == 1 {
            ("its address is", "was")
        } else {
            ("their addresses are", "were")
        };
        let text = format!(
            "{}: {their} not in the file{} (multicast); {} {are} given",
            asked.join(", "),
            if asked.len() == 1 { "" } else { "s" },
            listed(&answered)
        );
        findings.tell(text, &[]);
    }
    for (name, addresses) in &request.nodes {
        if !nodes.iter().any(|node| node.name == *name) {
            let (name, from) = (name.clone(), "--node; no file of it was given".to_owned());
            nodes.push(Node { name, addresses: addresses.clone(), from });
        }
    }
    if nodes.len() == 1 {
        nodes.extend(placeholder(hosts, &nodes, findings));
    }
    align(&mut nodes, findings);
    unknown_nodes(hosts, &nodes, findings);
    for (host, node) in hosts.iter_mut().zip(&nodes) {
        host.addresses.clone_from(&node.addresses);
    }
    nodes
}

/// Addresses that are in the file.
fn own_addresses(host: &Host) -> (Vec<IpAddr>, String) {
    let unicast = host.instances.iter().filter_map(|instance| instance.unicast_source);
    let multicast = host.instances.iter().filter_map(|instance| instance.multicast_source);
    let bfd = host.bfd.iter().filter_map(|bfd| bfd.source);
    let kinds: [(Vec<IpAddr>, &str); 3] = [
        (unicast.collect(), "unicast_src_ip"),
        (multicast.collect(), "mcast_src_ip"),
        (bfd.collect(), "source_ip of bfd_instance"),
    ];
    for (found, keyword) in kinds {
        let mut addresses = Vec::new();
        for address in found {
            let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
            if !addresses.contains(&address) && !link_local {
                addresses.push(address);
            }
        }
        if !addresses.is_empty() {
            return (addresses, format!("{keyword} in {}", file(host)));
        }
    }
    (Vec::new(), String::new())
}

fn file(host: &Host) -> &str {
    host.read.first().map_or("", String::as_str)
}

fn address_here(host: &Host, here: &Here<'_>, findings: &mut Findings) -> (Vec<IpAddr>, String) {
    let interfaces = host.instances.iter().filter_map(|instance| instance.interface.as_ref());
    for interface in interfaces {
        if let Some(address) = (here.address_of)(&interface.value) {
            let text = format!(
                "{}: its address is not in the file (multicast); {address} is that of {} here",
                host.name, interface.value
            );
            findings.tell(text, &[&interface.place]);
            return (vec![address], format!("address of {} here", interface.value));
        }
    }
    (Vec::new(), String::new())
}

/// A second node, so that the file can be checked and completed.
fn placeholder(hosts: &[Host], nodes: &[Node], findings: &mut Findings) -> Option<Node> {
    let (host, node) = (hosts.first()?, nodes.first()?);
    if node.addresses.is_empty() {
        return None;
    }
    let mut peers: Vec<IpAddr> = host.instances.iter().flat_map(|it| it.peers.clone()).collect();
    peers.extend(host.bfd.iter().filter_map(|bfd| bfd.neighbour));
    let vips: Vec<IpAddr> =
        host.instances.iter().flat_map(|it| &it.addresses).map(|address| address.ip).collect();
    let mut addresses = Vec::new();
    for own in &node.addresses {
        let fits = |peer: &&IpAddr| {
            peer.is_ipv4() == own.is_ipv4()
                && !addresses.contains(*peer)
                && !node.addresses.contains(*peer)
        };
        let known = peers.iter().find(fits).copied();
        // Of the blocks for documentation: no host has such an address.
        let free = |number: u8| match own {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::new(192, 0, 2, number)),
            IpAddr::V6(_) => {
                IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)))
            }
        };
        let unused = (12..=250).map(free).find(|address| {
            !vips.contains(address)
                && !node.addresses.contains(address)
                && !addresses.contains(address)
        });
        addresses.extend(known.or(unused));
    }
    let by_bfd = host.bfd.iter().find(|it| it.neighbour.is_some_and(|ip| addresses.contains(&ip)));
    let named = by_bfd.filter(|_| host.instances.iter().all(|it| it.peers.is_empty()));
    let name = named.map_or(UNKNOWN.to_owned(), |bfd| text::name(&bfd.name));
    let known = addresses.iter().all(|address| peers.contains(address));
    let what = if known { "its name is" } else { "its name and address are" };
    let text = format!(
        "node {name} is a placeholder: {what} not known. Give the other host's file, or --node \
         NAME=ADDRESS"
    );
    findings.tell(text, &[]);
    let from = if known {
        "unicast_peer or neighbor_ip; give its name"
    } else {
        "PLACEHOLDER: write the address of the other host"
    };
    Some(Node { name, addresses, from: from.to_owned() })
}

/// Every node needs an address for each path, of the same family.
fn align(nodes: &mut [Node], findings: &mut Findings) {
    let full = nodes.iter().filter(|node| !node.addresses.is_empty());
    let families = |node: &Node| node.addresses.iter().map(IpAddr::is_ipv4).collect::<Vec<_>>();
    let rows: Vec<Vec<bool>> = full.map(families).collect();
    let Some(first) = rows.first() else { return };
    if rows.iter().all(|row| row == first) {
        if first.contains(&true) && first.contains(&false) && first.len() == 2 {
            let text = "the two addresses of a node are in one network: a second heartbeat path \
                        needs a second network";
            findings.tell(text, &[]);
        }
        return;
    }
    let count = |row: &Vec<bool>, v4: bool| row.iter().filter(|it| **it == v4).count();
    let least = |v4: bool| rows.iter().map(|row| count(row, v4)).min().unwrap_or_default();
    let (mut v4, mut v6) = (least(true), least(false));
    if v4 + v6 == 0 {
        let problem = "the nodes have no address of the same family";
        findings.refuse_all(problem, "give each --node NAME=ADDRESS of one family");
        return;
    }
    if v4 > 0 && v6 > 0 {
        (v4, v6) = (v4.min(1), v6.min(1));
    }
    for node in nodes {
        let take = |wanted: bool, count: usize| {
            node.addresses.iter().filter(move |it| it.is_ipv4() == wanted).take(count).copied()
        };
        let kept: Vec<IpAddr> = take(true, v4).chain(take(false, v6)).collect();
        if kept.len() < node.addresses.len() {
            let text = format!(
                "{}: only {} of its addresses is a heartbeat path, because every node needs an \
                 address on each path",
                node.name,
                kept.len()
            );
            findings.tell(text, &[]);
        }
        node.addresses = kept;
    }
}

/// Peers that no node is.
fn unknown_nodes(hosts: &[Host], nodes: &[Node], findings: &mut Findings) {
    for host in hosts {
        for instance in &host.instances {
            for peer in &instance.peers {
                let all = instance.peers.len() + 1;
                let known = nodes.iter().any(|node| node.addresses.contains(peer));
                if !known && all > 1 && all > nodes.len() {
                    let text = format!(
                        "unicast_peer {peer} of {} is no node: is the file of a host missing?",
                        instance.name
                    );
                    findings.tell(text, &[&instance.place]);
                }
            }
        }
    }
}
