//! What must come about once everything is healed: each group on exactly one host, every client
//! right, loads even, and then no move any more. The rules are those of docs/invariants.md.

use buoy::protocol::{Group, GroupState, Order, Strategy, Timing, Verdict, promise};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::faults::Kind;
use crate::trace::Violation;

/// Between two looks.
const STEP: u64 = 100 * MILLISECOND;
/// An announcement lost is repeated by the refresh (60 s and a tenth) or asked for again.
const CACHES_WITHIN: u64 = 100 * SECOND;
/// Flapping nodes are offered nothing for a minute, failures back off for a minute.
const BALANCE_WITHIN: u64 = 200 * SECOND;
/// What looks covered at the moment of healing may rest on links that were down a moment ago.
const SETTLING: u64 = SECOND / 2;
/// No move for so long is quiet: several looks at the balance.
const QUIET: u64 = 6 * SECOND;

/// How long the healing took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Healing {
    /// Until each group was on exactly one host.
    pub(crate) covered: u64,
    /// Until every client was right.
    pub(crate) caches: u64,
    /// Until the loads were even.
    pub(crate) balanced: u64,
    /// Moves between covered and quiet.
    pub(crate) moves: u64,
}

impl Cluster {
    /// Heals everything and demands L1 to L7.
    pub(crate) fn demand_convergence(&mut self) -> Result<Healing, Violation> {
        self.heal();
        self.demand("L5", 10 * SECOND, Self::unsettled)?;
        self.demand_fitness()?;
        let start = self.now;
        let coverage = self.coverage_bound();
        self.demand("L1", coverage, Self::uncovered)?;
        let covered = self.now - start;
        self.run_to(self.now + SETTLING)?;
        self.demand("L1", 2 * SECOND + self.list_change_bound(), Self::uncovered)?;
        self.demand("L4", 2 * SECOND, Self::accused)?;
        let (moves, surplus) = (self.safety.moves, self.surplus());
        self.demand("L3", CACHES_WITHIN, Self::misled)?;
        let caches = self.now - start;
        self.demand("L2", BALANCE_WITHIN, Self::unbalanced)?;
        let balanced = self.now - start;
        self.demand_quiet()?;
        for check in [Self::uncovered, Self::misled, Self::unbalanced] {
            if let Some(text) = check(self) {
                return Err(self.violated("L7", format!("after the quiet: {text}")));
            }
        }
        let moves = self.safety.moves - moves;
        let plan = &self.plans[self.plans.len() - 1];
        let largest = plan.groups.values().map(|group| u64::from(group.address_count())).max();
        let churn = surplus * largest.unwrap_or(1) + self.excused_moves();
        if moves > churn {
            let text = format!("{moves} moves after coverage, surplus was {surplus}");
            return Err(self.violated("L6", text));
        }
        Ok(Healing { covered, caches, balanced, moves })
    }

    /// No host is stopping, stopped or drained, or takes its clients' network for lost: links carry
    /// again one after the other, and groups go to the first of them (seed 162).
    fn unsettled(&self) -> Option<String> {
        let unsettled = |host: &crate::host::Host| {
            host.draining || host.stopping_since.is_some() || host.kernel.data_link.is_lost()
        };
        let host = self.hosts.iter().position(unsettled)?;
        Some(format!("n{host} still stops or drains, or its clients' network is lost"))
    }

    /// A change of the list of voters that settles now voids all leases, and voters are silent for
    /// the longest lease that was granted (seed 4591).
    fn list_change_bound(&self) -> u64 {
        let strict = self.options.strict.is_some();
        let silence = promise(self.options.slowest().lease()) * 2 * u32::from(strict);
        u64::try_from(silence.as_nanos()).expect("seconds")
    }

    pub(crate) fn coverage_bound(&self) -> u64 {
        let timing = &self.options.slowest();
        let mut bound = timing.maturity_max + timing.detection() * 2 + timing.offer_wait * 4;
        if self.options.strict.is_some() {
            bound += promise(timing.lease()) * 2 + promise(Timing::VM.lease());
        }
        if self.hosts.len() == 1 {
            bound += timing.solo_wait;
        }
        let kernels = self.options.faults.contains(&Kind::KernelFailure)
            || self.options.faults.contains(&Kind::InterfaceGone)
            || self.options.faults.contains(&Kind::AddressRemoved);
        // Those who are not first in line leave a group to a conflicting host for 10 s after its answer.
        let shunned = self.options.faults.contains(&Kind::Conflict);
        let backoff = if kernels { 65 * SECOND } else { 11 * SECOND * u64::from(shunned) };
        u64::try_from(bound.as_nanos()).expect("minutes") + 5 * SECOND + backoff
    }

    /// Runs until a check has nothing to say any more, or fails after `within`.
    pub(crate) fn demand(
        &mut self,
        rule: &'static str,
        within: u64,
        missing: fn(&Self) -> Option<String>,
    ) -> Result<(), Violation> {
        let end = self.now + within;
        loop {
            let Some(text) = missing(self) else { return Ok(()) };
            if self.now >= end {
                return Err(self.violated(rule, text));
            }
            self.look_after();
            self.run_to(self.now + STEP)?;
        }
    }

    /// What operators do after a storm: start what is not running, undrain what is drained.
    fn look_after(&mut self) {
        for host in 0..self.hosts.len() {
            if self.hosts[host].node.is_none() {
                self.start(host);
            }
            let id = self.hosts[host].id;
            if self.hosts[host].draining && self.safety.orders.is_empty() {
                self.order(host, Order::Undrain(id));
            }
        }
    }

