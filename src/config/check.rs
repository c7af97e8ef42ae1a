//! From the file as written to a [`Config`] without illegal values.
//!
//! Each part is checked whatever the others turned out to be, so that one run finds everything.
//! A `Config` is made only when nothing was refused.

use std::path::{Path, PathBuf};

use super::digest::digest;
use super::fault::{At, Findings};
use super::file::{self, File};
use super::key_file::{Keys, read_keys};
use super::{
    Config, checks, connections, hooks, kernel_lease, labels, nodes, pools, restart, timing,
};
use crate::protocol::Timing;

/// Default of `[cluster] port`: not registered for anything, below the ephemeral range.
const PORT: u16 = 4748;

/// Checks the whole file. `path` is that of the file: the key file is relative to it, and read
/// unless there are keys to take instead.
pub(super) fn check(
    file: &File,
    (path, keys): (&Path, Option<Keys>),
    findings: &mut Findings,
) -> Option<Config> {
    let cluster = &file.cluster;
    let name = cluster.name.as_ref().filter(|name| nodes::valid_name(name, findings));
    let key =
        cluster.key_file.as_ref().and_then(|key_file| check_key(key_file, (path, keys), findings));
    let port = cluster
        .port
        .as_ref()
        .map_or(Some(PORT), |port| timing::count(port, (1, u16::MAX), findings));
    let kernel_lease = kernel_lease::check(cluster.kernel_lease.as_ref(), findings);
    let tickled = connections::tickled(cluster.tickle_connections_max.as_ref(), findings);
    let drain_timeout = connections::drain_timeout(cluster.drain_timeout.as_ref(), findings);
    let preserve = connections::preserve(
        cluster.preserve_connections,
        cluster.preserve_timeout.as_ref(),
        findings,
    );
    let mut groups = file.pools.iter().flat_map(|pool| &pool.groups);
    let needs = (&file.timing, groups.any(|group| group.vrrp.is_some()));
    let (profile_name, profile) = timing::profile(cluster.profile.as_ref(), needs, findings);
    let timing = timing::check(profile, &file.timing, findings);
    timing::check_adaptive(profile_name, &file.timing, findings);
    let nodes = nodes::check(&file.nodes, findings);
    let slowest = if profile_name == timing::AUTO { Timing::VM } else { timing };
    let groups = pools::check(&file.pools, (&nodes, slowest.detection()), findings);
    let restart = restart::check(cluster.restart.as_ref(), findings);
    let addresses = groups.iter().map(|group| group.vips.len()).sum();
    timing::check_refresh(&timing, &file.timing, addresses, findings);
    let pools = pool_names(&file.pools);
    let checks = checks::check(&file.checks, &pools, &nodes, findings);
    labels::check_number(&file.pools, &checks, findings);
    checks::warn_of_vips(&file.checks, &groups, findings);
    let hooks = hooks::check(&file.hooks, &pools, findings);
    warn_alone(&file.nodes, findings);
    findings.sort();
    if !findings.faults.is_empty() {
        return None;
    }
    let (key_file, keys) = key?;
    let mut config = Config {
        cluster: name?.value.clone(),
        key_file,
        keys,
        port: port?,
        kernel_lease,
        restart,
        tickle_connections_max: tickled,
        drain_timeout,
        haproxy: file.haproxy.clone(),
        preserve,
        load_aware: cluster.load_aware.unwrap_or(false),
        profile: profile_name,
        timing,
        digest: 0,
        nodes: nodes.checked,
        groups,
        checks,
        hooks,
        warnings: std::mem::take(&mut findings.warnings),
    };
    config.digest = digest(&config);
    Some(config)
}

fn check_key(
    key_file: &At<String>,
    (path, keys): (&Path, Option<Keys>),
    findings: &mut Findings,
) -> Option<(PathBuf, Keys)> {
    let directory = path.parent().unwrap_or(Path::new(""));
    let full = directory.join(&key_file.value);
    if let Some(keys) = keys {
        return Some((full, keys));
    }
    match read_keys(&full) {
        Ok(keys) => Some((full, keys)),
        Err(fault) => {
            findings.refuse(&key_file.place, fault.to_string(), fault.remedy(&full));
            None
        }
    }
}

/// Every pool, and whether it lets go of its groups when nobody can own them.
fn pool_names(pools: &[file::Pool]) -> Vec<(String, bool)> {
    let name = |pool: &file::Pool| {
        let release = pool.last_resort.as_ref().is_some_and(|word| word.value == "release");
        Some((pool.name.as_ref()?.value.clone(), release))
    };
    pools.iter().filter_map(name).collect()
}

fn warn_alone(nodes: &[file::Node], findings: &mut Findings) {
    let [only] = nodes else { return };
    if let Some(name) = &only.name {
        findings.warn(&name.place, "the only node: no other node could take over");
    }
}
