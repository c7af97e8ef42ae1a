//! `apart_from` and `together_with`: which pools share no node, and which share one.
//!
//! Both hold in both directions whichever pool names the other, and what is together is so with all
//! that these are together with. A pool may name itself: its groups are apart from each other, or all
//! on one node. Pools that are together move as one, so they must be placed by the same keys.

use std::collections::{BTreeMap, BTreeSet};

use super::document::nearest;
use super::fault::{At, Findings};
use super::file;
use super::nodes::Nodes;
use super::pools::GroupConfig;

/// Pools by the pool that is apart from them, or together with them.
type Related<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Checks these keys of all pools, and gives the groups what they mean.
pub(super) fn check(
    raw: &[file::Pool],
    nodes: &Nodes,
    groups: &mut [GroupConfig],
    findings: &mut Findings,
) {
    let apart = related(raw, |pool| &pool.apart_from, findings);
    let mut together = related(raw, |pool| &pool.together_with, findings);
    close(&mut together);
    for (pool, name) in named(raw) {
        let with = together.get(name);
        let listed = pool.apart_from.iter().chain(&pool.together_with);
        let both = |other: &&At<String>| {
            let other = other.value.as_str();
            with.is_some_and(|with| with.contains(other))
                && apart.get(name).is_some_and(|apart| apart.contains(other))
        };
        let mut told = BTreeSet::new();
        for other in listed.filter(both).filter(|other| told.insert(other.value.as_str())) {
            let problem = format!("is kept apart from pool {name:?} and together with it");
            findings.refuse(&other.place, problem, "remove one of the two rules");
        }
        for other in &pool.together_with {
            check_alike(pool, other, raw, findings);
        }
    }
    warn_alone(raw, nodes, findings);
    let list = |of: &Related<'_>, pool: &str| -> Vec<String> {
        of.get(pool).into_iter().flatten().map(|name| (*name).to_owned()).collect()
    };
    for group in groups {
        group.apart_from = list(&apart, &group.pool);
        group.together_with = list(&together, &group.pool);
    }
}

fn named(raw: &[file::Pool]) -> impl Iterator<Item = (&file::Pool, &str)> {
    raw.iter().filter_map(|pool| Some((pool, pool.name.as_ref()?.value.as_str())))
}

/// Reads one of the keys of all pools, in both directions.
fn related<'a>(
    raw: &'a [file::Pool],
    key: fn(&file::Pool) -> &Vec<At<String>>,
    findings: &mut Findings,
) -> Related<'a> {
    let known: Vec<&str> = named(raw).map(|(_, name)| name).collect();
    let mut related = Related::new();
    for (pool, name) in named(raw) {
        let mut seen = BTreeSet::new();
        for other in key(pool) {
            if !known.contains(&other.value.as_str()) {
                let remedy = match nearest(&other.value, &known) {
                    Some(known) => format!("did you mean {known:?}?"),
                    None => format!("the pools are {}", known.join(", ")),
                };
                findings.refuse(&other.place, "is not a pool of this file", remedy);
                continue;
            }
            if !seen.insert(other.value.as_str()) {
                findings.refuse(&other.place, "is listed twice", "list each pool once");
            }
            related.entry(name).or_default().insert(other.value.as_str());
            related.entry(other.value.as_str()).or_default().insert(name);
        }
    }
    related
}

/// Adds to what each pool is together with what these are together with, and itself.
fn close(together: &mut Related<'_>) {
    let names: Vec<&str> = together.keys().copied().collect();
    for name in names {
        let mut all = BTreeSet::from([name]);
        let mut new = vec![name];
        while let Some(next) = new.pop() {
            let others = together.get(next).into_iter().flatten();
            new.extend(others.filter(|other| all.insert(other)));
        }
        together.insert(name, all);
    }
}

/// Refuses pools that are to be together and are placed by different keys.
fn check_alike(pool: &file::Pool, other: &At<String>, raw: &[file::Pool], findings: &mut Findings) {
    let Some((with, _)) = named(raw).find(|(_, name)| *name == other.value) else { return };
    let word = |text: &Option<At<String>>| text.as_ref().map(|text| text.value.clone());
    let list = |texts: &[At<String>]| -> Vec<String> {
        texts.iter().map(|text| text.value.clone()).collect()
    };
    let sorted = |texts: &[At<String>]| -> BTreeSet<String> { list(texts).into_iter().collect() };
    let different = [
        ("strategy", word(&pool.strategy) != word(&with.strategy)),
        ("prefer", list(&pool.prefer) != list(&with.prefer)),
        ("failback", word(&pool.failback) != word(&with.failback)),
        ("requires", sorted(&pool.requires) != sorted(&with.requires)),
    ];
    let different: Vec<&str> =
        different.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect();
    if !different.is_empty() {
        let problem = format!("is placed by other keys ({}) than this pool", different.join(", "));
        let remedy = "write the same in both: pools that are together move as one";
        findings.refuse(&other.place, problem, remedy);
    }
}

/// Warns of pools that are to be apart where there is one node.
fn warn_alone(raw: &[file::Pool], nodes: &Nodes, findings: &mut Findings) {
    if nodes.names.iter().filter(|(_, role)| role.owns()).count() != 1 {
        return;
    }
    for other in raw.iter().filter_map(|pool| pool.apart_from.first()) {
        findings.warn(&other.place, "has no effect: only one node may own addresses");
    }
}
