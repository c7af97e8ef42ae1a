//! What else is on the hosts and their network, and does not concern the addresses: each of these
//! stood in a public report of a daemon like this one, and must stay without consequence.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::namespace::Namespace;
use buoy::lab::network::{Interface, mac_text};
use buoy::lab::plan::{Shape, vip, vip6};
use nix::sys::signal::{Signal, kill};

use crate::Outcome;
use crate::fence::guardian;
use crate::runner::Test;
use crate::scene::{PROGRAM, SOON, Scene, with, with_plan, with_unstarted};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("uplink_put_under_a_bridge", uplink_put_under_a_bridge),
    ("switch_that_asks_for_addresses_all_the_time", switch_that_asks_all_the_time),
    ("own_frames_come_back", own_frames_come_back),
    ("hosts_that_answer_arp_sparingly", hosts_that_answer_arp_sparingly),
    ("devices_that_come_and_go", devices_that_come_and_go),
    ("program_replaced_while_it_runs", program_replaced_while_it_runs),
    ("group_over_two_links", group_over_two_links),
];

/// Losing a link and taking over is told within 600 ms by the profile `lan`; a busy machine takes
/// longer.
const OUTAGE_MAX: Duration = Duration::from_secs(1);

/// An address that went twice, with its host's network and with that of the host that took it: 1.0 s
/// was seen beside other work.
const PUT_MAX: Duration = Duration::from_secs(3);

/// Fails if any node has said or recorded that another host has an address.
fn no_claimant(scene: &Scene) -> Outcome {
    for node in 0..scene.cluster.nodes() {
        let events = scene.command(node, &["events"])?;
        let text = events + &scene.cluster.log(node);
        let words = ["claims", "outside the cluster", "duplicate"];
        let mut said = text.lines().filter(|line| words.iter().any(|word| line.contains(word)));
        if let Some(line) = said.next() {
            return Err(format!("lb{}: {line}", node + 1).into());
        }
    }
    Ok(())
}

/// The interface of every host is put under a bridge in turn, which gets the host's addresses, as
/// network managers do it. What the host serves goes to the bridge or to another host, and the
/// host can fail afterwards as before.
fn uplink_put_under_a_bridge() -> Outcome {
    with(&Shape::default(), |scene| {
        let begin = clock::now();
        for node in 0..3 {
            let mac = mac_text(scene.cluster.network.hosts()[node].mac(0));
            let last = 11 + node;
            scene.cluster.namespace(node).ip(&format!(
                "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
                 link set br0 address {mac}\n\
                 link set br0 up\n\
                 link set eth0 master br0\n\
                 addr del 10.77.0.{last}/24 dev eth0\n\
                 addr add 10.77.0.{last}/24 dev br0\n\
                 addr del fd77::{last:x}/64 dev eth0\n\
                 addr add fd77::{last:x}/64 dev br0 nodad\n"
            ))?;
            scene.back(node)?;
        }
        let figures = scene.figures(begin);
        assert!(figures.worst <= PUT_MAX, "out for {:?}", figures.worst);
        let victim = scene.owner(vip(105))?;
        let killed = clock::now();
        scene.cluster.signal_family(victim, Signal::SIGKILL);
        until("the others serve everything", SOON, || {
            match scene.owner(vip(105))? == victim || scene.owner(vip6(0x105))? == victim {
                true => Err("the dead host answers".to_owned()),
                false => Ok(()),
            }
        })?;
        scene.served_by_others(victim)?;
        let figures = scene.figures(killed);
        assert!(figures.worst <= OUTAGE_MAX, "out for {:?}", figures.worst);
        Ok(())
    })
}

/// A switch that follows devices, on the clients' network.
fn switch_port(scene: &Scene) -> Result<Namespace, Box<dyn std::error::Error>> {
    let namespace = Namespace::new("tracker")?;
    let path = namespace.path();
    scene.cluster.network.switch().ip(&format!(
        "link add tracker type veth peer name eth0 address 02:ee:00:00:00:02 netns {path}\n\
         link set tracker master n0 up\n"
    ))?;
    namespace.ip("link set eth0 up\n")?;
    Ok(namespace)
}

