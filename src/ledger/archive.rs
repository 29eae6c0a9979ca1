//! The events as they are kept: histories, states as they were, everything for another ledger.
//!
//! It reads the disk, so it can look at a ledger that a gateway is writing; in memory it holds the
//! spellings of ids from before the rules of today. It refuses to change anything. Invariant: whoever
//! the rules of today take for one person has one history, by position, whatever they were recorded as.

use std::collections::{BTreeSet, HashMap};
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
use super::policy_memory::PolicyMemory;
use super::request::{self, OpenRequest};
use super::store::{Position, Store, StoreError, StoredEntity, StoredEvent};
use super::terms::TermLookup;
use super::{fold, state_json};
use crate::keys::{Fingerprint, Fingerprints};
use crate::vocabulary::{DEFAULT_NAMESPACE, SubjectId};

/// An event of a history.
#[derive(Clone, Debug)]
pub struct PastEvent {
    pub id: Ulid,
    pub position: Position,
    /// When the ledger took it.
    pub recorded: Timestamp,
    pub event: Event,
}

/// An event of the store that does not read. Its words come from a vocabulary, not from a person.
#[derive(Debug, thiserror::Error)]
#[error("the ledger's event at position {position}{word}: {error}; bring the word back to the vocabulary", word = .word.as_ref().map(|word| format!(" (`{word}`)")).unwrap_or_default())]
pub struct UnreadableEvent {
    pub position: Position,
    pub word: Option<String>,
    #[source]
    pub error: EventError,
}

/// See the module's text.
pub struct Archive {
    store: Arc<dyn Store>,
    terms: Arc<dyn TermLookup>,
    former: FormerSpellings,
}

/// People and controllers with events under another spelling than that of today.
#[derive(Default)]
struct FormerSpellings {
    by_entity: HashMap<Entity, Vec<StoredEntity>>,
    /// Each of them once, in the order in which they were found.
    entities: Vec<Entity>,
}

impl FormerSpellings {
    /// Looks through the namespaces that have a rule, and the one named `default`, which was one of its own.
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
    pub(super) fn new(store: Arc<dyn Store>, terms: Arc<dyn TermLookup>) -> Result<Archive, StoreError> {
        let former = FormerSpellings::find(&*store, &*terms)?;
        Ok(Archive { store, terms: terms, former })
    }

