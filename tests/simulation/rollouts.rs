//! Every key of the reference file is changed on every host: by reload and by restart, beginning
//! with the first, the middle and the last host, forward and back, with a pause after the first
//! host as if the rollout had been interrupted. No address has two owners, and none is without one
//! for longer than a planned move takes.
//!
//! A key that the reference has and that is not in [`KEYS`] fails the test: whoever adds a key says
//! what it is when the hosts of a cluster have different values of it.

use std::collections::BTreeSet;
use std::time::Duration;

use buoy::protocol::{
    Configuration, GroupKey, LastResort, Mode, NodePhase, Placement, Preserve, Strategy, Timing,
};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::operators::STOP_WITHIN;
use crate::options::Options;
use crate::plan::Plan;
use crate::story::{Outcome, calm};

const REFERENCE: &str = include_str!("../../config/buoy.reference.toml");

/// An address is away for no longer than this: a planned move, or two of them.
const MOVED_WITHIN: u64 = 120 * MILLISECOND;
/// After the first host a rollout rests for so long.
const INTERRUPTED: u64 = 8 * SECOND;
/// Or for so long: the operator has been called away.
const LEFT_ALONE: u64 = 3_600 * SECOND;
/// Keys whose values two hosts must agree about in some way; with these a rollout is left alone for
/// long as well.
const AGREED: &[&str] = &["cluster.profile", "timing.heartbeat", "timing.misses", "pool.mode"];
/// A host that was restarted takes part again within this, in the slowest profile; the next is not
/// restarted before, nor before it votes again.
const ACTIVE_WITHIN: u64 = 20 * SECOND;
/// Between two other hosts.
const GAP: u64 = 3 * SECOND;

