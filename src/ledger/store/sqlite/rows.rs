//! Values of the columns, to and from the types of the ledger.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Row;
use smol_str::SmolStr;
use ulid::Ulid;

use crate::ledger::entity::EntityKind;
use crate::ledger::store::{Position, StoredEntity, StoredEvent};

/// Returns the number of a kind of entity in the column `sort`.
pub(super) fn number(kind: EntityKind) -> i64 {
    match kind {
        EntityKind::Subject => 0,
        EntityKind::Controller => 1,
        EntityKind::Recipient => 2,
        EntityKind::Case => 3,
    }
}

/// Returns the columns sort, namespace and id of an entity.
pub(super) fn key(entity: &StoredEntity) -> (i64, &str, &str) {
    (number(entity.kind), entity.namespace.as_deref().unwrap_or_default(), &entity.id)
}

/// Returns the entity of a row. Reuses the entity of the previous row if it is the same, to avoid allocations.
pub(super) fn same_or_next(before: Option<StoredEntity>, row: &Row<'_>) -> rusqlite::Result<StoredEntity> {
    let (sort, namespace, id): (i64, &str, &str) =
        (row.get(0)?, row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
    if let Some(before) = before.filter(|before| key(before) == (sort, namespace, id)) {
        return Ok(before);
    }
    let kind = match sort {
        0 => EntityKind::Subject,
        1 => EntityKind::Controller,
        2 => EntityKind::Recipient,
        3 => EntityKind::Case,
        found => return Err(rusqlite::Error::IntegralValueOutOfRange(0, found)),
    };
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty()).map(Arc::from);
    Ok(StoredEntity { kind, namespace, id: SmolStr::new(id) })
}

/// Reads a position.
pub(super) fn position(row: &Row<'_>, column: usize) -> rusqlite::Result<Position> {
    let found: i64 = row.get(column)?;
    u64::try_from(found).map(Position).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, found))
}

/// Reads the id of an event or a notice.
pub(super) fn event_id(row: &Row<'_>, column: usize) -> rusqlite::Result<Ulid> {
    Ulid::from_string(row.get_ref(column)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
    })
}

/// Reads the columns position, event_id, recorded and event, which begin at column `first`.
pub(super) fn stored_event(row: &Row<'_>, first: usize) -> rusqlite::Result<StoredEvent> {
    let unreadable = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    let recorded = row.get_ref(first + 2)?.as_str()?;
    Ok(StoredEvent {
        position: position(row, first)?,
        id: event_id(row, first + 1)?,
        recorded: recorded.parse::<Timestamp>().map_err(|error| unreadable(first + 2, error.into()))?,
        event: row.get(first + 3)?,
    })
}
