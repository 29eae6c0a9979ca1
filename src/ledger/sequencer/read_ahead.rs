//! Reading what the store has about many reports at once, without the lock of the sequencer.
//!
//! A question to a server takes as long as hundreds of reports. If the lock were held meanwhile, the threads that make events
//! durable and follow those of others would wait for it. Invariant: an answer is used only if the durable events of the
//! entity have not changed here since the store was asked; otherwise the store is asked again.

use std::cell::RefCell;
use std::collections::HashMap;

use super::{DurableEvents, EventReport};
use crate::ledger::archive::EntityHistory;
use crate::ledger::core::LedgerCore;
use crate::ledger::entity::Entity;
use crate::ledger::idempotency::Idempotency;
use crate::ledger::store::{IdempotencyDigest, RequestDigest, StoreError, StoredEntity, StoredEvent};

/// The answers of the store about some reports.
pub(super) struct ReadAhead<'c> {
    core: &'c LedgerCore,
    /// Each is used once: from then on a report about the entity is under way.
    histories: RefCell<HashMap<Entity, Option<EntityHistory>>>,
    repeated: HashMap<IdempotencyDigest, (StoredEvent, RequestDigest)>,
}

impl<'c> ReadAhead<'c> {
    /// Reads the histories of the entities and the events under the idempotency keys.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn read<'r>(
        core: &'c LedgerCore,
        reports: impl Iterator<Item = &'r EventReport> + Clone,
    ) -> Result<ReadAhead<'c>, StoreError> {
        let entities = reports.clone().map(|report| &report.entity);
        let entities = core.sequencer().begin_read_ahead(entities);
        let keys = reports.filter_map(|report| report.idempotency.as_ref()).flat_map(Idempotency::keys);
        let repeated = core.archive.store().find_repeated(&keys.collect::<Vec<_>>())?;
        let histories = core.histories(&entities)?;
        let histories = entities.into_iter().cloned().zip(histories).collect();
        Ok(ReadAhead { core, histories: RefCell::new(histories), repeated })
    }
}

impl DurableEvents for ReadAhead<'_> {
    fn histories(&self, entities: &[&Entity]) -> Result<Vec<Option<EntityHistory>>, StoreError> {
        if let [entity] = entities
            && let Some(history) = self.histories.borrow_mut().remove(*entity)
        {
            return Ok(vec![history]);
        }
        self.core.histories(entities)
    }

    fn spellings(&self, entity: &Entity) -> Vec<StoredEntity> {
        self.core.spellings(entity)
    }

    fn find_repeated(
        &self,
        idempotency: &Idempotency,
    ) -> Result<Option<(StoredEvent, RequestDigest)>, StoreError> {
        Ok(idempotency.keys().find_map(|key| self.repeated.get(&key).cloned()))
    }
}
