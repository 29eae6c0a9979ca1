//! The order of effects: what is in force while an event is on its way to the disk.
//!
//! Invariants: what withholds is in force before it is durable, what grants only after; positions
//! are given in the order in which events reach the committer; a state in force is always the fold
//! of the durable events and of what the pending ones withhold; a refusal reported now counts after
//! everything that is recorded, whatever the clocks of those who reported it said.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp, ToSpan};
use ulid::Ulid;

use super::CLOCK_TOLERANCE;
use super::changes::Changes;
use super::conflict::{self, Conflict};
use super::event::{Draft, Entity, Event};
use super::in_force::InForce;
use super::index::Index;
use super::kinds::{Effect, What};
use super::names::Names;
use super::once::{self, Once};
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

/// An event that is handed in.
pub(super) struct Report<'r> {
    pub(super) entity: &'r Entity,
    pub(super) draft: Draft,
    /// What makes a repetition the same event, and the event recorded under it before.
    pub(super) once: Option<(Once, Option<Kept>)>,
    pub(super) now: Timestamp,
}

/// What became of it.
pub(super) enum Taken {
    /// It is to be made durable.
    Recorded { entry: Entry, changed: bool },
    /// A repetition that is not recorded anew.
    Again(Kept),
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
        report: Report<'_>,
        history: impl FnOnce() -> Result<Vec<Event>, StoreError>,
    ) -> Result<Taken, NotTaken> {
        let entity = report.entity;
        let mut folder = match self.open.remove(entity) {
            Some(folder) => folder,
            None => Folder { durable: history()?, waiting: Vec::new() },
        };
        let taken = folder.take(force, report, Position(self.last.0 + 1));
        if !folder.waiting.is_empty() {
            self.open.insert(entity.clone(), folder);
        }
        if let Ok(Taken::Recorded { entry, .. }) = &taken {
            self.last = entry.kept.position;
            if let Some((key, asked)) = entry.once {
                self.once.insert(key, (entry.kept.clone(), asked));
            }
        }
        Ok(taken?)
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
    fn take(&mut self, force: &Force<'_>, report: Report<'_>, position: Position) -> Result<Taken, Conflict> {
        let Report { entity, draft: Draft { what, at, attached }, once, now } = report;
        let at = self.time(&what, at, now);
        let event = Event { what, at, attached };
        let before = self.in_force(force, entity, None);
        let with = |event: &Event| self.in_force(force, entity, Some(event));
        let once = match once {
            Some((once, Some(before_this))) => {
                if !once::is_recorded_anew(&once, &event, &before, with) {
                    return Ok(Taken::Again(before_this));
                }
                // The key stays with the first.
                None
            }
            Some((once, None)) => Some((once.key, once.asked)),
            None => None,
        };
        conflict::check(&event.what, self.known())?;
        let changed = with(&event) != before;
        let text = serde_json::Value::Object(written::write(&event, force.names)).to_string();
        let kept = Kept { position, id: Ulid::generate(), recorded: now, event: text };
        let withholds = event.before_durable().is_some();
        self.waiting.push((position, event));
        if withholds {
            self.put_in_force(force, entity, true);
        }
        Ok(Taken::Recorded { entry: Entry { entity: entity.clone(), kept, once }, changed })
    }

    /// Everything that is recorded.
    fn known(&self) -> impl Iterator<Item = &Event> + Clone {
        self.durable.iter().chain(self.waiting.iter().map(|(_, event)| event))
    }

    /// What will be in force when everything recorded is durable, and this too.
    fn in_force(&self, force: &Force<'_>, entity: &Entity, event: Option<&Event>) -> InForce {
        InForce::fold(entity, self.known().chain(event), force.names, force.fingerprints)
    }

    /// The time that counts for an event reported now.
    ///
    /// Clocks differ: a refusal dated about now, or later, counts after everything that is recorded,
    /// and no grant lies ahead of our own clock. Where our clock was wrong before (recorded events
    /// lie ahead of it), the order of reports is all that is known.
    fn time(&self, what: &What, at: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let Some(at) = at else { return self.after_all(now) };
        let about_now = now.duration_since(at) <= CLOCK_TOLERANCE;
        let at = at.min(now);
        match what.effect() {
            Effect::Restrictive if about_now || self.is_ahead_of(now, CLOCK_TOLERANCE) => self.after_all(at),
            Effect::Either if about_now && what.is_fact() && self.is_ahead_of(now, SignedDuration::ZERO) => {
                self.after_all(at)
            }
            Effect::Restrictive | Effect::Either | Effect::Permissive | Effect::Nothing => at,
        }
    }

    /// Whether something is recorded that lies further ahead of now than this.
    fn is_ahead_of(&self, now: Timestamp, tolerance: SignedDuration) -> bool {
        self.latest().is_some_and(|latest| latest.duration_since(now) > tolerance)
    }

    fn latest(&self) -> Option<Timestamp> {
        self.known().map(|event| event.at).max()
    }

    /// This time, but after everything else that is known: events without a time of their own happen
    /// in the order in which they come, even where an earlier one was written by a clock that is
    /// ahead.
    fn after_all(&self, at: Timestamp) -> Timestamp {
        match self.latest() {
            Some(latest) if latest >= at => latest.checked_add(1.microsecond()).unwrap_or(latest),
            _ => at,
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
    let changed =
        force.index.put(entity, fingerprint, InForce::fold(entity, events, force.names, force.fingerprints));
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
