//! What the protocol thread orders, as calls of the kernel module.
//!
//! The event loop knows only the trait, so that tests put a kernel of their own behind it. Each call
//! leaves an order for the kernel thread and returns; what came of it is an event.

use std::net::IpAddr;
use std::sync::Arc;

use super::event_loop::KernelOrders;
use crate::kernel::{self, Kernel};
use crate::protocol::{
    Connection, Epoch, GroupKey, HardwareAddress, Neighbour, NodeId, PathFault, Ticket,
};

impl KernelOrders for Arc<Kernel> {
    fn reconfigure(&self, groups: Vec<kernel::GroupAddresses>, peer_addresses: Vec<IpAddr>) {
        Kernel::reconfigure(self, groups, peer_addresses);
    }

    fn acquire(&self, group: GroupKey, ticket: Ticket, further: Vec<GroupKey>) {
        Kernel::acquire_with(self, group, ticket, further);
    }

    fn release(&self, group: GroupKey, ticket: Ticket) {
        Kernel::release(self, group, ticket);
    }

    fn withdraw(&self, group: GroupKey) {
        Kernel::withdraw(self, group);
    }

    fn let_finish(&self, group: GroupKey) {
        Kernel::let_finish(self, group);
    }

    fn hand(&self, group: GroupKey, ticket: Ticket) {
        Kernel::hand(self, group, ticket);
    }

    fn forward(&self, group: GroupKey, to: Option<HardwareAddress>) {
        Kernel::forward(self, group, to);
    }

    fn announce(&self, group: GroupKey) {
        Kernel::announce(self, group);
    }

    fn probe(&self, group: GroupKey, at: Vec<HardwareAddress>) {
        Kernel::probe(self, group, at);
    }
    fn verify(&self, group: GroupKey, epoch: Epoch, before: Option<NodeId>) {
        Kernel::verify(self, group, epoch, before);
    }

    fn correct(&self, group: GroupKey, epoch: Epoch) {
        Kernel::correct(self, group, epoch);
    }

    fn doubt(&self, addresses: Vec<(IpAddr, PathFault)>) {
        Kernel::doubt(self, addresses);
    }

    fn acquaint(&self, from: NodeId, hosts: Vec<Neighbour>) {
        Kernel::acquaint(self, from, hosts);
    }

    fn remember(&self, from: NodeId, connections: Vec<Connection>) {
        Kernel::remember(self, from, connections);
    }

    fn watch_connections(&self, on: bool) {
        Kernel::watch_connections(self, on);
    }

    fn tickle(&self, group: GroupKey) {
        Kernel::tickle(self, group);
    }

    fn test_reach(&self) {
        Kernel::test_reach(self);
    }
}
