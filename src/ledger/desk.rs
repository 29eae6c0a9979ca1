//! The order of effects: what is in force while an event is on its way to the disk.
//!
//! Invariants: what withholds is in force before it is durable, what grants only after; positions
//! are given in the order in which events reach the committer; a state in force is always the fold
//! of the durable events and of what the pending ones withhold.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use jiff::{Timestamp, ToSpan};
use ulid::Ulid;

use super::case;
use super::changes::Changes;
use super::conflict::{self, Conflict};
use super::event::{Draft, Entity, Event};
use super::history;
use super::index::Index;
use super::kinds::{Effect, What};
use super::names::Names;
use super::request;
use super::store::{Asked, Entry, Kept, OnceKey, Position, StoreError};
use super::written;
use crate::keys::{Fingerprint, Fingerprints};

/// What the desk puts in force, and where.
pub(super) struct Force<'l> {
    pub(super) index: &'l Index,
    pub(super) changes: &'l Changes,
    pub(super) names: &'l dyn Names,
    pub(super) fingerprints: &'l Fingerprints,
}

/// The entities with events on their way to the disk.
#[derive(Default)]
pub(super) struct Desk {
    last: Position,
    open: HashMap<Entity, Folder>,
    once: HashMap<OnceKey, (Kept, Asked)>,
}

/// Why an event is not taken in.
#[derive(Debug)]
pub(super) enum NotTaken {
    Store(StoreError),
    Conflict(Conflict),
}

impl From<StoreError> for NotTaken {
    fn from(error: StoreError) -> Self {
        NotTaken::Store(error)
    }
}

impl From<Conflict> for NotTaken {
    fn from(conflict: Conflict) -> Self {
        NotTaken::Conflict(conflict)
    }
}

/// One of them: what is durable, and what waits.
struct Folder {
    durable: Vec<Event>,
    waiting: Vec<(Position, Event)>,
}

impl Desk {
    pub(super) fn new(last: Position) -> Desk {
        Desk { last, ..Desk::default() }
    }

    /// An event under this key that is not durable yet.
    pub(super) fn once(&self, key: &OnceKey) -> Option<&(Kept, Asked)> {
        self.once.get(key)
    }

    /// Takes an event in: gives it its time and position, and puts in force what it withholds.
    /// `history` is asked for the entity's durable events where they are not at hand.
    pub(super) fn take(
        &mut self,
        force: &Force<'_>,
        entity: &Entity,
        draft: Draft,
        once: Option<(OnceKey, Asked)>,
        now: Timestamp,
        history: impl FnOnce() -> Result<Vec<Event>, StoreError>,
    ) -> Result<Entry, NotTaken> {
        let folder = match self.open.entry(entity.clone()) {
            Slot::Occupied(folder) => {
                folder.get().agrees(&draft.what)?;
                folder.into_mut()
            }
            Slot::Vacant(slot) => {
                let folder = Folder { durable: history()?, waiting: Vec::new() };
                folder.agrees(&draft.what)?;
                slot.insert(folder)
            }
        };
        let Draft { what, at, attached } = draft;
        let at = match (at, what.effect()) {
            (None, _) => folder.after_all(now),
            // A clock that is ahead must not let a grant outlast a withdrawal that follows it.
            (Some(at), Effect::Permissive | Effect::Either) => at.min(now),
            (Some(at), Effect::Restrictive | Effect::Nothing) => at,
        };
        let event = Event { what, at, attached };
        let position = Position(self.last.0 + 1);
        let text = serde_json::Value::Object(written::write(&event, force.names)).to_string();
        let kept = Kept { position, id: Ulid::generate(), recorded: now, event: text };
        let withholds = event.before_durable().is_some();
        folder.waiting.push((position, event));
        self.last = position;
        if withholds {
            folder.put_in_force(force, entity, true);
        }
        if let Some((key, asked)) = once {
            self.once.insert(key, (kept.clone(), asked));
        }
        Ok(Entry { entity: entity.clone(), kept, once })
    }

    /// The batch is durable: what it grants comes into force.
    pub(super) fn settle(&mut self, force: &Force<'_>, batch: &[Entry]) {
        for entry in batch {
            if let Some((key, _)) = &entry.once {
                self.once.remove(key);
            }
            let Some(folder) = self.open.get_mut(&entry.entity) else { continue };
            let withholds = folder.file(entry.kept.position);
            folder.put_in_force(force, &entry.entity, withholds);
            if folder.waiting.is_empty() {
                self.open.remove(&entry.entity);
            }
        }
    }
}

impl Folder {
    /// Whether an event can follow those that are known.
    fn agrees(&self, what: &What) -> Result<(), Conflict> {
        let known = self.durable.iter().chain(self.waiting.iter().map(|(_, event)| event));
        conflict::check(what, known)
    }

    /// Now, but after everything else that is known: events without a time of their own happen in
    /// the order in which they come, even where an earlier one was written by a clock that is ahead.
    fn after_all(&self, now: Timestamp) -> Timestamp {
        let latest = self
            .durable
            .iter()
            .chain(self.waiting.iter().map(|(_, event)| event))
            .map(|event| event.at)
            .max();
        match latest {
            Some(latest) if latest >= now => latest.checked_add(1.microsecond()).unwrap_or(latest),
            _ => now,
        }
    }

    /// Moves an event from what waits to what is durable; says whether it can withhold.
    fn file(&mut self, position: Position) -> bool {
        let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == position) else {
            return false;
        };
        let (_, event) = self.waiting.remove(at);
        let withholds = withholds(&event);
        self.durable.push(event);
        withholds
    }

    fn put_in_force(&self, force: &Force<'_>, entity: &Entity, withholds: bool) {
        let early: Vec<_> = self.waiting.iter().filter_map(|(_, event)| event.before_durable()).collect();
        if early.is_empty() && self.durable.is_empty() {
            return;
        }
        put_in_force(force, entity, self.durable.iter().chain(&early), withholds);
    }
}

fn withholds(event: &Event) -> bool {
    match event.what.effect() {
        Effect::Restrictive | Effect::Either => true,
        Effect::Permissive | Effect::Nothing => false,
    }
}

/// Folds an entity's events and puts the outcome in force. A change that can withhold is pushed
/// after it is in force, so that nobody who judged before it takes it for seen.
pub(super) fn put_in_force<'e>(
    force: &Force<'_>,
    entity: &Entity,
    events: impl Iterator<Item = &'e Event> + Clone,
    withholds: bool,
) {
    let fingerprint = fingerprint(force.fingerprints, entity);
    let changed = match entity {
        Entity::Subject(person) => {
            force.index.put_requests(person, request::open(person, events.clone()));
            // Who has only asked for something has not been told anything, nor consented.
            if request::are_all(events.clone()) {
                return;
            }
            force.index.put_subject(fingerprint, history::subject(events, force.names))
        }
        Entity::Controller(_) => {
            force.index.put_controller(fingerprint, history::controller(events, force.names))
        }
        Entity::Recipient(name) => force.index.put_suspended(name, history::suspended(events)),
        Entity::Case(id) => force.index.put_case(id, case::fold(events, force.fingerprints)),
    };
    if changed && withholds {
        force.changes.push(fingerprint);
    }
}

pub(super) fn fingerprint(fingerprints: &Fingerprints, entity: &Entity) -> Fingerprint {
    match entity {
        Entity::Subject(person) => fingerprints.subject(person),
        Entity::Controller(person) => fingerprints.controller(person),
        Entity::Recipient(name) => fingerprints.recipient(name),
        Entity::Case(id) => fingerprints.case(id),
    }
}
