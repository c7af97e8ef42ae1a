//! The files in `config/` load, the reference names every key, and bad files are refused in
//! exactly the words that stand beside them.
//!
//! Each `tests/data/bad/NAME.toml` has its message in `NAME.expected`. After a deliberate change
//! of a message, `BUOY_BLESS=1 cargo test --test config_files` writes them again, to be reviewed
//! as a difference.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use buoy::config::{self, Config, Refused};
use buoy::protocol::{Random, Strategy, Timing};

/// A directory of this test's own, empty but for a key.
fn directory(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("config_files").join(test);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    config::write_new_key(&path.join("cluster.key"), &[7; 32]).unwrap();
    path
}

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Loads a file of the repository from a place where it finds a key.
fn load(test: &str, source: &Path) -> Result<Config, Refused> {
    let path = directory(test).join(source.file_name().unwrap());
    fs::copy(source, &path).unwrap();
    config::load(&path)
}

fn toml_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files
}

#[test]
fn every_shipped_file_loads_without_warnings() {
    let files = toml_files(&repository("config"));
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        let config = load("shipped", &file).unwrap_or_else(|refused| panic!("{refused}"));
        // The reference shows `vrrp`, and every file with it is told what that is worth.
        let warnings = config.warnings.iter();
        let told = warnings.filter(|it| !it.text.starts_with("VRRP is not authenticated"));
        assert_eq!(told.count(), 0, "{}: {:?}", file.display(), config.warnings);
    }
}

#[test]
fn the_reference_names_exactly_the_known_keys() {
    let text = fs::read_to_string(repository("config/buoy.reference.toml")).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    let mut found = BTreeSet::new();
    for (name, value) in &table {
        match value.as_array() {
            Some(tables) => tables.iter().for_each(|one| keys(name, one, &mut found)),
            None => keys(name, value, &mut found),
        }
    }
    let known: BTreeSet<String> = config::known_keys().into_iter().collect();
    assert_eq!(found, known);
}

fn keys(path: &str, value: &toml::Value, found: &mut BTreeSet<String>) {
    for (key, value) in value.as_table().unwrap() {
        let key = format!("{path}.{key}");
        for element in value.as_array().into_iter().flatten().filter(|one| one.is_table()) {
            keys(&key, element, found);
        }
        // The others have names of nodes for keys.
        if let Some(table) = Some(value).filter(|value| value.is_table() && key.ends_with(".vrrp"))
        {
            keys(&key, table, found);
        }
        found.insert(key);
    }
}

#[test]
fn the_reference_shows_the_defaults() {
    let config = load("defaults", &repository("config/buoy.reference.toml")).unwrap();
    assert_eq!(config.timing, Timing::LAN);
    let minimal = load("defaults", &repository("config/buoy.toml")).unwrap();
    assert_eq!(config.port, minimal.port);
    assert_eq!((config.profile, minimal.profile), ("lan", "auto"), "it has values in [timing]");
    assert_eq!(minimal.timing, Timing::LAN);
    assert_eq!(minimal.nodes[0].weight, 1);
    assert_eq!(minimal.groups[0].strategy, Strategy::Balance);
    assert_eq!((minimal.groups[0].failback, minimal.groups[0].interface.as_deref()), (None, None));
}