    pub(crate) fn demand_quiet(&mut self) -> Result<(), Violation> {
        let end = self.now + BALANCE_WITHIN;
        self.safety.moved_at = self.safety.moved_at.max(self.now);
        while self.now < self.safety.moved_at + QUIET || self.is_any_on_its_way() {
            if self.now >= end {
                return Err(self.violated("L7", "groups keep moving".to_owned()));
            }
            self.look_after();
            self.run_to(self.now + STEP)?;
        }
        Ok(())
    }

    /// Some group is answered for by no host because it is being handed over, or its new owner waits for
    /// a lease: a move that is counted when it has come (seed 18679).
    fn is_any_on_its_way(&self) -> bool {
        self.hosts.iter().any(|host| {
            let status = host.node.as_ref().map(|node| node.status(host.clock.read(self.now)));
            let mut groups = status.into_iter().flat_map(|status| status.groups);
            groups.any(|it| {
                let moves = matches!(it.state, GroupState::Moving | GroupState::Waiting);
                moves && self.group_index.get(&it.group).is_some_and(|at| self.open[*at].is_empty())
            })
        })
    }

    /// Each configured group is OPEN on exactly one host, no other group on any.
    pub(crate) fn uncovered(&self) -> Option<String> {
        let plan = &self.plans[self.plans.len() - 1];
        (0..self.groups.len()).find_map(|group| {
            let open = &self.open[group];
            let wanted = usize::from(plan.has(&self.groups[group]));
            (open.len() != wanted).then(|| format!("g{group} is answered for by {open:?}"))
        })
    }

    /// Every daemon counts every other as up.
    pub(crate) fn accused(&self) -> Option<String> {
        let statuses = self.hosts.iter().enumerate().filter_map(|(host, this)| {
            Some((host, this.node.as_ref()?.status(this.clock.read(self.now))))
        });
        for (host, status) in statuses {
            let down = status.nodes.iter().find(|node| node.verdict != Verdict::Up);
            if let Some(down) = down {
                let peer = self.index[&down.node];
                return Some(format!("n{host} thinks of n{peer}: {:?}", down.verdict));
            }
        }
        None
    }

    /// Every client is answered by whom its cache points to.
    pub(crate) fn misled(&self) -> Option<String> {
        let plan = &self.plans[self.plans.len() - 1];
        for client in 0..self.clients.len() {
            for (group, key) in self.groups.iter().enumerate() {
                if plan.has(key) && !self.is_served(client, group) {
                    let entry = self.clients[client].entries[group].host;
                    let open = &self.open[group];
                    return Some(format!(
                        "client {client} asks {entry:?} for g{group}, {open:?} has it"
                    ));
                }
            }
        }
        None
    }

    /// No move of a group would bring both its giver and its receiver nearer to their shares.
    pub(crate) fn unbalanced(&self) -> Option<String> {
        if let Some(host) = self.hosts.iter().position(|host| host.draining) {
            return Some(format!("n{host} still drains"));
        }
        if self.options.faults.contains(&Kind::Move) {
            return None;
        }
        // Nobody has too much of what nobody answers for (seed 26384: a lease was lost for 120 ms).
        if let Some(text) = self.uncovered() {
            return Some(text);
        }
        let loads = self.loads();
        let groups: u64 = loads.iter().map(|(groups, _)| groups).sum();
        let weights: u64 = loads.iter().map(|(_, weight)| weight).sum();
        for (from, (mine, my_weight)) in loads.iter().enumerate() {
            for (to, (its, its_weight)) in loads.iter().enumerate() {
                let above = mine * weights > groups * my_weight;
                let below = its * weights < groups * its_weight;
                if above && below && (mine - 1) * its_weight >= (its + 1) * my_weight {
                    return Some(format!("n{from} could give to n{to}: {loads:?}"));
                }
            }
        }
        None
    }

    /// Groups that are balanced, and weight, by host.
    fn loads(&self) -> Vec<(u64, u64)> {
        let plan = &self.plans[self.plans.len() - 1];
        let mut loads: Vec<(u64, u64)> =
            plan.weights.iter().map(|weight| (0, u64::from(*weight))).collect();
        for (group, key) in self.groups.iter().enumerate() {
            let balanced =
                plan.groups.get(key).is_some_and(|group| group.strategy == Strategy::Balance);
            for host in self.open[group].iter().filter(|_| balanced) {
                loads[*host].0 += 1;
            }
        }
        loads
    }

    /// Groups that are where they are too many, the last one of each host included.
    fn surplus(&self) -> u64 {
        let loads = self.loads();
        let groups: u64 = loads.iter().map(|(groups, _)| groups).sum();
        let weights: u64 = loads.iter().map(|(_, weight)| weight).sum();
        let above = |(mine, weight): &(u64, u64)| mine.saturating_sub(groups * weight / weights);
        loads.iter().map(above).sum()
    }

    /// Moves that have other reasons than balance: fail-back, late starters, undrained nodes, hosts
    /// whose data links were lost and carry again one after the other.
    fn excused_moves(&self) -> u64 {
        let plan = &self.plans[self.plans.len() - 1];
        // Moves are counted by addresses (seed 51871).
        let addresses = |group: &Group| u64::from(group.address_count());
        let preferring = plan.groups.values().filter(|group| !group.prefer.is_empty());
        let prefer: u64 = preferring.map(addresses).sum();
        let late = self.options.faults.iter().any(|kind| {
            matches!(
                kind,
                Kind::Drain
                    | Kind::CleanStop
                    | Kind::Rollout
                    | Kind::Move
                    | Kind::Checks
                    | Kind::DataDeaf
                    | Kind::DataMute
            )
        });
        let all: u64 = plan.groups.values().map(addresses).sum();
        2 * prefer + if late { all } else { 0 } + 2
    }
}
