//! The leases of groups in mode majority in the state file: each wish by its number, and until when
//! each voter vouches for it. Times are nanoseconds of the clock of all [`Instant`]s.

use serde::{Deserialize, Serialize};

use crate::protocol::{GroupKey, Instant, LeaseMemory, NodeId, WishMemory};

/// What the next process has to know of leases, as it is written in the state file.
#[derive(Serialize, Deserialize)]
pub(super) struct WrittenLeases {
    list: Vec<u32>,
    version: u32,
    wishes: Vec<WrittenWish>,
    /// Voter, and the latest request to it that it has answered.
    heard: Vec<(u32, u64)>,
}

#[derive(Serialize, Deserialize)]
struct WrittenWish {
    address: u64,
    version: u32,
    wanted: bool,
    until: Vec<u64>,
}

impl WrittenLeases {
    /// Returns them as they are written.
    pub(super) fn new(leases: &LeaseMemory) -> Self {
        let wish = |(address, wish): (&GroupKey, &WishMemory)| WrittenWish {
            address: address.0,
            version: wish.version,
            wanted: wish.wanted,
            until: wish.until.iter().copied().map(Instant::as_nanos).collect(),
        };
        Self {
            list: leases.list.iter().map(|voter| voter.0).collect(),
            version: leases.version,
            wishes: leases.wishes.iter().map(wish).collect(),
            heard: leases.heard.iter().map(|(voter, at)| (voter.0, at.as_nanos())).collect(),
        }
    }

    /// Returns what is written.
    pub(super) fn read(&self) -> LeaseMemory {
        let wish = |wish: &WrittenWish| {
            let until = wish.until.iter().copied().map(Instant::from_nanos).collect();
            let (version, wanted) = (wish.version, wish.wanted);
            (GroupKey(wish.address), WishMemory { version, wanted, until })
        };
        let heard = self.heard.iter().map(|(voter, at)| (NodeId(*voter), Instant::from_nanos(*at)));
        LeaseMemory {
            list: self.list.iter().copied().map(NodeId).collect(),
            version: self.version,
            wishes: self.wishes.iter().map(wish).collect(),
            heard: heard.collect(),
        }
    }
}
