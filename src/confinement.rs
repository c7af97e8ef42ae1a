//! Takes from this process for good what it will never need of files and of TCP (Landlock).
//!
//! Called by processes that start no programs of others: `buoy serve`, the guardian, and the process
//! that holds the tables. The daemon itself cannot be confined: hooks and checks are its children,
//! would be confined with it, and may do what their operator wants. What is taken can never be given
//! back, and holds for the calling thread and for all threads that it starts later.
//!
//! A kernel without Landlock refuses nothing; that is an outcome and no error.

use std::fmt;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};

/// Rights to files that are taken: those that Linux 6.10 knows.
const FILES: ABI = ABI::V5;
/// Rights to TCP that are taken: to bind and to connect, since Linux 6.7.
const TCP: ABI = ABI::V4;

/// What remains permitted to files below a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To read files and directories.
    Read,
    /// To rename and to remove files.
    Replace,
    /// To write to files that are there.
    Write,
}

/// What the kernel has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confined {
    /// Everything that was asked for.
    Wholly,
    /// What this kernel knows of it.
    Partly,
    /// Nothing: the kernel has no Landlock, or a filter refuses its system calls.
    Not,
}

impl fmt::Display for Confined {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Wholly => "confined by Landlock",
            Self::Partly => "confined by Landlock as far as this kernel can",
            Self::Not => "not confined: no Landlock in this kernel, or a filter refuses its calls",
        })
    }
}

impl Right {
    fn access(self) -> BitFlags<AccessFs> {
        match self {
            Self::Read => AccessFs::ReadFile | AccessFs::ReadDir,
            Self::Replace => AccessFs::RemoveFile | AccessFs::MakeReg,
            Self::Write => AccessFs::WriteFile | AccessFs::Truncate,
        }
    }
}

/// Takes the right to use any file but as these rights permit, to run programs, and to bind or connect
/// TCP sockets. Open files and sockets stay usable, sockets of other kinds are not concerned. A
/// directory that is not there gives no right.
///
/// # Errors
///
/// In words, if the kernel refuses although it has Landlock. Nothing was taken then.
pub fn confine(rights: &[(&str, Right)]) -> Result<Confined, String> {
    let refused = |error: landlock::RulesetError| error.to_string();
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(FILES))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(TCP)))
        .and_then(Ruleset::create);
    let mut rules = rules.map_err(refused)?;
    for (path, right) in rights {
        let Ok(directory) = PathFd::new(path) else { continue };
        rules = rules.add_rule(PathBeneath::new(directory, right.access())).map_err(refused)?;
    }
    Ok(match rules.restrict_self().map_err(refused)?.ruleset {
        RulesetStatus::FullyEnforced => Confined::Wholly,
        RulesetStatus::PartiallyEnforced => Confined::Partly,
        RulesetStatus::NotEnforced => Confined::Not,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::Command;
    use std::thread;

    use super::*;

    /// What a confined thread could do.
    #[derive(Debug, PartialEq, Eq)]
    struct Could {
        read: bool,
        write: bool,
        remove: bool,
        run: bool,
        listen: bool,
        connect: bool,
        ask_unix: bool,
    }

    fn attempt(rights: &[(&str, Right)]) -> (Confined, Could) {
        let name = format!("buoy-confined-{}-{}", std::process::id(), rights.len());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let (file, socket) = (directory.join("file"), directory.join("socket"));
        fs::write(&file, "text").unwrap();
        let _ = fs::remove_file(&socket);
        let _unix = UnixListener::bind(&socket).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let could = |done: io::Result<()>| match done {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
                false
            }
        };
        let tried = thread::scope(|scope| {
            let confined = scope.spawn(|| {
                let outcome = confine(rights).unwrap();
                let tried = Could {
                    read: could(fs::read(&file).map(drop)),
                    write: could(fs::write(&file, "other")),
                    remove: could(fs::remove_file(&file)),
                    run: could(Command::new("/bin/true").status().map(drop)),
                    listen: could(TcpListener::bind("127.0.0.1:0").map(drop)),
                    connect: could(TcpStream::connect(address).map(drop)),
                    ask_unix: could(UnixStream::connect(&socket).map(drop)),
                };
                (outcome, tried)
            });
            confined.join().unwrap()
        });
        assert!(fs::read("/etc/passwd").is_ok(), "other threads are not concerned");
        fs::remove_dir_all(&directory).unwrap();
        tried
    }

    #[test]
    fn what_is_not_needed_is_taken_where_the_kernel_can() {
        let none = Could {
            read: false,
            write: false,
            remove: false,
            run: false,
            listen: false,
            connect: false,
            ask_unix: true,
        };
        let all = Could {
            read: true,
            write: true,
            remove: true,
            run: true,
            listen: true,
            connect: true,
            ask_unix: true,
        };
        let (outcome, could) = attempt(&[]);
        match outcome {
            Confined::Not => return assert_eq!(could, all, "a kernel without refuses nothing"),
            Confined::Partly => return assert!(!could.read && !could.run, "{could:?}"),
            Confined::Wholly => assert_eq!(could, none),
        }
        let (_, could) = attempt(&[("/", Right::Read), ("/nowhere", Right::Write)]);
        assert_eq!(could, Could { read: true, ..none }, "to run is more than to read");
        let rights = [("/", Right::Read), ("/", Right::Replace), ("/proc/sys/net", Right::Write)];
        let (_, could) = attempt(&rights);
        assert_eq!(could, Could { read: true, remove: true, ..could }, "and write nothing");
        assert!(!could.write && !could.run && !could.listen, "{could:?}");
    }
}
