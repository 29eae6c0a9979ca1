//! One thread that gives reports their order: it takes each to the sequencer and passes it on to the
//! committer.
//!
//! It reads the store (histories, idempotency keys), which the runtime's workers must not: a slow
//! disk would keep the exchanges of a worker waiting. Invariant: events reach the committer in the
//! order of their positions.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::ledger::commit::CommitJob;
use crate::ledger::core::LedgerCore;
use crate::ledger::entity::Entity;
use crate::ledger::event::{Event, EventDraft};
use crate::ledger::idempotency::Idempotency;
use crate::ledger::outcome::{Acknowledgement, AppendError};
use crate::ledger::sequencer::{AcceptError, Acceptance, EventReport, Sequencer};
use crate::ledger::store::{StoreError, StoredEvent};

/// How many reports wait to be taken in at most; more wait for a place.
pub(in crate::ledger) const MAX_REPORTS: usize = 4096;

/// An event that somebody reports, and where its acknowledgement goes.
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
        let job = match core.accept(&entity, draft, idempotency, now) {
            Ok(Acceptance::New { entry, changed }) => {
                let recorded = Acknowledgement {
                    event: entry.stored.id,
                    position: entry.stored.position,
                    repeated: false,
                    changed,
                };
                CommitJob { event: Some(entry), recorded, acknowledge }
            }
            Ok(Acceptance::Repeated(kept)) => {
                let recorded = Acknowledgement {
                    event: kept.id,
                    position: kept.position,
                    repeated: true,
                    changed: false,
                };
                CommitJob { event: None, recorded, acknowledge }
            }
            Err(error) => {
                // Whoever asked may be gone.
                let _ = acknowledge.send(Err(error));
                continue;
            }
        };
        if jobs.blocking_send(job).is_err() {
            return;
        }
    }
}

impl LedgerCore {
    /// The sequencer's work for one report.
    fn accept(
        &self,
        entity: &Entity,
        draft: EventDraft,
        once: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<Acceptance, AppendError> {
        if self.has_failed() {
            return Err(AppendError::Unavailable);
        }
        let mut sequencer = self.sequencer.lock().unwrap_or_else(PoisonError::into_inner);
        let once = match once {
            None => None,
            Some(once) => {
                let before = self.find_repeated(&sequencer, &once)?;
                Some((once, before))
            }
        };
        // Whoever has durable events is in the index.
        let history = || match self.is_known(entity) {
            true => Ok(self.archive.history(entity)?.into_iter().map(|past| past.event).collect()),
            false => Ok(Vec::<Event>::new()),
        };
        sequencer.accept(&self.live_state(), EventReport { entity, draft, once, now }, history).map_err(
            |why| match why {
                AcceptError::Store(error) => self.fail_reading(&error),
                AcceptError::Conflict(conflict) => conflict.into(),
            },
        )
    }

    fn find_repeated(
        &self,
        sequencer: &Sequencer,
        once: &Idempotency,
    ) -> Result<Option<StoredEvent>, AppendError> {
        let mut known = sequencer.find_repeated(&once.key).map(|(kept, asked)| (kept.clone(), *asked));
        for key in [&once.key].into_iter().chain(&once.former) {
            if known.is_none() {
                known = self.archive.store().find_repeated(key).map_err(|error| self.fail_reading(&error))?;
            }
        }
        match known {
            Some((_, asked)) if asked != once.request => Err(AppendError::KeyReused),
            known => Ok(known.map(|(kept, _)| kept)),
        }
    }

    fn is_known(&self, entity: &Entity) -> bool {
        let fingerprint = super::fingerprint(&self.fingerprints, entity);
        match entity {
            // Of whom only answered requests are known there is nothing that a fold would need.
            Entity::Subject(person) => {
                self.index.subject(fingerprint).is_some() || self.index.has_requests(person)
            }
            Entity::Controller(_) => self.index.controller(fingerprint).is_some(),
            // What the index has of a case may be less than its events.
            Entity::Recipient(_) | Entity::Case(_) => true,
        }
    }

    /// A store that cannot be read has failed as much as one that cannot be written.
    fn fail_reading(&self, error: &StoreError) -> AppendError {
        self.fail(error);
        AppendError::Unavailable
    }
}
