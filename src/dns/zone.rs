//! The zone: which names there are, and with which addresses they are answered. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use domain::base::name::ToName;

use super::view::{InService, Pools, View};

/// A domain name.
pub type Name = domain::base::Name<Vec<u8>>;
/// The names that are given to pools: each with the pools for which it stands.
pub type Names = BTreeMap<Name, Vec<String>>;

/// A name server of the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name, in the zone or elsewhere.
    pub name: Name,
    /// Its addresses, which are answered if the name is in the zone.
    pub addresses: Vec<IpAddr>,
}

/// What a name is answered with while no healthy node owns an address of its pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenUnhealthy {
    /// The addresses that some node owns although its checks fail (`last_resort`).
    #[default]
    Serve,
    /// No address (NODATA).
    Empty,
    /// SERVFAIL, upon which resolvers may go on with what they had (RFC 8767).
    Fail,
}

/// A zone and how it is answered.
#[derive(Clone, Debug)]
pub struct Zone {
    apex: Name,
    servers: Vec<Server>,
    names: Option<Names>,
    ttl: Duration,
    at_most: usize,
    when_unhealthy: WhenUnhealthy,
}

/// Why a zone cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Faulty {
    /// A text is no domain name.
    NoName(String, String),
    /// A name given to a pool is not below the zone.
    Outside(Name),
    /// A zone must have a name server.
    NoServer,
    /// A name server in the zone has no address, so that resolvers could not reach it.
    NoGlue(Name),
    /// A name is of a name server and of a pool.
    Twice(Name),
}

impl fmt::Display for Faulty {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName(text, why) => write!(out, "\"{text}\" is no domain name: {why}"),
            Self::Outside(name) => write!(out, "{name} is not in the zone"),
            Self::NoServer => out.write_str("the zone has no name server: give --server"),
            Self::NoGlue(name) => {
                write!(out, "the name server {name} is in the zone: give --server {name}=ADDRESS")
            }
            Self::Twice(name) => write!(out, "{name} is the name of a name server and of a pool"),
        }
    }
}

impl std::error::Error for Faulty {}

/// What there is for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The name is in no zone of ours.
    Elsewhere,
    /// There is no such name.
    Nothing,
    /// The name exists, perhaps only because longer ones do.
    Addresses(Vec<IpAddr>),
    /// It cannot be said now.
    Unknown,
}

/// Reads a domain name, absolute even without the last dot.
///
/// # Errors
/// When it is none.
pub fn name(text: &str) -> Result<Name, Faulty> {
    Name::from_str(text).map_err(|error| Faulty::NoName(text.to_owned(), error.to_string()))
}

impl Zone {
    /// Makes a zone. Without `names` every pool is answered under its own name.
    ///
    /// # Errors
    /// See [`Faulty`].
    pub fn new(apex: Name, servers: Vec<Server>, names: Option<Names>) -> Result<Self, Faulty> {
        if servers.is_empty() {
            return Err(Faulty::NoServer);
        }
        if let Some(bare) = servers
            .iter()
            .find(|server| server.addresses.is_empty() && server.name.ends_with(&apex))
        {
            return Err(Faulty::NoGlue(bare.name.clone()));
        }
        for name in names.iter().flat_map(BTreeMap::keys) {
            if !name.ends_with(&apex) {
                return Err(Faulty::Outside(name.clone()));
            }
            if servers.iter().any(|server| server.name.name_eq(name)) {
                return Err(Faulty::Twice(name.clone()));
            }
        }
        let ttl = super::TTL;
        let when_unhealthy = WhenUnhealthy::default();
        Ok(Self { apex, servers, names, ttl, at_most: usize::MAX, when_unhealthy })
    }

    /// Sets how long resolvers may keep an answer, in whole seconds.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// Sets how many addresses an answer has at most.
    #[must_use]
    pub fn with_at_most(self, at_most: usize) -> Self {
        Self { at_most: at_most.max(1), ..self }
    }

    /// Sets what is answered while nothing is healthy.
    #[must_use]
    pub fn with_unhealthy(self, when_unhealthy: WhenUnhealthy) -> Self {
        Self { when_unhealthy, ..self }
    }

    pub(super) fn apex(&self) -> &Name {
        &self.apex
    }

    pub(super) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Lifetime of answers, negative ones included.
    pub(super) fn ttl(&self) -> domain::base::Ttl {
        domain::base::Ttl::from_secs(u32::try_from(self.ttl.as_secs()).unwrap_or(u32::MAX))
    }

