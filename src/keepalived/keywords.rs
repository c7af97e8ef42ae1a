//! All keywords of keepalived by the block that they stand in, and what becomes of each.
//!
//! The tables are in `keywords/`; they hold the keywords of 2.2.7, those that versions up to 2.3.4
//! have added, and those that older versions had. A row says how a keyword continues and what
//! becomes of it unless the meaning decides otherwise. How a row's sentence ends is written for
//! several keywords together: `{are}` is "is" or "are", and a sentence that begins with ":" follows
//! the keyword directly.

use super::report::Verdict;
use super::tree::Node;

mod globals;
mod instances;
mod servers;

/// What stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// The top of a file.
    Top,
    /// `global_defs`.
    Globals,
    /// `vrrp_instance`.
    Instance,
    /// `vrrp_sync_group`.
    SyncGroup,
    /// `vrrp_script`.
    Script,
    /// `vrrp_track_process`.
    Process,
    /// `vrrp_track_file`, `track_file` at the top.
    TrackFile,
    /// `authentication`.
    Authentication,
    /// `bfd_instance`.
    Bfd,
    /// `garp_group`.
    GarpGroup,
    /// `virtual_server` and all below, `virtual_server_group`, `SSL`.
    Servers,
}

/// How a keyword continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// With values, or alone.
    Value,
    /// With a block of keywords.
    Block(Block),
    /// With a block of entries, whose first words are no keywords; the name of an entry.
    List(&'static str),
    /// With values or a block of either kind.
    Any,
}

/// A keyword in a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// As it is written.
    pub(super) name: &'static str,
    /// How it continues.
    pub(super) form: Form,
    /// What becomes of it.
    pub(super) verdict: Verdict,
    /// How, why, or what to do: the end of a sentence that begins with the keyword.
    pub(super) how: &'static str,
    /// The word for it in sentences; empty for the keyword itself, or `value` for both.
    pub(super) alias: &'static str,
}

/// What becomes of passwords.
pub(super) const PASSWORD: &str =
    "{are} dropped: only keepalived used it; buoy has its own key (buoy keygen)";
/// What becomes of balancing.
pub(super) const BALANCED: &str =
    "{are} for keepalived's load balancing: buoy does not balance load";

/// Shown with its value in sentences.
pub(super) const WITH_VALUE: &str = "value";

const fn row(name: &'static str, form: Form, verdict: Verdict, how: &'static str) -> Row {
    Row { name, form, verdict, how, alias: "" }
}

const fn alias(row: Row, alias: &'static str) -> Row {
    Row { alias, ..row }
}

/// The rows of a block.
pub(super) fn rows(block: Block) -> &'static [Row] {
    match block {
        Block::Top => globals::TOP,
        Block::Globals => globals::GLOBALS,
        Block::Bfd => globals::BFD,
        Block::GarpGroup => globals::GARP_GROUP,
        Block::Instance => instances::INSTANCE,
        Block::SyncGroup => instances::SYNC_GROUP,
        Block::Script => instances::SCRIPT,
        Block::Process => instances::PROCESS,
        Block::TrackFile => instances::TRACK_FILE,
        Block::Authentication => instances::AUTHENTICATION,
        Block::Servers => servers::SERVERS,
    }
}

/// Every block, the outer ones first.
pub(super) const BLOCKS: [Block; 11] = [
    Block::Top,
    Block::Globals,
    Block::Instance,
    Block::SyncGroup,
    Block::Script,
    Block::Process,
    Block::TrackFile,
    Block::Authentication,
    Block::Bfd,
    Block::GarpGroup,
    Block::Servers,
];

/// The row of a keyword.
pub(super) fn find(block: Block, name: &str) -> Option<&'static Row> {
    rows(block).iter().find(|row| row.name == name)
}

/// Whether a keyword only stands at the top of a file, so that whatever is open should be closed.
pub(super) fn closes_all(name: &str) -> bool {
    // `track_file` and `group` stand in blocks too; values such as `instance` are other words.
    const TOP_BLOCKS: [&str; 16] = [
        "global_defs",
        "vrrp_instance",
        "vrrp_sync_group",
        "vrrp_script",
        "vrrp_track_process",
        "vrrp_track_file",
        "static_ipaddress",
        "static_routes",
        "static_rules",
        "track_group",
        "garp_group",
        "bfd_instance",
        "virtual_server",
        "virtual_server_group",
        "linkbeat_interfaces",
        "interface_up_down_delays",
    ];
    TOP_BLOCKS.contains(&name)
}

/// The block in which this keyword has a meaning, if it has none in the one where it stands.
pub(super) fn home(name: &str) -> Option<Block> {
    let lists = [Block::Globals, Block::Instance, Block::SyncGroup, Block::Script, Block::Top];
    let known = lists.into_iter().chain([Block::GarpGroup, Block::Process, Block::Servers]);
    known.into_iter().find(|block| find(*block, name).is_some())
}

/// The keyword of a block that looks most like a word which is none.
pub(super) fn nearest(block: Block, word: &str) -> Option<&'static Row> {
    let far = rows(block).iter().map(|row| (distance(row.name, word), row));
    let near = far.filter(|(far, row)| *far <= 2 && row.name.len() > 4 && word.len() > 3);
    near.min_by_key(|(far, _)| *far).map(|(_, row)| row)
}

/// Letters to change, add or remove.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = index;
        row[0] = index + 1;
        for (at, compared) in other.iter().enumerate() {
            let change = diagonal + usize::from(letter != *compared);
            diagonal = row[at + 1];
            row[at + 1] = change.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// What the name of a block is, in words.
pub(super) const fn name_of(block: Block) -> &'static str {
    match block {
        Block::Top => "the top of the file",
        Block::Globals => "global_defs",
        Block::Instance => "vrrp_instance",
        Block::SyncGroup => "vrrp_sync_group",
        Block::Script => "vrrp_script",
        Block::Process => "vrrp_track_process",
        Block::TrackFile => "vrrp_track_file",
        Block::Authentication => "authentication",
        Block::Bfd => "bfd_instance",
        Block::GarpGroup => "garp_group",
        Block::Servers => "virtual_server",
    }
}

/// Keyword and name for a message, without anything that may be a secret.
pub(super) fn shown(node: &Node) -> String {
    let secret = ["auth_pass", "password", "key", "active_key"].contains(&node.keyword.as_str());
    if secret { node.keyword.clone() } else { node.title() }
}
