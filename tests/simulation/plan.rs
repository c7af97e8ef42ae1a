//! Configurations as operators roll them out: each host may have another one for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use buoy::protocol::{
    Configuration, Group, GroupKey, Member, Mode, NodeId, SoftwareVersion, Strategy,
};

use crate::checks::pool_of;
use crate::cluster::Cluster;
use crate::draw::Draw;
use crate::host::Host;
use crate::options::Options;

/// One version of the file.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Configured groups.
    pub(crate) groups: BTreeMap<GroupKey, Group>,
    /// Weight by host.
    pub(crate) weights: Vec<u16>,
    /// Whether the first hosts vote instead of the last.
    pub(crate) first_vote: bool,
    /// For how long connections are kept through planned moves, if they are.
    pub(crate) preserve: Option<Duration>,
    /// Hosts that are not listed.
    pub(crate) absent: BTreeSet<usize>,
}

impl Plan {
    /// The file that all hosts start with.
    pub(crate) fn first(
        options: &Options,
        keys: &[GroupKey],
        hosts: &[Host],
        draw: &mut Draw,
    ) -> Self {
        let ids: Vec<NodeId> = hosts.iter().map(|host| host.id).collect();
        let groups = keys
            .iter()
            .take(options.groups)
            .map(|key| (*key, group(options, *key, &ids, draw)))
            .collect();
        let preserve = options.preserve.then_some(Duration::from_secs(600));
        let (weights, absent) = (options.weights.clone(), BTreeSet::new());
        Self { groups, weights, first_vote: false, preserve, absent }
    }

    /// A later version: a group more or less, another weight, a host less or again.
    pub(crate) fn changed(&self, cluster: &mut Cluster) -> Self {
        let mut next = self.clone();
        let ids: Vec<NodeId> = cluster.hosts.iter().map(|host| host.id).collect();
        let key = cluster.groups[cluster.draw.index(cluster.groups.len())];
        let strict = cluster.options.strict.is_some();
        if !strict && ids.len() > 2 && cluster.draw.chance(250_000) {
            if next.absent.is_empty() {
                next.absent.insert(cluster.draw.index(ids.len()));
            } else {
                next.absent.clear();
            }
        } else if cluster.draw.chance(300_000) {
            let host = cluster.draw.index(ids.len());
            let weight = cluster.draw.pick(&[1, 50, 100, 200, 1000]);
            if next.weights[host] > 0 {
                next.weights[host] = weight;
            }
        } else if next.groups.len() > 1 && next.groups.contains_key(&key) {
            next.groups.remove(&key);
        } else {
            let group = group(&cluster.options, key, &ids, &mut cluster.draw);
            next.groups.insert(key, group);
        }
        next
    }
}

fn group(options: &Options, key: GroupKey, ids: &[NodeId], draw: &mut Draw) -> Group {
    let owners = ids.len() - usize::from(options.strict.is_some_and(|voting| voting.witness));
    let ids = &ids[..owners];
    let addresses = if draw.chance(200_000) { 5 } else { 1 };
    let (pool, last_resort) = pool_of(options, key);
    let mut group = Group {
        pool,
        addresses,
        mode: if options.strict.is_some() { Mode::Majority } else { Mode::Availability },
        strategy: Strategy::Balance,
        prefer: Vec::new(),
        failback: None,
        force: false,
        last_resort,
        gate: options.gate,
    };
    if options.preferences && draw.chance(500_000) {
        group.strategy = Strategy::Priority;
        let first = draw.index(ids.len());
        group.prefer = (0..ids.len().min(3)).map(|i| ids[(first + i) % ids.len()]).collect();
        group.failback = draw.pick(&[None, Some(Duration::ZERO), Some(Duration::from_secs(2))]);
    }
    group
}

impl Cluster {
    /// The configuration that a host's file gives it now.
    pub(crate) fn configuration(&mut self, host: usize) -> Configuration {
        let seed = self.draw.bits();
        let (plan, this) = (&self.plans[self.hosts[host].plan], &self.hosts[host]);
        let members = self.hosts.iter().zip(&plan.weights);
        Configuration {
            me: this.id,
            incarnation: this.incarnation,
            seed,
            name: String::new(),
            software: SoftwareVersion::default(),
            digest: u64::try_from(this.plan).expect("few plans"),
            nodes: members
                .enumerate()
                .filter(|(place, _)| !plan.absent.contains(place))
                .map(|(place, (host, weight))| (host.id, self.member(plan, place, *weight)))
                .collect(),
            groups: plan.groups.clone(),
            load_aware: self.options.loads.is_some(),
            timing: self.options.timing,
            drain_timeout: Duration::ZERO,
            preserve: plan.preserve,
            draining: this.draining,
            broken: self.options.broken,
        }
    }

    fn member(&self, plan: &Plan, host: usize, weight: u16) -> Member {
        let Some(voting) = self.options.strict else { return Member::of_weight(weight) };
        let from_the_end = self.hosts.len() - 1 - host;
        let place = if plan.first_vote { host } else { from_the_end };
        let votes = place < voting.voters;
        Member { weight: weight.max(1), owns: weight > 0, votes }
    }

    /// The group's configured number of addresses, in the newest file that has it.
    pub(crate) fn addresses(&self, group: usize) -> u16 {
        let key = &self.groups[group];
        self.plans.iter().rev().find_map(|plan| plan.groups.get(key)).map_or(1, |it| it.addresses)
    }
}
