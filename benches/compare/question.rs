//! A second client that asks everybody, again and again, who has an address (ARP).
//!
//! The probing client follows the last announcement, as clients do, so it talks to one host even
//! where two would answer. Others, whose entries expire or who were not there, ask the network;
//! this is what they would be told.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::echo::Mac;
use buoy::lab::namespace::Namespace;
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};

/// Between two questions.
const INTERVAL: Duration = Duration::from_millis(5);
const ETH_P_ARP: [u8; 2] = [0x08, 0x06];
/// Ethernet and IPv4 with their lengths, RFC 826.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
/// An ARP packet of Ethernet and IPv4 with its Ethernet header.
const FRAME: usize = 42;

/// Asks until it is dropped.
pub(crate) struct Questioner {
    answers: Arc<Mutex<Vec<(Instant, Mac)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Questioner {
    /// Begins to ask from the client's eth0.
    ///
    /// # Errors
    /// When the client's kernel does not permit frames of its own.
    pub(crate) fn start(
        client: &Namespace,
        (mac, own): (Mac, IpAddr),
        address: IpAddr,
    ) -> Result<Self, Box<dyn Error>> {
        let (IpAddr::V4(own), IpAddr::V4(address)) = (own, address) else {
            return Err("ARP is of IPv4".into());
        };
        let (mut sender, mut receiver) = client.run(|| open(INTERVAL))??;
        let request = packet(REQUEST, (mac, own), ([0; 6], address), [0xff; 6]);
        let answers = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (ours, ending) = (Arc::clone(&answers), Arc::clone(&stop));
        let thread = thread::Builder::new().name("questions".to_owned()).spawn(move || {
            let mut asked: Option<Instant> = None;
            while !ending.load(Ordering::Relaxed) {
                let now = clock::now();
                if asked.is_none_or(|asked| now.duration_since(asked) >= INTERVAL) {
                    asked = Some(now);
                    // A question that is lost is asked again.
                    let _sent = sender.send_to(&request, None);
                }
                // Nothing for the length of the interval is an error here, of its own kind.
                let Ok(frame) = receiver.next() else { continue };
                if let Some(by) = reply(frame, address) {
                    let mut answers = ours.lock().unwrap_or_else(PoisonError::into_inner);
                    answers.push((clock::now(), by));
                }
            }
        })?;
        Ok(Self { answers, stop, thread: Some(thread) })
    }

    /// Every answer so far, oldest first.
    pub(crate) fn answers(&self) -> Vec<(Instant, Mac)> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Questioner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; the answers up to it are kept.
            let _ended = thread.join();
        }
    }
}

/// Opens eth0 of the calling thread's namespace; reading ends after `limit` without a frame.
///
/// # Errors
/// When there is no such device or the kernel refuses.
pub(crate) fn open(
    limit: Duration,
) -> io::Result<(Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>)> {
    let link = pnet_datalink::interfaces().into_iter().find(|link| link.name == "eth0");
    let link = link.ok_or_else(|| io::Error::other("there is no eth0"))?;
    let config = Config { read_timeout: Some(limit), ..Config::default() };
    match pnet_datalink::channel(&link, config)? {
        Channel::Ethernet(sender, receiver) => Ok((sender, receiver)),
        _ => Err(io::Error::other("eth0 is no Ethernet device")),
    }
}

/// A gratuitous ARP request, RFC 5944 section 4.6.
pub(crate) fn gratuitous(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    packet(REQUEST, (mac, address), ([0; 6], address), [0xff; 6])
}

fn packet(operation: u8, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr), to: Mac) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME);
    frame.extend(to);
    frame.extend(sender.0);
    frame.extend(ETH_P_ARP);
    frame.extend(ETHERNET_IPV4);
    frame.extend([0, operation]);
    for (mac, address) in [sender, target] {
        frame.extend(mac);
        frame.extend(address.octets());
    }
    frame
}

/// Who says in this frame that it has the address.
fn reply(frame: &[u8], address: Ipv4Addr) -> Option<Mac> {
    let arp = frame.get(..FRAME)?;
    let is_reply = arp[12..14] == ETH_P_ARP && arp[14..20] == ETHERNET_IPV4 && arp[21] == REPLY;
    let of_address = arp[28..32] == address.octets();
    (is_reply && of_address).then(|| arp[22..28].try_into().ok())?
}
