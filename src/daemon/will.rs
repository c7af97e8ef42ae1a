//! What the daemon leaves to its guardian: one line of JSON for each thing, through a pipe.
//!
//! ```text
//!   daemon (two threads) ---- lines ---> pipe ---> guardian (its standard input)
//!                                          \---> end of file: the daemon is dead
//! ```
//!
//! Each line is shorter than what a pipe takes as a whole (4096 bytes), so a full pipe loses lines
//! and never halves of them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::kernel::Mark;

/// A datagram sealed in advance, for one peer on one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Farewell {
    /// This node's address on the path.
    pub(crate) from: SocketAddr,
    /// The peer's.
    pub(crate) to: SocketAddr,
    /// "I am gone."
    pub(crate) datagram: Vec<u8>,
}

/// What says to routers outside the cluster that a virtual router stops (VRRP, priority 0).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastWord {
    /// The index of the link that it goes out of.
    pub(crate) link: u32,
    /// An address of this host.
    pub(crate) source: IpAddr,
    /// The peer's, or that of all.
    pub(crate) destination: IpAddr,
    /// The advertisement, as digits of base 16: one for 255 addresses has 1036 bytes.
    payload: String,
}

impl LastWord {
    /// Makes one of the bytes of an advertisement.
    pub(crate) fn new(link: u32, between: (IpAddr, IpAddr), payload: &[u8]) -> Self {
        let payload = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { link, source: between.0, destination: between.1, payload }
    }

    /// Returns the advertisement; nothing if the line was not one of ours.
    pub(crate) fn payload(&self) -> Vec<u8> {
        let pairs = self.payload.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        pairs.map(byte).collect::<Option<Vec<u8>>>().unwrap_or_default()
    }
}

/// What the guardian has to do with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Host {
    /// The table of the cluster, which its mark follows from.
    pub(crate) table: String,
    /// Whether the table is the gate; else there is none.
    pub(crate) gate: bool,
    /// Whether addresses that earlier versions added are ours.
    pub(crate) earlier: bool,
}

impl Host {
    /// What the addresses bear.
    pub(crate) fn mark(&self) -> Mark {
        let mark = Mark::of(&self.table);
        if self.earlier { mark.with_earlier() } else { mark }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Line {
    /// Whose host this is.
    Host(Host),
    /// Farewells and last words that follow replace all earlier ones.
    Forget,
    /// To be sent when the daemon is dead.
    Farewell(Farewell),
    /// To be sent when the daemon is dead and its addresses answer no more.
    LastWord(LastWord),
    /// The daemon lives, and its kernel may answer until then; then when that was written, both in
    /// nanoseconds of the daemon's clock. It may be read later.
    Alive(u64, u64),
    /// The daemon has let go of everything by itself.
    Done,
    /// When the daemon has ended, wait until then, in nanoseconds of the daemon's clock, for another
    /// process to take this file, and only then act.
    StandBy(PathBuf, u64),
}

/// One line of the other direction: what the guardian says, before it does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Word {
    /// The addresses are being removed: for so many nanoseconds nobody said that the daemon lives.
    Removing {
        /// So long.
        unrenewed: u64,
    },
}

impl Word {
    /// With its end.
    pub(crate) fn text(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a word is plain data");
        text.push('\n');
        text
    }

    /// `None` for what this version does not know.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

impl Line {
    /// With its end.
    pub(crate) fn text(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a line is plain data");
        text.push('\n');
        text
    }

    /// `None` for what this version does not know.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_and_fit_into_a_pipe() {
        let longest = Farewell {
            from: "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap(),
            to: "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap(),
            datagram: vec![255; 400],
        };
        let source = "fe80::ffff:ffff:ffff:ffff".parse().unwrap();
        let word = LastWord::new(u32::MAX, (source, source), &[0xa5; 1456]);
        assert_eq!(word.payload(), [0xa5; 1456]);
        let lines = [
            Line::Host(Host { table: "buoy_edge".to_owned(), gate: true, earlier: false }),
            Line::Forget,
            Line::Farewell(longest),
            Line::LastWord(word),
            Line::Alive(u64::MAX, u64::MAX),
            Line::Done,
            Line::StandBy(PathBuf::from("/run/buoy/restart"), u64::MAX),
        ];
        for line in lines {
            let text = line.text();
            assert!(text.len() <= 4096 && text.ends_with('\n'), "{text}");
            assert_eq!(Line::read(&text), Some(line));
        }
        assert_eq!(Line::read("{\"Later\":1}"), None);
    }
}
