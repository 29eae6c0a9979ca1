//! The state in force, in memory. Every decision about a record reads it.
//!
//! An entry is 32 bytes (a 96-bit fingerprint, the number of a state and a log secret) plus the overhead of the map. States
//! are shared, because most people are in one of few states. The index does not know ids of people (except of those with
//! open requests, and of those whose log secret waits for its deletion) or events.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use jiff::Timestamp;

use super::case::Case;
use super::entity::Entity;
use super::entity_state::EntityState;
use super::request::OpenRequest;
use super::secret_history::PendingErasure;
use crate::decision::{Addressee, Controller, Subject};
use crate::keys::{BuildFingerprintHasher, Fingerprint, LogSecret};
use crate::vocabulary::SubjectId;

/// The state in force of all entities.
pub(super) struct Index {
    subjects: DashMap<Fingerprint, IndexedPerson, BuildFingerprintHasher>,
    /// The log secrets of people whom the ledger does not know, because they have only sent requests.
    requesters: DashMap<Fingerprint, LogSecret, BuildFingerprintHasher>,
    /// Counts, between the two steps of a move, the moves of people from one of the maps above to the other.
    moves: AtomicU64,
    controllers: DashMap<Fingerprint, Arc<Controller>, BuildFingerprintHasher>,
    suspended: RwLock<HashSet<Arc<str>>>,
    cases: RwLock<HashMap<Arc<str>, Arc<Case>>>,
    /// The open requests, by person.
    requests: RwLock<HashMap<SubjectId, Vec<OpenRequest>>>,
    /// The times of erasures after which the log secret was not deleted yet, by person.
    erased: RwLock<HashMap<SubjectId, Timestamp>>,
    states: RwLock<States>,
}

/// A person whom the ledger knows.
#[derive(Clone, Copy, PartialEq, Eq)]
struct IndexedPerson {
    /// The number of the state.
    state: u32,
    /// [`IndexedPerson::NOT_MADE`], [`IndexedPerson::DELETED`] or the secret: an enum would make each entry longer.
    log_secret: [u8; 16],
}

/// The state of a person's log secret in the ledger.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretInForce {
    /// No event about the person is durable, so that none was made. The disclosure log names the person as unknown.
    NotMade,
    /// It was deleted.
    Deleted,
    /// The secret.
    Stored(LogSecret),
}

/// A person about whom there are events.
#[derive(Clone)]
pub(super) struct PersonInForce {
    /// The state; `None` if the person has only sent requests, and so is not known.
    pub(super) state: Option<Arc<Subject>>,
    pub(super) log_secret: SecretInForce,
}

impl From<Option<LogSecret>> for SecretInForce {
    /// The secret of a person about whom an event is durable.
    fn from(secret: Option<LogSecret>) -> SecretInForce {
        secret.map_or(SecretInForce::Deleted, SecretInForce::Stored)
    }
}

impl IndexedPerson {
    const NOT_MADE: [u8; 16] = [0xff; 16];
    const DELETED: [u8; 16] = [0; 16];

    fn new(state: u32, log_secret: SecretInForce) -> IndexedPerson {
        let log_secret = match log_secret {
            SecretInForce::NotMade => IndexedPerson::NOT_MADE,
            SecretInForce::Deleted => IndexedPerson::DELETED,
            SecretInForce::Stored(secret) => *secret.bytes(),
        };
        IndexedPerson { state, log_secret }
    }

    fn log_secret(&self) -> SecretInForce {
        match self.log_secret {
            IndexedPerson::NOT_MADE => SecretInForce::NotMade,
            IndexedPerson::DELETED => SecretInForce::Deleted,
            secret => SecretInForce::Stored(LogSecret::from_bytes(secret)),
        }
    }
}

impl Index {
    pub(super) fn new() -> Index {
        Index {
            subjects: DashMap::default(),
            requesters: DashMap::default(),
            moves: AtomicU64::new(0),
            controllers: DashMap::default(),
            suspended: RwLock::default(),
            cases: RwLock::default(),
            requests: RwLock::default(),
            erased: RwLock::default(),
            states: RwLock::default(),
        }
    }

