//! Hooks on real moves: they run in order, and those that hang, die or flood harm nothing.

use std::path::PathBuf;
use std::time::Duration;

use buoy::lab::plan::{Shape, vip};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::checking::script;
use crate::runner::Test;
use crate::scene::{PLANNED_OUTAGE_MAX, SOON, Scene};
use crate::until::until;
use crate::web::{say, start, with_tables};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("hooks_tell_every_move_in_order", hooks_tell_every_move_in_order),
    ("hooks_that_hang_or_die_harm_nothing", hooks_that_hang_or_die_harm_nothing),
    ("hooks_of_a_stop_end_or_are_named", hooks_of_a_stop_end_or_are_named),
    ("hooks_hear_after_a_crash_what_holds", hooks_hear_after_a_crash_what_holds),
    ("programs_have_no_capability", programs_have_no_capability),
];

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("buoy-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A drain and an undrain of one node: each group goes and comes with its hooks in order, and a
/// script written for keepalived learns what it expects.
fn hooks_tell_every_move_in_order() -> Outcome {
    let place = Place::new("hooks")?;
    let program = place.0.join("hook");
    let text = format!(
        "#!/bin/sh\necho \"$BUOY_EVENT $BUOY_GROUP $BUOY_ADDRESSES $BUOY_POOL\" >> {}/$BUOY_NODE\n",
        place.0.display()
    );
    script(&program, &text)?;
    let old = place.0.join("keepalived");
    script(
        &old,
        &format!("#!/bin/sh\necho \"$@\" >> {}/notified-$BUOY_NODE\n", place.0.display()),
    )?;
    let tables = format!(
        "[[hook]]\nname = \"all\"\non = [\"before_acquire\", \"acquired\", \"before_release\", \
         \"released\", \"owner_changed\", \"draining\"]\ncommand = [\"{}\"]\n\
         [[hook]]\nname = \"keepalived\"\non = [\"acquired\", \"released\"]\n\
         command = [\"{}\"]\nstyle = \"keepalived\"\n",
        program.display(),
        old.display()
    );
    let shape = Shape { nodes: 2, groups: vec![vec![vip(100)]], ..Shape::default() };
    with_tables(&shape, &tables, |scene| {
        start(scene)?;
        let from = scene.owner(vip(100))?;
        let name = scene.cluster.name(from).to_owned();
        let group = "10.77.0.100 10.77.0.100 web";
        let due = |events: &[&str]| events.iter().map(|it| format!("{it} {group}")).collect();
        // At the start it is told what holds then.
        let came: Vec<String> = due(&["released", "before_acquire", "owner_changed", "acquired"]);
        told(&place, &name, &came)?;
        scene.command(from, &["drain"])?;
        scene.away(from)?;
        let went: Vec<String> = due(&["before_release", "released", "owner_changed"]);
        let all = [came, vec!["draining   ".to_owned()], went].concat();
        told(&place, &name, &all)?;
        let [master, backup] =
            ["MASTER", "BACKUP"].map(|state| format!("INSTANCE 10.77.0.100 {state} 100"));
        let notified = [backup.clone(), master, backup];
        told(&place, &format!("notified-{name}"), &notified)?;
        Ok(())
    })
}

/// Waits until a file has exactly these lines, whatever order those of one moment have.
fn told(place: &Place, file: &str, due: &[String]) -> Outcome {
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    until(&format!("{file} has its lines"), SOON, || {
        let lines = place.lines(file);
        let same = sorted(lines.clone()) == sorted(due.to_vec());
        // Within the group the order must be that of the protocol.
        let order = |lines: &[String]| -> Vec<String> {
            lines
                .iter()
                .filter(|line| !line.starts_with("owner") && !line.starts_with("drain"))
                .cloned()
                .collect()
        };
        if same && order(&lines) == order(due) { Ok(()) } else { Err(format!("{lines:#?}")) }
    })
}

/// Hooks hang, are killed and print a gigabyte; a drain is as fast as without, and each is told.
fn hooks_that_hang_or_die_harm_nothing() -> Outcome {
    let tables = r#"
[[hook]]
name = "hangs"
on = ["before_release", "released", "acquired"]
command = ["/bin/sh", "-c", "exec tail -f /dev/null"]
timeout = "500ms"

[[hook]]
name = "dies"
on = ["acquired", "released"]
command = ["/bin/sh", "-c", "kill -9 $$"]

[[hook]]
name = "floods"
on = ["acquired", "released"]
command = ["/bin/sh", "-c", "yes | head -c 1000000000"]
"#;
    with_tables(&Shape::default(), tables, |scene| {
        start(scene)?;
        let from = scene.owner(vip(100))?;
        let begun = buoy::lab::clock::now();
        scene.command(from, &["drain"])?;
        scene.away(from)?;
        let figures = scene.figures(begun);
        say(&format!("worst outage of the drain {:?}", figures.worst));
        assert!(figures.worst <= PLANNED_OUTAGE_MAX, "a hook held up a move: {:?}", figures.worst);
        for words in [
            "hook hangs, for released 10.77.0.100: did not end within 500 ms",
            "hook dies, for released 10.77.0.100: was killed by SIGKILL",
            "hook floods, for released 10.77.0.100: printed more than 1 MiB",
        ] {
            event_told(scene, from, words)?;
        }
        let status = scene.cluster.status(from).ok_or("no status")?;
        let rows = status["hooks"].as_array().ok_or("no hooks")?;
        assert!(rows.iter().all(|row| row["failures"].as_u64() > Some(0)), "{rows:?}");
        scene.command(from, &["undrain"])?;
        scene.back(from)
    })
}

/// Groups of the stop below: more than run at once otherwise, two rounds of half a second and more.
const GROUPS: u8 = 24;

/// A node with many groups is stopped. The hook that takes a while is run to its end for each; the
/// one that hangs is killed before the service manager would kill all, and named for each.
fn hooks_of_a_stop_end_or_are_named() -> Outcome {
    let place = Place::new("stop")?;
    let groups = (100..100 + GROUPS).map(|last| vec![vip(last)]).collect();
    let tables = format!(
        "[[hook]]\nname = \"slow\"\non = [\"released\"]\ncommand = [\"/bin/sh\", \"-c\", \
         \"sleep 0.4; echo $BUOY_GROUP >> {0}/$BUOY_NODE\"]\n\
         [[hook]]\nname = \"hangs\"\non = [\"released\"]\ntimeout = \"1m\"\n\
         command = [\"/bin/sh\", \"-c\", \"[ -e {0}/stops ] && exec tail -f /dev/null\"]\n",
        place.0.display()
    );
    let shape = Shape { nodes: 2, groups, ..Shape::default() };
    with_tables(&shape, &tables, |scene| {
        start(scene)?;
        let victim = usize::from(scene.owned_by(1).len() > scene.owned_by(0).len());
        let name = scene.cluster.name(victim).to_owned();
        until("hooks were told of the start", SOON, || {
            let lines = place.lines(&name);
            let all = lines.len() == usize::from(GROUPS);
            if all { Ok(()) } else { Err(format!("{lines:?}")) }
        })?;
        std::fs::write(place.0.join("stops"), "")?;
        let had: Vec<String> = scene.owned_by(victim).iter().map(ToString::to_string).collect();
        assert!(had.len() >= 8, "it had {had:?} only");
        scene.cluster.signal(victim, Signal::SIGTERM);
        let process = scene.cluster.process(victim).ok_or("it runs")?;
        process.wait(Duration::from_secs(5)).ok_or("it did not end before systemd kills it")?;
        let lines = place.lines(&name);
        let log = scene.cluster.log(victim);
        for group in &had {
            let twice = lines.iter().filter(|line| *line == group).count() == 2;
            assert!(twice, "slow did not end for {group}: {lines:?}\n{log}");
            let words = format!("hook hangs, for released {group}: was ");
            assert!(log.contains(&words), "nothing is told of {group}:\n{log}");
        }
        Ok(())
    })
}

/// The owner is killed and comes back as a backup: what it was told last is that it has nothing,
/// once.
fn hooks_hear_after_a_crash_what_holds() -> Outcome {
    let place = Place::new("crash")?;
    let tables = format!(
        "[[hook]]\nname = \"k\"\non = [\"acquired\", \"released\", \"unable\"]\n\
         style = \"keepalived\"\ncommand = [\"/bin/sh\", \"-c\", \
         \"echo $3 >> {}/$BUOY_NODE\", \"hook\"]\n",
        place.0.display()
    );
    let shape = Shape { nodes: 2, groups: vec![vec![vip(100)]], ..Shape::default() };
    with_tables(&shape, &tables, |scene| {
        start(scene)?;
        let (owner, other) = (scene.owner(vip(100))?, 1 - scene.owner(vip(100))?);
        let name = |node: usize| scene.cluster.name(node).to_owned();
        let (owner_name, other_name) = (name(owner), name(other));
        let heard = |node: &str, due: &[&str]| {
            until(&format!("{node} hears {due:?}"), SOON, || {
                let lines = place.lines(node);
                if lines == due { Ok(()) } else { Err(format!("{lines:?}")) }
            })
        };
        heard(&owner_name, &["BACKUP", "MASTER"])?;
        scene.cluster.signal_family(owner, Signal::SIGKILL);
        scene.served_by_others(owner)?;
        scene.cluster.start(owner)?;
        scene.at_rest()?;
        heard(&owner_name, &["BACKUP", "MASTER", "BACKUP"])?;
        heard(&other_name, &["BACKUP", "MASTER"])
    })
}

/// The daemon of this test is root and has all of them; its programs have none, but those that the
/// file says are root.
fn programs_have_no_capability() -> Outcome {
    let place = Place::new("capabilities")?;
    let show = |name: &str| {
        let directory = place.0.display();
        format!("[\"/bin/sh\", \"-c\", \"grep ^Cap /proc/self/status > {directory}/{name}\"]")
    };
    let tables = format!(
        "[[hook]]\nname = \"plain\"\non = [\"acquired\"]\ncommand = {}\n\
         [[hook]]\nname = \"root\"\non = [\"acquired\"]\nuser = \"root\"\ncommand = {}\n\
         [[check]]\nname = \"looks\"\ntype = \"exec\"\ncommand = {}\n",
        show("plain"),
        show("root"),
        show("check")
    );
    with_tables(&Shape::default(), &tables, |scene| {
        start(scene)?;
        let sets = |file: &str| -> Vec<(String, u64)> {
            let set = |line: &String| {
                let (name, value) = line.split_once(":\t")?;
                Some((name.to_owned(), u64::from_str_radix(value, 16).ok()?))
            };
            place.lines(file).iter().filter_map(set).collect()
        };
        for file in ["plain", "root", "check"] {
            until(&format!("{file} has run"), SOON, || {
                if sets(file).len() == 5 { Ok(()) } else { Err(format!("{:?}", sets(file))) }
            })?;
        }
        for file in ["plain", "check"] {
            assert!(sets(file).iter().all(|(_, set)| *set == 0), "{file}: {:?}", sets(file));
        }
        let inherited = |(name, set): &(String, u64)| {
            *set == 0 || name == "CapPrm" || name == "CapEff" || name == "CapBnd"
        };
        assert!(sets("root").iter().all(inherited), "root: {:?}", sets("root"));
        Ok(())
    })
}

fn event_told(scene: &Scene, node: usize, words: &str) -> Outcome {
    until(words, SOON + Duration::from_secs(10), || {
        let events = scene.command(node, &["events"]).map_err(|error| error.to_string())?;
        let told = events.lines().any(|line| line.contains("hook_failed") && line.contains(words));
        if told { Ok(()) } else { Err("not told".to_owned()) }
    })
}