/// What a key is to the core.
#[derive(Clone, Copy)]
enum Kind {
    /// It is in the configuration of the core.
    Core(fn(&mut Configuration)),
    /// It says which addresses are in which group.
    Groups(fn(&Plan, &[GroupKey]) -> Plan),
    /// The core does not see it: where it is tested, or why nodes may differ in it.
    Elsewhere(&'static str),
}

use Kind::{Core, Elsewhere, Groups};

/// Connections are kept for so many seconds.
const fn kept_for(seconds: u64) -> Preserve {
    Preserve { limit: Duration::from_secs(seconds), brief: false }
}

const IDENTITY: &str = "names the cluster, its key or its network: datagrams of others are not \
                        opened; config and wire tests, netns refusal";
const MEMBERS: &str = "who is a member and who votes is agreed on by a procedure; operator_stories, \
                       majority_stories::voters_differ";
const VRRP: &str = "what the owner says to routers outside; members know each other's frames and do \
                    not take these for such a router, whatever they say; vrrp stories, netns routers";
const ROUTING: &str = "what a host's kernel has while it has the group; a failure is one of the kernel; \
                       kernel tests, netns routing";
const PLACE: &str = "where a host's kernel puts an address; netns preserving, kernel tests";
const LOCAL: &str = "of one host alone: no other node's decision depends on it";
const CHECKS: &str = "decides the fitness of one host; check_stories, netns checking";
const HOOKS: &str = "runs programs of one host; netns hooking";

/// Every key, by its table.
const KEYS: &[(&str, Kind)] = &[
    ("cluster.name", Elsewhere(IDENTITY)),
    ("cluster.key_file", Elsewhere(IDENTITY)),
    ("cluster.port", Elsewhere(IDENTITY)),
    ("cluster.profile", Core(|it| it.timing = Timing::VM)),
    ("cluster.kernel_lease", Elsewhere(LOCAL)),
    ("cluster.restart", Elsewhere("restart_stories, netns restarting")),
    ("cluster.tickle_connections_max", Elsewhere(LOCAL)),
    ("cluster.drain_timeout", Core(|it| it.drain_timeout = Duration::from_secs(2))),
    ("cluster.preserve_connections", Core(|it| it.preserve = Some(kept_for(5)))),
    ("cluster.preserve_timeout", Core(|it| it.preserve = Some(kept_for(1)))),
    ("cluster.load_aware", Core(|it| it.load_aware = true)),
    ("haproxy.socket", Elsewhere(LOCAL)),
    ("haproxy.draining_list", Elsewhere(LOCAL)),
    ("haproxy.master_socket", Elsewhere(LOCAL)),
    ("timing.heartbeat", Core(|it| it.timing.heartbeat = Duration::from_millis(120))),
    ("timing.misses", Core(|it| it.timing.misses = 4)),
    ("timing.offer_wait", Core(|it| it.timing.offer_wait = Duration::from_millis(400))),
    ("timing.retry", Core(|it| it.timing.retry = Duration::from_millis(10))),
    ("timing.rank_skew", Core(|it| it.timing.rank_skew = Duration::from_millis(40))),
    ("timing.unclaimed_wait", Core(|it| it.timing.unclaimed_wait = Duration::from_millis(300))),
    ("timing.maturity_min", Core(|it| it.timing.maturity_min = Duration::from_millis(800))),
    ("timing.maturity_max", Core(|it| it.timing.maturity_max = Duration::from_secs(2))),
    ("timing.solo_wait", Core(|it| it.timing.solo_wait = Duration::from_secs(20))),
    ("timing.announce_refresh", Core(|it| it.timing.announce_refresh = Duration::from_secs(30))),
    ("timing.announce_rate", Core(|it| it.timing.announce_rate = 1000)),
    ("node.name", Elsewhere(MEMBERS)),
    ("node.addresses", Elsewhere(MEMBERS)),
    ("node.weight", Core(|it| it.nodes.values_mut().take(1).for_each(|node| node.weight = 300))),
    ("node.role", Elsewhere(MEMBERS)),
    ("node.voter", Elsewhere(MEMBERS)),
    ("node.labels", Core(the_last_lacks_a_label)),
    ("pool.name", Core(|it| it.groups.values_mut().for_each(|group| group.pool.0 ^= 1))),
    ("pool.interface", Elsewhere(PLACE)),
    ("pool.vips", Groups(|plan, keys| plan.merged(keys[1], keys[0]))),
    ("pool.vips.name", Elsewhere("not seen by the core: a group is its first address")),
    ("pool.vips.addresses", Groups(|plan, keys| plan.merged(keys[1], keys[0]).turned(keys[1]))),
    ("pool.vips.interface", Elsewhere(PLACE)),
    ("pool.vips.force", Core(|it| it.groups.values_mut().take(1).for_each(|it| it.force = true))),
    ("pool.vips.routes", Elsewhere(ROUTING)),
    ("pool.vips.rules", Elsewhere(ROUTING)),
    ("pool.vips.to", Elsewhere(ROUTING)),
    ("pool.vips.via", Elsewhere(ROUTING)),
    ("pool.vips.dev", Elsewhere(ROUTING)),
    ("pool.vips.onlink", Elsewhere(ROUTING)),
    ("pool.vips.source", Elsewhere(ROUTING)),
    ("pool.vips.table", Elsewhere(ROUTING)),
    ("pool.vips.metric", Elsewhere(ROUTING)),
    ("pool.vips.type", Elsewhere(ROUTING)),
    ("pool.vips.from", Elsewhere(ROUTING)),
    ("pool.vips.iif", Elsewhere(ROUTING)),
    ("pool.vips.oif", Elsewhere(ROUTING)),
    ("pool.vips.fwmark", Elsewhere(ROUTING)),
    ("pool.vips.vrrp", Elsewhere(VRRP)),
    ("pool.vips.id", Elsewhere(VRRP)),
    ("pool.vips.version", Elsewhere(VRRP)),
    ("pool.vips.priority", Elsewhere(VRRP)),
    ("pool.vips.interval", Elsewhere(VRRP)),
    ("pool.vips.password", Elsewhere(VRRP)),
    ("pool.vips.checksum", Elsewhere(VRRP)),
    ("pool.vips.preempt", Elsewhere(VRRP)),
    ("pool.vips.peers", Elsewhere(VRRP)),
    ("pool.vips.excluded", Elsewhere(VRRP)),
    ("pool.mode", Core(turn_mode)),
    ("pool.strategy", Core(prefer_the_last)),
    (
        "pool.prefer",
        Core(|it| {
            let last = it.nodes.keys().next_back().copied();
            it.groups.values_mut().for_each(|group| group.prefer = last.into_iter().collect());
        }),
    ),
    ("pool.requires", Core(the_last_lacks_a_label)),
    (
        "pool.apart_from",
        Core(|it| {
            let pools: BTreeSet<_> = it.groups.values().map(|group| group.pool).collect();
            let rule = |apart_from| Placement { apart_from, ..Placement::default() };
            it.placement = pools.into_iter().map(|pool| (pool, rule([pool].into()))).collect();
        }),
    ),
    (
        "pool.together_with",
        Core(|it| {
            let pools: BTreeSet<_> = it.groups.values().map(|group| group.pool).collect();
            let rule = || Placement { together_with: pools.clone(), ..Placement::default() };
            it.placement = pools.iter().map(|pool| (*pool, rule())).collect();
        }),
    ),
    (
        "pool.failback",
        Core(|it| {
            prefer_the_last(it);
            it.groups.values_mut().for_each(|group| group.failback = Some(Duration::from_secs(1)));
        }),
    ),
    ("pool.force", Core(|it| it.groups.values_mut().for_each(|group| group.force = true))),
    (
        "pool.last_resort",
        Core(|it| {
            it.groups.values_mut().for_each(|group| group.last_resort = LastResort::Release);
        }),
    ),
    ("check.name", Elsewhere(CHECKS)),
    ("check.type", Elsewhere(CHECKS)),
    ("check.interval", Elsewhere(CHECKS)),
    ("check.timeout", Elsewhere(CHECKS)),
    ("check.rise", Elsewhere(CHECKS)),
    ("check.fall", Elsewhere(CHECKS)),
    ("check.dwell", Elsewhere(CHECKS)),
    ("check.effect", Elsewhere(CHECKS)),
    ("check.pools", Elsewhere(CHECKS)),
    ("check.socket", Elsewhere(CHECKS)),
    ("check.frontends", Elsewhere(CHECKS)),
    ("check.backends", Elsewhere(CHECKS)),
    ("check.address", Elsewhere(CHECKS)),
    ("check.path", Elsewhere(CHECKS)),
    ("check.host", Elsewhere(CHECKS)),
    ("check.method", Elsewhere(CHECKS)),
    ("check.status", Elsewhere(CHECKS)),
    ("check.header", Elsewhere(CHECKS)),
    ("check.body", Elsewhere(CHECKS)),
    ("check.tls", Elsewhere(CHECKS)),
    ("check.ca", Elsewhere(CHECKS)),
    ("check.verify", Elsewhere(CHECKS)),
    ("check.process", Elsewhere(CHECKS)),
    ("check.pidfile", Elsewhere(CHECKS)),
    ("check.unit", Elsewhere(CHECKS)),
    ("check.file", Elsewhere(CHECKS)),
    ("check.absent", Elsewhere(CHECKS)),
    ("check.at_least", Elsewhere(CHECKS)),
    ("check.at_most", Elsewhere(CHECKS)),
    ("check.interface", Elsewhere(CHECKS)),
    ("check.ask", Elsewhere(CHECKS)),
    ("check.connected", Elsewhere(CHECKS)),
    ("check.command", Elsewhere(CHECKS)),
    ("check.user", Elsewhere(CHECKS)),
    ("hook.name", Elsewhere(HOOKS)),
    ("hook.on", Elsewhere(HOOKS)),
    ("hook.command", Elsewhere(HOOKS)),
    ("hook.user", Elsewhere(HOOKS)),
    (
        "hook.timeout",
        Core(|it| {
            it.groups.values_mut().for_each(|group| group.gate = Some(Duration::from_millis(500)));
        }),
    ),
    ("hook.style", Elsewhere(HOOKS)),
    ("hook.pools", Elsewhere(HOOKS)),
    ("hook.notify_fifo", Elsewhere(HOOKS)),
    ("hook.gather", Elsewhere(HOOKS)),
];

fn turn_mode(configuration: &mut Configuration) {
    for group in configuration.groups.values_mut() {
        group.mode = match group.mode {
            Mode::Availability => Mode::Majority,
            Mode::Majority => Mode::Availability,
        };
    }
}

fn the_last_lacks_a_label(configuration: &mut Configuration) {
    let lacking = configuration.nodes.keys().next_back().copied().into_iter().collect();
    let pools = configuration.groups.values().map(|group| group.pool);
    configuration.placement = pools
        .map(|pool| {
            (pool, Placement { lacking: BTreeSet::clone(&lacking), ..Placement::default() })
        })
        .collect();
}

fn prefer_the_last(configuration: &mut Configuration) {
    let last = configuration.nodes.keys().next_back().copied();
    for group in configuration.groups.values_mut() {
        group.strategy = Strategy::Priority;
        group.prefer = last.into_iter().collect();
    }
}

/// The keys of the reference, by table; commented ones and those of long forms included.
fn keys_of_the_reference() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut table = "";
    for line in REFERENCE.lines() {
        let commented = line.strip_prefix("# ").filter(|it| it.starts_with('['));
        let plain = commented.unwrap_or(line).trim_end();
        if plain.starts_with('[') && plain.ends_with(']') {
            table = plain.trim_matches(['[', ']']);
        } else if let Some(long) = line.trim_start().strip_prefix("{ ") {
            let names = long.split(" = ").filter_map(|before| before.rsplit([' ', '{']).next());
            let key = |name: &&str| name.chars().all(|letter| letter.is_ascii_lowercase());
            keys.extend(names.filter(key).map(|name| format!("{table}.vips.{name}")));
        } else {
            let (key, value) = line.trim_start_matches("# ").split_once(" = ").unwrap_or_default();
            let letters = |letter: char| letter.is_ascii_lowercase() || letter == '_';
            if !key.is_empty() && !value.is_empty() && key.chars().all(letters) {
                keys.insert(format!("{table}.{key}"));
            }
        }
    }
    keys
}