    /// What is remembered of the policies that were in force.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn policies(&self) -> Result<PolicyMemory, StoreError> {
        self.store.policies()
    }

    /// The recipients that any event names or is about.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn recipients(&self) -> Result<BTreeSet<Arc<str>>, StoreError> {
        self.store.recipients()
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The words it was opened with.
    pub fn terms(&self) -> &dyn TermLookup {
        &*self.terms
    }

    /// How else than today an entity was stored.
    pub(super) fn former_spellings(&self, entity: &Entity) -> &[StoredEntity] {
        self.former.by_entity.get(entity).map_or(&[], Vec::as_slice)
    }

    /// How an entity is stored: the spelling of today first, then those from before.
    fn stored_as(&self, entity: &Entity) -> Vec<StoredEntity> {
        [StoredEntity::of(entity)].into_iter().chain(self.former_spellings(entity).iter().cloned()).collect()
    }

    /// The fingerprints that a person has had: that of today first, then those of earlier spellings, under
    /// which disclosures may be on record.
    pub fn fingerprints(&self, person: &SubjectId, fingerprints: &Fingerprints) -> Vec<Fingerprint> {
        let stored = self.stored_as(&Entity::Subject(person.clone()));
        let spelled =
            |stored: &StoredEntity| fingerprints.subject_as_spelled(stored.namespace.as_deref(), &stored.id);
        stored.iter().map(spelled).collect()
    }

    /// The durable events about somebody, in the order in which they were recorded.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn history(&self, entity: &Entity) -> Result<Vec<PastEvent>, StoreError> {
        let mut kept = Vec::new();
        for stored in self.stored_as(entity) {
            kept.extend(self.store.history(&stored)?);
        }
        kept.sort_by_key(|kept| kept.position);
        let past = kept.into_iter().filter_map(|kept| {
            let event = self.read(&kept, entity.kind()).transpose()?;
            Some(event.map(|event| PastEvent {
                id: kept.id,
                position: kept.position,
                recorded: kept.recorded,
                event,
            }))
        });
        past.collect::<Result<_, _>>().map_err(|error| StoreError::new("reading a history", error))
    }

    /// The state of a data subject as JSON, now or as it was at `at`: the keys of a scenario's
    /// `subject`, and `position`. `None`: the ledger has never heard of them (by then).
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn show(
        &self,
        subject: &SubjectId,
        at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        let mut past = self.history(&Entity::Subject(subject.clone()))?;
        if let Some(at) = at {
            past.retain(|past| past.event.at <= at);
        }
        let Some(position) = past.iter().map(|past| past.position).max() else { return Ok(None) };
        let state = fold::subject(past.iter().map(|past| &past.event), self.terms());
        let mut shown = state_json::subject_json(&state, at.unwrap_or(now), self.terms());
        shown.insert("position".to_owned(), position.0.into());
        Ok(Some(shown))
    }

    /// The requests of data subjects that wait for an answer, the first due first. Reads every event.
    ///
    /// # Errors
    /// Where the store cannot be read.
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

    /// Every registered case as JSON, by its id.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn cases(&self, now: Timestamp) -> Result<Vec<Map<String, Value>>, StoreError> {
        let mut shown = Vec::new();
        for id in self.store.case_ids()? {
            shown.extend(self.case(&id, now)?);
        }
        Ok(shown)
    }

    /// One case as JSON; `None`: it is not registered.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn case(&self, id: &Arc<str>, now: Timestamp) -> Result<Option<Map<String, Value>>, StoreError> {
        let past = self.history(&Entity::Case(Arc::clone(id)))?;
        Ok(case::json(id, past.iter().map(|past| &past.event), now, self.terms()))
    }

    /// What is in force of a case; `None`: it is not registered.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn registered_case(
        &self,
        id: &Arc<str>,
        fingerprints: &Fingerprints,
    ) -> Result<Option<Case>, StoreError> {
        let past = self.history(&Entity::Case(Arc::clone(id)))?;
        Ok(case::fold(past.iter().map(|past| &past.event), fingerprints))
    }

    /// Whether the recipient of this name is suspended.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn is_suspended(&self, recipient: &Arc<str>) -> Result<bool, StoreError> {
        let past = self.history(&Entity::Recipient(Arc::clone(recipient)))?;
        Ok(fold::suspended(past.iter().map(|past| &past.event)))
    }

    /// The cases that nobody whom they name is told of yet.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn confidential_cases(
        &self,
        now: Timestamp,
    ) -> Result<HashMap<Arc<str>, ConfidentialCase>, StoreError> {
        let mut confidential = HashMap::new();
        for id in self.store.case_ids()? {
            let past = self.history(&Entity::Case(Arc::clone(&id)))?;
            if let Some(case) = ConfidentialCase::read(past.iter().map(|past| &past.event), now) {
                confidential.insert(id, case);
            }
        }
        Ok(confidential)
    }

    /// Every event as a line of JSON that an import reads; `write` may stop it.
    ///
    /// # Errors
    /// Where the store cannot be read; what `write` said is in the inner result.
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

    /// Every event, those of one entity together, until `each` says `false` or one does not read.
    pub(super) fn scan(
        &self,
        mut each: impl FnMut(&Entity, Option<Event>) -> bool,
    ) -> Result<Option<UnreadableEvent>, StoreError> {
        let mut unreadable = None;
        let mut goes_on = true;
        let mut known: Option<(StoredEntity, Entity)> = None;
        self.store.scan(&mut |stored, kept| {
            let (stored, entity) = match known.take() {
                Some(known) if known.0 == *stored => known,
                _ => (stored.clone(), stored.entity(self.terms.namespaces())),
            };
            goes_on = match self.read(&kept, stored.kind) {
                // Somebody with several spellings comes at the end, whole.
                Ok(_) if self.former.by_entity.contains_key(&entity) => true,
                Ok(event) => each(&entity, event),
                Err(error) => {
                    unreadable = Some(error);
                    false
                }
            };
            known = Some((stored, entity));
            goes_on
        })?;
        for entity in &self.former.entities {
            if !goes_on {
                break;
            }
            let events = self.history(entity)?.into_iter().map(|past| Some(past.event));
            // Of whom nothing is readable they have still been heard of.
            let mut events = events.peekable();
            let unread = events.peek().is_none().then_some(None);
            goes_on = unread.into_iter().chain(events).all(|event| each(entity, event));
        }
        Ok(unreadable)
    }

    /// Reads a kept event. One that only grants, in words that the vocabulary no longer has, grants
    /// nothing: `None`. One that can withhold must be understood.
    fn read(&self, kept: &StoredEvent, sort: EntityKind) -> Result<Option<Event>, UnreadableEvent> {
        let error = match event_json::parse_stored(kept.event.as_bytes(), sort, self.terms()) {
            // `at` is always written.
            Ok(EventDraft { kind, at, provenance }) => {
                return Ok(Some(Event { kind, at: at.unwrap_or(kept.recorded), provenance }));
            }
            Err(error) => error,
        };
        let mut written: Value = serde_json::from_str(&kept.event).unwrap_or(Value::Null);
        if let EventError::InvalidMember { member: place @ ("region" | "country"), .. } = error
            && let Some(place) = written.get_mut("facts").and_then(|facts| facts.get_mut(place))
            && !place.is_null()
        {
            // Recorded when more words were taken for places: nobody knows where that is.
            *place = Value::Null;
            let kept = StoredEvent { event: written.to_string(), ..kept.clone() };
            return self.read(&kept, sort);
        }
        let member = |name: &str| written.get(name).and_then(Value::as_str);
        if member("kind").is_some_and(kinds::only_grants) {
            return Ok(None);
        }
        let word = match &error {
            EventError::InvalidMember { member: name, .. } | EventError::UnknownTerm { member: name, .. } => {
                member(name).map(str::to_owned)
            }
            _ => None,
        };
        Err(UnreadableEvent { position: kept.position, word, error })
    }
}
