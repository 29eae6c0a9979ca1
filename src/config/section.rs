//! The sections about the process: listeners, admin, ledger, audit, access log, keys, upstreams.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Uri};

use super::descriptors::DescriptorBudget;
use super::files::existing;
use super::ledger::LedgerUrl;
use super::pack::Packs;
use super::tls::{self, TlsError, TlsFiles, TlsServer};
use super::{Host, PURPOSE_HEADER, Part};
use crate::disclosure::{self, Durability};
use crate::document::{At, Document, Fields};
use crate::exchange::{MAX_EXCHANGES, exchanges_per_recipient, request_head};
use crate::finding::Finding;

/// Hint for certificate files that do not exist.
const CERTIFICATES: &str = "`purposegate certs dev --out certs/` makes development certificates";

/// `[[listener]]`: a public listener.
#[derive(Clone, Debug)]
pub struct ListenerSection {
    /// Address to bind.
    pub address: SocketAddr,
    /// Authorities that requests can be for. Empty: any.
    pub authorities: Vec<String>,
    /// Time for a request's body to arrive.
    pub request_timeout: Duration,
    /// Maximum number of exchanges under way.
    pub max_exchanges: usize,
    /// Maximum number of exchanges of one recipient under way.
    pub max_exchanges_per_recipient: usize,
    /// TLS. `None`: plaintext.
    pub tls: Option<ListenerTls>,
}

/// `[listener.tls]`: the files, and their content when they were read.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// Paths of the files.
    pub files: TlsFiles,
    /// The TLS configuration made of the files. An error is also a finding.
    pub server: Result<TlsServer, TlsError>,
    /// End of the certificate's validity, in seconds of Unix time. `None` if it cannot be read.
    pub not_after: Option<i64>,
}

/// `[admin]`: the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSection {
    /// Address to bind, on the loopback.
    pub address: SocketAddr,
}

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

/// `[keys]`: the key file.
#[derive(Clone, Debug)]
pub struct KeysSection {
    /// Path of the key file.
    pub path: PathBuf,
    /// Name of the epoch of pseudonyms. Pseudonymised values of two epochs cannot be joined.
    pub pseudonym_epoch: Option<Arc<str>>,
}

/// `[access-log]`: the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogSection {
    /// Folder of the log.
    pub directory: PathBuf,
    /// Number of days for which files are kept.
    pub days: u32,
}

/// `[[upstream]]`: an API behind the gateway.
#[derive(Clone, Debug)]
pub struct UpstreamSection {
    /// Name by which routes refer to it.
    pub name: Arc<str>,
    /// Host, and port if the URL has one.
    pub authority: String,
    /// Path prefix without a trailing slash; can be empty.
    pub prefix: String,
    /// True if it holds backups.
    pub backup: bool,
    /// Time for a connection to be established.
    pub connect_timeout: Duration,
    /// Time from the request to the head of the response.
    pub timeout: Duration,
    /// Time between two chunks of the response's body.
    pub idle_timeout: Duration,
    /// Maximum time spent waiting for the whole body of a response. Time in which the recipient accepts no data does
    /// not count.
    pub body_timeout: Duration,
    /// True if a connection can serve more than one request.
    pub reuse: bool,
}

/// Default retention of the access log, in days.
const ACCESS_LOG_DAYS: u32 = 15;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Names of one kind, such as routes. A name that occurs twice is a finding.
#[derive(Debug)]
pub(super) struct UniqueNames {
    what: &'static str,
    seen: HashSet<Arc<str>>,
}

