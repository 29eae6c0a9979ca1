//! Read access to the stored events: histories, earlier states, exports.
//!
//! The archive reads the disk, so it also works on a ledger that a gateway is writing to. It keeps only the former
//! spellings of ids in memory, and never writes. Invariant: all ids that denote one person under the present rules
//! share one history, ordered by position, whatever their spelling was when the events were recorded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use ulid::Ulid;

use super::case::{self, Case, ConfidentialCase};
use super::entity::{Entity, EntityKind};
use super::event::{Event, EventDraft};
use super::event_json::{self, EventError};
use super::kinds;
use super::ledger_id::LedgerId;
use super::log_register::{self, KnownLogs, LogOnRecord};
use super::policy_memory::PolicyMemory;
use super::request::{self, AnsweredRequest, OpenRequest};
use super::store::shared::{RegisteredGateway, SharedStore};
use super::store::{Position, Store, StoreError, StoredEntity, StoredEvent, StoredHistory};
use super::terms::TermLookup;
use super::{fold, secret_history, state_json};
use crate::keys::{Fingerprint, Fingerprints, LogSecret, LoggedPerson};
use crate::vocabulary::{DEFAULT_NAMESPACE, SubjectId};

/// The member of an event's text that says that it records an answer.
const ANSWER: &str = r#""kind":"request-answered""#;
/// Number of positions that one search for answers covers.
const SEARCHED_EVENTS: u64 = 50_000;
/// Maximum number of searches for a page of answers.
const MAX_SEARCHES: usize = 20;

/// An event in a history.
#[derive(Clone, Debug)]
pub struct PastEvent {
    /// Id of the event.
    pub id: Ulid,
    /// Position of the event in the ledger.
    pub position: Position,
    /// The time at which the ledger accepted the event.
    pub recorded: Timestamp,
    /// The event itself.
    pub event: Event,
}

/// The durable events about an entity.
#[derive(Clone, Debug, Default)]
pub(super) struct EntityHistory {
    /// The events in the order in which they were recorded.
    pub(super) events: Vec<PastEvent>,
    /// Ids of the events that grant nothing any more (see [`Archive::scan`]).
    without_effect: Vec<Ulid>,
    /// The person's log secret.
    pub(super) log_secret: Option<LogSecret>,
}

impl EntityHistory {
    /// True if the store has this event.
    pub(super) fn contains(&self, id: Ulid) -> bool {
        self.events.iter().any(|past| past.id == id) || self.without_effect.contains(&id)
    }
}

/// A stored event that cannot be read, because the vocabulary lacks one of its terms. The message may contain the term:
/// terms are not personal data.
#[derive(Debug, thiserror::Error)]
#[error("the ledger's event at position {position}{word}: {error}; restore the term in the vocabulary", word = .word.as_ref().map(|word| format!(" (`{word}`)")).unwrap_or_default())]
pub struct UnreadableEvent {
    /// Position of the event.
    pub position: Position,
    /// The term that the vocabulary lacks.
    pub word: Option<String>,
    /// The error in the event.
    #[source]
    pub error: EventError,
}

/// The stored events of a ledger.
pub struct Archive {
    store: Arc<dyn Store>,
    terms: Arc<dyn TermLookup>,
    former: FormerSpellings,
}

/// People and controllers that have events under a former spelling of their id.
#[derive(Default)]
struct FormerSpellings {
    by_entity: HashMap<Entity, Vec<StoredEntity>>,
    /// The keys of `by_entity` in the order in which they were found.
    entities: Vec<Entity>,
}

impl FormerSpellings {
    /// Searches the namespaces that have a rule, and the namespace `default`, which was a namespace of its own in earlier
    /// versions.
    fn find(store: &dyn Store, terms: &dyn TermLookup) -> Result<FormerSpellings, StoreError> {
        let namespaces = terms.namespaces();
        let mut former = FormerSpellings::default();
        let ruled = namespaces.with_rules().map(|name| name.map(|name| &**name));
        for namespace in ruled.chain([Some(DEFAULT_NAMESPACE)]) {
            for sort in [EntityKind::Subject, EntityKind::Controller] {
                for id in store.entity_ids(sort, namespace)? {
                    former.add(StoredEntity { kind: sort, namespace: namespace.map(Arc::from), id }, terms);
                }
            }
        }
        Ok(former)
    }

