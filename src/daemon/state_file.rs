//! The state file: what a process that rests leaves to the next one, as text.
//!
//! ```text
//!   buoy-state 1 2f5d...(SHA-256 of the rest, 64 hexadecimal digits)
//!   {"software":"0.1.0","cluster":"edge","node":...,"boot":"...", ...}      one line of JSON
//! ```
//!
//! 1 is the version of this layout. Fields may be added, and a reader skips what it does not know,
//! so that neighbouring versions read each other's files; what an old reader must not overlook
//! needs a new number. Claims are written as on the wire. Nothing in it is secret, but whoever can
//! write it can make a node claim addresses: it lies in the runtime directory, mode 0600.
//!
//! Reading believes nothing: a file that is cut, changed, of another layout, cluster, node or boot
//! is [`Unusable`], and says why.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::lease_record::WrittenLeases;
use super::promise_record::WrittenRecord;
pub(crate) use super::unusable_state::Unusable;
use crate::protocol::{
    Acquaintance, CLAIMS_PER_MESSAGE, Claim, Claims, Epoch, Fitness, GroupKey, Incarnation,
    Instant, LogPosition, Memory, Message, Misfit, NodeId, PoolId, TimingLevel, Verdict,
};
use crate::wire::{Issued, decode, encode};

const MAGIC: &str = "buoy-state";
pub(super) const LAYOUT: &str = "1";

/// What one process leaves to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Estate {
    /// Of the core.
    pub(crate) memory: Memory,
    /// What was issued in this life and must not be issued again.
    pub(crate) issued: BTreeMap<NodeId, Issued>,
    /// Until when the kernel answers without anybody.
    pub(crate) open_until: Instant,
    /// Until when it answers for groups in mode majority; `None` without any.
    pub(crate) granted_until: Option<Instant>,
}

/// Whose it is; a reader must be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Name of the cluster.
    pub(crate) cluster: String,
    /// The node.
    pub(crate) node: NodeId,
    /// The boot of the host: the clock starts again with each.
    pub(crate) boot: String,
}

#[derive(Serialize, Deserialize)]
struct Written {
    software: String,
    cluster: String,
    node: u32,
    boot: String,
    incarnation: u64,
    at: u64,
    open_until: u64,
    token: u32,
    /// Group and epoch.
    held: Vec<(u64, u64)>,
    /// Messages of the wire, in hexadecimal digits.
    claims: Vec<String>,
    /// Of each claim, in the same order.
    since: Vec<u64>,
    peers: Vec<WrittenPeer>,
    /// Pool, and whether it is unfit, not only reluctant.
    unfit: Vec<(u64, bool)>,
    /// The rest is of groups in mode majority; a reader that does not know it has no group of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    granted_until: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leases: Option<WrittenLeases>,
    /// Group, and when it was taken if that was after it was claimed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    taken: Vec<(u64, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    promises: Option<WrittenRecord>,
    /// With profile `auto`: number of the level in force, and of the one that was proposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timing: Option<(u8, u8)>,
}

#[derive(Serialize, Deserialize)]
struct WrittenPeer {
    node: u32,
    sequence: u64,
    last_words: u64,
    round: u64,
    known: Option<WrittenKnown>,
}

#[derive(Serialize, Deserialize)]
struct WrittenKnown {
    incarnation: u64,
    heard_at: Option<u64>,
    verdict: String,
    stream: u32,
    have: (u32, u32),
}

