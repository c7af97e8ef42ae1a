//! `buoy keygen`: a fresh key in a file that only its owner may read.

use std::io;
use std::path::Path;

use chacha20poly1305::aead::OsRng;
use chacha20poly1305::aead::rand_core::RngCore;
use serde_json::json;

use crate::config::write_new_key;
use crate::exit::Exit;

use super::Streams;

/// Writes the key and says what to do with it; the secret itself is never shown.
pub(super) fn run(path: &Path, json: bool, streams: &mut Streams<'_>) -> io::Result<Exit> {
    let mut secret = [0; 32];
    if let Err(error) = OsRng.try_fill_bytes(&mut secret) {
        writeln!(streams.err, "buoy: the system gives no random bytes: {error}")?;
        return Ok(Exit::Failed);
    }
    let shown = path.display();
    if let Err(error) = write_new_key(path, &secret) {
        if error.kind() == io::ErrorKind::AlreadyExists {
            writeln!(
                streams.err,
                "buoy: {shown} exists and is not overwritten; name another file, or remove it if \
                 no node uses it"
            )?;
        } else {
            writeln!(streams.err, "buoy: {shown} cannot be written: {error}")?;
        }
        return Ok(Exit::Failed);
    }
    if json {
        writeln!(streams.out, "{}", json!({ "schema": 1, "path": path, "id": 1 }))?;
    } else {
        writeln!(streams.out, "wrote {shown}; copy it to every node, mode 0600 there too")?;
    }
    Ok(Exit::Done)
}
