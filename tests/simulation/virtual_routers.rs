//! VRRP between the cluster and one router outside of it: group 0 is a virtual router.
//!
//! ```text
//!   node --(voice, members)--> vrrp::Routers --(advertisement)--> the router outside, other members
//!        <----(Outside)-------              <-(advertisement)---
//! ```
//!
//! The members' side is the real `vrrp`, driven as the daemon's thread drives it. The router outside is a
//! model of keepalived 2.2.7 or FRR 8.4.4 as they were measured (version 3, preempting, one
//! advertisement a second). Advertisements take as long as other frames, and none is lost.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use buoy::protocol::{Event, HardwareAddress, Instant, Outside, Voice};
use buoy::vrrp::{
    Action, Advertisement, Authentication, Datagram, Family, Form, HOP_LIMIT, MULTICAST_V4,
    Members, PROTOCOL, Routers, Seat, Settings, Standing, Version, decode, encode,
};

use crate::cluster::{Cluster, Happening};
use crate::conflicts::{CONFLICTING, hardware};
use crate::draw::{MICROSECOND, MILLISECOND, SECOND};
use crate::trace::note;

/// The only link.
const LINK: u32 = 2;
/// The group that is a virtual router.
pub(crate) const GROUP: usize = 0;
/// What the cluster says of itself.
pub(crate) const OURS: u8 = 150;
/// Lower than that of any member, so that equal priorities would be decided for the members.
const THEIRS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));

/// Which program the router outside runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It advertises, has the address some milliseconds later, and announces it often.
    Keepalived,
    /// It has the address, announces it once, and advertises a moment later.
    Frr,
}

/// What waits to happen.
#[derive(Debug)]
pub(crate) enum Vrrp {
    /// An advertisement reaches a member, or the router outside.
    Packet { to: Option<usize>, from: HardwareAddress, packet: Vec<u8> },
    /// A member is told what is outside.
    Tell { host: usize, life: u64, outside: Outside },
    /// A member's deadline has come.
    Due { host: usize, generation: u64 },
    /// That of the router outside.
    OutsideDue { generation: u64 },
    /// The router outside has the address from now on, or has it no more.
    Address { has: bool, change: u64 },
    /// It announces the address.
    Announce { change: u64 },
}

/// The thread of virtual routers of one daemon.
#[derive(Debug)]
struct Member {
    routers: Routers,
    life: u64,
    voice: Voice,
    members: Members,
    generation: u64,
}

/// The router outside.
#[derive(Debug)]
struct RouterOutside {
    kind: Kind,
    priority: u8,
    active: bool,
    /// Names what was planned last; older plans are void.
    generation: u64,
    /// The same of its address.
    change: u64,
}

/// What there is of all that.
#[derive(Debug, Default)]
pub(crate) struct VirtualRouters {
    members: BTreeMap<usize, Member>,
    outside: Option<RouterOutside>,
    /// Whether the configuration has a virtual router.
    configured: bool,
}

impl VirtualRouters {
    /// Whether the group is a virtual router.
    pub(crate) fn are(&self, group: usize) -> bool {
        self.configured && group == GROUP
    }

    /// Whether the router outside is active, by what it says itself.
    pub(crate) fn outside_is_active(&self) -> bool {
        self.outside.as_ref().is_some_and(|router| router.active)
    }
}

fn address(host: usize) -> IpAddr {
    Ipv4Addr::new(10, 9, 0, 10 + u8::try_from(host).expect("few hosts")).into()
}

fn settings(priority: u8) -> Settings {
    Settings {
        version: Version::V3,
        id: 51,
        priority,
        interval: Duration::from_secs(1),
        authentication: Authentication::None,
        addresses: vec![Ipv4Addr::new(10, 0, 0, 1).into()],
        peers: Vec::new(),
        form: Form::Pseudo,
        preempt: true,
    }
}

/// `Active_Down_Interval` and `Skew_Time` at one advertisement a second (RFC 9568 6.1).
fn down_and_skew(priority: u8) -> (u64, u64) {
    let skew = SECOND * (256 - u64::from(priority)) / 256;
    (3 * SECOND + skew, skew)
}

