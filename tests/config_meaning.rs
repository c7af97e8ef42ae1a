//! What a good file means: its values, its digest, which node this host is, and what a reload
//! would change.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use buoy::config::{self, Change, Config, GroupConfig, Role, WhoAmI, difference, find_me};
use buoy::protocol::{
    GroupKey, Incarnation, LastResort, Mode, NodeId, PoolId, SoftwareVersion, Strategy, Timing,
};

const BASE: &str = r#"
[cluster]
name = "edge"
key_file = "cluster.key"

[[node]]
name = "lb1"
addresses = ["10.77.0.11", "fd99::11"]

[[node]]
name = "lb2"
addresses = ["10.77.0.12", "fd99::12"]
weight = 2

[[pool]]
name = "web"
interface = "eth0"
vips = ["10.77.0.100", ["10.77.0.102/24", "fd77::102"]]

[[pool]]
name = "api"
vips = [{ name = "api", addresses = ["10.78.0.110"], interface = "eth1" }]
strategy = "priority"
prefer = ["lb2", "lb1"]
failback = "10m"
"#;

fn directory(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("config_meaning").join(test);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    config::write_new_key(&path.join("cluster.key"), &[7; 32]).unwrap();
    path
}

fn parse(test: &str, text: &str) -> Config {
    let path = directory(test).join("buoy.toml");
    config::parse(text, &path).unwrap_or_else(|refused| panic!("{refused}"))
}

#[test]
fn values_are_those_of_the_file_and_the_defaults() {
    let config = parse("values", BASE);
    assert_eq!((config.cluster.as_str(), config.port, config.profile), ("edge", 4748, "auto"));
    assert_eq!(config.timing, Timing::LAN);
    assert_eq!((config.keys.active, &config.keys.all), (1, &vec![(1, [7; 32])]));
    assert_eq!(config.nodes[1].id, NodeId::from_name("lb2"));
    assert_eq!(config.nodes.iter().map(|node| node.weight).collect::<Vec<_>>(), [1, 2]);
    let names: Vec<&str> = config.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["10.77.0.100", "10.77.0.102", "api"]);
    let pair = &config.groups[1];
    assert_eq!(pair.key, GroupKey::from_first_address("10.77.0.102".parse().unwrap()));
    assert_eq!(pair.vips.iter().map(|vip| vip.prefix).collect::<Vec<_>>(), [24, 128]);
    assert_eq!((pair.interface.as_deref(), pair.failback), (Some("eth0"), None));
    let api = config.group("10.78.0.110").unwrap();
    assert_eq!((api.name.as_str(), api.interface.as_deref()), ("api", Some("eth1")));
    assert_eq!((api.strategy, api.failback), (Strategy::Priority, Some(Duration::from_secs(600))));
    assert_eq!(api.prefer.nodes(), [NodeId::from_name("lb2"), NodeId::from_name("lb1")]);
}

#[test]
fn the_protocol_gets_what_the_file_says() {
    let config = parse("protocol", BASE);
    let me = config.node("lb1").unwrap().id;
    let software = SoftwareVersion { major: 0, minor: 1, patch: 0 };
    let given = config.protocol(me, Incarnation(5), 9, software, true);
    assert_eq!((given.me, given.incarnation, given.seed), (me, Incarnation(5), 9));
    assert_eq!((given.digest, given.timing, given.draining), (config.digest, Timing::LAN, true));
    assert_eq!(given.nodes[&NodeId::from_name("lb2")].weight, 2);
    assert_eq!(given.groups.len(), 3);
    assert_eq!(given.groups[&config.groups[1].key].addresses.len(), 2);
    assert_eq!(given.groups[&config.groups[2].key].prefer, config.groups[2].prefer);
}

