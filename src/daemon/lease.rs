//! Renews the kernel's lease for as long as the protocol thread lives and is sure of itself.
//!
//! ```text
//!   protocol thread: after each turn, "this node may answer until then"  (an atomic number)
//!                                             |
//!   this thread, each RENEWAL: -------------> renew for what is left ---> the gate (kernel::gate)
//! ```
//!
//! A thread of its own, because the way to the kernel may be held up by others who change their
//! rules, and heartbeats must not be. If it is late, or the protocol thread is, the kernel closes
//! the gate by itself; nobody has to notice anything for that.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::clock;
use super::event_loop::Vital;
use super::realtime;
use crate::kernel::{Kernel, Lease, Renewal};
use crate::protocol::Instant;

/// Between two renewals: a sixth of the shortest lease. Each takes about 30 us.
const RENEWAL: Duration = Duration::from_millis(50);

/// The running thread.
pub(crate) struct LeaseKeeper {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl LeaseKeeper {
    /// Starts to renew.
    pub(crate) fn spawn(lease: Lease, kernel: Arc<Kernel>, vital: Arc<Vital>) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let body = move || {
            // The protocol thread has told why, if it is not permitted.
            let _ = realtime::take_precedence();
            keep(lease, &kernel, &vital, &told);
        };
        let thread = thread::Builder::new().name("lease".to_owned()).spawn(body)?;
        Ok(Self { ended, thread })
    }

    /// Ends it; what was granted runs out.
    pub(crate) fn stop(self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the lease thread panicked");
        }
    }
}

fn keep(mut lease: Lease, kernel: &Kernel, vital: &Vital, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        let until = Instant::from_nanos(vital.answers_until.load(Ordering::Relaxed));
        let left = until.since(clock::now());
        if left > Duration::ZERO {
            match lease.renew(left) {
                Renewal::Done => {}
                Renewal::Gone => kernel.rebuild_gate(left),
                Renewal::Failed(error) => {
                    tracing::warn!(%error, "the kernel's lease cannot be renewed");
                }
            }
        }
        thread::park_timeout(RENEWAL);
    }
}
