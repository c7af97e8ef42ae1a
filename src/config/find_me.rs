//! Which node of the file this host is.
//!
//! By `--node`; else the node one of whose addresses is on this host; else the node with the name
//! of the host. Virtual addresses are never addresses of nodes, so that holding one does not
//! mislead. Two nodes on one host, as in network namespaces that share it, are a refusal.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;

use crate::protocol::NodeId;

use super::{Config, NodeConfig};

/// Why the node of this host is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhoAmI {
    /// `--node` names no node.
    Unknown {
        /// Argument of `--node`.
        name: String,
        /// Names of all nodes.
        nodes: Vec<String>,
    },
    /// Addresses of several nodes are on this host.
    Several {
        /// Names of these nodes.
        nodes: Vec<String>,
    },
    /// Neither an address nor the host name fits any node.
    Nobody {
        /// Host name.
        host_name: String,
        /// Names of all nodes.
        nodes: Vec<String>,
    },
}

impl fmt::Display for WhoAmI {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, nodes } => {
                write!(out, "node {name:?} is not in the file; its nodes are {}", nodes.join(", "))
            }
            Self::Several { nodes } => write!(
                out,
                "this host has addresses of several nodes ({}); name the right one with --node",
                nodes.join(", ")
            ),
            Self::Nobody { host_name, nodes } => write!(
                out,
                "no node has an address of this host, and its name {host_name:?} is none of {}; \
                 name the node with --node",
                nodes.join(", ")
            ),
        }
    }
}

impl Error for WhoAmI {}

/// Returns the node that this host is.
///
/// # Errors
/// When the name is unknown, or when it is not clear which node is meant.
pub fn find_me(
    config: &Config,
    name: Option<&str>,
    host_addresses: &[IpAddr],
    host_name: &str,
) -> Result<NodeId, WhoAmI> {
    let names = || config.nodes.iter().map(|node| node.name.clone()).collect();
    let by_name = |name: &str| config.nodes.iter().find(|node| node.name == name);
    if let Some(name) = name {
        let unknown = || WhoAmI::Unknown { name: name.to_owned(), nodes: names() };
        return by_name(name).map(|node| node.id).ok_or_else(unknown);
    }
    let here =
        |node: &&NodeConfig| node.addresses.iter().any(|address| host_addresses.contains(address));
    let candidates: Vec<&NodeConfig> = config.nodes.iter().filter(here).collect();
    match candidates.as_slice() {
        [only] => return Ok(only.id),
        [] => {}
        several => {
            let nodes = several.iter().map(|node| node.name.clone()).collect();
            return Err(WhoAmI::Several { nodes });
        }
    }
    let short = host_name.split_once('.').map_or(host_name, |(short, _)| short);
    let nobody = || WhoAmI::Nobody { host_name: host_name.to_owned(), nodes: names() };
    by_name(host_name).or_else(|| by_name(short)).map(|node| node.id).ok_or_else(nobody)
}
