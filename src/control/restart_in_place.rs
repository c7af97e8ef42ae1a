//! What is told of a restart in place, and why there was none.

use super::duration_text::precise;
use super::names::Names;
use super::response::Restart;
use super::sentences::phase;
use crate::protocol::{Misfit, Obstacle};

/// Why a node does not leave all to its next process.
#[must_use]
pub fn obstacle(why: Obstacle, names: &Names) -> String {
    match why {
        Obstacle::Phase(is) => format!("it is {}", phase(is)),
        Obstacle::Busy => "a group is moving or contested, or a drain waits for connections".into(),
        Obstacle::Conflict(group) => format!(
            "a host outside the cluster answers for {}, which the next process would not know",
            names.group(group).group
        ),
        Obstacle::LeaseShort => {
            "the voters did not grant leases in time that last until the next process runs".into()
        }
    }
}

/// Why a node does not go on with what the process before has left.
#[must_use]
pub fn misfit(why: Misfit, names: &Names) -> String {
    let of = |group| names.group(group).group;
    match why {
        Misfit::OtherNode => "it belongs to another node".into(),
        Misfit::Untimely { age } if age.is_zero() => "it is from the future".into(),
        Misfit::Untimely { age } => {
            format!("it is {} old, longer than the kernel answers without a daemon", precise(age))
        }
        Misfit::NotConfigured(group) => format!("{} is no longer configured", of(group)),
        Misfit::Majority(group) => format!("{} is in mode majority now", of(group)),
        Misfit::OtherVoters => "other nodes vote now".into(),
        Misfit::LeaseOver(group) => format!("the lease of {} is over", of(group)),
        Misfit::NotPresent(group) => {
            format!("the kernel does not have all addresses of {}", of(group))
        }
    }
}

/// Returns what a restart would do now, with this digest of the configuration in force. Without
/// `configured` the file does not ask for a restart in place.
#[must_use]
pub fn now(configured: bool, why: Option<Obstacle>, digest: u64, names: &Names) -> Restart {
    let hindered_by = match (configured, why) {
        (false, _) => Some("the file does not have restart = \"in-place\"".to_owned()),
        (true, why) => why.map(|why| obstacle(why, names)),
    };
    Restart { in_place: hindered_by.is_none(), hindered_by, digest: format!("{digest:016x}") }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_restart_is_in_place_if_that_is_configured_and_nothing_hinders_it() {
        let names = fixture::names();
        let would = |configured, why| now(configured, why, 0xab, &names);
        assert_eq!(
            would(true, None),
            Restart { in_place: true, hindered_by: None, digest: "00000000000000ab".to_owned() }
        );
        let hindered = |restart: Restart| (restart.in_place, restart.hindered_by.unwrap());
        let (in_place, why) = hindered(would(true, Some(Obstacle::Busy)));
        assert!(!in_place && why.contains("a group is moving"), "{why}");
        let (in_place, why) = hindered(would(false, None));
        assert!(!in_place && why.contains("restart = \"in-place\""), "{why}");
    }
}
