//! Which nodes a pool would rather be at.

use super::identity::NodeId;

/// Preferred nodes, best first; of some it may be all the same which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preference {
    /// Nodes between which nothing is preferred, by places; none is empty, and no node is there twice.
    places: Vec<Vec<NodeId>>,
}

impl Preference {
    /// Adds nodes behind all others, without those that are there already.
    pub fn add(&mut self, nodes: &[NodeId]) {
        let new: Vec<NodeId> =
            nodes.iter().copied().filter(|node| self.place(*node).is_none()).collect();
        if !new.is_empty() {
            self.places.push(new);
        }
    }

    /// Returns the place of a node, from 0; `None` if it is not preferred.
    #[must_use]
    pub fn place(&self, node: NodeId) -> Option<usize> {
        self.places.iter().position(|nodes| nodes.contains(&node))
    }

    /// Returns whether no node is preferred.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns the nodes of each place, best first.
    pub fn places(&self) -> impl Iterator<Item = &[NodeId]> {
        self.places.iter().map(Vec::as_slice)
    }

    /// Returns all preferred nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.places.concat()
    }
}

impl FromIterator<NodeId> for Preference {
    fn from_iter<T: IntoIterator<Item = NodeId>>(nodes: T) -> Self {
        let mut preference = Self::default();
        nodes.into_iter().for_each(|node| preference.add(&[node]));
        preference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_one_place_are_alike_and_none_is_there_twice() {
        let [a, b, c] = [NodeId(1), NodeId(2), NodeId(3)];
        let mut preference = Preference::default();
        preference.add(&[b]);
        preference.add(&[a, b, c]);
        preference.add(&[c]);
        assert_eq!(
            [a, b, c, NodeId(4)].map(|node| preference.place(node)),
            [Some(1), Some(0), Some(1), None]
        );
        assert_eq!(preference.nodes(), [b, a, c]);
        let listed: Preference = [b, a].into_iter().collect();
        assert_eq!(listed.places().collect::<Vec<_>>(), [[b], [a]]);
    }
}
