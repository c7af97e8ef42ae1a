//! How routes and rules differ from what groups want. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::message::{Entry, Key};
use crate::protocol::GroupKey;

/// What one group wants.
pub(super) struct Wanted {
    pub(super) group: GroupKey,
    pub(super) entry: Entry,
    pub(super) shown: String,
    /// Or only kept, if it is there.
    pub(super) added: bool,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) removals: Vec<Key>,
    pub(super) additions: Vec<Entry>,
}

/// What differs: additions in the order of the file, because a gateway may be reached by the route
/// before.
pub(super) fn compare(
    wanted: &[Wanted],
    present: &BTreeMap<Key, Entry>,
    made: &BTreeSet<Key>,
) -> Orders {
    let mut orders = Orders::default();
    let mut stays = BTreeSet::new();
    for it in wanted {
        let key = it.entry.key();
        match present.get(&key) {
            Some(found) if !it.added || it.entry.is(found) => {}
            Some(_) => {
                orders.removals.push(key.clone());
                orders.additions.push(it.entry.clone());
            }
            None if it.added => orders.additions.push(it.entry.clone()),
            None => {}
        }
        stays.insert(key);
    }
    let over = made.iter().filter(|key| !stays.contains(key) && present.contains_key(key));
    orders.removals.extend(over.cloned());
    orders.removals.sort();
    orders
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::super::message::RouteEntry;
    use super::*;
    use crate::routing::{Network, RouteKind};

    /// A route to the network with this number by the gateway with that one.
    fn route(number: u8, via: u8) -> Entry {
        Entry::Route(RouteEntry {
            to: Network { address: [10, number, 0, 0].into(), prefix: 16 },
            table: 100,
            metric: 0,
            kind: RouteKind::Unicast,
            via: Some([192, 0, 2, via].into()),
            link: Some(2),
            onlink: false,
            source: None,
        })
    }

    fn wanted(entry: Entry, added: bool) -> Wanted {
        Wanted { group: GroupKey(1), entry, shown: String::new(), added }
    }

    /// What is done where these are wanted, or only kept, and those are there, of which some were
    /// made by this daemon.
    fn done(all: Vec<Wanted>, there: &[Entry], made: &[Entry]) -> (Vec<Key>, Vec<Entry>) {
        let present = there.iter().map(|entry| (entry.key(), entry.clone())).collect();
        let made = made.iter().map(Entry::key).collect();
        let Orders { removals, additions } = compare(&all, &present, &made);
        (removals, additions)
    }

    #[test]
    fn what_is_missing_is_added_in_the_order_of_the_file() {
        let (one, other) = (route(9, 1), route(1, 1));
        let all = || vec![wanted(one.clone(), true), wanted(other.clone(), true)];
        assert_eq!(done(all(), &[], &[]), (vec![], vec![one.clone(), other.clone()]));
        assert_eq!(done(all(), slice::from_ref(&one), &[]), (vec![], vec![other.clone()]));
        assert_eq!(done(all(), &[one.clone(), other.clone()], &[]), (vec![], vec![]));
        let kept = vec![wanted(one, false), wanted(other, false)];
        assert_eq!(done(kept, &[], &[]), (vec![], vec![]), "not before its addresses are here");
    }

    #[test]
    fn what_differs_is_replaced_and_what_is_over_removed() {
        let (old, new) = (route(1, 1), route(1, 2));
        let over = route(7, 1);
        let all = || vec![wanted(new.clone(), true)];
        let there = [old.clone(), over.clone()];
        let expected = (vec![old.key(), over.key()], vec![new.clone()]);
        assert_eq!(done(all(), &there, &there), expected);
        let expected = (vec![old.key()], vec![new.clone()]);
        assert_eq!(
            done(all(), &there, slice::from_ref(&old)),
            expected,
            "not that of another daemon"
        );
        let kept = vec![wanted(new, false)];
        assert_eq!(
            done(kept, slice::from_ref(&old), slice::from_ref(&old)),
            (vec![], vec![]),
            "it is left alone"
        );
    }
}
