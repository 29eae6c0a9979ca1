//! Values of the columns, to and from the types of the ledger.

use std::sync::Arc;

use rusqlite::Row;
use smol_str::SmolStr;

use crate::ledger::entity::EntityKind;
use crate::ledger::store::{Position, StoredEntity, StoredEvent};

/// Returns the columns sort, namespace and id of an entity.
pub(super) fn key(entity: &StoredEntity) -> (u8, &str, &str) {
    (entity.kind.code(), entity.namespace.as_deref().unwrap_or_default(), &entity.id)
}

/// Returns the entity of a row. Reuses the entity of the previous row if it is the same, to avoid allocations.
pub(super) fn same_or_next(before: Option<StoredEntity>, row: &Row<'_>) -> rusqlite::Result<StoredEntity> {
    let (sort, namespace, id): (u8, &str, &str) =
        (row.get(0)?, row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
    if let Some(before) = before.filter(|before| key(before) == (sort, namespace, id)) {
        return Ok(before);
    }
    let unknown = rusqlite::Error::IntegralValueOutOfRange(0, i64::from(sort));
    let kind = EntityKind::from_code(sort).ok_or(unknown)?;
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty()).map(Arc::from);
    Ok(StoredEntity { kind, namespace, id: SmolStr::new(id) })
}

/// Returns a position as a column holds it. Beyond the type's range it is the largest value, which no event can have.
pub(super) fn integer(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

/// Reads a position.
pub(super) fn position(row: &Row<'_>, column: usize) -> rusqlite::Result<Position> {
    let found: i64 = row.get(column)?;
    u64::try_from(found).map(Position).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, found))
}

/// Reads a value that the column holds as text: an id, a time, a date.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get_ref(column)?.as_str()?.parse().map_err(|error: T::Err| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
    })
}

/// Reads the columns position, event_id, recorded and event, which begin at column `first`.
pub(super) fn stored_event(row: &Row<'_>, first: usize) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        position: position(row, first)?,
        id: parsed(row, first + 1)?,
        recorded: parsed(row, first + 2)?,
        event: row.get(first + 3)?,
    })
}
