//! `buoy check --restart`: whether a restart of this host's daemon would leave every address here.
//!
//! For scripts that are about to restart it, those of packages above all: exit code 0 promises that
//! the file is valid, that it is the one in force, and that the daemon would leave all to its next
//! process. What happens between this answer and the restart is not known; then the daemon hands over.

use std::io;
use std::path::Path;

use serde_json::json;

use crate::config;
use crate::control::client;
use crate::control::response::Restart;
use crate::exit::Exit;

use super::{Failure, Streams, check, inquiry};

/// Checks the file, then asks the daemon behind `socket`.
pub(super) fn run(
    path: &Path,
    socket: &Path,
    json: bool,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let Ok(config) = config::load(path) else { return check::run(path, false, json, streams) };
    let restart = match client::restart(socket) {
        Ok(restart) => restart,
        Err(error) => return inquiry::failed(&error, json, streams),
    };
    if let Some(reason) = hindrance(restart, config.digest) {
        let reason = format!("a restart now would not be in place: {reason}");
        writeln!(streams.err, "buoy: {reason}")?;
        if json {
            let failure = Failure { code: "not_in_place", details: &[] };
            failure.write(Exit::Refused, &reason, streams)?;
        }
        return Ok(Exit::Refused);
    }
    if json {
        writeln!(streams.out, "{}", json!({ "schema": 1, "in_place": true }))?;
    } else {
        writeln!(streams.out, "a restart now would be in place: no address moves")?;
    }
    Ok(Exit::Done)
}

/// Returns what keeps a restart with a file of this digest from being in place.
fn hindrance(restart: Option<Restart>, digest: u64) -> Option<String> {
    let Some(restart) = restart else {
        return Some("the running daemon is of a version that cannot be asked".to_owned());
    };
    if restart.digest != format!("{digest:016x}") {
        let reason = "the file is not the configuration in force; 'buoy reload' applies it";
        return Some(reason.to_owned());
    }
    restart.hindered_by
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_in_force_and_a_daemon_at_rest_make_a_restart_in_place() {
        let restart = |hindered_by: Option<&str>| Restart {
            in_place: hindered_by.is_none(),
            hindered_by: hindered_by.map(str::to_owned),
            digest: "00000000000000ab".to_owned(),
        };
        assert_eq!(hindrance(Some(restart(None)), 0xab), None);
        assert_eq!(hindrance(Some(restart(Some("busy"))), 0xab).as_deref(), Some("busy"));
        let other = hindrance(Some(restart(None)), 0xac).expect("another file");
        assert!(other.contains("not the configuration in force"), "{other}");
        assert!(hindrance(None, 0xab).expect("an old daemon").contains("version"));
    }
}
