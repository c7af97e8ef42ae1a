//! Runs the tests of `reach`: when to learn, whom to ask, what came of it.
//!
//! Called by `apply`'s loop, which waits for [`Probes::next`] among other things. One test is
//! outstanding at most; being asked again meanwhile does not begin another.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};

use super::announce::{Announcer, question};
use super::links::{Host, Link};
use super::neighbours;
use super::questioners::Questioners;
use super::reach::{Acquaintances, Answered, CALIBRATION, Purpose, Resolving, ask};
use super::reconcile::Reconciler;
use crate::protocol::{Instant, Reach};

/// Ends in when it was begun and whom it asked, what it was for, and who answered.
type Asked = BoxFuture<'static, (Instant, Vec<SocketAddr>, Purpose, Answered)>;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tested {
    /// Of the whole host.
    Host(Reach),
    /// Of one link.
    Link(u32, Reach),
}

/// See the module's text.
pub(super) struct Probes {
    peers: Vec<IpAddr>,
    hosts: Acquaintances,
    questioners: Questioners,
    announcer: Announcer,
    running: FuturesUnordered<Asked>,
    testing: bool,
    learn_at: Instant,
    /// When hosts are next asked by ARP to learn who answers that.
    resolve_at: Instant,
    /// Since when the addresses of the other nodes are what they are.
    changed_at: Instant,
}

impl Probes {
    /// With the addresses of the other nodes.
    pub(super) fn new(peers: Vec<IpAddr>) -> Self {
        Self {
            peers,
            hosts: Acquaintances::default(),
            questioners: Questioners::default(),
            announcer: Announcer::default(),
            running: FuturesUnordered::new(),
            testing: false,
            learn_at: Instant::START,
            resolve_at: Instant::START,
            changed_at: Instant::START,
        }
    }

    /// The other nodes have these addresses from now on. If they are others, who answered before
    /// may be a node, under an address that is not listed: all is learned again.
    pub(super) fn reconfigure(&mut self, peers: Vec<IpAddr>, now: Instant) {
        if peers != self.peers {
            self.peers = peers;
            self.hosts = Acquaintances::default();
            self.changed_at = now;
            (self.learn_at, self.resolve_at) = (now, now);
        }
    }

    /// Begins a test, unless one is outstanding.
    pub(super) fn test(&mut self, reconciler: &Reconciler, now: Instant) {
        if !self.testing {
            self.testing = true;
            self.begin(Purpose::Test, reconciler, now);
        }
    }

    /// Begins a test of one link, with the hosts that are reached through it.
    pub(super) fn test_link(&mut self, link: u32, reconciler: &Reconciler, now: Instant) {
        self.begin(Purpose::TestLink(link), reconciler, now);
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
        let nobody = self.hosts.knows_nobody();
        self.questioners.listen_for(nobody.then(|| reconciler.addresses().collect()));
        let mut candidates = self.questioners.hear(now);
        candidates.retain(|host| !excluded.contains(&host.ip()));
        if self.hosts.wants_more() {
            // Without the list those who answered before are asked.
            let found = neighbours::candidates(&reconciler.links(), &excluded);
            candidates.extend(found.unwrap_or_default());
        }
        let mut targets = self.hosts.targets(&candidates);
        if let Purpose::TestLink(link) = purpose {
            let there = |it: &SocketAddr| host.link_towards(it.ip()).map(|it| it.index);
            targets.retain(|target| there(target) == Some(link));
        }
        let due = purpose != Purpose::Learn || self.resolve_at <= now;
        let resolving = (nobody && due).then(|| self.resolve(&targets, host, now)).flatten();
        let asked = ask(targets.clone(), resolving, purpose);
        let asked = asked.map(move |(purpose, answered)| (now, targets, purpose, answered));
        self.running.push(asked.boxed());
    }

    /// Asks these hosts by ARP and neighbour solicitation as well. What cannot be asked, or heard,
    /// shows nothing.
    fn resolve(&mut self, targets: &[SocketAddr], host: &Host, now: Instant) -> Option<Resolving> {
        self.resolve_at = now + CALIBRATION;
        let asked = |target: &SocketAddr| {
            let link = host.link_towards(target.ip())?;
            Some((*target, link, question(link, target.ip(), host)?))
        };
        let asked: Vec<(SocketAddr, &Link, Vec<u8>)> = targets.iter().filter_map(asked).collect();
        let resolving = Resolving::listen(asked.iter().map(|(target, ..)| *target).collect());
        let resolving = resolving.ok()?;
        let sent = asked.iter().map(|(_, link, frame)| self.announcer.send(link, frame));
        let any = sent.fold(false, |any, sent| any | sent.is_ok());
        any.then_some(resolving)
    }

    /// Waits until a test ended; `None` if it was only learned who answers. Nothing is lost if
    /// this is dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<Tested> {
        let Some((begun, asked, purpose, mut answered)) = self.running.next().await else {
            return std::future::pending().await;
        };
        if begun < self.changed_at {
            answered.echoed.retain(|host| !self.peers.contains(&host.ip()));
        } else {
            self.hosts.learn(&answered, begun);
        }
        match purpose {
            Purpose::Learn => None,
            Purpose::Test => {
                self.testing = false;
                Some(Tested::Host(self.hosts.verdict(&asked, &answered)))
            }
            Purpose::TestLink(link) => {
                Some(Tested::Link(link, self.hosts.verdict(&asked, &answered)))
            }
        }
    }
}
