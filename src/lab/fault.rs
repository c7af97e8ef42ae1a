//! What can happen to a node, and how it ends again.
//!
//! Each fault is done to the host as the real one would be: a dead host is off the network before
//! its daemon can say a word, a frozen daemon leaves its kernel answering, a cut has a direction,
//! a link that is down takes the carrier away. The daemons are told nothing, except by signals
//! and by the commands that an operator would type.

use std::fmt::Write as _;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::cluster::Cluster;
use super::namespace::NamespaceError;
use super::network::Direction;

/// An address is answered now if a probe of so long ago was.
const RECENT: Duration = Duration::from_millis(60);

/// A fault, or a planned act, of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its host loses power; the end is a boot.
    HostDeath,
    /// Its daemon is killed by SIGKILL, its host lives on; the end is a start.
    Kill,
    /// Its daemon is stopped by SIGSTOP, and its guardian; the end is SIGCONT.
    Freeze,
    /// Nothing reaches it, on any network.
    Deaf,
    /// Nothing leaves it, on any network.
    Mute,
    /// It and the other nodes do not hear each other; the client hears all.
    Split,
    /// The cable of its clients' network is pulled.
    LinkDown,
    /// Its daemon ends by SIGTERM; the end is a start.
    Stop,
    /// The operator drains it; the end is undrain.
    Drain,
    /// The operator moves a group from it to another node; the end is a move to it.
    Move,
}

/// Half of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It happens.
    Begin,
    /// It ends.
    End,
}

impl Fault {
    /// Every fault, in the order of the story.
    pub const ALL: [Self; 10] = [
        Self::HostDeath,
        Self::Kill,
        Self::Freeze,
        Self::LinkDown,
        Self::Deaf,
        Self::Mute,
        Self::Split,
        Self::Drain,
        Self::Move,
        Self::Stop,
    ];

    /// What happens, to be read after the node's name.
    #[must_use]
    pub fn words(self, phase: Phase) -> &'static str {
        let (begins, ends) = match self {
            Self::HostDeath => ("loses power", "boots again"),
            Self::Kill => ("has its daemon killed", "has its daemon restarted"),
            Self::Freeze => ("is frozen", "is thawed"),
            Self::Deaf => ("receives nothing", "receives again"),
            Self::Mute => ("cannot send", "can send again"),
            Self::Split => ("is split from the others", "is reunited with the others"),
            Self::LinkDown => ("loses its link", "has its link back"),
            Self::Stop => ("is stopped", "is started"),
            Self::Drain => ("is drained", "is undrained"),
            Self::Move => ("has a group moved off it", "has a group moved to it"),
        };
        match phase {
            Phase::Begin => begins,
            Phase::End => ends,
        }
    }

    /// Makes it happen to a node.
    ///
    /// # Errors
    /// When the lab cannot do it.
    pub fn begin(self, cluster: &mut Cluster, node: usize) -> Result<(), NamespaceError> {
        match self {
            Self::HostDeath => {
                cut(cluster, node, &[Direction::FromHost, Direction::ToHost])?;
                cluster.signal(node, Signal::SIGKILL);
                set_carriers(cluster, node, false)
            }
            Self::Kill => {
                cluster.signal(node, Signal::SIGKILL);
                Ok(())
            }
            Self::Freeze => {
                cluster.signal_family(node, Signal::SIGSTOP);
                Ok(())
            }
            Self::Deaf => cut(cluster, node, &[Direction::ToHost]),
            Self::Mute => cut(cluster, node, &[Direction::FromHost]),
            Self::Split => {
                let others: Vec<_> = (0..cluster.nodes()).filter(|other| *other != node).collect();
                cluster.network.part(&[node], &others)
            }
            Self::LinkDown => cluster.network.set_carrier(node, 0, false),
            Self::Stop => {
                cluster.signal(node, Signal::SIGTERM);
                Ok(())
            }
            Self::Drain => operator(cluster, node, &["drain"]),
            Self::Move => move_a_group(cluster, node, Phase::Begin),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the lab cannot do it.
    pub fn end(self, cluster: &mut Cluster, node: usize) -> Result<(), NamespaceError> {
        match self {
            Self::HostDeath => {
                forget_addresses(cluster, node)?;
                cluster.network.heal()?;
                set_carriers(cluster, node, true)?;
                cluster.start(node)
            }
            Self::Freeze => {
                cluster.signal_family(node, Signal::SIGCONT);
                Ok(())
            }
            Self::Deaf | Self::Mute | Self::Split => cluster.network.heal(),
            Self::LinkDown => cluster.network.set_carrier(node, 0, true),
            Self::Stop | Self::Kill => cluster.start(node),
            Self::Drain => operator(cluster, node, &["undrain"]),
            Self::Move => move_a_group(cluster, node, Phase::End),
        }
    }
}

/// Cuts the host off, in these directions, on every network that it has.
fn cut(cluster: &mut Cluster, node: usize, directions: &[Direction]) -> Result<(), NamespaceError> {
    for network in 0..cluster.plan.nodes[node].interfaces.len() {
        for direction in directions {
            cluster.network.cut(node, network, *direction)?;
        }
    }
    Ok(())
}

fn set_carriers(cluster: &Cluster, node: usize, on: bool) -> Result<(), NamespaceError> {
    let networks = cluster.plan.nodes[node].interfaces.len();
    (0..networks).try_for_each(|network| cluster.network.set_carrier(node, network, on))
}

/// A booting host has none of the addresses that were added while it ran.
fn forget_addresses(cluster: &Cluster, node: usize) -> Result<(), NamespaceError> {
    let vips = cluster.plan.vips();
    let kernel = cluster.kernel(node)?;
    let mut commands = String::new();
    for (held, (prefix, _)) in &kernel.addresses {
        if let Some(name) = kernel.names.get(&held.interface)
            && vips.contains(&held.address)
        {
            let _ = writeln!(commands, "addr del {}/{prefix} dev {name}", held.address);
        }
    }
    cluster.namespace(node).ip(&commands)
}

/// Orders one group off a node, or to it. Between nodes that have something: a witness, or a node
/// that is to have nothing, is left out of it.
fn move_a_group(cluster: &Cluster, node: usize, phase: Phase) -> Result<(), NamespaceError> {
    let answering = cluster.answering(RECENT);
    let holdings = cluster.plan.groups.iter().filter_map(|group| {
        let first = *group.first()?;
        let holder = answering.iter().find(|(vip, _)| *vip == first)?.1?;
        Some((first, holder))
    });
    let (here, there): (Vec<_>, Vec<_>) = holdings.partition(|(_, who)| *who == node);
    let (Some(own), Some(other)) = (here.first(), there.first()) else { return Ok(()) };
    let (group, to) = match phase {
        Phase::Begin => (own.0, other.1),
        Phase::End => (other.0, node),
    };
    operator(cluster, node, &["move", &group.to_string(), cluster.name(to)])
}

/// Runs a command on the node as its operator would; it returns when the command has.
fn operator(cluster: &Cluster, node: usize, words: &[&str]) -> Result<(), NamespaceError> {
    let output = cluster.command(node, words)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(NamespaceError::Refusal(format!("buoy {}", words.join(" ")), said))
}
