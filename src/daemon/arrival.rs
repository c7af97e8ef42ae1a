//! Waits until this host has an address of one of the nodes.
//!
//! At boot the daemon may start before DHCP has answered or a late driver has made the link. Which
//! node it is cannot be told then, and nothing would start it again if it ended as for a fault of
//! the file. So it waits, says so once in the log and all the time to the service manager. A signal
//! ends it, as nothing has been done yet.

use std::thread;
use std::time::Duration;

use super::service_notify::ServiceNotify;
use super::{Error, host};
use crate::config::{self, Config, WhoAmI};
use crate::protocol::NodeId;

/// Between two looks. A few microseconds of work each.
const LOOK: Duration = Duration::from_millis(100);
/// The service manager waits for so much longer after each word.
const PATIENCE: Duration = Duration::from_secs(10);

/// Finds which node this host is, waiting for an address of it if need be.
///
/// # Errors
/// When waiting would not help: the name is unknown, or several nodes are meant.
pub(super) fn find_me(config: &Config, name: Option<&str>) -> Result<NodeId, Error> {
    let service = ServiceNotify::from_environment().unwrap_or(ServiceNotify::nobody());
    let mut told = false;
    loop {
        let addresses = host::addresses()
            .map_err(|source| Error::System { wanted: "this host's addresses", source })?;
        match config::find_me(config, name, &addresses, &host::name()) {
            Ok(me) => return Ok(me),
            Err(WhoAmI::Nobody { .. }) => {}
            Err(unclear) => return Err(Error::WhoAmI(unclear)),
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(
                "no node has an address of this host or its name {:?}: waiting for one of the \
                 addresses {} (or name the node with --node)",
                host::name(),
                awaited(config)
            );
        }
        service.waiting(&format!("waiting for one of the addresses {}", awaited(config)), PATIENCE);
        thread::park_timeout(LOOK);
    }
}

/// Tells of addresses of this node that the host has not, from which nothing can be sent: they may
/// be late, or this host is a copy of another that has them.
pub(super) fn tell_missing(config: &Config, me: NodeId) {
    let Ok(here) = host::addresses() else { return };
    let Some(node) = config.nodes.iter().find(|node| node.id == me) else { return };
    for address in node.addresses.iter().filter(|address| !here.contains(address)) {
        tracing::warn!(
            "this host does not have {address}, the address of node {} in the file, and cannot \
             send from it: add the address; if another host has it, this one is a copy of that \
             node and needs its own name (--node)",
            node.name
        );
    }
}

fn awaited(config: &Config) -> String {
    let addresses = config.nodes.iter().flat_map(|node| &node.addresses);
    addresses.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
