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
mod events;
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
use rusqlite::{Connection, params};
use smol_str::SmolStr;
use ulid::Ulid;

use crate::ledger::entity::EntityKind;
use crate::ledger::ledger_id::LedgerId;
use crate::ledger::policy_memory::PolicyMemory;
use crate::ledger::store::{
    Appended, Continuation, DueRows, IdempotencyDigest, KnownHistory, LedgerTail, LossOfEvents, MAX_MISSED,
    NoticeCounts, NoticeRow, NoticeStore, Position, RequestDigest, SchemaChange, SecretChange, Sequencing,
    Store, StoreError, StoredEntity, StoredEvent, StoredHistory, StoredSecret,
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
        let end = events::end(&writer).map_err(failed)?;
        // This process is the only writer, so it knows the end unless the caller is new.
        let missed = match end == *known {
            true => Some(Vec::new()),
            false => events::after(&writer, known, &end, MAX_MISSED + 1).map_err(failed)?,
        };
        let Some(missed) = missed.filter(|missed| missed.len() <= MAX_MISSED) else {
            return Ok(Appended::Behind);
        };
        let rows = sequence(LedgerTail { last: end.position, missed })?;
        if rows.is_empty() {
            return Ok(Appended::Durable);
        }
        events::check_continuous(end.position, &rows)?;
        events::insert(&mut writer, &rows).map_err(failed)?;
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
            let end = events::end(reader)?;
            Ok(match events::after(reader, known, &end, limit)? {
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
        self.write("recording the accepted loss", |writer| events::accept_loss(writer, until, now))
    }

    fn losses(&self) -> Result<Vec<LossOfEvents>, StoreError> {
        self.read("reading the accepted losses", events::losses)
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
        self.read("reading which recipients are named", events::recipients)
    }

    fn log_secrets(&self, entities: &[StoredEntity]) -> Result<Vec<Option<StoredSecret>>, StoreError> {
        self.read("reading log secrets", |reader| secrets::read(reader, entities))
    }

    fn histories(&self, entities: &[StoredEntity]) -> Result<Vec<StoredHistory>, StoreError> {
        self.read("reading a history", |reader| events::histories(reader, entities))
    }

    fn entity_ids(&self, kind: EntityKind, namespace: Option<&str>) -> Result<Vec<SmolStr>, StoreError> {
        self.read("reading the ids of a namespace", |reader| events::entity_ids(reader, kind, namespace))
    }

    fn case_ids(&self) -> Result<Vec<Arc<str>>, StoreError> {
        self.read("reading the cases", events::case_ids)
    }

    fn scan(&self, each: &mut dyn FnMut(&StoredEntity, StoredEvent) -> bool) -> Result<(), StoreError> {
        // A connection of its own, so that histories can be read during a long scan.
        let scanned = open_reader(&self.path).and_then(|reader| events::scan(&reader, each));
        scanned.map_err(|source| StoreError::new("reading all events", source))
    }

    fn events_with(
        &self,
        part: &str,
        from: Position,
        before: Position,
        limit: usize,
    ) -> Result<Vec<(StoredEntity, StoredEvent)>, StoreError> {
        // A connection of its own, so that histories can be read meanwhile.
        let found = open_reader(&self.path)
            .and_then(|reader| events::with_part(&reader, part, (from, before), limit));
        found.map_err(|source| StoreError::new("searching events", source))
    }

    fn find_repeated(
        &self,
        keys: &[IdempotencyDigest],
    ) -> Result<HashMap<IdempotencyDigest, (StoredEvent, RequestDigest)>, StoreError> {
        self.read("looking up an idempotency key", |reader| events::find_repeated(reader, keys))
    }

    fn history_end(&self) -> Result<KnownHistory, StoreError> {
        self.read("reading the last position", events::end)
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

#[cfg(test)]
mod tests;
