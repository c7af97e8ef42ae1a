//! In front of a real HAProxy: it dies, it hangs, it flaps, it is gone everywhere.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::plan::{Shape, vip};
use buoy::lab::process::Process;
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::checking::script;
use crate::runner::Test;
use crate::scene::{SOON, Scene};
use crate::until::{throughout, until};
use crate::web::{
    Load, check_is, request, say, start, start_haproxy, start_haproxy_with, start_nginx_at,
    under_load, with_tables,
};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("haproxy_is_killed_and_its_groups_move", haproxy_is_killed_and_its_groups_move),
    ("haproxy_hangs_and_its_groups_move", haproxy_hangs_and_its_groups_move),
    ("service_stays_where_no_node_is_well", service_stays_where_no_node_is_well),
    ("backend_is_gone_and_its_groups_move", backend_is_gone),
    ("a_flapping_check_moves_groups_twice_a_dwell", a_flapping_check_moves_groups_twice_a_dwell),
];

/// Requests may fail for so long when HAProxy is killed, the host is alive and checks look every
/// 100 ms: two looks, and the hand-over.
const KILLED_OUTAGE_MAX: Duration = Duration::from_millis(350);
const KILLED_RUNS: usize = 5;

const PROXY: &str = r#"
[[check]]
name = "proxy"
type = "haproxy"
socket = "127.0.0.1:9999"
frontends = ["www"]
backends = ["app"]
interval = "100ms"
fall = 2
rise = 2
dwell = "1s"
"#;

/// Three nodes with a HAProxy each; every address is asked for its page once.
fn with_proxies(tables: &str, test: impl FnOnce(&mut Scene, Vec<Process>) -> Outcome) -> Outcome {
    with_tables(&Shape::default(), tables, |scene| {
        let proxies = (0..scene.cluster.nodes()).map(|node| start_haproxy(scene, node));
        let proxies = proxies.collect::<Result<Vec<_>, _>>()?;
        start(scene)?;
        for node in 0..scene.cluster.nodes() {
            check_is(scene, node, ("proxy", "passing"), "works")?;
        }
        scene.at_rest()?;
        test(scene, proxies)
    })
}

/// The time without good answers, if there was a failure at all.
fn outage(load: &Load) -> Duration {
    let from = load.failed.first().map(|(begun, _, _)| *begun);
    let to = load.failed.last().map(|(_, done, _)| *done);
    from.zip(to).map_or(Duration::ZERO, |(from, to)| to.duration_since(from))
}

