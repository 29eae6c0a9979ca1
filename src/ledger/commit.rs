//! The thread that makes events durable. All waiting events become one transaction (group commit).
//!
//! Invariant: an event is acknowledged only after three steps, in this order: the event is durable; it is in force in
//! memory; no window that was decided on the earlier state is still being handed out. After the first failure of a disk
//! nothing is acknowledged any more: its content after a failed fsync is unknown, and a retry would only hide that. After
//! the failure of a server, the events of the transaction are not acknowledged, and what became of them is read back.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::core::LedgerCore;
use super::outcome::AppendError;
use super::sequencer::CommitJob;
use super::store::{Appended, KnownHistory, StoreError};

/// The maximum number of events that wait for the disk. The sequencer blocks when the queue is full.
pub(super) const MAX_JOBS: usize = 4096;

/// The maximum number of events in a transaction.
const MAX_BATCH: usize = 1024;

/// Maximum number of times that an append is tried again because other gateways have appended too much meanwhile.
const MAX_CATCH_UPS: usize = 8;

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
    let appended = match core.has_failed() {
        true => Err(()),
        false => append(core, &mut jobs).map_err(|error| core.fail(&error)),
    };
    match &appended {
        Ok(()) => core.note_answer(),
        Err(()) => core.abandon(&jobs),
    }
    for CommitJob { accepted, acknowledge } in jobs {
        let answer = accepted.filter(|_| appended.is_ok()).and_then(|accepted| accepted.acknowledgement());
        // The sender may have gone away; the event stays recorded.
        let _ = acknowledge.send(answer.ok_or(AppendError::Unavailable));
    }
}

/// Appends the events of the jobs and puts them in force. Jobs that turn out to be refused are answered and removed.
fn append(core: &LedgerCore, jobs: &mut Vec<CommitJob>) -> Result<(), StoreError> {
    for _ in 0..MAX_CATCH_UPS {
        let (mut rows, mut end) = (Vec::new(), KnownHistory::default());
        let (known, generation) = core.known();
        let appended = core.archive.store().append(&known, &mut |tail| {
            let sequenced = core.sequence(jobs, &known, generation, &tail)?;
            end = sequenced.end;
            rows.clone_from(&sequenced.rows);
            for (CommitJob { acknowledge, .. }, error) in sequenced.refused {
                let _ = acknowledge.send(Err(core.refuse(error)));
            }
            Ok(sequenced.rows)
        })?;
        match appended {
            Appended::Durable => return core.complete(generation, &end, jobs, &rows),
            Appended::Behind => core.catch_up()?,
        }
    }
    Err(StoreError::transient("appending events", "other gateways append faster than this one can follow"))
}
