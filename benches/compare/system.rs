//! The systems that are compared: how each is installed, configured and started.

use std::error::Error;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use buoy::lab::echo::Mac;
use nix::unistd::geteuid;

use crate::question;
use crate::rig::{HEIR, HOSTS, OWNER, Rig, own_address};

const KEEPALIVED: &str = "/usr/sbin/keepalived";
const UCARP: &str = "/usr/sbin/ucarp";
/// An advertisement of keepalived names at most 20 by default of its documentation; the others
/// belong into `virtual_ipaddress_excluded`.
const ADVERTISED: usize = 20;

/// A system under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// buoy with this profile.
    Buoy(&'static str),
    /// keepalived with this VRRP version and so many milliseconds between two advertisements.
    Keepalived(u8, u32),
    /// ucarp, one advertisement a second, which is its default.
    Ucarp,
    /// Nothing runs: the heir gets the addresses and announces them at the instant of the fault.
    Ideal,
}

impl System {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 7] = [
        Self::Buoy("lan"),
        Self::Buoy("fast"),
        Self::Keepalived(2, 1000),
        Self::Keepalived(3, 100),
        Self::Keepalived(3, 10),
        Self::Ucarp,
        Self::Ideal,
    ];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Buoy(profile) => format!("buoy {profile}"),
            Self::Keepalived(version, interval) => {
                format!("keepalived {} s (v{version})", f64::from(interval) / 1e3)
            }
            Self::Ucarp => "ucarp 1 s".to_owned(),
            Self::Ideal => "ideal".to_owned(),
        }
    }

    /// Makes sure that it is on this machine.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(crate) fn install(self) -> Result<(), String> {
        match self {
            Self::Keepalived(..) => install(KEEPALIVED, "keepalived"),
            Self::Ucarp => install(UCARP, "ucarp"),
            Self::Buoy(_) | Self::Ideal => Ok(()),
        }
    }

    /// Starts it on both hosts; lb1 has precedence.
    pub(crate) fn start(self, rig: &mut Rig) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Buoy(profile) => start_buoy(rig, profile),
            Self::Keepalived(version, interval) => start_keepalived(rig, version, interval),
            Self::Ucarp => start_ucarp(rig),
            Self::Ideal => take(rig, OWNER),
        }
    }
}

fn install(program: &str, package: &str) -> Result<(), String> {
    if Path::new(program).exists() {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(format!("install the package {package}"));
    }
    let quiet = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        command.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let done = quiet(&["update", "-q"])
        && quiet(&["install", "-q", "-y", "--no-install-recommends", package]);
    if done && Path::new(program).exists() {
        return Ok(());
    }
    Err(format!("apt-get cannot install the package {package}"))
}

fn start_buoy(rig: &mut Rig, profile: &str) -> Result<(), Box<dyn Error>> {
    let program = Path::new(env!("CARGO_BIN_EXE_buoy"));
    let vips: String = rig.addresses.iter().map(|address| format!("  \"{address}\",\n")).collect();
    let text = format!(
        "[cluster]\nname = \"compare\"\nkey_file = \"cluster.key\"\nprofile = \"{profile}\"\n\n\
         [[node]]\nname = \"lb1\"\naddresses = [\"{}\"]\n\n[[node]]\nname = \"lb2\"\n\
         addresses = [\"{}\"]\n\n[[pool]]\nname = \"web\"\nstrategy = \"priority\"\n\
         prefer = [\"lb1\"]\nvips = [\n{vips}]\n",
        own_address(OWNER),
        own_address(HEIR)
    );
    let key = rig.directory(OWNER).join("cluster.key");
    let made = Command::new(program).arg("keygen").arg(&key).output()?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into_owned().into());
    }
    fs::copy(&key, rig.directory(HEIR).join("cluster.key"))?;
    for host in 0..HOSTS {
        let directory = rig.directory(host);
        fs::create_dir_all(directory.join("run"))?;
        fs::write(directory.join("buoy.toml"), &text)?;
        let path = |name: &str| directory.join(name).display().to_string();
        let arguments = [
            "run",
            "--config",
            &path("buoy.toml"),
            "--node",
            ["lb1", "lb2"][host],
            "--runtime-dir",
            &path("run"),
        ]
        .map(str::to_owned);
        rig.start(host, program, &arguments)?;
    }
    Ok(())
}

