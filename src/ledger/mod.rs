//! The ledger of consent and other events: consents, objections and restrictions of data subjects, instructions of
//! controllers, suspensions of recipients, disclosure cases.
//!
//! Events are the source of truth and are kept for good. The ledger folds them into the state that is in force and
//! holds that state in memory. Beside the events it stores the texts of the policies that were in force, without
//! reading them. The ledger does not know about requests, the content of policies, or disclosures.
//!
//! Invariants: an acknowledged event is durable and in force; an event that withholds is in force before it is
//! durable, one that grants only afterwards; after the store has failed, nothing is acknowledged any more and
//! [`Ledger::healthy`] returns `false`.

mod archive;
mod boot_clock;
mod case;
mod changes;
mod commit;
mod conflict;
mod copy;
mod core;
mod digest;
mod entity;
mod entity_state;
mod event;
mod event_json;
mod figures;
mod fold;
mod follower;
mod following;
mod freshness;
mod idempotency;
mod import;
mod index;
mod kinds;
mod known_namespaces;
mod known_recipients;
mod lease;
mod ledger_id;
mod loading;
mod log_register;
mod log_secret;
mod membership;
#[cfg(feature = "sqlite")]
mod open_file;
mod outcome;
mod payload;
mod policy_memory;
mod position_mark;
mod request;
mod secret_history;
mod sender;
mod sequencer;
#[cfg(test)]
mod simulation;
mod state_json;
pub mod store;
mod terms;
mod warming;

#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

pub use archive::{Archive, PastEvent, UnreadableEvent};
pub use case::{APPROVALS, Case, CaseStatus, ConfidentialCase};
pub use changes::Epoch;
pub use conflict::Conflict;
pub use copy::{CopyError, copy};
pub use digest::LedgerDigest;
pub use entity::{Entity, EntityKind};
pub use event::{Event, EventDraft};
pub use event_json::{
    EventError, EventForm, MAX_EVENT_BYTES, any_event, case_id, component_name, event_components, parse,
    parse_approval, parse_case, parse_line, parse_of_kind, person, recipient_name, term_components, write,
};
pub use figures::LedgerFigures;
pub use fold::{controller as fold_controller, subject as fold_subject};
pub use import::{Batch, FILE_BATCH, LineError, LineResult};
pub use kinds::{EVENT_REFERENCE, EventEffect, EventKind, KINDS};
pub use lease::Freshness;
pub use ledger_id::LedgerId;
pub use log_register::{KnownLogs, LogOnRecord, logs_on_record, mark_former_logs, record_log};
pub use outcome::{Acknowledgement, AppendError, LedgerOpenError};
pub use payload::{Approver, FactPatch, Patch, Provenance, RecipientName, RecordedBy, Registration, Right};
pub use policy_memory::{PolicyDigest, PolicyMemory, PolicyPlace};
pub use position_mark::PositionMark;
pub use request::{AnsweredRequest, OpenRequest, TIME_TO_ANSWER};
pub use secret_history::PendingErasure;
pub use sender::{EventSender, SenderError};
pub use state_json::{controller_json, subject_json};
#[cfg(feature = "postgres")]
pub use store::postgres::{PostgresError, PostgresFailure, PostgresOptions, PostgresStore};
#[cfg(feature = "sqlite")]
pub use store::sqlite::{FileError, LostFile, SqliteStore};
pub use store::{
    Appended, Continuation, DueRows, EventRow, IdempotencyDigest, KnownHistory, LedgerTail, LossOfEvents,
    MAX_MISSED, MAX_NOTICE_ROWS, NEVER, NoticeCounts, NoticeRow, NoticeStore, Position, RequestDigest,
    SchemaChange, SecretChange, Sequencing, Store, StoreError, StoredEntity, StoredEvent, StoredHistory,
    StoredSecret, rewrite_row,
};
pub use terms::{TermList, TermLookup, VocabularyTerms, nearest_term};

