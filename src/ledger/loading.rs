//! Loads the state in force into memory, behind a ledger that already answers.
//!
//! Until everything is loaded, a person or controller that is not in memory is read from the store at the moment at which
//! a decision asks for it. Invariants: an answer is never older than the position that the ledger says it knows; a state
//! that an event has changed since the start is not replaced by what the scan has read before.

use std::sync::Arc;

use super::archive::UnreadableEvent;
use super::core::LedgerCore;
use super::entity::{Entity, EntityKind};
use super::entity_state::EntityState;
use super::event::Event;
use super::outcome::LedgerOpenError;
use super::sequencer::{fingerprint, load_state};
use super::store::StoreError;
use crate::decision::{Controller, Subject};
use crate::keys::Fingerprint;
use crate::vocabulary::SubjectId;

/// Number of entities whose states are put in force under one lock of the sequencer.
const CHUNK: usize = 256;

/// Loads everything. The body of a thread.
pub(super) fn run(core: &Arc<LedgerCore>) {
    let outcome = scan(core);
    if let Err(error) = &outcome
        && !core.is_closing()
    {
        tracing::error!(error = error as &dyn std::error::Error, "the ledger cannot be loaded");
        core.stop();
    }
    core.warming.end(&core.index, outcome);
}

/// Loads everything anew, after the state in memory was dropped. Blocks until it is complete.
pub(super) fn reload(core: &LedgerCore) -> Result<(), StoreError> {
    let outcome = scan(core);
    let failed = outcome
        .as_ref()
        .err()
        .map(|error| StoreError::transient("loading the ledger anew", error.to_string()));
    core.warming.end(&core.index, outcome);
    failed.map_or(Ok(()), Err)
}

fn scan(core: &LedgerCore) -> Result<(), LedgerOpenError> {
    let mut chunk: Vec<(Entity, Vec<Event>)> = Vec::with_capacity(CHUNK);
    let unreadable = core.archive.scan(|entity, event| {
        match chunk.last_mut() {
            Some((known, events)) if known == entity => events.extend(event),
            _ => {
                if chunk.len() == CHUNK {
                    load(core, &mut chunk);
                }
                chunk.push((entity.clone(), event.into_iter().collect()));
            }
        }
        !core.is_closing()
    })?;
    load(core, &mut chunk);
    match unreadable {
        Some(error) => Err(error.into()),
        None if core.is_closing() => {
            Err(StoreError::new("loading the ledger", "the ledger is closed").into())
        }
        None => Ok(()),
    }
}

/// Puts the states of some entities in force, unless an event has changed them since the start.
fn load(core: &LedgerCore, chunk: &mut Vec<(Entity, Vec<Event>)>) {
    let live = core.live_state();
    let _order = core.sequencer();
    for (entity, events) in chunk.drain(..) {
        if !core.warming.is_touched(fingerprint(&core.fingerprints, &entity)) {
            load_state(&live, &entity, events.iter());
        }
    }
}

impl LedgerCore {
    /// Loads what every decision needs from the start: suspended recipients and cases. There are few of them.
    pub(super) fn load_recipients_and_cases(&self) -> Result<(), LedgerOpenError> {
        let store = self.archive.store();
        let mut entities: Vec<Entity> = store.case_ids()?.into_iter().map(Entity::Case).collect();
        let recipients = store.entity_ids(EntityKind::Recipient, None)?;
        entities.extend(recipients.iter().map(|name| Entity::Recipient(Arc::from(name.as_str()))));
        let histories = self.archive.histories(&entities.iter().collect::<Vec<_>>());
        let histories = histories.map_err(|StoreError { doing, transient, source }| match source
            .downcast::<UnreadableEvent>(
        ) {
            Ok(unreadable) => LedgerOpenError::Unreadable(*unreadable),
            Err(source) => StoreError { doing, transient, source }.into(),
        })?;
        let live = self.live_state();
        for (entity, history) in entities.iter().zip(histories) {
            let history = history.unwrap_or_default();
            load_state(&live, entity, history.iter().map(|past| &past.event));
        }
        Ok(())
    }

    /// Returns the state of a person, from memory or else from the store.
    pub(super) fn subject(&self, person: &SubjectId, fingerprint: Fingerprint) -> Option<Arc<Subject>> {
        match self.index.subject(fingerprint) {
            None if !self.warming.is_complete() => {
                match self.read_state(&Entity::Subject(person.clone()))? {
                    EntityState::Subject { known: Some(subject), .. } => {
                        Some(self.index.subject_or_put(fingerprint, *subject))
                    }
                    _ => None,
                }
            }
            known => known,
        }
    }

    /// Returns the state of a controller, from memory or else from the store.
    pub(super) fn controller(
        &self,
        controller: &SubjectId,
        fingerprint: Fingerprint,
    ) -> Option<Arc<Controller>> {
        match self.index.controller(fingerprint) {
            None if !self.warming.is_complete() => {
                match self.read_state(&Entity::Controller(controller.clone()))? {
                    EntityState::Controller(Some(controller)) => {
                        Some(self.index.controller_or_put(fingerprint, controller))
                    }
                    _ => None,
                }
            }
            known => known,
        }
    }

    /// Reads the state of an entity from the store. `None` if the store has no events about it, or cannot be read. In that
    /// case every decision that is under way counts as outdated, so that nothing leaves on this answer.
    fn read_state(&self, entity: &Entity) -> Option<EntityState> {
        let read = || self.archive.histories(&[entity]);
        let history = match blocking(read) {
            Ok(mut histories) => histories.pop().flatten()?,
            Err(error) => {
                self.fail(&error);
                self.changes.push_everybody();
                return None;
            }
        };
        let events = history.iter().map(|past| &past.event);
        Some(EntityState::fold(entity, events, self.archive.terms(), &self.fingerprints))
    }
}

/// Runs something that blocks. A worker of a runtime with several hands its other tasks over meanwhile.
fn blocking<T>(run: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(run),
        _ => run(),
    }
}
