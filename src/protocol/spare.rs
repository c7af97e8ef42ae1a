//! Whether the others can do without a node: asked before a planned drain. Pure, on a status.

use std::collections::BTreeSet;

use super::types::{Fitness, NodeId, NodePhase, NodeStatus, Status, Verdict};

/// Who is there for what, by the configuration.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// Nodes that may own groups.
    pub owners: BTreeSet<NodeId>,
    /// Nodes that grant leases; empty if no group needs one.
    pub voters: BTreeSet<NodeId>,
}

/// What must be left without the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpareTerms {
    /// Whether it must be the only one that is out, with a majority of the voters left.
    pub alone: bool,
    /// Percent of the weight of all owners that must stay in service.
    pub keep: Option<u8>,
}

/// Why a node cannot be spared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Indispensable {
    /// Nobody else is in service.
    LastOne,
    /// Others are out of service already, each for this reason.
    OthersOut(Vec<(NodeId, OutBecause)>),
    /// Too little would be left.
    TooLittleLeft {
        /// Weight that would be in service.
        left: u32,
        /// Weight of all owners.
        of: u32,
        /// Percent that were to stay.
        keep: u8,
    },
    /// The voters that are left without it are no majority.
    NoMajority {
        /// How many would be left.
        left: usize,
        /// Of how many.
        of: usize,
    },
}

/// Why a node is out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutBecause {
    /// It is not heard.
    NotUp,
    /// It drains.
    Drains,
    /// It starts, resumes, is isolated or leaves.
    NotActive,
    /// A required check of some pool fails there.
    Unfit,
}

fn out_because(node: &NodeStatus) -> Option<OutBecause> {
    let unfit = node.unfit.iter().any(|(_, fitness)| *fitness == Fitness::Unfit);
    match node.verdict {
        Verdict::Unknown | Verdict::Dead | Verdict::Left => Some(OutBecause::NotUp),
        Verdict::Up | Verdict::Suspect | Verdict::Indirect if node.draining => {
            Some(OutBecause::Drains)
        }
        Verdict::Up | Verdict::Suspect | Verdict::Indirect => {
            let active = node.phase == Some(NodePhase::Active);
            if active { unfit.then_some(OutBecause::Unfit) } else { Some(OutBecause::NotActive) }
        }
    }
}