    /// Returns the state and the log secret of a person about whom there are events, read together: a state never comes with
    /// the secret of another moment.
    pub(super) fn person(&self, fingerprint: Fingerprint) -> Option<PersonInForce> {
        loop {
            let moves = self.moves.load(Ordering::Acquire);
            if let Some(person) = self.subject(fingerprint) {
                return Some(person);
            }
            if let Some(secret) = self.requesters.get(&fingerprint) {
                return Some(PersonInForce { state: None, log_secret: SecretInForce::Stored(*secret) });
            }
            // Somebody who is moved back and forth between the two looks is in neither map at either.
            if self.moves.load(Ordering::Acquire) == moves {
                return None;
            }
        }
    }

    fn subject(&self, fingerprint: Fingerprint) -> Option<PersonInForce> {
        // The guard of the entry is held while the state is fetched. `put` changes the entry before it frees the number
        // of the old state, so the number read here still belongs to the person's state.
        let person = self.subjects.get(&fingerprint)?;
        let state = self.states.read().unwrap_or_else(PoisonError::into_inner).get(person.state);
        Some(PersonInForce { state, log_secret: person.log_secret() })
    }

    /// Returns the state of a controller, or `None` if the ledger does not know it.
    pub(super) fn controller(&self, fingerprint: Fingerprint) -> Option<Arc<Controller>> {
        self.controllers.get(&fingerprint).map(|controller| Arc::clone(&controller))
    }

    /// True if the recipient of this name is suspended.
    pub(super) fn is_suspended(&self, recipient: &str) -> bool {
        self.suspended.read().unwrap_or_else(PoisonError::into_inner).contains(recipient)
    }

    /// Puts the state of an entity in force. Returns true if that changed anything that decisions depend on. Must not be
    /// called concurrently.
    pub(super) fn put(
        &self,
        entity: &Entity,
        fingerprint: Fingerprint,
        in_force: EntityState,
        log_secret: SecretInForce,
    ) -> bool {
        match (entity, in_force) {
            (Entity::Subject(person), EntityState::Subject { known, requests, erased_since }) => {
                self.put_requests(person, requests);
                self.put_erased(person, erased_since);
                // A person is in the new map before it leaves the old one.
                match (known, log_secret) {
                    (Some(subject), log_secret) => {
                        let changed = self.put_subject(fingerprint, *subject, log_secret);
                        self.moves.fetch_add(1, Ordering::Release);
                        self.requesters.remove(&fingerprint);
                        changed
                    }
                    (None, log_secret) => {
                        match log_secret {
                            SecretInForce::Stored(secret) => {
                                self.requesters.insert(fingerprint, secret);
                                self.moves.fetch_add(1, Ordering::Release);
                            }
                            SecretInForce::NotMade | SecretInForce::Deleted => {
                                self.requesters.remove(&fingerprint);
                            }
                        }
                        self.remove_subject(fingerprint)
                    }
                }
            }
            (_, EntityState::Controller(controller)) => self.put_controller(fingerprint, controller),
            (Entity::Recipient(name), EntityState::Recipient { suspended }) => {
                self.put_suspended(name, suspended)
            }
            (Entity::Case(id), EntityState::Case(case)) => self.put_case(id, case),
            // Cannot occur: a state is of the kind of its entity.
            (_, EntityState::Subject { .. } | EntityState::Recipient { .. } | EntityState::Case(_)) => false,
        }
    }

    /// Puts the state of a person in force. Returns true if it changed. Must not be called concurrently.
    fn put_subject(&self, fingerprint: Fingerprint, subject: Subject, log_secret: SecretInForce) -> bool {
        let number = self.states_mut(|states| states.share(subject));
        let person = IndexedPerson::new(number, log_secret);
        let before = match self.subjects.entry(fingerprint) {
            Entry::Occupied(mut entry) => Some(entry.insert(person).state),
            Entry::Vacant(entry) => {
                entry.insert(person);
                None
            }
        };
        if let Some(before) = before {
            self.states_mut(|states| states.release(before));
        }
        before != Some(number)
    }

