//! Hooks on real moves: they run in order, and those that hang, die or flood harm nothing.

use std::path::PathBuf;
use std::time::Duration;

use buoy::lab::plan::{Shape, vip};

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
        let came: Vec<String> = due(&["before_acquire", "owner_changed", "acquired"]);
        told(&place, &name, &came)?;
        scene.command(from, &["drain"])?;
        scene.away(from)?;
        let went: Vec<String> = due(&["before_release", "released", "owner_changed"]);
        let all = [came, vec!["draining   ".to_owned()], went].concat();
        told(&place, &name, &all)?;
        let notified = ["INSTANCE 10.77.0.100 MASTER 100", "INSTANCE 10.77.0.100 BACKUP 100"];
        told(&place, &format!("notified-{name}"), &notified.map(str::to_owned))?;
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

fn event_told(scene: &Scene, node: usize, words: &str) -> Outcome {
    until(words, SOON + Duration::from_secs(10), || {
        let events = scene.command(node, &["events"]).map_err(|error| error.to_string())?;
        let told = events.lines().any(|line| line.contains("hook_failed") && line.contains(words));
        if told { Ok(()) } else { Err("not told".to_owned()) }
    })
}
