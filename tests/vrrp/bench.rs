//! A host with one virtual router, packets for it, and what comes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use buoy::protocol::{GroupKey, HardwareAddress, Instant, Outside};
use buoy::vrrp::{
    Action, Advertisement, Authentication, Datagram, Family, Form, HOP_LIMIT, Hosts, MULTICAST_V4,
    Members, Note, Refusal, Router, Routers, Seat, Settings, Standing, Version, decode, encode,
};

pub(crate) const GROUP: GroupKey = GroupKey(7);
pub(crate) const LINK: u32 = 2;
/// Where this host speaks from.
pub(crate) const HERE: [u8; 4] = [192, 0, 2, 11];
/// Another member of the cluster.
pub(crate) const MEMBER: [u8; 4] = [192, 0, 2, 10];
/// Addresses of hosts outside, below and above this one.
pub(crate) const BELOW: [u8; 4] = [192, 0, 2, 9];
pub(crate) const ABOVE: [u8; 4] = [192, 0, 2, 12];
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const THEIRS: HardwareAddress = HardwareAddress([2, 0, 0, 0, 0, 9]);
pub(crate) const MEMBERS: HardwareAddress = HardwareAddress([2, 0, 0, 0, 0, 10]);

/// VRID 51, priority 150, one address, an interval of a second.
pub(crate) fn settings(version: Version) -> Settings {
    Settings {
        version,
        id: 51,
        priority: 150,
        interval: SECOND,
        authentication: Authentication::None,
        addresses: vec![[192, 0, 2, 100].into()],
        peers: Vec::new(),
        form: Form::Pseudo,
        preempt: true,
    }
}

/// What those settings would say.
pub(crate) fn advertisement(settings: &Settings) -> Advertisement {
    Advertisement {
        version: settings.version,
        id: settings.id,
        priority: settings.priority,
        interval: settings.interval,
        addresses: settings.addresses.clone(),
        authentication: settings.authentication,
    }
}

/// A packet of IPv4 with this payload.
pub(crate) fn packet(source: IpAddr, destination: IpAddr, hops: u8, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) else {
        panic!("{source} and {destination} are not IPv4")
    };
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![0x45, 0xc0, length[0], length[1], 0, 1, 0, 0, hops, 112, 0, 0];
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.extend(payload);
    bytes
}

/// One host.
pub(crate) fn hosts(address: [u8; 4], hardware: HardwareAddress) -> Hosts {
    let addresses = BTreeSet::from([IpAddr::from(address)]);
    Hosts { hardware: BTreeSet::from([hardware]), addresses }
}

/// The host.
pub(crate) struct Bench {
    pub(crate) routers: Routers,
    pub(crate) now: Instant,
    /// Everything that was done.
    pub(crate) done: Vec<(Instant, Action)>,
}

impl Bench {
    /// Has begun to listen.
    pub(crate) fn new(settings: Settings) -> Self {
        Self::with(vec![settings], &[])
    }

    /// The same with several families, and groups that are gone on with.
    pub(crate) fn with(settings: Vec<Settings>, resumed: &[GroupKey]) -> Self {
        let mut bench = Self {
            routers: Routers::default(),
            now: Instant::from_millis(1_000_000),
            done: Vec::new(),
        };
        let (now, living) = (bench.now, hosts(MEMBER, MEMBERS));
        let members = Members { living, ..Members::default() };
        let actions = bench.routers.know_members(now, members);
        assert_eq!(actions, []);
        let resumed: BTreeSet<GroupKey> = resumed.iter().copied().collect();
        let families: Vec<Family> =
            settings.iter().map(|settings| Family::of(settings.addresses[0])).collect();
        let wanted = BTreeMap::from([(GROUP, settings)]);
        let now = bench.now;
        let actions = bench.routers.configure(now, wanted, &resumed);
        bench.take(actions);
        for family in families {
            let source = match family {
                Family::V4 => HERE.into(),
                Family::V6 => "fe80::b".parse().unwrap(),
            };
            let seat = Some(Seat { link: LINK, source: Some(source) });
            let actions = bench.routers.seat(now, GROUP, family, seat);
            bench.take(actions);
        }
        bench
    }

    /// A backup that has listened to its end and heard nobody.
    pub(crate) fn idle(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        bench.pass(Duration::from_secs(5));
        assert_eq!(bench.outside(), Outside::Nobody);
        bench.done.clear();
        bench
    }

