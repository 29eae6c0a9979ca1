//! Events in a SQLite file, and the losses of events that were accepted.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use smol_str::SmolStr;
use ulid::Ulid;

use super::rows::{integer, key, parsed, position, same_or_next, stored_event};
use super::secrets;
use crate::ledger::entity::EntityKind;
use crate::ledger::store::{
    EventRow, IdempotencyDigest, KnownHistory, LossOfEvents, Position, RequestDigest, SecretChange,
    SecretChanges, StoreError, StoredEntity, StoredEvent, StoredHistory,
};

/// Returns the history that the file has.
pub(super) fn end(connection: &Connection) -> rusqlite::Result<KnownHistory> {
    let last_event = connection
        .prepare_cached("SELECT position, event_id FROM events ORDER BY position DESC LIMIT 1")?
        .query_row([], |row| Ok((position(row, 0)?, parsed::<Ulid>(row, 1)?)))
        .optional()?;
    let last = last_event.map_or(Position(0), |(position, _)| position);
    let accepted = match has_losses(connection)? {
        false => Position(0),
        true => connection
            .prepare_cached("SELECT coalesce(max(until), 0) FROM accepted")?
            .query_row([], |row| position(row, 0))?,
    };
    Ok(KnownHistory { position: last.max(accepted), last_event })
}

/// True if the file has a record of accepted losses. A file of an earlier version lacks it if it is opened read-only,
/// because it is not upgraded then.
fn has_losses(connection: &Connection) -> rusqlite::Result<bool> {
    let mut query =
        connection.prepare_cached("SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'accepted'")?;
    query.query_row([], |row| row.get(0))
}

/// Records that the events up to `until` are lost for good.
pub(super) fn accept_loss(writer: &Connection, until: Position, now: Timestamp) -> rusqlite::Result<()> {
    let behind = end(writer)?.position;
    writer.execute(
        "INSERT INTO accepted (until, behind, at) VALUES (?1, ?2, ?3)",
        params![integer(until), integer(behind), now.to_string()],
    )?;
    Ok(())
}

/// Returns the accepted losses, in the order in which they were recorded.
pub(super) fn losses(reader: &Connection) -> rusqlite::Result<Vec<LossOfEvents>> {
    if !has_losses(reader)? {
        return Ok(Vec::new());
    }
    let mut query = reader.prepare_cached("SELECT behind, until, at FROM accepted ORDER BY rowid")?;
    let loss = |row: &Row<'_>| {
        Ok(LossOfEvents {
            behind: position(row, 0)?,
            until: position(row, 1)?,
            accepted: Some(parsed(row, 2)?),
        })
    };
    query.query_map([], loss)?.collect()
}

