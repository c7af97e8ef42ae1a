//! The whole of it over real sockets: what is answered to clients that behave.

use std::sync::atomic::Ordering;
use std::thread;

use tokio::time::Instant;

use super::fixture::{Running, eventually, line_with};
use super::sample;

#[test]
fn a_scrape_has_the_numbers_of_the_daemon() {
    let site = Running::usual();
    let answer = site.get_with("/metrics", "Accept: application/openmetrics-text\r\n");
    assert_eq!(answer.code, 200);
    assert!(answer.head.contains("application/openmetrics-text; version=1.0.0"), "{}", answer.head);
    for line in [
        "# TYPE buoy_group_acquired counter",
        "# UNIT buoy_loop_lag_seconds seconds",
        "buoy_up 1.0",
        r#"buoy_info{cluster="edge",node="lb1",role="member",profile="lan",phase="active",version="0.1.0"} 1"#,
        r#"buoy_group_owned{cluster="edge",pool="web",group="10.77.0.100",mode="availability"} 1.0"#,
        r#"buoy_group_owned{cluster="edge",pool="web",group="10.77.0.101",mode="availability"} 0.0"#,
        r#"buoy_group_acquired_total{cluster="edge",pool="web",group="10.77.0.100",cause="silent"} 2"#,
        r#"buoy_group_unable{cluster="edge",pool="web",group="10.77.0.102",reason="link"} 1.0"#,
        r#"buoy_peer_state{cluster="edge",peer="lb3",state="dead"} 1.0"#,
        r#"buoy_pool_eligible_nodes{cluster="edge",pool="web"} 1"#,
        r#"buoy_datagrams_total{path="10.77.0.1:4748",direction="sent",result="full"} 1"#,
        r#"buoy_datagrams_refused_total{reason="bad_seal"} 3"#,
        r#"buoy_takeover_detection_seconds_bucket{le="0.5"} 1"#,
        r#"buoy_takeover_convergence_seconds_sum{cluster="edge",pool="web"} 0.012"#,
        r#"buoy_check_passing{check="proxy",type="haproxy",effect="require"} 0.0"#,
        "buoy_fence_bound_seconds 0.6",
        "buoy_announcements_total 12",
        "process_cpu_seconds_total 1.5",
        "# EOF",
    ] {
        assert!(answer.body.lines().any(|found| found == line), "{line}\n{}", answer.body);
    }
    assert!(!answer.body.contains("peer=\"lb1\""), "a node is not its own peer");
}

#[test]
fn groups_can_be_left_out_and_the_older_format_is_spoken() {
    let site = Running::usual();
    let answer = site.get("/metrics?groups=no");
    assert!(answer.head.contains("text/plain; version=0.0.4"), "{}", answer.head);
    assert!(answer.body.contains("\nbuoy_pool_groups_owned{"), "{}", answer.body);
    assert!(answer.body.contains("# TYPE buoy_announcements_total counter"), "{}", answer.body);
    assert!(!answer.body.contains("buoy_group_owned"), "{}", answer.body);
}

#[test]
fn a_dead_daemon_has_no_numbers() {
    let site = Running::usual();
    assert!(site.get("/metrics").body.contains("buoy_up 1.0"));
    site.daemon.die();
    eventually("it is told to be down", || site.get("/metrics").body.contains("\nbuoy_up 0.0"));
    let text = site.get("/metrics").body;
    let mut named = text.lines().filter(|line| !line.starts_with('#'));
    assert!(
        named.all(|line| line.starts_with("buoy_up") || line.starts_with("buoy_web_build_info")),
        "{text}"
    );
    for path in ["/healthz", "/ready", "/ready?group=10.77.0.100", "/status.json", "/"] {
        assert_eq!(site.get(path).code, 503, "{path}");
    }
    assert!(site.get("/").body.contains("The daemon does not answer."));
}

#[test]
fn a_frozen_daemon_has_no_numbers_either() {
    let site = Running::usual();
    assert!(site.get("/metrics").body.contains("buoy_up 1.0"));
    site.daemon.freeze();
    eventually("it is told to be down", || site.get("/metrics").body.contains("\nbuoy_up 0.0"));
    let answer = site.get("/ready?group=10.77.0.100");
    assert_eq!((answer.code, answer.body.as_str()), (503, "it did not answer within 5 s\n"));
}

