//! Programs of the host, run for what they print: for a limited time, and for a limited amount.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// So much of what a program complains about is read.
const COMPLAINT_BYTES_MAX: u64 = 4096;

/// Returns what a program prints. A program that fails, is not there, takes longer or prints more is
/// an error in words; what it has started is killed then.
pub(super) fn output(
    command: &mut Command,
    within: Duration,
    most: u64,
) -> Result<Vec<u8>, String> {
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let (out, errors) = (child.stdout.take(), child.stderr.take());
    let (tell, answer) = sync_channel(1);
    thread::spawn(move || {
        let errors = thread::spawn(move || read(errors, COMPLAINT_BYTES_MAX));
        let out = read(out, most.saturating_add(1));
        // The caller has given up if it took too long.
        let _ = tell.send((out, errors.join().unwrap_or_default()));
    });
    let refused = match answer.recv_timeout(within) {
        Ok((out, errors)) if out.len() as u64 <= most => {
            let status = child.wait().map_err(|error| error.to_string())?;
            if status.success() {
                return Ok(out);
            }
            let errors = String::from_utf8_lossy(&errors);
            let last = errors.lines().rev().find(|line| !line.trim().is_empty());
            return Err(last.map_or_else(|| status.to_string(), |line| line.trim().to_owned()));
        }
        Ok(_) => format!("it printed more than {most} bytes"),
        Err(_) => format!("no answer within {} s", within.as_secs_f64()),
    };
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
    Err(refused)
}

fn read(stream: Option<impl Read>, most: u64) -> Vec<u8> {
    let mut text = Vec::new();
    if let Some(stream) = stream {
        // What cannot be read is missing; the exit code of the program says why.
        let _ = stream.take(most).read_to_end(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_have_limits_and_say_why_they_failed() {
        let run =
            |text: &str, within| output(Command::new("/bin/sh").arg("-c").arg(text), within, 100);
        let long = Duration::from_secs(60);
        assert_eq!(run("echo well", long), Ok(b"well\n".to_vec()));
        assert_eq!(run("echo because >&2; exit 3", long), Err("because".to_owned()));
        assert_eq!(run("kill -9 $$", long), Err("signal: 9 (SIGKILL)".to_owned()));
        let endless = "while :; do echo more; done";
        assert_eq!(run(endless, long), Err("it printed more than 100 bytes".to_owned()));
        // The pipe is kept open by a program that the shell has started.
        let slow = run("tail -f /dev/null & tail -f /dev/null", Duration::from_millis(50));
        assert_eq!(slow, Err("no answer within 0.05 s".to_owned()));
        assert!(output(&mut Command::new("/nonexistent"), long, 1).is_err());
    }
}