/// From the IP header on.
fn packet(source: IpAddr, payload: &[u8]) -> Vec<u8> {
    let IpAddr::V4(from) = source else { panic!("{source} is not IPv4") };
    let [high, low] = u16::try_from(20 + payload.len()).expect("short").to_be_bytes();
    let mut bytes = vec![0x45, 0xc0, high, low, 0, 1, 0, 0, HOP_LIMIT, PROTOCOL, 0, 0];
    bytes.extend(from.octets());
    bytes.extend(MULTICAST_V4.octets());
    bytes.extend(payload);
    bytes
}

impl Cluster {
    /// A file that makes group 0 a virtual router is taken in by all members at once.
    pub(crate) fn make_virtual_router(&mut self) {
        self.virtual_routers.configured = true;
        for host in 0..self.hosts.len() {
            self.begin_virtual_routers(host);
        }
    }

    /// A daemon starts, or takes in the file: what is outside is not known yet.
    pub(crate) fn begin_virtual_routers(&mut self, host: usize) {
        if !self.virtual_routers.configured || self.hosts[host].node.is_none() {
            return;
        }
        let now = self.hosts[host].clock.read(self.now);
        let mut routers = Routers::default();
        let wanted = BTreeMap::from([(self.groups[GROUP], vec![settings(OURS)])]);
        let mut actions = routers.configure(now, wanted, &[].into());
        let seat = Some(Seat { link: LINK, source: Some(address(host)) });
        actions.extend(routers.seat(now, self.groups[GROUP], Family::V4, seat));
        let life = self.hosts[host].life;
        let (voice, members, generation) = (Voice::Silent, Members::default(), 0);
        let member = Member { routers, life, voice, members, generation };
        self.virtual_routers.members.insert(host, member);
        let outside = Some(Outside::Unknown);
        self.step(host, Event::Outside { group: self.groups[GROUP], outside });
        self.act_outside(host, actions);
    }

    /// After each step of a node: what it is to the outside, and who belongs to it.
    pub(crate) fn follow_voice(&mut self, host: usize) {
        let life = self.hosts[host].life;
        let Some(member) = self.virtual_routers.members.get_mut(&host) else { return };
        let Some(node) = self.hosts[host].node.as_ref().filter(|_| member.life == life) else {
            return;
        };
        let now = self.hosts[host].clock.read(self.now);
        let mut members = Members::default();
        for (id, lives, told) in node.members() {
            let hosts = if lives { &mut members.living } else { &mut members.silent };
            hosts.hardware.extend(told);
            hosts.addresses.insert(address(self.index[&id]));
        }
        let mut actions = Vec::new();
        if members != member.members {
            member.members = members.clone();
            actions.extend(member.routers.know_members(now, members));
        }
        let voice = node.voice(self.groups[GROUP]);
        if voice != member.voice {
            member.voice = voice;
            let standing = match voice {
                Voice::Silent => Standing::Away,
                Voice::Speaks => Standing::Held,
                Voice::Yields => Standing::Yielding,
            };
            actions.extend(member.routers.stand(now, self.groups[GROUP], standing));
        }
        self.act_outside(host, actions);
    }

    /// Does what a member's virtual router wants, and plans its next deadline.
    fn act_outside(&mut self, host: usize, actions: Vec<Action>) {
        let life = self.hosts[host].life;
        for action in actions {
            match action {
                Action::Send { payload, .. } => {
                    let packet = packet(address(host), &payload);
                    self.advertise(Some(host), hardware(host), &packet);
                }
                Action::Announce(_) => {
                    let happening = Happening::Broadcast { host, life, group: GROUP };
                    self.schedule(self.now + 100 * MICROSECOND, happening);
                }
                Action::Tell(_, outside) => {
                    let at = self.now + self.draw.between(20 * MICROSECOND, 200 * MICROSECOND);
                    self.schedule(at, Happening::Vrrp(Vrrp::Tell { host, life, outside }));
                }
                Action::Forget(_) | Action::Note(..) => {}
            }
        }
        let now = self.hosts[host].clock.read(self.now);
        let Some(member) = self.virtual_routers.members.get_mut(&host) else { return };
        member.generation += 1;
        let due = member.routers.deadline(now);
        if due != Instant::NEVER {
            let generation = member.generation;
            let at = self.hosts[host].clock.moment(due) + 1;
            self.schedule(at, Happening::Vrrp(Vrrp::Due { host, generation }));
        }
    }