pub(crate) use boot_clock::boot_time;

use self::core::LedgerCore;
use crate::decision::{Controller, Subject};
use crate::keys::{Fingerprint, Fingerprints, Keys, PositionTokens, UnstoredSecrets};
use crate::vocabulary::{PurposeId, SubjectId};
use idempotency::{Idempotency, KeySource};
use sequencer::thread::QueuedReport;
use sequencer::{CLOCK_TOLERANCE, EventReport};

/// A ledger that is open. Made once per process; all methods may be called from any task.
pub struct Ledger {
    core: Arc<LedgerCore>,
    /// `None` only while the ledger is dropped.
    queue: Option<mpsc::Sender<QueuedReport>>,
    /// The ledger's threads. They end when the queue is closed or [`LedgerCore::close`] was called.
    threads: Mutex<Vec<JoinHandle<()>>>,
    position_tokens: PositionTokens,
    /// The secrets under which the disclosure log names people whose log secret was deleted.
    unstored: UnstoredSecrets,
    #[cfg(test)]
    assumed: freshness::Assumed,
}

/// The thread that loads the state in force into memory. It ends when everything is loaded.
const WARMING_THREAD: &str = "ledger-warming";

/// The body of one of the ledger's threads. It runs until the ledger is dropped.
type ThreadBody = Box<dyn FnOnce(&Arc<LedgerCore>) + Send>;

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("position", &self.position()).finish_non_exhaustive()
    }
}

/// Opening, and the parts of the configuration that the ledger checks events against.
impl Ledger {
    /// Opens a ledger over any store and starts the ledger's threads. The state in force is loaded into memory behind the
    /// open ledger; people that are not in memory yet are read from the store. A small ledger is in memory when this returns.
    ///
    /// # Errors
    /// [`LedgerOpenError`].
    pub fn with_store(
        store: Arc<dyn Store>,
        keys: &Keys,
        terms: Arc<dyn TermLookup>,
    ) -> Result<Arc<Ledger>, LedgerOpenError> {
        let core = Arc::new(LedgerCore::load(store, keys, terms)?);
        let (queue, reports) = mpsc::channel(sequencer::thread::MAX_REPORTS);
        let (to_committer, jobs) = mpsc::channel(commit::MAX_JOBS);
        let ledger = Arc::new(Ledger {
            core,
            queue: Some(queue),
            threads: Mutex::default(),
            position_tokens: keys.position_tokens(),
            unstored: UnstoredSecrets::random().map_err(LedgerOpenError::Random)?,
            #[cfg(test)]
            assumed: freshness::Assumed::default(),
        });
        ledger.start(
            "ledger-order",
            Box::new(move |core| sequencer::thread::run(core, reports, &to_committer)),
        )?;
        ledger.start("ledger", Box::new(move |core| commit::run(core, jobs)))?;
        ledger.start(WARMING_THREAD, Box::new(loading::run))?;
        ledger.core.warming.wait_in_foreground()?;
        Ok(ledger)
    }

    /// Starts one of the ledger's threads.
    fn start(&self, name: &str, body: ThreadBody) -> Result<(), LedgerOpenError> {
        let core = Arc::clone(&self.core);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || body(&core)).map_err(LedgerOpenError::Thread)?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Writes the present position, and each one acknowledged later, to a mark beside the key file. Only the first
    /// call has an effect.
    pub fn set_position_mark(&self, mark: PositionMark) {
        if self.core.mark.set(mark).is_ok() {
            self.core.write_mark(self.position());
        }
    }

    /// Sets the recipients of the configuration. From then on, an event about another recipient is an error.
    pub fn set_recipients(&self, names: impl IntoIterator<Item = Arc<str>>) {
        self.core.known_recipients.set(names);
    }

    /// Sets the namespaces of the configuration. From then on, an event about a person in another namespace is an
    /// error.
    pub fn set_namespaces(&self, names: impl IntoIterator<Item = Arc<str>>) {
        self.core.known_namespaces.set(names);
    }