/// Returns the events after a known history, at most `limit`; `None` if the file's history is another one.
pub(super) fn after(
    connection: &Connection,
    known: &KnownHistory,
    end: &KnownHistory,
    limit: usize,
) -> rusqlite::Result<Option<Vec<EventRow>>> {
    let last = connection
        .prepare_cached(
            "SELECT position, event_id FROM events WHERE position <= ?1 ORDER BY position DESC LIMIT 1",
        )?
        .query_row([integer(known.position)], |row| Ok((position(row, 0)?, parsed::<Ulid>(row, 1)?)))
        .optional()?;
    if last != known.last_event {
        return Ok(None);
    }
    if known.position > end.position {
        return Ok(None);
    }
    let mut query = connection.prepare_cached(
        "SELECT sort, namespace, id, position, event_id, recorded, event, once, asked FROM events
         WHERE position > ?1 ORDER BY position LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = query.query_map(params![integer(known.position), limit], |row| {
        let idempotency = row.get::<_, Option<IdempotencyDigest>>(7)?.zip(row.get(8)?);
        Ok(EventRow {
            entity: same_or_next(None, row)?,
            stored: stored_event(row, 3)?,
            idempotency,
            log_secret: SecretChange::Keep,
        })
    })?;
    rows.collect::<rusqlite::Result<_>>().map(Some)
}

/// Checks that the rows continue the positions of the file.
pub(super) fn check_continuous(last: Position, rows: &[EventRow]) -> Result<(), StoreError> {
    let mut numbered = (last.0 + 1..).zip(rows);
    let is_continuous = numbered.all(|(next, row)| row.stored.position.0 == next);
    let gap = || StoreError::new("appending events", "their positions do not continue those of the file");
    is_continuous.then_some(()).ok_or_else(gap)
}

/// Adds events, with their changes of log secrets.
pub(super) fn insert(writer: &mut Connection, rows: &[EventRow]) -> rusqlite::Result<()> {
    let transaction = writer.transaction()?;
    {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO events (sort, namespace, id, position, event_id, recorded, event, once, asked)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for EventRow {
            entity,
            stored: StoredEvent { position, id: event_id, recorded, event },
            idempotency: once,
            log_secret: _,
        } in rows
        {
            let (sort, namespace, id) = key(entity);
            let (once, asked) =
                once.as_ref().map(|(once, asked)| (once.as_slice(), asked.as_slice())).unzip();
            let (event_id, recorded) = (event_id.to_string(), recorded.to_string());
            // Beyond the range of integers, the unique index on positions rejects the event.
            let position = integer(*position);
            insert.execute(params![sort, namespace, id, position, event_id, recorded, event, once, asked])?;
        }
    }
    secrets::write(&transaction, &SecretChanges::of(rows))?;
    transaction.commit()
}

/// Returns the events of each entity, ordered by position, and the log secrets of people.
pub(super) fn histories(
    reader: &Connection,
    entities: &[StoredEntity],
) -> rusqlite::Result<Vec<StoredHistory>> {
    let mut query = reader.prepare_cached(
        "SELECT position, event_id, recorded, event FROM events
         WHERE sort = ?1 AND namespace = ?2 AND id = ?3 ORDER BY position",
    )?;
    let mut histories = Vec::with_capacity(entities.len());
    for entity in entities {
        let (sort, namespace, id) = key(entity);
        let events = query.query_map(params![sort, namespace, id], |row| stored_event(row, 0))?;
        histories.push(StoredHistory { events: events.collect::<rusqlite::Result<_>>()?, log_secret: None });
    }
    // After the events: whoever has an event that was read has its secret then, too.
    for (history, log_secret) in histories.iter_mut().zip(secrets::read(reader, entities)?) {
        history.log_secret = log_secret;
    }
    Ok(histories)
}

/// Returns the events that were recorded under these idempotency keys.
pub(super) fn find_repeated(
    reader: &Connection,
    keys: &[IdempotencyDigest],
) -> rusqlite::Result<HashMap<IdempotencyDigest, (StoredEvent, RequestDigest)>> {
    let mut query = reader
        .prepare_cached("SELECT position, event_id, recorded, event, asked FROM events WHERE once = ?1")?;
    let mut found = HashMap::new();
    for key in keys {
        let known =
            query.query_row([key.as_slice()], |row| Ok((stored_event(row, 0)?, row.get(4)?))).optional()?;
        found.extend(known.map(|known| (*key, known)));
    }
    Ok(found)
}

/// Returns the ids of all entities of a kind, in one namespace, ordered.
pub(super) fn entity_ids(
    reader: &Connection,
    kind: EntityKind,
    namespace: Option<&str>,
) -> rusqlite::Result<Vec<SmolStr>> {
    let mut query = reader
        .prepare_cached("SELECT DISTINCT id FROM events WHERE sort = ?1 AND namespace = ?2 ORDER BY id")?;
    let id = |row: &Row<'_>| Ok(SmolStr::new(row.get_ref(0)?.as_str()?));
    query.query_map(params![kind.code(), namespace.unwrap_or_default()], id)?.collect()
}

/// Returns the ids of all cases, ordered.
pub(super) fn case_ids(reader: &Connection) -> rusqlite::Result<Vec<Arc<str>>> {
    let mut query = reader.prepare_cached("SELECT DISTINCT id FROM events WHERE sort = ?1 ORDER BY id")?;
    query.query_map([EntityKind::Case.code()], |row| row.get(0))?.collect()
}

/// Returns the recipients that any event names or is about.
pub(super) fn recipients(reader: &Connection) -> rusqlite::Result<BTreeSet<Arc<str>>> {
    let mut query = reader.prepare(
        "SELECT DISTINCT json_extract(event, '$.recipient') FROM events
         WHERE json_extract(event, '$.recipient') IS NOT NULL
         UNION SELECT id FROM events WHERE sort = ?1",
    )?;
    query.query_map([EntityKind::Recipient.code()], |row| row.get(0))?.collect()
}

/// Passes every event to `each` until it returns `false`, all events of one entity in a row and ordered by position.
pub(super) fn scan(
    reader: &Connection,
    each: &mut dyn FnMut(&StoredEntity, StoredEvent) -> bool,
) -> rusqlite::Result<()> {
    reader.pragma_update(None, "mmap_size", 1_i64 << 30)?;
    let mut query = reader.prepare(
        "SELECT sort, namespace, id, position, event_id, recorded, event FROM events
         ORDER BY sort, namespace, id, position",
    )?;
    let mut rows = query.query([])?;
    let mut known = None;
    while let Some(row) = rows.next()? {
        let entity = same_or_next(known.take(), row)?;
        if !each(&entity, stored_event(row, 3)?) {
            break;
        }
        known = Some(entity);
    }
    Ok(())
}

/// Returns the events about people whose text contains `part`, newest first: those from one position up to the one before
/// another. At most `limit`.
pub(super) fn with_part(
    reader: &Connection,
    part: &str,
    (from, before): (Position, Position),
    limit: usize,
) -> rusqlite::Result<Vec<(StoredEntity, StoredEvent)>> {
    // Without the sign, the query would walk the primary key, which begins with the kind of entity.
    let mut query = reader.prepare(
        "SELECT sort, namespace, id, position, event_id, recorded, event FROM events
         WHERE position >= ?1 AND position < ?2 AND +sort = ?3 AND instr(event, ?4) > 0
         ORDER BY position DESC LIMIT ?5",
    )?;
    let (people, limit) = (EntityKind::Subject.code(), i64::try_from(limit).unwrap_or(i64::MAX));
    let found = |row: &Row<'_>| Ok((same_or_next(None, row)?, stored_event(row, 3)?));
    query.query_map(params![integer(from), integer(before), people, part, limit], found)?.collect()
}
