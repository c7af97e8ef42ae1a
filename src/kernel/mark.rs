//! Whose an address is: every address that a daemon adds says of which cluster that daemon was.
//!
//! ```text
//!   IFA_RT_PRIORITY:   0x62 | 24 bits of a hash of the table's name     (Linux 4.18)
//!   IFA_PROTO:         0xb0                                             (Linux 5.18)
//! ```
//!
//! The priority has no effect, because no prefix route is made for these addresses; the kernel
//! shows it in dumps and events, of IPv4 and IPv6. Versions before this one gave every address the
//! same priority; these are taken for ours unless another daemon lives on this host whose they may
//! be (see `orphans`).

use super::orphans::earlier_are_ours;

/// The name of the table of a cluster, another one for each: of what names of clusters are made
/// of, `nft` does not read the colon, and reads the slash, which they do not have.
#[must_use]
pub fn table_name(cluster: &str) -> String {
    format!("buoy_{}", cluster.replace(':', "/"))
}

/// `IFA_PROTO` of every address that a daemon adds.
pub(super) const PROTOCOL_TAG: u8 = 0xb0;
/// `IFA_RT_PRIORITY` of those that earlier versions added: "buoy".
const EARLIER: u32 = u32::from_be_bytes(*b"buoy");
const FIRST_BYTE: u32 = (b'b' as u32) << 24;

/// What addresses of one cluster on this host bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    value: u32,
    /// Whether addresses of earlier versions are ours too.
    earlier: bool,
}

impl Mark {
    /// The mark of the cluster with this table (see [`table_name`](super::table_name)).
    #[must_use]
    pub fn of(table: &str) -> Self {
        // FNV-1a, folded to 24 bits.
        let hash = table
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let value = FIRST_BYTE | (hash >> 24 ^ hash & 0x00ff_ffff);
        Self { value: if value == EARLIER { value ^ 1 } else { value }, earlier: false }
    }

    /// The mark of that cluster on this host. Whether addresses that earlier versions added are its
    /// own cannot be told where there is no nf_tables: then they are.
    #[must_use]
    pub fn here(table: &str) -> Self {
        let earlier = earlier_are_ours(table).unwrap_or(true);
        Self { earlier, ..Self::of(table) }
    }

    /// Whether the addresses of earlier versions are ours too.
    #[must_use]
    pub const fn has_earlier(self) -> bool {
        self.earlier
    }

    /// The mark with this value.
    pub(super) const fn from_value(value: u32) -> Self {
        Self { value, earlier: false }
    }

    /// The same, with what earlier versions added.
    #[must_use]
    pub const fn with_earlier(self) -> Self {
        Self { earlier: true, ..self }
    }

    /// As addresses bear it.
    pub(crate) const fn value(self) -> u32 {
        self.value
    }

    /// The protocol of routes and rules of groups of the cluster: one of seven numbers that no other
    /// program is known to use (FRR has 186 to 198). Of routes to networks of addresses it is
    /// [`PROTOCOL_TAG`].
    pub(super) const fn protocol(self) -> u8 {
        PROTOCOL_TAG + 1 + (self.value % 7).to_le_bytes()[0]
    }

    /// Reads the attributes of an address: `None` if no daemon added it.
    pub(super) fn read(priority: Option<u32>, protocol: Option<u8>) -> Option<Found> {
        let tagged = protocol == Some(PROTOCOL_TAG);
        match priority {
            Some(EARLIER) => Some(Found::Earlier),
            // Without the second sign too many others could mean it.
            Some(value) if value & 0xff00_0000 == FIRST_BYTE && (tagged || protocol.is_none()) => {
                Some(Found::Of(value))
            }
            Some(_) | None => tagged.then_some(Found::Earlier),
        }
    }

    /// Whether an address that bears this is of the cluster.
    pub(super) fn owns(self, found: Option<Found>) -> bool {
        match found {
            Some(Found::Of(value)) => value == self.value,
            Some(Found::Earlier) => self.earlier,
            None => false,
        }
    }
}

impl Default for Mark {
    fn default() -> Self {
        Self::of("buoy").with_earlier()
    }
}

/// What an address bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Found {
    /// The mark of a cluster.
    Of(u32),
    /// That of an earlier version.
    Earlier,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn clusters_with_similar_names_have_tables_of_their_own() {
        let clusters = ["a-b", "a_b", "a.b", "a:b", "ab", "A_b"];
        let tables: BTreeSet<String> = clusters.map(table_name).into();
        assert_eq!(tables.len(), clusters.len(), "{tables:?}");
        assert!(tables.iter().all(|table| !table.contains(':')), "{tables:?}");
    }

    #[test]
    fn clusters_have_marks_of_their_own() {
        let names = ["buoy_edge", "buoy_edge2", "buoy_old", "buoy_new", "buoy_one", "buoy_other"];
        let marks: BTreeSet<u32> = names.map(|name| Mark::of(name).value()).into();
        assert_eq!(marks.len(), names.len(), "{marks:x?}");
        assert!(marks.iter().all(|mark| mark >> 24 == 0x62 && *mark != EARLIER));
    }

    #[test]
    fn an_address_is_of_the_cluster_whose_mark_it_bears() {
        let (mine, other) = (Mark::of("buoy_one"), Mark::of("buoy_two"));
        let found = Mark::read(Some(mine.value()), Some(PROTOCOL_TAG));
        assert!(mine.owns(found) && !other.owns(found));
        let found = Mark::read(Some(mine.value()), None);
        assert!(mine.owns(found), "a kernel without IFA_PROTO");
        assert_eq!(Mark::read(Some(mine.value()), Some(3)), None, "somebody else's protocol");
        assert_eq!(Mark::read(None, None), None);
        assert_eq!(Mark::read(Some(1024), Some(2)), None);
    }

    #[test]
    fn what_earlier_versions_added_is_ours_only_if_nobody_elses() {
        let mine = Mark::of("buoy_one");
        for found in [Mark::read(Some(EARLIER), Some(PROTOCOL_TAG)), Mark::read(None, Some(0xb0))] {
            assert!(!mine.owns(found) && mine.with_earlier().owns(found), "{found:?}");
        }
    }
}
