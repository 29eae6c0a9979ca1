//! The embedded store: events in one SQLite file.
//!
//! The table `events` is the source of truth; everything else can be derived from it. Invariants: an acknowledged
//! event survives a loss of power (WAL with `synchronous=FULL`, both read back after they were set); only one process
//! at a time writes the file; a file of another kind, of a newer version, or made under other keys is refused and not
//! modified.
//!
//! The lock is a separate file, not SQLite's exclusive mode. The exclusive mode would keep our own reading connection
//! out, and an append would have to wait for the previous commit before it could read.

mod connection;
mod error;
mod files;
mod guard;
mod notices;
mod open;
mod policies;
mod rows;
mod schema;
mod secrets;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use connection::open_reader;
pub use error::FileError;
pub use files::LostFile;
use guard::FileGuard;
use jiff::Timestamp;
use rows::{event_id, key, number, position, same_or_next, stored_event};
use rusqlite::{Connection, OptionalExtension, Row, params};
use smol_str::SmolStr;
use ulid::Ulid;

use crate::ledger::entity::EntityKind;
use crate::ledger::ledger_id::LedgerId;
use crate::ledger::policy_memory::PolicyMemory;
use crate::ledger::store::{
    Appended, Continuation, DueRows, EventRow, IdempotencyDigest, KnownHistory, LedgerTail, LossOfEvents,
    MAX_MISSED, NoticeCounts, NoticeRow, NoticeStore, Position, RequestDigest, SchemaChange, SecretChange,
    SecretChanges, Sequencing, Store, StoreError, StoredEntity, StoredEvent, StoredHistory, StoredSecret,
};

