//! Whether a node is fit to own the groups of a pool, as the checks of its host say.
//!
//! The checks themselves are made outside: the shell gives in the list of pools that are not fit
//! whenever it changes. Called by `node` with that list.

use std::collections::BTreeMap;

use super::identity::PoolId;
use super::node::Node;

/// Pools of which a node may say that they are not fit: its list must fit one datagram together
/// with a heartbeat of 64 nodes. A configuration with checks in more pools is refused.
pub const FITNESS_MAX: usize = 32;

/// What the checks of one host say of one pool; the worse is the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fitness {
    /// Every check passes, or there is none.
    #[default]
    Fit,
    /// A preferred check fails: the node owns groups of the pool only if nobody better can.
    Reluctant,
    /// A required check fails: the node may not own groups of the pool, unless nobody better can
    /// and [`LastResort::Keep`] says that they are served nevertheless.
    Unfit,
}

/// What becomes of a group when nobody who could own it passes the required checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastResort {
    /// It stays where it is, or goes to whoever is next: bad service rather than none.
    #[default]
    Keep,
    /// Its owner lets it go and nobody takes it.
    Release,
}

/// What one node says: the pools that are not fit.
pub(super) type FitnessList = BTreeMap<PoolId, Fitness>;

impl Node {
    /// Takes in what the checks of this host say.
    pub(super) fn checked(&mut self, unfit: Vec<(PoolId, Fitness)>) {
        let unfit = unfit.into_iter().filter(|(_, fitness)| *fitness != Fitness::Fit);
        self.fitness = unfit.take(FITNESS_MAX).collect();
    }
}