    /// What there is for a name; `draw` decides among equals, and is another for each question.
    pub(super) fn find(&self, name: &Name, view: &View, draw: impl Fn(usize) -> u64) -> Found {
        if !name.ends_with(&self.apex) {
            return Found::Elsewhere;
        }
        if let Some(server) = self.servers.iter().find(|server| server.name.name_eq(name)) {
            return Found::Addresses(server.addresses.clone());
        }
        let apex = name.name_eq(&self.apex);
        let Some(pools) = &view.pools else {
            // Of the zone itself all is known but what its pools have.
            return if apex && !self.stands_for_pools(name) {
                Found::Addresses(Vec::new())
            } else {
                Found::Unknown
            };
        };
        match self.pools_of(name, pools) {
            Some(wanted) => self.choose(&wanted, draw),
            None if apex || self.is_above_a_name(name, pools) => Found::Addresses(Vec::new()),
            None => Found::Nothing,
        }
    }

    fn stands_for_pools(&self, name: &Name) -> bool {
        self.names.as_ref().is_some_and(|names| names.keys().any(|known| known.name_eq(name)))
    }

    /// The addresses of the pools for which a name stands; `None` if it is no such name.
    fn pools_of(&self, name: &Name, pools: &Pools) -> Option<Vec<InService>> {
        let of = |wanted: &[&str]| {
            let found = wanted.iter().filter_map(|pool| pools.get(*pool)).flatten().copied();
            found.collect::<BTreeSet<_>>().into_iter().collect()
        };
        match &self.names {
            Some(names) => {
                let (_, wanted) = names.iter().find(|(known, _)| known.name_eq(name))?;
                Some(of(&wanted.iter().map(String::as_str).collect::<Vec<_>>()))
            }
            None => {
                let known = pools.keys().find(|pool| {
                    below(pool, &self.apex).is_some_and(|known| known.name_eq(name))
                })?;
                Some(of(&[known]))
            }
        }
    }

    /// Whether names below this one exist (RFC 4592, section 2.2.2: an empty non-terminal).
    fn is_above_a_name(&self, name: &Name, pools: &Pools) -> bool {
        let servers = self.servers.iter().any(|server| server.name.ends_with(name));
        let names = match &self.names {
            Some(names) => names.keys().any(|known| known.ends_with(name)),
            None => pools
                .keys()
                .any(|pool| below(pool, &self.apex).is_some_and(|known| known.ends_with(name))),
        };
        servers || names
    }

    /// Which of the addresses in service are answered, in which order.
    fn choose(&self, wanted: &[InService], draw: impl Fn(usize) -> u64) -> Found {
        let healthy: Vec<_> = wanted.iter().filter(|one| one.healthy).copied().collect();
        let usable = match (healthy.is_empty(), self.when_unhealthy) {
            (false, _) => healthy,
            (true, WhenUnhealthy::Serve) => wanted.to_vec(),
            (true, WhenUnhealthy::Empty) => Vec::new(),
            (true, WhenUnhealthy::Fail) => return Found::Unknown,
        };
        // What is about to move is left to those who know it already, while there is something else.
        let staying: Vec<_> = usable.iter().filter(|one| !one.leaving).copied().collect();
        let mut chosen = if staying.is_empty() { usable } else { staying };
        // Each gets a random number, the larger the greater its weight (Efraimidis and Spirakis,
        // "Weighted random sampling with a reservoir"): -ln(u)/w, ascending.
        let rank = |(index, one): (usize, &InService)| {
            let drawn = f64::from(u32::try_from(draw(index) >> 32).unwrap_or(0));
            let fraction = (drawn + 1.0) / (f64::from(u32::MAX) + 2.0);
            -fraction.ln() / f64::from(one.weight)
        };
        let mut ranked: Vec<_> = chosen.iter().enumerate().map(rank).zip(&chosen).collect();
        ranked.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        chosen = ranked.into_iter().map(|(_, one)| *one).collect();
        Found::Addresses(chosen.into_iter().map(|one| one.address).collect())
    }

    /// How many addresses of one family an answer has at most.
    pub(super) fn at_most(&self) -> usize {
        self.at_most
    }
}

/// The name of a pool in the zone; `None` if the pool's name is no label.
fn below(pool: &str, apex: &Name) -> Option<Name> {
    name(&format!("{pool}.{apex}")).ok()
}
