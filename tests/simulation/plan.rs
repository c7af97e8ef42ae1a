//! Configurations as operators roll them out: each host may have another one for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use buoy::protocol::{
    Configuration, Group, GroupKey, Member, Mode, NodeId, Preference, Preserve, Preserving,
    SoftwareVersion, Strategy, mix,
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
    /// Whether the first host votes instead of another, or fewer do where all vote.
    pub(crate) other_voters: bool,
    /// How connections are kept through planned moves, if they are.
    pub(crate) preserve: Option<Preserve>,
    /// What else is other in this version than the rest of a plan says.
    pub(crate) adjust: Option<fn(&mut Configuration)>,
    /// Hosts that are not listed.
    pub(crate) absent: BTreeSet<usize>,
}

impl Plan {
    /// Whether any group has the address.
    pub(crate) fn has(&self, address: &GroupKey) -> bool {
        self.groups.contains_key(address)
            || self.groups.values().any(|group| group.addresses.contains(address))
    }

    /// The groups with their addresses, for a trace.
    pub(crate) fn outline(&self) -> String {
        let group = |group: &Group| {
            let addresses: Vec<String> = group.addresses.iter().map(GroupKey::to_string).collect();
            addresses.join("+")
        };
        self.groups.values().map(group).collect::<Vec<_>>().join(", ")
    }

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
        let preserve = options.preserve;
        let (weights, absent) = (options.weights.clone(), BTreeSet::new());
        Self { groups, weights, other_voters: false, preserve, adjust: None, absent }
    }

    /// A later version: a group more or less, another weight, a host less or again.
    pub(crate) fn changed(&self, cluster: &mut Cluster) -> Self {
        if cluster.options.layouts && cluster.draw.chance(600_000) {
            return self.regrouped(&mut cluster.draw);
        }
        let mut next = self.clone();
        let ids: Vec<NodeId> = cluster.hosts.iter().map(|host| host.id).collect();
        let key = cluster.groups[cluster.draw.index(cluster.groups.len())];
        let alternative = match cluster.options.strict {
            Some(voting) => voting.voters < ids.len() || voting.voters > 3,
            None => false,
        };
        let strict = cluster.options.strict.is_some();
        if alternative && cluster.draw.chance(300_000) {
            next.other_voters = !next.other_voters;
        } else if !strict && ids.len() > 2 && cluster.draw.chance(250_000) {
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
        } else if !next.has(&key) {
            let group = group(&cluster.options, key, &ids, &mut cluster.draw);
            next.groups.insert(key, group);
        }
        next
    }
}

impl Plan {
    /// A version in which an address is in another place: two groups are one, one is two, an address
    /// is in another group, or another address is the first of its group.
    fn regrouped(&self, draw: &mut Draw) -> Self {
        let keys: Vec<GroupKey> = self.groups.keys().copied().collect();
        let (one, other) = (draw.pick(&keys), draw.pick(&keys));
        match draw.between(0, 3) {
            0 => self.merged(one, other),
            1 => self.split(one, draw.index(4)),
            2 => self.moved(one, other, draw.index(4)),
            _ => self.turned(one),
        }
    }

    /// The second group is part of the first.
    pub(crate) fn merged(&self, one: GroupKey, other: GroupKey) -> Self {
        let mut next = self.clone();
        if one != other
            && let Some(other) = next.groups.remove(&other)
            && let Some(one) = next.groups.get_mut(&one)
        {
            one.addresses.extend(other.addresses);
        }
        next
    }

    /// The group ends before one of its further addresses, and a group begins there.
    pub(crate) fn split(&self, one: GroupKey, place: usize) -> Self {
        let mut next = self.clone();
        if let Some(group) = next.groups.get_mut(&one)
            && group.addresses.len() > 1
        {
            let place = 1 + place % (group.addresses.len() - 1);
            let rest = group.addresses.split_off(place);
            let group = Group { addresses: rest.clone(), ..group.clone() };
            next.groups.insert(rest[0], group);
        }
        next
    }

    /// One address of the first group, whose name may be another then, is at the end of the second.
    pub(crate) fn moved(&self, one: GroupKey, other: GroupKey, place: usize) -> Self {
        let mut next = self.clone();
        if one != other
            && self.groups[&one].addresses.len() > 1
            && let Some(mut group) = next.groups.remove(&one)
        {
            let address = group.addresses.remove(place % group.addresses.len());
            next.groups.insert(group.addresses[0], group);
            if let Some(other) = next.groups.get_mut(&other) {
                other.addresses.push(address);
            }
        }
        next
    }

    /// The last address of the group is its first.
    pub(crate) fn turned(&self, one: GroupKey) -> Self {
        let mut next = self.clone();
        if let Some(mut group) = next.groups.remove(&one) {
            group.addresses.rotate_right(1);
            next.groups.insert(group.addresses[0], group);
        }
        next
    }
}

fn group(options: &Options, key: GroupKey, ids: &[NodeId], draw: &mut Draw) -> Group {
    let owners = ids.len() - usize::from(options.strict.is_some_and(|voting| voting.witness));
    let ids = &ids[..owners];
    let many = draw.chance(200_000) && !options.layouts;
    let count = if many { 5 } else { 1 };
    let made_up = |place: u64| GroupKey(mix(key.0 ^ place));
    let addresses = [key].into_iter().chain((1..count).map(made_up)).collect();
    let (pool, last_resort) = pool_of(options, key);
    let mut group = Group {
        pool,
        addresses,
        mode: if options.strict.is_some() { Mode::Majority } else { Mode::Availability },
        strategy: Strategy::Balance,
        prefer: Preference::default(),
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
        let mut configuration = Configuration {
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
            placement: BTreeMap::new(),
            load_aware: self.options.loads.is_some(),
            timing: this.timing.unwrap_or(self.options.timing),
            adaptive: self.options.adaptive.contains(&host),
            paths: u8::try_from(self.options.paths).expect("one or two"),
            drain_timeout: Duration::ZERO,
            preserve: plan.preserve,
            preserving: Preserving::Unknown,
            draining: this.draining,
            broken: self.options.broken,
        };
        if let Some(adjust) = plan.adjust {
            adjust(&mut configuration);
        }
        configuration
    }

    fn member(&self, plan: &Plan, host: usize, weight: u16) -> Member {
        let Some(voting) = self.options.strict else { return Member::of_weight(weight) };
        let from_the_end = self.hosts.len() - 1 - host;
        let votes = if !plan.other_voters {
            from_the_end < voting.voters
        } else if voting.voters < self.hosts.len() {
            from_the_end + 1 < voting.voters || host == 0
        } else {
            from_the_end < voting.voters.max(5) - 2
        };
        Member { weight: weight.max(1), owns: weight > 0, votes }
    }

    /// The group's configured number of addresses, in the newest file that has it.
    pub(crate) fn addresses(&self, group: usize) -> u16 {
        let key = &self.groups[group];
        self.plans
            .iter()
            .rev()
            .find_map(|plan| plan.groups.get(key))
            .map_or(1, Group::address_count)
    }
}
