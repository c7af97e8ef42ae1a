//! Ctrl-C and its like, turned into a question that every wait of the lab asks.
//!
//! So nothing is interrupted half-way, and the lab ends by returning from its functions, which
//! cleans up. The signals are caught, not blocked: a blocked one would be blocked in the daemons
//! as well, which inherit the mask, and they could not be stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, thread};

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::namespace::NamespaceError;

/// Tells whether the user wants the lab to end.
#[derive(Clone, Debug)]
pub struct Interruption {
    wanted: Arc<AtomicBool>,
}

impl Interruption {
    /// Begins to listen: from now on the signals do not end this process by themselves.
    ///
    /// # Errors
    /// When the signals cannot be caught.
    pub fn listen() -> Result<Self, NamespaceError> {
        let cannot = |error: io::Error| NamespaceError::System("listen to signals", error);
        let runtime = runtime::Builder::new_current_thread().enable_io().build().map_err(cannot)?;
        let (mut interrupt, mut terminate, mut hangup) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::interrupt()).map_err(cannot)?,
                signal(SignalKind::terminate()).map_err(cannot)?,
                signal(SignalKind::hangup()).map_err(cannot)?,
            )
        };
        let wanted = Arc::new(AtomicBool::new(false));
        let ours = Arc::clone(&wanted);
        let listen = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            ours.store(true, Ordering::Relaxed);
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(listen))
            .map_err(cannot)?;
        Ok(Self { wanted })
    }

    /// Whether the lab is to end.
    #[must_use]
    pub fn wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }
}
