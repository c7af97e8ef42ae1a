//! A flood of datagrams that claim to be of a peer, with its address and its name, and of lives that
//! never were.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::plan::Shape;
use buoy::protocol::NodeId;
use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{SOON, Scene, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] =
    &[("restarted_node_is_heard_through_a_flood", restarted_node_is_heard_through_a_flood)];

/// Datagrams in a burst, and the pause after it: 20,000 a second where the machine can.
const BURST: u64 = 40;
const PAUSE: Duration = Duration::from_millis(2);
/// A restarted node is heard so soon, flood or not. A second is promised; machines are busy.
const HEARD_WITHIN: Duration = Duration::from_millis(1500);

/// One IPv4 packet from the first node to the second; the life is that of this number.
fn packet(life: u64) -> Vec<u8> {
    const LENGTH: u16 = 160;
    let (from, to) = (Ipv4Addr::new(10, 77, 0, 11), Ipv4Addr::new(10, 77, 0, 12));
    // The kernel fills in length and checksum.
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(4748_u16.to_be_bytes());
    packet.extend(4748_u16.to_be_bytes());
    packet.extend((LENGTH + 8).to_be_bytes());
    packet.extend([0, 0]);
    let begin = packet.len();
    packet.extend([b'b', b'y', 1, 0, 0, 1]);
    packet.extend(LENGTH.to_be_bytes());
    packet.extend(&Sha256::digest(b"lab")[..4]);
    packet.extend(NodeId::from_name("lb1").0.to_be_bytes());
    packet.extend(NodeId::from_name("lb2").0.to_be_bytes());
    packet.extend(life.to_be_bytes());
    packet.extend(1_u64.to_be_bytes());
    packet.resize(begin + usize::from(LENGTH), 0x5a);
    packet
}

/// Starts the node again and waits until the second hears it; how long that took.
fn comes_back(scene: &mut Scene) -> Result<Duration, Box<dyn std::error::Error>> {
    scene.cluster.signal_family(0, Signal::SIGKILL);
    scene.sees(1, 0, "dead").or_else(|_| scene.sees(1, 0, "left"))?;
    scene.cluster.start(0)?;
    let begin = clock::now();
    scene.sees(1, 0, "up")?;
    Ok(clock::now().duration_since(begin))
}

fn restarted_node_is_heard_through_a_flood() -> Outcome {
    with(&Shape::default(), |scene| {
        let (ends, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let socket = scene.cluster.client().run(|| {
            Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(nix::libc::IPPROTO_RAW)))
        })??;
        let target =
            SockAddr::from(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 12), 0)));
        let (stop, count) = (Arc::clone(&ends), Arc::clone(&sent));
        let flood = thread::spawn(move || {
            let mut life = 0x1234_5678_u64;
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..BURST {
                    life = life.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
                    count.fetch_add(
                        u64::from(socket.send_to(&packet(life), &target).is_ok()),
                        Ordering::Relaxed,
                    );
                }
                clock::pause(PAUSE);
            }
        });
        until("the flood runs", SOON, || match sent.load(Ordering::Relaxed) {
            few @ 0..1000 => Err(format!("{few} sent")),
            _ => Ok(()),
        })?;
        let took: Vec<_> = (0..5).map(|_| comes_back(scene)).collect();
        ends.store(true, Ordering::Relaxed);
        let _ = flood.join();
        let took = took.into_iter().collect::<Result<Vec<_>, _>>()?;
        let status = scene.cluster.status(1).ok_or("no status")?;
        let dropped = status["counters"]["too_many_lives"].as_u64().unwrap_or_default();
        assert!(dropped > 1000, "the flood did not reach it: {}", status["counters"]);
        let worst = took.iter().max().copied().unwrap_or_default();
        assert!(worst < HEARD_WITHIN, "heard after {took:?}");
        Ok(())
    })
}
