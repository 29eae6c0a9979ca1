//! What each data subject has consented to, objected to, restricted; what controllers have
//! instructed; which recipients are suspended; which disclosure cases are registered.
//!
//! Events are the truth and are kept for good; what is in force is folded from them and held in
//! memory. Beside them it keeps the texts of the policies that were in force, unread. The ledger refuses to
//! know requests, what policies say, and what is disclosed.
//!
//! Invariants: an acknowledged event is durable and in force; one that withholds is in force
//! before it is durable, one that grants only after; when the store has failed nothing is
//! acknowledged any more and [`Ledger::healthy`] says so.

mod archive;
mod case;
mod changes;
mod commit;
mod conflict;
mod desk;
mod event;
mod files;
mod history;
mod import;
mod in_force;
mod index;
mod kinds;
mod known_namespaces;
mod mark;
mod member;
mod members;
mod names;
mod once;
mod policies;
mod recipients;
mod request;
mod sequence;
mod sqlite;
mod state;
mod store;
mod written;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use ulid::Ulid;

pub use archive::{Archive, PastEvent, UnreadableEvent};
pub use case::{APPROVALS, Case, CaseStatus, ConfidentialCase};
pub use changes::Epoch;
pub use conflict::Conflict;
pub use event::{Entity, EntityKind, Event, EventDraft, FactPatch, Patch, Provenance, Registration, Right};
pub use files::LostFile;
pub use history::{controller as fold_controller, subject as fold_subject};
pub use import::{Batch, FILE_BATCH, LineError, LineResult};
pub use kinds::{EVENT_REFERENCE, EventEffect, EventKind, KINDS};
pub use mark::PositionMark;
pub use member::{Approver, RecipientName};
pub use names::{TermList, TermLookup, VocabularyTerms, nearest_term};
pub use policies::{PolicyDigest, PolicyMemory, PolicyPlace};
pub use request::{OpenRequest, TIME_TO_ANSWER};
pub use sqlite::{FileError, SqliteStore};
pub use state::{controller_json, subject_json};
pub use store::{
    IdempotencyDigest, NewEvent, Position, RequestDigest, Store, StoreError, StoredEntity, StoredEvent,
};
pub use written::{
    EventError, MAX_EVENT_BYTES, case_id, parse, parse_case, parse_line, parse_of_kind, person,
    recipient_name, write,
};

use crate::decision::{Controller, Subject};
use crate::keys::{Fingerprint, Fingerprints, Keys};
use crate::vocabulary::{PurposeId, SubjectId};
use once::{Idempotency, KeySource};

/// How far ahead of ours the clock of whoever reports an event may be.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// What an acknowledgement says: the event is durable and in force here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    pub event: Ulid,
    pub position: Position,
    /// Recorded before, under the same idempotency key or by the same line.
    pub repeated: bool,
    /// What is in force about the entity differs after it.
    pub changed: bool,
}

/// Why a ledger does not open.
#[derive(Debug, thiserror::Error)]
pub enum LedgerOpenError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It withholds something in words that the vocabulary no longer has.
    #[error(transparent)]
    Unreadable(#[from] UnreadableEvent),
    #[error("the ledger's thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// Why an event was not recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error("`at` lies in the future")]
    Future,
    #[error("the idempotency key was used before for another event")]
    KeyReused,
    #[error("the ledger is not available: its store has failed")]
    Unavailable,
}

/// The ledger. Cheap to ask from anywhere; made once.
pub struct Ledger {
    core: Arc<LedgerCore>,
    queue: Option<mpsc::Sender<sequence::QueuedReport>>,
    /// The sequencer and the committer.
    threads: Vec<JoinHandle<()>>,
}

struct LedgerCore {
    archive: Archive,
    fingerprints: Fingerprints,
    index: index::Index,
    changes: changes::Changes,
    sequencer: Mutex<desk::Sequencer>,
    known_recipients: recipients::KnownRecipients,
    known_namespaces: known_namespaces::KnownNamespaces,
    mark: OnceLock<PositionMark>,
    durable: AtomicU64,
    failed: AtomicBool,
}