    /// Adds a person that was read from the store, unless an event has put the person in force meanwhile. Returns the person
    /// in force; `None` if there is no event about the person.
    pub(super) fn person_or_put(
        &self,
        fingerprint: Fingerprint,
        known: Option<Subject>,
        log_secret: Option<LogSecret>,
    ) -> Option<PersonInForce> {
        match (known, log_secret) {
            (Some(subject), log_secret) => Some(self.subject_or_put(fingerprint, subject, log_secret)),
            (None, Some(secret)) => {
                if self.subjects.contains_key(&fingerprint) {
                    return self.person(fingerprint);
                }
                self.requesters.entry(fingerprint).or_insert(secret);
                self.person(fingerprint)
            }
            (None, None) => self.person(fingerprint),
        }
    }

    fn subject_or_put(
        &self,
        fingerprint: Fingerprint,
        subject: Subject,
        log_secret: Option<LogSecret>,
    ) -> PersonInForce {
        let number = self.states_mut(|states| states.share(subject.clone()));
        // As in `subject`, the guard of the entry is held while the state is fetched: its number could be reused otherwise.
        let (in_force, person, is_new) = match self.subjects.entry(fingerprint) {
            Entry::Occupied(entry) => (self.state(entry.get().state), *entry.get(), false),
            Entry::Vacant(entry) => {
                let entry = entry.insert(IndexedPerson::new(number, log_secret.into()));
                (self.state(entry.state), *entry, true)
            }
        };
        if !is_new {
            self.states_mut(|states| states.release(number));
        }
        let state = Some(in_force.unwrap_or_else(|| Arc::new(subject)));
        PersonInForce { state, log_secret: person.log_secret() }
    }

    /// Adds a controller like [`Index::person_or_put`].
    pub(super) fn controller_or_put(
        &self,
        fingerprint: Fingerprint,
        controller: Controller,
    ) -> Arc<Controller> {
        Arc::clone(&self.controllers.entry(fingerprint).or_insert_with(|| Arc::new(controller)))
    }

    fn state(&self, number: u32) -> Option<Arc<Subject>> {
        self.states.read().unwrap_or_else(PoisonError::into_inner).get(number)
    }

    /// Makes a person unknown. Returns true if the person was known.
    fn remove_subject(&self, fingerprint: Fingerprint) -> bool {
        let before = self.subjects.remove(&fingerprint);
        if let Some((_, person)) = before {
            self.states_mut(|states| states.release(person.state));
        }
        before.is_some()
    }

    fn put_controller(&self, fingerprint: Fingerprint, controller: Option<Controller>) -> bool {
        let Some(controller) = controller else { return self.controllers.remove(&fingerprint).is_some() };
        let controller = Arc::new(controller);
        let before = self.controllers.insert(fingerprint, Arc::clone(&controller));
        before != Some(controller)
    }

    fn put_suspended(&self, recipient: &Arc<str>, suspended: bool) -> bool {
        let mut list = self.suspended.write().unwrap_or_else(PoisonError::into_inner);
        if suspended { list.insert(Arc::clone(recipient)) } else { list.remove(recipient) }
    }

