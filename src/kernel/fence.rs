//! What keeps a dead daemon's addresses from being answered, as `apply` uses it.
//!
//! Addresses are put behind the gate before they come and taken from it when they are gone. If
//! somebody keeps us from that, groups in mode `Availability` come all the same, because an address
//! without a fence is better than none; groups in mode `Majority` do not, and go if they are here.
//! Doors are opened elsewhere (see `gate`). Where there can be no gate at all, addresses get
//! lifetimes (see `lifetimes`), or the start fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant as Moment;

use super::forward::{Forward, Forwards};
use super::gate::{Door, Gate};
use super::lifetimes::{CLOSED, Refresher};
use super::links::{Host, Place};
use super::mark::Mark;
use super::mute::Disguise;
use super::reconcile::{Change, Reconciler, Refusal};
use super::ruleset::Cover;
use super::scoped::Scoped;
use super::tables::Shared;
use super::{FenceSettings, Fenced, GateWanted, StartError, Vouched};
use crate::protocol::{GroupKey, Instant, Mode, Preserving, shortened};

/// What replacing a gate may take.
const WRITE: Duration = Duration::from_millis(2);
/// How often it is tried to replace one within the time that was taken off for it.
const ATTEMPTS: u32 = 3;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Fence {
    gate: Option<(Gate, String)>,
    lifetimes: Option<Refresher>,
    /// `None` without a fence: everything may come.
    vouched: Option<Vouched>,
    /// Addresses that have gone and are still covered.
    uncovered: BTreeSet<Scoped>,
    /// Some that are covered may be of one link.
    zoned: bool,
    /// Groups whose former owners get what is theirs.
    forwards: Forwards,
}

impl Fence {
    /// Builds the gate, or does without as far as that is allowed; `majority` tells that some group
    /// is in that mode.
    pub(super) fn open(wanted: Option<FenceSettings>, majority: bool) -> Result<Self, StartError> {
        let Some(FenceSettings { table, vouched, lifetime, preserve }) = wanted else {
            return Ok(Self::default());
        };
        let mark = Mark::of(&table);
        let fence = Self { vouched: Some(vouched.clone()), ..Self::default() };
        let source = match Gate::open(table.clone(), preserve) {
            Ok(gate) => {
                if !gate.owned() {
                    tracing::warn!(
                        table,
                        "this kernel cannot keep other programs from removing the gate (that \
                         needs Linux 6.9): after \"nft flush ruleset\", for example, addresses \
                         that must be silent answer until the gate is restored; groups in mode \
                         majority do not preserve connections here"
                    );
                }
                return Ok(Self { gate: Some((gate, table)), ..fence });
            }
            Err(source) => source,
        };
        let (wanted, lifetime) = match lifetime {
            Some(seconds) if !majority => (GateWanted::Required, Some(seconds)),
            Some(_) => (GateWanted::Majority, None),
            None => (GateWanted::Required, None),
        };
        let Some(seconds) = lifetime else {
            return Err(StartError::NoGate { table, wanted, source });
        };
        tracing::warn!(
            error = %source,
            "the gate cannot be made in nf_tables: the addresses of a daemon that dies expire \
             after {seconds} s instead"
        );
        let lifetimes = Refresher::new(seconds, mark, vouched).map_err(StartError::Netlink)?;
        Ok(Self { lifetimes: Some(lifetimes), ..fence })
    }

    /// Goes on with what keeps the addresses that a process before this one has left: for what is
    /// left of its word, and without a moment in which they are not kept, or held back.
    pub(super) fn adopt(
        wanted: Option<FenceSettings>,
        granted: Option<&Vouched>,
        reconciler: &Reconciler,
    ) -> Result<Self, StartError> {
        let Some(settings) = wanted else { return Ok(Self::default()) };
        let FenceSettings { table, vouched, preserve, .. } = settings.clone();
        let places: Vec<Place> = reconciler.held().collect();
        let cover = |place: &Place| {
            let scoped = Scoped::of(place);
            (scoped, Cover::Behind(Door::of(reconciler.mode(scoped))))
        };
        let covered: BTreeMap<Scoped, Cover> = places.iter().map(cover).collect();
        let zoned = covered.keys().any(|it| it.zone().is_some());
        // The kernel counts from when it carries it out.
        let adopt = |allowed: Duration| {
            let left = (vouched.0)().saturating_sub(WRITE);
            let granted = granted.map(|it| shortened((it.0)().saturating_sub(allowed)));
            let granted = granted.filter(|left| *left >= Duration::from_millis(1));
            let lefts = Door::ALL.map(|door| match door {
                Door::Vouched => Some(left),
                Door::Granted => granted,
            });
            let adopt = |mutes| Gate::adopt(table.clone(), covered.clone(), (lefts, mutes));
            // A kernel that cannot mute refuses the tables with what that needs.
            adopt(preserve).or_else(|error| if preserve { adopt(false) } else { Err(error) })
        };
        let source = match adopt_in_time(granted, adopt) {
            Ok(mut gate) => {
                gate.try_forwarding();
                let gate = Some((gate, table));
                return Ok(Self { gate, vouched: Some(vouched), zoned, ..Self::default() });
            }
            Err(source) => source,
        };
        let fence = Self::open(Some(settings), false)?;
        if fence.gate.is_some() {
            // There can be one, but it was not taken over: nothing can go on.
            return Err(StartError::NoGate { table, wanted: GateWanted::Required, source });
        }
        Ok(fence)
    }

