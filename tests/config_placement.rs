//! What the rules of placement in a file come to: labels that are required, pools that are apart or
//! together, labels in `prefer`.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::path::Path;

use buoy::config::{self, Config, difference};
use buoy::protocol::{Incarnation, NodeId, PoolId, SoftwareVersion};

const BASE: &str = r#"
[cluster]
name = "edge"
key_file = "cluster.key"

[[node]]
name = "lb1"
addresses = ["10.77.0.11"]

[[node]]
name = "lb2"
addresses = ["10.77.0.12"]
weight = 2

[[pool]]
name = "web"
vips = ["10.77.0.100", ["10.77.0.102/24", "fd77::102"]]

[[pool]]
name = "api"
vips = [{ name = "api", addresses = ["10.78.0.110"] }]
strategy = "priority"
prefer = ["lb2", "lb1"]
failback = "10m"
"#;

fn parse(test: &str, text: &str) -> Config {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("config_placement").join(test);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    config::write_new_key(&directory.join("cluster.key"), &[7; 32]).unwrap();
    config::parse(text, &directory.join("buoy.toml")).unwrap()
}

#[test]
fn a_reload_names_each_rule_that_is_another() {
    let old = parse("difference", BASE);
    for (from, to, said) in [
        ("weight = 2", "weight = 2\nlabels = [\"a\"]", "node lb2 changed: labels from none to a"),
        (
            "failback = \"10m\"",
            "failback = \"10m\"\napart_from = [\"api\"]",
            "group api changed: pools that it is kept apart from",
        ),
        (
            "failback = \"10m\"",
            "failback = \"10m\"\ntogether_with = [\"api\"]",
            "group api changed: pools that it is kept together with",
        ),
    ] {
        let new = parse("difference", &BASE.replacen(from, to, 1));
        let changes: Vec<String> = difference(&old, &new).iter().map(ToString::to_string).collect();
        assert_eq!(changes, [said], "{from} -> {to}");
    }
}

#[test]
fn labels_decide_which_nodes_lack_what_a_pool_requires() {
    let labelled = BASE.replace("weight = 2", "weight = 2\nlabels = [\"card\", \"rack-a\"]");
    let wanting = labelled.replace("name = \"web\"", "name = \"web\"\nrequires = [\"card\"]");
    let config = parse("labels", &wanting);
    let warned: Vec<&str> = config.warnings.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("only lb2 has what this pool requires (card)"), "{warned:?}");
    let me = config.node("lb1").unwrap().id;
    let given = config.protocol(me, Incarnation(5), 9, SoftwareVersion::default(), false);
    let rules = &given.placement[&PoolId::from_name("web")];
    assert_eq!(rules.lacking, [me].into());
    assert_eq!(given.placement.len(), 1, "the other pool has no rules");
    let shared = wanting.replace("10.77.0.11\"]", "10.77.0.11\"]\nlabels = [\"card\"]");
    assert_eq!(parse("labels", &shared).warnings, []);
    assert_ne!(config.digest, parse("labels", &labelled).digest);
    assert_ne!(parse("labels", BASE).digest, parse("labels", &labelled).digest);
}

#[test]
fn rules_about_company_hold_in_both_directions() {
    let text = BASE.replace("failback", "apart_from = [\"web\"]\nfailback");
    let config = parse("company", &text);
    assert!(config.groups.iter().all(|group| group.apart_from.len() == 1));
    assert_eq!(config.group("api").unwrap().apart_from, ["web"]);
    assert_eq!(config.group("10.77.0.100").unwrap().apart_from, ["api"]);
    let placed = "strategy = \"priority\"\nprefer = [\"lb2\", \"lb1\"]\nfailback = \"10m\"\n";
    let pools = "\n[[pool]]\nname = \"x\"\nvips = [\"10.77.0.120\"]\ntogether_with = [\"api\"]\n";
    let more = "\n[[pool]]\nname = \"y\"\nvips = [\"10.77.0.121\"]\ntogether_with = [\"x\"]\n";
    let config = parse("company", &format!("{BASE}{pools}{placed}{more}{placed}"));
    for group in ["api", "10.77.0.120", "10.77.0.121"] {
        assert_eq!(config.group(group).unwrap().together_with, ["api", "x", "y"]);
    }
    assert_eq!(config.group("10.77.0.100").unwrap().together_with, [""; 0]);
}

#[test]
fn a_label_in_prefer_is_all_its_nodes() {
    let text = BASE.replace("addresses = [\"10.77", "labels = [\"a\"]\naddresses = [\"10.77");
    let text = text.replace("[\"lb2\", \"lb1\"]", "[\"@a\"]");
    let config = parse("prefer", &text);
    let api = config.group("api").unwrap();
    let (lb1, lb2) = (NodeId::from_name("lb1"), NodeId::from_name("lb2"));
    assert_eq!([lb1, lb2].map(|node| api.prefer.place(node)), [Some(0), Some(0)]);
    let first = parse("prefer", &text.replace("\"@a\"", "\"lb2\", \"@a\""));
    let api = first.group("api").unwrap();
    assert_eq!([lb1, lb2].map(|node| api.prefer.place(node)), [Some(1), Some(0)]);
    let listed = parse("prefer", &text.replace("\"@a\"", "\"lb1\", \"lb2\""));
    assert_ne!(config.digest, listed.digest, "it is all the same, or it is not");
}
