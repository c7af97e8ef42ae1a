//! What the daemon leaves to its guardian: one line of JSON for each thing, through a pipe.
//!
//! ```text
//!   daemon (two threads) ---- lines ---> pipe ---> guardian (its standard input)
//!                                          \---> end of file: the daemon is dead
//! ```
//!
//! Each line is shorter than what a pipe takes as a whole (4096 bytes), so a full pipe loses lines
//! and never halves of them.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Line {
    /// The table that is the gate, if there is one.
    Gate(Option<String>),
    /// Farewells that follow replace all earlier ones.
    Forget,
    /// To be sent when the daemon is dead.
    Farewell(Farewell),
    /// The daemon lives, and its kernel may answer until then, in nanoseconds of the daemon's clock.
    Alive(u64),
    /// The daemon has let go of everything by itself.
    Done,
    /// When the daemon has ended, wait until then, in nanoseconds of the daemon's clock, for another
    /// process to take this file, and only then act.
    StandBy(PathBuf, u64),
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
        let lines = [
            Line::Gate(Some("buoy_edge".to_owned())),
            Line::Gate(None),
            Line::Forget,
            Line::Farewell(longest),
            Line::Alive(u64::MAX),
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
