//! The one way into the protocol thread besides its sockets.
//!
//! A bounded queue and an `eventfd` that makes the thread's poll return. Kernel events are
//! delivered, which blocks the sender while the queue is full: they must not be lost, and the
//! kernel thread can wait, for the protocol thread never waits for it. Everything asked by
//! people is offered, and refused when the queue is full. Once the loop has ended, deliveries
//! return at once and offers are refused, so that nobody hangs on a dead loop.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use super::event_loop::Picture;
use super::voices::VirtualRouters;
use crate::kernel::GroupAddresses;
use crate::protocol::{
    Configuration, Event, Explanation, GROUPS_MAX, GroupKey, Node, NodeId, Order, Refusal,
};
use crate::transport::{BindError, Path};
use crate::wire::{KeyRing, RingRefusal};

/// Inputs that may wait. While the daemon starts nobody takes any, and the kernel side may say of
/// every group that its link is missing before it is ready; besides these there is room for what
/// people ask.
const INPUTS_MAX: usize = GROUPS_MAX + 1024;

/// Where the outcome of an order goes.
pub(crate) type OrderReply = oneshot::Sender<Result<(), Refusal>>;

/// Something for the protocol thread.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are events, and one is taken once: a box would only cost"
)]
pub(crate) enum Input {
    /// Something that the core takes in.
    Event(Event),
    /// An operator's order; answered once the protocol knows what became of it.
    Order {
        /// What is wanted.
        order: Order,
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
    pub(crate) fn deliver(&self, input: Input) {
        if self.sender.send(input).is_ok() {
            self.wake();
        }
    }

    /// Puts the input into the queue if there is room.
    pub(crate) fn offer(&self, input: Input) -> Result<(), NotTaken> {
        match self.sender.try_send(input) {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(NotTaken),
        }
    }

    /// Puts an order into the queue if there is room, else gives its reply back.
    pub(crate) fn offer_order(&self, order: Order, answer: OrderReply) -> Result<(), OrderReply> {
        match self.sender.try_send(Input::Order { order, answer }) {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(
                TrySendError::Full(Input::Order { answer, .. })
                | TrySendError::Disconnected(Input::Order { answer, .. }),
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
    use crate::protocol::KernelEvent;

    #[test]
    fn offers_are_refused_when_full_and_when_the_loop_has_ended() {
        let (mailbox, inbox) = inbox().unwrap();
        for _ in 0..INPUTS_MAX {
            assert_eq!(mailbox.offer(Input::Event(Event::Stop)), Ok(()));
        }
        assert_eq!(mailbox.offer(Input::Event(Event::Stop)), Err(NotTaken));
        assert!(matches!(inbox.take(), Some(Input::Event(Event::Stop))));
        assert_eq!(mailbox.offer(Input::Event(Event::Stop)), Ok(()));
        drop(inbox);
        assert_eq!(mailbox.offer(Input::Event(Event::Stop)), Err(NotTaken));
        mailbox.deliver(Input::Event(Event::Stop));
    }

    #[test]
    fn every_group_may_lose_its_link_before_anybody_listens() {
        let (mailbox, inbox) = inbox().unwrap();
        for group in 0..GROUPS_MAX as u64 {
            let event = KernelEvent::Usable { group: GroupKey(group), usable: false };
            assert_eq!(mailbox.offer(Input::Event(Event::Kernel(event))), Ok(()), "group {group}");
        }
        assert_eq!(mailbox.offer(Input::Event(Event::Stop)), Ok(()), "and somebody may still ask");
        assert!(inbox.take().is_some());
    }

    #[test]
    fn inbox_sleeps_only_when_nothing_was_sent() {
        let (mailbox, inbox) = inbox().unwrap();
        mailbox.deliver(Input::Event(Event::Stop));
        mailbox.wake();
        assert!(inbox.wake.read().is_ok());
        assert!(inbox.wake.read().is_err(), "both wake-ups are forgotten at once");
        assert!(inbox.take().is_some());
        assert!(inbox.take().is_none());
    }
}