#[test]
fn the_protocol_gets_the_pool_of_a_group_and_its_last_resort() {
    let text = BASE.replace("strategy", "last_resort = \"release\"\nstrategy");
    let config = parse("last-resort", &text);
    let me = config.node("lb1").unwrap().id;
    let given = config.protocol(me, Incarnation(5), 9, SoftwareVersion::default(), false);
    let of = |group: &GroupConfig| {
        let given = &given.groups[&group.key];
        (given.pool, given.last_resort)
    };
    let (web, api) = (PoolId::from_name("web"), PoolId::from_name("api"));
    let expected = [(web, LastResort::Keep), (web, LastResort::Keep), (api, LastResort::Release)];
    assert_eq!(config.groups.iter().map(of).collect::<Vec<_>>(), expected);
}

#[test]
fn the_digest_changes_with_the_meaning_only() {
    let digest = parse("digest", BASE).digest;
    let same = [
        BASE.replace("[cluster]", "# comment\n[cluster]\nport = 4748\nprofile = \"auto\""),
        BASE.replace("weight = 2", "weight = 2\nrole = \"member\"\nvoter = true"),
        BASE.replace("strategy", "mode = \"availability\"\nlast_resort = \"keep\"\nstrategy"),
        BASE.replace("weight = 2", "weight=0x2") + "\n[timing]\nsolo_wait = \"35s\"\n",
        BASE.replace("vips = [\"10.77.0.100\", [", "vips = [[")
            .replace("fd77::102\"]", "FD77:0::102/128\"], \"10.77.0.100/32\""),
        BASE.replace("name = \"lb1\"\n", "").replace("fd99::11\"]", "fd99::11\"]\nname = \"lb1\""),
    ];
    for text in same {
        assert_eq!(parse("digest", &text).digest, digest, "{text}");
    }
    let other = [
        ("strategy", "last_resort = \"release\"\nstrategy"),
        ("\"edge\"", "\"rim\""),
        ("\"10.77.0.100\", ", ""),
        ("weight = 2", "weight = 3"),
        ("10.77.0.12\"", "10.77.0.13\""),
        ("10.77.0.102/24", "10.77.0.102/25"),
        ("[\"10.77.0.102/24\", \"fd77::102\"]", "[\"fd77::102\", \"10.77.0.102/24\"]"),
        ("\"eth0\"", "\"eth2\""),
        ("\"lb2\", \"lb1\"]", "\"lb1\", \"lb2\"]"),
        ("\"10m\"", "\"never\""),
        ("weight = 2", "weight = 2\nvoter = false"),
        ("[[node]]\nname = \"lb1\"", "[timing]\nmisses = 4\n[[node]]\nname = \"lb1\""),
    ];
    for (from, to) in other {
        assert!(BASE.contains(from), "{from}");
        let text = BASE.replacen(from, to, 1);
        assert_ne!(parse("digest", &text).digest, digest, "{from} -> {to}");
    }
}

#[test]
fn a_node_is_found_by_name_then_address_then_host_name() {
    let config = parse("find_me", BASE);
    let addresses = |list: &[&str]| -> Vec<IpAddr> {
        list.iter().map(|address| address.parse().unwrap()).collect()
    };
    let find = |name, here: &[&str], host| find_me(&config, name, &addresses(here), host);
    let (lb1, lb2) = (NodeId::from_name("lb1"), NodeId::from_name("lb2"));
    assert_eq!(find(Some("lb2"), &["10.77.0.11"], "lb1"), Ok(lb2));
    assert_eq!(find(None, &["127.0.0.1", "fd99::12"], "lb1"), Ok(lb2));
    assert_eq!(find(None, &["10.77.0.11", "fd99::11"], ""), Ok(lb1));
    assert_eq!(find(None, &["192.0.2.1"], "lb1"), Ok(lb1));
    assert_eq!(find(None, &[], "lb2.example.org"), Ok(lb2));

    let unknown = find(Some("lb3"), &["10.77.0.11"], "lb1").unwrap_err();
    assert!(matches!(&unknown, WhoAmI::Unknown { name, .. } if name == "lb3"), "{unknown:?}");
    assert!(unknown.to_string().contains("lb1, lb2"), "{unknown}");
    let several = find(None, &["10.77.0.11", "10.77.0.12"], "lb1").unwrap_err();
    assert!(several.to_string().contains("several nodes (lb1, lb2)"), "{several}");
    assert!(several.to_string().contains("--node"), "{several}");
    // Holding a virtual address says nothing about who this is.
    let nobody = find(None, &["10.77.0.100"], "router").unwrap_err();
    assert!(matches!(nobody, WhoAmI::Nobody { .. }), "{nobody:?}");
}

