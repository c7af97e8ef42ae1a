//! Why the kernel thread could not be started, with what to do about it.

use std::fmt;
use std::io;

/// Why [`start`](super::start) failed. Nothing has changed on the host unless a variant says so.
#[derive(Debug)]
pub enum StartError {
    /// A capability is missing.
    NotPermitted {
        /// Name of the capability.
        capability: &'static str,
    },
    /// Netlink cannot be used.
    Netlink(io::Error),
    /// The gate cannot be made, and the configuration requires it.
    NoGate {
        /// Name of its tables.
        table: String,
        /// Reason for which it is required.
        wanted: GateWanted,
        /// Error of the kernel.
        source: io::Error,
    },
    /// The kernel thread cannot be started.
    Thread(io::Error),
    /// Addresses left by a previous daemon could not all be removed.
    Leftovers {
        /// Number of addresses that remain.
        count: usize,
    },
}

/// Why the gate is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateWanted {
    /// `kernel_lease = "required"`.
    Required,
    /// A group is in mode `Majority`: lifetimes end too late for what its voters have granted.
    Majority,
}

impl fmt::Display for GateWanted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Required => {
                "kernel_lease = \"required\" does not allow running without it (kernel_lease = \
                 \"auto\" falls back to address lifetimes)"
            }
            Self::Majority => {
                "mode \"majority\" requires it (mode \"availability\" falls back to address \
                 lifetimes)"
            }
        })
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted { capability } => write!(
                out,
                "missing capability {capability}: run as root, or grant it (systemd: \
                 AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW)"
            ),
            Self::Netlink(error) => write!(out, "netlink request failed: {error}"),
            Self::NoGate { table, wanted, source } => write!(
                out,
                "the gate cannot be made in nf_tables ({source}), and {wanted}: load the kernel \
                 module nf_tables with its families inet and arp, grant CAP_NET_ADMIN, and check \
                 that no other process owns the table inet {table}, table arp {table} or table \
                 netdev {table}"
            ),
            Self::Thread(error) => {
                write!(out, "the thread for kernel events cannot be started: {error}")
            }
            Self::Leftovers { count } => {
                write!(out, "{count} addresses left by a previous daemon cannot be removed")
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Netlink(source) | Self::Thread(source) | Self::NoGate { source, .. } => {
                Some(source)
            }
            Self::NotPermitted { .. } | Self::Leftovers { .. } => None,
        }
    }
}
