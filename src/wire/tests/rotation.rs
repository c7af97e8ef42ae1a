//! A key is changed in three sweeps over the nodes without a lost datagram.

use super::sample::{heartbeat, ring, sessions};
use crate::protocol::{Instant, NodeId};
use crate::wire::{KeyRing, Opened, RefusedDatagram, Sessions};

struct Mesh {
    nodes: Vec<Sessions>,
    milli: u64,
    delivered: u32,
}

impl Mesh {
    /// Three nodes that have proven themselves to each other.
    fn new() -> Self {
        let nodes =
            vec![sessions(0, 100, &[1, 2]), sessions(1, 101, &[0, 2]), sessions(2, 102, &[0, 1])];
        let mut mesh = Self { nodes, milli: 1000, delivered: 0 };
        for _ in 0..2 {
            mesh.round(|opened| assert!(!matches!(opened, Opened::Refused(_)), "{opened:?}"));
        }
        mesh
    }

    /// A heartbeat from each to each, with replies carried until there are none.
    fn round(&mut self, check: impl Fn(&Opened)) {
        self.milli += 100;
        let now = Instant::from_millis(self.milli);
        for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            let mut datagram = Vec::new();
            let peer = NodeId(u32::try_from(to).unwrap());
            self.nodes[from].seal(peer, &heartbeat(), &mut datagram);
            let mut at = to;
            loop {
                let opened = self.nodes[at].open(now, &mut datagram);
                check(&opened);
                match opened {
                    Opened::Reply { to, datagram: reply, .. } => {
                        datagram = reply;
                        at = usize::try_from(to.0).unwrap();
                    }
                    Opened::Message { .. } => break self.delivered += 1,
                    Opened::Consumed | Opened::Refused(_) => break,
                }
            }
        }
    }

    fn reload(&mut self, node: usize, ring: KeyRing) {
        let me = u32::try_from(node).unwrap();
        let peers: Vec<NodeId> = (0..3).filter(|peer| *peer != me).map(NodeId).collect();
        self.nodes[node].reconfigure(&peers, ring);
    }
}

fn never_refused(opened: &Opened) {
    assert!(matches!(opened, Opened::Message { .. }), "{opened:?}");
}

#[test]
fn three_sweeps_refuse_nothing() {
    let mut mesh = Mesh::new();
    let before = mesh.delivered;
    for (ids, active) in [(&[1, 2][..], 1), (&[1, 2], 2), (&[2], 2)] {
        for node in 0..3 {
            mesh.reload(node, ring(ids, active));
            mesh.round(never_refused);
        }
    }
    assert_eq!(mesh.delivered - before, 9 * 6);
}

#[test]
fn a_sweep_too_early_is_refused_as_an_unknown_key() {
    let mut mesh = Mesh::new();
    mesh.reload(0, ring(&[1, 2], 2));
    let mut datagram = Vec::new();
    mesh.nodes[0].seal(NodeId(1), &heartbeat(), &mut datagram);
    let opened = mesh.nodes[1].open(Instant::from_millis(5000), &mut datagram);
    assert_eq!(opened, Opened::Refused(RefusedDatagram::UnknownKey));
}

#[test]
fn another_secret_under_the_same_id_is_a_bad_seal() {
    let mut mesh = Mesh::new();
    let other = crate::wire::Key { id: 1, secret: [99; 32] };
    mesh.reload(0, KeyRing::new(vec![other], 1).unwrap());
    let mut datagram = Vec::new();
    mesh.nodes[0].seal(NodeId(1), &heartbeat(), &mut datagram);
    let opened = mesh.nodes[1].open(Instant::from_millis(5000), &mut datagram);
    assert_eq!(opened, Opened::Refused(RefusedDatagram::BadSeal));
}

/// A node that is taken out while it lives is heard on, and goes on when it is put back.
#[test]
fn a_peer_taken_out_and_put_back_is_heard_all_the_time() {
    let mut mesh = Mesh::new();
    let life = mesh.nodes[0].present(NodeId(2));
    mesh.nodes[0].reconfigure(&[NodeId(1)], ring(&[1], 1));
    assert_eq!(mesh.nodes[0].present(NodeId(2)), life);
    mesh.round(|opened| assert!(!matches!(opened, Opened::Refused(_)), "{opened:?}"));
    mesh.nodes[0].reconfigure(&[NodeId(1), NodeId(2)], ring(&[1], 1));
    assert_eq!(mesh.nodes[0].present(NodeId(2)), life);
    mesh.round(|opened| assert!(!matches!(opened, Opened::Refused(_)), "{opened:?}"));
    assert!(mesh.nodes[0].present(NodeId(2)).is_some());
}