    /// What is in force.
    pub(super) fn in_force(&self) -> Fenced {
        match (&self.gate, &self.lifetimes) {
            (Some((_, table)), _) => Fenced::Gate(table.clone()),
            (None, Some(lifetimes)) => Fenced::Lifetimes(lifetimes.seconds()),
            (None, None) => Fenced::Nothing,
        }
    }

    /// Why connections cannot be preserved here; `None` if they can.
    pub(super) fn no_preserving(&self) -> Option<String> {
        match &self.gate {
            Some((gate, _)) => gate.unmutable().map(str::to_owned),
            None => Some("there is no gate in nf_tables".to_owned()),
        }
    }

    /// Whether connections can be preserved here, in one word.
    pub(super) fn preserving(&self) -> Preserving {
        match &self.gate {
            None => Preserving::NoGate,
            Some((gate, _)) if gate.unmutable().is_some() => Preserving::NoKernelSupport,
            Some((gate, _)) if gate.owned() => Preserving::Able,
            Some(_) => Preserving::AvailabilityOnly,
        }
    }

    /// Mutes addresses of one link that stay here for their connections. At those that are `late`
    /// connections may begin for a while: their clients may not know yet that another host has them.
    pub(super) fn mute(
        &mut self,
        addresses: &BTreeSet<Scoped>,
        late: &BTreeSet<Scoped>,
        link: &Disguise,
    ) -> io::Result<()> {
        let (gate, _) = self.gate.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        gate.mute(addresses, late, link)
    }

    /// Ends that for addresses that are this host's again.
    pub(super) fn unmute(&mut self, addresses: &[Scoped], mode: Mode) {
        let Some((gate, _)) = &mut self.gate else { return };
        if let Err(error) = gate.unmute(addresses, Door::of(mode)) {
            tracing::error!(%error, "addresses stay muted");
        }
    }

    /// Sends the former owner of these groups what is its own, from now on.
    pub(super) fn forward(
        &mut self,
        groups: BTreeMap<GroupKey, Vec<IpAddr>>,
        way: &Forward,
    ) -> io::Result<()> {
        let (gate, _) = self.gate.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        self.forwards.begin(gate, groups, way)
    }

    /// Ends that.
    pub(super) fn stop_forwarding(&mut self, groups: &[GroupKey]) {
        if let Some((gate, _)) = &mut self.gate {
            self.forwards.end(gate, groups);
        }
    }

    /// How long an address lives that is added now, in seconds; `None` for ever.
    pub(super) fn lifetime(&self) -> Option<u32> {
        self.lifetimes.as_ref().map(Refresher::seconds)
    }

    /// Whether addresses may have ended by themselves because they were not prolonged in time.
    pub(super) fn lapsed(&self) -> bool {
        self.lifetimes.as_ref().is_some_and(Refresher::lapsed)
    }

    /// Whether an address may come now, or come back. While nobody vouches for this node its
    /// guardian removes what is here, and that must stay so until the node is sure of itself.
    pub(super) fn may_add(&self) -> bool {
        self.vouched.as_ref().is_none_or(Vouched::holds)
    }

    /// Who tells whether anybody vouches for this node.
    pub(super) fn vouched(&self) -> Option<Vouched> {
        self.vouched.clone()
    }

    /// When to look again whether anything has changed with time, and to [`Fence::prolong`].
    pub(super) fn deadline(&self) -> Option<Moment> {
        let lifetimes = self.lifetimes.as_ref().map(Refresher::deadline);
        let opens = (!self.may_add()).then(|| Moment::now() + CLOSED);
        lifetimes.into_iter().chain(opens).min()
    }

    /// Prolongs the lives of addresses, if it is time.
    pub(super) fn prolong(&mut self, reconciler: &Reconciler) {
        if let Some(lifetimes) = &mut self.lifetimes {
            lifetimes.proceed(reconciler);
        }
    }

