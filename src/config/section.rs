//! The sections that need no vocabulary: listeners, admin, ledger, log, keys, upstreams.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Uri};

use super::{PURPOSE_HEADER, Part, unit};
use crate::disclosure::Durability;
use crate::finding::{Finding, Findings, Table};

/// A public listener.
#[derive(Clone, Debug)]
pub struct Listener {
    pub address: SocketAddr,
    /// Empty: any one well-formed authority.
    pub authorities: Vec<String>,
    /// Time for a request's body to arrive.
    pub request_timeout: Duration,
    /// Exchanges under way at a time.
    pub max_exchanges: usize,
    pub tls: Option<ListenerTls>,
}

/// The certificate of a listener, and whose client certificates it accepts.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Admin {
    pub address: SocketAddr,
}

/// The embedded ledger.
#[derive(Clone, Debug)]
pub struct LedgerFile {
    pub path: PathBuf,
    pub max_staleness: Duration,
}

/// The disclosure log.
#[derive(Clone, Debug)]
pub struct Audit {
    pub directory: PathBuf,
    pub durability: Durability,
    pub retention: Duration,
}

/// An API behind the gateway.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub name: Arc<str>,
    /// `http` scheme, host and port.
    pub authority: String,
    /// A path prefix without a trailing slash.
    pub prefix: String,
    pub backup: bool,
    pub connect_timeout: Duration,
    /// From the request to the head of the answer.
    pub timeout: Duration,
    /// Between two chunks of the answer's body.
    pub idle_timeout: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn exporter_region(part: &Part<'_>) -> Arc<str> {
    let region = part.table.table("deployment").and_then(|table| {
        let region = table.text("exporter-region");
        table.report_unknown();
        region
    });
    region.map_or_else(|| Arc::from("EEA"), |region| Arc::from(region.value))
}

pub(super) fn purpose_header(part: &Part<'_>) -> HeaderName {
    let Some(name) = part.table.text("purpose-header") else { return PURPOSE_HEADER };
    let never = ["purpose", "x-purpose", "sec-purpose"];
    match name.value.parse::<HeaderName>() {
        Ok(header) if !never.contains(&header.as_str()) => header,
        _ => {
            let finding = part.table.error(name.span, "this cannot be the purpose header");
            part.table.findings().push(finding.hint("`Purpose`, `X-Purpose` and `Sec-Purpose` are sent by browsers for prefetch"));
            PURPOSE_HEADER
        }
    }
}

pub(super) fn drain(part: &Part<'_>) -> Duration {
    unit::duration(&part.table, "drain", Duration::from_secs(30))
}

pub(super) fn listeners(part: &Part<'_>) -> Vec<Listener> {
    let tables = part.table.tables("listener");
    if tables.is_empty() {
        let finding = part.table.error(part.table.span(), "there is no `[listener]`").label("in this file");
        part.table.findings().push(finding.hint("add `[listener]` with `address = \"127.0.0.1:8080\"`"));
    }
    tables.iter().filter_map(|table| listener(part, table)).collect()
}

fn listener(part: &Part<'_>, table: &Table<'_>) -> Option<Listener> {
    let address = address(table, "address");
    let authorities = table.texts("authorities").unwrap_or_default().into_iter().map(|at| at.value).collect();
    let request_timeout = unit::duration(table, "request-timeout", Duration::from_secs(30));
    let max_exchanges = table.integer("max-exchanges").and_then(|at| usize::try_from(at.value).ok()).unwrap_or(1024);
    let tls = table.table("tls").map(|tls| {
        let certificate = file(part, &tls, "certificate");
        let key = file(part, &tls, "key");
        let client_ca = tls.text("client-ca").and_then(|at| existing(part, &tls, &at.value, at.span));
        tls.report_unknown();
        Some(ListenerTls { certificate: certificate?, key: key?, client_ca })
    });
    table.report_unknown();
    let address = address?;
    if tls.is_none() && !address.ip().is_loopback() {
        let span = table.span();
        let finding = Finding::warning("this listener speaks plaintext beyond the loopback").at(table.source(), span);
        table.findings().push(finding.hint("add `[listener.tls]`: credentials and personal data travel in clear here"));
    }
    Some(Listener { address, authorities, request_timeout, max_exchanges, tls: tls.flatten() })
}

pub(super) fn admin(part: &Part<'_>) -> Admin {
    let default = SocketAddr::from(([127, 0, 0, 1], 9901));
    let Some(table) = part.table.table("admin") else { return Admin { address: default } };
    let configured = table.text("address").and_then(|at| parse_address(&table, &at.value, at.span));
    table.report_unknown();
    if let Some(address) = configured.filter(|address| !address.ip().is_loopback()) {
        // The admin API has no authentication of its own yet, so it does not leave the machine.
        let finding = table.error(table.span(), format!("the admin listener must be on the loopback, not on {}", address.ip()));
        table.findings().push(finding.hint("use 127.0.0.1 and reach it through an authenticated tunnel"));
    }
    Admin { address: configured.unwrap_or(default) }
}

