//! The thread that runs the sequencer: it takes reports from the queue and passes them on to the committer.
//!
//! It reads the store (histories, idempotency keys). The runtime's workers must not do that: on a slow disk, all
//! exchanges of the worker would wait. Invariant: events reach the committer in the order in which they were accepted.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::read_ahead::ReadAhead;
use super::{AcceptError, AcceptedReport, CommitJob, DurableEvents, EventReport, fingerprint};
use crate::ledger::archive::EntityHistory;
use crate::ledger::core::LedgerCore;
use crate::ledger::entity::Entity;
use crate::ledger::idempotency::Idempotency;
use crate::ledger::outcome::{Acknowledgement, AppendError};
use crate::ledger::store::{RequestDigest, StoreError, StoredEntity, StoredEvent};

/// The maximum number of reports in the queue. Senders wait when it is full.
pub(in crate::ledger) const MAX_REPORTS: usize = 4096;

/// The maximum number of reports for which the store is asked at a time.
const MAX_READ_TOGETHER: usize = 256;

/// A report with the channel for its acknowledgement.
pub(in crate::ledger) struct QueuedReport {
    pub(in crate::ledger) report: EventReport,
    pub(in crate::ledger) acknowledge: oneshot::Sender<Result<Acknowledgement, AppendError>>,
}

/// Runs until the ledger is dropped and the queue is empty.
pub(in crate::ledger) fn run(
    core: &Arc<LedgerCore>,
    mut reports: mpsc::Receiver<QueuedReport>,
    jobs: &mpsc::Sender<CommitJob>,
) {
    while let Some(first) = reports.blocking_recv() {
        let mut queued = vec![first];
        while queued.len() < MAX_READ_TOGETHER {
            match reports.try_recv() {
                Ok(report) => queued.push(report),
                Err(_) => break,
            }
        }
        if !order(core, queued, jobs) {
            return;
        }
    }
}

/// Accepts reports and passes them on. Returns `false` if nobody takes them any more.
fn order(core: &LedgerCore, queued: Vec<QueuedReport>, jobs: &mpsc::Sender<CommitJob>) -> bool {
    let ahead = match core.has_failed() {
        true => Err(AppendError::Unavailable),
        false => ReadAhead::read(core, queued.iter().map(|queued| &queued.report))
            .map_err(|error| core.refuse(error.into())),
    };
    for QueuedReport { report, acknowledge } in queued {
        let accepted = ahead.as_ref().map_err(Clone::clone).and_then(|ahead| core.accept(report, ahead));
        match accepted {
            Ok(accepted) => {
                let job = CommitJob { accepted: Some(accepted), acknowledge };
                if jobs.blocking_send(job).is_err() {
                    return false;
                }
            }
            Err(error) => {
                // The sender may have gone away.
                let _ = acknowledge.send(Err(error));
            }
        }
    }
    true
}

impl LedgerCore {
    /// Passes one report to the sequencer.
    fn accept(&self, report: EventReport, ahead: &ReadAhead<'_>) -> Result<AcceptedReport, AppendError> {
        if self.has_failed() {
            return Err(AppendError::Unavailable);
        }
        let mut sequencer = self.sequencer();
        let durable: &dyn DurableEvents = if sequencer.is_read_ahead(&report.entity) { ahead } else { self };
        let accepted = sequencer.accept(&self.live_state(), report, durable);
        drop(sequencer);
        accepted.map_err(|error| self.refuse(error))
    }

    /// Returns the answer to a report that cannot be accepted.
    pub(in crate::ledger) fn refuse(&self, error: AcceptError) -> AppendError {
        match error {
            AcceptError::Store(error) => {
                self.fail(&error);
                AppendError::Unavailable
            }
            AcceptError::Conflict(conflict) => conflict.into(),
            AcceptError::KeyReused => AppendError::KeyReused,
        }
    }

    /// True if the entity may have events that a fold needs.
    fn is_known(&self, entity: &Entity) -> bool {
        let fingerprint = fingerprint(&self.fingerprints, entity);
        match entity {
            Entity::Subject(person) => self.index.has_events(person, fingerprint),
            Entity::Controller(_) => self.index.controller(fingerprint).is_some(),
            // The index has no entry for a case without a registration, nor for a recipient that was resumed.
            Entity::Recipient(_) | Entity::Case(_) => true,
        }
    }
}

impl DurableEvents for LedgerCore {
    /// An entity that the index does not know is not looked up where this process is the only writer and has loaded
    /// everything.
    fn histories(&self, entities: &[&Entity]) -> Result<Vec<Option<EntityHistory>>, StoreError> {
        let is_only_writer = self.archive.store().shared().is_none() && self.warming.is_complete();
        if !is_only_writer {
            return self.archive.histories(entities);
        }
        let is_known: Vec<bool> = entities.iter().map(|entity| self.is_known(entity)).collect();
        let known: Vec<&Entity> =
            entities.iter().zip(&is_known).filter_map(|(entity, known)| known.then_some(*entity)).collect();
        let mut read = self.archive.histories(&known)?.into_iter();
        Ok(is_known.iter().map(|known| known.then(|| read.next().flatten()).flatten()).collect())
    }

    fn spellings(&self, entity: &Entity) -> Vec<StoredEntity> {
        self.archive.stored_as(entity)
    }

    fn find_repeated(
        &self,
        idempotency: &Idempotency,
    ) -> Result<Option<(StoredEvent, RequestDigest)>, StoreError> {
        let keys: Vec<_> = idempotency.keys().collect();
        let mut known = self.archive.store().find_repeated(&keys)?;
        Ok(keys.iter().find_map(|key| known.remove(key)))
    }
}