    /// Returns the case of this id.
    pub(super) fn case(&self, id: &str) -> Option<Arc<Case>> {
        self.cases.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Returns all cases, in no order.
    pub(super) fn cases(&self) -> Vec<(Arc<str>, Arc<Case>)> {
        let cases = self.cases.read().unwrap_or_else(PoisonError::into_inner);
        cases.iter().map(|(id, case)| (Arc::clone(id), Arc::clone(case))).collect()
    }

    fn put_case(&self, id: &Arc<str>, case: Option<Case>) -> bool {
        let mut cases = self.cases.write().unwrap_or_else(PoisonError::into_inner);
        let case = case.map(Arc::new);
        match &case {
            Some(case) => cases.insert(Arc::clone(id), Arc::clone(case)) != Some(Arc::clone(case)),
            None => cases.remove(id).is_some(),
        }
    }

    /// Drops everything. A person that is read from the store meanwhile may stay.
    pub(super) fn clear(&self) {
        // The numbers are released one by one: the people who stay keep the numbers of their states.
        let mut dropped = Vec::new();
        self.subjects.retain(|_, person| {
            dropped.push(person.state);
            false
        });
        self.states_mut(|states| dropped.iter().for_each(|number| states.release(*number)));
        self.controllers.clear();
        self.suspended.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.cases.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.requests.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.requesters.clear();
        self.erased.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the people whose log secret waits for its deletion, in no order.
    pub(super) fn pending_erasures(&self) -> Vec<PendingErasure> {
        let erased = self.erased.read().unwrap_or_else(PoisonError::into_inner);
        let pending =
            erased.iter().map(|(person, erased)| PendingErasure { person: person.clone(), erased: *erased });
        pending.collect()
    }

    fn put_erased(&self, person: &SubjectId, erased_since: Option<Timestamp>) {
        let is_listed = self.erased.read().unwrap_or_else(PoisonError::into_inner).contains_key(person);
        if erased_since.is_none() && !is_listed {
            return;
        }
        let mut erased = self.erased.write().unwrap_or_else(PoisonError::into_inner);
        match erased_since {
            Some(since) => erased.insert(person.clone(), since),
            None => erased.remove(person),
        };
    }

    /// Returns all open requests, in no order.
    pub(super) fn requests(&self) -> Vec<OpenRequest> {
        let requests = self.requests.read().unwrap_or_else(PoisonError::into_inner);
        requests.values().flatten().cloned().collect()
    }

    /// True if the ledger has events about the person.
    pub(super) fn has_events(&self, person: &SubjectId, fingerprint: Fingerprint) -> bool {
        self.subjects.contains_key(&fingerprint)
            || self.requesters.contains_key(&fingerprint)
            || self.has_requests(person)
    }

    /// True if the person has an open request.
    fn has_requests(&self, person: &SubjectId) -> bool {
        self.requests.read().unwrap_or_else(PoisonError::into_inner).contains_key(person)
    }

    fn put_requests(&self, person: &SubjectId, open: Vec<OpenRequest>) {
        if open.is_empty() && !self.has_requests(person) {
            return;
        }
        let mut requests = self.requests.write().unwrap_or_else(PoisonError::into_inner);
        if open.is_empty() {
            requests.remove(person)
        } else {
            requests.insert(person.clone(), open)
        };
    }

    /// Returns the recipients that the state in force names, in order.
    pub(super) fn recipients(&self) -> BTreeSet<Arc<str>> {
        let mut named: BTreeSet<Arc<str>> = BTreeSet::new();
        for state in self.states.read().unwrap_or_else(PoisonError::into_inner).numbers.keys() {
            let Subject { consents, opt_outs, relations, ended_relations, .. } = &**state;
            named.extend(opt_outs.iter().cloned());
            let relations = relations.iter().chain(ended_relations);
            named.extend(relations.filter_map(|relation| relation.recipient.clone()));
            named.extend(consents.iter().filter_map(|consent| match &consent.to {
                Addressee::Recipient(name) => Some(Arc::clone(name)),
                Addressee::Anyone | Addressee::Kind(_) => None,
            }));
        }
        named.extend(self.suspended.read().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        let cases = self.cases.read().unwrap_or_else(PoisonError::into_inner);
        named.extend(cases.values().map(|case| Arc::clone(&case.recipient)));
        named
    }

    /// Returns the number of people that the ledger knows.
    pub(super) fn subject_count(&self) -> usize {
        self.subjects.len()
    }

    #[cfg(test)]
    pub(super) fn state_count(&self) -> usize {
        self.states.read().unwrap_or_else(PoisonError::into_inner).numbers.len()
    }

    fn states_mut<T>(&self, change: impl FnOnce(&mut States) -> T) -> T {
        change(&mut self.states.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The distinct states of people, by number. A number is reused when no person has its state any more.
#[derive(Default)]
struct States {
    slots: Vec<Slot>,
    numbers: HashMap<Arc<Subject>, u32>,
    free: Vec<u32>,
}

struct Slot {
    state: Arc<Subject>,
    people: u32,
}

impl States {
    fn get(&self, number: u32) -> Option<Arc<Subject>> {
        self.slots.get(number as usize).map(|slot| Arc::clone(&slot.state))
    }

    fn share(&mut self, subject: Subject) -> u32 {
        if let Some(number) = self.numbers.get(&subject).copied() {
            if let Some(slot) = self.slots.get_mut(number as usize) {
                slot.people += 1;
            }
            return number;
        }
        let slot = Slot { state: Arc::new(subject), people: 1 };
        let state = Arc::clone(&slot.state);
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(place) = self.slots.get_mut(number as usize) {
                    *place = slot;
                }
                number
            }
            None => {
                self.slots.push(slot);
                // Cannot overflow: memory runs out first.
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.numbers.insert(state, number);
        number
    }

    fn release(&mut self, number: u32) {
        let Some(slot) = self.slots.get_mut(number as usize) else { return };
        slot.people -= 1;
        if slot.people == 0 {
            // The slot keeps the unused state until its number is reused.
            self.numbers.remove(&slot.state);
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Extracted;
    use crate::keys::Keys;

    fn state(index: &Index, person: Fingerprint) -> Option<Arc<Subject>> {
        index.person(person)?.state
    }

    fn minor(minor: bool) -> Subject {
        Subject { minor, ..Subject::default() }
    }

    #[test]
    fn an_entry_has_32_bytes() {
        assert_eq!(size_of::<(Fingerprint, IndexedPerson)>(), 32);
    }

    #[test]
    fn people_share_equal_states_and_unused_states_are_dropped() {
        let index = Index::new();
        let fingerprints = Keys::random().unwrap().fingerprints();
        let people: Vec<_> = (0..100).map(|n| fingerprints.recipient(&n.to_string())).collect();
        assert!(state(&index, people[0]).is_none());
        for person in &people {
            assert!(index.put_subject(*person, minor(false), SecretInForce::NotMade));
            assert!(!index.put_subject(*person, minor(false), SecretInForce::NotMade), "nothing changes");
        }
        assert_eq!((index.subject_count(), index.state_count()), (100, 1));
        assert!(index.put_subject(people[3], minor(true), SecretInForce::NotMade));
        assert!(state(&index, people[3]).unwrap().minor && !state(&index, people[4]).unwrap().minor);
        assert_eq!(index.state_count(), 2);
        let erased = Subject { erased: true, ..Subject::default() };
        assert!(index.put_subject(people[3], erased, SecretInForce::NotMade));
        assert_eq!(index.state_count(), 2, "the state of the minor is dropped and its number reused");
        assert!(state(&index, people[3]).unwrap().erased && !state(&index, people[3]).unwrap().minor);
    }

    #[test]
    fn a_person_who_has_asked_is_named_by_the_secret_throughout() {
        let index = Index::new();
        let fingerprint = Keys::random().unwrap().fingerprints().recipient("ada");
        let secret = LogSecret::from_bytes([7; 16]);
        let entity = Entity::Subject(crate::vocabulary::IdReader::default().read("ada").unwrap());
        let put = |known: Option<Subject>| {
            let known = known.map(Box::new);
            let state = EntityState::Subject { known, requests: Vec::new(), erased_since: None };
            index.put(&entity, fingerprint, state, SecretInForce::Stored(secret));
        };
        put(None);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for _ in 0..20_000 {
                    put(Some(minor(false)));
                    put(None);
                }
            });
            while !writer.is_finished() {
                let person = index.person(fingerprint).expect("the person is in one of the two maps");
                assert!(person.log_secret == SecretInForce::Stored(secret));
            }
        });
    }

    #[test]
    fn a_requester_who_is_read_from_the_store_does_not_replace_what_an_event_has_put() {
        let index = Index::new();
        let fingerprint = Keys::random().unwrap().fingerprints().recipient("ada");
        let [read, later] = [[1; 16], [2; 16]].map(LogSecret::from_bytes);
        assert!(index.person_or_put(fingerprint, None, None).is_none());
        let put = index.person_or_put(fingerprint, None, Some(later)).unwrap();
        assert!(put.state.is_none() && put.log_secret == SecretInForce::Stored(later));
        let again = index.person_or_put(fingerprint, None, Some(read)).unwrap();
        assert!(again.log_secret == SecretInForce::Stored(later));
        index.put_subject(fingerprint, minor(true), SecretInForce::Deleted);
        let known = index.person_or_put(fingerprint, None, Some(read)).unwrap();
        assert!(known.state.unwrap().minor && known.log_secret == SecretInForce::Deleted);
    }

    #[test]
    fn a_concurrent_reader_never_sees_the_state_of_another_person() {
        let index = Index::new();
        let fingerprints = Keys::random().unwrap().fingerprints();
        let (adult, busy) = (fingerprints.recipient("adult"), fingerprints.recipient("busy"));
        index.put_subject(adult, minor(false), SecretInForce::NotMade);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..20_000 {
                    // Only `busy` has states with `minor`; their numbers are reused all the time.
                    let region = Extracted::Known(Arc::from(format!("{}", n % 7)));
                    index.put_subject(busy, Subject { region, ..minor(true) }, SecretInForce::NotMade);
                    index.put_subject(
                        adult,
                        Subject { restricted: n % 2 == 0, ..minor(false) },
                        SecretInForce::NotMade,
                    );
                }
            });
            for _ in 0..20_000 {
                assert!(!state(&index, adult).unwrap().minor);
                assert!(state(&index, busy).is_none_or(|busy| busy.minor));
            }
        });
    }