#[test]
fn bad_files_are_refused_in_the_expected_words() {
    let files = toml_files(&repository("tests/data/bad"));
    assert!(files.len() > 20, "only {} bad files", files.len());
    let bless = std::env::var_os("BUOY_BLESS").is_some();
    let mut wrong = Vec::new();
    for file in files {
        let directory = directory("bad");
        let path = directory.join("buoy.toml");
        fs::copy(&file, &path).unwrap();
        prepare_keys(&directory);
        let Err(refused) = config::load(&path) else { panic!("{} was taken", file.display()) };
        let said = format!("{refused}\n").replace(&format!("{}/", directory.display()), "");
        let expected = file.with_extension("expected");
        if bless {
            fs::write(&expected, &said).unwrap();
        }
        let due = fs::read_to_string(&expected).unwrap_or_default();
        if said != due {
            wrong.push(format!("{}\nsaid:\n{said}\nexpected:\n{due}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Key files that the bad files name, with modes that a repository cannot keep.
fn prepare_keys(directory: &Path) {
    let key = format!("{}\n", "5a".repeat(32));
    for (name, text, mode) in [
        ("open.key", key.as_str(), 0o644),
        ("group.key", key.as_str(), 0o640),
        ("short.key", "1 abcdef\n", 0o600),
        ("empty.key", "# nothing\n", 0o600),
    ] {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(directory.join("directory.key")).unwrap();
}

#[test]
fn a_file_that_is_absent_or_not_text_is_refused_with_a_remedy() {
    let directory = directory("unreadable");
    let refused = config::load(&directory.join("absent.toml")).unwrap_err();
    assert!(refused.to_string().contains("No such file"), "{refused}");
    assert!(refused.to_string().contains("--config"), "{refused}");
    let refused = config::load(&directory).unwrap_err();
    assert!(refused.to_string().contains("cannot be read"), "{refused}");
    let path = directory.join("latin.toml");
    fs::write(&path, b"[cluster]\nname = \"caf\xe9\"\n").unwrap();
    let refused = config::load(&path).unwrap_err();
    assert!(refused.to_string().contains("not UTF-8 text (line 2)"), "{refused}");
}

#[test]
fn limits_and_warnings_of_large_files() {
    let directory = directory("large");
    let head = "[cluster]\nname = \"a\"\nkey_file = \"cluster.key\"\n";
    let nodes = |count: usize| -> String {
        let node =
            |n: usize| format!("[[node]]\nname = \"n{n}\"\naddresses = [\"10.0.0.{}\"]\n", n + 1);
        (0..count).map(node).collect()
    };
    let pool = |count: usize| {
        let vips: Vec<String> =
            (0..count).map(|n| format!("\"10.1.{}.{}\"", n / 250, n % 250 + 1)).collect();
        format!("[[pool]]\nname = \"p\"\nvips = [{}]\n", vips.join(", "))
    };
    let parse = |nodes_count, pool_count| {
        let text = format!("{head}{}{}", nodes(nodes_count), pool(pool_count));
        config::parse(&text, &directory.join("buoy.toml"))
    };
    let largest = parse(64, 4096).unwrap();
    assert_eq!((largest.nodes.len(), largest.groups.len()), (64, 4096));
    let warnings: Vec<&str> =
        largest.warnings.iter().map(|warning| warning.text.as_str()).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("gc_thresh3"), "{warnings:?}");
    assert!(warnings[1].contains("4096 IPv4 addresses"), "{warnings:?}");
    let refused = parse(65, 1).unwrap_err().to_string();
    assert!(refused.contains("is node 65, but at most 64 are allowed"), "{refused}");
    let refused = parse(2, 4097).unwrap_err().to_string();
    assert!(refused.contains("is group 4097, but at most 4096 are allowed"), "{refused}");
    assert_eq!(parse(2, 1000).unwrap().warnings, []);
    let alone = parse(1, 1).unwrap();
    assert!(alone.warnings[0].text.contains("only node"), "{:?}", alone.warnings);
}

/// A check through a VIP passes or fails at every node alike, by what its owner serves (c21).
#[test]
fn checks_that_ask_through_a_vip_are_warned_of() {
    let directory = directory("through_a_vip");
    let nodes =
        [1, 2].map(|n| format!("[[node]]\nname = \"n{n}\"\naddresses = [\"10.0.0.{n}\"]\n"));
    for (check, warned) in [
        ("type = \"tcp\"\naddress = \"10.0.0.101:80\"", true),
        ("type = \"http\"\naddress = \"10.0.0.102:8080\"", true),
        ("type = \"gateway\"\naddress = \"10.0.0.101\"", true),
        ("type = \"tcp\"\naddress = \"127.0.0.1:80\"", false),
        ("type = \"gateway\"\naddress = \"10.0.0.254\"", false),
    ] {
        let text = format!(
            "[cluster]\nname = \"a\"\nkey_file = \"cluster.key\"\n{}\
             [[pool]]\nname = \"p\"\nvips = [\"10.0.0.101\", \"10.0.0.102\"]\n\
             [[check]]\nname = \"web\"\n{check}\n",
            nodes.concat()
        );
        let config = config::parse(&text, &directory.join("buoy.toml")).unwrap();
        let texts: Vec<&str> = config.warnings.iter().map(|it| it.text.as_str()).collect();
        let told = texts.iter().any(|text| text.contains("which is a VIP"));
        assert_eq!((told, texts.len()), (warned, usize::from(warned)), "{check}: {texts:?}");
    }
}

/// Files that were damaged by chance, cut off or edited by mistake are taken or refused; the
/// check itself never stops. One seed, so that a failure can be repeated.
#[test]
fn damaged_files_never_stop_the_check() {
    const ROUNDS: usize = 1500;
    let path = directory("damaged").join("buoy.toml");
    let mut sources = toml_files(&repository("config"));
    sources.extend(toml_files(&repository("tests/data/bad")));
    let texts: Vec<String> =
        sources.iter().map(|source| fs::read_to_string(source).unwrap()).collect();
    let pieces =
        ["[", "]", "{", "}", "\"", "=", ",", "\n", "[[", "\u{0}", "\u{e9}", "'''", "-1", "/"];
    let mut random = Random::new(4748);
    let mut draw = |bound: usize| usize::try_from(random.next_u64() % bound as u64).unwrap();
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let mut text = texts[draw(texts.len())].clone();
        for _ in 0..=draw(3) {
            let starts: Vec<usize> = text.char_indices().map(|(start, _)| start).collect();
            let Some(from) = starts.get(draw(starts.len().max(1))).copied() else { break };
            match draw(4) {
                0 => text.truncate(from),
                1 => text.insert_str(from, pieces[draw(pieces.len())]),
                2 => drop(text.remove(from)),
                _ => {
                    let line = text[from..].find('\n').map_or(text.len(), |end| from + end);
                    let copy = text[from..line].to_owned();
                    text.insert_str(from, &copy);
                }
            }
        }
        match config::parse(&text, &path) {
            Ok(_) => taken += 1,
            Err(fault) => {
                assert!(!fault.faults.is_empty(), "refused without a fault:\n{text}");
                refused += 1;
            }
        }
    }
    assert!(taken > 20 && refused > 500, "{taken} taken, {refused} refused");
}
