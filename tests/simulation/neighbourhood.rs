//! What the kernel side of a host knows of the clients, and how it has them follow: simulated only
//! for clients that hear no broadcasts (`Options::muffled`), because the others follow at once.
//!
//! As in `kernel/verify`: each announcement of a group under verification is a round; from the
//! second on, every client that the host knows and that does not send to it is told by a frame to
//! it alone. A host knows the clients that have it in their caches, and those that peers tell of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use buoy::protocol::{Connection, Convergence, Epoch, GroupKey, KernelEvent, Neighbour, NodeId};

use crate::cluster::{Cluster, Happening};
use crate::draw::SECOND;
use crate::trace::note;

/// How often the kernel side looks who is around.
const LOOK: u64 = 5 * SECOND;
/// Announcements of one course.
const ROUNDS: usize = 6;

/// What one daemon keeps.
#[derive(Debug, Default)]
pub(crate) struct Neighbourhood {
    /// Groups under verification: epoch, rounds so far, and when it was ordered.
    verifying: BTreeMap<usize, (Epoch, usize, u64)>,
    /// Clients that peers told of.
    told: BTreeMap<NodeId, BTreeSet<usize>>,
    /// Connections that peers told of: group and client.
    remembered: BTreeSet<(usize, usize)>,
    /// Those whose clients were told that they are gone.
    pub(crate) tickled: BTreeSet<(usize, usize)>,
}

impl Cluster {
    /// The core wants to know whether the clients follow.
    pub(crate) fn verify(&mut self, host: usize, group: usize, epoch: Epoch) {
        if self.options.muffled {
            let wish = (epoch, 0, self.now);
            self.hosts[host].neighbourhood.verifying.insert(group, wish);
        }
    }

    /// The core has the clients told one by one. All that it reaches are known.
    pub(crate) fn correct(&mut self, host: usize, group: GroupKey) {
        let Some(group) = self.group_index.get(&group).copied() else { return };
        note!(self, "n{host} tells each client where g{group} is");
        for client in 0..self.clients.len() {
            let open = self.open[group].contains(&host);
            if open && self.network.reaches_client(host, client) {
                self.clients[client].hear_announcement(self.now, group, host);
            }
        }
        self.refresh_clients();
    }

    /// The group goes.
    pub(crate) fn stop_verifying(&mut self, host: usize, group: usize) {
        self.hosts[host].neighbourhood.verifying.remove(&group);
    }

    /// A peer has told of its clients.
    pub(crate) fn acquaint(&mut self, host: usize, from: NodeId, hosts: &[Neighbour]) {
        let clients = hosts.iter().map(|host| usize::from(host.hardware[5])).collect();
        self.hosts[host].neighbourhood.told.insert(from, clients);
    }

    /// Lets the kernel side of a daemon that starts look around from now on.
    pub(crate) fn begin_looking(&mut self, host: usize) {
        if self.options.muffled {
            let life = self.hosts[host].life;
            self.schedule(self.now + LOOK, Happening::Look { host, life });
        }
    }

    /// The kernel side looks who is around, and tells.
    pub(crate) fn look(&mut self, host: usize) {
        let clients = (0..self.clients.len()).filter(|client| self.has_met(host, *client));
        let neighbour = |client| {
            let last = u8::try_from(client).expect("few clients");
            Neighbour { address: [10, 99, 0, last].into(), hardware: [2, 0, 0, 0, 0, last] }
        };
        let hosts: Vec<Neighbour> = clients.map(neighbour).collect();
        if !hosts.is_empty() {
            self.tell_soon(host, KernelEvent::Neighbours(hosts));
        }
        self.tell_connections(host);
        self.begin_looking(host);
    }

    /// Every client that is served by the host has one connection to each group.
    fn tell_connections(&mut self, host: usize) {
        let octet = |number: usize| u8::try_from(number).expect("few clients and groups");
        for group in 0..self.groups.len() {
            let served = |client: &usize| {
                let here = self.clients[*client].entries[group].host == Some(host);
                here && self.is_served(*client, group)
            };
            let connection = |client: usize| Connection {
                address: [10, 98, 0, octet(group)].into(),
                port: 80,
                client: [10, 99, 0, octet(client)].into(),
                client_port: 40_000,
            };
            let connections: Vec<Connection> =
                (0..self.clients.len()).filter(served).map(connection).collect();
            if !connections.is_empty() {
                let group = self.groups[group];
                self.tell_soon(host, KernelEvent::Connections { group, connections });
            }
        }
    }

    /// A peer has told of its connections.
    pub(crate) fn remember(&mut self, host: usize, connections: &[Connection]) {
        let last = |address: IpAddr| match address {
            IpAddr::V4(address) => usize::from(address.octets()[3]),
            IpAddr::V6(_) => panic!("no such client is simulated"),
        };
        let ends = connections.iter().map(|one| (last(one.address), last(one.client)));
        self.hosts[host].neighbourhood.remembered.extend(ends);
    }

    /// The clients of all connections to a group are told.
    pub(crate) fn tickle(&mut self, host: usize, group: usize) {
        let neighbourhood = &mut self.hosts[host].neighbourhood;
        let those = neighbourhood.remembered.iter().filter(|(of, _)| *of == group);
        neighbourhood.tickled.extend(those);
        note!(self, "n{host} tells the clients of g{group}");
    }

    /// Whether the client talks to the host about any group.
    fn has_met(&self, host: usize, client: usize) -> bool {
        (0..self.groups.len()).any(|group| {
            self.clients[client].entries[group].host == Some(host) && self.is_served(client, group)
        })
    }

    /// A group has been announced.
    pub(crate) fn verify_round(&mut self, host: usize, group: usize) {
        let neighbourhood = &mut self.hosts[host].neighbourhood;
        let Some((epoch, rounds, begun)) = neighbourhood.verifying.get_mut(&group) else { return };
        *rounds += 1;
        let (epoch, rounds, begun) = (*epoch, *rounds, *begun);
        let told: BTreeSet<usize> = neighbourhood.told.values().flatten().copied().collect();
        let known = |client: &usize| told.contains(client) || self.has_met(host, *client);
        let known: Vec<usize> = (0..self.clients.len()).filter(known).collect();
        let (mut asked, mut answered) = (0, 0);
        for client in known {
            let follows = |this: &Self| this.clients[client].entries[group].host == Some(host);
            if !follows(self) && rounds > 1 && self.network.reaches_client(host, client) {
                note!(self, "n{host} tells client {client} where g{group} is");
                self.clients[client].hear_announcement(self.now, group, host);
                self.note_client(client, group);
            }
            if self.network.talks_to_client(host, client) {
                asked += 1;
                answered += u16::from(follows(self));
            }
        }
        if asked > 0 && answered == asked || rounds == ROUNDS {
            let after = Duration::from_nanos(self.now - begun);
            let outcome = Convergence { asked, answered, after, missing: [None; 3] };
            self.stop_verifying(host, group);
            let group = self.groups[group];
            self.tell_soon(host, KernelEvent::Verified { group, epoch, outcome });
        }
    }
}
