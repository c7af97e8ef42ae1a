//! `virtual_routes` and `virtual_rules`: what becomes of each option, and of lines that differ.

use buoy::keepalived::Verdict;

use super::{Memory, parsed, run, told};

fn file(interface: &str, routing: &str) -> String {
    format!(
        "vrrp_instance V {{\ninterface {interface}\nvirtual_router_id 51\n\
         virtual_ipaddress {{\n192.0.2.100\n2001:db8::100\n}}\n{routing}\n}}\n"
    )
}

fn import(files: [&str; 2]) -> buoy::keepalived::Import {
    let files = Memory::of(&[("a.conf", files[0]), ("b.conf", files[1])]);
    run(&files, &["a=a.conf", "b=b.conf"], &["a=192.0.2.11", "b=192.0.2.12"])
}

/// What the group has, as node `a` has it, and what is told.
fn imported(routing: &str) -> (Vec<String>, String) {
    let text = file("eth0", routing);
    let import = import([&text, &text]);
    let said = told(&import);
    let config = parsed(import.text.as_ref().unwrap_or_else(|| panic!("{said}")));
    let routing = config.groups[0].routing.at(buoy::protocol::NodeId::from_name("a"));
    let routes = routing.routes.iter().map(ToString::to_string);
    (routes.chain(routing.rules.iter().map(ToString::to_string)).collect(), said)
}

#[test]
fn options_of_routes_and_rules_are_carried_over() {
    let table = [
        ("10.1.0.0/16 via 192.0.2.1", "10.1.0.0/16 via 192.0.2.1"),
        (
            "src 192.0.2.100 to 10.1.0.0/16 gw 192.0.2.1 dev eth1 metric 5",
            "10.1.0.0/16 via 192.0.2.1 dev eth1 src 192.0.2.100 metric 5",
        ),
        (
            "default via 192.0.2.1 table 7 onlink dev eth0 no_track",
            "0.0.0.0/0 via 192.0.2.1 dev eth0 onlink table 7",
        ),
        ("default via inet6 fe80::1 dev eth0 table main", "::/0 via fe80::1 dev eth0"),
        (
            "2001:db8:1::/48 dev eth0 src 2001:db8::100",
            "2001:db8:1::/48 dev eth0 src 2001:db8::100",
        ),
        ("10.1.2.3 dev eth0 scope link", "10.1.2.3 dev eth0"),
        ("prohibit 10.1.0.0/16 protocol 42", "prohibit 10.1.0.0/16"),
    ];
    for (line, expected) in table {
        let (found, said) = imported(&format!("virtual_routes {{\n{line}\n}}"));
        assert_eq!(found, [expected], "{line}\n{said}");
    }
    let table = [
        ("from 192.0.2.100 table 100 priority 1000", "rule 1000: from 192.0.2.100 table 100"),
        (
            "from 192.0.2.0/24 to 10.0.0.0/8 iif eth1 table 100 preference 9 fwmark 0x1/0xf",
            "rule 9: from 192.0.2.0/24 to 10.0.0.0/8 iif eth1 fwmark 0x1/0xf table 100",
        ),
        ("from all to fd00::/8 lookup 5 pref 7", "rule 7: to fd00::/8 table 5"),
    ];
    for (line, expected) in table {
        let (found, said) = imported(&format!("virtual_rules {{\n{line}\n}}"));
        assert_eq!(found, [expected], "{line}\n{said}");
    }
}

#[test]
fn what_cannot_be_carried_over_is_left_out_and_named() {
    let table = [
        ("virtual_routes", "10.1.0.0/16 nexthop via 192.0.2.1", "nexthop has no counterpart"),
        ("virtual_routes", "10.1.0.0/16 via 192.0.2.1 mtu 1400", "mtu has no counterpart"),
        ("virtual_routes", "10.1.0.0/16 via 192.0.2.1 table vpn", "number of the table vpn"),
        ("virtual_routes", "10.1.0.0/16 via 192.0.2.1 src 192.0.2.11", "not among the addresses"),
        ("virtual_routes", "10.1.0.0/16 via 192.0.2.1 scope host", "scope host has no counterpart"),
        ("virtual_routes", "10.1.0.0/16", "leads nowhere"),
        ("virtual_routes", "throw 10.1.0.0/16", "throw has no counterpart"),
        ("virtual_rules", "from 192.0.2.100 table 100", "has no priority"),
        ("virtual_rules", "iif eth0 table 100 priority 1", "neither from nor to"),
        ("virtual_rules", "from 192.0.2.100 goto 7 priority 1", "goto has no counterpart"),
    ];
    for (list, line, why) in table {
        let text = file("eth0", &format!("{list} {{\n{line}\n}}"));
        let import = import([&text, &text]);
        let said = told(&import);
        assert!(said.contains(why), "{line}: {why:?} is missing in\n{said}");
        assert!(import.text.is_some(), "{said}");
        let entries = import.entries.iter().filter(|entry| entry.place.line == 9);
        let verdicts: Vec<Verdict> = entries.map(|entry| entry.verdict).collect();
        assert!(verdicts.contains(&Verdict::NotPossible), "{line}: {verdicts:?}");
    }
}

#[test]
fn interfaces_may_differ_between_hosts_and_nothing_else() {
    let route = |dev: &str, via: &str| {
        file(dev, &format!("virtual_routes {{\n10.1.0.0/16 via {via} dev {dev}\n}}"))
    };
    let [here, there] = [route("eth0", "192.0.2.1"), route("ens9", "192.0.2.1")];
    let both = import([&here, &there]);
    let text = both.text.as_ref().unwrap_or_else(|| panic!("{}", told(&both)));
    let devices = "dev = { \"a\" = \"eth0\", \"b\" = \"ens9\" }";
    assert!(text.contains(devices), "{text}");
    let other = route("eth0", "192.0.2.9");
    let refused = import([&here, &other]);
    assert!(refused.text.is_none());
    let said = told(&refused);
    assert!(said.contains("a has 10.1.0.0/16 via 192.0.2.1 dev eth0, b has not"), "{said}");
    assert!(said.contains("b has 10.1.0.0/16 via 192.0.2.9 dev eth0, a has not"), "{said}");
}