/// ARP probes (RFC 5227 2.1.1: of no sender) and questions of a monitor for an address, every
/// 20 ms until told to end.
fn ask(from: &Namespace, asked: [u8; 4], over: &AtomicBool) -> Outcome {
    let frames = [[0; 4], [10, 77, 0, 99]].map(|sender| {
        let mac: [u8; 6] = [0x02, 0xee, 0, 0, 0, 2];
        let request = [0, 1, 8, 0, 6, 4, 0, 1];
        let parts: [&[u8]; 8] =
            [&[0xff; 6], &mac, &[8, 6], &request, &mac, &sender, &[0; 6], &asked];
        parts.concat()
    });
    let sent = from.run(|| {
        let mut links = pnet_datalink::interfaces().into_iter();
        let link = links.find(|link| link.name == "eth0").ok_or(ErrorKind::NotFound)?;
        let channel = pnet_datalink::channel(&link, pnet_datalink::Config::default())?;
        let pnet_datalink::Channel::Ethernet(mut sender, _) = channel else {
            return Err(ErrorKind::Unsupported.into());
        };
        while !over.load(Ordering::Relaxed) {
            for frame in &frames {
                sender.send_to(frame, None).ok_or(ErrorKind::WouldBlock)??;
            }
            clock::pause(Duration::from_millis(20));
        }
        Ok::<_, std::io::Error>(())
    })?;
    Ok(sent?)
}

/// A switch sends ARP probes for an address all the time, and a monitor asks for it. Neither is
/// taken for a host that has it, and a takeover is as quick as ever.
fn switch_that_asks_all_the_time() -> Outcome {
    with(&Shape::default(), |scene| {
        let tracker = switch_port(scene)?;
        let victim = scene.owner(vip(100))?;
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking =
                scope.spawn(|| ask(&tracker, [10, 77, 0, 100], &over).map_err(|e| e.to_string()));
            let looked = (|| -> Outcome {
                let begin = clock::now();
                clock::pause(Duration::from_secs(1));
                scene.nothing_happened(begin)?;
                let killed = clock::now();
                scene.cluster.signal_family(victim, Signal::SIGKILL);
                scene.served_by_others(victim)?;
                let figures = scene.figures(killed);
                assert!(figures.worst <= OUTAGE_MAX, "out for {:?}", figures.worst);
                Ok(())
            })();
            over.store(true, Ordering::Relaxed);
            looked?;
            Ok::<_, Box<dyn std::error::Error>>(asking.join().expect("it does not panic")?)
        })?;
        scene.cluster.start(victim)?;
        scene.back(victim)?;
        no_claimant(scene)
    })
}

