//! Which groups are virtual routers, and what the thread of these was told last.
//!
//! Part of the protocol thread: after each step what the core says of such groups is compared with
//! what was told, and only what differs is told. Without such a group that costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::inbox::Mailbox;
use super::routers::{RouterThread, Word};
use super::setup;
use crate::config::Config;
use crate::protocol::{Event, GroupKey, Node, NodeId, Outside, Voice};
use crate::vrrp::{Members, Settings};

/// The groups that are virtual routers, each with its name.
pub(crate) type VirtualRouters = BTreeMap<GroupKey, (String, Vec<Settings>)>;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Voices {
    thread: RouterThread,
    told: BTreeMap<GroupKey, Voice>,
    members: Members,
    /// The other nodes, as in the file.
    whereabouts: BTreeMap<NodeId, Vec<IpAddr>>,
}

impl Voices {
    /// Follows the file for the first time. Of a group that the process before has not left to this
    /// one (`had`) the protocol is told that nothing is known.
    pub(crate) fn begin(
        thread: RouterThread,
        (config, me): (&Config, NodeId),
        (mailbox, had): (&Mailbox, &BTreeSet<GroupKey>),
    ) -> Self {
        let mut voices = Self::new(thread);
        let whereabouts = setup::whereabouts(config, me);
        let new = voices.configure(setup::routers(config, me), whereabouts);
        for group in new.into_iter().filter(|group| !had.contains(group)) {
            let outside = Some(Outside::Unknown);
            mailbox.deliver(Event::Outside { group, outside });
        }
        voices
    }

    /// Has nothing to tell yet.
    pub(crate) fn new(thread: RouterThread) -> Self {
        let (members, whereabouts) = (Members::default(), BTreeMap::new());
        Self { thread, told: BTreeMap::new(), members, whereabouts }
    }

    /// Follows the file. Returns the groups that are virtual routers from now on: of these it is not
    /// known who has them outside.
    pub(crate) fn configure(
        &mut self,
        wanted: VirtualRouters,
        whereabouts: BTreeMap<NodeId, Vec<IpAddr>>,
    ) -> Vec<GroupKey> {
        self.whereabouts = whereabouts;
        let new: Vec<GroupKey> =
            wanted.keys().filter(|group| !self.told.contains_key(group)).copied().collect();
        if wanted.is_empty() && self.told.is_empty() {
            return new;
        }
        self.told.retain(|group, _| wanted.contains_key(group));
        self.told.extend(new.iter().map(|group| (*group, Voice::Silent)));
        self.thread.tell(Word::Configure(wanted));
        new
    }

    fn members(&self, node: &Node) -> Members {
        let mut members = Members::default();
        for (node, lives, hardware) in node.members() {
            let hosts = if lives { &mut members.living } else { &mut members.silent };
            hosts.hardware.extend(hardware);
            hosts.addresses.extend(self.whereabouts.get(&node).into_iter().flatten());
        }
        members
    }

    /// Tells what has changed.
    pub(crate) fn follow(&mut self, node: &Node) {
        if self.told.is_empty() {
            return;
        }
        let members = self.members(node);
        if members != self.members {
            self.members = members;
            self.thread.tell(Word::Members(self.members.clone()));
        }
        for (group, told) in &mut self.told {
            let voice = node.voice(*group);
            if *told != voice {
                *told = voice;
                self.thread.tell(Word::Voice(*group, voice));
            }
        }
    }
}
