//! That runs are as recorded: the hash of each seed and of each story, as `fingerprint` makes it.
//!
//! A change that is to change no behaviour keeps all of them; one that is to change it records them
//! again and says so. `seeds` and the stories compare what they have run anyway, so the check costs no
//! runs of its own:
//!
//! | command | does |
//! |---|---|
//! | `cargo test --release --test simulation` | compares all seeds and stories |
//! | `BUOY_SEEDS=1000 cargo test --test simulation seeds` | compares the first thousand seeds |
//! | `BUOY_RECORD=1 cargo test --release --test simulation` | records what was run again |
//!
//! ```text
//!  recorded/seeds.txt      first seed of 20, hash of their hashes, 16 bits of the hash of each
//!  recorded/stories.txt    name, hash
//! ```
//!
//! The 16 bits tell which seed differs, the hash of the hashes that none does.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;

use buoy::protocol::mix;

use crate::cluster::Cluster;

/// Seeds on one line.
const BLOCK: u64 = 20;
/// Differing seeds that are named.
const NAMED: usize = 20;

const SEEDS: &str = "seeds.txt";
const STORIES: &str = "stories.txt";

thread_local! {
    /// Over the clusters that this thread has made and dropped since a story has begun.
    static TOLD: Cell<Option<u64>> = const { Cell::new(None) };
}

/// One story after the other is recorded.
static RECORDING: Mutex<()> = Mutex::new(());

/// What is known of [`BLOCK`] seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    whole: u64,
    each: Vec<u16>,
}

impl Block {
    fn new(hashes: &[u64]) -> Self {
        let whole = hashes.iter().fold(0, |whole, hash| mix(whole ^ hash));
        Self { whole, each: hashes.iter().copied().map(short).collect() }
    }

    fn read(line: &str) -> Option<(u64, Self)> {
        let mut words = line.split(' ');
        let first = words.next()?.parse().ok()?;
        let whole = u64::from_str_radix(words.next()?, 16).ok()?;
        let each = words.map(|word| u16::from_str_radix(word, 16).ok()).collect::<Option<_>>()?;
        Some((first, Self { whole, each }))
    }

    fn write(&self, first: u64) -> String {
        let mut line = format!("{first} {:016x}", self.whole);
        for each in &self.each {
            let _ = write!(line, " {each:04x}");
        }
        line + "\n"
    }
}

fn short(hash: u64) -> u16 {
    u16::try_from(hash & 0xffff).expect("16 bits")
}

/// Adds a cluster that is dropped to the hash of the story that has made it.
pub(crate) fn note_cluster(cluster: &Cluster) {
    if let Some(told) = TOLD.get().filter(|_| !std::thread::panicking()) {
        TOLD.set(Some(mix(told ^ cluster.fingerprint())));
    }
}

/// Tells a story; returns its hash with how it ended.
pub(crate) fn told<T>(story: impl FnOnce() -> T) -> (T, u64) {
    TOLD.set(Some(0));
    let outcome = story();
    (outcome, TOLD.take().expect("set before"))
}

/// Compares the hashes of seeds with the recorded ones, or records them if that is asked for.
/// Seeds of which nothing is recorded are not compared.
///
/// # Panics
///
/// When a seed differs.
pub(crate) fn check_seeds(hashes: &BTreeMap<u64, u64>) {
    let mut recorded: BTreeMap<u64, Block> =
        lines(SEEDS).iter().map(|line| Block::read(line).expect("a line of seeds.txt")).collect();
    let firsts: BTreeSet<u64> = hashes.keys().map(|seed| seed - seed % BLOCK).collect();
    let mut differing = Vec::new();
    for first in firsts {
        let run: Vec<(u64, u64)> =
            hashes.range(first..first + BLOCK).map(|(seed, hash)| (*seed, *hash)).collect();
        let whole = run.len() == usize::try_from(BLOCK).expect("small");
        if is_recording() {
            if whole {
                let hashes: Vec<u64> = run.iter().map(|(_, hash)| *hash).collect();
                recorded.insert(first, Block::new(&hashes));
            }
            continue;
        }
        let Some(block) = recorded.get(&first) else { continue };
        let before = differing.len();
        differing.extend(run.iter().filter_map(|(seed, hash)| {
            let place = usize::try_from(seed - first).expect("small");
            (block.each.get(place) != Some(&short(*hash))).then(|| seed.to_string())
        }));
        let hashes: Vec<u64> = run.iter().map(|(_, hash)| *hash).collect();
        if whole && differing.len() == before && Block::new(&hashes) != *block {
            differing.push(format!("one from {first} to {}", first + BLOCK - 1));
        }
    }
    if is_recording() {
        let text = recorded.iter().map(|(first, block)| block.write(*first)).collect::<String>();
        record(SEEDS, &text);
    }
    let named = differing.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    assert!(
        differing.is_empty(),
        "{} seeds do not run as recorded in tests/simulation/recorded/{SEEDS}: {named}.\n\
         Was that meant? Then record them again (BUOY_RECORD=1) in a commit that says so.",
        differing.len()
    );
}

/// Compares the hash of a story, or records it if that is asked for.
///
/// # Panics
///
/// When it differs, or is not recorded.
pub(crate) fn check_story(name: &str, hash: u64) {
    let told = format!("{hash:016x}");
    if is_recording() {
        let _alone = RECORDING.lock();
        let mut stories = stories();
        stories.insert(name.to_owned(), told);
        let line = |(name, hash): (&String, &String)| format!("{name} {hash}\n");
        return record(STORIES, &stories.iter().map(line).collect::<String>());
    }
    let recorded = stories().remove(name);
    assert_eq!(
        recorded.as_ref(),
        Some(&told),
        "{name} is not told as recorded in tests/simulation/recorded/{STORIES}.\n\
         Was that meant? Then record it again (BUOY_RECORD=1) in a commit that says so."
    );
}

/// The names of the stories that are recorded.
pub(crate) fn story_names() -> BTreeSet<String> {
    stories().into_keys().collect()
}

fn stories() -> BTreeMap<String, String> {
    let pair = |line: &String| {
        let (name, hash) = line.split_once(' ').expect("a line of stories.txt");
        (name.to_owned(), hash.to_owned())
    };
    lines(STORIES).iter().map(pair).collect()
}

fn is_recording() -> bool {
    std::env::var_os("BUOY_RECORD").is_some()
}

fn path(file: &str) -> PathBuf {
    let root = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    root.join("tests/simulation/recorded").join(file)
}

fn lines(file: &str) -> Vec<String> {
    let path = path(file);
    let text = match std::fs::read_to_string(&path) {
        Err(_) if is_recording() => String::new(),
        text => text.unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    };
    text.lines().map(str::to_owned).collect()
}

fn record(file: &str, text: &str) {
    let path = path(file);
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

#[test]
fn lines_of_seeds_are_read_as_they_are_written() {
    let block = Block::new(&[1, 0xabcd_ef01_2345_6789, u64::MAX]);
    let line = block.write(40);
    assert_eq!(Block::read(line.trim_end()), Some((40, block)));
}
