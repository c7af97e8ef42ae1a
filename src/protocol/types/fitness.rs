//! What the health checks of a host say of a pool.

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