/// What a thread of the ledger does until the ledger is dropped.
type ThreadWork = Box<dyn FnOnce(&Arc<LedgerCore>) + Send>;

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("position", &self.position()).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens the ledger file, or makes one, and reads what is in force.
    pub fn open(
        path: &Path,
        keys: &Keys,
        names: Arc<dyn TermLookup>,
    ) -> Result<Arc<Ledger>, LedgerOpenError> {
        let store = SqliteStore::open(path, &keys.ledger_check())?;
        Ledger::with_store(Arc::new(store), keys, names)
    }

    /// A ledger over any store.
    pub fn with_store(
        store: Arc<dyn Store>,
        keys: &Keys,
        names: Arc<dyn TermLookup>,
    ) -> Result<Arc<Ledger>, LedgerOpenError> {
        let last = store.last_position()?;
        let shared = Arc::new(LedgerCore {
            archive: Archive::new(store, names)?,
            fingerprints: keys.fingerprints(),
            index: index::Index::new(),
            changes: changes::Changes::new(),
            sequencer: Mutex::new(desk::Sequencer::new(last)),
            known_recipients: recipients::KnownRecipients::default(),
            known_namespaces: known_namespaces::KnownNamespaces::default(),
            mark: OnceLock::new(),
            durable: AtomicU64::new(last.0),
            failed: AtomicBool::new(false),
        });
        shared.load()?;
        let (queue, reports) = mpsc::channel(sequence::MAX_REPORTS);
        let (to_committer, jobs) = mpsc::channel(commit::MAX_JOBS);
        let start = |name: &str, work: ThreadWork| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(name.to_owned());
            thread.spawn(move || work(&shared)).map_err(LedgerOpenError::Thread)
        };
        let threads = vec![
            start("ledger-order", Box::new(move |shared| sequence::run(shared, reports, &to_committer)))?,
            start("ledger", Box::new(move |shared| commit::run(shared, jobs)))?,
        ];
        Ok(Arc::new(Ledger { core: shared, queue: Some(queue), threads }))
    }

    /// Records an event. Returns when it is durable and in force here, and when whatever was being
    /// handed out on the state before it has left (see [`Ledger::hand_out`]).
    ///
    /// Cancel safety: after the first `.await` the event is queued; dropping the future does not
    /// cancel it.
    pub async fn append(
        &self,
        entity: &Entity,
        draft: EventDraft,
        idempotency_key: Option<&str>,
        now: Timestamp,
    ) -> Result<Acknowledgement, AppendError> {
        self.check(entity, &draft.kind, false)?;
        self.append_without_config_check(entity, draft, idempotency_key, now).await
    }

    /// As [`Ledger::append`], also where the configuration does not have the namespace any more: who follows
    /// a link cannot correct it, and what was said counts again if the namespace comes back.
    ///
    /// Cancel safety: as of [`Ledger::append`].
    pub async fn append_without_config_check(
        &self,
        entity: &Entity,
        draft: EventDraft,
        idempotency_key: Option<&str>,
        now: Timestamp,
    ) -> Result<Acknowledgement, AppendError> {
        let once = idempotency_key.map(|key| self.idempotency(entity, key, KeySource::Sender, &draft));
        let receipt = self.submit(entity, draft, once, now).await?;
        receipt.await.unwrap_or(Err(AppendError::Unavailable))
    }

    fn idempotency(&self, entity: &Entity, key: &str, by: KeySource, draft: &EventDraft) -> Idempotency {
        let former = self.archive().former_spellings(entity);
        Idempotency::new(&StoredEntity::of(entity), former, key, by, draft, self.terms())
    }

    /// Has every acknowledged position marked, from the present one on; the first mark stays.
    pub fn set_position_mark(&self, mark: PositionMark) {
        if self.core.mark.set(mark).is_ok() {
            self.core.set_mark(self.position());
        }
    }

    /// Goes on behind a position whose events are lost, for good: their positions are not given
    /// again, and nobody is warned of them any more.
    ///
    /// # Errors
    /// Where that cannot be recorded.
    pub fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError> {
        self.core.archive.store().accept_history(until, now)
    }

    /// Adds to what is remembered of the policies. Writes to the disk.
    ///
    /// # Errors
    /// Where that cannot be recorded.
    pub fn remember_policies(&self, memory: &PolicyMemory) -> Result<(), StoreError> {
        self.core.archive.store().remember_policies(memory)
    }

    /// Tells the recipients that the configuration has: from then on an event about another is an
    /// error.
    pub fn set_recipients(&self, names: impl IntoIterator<Item = Arc<str>>) {
        self.core.known_recipients.set(names);
    }

    /// Tells the namespaces that the configuration has: from then on an event about somebody in another is
    /// an error.
    pub fn set_namespaces(&self, names: impl IntoIterator<Item = Arc<str>>) {
        self.core.known_namespaces.set(names);
    }

    /// The recipients that what is in force names and `configured` does not have, in order.
    pub fn unregistered_recipients(&self, configured: &[Arc<str>]) -> Vec<Arc<str>> {
        let named = self.core.index.recipients();
        named.into_iter().filter(|name| !configured.contains(name)).collect()
    }

    /// Checks what a new event has to fulfil, and a recorded one need not.
    fn check(&self, entity: &Entity, kind: &EventKind, keep_unknown: bool) -> Result<(), EventError> {
        if let EventKind::CaseApproved { approver } = kind {
            approver.check()?;
        }
        if keep_unknown {
            return Ok(());
        }
        self.core.known_recipients.check(entity, kind)?;
        self.core.known_namespaces.check(entity, kind)
    }

    /// Hands an event in; the receipt becomes ready when it is recorded.
    async fn submit(
        &self,
        entity: &Entity,
        draft: EventDraft,
        once: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<oneshot::Receiver<Result<Acknowledgement, AppendError>>, AppendError> {
        let (wanted, got) = (draft.kind.entity_kind(), entity.kind());
        if wanted != got {
            return Err(EventError::WrongEntityKind { kind: draft.kind.name(), wanted, got }.into());
        }
        let ahead = draft.at.is_some_and(|at| at.duration_since(now) > CLOCK_TOLERANCE);
        // What withholds is taken at once, whatever the clock of whoever reports it says.
        if ahead && draft.kind.effect() != EventEffect::Restrictive {
            return Err(AppendError::Future);
        }
        if !self.healthy() {
            return Err(AppendError::Unavailable);
        }
        let queue = self.queue.as_ref().ok_or(AppendError::Unavailable)?;
        let (acknowledge, receipt) = oneshot::channel();
        let reported = sequence::QueuedReport { entity: entity.clone(), draft, once, now, acknowledge };
        queue.send(reported).await.map_err(|_| AppendError::Unavailable)?;
        Ok(receipt)
    }

    /// What is in force about a person, and the fingerprint that [`Ledger::hand_out`] asks for.
    /// `None`: the ledger has never heard of them.
    pub fn subject(&self, subject: &SubjectId) -> (Fingerprint, Option<Arc<Subject>>) {
        let fingerprint = self.core.fingerprints.subject(subject);
        (fingerprint, self.core.index.subject(fingerprint))
    }

    /// What is in force about a controller, and its fingerprint. `None`: the ledger has never heard of it.
    pub fn controller(&self, controller: &SubjectId) -> (Fingerprint, Option<Arc<Controller>>) {
        let fingerprint = self.core.fingerprints.controller(controller);
        (fingerprint, self.core.index.controller(fingerprint))
    }

    /// Whether the recipient of this name is suspended.
    pub fn is_suspended(&self, recipient: &str) -> bool {
        self.core.index.is_suspended(recipient)
    }

    /// What is in force of a case; `None`: it is not registered.
    pub fn case(&self, id: &str) -> Option<Arc<Case>> {
        self.core.index.case(id)
    }

    /// The requests of data subjects that wait for an answer, the first due first.
    pub fn requests(&self) -> Vec<OpenRequest> {
        request::sort_by_due(self.core.index.requests())
    }

    /// Makes the fingerprints that [`Ledger::hand_out`] asks for.
    pub fn fingerprints(&self) -> &Fingerprints {
        &self.core.fingerprints
    }

    /// Noted before the first record of a window is judged.
    pub fn epoch(&self) -> Epoch {
        self.core.changes.epoch()
    }

    /// Whether something that can withhold has changed about one of these since, or might have.
    pub fn changed_since<'f>(
        &self,
        since: Epoch,
        concerned: impl IntoIterator<Item = &'f Fingerprint>,
    ) -> bool {
        self.core.changes.changed_since(since, concerned)
    }

    /// Lets a window leave: runs `leave` unless something that can withhold has changed about one
    /// of these since `since`; `None` then, and the window is judged again. No such change is
    /// acknowledged while `leave` runs, so it must be short and wait for nothing.
    pub fn hand_out<'f, T>(
        &self,
        since: Epoch,
        concerned: impl IntoIterator<Item = &'f Fingerprint>,
        leave: impl FnOnce() -> T,
    ) -> Option<T> {
        self.core.changes.hand_out(since, concerned, leave)
    }

    /// Whether `names` means the same by every word and every id, so that what is in force can be read with it.
    pub fn uses_same_terms(&self, names: &dyn TermLookup) -> bool {
        self.terms().digest() == names.digest()
    }

    /// The last position that is durable and in force.
    pub fn position(&self) -> Position {
        Position(self.core.durable.load(Ordering::SeqCst))
    }

    /// Looks whether the store still has what was recorded, so that a lost file is noticed before
    /// the next event. Returns [`Ledger::healthy`].
    pub async fn check_store(&self) -> bool {
        let shared = Arc::clone(&self.core);
        let looked = tokio::task::spawn_blocking(move || {
            if let Err(error) = shared.archive.store().check_intact() {
                shared.fail(&error);
            }
        });
        looked.await.is_ok() && self.healthy()
    }

    /// Whether a person has chosen otherwise since a browser's signal last objected for them, so
    /// that the signal is no objection any more: they lifted the objection, or consented. `channel`
    /// tells the signal's objections from others.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn has_overridden_signal(
        &self,
        person: &SubjectId,
        purpose: PurposeId,
        channel: &'static str,
        now: Timestamp,
    ) -> Result<bool, AppendError> {
        let (shared, entity) = (Arc::clone(&self.core), Entity::Subject(person.clone()));
        let read = tokio::task::spawn_blocking(move || {
            let past = shared.archive.history(&entity).map_err(|error| {
                shared.fail(&error);
                AppendError::Unavailable
            })?;
            let events = past.iter().map(|past| &past.event);
            Ok(history::has_overridden_signal(events, purpose, channel, now, shared.archive.terms()))
        });
        read.await.unwrap_or(Err(AppendError::Unavailable))
    }

    /// `false` after the store has failed: nothing is recorded any more.
    pub fn healthy(&self) -> bool {
        !self.core.failed.load(Ordering::SeqCst)
    }

    /// How many people the ledger has heard of.
    pub fn subject_count(&self) -> usize {
        self.core.index.subject_count()
    }

    /// The words it was opened with.
    pub fn terms(&self) -> &dyn TermLookup {
        self.core.archive.terms()
    }

    /// Histories, states as they were, exports. Reads the disk.
    pub fn archive(&self) -> &Archive {
        &self.core.archive
    }
}

