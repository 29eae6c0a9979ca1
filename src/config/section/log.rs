//! `[audit]` and `[access-log]`: the disclosure log and the access log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checkpoint_sink::{CheckpointSink, checkpoint_sink, default_sinks};
use super::record_push::{PushSection, record_push};
use crate::config::Part;
use crate::config::files::existing;
use crate::config::ledger::LedgerUrl;
use crate::config::pack::Packs;
use crate::disclosure::{self, Durability};
use crate::document::{At, Document, Fields, Item};
use crate::exchange::IntentPolicy;
use crate::finding::Finding;

/// `[audit]`: the disclosure log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSection {
    /// Folder of the log.
    pub directory: PathBuf,
    /// Point at which a record has to be on disk.
    pub durability: Durability,
    /// Age at which whole days are removed.
    pub retention: Duration,
    /// The exchanges that are on record before the upstream sees the request.
    pub intents: IntentPolicy,
    /// Origin of the log. `None`: the one with which it was made.
    pub origin: Option<String>,
    /// Folder of the log's index.
    pub index: PathBuf,
    /// Folder of the counted circumstances. `None`: they are not counted.
    pub circumstances: Option<PathBuf>,
    /// Where checkpoints go.
    pub checkpoints: Vec<CheckpointSink>,
    /// The server that gets exchanges on record. `None`: they are not sent.
    pub push: Option<PushSection>,
    /// Time after which a notice that was not delivered is given up.
    pub notice_limit: Duration,
    /// The logs of other gateways, for reports.
    pub logs: Vec<GatewayLog>,
    /// The origins of logs of other gateways that are gone for good, and that no answer waits for.
    pub retired: Vec<String>,
}

/// An entry of `[audit] logs`: the log of another gateway, which this one only reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayLog {
    /// Folder of the log.
    pub path: PathBuf,
    /// The key of the log, if it has another one than this gateway's key file gives it.
    pub key: Option<LogKey>,
}

/// The key of another gateway's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogKey {
    /// Path of the key file under which the other gateway writes.
    File(PathBuf),
    /// Verifier key of the log's checkpoints. People are found in it under the keys of this gateway.
    Verifier(String),
}

/// `[access-log]`: the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogSection {
    /// Folder of the log.
    pub directory: PathBuf,
    /// Number of days for which files are kept.
    pub days: u32,
}

/// Default retention of the access log, in days.
const ACCESS_LOG_DAYS: u32 = 15;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Default of `notice-limit`.
const NOTICE_LIMIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Bounds of `notice-limit`. A person may ask who was told within a month (GDPR Art. 12(3)), which can become three.
const MIN_NOTICE_LIMIT: Duration = DAY;
const MAX_NOTICE_LIMIT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

