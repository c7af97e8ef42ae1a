//! When heartbeats of one node reach another, by the clock of the kernel that received them.

use std::io::IoSliceMut;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::plan::Shape;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::scene::Scene;

/// Where nodes hear each other.
const PORT: u16 = 4748;
const UDP: u8 = 17;

/// From each datagram of a node to its next, for so long, the shortest first.
pub(crate) fn gaps(
    scene: &Scene,
    (from, to): (usize, usize),
    length: Duration,
) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let source = Shape::node_address(u8::try_from(from)?, 0);
    let open = || {
        let protocol = Protocol::from(i32::from(0x0800_u16.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        Ok::<_, std::io::Error>(socket)
    };
    let socket = scene.cluster.namespace(to).run(open)??;
    let (end, mut arrivals) = (clock::now() + length, Vec::new());
    while clock::now() < end {
        let mut frame = [0; 64];
        if let Some(at) = receive(&socket, &mut frame)
            && frame[23] == UDP
            && frame[36..38] == PORT.to_be_bytes()
            && IpAddr::from([frame[26], frame[27], frame[28], frame[29]]) == source
        {
            arrivals.push(at);
        }
    }
    let mut gaps: Vec<Duration> =
        arrivals.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    gaps.sort_unstable();
    Ok(gaps)
}

/// The beginning of one frame, and when it came; nothing if none came for a while.
fn receive(socket: &Socket, frame: &mut [u8]) -> Option<Duration> {
    let mut slices = [IoSliceMut::new(frame)];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let flags = MsgFlags::empty();
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags).ok()?;
    message.cmsgs().ok()?.find_map(|control| {
        let ControlMessageOwned::ScmTimestampns(time) = control else { return None };
        Some(Duration::from(time))
    })
}

/// That which so many thousandths do not exceed.
pub(crate) fn quantile(sorted: &[Duration], thousandths: usize) -> Option<Duration> {
    sorted.get((sorted.len() * thousandths).div_ceil(1000).checked_sub(1)?).copied()
}
