//! The lists of files in Cargo.toml: complete, alike for both formats, and of files that are there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{CONTRACT, help, read};

/// Where a package puts a file, and with which mode; the key is where it comes from.
type Files = BTreeMap<String, (String, String)>;

fn metadata() -> toml::Table {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).expect("Cargo.toml is TOML");
    manifest["package"]["metadata"].as_table().expect("a table").clone()
}

fn text(value: &toml::Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn deb() -> Files {
    let files = metadata()["deb"]["assets"].as_array().expect("a list").clone();
    let file = |it: &toml::Value| (text(&it[0]), (format!("/{}", text(&it[1])), text(&it[2])));
    files.iter().map(file).collect()
}

fn rpm() -> Files {
    let variants = &metadata()["generate-rpm"]["variants"];
    let files = variants["buoy"]["assets"].as_array().expect("a list").clone();
    let file = |it: &toml::Value| (text(&it["source"]), (text(&it["dest"]), text(&it["mode"])));
    files.iter().map(file).collect()
}

#[test]
fn both_formats_have_the_same_files() {
    let (mut deb, mut rpm) = (deb(), rpm());
    // Where the distributions differ: licences, the completions of zsh, and the module of the kernel.
    assert!(deb.remove("packaging/apparmor/usr.bin.buoy").is_some());
    assert!(deb.remove("packaging/deb/copyright").is_some());
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(rpm.remove(licence).is_some(), "{licence}");
    }
    let zsh = "target/package/completions/_buoy";
    assert_eq!(deb.remove(zsh).expect("zsh").0, "/usr/share/zsh/vendor-completions/_buoy");
    assert_eq!(rpm.remove(zsh).expect("zsh").0, "/usr/share/zsh/site-functions/_buoy");
    assert_eq!(deb, rpm, "left: deb, right: rpm");
}

#[test]
fn every_file_of_a_list_is_there_or_made_by_the_build() {
    let build = read("packaging/build");
    for source in deb().into_keys().chain(rpm().into_keys()) {
        if let Some(made) = source.strip_prefix("target/package/") {
            let words = made.split('/').next_back().expect("a name").trim_end_matches(".gz");
            assert!(build.contains(words), "packaging/build does not make {source}");
        } else if let Some(directory) = source.strip_suffix("/*.toml") {
            assert!(Path::new(directory).is_dir(), "{source}");
        } else if let Some(directory) = source.strip_suffix("/*.md") {
            assert!(Path::new(directory).is_dir(), "{source}");
        } else {
            assert!(!read(&source).is_empty(), "{source}");
        }
    }
}

#[test]
fn everything_that_is_to_be_installed_is_in_the_lists() {
    let files = deb();
    for directory in ["systemd", "sysusers", "tmpfiles", "needrestart", "grafana", "scripts"] {
        let directory = PathBuf::from("packaging").join(directory);
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("it can be read").path().display().to_string();
            let (place, _) = files.get(&path).unwrap_or_else(|| panic!("{path} is in no list"));
            // What the file says of itself.
            if let Some(said) = read(&path).split("Installed as ").nth(1) {
                let said = said.split_whitespace().next().expect("a path");
                assert_eq!(said.trim_end_matches(['.', ';', ',']), place, "{path}");
            }
        }
    }
}

#[test]
fn nothing_of_the_administrator_is_in_a_package() {
    for (place, _) in deb().into_values().chain(rpm().into_values()) {
        let of_ours = ["/etc/needrestart/conf.d/buoy.conf", "/etc/apparmor.d/usr.bin.buoy"];
        assert!(of_ours.contains(&&*place) || place.starts_with("/usr/"), "{place}");
    }
}

#[test]
fn scripts_are_shell_and_no_package_restarts_the_daemon_unasked() {
    for script in [
        "deb/postinst",
        "deb/prerm",
        "deb/postrm",
        "rpm/post.sh",
        "rpm/preun.sh",
        "rpm/postun.sh",
        "scripts/after-upgrade",
    ] {
        let path = format!("packaging/{script}");
        let shell = Command::new("sh").args(["-n", &path]).output().expect("sh runs");
        assert!(shell.status.success(), "{path}: {shell:?}");
        let text = read(&path);
        let orders = ["restart buoy.service", "restart buoy@", "try-restart", "reload-or-restart"];
        for order in orders {
            assert!(!text.contains(order), "{path} has {order:?}");
        }
        assert!(!script.starts_with("deb/") || text.contains("\nset -e\n"), "{path}");
    }
    let upgrade = read("packaging/scripts/after-upgrade");
    let asked = upgrade.find("buoy check --restart").expect("it asks");
    let done = upgrade.find("if restart \"$unit\"").expect("it restarts");
    assert!(asked < done, "it restarts before it asks");
}

#[test]
fn completions_know_every_command_and_option() {
    for shell in ["bash", "zsh", "fish"] {
        let script = help(&["completions", shell]);
        for (command, options) in CONTRACT {
            assert!(script.contains(command), "{shell}: {command}");
            for option in options {
                // fish writes long options without their dashes.
                let option = option.trim_start_matches('-');
                assert!(script.contains(option), "{shell}: {command} --{option}");
            }
        }
    }
}

#[test]
fn every_page_is_rendered_without_typography() {
    let build = read("packaging/build");
    assert!(build.contains("pandoc -s -f markdown-smart -t man"), "options would get dashes");
}