pub(in crate::config) fn audit(part: &mut Part<'_>, ledger: &LedgerUrl) -> AuditSection {
    let mut audit = AuditSection {
        directory: part.folder.join("data/audit"),
        durability: Durability::BeforeRelease,
        retention: 400 * DAY,
        intents: IntentPolicy::Changes,
        origin: None,
        index: PathBuf::new(),
        circumstances: None,
        checkpoints: default_sinks(),
        push: None,
        notice_limit: NOTICE_LIMIT,
        logs: Vec::new(),
        retired: Vec::new(),
    };
    let Some(mut fields) = part.fields.fields("audit", "`[audit]`") else {
        audit.index = beside(&audit.directory, "-index");
        audit.circumstances = Some(beside(&audit.directory, "-circumstances"));
        return audit;
    };
    if let Some(directory) = fields.text("directory") {
        audit.directory = part.folder.join(directory.value);
    }
    let words = [("before-release", Durability::BeforeRelease), ("batched", Durability::Batched)];
    audit.durability = fields.choice("durability", &words).unwrap_or(audit.durability);
    audit.retention = fields.duration("retention").unwrap_or(audit.retention);
    let words = [("changes", IntentPolicy::Changes), ("always", IntentPolicy::Always)];
    audit.intents = fields.choice("intents", &words).unwrap_or(audit.intents);
    let document = fields.document();
    audit.origin = fields.text("origin").map(|origin| origin_of(document, &origin, &audit.directory));
    audit.index = match fields.text("index") {
        Some(index) => index_folder(part, &index, &audit.directory),
        None => beside(&audit.directory, "-index"),
    };
    let circumstances = fields.item("circumstances");
    audit.circumstances = match &circumstances {
        Some(item) => circumstances_folder(part, item),
        None => Some(beside(&audit.directory, "-circumstances")),
    };
    if fields.item("checkpoints").is_some() {
        let tables = fields.tables("checkpoints", "a sink of checkpoints");
        let sinks = tables.into_iter().filter_map(|table| checkpoint_sink(part, table, &audit.directory));
        audit.checkpoints = sinks.collect();
    }
    if let Some(push) = fields.fields("push", "`[audit.push]`") {
        audit.push = record_push(part, push, beside(&audit.directory, "-push"));
    }
    if let Some(limit) = fields.item("notice-limit") {
        audit.notice_limit = limit.duration().unwrap_or(NOTICE_LIMIT);
        if !(MIN_NOTICE_LIMIT..=MAX_NOTICE_LIMIT).contains(&audit.notice_limit) {
            let words = "`notice-limit` is not between 1 and 90 days";
            let hint = "a notice that is not delivered then waits for a person";
            document
                .find(Finding::error("bad-notice-limit", words).label("of notices").hint(hint), limit.at());
        }
    }
    audit.retired = fields.texts("retired").into_iter().map(|origin| origin.value.to_owned()).collect();
    for fields in fields.tables("logs", "a log of another gateway") {
        audit.logs.extend(gateway_log(part, fields, &audit));
    }
    if let Some(what) = shares_circumstances_folder(&audit, ledger) {
        let finding = circumstances_finding(what).hint("name a folder of its own");
        document.find(finding, circumstances.map_or_else(|| fields.at(), |item| item.at()));
    }
    fields.end();
    audit
}

/// Returns a folder beside that of the log.
fn beside(directory: &Path, suffix: &str) -> PathBuf {
    let mut name = directory.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    directory.with_file_name(name)
}

/// Reads `circumstances`: a folder, or `false`.
fn circumstances_folder(part: &Part<'_>, item: &Item<'_>) -> Option<PathBuf> {
    if !item.is_text() {
        if item.flag() == Some(true) {
            let words = "`circumstances` is a folder, or `false`";
            let finding = Finding::error("bad-circumstances", words).label("no folder");
            let hint = "leave it out for a folder beside that of the log";
            part.fields.document().find(finding.hint(hint), item.at());
        }
        return None;
    }
    Some(part.folder.join(item.text()?.value))
}

/// Returns what is in the folder of counted circumstances or around it. A log's folder holds nothing but files of its own, and a
/// folder with the ledger is kept and backed up for other reasons.
fn shares_circumstances_folder(audit: &AuditSection, ledger: &LedgerUrl) -> Option<&'static str> {
    let folder = audit.circumstances.as_deref()?;
    let is_with = |other: &Path| disclosure::overlapping([other, folder]).is_some();
    // A log that overlaps the own one has its own finding.
    let is_other = |log: &Path| disclosure::overlapping([&audit.directory, log]).is_none();
    let holds_ledger = match ledger {
        LedgerUrl::Sqlite(file) => disclosure::resolved(file).parent() == Some(&disclosure::resolved(folder)),
        LedgerUrl::Postgres(_) => false,
    };
    if is_with(&audit.directory) || is_with(&audit.index) {
        Some("the log or its index")
    } else if audit.logs.iter().any(|log| is_other(&log.path) && is_with(&log.path)) {
        Some("the log of another gateway")
    } else {
        holds_ledger.then_some("the ledger")
    }
}

fn circumstances_finding(what: &str) -> Finding {
    let words = format!(
        "the folder of counted circumstances and that of {what} are the same, or one is in the other"
    );
    Finding::error("bad-circumstances", words).label("counted circumstances")
}

/// Reads `index`. `verify` accounts for each file in the folder of the log, and the index is none of them.
fn index_folder(part: &Part<'_>, index: &At<&str>, directory: &Path) -> PathBuf {
    let path = part.folder.join(index.value);
    if disclosure::overlapping([directory, &path]).is_some() {
        let words = "the folder of the index and that of the log are the same, or one is in the other";
        let finding = Finding::error("index-in-log", words).label("the index");
        let hint = "the log's folder contains nothing but the log: name a folder beside it";
        part.fields.document().find(finding.hint(hint), index.at.clone());
    }
    path
}

