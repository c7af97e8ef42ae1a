//! `buoy keygen`: a fresh key in a file that only its owner may read.

use std::io;
use std::path::Path;

use chacha20poly1305::aead::OsRng;
use chacha20poly1305::aead::rand_core::RngCore;
use serde_json::json;

use crate::config::write_new_key;
use crate::exit::Exit;

use super::{Failure, Streams};

/// Writes the key and says what to do with it; the secret itself is never shown.
pub(super) fn run(path: &Path, json: bool, streams: &mut Streams<'_>) -> io::Result<Exit> {
    if path == Path::new("-") {
        let reason = "a key is written to a file, not to standard output; name the file";
        return failed("not_written", reason, json, streams);
    }
    let mut secret = [0; 32];
    if let Err(error) = OsRng.try_fill_bytes(&mut secret) {
        let reason = format!("no random bytes from the system: {error}");
        return failed("no_random_bytes", &reason, json, streams);
    }
    let shown = path.display();
    if let Err(error) = write_new_key(path, &secret) {
        let (code, reason) = if error.kind() == io::ErrorKind::AlreadyExists {
            let remedy = "name another file, or remove it if no node uses it";
            ("exists", format!("{shown} exists and is never overwritten; {remedy}"))
        } else {
            ("not_written", format!("{shown} cannot be written: {error}"))
        };
        return failed(code, &reason, json, streams);
    }
    if json {
        writeln!(streams.out, "{}", json!({ "schema": 1, "path": path, "id": 1 }))?;
    } else {
        writeln!(streams.out, "wrote {shown}; copy it to every node, mode 0600 there too")?;
    }
    Ok(Exit::Done)
}

fn failed(code: &str, reason: &str, json: bool, streams: &mut Streams<'_>) -> io::Result<Exit> {
    writeln!(streams.err, "buoy: {reason}")?;
    if json {
        Failure { code, details: &[] }.write(Exit::Failed, reason, streams)?;
    }
    Ok(Exit::Failed)
}
