//! Answers of commands that ask no daemon, and those of `report`.

use std::fs;

use super::{KEY, buoy, code, err, json, out, with_files};

#[test]
fn a_copy_of_the_file_is_checked_without_the_key() {
    let here = with_files("without_key");
    fs::create_dir(here.join("elsewhere")).unwrap();
    for file in ["good.toml", "bad.toml"] {
        fs::copy(here.join(file), here.join("elsewhere").join(file)).unwrap();
    }
    let check = |arguments: &[&str]| buoy(&here, &[&["check"], arguments].concat());
    assert_eq!(code(&check(&["elsewhere/good.toml"])), 3, "there is no key beside it");
    let output = check(&["--without-key", "elsewhere/good.toml"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("cluster.key was not read"), "{}", out(&output));
    assert_eq!(code(&check(&["--without-key", "elsewhere/bad.toml"])), 3);
    assert_eq!(code(&check(&["--without-key", "--restart", "good.toml"])), 2);
}

#[test]
fn wrong_usage_is_json_too_if_that_was_asked_for() {
    let here = with_files("usage_json");
    for arguments in [
        &["--json", "status", "--nonsense"][..],
        &["plan", "--json"],
        &["lab", "--json"],
        &["--json", "nonsense"],
    ] {
        let output = buoy(&here, arguments);
        let said = json(&output);
        assert_eq!((code(&output), &said["error"]["code"]), (2, &"usage".into()), "{arguments:?}");
        assert_eq!((&said["error"]["exit"], &said["schema"]), (&2.into(), &1.into()));
        assert!(!err(&output).is_empty(), "{arguments:?}");
    }
    let output = buoy(&here, &["--json", "--help"]);
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
    assert!(out(&output).starts_with("Keep floating IP addresses"), "{}", out(&output));
    let output = buoy(&here, &["--json", "run", "--config", "bad.toml", "--runtime-dir", "run"]);
    assert_eq!((code(&output), &json(&output)["error"]["exit"]), (3, &3.into()));
}

#[test]
fn no_key_is_written_to_standard_output() {
    let here = with_files("keygen_dash");
    let output = buoy(&here, &["keygen", "-"]);
    assert_eq!((code(&output), out(&output).as_str()), (1, ""), "{output:?}");
    assert!(!here.join("-").exists());
}

#[test]
fn a_report_has_no_key_and_overwrites_nothing() {
    let here = with_files("report");
    let key = fs::read_to_string(here.join("cluster.key")).unwrap();
    let key = key.split_whitespace().find(|word| word.len() >= 64).unwrap().to_owned();
    let text = fs::read_to_string(here.join("good.toml")).unwrap();
    fs::write(here.join("buoy.toml"), format!("# {key}\n# {KEY}\n{text}")).unwrap();
    let report = || {
        let common = ["--config", "buoy.toml", "--socket", "absent.sock"];
        buoy(&here, &[&["report", "--output", "report.txt"], &common[..]].concat())
    };
    let output = report();
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = fs::read_to_string(here.join("report.txt")).unwrap();
    for key in [key.as_str(), KEY] {
        assert!(!text.contains(&key[..8]), "a piece of a key is in the report");
    }
    for part in
        ["==== configuration buoy.toml\n", "name = \"lb1\"", "==== buoy status\nnot available"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(code(&report()), 1, "it is there already");
}
