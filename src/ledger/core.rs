//! State that the ledger's handle and its threads share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::archive::Archive;
use super::changes::Changes;
use super::entity::Entity;
use super::figures::CountedFigures;
use super::follower::{Follower, Generation};
use super::index::Index;
use super::known_namespaces::KnownNamespaces;
use super::known_recipients::KnownRecipients;
use super::membership::Membership;
use super::outcome::LedgerOpenError;
use super::position_mark::PositionMark;
use super::sequencer::{CommitJob, LiveState, RefusedJob, Sequencer};
use super::store::shared::MAX_LEASE;
use super::store::{
    Continuation, EventRow, KnownHistory, LedgerTail, MAX_MISSED, Position, Store, StoreError,
};
use super::terms::TermLookup;
use super::warming::Warming;
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
    closing: AtomicBool,
    pub(super) warming: Warming,
    pub(super) counted: CountedFigures,
    /// Set once the gateway takes part in a shared ledger.
    pub(super) membership: OnceLock<Membership>,
}

impl LedgerCore {
    /// Opens a ledger that reads people and controllers from the store as they are asked for.
    pub(super) fn load(
        store: Arc<dyn Store>,
        keys: &Keys,
        terms: Arc<dyn TermLookup>,
    ) -> Result<LedgerCore, LedgerOpenError> {
        let known = store.history_end()?;
        let core = LedgerCore {
            archive: Archive::new(store, terms)?,
            fingerprints: keys.fingerprints(),
            index: Index::new(),
            changes: Changes::new(),
            sequencer: Mutex::new(Sequencer::new(Follower::new(MAX_LEASE, known))),
            known_recipients: KnownRecipients::default(),
            known_namespaces: KnownNamespaces::default(),
            mark: OnceLock::new(),
            durable: AtomicU64::new(known.position.0),
            failed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            warming: Warming::default(),
            counted: CountedFigures::default(),
            membership: OnceLock::new(),
        };
        core.load_recipients_and_cases()?;
        Ok(core)
    }

