//! Heartbeat paths of a node that has several: which of its own work in both directions.
//!
//! Every datagram is sent on every path, so a peer lives while any path carries what it says. Where
//! the network of the clients is a path of its own, one that works in one direction only is a fault
//! of this host that its clients feel: it does not hear them, or they do not hear it.
//!
//! ```text
//!   peers were heard there, none is now           -> Silent
//!   peers are heard there, all say: not heard     -> Unheard
//!   one of them says: heard; or does not say      -> no fault
//!   no peer was ever heard there                  -> not known
//!
//!            fault            a heartbeat later             no fault
//!     Fine --------> Suspected ----------------> Doubted <----------> Recovering
//!      ^  <---------                                          fault       |
//!      |   no fault                                                       |
//!      +------------------------ no fault for five seconds ---------------+
//! ```
//!
//! What is doubted is tested by the kernel side, which knows the hosts and groups on the link
//! (`kernel/deafness`). A path that all nodes have lost alike is no fault of one: peers that are
//! not heard by each other there are not heard by this node either. Silence is the difference
//! between the last copies on two paths, not the time since then: a slow peer and a node that has
//! stood still are silent on all alike.

use std::collections::BTreeMap;
use std::time::Duration;

use super::env::Env;
use super::types::{Action, Instant, NodeId, PATHS_MAX, PathFault, PathReport, Rule};

/// A path that was in doubt must be well for so long: one that loses nearly all carries a copy now
/// and then, and groups that come back for each are worse than none.
const RECOVERED: Duration = Duration::from_secs(5);

/// A peer that is heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Living {
    pub(super) node: NodeId,
    /// Silence on one path alone for longer than this counts.
    pub(super) lease: Duration,
    /// Whether it has heard enough for its reports to count.
    pub(super) acts: bool,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    peers: BTreeMap<NodeId, Copies>,
    own: [Standing; PATHS_MAX],
    /// As the shell was asked last.
    doubted: Vec<(u8, PathFault)>,
}

/// What came of one peer in its present life.
#[derive(Clone, Debug, Default)]
struct Copies {
    /// The first copy on any path.
    since: Option<Instant>,
    /// The last on each.
    heard_at: [Option<Instant>; PATHS_MAX],
    /// What it said last.
    reported: Vec<PathReport>,
}

/// Whether a peer is heard on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    Heard,
    /// Not any more.
    Silent,
    /// Never, for long enough to tell.
    Never,
    Unknown,
}

/// What is known of an own path now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    None,
    Well,
    Fault(PathFault),
}

/// What became of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Fine,
    Suspected {
        since: Instant,
    },
    Doubted {
        fault: PathFault,
    },
    Recovering {
        fault: PathFault,
        since: Instant,
    },
}

impl Copies {
    fn on(&self, path: usize, lease: Duration) -> Hearing {
        let (Some(latest), Some(since)) = (self.heard_at.iter().flatten().max(), self.since) else {
            return Hearing::Unknown;
        };
        match self.heard_at.get(path).copied().flatten() {
            Some(at) if latest.since(at) <= lease => Hearing::Heard,
            Some(_) => Hearing::Silent,
            None if latest.since(since) <= lease => Hearing::Unknown,
            None => Hearing::Never,
        }
    }
}

impl Standing {
    fn on(self, evidence: Evidence, now: Instant, confirmed: Duration) -> Self {
        match (self, evidence) {
            (Self::Fine, Evidence::Fault(_)) => Self::Suspected { since: now },
            (Self::Fine, Evidence::None | Evidence::Well)
            | (Self::Suspected { .. }, Evidence::None | Evidence::Well) => Self::Fine,
            (Self::Suspected { since }, Evidence::Fault(fault)) => {
                if now.since(since) >= confirmed { Self::Doubted { fault } } else { self }
            }
            (Self::Doubted { .. } | Self::Recovering { .. }, Evidence::Fault(fault)) => {
                Self::Doubted { fault }
            }
            (Self::Doubted { .. } | Self::Recovering { .. }, Evidence::None) => self,
            (Self::Doubted { fault }, Evidence::Well) => Self::Recovering { fault, since: now },
            (Self::Recovering { since, .. }, Evidence::Well) => {
                if now.since(since) >= RECOVERED {
                    Self::Fine
                } else {
                    self
                }
            }
        }
    }

