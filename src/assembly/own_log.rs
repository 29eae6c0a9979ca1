//! Detects that the gateway's own disclosure log is gone, or that its end is.
//!
//! A folder whose file system is not mounted is empty, and a new log in it would hide the old one: reports would be complete
//! about the new one alone. Three witnesses outside of the folder know the log: the ledger, in which the gateway states the size
//! ([`state`]); the index; and a file that keeps checkpoints. A log that is shorter than a witness says has lost its end; an
//! absent one is the extreme case.
//!
//! Invariants: a log that a witness knows is missed at the start until it is found, in the folder or among `[audit] logs`, or
//! until somebody accepts the loss ([`accept`]); a shorter log is never continued, because its entries would contradict the
//! checkpoints of those that are lost.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use ulid::Ulid;

use super::{AssemblyError, ledger_store, log_settings};
use crate::config::{AuditSection, CheckpointSink, Config};
use crate::disclosure::questions::LogExtent;
use crate::disclosure::record::{ActRecord, Record};
use crate::disclosure::storage::PublishedCheckpoint;
use crate::disclosure::{EndOfLog, Log, ReadError};
use crate::keys::{Keys, SignatureState};
use crate::ledger::{self, Archive, LogOnRecord, NoticeStore, Store, StoreError};

/// The name under which the acceptance of a loss is on record.
const ACCEPTANCE: &str = "audit accept-loss";

/// Maximum length of the file with a checkpoint in bytes.
const MAX_NOTE: u64 = 64 << 10;

/// A place outside of the log's folder that knows the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogWitness {
    /// The ledger.
    Ledger,
    /// The index in this folder.
    Index(PathBuf),
    /// A file that keeps checkpoints (`[audit] checkpoints`).
    Checkpoint(PathBuf),
}

impl std::fmt::Display for LogWitness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LogWitness::Ledger => f.write_str("the ledger"),
            LogWitness::Index(folder) => write!(f, "its index in {}", folder.display()),
            LogWitness::Checkpoint(file) => write!(f, "its checkpoint {}", file.display()),
        }
    }
}

/// A log of this gateway that a witness knows and that is not there, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{folder} {held}, but {witness} knows the disclosure log `{origin}` of this gateway with {size} entries{until}: the log, or \
     its end, is missing. Is its file system mounted? Restore the log; or list the folder to which it was moved in `[audit] \
     logs`; or accept the loss: `purposegate audit accept-loss`",
    folder = .folder.display(),
    held = HeldLog(held.as_ref()),
    until = until.map(|until| format!(" until {until}")).unwrap_or_default()
)]
pub struct LogMissing {
    /// The folder in which it ought to be.
    pub folder: PathBuf,
    /// The origin and the size of the log that the folder holds.
    pub held: Option<(String, u64)>,
    /// The origin of the log that is missing.
    pub origin: String,
    /// The number of entries that it had at least.
    pub size: u64,
    /// The time until which it had entries at least, if the witness knows it.
    pub until: Option<Timestamp>,
    /// The place that knows it.
    pub witness: LogWitness,
}

impl LogMissing {
    /// Returns the number of entries that are still there, if the folder holds the log.
    fn rest(&self) -> Option<u64> {
        self.held.as_ref().filter(|(origin, _)| *origin == self.origin).map(|(_, size)| *size)
    }
}

/// The log in a folder, in words.
struct HeldLog<'h>(Option<&'h (String, u64)>);

impl std::fmt::Display for HeldLog<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => f.write_str("holds no disclosure log"),
            Some((origin, size)) => write!(f, "holds the disclosure log `{origin}` with {size} entries"),
        }
    }
}

/// The configured origin is that of another log, so a log that is begun under it would count as a copy of that one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{folder} holds no disclosure log, and `[audit] origin` is `{origin}`, which another log has: one that is {whose}. A new log \
     needs an origin of its own: choose another `origin`, or remove it",
    folder = .folder.display(),
    whose = if *.is_listed { "listed in `[audit] logs`" } else { "on record in the ledger, or missing" }
)]
pub struct OriginInUse {
    /// The folder in which the log would be begun.
    pub folder: PathBuf,
    /// The origin.
    pub origin: String,
    /// True if the other log is listed, false if a witness knows it.
    pub is_listed: bool,
}

