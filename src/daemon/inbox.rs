//! The one way into the protocol thread besides its sockets.
//!
//! A bounded queue and an `eventfd` that makes the thread's poll return. Kernel events are
//! delivered, which blocks the sender while the queue is full: they must not be lost, and the
//! kernel thread can wait, for the protocol thread never waits for it. Everything asked by
//! people is offered, and refused when the queue is full. Once the loop has ended, deliveries
//! return at once and offers are refused, so that nobody hangs on a dead loop.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use super::picture::Picture;
use super::voices::VirtualRouters;
use crate::kernel::GroupAddresses;
use crate::protocol::{
    Configuration, Event, Explanation, GROUPS_MAX, GroupKey, Node, NodeId, Order, Refusal,
    StandingChange,
};
use crate::transport::{BindError, Path};
use crate::wire::{KeyRing, RingRefusal};

/// Inputs that may wait. While the daemon starts nobody takes any: the kernel side may say of every
/// group that its link is missing, and of every virtual router it is said that nothing is known of it;
/// besides these there is room for what people ask.
const INPUTS_MAX: usize = GROUPS_MAX * 2 + 1024;

/// Where the outcome of an order goes.
pub(crate) type OrderReply = oneshot::Sender<Result<(), Refusal>>;

/// Something for the protocol thread. Boxed, because the queue is made for thousands of them.
pub(crate) enum Input {
    /// Something that the core takes in.
    Event(Box<Event>),
    /// Something asked of the loop itself.
    Request(Request),
}

impl From<Event> for Input {
    fn from(event: Event) -> Self {
        Self::Event(Box::new(event))
    }
}

impl From<Request> for Input {
    fn from(request: Request) -> Self {
        Self::Request(request)
    }
}

/// What an operator wants of the core. Boxed where it is large: there is room for thousands.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// Something that is done once.
    Once(Order),
    /// Something that stands, or ends.
    Lasting(Box<StandingChange>),
}

impl Wanted {
    /// Returns the event by which the core hears of it.
    pub(crate) fn event(self, ticket: u64) -> Event {
        match self {
            Self::Once(order) => Event::Ordered { ticket, order },
            Self::Lasting(change) => Event::Standing { ticket, change: *change },
        }
    }
}

/// What is asked of the loop: answers, another configuration, the end.
pub(crate) enum Request {
    /// An operator's order; answered once the protocol knows what became of it.
    Order {
        /// What is wanted.
        order: Wanted,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<(), Refusal>>,
    },
    /// Somebody wants to see what this node knows.
    Look(oneshot::Sender<Picture>),
    /// Somebody wants to find out what the core would do, on a copy.
    Copy(oneshot::Sender<Box<Node>>),
    /// Somebody wants to know why a group is where it is.
    Explain {
        /// The group.
        group: GroupKey,
        /// Where the answer goes; `None` if there is no such group.
        answer: oneshot::Sender<Option<Explanation>>,
    },
    /// The configuration changed.
    Reconfigure(Box<Reconfiguration>),
    /// The daemon shall end now, whatever is not handed over.
    Abandon,
}

/// A changed configuration on its way into the loop.
pub(crate) struct Reconfiguration {
    /// For the core.
    pub protocol: Configuration,
    /// For the kernel side.
    pub groups: Vec<GroupAddresses>,
    /// For the kernel side: addresses of other nodes.
    pub peer_addresses: Vec<IpAddr>,
    /// For the thread of the virtual routers.
    pub routers: VirtualRouters,
    /// For the same: where the other nodes are.
    pub whereabouts: BTreeMap<NodeId, Vec<IpAddr>>,
    /// For the transport.
    pub paths: Vec<Path>,
    /// For the sessions.
    pub peers: Vec<NodeId>,
    /// For the sessions.
    pub ring: KeyRing,
    /// Told when it is in force, or why nothing changed.
    pub answer: oneshot::Sender<Result<(), Unchanged>>,
}

/// Why a configuration is not in force.
#[derive(Debug)]
pub(crate) enum Unchanged {
    /// A path cannot be bound.
    Bind(BindError),
    /// Peers could not be heard any more.
    Keys(RingRefusal),
}

/// The queue is full, or the loop has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotTaken;

