//! Who is a member, and where: files that name other nodes, ports, addresses or keys, on one host
//! after the other.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::filter::Rule;
use buoy::lab::network::mac_text;
use buoy::lab::plan::Shape;
use buoy::lab::process::Process;
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, PROGRAM, READING, SOON, Scene, with};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("node_removed_while_it_runs", node_removed_while_it_runs),
    ("node_removed_by_restarts", node_removed_by_restarts),
    ("copy_of_a_node", copy_of_a_node),
    ("copy_of_a_node_with_its_address", copy_of_a_node_with_its_address),
    ("port_changed_by_reloads", port_changed_by_reloads),
    ("port_changed_by_restarts", port_changed_by_restarts),
    ("address_of_a_node_changed_in_one_file", address_of_a_node_changed_in_one_file),
    ("node_that_hears_and_is_not_heard", node_that_hears_and_is_not_heard),
    ("node_with_another_key", node_with_another_key),
];

/// Long enough for a silence to be noticed and acted upon, several times over.
const LONG: Duration = Duration::from_secs(2);
/// Several heartbeats, and less than the lease of the profile `lan`.
const STILL: Duration = Duration::from_millis(400);

/// Changes a node's file.
fn edit(scene: &Scene, node: usize, change: impl Fn(String) -> String) -> Outcome {
    let file = scene.cluster.configuration_file(node);
    let text = fs::read_to_string(&file)?;
    let changed = change(text.clone());
    if changed == text {
        return Err("the file is as it was".into());
    }
    Ok(fs::write(file, changed)?)
}

/// The file without the last node.
fn without_lb3(text: String) -> String {
    let Some(begin) = text.find("\n[[node]]\nname = \"lb3\"") else { return text };
    let Some(end) = text[begin..].find("\n[[pool]]") else { return text };
    format!("{}{}", &text[..begin], &text[begin + end..])
}

/// Stops the last node, changes its host, and starts a copy of the first node there.
fn start_copy(scene: &mut Scene, change: &str) -> Result<Process, Box<dyn Error>> {
    scene.cluster.signal(2, Signal::SIGTERM);
    scene.cluster.process(2).ok_or("it was not started")?.wait(SOON).ok_or("it goes on")?;
    scene.away(2)?;
    scene.cluster.namespace(2).ip(change)?;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let arguments = [
        "run".to_owned(),
        "--config".to_owned(),
        text(scene.cluster.configuration_file(2)),
        "--node".to_owned(),
        scene.cluster.name(0).to_owned(),
        "--runtime-dir".to_owned(),
        text(scene.cluster.runtime_directory(2)),
    ];
    let log = scene.cluster.node_directory(2).join("log");
    let place = scene.cluster.namespace(2);
    Ok(Process::start(place, Path::new(PROGRAM), &arguments, &log)?)
}

/// The copy, which runs at the last node's place, has no address for a while.
fn copy_has_nothing(scene: &Scene) -> Outcome {
    throughout("the copy has nothing", LONG, || {
        let had = scene.served.iter().find(|vip| scene.cluster.watch.holders(**vip).contains(&2));
        had.map_or(Ok(()), |vip| Err(format!("it has {vip}")))
    })
}

/// The copy is the first that is heard after a moment in which all others stood still.
fn copy_has_nothing_after_stalls(scene: &Scene) -> Outcome {
    for _ in 0..4 {
        for (signal, pause) in [(Signal::SIGSTOP, STILL), (Signal::SIGCONT, Duration::ZERO)] {
            [0, 1].iter().for_each(|node| scene.cluster.signal_family(*node, signal));
            clock::pause(pause);
        }
        copy_has_nothing(scene)?;
    }
    Ok(())
}

/// A copy of a host, with the name and the key of a node and an address of its own, is started: it
/// says what is wrong, takes nothing, and nobody is disturbed.
fn copy_of_a_node() -> Outcome {
    with(&Shape::default(), |scene| {
        let begin = clock::now();
        let _copy = start_copy(scene, "")?;
        until("it says what is wrong", SOON, || match scene.cluster.log(2) {
            told if told.contains("is a copy of that node") => Ok(()),
            told => Err(told),
        })?;
        (0..4).try_for_each(|_| copy_has_nothing(scene))?;
        nothing_worse_than_planned(scene, begin)?;
        copy_has_nothing_after_stalls(scene)
    })
}

