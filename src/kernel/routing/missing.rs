//! Routes and rules that are not here although they should be, for `status`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::message::{Entry, RouteEntry};
use crate::protocol::GroupKey;

// Error numbers of Linux.
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const EOPNOTSUPP: i32 = 95;
const ENETDOWN: i32 = 100;
const ENETUNREACH: i32 = 101;
const EHOSTUNREACH: i32 = 113;

/// A route or rule of a group that this host does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRoute {
    /// As `ip route` or `ip rule` writes it.
    pub what: String,
    /// Why, and what to do.
    pub why: String,
}

/// Of the groups that are here, and of those whose last attempt failed. Shared with the thread that
/// answers `status`; held for a few map operations only.
#[derive(Clone, Debug, Default)]
pub(in crate::kernel) struct Missing(Arc<Mutex<BTreeMap<GroupKey, Vec<MissingRoute>>>>);

impl Missing {
    /// What is missing now.
    pub(in crate::kernel) fn all(&self) -> BTreeMap<GroupKey, Vec<MissingRoute>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what is missing of a group. Returns whether that is news.
    pub(super) fn note(&self, group: GroupKey, missing: Vec<MissingRoute>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.is_empty() {
            return known.remove(&group).is_some();
        }
        known.insert(group, missing.clone()) != Some(missing)
    }

    /// Forgets groups that are not configured any more.
    pub(super) fn retain(&self, keep: impl Fn(&GroupKey) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|group, _| keep(group));
    }
}

/// Why the kernel did not add it, and what to do. Code 0 is that it is gone although it was added.
pub(super) fn why(entry: &Entry, code: i32) -> String {
    let (gateway, source, link) = match entry {
        Entry::Route(RouteEntry { via, source, link, .. }) => (*via, *source, *link),
        Entry::Rule(_) => (None, None, None),
    };
    match (code, entry, gateway) {
        (0, _, _) => "another program removed it at once".to_owned(),
        (EEXIST, Entry::Route(_), _) => {
            "this host has another route with this destination, table and metric: remove that one, \
             or write another metric"
                .to_owned()
        }
        (EEXIST, Entry::Rule(_), _) => {
            "this host has the same rule already: remove that one".to_owned()
        }
        (ENETUNREACH | EHOSTUNREACH | EINVAL, _, Some(via))
            if code != EINVAL || source.is_none() =>
        {
            match link {
                Some(_) => format!(
                    "the gateway {via} cannot be reached on that interface: bring it up, give the \
                     host an address of that network there, or write onlink = true"
                ),
                None => format!("no network of this host has the gateway {via}: write dev"),
            }
        }
        (ENETDOWN, _, _) => "its interface is down: bring it up".to_owned(),
        (ENODEV, _, _) => "its interface is gone".to_owned(),
        (EPERM, _, _) => "the daemon lacks CAP_NET_ADMIN".to_owned(),
        (EACCES | EOPNOTSUPP, _, _) => {
            "the kernel does not do that here (IPv6 is off, or it has no policy routing)".to_owned()
        }
        (code, _, _) => {
            let error = std::io::Error::from_raw_os_error(code);
            format!("the kernel refused it ({error}): look at via, dev and source")
        }
    }
}
