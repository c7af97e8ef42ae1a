//! The lab's wires: a switch, and hosts that hang on it.
//!
//! ```text
//!      client        node 1       node 2       node 3        each a network namespace
//!        |eth0         |eth0        |eth0        |eth0
//!      --+------------+------------+------------+--  bridge n0 (namespace "switch")
//!                      |eth1        |eth1        |eth1
//!                    --+------------+------------+--  bridge n1: second heartbeat network
//! ```
//!
//! The MAC of a host says who it is, so that a frame tells its sender. All of it vanishes when
//! the value is dropped and the last process inside has ended.

use std::net::IpAddr;

use super::echo::Mac;
use super::filter::{self, Rule};
use super::namespace::{Namespace, NamespaceError};

/// An interface to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name inside the host.
    pub name: String,
    /// On which network (0 is the clients').
    pub network: usize,
    /// Its addresses with prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// A host to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// What it is called.
    pub name: String,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    /// What it is called and what it has.
    pub plan: HostPlan,
    /// Where it lives.
    pub namespace: Namespace,
    number: usize,
}

/// A direction, as the host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What is sent to the host: cut, it is deaf.
    ToHost,
    /// What the host sends: cut, it is mute.
    FromHost,
}

/// Switch and hosts.
#[derive(Debug)]
pub struct Network {
    switch: Namespace,
    hosts: Vec<Host>,
    rules: Vec<Rule>,
}

impl Network {
    /// Makes all of it, with every link up.
    ///
    /// # Errors
    /// When namespaces are not permitted, or `ip` is missing or refuses.
    pub fn build(plans: &[HostPlan]) -> Result<Self, NamespaceError> {
        let switch = Namespace::new("switch")?;
        // The switch is no IPv6 host; without this it would chatter on every port.
        switch.set_sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        let networks = plans.iter().flat_map(|plan| &plan.interfaces).map(|i| i.network + 1);
        for network in 0..networks.max().unwrap_or(1) {
            // Snooping would withhold neighbour solicitations until it has seen a report.
            switch.ip(&format!(
                "link add n{network} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
                 link set n{network} up\n"
            ))?;
        }
        let mut made = Self { switch, hosts: Vec::new(), rules: Vec::new() };
        for plan in plans {
            made.add_host(plan)?;
        }
        Ok(made)
    }

    fn add_host(&mut self, plan: &HostPlan) -> Result<(), NamespaceError> {
        let namespace = Namespace::new(&plan.name)?;
        // Hosts of a lab are alone in using their addresses: no second of waiting for each.
        for what in ["default", "all"] {
            namespace.set_sysctl(&format!("ipv6/conf/{what}/accept_dad"), "0")?;
        }
        namespace.ip("link set lo up\n")?;
        let host = Host { plan: plan.clone(), namespace, number: self.hosts.len() };
        for interface in &plan.interfaces {
            self.attach(&host, interface)?;
        }
        self.hosts.push(host);
        Ok(())
    }

    fn attach(&self, host: &Host, interface: &Interface) -> Result<(), NamespaceError> {
        let port = host.port(interface.network);
        let mac = mac_text(host.mac(interface.network));
        let (name, path) = (&interface.name, host.namespace.path());
        let network = interface.network;
        self.switch.ip(&format!(
            "link add {port} type veth peer name {name} address {mac} netns {path}\n\
             link set {port} master n{network} up\n"
        ))?;
        let mut commands = format!("link set {name} up\n");
        for (address, prefix) in &interface.addresses {
            let without_dad = if address.is_ipv6() { " nodad" } else { "" };
            commands.push_str(&format!("addr add {address}/{prefix} dev {name}{without_dad}\n"));
        }
        host.namespace.ip(&commands)
    }

    /// Every host, in the order of the plans.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The namespace of the switch.
    #[must_use]
    pub fn switch(&self) -> &Namespace {
        &self.switch
    }

    /// The host whose interface has this MAC.
    #[must_use]
    pub fn host_of(&self, mac: Mac) -> Option<usize> {
        let networks =
            |host: &Host| host.plan.interfaces.iter().any(|i| host.mac(i.network) == mac);
        self.hosts.iter().position(networks)
    }

    /// Pulls the host's cables, or puts them back: its interfaces lose their carrier.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn set_carrier(&self, host: usize, network: usize, on: bool) -> Result<(), NamespaceError> {
        let port = self.hosts[host].port(network);
        let state = if on { "up" } else { "down" };
        self.switch.ip(&format!("link set {port} {state}\n"))
    }

    /// Deletes an interface of the host and makes it again, as a driver reload does.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn recreate(&self, host: usize, network: usize) -> Result<(), NamespaceError> {
        let host = &self.hosts[host];
        self.switch.ip(&format!("link del {}\n", host.port(network)))?;
        let interfaces = host.plan.interfaces.iter();
        for interface in interfaces.filter(|interface| interface.network == network) {
            self.attach(host, interface)?;
        }
        Ok(())
    }

    /// Stops one direction of a host's traffic on one network; its link stays up.
    ///
    /// # Errors
    /// When the kernel refuses the rule.
    pub fn cut(
        &mut self,
        host: usize,
        network: usize,
        direction: Direction,
    ) -> Result<(), NamespaceError> {
        let port = self.hosts[host].port(network);
        self.add_rule(match direction {
            Direction::ToHost => Rule::cut(None, Some(&port)),
            Direction::FromHost => Rule::cut(Some(&port), None),
        })
    }

    /// Stops all traffic between two groups of hosts, on every network.
    ///
    /// # Errors
    /// When the kernel refuses the rules.
    pub fn part(&mut self, one: &[usize], other: &[usize]) -> Result<(), NamespaceError> {
        for network in 0..2 {
            for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
                let (a, b) = (self.hosts[a].port(network), self.hosts[b].port(network));
                self.rules.push(Rule::cut(Some(&a), Some(&b)));
                self.rules.push(Rule::cut(Some(&b), Some(&a)));
            }
        }
        filter::replace(&self.switch, &self.rules)
    }

    /// Adds a rule to those of the switch.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn add_rule(&mut self, rule: Rule) -> Result<(), NamespaceError> {
        self.rules.push(rule);
        filter::replace(&self.switch, &self.rules)
    }

    /// Replaces the rules of the switch by these, in one step.
    ///
    /// # Errors
    /// When the kernel refuses them; the old ones stay in force.
    pub fn set_rules(&mut self, rules: Vec<Rule>) -> Result<(), NamespaceError> {
        filter::replace(&self.switch, &rules)?;
        self.rules = rules;
        Ok(())
    }

    /// Forwards everything again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn heal(&mut self) -> Result<(), NamespaceError> {
        self.rules.clear();
        filter::replace(&self.switch, &self.rules)
    }
}

impl Host {
    /// The name of its port on the switch.
    #[must_use]
    pub fn port(&self, network: usize) -> String {
        format!("p{network}-{}", self.number)
    }

    /// The MAC of its interface on a network.
    #[must_use]
    pub fn mac(&self, network: usize) -> Mac {
        // Locally administered; "b0" for buoy.
        let small = |number: usize| u8::try_from(number + 1).unwrap_or(u8::MAX);
        [0x02, 0xb0, 0, 0, small(network), small(self.number)]
    }
}

/// A MAC as people and `ip` write it.
#[must_use]
pub fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