pub(super) fn ledger(part: &Part<'_>) -> LedgerFile {
    let table = part.table.table("ledger");
    let mut path = unit::resolve(part.folder, "data/ledger.db");
    let mut max_staleness = Duration::from_secs(2);
    if let Some(table) = table {
        if let Some(url) = table.text("url") {
            match url.value.strip_prefix("sqlite:") {
                Some(file) if !file.is_empty() => path = unit::resolve(part.folder, file),
                _ => {
                    let finding = table.error(url.span, "this is not a ledger that this version can open");
                    table.findings().push(finding.hint("write `sqlite:` and a path, for example `sqlite:data/ledger.db`"));
                }
            }
        }
        max_staleness = unit::duration(&table, "max-staleness", max_staleness);
        table.report_unknown();
    }
    LedgerFile { path, max_staleness }
}

pub(super) fn audit(part: &Part<'_>) -> Audit {
    let mut audit = Audit {
        directory: unit::resolve(part.folder, "data/audit"),
        durability: Durability::BeforeRelease,
        retention: 400 * DAY,
    };
    let Some(table) = part.table.table("audit") else { return audit };
    if let Some(directory) = table.text("directory") {
        audit.directory = unit::resolve(part.folder, &directory.value);
    }
    audit.durability = choice(
        &table,
        "durability",
        &[("before-release", Durability::BeforeRelease), ("batched", Durability::Batched)],
        audit.durability,
    );
    audit.retention = unit::duration(&table, "retention", audit.retention);
    table.report_unknown();
    audit
}

pub(super) fn keys(part: &Part<'_>) -> PathBuf {
    let file = part.table.table("keys").and_then(|table| {
        let file = table.text("file");
        table.report_unknown();
        file
    });
    unit::resolve(part.folder, file.as_ref().map_or("data/keys", |file| &file.value))
}

pub(super) fn upstreams(part: &Part<'_>) -> Vec<Upstream> {
    part.table.tables("upstream").iter().filter_map(upstream).collect()
}

fn upstream(table: &Table<'_>) -> Option<Upstream> {
    let name = table.required_text("name");
    let url = table.required_text("url");
    let backup = table.flag("backup").is_some_and(|at| at.value);
    let connect_timeout = unit::duration(table, "connect-timeout", Duration::from_secs(2));
    let timeout = unit::duration(table, "timeout", Duration::from_secs(30));
    let idle_timeout = unit::duration(table, "idle-timeout", Duration::from_secs(30));
    table.report_unknown();
    let url = url?;
    let parsed = url.value.parse::<Uri>().ok().filter(|uri| {
        uri.scheme_str() == Some("http") && uri.query().is_none() && uri.authority().is_some_and(|a| !a.as_str().contains('@'))
    });
    let Some(parsed) = parsed else {
        let finding = table.error(url.span, "this is not the URL of an upstream");
        table.findings().push(finding.hint("write `http://host:port`, without user and query; TLS to upstreams is not there yet"));
        return None;
    };
    Some(Upstream {
        name: Arc::from(name?.value),
        authority: parsed.authority()?.to_string(),
        prefix: parsed.path().trim_end_matches('/').to_owned(),
        backup,
        connect_timeout,
        timeout,
        idle_timeout,
    })
}

/// Two things of one kind with the same name.
pub(super) fn report_twins<'n>(findings: &Findings, names: impl Iterator<Item = &'n Arc<str>>, what: &str) {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(Arc::clone(name)) {
            findings.push(Finding::error(format!("there are two {what}s with the name `{name}`")).hint("names are how metrics, logs and routes refer to them"));
        }
    }
}

/// One of a closed list of words.
pub(super) fn choice<T: Copy>(table: &Table<'_>, key: &'static str, words: &[(&str, T)], default: T) -> T {
    let Some(text) = table.text(key) else { return default };
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
        return *value;
    }
    let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
    let finding = table.error(text.span, format!("`{}` is not a value of `{key}`", text.value));
    table.findings().push(finding.hint(format!("it is one of {}", known.join(", "))));
    default
}

fn address(table: &Table<'_>, key: &'static str) -> Option<SocketAddr> {
    let at = table.required_text(key)?;
    parse_address(table, &at.value, at.span)
}

fn parse_address(table: &Table<'_>, text: &str, span: std::ops::Range<usize>) -> Option<SocketAddr> {
    let parsed = text.parse();
    if parsed.is_err() {
        let finding = table.error(span, "this is not an address");
        table.findings().push(finding.hint("write an IP address and a port, for example `0.0.0.0:8443` or `[::1]:8080`"));
    }
    parsed.ok()
}

fn file(part: &Part<'_>, table: &Table<'_>, key: &'static str) -> Option<PathBuf> {
    let at = table.required_text(key)?;
    existing(part, table, &at.value, at.span)
}

fn existing(part: &Part<'_>, table: &Table<'_>, path: &str, span: std::ops::Range<usize>) -> Option<PathBuf> {
    let path = unit::resolve(part.folder, path);
    if path.is_file() {
        return Some(path);
    }
    let finding = table.error(span, format!("there is no file {}", path.display()));
    table.findings().push(finding.hint("`purposegate certs dev --out certs/` makes development certificates"));
    None
}
