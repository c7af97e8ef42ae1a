//! What a host's kernel does: executes orders, loses links, announces, answers clients; and who
//! is OPEN, which is what all checks look at: power, machine not stopped, link up, address there.

use std::collections::BTreeSet;

use buoy::protocol::{KernelEvent, Reach, Remover};

use crate::cluster::{Cluster, Happening};
use crate::draw::{MICROSECOND, MILLISECOND, SECOND};
use crate::trace::note;

/// A kernel that hangs is looked at again after this.
const HANGING: u64 = 10 * MILLISECOND;
/// A test of reach that hears nobody gives up after this.
const REACH_TIMEOUT: u64 = 60 * MILLISECOND;

impl Cluster {
    /// The kernel executes an order, unless a later one has replaced it.
    pub(crate) fn execute(&mut self, host: usize, group: usize, ticket: buoy::protocol::Ticket) {
        let key = self.groups[group];
        let kernel = &mut self.hosts[host].kernel;
        if kernel.pending.get(&group).is_none_or(|pending| pending.ticket != ticket) {
            return;
        }
        if kernel.hangs {
            let life = self.hosts[host].life;
            let at = self.now + HANGING;
            return self.schedule(at, Happening::Execute { host, life, group, ticket });
        }
        let Some(pending) = kernel.pending.remove(&group) else { return };
        let (event, mut addresses) = if !pending.acquire {
            kernel.withdrawn.remove(&group);
            kernel.acquired.remove(&group);
            (KernelEvent::Absent { group: key, ticket }, BTreeSet::new())
        } else if let Some(failure) = kernel.failure(group) {
            kernel.acquired.remove(&group);
            (KernelEvent::Failed { group: key, ticket, failure }, BTreeSet::new())
        } else {
            kernel.acquired.insert(group, ticket);
            (KernelEvent::Present { group: key, ticket }, pending.further)
        };
        if matches!(event, KernelEvent::Present { .. }) {
            addresses.insert(group);
        }
        for address in kernel.bear(group, addresses) {
            self.refresh_open(host, address);
        }
        if self.options.preserve.is_some() && matches!(event, KernelEvent::Present { .. }) {
            let hardware = crate::conflicts::hardware(host);
            self.tell_soon(host, KernelEvent::Keepable { group: key, hardware });
        }
        self.tell_soon(host, event);
    }

    /// The kernel thread puts an event into its channel to the loop; order is kept.
    pub(crate) fn tell_soon(&mut self, host: usize, event: KernelEvent) {
        let at = self.now + self.draw.between(10 * MICROSECOND, 80 * MICROSECOND);
        let at = at.max(self.safety.hosts[host].told_until + 1);
        self.safety.hosts[host].told_until = at;
        let life = self.hosts[host].life;
        self.schedule(at, Happening::Tell { host, life, event });
    }

    /// The event arrives at the loop.
    pub(crate) fn tell(&mut self, host: usize, event: KernelEvent) {
        note!(self, "n{host}'s kernel says {event:?}");
        self.hand_over(host, crate::host::Inbound::Kernel(event));
    }

    /// Somebody else removes an address.
    pub(crate) fn remove_address(&mut self, host: usize, group: usize) {
        self.hosts[host].kernel.present[group] = false;
        self.refresh_open(host, group);
        let at = self.now + self.draw.between(MILLISECOND, 20 * MILLISECOND);
        let life = self.hosts[host].life;
        self.schedule(at, Happening::Restore { host, life, group });
    }

    /// The guardian removes the addresses of a group, because the lease was not renewed in time.
    pub(crate) fn guardian_removes(&mut self, host: usize, group: usize) {
        let unrenewed = std::time::Duration::from_millis(600);
        let remover = Remover::Guardian { unrenewed, renewal: std::time::Duration::ZERO };
        self.hosts[host].kernel.remover.insert(group, remover);
        self.remove_address(host, group);
    }

