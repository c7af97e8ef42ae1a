//! The end of the daemon, when its protocol has ended: who removes what, in which order.
//!
//! What holds addresses comes first, then what its voter has promised is stored, and last is what
//! waits for programs of others.

use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::event_file::EventWriter;
use super::guardian::Guardian;
use super::in_place::Parting;
use super::lease::LeaseKeeper;
use super::local_services::LocalServices;
use super::promise_record::PromiseFile;
use super::state_file::Estate;
use crate::kernel::Kernel;
use crate::protocol::PromiseRecord;

/// What the protocol thread leaves to the next process.
#[derive(Debug, Default)]
pub(crate) enum Left {
    /// Nothing: it was abandoned, or never voted.
    #[default]
    Nothing,
    /// What its voter has promised.
    Promises(Box<PromiseRecord>),
    /// Everything: the next process goes on with its life.
    Estate(Box<Estate>),
}

/// What of the kernel side has been started.
pub(crate) struct Held {
    /// The kernel side.
    pub(crate) kernel: Arc<Kernel>,
    /// Who renews the lease, and who looks after the guardian.
    pub(crate) kept: Option<(LeaseKeeper, Guardian)>,
}

/// Ends everything but the protocol. Programs of others get `patience`; what happens meanwhile is
/// still recorded.
///
/// # Errors
///
/// What the daemon has ended with.
pub(crate) async fn end(
    Held { kernel, kept }: Held,
    (services, events): (Option<(LocalServices, Duration)>, EventWriter),
    (outcome, promises): (Result<Parting, Error>, PromiseFile),
) -> Result<(), Error> {
    let (parting, outcome) = match outcome {
        Ok(parting) => (parting, Ok(())),
        Err(error) => (Parting::Ordinary(None), Err(error)),
    };
    let guardian = kept.map(|(keeper, guardian)| {
        keeper.stop();
        guardian
    });
    match parting {
        Parting::InPlace(stand_by) => {
            if let Some(guardian) = guardian {
                guardian.stand_by(stand_by);
            }
            leave_kernel(kernel);
        }
        Parting::Ordinary(promised) => {
            stop_kernel(kernel);
            if let Some(guardian) = guardian {
                guardian.dismiss();
            }
            if let Some(record) = promised {
                promises.leave(record);
            }
        }
    }
    if let Some((services, patience)) = services {
        services.stop(patience).await;
    }
    events.end();
    outcome
}

/// Removes all that is ours. The protocol thread has ended or is being abandoned; should it still
/// hold the kernel side, its end of the daemon is the end of the process.
fn stop_kernel(kernel: Arc<Kernel>) {
    match Arc::try_unwrap(kernel) {
        Ok(kernel) => kernel.stop(),
        Err(kernel) => kernel.remove_everything(),
    }
}

/// Leaves all that is ours to the next process.
fn leave_kernel(kernel: Arc<Kernel>) {
    kernel.leave();
    if let Ok(kernel) = Arc::try_unwrap(kernel) {
        kernel.join();
    }
}