    /// Returns the namespaces of the configuration, by their names; none before they are set.
    pub fn namespaces(&self) -> Vec<Arc<str>> {
        self.core.known_namespaces.names()
    }

    /// Passes to `report`, in order, the recipients that the state in force names and that `configured` does not contain.
    /// Reports once everything is in memory: now, or later on a thread of the ledger.
    pub fn report_unregistered(
        &self,
        configured: Vec<Arc<str>>,
        report: impl FnOnce(&[Arc<str>]) + Send + 'static,
    ) {
        self.core.warming.once_complete(&self.core.index, move |index| {
            let named = index.recipients();
            let unregistered: Vec<_> = named.into_iter().filter(|name| !configured.contains(name)).collect();
            report(&unregistered);
        });
    }

    /// Returns the terms that the ledger was opened with.
    pub fn terms(&self) -> &dyn TermLookup {
        self.core.archive.terms()
    }

    /// True if every term and every id means the same in `terms` as in the ledger's own terms, so that the state in
    /// force can be read with `terms`.
    pub fn uses_same_terms(&self, terms: &dyn TermLookup) -> bool {
        self.terms().digest() == terms.digest()
    }
}

/// Recording.
impl Ledger {
    /// Records an event. Returns when the event is durable and in force, and when no window that was decided on the
    /// earlier state is still being handed out (see [`Ledger::hand_out`]).
    ///
    /// Cancel safety: after the first `.await` the event is queued; dropping the future does not cancel it.
    ///
    /// # Errors
    /// [`AppendError`].
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

    /// Records an event like [`Ledger::append`], but also about recipients and namespaces that the configuration no
    /// longer has. A person who follows an opt-out link cannot correct its namespace, and the objection counts again
    /// if the namespace comes back.
    ///
    /// Cancel safety: the same as for [`Ledger::append`].
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn append_without_config_check(
        &self,
        entity: &Entity,
        draft: EventDraft,
        idempotency_key: Option<&str>,
        now: Timestamp,
    ) -> Result<Acknowledgement, AppendError> {
        let idempotency = idempotency_key.map(|key| self.idempotency(entity, key, KeySource::Sender, &draft));
        let receipt = self.submit(entity, draft, idempotency, now).await?;
        receipt.await.unwrap_or(Err(AppendError::Unavailable))
    }

    fn idempotency(&self, entity: &Entity, key: &str, source: KeySource, draft: &EventDraft) -> Idempotency {
        let former = self.archive().former_spellings(entity);
        Idempotency::new(&StoredEntity::of(entity), former, key, source, draft, self.terms())
    }

    /// Checks the conditions that only new events must meet.
    fn check(&self, entity: &Entity, kind: &EventKind, keep_unknown: bool) -> Result<(), EventError> {
        if let EventKind::CaseApproved { approver } = kind
            && !approver.has_distinct_characters()
        {
            let problem = "has other characters than the letters a to z, digits, spaces and `._@-`";
            return Err(EventError::invalid("approver", problem));
        }
        if keep_unknown {
            return Ok(());
        }
        if *kind == EventKind::LogSecretErased {
            let problem = "names an event that the gateway records itself";
            return Err(EventError::invalid("kind", problem));
        }
        self.core.known_recipients.check(entity, kind)?;
        self.core.known_namespaces.check(entity, kind)
    }

