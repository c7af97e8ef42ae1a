//! A client that asks for the hardware address of every virtual address, and writes down all who
//! answer.
//!
//! The questions are ARP requests and neighbour solicitations, sent to all hosts of the wire; a host
//! answers exactly while its kernel has the address and lets it out. Nothing of the daemons is
//! used. Two hosts that answer one question had the address at the same time.

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::echo::Mac;
use buoy::lab::namespace::Namespace;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind,
    recvmsg, send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

/// Between two questions for the same address.
pub(crate) const INTERVAL: Duration = Duration::from_millis(20);

const ETHERTYPE_ARP: [u8; 2] = [8, 6];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOLICITED: u8 = 0x40;

/// An answer: when, for which address by its number, from which card.
pub(crate) type Answer = (Instant, usize, Mac);

/// What was asked and answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript {
    /// When each round of questions was sent.
    pub(crate) rounds: Vec<Instant>,
    pub(crate) answers: Vec<Answer>,
}

/// The running client; it ends when dropped.
pub(crate) struct Asker {
    transcript: Arc<Mutex<Transcript>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Asker {
    /// Begins to ask from this card of the namespace.
    pub(crate) fn start(
        client: &Namespace,
        (mac, ipv4, ipv6): (Mac, Ipv4Addr, Ipv6Addr),
        addresses: &[IpAddr],
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let open = || -> nix::Result<std::os::fd::OwnedFd> {
            let (family, flags) = (AddressFamily::Packet, SockFlag::SOCK_CLOEXEC);
            let descriptor = socket(family, SockType::Raw, flags, SockProtocol::EthAll)?;
            setsockopt(&descriptor, sockopt::ReceiveTimestampns, &true)?;
            let length = nix::sys::time::TimeVal::new(0, 50_000);
            setsockopt(&descriptor, sockopt::ReceiveTimeout, &length)?;
            bind(descriptor.as_raw_fd(), &card("eth0")?)?;
            Ok(descriptor)
        };
        let descriptor = Arc::new(client.run(open)??);
        let questions: Vec<Vec<u8>> = addresses
            .iter()
            .map(|address| match address {
                IpAddr::V4(target) => arp_request(mac, ipv4, *target),
                IpAddr::V6(target) => solicitation(mac, ipv6, *target),
            })
            .collect();
        let transcript = Arc::new(Mutex::new(Transcript::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let (asking, told, ended) =
            (Arc::clone(&descriptor), Arc::clone(&transcript), Arc::clone(&stop));
        threads.push(thread::Builder::new().name("asks".to_owned()).spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                locked(&told).rounds.push(clock::now());
                for question in &questions {
                    // A frame that cannot be sent is a question that was lost.
                    let _ = send(asking.as_raw_fd(), question, MsgFlags::MSG_DONTWAIT);
                }
                clock::pause(INTERVAL);
            }
        })?);
        let (told, ended, addresses) =
            (Arc::clone(&transcript), Arc::clone(&stop), addresses.to_vec());
        threads.push(thread::Builder::new().name("hears".to_owned()).spawn(move || {
            let mut frame = [0; 256];
            while !ended.load(Ordering::Relaxed) {
                let Some((length, at)) = receive(descriptor.as_raw_fd(), &mut frame) else {
                    continue;
                };
                let answer = answer_of(frame.get(..length).unwrap_or_default(), mac);
                let Some((address, by)) = answer else { continue };
                if let Some(number) = addresses.iter().position(|asked| *asked == address) {
                    locked(&told).answers.push((at, number, by));
                }
            }
        })?);
        Ok(Self { transcript, stop, threads })
    }

    /// What was asked and answered so far.
    pub(crate) fn transcript(&self) -> Transcript {
        locked(&self.transcript).clone()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

fn locked(transcript: &Mutex<Transcript>) -> std::sync::MutexGuard<'_, Transcript> {
    transcript.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The address of a card for packet sockets.
fn card(name: &str) -> nix::Result<LinkAddr> {
    let interfaces = nix::ifaddrs::getifaddrs()?;
    let mut those = interfaces.filter(|interface| interface.interface_name == name);
    let address = those.find_map(|interface| interface.address?.as_link_addr().copied());
    address.ok_or(nix::errno::Errno::ENODEV)
}

fn receive(descriptor: i32, frame: &mut [u8]) -> Option<(usize, Instant)> {
    let mut slices = [IoSliceMut::new(frame)];
    let mut control = nix::cmsg_space!(TimeSpec);
    let flags = MsgFlags::empty();
    let message = recvmsg::<()>(descriptor, &mut slices, Some(&mut control), flags).ok()?;
    let stamp = message.cmsgs().ok()?.find_map(|control| {
        let ControlMessageOwned::ScmTimestampns(time) = control else { return None };
        Some(Duration::from(time))
    });
    Some((message.bytes, stamp.map_or_else(clock::now, clock::stamped)))
}

/// RFC 826: who has this address, asked of all.
fn arp_request(mac: Mac, from: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = [[0xff; 6], mac].concat();
    frame.extend(ETHERTYPE_ARP);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(from.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// RFC 4861 4.3, to the solicited-node group of the target.
fn solicitation(mac: Mac, from: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let [.., high, middle, low] = target.octets();
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, high, middle, low];
    let mut body = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    body.extend(target.octets());
    body.extend([1, 1]);
    body.extend(mac);
    let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
    let mut pseudo = [from.octets(), group].concat();
    pseudo.extend([0, 0, 0, length, 0, 0, 0, 58]);
    let sum = checksum(&[pseudo, body.clone()].concat()).to_be_bytes();
    body.splice(2..4, sum);
    let mut frame = [[0x33, 0x33, 0xff, high, middle, low], mac].concat();
    frame.extend(ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0, 0, length, 58, 255]);
    frame.extend(from.octets());
    frame.extend(group);
    frame.extend(body);
    frame
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks_exact(2).map(|pair| u32::from_be_bytes([0, 0, pair[0], pair[1]])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = sum.to_be_bytes();
    !u16::from_be_bytes([high, low])
}

/// The address that an answer to this card is for, and who sent it. Announcements are no answers.
fn answer_of(frame: &[u8], to: Mac) -> Option<(IpAddr, Mac)> {
    let by: Mac = frame.get(6..12)?.try_into().ok()?;
    if frame.get(..6)? != to {
        return None;
    }
    match frame.get(12..14)? {
        kind if kind == ETHERTYPE_ARP => {
            let address: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
            let asked: [u8; 4] = frame.get(38..42)?.try_into().ok()?;
            let reply = frame.get(20..22)? == [0, 2] && address != asked;
            reply.then_some((Ipv4Addr::from(address).into(), by))
        }
        kind if kind == ETHERTYPE_IPV6 => {
            let icmp = frame.get(54..)?;
            let answers = *frame.get(20)? == 58
                && *icmp.first()? == ADVERTISEMENT
                && *icmp.get(4)? & SOLICITED != 0;
            let target: [u8; 16] = icmp.get(8..24)?.try_into().ok()?;
            answers.then_some((Ipv6Addr::from(target).into(), by))
        }
        _ => None,
    }
}
