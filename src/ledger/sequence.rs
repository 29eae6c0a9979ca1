//! One thread that gives reports their order: it takes each to the desk and passes it on to the
//! committer.
//!
//! It reads the store (histories, idempotency keys), which the runtime's workers must not: a slow
//! disk would keep the exchanges of a worker waiting. Invariant: events reach the committer in the
//! order of their positions.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::commit::Job;
use super::desk::{self, NotTaken, Report, Taken};
use super::event::{Draft, Entity, Event};
use super::once::Once;
use super::store::{Kept, StoreError};
use super::{AppendError, Recorded, Shared};

/// How many reports wait to be taken in at most; more wait for a place.
pub(super) const MAX_REPORTS: usize = 4096;

/// An event that somebody reports, and where its acknowledgement goes.
pub(super) struct Reported {
    pub(super) entity: Entity,
    pub(super) draft: Draft,
    pub(super) once: Option<Once>,
    pub(super) now: Timestamp,
    pub(super) acknowledge: oneshot::Sender<Result<Recorded, AppendError>>,
}

/// Runs until the ledger is dropped and the queue is empty.
pub(super) fn run(shared: &Arc<Shared>, mut reports: mpsc::Receiver<Reported>, jobs: &mpsc::Sender<Job>) {
    while let Some(Reported { entity, draft, once, now, acknowledge }) = reports.blocking_recv() {
        let job = match shared.take(&entity, draft, once, now) {
            Ok(Taken::Recorded { entry, changed }) => {
                let recorded =
                    Recorded { event: entry.kept.id, position: entry.kept.position, again: false, changed };
                Job { entry: Some(entry), recorded, acknowledge }
            }
            Ok(Taken::Again(kept)) => {
                let recorded =
                    Recorded { event: kept.id, position: kept.position, again: true, changed: false };
                Job { entry: None, recorded, acknowledge }
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

impl Shared {
    /// The desk's work for one report.
    fn take(
        &self,
        entity: &Entity,
        draft: Draft,
        once: Option<Once>,
        now: Timestamp,
    ) -> Result<Taken, AppendError> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(AppendError::Unavailable);
        }
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let once = match once {
            None => None,
            Some(once) => {
                let before = self.recorded_before(&desk, &once)?;
                Some((once, before))
            }
        };
        // Whoever has durable events is in the index.
        let history = || match self.has_heard_of(entity) {
            true => Ok(self.archive.history(entity)?.into_iter().map(|past| past.event).collect()),
            false => Ok(Vec::<Event>::new()),
        };
        desk.take(&self.force(), Report { entity, draft, once, now }, history).map_err(|why| match why {
            NotTaken::Store(error) => self.unreadable(&error),
            NotTaken::Conflict(conflict) => conflict.into(),
        })
    }

    fn recorded_before(&self, desk: &desk::Desk, once: &Once) -> Result<Option<Kept>, AppendError> {
        let mut known = desk.once(&once.key).map(|(kept, asked)| (kept.clone(), *asked));
        for key in [&once.key].into_iter().chain(&once.former) {
            if known.is_none() {
                known = self.archive.store().once(key).map_err(|error| self.unreadable(&error))?;
            }
        }
        match known {
            Some((_, asked)) if asked != once.asked => Err(AppendError::KeyReused),
            known => Ok(known.map(|(kept, _)| kept)),
        }
    }

    fn has_heard_of(&self, entity: &Entity) -> bool {
        let fingerprint = desk::fingerprint(&self.fingerprints, entity);
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
    fn unreadable(&self, error: &StoreError) -> AppendError {
        self.fail(error);
        AppendError::Unavailable
    }
}
