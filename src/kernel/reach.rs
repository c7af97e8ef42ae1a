//! Asks hosts outside the cluster whether they hear us.
//!
//! The protocol wants to know, before it believes that all peers are dead, whether it is this host
//! that is cut off. Echo requests go to the gateways and to known neighbours on the links that bear
//! groups, at most [`TARGETS_MAX`]; never to other nodes, whose silence is the very question, nor
//! to ourselves. They are sent at the level of IP, so that a packet filter that makes this host
//! deaf makes the test fail as well.
//!
//! Where nobody answers echo requests, the same hosts are asked by ARP and neighbour solicitation as
//! well (see [`Resolving`]). Such an answer passes no packet filter, so it does not show that others
//! hear this host; but if those who used to give it are silent, this host is deaf.
//!
//! Who answers is learned in the background: `apply` has [`Acquaintances`] asked every
//! [`CALIBRATION`] (8 small packets in 10 s) and tells the outcome. Silence means something only if
//! somebody used to answer. What cannot be sent or read counts as not answered.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::claimants::Answers;
use crate::protocol::{Instant, Reach};

/// Hosts asked at once.
pub(super) const TARGETS_MAX: usize = 8;
/// How often is learned who answers.
pub(super) const CALIBRATION: Duration = Duration::from_secs(10);
/// How often while nobody is known to answer: a node that goes deaf a second after its first
/// client came must know that there was one.
pub(super) const ACQUAINTING: Duration = Duration::from_millis(500);
/// How long an answer may take when learning: some hosts have to resolve our address first.
pub(super) const LEARNING: Duration = Duration::from_millis(200);
/// How long an answer may take in a test.
pub(super) const TESTING: Duration = Duration::from_millis(50);
/// Who has not answered for so long is no longer known: the only host that ever answered may have
/// been taken away for good, and its silence must not be held against this host for ever.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;
/// Two bytes of identity and two of sequence, then a number that only we know.
const NONCE_AT: usize = 8;

/// The hosts that answer.
#[derive(Debug, Default)]
pub(super) struct Acquaintances {
    /// With the time of their last answer.
    known: BTreeMap<SocketAddr, Instant>,
    /// Those that have answered ARP or a solicitation, when no host answered echo requests.
    resolved: BTreeMap<SocketAddr, Instant>,
}

impl Acquaintances {
    /// Whether more hosts should be looked for.
    pub(super) fn wants_more(&self) -> bool {
        self.known.len() < TARGETS_MAX
    }

    /// Whether nobody is known who answers echo requests.
    pub(super) fn knows_nobody(&self) -> bool {
        self.known.is_empty()
    }

    /// How long to wait before the next look for hosts that answer.
    pub(super) fn pause(&self) -> Duration {
        if self.known.is_empty() { ACQUAINTING } else { CALIBRATION }
    }

    /// Whom to ask: those who answered last, then the candidates in their order.
    pub(super) fn targets(&self, candidates: &[SocketAddr]) -> Vec<SocketAddr> {
        let latest = |known: &BTreeMap<SocketAddr, Instant>| {
            let mut known: Vec<(Instant, SocketAddr)> =
                known.iter().map(|(target, answered)| (*answered, *target)).collect();
            known.sort_by_key(|(answered, _)| std::cmp::Reverse(*answered));
            known.into_iter().map(|(_, target)| target).collect::<Vec<SocketAddr>>()
        };
        let mut targets = latest(&self.known);
        for candidate in latest(&self.resolved).iter().chain(candidates) {
            if !targets.contains(candidate) {
                targets.push(*candidate);
            }
        }
        targets.truncate(TARGETS_MAX);
        targets
    }

    /// Takes in who answered now.
    pub(super) fn learn(&mut self, answers: &Answered, now: Instant) {
        self.known.extend(answers.echoed.iter().map(|target| (*target, now)));
        let resolved = answers.resolved.iter().flatten();
        self.resolved.extend(resolved.map(|target| (*target, now)));
        for known in [&mut self.known, &mut self.resolved] {
            known.retain(|_, answered| now.since(*answered) < KNOWN_FOR);
        }
    }