#[test]
fn every_key_of_the_reference_is_rolled_out_or_said_to_be_harmless() {
    let known: BTreeSet<String> = KEYS.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(known.len(), KEYS.len(), "a key is there twice");
    assert_eq!(keys_of_the_reference(), known);
    for (key, kind) in KEYS {
        if let Elsewhere(reason) = kind {
            assert!(!reason.is_empty(), "{key}");
        }
    }
}

/// Has the host go by the newest file.
fn change(cluster: &mut Cluster, host: usize, restart: bool) {
    let plan = cluster.plans.len() - 1;
    if restart {
        cluster.hosts[host].plan = plan;
        cluster.disturb(host, 4 * SECOND);
        cluster.stop(host, Some(100 * MILLISECOND));
    } else {
        cluster.adopt(host, plan);
    }
}

/// A host has not started, or does not take part yet.
fn starting(cluster: &Cluster, host: usize) -> Option<String> {
    let this = &cluster.hosts[host];
    let phase = this.node.as_ref().map(|node| node.status(this.clock.read(cluster.now)).phase);
    (phase != Some(NodePhase::Active)).then(|| format!("n{host} is {phase:?}"))
}

/// Changes the file at all hosts, beginning with this one, after which the rollout rests.
fn roll_out(cluster: &mut Cluster, first: usize, restart: bool, rest: u64) -> Outcome {
    cluster.mark();
    for place in 0..cluster.hosts.len() {
        let host = (first + place) % cluster.hosts.len();
        change(cluster, host, restart);
        if restart {
            cluster.wait_until("K1", STOP_WITHIN, |this| {
                this.hosts[host].node.as_ref().map(|_| format!("n{host} does not end"))
            })?;
        }
        cluster.wait_until("K1", ACTIVE_WITHIN, |this| starting(this, host))?;
        cluster.watch("K1", if place == 0 { INTERRUPTED } else { GAP }, Cluster::doubled)?;
        if place == 0 {
            cluster.run_for(rest)?;
        }
        cluster.expect_outage("K1", MOVED_WITHIN)?;
        cluster.wait_until("K1", 4 * SECOND, Cluster::uncovered)?;
    }
    Ok(())
}