/// Waits until another node than this answers the address, by HTTP.
fn moved(scene: &Scene, address: IpAddr, away: usize) -> Outcome {
    let name = scene.cluster.name(away).to_owned();
    let to = SocketAddr::new(address, 80);
    until("another node answers", SOON, || match scene.cluster.client().run(|| request(to)) {
        Ok(Ok(who)) if who != name => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

fn haproxy_is_killed_and_its_groups_move() -> Outcome {
    with_proxies(PROXY, |scene, mut proxies| {
        let (mut outages, mut gaps) = (Vec::new(), Vec::new());
        for run in 0..KILLED_RUNS {
            // A node whose checks fail three times in a minute is offered nothing for a while.
            let victim = run % scene.cluster.nodes();
            // Else the address may move for balance before its HAProxy is killed.
            shared_alike(scene)?;
            let address = *scene.owned_by(victim).first().ok_or("it has nothing")?;
            let load = under_load(scene, address, |scene| {
                clock::pause(Duration::from_millis(300));
                proxies[victim].signal(Signal::SIGKILL);
                moved(scene, address, victim)?;
                scene.away(victim)
            })?;
            assert_ne!(load.last, scene.cluster.name(victim));
            assert!(!load.failed.is_empty(), "of {} requests none failed", load.requests);
            gaps.push(load.gap);
            outages.push(outage(&load));
            check_is(scene, victim, ("proxy", "failing"), "connecting failed: connection refused")?;
            proxies[victim] = start_haproxy(scene, victim)?;
            check_is(scene, victim, ("proxy", "passing"), "works")?;
            scene.back(victim)?;
        }
        say(&format!(
            "HAProxy killed, requests failed for {outages:?}, good ones were {gaps:?} apart"
        ));
        let worst = outages.iter().max().copied().unwrap_or_default();
        assert!(worst <= KILLED_OUTAGE_MAX, "requests failed for {worst:?}");
        Ok(())
    })
}

/// Waits until each node owns as many groups as any other.
fn shared_alike(scene: &Scene) -> Outcome {
    until("groups are balanced", SOON, || {
        let status = scene.cluster.status(0).ok_or("no status")?;
        let nodes = 0..scene.cluster.nodes();
        let owned: Vec<u64> =
            nodes.filter_map(|node| status["nodes"][node]["owns"].as_u64()).collect();
        let alike =
            owned.len() == scene.cluster.nodes() && owned.windows(2).all(|it| it[0] == it[1]);
        if alike { Ok(()) } else { Err(format!("{owned:?}")) }
    })
}

/// It hangs: connections are accepted by the kernel and never answered. Every look takes its
/// timeout; after `fall` of them the groups move.
fn haproxy_hangs_and_its_groups_move() -> Outcome {
    with_proxies(PROXY, |scene, proxies| {
        let victim = scene.owner(vip(100))?;
        let mut stopped = clock::now();
        let load = under_load(scene, vip(100), |scene| {
            clock::pause(Duration::from_millis(300));
            stopped = clock::now();
            proxies[victim].signal(Signal::SIGSTOP);
            moved(scene, vip(100), victim)?;
            scene.away(victim)
        })?;
        check_is(scene, victim, ("proxy", "failing"), "no answer within 100 ms")?;
        // One look that was under way, two that get no answer, the hand-over, one request.
        let outage = outage(&load);
        say(&format!("HAProxy stopped, requests failed for {outage:?}"));
        assert!(outage <= Duration::from_millis(700), "requests failed for {outage:?}");
        proxies[victim].signal(Signal::SIGCONT);
        check_is(scene, victim, ("proxy", "passing"), "works")?;
        scene.back(victim)
    })
}

/// The server behind the owner's HAProxy dies: HAProxy says 503 and that it has no server that is up,
/// and the groups go where there is one.
fn backend_is_gone() -> Outcome {
    with_tables(&Shape::default(), PROXY, |scene| {
        let (frontend, server) =
            ("default_backend app", "server s 127.0.0.1:8081 check inter 100ms");
        let (mut servers, mut proxies) = (Vec::new(), Vec::new());
        for node in 0..scene.cluster.nodes() {
            servers.push(start_nginx_at(scene, node, 8081)?);
            let server = format!("{server} fall 2 rise 1");
            proxies.push(start_haproxy_with(scene, node, (frontend, &server))?);
        }
        start(scene)?;
        let victim = scene.owner(vip(100))?;
        check_is(scene, victim, ("proxy", "passing"), "works")?;
        let load = under_load(scene, vip(100), |scene| {
            clock::pause(Duration::from_millis(300));
            servers[victim].signal(Signal::SIGKILL);
            moved(scene, vip(100), victim)?;
            scene.away(victim)
        })?;
        let words = "backend app has no server that is up";
        check_is(scene, victim, ("proxy", "failing"), words)?;
        let outage = outage(&load);
        say(&format!("backend killed, requests failed for {outage:?}"));
        // HAProxy's own two looks, two of ours, the hand-over.
        assert!(outage <= Duration::from_millis(700), "requests failed for {outage:?}");
        servers[victim] = start_nginx_at(scene, victim, 8081)?;
        check_is(scene, victim, ("proxy", "passing"), "works")?;
        scene.back(victim)
    })
}

/// Dead on every node: nothing moves, every node says so, addresses are still answered.
fn service_stays_where_no_node_is_well() -> Outcome {
    with_proxies(PROXY, |scene, proxies| {
        for proxy in &proxies {
            proxy.signal(Signal::SIGKILL);
        }
        for node in 0..scene.cluster.nodes() {
            check_is(scene, node, ("proxy", "failing"), "connection refused")?;
            let status = scene.command(node, &["status"])?;
            assert!(status.contains("failing"), "{status}");
        }
        until("every address is on one node", SOON, || scene.none_misplaced())?;
        scene.at_rest()?;
        let quiet = clock::now();
        throughout("all addresses stay", Duration::from_secs(5), || scene.none_misplaced())?;
        scene.nothing_happened(quiet)
    })
}

/// A check that changes its mind faster than its dwell moves groups twice in each dwell at most.
fn a_flapping_check_moves_groups_twice_a_dwell() -> Outcome {
    const DWELL: Duration = Duration::from_secs(4);
    const TIME: Duration = Duration::from_secs(20);
    let directory = std::env::temp_dir().join(format!("buoy-flap-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    // Fails and passes by turns on one node, always passes on the others.
    let program = directory.join("flap");
    let marker = directory.join("marker");
    let text = format!(
        "#!/bin/sh\nip -br address show dev eth0 | grep -q '10.77.0.11/' || exit 0\n\
         if [ -e {0} ]; then rm {0}; exit 0; else : > {0}; exit 1; fi\n",
        marker.display()
    );
    script(&program, &text)?;
    let tables = format!(
        "[[check]]\nname = \"flaps\"\ntype = \"exec\"\ncommand = [\"{}\"]\ninterval = \"100ms\"\n\
         rise = 1\nfall = 1\ndwell = \"{}s\"\n",
        program.display(),
        DWELL.as_secs()
    );
    let outcome = with_tables(&Shape::default(), &tables, |scene| {
        scene.cluster.start_all()?;
        until("every address is served by one node", SOON, || scene.each_on_one_node())?;
        let begin = clock::now();
        clock::pause(TIME);
        flapped_at_most(scene, begin, DWELL)
    });
    std::fs::remove_dir_all(&directory)?;
    outcome
}

fn flapped_at_most(scene: &Scene, begin: Instant, dwell: Duration) -> Outcome {
    let time = clock::now().duration_since(begin);
    let dwells = time.as_secs_f64() / dwell.as_secs_f64() + 1.0;
    let timeline = scene.cluster.watch.timeline();
    let count = |vip: &IpAddr| timeline.of(*vip).filter(|it| it.at >= begin && it.held).count();
    let most = scene.served.iter().map(count).max().unwrap_or_default();
    let events = scene.command(0, &["events"])?;
    let changes = events.lines().filter(|line| line.contains("check_changed")).count();
    say(&format!("in {time:.0?} {changes} changes of the check, {most} moves of a group at most"));
    assert!(changes >= 4, "it did not flap:\n{events}");
    assert!((most as f64) <= 2.0 * dwells, "{most} moves");
    Ok(())
}