    /// The kernel thread puts them back.
    pub(crate) fn restore(&mut self, host: usize, group: usize) {
        let address = group;
        let kernel = &mut self.hosts[host].kernel;
        let Some(group) = kernel.bearer(address) else { return };
        let key = self.groups[group];
        let Some(ticket) = kernel.acquired.get(&group).copied() else { return };
        if kernel.present[address] || kernel.pending.contains_key(&group) {
            return;
        }
        if let Some(failure) = kernel.failure(group) {
            kernel.acquired.remove(&group);
            let gone = kernel.bear(group, BTreeSet::new());
            gone.into_iter().for_each(|address| self.refresh_open(host, address));
            self.tell_soon(host, KernelEvent::Failed { group: key, ticket, failure });
            return;
        }
        kernel.present[address] = true;
        self.refresh_open(host, address);
        let remover = self.hosts[host].kernel.remover.remove(&address).unwrap_or(Remover::Somebody);
        self.tell_soon(host, KernelEvent::Repaired { group: key, remover });
    }

    /// The state of a host's link or interface has changed.
    pub(crate) fn link_changed(&mut self, host: usize) {
        let up = self.network.has_link(host) && self.hosts[host].kernel.interface;
        let memory = &mut self.safety.hosts[host];
        memory.link_lost_at = if up { None } else { memory.link_lost_at.or(Some(self.now)) };
        self.refresh_host(host);
        let at = self.now + self.draw.between(2_500 * MICROSECOND, 3_500 * MICROSECOND);
        let life = self.hosts[host].life;
        self.schedule(at, Happening::SeeLinks { host, life });
    }

    /// The kernel thread sees the link as it is now, and tells what changed.
    pub(crate) fn see_links(&mut self, host: usize) {
        let usable = self.network.has_link(host) && self.hosts[host].kernel.interface;
        let news = std::mem::take(&mut self.hosts[host].kernel.news);
        if self.hosts[host].kernel.usable == usable && !news {
            return;
        }
        self.hosts[host].kernel.usable = usable;
        for key in self.groups.clone() {
            self.tell_soon(host, KernelEvent::Usable { group: key, usable });
        }
    }

    /// Groups start usable in the core; after a reload the kernel thread says which are not.
    pub(crate) fn tell_usable(&mut self, host: usize) {
        if !self.hosts[host].kernel.usable {
            for key in self.groups.clone() {
                self.tell_soon(host, KernelEvent::Usable { group: key, usable: false });
            }
        }
    }

    /// The interface of a host disappears with all addresses.
    pub(crate) fn remove_interface(&mut self, host: usize) {
        self.hosts[host].kernel.interface = false;
        for group in 0..self.groups.len() {
            if self.hosts[host].kernel.present[group] {
                self.remove_address(host, group);
            }
        }
        self.link_changed(host);
    }

    /// One round of announcements goes out, if the address is there.
    pub(crate) fn broadcast(&mut self, host: usize, group: usize) {
        if !self.hosts[host].kernel.present[group] || !self.hosts[host].kernel.interface {
            return;
        }
        let addresses = self.hosts[host].kernel.bears.get(&group).cloned().unwrap_or_default();
        for address in addresses {
            if self.hosts[host].kernel.present[address] {
                self.broadcast_address(host, address);
            }
        }
        self.verify_round(host, group);
    }

    fn broadcast_address(&mut self, host: usize, address: usize) {
        self.overhear(host, address);
        let loss = self.network.weather.loss.max(self.network.weather.announcement_loss);
        for client in 0..self.clients.len() {
            let hears = !self.options.muffled && self.network.reaches_client(host, client);
            if hears && !self.draw.chance(loss) {
                self.clients[client].hear_announcement(self.now, address, host);
                self.note_client(client, address);
            }
        }
    }

    /// The daemon asks whether anybody outside the cluster answers.
    pub(crate) fn begin_reach_test(&mut self, host: usize) {
        note!(self, "n{host} tests its reach");
        let answered = (0..self.clients.len()).any(|c| self.network.talks_to_client(host, c));
        let wait = if answered || self.clients.is_empty() {
            self.draw.between(200 * MICROSECOND, 2 * MILLISECOND)
        } else {
            REACH_TIMEOUT
        };
        let (at, life) = (self.now + wait, self.hosts[host].life);
        self.schedule(at, Happening::ReachTested { host, life });
    }

