//! The file of `buoy plan --config`: read here, with the rights of whoever asks.

use std::path::Path;

use crate::config::{self, Keys, Refused};

/// The text, once it is known to be without fault. The key file is not looked for: whoever plans
/// need not be able to read it, and the daemon has the keys.
pub(super) fn text(path: &Path) -> Result<String, Refused> {
    let text = config::read(path)?;
    config::parse_with_keys(&text, path, Keys::withheld())?;
    Ok(text)
}
