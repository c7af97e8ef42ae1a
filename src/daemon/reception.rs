//! What the protocol thread does with datagrams: opens them, learns where peers are, answers.

use std::net::SocketAddr;

use super::clock;
use super::event_loop::{DATAGRAMS_PER_TURN, EventLoop, KernelOrders, Told};
use crate::protocol::{Event, NodeId, PathFault};
use crate::transport::Received;
use crate::wire::{Opened, RefusedDatagram, Sessions};

/// What is to be done with what has arrived.
#[derive(Default)]
struct Arrived {
    events: Vec<Event>,
    replies: Vec<(NodeId, Vec<u8>, (usize, SocketAddr))>,
    /// Who was heard, on which path, from where.
    heard: Vec<(NodeId, usize, SocketAddr)>,
}

impl<K: KernelOrders> EventLoop<K> {
    /// Opens what has arrived first and acts upon it afterwards, because acting sends through
    /// the sockets that are being read.
    pub(super) fn take_datagrams(&mut self) {
        let (now, wall_now) = (clock::now(), clock::wall());
        let mut arrived = Arrived::default();
        let (sessions, refused) = (&mut self.sessions, &mut self.refused);
        let several = self.transport.locals().nth(1).is_some();
        let on = |from, path, received_at| {
            let path = u8::try_from(path).ok().filter(|_| several)?;
            Some(Event::HeardOn { from, path, received_at })
        };
        self.transport.receive(DATAGRAMS_PER_TURN, |received| {
            let Received { datagram, kernel_time, from: address, known, path } = received;
            match sessions.open(now, datagram) {
                Opened::Message { from, incarnation, message } => {
                    let received_at = clock::received_at(now, wall_now, kernel_time);
                    refused.opened(from);
                    arrived.heard.push((from, path, address));
                    arrived.events.push(Event::Heard { from, incarnation, received_at, message });
                    arrived.events.extend(on(from, path, received_at));
                }
                Opened::Reply { to, datagram, sensed } => {
                    arrived.replies.push((to, datagram, (path, address)));
                    arrived.events.extend(sensed.then_some(Event::Sensed { from: to }));
                }
                Opened::Consumed => {}
                Opened::Refused(reason) => {
                    if several && reason == RefusedDatagram::Duplicate {
                        let received_at = clock::received_at(now, wall_now, kernel_time);
                        let from = sessions.copy_from(datagram);
                        arrived.events.extend(from.and_then(|from| on(from, path, received_at)));
                    }
                    let named = Sessions::named_source(datagram);
                    let named = named.filter(|node| sessions.is_listed(*node));
                    refused.note(now, reason, (named, address.ip()), known);
                    if let (Some(from), RefusedDatagram::TooManyHellos) = (named, reason) {
                        arrived.events.push(Event::Sensed { from });
                    }
                }
            }
        });
        self.act_on(arrived);
        if let Some(by) = self.sessions.take_twin()
            && self.refused.twin(now, by)
        {
            self.tell(Told::Twin { by });
        }
        if let Some((what, count)) = self.refused.due(now) {
            self.tell(Told::Refused { what, count });
        }
    }

    /// Has the links tested that these paths are on.
    pub(super) fn doubt_paths(&self, doubted: &[(u8, PathFault)]) {
        let local = |path: u8| Some(self.transport.local(usize::from(path))?.ip());
        let addresses = doubted.iter().filter_map(|(path, fault)| Some((local(*path)?, *fault)));
        self.kernel.doubt(addresses.collect());
    }

    fn act_on(&mut self, arrived: Arrived) {
        let mut moved = false;
        for (peer, path, from) in arrived.heard {
            moved |= self.transport.heard(peer, path, from);
        }
        if moved {
            self.tell_whereabouts();
        }
        for (to, datagram, from) in arrived.replies {
            self.transport.reply(to, &datagram, from, clock::now());
        }
        self.step_all(arrived.events);
    }

    /// What is left to be said goes to where peers are now, and the next process is told.
    pub(super) fn tell_whereabouts(&mut self) {
        self.bequeath();
        self.tell(Told::Whereabouts(self.transport.in_use()));
    }
}