#[test]
fn fifty_scrapes_cost_the_daemon_a_status_or_two() {
    let site = Running::usual();
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert_eq!(site.get("/metrics").code, 200));
        }
    });
    let asked = site.daemon.asked.load(Ordering::Relaxed) as u64;
    // Once a second, four times if something happens; the first of all is one more.
    let most = 1 + 4 * (1 + begin.elapsed().as_secs());
    assert!((1..=most).contains(&asked), "asked {asked} times in {:?}", begin.elapsed());
}

#[test]
fn balancers_are_answered_by_codes() {
    let site = Running::usual();
    for (path, code) in [
        ("/healthz", 200),
        ("/ready", 200),
        ("/ready?group=10.77.0.100", 200),
        ("/ready?group=web%2F10.77.0.101", 503),
        ("/ready?group=nothing", 404),
        ("/nothing", 404),
        ("/style.css", 200),
        ("/live.js", 200),
    ] {
        assert_eq!(site.get(path).code, code, "{path}");
    }
    let status = site.get("/status.json");
    assert_eq!((status.code, status.body.as_str()), (200, sample::JSON));
}

#[test]
fn every_answer_forbids_what_the_page_does_not_need() {
    let site = Running::usual();
    for path in ["/", "/metrics", "/nothing", "/ready?group=x"] {
        let head = site.get(path).head;
        for part in [
            "content-security-policy: default-src 'none'; script-src 'self'",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "referrer-policy: no-referrer",
        ] {
            assert!(head.contains(part), "{path}: {part}\n{head}");
        }
    }
}

#[test]
fn the_page_tells_everything_without_a_script() {
    let site = Running::usual();
    site.daemon.followed();
    site.daemon.tell(7, "this node did not run for 41 ms");
    eventually("the event is shown", || site.get("/").body.contains("did not run for 41 ms"));
    let page = site.get("/").body;
    for part in [
        "<h1>edge</h1>",
        "2 of 5 groups are not answered as they should be",
        "<strong>lb2</strong> is draining: groups waiting: 1, connections: 12, for 25 s at most",
        "lb3 fell silent",
        "not possible here: a link is down",
        "connecting failed: connection refused",
        "http-equiv=\"refresh\"",
        "another configuration",
        "href=\"/?pool=api\"",
        "<svg class=\"strip\"",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let api = site.get("/?pool=api").body;
    assert!(api.contains("10.77.0.104") && !api.contains("10.77.0.100"), "{api}");
}

#[test]
fn hostile_words_stay_text() {
    let status = sample::hostile();
    let site = Running::start(&status, super::door::Limits::default());
    site.daemon.followed();
    site.daemon.tell(1, "</li><script>alert(3)</script>\u{202e}");
    eventually("the event is shown", || site.get("/").body.contains("alert(3)"));
    let page = site.get("/").body;
    let markup: Vec<&str> = page.split('<').skip(1).collect();
    let wrong = |piece: &&&str| piece.starts_with("img") || piece.contains("onerror=alert(2)>");
    assert_eq!(markup.iter().find(wrong), None);
    let scripts = markup.iter().filter(|piece| piece.starts_with("script")).count();
    assert_eq!(scripts, 1, "ours only");
    assert!(page.contains("&lt;script&gt;alert(1)") && page.contains("&lt;script&gt;alert(3)"));
    assert!(!page.contains(['\u{202e}', '\u{7}']), "what turns text around is shown as unknown");
    let metrics = site.get("/metrics").body;
    let broken = metrics.lines().find(|line| !line.starts_with(['#', 'b', 'p']));
    assert_eq!(broken, None, "a label reached into the next line");
}

#[test]
fn events_are_told_as_they_happen_and_what_was_missed_again() {
    let site = Running::usual();
    site.daemon.followed();
    let mut listener = site.listen("");
    site.daemon.tell(1, "one");
    site.daemon.tell(2, "two");
    let id = line_with(&mut listener, "id:");
    assert_eq!(id, "id: 20260301090705001-1\n");
    assert!(line_with(&mut listener, "data:").contains("\"sentence\":\"one\""));
    assert!(line_with(&mut listener, "data:").contains("\"sentence\":\"two\""));
    let mut again = site.listen("Last-Event-ID: 20260301090705001-1\r\n");
    assert!(line_with(&mut again, "data:").contains("\"sentence\":\"two\""));
    site.daemon.die();
    assert!(line_with(&mut again, "data:").contains("{\"up\":false}"));
}
