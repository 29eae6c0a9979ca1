//! Reads the configuration file and the files that it includes, and compiles them into [`Config`].
//!
//! The module opens no ledger, log or socket. Invariants: all mistakes are found in one run, each with file, line and
//! hint; code that takes a [`Config`] need not validate it again.

mod broad_categories;
mod credential;
mod deployment;
pub(crate) mod descriptors;
mod error_mapping;
mod files;
pub mod http_url;
mod issuer;
pub mod ledger;
mod lints;
mod mapping;
pub(crate) mod memory;
mod namespace;
mod notify;
mod observe;
pub mod pack;
mod rate;
mod recipient;
mod request;
mod route;
pub mod schema;
mod section;
mod stale;
mod status_endpoint;
mod terms;
mod texts;
mod tls;
pub mod tls_client;
mod whole_body;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderName;
use jiff::Timestamp;

pub use files::{IncludePattern, WatchList};
pub use issuer::IssuerSection;
pub use ledger::{LedgerSection, LedgerUrl};
#[cfg(feature = "cli")]
pub(crate) use notify::SECRET_PREFIX;
pub use section::{
    AccessLogSection, AdminActor, AdminActors, AdminRole, AdminSection, AuditSection, CheckpointSink,
    DrainSection, GatewayLog, HealthCheckSection, KeysSection, LimitsSection, ListenerLimits,
    ListenerSection, ListenerTls, LogKey, ProbesSection, PushSection, SinkServer, UpstreamHeaders,
    UpstreamOrigin, UpstreamSection, UpstreamTls,
};
pub use status_endpoint::{StatusEndpoint, status_endpoint};
pub use tls::crl::RevocationList;
#[cfg(test)]
pub(crate) use tls::server as tls_server;
pub use tls::{ClientAuthority, TlsError, TlsFiles, TlsServer, roots};

use self::deployment::DeploymentSection;
use self::files::FileText;
use self::pack::Packs;
use self::recipient::RegisteredRecipients;
use crate::document::{DeferredAllow, Document, Fields};
use crate::exchange::caller::Credentials;
use crate::exchange::route::{Recipient, Routes};
use crate::finding::{Finding, STATE_WARNINGS};
use crate::ledger::VocabularyTerms;
use crate::policy::Pack;
use crate::texts::PageTexts;
use crate::vocabulary::{Namespaces, Vocabulary};

/// Default of the header that carries the purpose.
const PURPOSE_HEADER: HeaderName = HeaderName::from_static("data-purpose");

/// A loaded configuration, with resolved paths, interned names and compiled mappings.
#[derive(Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// The files whose changes can change it.
    pub watch_list: WatchList,
    /// Digest of the configuration files, without the files of packs, TLS and token issuers. 64 hexadecimal digits.
    pub revision: Arc<str>,
    /// Vocabulary of the ledger's events.
    pub vocabulary: Arc<Vocabulary>,
    /// Rules by which ids of data subjects and controllers are read.
    pub namespaces: Arc<Namespaces>,
    /// Names of the namespaces. Events about any other namespace would have no effect.
    pub namespace_names: BTreeSet<Arc<str>>,
    /// Packs, the default one first. Each is a list of versions in the order of their effective dates.
    pub packs: Vec<Vec<Arc<Pack>>>,
    /// Name of this gateway in log records and among the gateways of a ledger.
    pub name: Arc<str>,
    /// Region that the gateway exports data from.
    pub exporter_region: Arc<str>,
    /// The languages of the pages that people receive.
    pub texts: Arc<PageTexts>,
    /// Header that carries the purpose of a request.
    pub purpose_header: HeaderName,
    /// Bounds of the whole process.
    pub limits: LimitsSection,
    /// Public listeners.
    pub listeners: Vec<ListenerSection>,
    /// The admin listener.
    pub admin: AdminSection,
    /// The ledger.
    pub ledger: LedgerSection,
    /// The disclosure log.
    pub audit: AuditSection,
    /// The access log. `None` if it is off.
    pub access_log: Option<AccessLogSection>,
    /// The key file.
    pub keys: KeysSection,
    /// Upstreams of all routes.
    pub upstreams: Vec<UpstreamSection>,
    /// Registered recipients.
    pub recipients: Vec<Arc<Recipient>>,
    /// Credentials of all recipients.
    pub credentials: Credentials,
    /// Token issuers whose keys the gateway fetches.
    pub issuers: Vec<IssuerSection>,
    /// Routes, compiled.
    pub routes: Routes,
    /// The probes listener. `None`: there is none.
    pub probes: Option<ProbesSection>,
    /// The times of a stop.
    pub drain: DrainSection,
    /// The warnings about the ledger and the logs that the file acknowledges. Loading does not read these.
    pub allow: DeferredAllow,
}