    /// An advertisement is on the network.
    fn advertise(&mut self, sender: Option<usize>, from: HardwareAddress, packet: &[u8]) {
        let hosts = (0..self.hosts.len()).filter(|host| Some(*host) != sender).map(Some);
        let outside = sender.map(|_| None);
        for to in hosts.chain(outside) {
            let at = self.now + self.draw.between(20 * MICROSECOND, 200 * MICROSECOND);
            let packet = packet.to_vec();
            self.schedule(at, Happening::Vrrp(Vrrp::Packet { to, from, packet }));
        }
    }

    /// Something of this happens.
    pub(crate) fn vrrp(&mut self, what: Vrrp) {
        match what {
            Vrrp::Packet { to: Some(host), from, packet } => {
                self.member_receives(host, from, &packet)
            }
            Vrrp::Packet { to: None, packet, .. } => self.router_receives(&packet),
            Vrrp::Tell { host, life, outside } => {
                let again = || Happening::Vrrp(Vrrp::Tell { host, life, outside });
                if self.lets_run(host, life, again) {
                    note!(self, "n{host} is told that outside is {outside:?}");
                    let event =
                        Event::Outside { group: self.groups[GROUP], outside: Some(outside) };
                    self.step(host, event);
                    self.arm_timer(host);
                }
            }
            Vrrp::Due { host, generation } => self.member_is_due(host, generation),
            Vrrp::OutsideDue { generation } => self.router_is_due(generation),
            Vrrp::Address { has, change } if self.is_last(change) => {
                if has {
                    self.conflict_comes(GROUP)
                } else {
                    self.conflict_goes(GROUP)
                }
                self.refresh_clients();
            }
            Vrrp::Announce { change } if self.is_last(change) => {
                self.conflict_speaks(GROUP);
            }
            Vrrp::Address { .. } | Vrrp::Announce { .. } => {}
        }
    }

    fn voice_of(&mut self, host: usize) -> Option<&mut Member> {
        let this = &self.hosts[host];
        let runs = this.is_running();
        let life = this.life;
        self.virtual_routers.members.get_mut(&host).filter(|member| runs && member.life == life)
    }

    fn member_receives(&mut self, host: usize, from: HardwareAddress, packet: &[u8]) {
        let now = self.hosts[host].clock.read(self.now);
        let Some(member) = self.voice_of(host) else { return };
        let actions = member.routers.receive(now, LINK, Some(from), packet);
        self.act_outside(host, actions);
    }

    fn member_is_due(&mut self, host: usize, generation: u64) {
        let now = self.hosts[host].clock.read(self.now);
        let Some(member) = self.voice_of(host) else { return };
        if member.generation == generation {
            let actions = member.routers.proceed(now);
            self.act_outside(host, actions);
        }
    }

    /// A router outside begins to listen.
    pub(crate) fn start_router(&mut self, kind: Kind, priority: u8) {
        note!(self, "-- a router outside starts: {kind:?} with priority {priority}");
        let router = RouterOutside { kind, priority, active: false, generation: 0, change: 0 };
        self.virtual_routers.outside = Some(router);
        self.plan_router(down_and_skew(priority).0);
    }

    /// Its file is changed, and read again.
    pub(crate) fn change_router(&mut self, priority: u8) {
        note!(self, "-- the router outside has priority {priority}");
        if let Some(router) = &mut self.virtual_routers.outside {
            router.priority = priority;
        }
    }

    /// It is stopped: it says so, and removes the address.
    pub(crate) fn stop_router(&mut self) {
        note!(self, "-- the router outside stops");
        let Some(router) = &mut self.virtual_routers.outside else { return };
        if std::mem::take(&mut router.active) {
            self.router_says(0);
            self.router_lets_go();
        }
        if let Some(router) = &mut self.virtual_routers.outside {
            router.priority = 0;
        }
    }

