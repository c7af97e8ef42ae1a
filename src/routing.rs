//! Routes and rules of a group of addresses: on a host only while that host has the group.
//!
//! Values only, named by `config`, which reads and checks them, and by `kernel`, which adds and
//! removes them. Shown as `ip route` and `ip rule` write them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::protocol::NodeId;

/// Number of the table `main`.
pub const MAIN: u32 = 254;
/// Metric of a route of IPv6 that is added without one.
pub const METRIC_V6: u32 = 1024;

/// A network: its first address and the length of its prefix in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// First address.
    pub address: IpAddr,
    /// Length of the prefix, 0 to 32 or 128.
    pub prefix: u8,
}

impl Network {
    /// Returns the number of bits of an address of this family.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == self.bits() {
            write!(out, "{}", self.address)
        } else {
            write!(out, "{}/{}", self.address, self.prefix)
        }
    }
}

/// A network interface of a route or rule: names and patterns (`en*`) separated by spaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Device {
    /// The same on every node.
    Everywhere(String),
    /// One for each node.
    Each(BTreeMap<NodeId, String>),
}

impl Device {
    fn at(self, node: NodeId) -> Self {
        match self {
            Self::Everywhere(_) => self,
            // `check` has seen to it that every node has one.
            Self::Each(mut names) => Self::Everywhere(names.remove(&node).unwrap_or_default()),
        }
    }

    /// Returns the names on this node, once [`Route::at`] or [`Rule::at`] has chosen them.
    #[must_use]
    pub fn names(&self) -> &str {
        match self {
            Self::Everywhere(names) => names,
            Self::Each(_) => "",
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere(names) => out.write_str(names),
            Self::Each(names) => {
                let names: Vec<&str> = names.values().map(String::as_str).collect();
                out.write_str(&names.join("|"))
            }
        }
    }
}

/// What becomes of a packet that a route fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// It is sent on.
    #[default]
    Unicast,
    /// It is dropped.
    Blackhole,
    /// Its sender is answered that the host is unreachable.
    Unreachable,
    /// Its sender is answered that this is prohibited.
    Prohibit,
}

impl RouteKind {
    /// Every kind with its word.
    pub const ALL: [(&'static str, Self); 4] = [
        ("unicast", Self::Unicast),
        ("blackhole", Self::Blackhole),
        ("unreachable", Self::Unreachable),
        ("prohibit", Self::Prohibit),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Destination.
    pub to: Network,
    /// What becomes of a packet.
    pub kind: RouteKind,
    /// Gateway, of the family of the destination.
    pub via: Option<IpAddr>,
    /// Interface; without one that of the gateway's network.
    pub dev: Option<Device>,
    /// Whether the gateway is taken to be on the link although no network of the host contains it.
    pub onlink: bool,
    /// Source address of what this host sends along it: one of the group.
    pub source: Option<IpAddr>,
    /// Number of the table.
    pub table: u32,
    /// Metric; of IPv6 never 0.
    pub metric: u32,
}

impl Route {
    /// Returns the route as it is on one node.
    #[must_use]
    pub fn at(self, node: NodeId) -> Self {
        Self { dev: self.dev.map(|dev| dev.at(node)), ..self }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != RouteKind::Unicast {
            write!(out, "{} ", self.kind.word())?;
        }
        write!(out, "{}", self.to)?;
        if let Some(via) = self.via {
            write!(out, " via {via}")?;
        }
        if let Some(dev) = &self.dev {
            write!(out, " dev {dev}")?;
        }
        if self.onlink {
            write!(out, " onlink")?;
        }
        if let Some(source) = self.source {
            write!(out, " src {source}")?;
        }
        if self.table != MAIN {
            write!(out, " table {}", self.table)?;
        }
        let usual = if self.to.address.is_ipv4() { 0 } else { METRIC_V6 };
        if self.metric != usual {
            write!(out, " metric {}", self.metric)?;
        }
        Ok(())
    }
}

/// A rule: which table is asked for the route of a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Order among rules, 1 or more; the least is asked first.
    pub priority: u32,
    /// Source of the packet; prefix 0 is any of the family.
    pub from: Network,
    /// Destination of the packet; prefix 0 is any.
    pub to: Network,
    /// Interface that it came in by.
    pub iif: Option<Device>,
    /// Interface that its socket is bound to.
    pub oif: Option<Device>,
    /// Mark of the packet and the bits of it that are compared.
    pub fwmark: Option<(u32, u32)>,
    /// Number of the table.
    pub table: u32,
}

impl Rule {
    /// Returns the rule as it is on one node.
    #[must_use]
    pub fn at(self, node: NodeId) -> Self {
        let at = |dev: Option<Device>| dev.map(|dev| dev.at(node));
        Self { iif: at(self.iif), oif: at(self.oif), ..self }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "rule {}:", self.priority)?;
        for (word, network) in [("from", &self.from), ("to", &self.to)] {
            if network.prefix > 0 || word == "from" && self.to.prefix == 0 {
                write!(out, " {word} {network}")?;
            }
        }
        if let Some(iif) = &self.iif {
            write!(out, " iif {iif}")?;
        }
        if let Some(oif) = &self.oif {
            write!(out, " oif {oif}")?;
        }
        if let Some((mark, mask)) = self.fwmark {
            write!(out, " fwmark {mark:#x}")?;
            if mask != u32::MAX {
                write!(out, "/{mask:#x}")?;
            }
        }
        write!(out, " table {}", self.table)
    }
}

