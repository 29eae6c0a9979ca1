//! Loads the state in force into memory, behind a ledger that already answers.
//!
//! Until everything is loaded, a person or controller that is not in memory is read from the store at the moment at which
//! a decision asks for it. Invariants: an answer is never older than the position that the ledger says it knows; a state
//! that an event has changed since the start is not replaced by what the scan has read before; nobody counts as unknown
//! because the scan ends at this moment.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::archive::UnreadableEvent;
use super::core::LedgerCore;
use super::entity::{Entity, EntityKind};
use super::entity_state::EntityState;
use super::event::Event;
use super::index::{PersonInForce, SecretInForce};
use super::outcome::LedgerOpenError;
use super::sequencer::{fingerprint, load_state};
use super::store::StoreError;
use super::warming::{ScanNumber, Warming};
use crate::decision::Controller;
use crate::keys::{Fingerprint, LogSecret};
use crate::vocabulary::SubjectId;

/// Number of entities whose states are put in force under one lock of the sequencer.
const CHUNK: usize = 256;

/// Time after which a scan begins again that the server has ended.
const RETRY: Duration = Duration::from_millis(250);

/// Loads everything. The body of a thread.
pub(super) fn run(core: &Arc<LedgerCore>) {
    let number = ScanNumber::default();
    let is_needed = || !core.is_closing() && core.warming.scan() == number;
    let outcome = loop {
        match scan(core, number) {
            Err(LedgerOpenError::Store(error)) if error.transient && is_needed() => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "loading the ledger into memory begins again"
                );
                std::thread::sleep(RETRY);
            }
            outcome => break outcome,
        }
    };
    if let Err(error) = &outcome
        && is_needed()
    {
        tracing::error!(error = error as &dyn std::error::Error, "the ledger cannot be loaded");
        core.stop();
    }
    core.warming.end(number, &core.index, outcome);
}

/// Loads everything anew, after the state in memory was dropped. Blocks until it is complete.
pub(super) fn reload(core: &LedgerCore) -> Result<(), StoreError> {
    let number = core.warming.scan();
    let outcome = scan(core, number);
    let failed = outcome
        .as_ref()
        .err()
        .map(|error| StoreError::transient("loading the ledger anew", error.to_string()));
    core.warming.end(number, &core.index, outcome);
    failed.map_or(Ok(()), Err)
}