    fn fault(self) -> Option<PathFault> {
        match self {
            Self::Fine | Self::Suspected { .. } => None,
            Self::Doubted { fault } | Self::Recovering { fault, .. } => Some(fault),
        }
    }
}

impl Paths {
    /// Takes in that a copy of a datagram of a peer came on a path.
    pub(super) fn heard(&mut self, from: NodeId, path: u8, at: Instant) {
        let copies = self.peers.entry(from).or_default();
        if let Some(heard_at) = copies.heard_at.get_mut(usize::from(path)) {
            *heard_at = (*heard_at).max(Some(at));
            copies.since.get_or_insert(at);
        }
    }

    /// Takes in what a peer says that it hears.
    pub(super) fn reported(&mut self, from: NodeId, reported: Vec<PathReport>) {
        if let Some(copies) = self.peers.get_mut(&from) {
            copies.reported = reported;
        }
    }

    /// Whether a peer hears more than this node on the paths on which this node hears none, as far
    /// as it says.
    pub(super) fn hears_more(&self, node: NodeId) -> bool {
        let copies = self.peers.get(&node);
        let reported = |path: u8| copies?.reported.get(usize::from(path));
        let mut silent = self.doubted.iter().filter(|(_, fault)| *fault == PathFault::Silent);
        silent.all(|(path, _)| reported(*path).is_none_or(|it| it.receiver || it.others))
    }

    /// Forgets a former life of a peer.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.peers.remove(&node);
    }

    /// This node has not run: silence counts from now. What was doubted stays so.
    pub(super) fn excuse(&mut self, now: Instant) {
        for copies in self.peers.values_mut() {
            copies.since = Some(now);
            copies.heard_at.iter_mut().flatten().for_each(|at| *at = now);
        }
    }

    /// Keeps what is known of these peers only.
    pub(super) fn keep_only(&mut self, kept: impl Fn(NodeId) -> bool) {
        self.peers.retain(|node, _| kept(*node));
    }

    /// Returns what a peer is to know of what is heard here; nothing with a single path.
    pub(super) fn report(&self, env: &Env, to: NodeId, living: &[Living]) -> Vec<PathReport> {
        let on =
            |it: &Living, path| self.peers.get(&it.node).map(|copies| copies.on(path, it.lease));
        let report = |path| PathReport {
            receiver: !living
                .iter()
                .filter(|it| it.node == to)
                .any(|it| matches!(on(it, path), Some(Hearing::Silent | Hearing::Never))),
            others: living
                .iter()
                .filter(|it| it.node != to)
                .any(|it| on(it, path) == Some(Hearing::Heard)),
        };
        (0..count(env)).map(report).collect()
    }

    /// Follows what is heard and reported; to be called every heartbeat interval. `alone` if no
    /// peer lives at all, so that nothing can be compared.
    pub(super) fn revise(&mut self, env: &mut Env, living: &[Living], alone: bool) {
        let confirmed = env.configuration.timing.heartbeat;
        let count = count(env);
        for (path, standing) in self.own.iter_mut().enumerate() {
            *standing = if path < count && !alone {
                standing.on(evidence(&self.peers, env, living, path), env.now, confirmed)
            } else {
                Standing::Fine
            };
        }
        let doubted = (0..).zip(&self.own);
        let doubted: Vec<(u8, PathFault)> =
            doubted.filter_map(|(path, standing)| Some((path, standing.fault()?))).collect();
        if doubted != self.doubted {
            self.doubted.clone_from(&doubted);
            env.actions.push(Action::DoubtPaths(doubted));
        }
    }
}

fn count(env: &Env) -> usize {
    let count = usize::from(env.configuration.paths).min(PATHS_MAX);
    if count > 1 { count } else { 0 }
}

