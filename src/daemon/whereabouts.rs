//! Remembers over restarts where this node and its peers were, so that a restart with another port
//! or address is no more than a reload: who has the old file is still found, and finds this node.
//!
//! One line for each path, `path LOCAL`, and after it one for each peer on it, `peer ID ADDRESS`.
//! A file that cannot be read, or says something else, is as good as none.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path as FilePath, PathBuf};

use nix::libc::O_NONBLOCK;

use super::state_directory;
use crate::protocol::NodeId;
use crate::transport::Path;

/// Eight paths in use and as many former ones, with 63 peers each.
const SIZE_MAX: u64 = 64 * 1024;

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct Whereabouts {
    file: PathBuf,
}

impl Whereabouts {
    /// In this directory, which is made when there is something to remember.
    pub(crate) fn within(directory: &FilePath) -> Self {
        Self { file: directory.join("paths") }
    }

    /// What was remembered last.
    pub(crate) fn recall(&self) -> Vec<Path> {
        let read = || -> io::Result<String> {
            // A FIFO must not make the daemon wait.
            let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&self.file)?;
            let mut text = String::new();
            if file.metadata()?.is_file() {
                file.take(SIZE_MAX).read_to_string(&mut text)?;
            }
            Ok(text)
        };
        read().ok().as_deref().and_then(parse).unwrap_or_default()
    }

    /// Remembers this, whole or not at all.
    pub(crate) fn remember(&self, paths: &[Path]) -> io::Result<()> {
        state_directory::replace(&self.file, render(paths).as_bytes())
    }
}

fn render(paths: &[Path]) -> String {
    let mut text = String::new();
    for path in paths {
        text.push_str(&format!("path {}\n", path.local));
        for (peer, address) in &path.peers {
            text.push_str(&format!("peer {} {address}\n", peer.0));
        }
    }
    text
}

fn parse(text: &str) -> Option<Vec<Path>> {
    let mut paths: Vec<Path> = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        match (words.next()?, words.next()?, words.next()) {
            ("path", local, None) => {
                let local = local.parse().ok()?;
                paths.push(Path { local, peers: std::collections::BTreeMap::new() });
            }
            ("peer", id, Some(address)) => {
                let peer = NodeId(id.parse().ok()?);
                paths.last_mut()?.peers.insert(peer, address.parse().ok()?);
            }
            _ => return None,
        }
    }
    Some(paths)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sample() -> Vec<Path> {
        let path = |local: &str, peers: &[(u32, &str)]| Path {
            local: local.parse().unwrap(),
            peers: peers.iter().map(|(id, at)| (NodeId(*id), at.parse().unwrap())).collect(),
        };
        vec![
            path("192.0.2.1:4748", &[(2, "192.0.2.2:4748"), (3, "192.0.2.3:4750")]),
            path("[2001:db8::1]:4748", &[]),
        ]
    }

    #[test]
    fn paths_come_back_as_they_went() {
        let directory = std::env::temp_dir().join(format!("buoy-paths-{}", std::process::id()));
        let whereabouts = Whereabouts::within(&directory);
        assert_eq!(whereabouts.recall(), []);
        for _ in 0..2 {
            whereabouts.remember(&sample()).unwrap();
            assert_eq!(whereabouts.recall(), sample());
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn anything_else_is_as_good_as_none() {
        for text in ["peer 1 192.0.2.1:4748\n", "path nowhere\n", "path 1 2 3\n", "x\n"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&render(&sample())), Some(sample()));
    }
}