#[test]
fn a_reload_names_each_difference_and_nothing_else() {
    let old = parse("difference", BASE);
    assert_eq!(difference(&old, &old), []);
    let cases = [
        ("\"edge\"", "\"rim\"", "cluster renamed from edge to rim: needs a restart"),
        ("name = \"edge\"", "name = \"edge\"\nport = 5000", "port changed from 4748 to 5000"),
        (
            "name = \"edge\"",
            "name = \"edge\"\nkernel_lease = \"required\"",
            "kernel_lease changed from auto to required",
        ),
        ("weight = 2", "weight = 5", "node lb2 changed: weight from 2 to 5"),
        (
            "weight = 2",
            "weight = 2\nvoter = false",
            "node lb2 changed: from member to member without a vote",
        ),
        (
            "10.77.0.12\"",
            "10.77.0.13\"",
            "node lb2 changed: addresses from 10.77.0.12 and fd99::12 to 10.77.0.13 and fd99::12",
        ),
        ("\"10.77.0.100\", ", "", "group 10.77.0.100 removed"),
        ("\"10.77.0.100\", ", "\"10.77.0.100\", \"10.77.0.101\",", "group 10.77.0.101 added"),
        (
            ", \"fd77::102\"",
            ", \"fd77::103\"",
            "group 10.77.0.102 changed: fd77::103 added, fd77::102 removed",
        ),
        (
            "10.77.0.102/24",
            "10.77.0.102",
            "group 10.77.0.102 changed: 10.77.0.102 added, 10.77.0.102/24 removed",
        ),
        ("{ name = \"api\",", "{ name = \"rest\",", "group rest changed: renamed from api"),
        (
            "name = \"api\"\nvips",
            "name = \"rest\"\nvips",
            "group api changed: pool from api to rest",
        ),
        (", interface = \"eth1\"", "", "group api changed: interface from eth1 to the routed one"),
        ("\"lb2\", \"lb1\"]", "\"lb1\"]", "group api changed: preferred nodes"),
        ("failback = \"10m\"", "", "group api changed: failback from 10m to never"),
        (
            "failback = \"10m\"",
            "failback = \"10m\"\nforce = true",
            "group api changed: force from false to true",
        ),
        (
            ", interface = \"eth1\"",
            ", interface = \"eth1\", force = true",
            "group api changed: force from false to true",
        ),
        ("\"priority\"", "\"balance\"", "group api changed: strategy from priority to balance"),
        (
            "[cluster]",
            "[timing]\nannounce_rate = 50\n[cluster]",
            "timing announce_rate changed from 2000 to 50",
        ),
    ];
    for (from, to, said) in cases {
        assert!(BASE.contains(from), "{from}");
        let new = parse("difference", &BASE.replacen(from, to, 1));
        let changes: Vec<String> = difference(&old, &new).iter().map(ToString::to_string).collect();
        assert_eq!(changes, [said], "{from} -> {to}");
    }
}

#[test]
fn a_reload_names_that_times_are_fixed_now() {
    let new = BASE.replacen("[cluster]", "[timing]\nmisses = 4\n[cluster]", 1);
    let changes = difference(&parse("fixed", BASE), &parse("fixed", &new));
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let said = ["adaptive timing changed from on to off", "timing misses changed from 3 to 4"];
    assert_eq!(changes, said);
}

#[test]
fn a_reload_names_another_way_to_restart() {
    let new = BASE.replacen("[cluster]", "[cluster]\nrestart = \"in-place\"", 1);
    let changes = difference(&parse("restart", BASE), &parse("restart", &new));
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["restart changed from hand-over to in-place"]);
}

