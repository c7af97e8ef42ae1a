//! Runs the tests of `reach`: when to learn, whom to ask, what came of it.
//!
//! Called by `apply`'s loop, which waits for [`Probes::next`] among other things. One test is
//! outstanding at most; being asked again meanwhile does not begin another.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};

use super::neighbours;
use super::reach::{Acquaintances, Purpose, ask};
use super::reconcile::Reconciler;
use crate::protocol::{Instant, Reach};

/// Ends in the time at which it was begun, what it was for, and who answered.
type Asked = BoxFuture<'static, (Instant, Purpose, Vec<SocketAddr>)>;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Probes {
    peers: Vec<IpAddr>,
    hosts: Acquaintances,
    running: FuturesUnordered<Asked>,
    testing: bool,
    learn_at: Instant,
    /// Since when the addresses of the other nodes are what they are.
    changed_at: Instant,
}

impl Probes {
    /// With the addresses of the other nodes.
    pub(super) fn new(peers: Vec<IpAddr>) -> Self {
        Self {
            peers,
            hosts: Acquaintances::default(),
            running: FuturesUnordered::new(),
            testing: false,
            learn_at: Instant::START,
            changed_at: Instant::START,
        }
    }

    /// The other nodes have these addresses from now on. If they are others, who answered before
    /// may be a node, under an address that is not listed: all is learned anew.
    pub(super) fn reconfigure(&mut self, peers: Vec<IpAddr>, now: Instant) {
        if peers != self.peers {
            self.peers = peers;
            self.hosts = Acquaintances::default();
            self.changed_at = now;
            self.learn_at = now;
        }
    }

    /// Begins a test, unless one is outstanding.
    pub(super) fn test(&mut self, reconciler: &Reconciler, now: Instant) {
        if !self.testing {
            self.testing = true;
            self.begin(Purpose::Test, reconciler, now);
        }
    }

    /// Begins to find out who answers, when it is time.
    pub(super) fn learn(&mut self, reconciler: &Reconciler, now: Instant) {
        if self.learn_at <= now {
            self.learn_at = now + self.hosts.pause();
            self.begin(Purpose::Learn, reconciler, now);
        }
    }

    /// When [`Probes::learn`] has to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(self.learn_at)
    }

    fn begin(&mut self, purpose: Purpose, reconciler: &Reconciler, now: Instant) {
        let host = reconciler.host();
        let own = host.addresses().map(|address| address.place.address);
        let mut excluded: BTreeSet<IpAddr> = own.chain(reconciler.addresses()).collect();
        excluded.extend(&self.peers);
        self.hosts.exclude(&excluded);
        let mut candidates = Vec::new();
        if self.hosts.wants_more() {
            // Without the list those who answered before are asked.
            let found = neighbours::candidates(&reconciler.links(), &excluded);
            candidates = found.unwrap_or_default();
        }
        let asked = ask(self.hosts.targets(&candidates), purpose);
        self.running.push(asked.map(move |(purpose, answered)| (now, purpose, answered)).boxed());
    }

    /// Waits until a test ended; `None` if it was only learned who answers. Nothing is lost if
    /// this is dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<Reach> {
        let Some((begun, purpose, mut answered)) = self.running.next().await else {
            return std::future::pending().await;
        };
        if begun < self.changed_at {
            answered.retain(|host| !self.peers.contains(&host.ip()));
        } else {
            self.hosts.learn(&answered, begun);
        }
        match purpose {
            Purpose::Learn => None,
            Purpose::Test => {
                self.testing = false;
                Some(self.hosts.verdict(!answered.is_empty()))
            }
        }
    }
}
