//! The configuration file: from TOML to a checked [`Config`], or to all of its faults at once.
//!
//! ```text
//! text -> document (lines) -> file (tables, keys, types) -> check (meaning) -> Config
//!                 \                   \                         \
//!                  +-------------------+-------------------------+--> Refused (every fault)
//! ```
//!
//! Only a `Config` travels further; it has no illegal values. The daemon loads it at start and at
//! each reload, `buoy check` to show what is wrong, `buoy lab` to build what it describes. Loading
//! reads the file and the key file and changes nothing; a refused file leaves everything as it is.

mod addresses;
mod check;
mod check_kinds;
mod checks;
mod company;
mod connections;
mod difference;
mod digest;
mod document;
mod duration;
mod endpoint;
mod fault;
mod file;
mod find_me;
mod haproxy;
mod hooks;
mod http_check;
mod interfaces;
mod kernel_lease;
mod key_file;
mod labels;
mod nodes;
mod pools;
mod preference;
mod regular_file;
mod restart;
mod routes;
mod rules;
mod timing;
mod voters;
mod vrrp;
mod zones;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::protocol::{
    Configuration, Group, Incarnation, Member, NodeId, Placement, PoolId, Preserve, Preserving,
    SoftwareVersion, Timing,
};

pub use addresses::Vip;
pub use check_kinds::{CheckKind, FileWanted, ProcessNamed, Question};
pub use checks::{CHECKS_MAX, CheckConfig, EXEC_CHECKS_MAX, Effect};
pub use difference::{Change, difference};
pub use duration::{NotADuration, parse_duration, show_duration};
pub use endpoint::Endpoint;
pub use fault::{Fault, Refused, Warning};
pub use file::known_keys;
pub use find_me::{WhoAmI, find_me};
pub use haproxy::HaproxyConfig;
pub use hooks::{Deed, HOOKS_MAX, HookConfig, Occasion, Style};
pub use http_check::{HttpCheck, Tls};
pub use kernel_lease::KernelLease;
pub use key_file::{KEYS_MAX, KeyFileFault, Keys, LineFault, read_keys, write_new_key};
pub use nodes::{NodeConfig, PATHS_MAX, Role};
pub use pools::{ADDRESSES_MAX, ADDRESSES_PER_GROUP_MAX, GroupConfig};
pub use regular_file::{RegularFile, Unread};
pub use restart::Restart;
pub use routes::{ROUTES_MAX, ROUTES_PER_GROUP_MAX};
pub(crate) use voters::voters_refused;
pub use vrrp::VrrpConfig;

use fault::Findings;

/// Room for [`ADDRESSES_MAX`] addresses in the long form, several times over.
const FILE_SIZE_MAX: u64 = 4 * 1024 * 1024;

/// A configuration without faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the cluster.
    pub cluster: String,
    /// Path of the key file.
    pub key_file: PathBuf,
    /// Cluster keys from that file.
    pub keys: Keys,
    /// UDP port of the heartbeats, the same on every node.
    pub port: u16,
    /// Whether the daemon may run without the gate in nf_tables.
    pub kernel_lease: KernelLease,
    /// What happens to the groups of a node while its daemon is restarted.
    pub restart: Restart,
    /// Maximum number of connections that this node reports to the heirs of its groups, so that the
    /// next owner can reset them at the clients, 0 to 50000; 0 switches this off.
    pub tickle_connections_max: usize,
    /// How long a drain waits for connections to end; zero does not wait.
    pub drain_timeout: Duration,
    /// HAProxy that is informed of a drain, the same on every node.
    pub haproxy: Option<HaproxyConfig>,
    /// How connections are preserved through planned moves; `None` is not at all.
    pub preserve: Option<Preserve>,
    /// Whether balance considers the load of the hosts.
    pub load_aware: bool,
    /// Name of the profile of the timer values.
    pub profile: &'static str,
    /// Timer values and limits; with profile `auto` those that a node starts with.
    pub timing: Timing,
    /// Digest of the meaning of the file; equal on all nodes with the same configuration.
    pub digest: u64,
    /// Nodes in the order of the file; at least one.
    pub nodes: Vec<NodeConfig>,
    /// Groups of all pools in the order of the file; at least one.
    pub groups: Vec<GroupConfig>,
    /// Health checks in the order of the file.
    pub checks: Vec<CheckConfig>,
    /// Hooks in the order of the file.
    pub hooks: Vec<HookConfig>,
    /// Warnings about this file.
    pub warnings: Vec<Warning>,
}

/// Reads and checks a file.
///
/// # Errors
/// With everything that is wrong with it, also when it cannot be read at all.
pub fn load(path: &Path) -> Result<Config, Refused> {
    let text = read(path)?;
    parse(&text, path)
}

/// Checks a text as if it stood in the file `path`, beside which the key file is looked for.
///
/// # Errors
/// With everything that is wrong with it.
pub fn parse(text: &str, path: &Path) -> Result<Config, Refused> {
    checked(text, path, None)
}

/// Checks a text as if it stood in the file `path`, with these keys instead of those of its key
/// file: opens nothing. For a text from somebody who may not have files read by who checks it, or
/// who may not read the key file.
///
/// # Errors
/// With everything that is wrong with it.
pub fn parse_with_keys(text: &str, path: &Path, keys: Keys) -> Result<Config, Refused> {
    checked(text, path, Some(keys))
}