/// An error that keeps a loss from being accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptLossError {
    /// The beginning of the log is there.
    #[error(
        "{folder} holds the first {held} of {size} entries: they stay readable if you move the folder away and list it in \
         `[audit] logs`; then accept the loss of the others. A log that was cut off cannot go on: others know what followed",
        folder = .folder.display()
    )]
    IsShorter {
        /// The folder.
        folder: PathBuf,
        /// The number of entries that are there.
        held: u64,
        /// The number of entries that there were at least.
        size: u64,
    },
    /// The log that would be begun would have the origin of another one.
    #[error(transparent)]
    Origin(#[from] OriginInUse),
    /// Keys, ledger or log cannot be opened.
    #[error(transparent)]
    Open(#[from] AssemblyError),
    /// The acceptance cannot be recorded.
    #[error("the acceptance cannot be recorded: {0}")]
    Append(#[from] crate::disclosure::LogError),
    /// There is no runtime to wait for the log.
    #[error("the acceptance cannot be recorded: {0}")]
    Runtime(#[source] std::io::Error),
}

/// The logs of the gateways, as the ledger has them on record.
#[derive(Clone, Debug)]
pub struct RegisteredLogs {
    /// The logs on record.
    pub logs: Vec<LogOnRecord>,
    /// True if several gateways can use the ledger.
    pub is_shared: bool,
}

impl RegisteredLogs {
    /// Reads them from the ledger of a gateway.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn of_archive(archive: &Archive) -> Result<RegisteredLogs, StoreError> {
        Ok(RegisteredLogs { logs: archive.logs_on_record()?, is_shared: archive.is_shared() })
    }

    fn of_store(store: &dyn Store) -> Result<RegisteredLogs, StoreError> {
        let logs = ledger::logs_on_record(store.notice_store())?;
        Ok(RegisteredLogs { logs, is_shared: store.shared().is_some() })
    }
}

/// A log as a witness knows it.
struct WitnessedLog {
    origin: String,
    size: u64,
    until: Option<Timestamp>,
    witness: LogWitness,
}

/// Returns the logs of this gateway that a witness knows and that are missing, each once.
///
/// # Errors
/// [`ReadError`] if the log in the folder cannot be read.
pub fn missing(
    config: &Config,
    keys: &Keys,
    registered: &RegisteredLogs,
    now: Timestamp,
) -> Result<Vec<LogMissing>, ReadError> {
    let AuditSection { directory, logs, .. } = &config.audit;
    let end = EndOfLog::of_folder(directory)?;
    let held = end.map(|EndOfLog { origin, size, .. }| (origin, size));
    let listed = logs.iter().filter_map(|log| EndOfLog::of_folder(&log.path).ok().flatten());
    let listed: Vec<_> = listed.map(|end| (end.origin, end.size)).collect();
    let mut known = known_to_ledger(config, registered, now);
    known.extend(known_to_file(config, keys, held.as_ref()));
    known.extend(known_to_index(config, held.as_ref(), &listed, now));
    // The loss of one that is in the folder, and still lacks its end, was accepted for a log that follows it.
    let is_lost = |origin: &str| {
        let is_held = held.as_ref().is_some_and(|(held, _)| held == origin);
        !is_held && registered.logs.iter().any(|log| log.origin == origin && log.lost.is_some())
    };
    let is_there = |known: &WitnessedLog| {
        let mut there = held.iter().chain(&listed);
        there.any(|(origin, size)| *origin == known.origin && *size >= known.size)
    };
    known.retain(|known| !is_lost(&known.origin) && !is_there(known));
    // Of several witnesses, the one that knows most.
    known.sort_by(|a, b| (&a.origin, b.size).cmp(&(&b.origin, a.size)));
    known.dedup_by(|next, first| next.origin == first.origin);
    let missing = known.into_iter().map(|WitnessedLog { origin, size, until, witness }| {
        let (folder, held) = (directory.clone(), held.clone());
        LogMissing { folder, held, origin, size, until, witness }
    });
    Ok(missing.collect())
}

/// Checks that a log which would be begun gets an origin that no other log has: none that the ledger knows, none of `missing`,
/// and none of the listed ones.
///
/// # Errors
/// [`AssemblyError::Origin`]; [`AssemblyError::ReadLog`] if the log in the folder cannot be read.
pub fn check_origin(
    config: &Config,
    registered: &RegisteredLogs,
    missing: &[LogMissing],
) -> Result<(), AssemblyError> {
    let AuditSection { directory, logs, origin, .. } = &config.audit;
    let Some(origin) = origin else { return Ok(()) };
    // A log that is there goes on, and keeps the origin with which it was made.
    if EndOfLog::of_folder(directory)?.is_some() {
        return Ok(());
    }
    let mut listed = logs.iter().filter_map(|log| EndOfLog::of_folder(&log.path).ok().flatten());
    let is_listed = listed.any(|end| end.origin == *origin);
    let is_known = registered.logs.iter().any(|log| log.origin == *origin)
        || missing.iter().any(|log| log.origin == *origin);
    if is_listed || is_known {
        let (folder, origin) = (directory.clone(), origin.clone());
        return Err(OriginInUse { folder, origin, is_listed }.into());
    }
    Ok(())
}

/// Returns what the ledger knows. Gateways on several machines have folders of the same name, and each has a name of its own.
fn known_to_ledger(config: &Config, registered: &RegisteredLogs, now: Timestamp) -> Vec<WitnessedLog> {
    let folder = folder_name(&config.audit.directory);
    let is_own = |log: &&LogOnRecord| {
        log.folder == folder
            && (!registered.is_shared || *log.gateway == *config.name)
            && !log.is_expired(now)
    };
    let known = |log: &LogOnRecord| WitnessedLog {
        origin: log.origin.clone(),
        size: log.size,
        until: Some(log.until),
        witness: LogWitness::Ledger,
    };
    registered.logs.iter().filter(is_own).map(known).collect()
}

/// Returns what the files with checkpoints know. One of another log than that in the folder stays from a log that was moved away.
fn known_to_file(config: &Config, keys: &Keys, held: Option<&(String, u64)>) -> Vec<WitnessedLog> {
    let files = config.audit.checkpoints.iter().filter_map(|sink| match sink {
        CheckpointSink::File(file) => Some(file),
        CheckpointSink::Log(_) | CheckpointSink::Webhook(_) | CheckpointSink::Witness { .. } => None,
    });
    let known = files.filter_map(|file| {
        let is_short = std::fs::metadata(file).is_ok_and(|found| found.len() <= MAX_NOTE);
        let note = if is_short { std::fs::read(file).ok()? } else { return None };
        let PublishedCheckpoint { origin, size, .. } = PublishedCheckpoint::parse(&note)?;
        let signer = keys.log_signing_key(&origin).ok()?;
        let is_own =
            signer.check(&note) == SignatureState::Valid && held.is_none_or(|(held, _)| *held == origin);
        let witness = LogWitness::Checkpoint(file.clone());
        is_own.then_some(WitnessedLog { origin, size, until: None, witness })
    });
    known.collect()
}

/// Returns what the indexes know. The folder can have those of other gateways' logs, and of earlier logs of this one.
#[cfg(feature = "sqlite")]
fn known_to_index(
    config: &Config,
    held: Option<&(String, u64)>,
    listed: &[(String, u64)],
    now: Timestamp,
) -> Vec<WitnessedLog> {
    let AuditSection { index, logs, origin: configured, retention, .. } = &config.audit;
    let prefix = format!("{}/", config.name);
    let is_own = |origin: &str| match held {
        Some((held, _)) => held == origin,
        None => {
            let is_listed = listed.iter().any(|(listed, _)| listed == origin);
            let is_named = origin.starts_with(&prefix) || configured.as_deref() == Some(origin);
            !is_listed && (logs.is_empty() || is_named)
        }
    };
    let end = |day: jiff::civil::Date| {
        Some(day.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    let known = crate::disclosure::index::indexed_logs(index).into_iter().filter_map(|(state, day)| {
        let until = day.and_then(end);
        let removed = until.and_then(|until| until.checked_add(*retention).ok());
        let is_expired = removed.is_some_and(|removed| removed < now);
        let witness = LogWitness::Index(index.clone());
        let known = WitnessedLog {
            origin: state.origin,
            size: state.size,
            until: until.map(|end| end.min(now)),
            witness,
        };
        (is_own(&known.origin) && !is_expired).then_some(known)
    });
    known.collect()
}

/// There is no index.
#[cfg(not(feature = "sqlite"))]
fn known_to_index(
    _: &Config,
    _: Option<&(String, u64)>,
    _: &[(String, u64)],
    _: Timestamp,
) -> Vec<WitnessedLog> {
    Vec::new()
}

/// Returns the folder as the ledger has it.
fn folder_name(folder: &Path) -> String {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).display().to_string()
}

/// States in the ledger which log this gateway writes, and how far it goes.
///
/// # Errors
/// [`AssemblyError`] if the log cannot be read, or the ledger not be written.
pub fn state(config: &Config, store: &dyn NoticeStore, now: Timestamp) -> Result<(), AssemblyError> {
    let AuditSection { directory, retention, .. } = &config.audit;
    let LogExtent { origin: Some(origin), size, since: Some(since), .. } = LogExtent::of_folder(directory)?
    else {
        return Ok(());
    };
    let record = LogOnRecord {
        origin: origin.clone(),
        gateway: config.name.to_string(),
        folder: folder_name(directory),
        size,
        since,
        until: now,
        retention: retention.as_secs(),
        lost: None,
        former: false,
    };
    ledger::record_log(store, &origin, |known| {
        // A log that was found again is not lost.
        let size = known.map_or(size, |known| known.size.max(size));
        Some(LogOnRecord { size, ..record.clone() })
    })?;
    ledger::mark_former_logs(store, &config.name, &origin)?;
    Ok(())
}

/// Accepts that the logs which are missing are lost. The acceptance is on record in the log of the folder, which is begun if
/// there is none, and in the ledger, and reports say from then on what they lack. Returns the logs; none if nothing is missing.
///
/// Opens keys, ledger and log, so the gateway must not run; blocks meanwhile.
///
/// # Errors
/// [`AcceptLossError`].
pub fn accept(config: &Config, reason: &str, now: Timestamp) -> Result<Vec<LogMissing>, AcceptLossError> {
    let keys = Keys::open(&config.keys.path).map_err(AssemblyError::from)?;
    let store = ledger_store::open(&config.ledger, &keys).map_err(AssemblyError::from)?;
    let registered = RegisteredLogs::of_store(&*store).map_err(AssemblyError::from)?;
    let missing = missing(config, &keys, &registered, now).map_err(AssemblyError::from)?;
    if let Some((log, held)) = missing.iter().find_map(|log| Some((log, log.rest()?))) {
        return Err(AcceptLossError::IsShorter { folder: log.folder.clone(), held, size: log.size });
    }
    if missing.is_empty() {
        return Ok(missing);
    }
    check_origin(config, &registered, &missing)?;
    // Before there is a new log, beside which no other witness counts: if the acceptance fails, the ledger still knows the old one.
    for log in &missing {
        let known = |known| Some(on_record(config, log, known, now));
        ledger::record_log(store.notice_store(), &log.origin, known).map_err(AssemblyError::from)?;
    }
    record_acceptance(config, &keys, &*store, &missing, reason)?;
    for log in &missing {
        let lost = |known: Option<LogOnRecord>| {
            Some(LogOnRecord { lost: Some(now), ..on_record(config, log, known, now) })
        };
        ledger::record_log(store.notice_store(), &log.origin, lost).map_err(AssemblyError::from)?;
        remove_index(config, &log.origin);
    }
    state(config, store.notice_store(), now)?;
    Ok(missing)
}

/// Returns what is on record about a lost log, or what a witness knows.
fn on_record(config: &Config, log: &LogMissing, known: Option<LogOnRecord>, now: Timestamp) -> LogOnRecord {
    let AuditSection { directory, retention, .. } = &config.audit;
    let until = log.until.unwrap_or(now);
    let known = known.unwrap_or_else(|| LogOnRecord {
        origin: log.origin.clone(),
        gateway: config.name.to_string(),
        folder: folder_name(directory),
        size: 0,
        // How far it went back is not known. Its days are removed at this age.
        since: until
            .checked_sub(*retention)
            .unwrap_or(Timestamp::MIN)
            .to_zoned(jiff::tz::TimeZone::UTC)
            .date(),
        until,
        retention: retention.as_secs(),
        lost: None,
        former: false,
    });
    LogOnRecord { size: known.size.max(log.size), ..known }
}

/// Records each loss as an act in the log of the folder.
fn record_acceptance(
    config: &Config,
    keys: &Keys,
    store: &dyn Store,
    missing: &[LogMissing],
    reason: &str,
) -> Result<(), AcceptLossError> {
    let id = store.id().map_err(AssemblyError::from)?;
    let log = Log::open(log_settings(config, id), keys).map_err(AssemblyError::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(AcceptLossError::Runtime)?;
    for LogMissing { origin, size, .. } in missing {
        let act = ActRecord {
            act: Ulid::generate(),
            actor: None,
            role: None,
            resource: ACCEPTANCE,
            subject: None,
            decision: None,
            reason: Some(format!("the log {origin} with {size} entries is lost: {reason}").into()),
        };
        runtime.block_on(log.append(Record::Act(act)))?;
    }
    log.close();
    Ok(())
}

/// Removes the index of a lost log: otherwise nobody would remove the pseudonyms of its days.
#[cfg(feature = "sqlite")]
fn remove_index(config: &Config, origin: &str) {
    if let Err(error) = crate::disclosure::index::remove_index(&config.audit.index, origin) {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "the index of the lost log is still there");
    }
}

/// There is no index.
#[cfg(not(feature = "sqlite"))]
fn remove_index(_: &Config, _: &str) {}
