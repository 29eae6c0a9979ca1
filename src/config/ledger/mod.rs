//! `[ledger]`: the place of the ledger, a SQLite file or a PostgreSQL database, and the means to reach it.
//!
//! The module connects to nothing. Passwords stay in their files until a connection is opened, except for one in the URL.

pub mod password;
pub mod password_sources;
pub mod postgres_url;

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use password_sources::is_world_readable;
use postgres_url::{LedgerUrlError, PostgresUrl};

use super::Part;
use super::files::existing;
use super::tls::TlsError;
use super::tls_client::ClientTlsFiles;
use crate::document::{At, Document, Fields};
use crate::finding::Finding;
use crate::ledger::store::shared::MAX_LEASE;

/// Bounds of `max-staleness`. Below the first, the load of renewals and a pause of the process stop the gateway; the second
/// is how long a withdrawal can take to be in force everywhere.
const STALENESS: RangeInclusive<Duration> = Duration::from_millis(500)..=MAX_LEASE;

/// `[ledger]`: the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSection {
    /// Where the ledger is.
    pub url: LedgerUrl,
    /// Maximum age of this process's copy of the ledger.
    pub max_staleness: Duration,
    /// True if a start upgrades the schema of an earlier version.
    pub migrate: bool,
}

/// The place of a ledger. `Display` shows no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerUrl {
    /// Path of a SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(Box<PostgresUrl>),
}

impl LedgerSection {
    /// Returns the section for a SQLite file, with the defaults.
    pub fn embedded(file: PathBuf) -> LedgerSection {
        LedgerSection { url: LedgerUrl::Sqlite(file), max_staleness: Duration::from_secs(2), migrate: true }
    }
}

impl LedgerUrl {
    /// Parses the URL of a ledger. A relative path of a SQLite file is relative to `folder`.
    ///
    /// # Errors
    /// [`LedgerUrlError`].
    pub fn parse(url: &str, folder: &Path) -> Result<LedgerUrl, LedgerUrlError> {
        if let Some(file) = url.strip_prefix("sqlite:").filter(|file| !file.is_empty()) {
            return Ok(LedgerUrl::Sqlite(folder.join(file)));
        }
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let Some(rest) = rest else { return Err(LedgerUrlError::UNKNOWN_SCHEME) };
        if !cfg!(feature = "postgres") {
            return Err(LedgerUrlError::WITHOUT_POSTGRES);
        }
        let mut server = PostgresUrl::parse(rest)?;
        if let Some(ClientTlsFiles { ca, identity }) = &mut server.tls {
            let certificate = identity.iter_mut().flat_map(|(certificate, key)| [certificate, key]);
            ca.iter_mut().chain(certificate).for_each(|file| *file = folder.join(&*file));
        }
        Ok(LedgerUrl::Postgres(Box::new(server)))
    }

    /// True if the ledger is in a file that does not exist yet.
    pub fn is_file_to_create(&self) -> bool {
        match self {
            LedgerUrl::Sqlite(file) => !file.exists(),
            LedgerUrl::Postgres(_) => false,
        }
    }

    /// Returns the bytes by which the mark of the last position tells ledgers apart: the absolute path of a file; hosts and
    /// name of a database, whoever connects to it and by which means.
    pub fn mark_name(&self) -> Vec<u8> {
        match self {
            LedgerUrl::Sqlite(file) => {
                let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
                file.into_os_string().into_encoded_bytes()
            }
            LedgerUrl::Postgres(server) => {
                format!("postgres://{}/{}", server.host_list(), server.database).into_bytes()
            }
        }
    }
}

impl fmt::Display for LedgerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LedgerUrl::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
            LedgerUrl::Postgres(server) => {
                write!(f, "postgres://{}@{}/{}", server.user, server.host_list(), server.database)
            }
        }
    }
}

/// The keys that only a PostgreSQL ledger has.
struct ServerKeys<'d> {
    password_file: Option<At<&'d str>>,
    ca: Option<At<&'d str>>,
    certificate: Option<At<&'d str>>,
    key: Option<At<&'d str>>,
}

