//! A status as a daemon tells it, for the tests of this module: three nodes, two pools.

use crate::control::response::Status;

/// `lb1` is asked and owns one group, `lb2` owns one, `lb3` is dead; one group is nobody's.
pub(super) fn status() -> Status {
    serde_json::from_str(JSON).expect("a status")
}

/// The same, as a line of the socket.
pub(super) const JSON: &str = concat!(
    r#"{"schema":1,"cluster":"edge","node":"lb1","phase":"active","nodes":["#,
    r#"{"name":"lb1","state":"up","last_heard_ms":0,"draining":false,"version":"0.1.0","#,
    r#""phase":"active","owns":1,"loop_lag_us":180},"#,
    r#"{"name":"lb2","state":"up","last_heard_ms":42,"draining":true,"version":"0.1.0","#,
    r#""phase":"active","owns":1,"waits":{"connections":12,"left_ms":25000},"unfit":["api"]},"#,
    r#"{"name":"lb3","state":"dead","last_heard_ms":312000,"draining":false,"version":null,"#,
    r#""config_differs":true}],"groups":["#,
    r#"{"pool":"web","group":"10.77.0.100","addresses":["10.77.0.100"],"owner":"lb1","#,
    r#""state":"owned","epoch":7,"since_ms":81234,"reason":"lb3 fell silent","#,
    r#""connections":2000,"acquired":{"silent":2,"balance":1}},"#,
    r#"{"pool":"web","group":"10.77.0.101","addresses":["10.77.0.101"],"owner":"lb2","#,
    r#""state":"owned","epoch":7,"since_ms":81234,"reason":"handed over by lb1 for balance","#,
    r#""released":{"balance":1}},"#,
    r#"{"pool":"web","group":"10.77.0.102","addresses":["10.77.0.102","fd77::102"],"#,
    r#""mode":"majority","owner":null,"state":"unowned","epoch":0,"since_ms":5000,"#,
    r#""reason":"no node has claimed it yet","unable_here":"a link is down","unable":"link"},"#,
    r#"{"pool":"web","group":"twice","addresses":["10.77.0.103"],"owner":"lb2","#,
    r#""state":"owned","epoch":1,"since_ms":5000,"reason":"-"},"#,
    r#"{"pool":"api","group":"twice","addresses":["10.77.0.104"],"owner":"lb2","#,
    r#""state":"moving","epoch":1,"since_ms":5000,"reason":"-"}],"#,
    r#""fence":{"kind":"gate","bound_ms":600},"#,
    r#""checks":[{"check":"proxy","type":"haproxy","state":"failing","since_ms":81000,"#,
    r#""last":"connecting failed: connection refused","last_failure":null,"#,
    r#""last_failure_ms":null,"transitions":3,"effect":"require","pools":["web"]}],"#,
    r#""hooks":[{"hook":"router","running":false,"waiting":0,"runs":7,"failures":1,"dropped":0,"#,
    r#""last":""}],"#,
    r#""counters":{"announcements":12,"guardian_pid":77,"tickles_sent":2,"not_known_here":1},"#,
    r#""measures":{"profile":"lan","detection_ms":300,"started_ms":1709210096000,"#,
    r#""process":{"cpu_ms":1500,"resident_bytes":12000000,"open_files":40},"#,
    r#""reload":{"successful":true,"successful_ms":1709210096000},"#,
    r#""paths":[{"local":"10.77.0.1:4748","sent":{"full":1,"ok":100},"received":{"ok":90}}],"#,
    r#""refused":{"bad_seal":3,"too_old":0},"events":{"owner_changed":4},"#,
    r#""lateness":{"counts":[5,1,0,0,0,0,0,0,0,0,0,0,0,0,0],"sum_us":900},"#,
    r#""detection":{"counts":[0,0,0,0,0,0,0,0,0,1,0,0,0,0,0],"sum_us":312000},"#,
    r#""convergence":{"web":{"counts":[0,0,0,0,0,1,0,0,0,0,0,0,0,0,0],"sum_us":12000}}}}"#,
    "\n"
);

/// The same from a daemon whose names, versions and sentences are what a hostile peer would choose.
pub(super) fn hostile() -> String {
    let hostile = "<script>alert(1)</script>\\\"'><img src=x onerror=alert(2)>\\u202e\\u0007";
    let mut status = JSON.to_owned();
    for word in [
        "lb1",
        "lb2",
        "lb3",
        "edge",
        "0.1.0",
        "web",
        "10.77.0.100",
        "proxy",
        "router",
        "haproxy",
        "lb3 fell silent",
        "a link is down",
        "connecting failed: connection refused",
    ] {
        status = status.replace(&format!("\"{word}\""), &format!("\"{word}{hostile}\""));
    }
    status
}