fn scan(core: &LedgerCore, number: ScanNumber) -> Result<(), LedgerOpenError> {
    let mut chunk: Vec<(Entity, Vec<Event>)> = Vec::with_capacity(CHUNK);
    let mut is_void = false;
    let mut failed = None;
    let unreadable = core.archive.scan(|entity, event| {
        match chunk.last_mut() {
            Some((known, events)) if known == entity => events.extend(event),
            _ => {
                if chunk.len() == CHUNK {
                    match load(core, number, &mut chunk) {
                        Ok(is_loaded) => is_void = !is_loaded,
                        Err(error) => failed = Some(error),
                    }
                }
                chunk.push((entity.clone(), event.into_iter().collect()));
            }
        }
        !is_void && failed.is_none() && !core.is_closing()
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    is_void = is_void || !load(core, number, &mut chunk)?;
    match unreadable {
        Some(error) => Err(error.into()),
        None if is_void => Err(StoreError::new("loading the ledger", "it is loaded anew").into()),
        None if core.is_closing() => {
            Err(StoreError::new("loading the ledger", "the ledger is closed").into())
        }
        None => Ok(()),
    }
}

/// Puts the states of some entities in force, unless an event has changed them since the start. Returns `false`, and does
/// nothing, if a later scan has begun.
///
/// # Errors
/// [`StoreError`] if the log secrets cannot be read. They are read after the events, so whoever has events has a secret.
fn load(
    core: &LedgerCore,
    number: ScanNumber,
    chunk: &mut Vec<(Entity, Vec<Event>)>,
) -> Result<bool, StoreError> {
    let entities: Vec<&Entity> = chunk.iter().map(|(entity, _)| entity).collect();
    let secrets = core.archive.log_secrets(&entities)?;
    let live = core.live_state();
    let _order = core.sequencer();
    if core.warming.scan() != number {
        return Ok(false);
    }
    for ((entity, events), secret) in chunk.drain(..).zip(secrets) {
        if !core.warming.is_touched(fingerprint(&core.fingerprints, &entity)) {
            load_state(&live, &entity, events.iter(), secret.into());
        }
    }
    Ok(true)
}

/// Returns the state of an entity: from memory, or else from the store until everything is in memory.
///
/// An entity that is not in memory is looked for again while everything is and stays there: between the first look and the
/// question, the scan may have loaded the entity and ended, or memory may have been cleared.
fn look_up<T>(
    warming: &Warming,
    in_memory: impl Fn() -> Option<T>,
    in_store: impl FnOnce() -> Option<T>,
) -> Option<T> {
    in_memory().or_else(|| warming.while_complete(&in_memory).unwrap_or_else(in_store))
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
            load_state(&live, entity, history.events.iter().map(|past| &past.event), SecretInForce::NotMade);
        }
        Ok(())
    }

    /// Returns a person, from memory or else from the store; `None` if there is no event about the person.
    pub(super) fn person(&self, person: &SubjectId, fingerprint: Fingerprint) -> Option<PersonInForce> {
        look_up(
            &self.warming,
            || self.index.person(fingerprint),
            || {
                let entity = Entity::Subject(person.clone());
                let read = self.read_state(&entity, |state, log_secret| match state {
                    EntityState::Subject { known, .. } => {
                        self.index.person_or_put(fingerprint, known.map(|known| *known), log_secret)
                    }
                    EntityState::Controller(_) | EntityState::Recipient { .. } | EntityState::Case(_) => None,
                });
                // Nobody knows if there is a log secret. As after its deletion, the log gets one that is stored nowhere.
                let unread = PersonInForce { state: None, log_secret: SecretInForce::Deleted };
                read.unwrap_or(Some(unread))
            },
        )
    }

    /// Returns the state of a controller, from memory or else from the store.
    pub(super) fn controller(
        &self,
        controller: &SubjectId,
        fingerprint: Fingerprint,
    ) -> Option<Arc<Controller>> {
        look_up(
            &self.warming,
            || self.index.controller(fingerprint),
            || {
                let read = self.read_state(&Entity::Controller(controller.clone()), |state, _| match state {
                    EntityState::Controller(Some(controller)) => {
                        Some(self.index.controller_or_put(fingerprint, controller))
                    }
                    _ => None,
                });
                read.unwrap_or(None)
            },
        )
    }

    /// Reads the state of an entity from the store and passes it to `put`. `Some(None)` if the store has no events about it.
    /// `None` if the store cannot be read: then every decision that is under way counts as outdated, so that nothing leaves
    /// on this answer.
    #[allow(clippy::option_option, reason = "an entity without events differs from one that cannot be read")]
    fn read_state<T>(
        &self,
        entity: &Entity,
        put: impl FnOnce(EntityState, Option<LogSecret>) -> Option<T>,
    ) -> Option<Option<T>> {
        let read = || {
            // Until the state is put, memory is not cleared.
            let reading = self.warming.begin_reading();
            let history = self.archive.histories(&[entity])?.pop().flatten();
            let state = history.map(|history| {
                let events = history.events.iter().map(|past| &past.event);
                let state = EntityState::fold(entity, events, self.archive.terms(), &self.fingerprints);
                (state, history.log_secret)
            });
            let known = state.and_then(|(state, log_secret)| put(state, log_secret));
            drop(reading);
            Ok(known)
        };
        blocking(read)
            .inspect_err(|error: &StoreError| {
                self.fail(error);
                self.failed_reads.fetch_add(1, Ordering::SeqCst);
                self.changes.push_everybody();
            })
            .ok()
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::ledger::index::Index;

    #[test]
    fn nobody_counts_as_unknown_because_the_scan_ends() {
        let (warming, index, looks) = (Warming::default(), Index::new(), Cell::new(0));
        let not_loaded_yet = || {
            looks.set(looks.get() + 1);
            if warming.is_complete() {
                return Some("withdrawn");
            }
            // The scan loads the person, and ends, right after the look into memory.
            warming.end(warming.scan(), &index, Ok(()));
            None
        };
        assert_eq!(look_up(&warming, not_loaded_yet, || Some("read from the store")), Some("withdrawn"));
        assert_eq!(looks.get(), 2);
        assert_eq!(
            look_up(&warming, || None, || Some("read from the store")),
            None,
            "nobody knows the person"
        );
    }

    #[test]
    fn nobody_counts_as_unknown_because_memory_is_cleared() {
        let (warming, index) = (Warming::default(), Index::new());
        warming.end(warming.scan(), &index, Ok(()));
        let cleared_meanwhile = || {
            if warming.is_complete() {
                warming.restart();
            }
            None
        };
        assert_eq!(look_up(&warming, cleared_meanwhile, || Some("withdrawn")), Some("withdrawn"));
    }
}
