//! `--vrrp`: groups that go on speaking to hosts with keepalived.

use std::time::Duration;

use buoy::keepalived::{Import, Verdict};
use buoy::vrrp::{Authentication, Version};

use super::{Inputs, Memory, SETS, expect, parsed, repository, run_for, told};

fn set(name: &str) -> Import {
    let (_, hosts, nodes) = SETS.into_iter().find(|(set, ..)| *set == name).unwrap();
    run_for(&Inputs, hosts, nodes, true)
}

fn pair(instance: &str) -> Import {
    let file = format!(
        "vrrp_instance V {{\ninterface eth0\nvirtual_router_id 51\n{instance}\n\
         virtual_ipaddress {{\n192.0.2.100\n}}\n}}\n"
    );
    let files = Memory::of(&[("a.conf", &file), ("b.conf", &file)]);
    run_for(&files, &["a=a.conf", "b=b.conf"], &["a=192.0.2.11", "b=192.0.2.12"], true)
}

#[test]
fn sets_of_files_are_written_with_vrrp_as_before() {
    for name in ["01-pair", "03-unicast-v3-dual-stack", "06-lvs-director"] {
        let import = set(name);
        let text = import.text.as_ref().unwrap_or_else(|| panic!("{name}: {}", told(&import)));
        expect(repository("written").join(format!("{name}.vrrp.toml")), text);
        expect(repository("told").join(format!("{name}.vrrp.txt")), &told(&import));
    }
}

/// The weakest host has 100, and 2 more while haproxy lives; the strongest has 103 then.
#[test]
fn the_cluster_takes_the_place_of_the_weakest_host() {
    let import = set("01-pair");
    let config = parsed(import.text.as_ref().unwrap());
    let vrrp = config.groups[0].vrrp.clone().unwrap();
    assert_eq!((vrrp.id, vrrp.version, vrrp.priority), (51, Version::V2, 102));
    assert_eq!(vrrp.interval, Duration::from_secs(1));
    let routers = vrrp.routers(&["192.0.2.100".parse().unwrap()]);
    assert!(matches!(routers[0].authentication, Authentication::Password(_)));
    assert!(told(&import).contains("priority = 104 takes the addresses"), "{}", told(&import));
}

#[test]
fn every_keyword_of_the_wire_is_carried_over_and_no_password_is_told() {
    let import = set("01-pair");
    for (keyword, how) in [
        ("vrrp_instance.virtual_router_id", "id of vrrp"),
        ("vrrp_instance.advert_int", "interval of vrrp"),
        ("vrrp_instance.authentication.auth_pass", "password of vrrp; version 3 has none"),
    ] {
        let entries: Vec<_> = import.entries.iter().filter(|it| it.keyword == keyword).collect();
        assert_eq!(entries.len(), 2, "{keyword}");
        for entry in entries {
            assert_eq!((entry.verdict, entry.how.as_str()), (Verdict::Carried, how), "{keyword}");
        }
    }
    let said = format!("{:?} {:?} {:?}", import.entries, import.notes, import.faults);
    assert!(!said.contains("letmein"), "{said}");
    assert!(!said.contains("not needed between buoys"), "{said}");
}

/// Excluded addresses are not advertised; half a second is too short, which version 3 forgives.
#[test]
fn families_with_peers_and_excluded_addresses() {
    let import = set("03-unicast-v3-dual-stack");
    let config = parsed(import.text.as_ref().unwrap());
    let vrrp = config.groups[0].vrrp.clone().unwrap();
    assert_eq!((vrrp.id, vrrp.version, vrrp.priority), (40, Version::V3, 120));
    assert_eq!((vrrp.interval, vrrp.password), (Duration::from_secs(1), None));
    let peers: Vec<String> = vrrp.peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["192.0.2.11", "192.0.2.12", "2001:db8::11", "2001:db8::12"]);
    let addresses: Vec<_> = config.groups[0].vips.iter().map(|vip| vip.address).collect();
    let said = vrrp.routers(&addresses);
    let said: Vec<String> =
        said.iter().flat_map(|it| &it.addresses).map(ToString::to_string).collect();
    assert_eq!(said, ["192.0.2.100", "198.51.100.100", "2001:db8::100"]);
}

#[test]
fn what_buoy_does_not_speak_is_refused() {
    for (name, part) in [
        ("04-sync-group-router", "has the virtual routers 10 and 11"),
        ("09-mail-notify-fifo", "does not speak AH"),
    ] {
        let import = set(name);
        assert!(import.text.is_none(), "{name}");
        assert!(told(&import).contains(part), "{name}: {}", told(&import));
    }
}

#[test]
fn other_multicast_groups_are_refused() {
    for (keyword, refused) in [("224.0.0.18", false), ("224.0.0.77", true)] {
        let text = format!(
            "global_defs {{\nvrrp_mcast_group4 {keyword}\n}}\nvrrp_instance V {{\ninterface eth0\n\
             virtual_router_id 51\nvirtual_ipaddress {{\n192.0.2.100\n}}\n}}\n"
        );
        let files = Memory::of(&[("a.conf", &text)]);
        let import = run_for(&files, &["a=a.conf"], &["a=192.0.2.11"], true);
        assert_eq!(import.text.is_none(), refused, "{}", told(&import));
    }
}

#[test]
fn a_priority_that_cannot_be_exceeded_is_told() {
    for (priority, told_so) in [("254", true), ("255", true), ("253", false)] {
        let import = pair(&format!("priority {priority}"));
        assert!(import.text.is_some(), "{}", told(&import));
        let said = told(&import);
        assert_eq!(said.contains("cannot exceed"), told_so, "{priority}: {said}");
        assert!(said.contains("priority = 254 takes"), "{said}");
    }
}

#[test]
fn without_the_option_nothing_is_spoken() {
    for (_, hosts, nodes) in SETS {
        let import = run_for(&Inputs, hosts, nodes, false);
        assert!(!import.text.unwrap_or_default().contains("vrrp ="));
    }
}
