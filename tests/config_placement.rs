//! What the rules of placement in a file come to: labels that are required, pools that are apart or
//! together, labels in `prefer`.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::path::Path;

use buoy::config::{self, Config, difference};
use buoy::protocol::{Incarnation, PoolId, SoftwareVersion};

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
    for (from, to, said) in
        [("weight = 2", "weight = 2\nlabels = [\"a\"]", "node lb2 changed: labels from none to a")]
    {
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
