//! Groups that are virtual routers to hosts outside (VRRP), as `status` tells of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration_text::span;
use super::table::{Table, numbers, words};

/// One virtual router of one family at the asked node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualRouter {
    /// Name of its group.
    pub group: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Its number (VRID).
    pub id: u8,
    /// The version that is spoken, 2 or 3.
    pub version: u8,
    /// The priority of the cluster.
    pub priority: u8,
    /// `listening` before anything is known, `speaking` while this node advertises, else `silent`.
    pub state: String,
    /// Advertisements sent by this node.
    pub sent: u64,
    /// Advertisements not taken in, by reason.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
    /// The routers outside that speak of it now.
    #[serde(default)]
    pub outside: Vec<OutsideRouter>,
}

/// A router outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideRouter {
    /// The source of its advertisements.
    pub source: IpAddr,
    /// Its priority; 0 if it stops.
    pub priority: u8,
    /// Version of VRRP in its advertisements.
    pub version: u8,
    /// Time since its last advertisement, in milliseconds.
    pub age_ms: u64,
    /// How it speaks otherwise than the file says, because of which nothing is said to it; `null` if
    /// it does not.
    pub difference: Option<String>,
}

/// A virtual router that others advertise on a link of this node, and that is not in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverheardRouter {
    /// The interface.
    pub interface: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Its number (VRID).
    pub id: u8,
    /// Version of VRRP in its last advertisement.
    pub version: u8,
    /// Priority in its last advertisement.
    pub priority: u8,
    /// The source of its last advertisement.
    pub source: IpAddr,
    /// Time since its last advertisement, in milliseconds.
    pub age_ms: u64,
}

/// A table of the virtual routers of others; empty without any.
pub(super) fn overheard(routers: &[OverheardRouter]) -> String {
    if routers.is_empty() {
        return String::new();
    }
    let mut table = Table::new(vec![
        words("NOT IN THIS FILE"),
        numbers("VRID"),
        numbers("VERSION"),
        numbers("PRIORITY"),
        words("SOURCE"),
        words("HEARD"),
    ]);
    for router in routers {
        table.row(vec![
            format!("{} ({})", router.interface, router.family),
            router.id.to_string(),
            router.version.to_string(),
            router.priority.to_string(),
            router.source.to_string(),
            format!("{} ago", span(Duration::from_millis(router.age_ms))),
        ]);
    }
    format!("\n{}", table.text())
}

/// A table, and a sentence for each router that speaks otherwise; empty without any.
pub(super) fn text(routers: &[VirtualRouter]) -> String {
    if routers.is_empty() {
        return String::new();
    }
    let mut table = Table::new(vec![
        words("VIRTUAL ROUTER"),
        numbers("VRID"),
        numbers("VERSION"),
        numbers("PRIORITY"),
        words("STATE"),
        words("OUTSIDE"),
    ]);
    let mut sentences = String::new();
    for router in routers {
        let outside: Vec<String> = router.outside.iter().map(OutsideRouter::in_short).collect();
        table.row(vec![
            format!("{} ({})", router.group, router.family),
            router.id.to_string(),
            router.version.to_string(),
            router.priority.to_string(),
            router.state.clone(),
            if outside.is_empty() { "-".to_owned() } else { outside.join(", ") },
        ]);
        for other in &router.outside {
            if let Some(difference) = &other.difference {
                sentences.push_str(&format!(
                    "\n{} advertises VRID {} {difference}: buoy sends nothing until it is silent\n",
                    other.source, router.id
                ));
            }
        }
    }
    format!("\n{}{sentences}", table.text())
}

impl OutsideRouter {
    fn in_short(&self) -> String {
        let age = span(Duration::from_millis(self.age_ms));
        format!("{} with priority {}, heard {age} ago", self.source, self.priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_routers_of_others_are_listed() {
        assert_eq!(overheard(&[]), "");
        let router = OverheardRouter {
            interface: "eth0".to_owned(),
            family: "ipv4".to_owned(),
            id: 52,
            version: 2,
            priority: 100,
            source: [192, 0, 2, 9].into(),
            age_ms: 700,
        };
        assert_eq!(
            overheard(&[router]),
            "\n\
             NOT IN THIS FILE  VRID  VERSION  PRIORITY  SOURCE     HEARD\n\
             eth0 (ipv4)         52        2       100  192.0.2.9  700ms ago\n"
        );
    }

    #[test]
    fn who_speaks_and_how_is_told() {
        assert_eq!(text(&[]), "");
        let other = |priority, difference: Option<&str>| OutsideRouter {
            source: [192, 0, 2, 11].into(),
            priority,
            version: 2,
            age_ms: 400,
            difference: difference.map(str::to_owned),
        };
        let router = |group: &str, state: &str, outside| VirtualRouter {
            group: group.to_owned(),
            family: "ipv4".to_owned(),
            id: 51,
            version: 3,
            priority: 150,
            state: state.to_owned(),
            sent: 3,
            refused: BTreeMap::new(),
            outside,
        };
        let said = text(&[
            router("gw", "speaking", vec![]),
            router(
                "api",
                "silent",
                vec![other(200, Some("as version 2; the file says version 3"))],
            ),
        ]);
        assert_eq!(
            said,
            "\n\
             VIRTUAL ROUTER  VRID  VERSION  PRIORITY  STATE     OUTSIDE\n\
             gw (ipv4)         51        3       150  speaking  -\n\
             api (ipv4)        51        3       150  silent    192.0.2.11 with priority 200, heard \
             400ms ago\n\
             \n192.0.2.11 advertises VRID 51 as version 2; the file says version 3: buoy sends nothing \
             until it is silent\n"
        );
    }
}
