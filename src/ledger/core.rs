//! State that the ledger's handle and its threads share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ulid::Ulid;

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
    /// True from a transient failure of the store until something succeeds.
    is_unanswered: AtomicBool,
    /// Number of people and controllers that could not be read from the store when a decision asked for them.
    pub(super) failed_reads: AtomicU64,
    pub(super) warming: Warming,
    pub(super) counted: CountedFigures,
    /// Set once the gateway takes part in a shared ledger.
    pub(super) membership: OnceLock<Membership>,
}

/// Rows to append, with the history that they follow.
pub(super) struct SequencedRows {
    pub(super) end: KnownHistory,
    pub(super) rows: Vec<EventRow>,
    /// The jobs that cannot be accepted any more.
    pub(super) refused: Vec<RefusedJob>,
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
            is_unanswered: AtomicBool::new(false),
            failed_reads: AtomicU64::new(0),
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
            // Once an outage: every report and every record that is looked up may find it.
            if !self.is_unanswered.swap(true, Ordering::SeqCst) {
                tracing::warn!(error = error as &dyn std::error::Error, "the ledger's store does not answer");
            }
            return;
        }
        if !self.has_failed() {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "the ledger stops: its store failed. Events are refused and nothing that rests on the ledger leaves. Mend the \
                 cause and restart the gateway"
            );
        }
        self.stop();
    }

    /// Notes that the store answers.
    pub(super) fn note_answer(&self) {
        self.is_unanswered.store(false, Ordering::SeqCst);
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
    ) -> Result<SequencedRows, StoreError> {
        let mut sequencer = self.sequencer();
        self.apply_tail(&mut sequencer, base, generation, tail)?;
        let end = sequencer.known();
        let (rows, refused) = sequencer.sequence(&self.live_state(), jobs, tail.last, self)?;
        Ok(SequencedRows { end, rows, refused })
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
            let events: Vec<(Entity, Ulid)> =
                new.iter().map(|row| (row.entity.entity(namespaces), row.stored.id)).collect();
            sequencer.apply(&self.live_state(), &events, self)?;
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

    /// Completes a batch that is durable: notes that its rows, which follow `end`, are known, puts in force what they grant,
    /// publishes the position, and waits for the windows that are being handed out. An error if the history that the rows
    /// belong to was lost meanwhile: then they are not acknowledged.
    pub(super) fn complete(
        &self,
        generation: Generation,
        end: &KnownHistory,
        jobs: &[CommitJob],
        rows: &[EventRow],
    ) -> Result<(), StoreError> {
        let Some(last) = rows.last() else {
            // Only repetitions. The event that they repeat may have become known with this append.
            self.sequencer().mark_durable(&self.live_state(), jobs, rows);
            self.changes.wait_for_hand_outs();
            return Ok(());
        };
        let known = KnownHistory::ending_with(&last.stored);
        let complete_if = |continues: fn(&KnownHistory, &KnownHistory, &KnownHistory) -> bool| {
            let mut sequencer = self.sequencer();
            let is_known =
                continues(&sequencer.known(), end, &known) && sequencer.follower.appended(generation, known);
            if is_known {
                sequencer.mark_durable(&self.live_state(), jobs, rows);
                self.publish(&sequencer);
            }
            is_known
        };
        let completed = complete_if(|present, end, known| present == end || present == known) || {
            // The follower has read on meanwhile, with these rows or with a history that lacks them.
            let answer = self.archive.store().follow(&known, 1)?;
            matches!(answer, Continuation::Continues { .. }) && complete_if(|_, _, _| true)
        };
        if !completed {
            let problem = "the ledger's history was lost meanwhile";
            return Err(StoreError::transient("appending events", problem));
        }
        self.changes.wait_for_hand_outs();
        Ok(())
    }

    /// Publishes the position that is in force.
    pub(super) fn publish(&self, sequencer: &Sequencer) {
        let known = sequencer.known().position;
        if self.durable.swap(known.0, Ordering::SeqCst) != known.0 {
            self.write_mark(known);
        }
    }

    /// Completes a batch whose append failed.
    pub(super) fn abandon(&self, jobs: &[CommitJob]) {
        self.sequencer().abandon(&self.live_state(), jobs);
    }
}
