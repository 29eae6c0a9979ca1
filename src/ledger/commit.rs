//! One thread that makes events durable: all that wait become one transaction (group commit).
//!
//! Invariant: an acknowledgement follows the disk, the memory and the answers under way, in this
//! order. After the first failure nothing is acknowledged any more: what a failed fsync left on
//! disk nobody knows, and trying again would only hide it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::core::LedgerCore;
use super::outcome::{Acknowledgement, AppendError};
use super::store::NewEvent;

/// How many events wait for the disk at most; more wait for a place.
pub(super) const MAX_JOBS: usize = 4096;

/// How many events one transaction holds at most.
const MAX_BATCH: usize = 1024;

/// One event that waits, or one that was recorded before under the same idempotency key: its
/// acknowledgement waits in the same line, so that it does not overtake the first.
pub(super) struct CommitJob {
    pub(super) event: Option<NewEvent>,
    pub(super) recorded: Acknowledgement,
    pub(super) acknowledge: oneshot::Sender<Result<Acknowledgement, AppendError>>,
}

/// Runs until the ledger is dropped and the queue is empty.
pub(super) fn run(shared: &Arc<LedgerCore>, mut queue: mpsc::Receiver<CommitJob>) {
    while let Some(first) = queue.blocking_recv() {
        let mut jobs = vec![first];
        while jobs.len() < MAX_BATCH {
            match queue.try_recv() {
                Ok(job) => jobs.push(job),
                Err(_) => break,
            }
        }
        commit(shared, jobs);
    }
}

fn commit(shared: &LedgerCore, mut jobs: Vec<CommitJob>) {
    let batch: Vec<_> = jobs.iter_mut().filter_map(|job| job.event.take()).collect();
    let outcome = match (shared.has_failed(), batch.is_empty()) {
        (true, _) => Err(()),
        (false, true) => Ok(()),
        (false, false) => shared.archive.store().append(&batch).map_err(|error| {
            shared.fail(&error);
        }),
    };
    if outcome.is_ok() {
        shared.after_commit(&batch);
    }
    for CommitJob { recorded, acknowledge, .. } in jobs {
        // Whoever asked may be gone; the event stays.
        let _ = acknowledge.send(outcome.map(|()| recorded).map_err(|()| AppendError::Unavailable));
    }
}
