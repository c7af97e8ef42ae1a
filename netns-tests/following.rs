//! Whether neighbours follow a takeover: in the ordinary case, when no broadcast reaches them, and
//! when they do not.

use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::plan::{Configuration, Shape, vip};
use serde_json::Value;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{SOON, Scene, with, with_plan};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("takeover_is_verified", takeover_is_verified),
    ("broadcasts_held_back_from_the_client", broadcasts_held_back_from_the_client),
    ("client_that_does_not_follow_is_named", client_that_does_not_follow_is_named),
    ("thousand_addresses_taken_at_once", thousand_addresses_taken_at_once),
];

/// As in `takeover`: a busy machine may take three times as long as a quiet one.
const OUTAGE_MAX: Duration = Duration::from_millis(1500);
/// A client that is told nothing finds out by itself, after 30 s of trust and 8 s of doubt.
const ITSELF_MIN: Duration = Duration::from_secs(3);

/// What `node` says of a group in its status.
fn group(scene: &Scene, node: usize, name: &str) -> Result<Value, String> {
    let status = scene.cluster.status(node).ok_or("no status")?;
    let groups = status["groups"].as_array().cloned().unwrap_or_default();
    let found = groups.into_iter().find(|group| group["group"].as_str() == Some(name));
    found.ok_or_else(|| format!("no group {name}"))
}

/// The sentences of a kind of event about a group, as `node` has recorded them.
fn sentences(scene: &Scene, node: usize, kind: &str, name: &str) -> Result<Vec<String>, String> {
    let said = scene.command(node, &["events", "--json", "--group", name]);
    let said = said.map_err(|error| error.to_string())?;
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let fitting = lines.filter(|line| line["kind"].as_str() == Some(kind));
    Ok(fitting.filter_map(|line| line["sentence"].as_str().map(str::to_owned)).collect())
}

fn counter(scene: &Scene, node: usize, name: &str) -> u64 {
    let status = scene.cluster.status(node).unwrap_or_default();
    status["counters"][name].as_u64().unwrap_or(0)
}

/// Rules for what the client's kernel hears at all.
fn filter(scene: &Scene, rules: &[&str]) -> Outcome {
    let client = scene.cluster.client();
    client.output("nft", &["add table netdev hold"])?;
    let chain = "add chain netdev hold in { type filter hook ingress device eth0 priority 0 ; }";
    client.output("nft", &[chain])?;
    for rule in rules {
        client.output("nft", &[&format!("add rule netdev hold in {rule} counter drop")])?;
    }
    Ok(())
}

/// Waits until every other node has been told of the client by the only owner.
fn all_know_the_client(scene: &Scene, owner: usize) -> Outcome {
    until("the others know the client", SOON, || {
        let others = (0..scene.cluster.nodes()).filter(|node| *node != owner);
        let mut ignorant = others.filter(|node| counter(scene, *node, "neighbour_lists") == 0);
        ignorant.next().map_or(Ok(()), |node| Err(format!("node {node} has no list")))
    })
}

/// An ordinary death: the heir's events and status say that the client follows, under its address
/// of each family, and how soon.
fn takeover_is_verified() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(105))?;
        // Two of each peer: in the second the client has talked to all addresses.
        until("the nodes know the client", SOON, || {
            let lists = (0..3).map(|node| counter(scene, node, "neighbour_lists")).min();
            if lists >= Some(4) { Ok(()) } else { Err(format!("{lists:?} lists")) }
        })?;
        Fault::HostDeath.begin(&mut scene.cluster, victim)?;
        scene.away(victim)?;
        let heir = scene.owner(vip(105))?;
        let name = scene.cluster.name(heir).to_owned();
        until("the client is known to follow", SOON, || {
            match group(scene, heir, "10.77.0.105")?["converged_ms"].as_u64() {
                Some(0..1000) => Ok(()),
                other => Err(format!("{other:?} ms")),
            }
        })?;
        let told = sentences(scene, heir, "converged", "10.77.0.105")?;
        let expected = format!("10.77.0.105: 2 of 2 neighbours resolve it to {name}, ");
        assert!(told.len() == 1 && told[0].starts_with(&expected), "{told:?}");
        let other = (0..3).find(|node| ![victim, heir].contains(node)).ok_or("three nodes")?;
        let elsewhere = group(scene, other, "10.77.0.105")?;
        assert_eq!(elsewhere["converged_ms"], Value::Null, "only the owner knows");
        Fault::HostDeath.end(&mut scene.cluster, victim)?;
        scene.back(victim)
    })
}

/// No broadcast ARP reaches the client, and the heir has never met it: the dead owner had told of
/// it. Without that the client would be in the dark until its own timers end, as the next test
/// shows.
fn broadcasts_held_back_from_the_client() -> Outcome {
    let shape = Shape { groups: vec![vec![vip(100)]], ..Shape::default() };
    with(&shape, |scene| {
        let victim = scene.owner(vip(100))?;
        all_know_the_client(scene, victim)?;
        filter(scene, &["ether daddr ff:ff:ff:ff:ff:ff ether type arp"])?;
        let begin = clock::now();
        Fault::HostDeath.begin(&mut scene.cluster, victim)?;
        scene.away(victim)?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= OUTAGE_MAX, "out for {:?}", figures.worst);
        let heir = scene.owner(vip(100))?;
        assert!(counter(scene, heir, "neighbours_told_directly") > 0, "nobody was told directly");
        let held = scene.cluster.client().output("nft", &["list table netdev hold"])?;
        assert!(!held.contains("packets 0 "), "nothing was held back: {held}");
        eprint!("(out for {:?}) ", figures.worst);
        Ok(())
    })
}