    /// Puts addresses behind their doors before they come; takes from `changes` what must not.
    pub(super) fn cover(
        &mut self,
        changes: &mut Vec<Change>,
        reconciler: &mut Reconciler,
        now: Instant,
    ) {
        let coming = changes.iter().filter_map(|change| match change {
            Change::Add(place) => Some(*place),
            Change::Remove { .. } => None,
        });
        let coming: Vec<Place> = coming.collect();
        let Some((gate, _)) = self.gate.as_mut().filter(|_| !coming.is_empty()) else { return };
        for place in &coming {
            let scoped = Scoped::of(place);
            self.zoned |= scoped.zone().is_some();
            self.uncovered.remove(&scoped);
        }
        if cover(gate, &coming, reconciler).is_ok() {
            return;
        }
        let again = gate.rebuild().and_then(|()| cover(gate, &coming, reconciler));
        let Err(error) = again else { return };
        tracing::warn!(%error, "addresses are added without the gate");
        changes.retain(|change| {
            let adds = matches!(change, Change::Add(_));
            let refused = adds && reconciler.mode(Scoped::of(&change.place())) == Mode::Majority;
            if refused {
                reconciler.answered(change, Err(Refusal::Other(0)), now);
            }
            !refused
        });
    }

    /// Puts addresses behind the other door whose group has changed its mode.
    pub(super) fn change_doors(&mut self, reconciler: &mut Reconciler) {
        let Some((gate, _)) = &mut self.gate else { return };
        let covered =
            gate.covered().into_iter().map(|address| (address, cover_of(reconciler, address)));
        let doors: Vec<(Scoped, Cover)> = covered.collect();
        if gate.cover(doors.iter().copied()).is_ok() {
            return;
        }
        let rebuilt = gate.rebuild().and_then(|()| gate.cover(doors.into_iter()));
        if let Err(error) = rebuilt {
            tracing::error!(%error, "addresses cannot be moved to the other gate");
            reconciler.give_up(Mode::Majority);
        }
    }

    /// Has connections to these addresses that begin now go unanswered for a moment; tells whether
    /// they do.
    pub(super) fn hush(&mut self, addresses: &[Scoped]) -> bool {
        let Some((gate, _)) = &mut self.gate else { return false };
        gate.hush(addresses).is_ok()
    }

    /// Notes that an address has gone.
    pub(super) fn is_gone(&mut self, address: Scoped) {
        self.uncovered.insert(address);
    }

    /// Notes that what was on links that have gone is not here any more.
    pub(super) fn follow_links(&mut self, host: &Host) {
        let Some((gate, _)) = self.gate.as_ref().filter(|_| self.zoned) else { return };
        let gone = |it: &Scoped| it.zone().is_some_and(|link| host.link(link).is_none());
        self.uncovered.extend(gate.zoned().into_iter().filter(gone));
    }

    /// Lets those go from the gate that are not here any more.
    pub(super) fn uncover(&mut self) {
        let gone = std::mem::take(&mut self.uncovered);
        if let Some((gate, _)) = self.gate.as_mut().filter(|_| !gone.is_empty())
            && let Err(error) = gate.uncover(&gone)
        {
            tracing::debug!(%error, "removed addresses stay in the gate");
        }
    }

    /// The gate is gone and cannot be put back: what must not be answered for without it goes.
    pub(super) fn is_lost(&self, reconciler: &mut Reconciler) {
        if self.gate.is_some() {
            reconciler.give_up(Mode::Majority);
        }
    }

    /// For whoever renews the leases of the gate.
    pub(super) fn tables(&self) -> Option<Shared> {
        self.gate.as_ref().map(|(gate, _)| gate.tables().clone())
    }

    /// Whether connections of groups in this mode can be preserved here: what is kept for them must
    /// not be answered for when somebody removes the gate.
    pub(super) fn preserves(&self, mode: Mode) -> bool {
        match &self.gate {
            Some((gate, _)) => {
                gate.unmutable().is_none() && (mode == Mode::Availability || gate.owned())
            }
            None => false,
        }
    }

    /// Removes the gate, when all is gone.
    pub(super) fn remove(&mut self) {
        if let Some((gate, _)) = &mut self.gate
            && let Err(error) = gate.remove()
        {
            tracing::error!(%error, "the gate cannot be removed");
        }
    }
}

fn cover(gate: &mut Gate, coming: &[Place], reconciler: &Reconciler) -> io::Result<()> {
    gate.cover(coming.iter().map(Scoped::of).map(|scoped| (scoped, cover_of(reconciler, scoped))))
}

fn cover_of(reconciler: &Reconciler, address: Scoped) -> Cover {
    if reconciler.handed(address).is_some() {
        return Cover::Muted;
    }
    Cover::Behind(Door::of(reconciler.mode(address)))
}

/// Replaces the gate, again if that took longer than was taken off the leases of voters for it: a door
/// must not be open beyond them. After a few attempts that door stays closed.
fn adopt_in_time(
    granted: Option<&Vouched>,
    adopt: impl Fn(Duration) -> io::Result<Gate>,
) -> io::Result<Gate> {
    let left = || granted.map_or(Duration::ZERO, |granted| (granted.0)());
    let mut allowed = WRITE;
    for _ in 0..ATTEMPTS {
        let before = left();
        let gate = adopt(allowed)?;
        let took = before.saturating_sub(left());
        if took <= allowed {
            return Ok(gate);
        }
        allowed = took * 2;
    }
    adopt(Duration::MAX)
}