/// The copy has the address of the host too, so that now and then it receives what peers send to
/// that. It takes nothing, whatever it believes of the peers that it does not hear any more.
fn copy_of_a_node_with_its_address() -> Outcome {
    with(&Shape::default(), |scene| {
        let [own, of_the_first] = [2, 0].map(|node| Shape::node_address(node, 0));
        let exchange = format!("addr del {own}/24 dev eth0\naddr add {of_the_first}/24 dev eth0\n");
        let _copy = start_copy(scene, &exchange)?;
        (0..8).try_for_each(|_| copy_has_nothing(scene))?;
        copy_has_nothing_after_stalls(scene)
    })
}

/// The file with another port.
fn with_port(text: String) -> String {
    text.replacen("[cluster]", "[cluster]\nport = 4750", 1)
}

/// No two kernels have had an address for longer than it takes to read their messages, and no
/// client was without an answer for longer than a planned move takes.
fn nothing_worse_than_planned(scene: &Scene, since: Instant) -> Outcome {
    let until = clock::now();
    scene.others_undisturbed(&[], since)?;
    let timeline = scene.cluster.watch.timeline();
    for vip in &scene.served {
        let both = timeline.two_owners(*vip, since, until);
        if both > READING {
            return Err(format!("{vip} had two owners for {both:?}").into());
        }
    }
    Ok(())
}

/// What a node's status says of another is wrong between them.
fn problems(scene: &Scene, node: usize, other: usize) -> Result<String, String> {
    let status = scene.cluster.status(node).ok_or("no status")?;
    let nodes = status["nodes"].as_array().ok_or("no nodes")?;
    let named = |entry: &&serde_json::Value| entry["name"] == *scene.cluster.name(other);
    let entry = nodes.iter().find(named).ok_or("it is not in the status")?;
    Ok(entry["problems"].to_string())
}

/// Waits until a node's status tells this of another.
fn tells(scene: &Scene, node: usize, other: usize, words: &str) -> Outcome {
    until("it is told", SOON, || match problems(scene, node, other)? {
        told if told.contains(words) => Ok(()),
        told => Err(told),
    })
}

/// Ends the daemon in good order and starts it again.
fn restart(scene: &mut Scene, node: usize) -> Outcome {
    scene.cluster.signal(node, Signal::SIGTERM);
    let process = scene.cluster.process(node).ok_or("it was not started")?;
    process.wait(SOON).ok_or("it does not end")?;
    Ok(scene.cluster.start(node)?)
}

fn all_hear_each_other(scene: &Scene) -> Outcome {
    for node in 0..3 {
        for other in (0..3).filter(|other| *other != node) {
            scene.sees(node, other, "up")?;
        }
    }
    Ok(())
}

/// The third node is taken out of the files of the two others, which reload, and runs on: it hands
/// over what it has, by planned moves, says so, and takes its share again when it is back in both.
fn node_removed_while_it_runs() -> Outcome {
    with(&Shape::default(), |scene| {
        let begin = clock::now();
        let full = fs::read_to_string(scene.cluster.configuration_file(0))?;
        for node in 0..2 {
            edit(scene, node, without_lb3)?;
            scene.command(node, &["reload"])?;
        }
        scene.away(2)?;
        tells(scene, 2, 0, "does not list lb3 in its configuration")?;
        tells(scene, 0, 2, "not in the configuration of lb1")?;
        let log = scene.cluster.log(2);
        assert!(
            log.contains("not in the configuration of a peer"),
            "its log does not say so:\n{log}"
        );
        throughout("it has nothing", LONG, || match scene.owned_by(2).len() {
            0 => Ok(()),
            some => Err(format!("it answers for {some}")),
        })?;
        nothing_worse_than_planned(scene, begin)?;
        for node in 0..2 {
            fs::write(scene.cluster.configuration_file(node), &full)?;
            scene.command(node, &["reload"])?;
        }
        scene.back(2)?;
        for node in 0..3 {
            let events = scene.command(node, &["events"])?;
            assert!(!events.contains("left cleanly"), "it never left:\n{events}");
            assert!(!events.contains("node-"), "a node is called by its number:\n{events}");
        }
        nothing_worse_than_planned(scene, begin)
    })
}

/// The same by restarts of the two others.
fn node_removed_by_restarts() -> Outcome {
    with(&Shape::default(), |scene| {
        let begin = clock::now();
        for node in 0..2 {
            edit(scene, node, without_lb3)?;
            restart(scene, node)?;
            // An operator who does not wait until this one can take what that one has.
            scene.sees(node, 1 - node, "up")?;
        }
        scene.away(2)?;
        tells(scene, 0, 2, "not in the configuration of lb1")?;
        nothing_worse_than_planned(scene, begin)
    })
}