    /// Forgets those that must not be asked any more.
    pub(super) fn exclude(&mut self, excluded: &BTreeSet<IpAddr>) {
        for known in [&mut self.known, &mut self.resolved] {
            known.retain(|target, _| !excluded.contains(&target.ip()));
        }
    }

    /// What it means who, of those that were asked, answered a test.
    pub(super) fn verdict(&self, asked: &[SocketAddr], answers: &Answered) -> Reach {
        let deaf = answers.resolved.as_ref().is_some_and(Vec::is_empty);
        let used = |known: &BTreeMap<SocketAddr, Instant>| {
            asked.iter().any(|target| known.contains_key(target))
        };
        if !answers.echoed.is_empty() {
            Reach::Answered
        } else if used(&self.known) || (deaf && used(&self.resolved)) {
            Reach::Silent
        } else {
            Reach::NobodyToAsk
        }
    }
}

/// Who answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answered {
    /// An echo request.
    pub(super) echoed: Vec<SocketAddr>,
    /// ARP or a solicitation; `None` if they were not asked that.
    pub(super) resolved: Option<Vec<SocketAddr>>,
}

/// Questions by ARP and neighbour solicitation that are on their way.
#[derive(Debug)]
pub(super) struct Resolving {
    answers: Answers,
    targets: Vec<SocketAddr>,
}

impl Resolving {
    /// Listens for what these hosts say; to be called before they are asked.
    pub(super) fn listen(targets: Vec<SocketAddr>) -> io::Result<Self> {
        let addresses = targets.iter().map(SocketAddr::ip).collect();
        Ok(Self { answers: Answers::listen(addresses)?, targets })
    }

    /// Notes who answers; does not end by itself.
    async fn note(&self, answered: &mut Vec<SocketAddr>) {
        loop {
            let (address, _) = self.answers.next().await;
            let target = self.targets.iter().find(|target| target.ip() == address);
            answered.extend(target.filter(|target| !answered.contains(target)).copied());
        }
    }
}

/// How long to listen for answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// For everybody who may answer.
    Learn,
    /// Until the first answer.
    Test,
    /// The same, of those that are reached through the link with this index.
    TestLink(u32),
}

/// Asks all targets at once, and listens for what those say who were asked by ARP as well; returns
/// those who answered.
pub(super) async fn ask(
    targets: Vec<SocketAddr>,
    resolving: Option<Resolving>,
    purpose: Purpose,
) -> (Purpose, Answered) {
    let (v4, v6): (Vec<_>, Vec<_>) = targets.into_iter().partition(SocketAddr::is_ipv4);
    let (v4, v6) = (Echo::send(v4, Domain::IPV4), Echo::send(v6, Domain::IPV6));
    let limit = match purpose {
        Purpose::Learn => LEARNING,
        Purpose::Test | Purpose::TestLink(_) => TESTING,
    };
    let (mut echoed, mut resolved) = (Vec::new(), Vec::new());
    if !v4.targets.is_empty() || !v6.targets.is_empty() {
        let resolves = async {
            match &resolving {
                Some(resolving) => resolving.note(&mut resolved).await,
                None => std::future::pending().await,
            }
        };
        let listens = async {
            // Who answers echo requests makes the other question needless.
            tokio::select! {
                () = listen(&v4, &v6, purpose, &mut echoed) => {}
                () = resolves => {}
            }
        };
        // The limit passing is the usual end when somebody is silent.
        timeout(limit, listens).await.unwrap_or_default();
    }
    let resolved = resolving.map(|resolving| {
        resolving.answers.close();
        resolved
    });
    (purpose, Answered { echoed, resolved })
}

