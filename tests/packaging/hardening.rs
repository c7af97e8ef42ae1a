//! What a taken-over process could still do: judged by systemd-analyze and by AppArmor's compiler, and
//! by the figures that SECURITY.md gives.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::read;

/// Exposure of the units by `systemd-analyze security`, 0 to 10: the limits, in the words of the
/// document. What is above 2.0 in buoy.service is what strict.conf takes away.
const EXPOSURE: [(&str, f64); 3] = [
    ("`buoy.service`", 2.3),
    ("`buoy.service` with `strict.conf`", 2.0),
    ("`buoy-web.service`", 1.1),
];

/// What `systemd-analyze security` prints of a unit.
fn analysis(name: &str, unit: &str, options: &[&str]) -> String {
    let directory = format!("buoy-exposure-{}-{name}", std::process::id());
    let directory = std::env::temp_dir().join(directory);
    fs::create_dir_all(&directory).expect("a directory for the unit");
    let file = directory.join("buoy.service");
    fs::write(&file, unit).expect("the unit is written");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .args(options)
        .arg(&file)
        .output()
        .expect("systemd-analyze is installed, see CONTRIBUTING.md");
    fs::remove_dir_all(&directory).expect("it is ours");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn exposure(name: &str, unit: &str) -> f64 {
    let text = analysis(name, unit, &[]);
    let line = text.lines().find(|line| line.contains("Overall exposure level"));
    let figure = line.and_then(|line| line.split(": ").nth(1)?.split(' ').next()?.parse().ok());
    figure.unwrap_or_else(|| panic!("{name}: no figure in {text}"))
}

#[test]
fn units_are_not_exposed_more_than_the_document_says() {
    let daemon = read("packaging/systemd/buoy.service");
    let strict = read("packaging/systemd/strict.conf");
    let (_, strict) = strict.split_once("[Service]").expect("a section");
    let with_strict = daemon.replace("[Install]", &format!("{strict}\n[Install]"));
    let web = read("packaging/systemd/buoy-web.service");
    let document = read("SECURITY.md");
    for (unit, (name, limit)) in [daemon, with_strict, web].iter().zip(EXPOSURE) {
        let found = exposure(&name.replace([' ', '`'], ""), unit);
        assert!(found <= limit, "{name}: {found}, and {limit} is the limit");
        let row = format!("| {name} | {limit:.1} |");
        assert!(document.contains(&row), "SECURITY.md has no row {row}");
    }
}

#[test]
fn what_is_left_of_the_exposure_is_documented_item_by_item() {
    let text = analysis("items", &read("packaging/systemd/buoy.service"), &["--json=short"]);
    let items: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let items = items.as_array().expect("a list").iter();
    let counted = items.filter_map(|item| {
        let exposure = item["exposure"].as_str().filter(|figure| *figure != "0.0")?;
        let name = item["name"].as_str().expect("a name").replace('|', "\\|");
        Some(format!("| `{name}` | {exposure} |"))
    });
    let rows: Vec<String> = counted.collect();
    let document = read("SECURITY.md");
    for row in &rows {
        assert!(document.contains(row), "SECURITY.md has no row {row}");
    }
    let (_, table) = document.split_once("| item | counts |").expect("the table");
    let (table, _) = table.split_once("\n\n").expect("its end");
    assert_eq!(table.lines().skip(2).count(), rows.len(), "rows of items that do not count");
}

#[test]
fn the_profile_of_apparmor_compiles_and_only_complains() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/apparmor/usr.bin.buoy");
    let output = Command::new("apparmor_parser")
        .args(["--skip-kernel-load", "--skip-cache", "--names"])
        .arg(&path)
        .output()
        .expect("apparmor_parser is installed, see CONTRIBUTING.md");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "buoy\nbuoy//programs\n", "{errors}");
    let compiled = Command::new("apparmor_parser")
        .args(["--skip-kernel-load", "--skip-cache"])
        .arg(&path)
        .output()
        .expect("it was there a moment ago");
    let errors = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{errors}");
    let profile = fs::read_to_string(&path).expect("the profile");
    let profiles: Vec<_> = profile.lines().filter(|line| line.contains("flags=(")).collect();
    assert_eq!(profiles.len(), 2);
    assert!(profiles.iter().all(|line| line.contains("complain")), "{profiles:?}");
    let directories = ["/run/buoy/** rwk", "/var/lib/buoy/** rwk", "/etc/buoy/** r"];
    for line in directories {
        assert!(profile.contains(line), "{line}: the daemon uses it");
    }
}
