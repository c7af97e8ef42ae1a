//! Who else answers for an address: a silent node's kernel, and hosts outside the cluster.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::filter::Rule;
use buoy::lab::namespace::Namespace;
use buoy::lab::plan::{Shape, vip, vip6};
use nix::sys::signal::{Signal, kill};

use crate::Outcome;
use crate::fence::freeze_both;
use crate::runner::Test;
use crate::scene::{SOON, Scene, with, with_unstarted};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("pair_without_heartbeats_keeps_its_addresses", pair_without_heartbeats_keeps_its_addresses),
    ("frozen_node_of_a_pair_is_relieved_after_its_lease", frozen_node_of_a_pair_is_relieved),
    ("address_in_conflict_is_not_taken", address_in_conflict_is_not_taken),
    ("conflict_that_comes_later_is_answered", conflict_that_comes_later_is_answered),
    ("force_takes_in_spite_of_a_conflict", force_takes_in_spite_of_a_conflict),
];

const CONFLICTING: &str = "02:ee:00:00:00:01";
/// The lease of the profile `lan`.
const LEASE: Duration = Duration::from_millis(600);
/// A conflicting host that has gone is asked for within a second; for a busy machine.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);

fn pair() -> Shape {
    let mut groups: Vec<_> = (100..=102).map(|last| vec![vip(last)]).collect();
    groups.push(vec![vip(103), vip6(0x103)]);
    Shape { nodes: 2, groups, ..Shape::default() }
}

/// A host outside the cluster, on the clients' network.
struct ConflictingHost {
    namespace: Namespace,
}

impl ConflictingHost {
    fn on(scene: &Scene) -> Result<Self, Box<dyn std::error::Error>> {
        let namespace = Namespace::new("outside")?;
        let path = namespace.path();
        scene.cluster.network.switch().ip(&format!(
            "link add outside type veth peer name eth0 address {CONFLICTING} netns {path}\n\
             link set outside master n0 up\n"
        ))?;
        namespace.ip("link set eth0 up\naddr add 10.77.0.200/24 dev eth0\n")?;
        Ok(Self { namespace })
    }

    fn takes(&self, address: IpAddr) -> Outcome {
        Ok(self.namespace.ip(&format!("addr add {address}/32 dev eth0\n"))?)
    }

    fn leaves(&self, address: IpAddr) -> Outcome {
        Ok(self.namespace.ip(&format!("addr del {address}/32 dev eth0\n"))?)
    }

    /// Asks for nobody in the name of the address, once, which all hear. (The kernel would ask three
    /// times, and only the first is answered at once.)
    fn speaks(&self, address: IpAddr) -> Outcome {
        let IpAddr::V4(address) = address else { return Err("it speaks ARP only".into()) };
        let mac: [u8; 6] = [0x02, 0xee, 0, 0, 0, 1];
        let request = [0, 1, 8, 0, 6, 4, 0, 1];
        let asked = [10, 77, 0, 250];
        let parts: [&[u8]; 8] =
            [&[0xff; 6], &mac, &[8, 6], &request, &mac, &address.octets(), &[0; 6], &asked];
        let frame = parts.concat();
        let sent = self.namespace.run(|| {
            let mut links = pnet_datalink::interfaces().into_iter();
            let link = links.find(|link| link.name == "eth0").ok_or(ErrorKind::NotFound)?;
            let channel = pnet_datalink::channel(&link, pnet_datalink::Config::default())?;
            let pnet_datalink::Channel::Ethernet(mut sender, _) = channel else {
                return Err(ErrorKind::Unsupported.into());
            };
            sender.send_to(&frame, None).ok_or(ErrorKind::WouldBlock)?
        })?;
        Ok(sent?)
    }
}

/// The sentences of a node's events of one kind.
fn events(scene: &Scene, node: usize, kind: &str) -> Result<Vec<String>, String> {
    let text = scene.command(node, &["events", "--json"]).map_err(|error| error.to_string())?;
    let told = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    let told = told.filter(|event: &serde_json::Value| event["kind"].as_str() == Some(kind));
    Ok(told.filter_map(|event| Some(event["sentence"].as_str()?.to_owned())).collect())
}

/// What a node's status says of a group under a key.
fn group_field(scene: &Scene, node: usize, group: IpAddr, key: &str) -> Option<String> {
    let status = scene.cluster.status(node)?;
    let name = group.to_string();
    let mut groups = status["groups"].as_array()?.iter();
    let found = groups.find(|one| one["group"].as_str() == Some(&name))?;
    Some(found[key].as_str()?.to_owned())
}

