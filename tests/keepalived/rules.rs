//! keepalived's rules of reading, and the mapping, each on a small file.

use super::{Memory, parsed, run, told};

/// A pair that differs in what is given for each host, and is the same otherwise.
fn pair(both: &str, instance: [&str; 2]) -> Memory {
    let file = |own: &str| {
        format!(
            "{both}\nvrrp_instance V {{\ninterface eth0\nvirtual_router_id 51\n{own}\n\
             virtual_ipaddress {{\n192.0.2.100\n}}\n}}\n"
        )
    };
    Memory::of(&[("a.conf", &file(instance[0])), ("b.conf", &file(instance[1]))])
}

fn import_pair(files: &Memory) -> buoy::keepalived::Import {
    run(files, &["a=a.conf", "b=b.conf"], &["a=192.0.2.11", "b=192.0.2.12"])
}

fn single(text: &str) -> Memory {
    Memory::of(&[("k.conf", text)])
}

fn import_single(files: &Memory, host: &str) -> buoy::keepalived::Import {
    run(files, &[host], &["k=192.0.2.11", "l=192.0.2.12"])
}

#[test]
fn braces_quotes_and_comments_are_read_as_keepalived_does() {
    let text = "vrrp_instance \"V 1\" { # first {\r\ninterface eth0\r\nvirtual_router_id 51 \
                virtual_router_id 52\nauthentication { auth_type PASS\nauth_pass x }\n\
                virtual_ipaddress\n{ 192.0.2.100/24\n192.0.2.101 192.0.2.102\n}\npriority 90\n\
                priority 120 ! the last counts\n}\n";
    let import = import_single(&single(text), "k=k.conf");
    let config = parsed(import.text.as_ref().unwrap_or_else(|| panic!("{}", told(&import))));
    let group = &config.groups[0];
    assert_eq!(group.name, "V-1");
    let vips: Vec<String> = group.vips.iter().map(ToString::to_string).collect();
    assert_eq!(vips, ["192.0.2.100/24", "192.0.2.101"]);
    let said = told(&import);
    for part in
        ["ignores virtual_router_id and the rest", "second address", "priority appears twice"]
    {
        assert!(said.contains(part), "{part:?} is missing in\n{said}");
    }
}

#[test]
fn conditions_definitions_and_sequences_decide_what_is_read() {
    let text = "$NET=192.0.2\n$PRIO=100\n@site1 $PRIO=200\n$BLOCK=\\\nnopreempt \\\nstate BACKUP\n\n\
                vrrp_instance V_${_INSTANCE} {\ninterface eth0\nvirtual_router_id 51\n\
                @^site1 priority 50\n@site1 priority $PRIO\n$BLOCK\nvirtual_ipaddress {\n\
                ~SEQ(I, 100, 102) ${NET}.$I\n~LST(J, 7, 9) ${NET}.$J\n}\n}\n";
    let import = import_single(&single(text), "k=k.conf@site1");
    let written = import.text.clone().unwrap_or_else(|| panic!("{}", told(&import)));
    let config = parsed(&written);
    assert_eq!((config.groups[0].name.as_str(), config.groups[0].vips.len()), ("V_site1", 5));
    assert!(written.contains("priority of k 200"), "{written}");
    assert!(written.contains("failback = \"never\""), "{written}");
    let other = import_single(&single(text), "k=k.conf");
    let written = other.text.clone().unwrap_or_else(|| panic!("{}", told(&other)));
    assert!(written.contains("priority of k 50"), "{written}");
    let skipped = other.entries.iter().filter(|entry| entry.keyword.starts_with('@')).count();
    assert_eq!(skipped, 2, "{:?}", other.entries);
    let said = told(&other);
    assert!(
        said.contains("k.conf has lines for @site1, which keepalived skips without -i"),
        "{said}"
    );
}

#[test]
fn includes_stand_beside_the_including_file_and_inside_of_lists() {
    let files = Memory::of(&[
        ("etc/k.conf", "include d/*.conf\nincluder d/none.conf\ninclude d/run.sh\n"),
        ("etc/d/a.conf", "vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\ninclude b.inc\n"),
        ("etc/d/b.conf", "}\n"),
        ("etc/d/b.inc", "virtual_ipaddress { include c.inc }\n"),
        ("etc/d/c.inc", "192.0.2.100\n"),
        ("etc/d/c.inc }", "192.0.2.100\n"),
        ("etc/d/run.sh", "garbage {\n"),
    ]);
    let import = run(&files, &["k=etc/k.conf"], &["k=192.0.2.11", "l=192.0.2.12"]);
    let said = told(&import);
    assert!(said.contains("d/none.conf cannot be read"), "{said}");
    assert!(said.contains("run.sh is executable"), "{said}");
    assert!(said.contains("read: k.conf, d/a.conf, b.inc"), "{said}");
}