    #[test]
    fn a_person_that_is_read_from_the_store_never_gets_the_state_of_another_person() {
        let index = Index::new();
        let fingerprints = Keys::random().unwrap().fingerprints();
        let (adult, busy) = (fingerprints.recipient("adult"), fingerprints.recipient("busy"));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 0..100_000 {
                    // The number of the adult's state is free at once, and `busy` takes it.
                    index.put_subject(
                        adult,
                        Subject { restricted: n % 2 == 0, ..minor(false) },
                        SecretInForce::NotMade,
                    );
                    let region = Extracted::Known(Arc::from(format!("{}", n % 7)));
                    index.put_subject(busy, Subject { region, ..minor(true) }, SecretInForce::NotMade);
                }
            });
            while !writer.is_finished() {
                assert!(!index.subject_or_put(adult, minor(false), None).state.unwrap().minor);
            }
        });
    }

    #[test]
    fn people_that_are_read_from_the_store_while_the_index_is_cleared_keep_their_states() {
        let fingerprints = Keys::random().unwrap().fingerprints();
        let people: Vec<_> = (0..200).map(|n| fingerprints.recipient(&n.to_string())).collect();
        for _ in 0..200 {
            let index = Index::new();
            let numbered = |n: usize| Subject {
                region: Extracted::Known(Arc::from(format!("{n}"))),
                ..Subject::default()
            };
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| {
                    for (n, person) in people.iter().enumerate() {
                        index.subject_or_put(*person, numbered(n), None);
                    }
                });
                while !reader.is_finished() {
                    index.clear();
                }
            });
            for (n, person) in people.iter().enumerate() {
                let put = index.subject_or_put(*person, numbered(n), None);
                assert_eq!(*put.state.unwrap(), numbered(n));
            }
            assert_eq!(index.state_count(), people.len());
        }
    }
}
