//! `buoy upgrade` over three daemons: a run to the end, and one that fails and is rolled back.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PROGRAM, SOON, Scene, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("upgrade_of_all_nodes_moves_each_group_seldom", every_node_is_upgraded),
    ("upgrade_that_fails_is_rolled_back", a_failed_upgrade_is_rolled_back),
    ("upgrade_waits_for_daemons_that_are_restarted", daemons_are_restarted),
    ("upgrade_asks_at_ctrl_c", ctrl_c_asks),
];

const GROUPS: u64 = 6;

fn six_groups() -> Shape {
    Shape { groups: (100..106).map(|last| vec![vip(last)]).collect(), ..Shape::default() }
}

/// The exit code, what was written, and the commands that were run.
type Ran = (Option<i32>, Vec<Value>, Vec<String>);

/// Upgrades from the first node, with these further words.
fn upgrade(scene: &Scene, words: &[&str]) -> Result<Ran, Box<dyn std::error::Error>> {
    let log = scene.cluster.node_directory(0).join("commands");
    fs::write(&log, "")?;
    let here = log.display();
    let run = format!("echo up {{node}} >> {here}; test {{node}} != {}", scene.cluster.name(2));
    let back = format!("echo down {{node}} >> {here}");
    let always = format!("echo up {{node}} >> {here}");
    let all: Vec<&str> = ["--json", "upgrade", "--soak", "300ms", "--timeout", "1m", "--run"]
        .into_iter()
        .chain([if words.is_empty() { always.as_str() } else { run.as_str() }])
        .chain(["--rollback", back.as_str()])
        .chain(words.iter().copied())
        .collect();
    let output = scene.cluster.command(0, &all)?;
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let commands = fs::read_to_string(&log)?.lines().map(str::to_owned).collect();
    Ok((output.status.code(), lines, commands))
}

fn nothing_stands(scene: &Scene) -> Outcome {
    for node in 0..3 {
        until("no order stands any more", SOON, || {
            let status = scene.cluster.status(node).ok_or("no status")?;
            let drains = |one: &Value| one["draining"] == true;
            let drained = status["nodes"].as_array().is_some_and(|all| all.iter().any(drains));
            let orders = status.get("orders");
            if orders.is_some() || drained { Err(format!("{orders:?} {drained}")) } else { Ok(()) }
        })?;
    }
    until("the groups are balanced", Duration::from_secs(45), || scene.balanced(&[0, 1, 2]))
}

fn names(scene: &Scene, words: &[(&str, usize)]) -> Vec<String> {
    words.iter().map(|(word, node)| format!("{word} {}", scene.cluster.name(*node))).collect()
}

fn every_node_is_upgraded() -> Outcome {
    with(&six_groups(), |scene| {
        let began = clock::now();
        let (code, lines, commands) = upgrade(scene, &[])?;
        assert_eq!(code, Some(0), "{lines:?}");
        assert_eq!(commands, names(scene, &[("up", 1), ("up", 2), ("up", 0)]));
        let end = lines.last().and_then(|line| line["text"].as_str()).unwrap_or_default();
        let moves = end.rsplit_once(", ").and_then(|(_, words)| words.split(' ').next());
        let moves: u64 = moves.and_then(|number| number.parse().ok()).ok_or(end)?;
        // Those of the first node twice, all others once.
        assert_eq!(moves, GROUPS + GROUPS / 3, "{end}");
        nothing_stands(scene)?;
        scene.others_undisturbed(&[], began)
    })
}

fn a_failed_upgrade_is_rolled_back() -> Outcome {
    with(&six_groups(), |scene| {
        let (code, lines, commands) = upgrade(scene, &["--on-failure", "rollback"])?;
        assert_eq!(code, Some(1), "{lines:?}");
        let wanted = [("up", 1), ("up", 2), ("down", 2), ("down", 1)];
        assert_eq!(commands, names(scene, &wanted));
        let error = lines.last().map(|line| line["error"]["code"].clone());
        assert_eq!(error, Some(Value::from("upgrade_rolled_back")), "{lines:?}");
        nothing_stands(scene)
    })
}

