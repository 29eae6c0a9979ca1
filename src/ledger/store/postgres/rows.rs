//! Values of the columns, to and from the types of the ledger.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use smol_str::SmolStr;
use tokio_postgres::Row;
use ulid::Ulid;

use super::error::PostgresFailure;
use crate::ledger::entity::EntityKind;
use crate::ledger::store::{Position, StoredEntity, StoredEvent};

/// Returns a text as the server can hold it. PostgreSQL's texts cannot contain U+0000, but ids can. It becomes U+0001
/// U+0001, and U+0001 becomes U+0001 U+0002, which keeps the order of texts.
pub(super) fn to_column(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte <= 1) {
        Cow::Owned(text.replace('\u{1}', "\u{1}\u{2}").replace('\0', "\u{1}\u{1}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Returns the text that [`to_column`] was given.
pub(super) fn from_column(text: &str) -> Cow<'_, str> {
    if text.contains('\u{1}') {
        Cow::Owned(text.replace("\u{1}\u{1}", "\0").replace("\u{1}\u{2}", "\u{1}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Returns the number of a kind of entity in the column `sort`.
pub(super) fn sort(kind: EntityKind) -> i16 {
    i16::from(kind.code())
}

/// Returns a position as a column holds it. Beyond the type's range it is the largest value, which no event can have.
pub(super) fn bigint(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

/// Reads a position.
///
/// # Errors
/// [`PostgresFailure::Damaged`].
pub(super) fn position(row: &Row, column: usize) -> Result<Position, PostgresFailure> {
    let found: i64 = row.try_get(column)?;
    u64::try_from(found).map(Position).map_err(|_| PostgresFailure::Damaged("a position is negative"))
}

/// Reads the columns sort, namespace and id, which begin at column `first`.
///
/// # Errors
/// [`PostgresFailure`].
pub(super) fn stored_entity(row: &Row, first: usize) -> Result<StoredEntity, PostgresFailure> {
    let kind = u8::try_from(row.try_get::<_, i16>(first)?).ok().and_then(EntityKind::from_code);
    let kind = kind.ok_or(PostgresFailure::Damaged("the kind of an entity is unknown"))?;
    let namespace = from_column(row.try_get(first + 1)?);
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty()).map(Arc::from);
    Ok(StoredEntity { kind, namespace, id: SmolStr::new(from_column(row.try_get(first + 2)?)) })
}

/// Reads the columns position, event_id, recorded and event, which begin at column `first`.
///
/// # Errors
/// [`PostgresFailure`].
pub(super) fn stored_event(row: &Row, first: usize) -> Result<StoredEvent, PostgresFailure> {
    let recorded: &str = row.try_get(first + 2)?;
    Ok(StoredEvent {
        position: position(row, first)?,
        id: event_id(row.try_get(first + 1)?)?,
        recorded: recorded
            .parse::<Timestamp>()
            .map_err(|_| PostgresFailure::Damaged("the time of an event does not read"))?,
        event: row.try_get(first + 3)?,
    })
}

/// Reads the id of an event.
///
/// # Errors
/// [`PostgresFailure::Damaged`].
pub(super) fn event_id(id: &str) -> Result<Ulid, PostgresFailure> {
    Ulid::from_string(id).map_err(|_| PostgresFailure::Damaged("the id of an event does not read"))
}

/// Reads a digest.
///
/// # Errors
/// [`PostgresFailure::Damaged`].
pub(super) fn digest<const N: usize>(bytes: &[u8]) -> Result<[u8; N], PostgresFailure> {
    bytes.try_into().map_err(|_| PostgresFailure::Damaged("a digest has another length"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{from_column, to_column};

    proptest! {
        #[test]
        fn texts_are_read_back_and_keep_their_order(first in "[\u{0}-\u{3}a]{0,6}", second in "[\u{0}-\u{3}a]{0,6}") {
            let column = to_column(&first);
            prop_assert!(!column.contains('\0'));
            prop_assert_eq!(from_column(&column), first.as_str());
            prop_assert_eq!(to_column(&first).cmp(&to_column(&second)), first.cmp(&second));
        }
    }
}
