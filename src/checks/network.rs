//! Looks at the network: does a gateway answer, where does a route lead. The questions are asked by
//! `kernel::questions`; here they are only worded.

use std::net::IpAddr;

use super::Look;
use crate::config::Question;
use crate::kernel;

/// Asks a host; waits until it answers, or the caller's timeout has passed.
pub(super) async fn look_at_gateway(
    address: IpAddr,
    interface: Option<&str>,
    ask: Question,
) -> Look {
    let (answered, word) = match (ask, address) {
        (Question::Arp, IpAddr::V4(v4)) => (kernel::ask_arp(v4, interface).await, "ARP"),
        // The configuration refuses ARP for IPv6.
        (Question::Ping, _) | (Question::Arp, IpAddr::V6(_)) => {
            (kernel::ask_echo(address, interface).await, "ping")
        }
    };
    answered.map(|()| format!("{address} answers {word}")).map_err(|why| why.to_string())
}

/// Asks the kernel for a route.
pub(super) async fn look_at_route(
    address: IpAddr,
    interface: Option<&str>,
    connected: bool,
) -> Look {
    let route = kernel::ask_route(address, interface).await.map_err(|why| why.to_string())?;
    let through = &route.interface;
    match (route.gateway, interface) {
        // The kernel keeps to the interface it is asked for; this is for kernels that do not.
        (_, Some(wanted)) if wanted != through => Err(format!("the route is through {through}")),
        (Some(gateway), _) if connected => {
            Err(format!("the route through {through} is by gateway {gateway}"))
        }
        (Some(gateway), _) => Ok(format!("route through {through} by {gateway}")),
        (None, _) => Ok(format!("connected through {through}")),
    }
}
