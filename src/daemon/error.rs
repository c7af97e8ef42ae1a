//! Why the daemon did not start or did not go on; each in one sentence with its remedy.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::config;
use crate::control::server;
use crate::kernel;
use crate::transport::BindError;
use crate::wire::KeyRingError;

/// Why [`run`](super::run) returned before it was asked to. No address of ours is left behind.
#[derive(Debug)]
pub enum Error {
    /// The file has faults; all of them are inside.
    Configuration(config::Refused),
    /// The file does not tell which of its nodes this host is.
    WhoAmI(config::WhoAmI),
    /// The file names other voters than those under whom this host has voted.
    Voters {
        /// Whom, and what to do.
        refusal: String,
        /// Where it is remembered.
        file: PathBuf,
    },
    /// The keys of the file do not go together.
    Keys(KeyRingError),
    /// The directory for the control socket cannot be made or used.
    RuntimeDirectory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another daemon uses the same runtime directory.
    AlreadyRunning {
        /// Which.
        path: PathBuf,
    },
    /// A heartbeat socket could not be opened.
    Bind(BindError),
    /// The kernel does not let us do our work.
    Kernel(kernel::StartError),
    /// The control socket could not be opened.
    Control(server::BindError),
    /// The system gives us no more threads, descriptors or random numbers.
    System {
        /// What was wanted.
        wanted: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The protocol thread ended although nobody asked it to.
    ProtocolEnded,
}

impl Error {
    /// What the process should exit with.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::WhoAmI(_) | Self::Voters { .. } | Self::Keys(_) => 3,
            Self::RuntimeDirectory { .. }
            | Self::AlreadyRunning { .. }
            | Self::Bind(_)
            | Self::Kernel(_)
            | Self::Control(_)
            | Self::System { .. }
            | Self::ProtocolEnded => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(refused) => refused.fmt(out),
            Self::WhoAmI(unclear) => unclear.fmt(out),
            Self::Voters { refusal, file } => write!(
                out,
                "{refusal}; if none of these nodes will vote again, stop buoy on every node and \
                 remove {} there",
                file.display()
            ),
            Self::Keys(fault) => write!(out, "cluster keys: {fault}; make a key with buoy keygen"),
            Self::RuntimeDirectory { path, source } => write!(
                out,
                "runtime directory {}: {source}; choose another with --runtime-dir",
                path.display()
            ),
            Self::AlreadyRunning { path } => write!(
                out,
                "another buoy runs with the runtime directory {}; stop it or choose another with \
                 --runtime-dir",
                path.display()
            ),
            Self::Bind(refused) => refused.fmt(out),
            Self::Kernel(refused) => refused.fmt(out),
            Self::Control(refused) => refused.fmt(out),
            Self::System { wanted, source } => write!(out, "{wanted}: {source}"),
            Self::ProtocolEnded => out.write_str("the protocol thread ended unexpectedly"),
        }
    }
}

impl std::error::Error for Error {}