    fn is_planned(&self, generation: u64) -> bool {
        self.virtual_routers.outside.as_ref().is_some_and(|it| it.generation == generation)
    }

    fn is_last(&self, change: u64) -> bool {
        self.virtual_routers.outside.as_ref().is_some_and(|it| it.change == change)
    }

    fn plan_router(&mut self, length: u64) {
        let Some(router) = &mut self.virtual_routers.outside else { return };
        router.generation += 1;
        let generation = router.generation;
        self.schedule(self.now + length, Happening::Vrrp(Vrrp::OutsideDue { generation }));
    }

    fn router_says(&mut self, priority: u8) {
        let Settings { version, id, interval, authentication, addresses, .. } = settings(priority);
        let said = Advertisement { version, id, priority, interval, addresses, authentication };
        let payload = encode(&said, Form::Pseudo, THEIRS, MULTICAST_V4.into());
        self.advertise(None, CONFLICTING, &packet(THEIRS, &payload));
    }

    fn router_lets_go(&mut self) {
        let Some(router) = &mut self.virtual_routers.outside else { return };
        router.active = false;
        let (kind, down) = (router.kind, down_and_skew(router.priority).0);
        self.plan_router(down);
        self.change_address(kind, false);
    }

    /// Has the address a moment later, or has it no more.
    fn change_address(&mut self, kind: Kind, has: bool) {
        let Some(router) = &mut self.virtual_routers.outside else { return };
        router.change += 1;
        let change = router.change;
        let (at, rounds) = match kind {
            Kind::Keepalived => {
                (self.now + self.draw.between(MILLISECOND, 10 * MILLISECOND), [0, 5 * SECOND])
            }
            Kind::Frr => (self.now, [0, 0]),
        };
        self.schedule(at, Happening::Vrrp(Vrrp::Address { has, change }));
        for round in rounds.into_iter().filter(|_| has) {
            self.schedule(at + round, Happening::Vrrp(Vrrp::Announce { change }));
        }
    }

    fn router_is_due(&mut self, generation: u64) {
        if !self.is_planned(generation) {
            return;
        }
        let Some(router) = &mut self.virtual_routers.outside else { return };
        if router.priority == 0 {
            return;
        }
        let (kind, priority) = (router.kind, router.priority);
        let begins = !std::mem::replace(&mut router.active, true);
        if begins {
            note!(self, "the router outside becomes active");
        }
        self.schedule_rounds(begins.then_some(kind));
        self.router_says(priority);
    }

    /// Goes on to advertise; what begins takes the address too. Later plans do not void that.
    fn schedule_rounds(&mut self, begins: Option<Kind>) {
        let Some(router) = &mut self.virtual_routers.outside else { return };
        if begins.is_some() {
            router.generation += 1;
        }
        let generation = router.generation;
        self.schedule(self.now + SECOND, Happening::Vrrp(Vrrp::OutsideDue { generation }));
        if let Some(kind) = begins {
            self.change_address(kind, true);
        }
    }

    /// Measured: who is active gives way to a higher priority, or the same from a higher address, and
    /// answers a lower one; who is backup counts what is not lower.
    fn router_receives(&mut self, packet: &[u8]) {
        let Ok(datagram) = Datagram::read(packet) else { return };
        let Ok(heard) = decode(&datagram) else { return };
        let Some(router) = &self.virtual_routers.outside else { return };
        let (said, ours, kind) = (heard.advertisement.priority, router.priority, router.kind);
        let (down, skew) = down_and_skew(ours);
        match (router.active, said) {
            _ if ours == 0 => {}
            (true, 0) => self.router_says(ours),
            (true, _) if said > ours || said == ours && datagram.source > THEIRS => {
                note!(self, "the router outside gives way");
                self.router_lets_go();
            }
            (true, _) if kind == Kind::Keepalived => {
                self.router_says(ours);
                self.conflict_speaks(GROUP);
            }
            (true, _) => {}
            (false, 0) => self.plan_router(skew),
            (false, _) if said >= ours => self.plan_router(down),
            (false, _) => {}
        }
    }
}
