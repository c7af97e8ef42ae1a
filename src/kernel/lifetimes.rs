//! Lifetimes: where there is no gate, addresses end by themselves unless they are prolonged.
//!
//! The kernel counts whole seconds and removes an address up to half a second late, never early.
//! Prolonging is adding once more what is there. It would also add what is not, so it must not be
//! done by anybody but the thread that removes: `fence` calls this for `apply`, between events.
//!
//! Costs: 1000 addresses of IPv4 some 10 ms a round, of IPv6 200 ms, because the kernel looks
//! through all of them for each; so it goes by portions, between which other work has its turn.
//!
//! ```text
//!   new address: | family | prefix | 0 | 0 | link index 4 |  local, address, lifetimes, our mark
//!   lifetimes:   | preferred 4 | valid 4 | 0 | 0 |    in seconds
//! ```

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use tokio::time::Instant as Moment;

use super::Vouched;
use super::addresses;
use super::leftovers::{self, DELETE_ADDRESS};
use super::links::Place;
use super::mark::{Mark, PROTOCOL_TAG};
use super::reconcile::Reconciler;
use crate::netlink::{ACKNOWLEDGE, Conversation, REQUEST, append_attribute, append_message};

const NEW_ADDRESS: u16 = 20;
/// Replace what is there.
const REPLACE: u16 = 0x100;
/// Where the scope is in the message.
const SCOPE: usize = 3;
const CACHE_INFO: u16 = 6;
const FLAGS: u16 = 8;
const PRIORITY: u16 = 9;
const PROTOCOL: u16 = 11;
const FLAG_NO_DAD: u32 = 0x02;
const FLAG_NO_PREFIX_ROUTE: u32 = 0x200;
/// Addresses prolonged before other work gets its turn; 13 ms with 1000 of IPv6.
const PORTION: usize = 64;
/// Rounds in a lifetime: some may be late.
const ROUNDS: u32 = 6;
/// How soon it is noticed that the node is sure of itself again.
pub(super) const CLOSED: Duration = Duration::from_millis(50);

/// Prolongs what is here.
#[derive(Debug)]
pub(super) struct Refresher {
    seconds: u32,
    mark: Mark,
    vouched: Vouched,
    conversation: Conversation,
    /// When the last round began.
    begun: Moment,
    /// When the next round begins.
    due: Moment,
    /// Of the round that goes on.
    waiting: VecDeque<Place>,
}

impl Refresher {
    /// Prolongs nothing yet.
    pub(super) fn new(seconds: u32, mark: Mark, vouched: Vouched) -> io::Result<Self> {
        let conversation = Conversation::open(NETLINK_ROUTE)?;
        let (begun, due) = (Moment::now(), Moment::now());
        Ok(Self { seconds, mark, vouched, conversation, begun, due, waiting: VecDeque::new() })
    }

    /// How long an address lives, in seconds.
    pub(super) const fn seconds(&self) -> u32 {
        self.seconds
    }

    /// Whether what was prolonged in the last round may have ended since.
    pub(super) fn lapsed(&self) -> bool {
        self.begun.elapsed() >= Duration::from_secs(self.seconds.into())
    }

    /// When [`Refresher::proceed`] has to be called.
    pub(super) fn deadline(&self) -> Moment {
        self.due
    }

    /// Prolongs a portion, if it is time.
    pub(super) fn proceed(&mut self, reconciler: &Reconciler) {
        if Moment::now() < self.due {
            return;
        }
        if !self.vouched.holds() {
            self.waiting.clear();
            self.due = Moment::now() + CLOSED;
            return;
        }
        if self.waiting.is_empty() {
            self.waiting = reconciler.held().collect();
            self.begun = Moment::now();
        }
        let portion = self.waiting.drain(..self.waiting.len().min(PORTION));
        // What has begun to go since the round began must go.
        let portion: Vec<Place> = portion.filter(|place| reconciler.holds(place)).collect();
        self.prolong(&portion);
        if self.waiting.is_empty() {
            let pause = Duration::from_secs(self.seconds.into()) / ROUNDS;
            self.due = Moment::now() + pause;
        }
    }

    fn prolong(&mut self, places: &[Place]) {
        let (valid, mark) = (self.seconds, self.mark);
        let add = |place: &Place| (NEW_ADDRESS, REPLACE, new_address(place, valid, mark));
        let mut outcome = self.send(places, add);
        if !self.vouched.holds() {
            // This thread stood still in between, and what it has prolonged may have been gone.
            outcome = self.send(places, |place| (DELETE_ADDRESS, 0, leftovers::body(place)));
        }
        if let Err(error) = outcome {
            tracing::warn!(%error, "lifetimes of addresses cannot be extended");
        }
    }

    fn send(
        &mut self,
        places: &[Place],
        message: impl Fn(&Place) -> (u16, u16, Vec<u8>),
    ) -> io::Result<()> {
        let mut datagram = Vec::new();
        for place in places {
            let (kind, flags, body) = message(place);
            append_message(&mut datagram, kind, REQUEST | ACKNOWLEDGE | flags, 0, &body);
        }
        if datagram.is_empty() {
            return Ok(());
        }
        drop(self.conversation.refusals());
        self.conversation.send(&datagram)?;
        match self.conversation.refusals().first() {
            None => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(*code)),
        }
    }
}

fn new_address(place: &Place, valid: u32, mark: Mark) -> Vec<u8> {
    let mut body = leftovers::body(place);
    if let Some(scope) = body.get_mut(SCOPE) {
        *scope = addresses::scope(place);
    }
    let (preferred, flags) = match place.address {
        IpAddr::V4(_) => (valid, FLAG_NO_PREFIX_ROUTE),
        // See `addresses`.
        IpAddr::V6(_) => (0, FLAG_NO_PREFIX_ROUTE | FLAG_NO_DAD),
    };
    let lifetimes = [preferred, valid, 0, 0].map(u32::to_ne_bytes).concat();
    append_attribute(&mut body, CACHE_INFO, &lifetimes);
    append_attribute(&mut body, FLAGS, &flags.to_ne_bytes());
    append_attribute(&mut body, PRIORITY, &mark.value().to_ne_bytes());
    append_attribute(&mut body, PROTOCOL, &[PROTOCOL_TAG]);
    body
}