/// Ctrl-C at a terminal, while the command of the first node runs: asked to stop after the step, the
/// upgrade ends with that node in service again, and is resumed.
fn ctrl_c_asks() -> Outcome {
    with(&six_groups(), |scene| {
        let here = scene.cluster.node_directory(0);
        let [under_way, shown] = ["under-way", "terminal"].map(|name| here.join(name));
        let wait = under_way.display().to_string();
        let socket = scene.cluster.runtime_directory(0).join("control.sock");
        let typed = format!(
            "exec {PROGRAM} --socket {} upgrade --soak 300ms --timeout 1m --run \
             'touch {wait}; while [ -e {wait} ]; do sleep 0.05; done'",
            socket.display()
        );
        let start = || {
            // Of the package bsdutils, which is essential: a terminal around a command.
            let mut terminal = Command::new("script");
            terminal.args(["--quiet", "--return", "--flush", "--command", &typed]).arg(&shown);
            terminal.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        let mut terminal = scene.cluster.namespace(0).run(start)??;
        let mut keyboard = terminal.stdin.take().ok_or("it is piped")?;
        until("the command runs", SOON, || match under_way.exists() {
            true => Ok(()),
            false => Err(fs::read_to_string(&shown).unwrap_or_default()),
        })?;
        let shows = |words: &str| match fs::read_to_string(&shown) {
            Ok(text) if text.contains(words) => Ok(()),
            other => Err(format!("{other:?}")),
        };
        keyboard.write_all(&[3])?;
        until("it asks", SOON, || shows("step, now or Enter"))?;
        keyboard.write_all(b"\r")?;
        until("it goes on", SOON, || shows("the upgrade continues"))?;
        keyboard.write_all(&[3])?;
        until("it asks again", SOON, || match fs::read_to_string(&shown) {
            Ok(text) if text.matches("step, now or Enter").count() == 2 => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
        keyboard.write_all(b"step\r")?;
        until("it will stop", SOON, || shows("stops after this step"))?;
        fs::remove_file(&under_way)?;
        until("it has stopped", SOON, || match terminal.try_wait() {
            Ok(Some(status)) if status.code() == Some(5) => Ok(()),
            other => Err(format!("{other:?} {:?}", fs::read_to_string(&shown))),
        })?;
        shows("[1/3]")?;
        let stands = scene.cluster.status(2).ok_or("no status")?["orders"].to_string();
        assert!(stands.contains("upgrade") && stands.contains("hold"), "{stands}");
        let (code, lines, commands) = upgrade(scene, &["--resume", "--on-failure", "stop"])?;
        assert_eq!(commands, names(scene, &[("up", 2)]), "{code:?} {lines:?}");
        Ok(())
    })
}

/// Each daemon is stopped and started again in its step, the one that is asked as well.
fn daemons_are_restarted() -> Outcome {
    with(&six_groups(), |scene| {
        let here = scene.cluster.node_directory(0);
        let now = |name: &str| here.join(format!("{name}.now"));
        let file = now("{node}").display().to_string();
        let run = format!("touch {file}; while [ -e {file} ]; do sleep 0.05; done");
        let socket = scene.cluster.runtime_directory(0).join("control.sock");
        let words = ["upgrade", "--soak", "300ms", "--timeout", "1m", "--run", &run];
        let start = || {
            let mut command = Command::new(PROGRAM);
            command.arg("--socket").arg(&socket).args(words);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        let mut upgrade = scene.cluster.namespace(0).run(start)??;
        for node in [1, 2, 0] {
            let name = scene.cluster.name(node).to_owned();
            until("the command runs", SOON, || match now(&name).exists() {
                true => Ok(()),
                false => Err(format!("not for {name}")),
            })?;
            assert!(scene.owned_by(node).is_empty(), "{name} is not drained");
            scene.cluster.signal(node, Signal::SIGTERM);
            let process = scene.cluster.process(node).ok_or("it was started")?;
            let status = process.wait(Duration::from_secs(4)).ok_or("it did not end in 4 s")?;
            assert_eq!(status.code(), Some(0), "{status}");
            scene.cluster.start(node)?;
            fs::remove_file(now(&name))?;
        }
        until("the upgrade has ended well", SOON, || match upgrade.try_wait() {
            Ok(Some(status)) if status.success() => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
        nothing_stands(scene)
    })
}
