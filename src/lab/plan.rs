//! What a lab is to consist of: hosts with their addresses, a client, groups, configuration.
//!
//! Either made up here, with `10.77.0.0/24` and `fd77::/64` for the clients' network and
//! `10.78.0.0/24` for a second heartbeat network, or taken from a user's own file.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::network::{HostPlan, Interface};

/// A cluster to be built.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The nodes' hosts, in the order of the file.
    pub nodes: Vec<HostPlan>,
    /// The client's host.
    pub client: HostPlan,
    /// Every group's addresses.
    pub groups: Vec<Vec<IpAddr>>,
    /// Those of them that are in mode `majority`; their figures are told apart.
    pub majority: BTreeSet<IpAddr>,
    /// The file that every daemon reads.
    pub configuration: Configuration,
}

/// Where the daemons' configuration comes from.
#[derive(Clone, Debug)]
pub enum Configuration {
    /// This text, written for each node, with a fresh key beside it.
    Text(String),
    /// A file of the user, read as it is.
    File(PathBuf),
}

/// What can be chosen of a made-up cluster.
#[derive(Clone, Debug)]
pub struct Shape {
    /// How many nodes, 1 to 9.
    pub nodes: u8,
    /// How many heartbeat networks, 1 or 2.
    pub paths: usize,
    /// Every group's addresses.
    pub groups: Vec<Vec<IpAddr>>,
    /// The profile, unless `cluster` names one; the default if empty.
    pub profile: &'static str,
    /// More lines for the section `[cluster]`.
    pub cluster: &'static str,
    /// More lines for the one pool.
    pub pool: &'static str,
    /// The one address of a second pool, in mode `majority`.
    pub majority: Option<IpAddr>,
}

impl Default for Shape {
    /// Three nodes on one network, five groups of one address and one of both families, in profile
    /// `lan`, whose times are the same in every run.
    fn default() -> Self {
        let mut groups: Vec<_> = (100..=104).map(|last| vec![vip(last)]).collect();
        groups.push(vec![vip(105), vip6(0x105)]);
        Self { nodes: 3, paths: 1, groups, profile: "lan", cluster: "", pool: "", majority: None }
    }
}

/// An IPv4 address on the clients' network.
#[must_use]
pub fn vip(last: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, last])
}

/// An IPv6 address on the clients' network.
#[must_use]
pub fn vip6(last: u16) -> IpAddr {
    IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, last])
}

impl Shape {
    /// What the story is told of: the default in the default profile, and one address in mode `majority`.
    #[must_use]
    pub fn of_the_story() -> Self {
        Self { profile: "", majority: Some(vip(110)), ..Self::default() }
    }

    /// The address of a node on one of the networks.
    #[must_use]
    pub fn node_address(node: u8, network: usize) -> IpAddr {
        let second = 77 + u8::try_from(network).unwrap_or(u8::MAX - 77);
        IpAddr::from([10, second, 0, 11 + node])
    }

    /// The configuration file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = "[cluster]\nname = \"lab\"\nkey_file = \"cluster.key\"\n".to_owned();
        if !self.profile.is_empty() && !self.cluster.contains("profile") {
            text.push_str(&format!("profile = \"{}\"\n", self.profile));
        }
        text.push_str(&format!("{}\n", self.cluster));
        for node in 0..self.nodes {
            let addresses: Vec<_> = (0..self.paths)
                .map(|network| format!("\"{}\"", Self::node_address(node, network)))
                .collect();
            text.push_str(&format!(
                "\n[[node]]\nname = \"lb{}\"\naddresses = [{}]\n",
                node + 1,
                addresses.join(", ")
            ));
        }
        text.push_str(&format!("\n[[pool]]\nname = \"web\"\n{}\nvips = [\n", self.pool));
        for group in &self.groups {
            let quoted: Vec<_> = group.iter().map(|address| format!("\"{address}\"")).collect();
            match quoted.as_slice() {
                [one] => text.push_str(&format!("  {one},\n")),
                many => text.push_str(&format!("  [{}],\n", many.join(", "))),
            }
        }
        text.push_str("]\n");
        if let Some(vip) = self.majority {
            text.push_str(&format!(
                "\n[[pool]]\nname = \"ledger\"\nmode = \"majority\"\nvips = [\"{vip}\"]\n"
            ));
        }
        text
    }

    /// The cluster.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let nodes = (0..self.nodes).map(|node| {
            let mut interfaces = vec![interface(0, 11 + node)];
            interfaces.extend((1..self.paths).map(|network| Interface {
                name: format!("eth{network}"),
                network,
                addresses: vec![(Self::node_address(node, network), 24)],
            }));
            HostPlan { name: format!("lb{}", node + 1), interfaces }
        });
        Plan {
            nodes: nodes.collect(),
            client: HostPlan { name: "client".to_owned(), interfaces: vec![interface(0, 1)] },
            groups: self.groups.iter().cloned().chain(self.majority.map(|vip| vec![vip])).collect(),
            majority: self.majority.into_iter().collect(),
            configuration: Configuration::Text(self.text()),
        }
    }
}

/// An interface on the clients' network.
fn interface(network: usize, last: u8) -> Interface {
    let addresses = vec![(vip(last), 24), (vip6(u16::from(last)), 64)];
    Interface { name: format!("eth{network}"), network, addresses }
}

impl Plan {
    /// Every virtual address, in the order of the groups.
    #[must_use]
    pub fn vips(&self) -> Vec<IpAddr> {
        self.groups.iter().flatten().copied().collect()
    }
}