    /// The owner, who has just advertised.
    pub(crate) fn owner(settings: Settings) -> Self {
        let mut bench = Self::idle(settings);
        bench.stand(Standing::Held);
        assert_eq!(bench.priorities(), [150]);
        bench.done.clear();
        bench
    }

    pub(crate) fn stand(&mut self, standing: Standing) {
        let actions = self.routers.stand(self.now, GROUP, standing);
        self.take(actions);
    }

    fn take(&mut self, actions: Vec<Action>) {
        let now = self.now;
        self.done.extend(actions.into_iter().map(|action| (now, action)));
    }

    /// Lets time pass, in steps that end at each deadline.
    pub(crate) fn pass(&mut self, length: Duration) {
        let end = self.now + length;
        for _ in 0..10_000 {
            let next = self.routers.deadline(self.now).min(end);
            assert!(next > self.now || next == end, "a deadline of the past");
            self.now = next.max(self.now);
            let actions = self.routers.proceed(self.now);
            self.take(actions);
            if self.now == end {
                return;
            }
        }
        panic!("time does not pass");
    }

    /// The process stands still for so long.
    pub(crate) fn pause(&mut self, length: Duration) {
        self.now = self.now + length;
        let actions = self.routers.proceed(self.now);
        self.take(actions);
    }

    /// Hears a packet from somebody outside.
    pub(crate) fn hear(&mut self, packet: &[u8]) {
        self.hear_from(Some(THEIRS), packet);
    }

    pub(crate) fn hear_from(&mut self, hardware: Option<HardwareAddress>, packet: &[u8]) {
        let actions = self.routers.receive(self.now, LINK, hardware, packet);
        self.take(actions);
    }

    /// Hears an advertisement by multicast.
    pub(crate) fn advertised(&mut self, source: [u8; 4], advertisement: &Advertisement) {
        let multicast = MULTICAST_V4.into();
        let payload = encode(advertisement, Form::Pseudo, source.into(), multicast);
        self.hear(&packet(source.into(), multicast, HOP_LIMIT, &payload));
    }

    /// What the protocol has been told last.
    pub(crate) fn outside(&self) -> Outside {
        let told = self.done.iter().rev().find_map(|(_, action)| match action {
            Action::Tell(group, outside) => Some((*group, *outside)),
            Action::Send { .. } | Action::Announce(_) | Action::Forget(_) | Action::Note(..) => {
                None
            }
        });
        let now = self.router().outside(self.now);
        if let Some((group, told)) = told {
            assert_eq!(group, GROUP);
            if self.routers.each().count() == 1 {
                assert_eq!(told, now, "what is told is what is so");
            }
            return told;
        }
        now
    }

    /// The priorities of what was sent.
    pub(crate) fn priorities(&self) -> Vec<u8> {
        self.sent().into_iter().map(|(_, advertisement)| advertisement.priority).collect()
    }

    /// What was sent, as somebody else reads it.
    pub(crate) fn sent(&self) -> Vec<(Instant, Advertisement)> {
        let read = |(at, action): &(Instant, Action)| match action {
            Action::Send { link, source, destination, payload } => {
                assert_eq!(*link, LINK);
                let (source, destination) = (*source, *destination);
                let datagram = Datagram { source, destination, hop_limit: HOP_LIMIT, payload };
                Some((*at, decode(&datagram).unwrap().advertisement))
            }
            Action::Announce(_) | Action::Tell(..) | Action::Forget(_) | Action::Note(..) => None,
        };
        self.done.iter().filter_map(read).collect()
    }

    pub(crate) fn announces(&self) -> usize {
        self.done.iter().filter(|(_, action)| matches!(action, Action::Announce(_))).count()
    }

    pub(crate) fn notes(&self) -> Vec<Note> {
        let note = |(_, action): &(Instant, Action)| match action {
            Action::Note(_, _, note) => Some(note.clone()),
            Action::Send { .. } | Action::Announce(_) | Action::Tell(..) | Action::Forget(_) => {
                None
            }
        };
        self.done.iter().filter_map(note).collect()
    }

    pub(crate) fn router(&self) -> &Router {
        self.routers.each().next().map(|(_, _, router, _)| router).unwrap()
    }

    /// Everything refused, by the router or before it.
    pub(crate) fn refused(&self) -> Vec<(Refusal, u64)> {
        self.router().refusals().counts().chain(self.routers.refusals().counts()).collect()
    }
}
