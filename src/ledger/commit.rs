//! The thread that makes events durable. All waiting events become one transaction (group commit).
//!
//! Invariant: an event is acknowledged only after three steps, in this order: the event is on disk; it is in force in
//! memory; no window that was decided on the earlier state is still being handed out. After the first failure nothing
//! is acknowledged any more: the content of the disk after a failed fsync is unknown, and a retry would only hide that.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::core::LedgerCore;
use super::outcome::{Acknowledgement, AppendError};
use super::store::NewEvent;

/// The maximum number of events that wait for the disk. The sequencer blocks when the queue is full.
pub(super) const MAX_JOBS: usize = 4096;

/// The maximum number of events in a transaction.
const MAX_BATCH: usize = 1024;

/// An event that waits for the disk, or the repetition of a recorded event. The acknowledgement of a repetition waits in
/// the same queue, so that it does not overtake that of the first event.
pub(super) struct CommitJob {
    /// `None` for a repetition.
    pub(super) event: Option<NewEvent>,
    pub(super) acknowledgement: Acknowledgement,
    pub(super) acknowledge: oneshot::Sender<Result<Acknowledgement, AppendError>>,
}

/// Runs until the ledger is dropped and the queue is empty.
pub(super) fn run(core: &Arc<LedgerCore>, mut queue: mpsc::Receiver<CommitJob>) {
    while let Some(first) = queue.blocking_recv() {
        let mut jobs = vec![first];
        while jobs.len() < MAX_BATCH {
            match queue.try_recv() {
                Ok(job) => jobs.push(job),
                Err(_) => break,
            }
        }
        commit(core, jobs);
    }
}

fn commit(core: &LedgerCore, mut jobs: Vec<CommitJob>) {
    let batch: Vec<_> = jobs.iter_mut().filter_map(|job| job.event.take()).collect();
    let outcome = match (core.has_failed(), batch.is_empty()) {
        (true, _) => Err(()),
        (false, true) => Ok(()),
        (false, false) => core.archive.store().append(&batch).map_err(|error| {
            core.fail(&error);
        }),
    };
    if outcome.is_ok() {
        core.after_commit(&batch);
    }
    for CommitJob { acknowledgement, acknowledge, .. } in jobs {
        // The sender may have gone away; the event stays recorded.
        let _ = acknowledge.send(outcome.map(|()| acknowledgement).map_err(|()| AppendError::Unavailable));
    }
}