/// Waits until this one host answers, asked through an interface if one is named. The echo requests
/// of others do not disturb it: each has its own number.
pub(super) async fn answers(target: SocketAddr, interface: Option<&str>) -> io::Result<()> {
    let domain = if target.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = open(domain)?;
    if let Some(interface) = interface {
        SockRef::from(&socket).bind_device(Some(interface.as_bytes()))?;
    }
    let message = request(domain, RandomState::new().hash_one(0).to_be_bytes());
    socket.send_to(&message, target)?;
    let socket = Some(UdpSocket::from_std(socket)?);
    Echo { socket, targets: vec![target], message }.answer().await;
    Ok(())
}

/// Notes who answers, until there is nobody more to wait for.
async fn listen(v4: &Echo, v6: &Echo, purpose: Purpose, answered: &mut Vec<SocketAddr>) {
    let enough = match purpose {
        Purpose::Learn => v4.targets.len() + v6.targets.len(),
        Purpose::Test | Purpose::TestLink(_) => 1,
    };
    while answered.len() < enough {
        let answer = tokio::select! {
            answer = v4.answer() => answer,
            answer = v6.answer() => answer,
        };
        if !answered.contains(&answer) {
            answered.push(answer);
        }
    }
}

/// Echo requests of one family that are on their way.
struct Echo {
    /// Without it nothing could be asked.
    socket: Option<UdpSocket>,
    targets: Vec<SocketAddr>,
    message: Vec<u8>,
}

impl Echo {
    fn send(targets: Vec<SocketAddr>, domain: Domain) -> Self {
        let message = request(domain, RandomState::new().hash_one(0).to_be_bytes());
        let socket = if targets.is_empty() { None } else { open(domain).ok() };
        let socket = socket.and_then(|socket| {
            for target in &targets {
                // Whom we cannot send to does not answer.
                drop(socket.send_to(&message, target));
            }
            UdpSocket::from_std(socket).ok()
        });
        Self { socket, targets, message }
    }

