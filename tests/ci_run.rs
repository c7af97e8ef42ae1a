//! Checks `.ci/run`: it runs the README's test command, and its count cannot hide a test.
//!
//! The count is tried on made-up output of `cargo test`, given through standard input.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const GOOD: &str = "$ cargo test
     Running unittests src/lib.rs (target/release/deps/buoy-1)
test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
     Running netns-tests/main.rs (target/release/deps/netns-1)
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.01s
   Doc-tests buoy
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

#[test]
fn readme_and_run_have_the_same_test_command() {
    let read = |path| std::fs::read_to_string(Path::new(ROOT).join(path)).expect("file is there");
    let readme = read("README.md");
    let commands: Vec<&str> =
        readme.lines().filter(|line| line.starts_with("cargo test")).map(str::trim).collect();
    assert_eq!(commands, ["cargo test --release"], "README.md");
    assert!(read(".ci/run").contains("\nTEST_COMMAND='cargo test --release'\n"), ".ci/run");
}

#[test]
fn results_of_all_programs_are_added() {
    let (success, output) = count(GOOD);
    assert!(success, "{output}");
    assert_eq!(output, "42 passed, 0 failed\n");
}

#[test]
fn what_did_not_run_is_not_counted_as_passed() {
    for (from, to) in [
        ("2 passed; 0 failed", "1 passed; 1 failed"),
        ("2 passed; 0 failed; 0 ignored", "2 passed; 0 failed; 1 ignored"),
        ("0 filtered out; finished in 9.01s", "7 filtered out; finished in 9.01s"),
        ("test result: ok. 2 passed", "done: 2 passed"),
        (GOOD, ""),
    ] {
        let (success, output) = count(&GOOD.replace(from, to));
        assert!(!success, "{to:?} went through: {output}");
    }
}

/// Whether the count was content, and what it printed.
fn count(log: &str) -> (bool, String) {
    let mut child = Command::new("bash")
        .args([".ci/run", "count", "/dev/stdin"])
        .current_dir(ROOT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash runs");
    let mut input = child.stdin.take().expect("standard input is a pipe");
    input.write_all(log.as_bytes()).expect("the count reads its input");
    drop(input);
    let output = child.wait_with_output().expect("the count ends");
    (output.status.success(), String::from_utf8(output.stdout).expect("the count prints text"))
}
