//! What the file of one host means, as values with the lines that they come from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::audit::Ledger;
use super::report::Entry;
use super::routing;
use super::source::Place;
use super::values::{Address, Program};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// The file of a host.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// The name of its node.
    pub(super) name: String,
    /// Addresses of its node, one for each heartbeat path.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) globals: Globals,
    pub(super) instances: Vec<Instance>,
    pub(super) groups: Vec<SyncGroup>,
    pub(super) scripts: BTreeMap<String, Script>,
    pub(super) processes: BTreeMap<String, Process>,
    pub(super) files: BTreeMap<String, TrackFile>,
    pub(super) bfd: Vec<Bfd>,
    /// What became of each statement.
    pub(super) ledger: Ledger,
    /// What became of lines that are no statements.
    pub(super) entries: Vec<Entry>,
    /// The files that were read.
    pub(super) read: Vec<String>,
}

/// `global_defs`, and what stands at the top.
#[derive(Debug, Default)]
pub(super) struct Globals {
    pub(super) router_id: Option<Said<String>>,
    pub(super) script_user: Option<Said<String>>,
    pub(super) default_interface: Option<Said<String>>,
    pub(super) version: Option<i64>,
    /// `vrrp_garp_master_refresh`, in seconds.
    pub(super) refresh: Option<Said<i64>>,
    /// Times between announcements in microseconds, each with the keyword and value.
    pub(super) garp: Vec<Said<(String, u64)>>,
    /// Multicast groups that are not those of the standard, by the keyword that names them.
    pub(super) multicast: Vec<Said<String>>,
    /// FIFOs by the keyword that names them.
    pub(super) fifos: Vec<Said<(String, String)>>,
}

/// `vrrp_instance`.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) vrid: Option<Said<i64>>,
    pub(super) interface: Option<Said<String>>,
    pub(super) priority: Said<i64>,
    pub(super) master: bool,
    pub(super) nopreempt: Option<Place>,
    /// In microseconds.
    pub(super) preempt_delay: Option<Said<u64>>,
    /// In microseconds.
    pub(super) advert: Option<Said<u64>>,
    pub(super) version: Option<i64>,
    /// Type and password, to be compared and never shown.
    pub(super) authentication: Option<Said<(String, String)>>,
    pub(super) unicast_source: Option<IpAddr>,
    pub(super) multicast_source: Option<IpAddr>,
    pub(super) peers: Vec<IpAddr>,
    pub(super) addresses: Vec<Address>,
    pub(super) routes: Vec<routing::Entry>,
    pub(super) rules: Vec<routing::Entry>,
    pub(super) tracks: Vec<Track>,
    pub(super) hooks: Vec<Hook>,
    pub(super) refresh: Option<Said<i64>>,
    /// Where it asks for another multicast group.
    pub(super) multicast: Option<Place>,
    /// Where it asks for a virtual MAC.
    pub(super) virtual_mac: Option<Place>,
}

impl Instance {
    /// Whether it never takes addresses back: `nopreempt` that keepalived does not clear.
    pub(super) fn stays(&self) -> bool {
        self.nopreempt.is_some() && !self.master && self.priority.value != OWNER
    }

    /// Whether its virtual router speaks version 3, as keepalived decides it.
    pub(super) fn speaks_version_3(&self, globals: &Globals) -> bool {
        let first_is_v6 = self.addresses.first().is_some_and(|address| address.ip.is_ipv6());
        first_is_v6 || self.version.or(globals.version) == Some(3)
    }

    /// Time between its advertisements in microseconds, as keepalived takes it.
    pub(super) fn interval(&self, globals: &Globals) -> u64 {
        let said = self.advert.as_ref().map_or(1_000_000, |advert| advert.value);
        if self.speaks_version_3(globals) {
            return said;
        }
        (said / 1_000_000).max(1) * 1_000_000
    }
}

/// The priority of whoever owns the addresses in the sense of VRRP.
pub(super) const OWNER: i64 = 255;

/// What an instance or sync group looks at.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) kind: Tracked,
    pub(super) name: String,
    /// As given where it is used.
    pub(super) weight: Option<i64>,
    pub(super) reverse: Option<bool>,
    pub(super) place: Place,
    /// Number of the statement.
    pub(super) node: usize,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tracked {
    Script,
    Process,
    File,
}

/// A `notify...` script.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    pub(super) keyword: String,
    pub(super) program: Program,
    pub(super) place: Place,
}

/// `vrrp_sync_group`.
#[derive(Debug)]
pub(super) struct SyncGroup {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) members: Vec<Said<String>>,
    pub(super) tracks: Vec<Track>,
    pub(super) hooks: Vec<Hook>,
}

/// `vrrp_script`.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) place: Place,
    pub(super) program: Said<Program>,
    /// In seconds.
    pub(super) interval: u64,
    pub(super) timeout: Option<u64>,
    pub(super) rise: i64,
    pub(super) fall: i64,
    pub(super) weight: i64,
    pub(super) reverse: bool,
    pub(super) user: Option<String>,
}

/// `vrrp_track_process`.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) place: Place,
    pub(super) process: String,
    pub(super) weight: i64,
    pub(super) reverse: bool,
}

/// `vrrp_track_file`.
#[derive(Clone, Debug)]
pub(super) struct TrackFile {
    pub(super) place: Place,
    pub(super) file: String,
    pub(super) weight: i64,
}

/// `bfd_instance`.
#[derive(Clone, Debug)]
pub(super) struct Bfd {
    pub(super) name: String,
    pub(super) neighbour: Option<IpAddr>,
    pub(super) source: Option<IpAddr>,
}