/// Writes the whole file.
pub(crate) fn text(estate: &Estate, origin: &Origin, software: &str) -> String {
    let memory = &estate.memory;
    let claims: Vec<Claim> = memory.claims.iter().map(|(claim, _)| *claim).collect();
    let nodes = estate.issued.keys().chain(memory.peers.keys());
    let nodes: std::collections::BTreeSet<NodeId> = nodes.copied().collect();
    let peer = |node: NodeId| {
        let issued = estate.issued.get(&node).copied().unwrap_or_default();
        let known = memory.peers.get(&node).map(|known| WrittenKnown {
            incarnation: known.incarnation.0,
            heard_at: known.heard_at.map(Instant::as_nanos),
            verdict: word(known.verdict).to_owned(),
            stream: known.stream,
            have: (known.have.stream, known.have.version),
        });
        let Issued { sequence, last_words, round } = issued;
        WrittenPeer { node: node.0, sequence, last_words, round, known }
    };
    let written = Written {
        software: software.to_owned(),
        cluster: origin.cluster.clone(),
        node: origin.node.0,
        boot: origin.boot.clone(),
        incarnation: memory.incarnation.0,
        at: memory.at.as_nanos(),
        open_until: estate.open_until.as_nanos(),
        token: memory.last_token,
        held: memory.held.iter().map(|(group, epoch)| (group.0, epoch.0)).collect(),
        claims: claims.chunks(CLAIMS_PER_MESSAGE).map(written_claims).collect(),
        since: memory.claims.iter().map(|(_, since)| since.as_nanos()).collect(),
        peers: nodes.into_iter().map(peer).collect(),
        unfit: memory.fitness.iter().map(|(pool, it)| (pool.0, *it == Fitness::Unfit)).collect(),
        granted_until: estate.granted_until.map(Instant::as_nanos),
        leases: memory.leases.as_ref().map(WrittenLeases::new),
        taken: memory.taken.iter().map(|(group, at)| (group.0, at.as_nanos())).collect(),
        promises: memory.promises.as_ref().map(WrittenRecord::new),
        timing: memory.timing.map(|(level, own)| (level.number(), own.number())),
    };
    let body = serde_json::to_string(&written).expect("a state is plain data");
    format!("{MAGIC} {LAYOUT} {}\n{body}\n", digest(&body))
}

/// Reads it again, if it was left by the same node since the same boot.
pub(crate) fn read(text: &str, origin: &Origin) -> Result<Estate, Unusable> {
    let (head, body) = text.split_once('\n').ok_or(Unusable::Damaged)?;
    let words: Vec<&str> = head.split(' ').collect();
    let (layout, sum) = match words.as_slice() {
        [MAGIC, LAYOUT, sum] => (LAYOUT, *sum),
        [MAGIC, layout, ..] => (*layout, ""),
        _ => return Err(Unusable::Damaged),
    };
    if layout != LAYOUT {
        return Err(Unusable::OtherLayout(layout.chars().take(16).collect()));
    }
    let body = body.strip_suffix('\n').ok_or(Unusable::Damaged)?;
    if digest(body) != sum {
        return Err(Unusable::Damaged);
    }
    let written: Written = serde_json::from_str(body).map_err(|_| Unusable::Damaged)?;
    if written.cluster != origin.cluster {
        return Err(Unusable::OtherCluster(written.cluster));
    }
    if written.node != origin.node.0 {
        return Err(Unusable::Misfit(Misfit::OtherNode));
    }
    if written.boot != origin.boot {
        return Err(Unusable::OtherBoot);
    }
    estate(&written).ok_or(Unusable::Damaged)
}

fn estate(written: &Written) -> Option<Estate> {
    let mut claims = Vec::new();
    for line in &written.claims {
        let Ok(Message::Claims(slice)) = decode(&bytes(line)?) else { return None };
        claims.extend(slice.claims);
    }
    if claims.len() != written.since.len() {
        return None;
    }
    let since = written.since.iter().map(|since| Instant::from_nanos(*since));
    let mut peers = BTreeMap::new();
    let mut issued = BTreeMap::new();
    for peer in &written.peers {
        let WrittenPeer { sequence, last_words, round, .. } = *peer;
        issued.insert(NodeId(peer.node), Issued { sequence, last_words, round });
        let Some(known) = &peer.known else { continue };
        let acquaintance = Acquaintance {
            incarnation: Incarnation(known.incarnation),
            heard_at: known.heard_at.map(Instant::from_nanos),
            verdict: verdict(&known.verdict)?,
            stream: known.stream,
            have: LogPosition { stream: known.have.0, version: known.have.1 },
        };
        peers.insert(NodeId(peer.node), acquaintance);
    }
    let held = written.held.iter().map(|(group, epoch)| (GroupKey(*group), Epoch(*epoch)));
    let taken = written.taken.iter();
    let taken = taken.map(|(group, at)| (GroupKey(*group), Instant::from_nanos(*at)));
    let fitness = |unfit| if unfit { Fitness::Unfit } else { Fitness::Reluctant };
    let memory = Memory {
        me: NodeId(written.node),
        incarnation: Incarnation(written.incarnation),
        at: Instant::from_nanos(written.at),
        held: held.collect(),
        claims: claims.into_iter().zip(since).collect(),
        taken: taken.collect(),
        peers,
        fitness: written
            .unfit
            .iter()
            .map(|(pool, unfit)| (PoolId(*pool), fitness(*unfit)))
            .collect(),
        last_token: written.token,
        leases: written.leases.as_ref().map(WrittenLeases::read),
        promises: written.promises.as_ref().map(WrittenRecord::read),
        timing: written
            .timing
            .map(|(level, own)| (TimingLevel::from_number(level), TimingLevel::from_number(own))),
    };
    let open_until = Instant::from_nanos(written.open_until);
    let granted_until = written.granted_until.map(Instant::from_nanos);
    Some(Estate { memory, issued, open_until, granted_until })
}