    /// Returns the parts of the ledger that a new event changes before and after it is durable.
    pub(super) fn live_state(&self) -> LiveState<'_> {
        LiveState {
            index: &self.index,
            changes: &self.changes,
            warming: &self.warming,
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

    /// Stops recording for good, unless the failure is transient. The first failure is logged.
    pub(super) fn fail(&self, error: &StoreError) {
        self.counted.count_failure();
        if error.transient {
            tracing::warn!(error = error as &dyn std::error::Error, "the ledger's store does not answer");
            return;
        }
        if !self.has_failed() {
            tracing::error!(error = error as &dyn std::error::Error, "the ledger stops: its store failed");
        }
        self.stop();
    }

    /// Stops recording for good.
    pub(super) fn stop(&self) {
        self.failed.store(true, Ordering::SeqCst);
    }

    /// Makes the ledger's threads end.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// True once the ledger is being dropped.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Writes a position to the mark beside the key file.
    pub(super) fn write_mark(&self, position: Position) {
        // Not fatal: the mark only helps to detect a loss, and the disclosure log detects one too.
        if let Some(Err(error)) = self.mark.get().map(|mark| mark.write(position)) {
            tracing::debug!(%error, "the ledger's mark cannot be written");
        }
    }

    /// Returns the sequencer, which all changes of the state in force go through.
    pub(super) fn sequencer(&self) -> MutexGuard<'_, Sequencer> {
        self.sequencer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the history that is known and in force here, and its number.
    pub(super) fn known(&self) -> (KnownHistory, Generation) {
        let sequencer = self.sequencer();
        (sequencer.known(), sequencer.follower.generation())
    }

    /// Determines the rows to append: applies what others appended, then gives the jobs their positions.
    pub(super) fn sequence(
        &self,
        jobs: &mut Vec<CommitJob>,
        base: &KnownHistory,
        generation: Generation,
        tail: &LedgerTail,
    ) -> Result<(Vec<EventRow>, Vec<RefusedJob>), StoreError> {
        let mut sequencer = self.sequencer();
        self.apply_tail(&mut sequencer, base, generation, tail)?;
        sequencer.sequence(&self.live_state(), jobs, tail.last, self)
    }

    /// Puts the events at the end of the ledger in force and notes that they are known. `base` is the history after which
    /// the store was asked for them.
    pub(super) fn apply_tail(
        &self,
        sequencer: &mut Sequencer,
        base: &KnownHistory,
        generation: Generation,
        tail: &LedgerTail,
    ) -> Result<(), StoreError> {
        if !self.apply(sequencer, base, tail.last, &tail.missed)? {
            return Err(StoreError::transient(
                "following the ledger",
                "its answer belongs to another history",
            ));
        }
        let last_event = tail.missed.last().map(|row| (row.stored.position, row.stored.id));
        let known =
            KnownHistory { position: tail.last, last_event: last_event.or(sequencer.known().last_event) };
        if sequencer.follower.appended(generation, known) {
            self.publish(sequencer);
            Ok(())
        } else {
            Err(StoreError::transient("following the ledger", "its history was lost meanwhile"))
        }
    }

    /// Puts events that others appended after `base` in force. Returns `false`, and does nothing, if the answer belongs to
    /// another history than the one that has become known since the store was asked.
    pub(super) fn apply(
        &self,
        sequencer: &mut Sequencer,
        base: &KnownHistory,
        head: Position,
        rows: &[EventRow],
    ) -> Result<bool, StoreError> {
        let events = rows.iter().map(|row| (row.stored.position, row.stored.id));
        let Some(applied) = sequencer.follower.applied_of(base, head, events) else { return Ok(false) };
        let new = rows.get(applied..).unwrap_or_default();
        if !new.is_empty() || sequencer.has_unsettled() {
            let namespaces = self.archive.terms().namespaces();
            let touched: Vec<Entity> = new.iter().map(|row| row.entity.entity(namespaces)).collect();
            sequencer.apply(&self.live_state(), &touched, self)?;
            sequencer.withheld.remember(new);
        }
        Ok(true)
    }

    /// Follows the ledger to its end, for an append that missed too much.
    pub(super) fn catch_up(&self) -> Result<(), StoreError> {
        loop {
            let (known, generation) = self.known();
            let continuation = self.archive.store().follow(&known, MAX_MISSED)?;
            let Continuation::Continues { head, events } = continuation else {
                let problem = "its history is another one than before";
                return Err(StoreError::transient("following the ledger", problem));
            };
            let is_end = events.len() < MAX_MISSED;
            let last = events.last().map_or(known.position, |row| row.stored.position);
            let tail = LedgerTail { last: if is_end { head } else { last }, missed: events };
            self.apply_tail(&mut self.sequencer(), &known, generation, &tail)?;
            if is_end {
                return Ok(());
            }
        }
    }

    /// Notes that own rows, which follow `end`, are durable. An error if the history that they belong to was lost meanwhile:
    /// then they are not acknowledged.
    pub(super) fn note_appended(
        &self,
        generation: Generation,
        end: Option<KnownHistory>,
        rows: &[EventRow],
    ) -> Result<(), StoreError> {
        let Some(last) = rows.last() else { return Ok(()) };
        let known = KnownHistory::ending_with(&last.stored);
        {
            let mut sequencer = self.sequencer();
            let continues = end == Some(sequencer.known()) || known == sequencer.known();
            if continues && sequencer.follower.appended(generation, known) {
                return Ok(());
            }
        }
        // The follower has read on meanwhile, with these rows or with a history that lacks them.
        let is_there = matches!(self.archive.store().follow(&known, 1)?, Continuation::Continues { .. });
        if is_there && self.sequencer().follower.appended(generation, known) {
            return Ok(());
        }
        Err(StoreError::transient("appending events", "the ledger's history was lost meanwhile"))
    }

    /// Publishes the position that is in force.
    pub(super) fn publish(&self, sequencer: &Sequencer) {
        let known = sequencer.known().position;
        if self.durable.swap(known.0, Ordering::SeqCst) != known.0 {
            self.write_mark(known);
        }
    }

    /// Completes a batch that is durable: puts what it grants in force, then publishes the position, then waits for
    /// the windows that are being handed out.
    pub(super) fn after_commit(&self, jobs: &[CommitJob], rows: &[EventRow]) {
        let mut sequencer = self.sequencer();
        sequencer.mark_durable(&self.live_state(), jobs, rows);
        self.publish(&sequencer);
        drop(sequencer);
        self.changes.wait_for_hand_outs();
    }

    /// Completes a batch whose append failed.
    pub(super) fn abandon(&self, jobs: &[CommitJob]) {
        self.sequencer().abandon(&self.live_state(), jobs);
    }
}
