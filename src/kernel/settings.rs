//! What the kernel thread has to know when it starts. The daemon makes it of the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Mark;
use crate::protocol::{GroupKey, Mode, Remover, Ticket};
use crate::routing::Routing;

/// A group as the kernel thread knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupAddresses {
    /// The group.
    pub key: GroupKey,
    /// Its name, for the log.
    pub name: String,
    /// Under which lease it is answered.
    pub mode: Mode,
    /// The link that shall bear the addresses; without it each goes to the link whose network
    /// it belongs to.
    pub interface: Option<String>,
    /// The addresses, each with the length of its prefix in bits.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Keys of link-local addresses that another group has on another link. Those of all other
    /// addresses follow from the address.
    pub keys: BTreeMap<IpAddr, GroupKey>,
    /// Routes and rules that are here only while the addresses are, as they are on this host.
    pub routing: Routing,
}

/// What the kernel thread has to know.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// All groups that this host may hold.
    pub groups: Vec<GroupAddresses>,
    /// Addresses of the other nodes: that they answer proves nothing about the outside.
    pub peer_addresses: Vec<IpAddr>,
    /// What is to end the answers of a dead daemon's addresses; `None` for nothing.
    pub fence: Option<FenceSettings>,
    /// What surrounds the thread in its daemon.
    pub ward: Ward,
    /// Groups that a process before this one holds and this one goes on with; their addresses
    /// stay, and so does the gate before them.
    pub adopted: Vec<(GroupKey, Ticket)>,
    /// For how long from now the leases of the voters run, if such groups are in mode majority.
    pub granted: Option<Vouched>,
}

impl Settings {
    /// What the addresses bear.
    pub(super) fn mark(&self) -> Mark {
        self.fence.as_ref().map_or_else(Mark::default, |fence| Mark::here(&fence.table))
    }
}

/// What is to keep a dead daemon's addresses from being answered.
#[derive(Clone, Debug)]
pub struct FenceSettings {
    /// The nf_tables table of our own that is to be the gate (see [`table_name`](super::table_name)).
    pub table: String,
    /// Whether anybody vouches for this node.
    pub vouched: Vouched,
    /// How long an address lives that is not prolonged where there can be no gate, in whole
    /// seconds, 1 or more; the kernel may take half a second longer. Without this the start fails
    /// there.
    pub lifetime: Option<u32>,
    /// Whether connections are to be preserved through planned moves; see
    /// [`Kernel::no_preserving`](super::Kernel::no_preserving).
    pub preserve: bool,
}

/// What the daemon knows and does for the kernel thread; called by it, must not block.
#[derive(Clone, Default)]
pub struct Ward {
    /// Who of the daemon's own has removed addresses since this was last asked. Known before the
    /// removal can be seen.
    pub removal: Option<Arc<dyn Fn() -> Option<Remover> + Send + Sync>>,
    /// Called at each turn of the thread: gives it the priority that its work may have.
    pub turn: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Ward {
    pub(super) fn removal(&self) -> Option<Remover> {
        self.removal.as_ref().and_then(|ask| ask())
    }

    pub(super) fn turn(&self) {
        if let Some(turn) = &self.turn {
            turn();
        }
    }
}

impl fmt::Debug for Ward {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { removal, turn } = self;
        write!(out, "Ward({}, {})", removal.is_some(), turn.is_some())
    }
}

/// For how long from now this node's word is good; called by the kernel thread, must not block.
/// While it is zero nothing is added, put back or prolonged.
#[derive(Clone)]
pub struct Vouched(pub Arc<dyn Fn() -> Duration + Send + Sync>);

impl Vouched {
    pub(super) fn holds(&self) -> bool {
        !(self.0)().is_zero()
    }
}

impl fmt::Debug for Vouched {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Vouched({:?})", (self.0)())
    }
}