fn evidence(
    peers: &BTreeMap<NodeId, Copies>,
    env: &Env,
    living: &[Living],
    path: usize,
) -> Evidence {
    let of = |it: &Living| Some((*it, peers.get(&it.node)?));
    let known: Vec<(Hearing, bool, Option<PathReport>)> = living
        .iter()
        .filter_map(of)
        .map(|(it, copies)| {
            (copies.on(path, it.lease), it.acts, copies.reported.get(path).copied())
        })
        .collect();
    let any = |hearing| known.iter().any(|(it, ..)| *it == hearing);
    if !any(Hearing::Heard) {
        let silent = any(Hearing::Silent) && !any(Hearing::Unknown);
        let doubted = silent && env.enforces(Rule::SilentPathDoubted);
        return if doubted { Evidence::Fault(PathFault::Silent) } else { Evidence::None };
    }
    let mut reports =
        known.iter().filter(|(it, acts, _)| *it == Hearing::Heard && *acts).map(|(.., it)| *it);
    let Some(reports) = reports.by_ref().collect::<Option<Vec<PathReport>>>() else {
        // One that may hear this node and cannot say so.
        return Evidence::Well;
    };
    if reports.is_empty() {
        return Evidence::None;
    }
    if reports.iter().any(|it| it.receiver) || !env.enforces(Rule::UnheardPathDoubted) {
        return Evidence::Well;
    }
    Evidence::Fault(PathFault::Unheard { others_heard: reports.iter().any(|it| it.others) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId(1);
    const LEASE: Duration = Duration::from_millis(600);
    const WELL: PathReport = PathReport { receiver: true, others: true };
    const UNHEARD: PathReport = PathReport { receiver: false, others: true };
    const UNHEARD_ALONE: PathReport = PathReport { receiver: false, others: false };

    fn living(nodes: &[u32]) -> Vec<Living> {
        let living = |node: &u32| Living { node: NodeId(*node), lease: LEASE, acts: true };
        nodes.iter().map(living).collect()
    }

    fn env(paths: u8) -> Env {
        let mut env = Env::alone(ME);
        env.configuration.paths = paths;
        env
    }

    /// One heartbeat interval after the other: what each peer says of path 0 (`None` for older
    /// software), and whether it is heard there. Path 1 always works.
    fn tell(paths: &mut Paths, env: &mut Env, beats: u64, said: &[(bool, Option<PathReport>)]) {
        for _ in 0..beats {
            env.now = env.now + Duration::from_millis(100);
            let mut nodes = Vec::new();
            for (node, (heard, report)) in (2..).zip(said) {
                nodes.push(node);
                paths.heard(NodeId(node), 1, env.now);
                if *heard {
                    paths.heard(NodeId(node), 0, env.now);
                }
                paths.reported(NodeId(node), report.map_or(vec![], |report| vec![report, WELL]));
            }
            paths.revise(env, &living(&nodes), false);
        }
    }

    fn doubted(paths: &Paths) -> Option<PathFault> {
        assert!(paths.doubted.iter().all(|(path, _)| *path == 0), "{:?}", paths.doubted);
        paths.doubted.first().map(|(_, fault)| *fault)
    }

    #[test]
    fn a_path_is_in_doubt_for_these_reasons() {
        let unheard = |others_heard| Some(PathFault::Unheard { others_heard });
        let table = [
            (vec![(true, Some(WELL)), (true, Some(WELL))], None),
            (vec![(true, Some(UNHEARD)), (true, Some(UNHEARD))], unheard(true)),
            (vec![(true, Some(UNHEARD_ALONE)), (true, Some(UNHEARD))], unheard(true)),
            (vec![(true, Some(UNHEARD_ALONE))], unheard(false)),
            (vec![(true, Some(UNHEARD)), (true, Some(WELL))], None),
            (vec![(true, Some(UNHEARD)), (true, None)], None),
            (vec![(true, None)], None),
            (vec![(false, Some(UNHEARD)), (true, Some(UNHEARD))], unheard(true)),
            (vec![(false, Some(UNHEARD)), (true, Some(WELL))], None),
            (vec![(false, Some(WELL)), (false, Some(WELL))], Some(PathFault::Silent)),
            (vec![(false, Some(UNHEARD)), (false, None)], Some(PathFault::Silent)),
        ];
        for (said, expected) in table {
            let (mut paths, mut env) = (Paths::default(), env(2));
            let well: Vec<_> = said.iter().map(|_| (true, Some(WELL))).collect();
            tell(&mut paths, &mut env, 5, &well);
            assert_eq!(doubted(&paths), None);
            tell(&mut paths, &mut env, 12, &said);
            assert_eq!(doubted(&paths), expected, "{said:?}");
        }
    }

    #[test]
    fn one_report_is_not_enough_and_one_copy_does_not_end_the_doubt() {
        let (mut paths, mut env) = (Paths::default(), env(2));
        let (well, unheard) = ([(true, Some(WELL))], [(true, Some(UNHEARD))]);
        tell(&mut paths, &mut env, 5, &well);
        tell(&mut paths, &mut env, 1, &unheard);
        assert_eq!(doubted(&paths), None);
        tell(&mut paths, &mut env, 1, &well);
        tell(&mut paths, &mut env, 1, &unheard);
        assert_eq!(doubted(&paths), None, "not two in a row");
        tell(&mut paths, &mut env, 1, &unheard);
        assert!(doubted(&paths).is_some());
        tell(&mut paths, &mut env, 50, &well);
        assert!(doubted(&paths).is_some(), "for less than five seconds");
        tell(&mut paths, &mut env, 1, &unheard);
        tell(&mut paths, &mut env, 50, &well);
        assert!(doubted(&paths).is_some(), "counted from the last fault");
        tell(&mut paths, &mut env, 1, &well);
        assert_eq!(doubted(&paths), None);
        let asked = |action: &Action| matches!(action, Action::DoubtPaths(_));
        assert_eq!(env.actions.iter().filter(|action| asked(action)).count(), 2);
    }

    #[test]
    fn where_no_peer_was_ever_heard_nothing_is_expected() {
        let (mut paths, mut env) = (Paths::default(), env(2));
        tell(&mut paths, &mut env, 50, &[(false, Some(UNHEARD)), (false, None)]);
        assert_eq!(doubted(&paths), None);
    }

    #[test]
    fn a_node_that_is_alone_doubts_no_path() {
        let (mut paths, mut env) = (Paths::default(), env(2));
        tell(&mut paths, &mut env, 10, &[(true, Some(UNHEARD))]);
        assert!(doubted(&paths).is_some());
        paths.revise(&mut env, &[], false);
        assert!(doubted(&paths).is_some(), "it is silent for a moment");
        paths.revise(&mut env, &[], true);
        assert_eq!(doubted(&paths), None);
    }

    #[test]
    fn a_peer_learns_where_it_is_heard_and_whether_others_are() {
        let (mut paths, mut env) = (Paths::default(), env(2));
        let report = |paths: &Paths, env: &Env, to| paths.report(env, NodeId(to), &living(&[2, 3]));
        assert_eq!(report(&paths, &env, 2)[0], PathReport { receiver: true, others: false });
        tell(&mut paths, &mut env, 7, &[(false, None), (true, None)]);
        let both = [PathReport { receiver: true, others: true }; 2];
        assert_eq!(report(&paths, &env, 2), both, "it has not been heard for long");
        tell(&mut paths, &mut env, 1, &[(false, None), (true, None)]);
        assert_eq!(report(&paths, &env, 2), [UNHEARD, WELL], "never");
        assert_eq!(report(&paths, &env, 3), [PathReport { receiver: true, others: false }, WELL]);
        tell(&mut paths, &mut env, 1, &[(true, None), (true, None)]);
        assert_eq!(report(&paths, &env, 2), [WELL, WELL]);
        tell(&mut paths, &mut env, 7, &[(false, None), (true, None)]);
        assert_eq!(report(&paths, &env, 2), [UNHEARD, WELL], "not any more");
        paths.forget(NodeId(2));
        assert_eq!(report(&paths, &env, 2), [WELL, WELL], "in its new life");
        tell(&mut paths, &mut env, 8, &[(true, None), (true, None)]);
        tell(&mut paths, &mut env, 7, &[(false, None), (true, None)]);
        paths.excuse(env.now);
        assert_eq!(report(&paths, &env, 2), [WELL, WELL], "this node has not run");
        env.configuration.paths = 1;
        assert_eq!(report(&paths, &env, 2), []);
    }
}
