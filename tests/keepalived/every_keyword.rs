//! No keyword of real files is dropped in silence.
//!
//! `keywords.txt` has the keywords of 686 real files with the block that each stands in, also the
//! misspelt ones and remains of templates. Each is put into a file and must come back as an entry
//! or as a fault of its line.

use std::fs;

use super::{Memory, repository, run};

/// The block around a block.
fn around(block: &str) -> Option<&'static str> {
    Some(match block {
        "authentication"
        | "virtual_ipaddress"
        | "virtual_ipaddress_excluded"
        | "virtual_routes"
        | "virtual_rules"
        | "unicast_peer"
        | "track_script"
        | "track_process"
        | "track_file"
        | "track_interface"
        | "track_bfd" => "vrrp_instance",
        "group" => "vrrp_sync_group",
        "interfaces" => "garp_group",
        "notification_email" => "global_defs",
        "real_server" => "virtual_server",
        "HTTP_GET" | "SSL_GET" | "TCP_CHECK" | "MISC_CHECK" | "DNS_CHECK" | "FILE_CHECK" => {
            "real_server"
        }
        "url" => "HTTP_GET",
        _ => return None,
    })
}

#[test]
fn every_keyword_of_real_files_is_told() {
    let rows = fs::read_to_string(repository("keywords.txt")).unwrap();
    let mut count = 0;
    for row in rows.lines() {
        let Some((block, keyword)) = row.split_once('|').filter(|(_, word)| !word.is_empty())
        else {
            continue;
        };
        if block == "syntax" {
            continue;
        }
        let mut blocks = Vec::new();
        let mut next = (block != "top").then_some(block);
        while let Some(block) = next {
            blocks.insert(0, block);
            next = around(block);
        }
        let mut text = String::new();
        for block in &blocks {
            text.push_str(&format!("{block} NAME {{\n"));
        }
        text.push_str(&format!("{keyword} 1\n"));
        text.push_str(&"}\n".repeat(blocks.len()));
        let files = Memory::of(&[("k.conf", &text)]);
        let import = run(&files, &["k=k.conf"], &["k=192.0.2.11"]);
        let line = blocks.len() + 1;
        let entry = import.entries.iter().any(|entry| entry.place.line == line);
        let fault =
            import.faults.iter().any(|it| it.place.as_ref().is_some_and(|it| it.line == line));
        assert!(entry || fault, "{row}\n{text}\n{}", super::told(&import));
        count += 1;
    }
    assert!(count > 500, "only {count} keywords were read");
}