fn written_claims(claims: &[Claim]) -> String {
    let mut bytes = Vec::new();
    let slice = Claims { base: LogPosition::default(), upto: 0, claims: claims.to_vec() };
    encode(&Message::Claims(slice), &mut bytes);
    hex(&bytes)
}

/// What the head of a file says of the rest.
pub(crate) fn digest(body: &str) -> String {
    hex(&Sha256::digest(body.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let pairs = hex.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

const WORDS: [(&str, Verdict); 6] = [
    ("unknown", Verdict::Unknown),
    ("up", Verdict::Up),
    ("suspect", Verdict::Suspect),
    ("indirect", Verdict::Indirect),
    ("dead", Verdict::Dead),
    ("left", Verdict::Left),
];

fn word(verdict: Verdict) -> &'static str {
    WORDS.iter().find(|(_, it)| *it == verdict).map_or("unknown", |(word, _)| word)
}

fn verdict(word: &str) -> Option<Verdict> {
    WORDS.iter().find(|(known, _)| *known == word).map(|(_, verdict)| *verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::names::Names;
    use crate::protocol::{Cause, LeaseMemory, PromiseRecord, Tenure, WishMemory};

    fn origin() -> Origin {
        let boot = "2d2a8a5e-5f5c-4c0e-9d0b-3d0a1f6f7a11".to_owned();
        Origin { cluster: "edge".to_owned(), node: NodeId(1), boot }
    }

    fn claim(group: u64, owner: u32) -> Claim {
        Claim {
            group: GroupKey(group),
            epoch: Epoch(7),
            owner: NodeId(owner),
            incarnation: Incarnation(0xa1a2_a3a4_a5a6_a7a8),
            revision: 2,
            tenure: Tenure::Held,
            support: 3,
            heirs: [Some(NodeId(2)), None],
            cause: Cause::Silence(NodeId(3)),
        }
    }

    fn sample() -> Estate {
        let at = Instant::from_millis(500_000);
        let known = Acquaintance {
            incarnation: Incarnation(9),
            heard_at: Some(at),
            verdict: Verdict::Suspect,
            stream: 4,
            have: LogPosition { stream: 5, version: 6 },
        };
        let claims = (0..30).map(|group| (claim(group, 1), Instant::from_millis(group)));
        let memory = Memory {
            me: NodeId(1),
            incarnation: Incarnation(u64::MAX - 1),
            at,
            held: [(GroupKey(1), Epoch(7)), (GroupKey(u64::MAX), Epoch(8))].into(),
            claims: claims.collect(),
            taken: BTreeMap::new(),
            peers: [(NodeId(2), known)].into(),
            fitness: vec![(PoolId(5), Fitness::Reluctant), (PoolId(6), Fitness::Unfit)],
            last_token: 11,
            leases: None,
            promises: None,
            timing: None,
        };
        let issued = Issued { sequence: 1234, last_words: 2, round: 3 };
        let issued = [(NodeId(2), issued), (NodeId(3), Issued::default())].into();
        let open_until = Instant::from_millis(500_600);
        Estate { memory, issued, open_until, granted_until: None }
    }

    /// The same of a voter with leases.
    fn strict() -> Estate {
        let mut estate = sample();
        let until = vec![Instant::from_millis(500_590), Instant::START];
        let wish = WishMemory { version: 3, wanted: true, until };
        let heard = [(NodeId(2), Instant::from_millis(499_990))];
        let (list, wishes) = (vec![NodeId(1), NodeId(2)], [(GroupKey(1), wish)].into());
        estate.memory.leases =
            Some(LeaseMemory { list: list.clone(), version: 4, wishes, heard: heard.into() });
        let (at, silent_until) = (estate.memory.at, Instant::START);
        let promises = Vec::new();
        estate.memory.promises =
            Some(PromiseRecord { me: NodeId(1), list, at, silent_until, promises });
        estate.granted_until = Some(Instant::from_millis(500_590));
        estate.memory.taken = [(GroupKey(1), Instant::from_millis(499_500))].into();
        estate.memory.timing = Some((TimingLevel::SLOWEST, TimingLevel::LAN));
        estate
    }

    fn names() -> Names {
        Names::new("edge".to_owned(), NodeId(1), Vec::new(), Vec::new())
    }

    fn refused(text: &str) -> String {
        read(text, &origin()).expect_err("it is not to be used").words(&names())
    }

    #[test]
    fn what_was_left_comes_back() {
        let text = text(&sample(), &origin(), "0.1.0");
        assert_eq!(read(&text, &origin()).unwrap(), sample());
        let text = super::text(&strict(), &origin(), "0.1.0");
        assert_eq!(read(&text, &origin()).unwrap(), strict());
    }

    #[test]
    fn a_file_cut_at_any_length_or_changed_anywhere_is_refused() {
        let whole = text(&sample(), &origin(), "0.1.0");
        for length in 0..whole.len() {
            assert!(read(&whole[..length], &origin()).is_err(), "cut at {length}");
        }
        for place in 0..whole.len() {
            let mut bytes = whole.clone().into_bytes();
            bytes[place] = if bytes[place] == b'7' { b'8' } else { b'7' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(read(&changed, &origin()).is_err(), "changed at {place}");
        }
        let cut = &whole[..whole.len() / 2];
        assert_eq!(refused(cut), "the state file is cut off or was changed");
    }

    #[test]
    fn a_file_of_another_layout_cluster_node_or_boot_is_refused_with_the_reason() {
        let other = |origin: Origin| refused(&text(&sample(), &origin, "0.1.0"));
        let layout = text(&sample(), &origin(), "9.0.0").replace("buoy-state 1", "buoy-state 2");
        assert_eq!(refused(&layout), "the state file has layout 2, this version knows 1");
        let cluster = Origin { cluster: "other".to_owned(), ..origin() };
        assert_eq!(other(cluster), "the state file belongs to cluster \"other\"");
        let node = Origin { node: NodeId(2), ..origin() };
        assert_eq!(other(node), "the state file: it belongs to another node");
        let boot = Origin { boot: "another".to_owned(), ..origin() };
        assert_eq!(other(boot), "the state file is older than the last boot of this host");
    }

    /// A later version may add fields.
    #[test]
    fn unknown_fields_are_skipped() {
        let whole = text(&sample(), &origin(), "0.2.0");
        let (_, body) = whole.split_once('\n').unwrap();
        let body = body.trim_end().replacen('{', "{\"later\":{\"a\":[1]},", 1);
        let grown = format!("{MAGIC} {LAYOUT} {}\n{body}\n", digest(&body));
        assert_eq!(read(&grown, &origin()).unwrap(), sample());
    }

    /// Files of released versions, one directory for each; the present version must have one.
    #[test]
    fn files_of_all_released_versions_are_read() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
        let mut seen = Vec::new();
        for version in std::fs::read_dir(root).unwrap() {
            let version = version.unwrap();
            let file = std::fs::read_to_string(version.path().join("state")).unwrap();
            let estate = read(&file, &origin());
            assert_eq!(estate.unwrap(), sample(), "{:?}", version.path());
            seen.push(version.file_name().into_string().unwrap());
        }
        let this = env!("CARGO_PKG_VERSION");
        let wanted = text(&sample(), &origin(), this);
        assert!(seen.iter().any(|it| it == this), "write tests/golden/{this}/state:\n{wanted}");
        let own = std::fs::read_to_string(format!("{root}/{this}/state")).unwrap();
        assert_eq!(own, wanted, "what a release writes does not change");
    }
}