    fn add(&mut self, stored: StoredEntity, terms: &dyn TermLookup) {
        let entity = stored.entity(terms.namespaces());
        if StoredEntity::of(&entity) == stored {
            return;
        }
        let spellings = self.by_entity.entry(entity.clone()).or_default();
        if spellings.is_empty() {
            self.entities.push(entity);
        }
        spellings.push(stored);
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Archive")
    }
}

impl Archive {
    /// Returns the archive of a store.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn new(store: Arc<dyn Store>, terms: Arc<dyn TermLookup>) -> Result<Archive, StoreError> {
        let former = FormerSpellings::find(&*store, &*terms)?;
        Ok(Archive { store, terms, former })
    }

    /// Returns the record of the policies that were in force.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn policies(&self) -> Result<PolicyMemory, StoreError> {
        self.store.policies()
    }

    /// Returns the recipients that any event names or is about.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn recipients(&self) -> Result<BTreeSet<Arc<str>>, StoreError> {
        self.store.recipients()
    }

    /// Returns the id of the ledger; `None` for a file of an earlier version, which is only read.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn ledger_id(&self) -> Result<Option<LedgerId>, StoreError> {
        self.store.id()
    }

    /// Returns the disclosure logs that the ledger knows; none for a file of an earlier version, which is only read.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn logs_on_record(&self) -> Result<Vec<LogOnRecord>, StoreError> {
        match self.store.id()? {
            Some(_) => log_register::logs_on_record(self.store.notice_store()),
            None => Ok(Vec::new()),
        }
    }

    /// True if several gateways can use the ledger.
    pub fn is_shared(&self) -> bool {
        self.store.shared().is_some()
    }

    /// Returns the gateways on record. Empty for an embedded ledger.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn gateways(&self) -> Result<Vec<RegisteredGateway>, StoreError> {
        self.store.shared().map_or(Ok(Vec::new()), SharedStore::gateways)
    }

    /// Returns what the ledger knows about the disclosure logs of its gateways.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn known_logs(&self) -> Result<KnownLogs, StoreError> {
        let gateways = self.gateways()?;
        let running = gateways.into_iter().filter(|gateway| gateway.live);
        let running = running.map(|gateway| gateway.description.name).collect();
        Ok(KnownLogs { logs: self.logs_on_record()?, running, is_shared: self.is_shared() })
    }

    /// Returns the store.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns the terms that the archive was opened with.
    pub fn terms(&self) -> &dyn TermLookup {
        &*self.terms
    }

    /// Returns the former spellings under which an entity has events.
    pub(super) fn former_spellings(&self, entity: &Entity) -> &[StoredEntity] {
        self.former.by_entity.get(entity).map_or(&[], Vec::as_slice)
    }

    /// Returns all spellings of an entity: the present one first, then the former ones.
    pub(super) fn stored_as(&self, entity: &Entity) -> Vec<StoredEntity> {
        [StoredEntity::of(entity)].into_iter().chain(self.former_spellings(entity).iter().cloned()).collect()
    }

    /// Returns all fingerprints of a person: the present one first, then those of former spellings. Disclosures may be
    /// on record under each of them.
    pub fn fingerprints(&self, person: &SubjectId, fingerprints: &Fingerprints) -> Vec<Fingerprint> {
        let stored = self.stored_as(&Entity::Subject(person.clone()));
        let spelled =
            |stored: &StoredEntity| fingerprints.subject_as_spelled(stored.namespace.as_deref(), &stored.id);
        stored.iter().map(spelled).collect()
    }

    /// Returns a person in all the ways in which disclosures may be on record: under each log secret, and under each
    /// fingerprint, from before the ledger knew the person.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn logged_persons(
        &self,
        person: &SubjectId,
        fingerprints: &Fingerprints,
    ) -> Result<Vec<LoggedPerson>, StoreError> {
        let stored = self.stored_as(&Entity::Subject(person.clone()));
        let secrets = self.store.log_secrets(&stored)?;
        let fingerprints = self.fingerprints(person, fingerprints);
        let unknown = fingerprints.iter().copied().map(LoggedPerson::unknown);
        let known = fingerprints.iter().zip(secrets).filter_map(|(fingerprint, stored)| {
            Some(LoggedPerson { fingerprint: *fingerprint, secret: Some(stored?.secret) })
        });
        Ok(known.chain(unknown).collect())
    }

    /// Returns the log secrets of some entities.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub(super) fn log_secrets(&self, entities: &[&Entity]) -> Result<Vec<Option<LogSecret>>, StoreError> {
        let spelled: Vec<Vec<StoredEntity>> = entities.iter().map(|entity| self.stored_as(entity)).collect();
        let mut secrets = self.store.log_secrets(&spelled.concat())?.into_iter();
        let of_one = |spellings: &Vec<StoredEntity>| {
            let stored = secret_history::oldest(secrets.by_ref().take(spellings.len()));
            stored.map(|stored| stored.secret)
        };
        Ok(spelled.iter().map(of_one).collect())
    }

    /// Returns the durable events about an entity, in the order in which they were recorded.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn history(&self, entity: &Entity) -> Result<Vec<PastEvent>, StoreError> {
        Ok(self.histories(&[entity])?.pop().flatten().unwrap_or_default().events)
    }

    /// Returns the durable events about each entity, in the order in which they were recorded. `None` for an entity
    /// without any. The list of an entity is empty if none of its events can be read.
    pub(super) fn histories(&self, entities: &[&Entity]) -> Result<Vec<Option<EntityHistory>>, StoreError> {
        let spelled: Vec<Vec<StoredEntity>> = entities.iter().map(|entity| self.stored_as(entity)).collect();
        let mut stored = self.store.histories(&spelled.concat())?.into_iter();
        let mut histories = Vec::with_capacity(entities.len());
        for (entity, spellings) in entities.iter().zip(&spelled) {
            let stored: Vec<StoredHistory> = stored.by_ref().take(spellings.len()).collect();
            let log_secret = secret_history::oldest(stored.iter().map(|stored| stored.log_secret));
            let mut events: Vec<StoredEvent> = stored.into_iter().flat_map(|stored| stored.events).collect();
            if events.is_empty() {
                histories.push(None);
                continue;
            }
            events.sort_by_key(|stored| stored.position);
            let mut history = EntityHistory {
                log_secret: log_secret.map(|stored| stored.secret),
                ..EntityHistory::default()
            };
            for stored in events {
                let event = self.read(&stored, entity.kind());
                let StoredEvent { position, id, recorded, event: _ } = stored;
                match event.map_err(|error| StoreError::new("reading a history", error))? {
                    Some(event) => history.events.push(PastEvent { id, position, recorded, event }),
                    None => history.without_effect.push(id),
                }
            }
            histories.push(Some(history));
        }
        Ok(histories)
    }

    /// Returns the state of a data subject as JSON, now or as it was at `at`: the members of a scenario's `subject`,
    /// and `position`. Returns `None` if the ledger has no events about the person up to that time.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn show(
        &self,
        subject: &SubjectId,
        at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        let mut history = self.history(&Entity::Subject(subject.clone()))?;
        if let Some(at) = at {
            history.retain(|past| past.event.at <= at);
        }
        let Some(position) = history.iter().map(|past| past.position).max() else { return Ok(None) };
        let state = fold::subject(history.iter().map(|past| &past.event), self.terms());
        let mut shown = state_json::subject_json(&state, at.unwrap_or(now), self.terms());
        shown.insert("position".to_owned(), position.0.into());
        Ok(Some(shown))
    }

    /// Returns the unanswered requests of data subjects, in the order in which they are due. Reads every event.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn requests(&self) -> Result<Vec<OpenRequest>, StoreError> {
        let mut all = Vec::new();
        let mut of_one: Option<(SubjectId, Vec<Event>)> = None;
        let mut close = |of_one: Option<(SubjectId, Vec<Event>)>| {
            if let Some((person, events)) = of_one {
                all.extend(request::open(&person, &events));
            }
        };
        let unreadable = self.scan(|entity, event| {
            let Entity::Subject(person) = entity else { return true };
            let Some(event) = event.filter(request::is_request) else { return true };
            match &mut of_one {
                Some((known, events)) if known == person => events.push(event),
                _ => close(of_one.replace((person.clone(), vec![event]))),
            }
            true
        })?;
        close(of_one);
        match unreadable {
            Some(error) => Err(StoreError::new("reading all events", error)),
            None => Ok(request::sort_by_due(all)),
        }
    }

    /// Returns answers to requests of data subjects, those that were recorded last first: the ones before a position, or all.
    /// Also returns the position to go on before, if there may be more: an answer can end before `limit` when much had to
    /// be read for it.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn answered_requests(
        &self,
        before: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<AnsweredRequest>, Option<Position>), StoreError> {
        let end = Position(self.store.history_end()?.position.0.saturating_add(1));
        let mut before = before.map_or(end, |before| before.min(end));
        let mut found = Vec::new();
        for _ in 0..MAX_SEARCHES {
            let from = Position(before.0.saturating_sub(SEARCHED_EVENTS));
            let left = limit.saturating_sub(found.len());
            let rows = self.store.events_with(ANSWER, from, before, left)?;
            let is_full = rows.len() >= left;
            before = rows.last().filter(|_| is_full).map_or(from, |(_, stored)| stored.position);
            found.extend(self.answers_at(&rows)?);
            if is_full || before.0 <= 1 {
                break;
            }
        }
        Ok((found, Some(before).filter(|before| before.0 > 1)))
    }

    /// Returns the answers that these events record.
    fn answers_at(&self, rows: &[(StoredEntity, StoredEvent)]) -> Result<Vec<AnsweredRequest>, StoreError> {
        let entities: Vec<Entity> =
            rows.iter().map(|(stored, _)| stored.entity(self.terms.namespaces())).collect();
        let histories = self.histories(&entities.iter().collect::<Vec<_>>())?;
        let answers =
            entities.iter().zip(histories).zip(rows).filter_map(|((entity, history), (_, stored))| {
                let Entity::Subject(person) = entity else { return None };
                let past = history?.events;
                let answer = &past.iter().find(|past| past.position == stored.position)?.event;
                AnsweredRequest::of(person, past.iter().map(|past| &past.event), (answer, stored.position))
            });
        Ok(answers.collect())
    }

    /// Returns all registered cases as JSON, ordered by id.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn cases(&self, now: Timestamp) -> Result<Vec<Map<String, Value>>, StoreError> {
        let mut shown = Vec::new();
        for id in self.store.case_ids()? {
            shown.extend(self.case(&id, now)?);
        }
        Ok(shown)
    }

    /// Returns a case as JSON, or `None` if no case is registered under this id.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn case(&self, id: &Arc<str>, now: Timestamp) -> Result<Option<Map<String, Value>>, StoreError> {
        let history = self.history(&Entity::Case(Arc::clone(id)))?;
        Ok(case::json(id, history.iter().map(|past| &past.event), now, self.terms()))
    }

    /// Returns a registered case, or `None` if no case is registered under this id.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn registered_case(
        &self,
        id: &Arc<str>,
        fingerprints: &Fingerprints,
    ) -> Result<Option<Case>, StoreError> {
        let history = self.history(&Entity::Case(Arc::clone(id)))?;
        Ok(case::fold(history.iter().map(|past| &past.event), fingerprints))
    }

    /// True if the recipient of this name is suspended.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn is_suspended(&self, recipient: &Arc<str>) -> Result<bool, StoreError> {
        let history = self.history(&Entity::Recipient(Arc::clone(recipient)))?;
        Ok(fold::suspended(history.iter().map(|past| &past.event)))
    }

    /// Returns the events since which recipients are suspended, by the names of those that are.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn suspensions(&self, recipients: &[Arc<str>]) -> Result<BTreeMap<Arc<str>, Event>, StoreError> {
        let entities: Vec<Entity> = recipients.iter().cloned().map(Entity::Recipient).collect();
        let histories = self.histories(&entities.iter().collect::<Vec<_>>())?;
        let since = recipients.iter().zip(histories).filter_map(|(recipient, history)| {
            let history = history?;
            let since = fold::suspension(history.events.iter().map(|past| &past.event))?;
            Some((Arc::clone(recipient), since.clone()))
        });
        Ok(since.collect())
    }

    /// Returns the cases that must not yet be mentioned to the people they name.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn confidential_cases(
        &self,
        now: Timestamp,
    ) -> Result<HashMap<Arc<str>, ConfidentialCase>, StoreError> {
        let mut confidential = HashMap::new();
        for id in self.store.case_ids()? {
            let history = self.history(&Entity::Case(Arc::clone(&id)))?;
            if let Some(case) = ConfidentialCase::read(history.iter().map(|past| &past.event), now) {
                confidential.insert(id, case);
            }
        }
        Ok(confidential)
    }

    /// Passes every event to `write` as a line of JSON that an import can read. Stops when `write` fails.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read. The inner result is that of `write`.
    pub fn export(
        &self,
        mut write: impl FnMut(&str) -> io::Result<()>,
    ) -> Result<io::Result<()>, StoreError> {
        let mut outcome = Ok(());
        let scanned = self.scan(|entity, event| {
            let Some(event) = event else { return true };
            let line = Value::Object(event_json::write_line(entity, &event, self.terms()));
            outcome = write(&line.to_string());
            outcome.is_ok()
        });
        match scanned? {
            Some(error) => Err(StoreError::new("reading all events", error)),
            None => Ok(outcome),
        }
    }

    /// Passes every event to `each`, all events of one entity in a row. `None` stands for an event that grants nothing
    /// any more (see `read`). Stops when `each` returns `false`. Also stops at the first event that cannot be read, and
    /// returns it.
    pub(super) fn scan(
        &self,
        mut each: impl FnMut(&Entity, Option<Event>) -> bool,
    ) -> Result<Option<UnreadableEvent>, StoreError> {
        let mut unreadable = None;
        let mut go_on = true;
        let mut known: Option<(StoredEntity, Entity)> = None;
        self.store.scan(&mut |spelling, stored| {
            let (spelling, entity) = match known.take() {
                Some(known) if known.0 == *spelling => known,
                _ => (spelling.clone(), spelling.entity(self.terms.namespaces())),
            };
            go_on = match self.read(&stored, spelling.kind) {
                // Entities with several spellings follow below, with their complete history.
                Ok(_) if self.former.by_entity.contains_key(&entity) => true,
                Ok(event) => each(&entity, event),
                Err(error) => {
                    unreadable = Some(error);
                    false
                }
            };
            known = Some((spelling, entity));
            go_on
        })?;
        for entity in &self.former.entities {
            if !go_on {
                break;
            }
            let events = self.history(entity)?.into_iter().map(|past| Some(past.event));
            // The ledger still knows an entity whose events cannot be read.
            let mut events = events.peekable();
            let unread = events.peek().is_none().then_some(None);
            go_on = unread.into_iter().chain(events).all(|event| each(entity, event));
        }
        Ok(unreadable)
    }

    /// Reads a stored event. Returns `None` for an event that only grants and uses a term that the vocabulary no longer
    /// has: such an event grants nothing. An event that can withhold must be readable.
    fn read(&self, stored: &StoredEvent, kind: EntityKind) -> Result<Option<Event>, UnreadableEvent> {
        let error = match event_json::parse_stored(stored.event.as_bytes(), kind, self.terms()) {
            // Stored events always have `at`; the fallback cannot occur.
            Ok(EventDraft { kind, at, provenance }) => {
                return Ok(Some(Event { kind, at: at.unwrap_or(stored.recorded), provenance }));
            }
            Err(error) => error,
        };
        let mut json: Value = serde_json::from_str(&stored.event).unwrap_or(Value::Null);
        if let EventError::InvalidMember { member: place @ ("region" | "country"), .. } = error
            && let Some(place) = json.get_mut("facts").and_then(|facts| facts.get_mut(place))
            && !place.is_null()
        {
            // The event is from a version that accepted more names of places. The place is unknown now.
            *place = Value::Null;
            return self.read(&StoredEvent { event: json.to_string(), ..stored.clone() }, kind);
        }
        let member = |name: &str| json.get(name).and_then(Value::as_str);
        if member("kind").is_some_and(kinds::only_grants) {
            return Ok(None);
        }
        let word = match &error {
            EventError::InvalidMember { member: name, .. } | EventError::UnknownTerm { member: name, .. } => {
                member(name).map(str::to_owned)
            }
            _ => None,
        };
        Err(UnreadableEvent { position: stored.position, word, error })
    }
}
