//! Checks that cannot be made: programs and servers that do what they like. Each is told in a clear
//! line, and the protocol is as if nothing happened.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::plan::Shape;

use crate::Outcome;
use crate::beats::{gaps, quantile};
use crate::runner::Test;
use crate::scene::{SOON, Scene, with};
use crate::until::{throughout, until};
use crate::web::{check_is, check_of, say, start, with_tables};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("mad_checks_are_told_and_move_nothing", mad_checks_are_told_and_move_nothing),
    ("looks_at_the_network_and_the_host", looks_at_the_network_and_the_host),
    ("a_hundred_checks_cost_little", a_hundred_checks_cost_little),
];

/// With `prefer`, and failing on every node alike: nobody is better, so nothing may move.
const MAD: &str = r#"
[[check]]
name = "missing"
type = "exec"
command = ["/nonexistent/program"]
interval = "200ms"
effect = "prefer"

[[check]]
name = "hangs"
type = "exec"
command = ["/bin/sh", "-c", "echo begun; exec tail -f /dev/null"]
interval = "500ms"
timeout = "200ms"
effect = "prefer"

[[check]]
name = "floods"
type = "exec"
command = ["/bin/sh", "-c", "yes flood | head -c 1000000000"]
interval = "500ms"
effect = "prefer"

[[check]]
name = "forks-away"
type = "exec"
command = ["/bin/sh", "-c", "setsid sleep 3 & echo gone; exit 4"]
interval = "1s"
effect = "prefer"

[[check]]
name = "nonsense"
type = "haproxy"
socket = "127.0.0.1:9001"
interval = "200ms"
effect = "prefer"

[[check]]
name = "endless-stats"
type = "haproxy"
socket = "127.0.0.1:9002"
interval = "500ms"
effect = "prefer"

[[check]]
name = "endless-http"
type = "http"
address = "127.0.0.1:9003"
body = "ready"
interval = "200ms"
effect = "prefer"

[[check]]
name = "silent-http"
type = "http"
address = "127.0.0.1:9004"
interval = "300ms"
timeout = "200ms"
effect = "prefer"
"#;

/// Two nodes, on both of which everything goes wrong that a check can meet.
fn mad_checks_are_told_and_move_nothing() -> Outcome {
    let shape = Shape { nodes: 2, ..Shape::default() };
    with_tables(&shape, MAD, |scene| {
        for node in 0..2 {
            serve(scene, node, 9001, |stream| {
                let _ = stream.write_all(b"220 mail ESMTP\n");
                false
            });
            serve(scene, node, 9002, |stream| stream.write_all(&[b'x'; 65536]).is_ok());
            let head = b"HTTP/1.1 200 OK\r\n\r\n";
            let mut begun = false;
            serve(scene, node, 9003, move |stream| {
                let first = !std::mem::replace(&mut begun, true);
                (!first || stream.write_all(head).is_ok())
                    && stream.write_all(&[b'y'; 4096]).is_ok()
            });
            serve(scene, node, 9004, |stream| matches!(stream.read(&mut [0; 64]), Ok(1..)));
        }
        start(scene)?;
        for node in 0..2 {
            for (check, words) in [
                ("missing", "cannot be run: No such file or directory"),
                ("hangs", "did not end within 200 ms: begun"),
                ("floods", "printed more than 1 MiB: flood flood"),
                ("forks-away", "ended with status 4: gone"),
                ("nonsense", "the answer is not from HAProxy"),
                ("endless-stats", "the answer is longer than 1048576 bytes"),
                ("endless-http", "the first 65536 bytes lack \"ready\""),
                ("silent-http", "no answer within 200 ms"),
            ] {
                check_is(scene, node, (check, "failing"), words)?;
                let events = scene.command(node, &["events"])?;
                let told = events.lines().any(|line| {
                    line.contains("check_changed") && line.contains(&format!("check {check} of"))
                });
                assert!(told, "no event tells that {check} fails:\n{events}");
            }
        }
        scene.at_rest()?;
        let quiet = clock::now();
        throughout("all addresses stay", Duration::from_secs(5), || scene.none_misplaced())?;
        scene.nothing_happened(quiet)?;
        no_zombies(scene)
    })
}

