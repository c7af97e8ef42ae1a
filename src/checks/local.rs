//! Looks at this host: processes in `/proc`, files.
//!
//! Files are looked at on a thread that may wait for the disk; a look that was given up leaves that
//! thread waiting until the disk answers, and [`super::look`] does not begin another before. Of a
//! file no more than some bytes are read. `/proc` answers at once, so that is asked directly; the
//! process that was found last is looked at first, because reading all of `/proc` each time took
//! 3 ms on a host with 300 processes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Look;
use super::stream::short;
use crate::config::{FileWanted, ProcessNamed, RegularFile};

/// Bytes read of a file that holds a number.
const NUMBER_MAX: u64 = 64;

/// Finds a process and remembers it.
#[derive(Debug, Default)]
pub(super) struct Finder {
    last: Option<u32>,
}

impl Finder {
    /// Looks once.
    pub(super) async fn look(&mut self, named: &ProcessNamed) -> Look {
        match named {
            ProcessNamed::Pidfile(file) => {
                let pid = read_number(file.clone()).await?;
                let pid = u32::try_from(pid).ok().filter(|pid| *pid > 0);
                let pid = pid.ok_or_else(|| format!("{} holds no process", file.display()))?;
                match name_of(pid) {
                    Some(name) => Ok(format!("process {pid} ({name}) runs")),
                    None => Err(format!("process {pid} of {} does not run", file.display())),
                }
            }
            ProcessNamed::Name(wanted) => {
                let has_it = |pid: &u32| name_of(*pid).as_ref() == Some(wanted);
                self.last = self.last.filter(has_it).or_else(|| pids().find(has_it));
                match self.last {
                    Some(pid) => Ok(format!("process {pid} runs")),
                    None => Err(format!("no process {wanted} runs")),
                }
            }
        }
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The name of a process that lives; nothing for a zombie.
fn name_of(pid: u32) -> Option<String> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The name stands in parentheses and may hold any character, parentheses included.
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    let dead = ["Z", "X"].contains(&after.split_whitespace().next()?);
    (!dead).then(|| name.to_owned())
}

/// Looks at a file once.
pub(super) async fn look_at_file(file: PathBuf, wanted: FileWanted) -> Look {
    let shown = file.display().to_string();
    match wanted {
        FileWanted::Number(least, most) => {
            let number = read_number(file).await?;
            let within = (least..=most).contains(&number);
            if within {
                Ok(format!("holds {number}"))
            } else {
                Err(format!("{shown} holds {number}"))
            }
        }
        FileWanted::Present | FileWanted::Absent => {
            let there = waiting(move || match fs::symlink_metadata(&file) {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(format!("{}: {}", file.display(), short(&error))),
            });
            match (there.await?, wanted == FileWanted::Present) {
                (true, true) => Ok("exists".to_owned()),
                (false, false) => Ok("does not exist".to_owned()),
                (true, false) => Err(format!("{shown} exists")),
                (false, true) => Err(format!("{shown} does not exist")),
            }
        }
    }
}

async fn read_number(file: PathBuf) -> Result<i64, String> {
    waiting(move || {
        let text =
            read_short(&file).map_err(|error| format!("{}: {}", file.display(), short(&error)))?;
        text.trim().parse().map_err(|_| format!("{} holds no number", file.display()))
    })
    .await
}

fn read_short(file: &Path) -> io::Result<String> {
    let bytes = RegularFile::open(file)?.read_beginning(NUMBER_MAX)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn block_on<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("buoy-local-{}-{name}", std::process::id()))
    }

    #[test]
    fn files_are_there_or_not_or_hold_a_number() {
        let file = place("number");
        let look = |wanted| block_on(look_at_file(file.clone(), wanted));
        let shown = file.display();
        assert_eq!(look(FileWanted::Absent), Ok("does not exist".to_owned()));
        assert_eq!(look(FileWanted::Present), Err(format!("{shown} does not exist")));
        let number = FileWanted::Number(5, 10);
        assert_eq!(look(number), Err(format!("{shown}: no such file or directory")));
        for (text, expected) in [
            (" 7\n", Ok("holds 7".to_owned())),
            ("11", Err(format!("{shown} holds 11"))),
            ("many", Err(format!("{shown} holds no number"))),
            (&"1".repeat(1000), Err(format!("{shown} holds no number"))),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(look(number), expected, "{text}");
        }
        assert_eq!(look(FileWanted::Present), Ok("exists".to_owned()));
        assert_eq!(look(FileWanted::Absent), Err(format!("{shown} exists")));
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_process_is_found_while_it_lives_and_not_as_a_zombie() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let (pid, pidfile) = (child.id(), place("pid"));
        fs::write(&pidfile, format!("{pid}\n")).unwrap();
        let by_file = ProcessNamed::Pidfile(pidfile.clone());
        let by_name = ProcessNamed::Name("cat".to_owned());
        let mut finder = Finder { last: Some(pid) };
        assert_eq!(block_on(finder.look(&by_name)), Ok(format!("process {pid} runs")));
        let look = |named| block_on(Finder::default().look(named));
        assert_eq!(look(&by_file), Ok(format!("process {pid} (cat) runs")));
        assert!(look(&by_name).is_ok());
        drop(child.stdin.take());
        // Not reaped before it has ended, so it is a zombie here.
        use nix::sys::wait::{Id, WaitPidFlag, waitid};
        let id = Id::Pid(nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap()));
        waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        let shown = pidfile.display();
        assert_eq!(look(&by_file), Err(format!("process {pid} of {shown} does not run")));
        block_on(finder.look(&by_name)).ok();
        assert_ne!(finder.last, Some(pid), "it is a zombie");
        child.wait().unwrap();
        fs::write(&pidfile, "-1").unwrap();
        assert_eq!(look(&by_file), Err(format!("{shown} holds no process")));
        fs::remove_file(&pidfile).unwrap();
        let none = ProcessNamed::Name("no-such-name".to_owned());
        assert_eq!(look(&none), Err("no process no-such-name runs".to_owned()));
    }
}