    /// The test ends.
    pub(crate) fn end_reach_test(&mut self, host: usize) {
        let reach = if self.clients.is_empty() {
            Reach::NobodyToAsk
        } else if (0..self.clients.len()).any(|c| self.network.talks_to_client(host, c)) {
            Reach::Answered
        } else {
            Reach::Silent
        };
        self.tell_soon(host, KernelEvent::Reach(reach));
    }

    /// Whether the kernel of a host answers for a group.
    fn answers(&self, host: usize, group: usize) -> bool {
        let this = &self.hosts[host];
        this.powered
            && !this.machine_paused
            && this.kernel.interface
            && this.kernel.present[group]
            && !this.kernel.is_withdrawn(group)
            && self.is_open(host)
            && self.network.has_link(host)
    }

    /// Looks again at whether a host is OPEN for a group.
    pub(crate) fn refresh_open(&mut self, host: usize, group: usize) {
        let answers = self.answers(host, group);
        let place = self.open[group].iter().position(|open| *open == host);
        match (answers, place) {
            (true, None) => {
                note!(self, "OPEN n{host} g{group}");
                self.open[group].push(host);
                self.check_opened(host, group);
            }
            (false, Some(place)) => {
                note!(self, "CLOSED n{host} g{group}");
                self.open[group].remove(place);
                if let [one] = self.open[group].as_slice() {
                    // Of two that answered this one is left: that is no move (seed 6364).
                    self.safety.last_open[group] = Some(*one);
                }
            }
            (true, Some(_)) | (false, None) => return,
        }
        for client in 0..self.clients.len() {
            self.note_client(client, group);
        }
    }

    /// Looks again at all groups of a host.
    pub(crate) fn refresh_host(&mut self, host: usize) {
        for group in 0..self.groups.len() {
            if self.hosts[host].kernel.present[group] || self.open[group].contains(&host) {
                self.refresh_open(host, group);
            }
        }
    }

    /// Looks again at all clients, after the network has changed.
    pub(crate) fn refresh_clients(&mut self) {
        for client in 0..self.clients.len() {
            for group in 0..self.groups.len() {
                self.note_client(client, group);
            }
        }
    }

    /// Whether a client is answered by whom its cache points to.
    pub(crate) fn is_served(&self, client: usize, group: usize) -> bool {
        self.clients[client].entries[group].host.is_some_and(|host| {
            if host == self.hosts.len() {
                // A router outside; other conflicting hosts serve nobody.
                return self.virtual_routers.are(group) && self.conflicts.groups.contains(&group);
            }
            self.open[group].contains(&host) && self.network.talks_to_client(host, client)
        })
    }

    pub(crate) fn note_client(&mut self, client: usize, group: usize) {
        let served = self.is_served(client, group);
        if let Some(at) = self.clients[client].note(self.now, group, served) {
            let query = self.clients[client].entries[group].query;
            self.schedule(at, Happening::Ask { client, group, query });
        }
    }

    /// A client without an answer asks everybody.
    pub(crate) fn ask(&mut self, client: usize, group: usize, query: u64) {
        let entry = &self.clients[client].entries[group];
        if entry.query != query || entry.dark_since.is_none() {
            return;
        }
        let talks = |host: &usize| self.network.talks_to_client(*host, client);
        let mut answers: Vec<usize> = self.open[group].iter().copied().filter(talks).collect();
        if self.virtual_routers.are(group) && self.conflicts.groups.contains(&group) {
            answers.push(self.hosts.len());
        }
        self.clients[client].ask(self.now, group, &answers, &mut self.draw);
        self.note_client(client, group);
        if self.clients[client].entries[group].dark_since.is_some() {
            self.schedule(self.now + SECOND, Happening::Ask { client, group, query });
        }
    }
}
