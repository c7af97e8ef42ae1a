//! `buoy check --restart`: what the scripts of packages go by.

use std::fs;

use super::{buoy, canned, code, err, json, out, with_files};

#[test]
fn a_restart_is_in_place_only_with_the_file_in_force_and_a_daemon_that_can() {
    let here = with_files("check_restart");
    let checked = json(&buoy(&here, &["--json", "check", "good.toml"]));
    let digest = checked["digest"].as_str().unwrap();
    let check = |hindered_by: &str, digest: &str| {
        let socket = here.join("a.sock");
        let _ = fs::remove_file(&socket);
        let in_place = hindered_by == "null";
        let answer = format!(
            "{{\"schema\":1,\"cluster\":\"edge\",\"node\":\"lb1\",\"nodes\":[],\"groups\":[],\
             \"restart\":{{\"in_place\":{in_place},\"hindered_by\":{hindered_by},\
             \"digest\":\"{digest}\"}}}}\n"
        );
        let daemon = canned(&socket, answer.leak());
        let output = buoy(&here, &["check", "--restart", "good.toml", "--socket", "a.sock"]);
        assert!(daemon.join().unwrap().contains("status"));
        (code(&output), out(&output), err(&output))
    };
    assert_eq!(check("null", digest).0, 0);
    let (refused, said, why) = check("\"a group is on its way\"", digest);
    assert_eq!((refused, said.as_str()), (5, ""));
    assert!(why.contains("a group is on its way"), "{why}");
    let (other, _, why) = check("null", "00000000000000ab");
    assert!(other == 5 && why.contains("not the configuration in force"), "{other} {why}");
    let without =
        |file: &str| buoy(&here, &["check", "--restart", file, "--socket", "none.sock", "--json"]);
    assert_eq!(code(&without("bad.toml")), 3);
    let output = without("good.toml");
    assert_eq!((code(&output), json(&output)["error"]["exit"].as_i64()), (4, Some(4)));
}