#[test]
fn a_running_daemon_refuses_another_cluster_name() {
    let old = parse("restart", BASE);
    let renamed = parse("restart", &BASE.replacen("\"edge\"", "\"rim\"", 1));
    assert!(difference(&old, &renamed).iter().all(Change::is_refused));
    let moved = BASE.replace("10.77.0.11\"", "10.77.0.21\"").replace("lb2", "lb3");
    let changes = difference(&old, &parse("restart", &moved));
    assert!(changes.len() >= 3, "{changes:?}");
    let voters = changes.iter().any(|it| it.to_string().starts_with("voters"));
    assert!(!voters, "{changes:?}");
}

/// Two members and a witness, with the pool in mode `majority`.
const STRICT: &str = r#"
[cluster]
name = "edge"
key_file = "cluster.key"

[[node]]
name = "lb1"
addresses = ["10.77.0.11"]

[[node]]
name = "lb2"
addresses = ["10.77.0.12"]

[[node]]
name = "rack"
addresses = ["10.77.0.13"]
role = "witness"

[[pool]]
name = "web"
vips = ["10.77.0.100"]
mode = "majority"

[[pool]]
name = "mail"
vips = ["10.77.0.110"]
"#;

#[test]
fn majority_and_the_witness_reach_the_protocol() {
    let config = parse("strict", STRICT);
    let modes: Vec<Mode> = config.groups.iter().map(|group| group.mode).collect();
    assert_eq!(modes, [Mode::Majority, Mode::Availability]);
    let me = config.node("rack").unwrap().id;
    let given = config.protocol(me, Incarnation(5), 9, SoftwareVersion::default(), false);
    assert_eq!(given.groups[&config.groups[0].key].mode, Mode::Majority);
    assert_eq!(given.groups[&config.groups[1].key].mode, Mode::Availability);
    let rights = |name| {
        let member = given.nodes[&NodeId::from_name(name)];
        (member.owns, member.votes)
    };
    assert_eq!((rights("lb1"), rights("rack")), ((true, true), (false, true)));

    let more = STRICT.replacen(
        "[[pool]]",
        "[[node]]\nname = \"lb3\"\naddresses = [\"10.77.0.14\"]\nvoter = false\n[[pool]]",
        1,
    );
    let config = parse("strict", &more);
    assert_eq!(config.node("lb3").unwrap().role, Role::NonVoter);
    let given = config.protocol(me, Incarnation(5), 9, SoftwareVersion::default(), false);
    let lb3 = given.nodes[&NodeId::from_name("lb3")];
    assert_eq!((lb3.owns, lb3.votes), (true, false));
}

#[test]
fn a_witness_without_a_strict_pool_corroborates() {
    let config = parse("corroborates", &STRICT.replace("mode = \"majority\"", ""));
    assert_eq!(config.node("rack").unwrap().role, Role::Witness);
    assert_eq!(config.warnings, []);
}

#[test]
fn voters_may_change_while_leases_are_granted() {
    let replaced = STRICT.replace("\"rack\"", "\"desk\"").replace("10.77.0.13", "10.77.0.23");
    let (old, new) = (parse("voters", STRICT), parse("voters", &replaced));
    let said: Vec<String> = difference(&old, &new)
        .iter()
        .map(ToString::to_string)
        .filter(|change| change.starts_with("voters"))
        .collect();
    let expected = "voters changed from lb1, lb2, rack to desk, lb1, lb2 in mode majority: the new list \
         takes effect when a majority of the old voters has reloaded";
    assert_eq!(said, [expected]);

    let steps = [STRICT.to_owned(), replaced.clone(), loose(&replaced), loose(STRICT)];
    for pair in steps.windows(2) {
        let changes = difference(&parse("voters", &pair[0]), &parse("voters", &pair[1]));
        assert!(!changes.is_empty() && !changes.iter().any(Change::is_refused), "{changes:?}");
    }
    // One that neither came to vote nor ceased to.
    let weight = STRICT.replacen("11\"]", "11\"]\nweight = 2", 1);
    let changes = difference(&old, &parse("voters", &weight));
    assert!(!changes.iter().any(Change::is_refused), "{changes:?}");
}

fn loose(text: &str) -> String {
    text.replace("\"majority\"", "\"availability\"")
}