impl Config {
    /// Returns the terms with which the ledger's events are read.
    pub fn language(&self) -> Arc<VocabularyTerms> {
        Arc::new(VocabularyTerms::new(Arc::clone(&self.vocabulary), Arc::clone(&self.namespaces)))
    }
}

/// The process that a configuration is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    /// The gateway, which needs a listener.
    Gateway,
    /// An application that puts the layer around its own service and has its own listeners.
    Application,
}

/// Loads the configuration of a gateway. `None` if a finding is an error.
pub fn load(file: &Path) -> (Option<Config>, Vec<Finding>) {
    let (loaded, findings) = load_for(file, Host::Gateway);
    (loaded.ok(), findings)
}

/// Loads the configuration of an application that uses [`crate::layer`] without the gateway: as [`load`], but
/// `[listener]` may be missing. `None` if a finding is an error.
pub fn load_for_layer(file: &Path) -> (Option<Config>, Vec<Finding>) {
    let (loaded, findings) = load_for(file, Host::Application);
    (loaded.ok(), findings)
}

/// Loads the configuration of a gateway, as [`load`]. If a finding is an error, returns the files that were read or looked for,
/// because a change of one of them can mend it.
pub fn load_or_watch(file: &Path) -> (Result<Config, WatchList>, Vec<Finding>) {
    load_for(file, Host::Gateway)
}

fn load_for(file: &Path, host: Host) -> (Result<Config, WatchList>, Vec<Finding>) {
    let main = match FileText::read(file) {
        Ok(main) => main,
        Err(finding) => {
            let watch_list = WatchList::new(vec![file.to_owned()], BTreeSet::new(), Vec::new());
            return (Err(watch_list), vec![finding]);
        }
    };
    let main_document = Document::parse(&main.source);
    let mut root = main_document.root("the configuration");
    let (included, includes) = files::included(&mut root, main.folder());
    let documents: Vec<Document<'_>> = included.iter().map(|file| Document::parse(&file.source)).collect();
    let read = ConfigFiles::new(included.iter().chain([&main]), includes);
    let parts = included
        .iter()
        .zip(&documents)
        .map(|(file, document)| Part { fields: document.root("an included file"), folder: file.folder() });
    let (mut config, of_packs) =
        assemble(file, host, read, Part { fields: root, folder: main.folder() }, parts);
    let sound =
        of_packs.is_empty() && ![&main_document].into_iter().chain(&documents).any(Document::has_error);
    if sound {
        lints::check([&main_document].into_iter().chain(&documents), &config, Timestamp::now());
    }
    let (mut findings, allow) = main_document.into_findings_before(STATE_WARNINGS);
    config.allow = allow;
    findings.extend(documents.into_iter().flat_map(Document::into_findings).chain(of_packs));
    let failed = findings.iter().any(Finding::is_error);
    findings.retain(|finding| !failed || !lints::CODES_AFTER_LOADING.contains(&finding.code()));
    (if failed { Err(config.watch_list) } else { Ok(config) }, findings)
}

/// Paths and digest of the configuration files, and the patterns of `include`.
struct ConfigFiles {
    files: Vec<PathBuf>,
    includes: BTreeSet<IncludePattern>,
    revision: Arc<str>,
}

impl ConfigFiles {
    fn new<'f>(texts: impl Iterator<Item = &'f FileText>, includes: BTreeSet<IncludePattern>) -> ConfigFiles {
        let mut hasher = blake3::Hasher::new();
        let files = texts.map(|file| {
            let text = file.source.text();
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
            file.path.clone()
        });
        let files = files.collect();
        ConfigFiles { files, includes, revision: Arc::from(hasher.finalize().to_hex().as_str()) }
    }
}

