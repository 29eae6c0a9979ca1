//! The thread that runs the sequencer: it takes reports from the queue and passes them on to the committer.
//!
//! It reads the store (histories, idempotency keys). The runtime's workers must not do that: on a slow disk, all
//! exchanges of the worker would wait. Invariant: events reach the committer in the order of their positions.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::{AcceptError, Acceptance, EventReport, Sequencer, fingerprint};
use crate::ledger::commit::CommitJob;
use crate::ledger::core::LedgerCore;
use crate::ledger::entity::Entity;
use crate::ledger::event::{Event, EventDraft};
use crate::ledger::idempotency::Idempotency;
use crate::ledger::outcome::{Acknowledgement, AppendError};
use crate::ledger::store::{StoreError, StoredEvent};

/// The maximum number of reports in the queue. Senders wait when it is full.
pub(in crate::ledger) const MAX_REPORTS: usize = 4096;

/// A reported event with the channel for its acknowledgement.
pub(in crate::ledger) struct QueuedReport {
    pub(in crate::ledger) entity: Entity,
    pub(in crate::ledger) draft: EventDraft,
    pub(in crate::ledger) idempotency: Option<Idempotency>,
    pub(in crate::ledger) now: Timestamp,
    pub(in crate::ledger) acknowledge: oneshot::Sender<Result<Acknowledgement, AppendError>>,
}

/// Runs until the ledger is dropped and the queue is empty.
pub(in crate::ledger) fn run(
    core: &Arc<LedgerCore>,
    mut reports: mpsc::Receiver<QueuedReport>,
    jobs: &mpsc::Sender<CommitJob>,
) {
    while let Some(QueuedReport { entity, draft, idempotency, now, acknowledge }) = reports.blocking_recv() {
        let (event, acknowledgement) = match core.accept(&entity, draft, idempotency, now) {
            Ok(Acceptance::New { event, changed }) => {
                let acknowledgement = acknowledgement(&event.stored, false, changed);
                (Some(event), acknowledgement)
            }
            Ok(Acceptance::Repeated(stored)) => (None, acknowledgement(&stored, true, false)),
            Err(error) => {
                // The sender may have gone away.
                let _ = acknowledge.send(Err(error));
                continue;
            }
        };
        if jobs.blocking_send(CommitJob { event, acknowledgement, acknowledge }).is_err() {
            return;
        }
    }
}

fn acknowledgement(stored: &StoredEvent, repeated: bool, changed: bool) -> Acknowledgement {
    Acknowledgement { event: stored.id, position: stored.position, repeated, changed }
}

impl LedgerCore {
    /// Passes one report to the sequencer.
    fn accept(
        &self,
        entity: &Entity,
        draft: EventDraft,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<Acceptance, AppendError> {
        if self.has_failed() {
            return Err(AppendError::Unavailable);
        }
        let mut sequencer = self.sequencer.lock().unwrap_or_else(PoisonError::into_inner);
        let idempotency = match idempotency {
            None => None,
            Some(idempotency) => {
                let first = self.find_repeated(&sequencer, &idempotency)?;
                Some((idempotency, first))
            }
        };
        // Every entity with durable events is in the index.
        let history = || match self.is_known(entity) {
            true => Ok(self.archive.history(entity)?.into_iter().map(|past| past.event).collect()),
            false => Ok(Vec::<Event>::new()),
        };
        let report = EventReport { entity, draft, idempotency, now };
        sequencer.accept(&self.live_state(), report, history).map_err(|error| match error {
            AcceptError::Store(error) => self.fail_reading(&error),
            AcceptError::Conflict(conflict) => conflict.into(),
        })
    }

    /// Returns the event that was recorded under the same idempotency key.
    fn find_repeated(
        &self,
        sequencer: &Sequencer,
        idempotency: &Idempotency,
    ) -> Result<Option<StoredEvent>, AppendError> {
        let pending = sequencer.find_repeated(&idempotency.key);
        let mut known = pending.map(|(stored, request)| (stored.clone(), *request));
        for key in [&idempotency.key].into_iter().chain(&idempotency.former) {
            if known.is_none() {
                known = self.archive.store().find_repeated(key).map_err(|error| self.fail_reading(&error))?;
            }
        }
        match known {
            Some((_, request)) if request != idempotency.request => Err(AppendError::KeyReused),
            known => Ok(known.map(|(stored, _)| stored)),
        }
    }

    /// True if the entity may have events that a fold needs.
    fn is_known(&self, entity: &Entity) -> bool {
        let fingerprint = fingerprint(&self.fingerprints, entity);
        match entity {
            // The history of a person with answered requests only is not needed: it folds to nothing.
            Entity::Subject(person) => {
                self.index.subject(fingerprint).is_some() || self.index.has_requests(person)
            }
            Entity::Controller(_) => self.index.controller(fingerprint).is_some(),
            // The index has no entry for a case without a registration, nor for a recipient that was resumed.
            Entity::Recipient(_) | Entity::Case(_) => true,
        }
    }

    /// Stops the ledger: a store that cannot be read has failed like one that cannot be written.
    fn fail_reading(&self, error: &StoreError) -> AppendError {
        self.fail(error);
        AppendError::Unavailable
    }
}
