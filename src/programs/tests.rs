//! Programs that do not exist, hang, flood, fork, die: each ends with a clear word, and nothing of
//! its group is left. They are `/bin/sh`, which every host has.

use std::fs;
use std::time::Duration;

use nix::unistd::User;

use super::*;

fn program(script: &str, timeout: Duration) -> Program {
    let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let environment = vec![("BUOY_EVENT".to_owned(), "acquired".to_owned())];
    Program { command, user: None, environment, timeout }
}

const PATIENCE: Duration = Duration::from_secs(20);

fn run(program: &Program) -> Outcome {
    block_on(async { Runner::default().run(program).await })
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Whether the process is there and no zombie.
fn lives(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Waits until the process is gone, or a zombie of somebody else.
fn ends(pid: &str) -> bool {
    block_on(async {
        let gone = async {
            while lives(pid) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, gone).await.is_ok()
    })
}

#[test]
fn output_status_and_environment_come_through() {
    let outcome = run(&program("echo $BUOY_EVENT; echo $0; env | wc -l; pwd; exit 3", PATIENCE));
    assert!(matches!(outcome.ending, Ending::Exited(3)), "{:?}", outcome.ending);
    // PATH, LANG, BUOY_EVENT and what the shell adds: PWD.
    assert_eq!(outcome.output, "acquired\n/bin/sh\n4\n/");
}

#[test]
fn programs_inherit_no_capability() {
    let script = "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status";
    let outcome = std::thread::spawn(move || {
        // As systemd or a container may have given them to the daemon.
        let mine = caps::read(None, caps::CapSet::Permitted).unwrap();
        let _ = caps::set(None, caps::CapSet::Inheritable, &mine);
        let _ = caps::set(None, caps::CapSet::Ambient, &mine);
        shed_capabilities().unwrap();
        run(&program(script, PATIENCE))
    });
    let output = outcome.join().unwrap().output;
    let sets: Vec<&str> =
        output.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(sets, ["0000000000000000"; 4], "{output}");
}

#[test]
fn programs_inherit_no_descriptor_of_ours() {
    // Whatever this test was started with is inherited by every child.
    let script = "ls -l /proc/self/fd";
    let usual = std::process::Command::new("/bin/sh").args(["-c", script]).output().unwrap();
    let usual = String::from_utf8(usual.stdout).unwrap();
    let lines = |text: &str| text.lines().filter(|line| line.contains("->")).count();
    assert_eq!(lines(&run(&program(script, PATIENCE)).output), lines(&usual), "{usual}");
}

#[test]
fn what_does_not_exist_is_told() {
    let missing =
        Program { command: vec!["/nonexistent/check".to_owned()], ..program("", PATIENCE) };
    assert_eq!(
        run(&missing).ending.to_string(),
        "cannot be run: No such file or directory (os error 2)"
    );
    let nobody = Program { user: Some("no-such-user".to_owned()), ..program("true", PATIENCE) };
    assert_eq!(run(&nobody).ending.to_string(), "cannot be run: there is no user no-such-user");
}

/// As root it gives up everything, and without being root it cannot become anybody else.
#[test]
fn a_program_runs_as_its_user() {
    let nobody = User::from_name("nobody").unwrap().expect("every host has nobody");
    let script = "id -u; id -G; grep CapEff /proc/self/status";
    let outcome = run(&Program { user: Some("nobody".to_owned()), ..program(script, PATIENCE) });
    if nix::unistd::Uid::effective().is_root() && !in_user_namespace() {
        let (user, group) = (nobody.uid, nobody.gid);
        assert_eq!(outcome.output, format!("{user}\n{group}\nCapEff:\t0000000000000000"));
    } else {
        let ending = outcome.ending.to_string();
        assert!(ending.starts_with("cannot be run: "), "{ending}: {}", outcome.output);
    }
}

/// Whether only some users exist here.
fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().nth(2) != Some("4294967295")
}

#[test]
fn a_program_that_hangs_is_killed_with_its_children() {
    let script = "(while :; do read x < /dev/zero; done) & echo $!; wait";
    let outcome = run(&program(script, Duration::from_millis(300)));
    assert_eq!(outcome.ending.to_string(), "did not end within 300 ms");
    assert!(ends(&outcome.output), "child {} is left", outcome.output);
}

#[test]
fn children_left_behind_in_the_background_are_killed() {
    let outcome = run(&program("cat /dev/zero > /dev/null & echo $!; exit 0", PATIENCE));
    assert!(matches!(outcome.ending, Ending::Exited(0)), "{:?}", outcome.ending);
    assert!(ends(&outcome.output), "child {} is left", outcome.output);
}

#[test]
fn a_flood_is_ended_at_once_and_little_of_it_kept() {
    let outcome = run(&program("yes flood | head -c 1000000000", PATIENCE));
    assert_eq!(outcome.ending.to_string(), "printed more than 1 MiB");
    assert!(outcome.output.len() <= OUTPUT_KEPT && outcome.output.starts_with("flood"));
}

#[test]
fn a_program_that_goes_away_does_not_hold_up_its_outcome() {
    let outcome = run(&program(
        "setsid sh -c 'echo $$; exec tail -f /dev/null' & wait",
        Duration::from_millis(500),
    ));
    assert_eq!(outcome.ending.to_string(), "did not end within 500 ms");
    // It holds our pipe and is not in the group any more.
    assert!(lives(&outcome.output), "{} was expected to get away", outcome.output);
    let away = Pid::from_raw(outcome.output.parse().unwrap());
    nix::sys::signal::kill(away, Signal::SIGKILL).unwrap();
}

#[test]
fn killed_programs_tell_the_signal() {
    let outcome = run(&program("kill -TERM $$", PATIENCE));
    assert_eq!(outcome.ending.to_string(), "was killed by SIGTERM");
}

#[test]
fn nobody_waits_and_the_program_ends() {
    block_on(async {
        let mut runner = Runner::default();
        let directory = std::env::temp_dir().join(format!("buoy-cancel-{}", std::process::id()));
        let script = format!("echo $$ > {}; exec tail -f /dev/null", directory.display());
        let wanted = program(&script, PATIENCE);
        let waited = timeout(Duration::from_millis(300), runner.run(&wanted)).await;
        assert!(waited.is_err());
        let attended = runner.last.take().unwrap();
        timeout(PATIENCE, attended).await.expect("it is reaped").unwrap();
        let pid = fs::read_to_string(&directory).unwrap();
        fs::remove_file(&directory).unwrap();
        assert!(!lives(pid.trim()));
    });
}

#[test]
fn a_hundred_programs_leave_no_zombie() {
    let wanted = program("echo $$", PATIENCE);
    let pids = block_on(async {
        let mut runs = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let wanted = wanted.clone();
            runs.spawn(async move { Runner::default().run(&wanted).await.output });
        }
        runs.join_all().await
    });
    let left = |pid: &&String| fs::exists(format!("/proc/{pid}")).unwrap();
    let zombies: Vec<&String> = pids.iter().filter(left).collect();
    assert!(pids.iter().all(|pid| !pid.is_empty()) && zombies.is_empty(), "{zombies:?}");
}