fn start_keepalived(rig: &mut Rig, version: u8, interval: u32) -> Result<(), Box<dyn Error>> {
    let block = |name: &str, addresses: &[IpAddr]| {
        let lines: String = addresses.iter().map(|a| format!("    {a}/32\n")).collect();
        format!("  {name} {{\n{lines}  }}\n")
    };
    let (advertised, excluded) = rig.addresses.split_at(rig.addresses.len().min(ADVERTISED));
    let mut addresses = block("virtual_ipaddress", advertised);
    if !excluded.is_empty() {
        addresses.push_str(&block("virtual_ipaddress_excluded", excluded));
    }
    for host in 0..HOSTS {
        let priority = [150, 100][host];
        let text = format!(
            "global_defs {{\n  router_id lb{}\n  vrrp_version {version}\n}}\nvrrp_instance web {{\n  \
             state BACKUP\n  interface eth0\n  virtual_router_id 51\n  priority {priority}\n  \
             advert_int {}\n{addresses}}}\n",
            host + 1,
            f64::from(interval) / 1e3
        );
        let directory = rig.directory(host);
        let path = |name: &str| directory.join(name).display().to_string();
        fs::write(directory.join("keepalived.conf"), text)?;
        let arguments = [
            "-n",
            "-l",
            "-P",
            "-f",
            &path("keepalived.conf"),
            "-p",
            &path("pid"),
            "-r",
            &path("vrrp-pid"),
        ]
        .map(str::to_owned);
        rig.start(host, Path::new(KEEPALIVED), &arguments)?;
    }
    Ok(())
}

fn start_ucarp(rig: &mut Rig) -> Result<(), Box<dyn Error>> {
    let address = rig.addresses[0].to_string();
    for host in 0..HOSTS {
        let directory = rig.directory(host);
        let script = |name: &str, verb: &str| -> Result<String, std::io::Error> {
            let file = directory.join(name);
            fs::write(&file, format!("#!/bin/sh\nexec ip addr {verb} {address}/32 dev eth0\n"))?;
            let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(&file, executable)?;
            Ok(file.display().to_string())
        };
        let arguments = [
            "--interface=eth0".to_owned(),
            format!("--srcip={}", own_address(host)),
            "--vhid=51".to_owned(),
            "--pass=compare".to_owned(),
            format!("--addr={address}"),
            format!("--advskew={}", [0, 100][host]),
            format!("--upscript={}", script("up", "add")?),
            format!("--downscript={}", script("down", "del")?),
            "--shutdown".to_owned(),
        ];
        rig.start(host, Path::new(UCARP), &arguments)?;
    }
    Ok(())
}

/// A host gets all addresses and announces them, with nothing to decide.
pub(crate) fn take(rig: &Rig, host: usize) -> Result<(), Box<dyn Error>> {
    let add = |address: &IpAddr| format!("addr add {address}/32 dev eth0\n");
    rig.namespace(host).ip(&rig.addresses.iter().map(add).collect::<String>())?;
    rig.namespace(host).run(|| announce(rig.mac(host), &rig.addresses))??;
    Ok(())
}

/// Ends that a host has the addresses.
pub(crate) fn release(rig: &Rig, host: usize) -> Result<(), Box<dyn Error>> {
    let remove = |address: &IpAddr| format!("addr del {address}/32 dev eth0\n");
    rig.namespace(host).ip(&rig.addresses.iter().map(remove).collect::<String>())?;
    Ok(())
}

/// Sends gratuitous ARP for all addresses by eth0 of the calling thread's namespace.
fn announce(mac: Mac, addresses: &[IpAddr]) -> std::io::Result<()> {
    let (mut sender, _) = question::open(Duration::ZERO)?;
    for address in addresses {
        let IpAddr::V4(address) = *address else { continue };
        // No answer is the channel's way to say that it has no room.
        let sent = sender.send_to(&question::gratuitous(mac, address), None);
        sent.unwrap_or_else(|| Err(std::io::Error::other("no room for the frame")))?;
    }
    Ok(())
}
