//! Copies of datagrams on several heartbeat paths, and a data link that carries in one direction.
//!
//! The core learns on which path each copy came. What it doubts of path 0, which shares its cable
//! with the data plane, is tested by the kernel side: clients are asked, and while none answers
//! that used to, the network of all groups is lost (`kernel/deafness`, `kernel/group/footing`).

use buoy::protocol::{Attachment, Event, Incarnation, KernelEvent, PathFault};

use crate::cluster::{Cluster, Happening};
use crate::draw::MILLISECOND;
use crate::host::Inbound;
use crate::trace::note;

/// What a test takes that no client answers.
const TEST: u64 = 50 * MILLISECOND;
/// Between two tests.
const PAUSE: u64 = 200 * MILLISECOND;
/// A network must be lost for so long.
const HOLD: u64 = 400 * MILLISECOND;
/// Tests answered in a row before the link carries again.
const RECOVERED: u8 = 5;

/// What the kernel side of a host makes of its data link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DataLink {
    /// It is in doubt; with whether peers hear each other there.
    doubted: Option<bool>,
    /// A test is under way or scheduled.
    tested: bool,
    /// Since when no client answers, and how many tests were answered since.
    deaf: Option<(u64, u8)>,
    /// What the daemon knows: that the network is lost.
    lost: bool,
}

impl DataLink {
    /// Whether the daemon knows the network as lost.
    pub(crate) const fn is_lost(&self) -> bool {
        self.lost
    }
}

impl Cluster {
    /// A copy reaches a host on a path.
    pub(crate) fn arrive_on(&mut self, from: usize, to: usize, (life, path): (Incarnation, u8)) {
        let this = &self.hosts[to];
        if this.powered && this.node.is_some() && !this.machine_paused {
            let received_at = this.clock.read(self.now);
            self.hand_over(to, Inbound::Copy { from, life, path, received_at });
        }
    }

    /// What the core learns of a copy: nothing, unless it opens.
    pub(crate) fn copy(
        &self,
        host: usize,
        (from, life): (usize, Incarnation),
        (path, received_at): (u8, buoy::protocol::Instant),
    ) -> Option<Event> {
        let session = self.hosts[host].sessions[from]?;
        let opens = session.life == life && self.now >= session.ready_at && !session.over;
        opens.then(|| Event::HeardOn { from: self.hosts[from].id, path, received_at })
    }

    /// The daemon doubts these paths, and no others.
    pub(crate) fn doubt_paths(&mut self, host: usize, doubted: &[(u8, PathFault)]) {
        note!(self, "n{host} doubts {doubted:?}");
        let heard = |fault| fault == PathFault::Unheard { others_heard: true };
        let data = doubted.iter().find(|(path, _)| *path == 0).map(|(_, fault)| heard(*fault));
        let (life, link) = (self.hosts[host].life, &mut self.hosts[host].kernel.data_link);
        link.doubted = data;
        if data.is_none() {
            link.deaf = None;
            self.tell_network(host, false);
        } else if !link.tested {
            link.tested = true;
            self.schedule(self.now + TEST, Happening::TestLink { host, life });
        }
    }

    /// A test of the data link ends.
    pub(crate) fn end_link_test(&mut self, host: usize, life: u64) {
        if !self.lets_run(host, life, || Happening::TestLink { host, life }) {
            return;
        }
        let answered = (0..self.clients.len()).any(|c| self.network.talks_to_client(host, c));
        let (now, unknown) = (self.now, self.clients.is_empty());
        let link = &mut self.hosts[host].kernel.data_link;
        let Some(others_heard) = link.doubted else {
            link.tested = false;
            return;
        };
        link.deaf = match link.deaf {
            Some((_, answers)) if answered && (answers + 1 >= RECOVERED || !link.lost) => None,
            Some((since, answers)) if answered => Some((since, answers + 1)),
            None if answered => None,
            _ if unknown && !others_heard => None,
            deaf => Some((deaf.map_or(now, |(since, _)| since), 0)),
        };
        let lost = link.deaf.is_some_and(|(since, _)| now - since >= HOLD || link.lost);
        self.tell_network(host, lost);
        self.schedule(now + PAUSE, Happening::TestLink { host, life });
    }

    fn tell_network(&mut self, host: usize, lost: bool) {
        if self.hosts[host].kernel.data_link.lost != lost {
            self.hosts[host].kernel.data_link.lost = lost;
            let attachment = if lost { Attachment::Lost } else { Attachment::Attached };
            self.tell_attachment(host, attachment);
        }
    }

    /// Groups start attached in the core; after a reload the kernel thread says which are not.
    pub(crate) fn tell_lost(&mut self, host: usize) {
        if self.hosts[host].kernel.data_link.lost {
            self.tell_attachment(host, Attachment::Lost);
        }
    }

    /// The kernel thread of a host tells what it has of the network of all groups.
    pub(crate) fn tell_attachment(&mut self, host: usize, attachment: Attachment) {
        for group in self.groups.clone() {
            self.tell_soon(host, KernelEvent::Attached { group, attachment });
        }
    }

    /// The data link of a host carries nothing from it any more, or nothing to it.
    pub(crate) fn cut_data(&mut self, host: usize, sends: bool) {
        self.disturb(host, crate::draw::SECOND);
        self.network.cut_data(host, sends);
        self.refresh_clients();
    }

    /// One such fault ends.
    pub(crate) fn join_data(&mut self, host: usize, sends: bool) {
        self.network.join_data(host, sends);
        self.refresh_clients();
    }
}
