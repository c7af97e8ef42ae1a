//! What the checks of each host say of the pools, and where groups may be then.
//!
//! A check that fails disturbs nothing but the placement: kernels go on answering. So all checks of
//! `safety.rs` stay as they are while levels change, and before everything is healed it is demanded
//! that each group is at one of the fittest hosts, or nowhere where that is its last resort.

use buoy::protocol::{Fitness, GroupKey, LastResort, PoolId};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::faults::{Ending, Kind};
use crate::host::Inbound;
use crate::options::Options;
use crate::trace::{Violation, note};

/// The pool that groups are in unless a run has several.
pub(crate) fn web() -> PoolId {
    PoolId::from_name("web")
}

/// The pool of a group, and its last resort.
pub(crate) fn pool_of(options: &Options, key: GroupKey) -> (PoolId, LastResort) {
    let usual = if options.release { LastResort::Release } else { LastResort::Keep };
    match key.0 % 5 {
        0 | 1 if options.pools => (PoolId::from_name("api"), LastResort::Keep),
        2 if options.pools => (PoolId::from_name("db"), LastResort::Release),
        _ => (web(), usual),
    }
}

impl Cluster {
    /// The checks of a pool on a host have another outcome from now on.
    pub(crate) fn check(&mut self, host: usize, pool: PoolId, fitness: Fitness) {
        note!(self, "-- checks of {pool} at n{host}: {fitness:?}");
        let known = &mut self.hosts[host].fitness;
        if fitness == Fitness::Fit {
            known.remove(&pool);
        } else {
            known.insert(pool, fitness);
        }
        if self.hosts[host].node.is_some() {
            self.begin_checking(host);
        }
    }

    /// A daemon is told what its checks say.
    pub(crate) fn begin_checking(&mut self, host: usize) {
        let unfit = &self.hosts[host].fitness;
        let unfit = unfit.iter().map(|(pool, fitness)| (*pool, *fitness)).collect();
        self.hand_over(host, Inbound::Checked(unfit));
    }

    /// Checks of a pool fail for a while: on this host, or on all hosts one after the other.
    pub(crate) fn fail_checks_at_random(&mut self, host: usize, length: u64) {
        let pool = PoolId::from_name(self.draw.pick(&["web", "web", "api", "db"]));
        let fitness = self.draw.pick(&[Fitness::Unfit, Fitness::Unfit, Fitness::Reluctant]);
        let all = self.draw.chance(250_000);
        let hosts = if all { 0..self.hosts.len() } else { host..host + 1 };
        for host in hosts {
            self.check(host, pool, fitness);
            let until = self.draw.between(length / 2, length);
            self.end_later(host, until, Ending::ChecksPass(host, pool));
        }
    }

    /// Demands that groups go to the fittest of the hosts, whose levels are drawn once more, and
    /// stay there. Then all checks pass.
    pub(crate) fn demand_fitness(&mut self) -> Result<(), Violation> {
        if !self.options.faults.contains(&Kind::Checks) {
            return Ok(());
        }
        for host in 0..self.hosts.len() {
            for name in ["web", "api", "db"] {
                let levels = [Fitness::Fit, Fitness::Fit, Fitness::Reluctant, Fitness::Unfit];
                let fitness = self.draw.pick(&levels);
                self.check(host, PoolId::from_name(name), fitness);
            }
        }
        let bound = self.coverage_bound() + 10 * SECOND;
        self.demand("C1", bound, Self::misplaced)?;
        self.run_to(self.now + SECOND / 2)?;
        self.demand("C1", 10 * SECOND, Self::misplaced)?;
        self.demand_quiet()?;
        if let Some(text) = self.misplaced() {
            return Err(self.violated("C2", format!("after the quiet: {text}")));
        }
        for host in 0..self.hosts.len() {
            for pool in self.hosts[host].fitness.clone().into_keys() {
                self.check(host, pool, Fitness::Fit);
            }
        }
        self.run_to(self.now + 200 * MILLISECOND)
    }

    /// Each group is at one of the fittest hosts; at none, where nobody is to have it.
    pub(crate) fn misplaced(&self) -> Option<String> {
        let plan = &self.plans[self.plans.len() - 1];
        let owns = |host: &usize| plan.weights[*host] > 0;
        for (group, key) in self.groups.iter().enumerate() {
            let Some(wanted) = plan.groups.get(key) else { continue };
            let level = |host: usize| {
                self.hosts[host].fitness.get(&wanted.pool).copied().unwrap_or_default()
            };
            let hosts = (0..self.hosts.len()).filter(owns);
            let best = hosts.map(level).min().unwrap_or_default();
            let open = &self.open[group];
            let nowhere = best == Fitness::Unfit && wanted.last_resort == LastResort::Release;
            let right = match open.as_slice() {
                [] => nowhere,
                [host] => !nowhere && level(*host) == best,
                _ => false,
            };
            if !right {
                let levels: Vec<Fitness> = (0..self.hosts.len()).map(level).collect();
                return Some(format!("g{group} is at {open:?} where the levels are {levels:?}"));
            }
        }
        None
    }
}