/// Routes and rules of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// In the order of the file.
    pub routes: Vec<Route>,
    /// In the order of the file.
    pub rules: Vec<Rule>,
}

impl Routing {
    /// Returns whether there is nothing to add.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.rules.is_empty()
    }

    /// Returns what it is on one node.
    #[must_use]
    pub fn at(&self, node: NodeId) -> Self {
        Self {
            routes: self.routes.iter().cloned().map(|route| route.at(node)).collect(),
            rules: self.rules.iter().cloned().map(|rule| rule.at(node)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_and_rules_are_shown_as_iproute_writes_them() {
        let to = Network { address: [10, 0, 0, 0].into(), prefix: 8 };
        let route = Route {
            to,
            kind: RouteKind::Unicast,
            via: Some([192, 0, 2, 1].into()),
            dev: Some(Device::Everywhere("eth1".to_owned())),
            onlink: true,
            source: Some([192, 0, 2, 10].into()),
            table: 100,
            metric: 50,
        };
        let shown = "10.0.0.0/8 via 192.0.2.1 dev eth1 onlink src 192.0.2.10 table 100 metric 50";
        assert_eq!(route.to_string(), shown);
        let kind = RouteKind::Blackhole;
        let hole = Route { kind, via: None, dev: None, onlink: false, source: None, ..route };
        assert_eq!(hole.to_string(), "blackhole 10.0.0.0/8 table 100 metric 50");
        let six = Network { address: "fd00::".parse().unwrap(), prefix: 8 };
        let six = Route { to: six, table: MAIN, metric: METRIC_V6, ..hole };
        assert_eq!(six.to_string(), "blackhole fd00::/8");
        let any = Network { address: [0, 0, 0, 0].into(), prefix: 0 };
        let rule = Rule {
            priority: 1000,
            from: to,
            to: any,
            iif: Some(Device::Everywhere("eth1".to_owned())),
            oif: None,
            fwmark: Some((1, 0xff)),
            table: 100,
        };
        let shown = "rule 1000: from 10.0.0.0/8 iif eth1 fwmark 0x1/0xff table 100";
        assert_eq!(rule.to_string(), shown);
        let all = Rule { from: any, iif: None, fwmark: None, ..rule };
        assert_eq!(all.to_string(), "rule 1000: from 0.0.0.0/0 table 100");
    }

    #[test]
    fn each_node_has_its_own_device() {
        let (one, other) = (NodeId::from_name("lb1"), NodeId::from_name("lb2"));
        let names = [(one, "eth0".to_owned()), (other, "ens9".to_owned())].into();
        let device = Device::Each(names);
        assert_eq!(device.clone().at(other).names(), "ens9");
        assert_eq!(device.at(one).names(), "eth0");
    }
}