/// What a user's file says, as far as the lab needs it.
#[derive(Clone, Debug)]
pub struct Given {
    /// The file.
    pub file: PathBuf,
    /// Name and addresses, one a heartbeat path, of every node.
    pub nodes: Vec<(String, Vec<IpAddr>)>,
    /// Addresses and interface of every group.
    pub groups: Vec<(Vec<IpAddr>, Option<String>)>,
    /// Addresses of groups in mode `majority`.
    pub majority: BTreeSet<IpAddr>,
}

impl Given {
    /// Puts the file's addresses on hosts of the lab: one network for each heartbeat path, and
    /// what else is needed to reach every virtual address from there.
    #[must_use]
    pub fn plan(self) -> Plan {
        let paths = self.nodes.iter().map(|(_, addresses)| addresses.len()).max().unwrap_or(1);
        let names = self.interface_names(paths);
        let vips: Vec<IpAddr> =
            self.groups.iter().flat_map(|(addresses, _)| addresses).copied().collect();
        let mut taken: BTreeSet<IpAddr> = vips.iter().copied().collect();
        taken.extend(self.nodes.iter().flat_map(|(_, addresses)| addresses));
        // One more address for each subnet of virtual addresses in which a node has none.
        let subnets: BTreeSet<IpAddr> = vips.iter().map(|vip| subnet(*vip)).collect();
        let mut hosts = Vec::new();
        for (name, addresses) in &self.nodes {
            let mut interfaces = Vec::new();
            for (network, address) in addresses.iter().enumerate() {
                interfaces.push(Interface {
                    name: names[network].clone(),
                    network,
                    addresses: vec![(*address, prefix(*address))],
                });
            }
            let have: BTreeSet<_> = addresses.iter().map(|address| subnet(*address)).collect();
            for missing in subnets.difference(&have) {
                let free = free_address(*missing, &mut taken);
                interfaces[0].addresses.push((free, prefix(free)));
            }
            hosts.push(HostPlan { name: name.clone(), interfaces });
        }
        let client = subnets.iter().map(|subnet| free_address(*subnet, &mut taken));
        let addresses = client.map(|address| (address, prefix(address))).collect();
        let client = Interface { name: "eth0".to_owned(), network: 0, addresses };
        Plan {
            nodes: hosts,
            client: HostPlan { name: "client".to_owned(), interfaces: vec![client] },
            groups: self.groups.into_iter().map(|(addresses, _)| addresses).collect(),
            majority: self.majority,
            configuration: Configuration::File(self.file),
        }
    }

    /// The interfaces that the file names, first come first; else `eth0` and so on.
    fn interface_names(&self, paths: usize) -> Vec<String> {
        let mut names: Vec<String> = (0..paths.max(1)).map(|path| format!("eth{path}")).collect();
        let mut free = 0;
        for (_, interface) in &self.groups {
            let Some(interface) = interface else { continue };
            if !names.contains(interface) && free < names.len() {
                names[free].clone_from(interface);
                free += 1;
            }
        }
        names
    }
}

/// The lab's subnets: /24 and /64.
fn prefix(address: IpAddr) -> u8 {
    if address.is_ipv6() { 64 } else { 24 }
}

fn subnet(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !0xff).into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

/// Takes an address of the subnet that nobody has, from its end.
fn free_address(subnet: IpAddr, taken: &mut BTreeSet<IpAddr>) -> IpAddr {
    let at = |last: u32| match subnet {
        IpAddr::V4(address) => IpAddr::from(Ipv4Addr::from_bits(address.to_bits() | last)),
        IpAddr::V6(address) => {
            IpAddr::from(Ipv6Addr::from_bits(address.to_bits() | u128::from(last)))
        }
    };
    let free = (1..=254).rev().map(at).find(|address| !taken.contains(address));
    // A full subnet: the duplicate shows when the address is added.
    let free = free.unwrap_or_else(|| at(255));
    taken.insert(free);
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn default_shape_names_every_group() {
        let text = Shape::default().text();
        assert!(text.contains("name = \"lb3\"\naddresses = [\"10.77.0.13\"]"), "{text}");
        assert!(text.contains("  [\"10.77.0.105\", \"fd77::105\"],\n"), "{text}");
    }

    #[test]
    fn two_paths_are_two_networks() {
        let plan = Shape { paths: 2, ..Shape::default() }.plan();
        assert_eq!(plan.nodes[1].interfaces[1].addresses, [(address("10.78.0.12"), 24)]);
        assert_eq!(plan.client.interfaces.len(), 1, "the client is on the first network only");
    }

    #[test]
    fn own_file_gets_reachable_addresses() {
        let given = Given {
            file: "buoy.toml".into(),
            nodes: vec![
                ("a".to_owned(), vec![address("192.0.2.1"), address("198.51.100.1")]),
                ("b".to_owned(), vec![address("192.0.2.2"), address("198.51.100.2")]),
            ],
            groups: vec![
                (vec![address("192.0.2.254"), address("2001:db8::5")], Some("ens3".to_owned())),
                (vec![address("192.0.2.100")], None),
            ],
            majority: BTreeSet::new(),
        };
        let plan = given.plan();
        let first = &plan.nodes[0].interfaces[0];
        assert_eq!(first.name, "ens3");
        assert_eq!(first.addresses[0], (address("192.0.2.1"), 24));
        assert_eq!(first.addresses[1].0, address("2001:db8::fe"), "a subnet it had nothing in");
        assert_eq!(plan.nodes[0].interfaces[1].name, "eth1");
        let client: Vec<_> = plan.client.interfaces[0].addresses.iter().map(|(a, _)| *a).collect();
        assert_eq!(client, [address("192.0.2.253"), address("2001:db8::fc")]);
    }
}