/// The keys of one file, and the folder that its paths are relative to.
#[derive(Debug)]
struct Part<'d> {
    fields: Fields<'d>,
    folder: &'d Path,
}

/// Returns the files that the TLS section of a listener names.
fn tls_files(tls: &ListenerTls) -> Vec<PathBuf> {
    let TlsFiles { certificate, key, client_ca, crls, client_required: _ } = &tls.files;
    [certificate, key].into_iter().chain(client_ca).chain(crls).cloned().collect()
}

/// Returns the vocabulary that all packs share.
fn vocabulary_of(packs: &[Vec<Arc<Pack>>]) -> Arc<Vocabulary> {
    match packs.iter().flatten().next() {
        Some(default) => Arc::clone(default.vocabulary()),
        None => Arc::new(Vocabulary::standard()),
    }
}

/// Reads all sections of all files. Returns the findings about packs; those about the files are in their documents. If
/// any finding is an error, the configuration must not be used.
fn assemble<'d>(
    file: &Path,
    host: Host,
    read: ConfigFiles,
    mut main: Part<'d>,
    included: impl Iterator<Item = Part<'d>>,
) -> (Config, Vec<Finding>) {
    let now = Timestamp::now();
    let mut packs = Packs::read(&mut main, now);
    let DeploymentSection { name, exporter_region, organisation, language } =
        deployment::read(&mut main, &packs.terms(0));
    let texts = Arc::new(texts::read(&mut main, &packs.terms(0), language, organisation));
    let purpose_header = section::purpose_header(&mut main);
    let limits = section::limits(&mut main);
    let listeners = section::listeners(&mut main, host);
    let ledger = ledger::read(&mut main);
    let audit = section::audit(&mut main, &ledger.url);
    let keys = section::keys(&mut main, &ledger.url);
    let drain = section::drain(&mut main);
    let mut parts: Vec<Part<'d>> = [main].into_iter().chain(included).collect();
    let (rules, namespace_names) = namespace::read_all(&mut parts);
    packs.namespaces = rules;
    let namespaces = Arc::new(packs.namespaces.clone());
    let upstreams = section::upstreams(&mut parts, &purpose_header);
    let RegisteredRecipients { recipients, credentials, issuers, files: of_recipients } =
        recipient::read_all(&mut parts, &packs.terms(0), host);
    let routes = route::read_all(&mut parts, &mut packs, &upstreams, &recipients, &purpose_header, now);
    // Sections of the first file, read last: they depend on all packs and on the keys of all recipients.
    let access_log = parts.first_mut().and_then(|main| section::access_log(main, &packs, &audit));
    let admin = parts.first_mut().map(|main| section::admin(main, &credentials)).unwrap_or_default();
    let probes = parts.first_mut().and_then(|main| section::probes(main, &listeners, &admin));
    for mut part in parts {
        part.fields.allow();
        part.fields.end();
    }
    let (of_packs, packs, findings) = packs.into_parts();
    let ConfigFiles { mut files, includes, revision } = read;
    let tls = listeners.iter().map(|listener| &listener.tls).chain([&admin.tls]);
    files.extend(tls.flatten().flat_map(tls_files));
    files.extend(upstreams.all.iter().flat_map(UpstreamSection::files).cloned());
    files.extend(issuers.files.into_iter().chain(of_recipients));
    let vocabulary = vocabulary_of(&packs);
    let config = Config {
        file: file.to_owned(),
        watch_list: WatchList::new(files, includes, of_packs),
        revision,
        vocabulary,
        namespaces,
        namespace_names,
        packs,
        name,
        exporter_region,
        texts,
        purpose_header,
        limits,
        listeners,
        admin,
        ledger,
        audit,
        access_log,
        keys,
        upstreams: upstreams.all,
        recipients,
        credentials,
        issuers: issuers.fetched,
        routes,
        probes,
        drain,
        allow: DeferredAllow::default(),
    };
    (config, findings)
}