/// Of a pair nothing but the heartbeats is lost. Each goes on with what it has, for as long as it
/// lasts, and says why.
fn pair_without_heartbeats_keeps_its_addresses() -> Outcome {
    with(&pair(), |scene| {
        let begin = clock::now();
        scene.cluster.network.add_rule(Rule::loss(4748, 1))?;
        until("both say that the other's kernel answers", SOON, || {
            for node in [0, 1] {
                match events(scene, node, "kernel_answers")?.as_slice() {
                    [one] if one.contains("its kernel still answers for 10.77.0.") => {}
                    seen => return Err(format!("node {node}: {seen:?}")),
                }
            }
            Ok(())
        })?;
        throughout("each address has one owner", Duration::from_secs(5), || {
            let two = scene.served.iter().find(|vip| scene.cluster.watch.holders(**vip).len() != 1);
            two.map_or(Ok(()), |vip| Err(format!("{vip} has not")))
        })?;
        assert_eq!(scene.state_of(0, 1).as_deref(), Some("suspect"));
        let status = scene.command(0, &["status"])?;
        assert!(status.contains("is silent, but its kernel answers for 10.77.0."), "{status}");
        scene.cluster.network.heal()?;
        scene.sees(0, 1, "up")?;
        scene.sees(1, 0, "up")?;
        scene.nothing_happened(begin)
    })
}

/// Of a pair the daemon and the guardian of one stand still. Its kernel answers until its lease
/// ends; not before does the other add, and then it does at once.
fn frozen_node_of_a_pair_is_relieved() -> Outcome {
    with(&pair(), |scene| {
        let victim = scene.owner(vip(100))?;
        let other = 1 - victim;
        // The client asks the frozen host whatever is announced, so that its last answer is known.
        let mac = buoy::lab::network::mac_text(scene.cluster.network.hosts()[victim].mac(0));
        scene
            .cluster
            .client()
            .ip(&format!("neigh replace {} lladdr {mac} nud permanent dev eth0\n", vip(100)))?;
        let frozen = clock::now();
        let guardian = freeze_both(scene, victim)?;
        until("the other has it", SOON, || match added(scene, other, frozen) {
            Some(_) => Ok(()),
            None => Err("it has not".to_owned()),
        })?;
        clock::pause(LEASE);
        let added = added(scene, other, frozen).ok_or("it was added a moment ago")?;
        let record = scene.cluster.prober.record(vip(100));
        let answers = record.probes().iter().filter_map(|probe| probe.answer);
        let own = answers.filter(|(_, mac)| scene.cluster.node_of(*mac) == Some(victim));
        let (last, _) = own.max().ok_or("it never answered")?;
        let (closed, taken) = (last.duration_since(frozen), added.duration_since(frozen));
        assert!(taken > closed, "added after {taken:?}, answered until {closed:?}");
        assert!(closed > LEASE / 2 && taken < LEASE * 2, "after {closed:?} and {taken:?}");
        scene.cluster.client().ip(&format!("neigh del {} dev eth0\n", vip(100)))?;
        kill(guardian, Signal::SIGCONT)?;
        scene.cluster.signal(victim, Signal::SIGCONT);
        scene.at_rest()
    })
}

/// When the node got the first address after `since`.
fn added(scene: &Scene, node: usize, since: Instant) -> Option<Instant> {
    let timeline = scene.cluster.watch.timeline();
    let mut changes = timeline.of(vip(100));
    changes.find(|it| it.node == node && it.held && it.at >= since).map(|change| change.at)
}

/// A host outside the cluster has an address before the cluster starts, and another one comes by
/// one when its owner is gone. Nobody takes them, everybody says whose they are; when it has gone
/// they are taken.
fn address_in_conflict_is_not_taken() -> Outcome {
    with_unstarted(
        &Shape { groups: vec![vec![vip(100)], vec![vip(101)]], ..Shape::default() },
        |scene| {
            let conflicting = ConflictingHost::on(scene)?;
            conflicting.takes(vip(100))?;
            scene.cluster.start_all()?;
            until("the other address is served", SOON, || {
                let holders = scene.cluster.watch.holders(vip(101));
                if holders.len() == 1 { Ok(()) } else { Err(format!("held by {holders:?}")) }
            })?;
            not_taken(scene, vip(100))?;

            let owner = scene.owner(vip(101))?;
            conflicting.takes(vip(101))?;
            Fault::HostDeath.begin(&mut scene.cluster, owner)?;
            let left = (0..3).find(|node| *node != owner).ok_or("there are three")?;
            scene.sees(left, owner, "dead")?;
            throughout("nobody takes it", Duration::from_secs(2), || {
                let mut holders = scene.cluster.watch.holders(vip(101));
                holders.remove(&owner);
                if holders.is_empty() { Ok(()) } else { Err(format!("held by {holders:?}")) }
            })?;

            for address in [vip(100), vip(101)] {
                conflicting.leaves(address)?;
                let gone = clock::now();
                until("it is taken when he has gone", TAKEN_WITHIN, || {
                    let mut holders = scene.cluster.watch.holders(address);
                    holders.remove(&owner);
                    if holders.len() == 1 { Ok(()) } else { Err(format!("held by {holders:?}")) }
                })?;
                let took = clock::now().duration_since(gone);
                assert!(took <= TAKEN_WITHIN, "{address} was taken after {took:?}");
            }
            Ok(())
        },
    )
}