fn checked(text: &str, path: &Path, keys: Option<Keys>) -> Result<Config, Refused> {
    let mut findings = Findings::default();
    let file = file::read(text, &mut findings);
    let config = file.and_then(|file| check::check(&file, (path, keys), &mut findings));
    findings.sort();
    match config {
        Some(config) => Ok(config),
        None => Err(Refused { path: path.to_owned(), faults: findings.faults }),
    }
}

/// Reads the text of a file, unchecked.
///
/// # Errors
/// When it is no regular file, cannot be read, or is too large.
pub fn read(path: &Path) -> Result<String, Refused> {
    let bytes = RegularFile::open(path).and_then(|file| file.read(FILE_SIZE_MAX));
    let bytes = bytes.map_err(|unread| match unread {
        Unread::Unreadable(error) => unreadable(path, &error),
        Unread::NotAFile => {
            let problem = "cannot be read: it is not a regular file".to_owned();
            Refused::whole(path, problem, "name the configuration file with --config")
        }
        Unread::TooLarge => {
            let problem = format!("is larger than {FILE_SIZE_MAX} bytes");
            Refused::whole(path, problem, "use two clusters")
        }
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        let problem = format!("is not UTF-8 text (line {line})");
        Refused::whole(path, problem, "save it as UTF-8")
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Refused {
    let remedy = if error.kind() == io::ErrorKind::NotFound {
        "write it there, or name another one with --config"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "make it readable for the user that the daemon runs as"
    } else {
        "name the configuration file with --config"
    };
    Refused::whole(path, format!("cannot be read: {error}"), remedy)
}

impl Config {
    /// Whether the timing follows what the nodes measure.
    #[must_use]
    pub fn is_adaptive(&self) -> bool {
        self.profile == timing::AUTO
    }

    /// The slowest timing that may be in force.
    #[must_use]
    pub fn slowest_timing(&self) -> Timing {
        if self.is_adaptive() { Timing::VM } else { self.timing }
    }

    /// A node by its name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeConfig> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// A group by its name, or by any of its addresses. Of a link-local address that several groups
    /// have it is the first.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&GroupConfig> {
        let by_name = self.groups.iter().find(|group| group.name == name);
        by_name.or_else(|| {
            let address: IpAddr = name.parse().ok()?;
            self.groups.iter().find(|group| group.vips.iter().any(|vip| vip.address == address))
        })
    }

    /// The rules of placement of the pools that have any.
    fn placement(&self) -> BTreeMap<PoolId, Placement> {
        let rules = |group: &GroupConfig| {
            let lacks = |node: &&NodeConfig| {
                node.role.owns() && !labels::has_all(Some(&node.labels), &group.requires)
            };
            let lacking = self.nodes.iter().filter(lacks).map(|node| node.id).collect();
            let ids = |pools: &[String]| pools.iter().map(|name| PoolId::from_name(name)).collect();
            let (apart_from, together_with) = (ids(&group.apart_from), ids(&group.together_with));
            (PoolId::from_name(&group.pool), Placement { lacking, apart_from, together_with })
        };
        let has_any = |group: &&GroupConfig| {
            !(group.requires.is_empty()
                && group.apart_from.is_empty()
                && group.together_with.is_empty())
        };
        self.groups.iter().filter(has_any).map(rules).collect()
    }

    /// What the protocol needs to know of this.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "the shape was agreed on between modules")]
    pub fn protocol(
        &self,
        me: NodeId,
        incarnation: Incarnation,
        seed: u64,
        software: SoftwareVersion,
        draining: bool,
    ) -> Configuration {
        let groups = self.groups.iter().map(|group| {
            let keys = group.vips.iter().map(|vip| group.key_of(vip.address));
            let placed = Group {
                pool: PoolId::from_name(&group.pool),
                addresses: keys.collect(),
                mode: group.mode,
                strategy: group.strategy,
                prefer: group.prefer.clone(),
                failback: group.failback,
                force: group.force,
                last_resort: group.last_resort,
                gate: hooks::gate(&self.hooks, &group.pool),
            };
            (group.key, placed)
        });
        let member = |node: &NodeConfig| {
            let (owns, votes) = (node.role.owns(), node.role.votes());
            (node.id, Member { owns, votes, ..Member::of_weight(node.weight) })
        };
        let name = self.nodes.iter().find(|node| node.id == me);
        Configuration {
            me,
            incarnation,
            seed,
            software,
            name: name.map(|node| node.name.clone()).unwrap_or_default(),
            digest: self.digest,
            nodes: self.nodes.iter().map(member).collect(),
            groups: groups.collect(),
            placement: self.placement(),
            load_aware: self.load_aware,
            paths: name.map_or(1, |node| u8::try_from(node.addresses.len()).unwrap_or(1)),
            timing: self.timing,
            adaptive: self.is_adaptive(),
            drain_timeout: self.drain_timeout,
            preserve: self.preserve,
            // What the host can the daemon knows.
            preserving: Preserving::Unknown,
            draining,
            #[cfg(feature = "mutations")]
            broken: None,
        }
    }
}
