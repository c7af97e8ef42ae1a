//! Checks that every dependency may be shipped under MIT OR Apache-2.0.
//!
//! The allowed licences are those of `deny.toml`, so that users of cargo-deny and this test agree.
//! The crates come from `cargo metadata --offline`: to compile this test they had to be there.
//! A crate without a licence expression, or with one that cannot be read, is refused.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn every_dependency_may_be_shipped_under_our_licence() {
    let allowed = allowed_licences();
    let packages = packages();
    assert!(packages.len() > 20, "cargo metadata told of {} packages only", packages.len());
    let refused: Vec<String> = packages
        .iter()
        .filter_map(|(name, expression)| {
            let fault = match expression {
                Some(expression) => is_allowed(expression, &allowed).err()?,
                None => "has no licence expression".to_owned(),
            };
            Some(format!("Cargo.lock: {name}: {fault}"))
        })
        .collect();
    assert!(refused.is_empty(), "licences that do not fit:\n{}", refused.join("\n"));
}

#[test]
fn own_licence_is_stated_and_both_texts_are_here() {
    let packages = packages();
    let own = packages.iter().find(|(name, _)| name.starts_with("buoy "));
    assert_eq!(own.and_then(|(_, licence)| licence.as_deref()), Some("MIT OR Apache-2.0"));
    for (file, needle) in [
        ("LICENSE-MIT", "Permission is hereby granted, free of charge"),
        ("LICENSE-APACHE", "Version 2.0, January 2004"),
    ] {
        assert!(read(file).contains(needle), "{file}: is not the full text of the licence");
    }
}

#[test]
fn expressions_are_judged_as_a_whole() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned));
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0-only OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "MIT OR GPL-2.0-only AND BSL-1.0",
    ] {
        assert_eq!(is_allowed(good, &allowed), Ok(()), "{good}");
    }
    for bad in [
        "GPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "(MIT OR Apache-2.0) AND MPL-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "MIT OR",
        "(MIT",
        "MIT MIT",
        "",
    ] {
        assert!(is_allowed(bad, &allowed).is_err(), "{bad:?} was allowed");
    }
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// What `deny.toml` allows.
fn allowed_licences() -> BTreeSet<String> {
    let file: toml::Table = toml::from_str(&read("deny.toml")).expect("deny.toml is TOML");
    let allow = file["licenses"]["allow"].as_array().expect("licenses.allow is a list");
    allow.iter().map(|name| name.as_str().expect("a licence is a string").to_owned()).collect()
}

/// Name with version, and licence expression, of every crate that goes into a Linux build.
fn packages() -> Vec<(String, Option<String>)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform"])
        .arg(host())
        .current_dir(ROOT)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("metadata has packages");
    packages
        .iter()
        .map(|package| {
            let text = |key: &str| package[key].as_str().map(str::to_owned);
            let name = text("name").expect("a package has a name");
            let version = text("version").expect("a package has a version");
            (format!("{name} {version}"), text("license"))
        })
        .collect()
}

/// The platform of this build; crates for others need not be on this machine.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8(output.stdout).expect("rustc prints text");
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.expect("rustc tells its host").to_owned()
}

/// Whether a choice the expression offers needs allowed licences only.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> Result<(), String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let fits = alternatives(&mut words, allowed)?;
    match words.pop() {
        Some(word) => Err(format!("unexpected {word:?} in {expression:?}")),
        None if fits => Ok(()),
        None => Err(format!("{expression:?} is not covered by deny.toml")),
    }
}

/// `all OR all ...`; the next word is the last of `words`.
fn alternatives(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> Result<bool, String> {
    let mut fits = all(words, allowed)?;
    while words.last() == Some(&"OR") {
        words.pop();
        fits |= all(words, allowed)?;
    }
    Ok(fits)
}

/// `one AND one ...`; binds tighter than `OR`.
fn all(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> Result<bool, String> {
    let mut fits = one(words, allowed)?;
    while words.last() == Some(&"AND") {
        words.pop();
        fits &= one(words, allowed)?;
    }
    Ok(fits)
}

/// A name, a name with an exception, or something in parentheses.
fn one(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> Result<bool, String> {
    match words.pop() {
        Some("(") => {
            let fits = alternatives(words, allowed)?;
            match words.pop() {
                Some(")") => Ok(fits),
                other => Err(format!("expected a closing parenthesis, found {other:?}")),
            }
        }
        Some(name) if !["OR", "AND", "WITH", ")"].contains(&name) => {
            let mut name = name.to_owned();
            if words.last() == Some(&"WITH") {
                words.pop();
                let exception = words.pop().ok_or("WITH at the end")?;
                name = format!("{name} WITH {exception}");
            }
            Ok(allowed.contains(&name))
        }
        other => Err(format!("expected a licence, found {other:?}")),
    }
}
