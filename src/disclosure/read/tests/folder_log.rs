//! A log in a folder that tests write entry by entry, with a clock of their own.

use std::path::Path;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tempfile::TempDir;
use ulid::Ulid;

use crate::disclosure::entry::tests::samples::{at, day};
use crate::disclosure::entry::{BUNDLE, DayStart, Encoder, Entry, ProcessStart, PruningRecord};
use crate::disclosure::read::{ExchangeFilter, LogSource, fold};
use crate::disclosure::record::Record;
use crate::disclosure::storage::{Storage, StorageSettings};
use crate::keys::Keys;

pub(super) struct FolderLog {
    pub(super) folder: TempDir,
    pub(super) keys: Keys,
    storage: Option<Storage>,
    encoder: Encoder,
    /// Time since the start of the first day.
    pub(super) now: i64,
    day: Date,
    /// Number of kept checkpoints.
    kept: u64,
}

pub(super) const DAY_LENGTH: i64 = 24 * 60 * 60 * 1000;

impl FolderLog {
    /// Begins a log with a day and a process.
    pub(super) fn new() -> FolderLog {
        FolderLog::in_folder(tempfile::tempdir().unwrap(), Keys::random().unwrap())
    }

    pub(super) fn in_folder(folder: TempDir, keys: Keys) -> FolderLog {
        let settings = StorageSettings {
            folder: folder.path().to_owned(),
            signer: keys.log_signing_key("gateway-1/test").unwrap(),
            outside: Vec::new(),
        };
        let (storage, _) = Storage::open(settings).unwrap();
        let encoder = Encoder::new(keys.subject_pseudonyms());
        let storage = Some(storage);
        let mut log = FolderLog { folder, keys, storage, encoder, now: 0, day: day(), kept: 0 };
        log.begin_day();
        log.start();
        log
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn source(&self) -> LogSource {
        LogSource::new(self.path(), &self.keys)
    }

    pub(super) fn time(&self) -> Timestamp {
        at(self.now)
    }

    /// Returns an id of a decision that is made now.
    pub(super) fn id(&self) -> Ulid {
        let milliseconds = self.time().as_millisecond() as u64;
        Ulid::from_parts(milliseconds, Ulid::generate().random())
    }

    fn storage(&mut self) -> &mut Storage {
        self.storage.as_mut().unwrap()
    }

    fn offset(&mut self) -> u64 {
        self.storage().size() - self.storage().day_start()
    }

    fn append(&mut self, entries: &[Entry]) {
        self.storage().append(entries).unwrap();
    }

    fn begin_day(&mut self) {
        let (first, checkpoints, pseudonym_key) = (self.storage().size(), self.kept, [0; 16]);
        let members = DayStart { first, gateway: "gateway-1", checkpoints, pseudonym_key, ledger: None };
        let mut entries = Vec::new();
        self.encoder.begin_day(self.day, &members, &mut entries);
        self.append(&entries);
    }

    /// Begins a process. The previous one may not have ended.
    pub(super) fn start(&mut self) {
        let members = ProcessStart {
            gateway: "gateway-1",
            version: "0.2.0",
            unclean: false,
            torn_bytes: 0,
            former: None,
        };
        let (offset, time, mut entries) = (self.offset(), self.time(), Vec::new());
        self.encoder.start(offset, &members, time, &mut entries);
        self.append(&entries);
    }

    pub(super) fn resume(&mut self) {
        let (offset, time, mut entries) = (self.offset(), self.time(), Vec::new());
        self.encoder.resume(offset, time, time, &mut entries);
        self.append(&entries);
    }

    pub(super) fn next_day(&mut self) {
        let missing = (BUNDLE - self.storage().size() % BUNDLE) % BUNDLE;
        let mut entries = Vec::new();
        self.encoder.padding(missing, &mut entries);
        self.append(&entries);
        self.storage().end_day().unwrap();
        self.kept += 1;
        self.day = self.day.checked_add(SignedDuration::from_hours(24)).unwrap();
        self.now = self.now.max(DAY_LENGTH * (self.now / DAY_LENGTH + 1));
        self.begin_day();
    }

    pub(super) fn push(&mut self, record: &Record) {
        let (offset, time, mut entries) = (self.offset(), self.time(), Vec::new());
        self.encoder.encode(record, time, offset, &mut entries);
        self.append(&entries);
    }

    /// Deletes everything before the present day.
    pub(super) fn prune(&mut self) {
        let below = self.storage().day_start();
        let (time, mut entries) = (self.time(), Vec::new());
        let record = PruningRecord { below, ..PruningRecord::default() };
        self.encoder.pruning(record, time, &mut entries);
        self.append(&entries);
        self.publish();
        self.storage().prune(below).unwrap();
    }

    pub(super) fn publish(&mut self) {
        self.storage().publish().unwrap();
    }

    /// Indexes what is published.
    #[cfg(feature = "sqlite")]
    pub(super) fn index(&mut self, folder: &Path) {
        use crate::disclosure::index::Indexer;
        use crate::disclosure::storage::LogReader;
        self.publish();
        let mut reader = LogReader::open(self.path()).unwrap();
        let mut indexer = Indexer::open(folder, &reader).unwrap();
        while indexer.size() < reader.published() {
            (indexer, _) = indexer.update(&mut reader).unwrap();
        }
    }

    /// Makes what was appended readable, and ends the process.
    pub(super) fn close(&mut self) {
        self.storage.take().unwrap().close().unwrap();
    }

    /// Returns the folded exchanges.
    pub(super) fn folded(&self, filter: &ExchangeFilter, running: bool) -> Vec<Value> {
        let mut all = Vec::new();
        fold(self.path(), filter, running, |exchange| {
            all.push(exchange);
            Ok(())
        })
        .unwrap();
        all
    }
}