/// A server on a node's loopback that goes on with each client while `go_on` says so. It ends with
/// the test program.
fn serve(
    scene: &Scene,
    node: usize,
    port: u16,
    go_on: impl FnMut(&mut TcpStream) -> bool + Send + Clone + 'static,
) {
    let namespace = scene.cluster.namespace(node);
    let listener = namespace.run(|| TcpListener::bind(("127.0.0.1", port)));
    let listener = listener.expect("a namespace").expect("a free port");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut go_on = go_on.clone();
            thread::spawn(move || while go_on(&mut stream) {});
        }
    });
}

fn no_zombies(scene: &Scene) -> Outcome {
    for node in 0..scene.cluster.nodes() {
        let Some(daemon) = scene.cluster.process(node) else { continue };
        let parent = format!(" {} ", daemon.pid());
        until("no child is a zombie for long", SOON, || {
            let stats = std::fs::read_dir("/proc").into_iter().flatten().flatten();
            let stats =
                stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
            let zombie =
                stats.filter(|stat| stat.contains(&format!(") Z{parent}"))).collect::<Vec<_>>();
            if zombie.is_empty() { Ok(()) } else { Err(format!("{zombie:?}")) }
        })?;
    }
    Ok(())
}

/// What looks at the kernel and at files, on a real one.
fn looks_at_the_network_and_the_host() -> Outcome {
    let tables = r#"
[[check]]
name = "client-pings"
type = "gateway"
address = "10.77.0.1"
interval = "200ms"

[[check]]
name = "client-arps"
type = "gateway"
address = "10.77.0.1"
ask = "arp"
interface = "eth0"
interval = "200ms"

[[check]]
name = "nobody-arps"
type = "gateway"
address = "10.77.0.222"
ask = "arp"
interval = "200ms"
effect = "prefer"

[[check]]
name = "connected"
type = "route"
address = "10.77.0.1"
interface = "eth0"
connected = true
interval = "200ms"

[[check]]
name = "elsewhere"
type = "route"
address = "203.0.113.1"
interval = "200ms"
effect = "prefer"

[[check]]
name = "client-pings-v6"
type = "gateway"
address = "fd77::1"
interval = "200ms"

[[check]]
name = "buoy-runs"
type = "process"
process = "buoy"
interval = "200ms"

[[check]]
name = "whoami"
type = "exec"
command = ["/bin/sh", "-c", "echo $BUOY_CHECK for $BUOY_POOLS; grep CapAmb /proc/self/status"]
interval = "200ms"
"#;
    let shape = Shape { nodes: 2, ..Shape::default() };
    with_tables(&shape, tables, |scene| {
        start(scene)?;
        for (check, state, words) in [
            ("client-pings", "passing", "10.77.0.1 answers ping"),
            ("client-arps", "passing", "10.77.0.1 answers ARP"),
            ("nobody-arps", "failing", "no answer within 200 ms"),
            ("connected", "passing", "connected through eth0"),
            ("elsewhere", "failing", "no route"),
            ("client-pings-v6", "passing", "fd77::1 answers ping"),
            ("buoy-runs", "passing", "runs"),
            ("whoami", "passing", "whoami for web CapAmb: 0000000000000000"),
        ] {
            check_is(scene, 0, (check, state), words)?;
        }
        scene.at_rest()
    })
}