impl Drop for Ledger {
    /// What was handed in is still made durable, and the store is closed when this returns.
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl LedgerCore {
    fn live_state(&self) -> desk::LiveState<'_> {
        desk::LiveState {
            index: &self.index,
            changes: &self.changes,
            terms: self.archive.terms(),
            fingerprints: &self.fingerprints,
        }
    }

    /// Folds everything the store holds.
    fn load(&self) -> Result<(), LedgerOpenError> {
        let force = self.live_state();
        let mut open: Option<(Entity, Vec<Event>)> = None;
        let close = |open: Option<(Entity, Vec<Event>)>| {
            if let Some((entity, events)) = open {
                desk::put_in_force(&force, &entity, events.iter(), false);
            }
        };
        let unreadable = self.archive.scan(|entity, event| {
            match &mut open {
                Some((known, events)) if known == entity => events.extend(event),
                _ => close(open.replace((entity.clone(), event.into_iter().collect()))),
            }
            true
        })?;
        close(open);
        unreadable.map_or(Ok(()), |error| Err(error.into()))
    }

    fn set_mark(&self, position: Position) {
        // It tells of a loss that has not happened; without it the disclosure log tells.
        if let Some(Err(error)) = self.mark.get().map(|mark| mark.write(position)) {
            tracing::debug!(%error, "the ledger's mark cannot be written");
        }
    }

    /// Nothing is recorded any more; the first failure is told.
    fn fail(&self, error: &StoreError) {
        if !self.failed.swap(true, Ordering::SeqCst) {
            tracing::error!(error = error as &dyn std::error::Error, "the ledger stops: its store failed");
        }
    }

    /// After a batch is durable: memory, then the position, then those who are handing out.
    fn after_commit(&self, batch: &[NewEvent]) {
        let mut desk = self.sequencer.lock().unwrap_or_else(PoisonError::into_inner);
        desk.mark_durable(&self.live_state(), batch);
        drop(desk);
        if let Some(last) = batch.last() {
            self.durable.store(last.stored.position.0, Ordering::SeqCst);
            self.set_mark(last.stored.position);
        }
        self.changes.wait_for_hand_outs();
    }
}