#[test]
fn a_reload_tells_of_modes_and_roles() {
    let old = parse("modes", STRICT);
    let new = parse("modes", &loose(STRICT).replace("role = \"witness\"", ""));
    let said: Vec<String> = difference(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "node rack changed: from witness to member",
            "group 10.77.0.100 changed: mode from majority to availability",
        ]
    );
}

#[test]
fn a_new_key_is_a_difference_but_not_another_meaning() {
    let directory = directory("keys");
    let path = directory.join("buoy.toml");
    let old = config::parse(BASE, &path).unwrap();
    let ring = format!("1 {}\n2 {} active\n", "07".repeat(32), "08".repeat(32));
    fs::write(directory.join("cluster.key"), ring).unwrap();
    let new = config::parse(BASE, &path).unwrap();
    assert_eq!(old.digest, new.digest);
    let changes: Vec<String> = difference(&old, &new).iter().map(Change::to_string).collect();
    assert_eq!(changes, ["keys changed, now 2, 1 with the first active"]);
    let said = format!("{new:?}{changes:?}");
    assert!(!said.contains("8, 8, 8"), "{said}");
}

#[test]
fn gates_hold_the_groups_of_their_pools_for_the_sum_of_their_timeouts() {
    let hook = |name: &str, rest: &str| {
        format!("[[hook]]\nname = \"{name}\"\ncommand = [\"/bin/true\"]\n{rest}\n")
    };
    let text = [
        BASE.to_owned(),
        hook("a", "on = [\"gate\"]\ntimeout = \"2s\""),
        hook("b", "on = [\"released\", \"gate\"]\ntimeout = \"3s\"\npools = [\"web\"]"),
        hook("c", "on = [\"released\"]\ntimeout = \"60s\""),
    ];
    let config = parse("gates", &text.concat());
    let me = config.node("lb1").unwrap().id;
    let software = SoftwareVersion { major: 0, minor: 1, patch: 0 };
    let protocol = config.protocol(me, Incarnation(1), 1, software, false);
    let gate = |name: &str| protocol.groups[&config.group(name).unwrap().key].gate;
    let slack = Duration::from_millis(200);
    assert_eq!(gate("10.77.0.100"), Some(Duration::from_secs(5) + slack));
    assert_eq!(gate("api"), Some(Duration::from_secs(2) + slack));
    let none = parse("gates", BASE).protocol(me, Incarnation(1), 1, software, false);
    assert!(none.groups.values().all(|group| group.gate.is_none()));
}

#[test]
fn the_balancer_is_named_by_its_socket_and_its_list() {
    let table = "[haproxy]\nsocket = \"/run/h.sock\"\ndraining_list = \"/etc/haproxy/d.lst\"\n";
    let (old, new) = (parse("haproxy", BASE), parse("haproxy", &format!("{BASE}{table}")));
    let haproxy = new.haproxy.clone().unwrap();
    assert_eq!(haproxy.at, config::Endpoint::Unix("/run/h.sock".into()));
    assert_eq!(haproxy.list, "/etc/haproxy/d.lst");
    assert_ne!(old.digest, new.digest);
    let changes: Vec<String> = difference(&old, &new).iter().map(Change::to_string).collect();
    assert_eq!(changes, ["haproxy changed from none to /etc/haproxy/d.lst of /run/h.sock"]);
}

