//! Waits for a process of this cluster on this host that is about to end.
//!
//! Called once at a start, before anything of the kernel is looked at. Two daemons of one cluster on
//! one host would change the same addresses; a guardian that removes what a dead daemon left has to
//! end first.

use std::time::Duration;

use super::clock;
use crate::kernel::{Found, Mark, Presence};

/// A daemon that has been killed, and its guardian, have ended after this.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// How often to look.
const ENDS_LOOK: Duration = Duration::from_millis(2);

/// Takes the name by which other processes see that a daemon of this cluster lives here. A guardian
/// that removes what a dead daemon left, or the end of that daemon, is waited for.
pub(crate) async fn take_presence(mark: Mark) -> Option<Presence> {
    let begun = clock::now();
    loop {
        match Presence::take(mark) {
            Ok(Found::Nobody(presence)) => return Some(presence),
            Ok(Found::Starting | Found::Running) if clock::now().since(begun) < ENDS_WITHIN => {
                tokio::time::sleep(ENDS_LOOK).await;
            }
            Ok(Found::Starting | Found::Running) => {
                tracing::error!(
                    "another process on this host has the socket name of a daemon of this \
                     cluster: stop it, or both change the same addresses"
                );
                return None;
            }
            Err(error) => {
                tracing::warn!(%error, "other processes cannot see that this daemon runs");
                return None;
            }
        }
    }
}
