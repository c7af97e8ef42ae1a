//! The rules of placement of pools in words: which labels nodes have and pools require.
//!
//! Part of `names`: made from the configuration, replaced with it. Explanations and plans take from
//! here why a node is no place for a group.

use std::collections::{BTreeMap, BTreeSet};

use super::names::Names;
use crate::protocol::{NodeId, PlannedMove};

/// Rules of one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolRules {
    /// Labels of the nodes that have any.
    pub labels: BTreeMap<NodeId, BTreeSet<String>>,
    /// What the pools that have rules say, by name.
    pub pools: BTreeMap<String, PoolRule>,
}

/// Rules of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolRule {
    /// Labels that it requires.
    pub requires: Vec<String>,
    /// Pools that it is kept apart from.
    pub apart_from: Vec<String>,
    /// Pools that it is kept together with, itself included; none if it is with none.
    pub together_with: Vec<String>,
}

impl PoolRules {
    /// Returns the labels that a pool requires and a node lacks.
    #[must_use]
    pub fn missing(&self, node: NodeId, pool: &str) -> Vec<&str> {
        let required = self.pools.get(pool).map(|rule| rule.requires.as_slice());
        let has = |label: &&str| self.labels.get(&node).is_some_and(|has| has.contains(*label));
        let required = required.unwrap_or_default().iter().map(String::as_str);
        required.filter(|label| !has(label)).collect()
    }

    /// Returns which labels a node lacks for a pool.
    #[must_use]
    pub fn lacks(&self, node: NodeId, pool: &str) -> String {
        match self.missing(node, pool).as_slice() {
            [] => format!("lacks a label that pool {pool} requires"),
            [label] => format!("lacks label {label}, which pool {pool} requires"),
            labels => format!("lacks labels {}, which pool {pool} requires", labels.join(" and ")),
        }
    }

    /// Returns which pools a pool is kept apart from and together with.
    #[must_use]
    pub fn company(&self, pool: &str) -> String {
        let rule = self.pools.get(pool).cloned().unwrap_or_default();
        let mut words = Vec::new();
        match rule.apart_from.as_slice() {
            [] => {}
            [itself] if itself == pool => {
                words.push(format!("the groups of pool {pool} are kept apart"));
            }
            pools => words.push(format!("pool {pool} is kept apart from {}", pools.join(" and "))),
        }
        let others: Vec<&str> =
            rule.together_with.iter().map(String::as_str).filter(|other| *other != pool).collect();
        if !others.is_empty() {
            words.push(format!("pool {pool} is kept together with {}", others.join(" and ")));
        } else if !rule.together_with.is_empty() {
            words.push(format!("the groups of pool {pool} are kept together"));
        }
        if words.is_empty() { format!("the rules of pool {pool}") } else { words.join(", and ") }
    }

    /// Returns the rule for which a group would leave its owner.
    #[must_use]
    pub fn why_moved(&self, one: &PlannedMove, names: &Names) -> String {
        let pool = names.group(one.group).pool;
        let from = one.from.map_or_else(|| "its owner".to_owned(), |from| names.node(from));
        match one.from.filter(|from| !self.missing(*from, &pool).is_empty()) {
            Some(node) => format!("{from} {}", self.lacks(node, &pool)),
            None => self.company(&pool),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{group, names, node};
    use super::*;
    use crate::protocol::{MoveReason, PlanReason};

    #[test]
    fn what_a_node_lacks_is_named() {
        let has = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
        let rule = PoolRule {
            requires: vec!["rack-a".to_owned(), "tls-card".to_owned()],
            ..PoolRule::default()
        };
        let rules = PoolRules {
            labels: [(node("lb1"), has(&["tls-card"])), (node("lb3"), has(&["rack-a"]))].into(),
            pools: [("web".to_owned(), rule)].into(),
        };
        assert_eq!(rules.lacks(node("lb1"), "web"), "lacks label rack-a, which pool web requires");
        let both = "lacks labels rack-a and tls-card, which pool web requires";
        assert_eq!(rules.lacks(node("lb2"), "web"), both);
        assert_eq!(rules.missing(node("lb2"), "api"), [""; 0]);
        let names = names().with_rules(rules);
        let one = PlannedMove {
            group: group("10.77.0.100"),
            from: Some(node("lb1")),
            to: None,
            why: PlanReason::Move(MoveReason::Placement),
        };
        let why = names.rules().why_moved(&one, &names);
        assert_eq!(why, "lb1 lacks label rack-a, which pool web requires");
    }

    #[test]
    fn company_is_named() {
        let list = |pools: &[&str]| pools.iter().map(|pool| (*pool).to_owned()).collect();
        let table: [(&[&str], &[&str], &str); 5] = [
            (&["dns"], &[], "pool web is kept apart from dns"),
            (&["web"], &[], "the groups of pool web are kept apart"),
            (&[], &["api", "web"], "pool web is kept together with api"),
            (&[], &["web"], "the groups of pool web are kept together"),
            (
                &["dns"],
                &["api", "web"],
                "pool web is kept apart from dns, and pool web is kept together with api",
            ),
        ];
        for (apart, together, expected) in table {
            let (apart_from, together_with) = (list(apart), list(together));
            let rule = PoolRule { apart_from, together_with, ..PoolRule::default() };
            let rules =
                PoolRules { pools: [("web".to_owned(), rule)].into(), ..PoolRules::default() };
            assert_eq!(rules.company("web"), expected);
        }
    }
}