    /// Queues an event for the sequencer. The receipt becomes ready when the event is recorded.
    async fn submit(
        &self,
        entity: &Entity,
        draft: EventDraft,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<oneshot::Receiver<Result<Acknowledgement, AppendError>>, AppendError> {
        let (expected, actual) = (draft.kind.entity_kind(), entity.kind());
        if expected != actual {
            return Err(EventError::WrongEntityKind { kind: draft.kind.name(), expected, actual }.into());
        }
        let is_ahead = draft.at.is_some_and(|at| at.duration_since(now) > CLOCK_TOLERANCE);
        // An event that withholds is accepted at once, however wrong the sender's clock is.
        if is_ahead && draft.kind.effect() != EventEffect::Restrictive {
            return Err(AppendError::Future);
        }
        if !self.healthy() {
            return Err(AppendError::Unavailable);
        }
        let queue = self.queue.as_ref().ok_or(AppendError::Unavailable)?;
        let (acknowledge, receipt) = oneshot::channel();
        let report = EventReport { entity: entity.clone(), draft, idempotency, now };
        queue.send(QueuedReport { report, acknowledge }).await.map_err(|_| AppendError::Unavailable)?;
        Ok(receipt)
    }

    /// Merges `memory` into the record of policies that were in force. Writes to the disk.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot record it.
    pub fn remember_policies(&self, memory: &PolicyMemory) -> Result<(), StoreError> {
        self.core.archive.store().remember_policies(memory)
    }

    /// Returns the store of notices to recipients.
    pub fn notice_store(&self) -> &dyn NoticeStore {
        self.core.archive.store().notice_store()
    }

    /// Returns the history that the store has. Reads the disk.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn history_end(&self) -> Result<KnownHistory, StoreError> {
        self.core.archive.store().history_end()
    }

    /// Returns the events after `known`, at most `limit`. Reads the disk.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn follow(&self, known: &KnownHistory, limit: usize) -> Result<Continuation, StoreError> {
        self.core.archive.store().follow(known, limit)
    }

    /// Returns the last position that is durable and in force.
    pub fn position(&self) -> Position {
        self.core.position()
    }

    /// Returns the text by which callers name a position: the `position` of an acknowledgement, and the value of
    /// `Ledger-Position`.
    pub fn position_token(&self, position: Position) -> String {
        self.position_tokens.token(position.0)
    }

    /// Returns the position of a token that a gateway of this ledger made; `None` for any other text.
    pub fn read_position_token(&self, token: &[u8]) -> Option<Position> {
        self.position_tokens.position(token).map(Position)
    }

    /// True until the store fails. Afterwards nothing is recorded any more.
    pub fn healthy(&self) -> bool {
        !self.core.has_failed()
    }

    /// True while all of the ledger's threads run that run for as long as the ledger is open.
    pub fn is_running(&self) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().all(|thread| thread.thread().name() == Some(WARMING_THREAD) || !thread.is_finished())
    }

    /// Checks that the store still has what was recorded, so that a lost file is noticed before the next event.
    /// Returns [`Ledger::healthy`].
    pub async fn check_store(&self) -> bool {
        let core = Arc::clone(&self.core);
        let checked = tokio::task::spawn_blocking(move || {
            if let Err(error) = core.archive.store().check_intact() {
                core.fail(&error);
            }
        });
        checked.await.is_ok() && self.healthy()
    }
}

/// Reading what is in force.
impl Ledger {
    /// Returns the state in force of a person, and the fingerprint that [`Ledger::hand_out`] takes. The state is `None`
    /// if the ledger does not know the person.
    pub fn subject(&self, subject: &SubjectId) -> (Fingerprint, Option<Arc<Subject>>) {
        let (person, state) = self.person(subject);
        (person.fingerprint, state)
    }

    /// Returns the state in force of a controller, and the controller's fingerprint. The state is `None` if the ledger
    /// does not know the controller.
    pub fn controller(&self, controller: &SubjectId) -> (Fingerprint, Option<Arc<Controller>>) {
        let fingerprint = self.core.fingerprints.controller(controller);
        (fingerprint, self.core.controller(controller, fingerprint))
    }

    /// Returns how many times the state of somebody could not be read, and was answered as unknown. A decision that is not
    /// handed out through [`Ledger::hand_out`] compares the number before and after it.
    pub fn failed_reads(&self) -> u64 {
        self.core.failed_reads.load(Ordering::SeqCst)
    }

