//! `[audit]` and `[access-log]`: the disclosure log and the access log.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Part;
use crate::config::files::existing;
use crate::config::pack::Packs;
use crate::disclosure::{self, Durability};
use crate::document::{At, Fields};
use crate::finding::Finding;

/// `[audit]`: the disclosure log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSection {
    /// Folder of the log.
    pub directory: PathBuf,
    /// Point at which a record has to be on disk.
    pub durability: Durability,
    /// Age at which whole segments are removed.
    pub retention: Duration,
    /// The logs of other gateways, for reports.
    pub logs: Vec<GatewayLog>,
}

/// An entry of `[audit] logs`: the log of another gateway, which this one only reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayLog {
    /// Folder of the log.
    pub path: PathBuf,
    /// Path of its key file. `None`: the same keys as this gateway's.
    pub key: Option<PathBuf>,
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

pub(in crate::config) fn audit(part: &mut Part<'_>) -> AuditSection {
    let mut audit = AuditSection {
        directory: part.folder.join("data/audit"),
        durability: Durability::BeforeRelease,
        retention: 400 * DAY,
        logs: Vec::new(),
    };
    let Some(mut fields) = part.fields.fields("audit", "`[audit]`") else { return audit };
    if let Some(directory) = fields.text("directory") {
        audit.directory = part.folder.join(directory.value);
    }
    let words = [("before-release", Durability::BeforeRelease), ("batched", Durability::Batched)];
    audit.durability = fields.choice("durability", &words).unwrap_or(audit.durability);
    audit.retention = fields.duration("retention").unwrap_or(audit.retention);
    for fields in fields.tables("logs", "a log of another gateway") {
        audit.logs.extend(gateway_log(part, fields, &audit));
    }
    fields.end();
    audit
}

/// Reads an entry of `logs`. A folder that does not exist yet is no error: its gateway may start later.
fn gateway_log(part: &Part<'_>, mut fields: Fields<'_>, audit: &AuditSection) -> Option<GatewayLog> {
    let path = fields.needed_text("path");
    let keys_hint = "the path of the key file under which the other gateway writes its log";
    let key = fields.text("key").map(|key| existing(part, &key, keys_hint));
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

/// Reads `[access-log]`. The retention must not exceed the shortest one that a pack allows (P-7c).
pub(in crate::config) fn access_log(part: &mut Part<'_>, packs: &Packs) -> Option<AccessLogSection> {
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
    Some(AccessLogSection { directory: part.folder.join(directory?.value), days })
}