/// A group that is a virtual router: what is not written is as at keepalived, and each file with one
/// says what VRRP is worth.
#[test]
fn a_virtual_router_has_one_router_for_each_family() {
    use buoy::vrrp::{Authentication, Form, Password, Version};
    let with = |vrrp: &str| {
        let text = BASE.replacen(", interface = \"eth1\"", &format!(", vrrp = {{ {vrrp} }}"), 1);
        parse("vrrp", &text)
    };
    let config = with("id = 51");
    let router = config.group("api").and_then(|group| group.vrrp.clone()).unwrap();
    let four: IpAddr = [10, 77, 0, 110].into();
    let six: IpAddr = "fd77::110".parse().unwrap();
    let routers = router.routers(&[four, six]);
    assert_eq!(routers.len(), 2);
    assert_eq!((routers[0].version, routers[1].version), (Version::V2, Version::V3));
    assert_eq!((&routers[0].addresses[..], &routers[1].addresses[..]), (&[four][..], &[six][..]));
    assert_eq!((routers[0].priority, routers[0].interval), (100, Duration::from_secs(1)));
    assert!(routers[0].preempt && routers[0].peers.is_empty());
    assert!(config.warnings.iter().any(|warning| warning.text.contains("not authenticated")));
    let text = format!("{config:?}");

    let config =
        with("id = 51, password = \"s3cretword\", checksum = \"plain\", peers = [\"10.77.0.9\"]");
    let other = config.group("api").and_then(|group| group.vrrp.clone()).unwrap();
    let routers = other.routers(&[four, six]);
    let password = Authentication::Password(Password::new("s3cretwo"));
    assert_eq!(routers[0].authentication, password);
    assert_eq!(routers[1].authentication, Authentication::None, "version 3 has none");
    assert_eq!(
        (routers[0].form, routers[0].peers.len(), routers[1].peers.len()),
        (Form::Plain, 1, 0)
    );
    let warned = config.warnings.iter().any(|warning| warning.text.contains("first 8 bytes"));
    assert!(warned, "{:?}", config.warnings);
    for shown in [format!("{config:?}"), format!("{:?}", config.warnings), text] {
        assert!(!shown.contains("s3cretwo"), "{shown}");
    }
    let another =
        with("id = 51, password = \"s3cretwire\", checksum = \"plain\", peers = [\"10.77.0.9\"]");
    assert_ne!(config.digest, another.digest, "nodes with different passwords differ");
    let changes: Vec<String> =
        difference(&config, &another).iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["group api changed: virtual router 51 changed"]);
}

/// The first has the key that it has alone, so that a link that is added changes nothing for it.
#[test]
fn a_link_local_address_on_several_links_has_a_key_on_each() {
    let pools = |pools: &[&str]| {
        let text =
            pools.iter().zip(1..).map(|(it, at)| format!("[[pool]]\nname = \"lan{at}\"\n{it}\n"));
        parse("zones", &(BASE.to_owned() + &text.collect::<String>()))
    };
    let (eth0, eth1) = (
        "interface = \"eth0\"\nvips = [\"fe80::1\"]",
        "interface = \"eth1\"\nvips = [\"fe80::1\"]",
    );
    let table = "interface = { lb1 = \"eth2\", lb2 = \"eth3\" }\nvips = [{ name = \"guests\", addresses = [\"10.79.0.1\", \"fe80::1\"] }]";
    let (one, all) = (pools(&[eth0]), pools(&[eth0, eth1, table]));
    let gateway: IpAddr = "fe80::1".parse().unwrap();
    let named =
        |config: &Config| config.groups[3..].iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    assert_eq!(named(&one), ["fe80::1"]);
    assert_eq!(named(&all), ["fe80::1%eth0", "fe80::1%eth1", "guests"]);
    let keys = [3, 4, 5].map(|at: usize| all.groups[at].key_of(gateway));
    assert_eq!(keys[0], GroupKey::from_first_address(gateway));
    assert_eq!((keys[0], keys[1]), (one.groups[3].key, all.groups[4].key));
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
    let placed = all.protocol(NodeId(1), Incarnation(1), 1, SoftwareVersion::default(), false);
    assert_eq!(placed.groups[&all.groups[5].key].addresses[1], keys[2]);
    let changes: Vec<String> = difference(&one, &all).iter().map(Change::to_string).collect();
    assert_eq!(changes.iter().filter(|change| change.contains("added")).count(), 2, "{changes:?}");
    assert!(!difference(&one, &all).iter().any(Change::is_refused), "{changes:?}");
    let other = pools(&[eth1, eth0, table]);
    assert_ne!(all.digest, other.digest, "the first is another");
    let refused = difference(&all, &other);
    assert_eq!(refused.iter().filter(|change| change.is_refused()).count(), 2, "{refused:?}");
    assert!(difference(&all, &pools(&[eth1])).iter().any(Change::is_refused));
    assert!(!difference(&all, &pools(&[eth0, table])).iter().any(Change::is_refused));
}