/// The client hears nothing of where the address is, not even when it asks. At first the former
/// owner forwards what it still gets, questions and answers alike, so that even the client notices
/// nothing: the new owner's events name it all the same. When it hears again, the
/// next refresh repairs it, and that is told as well.
fn client_that_does_not_follow_is_named() -> Outcome {
    let cluster = "\n[timing]\nannounce_refresh = \"10s\"\n";
    let shape = Shape { groups: vec![vec![vip(100)]], cluster, ..Shape::default() };
    with(&shape, |scene| {
        let former = scene.owner(vip(100))?;
        all_know_the_client(scene, former)?;
        let forward = "ipv4/ip_forward";
        scene.cluster.namespace(former).set_sysctl(forward, "1")?;
        filter(scene, &["arp saddr ip 10.77.0.100"])?;
        let new = (former + 1) % 3;
        let begin = clock::now();
        scene.command(0, &["move", "10.77.0.100", scene.cluster.name(new)])?;
        let name = scene.cluster.name(new).to_owned();
        until("the client is named", SOON, || {
            let told = sentences(scene, new, "not_converged", "10.77.0.100")?;
            let expected =
                format!("10.77.0.100: 0 of 1 neighbours resolve it to {name}, not 10.77.0.1");
            if told == [expected] { Ok(()) } else { Err(format!("{told:?}")) }
        })?;
        let waited = clock::now().duration_since(begin);
        assert!(waited >= ITSELF_MIN, "told after {waited:?}");
        assert_eq!(group(scene, new, "10.77.0.100")?["converged_ms"], Value::Null);
        scene.cluster.client().output("nft", &["delete table netdev hold"])?;
        until("the client follows", SOON, || {
            let told = sentences(scene, new, "converged", "10.77.0.100")?;
            if told.is_empty() { Err("nothing is told".to_owned()) } else { Ok(()) }
        })?;
        scene.at_rest()
    })
}

/// Runs two nodes of which the first has a thousand groups and is at rest. The client probes two of them.
pub(crate) fn with_a_thousand_groups(test: impl FnOnce(&mut Scene) -> Outcome) -> Outcome {
    let many = (0..4_u8).flat_map(|third| (1..=250_u8).map(move |last| (third, last)));
    let groups = many.map(|(third, last)| vec![[10, 77, 100 + third, last].into()]).collect();
    let pool = "strategy = \"priority\"\nprefer = [\"lb1\", \"lb2\"]\n";
    let shape = Shape { nodes: 2, groups, pool, ..Shape::default() };
    let mut plan = shape.plan();
    plan.groups.truncate(2);
    plan.configuration = Configuration::Text(shape.text());
    // All are in its network.
    for host in plan.nodes.iter_mut().chain([&mut plan.client]) {
        host.interfaces[0].addresses[0].1 = 16;
    }
    with_plan(plan, |scene| {
        scene.cluster.start_all()?;
        until("the first node has them all", SOON * 2, || owns_a_thousand(scene, 0))?;
        scene.at_rest()?;
        test(scene)
    })
}

/// Whether the node owns all of these groups.
pub(crate) fn owns_a_thousand(scene: &Scene, node: usize) -> Result<(), String> {
    let status = scene.cluster.status(node).unwrap_or_default();
    match status["nodes"][node]["owns"].as_u64() {
        Some(1000) => Ok(()),
        own => Err(format!("it owns {own:?}")),
    }
}

/// A thousand addresses fall to one heir at once. Announcements to all and to single neighbours keep
/// their pace, and its heartbeats are not late.
fn thousand_addresses_taken_at_once() -> Outcome {
    with_a_thousand_groups(|scene| {
        all_know_the_client(scene, 0)?;
        let announced = counter(scene, 1, "announcements");
        let begin = clock::now();
        Fault::HostDeath.begin(&mut scene.cluster, 0)?;
        until("the second node has them all", SOON, || owns_a_thousand(scene, 1))?;
        until("most are known to be followed", SOON, || {
            let passed = clock::now().duration_since(begin).as_millis();
            let sent = counter(scene, 1, "announcements") - announced;
            let told = counter(scene, 1, "neighbours_told_directly");
            assert!(u128::from(sent) <= 1000 + 2 * passed, "{sent} announced in {passed} ms");
            assert!(u128::from(told) <= 128 + passed, "{told} told in {passed} ms");
            let status = scene.cluster.status(1).unwrap_or_default();
            let groups = status["groups"].as_array().cloned().unwrap_or_default();
            let follow = groups.iter().filter(|group| group["converged_ms"].is_u64()).count();
            if follow >= 900 { Ok(()) } else { Err(format!("{follow} are")) }
        })?;
        eprint!("(followed after {:?}) ", clock::now().duration_since(begin));
        let status = scene.cluster.status(1).unwrap_or_default();
        let late = status["nodes"][1]["loop_lag_us"].as_u64().unwrap_or(u64::MAX);
        assert!(late < 50_000, "its protocol thread was late by {late} us");
        Ok(())
    })
}