/// No node has the address, and all say why.
fn not_taken(scene: &Scene, address: IpAddr) -> Outcome {
    until("all say whose it is", SOON, || {
        for node in 0..scene.cluster.nodes() {
            let unable = group_field(scene, node, address, "unable_here");
            if !unable.as_ref().is_some_and(|why| why.contains(CONFLICTING)) {
                return Err(format!("node {node}: {unable:?}"));
            }
            let told = events(scene, node, "unable")?;
            if !told.iter().any(|sentence| sentence.contains(CONFLICTING)) {
                return Err(format!("node {node}: {told:?}"));
            }
        }
        Ok(())
    })?;
    throughout("nobody takes it", Duration::from_secs(3), || {
        let holders = scene.cluster.watch.holders(address);
        if holders.is_empty() { Ok(()) } else { Err(format!("held by {holders:?}")) }
    })
}

/// A conflicting host comes by an address that is served, and speaks in its name. The owner keeps it, says
/// so, and announces it again, so that the client finds back.
fn conflict_that_comes_later_is_answered() -> Outcome {
    with(&pair(), |scene| {
        let owner = scene.owner(vip(100))?;
        let conflicting = ConflictingHost::on(scene)?;
        // Who speaks within a second of the taking is believed to have been there before.
        until("it was not just taken", SOON, || {
            let status = scene.cluster.status(owner).ok_or("no status")?;
            let since = status["groups"][0]["since_ms"].as_u64();
            if since > Some(1500) { Ok(()) } else { Err(format!("{since:?} ms ago")) }
        })?;
        // What an announcement would make of the client's cache, and what the owner must mend.
        scene
            .cluster
            .client()
            .ip(&format!("neigh replace {} lladdr {CONFLICTING} nud stale dev eth0\n", vip(100)))?;
        conflicting.takes(vip(100))?;
        conflicting.speaks(vip(100))?;
        until("the client knows the owner again", Duration::from_secs(2), || {
            let mac = buoy::lab::network::mac_text(scene.cluster.network.hosts()[owner].mac(0));
            match scene.neighbours()?.get(&vip(100)) {
                Some(known) if *known == mac => Ok(()),
                known => Err(format!("{known:?}")),
            }
        })?;
        until("the owner says who it is", SOON, || {
            let claimant = group_field(scene, owner, vip(100), "claimant");
            match events(scene, owner, "second_claimant")?.as_slice() {
                [one] if one.contains(CONFLICTING) && claimant.as_deref() == Some(CONFLICTING) => {
                    Ok(())
                }
                seen => Err(format!("{seen:?}, {claimant:?}")),
            }
        })?;
        for _ in 0..5 {
            conflicting.speaks(vip(100))?;
        }
        let told = events(scene, owner, "second_claimant")?;
        assert!(told.len() <= 2, "at most once in ten seconds: {told:?}");
        let holders = scene.cluster.watch.holders(vip(100));
        assert!(holders.contains(&owner) && holders.len() == 1, "{holders:?}");
        conflicting.leaves(vip(100))?;
        scene.at_rest()
    })
}

/// The operator wants an address whoever has it.
fn force_takes_in_spite_of_a_conflict() -> Outcome {
    let shape = Shape { pool: "force = true", groups: vec![vec![vip(100)]], ..pair() };
    with_unstarted(&shape, |scene| {
        let conflicting = ConflictingHost::on(scene)?;
        conflicting.takes(vip(100))?;
        scene.cluster.start_all()?;
        until("it is taken, and said so", SOON, || {
            let holders = scene.cluster.watch.holders(vip(100));
            let Some(owner) = holders.iter().next() else { return Err("nobody has it".to_owned()) };
            let told = events(scene, *owner, "second_claimant")?;
            let named = told.iter().any(|sentence| sentence.contains(CONFLICTING));
            if named { Ok(()) } else { Err(format!("{told:?}")) }
        })
    })
}
