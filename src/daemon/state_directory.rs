//! The directory of what must survive a restart of the host.
//!
//! What the command line says, else `$STATE_DIRECTORY`, which the service manager sets, else
//! `/var/lib/buoy` for the daemon with the usual runtime directory, else the runtime directory.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The runtime directory of the daemon that a host usually has one of.
const USUAL_RUNTIME: &str = "/run/buoy";
/// Its state directory.
const USUAL_STATE: &str = "/var/lib/buoy";

/// Where the state of the daemon with this runtime directory is.
pub(crate) fn state_directory(asked: Option<&Path>, runtime: &Path) -> PathBuf {
    let managed = || choose(env::var_os("STATE_DIRECTORY"), runtime);
    asked.map_or_else(managed, Path::to_owned)
}

fn choose(told: Option<OsString>, runtime: &Path) -> PathBuf {
    let first = told.and_then(|told| env::split_paths(&told).next());
    match first.filter(|first| !first.as_os_str().is_empty()) {
        Some(first) => first,
        None if runtime == Path::new(USUAL_RUNTIME) => USUAL_STATE.into(),
        None => runtime.to_owned(),
    }
}

/// Puts this in the place of what is in the file: whole or not at all, and there after a loss of
/// power when this returns. The directory is made if it is not there.
pub(crate) fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o750).create(directory)?;
    let new = file.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut written = options.open(&new)?;
    written.write_all(content)?;
    written.sync_all()?;
    fs::rename(&new, file)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_manager_says_comes_first() {
        let chosen = |told: Option<&str>, runtime: &str| {
            choose(told.map(Into::into), Path::new(runtime)).display().to_string()
        };
        assert_eq!(chosen(Some("/srv/state"), "/run/buoy"), "/srv/state");
        assert_eq!(chosen(Some("/srv/a:/srv/b"), "/run/buoy"), "/srv/a");
        assert_eq!(chosen(Some(""), "/run/buoy"), "/var/lib/buoy");
        assert_eq!(chosen(None, "/run/buoy-edge"), "/run/buoy-edge");
    }
}
