//! A panic of any thread ends the process, before anything is unwound.
//!
//! A daemon without its protocol thread, or without the one that renews the lease, would hold
//! addresses and not know it. The guardian notices the end at once, and peers take over. This is
//! not `panic = "abort"` of the profile: test programs cannot have that, and everything would be
//! built twice.

use std::panic;
use std::process;

/// Has every later panic of this process end it with SIGABRT, once its message is printed.
pub(super) fn end_the_process() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        print(panic);
        process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};
    use std::thread;

    use super::*;

    const CHILD: &str = "BUOY_TEST_PANICS";
    const SIGABRT: i32 = 6;

    /// Runs itself in a process of its own, one thread of which panics while another catches that.
    #[test]
    fn a_panic_of_any_thread_ends_the_process() {
        if std::env::var_os(CHILD).is_some() {
            end_the_process();
            let ended = thread::spawn(|| panic!("on purpose")).join();
            // Not reached; with exit code 0 the parent sees it.
            assert!(ended.is_err());
            return;
        }
        let name = thread::current().name().expect("tests have names").to_owned();
        let this = std::env::current_exe().expect("it runs");
        let mut child = Command::new(this);
        child.args(["--exact", &name, "--test-threads=2"]).env(CHILD, "1");
        let ended = child.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it starts");
        assert_eq!(ended.signal(), Some(SIGABRT), "{ended}");
    }
}