/// What a host sends to all comes back to it, as from a bridge in hairpin mode or a bond that loops
/// broadcasts. No host takes itself for another one, and planned moves cost what they always do.
fn own_frames_come_back() -> Outcome {
    with_unstarted(&Shape::default(), |scene| {
        let switch = scene.cluster.network.switch();
        for host in &scene.cluster.network.hosts()[..3] {
            switch.output("bridge", &["link", "set", "dev", &host.port(0), "hairpin", "on"])?;
        }
        scene.cluster.start_all()?;
        scene.at_rest()?;
        let begin = clock::now();
        let node = scene.owner(vip(105))?;
        let name = scene.cluster.name(node).to_owned();
        scene.command(node, &["drain", &name])?;
        scene.away(node)?;
        scene.command(node, &["undrain", &name])?;
        scene.back(node)?;
        let figures = scene.figures(begin);
        assert!(figures.worst <= crate::scene::PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        no_claimant(scene)
    })
}

/// Hosts whose kernel answers ARP only on the interface that has the address, and only to senders
/// of its network (`arp_ignore = 2`): clients are answered all the same, or each host says why not.
fn hosts_that_answer_arp_sparingly() -> Outcome {
    with_unstarted(&Shape::default(), |scene| {
        for node in 0..3 {
            scene.cluster.namespace(node).set_sysctl("ipv4/conf/all/arp_ignore", "2")?;
        }
        scene.cluster.start_all()?;
        until("clients are answered, or it is said why not", SOON, || {
            let said = (0..3).any(|node| scene.cluster.log(node).contains("arp_ignore"));
            if said { Ok(()) } else { scene.each_on_one_node() }
        })
    })
}

/// A host of containers: devices come and go all the time. Nothing moves, nobody loses a probe, and
/// an address that is removed comes back.
fn devices_that_come_and_go() -> Outcome {
    /// As a host makes them that starts and ends some dozens of containers a second.
    const PAIRS: usize = 40;
    with(&Shape::default(), |scene| {
        let node = scene.owner(vip(105))?;
        let host = scene.cluster.namespace(node);
        let (mut add, mut delete) = (String::new(), String::new());
        for pair in 0..PAIRS {
            add.push_str(&format!("link add v{pair} type veth peer name w{pair}\n"));
            add.push_str(&format!("link set v{pair} up\n"));
            delete.push_str(&format!("link del v{pair}\n"));
        }
        let begin = clock::now();
        for _ in 0..3 {
            host.ip(&add)?;
            host.ip(&delete)?;
        }
        scene.nothing_happened(begin)?;
        host.ip(&add)?;
        host.ip("addr del 10.77.0.105/32 dev eth0\n")?;
        host.ip(&delete)?;
        until("it is back", SOON, || match scene.cluster.kernel(node) {
            Ok(kernel) if kernel.holds(vip(105)) => Ok(()),
            seen => Err(format!("{seen:?}")),
        })?;
        assert_eq!(scene.owner(vip(105))?, node, "it stays where it was");
        scene.at_rest()
    })
}

/// The file of the program is replaced by another while the daemon runs, as an upgrade does: the
/// daemon goes on, and starts its guardian again when that is killed.
fn program_replaced_while_it_runs() -> Outcome {
    with_unstarted(&Shape::default(), |scene| {
        let copy = scene.cluster.node_directory(0).join("program");
        std::fs::copy(PROGRAM, &copy)?;
        scene.cluster.start_as(0, &copy)?;
        scene.cluster.start(1)?;
        scene.cluster.start(2)?;
        scene.at_rest()?;
        until("it has something", SOON, || match scene.owned_by(0).len() {
            0 => Err("it answers for nothing".to_owned()),
            _ => Ok(()),
        })?;
        scene.at_rest()?;
        let begin = clock::now();
        replace(&copy)?;
        let first = guardian(scene, 0)?;
        kill(first, Signal::SIGKILL)?;
        until("there is another guardian", SOON, || match guardian(scene, 0) {
            Ok(second) if second != first => Ok(()),
            seen => Err(format!("{seen:?}")),
        })?;
        scene.nothing_happened(begin)?;
        scene.cluster.signal(0, Signal::SIGKILL);
        scene.away(0)
    })
}

/// As package managers do it: the new file gets the name of the old one.
fn replace(program: &Path) -> Outcome {
    let new = program.with_extension("new");
    std::fs::write(&new, "#!/bin/false\n")?;
    Ok(std::fs::rename(&new, program)?)
}

/// A group with an address on each of two networks is whole or nowhere: where one of a host's two
/// links fails both addresses leave it, and where each host has lost another link nobody has half.
fn group_over_two_links() -> Outcome {
    let addresses = [vip(100), IpAddr::from([10, 78, 0, 100])];
    let groups = vec![addresses.to_vec()];
    let mut plan = Shape { nodes: 2, paths: 2, groups, ..Shape::default() }.plan();
    plan.client.interfaces.push(Interface {
        name: "eth1".to_owned(),
        network: 1,
        addresses: vec![(IpAddr::from([10, 78, 0, 1]), 24)],
    });
    with_plan(plan, |scene| {
        let held = |scene: &Scene| {
            let mut held = [[false; 2]; 2];
            for (node, held) in held.iter_mut().enumerate() {
                let kernel = scene.cluster.kernel(node).map_err(|error| error.to_string())?;
                *held = addresses.map(|address| kernel.holds(address));
            }
            Ok::<_, String>(held)
        };
        let whole_at = |scene: &Scene, node: usize| match held(scene)? {
            seen if seen[node] == [true; 2] && seen[1 - node] == [false; 2] => Ok(()),
            seen => Err(format!("{seen:?}")),
        };
        scene.cluster.start_all()?;
        until("one node has both", SOON, || whole_at(scene, 0).or_else(|_| whole_at(scene, 1)))?;
        let node = usize::from(whole_at(scene, 0).is_err());
        scene.cluster.network.set_carrier(node, 1, false)?;
        until("the other node has both", SOON, || whole_at(scene, 1 - node))?;
        scene.cluster.network.set_carrier(1 - node, 0, false)?;
        until("neither node has half", SOON, || match held(scene)? {
            seen if seen.iter().all(|[one, other]| one == other) => Ok(()),
            seen => Err(format!("{seen:?}")),
        })?;
        scene.cluster.network.set_carrier(node, 1, true)?;
        until("the node with both links has both", SOON, || whole_at(scene, node))
    })
}