/// Reads `origin`. A log keeps the one with which it was made.
fn origin_of(document: &Document<'_>, origin: &At<&str>, directory: &Path) -> String {
    if !disclosure::is_origin(origin.value) {
        let finding = Finding::error("bad-log-origin", "this is not the origin of a log");
        let hint = "1 to 255 characters without spaces and `+`, for example `gateway-1.example.org/disclosures`; \
                    without `origin` a log gets one of its own";
        document.find(finding.label("names the log and its key").hint(hint), origin.at.clone());
    } else if let Ok(Some(found)) = disclosure::storage::read_origin(directory)
        && found != origin.value
    {
        let words = format!("the log in {} has the origin {found}", directory.display());
        let hint = format!("leave `origin = \"{found}\"` to go on with this log, or name another directory");
        let finding = Finding::error("other-log-origin", words).label("another one").hint(hint);
        document.find(finding, origin.at.clone());
    }
    origin.value.to_owned()
}

/// Reads an entry of `logs`. A folder that does not exist yet is no error: its gateway may start later.
fn gateway_log(part: &Part<'_>, mut fields: Fields<'_>, audit: &AuditSection) -> Option<GatewayLog> {
    let path = fields.needed_text("path");
    let key = fields.text("key").map(|key| log_key(part, &key));
    let document = fields.document();
    fields.end();
    let At { value: path, at } = path?;
    let path = part.folder.join(path);
    let mut known = [&audit.directory].into_iter().chain(audit.logs.iter().map(|log| &log.path));
    if let Some(other) = known.find(|known| disclosure::overlapping([known.as_path(), &path]).is_some()) {
        let words = format!("this folder and {} are the same, or one is in the other", other.display());
        let hint = "`directory` is the log of this gateway; `logs` lists those of the others, each once";
        document.find(Finding::error("logs-overlap", words).label("read twice").hint(hint), at);
    }
    match key {
        Some(None) => None,
        Some(key @ Some(_)) => Some(GatewayLog { path, key }),
        None => Some(GatewayLog { path, key: None }),
    }
}

/// Reads the key of a log: a verifier key, or the path of a key file.
fn log_key(part: &Part<'_>, key: &At<&str>) -> Option<LogKey> {
    if disclosure::is_verifier_key(key.value) {
        return Some(LogKey::Verifier(key.value.to_owned()));
    }
    let hint = "the path of the key file under which the other gateway writes its log, or the log's verifier key, \
                which `purposegate audit key` prints there";
    existing(part, key, hint).map(LogKey::File)
}

/// Reads `[access-log]`. The retention must not exceed the shortest one that a pack allows (P-7c).
pub(in crate::config) fn access_log(
    part: &mut Part<'_>,
    packs: &Packs,
    audit: &AuditSection,
) -> Option<AccessLogSection> {
    let mut fields = part.fields.fields("access-log", "`[access-log]`")?;
    let (document, fields_at) = (fields.document(), fields.at());
    let directory = fields.needed_text("directory");
    let retention = fields.item("retention");
    fields.end();
    let (days, at) = match &retention {
        None => (ACCESS_LOG_DAYS, fields_at),
        Some(item) => {
            (u32::try_from(item.duration()?.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX), item.at())
        }
    };
    if let Some((limit, title)) = packs.access_log_limit().filter(|(limit, _)| days > *limit) {
        let finding =
            Finding::error("access-log-too-long", format!("the access log is kept for {days} days"));
        let hint = format!("\"{title}\" allows {limit}: write `retention = \"{limit}d\"`");
        document.find(finding.label("too long").hint(hint), at);
    }
    let At { value: directory, at } = directory?;
    let directory = part.folder.join(directory);
    let counted = audit.circumstances.as_deref();
    if counted.is_some_and(|folder| disclosure::overlapping([&*directory, folder]).is_some()) {
        document.find(circumstances_finding("the access log").hint("name a folder of its own"), at);
    }
    Some(AccessLogSection { directory, days })
}
