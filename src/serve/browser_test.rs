//! The page in a real browser: its script runs under its policy, and what peers say of themselves stays
//! text there too.

use std::fs;
use std::process::Command;

use tokio::time::Instant;

use super::fixture::{DEADLINE, Running};
use super::{door, sample};

/// The document as the browser has it once the script has done this.
///
/// A browser that has loaded a page writes it down at once, and the script may need a moment longer: it
/// is asked again until then.
fn document(site: &Running, path: &str, done: &str) -> String {
    let profile = std::env::temp_dir().join(format!("buoy-browser-{}", site.address.port()));
    let begin = Instant::now();
    loop {
        let output = Command::new("chromium")
            // As root, and in containers, there is no sandbox; it shows nothing but this page.
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("--timeout=5000")
            .arg(format!("http://{}{path}", site.address))
            .output()
            .expect("chromium is installed, see CONTRIBUTING.md");
        let document = String::from_utf8_lossy(&output.stdout).into_owned();
        if document.contains(done) {
            let _ = fs::remove_dir_all(&profile);
            return document;
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(begin.elapsed() < 2 * DEADLINE, "without {done:?}: {document}\n{errors}");
    }
}

#[test]
fn a_browser_shows_the_page_and_its_script_follows_the_daemon() {
    let site = Running::usual();
    site.daemon.followed();
    site.daemon.tell(1, "an event of this test");
    let document = document(&site, "/", r#"id="live">live<"#);
    for part in ["<h1>edge</h1>", "10.77.0.100", "lb3 fell silent", "<svg", "an event of this test"]
    {
        assert!(document.contains(part), "{part}\n{document}");
    }
}

#[test]
fn a_browser_takes_nothing_of_a_peer_for_markup() {
    let site = Running::start(&sample::hostile(), door::Limits::default());
    let document = document(&site, "/", r#"id="live">live<"#);
    let elements: Vec<&str> = document.split('<').skip(1).collect();
    assert!(!elements.iter().any(|element| element.starts_with("img")), "{document}");
    let scripts = elements.iter().filter(|element| element.starts_with("script")).count();
    assert_eq!(scripts, 1, "ours only: {document}");
    assert!(document.contains("&lt;script&gt;alert(1)"), "{document}");
}
