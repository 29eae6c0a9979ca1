//! State that the ledger's handle and its threads share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::archive::Archive;
use super::changes::Changes;
use super::entity::Entity;
use super::event::Event;
use super::index::Index;
use super::known_namespaces::KnownNamespaces;
use super::known_recipients::KnownRecipients;
use super::outcome::LedgerOpenError;
use super::position_mark::PositionMark;
use super::sequencer::{LiveState, Sequencer, put_in_force};
use super::store::{NewEvent, Position, Store, StoreError};
use super::terms::TermLookup;
use crate::keys::{Fingerprints, Keys};

/// The shared state of one ledger.
pub(super) struct LedgerCore {
    pub(super) archive: Archive,
    pub(super) fingerprints: Fingerprints,
    pub(super) index: Index,
    pub(super) changes: Changes,
    pub(super) sequencer: Mutex<Sequencer>,
    pub(super) known_recipients: KnownRecipients,
    pub(super) known_namespaces: KnownNamespaces,
    pub(super) mark: OnceLock<PositionMark>,
    /// The last position that is durable and in force.
    durable: AtomicU64,
    failed: AtomicBool,
}

impl LedgerCore {
    /// Reads everything that the store has and puts it in force.
    pub(super) fn load(
        store: Arc<dyn Store>,
        keys: &Keys,
        terms: Arc<dyn TermLookup>,
    ) -> Result<LedgerCore, LedgerOpenError> {
        let last = store.last_position()?;
        let core = LedgerCore {
            archive: Archive::new(store, terms)?,
            fingerprints: keys.fingerprints(),
            index: Index::new(),
            changes: Changes::new(),
            sequencer: Mutex::new(Sequencer::new(last)),
            known_recipients: KnownRecipients::default(),
            known_namespaces: KnownNamespaces::default(),
            mark: OnceLock::new(),
            durable: AtomicU64::new(last.0),
            failed: AtomicBool::new(false),
        };
        core.fold_all()?;
        Ok(core)
    }

    fn fold_all(&self) -> Result<(), LedgerOpenError> {
        let live = self.live_state();
        let mut group: Option<(Entity, Vec<Event>)> = None;
        let fold = |group: Option<(Entity, Vec<Event>)>| {
            if let Some((entity, events)) = group {
                put_in_force(&live, &entity, events.iter(), false);
            }
        };
        let unreadable = self.archive.scan(|entity, event| {
            match &mut group {
                Some((known, events)) if known == entity => events.extend(event),
                _ => fold(group.replace((entity.clone(), event.into_iter().collect()))),
            }
            true
        })?;
        fold(group);
        unreadable.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Returns the parts of the ledger that a new event changes before and after it is durable.
    pub(super) fn live_state(&self) -> LiveState<'_> {
        LiveState {
            index: &self.index,
            changes: &self.changes,
            terms: self.archive.terms(),
            fingerprints: &self.fingerprints,
        }
    }

    /// Returns the last position that is durable and in force.
    pub(super) fn position(&self) -> Position {
        Position(self.durable.load(Ordering::SeqCst))
    }

    /// True after the store has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Stops recording for good. The first failure is logged.
    pub(super) fn fail(&self, error: &StoreError) {
        if !self.failed.swap(true, Ordering::SeqCst) {
            tracing::error!(error = error as &dyn std::error::Error, "the ledger stops: its store failed");
        }
    }

    /// Writes a position to the mark beside the key file.
    pub(super) fn write_mark(&self, position: Position) {
        // Not fatal: the mark only helps to detect a loss, and the disclosure log detects one too.
        if let Some(Err(error)) = self.mark.get().map(|mark| mark.write(position)) {
            tracing::debug!(%error, "the ledger's mark cannot be written");
        }
    }

    /// Completes a batch that is durable: puts what it grants in force, then publishes the position, then waits for
    /// the windows that are being handed out.
    pub(super) fn after_commit(&self, batch: &[NewEvent]) {
        let mut sequencer = self.sequencer.lock().unwrap_or_else(PoisonError::into_inner);
        sequencer.mark_durable(&self.live_state(), batch);
        drop(sequencer);
        if let Some(last) = batch.last() {
            self.durable.store(last.stored.position.0, Ordering::SeqCst);
            self.write_mark(last.stored.position);
        }
        self.changes.wait_for_hand_outs();
    }
}