    /// True if the recipient of this name is suspended.
    pub fn is_suspended(&self, recipient: &str) -> bool {
        self.core.index.is_suspended(recipient)
    }

    /// Returns a registered case, or `None` if no case is registered under this id.
    pub fn case(&self, id: &str) -> Option<Arc<Case>> {
        self.core.index.case(id)
    }

    /// Returns all registered cases with their ids, in no order.
    pub fn cases(&self) -> Vec<(Arc<str>, Arc<Case>)> {
        self.core.index.cases()
    }

    /// Returns the unanswered requests of data subjects, in the order in which they are due.
    pub fn requests(&self) -> Vec<OpenRequest> {
        request::sort_by_due(self.core.index.requests())
    }

    /// Returns the number of people that the ledger knows, as far as they are in memory.
    pub fn subject_count(&self) -> usize {
        self.core.index.subject_count()
    }

    /// True if a person lifted the objection that the signal of their browser (Global Privacy Control) last recorded,
    /// or consented after it, and has not objected or refused since. The signal then no longer counts as an objection.
    /// `channel` is the channel of the objections that the signal records.
    ///
    /// # Errors
    /// [`AppendError::Unavailable`] if the store cannot be read.
    pub async fn has_overridden_signal(
        &self,
        person: &SubjectId,
        purpose: PurposeId,
        channel: &'static str,
        now: Timestamp,
    ) -> Result<bool, AppendError> {
        let (core, entity) = (Arc::clone(&self.core), Entity::Subject(person.clone()));
        let read = tokio::task::spawn_blocking(move || {
            let history = core.archive.history(&entity).map_err(|error| {
                core.fail(&error);
                AppendError::Unavailable
            })?;
            let events = history.iter().map(|past| &past.event);
            Ok(fold::has_overridden_signal(events, purpose, channel, now, core.archive.terms()))
        });
        read.await.unwrap_or(Err(AppendError::Unavailable))
    }

    /// Returns the stored events: histories, earlier states, exports. Reads the disk.
    pub fn archive(&self) -> &Archive {
        &self.core.archive
    }
}

/// Handing out an answer while the state may change. An answer leaves in windows, which are sections whose records are
/// decided and logged together.
impl Ledger {
    /// Returns the fingerprints that [`Ledger::hand_out`] takes.
    pub fn fingerprints(&self) -> &Fingerprints {
        &self.core.fingerprints
    }

    /// Returns the present epoch. Take it before the first record of a window is decided.
    pub fn epoch(&self) -> Epoch {
        self.core.changes.epoch()
    }

    /// True if the state of one of these entities may have changed since `since` so that less may be disclosed. Also
    /// true without such a change if `since` is older than the latest changes in memory.
    pub fn changed_since<'f>(
        &self,
        since: Epoch,
        concerned: impl IntoIterator<Item = &'f Fingerprint>,
    ) -> bool {
        self.core.changes.changed_since(since, concerned)
    }

    /// Runs `leave`, which hands out a window, unless [`Ledger::changed_since`] is true or `accepts` rejects the present
    /// [`Ledger::freshness`]. In that case `leave` does not run, the result is `None`, and the window must be decided
    /// again. No change that can withhold is acknowledged, and none is confirmed to other gateways, while `leave` runs,
    /// so `leave` must be short and must not block.
    pub fn hand_out<'f, T>(
        &self,
        since: Epoch,
        concerned: impl IntoIterator<Item = &'f Fingerprint>,
        accepts: impl FnOnce(Freshness) -> bool,
        leave: impl FnOnce() -> T,
    ) -> Option<T> {
        let accepted = || accepts(self.freshness()).then(leave);
        self.core.changes.hand_out(since, concerned, accepted).flatten()
    }
}

impl Drop for Ledger {
    /// Makes the queued events durable and closes the store before it returns.
    fn drop(&mut self) {
        self.core.close();
        self.queue = None;
        if let Some(membership) = self.core.membership.get() {
            membership.wake();
        }
        for thread in self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
    }
}