impl Status {
    /// Returns whether the others can do without the node, under these terms; the first reason
    /// against it if not. A node that is out of service itself can always be spared.
    ///
    /// # Errors
    ///
    /// See [`Indispensable`].
    pub fn spare(
        &self,
        node: NodeId,
        roster: &Roster,
        terms: SpareTerms,
    ) -> Result<(), Indispensable> {
        let out_already = self.nodes.iter().any(|one| one.node == node && one.draining);
        if out_already || !roster.owners.contains(&node) {
            return Ok(());
        }
        let owners = || self.nodes.iter().filter(|one| roster.owners.contains(&one.node));
        let others = || owners().filter(|one| one.node != node);
        let out: Vec<(NodeId, OutBecause)> =
            others().filter_map(|one| Some((one.node, out_because(one)?))).collect();
        if terms.alone && !out.is_empty() {
            return Err(Indispensable::OthersOut(out));
        }
        let weight = |one: &NodeStatus| u32::from(one.weight);
        let in_service = others().filter(|one| out_because(one).is_none());
        let (left, of) = (in_service.map(weight).sum::<u32>(), owners().map(weight).sum::<u32>());
        if left == 0 {
            return Err(Indispensable::LastOne);
        }
        if let Some(keep) = terms.keep.filter(|keep| left * 100 < of * u32::from(*keep)) {
            return Err(Indispensable::TooLittleLeft { left, of, keep });
        }
        let hears = |one: &&NodeStatus| out_because(one) != Some(OutBecause::NotUp);
        let voters = self.nodes.iter().filter(|one| roster.voters.contains(&one.node));
        let left = voters.filter(hears).filter(|one| one.node != node).count();
        let of = roster.voters.len();
        if terms.alone && of > 0 && left * 2 <= of {
            return Err(Indispensable::NoMajority { left, of });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::types::{Incarnation, PoolId, Preserving};
    use super::*;

    fn node(node: u32) -> NodeStatus {
        NodeStatus {
            node: NodeId(node),
            verdict: Verdict::Up,
            phase: Some(NodePhase::Active),
            last_heard: Some(Duration::ZERO),
            draining: false,
            listed: true,
            unlists_me: false,
            waiting: None,
            unfit: Vec::new(),
            load: None,
            weight: 100,
            owns: 1,
            software: None,
            loop_lag: Duration::ZERO,
            config_differs: false,
            preserving: Preserving::Unknown,
            kernel_answers: None,
        }
    }

    /// Three nodes, of which node 2 is as given.
    fn three(second: NodeStatus) -> Status {
        Status {
            me: NodeId(1),
            incarnation: Incarnation(1),
            phase: NodePhase::Active,
            nodes: vec![node(1), second, node(3)],
            groups: Vec::new(),
        }
    }

    #[test]
    fn a_node_is_spared_when_enough_is_left() {
        let unfit = vec![(PoolId(1), Fitness::Unfit)];
        let reluctant = vec![(PoolId(1), Fitness::Reluctant)];
        let second = |because: Option<OutBecause>| match because {
            None => NodeStatus { unfit: reluctant.clone(), ..node(2) },
            Some(OutBecause::NotUp) => NodeStatus { verdict: Verdict::Dead, ..node(2) },
            Some(OutBecause::Drains) => NodeStatus { draining: true, ..node(2) },
            Some(OutBecause::NotActive) => {
                NodeStatus { phase: Some(NodePhase::Listening), ..node(2) }
            }
            Some(OutBecause::Unfit) => NodeStatus { unfit: unfit.clone(), ..node(2) },
        };
        let all: BTreeSet<NodeId> = (1..=3).map(NodeId).collect();
        let roster = Roster { owners: all.clone(), voters: all };
        let terms = |alone, keep| SpareTerms { alone, keep };
        let kept = |left, keep| Err(Indispensable::TooLittleLeft { left, of: 300, keep });
        for because in
            [OutBecause::NotUp, OutBecause::Drains, OutBecause::NotActive, OutBecause::Unfit]
        {
            let status = three(second(Some(because)));
            let spare = |terms| status.spare(NodeId(1), &roster, terms);
            let out = Err(Indispensable::OthersOut(vec![(NodeId(2), because)]));
            assert_eq!(spare(terms(true, None)), out);
            assert_eq!(spare(terms(false, None)), Ok(()));
            assert_eq!(spare(terms(false, Some(33))), Ok(()));
            assert_eq!(spare(terms(false, Some(34))), kept(100, 34));
        }
        let status = three(second(None));
        for (asked, expected) in [
            (terms(true, None), Ok(())),
            (terms(true, Some(66)), Ok(())),
            (terms(true, Some(67)), kept(200, 67)),
        ] {
            assert_eq!(status.spare(NodeId(1), &roster, asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn the_last_one_and_a_majority_are_not_spared_and_who_drains_is() {
        let both: BTreeSet<NodeId> = (1..=2).map(NodeId).collect();
        let roster = Roster { owners: both.clone(), voters: both };
        let mut status = three(NodeStatus { draining: true, ..node(2) });
        status.nodes.pop();
        let alone = SpareTerms { alone: true, keep: None };
        let spare = |status: &Status, of, terms| status.spare(NodeId(of), &roster, terms);
        assert_eq!(spare(&status, 1, SpareTerms::default()), Err(Indispensable::LastOne));
        assert_eq!(spare(&status, 2, alone), Ok(()), "it drains already");
        status.nodes[1].draining = false;
        let majority = Err(Indispensable::NoMajority { left: 1, of: 2 });
        assert_eq!(spare(&status, 1, alone), majority);
        assert_eq!(spare(&status, 1, SpareTerms::default()), Ok(()));
        let no_voters = Roster { voters: BTreeSet::new(), ..roster.clone() };
        assert_eq!(status.spare(NodeId(1), &no_voters, alone), Ok(()));
        assert_eq!(status.spare(NodeId(3), &roster, alone), Ok(()), "a witness owns nothing");
    }
}