/// A hundred checks a second of four types cost less than a hundredth of a core. What they cost, and
/// how regular heartbeats are with them and without. Measured for ten seconds each, or as many as
/// `BUOY_CHECKS` says.
fn a_hundred_checks_cost_little() -> Outcome {
    let told = std::env::var("BUOY_CHECKS").ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs(told.unwrap_or(10));
    let shape = Shape { nodes: 2, ..Shape::default() };
    let mut without = Vec::new();
    with(&shape, |scene| {
        without = gaps(scene, (0, 1), time)?;
        Ok(())
    })?;
    let tables: String = (0..100).map(one_of_a_hundred).collect();
    with_tables(&shape, &tables, |scene| {
        for node in 0..2 {
            serve(scene, node, 9001, |_| false);
            serve(scene, node, 9005, |stream| {
                let _ = stream.read(&mut [0; 512]);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
                false
            });
        }
        start(scene)?;
        for number in [0, 1, 2, 3, 99] {
            let name = format!("c{number}");
            until("it passes", SOON, || match check_of(scene, 0, &name) {
                Some((state, _)) if state == "passing" => Ok(()),
                seen => Err(format!("{name}: {seen:?}")),
            })?;
        }
        let of = |gaps: &[Duration]| {
            let at = |thousandths| quantile(gaps, thousandths).unwrap_or_default();
            format!("{:.1?} (median), {:.1?} (p99.9) of {}", at(500), at(999), gaps.len())
        };
        let (checks, bare, with) = cost_of_checks(scene, time)?;
        let share = |used: Duration| used.as_secs_f64() / time.as_secs_f64() * 100.0;
        say(&format!(
            "100 checks at 1 s: {:.2}% of a core, the same looks in a loop {:.2}%",
            share(checks),
            share(bare)
        ));
        say(&format!(
            "from heartbeat to heartbeat {} with them, {} without",
            of(&with),
            of(&without)
        ));
        assert!(checks <= bare * CHECKS_TO_BARE_MAX, "they cost {checks:?}, the looks {bare:?}");
        let interval = quantile(&without, 500).ok_or("no heartbeats")?;
        let late = quantile(&with, 999).ok_or("no heartbeats")?;
        let before = quantile(&without, 999).ok_or("no heartbeats")?.max(interval);
        assert!(late <= before + interval, "a heartbeat was missed: {late:?}, {before:?} before");
        Ok(())
    })
}

/// Bounds, timers and answers cost something beside the looks, and the loop wakes a thread for each;
/// 0.64 times as much was seen.
const CHECKS_TO_BARE_MAX: u32 = 2;

fn one_of_a_hundred(number: usize) -> String {
    let asks = match number % 4 {
        0 => "type = \"tcp\"\naddress = \"127.0.0.1:9001\"",
        1 => "type = \"http\"\naddress = \"127.0.0.1:9005\"",
        2 => "type = \"process\"\nprocess = \"buoy\"",
        _ => "type = \"file\"\nfile = \"/proc/self/stat\"",
    };
    format!("[[check]]\nname = \"c{number}\"\n{asks}\n")
}

/// Processor time of the checks meanwhile, that of the same looks made in a loop at the same time,
/// and from each heartbeat to the next.
fn cost_of_checks(
    scene: &Scene,
    time: Duration,
) -> Result<(Duration, Duration, Vec<Duration>), Box<dyn std::error::Error>> {
    let pid = scene.cluster.process(0).map_or(0, |process| process.pid());
    let before = services_time(pid)?;
    let looks = scene.cluster.namespace(0).run(|| thread::spawn(move || bare_looks(time)))?;
    let gaps = gaps(scene, (0, 1), time)?;
    let used = services_time(pid)?.saturating_sub(before);
    let bare = looks.join().map_err(|_| "the looks panicked")??;
    Ok((used, bare, gaps))
}

/// A hundred looks a second for so long, each as short as can be; returns their processor time.
fn bare_looks(time: Duration) -> std::io::Result<Duration> {
    let end = clock::now() + time;
    for number in (0..4).cycle() {
        if clock::now() >= end {
            break;
        }
        match number {
            0 => drop(TcpStream::connect(("127.0.0.1", 9001))?),
            1 => {
                let mut stream = TcpStream::connect(("127.0.0.1", 9005))?;
                stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
                stream.read_to_end(&mut Vec::new())?;
            }
            _ => drop(std::fs::read("/proc/self/stat")?),
        }
        clock::pause(Duration::from_millis(10));
    }
    thread_time(Path::new("/proc/thread-self"))
}

fn thread_time(task: &Path) -> std::io::Result<Duration> {
    let text = std::fs::read_to_string(task.join("schedstat"))?;
    let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| std::io::Error::other(text))
}

/// Processor time of the thread in which checks run, and of the threads it makes.
fn services_time(pid: i32) -> Result<Duration, Box<dyn std::error::Error>> {
    let mut used = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let name = std::fs::read_to_string(task.join("comm"))?;
        if ["services", "tokio-rt-worker", "tokio-runtime-w"].contains(&name.trim()) {
            used += thread_time(&task)?;
        }
    }
    assert!(used > Duration::ZERO, "the thread was not found");
    Ok(used)
}

/// Makes a file that can be run.
pub(crate) fn script(path: &Path, text: &str) -> Outcome {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}
