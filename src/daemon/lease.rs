//! Renews the kernel's lease for as long as the protocol thread lives and is sure of itself, and
//! lets the guardian know.
//!
//! ```text
//!   protocol thread: after each turn, "this node may answer until then"  (an atomic number)
//!                                             |
//!   this thread, each RENEWAL: -------------> renew for what is left ---> the gate (kernel::gate)
//!                                         \-> tell, start again ---------> the guardian
//! ```
//!
//! A thread of its own, because the way to the kernel may be held up by others who change their
//! rules, and heartbeats must not be. If it is late, or the protocol thread is, the kernel closes
//! the gate by itself; nobody has to notice anything for that.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::clock;
use super::event_loop::Vital;
use super::guardian::Guardian;
use super::realtime;
use super::will::Farewell;
use crate::kernel::{Kernel, Lease, Renewal};
use crate::protocol::Instant;

/// Between two renewals: a sixth of the shortest lease. Each takes about 30 us.
const RENEWAL: Duration = Duration::from_millis(50);

/// What the thread works with.
pub(crate) struct Parts {
    /// `None` where there is no gate.
    pub(crate) lease: Option<Lease>,
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) vital: Arc<Vital>,
    pub(crate) guardian: Guardian,
    /// Farewells for the guardian.
    pub(crate) will: Option<Receiver<Vec<Farewell>>>,
}

/// The running thread.
pub(crate) struct LeaseKeeper {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Guardian>,
}

impl LeaseKeeper {
    /// Starts to renew.
    pub(crate) fn spawn(parts: Parts) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let body = move || {
            // The protocol thread has told why, if it is not permitted. The guardian inherits it.
            let _ = realtime::take_precedence();
            parts.keep(&told)
        };
        let thread = thread::Builder::new().name("lease".to_owned()).spawn(body)?;
        Ok(Self { ended, thread })
    }

    /// Ends it; what was granted runs out. The guardian is to be dismissed when all is removed.
    pub(crate) fn stop(self) -> Option<Guardian> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        if let Ok(guardian) = self.thread.join() {
            return Some(guardian);
        }
        tracing::error!("the lease thread panicked");
        None
    }
}

impl Parts {
    fn keep(mut self, ended: &AtomicBool) -> Guardian {
        while !ended.load(Ordering::Relaxed) {
            if let Some(farewells) = self.will.as_ref().and_then(|will| will.try_iter().last()) {
                self.guardian.set_farewells(farewells);
            }
            let until = Instant::from_nanos(self.vital.answers_until.load(Ordering::Relaxed));
            let left = until.since(clock::now());
            if left > Duration::ZERO {
                self.renew(left);
                self.guardian.alive(until, &self.vital);
            }
            thread::park_timeout(RENEWAL);
        }
        self.guardian
    }

    fn renew(&mut self, left: Duration) {
        let Some(lease) = &mut self.lease else { return };
        match lease.renew(left) {
            Renewal::Done => {}
            Renewal::Gone => self.kernel.rebuild_gate(left),
            Renewal::Failed(error) => {
                tracing::warn!(%error, "the kernel's lease cannot be renewed");
            }
        }
    }
}
