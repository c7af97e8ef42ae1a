//! Why a state file is of no use to the next process.

use std::io;

use super::state_file::LAYOUT;
use crate::control::names::Names;
use crate::control::restart_in_place;
use crate::kernel;
use crate::protocol::Misfit;

/// Why the file is of no use.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is cut off or changed.
    Damaged,
    /// It is in a layout that this version does not know.
    OtherLayout(String),
    /// It is of this cluster.
    OtherCluster(String),
    /// The host was booted since.
    OtherBoot,
    /// `restart` is not `"in-place"` any more.
    NotWanted,
    /// It does not fit to what is configured, or is there.
    Misfit(Misfit),
    /// The kernel did not let this process go on with what is there.
    Kernel(kernel::StartError),
}

impl Unusable {
    /// For people.
    pub(crate) fn words(&self, names: &Names) -> String {
        match self {
            Self::Unreadable(error) => format!("the state file cannot be read: {error}"),
            Self::Damaged => "the state file is cut off or was changed".to_owned(),
            Self::OtherLayout(layout) => {
                format!("the state file has layout {layout}, this version knows {LAYOUT}")
            }
            Self::OtherCluster(name) => format!("the state file belongs to cluster {name:?}"),
            Self::OtherBoot => "the state file is older than the last boot of this host".to_owned(),
            Self::NotWanted => "restart = \"in-place\" is no longer configured".to_owned(),
            Self::Misfit(why) => {
                format!("the state file: {}", restart_in_place::misfit(*why, names))
            }
            Self::Kernel(error) => error.to_string(),
        }
    }
}