/// The sending end; cheap to clone.
#[derive(Clone)]
pub(crate) struct Mailbox {
    sender: SyncSender<Input>,
    wake: Arc<EventFd>,
}

impl Mailbox {
    /// Puts the input into the queue, waiting for room.
    pub(crate) fn deliver(&self, input: impl Into<Input>) {
        if self.sender.send(input.into()).is_ok() {
            self.wake();
        }
    }

    /// Puts the input into the queue if there is room.
    pub(crate) fn offer(&self, input: impl Into<Input>) -> Result<(), NotTaken> {
        match self.sender.try_send(input.into()) {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(NotTaken),
        }
    }

    /// Puts an order into the queue if there is room, else gives its reply back.
    pub(crate) fn offer_order(&self, order: Wanted, answer: OrderReply) -> Result<(), OrderReply> {
        match self.sender.try_send(Request::Order { order, answer }.into()) {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(
                TrySendError::Full(Input::Request(Request::Order { answer, .. }))
                | TrySendError::Disconnected(Input::Request(Request::Order { answer, .. })),
            ) => Err(answer),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    /// Makes the loop go round once, with or without inputs.
    pub(crate) fn wake(&self) {
        // Refused only when the counter stands at its end, and then the loop wakes anyway.
        let _ = self.wake.write(1);
    }
}

/// The receiving end, owned by the protocol thread.
pub(crate) struct Inbox {
    receiver: Receiver<Input>,
    wake: Arc<EventFd>,
}

impl Inbox {
    /// Readable when something may be waiting.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Forgets past wake-ups. Call before [`Inbox::take`], or an input is overlooked.
    pub(crate) fn rest(&self) {
        // Fails only when there was no wake-up to forget.
        let _ = self.wake.read();
    }

    /// The next input, if there is one.
    pub(crate) fn take(&self) -> Option<Input> {
        self.receiver.try_recv().ok()
    }
}

/// Makes both ends. Fails when the process is out of descriptors.
pub(crate) fn inbox() -> nix::Result<(Mailbox, Inbox)> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let wake = Arc::new(EventFd::from_value_and_flags(0, flags)?);
    let (sender, receiver) = sync_channel(INPUTS_MAX);
    Ok((Mailbox { sender, wake: Arc::clone(&wake) }, Inbox { receiver, wake }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{KernelEvent, Outside};

    #[test]
    fn offers_are_refused_when_full_and_when_the_loop_has_ended() {
        let (mailbox, inbox) = inbox().unwrap();
        for _ in 0..INPUTS_MAX {
            assert_eq!(mailbox.offer(Event::Stop), Ok(()));
        }
        assert_eq!(mailbox.offer(Event::Stop), Err(NotTaken));
        let taken = inbox.take();
        assert!(matches!(taken, Some(Input::Event(event)) if matches!(*event, Event::Stop)));
        assert_eq!(mailbox.offer(Event::Stop), Ok(()));
        drop(inbox);
        assert_eq!(mailbox.offer(Event::Stop), Err(NotTaken));
        mailbox.deliver(Event::Stop);
    }

    #[test]
    fn every_group_may_lose_its_link_before_anybody_listens() {
        let (mailbox, inbox) = inbox().unwrap();
        for group in 0..GROUPS_MAX as u64 {
            let event = KernelEvent::Usable { group: GroupKey(group), usable: false };
            assert_eq!(mailbox.offer(Event::Kernel(event)), Ok(()), "group {group}");
            let outside = Some(Outside::Unknown);
            let event = Event::Outside { group: GroupKey(group), outside };
            assert_eq!(mailbox.offer(event), Ok(()), "virtual router {group}");
        }
        assert_eq!(mailbox.offer(Event::Stop), Ok(()), "and somebody may still ask");
        assert!(inbox.take().is_some());
    }

    #[test]
    fn inbox_sleeps_only_when_nothing_was_sent() {
        let (mailbox, inbox) = inbox().unwrap();
        mailbox.deliver(Event::Stop);
        mailbox.wake();
        assert!(inbox.wake.read().is_ok());
        assert!(inbox.wake.read().is_err(), "both wake-ups are forgotten at once");
        assert!(inbox.take().is_some());
        assert!(inbox.take().is_none());
    }
}
