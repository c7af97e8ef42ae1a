//! Ctrl-C and its like, turned into a question that every wait of the lab asks.
//!
//! The signals are blocked and read by a thread, so that nothing is interrupted half-way and the
//! lab ends by returning from its functions, which cleans up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, thread};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::namespace::NamespaceError;

/// Tells whether the user wants the lab to end.
#[derive(Clone, Debug)]
pub struct Interruption {
    wanted: Arc<AtomicBool>,
}

impl Interruption {
    /// Begins to listen, for this thread and those it starts from now on. What they start as
    /// processes is not affected.
    ///
    /// # Errors
    /// When the kernel refuses a signal descriptor.
    pub fn listen() -> Result<Self, NamespaceError> {
        let cannot = |error: io::Error| NamespaceError::System("listen to signals", error);
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block().map_err(|errno| cannot(errno.into()))?;
        let descriptor = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)
            .map_err(|errno| cannot(errno.into()))?;
        let wanted = Arc::new(AtomicBool::new(false));
        let ours = Arc::clone(&wanted);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                while descriptor.read_signal().is_ok() {
                    ours.store(true, Ordering::Relaxed);
                }
            })
            .map_err(cannot)?;
        Ok(Self { wanted })
    }

    /// One that nobody can ask for; for tests.
    #[must_use]
    pub fn never() -> Self {
        Self { wanted: Arc::new(AtomicBool::new(false)) }
    }

    /// Whether the lab is to end.
    #[must_use]
    pub fn wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }
}