fn roll_out_everywhere(key: &str, kind: Kind, strict: bool) -> Outcome {
    let options = if strict { Options::strict(3, 4, false) } else { calm(3, 4, None) };
    let options = Options { traced: std::env::var_os("BUOY_TRACE").is_some(), ..options };
    let mut cluster = Cluster::settled(options)?;
    let before = cluster.plans[0].clone();
    let after = match kind {
        Core(adjust) => Plan { adjust: Some(adjust), ..before.clone() },
        Groups(change) => change(&before, &cluster.groups),
        Elsewhere(_) => return Ok(()),
    };
    for restart in [false, true] {
        for first in 0..cluster.hosts.len() {
            for plan in [&after, &before] {
                let forth = plan.adjust.is_some();
                let alone = first == 1 && !restart && forth && AGREED.contains(&key);
                cluster.plans.push(plan.clone());
                let rest = if alone { LEFT_ALONE } else { 0 };
                roll_out(&mut cluster, first, restart, rest).map_err(|text| {
                    format!(
                        "{key}, strict {strict}, restart {restart}, forth {forth}, n{first} first: \
                         {text}"
                    )
                })?;
            }
        }
    }
    Ok(())
}

fn roll_out_every_key(strict: bool) {
    let only = std::env::var("BUOY_KEY").unwrap_or_default();
    let mut wrong = Vec::new();
    for (key, kind) in KEYS.iter().filter(|(key, _)| key.contains(&only)) {
        wrong.extend(roll_out_everywhere(key, *kind, strict).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_key_makes_two_owners_or_none_while_it_is_rolled_out() {
    roll_out_every_key(false);
}

#[test]
fn no_key_makes_two_owners_or_none_under_majority() {
    roll_out_every_key(true);
}
