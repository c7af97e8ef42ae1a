//! Heartbeat paths on which no peer is heard while peers are heard on another.
//!
//! Peers say everything on every path, so to the protocol they live as long as one path carries
//! them. Where the network of clients is a path of its own, its silence says something about this
//! host: it may be deaf there. The kernel side then tests the links with these addresses.
//!
//! Called by the protocol thread for each datagram that was opened. Nothing needs a timer: while a
//! path speaks datagrams come, and when all are silent the protocol tests the whole host itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::protocol::Instant;

/// Datagrams on other paths, since the last on a path, that show that it is silent: of one peer with
/// slow heartbeats some may be read before those that came with them on this path.
const ELSEWHERE_MIN: u32 = 4;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct PathWatch {
    paths: BTreeMap<IpAddr, Path>,
    /// What was told last.
    silent: Vec<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Path {
    heard_at: Instant,
    /// Datagrams on other paths since then.
    elsewhere: u32,
}

impl PathWatch {
    /// A peer was heard on the path with this address of ours.
    pub(super) fn heard(&mut self, local: IpAddr, at: Instant) {
        for (address, path) in &mut self.paths {
            path.elsewhere = path.elsewhere.saturating_add(u32::from(*address != local));
        }
        self.paths.insert(local, Path { heard_at: at, elsewhere: 0 });
    }

    /// The addresses of ours where nobody has been heard for so long, if they are others than those
    /// that were returned last. Where nobody was ever heard nothing is expected.
    pub(super) fn changed(&mut self, now: Instant, after: Duration) -> Option<Vec<IpAddr>> {
        let is_silent =
            |path: &Path| path.elsewhere >= ELSEWHERE_MIN && now.since(path.heard_at) > after;
        let silent = self.paths.iter().filter(|(_, path)| is_silent(path));
        let silent: Vec<IpAddr> = silent.map(|(address, _)| *address).collect();
        (silent != self.silent).then(|| {
            self.silent.clone_from(&silent);
            silent
        })
    }

    /// Forgets paths that are none any more.
    pub(super) fn retain(&mut self, is_path: impl Fn(IpAddr) -> bool) {
        self.paths.retain(|address, _| is_path(*address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_millis(600);

    fn ip(network: u8) -> IpAddr {
        [10, 0, network, 1].into()
    }

    #[test]
    fn a_path_is_silent_while_another_speaks() {
        let mut watch = PathWatch::default();
        for at in (0..1000).step_by(100) {
            watch.heard(ip(1), Instant::from_millis(at));
            watch.heard(ip(2), Instant::from_millis(at));
            assert_eq!(watch.changed(Instant::from_millis(at), AFTER), None);
        }
        for at in (1000..=2000).step_by(100) {
            watch.heard(ip(1), Instant::from_millis(at));
            let expected = (at == 1600).then(|| vec![ip(2)]);
            assert_eq!(watch.changed(Instant::from_millis(at), AFTER), expected, "at {at} ms");
        }
        let now = Instant::from_millis(2010);
        watch.heard(ip(2), now);
        assert_eq!(watch.changed(now, AFTER), Some(Vec::new()), "it speaks again");
        watch.retain(|address| address == ip(1));
        assert_eq!(watch.paths.len(), 1);
    }

    #[test]
    fn slow_heartbeats_that_are_read_one_after_the_other_are_no_silence() {
        let mut watch = PathWatch::default();
        for at in (0..20_000).step_by(2_000) {
            for path in [1, 2] {
                watch.heard(ip(path), Instant::from_millis(at));
                assert_eq!(watch.changed(Instant::from_millis(at), AFTER), None);
            }
        }
        let now = Instant::from_millis(60_000);
        assert_eq!(watch.changed(now, AFTER), None, "when all are silent none is by itself");
    }
}