#[test]
fn a_weight_that_never_moves_the_address_is_written_as_a_comment() {
    let script = "vrrp_script chk { script \"/usr/bin/pidof x\"\nweight -20\n}\n";
    let track = |priority: &str| format!("priority {priority}\ntrack_script {{\nchk\n}}");
    let files = pair(script, [&track("150"), &track("100")]);
    let import = import_pair(&files);
    let said = told(&import);
    let sentence = "check chk lowers a from 150 to 130, still above b (100): it never moves the \
                    address; imported as required would change that, so it is commented out";
    assert!(said.contains(sentence), "{said}");
    let text = import.text.unwrap();
    assert!(text.contains("\n# [[check]]\n# name = \"chk\""), "{text}");
    assert_eq!(parsed(&text).checks, []);
}

#[test]
fn a_weight_that_turns_some_hosts_round_only_says_which() {
    let file = |priority: &str| {
        format!(
            "vrrp_script c {{ script \"/bin/true\"\nweight -15\n}}\nvrrp_instance V {{\n\
             interface eth0\nvirtual_router_id 5\npriority {priority}\nnopreempt\n\
             virtual_ipaddress {{\n192.0.2.100\n}}\ntrack_script {{\nc\n}}\n}}\n"
        )
    };
    let (a, b, c) = (file("150"), file("140"), file("130"));
    let files = Memory::of(&[("a.conf", &a), ("b.conf", &b), ("c.conf", &c)]);
    let nodes = ["a=192.0.2.11", "b=192.0.2.12", "c=192.0.2.13"];
    let import = run(&files, &["a=a.conf", "b=b.conf", "c=c.conf"], &nodes);
    let said = told(&import);
    assert!(said.contains("still above c (130): it moves the address from a to b only"), "{said}");
    let entry = |file: &str, keyword: &str| {
        let all = import.entries.iter();
        let mut here = all.filter(|it| &*it.place.file == file && it.keyword.ends_with(keyword));
        here.next().unwrap().how.clone()
    };
    assert!(entry("a.conf", "track_script.script").contains("commented out"));
    assert_eq!(entry("a.conf", "nopreempt"), "failback = \"never\"");
    assert!(entry("b.conf", "nopreempt").contains("taken from a"));
}

#[test]
fn weights_that_move_addresses_are_required_and_somebody_keeps_them() {
    for (weight, first, second, moves) in [
        ("-60", "150", "100", true),
        ("-50", "150", "100", true), // equal then, and the higher address wins
        ("-49", "150", "100", false),
        ("2", "101", "100", true),
        ("1", "102", "100", false),
        ("20", "150", "100", false),
    ] {
        let script = format!("vrrp_script c {{ script \"/bin/true\"\nweight {weight}\n}}\n");
        let track = |priority: &str| format!("priority {priority}\ntrack_script {{\nc\n}}");
        let import = import_pair(&pair(&script, [&track(first), &track(second)]));
        let config = parsed(import.text.as_ref().unwrap());
        assert_eq!(!config.checks.is_empty(), moves, "{weight} {first} {second}");
        assert!(!import.text.unwrap().contains("last_resort"), "{weight}");
    }
}

#[test]
fn contradictions_between_hosts_are_refused_with_both_places() {
    let hook = |name: &str| format!("notify_master \"/bin/{name}\" root");
    let (a, b) = (hook("a"), hook("b"));
    for (own, expected) in [
        (["advert_int 1", "advert_int 2"], "advert_int 1 at a, 2 at b"),
        (["version 2", "version 3"], "version 2 at a, 3 at b"),
        (["priority 5", "priority 5\ntrack_script {\nc\n}"], "b tracks c, a does not"),
        ([&a, &b], "notify_master differs between a and b"),
        ([&a, ""], "a has notify_master, b has not"),
        (["unicast_peer {\n192.0.2.12\n}", ""], "messages by unicast at a, multicast at b"),
        (
            [
                "authentication {\nauth_type PASS\nauth_pass one\n}",
                "authentication {\nauth_type PASS\nauth_pass two\n}",
            ],
            "auth_pass differs",
        ),
    ] {
        let files = pair("vrrp_script c { script \"/bin/true\"\n}", own);
        let import = import_pair(&files);
        let said = told(&import);
        assert!(import.text.is_none() && said.contains(expected), "{own:?}: {said}");
        let fault = import.faults.iter().find(|it| it.refuses && it.problem.contains(expected));
        let fault = fault.unwrap_or_else(|| panic!("{said}"));
        let other = [&fault.problem, &fault.remedy].iter().any(|text| text.contains(".conf:"));
        let one_sided = expected.contains("tracks") || expected.contains("has not");
        assert!(other || one_sided, "{fault}");
    }
}