impl<'d> ServerKeys<'d> {
    fn read(fields: &mut Fields<'d>) -> ServerKeys<'d> {
        ServerKeys {
            password_file: fields.text("password-file"),
            ca: fields.text("ca"),
            certificate: fields.text("client-certificate"),
            key: fields.text("client-key"),
        }
    }
}

pub(super) fn read(part: &mut Part<'_>) -> LedgerSection {
    let mut ledger = LedgerSection::embedded(part.folder.join("data/ledger.db"));
    let Some(mut fields) = part.fields.fields("ledger", "`[ledger]`") else { return ledger };
    fields.allow();
    let (document, url, keys) = (fields.document(), fields.text("url"), ServerKeys::read(&mut fields));
    let at = url.as_ref().map_or(fields.at(), |url| url.at.clone());
    match url.map_or(Ok(ledger.url.clone()), |url| LedgerUrl::parse(url.value, part.folder)) {
        Ok(LedgerUrl::Sqlite(file)) => {
            ledger.url = LedgerUrl::Sqlite(file);
            let ServerKeys { password_file, ca, certificate, key } = keys;
            report_unused(
                document,
                [
                    ("password-file", password_file),
                    ("ca", ca),
                    ("client-certificate", certificate),
                    ("client-key", key),
                ],
                "on an embedded ledger",
                "take it out, or write `url = \"postgres://user@host/database\"`",
            );
        }
        Ok(LedgerUrl::Postgres(mut server)) => {
            let ServerKeys { password_file, ca, certificate, key } = keys;
            password(part, &mut server, password_file, &at);
            match &mut server.tls {
                Some(files) => tls(part, &fields, files, [ca, certificate, key], &at),
                None => report_unused(
                    document,
                    [("ca", ca), ("client-certificate", certificate), ("client-key", key)],
                    "without TLS",
                    "write `sslmode=verify-full` in the URL, or take the key out",
                ),
            }
            if server.is_plaintext_beyond_loopback() {
                let words = "connections to the ledger leave this machine without encryption";
                let hint = "take `sslmode=disable` out: events about people travel in clear";
                let finding = Finding::warning("plaintext-ledger", words).label("readable on the network");
                document.find(finding.hint(hint), at);
            }
            ledger.url = LedgerUrl::Postgres(server);
        }
        Err(error) => {
            document.find(Finding::error("bad-ledger-url", error.to_string()).hint(error.hint()), at);
        }
    }
    ledger.migrate = fields.flag("migrate").unwrap_or(ledger.migrate);
    ledger.max_staleness = max_staleness(&mut fields).unwrap_or(ledger.max_staleness);
    fields.end();
    ledger
}

fn max_staleness(fields: &mut Fields<'_>) -> Option<Duration> {
    let item = fields.item("max-staleness")?;
    let staleness = item.duration()?;
    if !STALENESS.contains(&staleness) {
        let finding = Finding::error("bad-staleness", "`max-staleness` is not between 500 ms and 30 s");
        let hint =
            "with several gateways it is the time after which one that cannot be reached stops releasing";
        fields.document().find(finding.hint(hint), item.at());
    }
    Some(staleness)
}

/// Reports keys that have no effect.
fn report_unused<'k>(
    document: &Document<'_>,
    keys: impl IntoIterator<Item = (&'k str, Option<At<&'k str>>)>,
    why: &str,
    hint: &str,
) {
    for (key, text) in keys.into_iter().filter_map(|(key, text)| Some((key, text?))) {
        let finding = Finding::error("misplaced-key", format!("`{key}` has no effect {why}"));
        document.find(finding.label("no effect").hint(hint), text.at);
    }
}

/// Sets the file with the password, and reports a password in the URL.
fn password(part: &Part<'_>, server: &mut PostgresUrl, named: Option<At<&str>>, url: &Range<usize>) {
    let document = part.fields.document();
    match (&server.password, &named) {
        (Some(_), Some(file)) => {
            let finding = Finding::error("bad-ledger-url", "the password is in `url` and in `password-file`");
            document.find(finding.label("a second one").hint("take it out of the URL"), file.at.clone());
        }
        (Some(_), None) => {
            let finding = Finding::warning("password-in-config", "the URL of the ledger holds a password");
            let hint = "whoever reads this file can change the ledger: move the password to a file of its own \
                        (`password-file`), to PGPASSWORD or to the file of PGPASSFILE";
            document.find(finding.label("a secret").hint(hint), url.clone());
        }
        (None, _) => {}
    }
    let Some(named) = named else { return };
    server.password_file = existing(part, &named, "it holds the password and nothing else, on one line");
    if server.password_file.as_deref().is_some_and(is_world_readable) {
        let finding =
            Finding::warning("exposed-password-file", "all users can read the password of the ledger");
        document.find(finding.hint("`chmod 600` the file"), named.at);
    }
}

/// Sets the files of `ca`, `client-certificate` and `client-key`, which count before those that the URL names, and reports
/// files that cannot be used.
fn tls(
    part: &Part<'_>,
    fields: &Fields<'_>,
    files: &mut ClientTlsFiles,
    named: [Option<At<&str>>; 3],
    url: &Range<usize>,
) {
    let [_, certificate, key] = &named;
    match (certificate, key) {
        (Some(_), None) => fields.missing("client-key"),
        (None, Some(_)) => fields.missing("client-certificate"),
        _ => {}
    }
    let named = named.map(|file| file.map(|file| existing(part, &file, "it is a PEM file")));
    let all_exist = !named.contains(&Some(None));
    let [ca, certificate, key] = named.map(Option::flatten);
    files.ca = ca.or(files.ca.take());
    files.identity = certificate.zip(key).or(files.identity.take());
    if all_exist && let Err(error) = usable(files) {
        let words = format!("TLS to the ledger cannot be set up: {error}");
        let finding = match error.denied {
            true => Finding::warning("unreadable-tls", words),
            false => Finding::error("bad-tls", words),
        };
        let hint = "`ca`, `client-certificate` and `client-key` are PEM files; the key is that of the first certificate";
        part.fields.document().find(finding.label("to this server").hint(hint), url.clone());
    }
}

#[cfg(feature = "postgres")]
fn usable(files: &ClientTlsFiles) -> Result<(), TlsError> {
    super::tls_client::client(files).map(drop)
}

#[cfg(not(feature = "postgres"))]
fn usable(_: &ClientTlsFiles) -> Result<(), TlsError> {
    Ok(())
}