/// A [`Store`] in a SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    /// `None` if the store is only read.
    guard: Option<FileGuard>,
    schema: SchemaChange,
    /// True if the write-ahead log may have log secrets or notices that were deleted.
    has_erased_content: AtomicBool,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    fn read<T>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        read(&reader).map_err(|source| StoreError::new(doing, source))
    }

    /// Writes anything but events. Fails if somebody else changed the files before, or removed or replaced them meanwhile.
    fn write<T>(
        &self,
        doing: &'static str,
        write: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guard) = &self.guard {
            guard.check()?;
        }
        let written = write(&mut writer).map_err(|source| StoreError::new(doing, source))?;
        if let Some(guard) = &self.guard {
            guard.remember()?;
        }
        Ok(written)
    }

    /// Empties the write-ahead log if it may have log secrets or notices that were deleted. Tried again with the next append
    /// or check if a reader keeps it from that.
    fn drop_erased_content(&self, writer: &Connection) -> rusqlite::Result<()> {
        if self.has_erased_content.load(Ordering::SeqCst) {
            // Keeps this process from reading meanwhile.
            let _reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let is_empty = secrets::truncate_journal(writer)?;
            self.has_erased_content.store(!is_empty, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Returns the version of the file's format before and after it was opened.
    pub fn schema(&self) -> SchemaChange {
        self.schema
    }
}

impl Store for SqliteStore {
    fn append(&self, known: &KnownHistory, sequence: &mut Sequencing<'_>) -> Result<Appended, StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guard) = &self.guard {
            guard.check()?;
        }
        let failed = |source| StoreError::new("appending events", source);
        let end = end(&writer).map_err(failed)?;
        // This process is the only writer, so it knows the end unless the caller is new.
        let missed = match end == *known {
            true => Some(Vec::new()),
            false => after(&writer, known, &end, MAX_MISSED + 1).map_err(failed)?,
        };
        let Some(missed) = missed.filter(|missed| missed.len() <= MAX_MISSED) else {
            return Ok(Appended::Behind);
        };
        let rows = sequence(LedgerTail { last: end.position, missed })?;
        if rows.is_empty() {
            return Ok(Appended::Durable);
        }
        check_continuous(end.position, &rows)?;
        insert(&mut writer, &rows).map_err(failed)?;
        if rows.iter().any(|row| matches!(row.log_secret, SecretChange::Erase(_) | SecretChange::Replace(..)))
        {
            self.has_erased_content.store(true, Ordering::SeqCst);
        }
        self.drop_erased_content(&writer).map_err(failed)?;
        if let Some(guard) = &self.guard {
            guard.note_append(&rows)?;
        }
        Ok(Appended::Durable)
    }

    fn follow(&self, known: &KnownHistory, limit: usize) -> Result<Continuation, StoreError> {
        self.read("reading the latest events", |reader| {
            let end = end(reader)?;
            Ok(match after(reader, known, &end, limit)? {
                Some(events) => Continuation::Continues { head: end.position, events },
                None => Continuation::Diverges { head: end.position },
            })
        })
    }

    fn check_intact(&self) -> Result<(), StoreError> {
        if self.has_erased_content.load(Ordering::SeqCst) {
            return self.write("emptying the write-ahead log", |writer| self.drop_erased_content(writer));
        }
        // The lock keeps this process from writing during the check.
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard.as_ref().map_or(Ok(()), FileGuard::check)
    }

    fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError> {
        let number = |position: Position| i64::try_from(position.0).unwrap_or(i64::MAX);
        self.write("recording the accepted loss", |writer| {
            let behind = end(writer)?.position;
            writer.execute(
                "INSERT INTO accepted (until, behind, at) VALUES (?1, ?2, ?3)",
                params![number(until), number(behind), now.to_string()],
            )?;
            Ok(())
        })
    }

    fn losses(&self) -> Result<Vec<LossOfEvents>, StoreError> {
        self.read("reading the accepted losses", |reader| {
            if !has_losses(reader)? {
                return Ok(Vec::new());
            }
            let mut query = reader.prepare_cached("SELECT behind, until, at FROM accepted ORDER BY rowid")?;
            let loss = |row: &Row<'_>| {
                let accepted = row.get_ref(2)?.as_str()?.parse();
                let accepted = accepted.map_err(|error: jiff::Error| {
                    rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, error.into())
                })?;
                Ok(LossOfEvents {
                    behind: position(row, 0)?,
                    until: position(row, 1)?,
                    accepted: Some(accepted),
                })
            };
            query.query_map([], loss)?.collect()
        })
    }

    fn id(&self) -> Result<Option<LedgerId>, StoreError> {
        self.read("reading the id of the ledger", |reader| {
            let exists = "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'identity'";
            if !reader.query_row(exists, [], |row| row.get::<_, bool>(0))? {
                return Ok(None);
            }
            let id = reader.query_row("SELECT id FROM identity", [], |row| row.get(0))?;
            Ok(Some(LedgerId::from_bytes(id)))
        })
    }

    fn take_id(&self, id: LedgerId) -> Result<(), StoreError> {
        self.write("writing the id of the ledger", |writer| {
            writer.execute("UPDATE identity SET id = ?1", params![id.bytes()])?;
            Ok(())
        })
    }

    fn notice_store(&self) -> &dyn NoticeStore {
        self
    }

    fn policies(&self) -> Result<PolicyMemory, StoreError> {
        self.read("reading which policies were in force", policies::read)
    }

    fn remember_policies(&self, memory: &PolicyMemory) -> Result<(), StoreError> {
        self.write("recording which policies are in force", |writer| policies::write(writer, memory))
    }

    fn recipients(&self) -> Result<BTreeSet<Arc<str>>, StoreError> {
        self.read("reading which recipients are named", |reader| {
            let mut query = reader.prepare(
                "SELECT DISTINCT json_extract(event, '$.recipient') FROM events
                 WHERE json_extract(event, '$.recipient') IS NOT NULL
                 UNION SELECT id FROM events WHERE sort = 2",
            )?;
            query.query_map([], |row| row.get(0))?.collect()
        })
    }

    fn log_secrets(&self, entities: &[StoredEntity]) -> Result<Vec<Option<StoredSecret>>, StoreError> {
        self.read("reading log secrets", |reader| secrets::read(reader, entities))
    }

    fn histories(&self, entities: &[StoredEntity]) -> Result<Vec<StoredHistory>, StoreError> {
        self.read("reading a history", |reader| {
            let mut query = reader.prepare_cached(
                "SELECT position, event_id, recorded, event FROM events
                 WHERE sort = ?1 AND namespace = ?2 AND id = ?3 ORDER BY position",
            )?;
            let mut histories = Vec::with_capacity(entities.len());
            for entity in entities {
                let (sort, namespace, id) = key(entity);
                let events = query.query_map(params![sort, namespace, id], |row| stored_event(row, 0))?;
                histories.push(StoredHistory {
                    events: events.collect::<rusqlite::Result<_>>()?,
                    log_secret: None,
                });
            }
            // After the events: whoever has an event that was read has its secret then, too.
            for (history, log_secret) in histories.iter_mut().zip(secrets::read(reader, entities)?) {
                history.log_secret = log_secret;
            }
            Ok(histories)
        })
    }

    fn entity_ids(&self, kind: EntityKind, namespace: Option<&str>) -> Result<Vec<SmolStr>, StoreError> {
        self.read("reading the ids of a namespace", |reader| {
            let mut query = reader.prepare_cached(
                "SELECT DISTINCT id FROM events WHERE sort = ?1 AND namespace = ?2 ORDER BY id",
            )?;
            let id = |row: &Row<'_>| Ok(SmolStr::new(row.get_ref(0)?.as_str()?));
            query.query_map(params![number(kind), namespace.unwrap_or_default()], id)?.collect()
        })
    }

    fn case_ids(&self) -> Result<Vec<Arc<str>>, StoreError> {
        self.read("reading the cases", |reader| {
            let mut query =
                reader.prepare_cached("SELECT DISTINCT id FROM events WHERE sort = 3 ORDER BY id")?;
            query.query_map([], |row| row.get(0))?.collect()
        })
    }

    fn scan(&self, each: &mut dyn FnMut(&StoredEntity, StoredEvent) -> bool) -> Result<(), StoreError> {
        // A connection of its own, so that histories can be read during a long scan.
        let mut scan = || -> rusqlite::Result<()> {
            let connection = open_reader(&self.path)?;
            connection.pragma_update(None, "mmap_size", 1_i64 << 30)?;
            let mut query = connection.prepare(
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
        };
        scan().map_err(|source| StoreError::new("reading all events", source))
    }

    fn events_with(
        &self,
        part: &str,
        from: Position,
        before: Position,
        limit: usize,
    ) -> Result<Vec<(StoredEntity, StoredEvent)>, StoreError> {
        let number = |position: Position| i64::try_from(position.0).unwrap_or(i64::MAX);
        // A connection of its own, so that histories can be read meanwhile.
        let read = || -> rusqlite::Result<Vec<_>> {
            let connection = open_reader(&self.path)?;
            // Without the sign, the query would walk the primary key, which begins with the kind of entity.
            let mut query = connection.prepare(
                "SELECT sort, namespace, id, position, event_id, recorded, event FROM events
                 WHERE position >= ?1 AND position < ?2 AND +sort = 0 AND instr(event, ?3) > 0
                 ORDER BY position DESC LIMIT ?4",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let found = |row: &Row<'_>| Ok((same_or_next(None, row)?, stored_event(row, 3)?));
            query.query_map(params![number(from), number(before), part, limit], found)?.collect()
        };
        read().map_err(|source| StoreError::new("searching events", source))
    }

    fn find_repeated(
        &self,
        keys: &[IdempotencyDigest],
    ) -> Result<HashMap<IdempotencyDigest, (StoredEvent, RequestDigest)>, StoreError> {
        self.read("looking up an idempotency key", |reader| {
            let mut query = reader.prepare_cached(
                "SELECT position, event_id, recorded, event, asked FROM events WHERE once = ?1",
            )?;
            let mut found = HashMap::new();
            for key in keys {
                let known = query
                    .query_row([key.as_slice()], |row| Ok((stored_event(row, 0)?, row.get(4)?)))
                    .optional()?;
                found.extend(known.map(|known| (*key, known)));
            }
            Ok(found)
        })
    }

    fn history_end(&self) -> Result<KnownHistory, StoreError> {
        self.read("reading the last position", end)
    }
}

const READING_NOTICES: &str = "reading notices";
const RECORDING_NOTICES: &str = "recording notices";

impl NoticeStore for SqliteStore {
    fn notices(
        &self,
        recipient: Option<&str>,
        after: Option<Ulid>,
        limit: usize,
    ) -> Result<Vec<NoticeRow>, StoreError> {
        self.read(READING_NOTICES, |reader| notices::list(reader, recipient, after, limit))
    }

    fn notice(&self, id: Ulid) -> Result<Option<NoticeRow>, StoreError> {
        self.read(READING_NOTICES, |reader| notices::one(reader, id))
    }

    fn notices_of(&self, inquiry: Ulid) -> Result<Vec<NoticeRow>, StoreError> {
        self.read(READING_NOTICES, |reader| notices::of_inquiry(reader, inquiry))
    }

    fn due_notices(
        &self,
        now: Timestamp,
        sought: DueRows<'_>,
        limit: usize,
    ) -> Result<Vec<NoticeRow>, StoreError> {
        self.read(READING_NOTICES, |reader| notices::due(reader, now, sought, limit))
    }

    fn count_notices(&self, before: Timestamp) -> Result<NoticeCounts, StoreError> {
        self.read(READING_NOTICES, |reader| notices::count(reader, before))
    }

    fn count_notices_to(&self) -> Result<BTreeMap<Arc<str>, u64>, StoreError> {
        self.read(READING_NOTICES, notices::count_to)
    }

    fn write_notices(&self, rows: &[NoticeRow]) -> Result<bool, StoreError> {
        self.write(RECORDING_NOTICES, |writer| notices::write(writer, rows))
    }

    fn remove_inquiry(&self, inquiry: Ulid, version: u64, rows: &[NoticeRow]) -> Result<bool, StoreError> {
        self.write(RECORDING_NOTICES, |writer| {
            let is_removed = notices::remove(writer, inquiry, version, rows)?;
            if is_removed {
                // The journal has who had received data about whom.
                self.has_erased_content.store(true, Ordering::SeqCst);
                self.drop_erased_content(writer)?;
            }
            Ok(is_removed)
        })
    }
}

/// Returns the history that the file has.
fn end(connection: &Connection) -> rusqlite::Result<KnownHistory> {
    let last_event = connection
        .prepare_cached("SELECT position, event_id FROM events ORDER BY position DESC LIMIT 1")?
        .query_row([], |row| Ok((position(row, 0)?, event_id(row, 1)?)))
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

/// Returns the events after a known history, at most `limit`; `None` if the file's history is another one.
fn after(
    connection: &Connection,
    known: &KnownHistory,
    end: &KnownHistory,
    limit: usize,
) -> rusqlite::Result<Option<Vec<EventRow>>> {
    let number = |position: Position| i64::try_from(position.0).unwrap_or(i64::MAX);
    let last = connection
        .prepare_cached(
            "SELECT position, event_id FROM events WHERE position <= ?1 ORDER BY position DESC LIMIT 1",
        )?
        .query_row([number(known.position)], |row| Ok((position(row, 0)?, event_id(row, 1)?)))
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
    let rows = query.query_map(params![number(known.position), limit], |row| {
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
fn check_continuous(last: Position, rows: &[EventRow]) -> Result<(), StoreError> {
    let mut numbered = (last.0 + 1..).zip(rows);
    let is_continuous = numbered.all(|(next, row)| row.stored.position.0 == next);
    let gap = || StoreError::new("appending events", "their positions do not continue those of the file");
    is_continuous.then_some(()).ok_or_else(gap)
}

fn insert(writer: &mut Connection, rows: &[EventRow]) -> rusqlite::Result<()> {
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
            // SQLite's integers end at 2^63 - 1; beyond it the unique index on positions rejects the event.
            let position = i64::try_from(position.0).unwrap_or(i64::MAX);
            insert.execute(params![sort, namespace, id, position, event_id, recorded, event, once, asked])?;
        }
    }
    secrets::write(&transaction, &SecretChanges::of(rows))?;
    transaction.commit()
}

#[cfg(test)]
mod tests;