    /// The next target that answers; never, if there is nobody to listen to.
    async fn answer(&self) -> SocketAddr {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        let mut buffer = [0; 256];
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((length, from)) => {
                    let packet = buffer.get(..length).unwrap_or_default();
                    let asked = self.targets.iter().find(|target| target.ip() == from.ip());
                    if let Some(target) = asked.filter(|_| is_reply(packet, &self.message)) {
                        return *target;
                    }
                }
                // An unreachable target is reported here; the others may still answer. Yielding
                // lets the limit pass even if this repeats.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }
}

/// A raw socket, which is sent to and received from just like one for datagrams.
fn open(domain: Domain) -> io::Result<std::net::UdpSocket> {
    let protocol = if domain == Domain::IPV4 { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn request(domain: Domain, nonce: [u8; 8]) -> Vec<u8> {
    let kind = if domain == Domain::IPV4 { REQUEST_V4 } else { REQUEST_V6 };
    let [first, second, ..] = nonce;
    let mut message = vec![kind, 0, 0, 0, first, second, 0, 1];
    message.extend_from_slice(&nonce);
    if domain == Domain::IPV4 {
        // The kernel fills in that of ICMPv6, which covers addresses as well.
        let checksum = super::internet_checksum(&message);
        message.splice(2..4, checksum.to_be_bytes());
    }
    message
}

/// Whether the packet is the reply to this request. An IPv4 packet comes with its header.
fn is_reply(packet: &[u8], request: &[u8]) -> bool {
    let Some(first) = request.first() else { return false };
    let (reply, header) = if *first == REQUEST_V4 {
        let words = packet.first().map_or(0, |byte| usize::from(byte & 0x0f));
        (REPLY_V4, words * 4)
    } else {
        (REPLY_V6, 0)
    };
    let message = packet.get(header..).unwrap_or_default();
    message.first() == Some(&reply)
        && message.get(NONCE_AT..).is_some_and(|nonce| Some(nonce) == request.get(NONCE_AT..))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 0)
    }

    fn echoed(hosts: &[&str]) -> Answered {
        Answered { echoed: hosts.iter().map(|it| host(it)).collect(), resolved: None }
    }

    #[test]
    fn silence_means_something_only_if_somebody_used_to_answer() {
        let (mut hosts, asked) = (Acquaintances::default(), [host("10.0.0.1")]);
        assert_eq!(hosts.verdict(&asked, &echoed(&[])), Reach::NobodyToAsk);
        assert_eq!(hosts.verdict(&asked, &echoed(&["10.0.0.1"])), Reach::Answered);
        hosts.learn(&echoed(&["10.0.0.1"]), Instant::START);
        assert_eq!(hosts.verdict(&asked, &echoed(&[])), Reach::Silent);
        hosts.learn(&echoed(&[]), Instant::START + KNOWN_FOR);
        assert_eq!(hosts.verdict(&asked, &echoed(&[])), Reach::NobodyToAsk);
    }

    #[test]
    fn where_nobody_answers_echo_requests_silence_of_arp_shows_deafness() {
        let resolved = |hosts: &[&str]| Answered {
            echoed: Vec::new(),
            resolved: Some(hosts.iter().map(|it| host(it)).collect()),
        };
        let (mut hosts, asked) = (Acquaintances::default(), [host("10.0.0.1")]);
        assert_eq!(
            hosts.verdict(&asked, &resolved(&[])),
            Reach::NobodyToAsk,
            "nobody ever answered"
        );
        hosts.learn(&resolved(&["10.0.0.1"]), Instant::START);
        assert_eq!(hosts.targets(&[]), [host("10.0.0.1")], "it is asked again");
        assert_eq!(hosts.verdict(&asked, &resolved(&[])), Reach::Silent);
        let heard = hosts.verdict(&asked, &resolved(&["10.0.0.1"]));
        assert_eq!(heard, Reach::NobodyToAsk, "it does not show that others hear this host");
        assert_eq!(hosts.verdict(&asked, &echoed(&[])), Reach::NobodyToAsk, "not asked");
        let elsewhere = hosts.verdict(&[host("10.0.1.1")], &resolved(&[]));
        assert_eq!(elsewhere, Reach::NobodyToAsk, "who was not asked");
        assert!(hosts.knows_nobody());
        hosts.exclude(&BTreeSet::from([host("10.0.0.1").ip()]));
        assert_eq!(hosts.verdict(&asked, &resolved(&[])), Reach::NobodyToAsk);
    }

    #[test]
    fn who_answered_last_is_asked_first_and_never_too_many() {
        let mut hosts = Acquaintances::default();
        hosts.learn(&echoed(&["10.0.0.1"]), Instant::START);
        hosts.learn(&echoed(&["10.0.0.2"]), Instant::from_millis(1));
        let candidates = [host("10.0.0.1"), host("10.0.0.3")];
        let expected = ["10.0.0.2", "10.0.0.1", "10.0.0.3"].map(host);
        assert_eq!(hosts.targets(&candidates), expected);
        let many: Vec<_> = (0..100_u8).map(|last| host(&format!("10.1.0.{last}"))).collect();
        assert_eq!(hosts.targets(&many).len(), TARGETS_MAX);
        hosts.exclude(&BTreeSet::from([host("10.0.0.2").ip()]));
        assert_eq!(hosts.targets(&[]), [host("10.0.0.1")]);
    }

    #[test]
    fn only_the_reply_to_the_request_is_taken() {
        let nonce = [1, 2, 3, 4, 5, 6, 7, 8];
        let other = request(Domain::IPV4, [9; 8]);
        let [request, request_v6] = [Domain::IPV4, Domain::IPV6].map(|it| request(it, nonce));
        assert_eq!(super::super::internet_checksum(&request), 0);
        let mut packet = vec![0x45];
        packet.resize(20, 0);
        packet.extend_from_slice(&request);
        assert!(!is_reply(&packet, &request), "our own request");
        packet[20] = REPLY_V4;
        assert!(is_reply(&packet, &request));
        assert!(!is_reply(&packet, &other));
        for length in 0..packet.len() {
            assert!(!is_reply(&packet[..length], &request), "cut to {length}");
        }
        let mut packet = request_v6.clone();
        assert!(!is_reply(&packet, &request_v6));
        packet[0] = REPLY_V6;
        assert!(is_reply(&packet, &request_v6));
    }
}
