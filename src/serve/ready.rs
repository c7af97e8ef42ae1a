//! Whether this node is to be sent requests, for balancers, Kubernetes and DNS.

use axum::http::StatusCode;

use super::table::me;
use super::table_groups::answers_here;
use crate::control::response::{Group, Status};

/// The answer to `/ready`: of a group, whether this node's kernel answers for it; without one,
/// whether this node may have groups.
pub(super) fn judge(status: &Status, group: Option<&str>) -> (StatusCode, String) {
    let Some(wanted) = group else { return node(status) };
    let mut named = status.groups.iter().filter(|group| goes_by(group, wanted));
    match (named.next(), named.next()) {
        (None, _) => (StatusCode::NOT_FOUND, "no such group".to_owned()),
        (Some(_), Some(_)) => {
            (StatusCode::CONFLICT, "several groups have this name; write POOL/GROUP".to_owned())
        }
        (Some(group), None) if answers_here(status, group) => {
            (StatusCode::OK, format!("{} answers for it", status.node))
        }
        (Some(group), None) => {
            let words = match &group.owner {
                Some(owner) if *owner != status.node => format!("{owner} has it"),
                Some(_) | None => format!("it is {}", group.state.word()),
            };
            (StatusCode::SERVICE_UNAVAILABLE, words)
        }
    }
}

/// By its name, with its pool in front, or by any of its addresses.
fn goes_by(group: &Group, wanted: &str) -> bool {
    group.group == wanted
        || wanted
            .split_once('/')
            .is_some_and(|(pool, name)| group.pool == pool && group.group == name)
        || group.addresses.iter().any(|address| address == wanted)
}

fn node(status: &Status) -> (StatusCode, String) {
    let draining = me(status).is_some_and(|me| me.draining);
    let unready = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{} {why}", status.node));
    match (status.phase.as_str(), draining) {
        ("active", false) => (StatusCode::OK, format!("{} is active", status.node)),
        ("active", true) => unready("drains"),
        (phase, _) => unready(&format!("is {phase}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::status;
    use super::*;

    #[test]
    fn a_group_is_ready_where_its_owner_answers() {
        let status = status();
        for (group, code) in [
            ("10.77.0.100", 200),
            ("web/10.77.0.100", 200),
            ("10.77.0.101", 503),
            ("10.77.0.102", 503),
            ("fd77::102", 503),
            ("web", 404),
            ("", 404),
            ("twice", 409),
            ("api/twice", 503),
        ] {
            let (found, words) = judge(&status, Some(group));
            assert_eq!(found.as_u16(), code, "{group}: {words}");
        }
    }

    #[test]
    fn a_node_is_ready_when_it_may_have_groups() {
        let mut status = status();
        assert_eq!(judge(&status, None).0, StatusCode::OK);
        status.nodes[0].draining = true;
        assert_eq!(
            judge(&status, None),
            (StatusCode::SERVICE_UNAVAILABLE, "lb1 drains".to_owned())
        );
        status.nodes[0].draining = false;
        status.phase = "isolated".to_owned();
        assert_eq!(judge(&status, None).1, "lb1 is isolated");
    }
}