/// Nodes get another port one after the other: all hear each other all the time, nothing moves, and
/// at last nobody listens on the old port.
fn port_changed_by_reloads() -> Outcome {
    with(&Shape::default(), |scene| {
        let begin = clock::now();
        for node in 0..3 {
            edit(scene, node, with_port)?;
            scene.command(node, &["reload"])?;
            clock::pause(LONG);
            all_hear_each_other(scene)?;
        }
        scene.nothing_happened(begin)?;
        for node in 0..3 {
            until("the old port is closed", SOON, || {
                let table = scene.cluster.namespace(node).output("cat", &["/proc/net/udp"]);
                let table = table.map_err(|error| error.to_string())?;
                // 4748 in hexadecimal digits.
                if table.contains(":128C ") { Err(table) } else { Ok(()) }
            })?;
        }
        scene.nothing_happened(begin)
    })
}

/// The same by restarts: who starts with the new port finds those with the old one, and they find
/// it.
fn port_changed_by_restarts() -> Outcome {
    with(&Shape::default(), |scene| {
        let begin = clock::now();
        for node in 0..3 {
            edit(scene, node, with_port)?;
            restart(scene, node)?;
            all_hear_each_other(scene)?;
            scene.back(node)?;
        }
        nothing_worse_than_planned(scene, begin)
    })
}

/// One file has another address for a node, as while an address is being changed: it is heard, and
/// hears, where it is.
fn address_of_a_node_changed_in_one_file() -> Outcome {
    with(&Shape::default(), |scene| {
        let begin = clock::now();
        edit(scene, 0, |text| text.replace("\"10.77.0.13\"", "\"10.77.0.53\""))?;
        scene.command(0, &["reload"])?;
        clock::pause(LONG);
        all_hear_each_other(scene)?;
        scene.nothing_happened(begin)
    })
}

/// A node starts that receives everything and whose datagrams do not reach its peers: it takes
/// nothing, though clients could reach it.
fn node_that_hears_and_is_not_heard() -> Outcome {
    with(&Shape::default(), |scene| {
        scene.cluster.signal_family(2, Signal::SIGKILL);
        scene.served_by_others(2)?;
        let ports: Vec<String> =
            scene.cluster.network.hosts().iter().map(|host| host.port(0)).collect();
        for other in 0..2 {
            // Its host cannot answer, so the others' kernels would forget where it is.
            let mac = mac_text(scene.cluster.network.hosts()[2].mac(0));
            let known = format!("neigh replace 10.77.0.13 lladdr {mac} nud permanent dev eth0\n");
            scene.cluster.network.hosts()[other].namespace.ip(&known)?;
            let rule = Rule::cut(Some(&ports[2]), Some(&ports[other]));
            scene.cluster.network.add_rule(rule)?;
        }
        scene.cluster.start(2)?;
        let begin = clock::now();
        let has_nothing = |scene: &Scene| {
            let kernel = scene.cluster.kernel(2).map_err(|error| error.to_string())?;
            let held = scene.served.iter().find(|vip| kernel.holds(**vip));
            held.map_or(Ok(()), |vip| Err(format!("it has {vip}")))
        };
        until("what the killed daemon left is swept", SOON, || has_nothing(scene))?;
        throughout("it has nothing", Duration::from_secs(8), || has_nothing(scene))?;
        let figures = scene.figures(begin);
        assert!(figures.worst < PLANNED_OUTAGE_MAX, "out for {:?}", figures.worst);
        scene.cluster.network.heal()?;
        scene.back(2)
    })
}

/// A node has another key: it takes nothing, and both sides name the other and the remedy.
fn node_with_another_key() -> Outcome {
    with(&Shape::default(), |scene| {
        let key = scene.cluster.node_directory(2).join("cluster.key");
        let right = fs::read(&key)?;
        fs::remove_file(&key)?;
        let made = Command::new(PROGRAM).arg("keygen").arg(&key).output()?;
        assert!(made.status.success(), "{made:?}");
        // Running, it is told so before anything happens.
        let refused = scene.command(2, &["reload"]).err().map(|error| error.to_string());
        let refused = refused.unwrap_or_default();
        assert!(refused.contains("under a new id"), "{refused}");
        restart(scene, 2)?;
        tells(scene, 0, 2, "10.77.0.13 (lb3) sends datagrams that the cluster key")?;
        tells(scene, 2, 0, "10.77.0.11 (lb1) sends datagrams that the cluster key")?;
        let log = scene.cluster.log(2);
        assert!(log.contains("10.77.0.1"), "its log does not name the sender:\n{log}");
        throughout("the others serve", LONG, || match scene.owned_by(2).len() {
            0 => Ok(()),
            some => Err(format!("it answers for {some}")),
        })?;
        fs::write(&key, right)?;
        restart(scene, 2)?;
        scene.back(2)
    })
}
