//! What two hosts run before they migrate to buoy, and what the import makes of its files.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use buoy::lab::plan::{Shape, vip};

use crate::Outcome;
use crate::scene::{PROGRAM, Scene};

/// Of the first host and of the second.
pub(crate) const PRIORITIES: [u8; 2] = [150, 100];
/// Goes with the address, where keepalived has it as it is usually written.
pub(crate) const ROUTE: &str = "203.0.113.0/24 via 10.77.0.1";

/// What the hosts migrate from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incumbent {
    Keepalived,
    /// keepalived with `use_vmac`.
    VirtualMac,
    /// FRR on the first host, keepalived on the second, both version 3.
    Frr,
}

fn file(scene: &Scene, host: usize) -> PathBuf {
    scene.cluster.node_directory(host).join("keepalived.conf")
}

/// Writes the file of keepalived of each host.
pub(crate) fn write_files(scene: &Scene, from: Incumbent) -> Outcome {
    let route = match from {
        Incumbent::Keepalived => format!("  virtual_routes {{\n    {ROUTE} dev eth0\n  }}\n"),
        Incumbent::VirtualMac | Incumbent::Frr => String::new(),
    };
    let special = match from {
        Incumbent::Keepalived => "",
        Incumbent::VirtualMac => "  use_vmac\n",
        Incumbent::Frr => "  version 3\n",
    };
    let password = match from {
        // Version 3 has none.
        Incumbent::Frr => "",
        Incumbent::Keepalived | Incumbent::VirtualMac => {
            "  authentication {\n    auth_type PASS\n    auth_pass s3cr\n  }\n"
        }
    };
    for (host, priority) in PRIORITIES.into_iter().enumerate() {
        let state = if host == 0 { "MASTER" } else { "BACKUP" };
        let text = format!(
            "global_defs {{\n  router_id lb{}\n  vrrp_garp_master_delay 1\n}}\n\n\
             vrrp_instance gw {{\n  state {state}\n  interface eth0\n  virtual_router_id 51\n  \
             priority {priority}\n  advert_int 1\n{special}{password}  virtual_ipaddress {{\n    \
             {}/24\n  }}\n{route}}}\n",
            host + 1,
            vip(100)
        );
        fs::write(file(scene, host), text)?;
    }
    Ok(())
}

/// Runs the import for both files. Returns the new file.
pub(crate) fn import(scene: &Scene, from: Incumbent) -> Result<String, Box<dyn std::error::Error>> {
    let output = scene.cluster.node_directory(0).join("imported.toml");
    let mut command = Command::new(PROGRAM);
    command.arg("import");
    for (host, name) in ["lb1", "lb2"].into_iter().enumerate() {
        command.arg(format!("{name}={}", file(scene, host).display()));
        command.args([
            "--node".to_owned(),
            format!("{name}={}", Shape::node_address(u8::try_from(host)?, 0)),
        ]);
    }
    let done = command.args(["--vrrp", "--output"]).arg(&output).output()?;
    let report = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{report}");
    assert!(report.contains("priority = 151 takes the addresses"), "{report}");
    assert!(!report.contains("s3cr"), "{report}");
    let leftovers = "keepalived leaves arp_ignore=1 and arp_filter=1 on eth0";
    assert_eq!(report.contains(leftovers), from == Incumbent::VirtualMac, "{report}");
    let checked = Command::new(PROGRAM).arg("check").arg(&output).output()?;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let text = fs::read_to_string(&output)?;
    assert!(text.contains("priority = 100"), "{text}");
    Ok(text)
}
