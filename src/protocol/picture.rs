//! Draws the picture of a node that operators see.

use super::claims::holder;
use super::group::Holding;
use super::node::Node;
use super::types::{
    Candidate, Explanation, Fitness, GroupKey, GroupState, GroupStatus, Inability, Instant, NodeId,
    NodeStatus, Outside, Standing, Status, Tenure, Verdict,
};

impl Node {
    /// What this node knows now.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        Status {
            me: self.env.configuration.me,
            incarnation: self.env.configuration.incarnation,
            phase: self.phase,
            nodes: self
                .env
                .configuration
                .nodes
                .keys()
                .chain(self.living_unlisted())
                .map(|node| self.node_status(now, *node))
                .collect(),
            groups: self
                .env
                .configuration
                .groups
                .keys()
                .map(|group| self.group_status(now, *group))
                .collect(),
        }
    }

    fn node_status(&self, now: Instant, node: NodeId) -> NodeStatus {
        let groups = self.claims.iter().filter(|claim| !self.is_further(claim.group));
        let owns = groups.filter(|claim| holder(claim) == Some(node)).count();
        let owns = u16::try_from(owns).unwrap_or(u16::MAX);
        let weight = self.weight(node);
        let Some(peer) = self.peers.get(&node) else {
            return NodeStatus {
                node,
                verdict: Verdict::Up,
                phase: Some(self.phase),
                last_heard: Some(std::time::Duration::ZERO),
                draining: self.drains(),
                listed: true,
                unlists_me: false,
                waiting: self.waiting(now),
                load: self.load_of(node),
                unfit: self.fitness.iter().map(|(pool, fitness)| (*pool, *fitness)).collect(),
                weight,
                owns,
                software: Some(self.env.configuration.software),
                loop_lag: self.loop_lag,
                config_differs: false,
                preserving: self.preserving(node),
                kernel_answers: None,
            };
        };
        NodeStatus {
            node,
            verdict: peer.verdict,
            phase: peer.said.phase,
            last_heard: peer.heard_at.map(|at| now.since(at)),
            draining: peer.said.draining,
            listed: peer.listed,
            unlists_me: peer.said.unlisted && peer.alive(),
            waiting: peer.said.waiting,
            load: self.load_of(node),
            unfit: peer.checks.unfit().collect(),
            weight,
            owns,
            software: peer.said.software,
            loop_lag: peer.said.loop_lag,
            config_differs: peer.said.phase.is_some()
                && peer.said.config_digest != self.env.configuration.digest,
            preserving: peer.said.preserving,
            kernel_answers: self.answering_kernel(node).filter(|_| peer.kernel.told()),
        }
    }

    fn group_status(&self, now: Instant, group: GroupKey) -> GroupStatus {
        let entry = self.claims.entry(group);
        let owner = self.current_owner(group);
        let here = self.groups.get(&group).map(|here| here.holding);
        let held =
            self.groups.get(&group).filter(|here| matches!(here.holding, Holding::Held { .. }));
        let mine = owner == Some(self.env.configuration.me);
        let state = match (owner, here) {
            (Some(_), Some(Holding::Asking { .. })) if mine => GroupState::Waiting,
            (Some(_), Some(Holding::Held { .. }))
                if mine && self.strict(group) && !self.leased(group) =>
            {
                GroupState::Closed
            }
            (None, Some(Holding::Removing { .. } | Holding::Adding { .. })) => GroupState::Moving,
            (None, Some(Holding::Idle | Holding::Asking { .. } | Holding::Held { .. }) | None) => {
                GroupState::Unowned
            }
            (Some(_), Some(Holding::Removing { .. } | Holding::Adding { .. })) if mine => {
                GroupState::Moving
            }
            (Some(_), _) if entry.is_some_and(|entry| entry.claim.tenure != Tenure::Held) => {
                GroupState::Moving
            }
            (Some(_), _) => GroupState::Owned,
        };
        GroupStatus {
            group,
            owner,
            state,
            epoch: entry.map(|entry| entry.claim.epoch).unwrap_or_default(),
            since: entry.map(|entry| now.since(entry.since)).unwrap_or_default(),
            cause: entry.map(|entry| entry.claim.cause),
            converged: held.and_then(|here| here.following.converged()),
            unable_here: self.groups.get(&group).and_then(|here| here.inability(now)),
            claimant: self.groups.get(&group).and_then(|here| here.conflict.claimant(now)),
            withheld: self.withheld(group),
            preserved: self.preservation.preserved(now, self.env.configuration.me, group),
        }
    }

    /// Why a group is where it is; `None` if the configuration has no such group.
    #[must_use]
    pub fn explain(&self, now: Instant, group: GroupKey) -> Option<Explanation> {
        let wanted = self.env.configuration.groups.get(&group)?;
        let status = self.group_status(now, group);
        let claim = self.claims.latest(group);
        let heirs = claim.map(|claim| claim.heirs).unwrap_or_default();
        let line = self.line(group);
        let at = self.whereabouts();
        let mut order: Vec<NodeId> = line.clone();
        order.extend(self.common_order(group));
        let mut seen = std::collections::BTreeSet::new();
        order.retain(|node| Some(*node) != status.owner && seen.insert(*node));
        let first = order.first().map(|node| self.fitness_for(*node, group));
        let resort = first == Some(Fitness::Unfit) && !self.refuses(group, Fitness::Unfit);
        let unfit = if resort { Standing::LastResort } else { Standing::Unfit };
        let candidates = order.into_iter().map(|node| {
            let heir = heirs.iter().position(|heir| *heir == Some(node));
            let preferred = wanted.prefer.place(node);
            let place = |place: usize| u8::try_from(place + 1).unwrap_or(u8::MAX);
            let standing = match self.obstacle(now, group, node) {
                Some(obstacle) => obstacle,
                None if self.lacks_label(node, wanted.pool) => {
                    Standing::Lacking { last_resort: resort }
                }
                None if self.fitness_for(node, group) == Fitness::Unfit => unfit,
                None if self.fitness_for(node, group) == Fitness::Reluctant => Standing::Reluctant,
                None if self.ill_company(group, node, status.owner, &at) > 0 => {
                    Standing::IllCompany
                }
                None if heir.is_some() => Standing::Heir(heir.map_or(0, place)),
                None if preferred.is_some() => Standing::Preferred(preferred.map_or(0, place)),
                None => Standing::Ranked,
            };
            let told = self.told_unable(now, node, group);
            let told = told.filter(|told| standing == Standing::Unable(told.why));
            Candidate {
                node,
                standing,
                unable_for: told.map(|told| now.since(told.since)),
                damped: self.damped_for(now, node),
            }
        });
        let (able, unable): (Vec<Candidate>, Vec<Candidate>) = candidates.partition(|candidate| {
            matches!(
                candidate.standing,
                Standing::Heir(_)
                    | Standing::Preferred(_)
                    | Standing::Ranked
                    | Standing::Reluctant
                    | Standing::LastResort
                    | Standing::Lacking { last_resort: true }
                    | Standing::IllCompany
            )
        });
        Some(Explanation { group: status, candidates: able.into_iter().chain(unable).collect() })
    }

    /// What keeps a node from taking a group.
    fn obstacle(&self, now: Instant, group: GroupKey, node: NodeId) -> Option<Standing> {
        if node == self.env.configuration.me {
            let here = self.groups.get(&group).and_then(|here| here.inability(now));
            return if self.drains() {
                Some(Standing::Draining)
            } else if self.phase != super::types::NodePhase::Active {
                Some(Standing::NotActive(self.phase))
            } else {
                here.map(Standing::Unable)
            };
        }
        let peer = self.peers.get(&node)?;
        match peer.said.phase {
            Some(_) if !peer.alive() => Some(Standing::Down(peer.verdict)),
            None => Some(Standing::Down(peer.verdict)),
            Some(_) if peer.said.draining => Some(Standing::Draining),
            Some(phase) if phase != super::types::NodePhase::Active => {
                Some(Standing::NotActive(phase))
            }
            Some(_) => {
                // All members hear the same routers.
                let here = self.groups.get(&group).and_then(|here| here.conflict.outside);
                let outside = here.filter(|it| matches!(it, Outside::Prevails(_)));
                let outside = outside.map(|it| Standing::Unable(Inability::Outside(it)));
                let told = || self.told_unable(now, node, group);
                outside.or_else(|| told().map(|told| Standing::Unable(told.why)))
            }
        }
    }
}