impl UniqueNames {
    pub(super) fn of(what: &'static str) -> UniqueNames {
        UniqueNames { what, seen: HashSet::new() }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.seen.contains(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.seen.iter().map(|name| &**name)
    }

    pub(super) fn add(&mut self, document: &Document<'_>, name: &At<&str>) -> Arc<str> {
        let owned: Arc<str> = Arc::from(name.value);
        if !self.seen.insert(Arc::clone(&owned)) {
            let finding = Finding::error(
                "duplicate-name",
                format!("there are two {}s with the name `{owned}`", self.what),
            );
            let hint = "names are how routes, metrics and the log refer to them";
            document.find(finding.label("the second one").hint(hint), name.at.clone());
        }
        owned
    }
}

pub(super) fn purpose_header(part: &mut Part<'_>) -> HeaderName {
    let Some(name) = part.fields.text("purpose-header") else { return PURPOSE_HEADER };
    let prefetch = ["purpose", "x-purpose", "sec-purpose"];
    let taken = ["authorization", "cookie", "host", "idempotency-key", "origin", "x-api-key"];
    match name.value.parse::<HeaderName>() {
        Ok(header)
            if !prefetch.contains(&header.as_str())
                && !taken.contains(&header.as_str())
                && !header.as_str().starts_with("content-")
                && !header.as_str().starts_with("accept")
                && !request_head::is_hop_by_hop(&header) =>
        {
            header
        }
        _ => {
            let finding = Finding::error(
                "bad-purpose-header",
                format!("`{}` cannot be the purpose header", name.value),
            );
            let hint = "`Purpose`, `X-Purpose` and `Sec-Purpose` are sent by browsers for prefetch; what frames a \
                        message or carries a credential has its meaning";
            part.fields.document().find(finding.hint(hint), name.at);
            PURPOSE_HEADER
        }
    }
}

pub(super) fn drain(part: &mut Part<'_>) -> Duration {
    part.fields.duration("drain").unwrap_or(Duration::from_secs(30))
}

pub(super) fn listeners(part: &mut Part<'_>, host: Host) -> Vec<ListenerSection> {
    let tables = part.fields.tables("listener", "a listener");
    if tables.is_empty() && host == Host::Gateway {
        let finding = Finding::error("no-listener", "there is no `[listener]`").label("in this file");
        let finding = finding.hint("add `[listener]` with `address = \"127.0.0.1:8080\"`");
        part.fields.document().find(finding, part.fields.at());
    }
    let (document, at) = (part.fields.document(), tables.first().map(Fields::at));
    let listeners: Vec<ListenerSection> =
        tables.into_iter().filter_map(|fields| listener(part, fields)).collect();
    let exchanges = listeners.iter().map(|listener| listener.max_exchanges).sum();
    if let Some((complaint, at)) = DescriptorBudget::of_system(listeners.len(), exchanges).shortage().zip(at)
    {
        let hint = "raise it: `ulimit -Hn`, `LimitNOFILE=` of systemd, `nofile` of the container";
        document.find(Finding::warning("few-open-files", complaint).hint(hint), at);
    }
    listeners
}

fn listener(part: &Part<'_>, mut fields: Fields<'_>) -> Option<ListenerSection> {
    let document = fields.document();
    fields.allow();
    let address = fields.needed_text("address").and_then(|text| address(document, text));
    let authorities = fields.texts("authorities").iter().map(|name| name.value.to_owned()).collect();
    let request_timeout = fields.duration("request-timeout").unwrap_or(Duration::from_secs(30));
    let mut number = |key| Some(usize::try_from(fields.number(key)?.value).unwrap_or(usize::MAX));
    let max_exchanges = number("max-exchanges").unwrap_or(MAX_EXCHANGES);
    let max_exchanges_each = number("max-exchanges-per-recipient");
    let tls = fields.fields("tls", "`[listener.tls]`");
    let plaintext = tls.is_none();
    let tls = tls.and_then(|fields| listener_tls(part, fields));
    fields.end();
    let address = address?;
    if plaintext && !address.value.ip().is_loopback() {
        let finding =
            Finding::warning("plaintext-listener", "this listener speaks plaintext beyond the loopback");
        let hint = "add `[listener.tls]`: credentials and personal data travel in clear here";
        document.find(finding.label("reached from elsewhere").hint(hint), address.at);
    }
    Some(ListenerSection {
        address: address.value,
        authorities,
        request_timeout,
        max_exchanges,
        max_exchanges_per_recipient: max_exchanges_each.unwrap_or(exchanges_per_recipient(max_exchanges)),
        tls,
    })
}

fn listener_tls(part: &Part<'_>, mut fields: Fields<'_>) -> Option<ListenerTls> {
    let certificate = fields.needed_text("certificate").and_then(|file| existing(part, &file, CERTIFICATES));
    let key = fields.needed_text("key").and_then(|file| existing(part, &file, CERTIFICATES));
    let client_ca = fields.text("client-ca").and_then(|file| existing(part, &file, CERTIFICATES));
    let words = [("optional", false), ("required", true)];
    let demanded = fields.choice("client-certificate", &words);
    if demanded == Some(true) && client_ca.is_none() {
        fields.missing("client-ca");
    }
    let (document, at) = (fields.document(), fields.at());
    fields.end();
    let client_required = demanded.unwrap_or(false);
    let files = TlsFiles { certificate: certificate?, key: key?, client_ca, client_required };
    let server = tls::server(&files);
    if let Err(error) = &server {
        let words = format!("TLS cannot be set up: {error}");
        // A user who works on the ledger or tries a mapping need not be able to read the gateway's key.
        let finding = match error.denied {
            true => Finding::warning("unreadable-tls", words),
            false => Finding::error("bad-tls", words),
        };
        let hint =
            "`certificate`, `key` and `client-ca` are PEM files; the key is that of the first certificate";
        document.find(finding.label("of this listener").hint(hint), at);
    }
    let not_after = tls::not_after(&files.certificate);
    Some(ListenerTls { files, server, not_after })
}

pub(super) fn admin(part: &mut Part<'_>) -> AdminSection {
    let default = SocketAddr::from(([127, 0, 0, 1], 9901));
    let Some(mut fields) = part.fields.fields("admin", "`[admin]`") else {
        return AdminSection { address: default };
    };
    let document = fields.document();
    let configured = fields.text("address").and_then(|text| address(document, text));
    fields.end();
    let Some(At { value: address, at }) = configured else { return AdminSection { address: default } };
    if !address.ip().is_loopback() {
        // The admin API has no authentication of its own yet, so it stays on this machine.
        let finding = Finding::error(
            "admin-not-loopback",
            format!("the admin listener must be on the loopback, not on {}", address.ip()),
        );
        let hint = "use 127.0.0.1 and reach it through an authenticated tunnel";
        document.find(finding.label("reached from elsewhere").hint(hint), at);
    }
    AdminSection { address }
}

pub(super) fn audit(part: &mut Part<'_>) -> AuditSection {
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

/// Reads `[keys]`. The keys of a ledger in PostgreSQL are never created: each of its gateways would have its own.
pub(super) fn keys(part: &mut Part<'_>, ledger: &LedgerUrl) -> KeysSection {
    let mut keys = KeysSection { path: part.folder.join("data/keys"), pseudonym_epoch: None };
    let fields = part.fields.fields("keys", "`[keys]`");
    let (document, mut at) = (part.fields.document(), part.fields.at());
    let check = |path: &Path, at| {
        if matches!(ledger, LedgerUrl::Postgres(_)) && matches!(path.try_exists(), Ok(false)) {
            let words = format!("there is no key file {}", path.display());
            let hint = "all gateways of a ledger in PostgreSQL have the same keys: copy the file of another gateway, or \
                        make the first one as docs/configuration.md says";
            document.find(Finding::error("no-such-file", words).label("not there").hint(hint), at);
        }
    };
    let Some(mut fields) = fields else {
        check(&keys.path, at);
        return keys;
    };
    if let Some(file) = fields.text("file") {
        keys.path = part.folder.join(file.value);
        at = file.at;
    }
    check(&keys.path, at);
    keys.pseudonym_epoch = fields.text("pseudonym-epoch").map(|epoch| Arc::from(epoch.value));
    fields.end();
    keys
}

/// Reads `[access-log]`. The retention must not exceed the shortest one that a pack allows (P-7c).
pub(super) fn access_log(part: &mut Part<'_>, packs: &Packs) -> Option<AccessLogSection> {
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

/// The upstreams of all files.
#[derive(Debug)]
pub(super) struct ConfiguredUpstreams {
    pub(super) all: Vec<UpstreamSection>,
    /// Names of all upstreams, including those with errors: a route that names one of these is not wrong itself.
    pub(super) names: UniqueNames,
}

pub(super) fn upstreams(parts: &mut [Part<'_>]) -> ConfiguredUpstreams {
    let mut names = UniqueNames::of("upstream");
    let tables = parts.iter_mut().flat_map(|part| part.fields.tables("upstream", "an upstream"));
    let all = tables.filter_map(|fields| upstream(fields, &mut names)).collect();
    ConfiguredUpstreams { all, names }
}

fn upstream(mut fields: Fields<'_>, names: &mut UniqueNames) -> Option<UpstreamSection> {
    let document = fields.document();
    fields.allow();
    let name = fields.needed_text("name").map(|name| names.add(document, &name));
    let url = fields.needed_text("url").and_then(|url| origin(document, &url));
    let backup = fields.flag("backup") == Some(true);
    let connect_timeout = fields.duration("connect-timeout").unwrap_or(Duration::from_secs(2));
    let timeout = fields.duration("timeout").unwrap_or(Duration::from_secs(30));
    let idle_timeout = fields.duration("idle-timeout").unwrap_or(Duration::from_secs(30));
    let body_timeout = fields.duration("body-timeout").unwrap_or(Duration::from_secs(600));
    let reuse = fields.flag("reuse") != Some(false);
    fields.end();
    let (authority, prefix) = url?;
    let name = name?;
    Some(UpstreamSection {
        name,
        authority,
        prefix,
        backup,
        connect_timeout,
        timeout,
        idle_timeout,
        body_timeout,
        reuse,
    })
}

/// Reads the URL of an upstream. Returns its authority and path prefix.
fn origin(document: &Document<'_>, url: &At<&str>) -> Option<(String, String)> {
    let uri = url.value.parse::<Uri>().ok();
    let usable = uri.filter(|uri| uri.scheme_str() == Some("http") && uri.query().is_none());
    let origin = usable.and_then(|uri| {
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        Some((authority.to_string(), uri.path().trim_end_matches('/').to_owned()))
    });
    if origin.is_none() {
        let finding = Finding::error("bad-upstream-url", "this is not the URL of an upstream");
        let hint = "write `http://host:port`, without user and query; TLS to upstreams is not there yet";
        document.find(finding.hint(hint), url.at.clone());
    }
    origin
}

fn address(document: &Document<'_>, text: At<&str>) -> Option<At<SocketAddr>> {
    let parsed = text.value.parse().ok();
    if parsed.is_none() {
        let finding = Finding::error("bad-address", "this is not an address");
        let hint = "write an IP address and a port, for example `0.0.0.0:8443` or `[::1]:8080`";
        document.find(finding.hint(hint), text.at.clone());
    }
    Some(At { value: parsed?, at: text.at })
}