#[test]
fn priorities_and_preemption_become_the_order_and_the_way_back() {
    for (own, prefer, failback) in [
        (["priority 90", "priority 150"], "[\"b\", \"a\"]", "1s"),
        (["priority 150\nnopreempt", "priority 90"], "[\"a\", \"b\"]", "never"),
        (["priority 150\nnopreempt\nstate MASTER", "priority 90"], "[\"a\", \"b\"]", "1s"),
        (["priority 150\npreempt_delay 300", "priority 90"], "[\"a\", \"b\"]", "300s"),
        (["priority 150\nnopreempt\npreempt", "priority 90"], "[\"a\", \"b\"]", "1s"),
        (["priority 255", "priority 90"], "[\"a\", \"b\"]", "1s"),
    ] {
        let text = import_pair(&pair("", own)).text.unwrap();
        assert!(text.contains(&format!("prefer = {prefer}")), "{own:?}\n{text}");
        assert!(text.contains(&format!("failback = \"{failback}\"")), "{own:?}\n{text}");
    }
    let import = import_pair(&pair("", ["priority 100", "priority 100"]));
    assert!(told(&import).contains("V: both say priority 100: no node is preferred"));
    let text = import.text.unwrap();
    assert!(!text.contains("prefer =") && !text.contains("failback"), "{text}");
}

#[test]
fn hosts_without_a_known_address_are_asked_for() {
    let files = pair("", ["priority 2", "priority 1"]);
    let import = run(&files, &["a=a.conf", "b=b.conf"], &["a=192.0.2.11"]);
    let said = told(&import);
    assert!(said.contains("b: the address of its node is not in the file"), "{said}");
    assert!(said.contains("--node b=ADDRESS"), "{said}");
    assert!(!said.contains("a: the address"), "{said}");
}

#[test]
fn instances_of_other_names_are_the_same_by_vrid_and_interfaces_may_differ() {
    let file = |name: &str, interface: &str, priority: &str| {
        format!(
            "vrrp_instance {name} {{\ninterface {interface}\nvirtual_router_id 7\npriority \
             {priority}\nvirtual_ipaddress {{\n192.0.2.100\n}}\n}}\n"
        )
    };
    let (a, b) = (file("V1", "eth0", "2"), file("V2", "ens3", "1"));
    let files = Memory::of(&[("a.conf", &a), ("b.conf", &b)]);
    let import = import_pair(&files);
    let text = import.text.clone().unwrap_or_else(|| panic!("{}", told(&import)));
    assert!(text.contains("interface = { \"a\" = \"eth0\", \"b\" = \"ens3\" }"), "{text}");
    assert!(told(&import).contains("V1 of a is called V2 at b"), "{}", told(&import));
}

#[test]
fn a_link_local_address_is_another_one_on_each_interface() {
    let instance = |name: &str, interface: &str, id: u8| {
        format!(
            "vrrp_instance {name} {{\ninterface {interface}\nvirtual_router_id {id}\n\
             virtual_ipaddress {{\nfe80::1/64\n}}\n}}\n"
        )
    };
    let file = instance("A", "eth0", 51) + &instance("B", "eth1", 52);
    let import = import_single(&single(&file), "k=k.conf");
    let config = parsed(import.text.as_ref().unwrap_or_else(|| panic!("{}", told(&import))));
    let links: Vec<_> = config.groups.iter().map(|group| group.interface.as_deref()).collect();
    assert_eq!(links, [Some("eth0"), Some("eth1")]);
    assert_ne!(config.groups[0].key, config.groups[1].key);
    let file = instance("A", "eth0", 51) + &instance("B", "eth0", 52);
    let import = import_single(&single(&file), "k=k.conf");
    assert!(import.text.is_none() && told(&import).contains("fe80::1 is also in A"));
}
