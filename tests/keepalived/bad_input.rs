//! Files that are broken, hostile, or none: each is refused with its line, and nothing hangs.

use super::{Memory, run, told};

const INSTANCE: &str = "vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\npriority 100\n\
     virtual_ipaddress {\n192.0.2.100\n}\n}\n";

fn refused(text: &str, expected: &str) {
    let files = Memory::of(&[("k.conf", text)]);
    let import = run(&files, &["k=k.conf"], &["k=192.0.2.11"]);
    let said = told(&import);
    assert!(import.text.is_none() && said.contains(expected), "{text}\n{expected}:\n{said}");
}

#[test]
fn broken_files_are_refused_with_the_line() {
    let open = INSTANCE.strip_suffix("}\n").unwrap();
    refused(open, "block vrrp_instance V that begins in line 1 is not closed before the end");
    refused(&format!("{INSTANCE}}}\n"), "k.conf:9: }: a closing brace without an opening one");
    refused(&format!("{{\n{INSTANCE}}}\n"), "an opening brace without a keyword");
    refused(&INSTANCE.replace("priority", "piority"), "did you mean priority?");
    refused(&INSTANCE.replace("100\n}", "100\nfoo {\n}\n}"), "192.0.2.100");
    refused(
        &INSTANCE.replace("priority 100", "unheard_of {\nx\n}"),
        "keepalived takes its closing brace for that of vrrp_instance V",
    );
    refused(&INSTANCE.replace("virtual_router_id 51\n", ""), "has no VRID");
    refused(&INSTANCE.replace("interface eth0\n", ""), "has no interface");
    refused(&INSTANCE.replace("192.0.2.100", "$VIP"), "no definition is replaced in it");
    refused(&INSTANCE.replace("192.0.2.100", "${VIP}"), "${VIP} is not defined");
    refused(&INSTANCE.replace("interface eth0", "interface $IF"), "$IF is not defined");
    refused(&INSTANCE.replace("priority 100", "$IF"), "$IF is not defined");
    refused(&INSTANCE.replace("priority 100", "vrrp_unicast_peer {\n}"), "its closing brace");
    refused(&INSTANCE.replace("192.0.2.100", "{{ vip }}"), "template");
    let twin = INSTANCE.replace("vrrp_instance V", "vrrp_instance W").replace("51", "52");
    refused(&format!("{INSTANCE}{twin}"), "192.0.2.100 is also in V (k.conf:6)");
    refused(&INSTANCE.replace("priority 100", "notify ${_PWD}/x"), "directory of the file");
    refused("", "no vrrp_instance");
    refused("global_defs {\nrouter_id k\n}\n", "no vrrp_instance");
    refused("vrrp_instance V {\ninterface eth0\0\n", "zero byte");
    refused(&format!("$A=$B\n$B=$A\n{INSTANCE}x $A\n"), "definitions refer to each other");
    refused(&format!("x {}\n{INSTANCE}", "y".repeat(2000)), "longer than 1023 bytes");
}

#[test]
fn files_that_cannot_be_read_are_told() {
    let huge = "# x\n".repeat(400_000);
    let files = Memory::of(&[("huge.conf", &huge)]);
    for (name, expected) in [("huge.conf", "too large"), ("none.conf", "not there")] {
        let import = run(&files, &[&format!("k={name}")], &[]);
        assert!(import.text.is_none() && told(&import).contains(expected), "{}", told(&import));
    }
}

#[test]
fn includes_in_a_circle_end() {
    let text = format!("include k.conf\ninclude l.conf\n{INSTANCE}");
    let files = Memory::of(&[("k.conf", &text), ("l.conf", "include k.conf\n")]);
    let import = run(&files, &["k=k.conf"], &["k=192.0.2.11"]);
    assert!(told(&import).contains("includes itself"), "{}", told(&import));
}

#[test]
fn a_key_file_is_not_shown() {
    let key = "5f0c93b7".repeat(8);
    let files = Memory::of(&[("cluster.key", &format!("1 {key} active\n{key} {{\n}}\n"))]);
    let import = run(&files, &["k=cluster.key"], &[]);
    assert!(import.text.is_none());
    assert!(!format!("{import:?}").contains("5f0c93b75f0c93b7"), "{}", told(&import));
}

/// Whatever is cut out of a file or doubled in it, the import ends and is either whole or refused.
#[test]
fn no_damage_of_a_file_ends_in_a_panic() {
    let texts: Vec<String> = super::SETS
        .iter()
        .flat_map(|(_, hosts, _)| *hosts)
        .map(|host| host.rsplit('=').next().unwrap_or(host))
        .map(|path| std::fs::read_to_string(super::inputs(path)).unwrap())
        .collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    for round in 0..600 {
        let mut bytes = texts[draw(texts.len())].clone().into_bytes();
        for _ in 0..=draw(4) {
            if bytes.is_empty() {
                break;
            }
            let (from, length) = (draw(bytes.len()), draw(40));
            let to = (from + length).min(bytes.len());
            let piece: Vec<u8> = bytes[from..to].to_vec();
            match draw(4) {
                0 => drop(bytes.drain(from..to)),
                1 => drop(bytes.splice(from..from, piece)),
                2 => bytes[from] = b"{}\"'$@~\\\n#! =\xff"[draw(14)],
                _ => bytes.truncate(from.max(1)),
            }
        }
        let files = Memory([("k.conf".to_owned(), bytes)].into());
        let import = run(&files, &["k=k.conf"], &["k=192.0.2.11"]);
        let refuses = import.faults.iter().any(|fault| fault.refuses);
        assert_eq!(import.text.is_none(), refuses, "round {round}");
        if let Some(text) = &import.text {
            super::parsed(text);
        }
    }
}
