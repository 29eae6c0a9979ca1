//! The configuration file, parsed into what runs. Everything that can be wrong is said here, all of
//! it in one go; after that nobody validates.

mod credential;
mod mapping;
pub mod pack;
mod recipient;
mod route;
mod section;
mod unit;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use toml::Spanned;
use toml::de::DeTable;

pub use section::{Admin, Audit, LedgerFile, Listener, ListenerTls, Upstream};

use crate::finding::{Finding, Findings, Source, Table};
use crate::layer::identity::Credentials;
use crate::layer::route::{Recipient, Routes};
use crate::policy::Pack;
use crate::vocabulary::Vocabulary;

/// The header that carries the purpose where the configuration names no other.
const PURPOSE_HEADER: HeaderName = HeaderName::from_static("data-purpose");

/// A loaded configuration: paths resolved, names interned, mappings compiled.
#[derive(Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// The folders whose files make up the configuration.
    pub folders: Vec<PathBuf>,
    /// The words of the ledger's events.
    pub vocabulary: Arc<Vocabulary>,
    /// The first is the default.
    pub packs: Vec<Arc<Pack>>,
    /// Where the gateway exports from.
    pub exporter_region: Arc<str>,
    pub purpose_header: HeaderName,
    pub listeners: Vec<Listener>,
    pub admin: Admin,
    pub ledger: LedgerFile,
    pub audit: Audit,
    pub keys: PathBuf,
    pub upstreams: Vec<Upstream>,
    pub recipients: Vec<Arc<Recipient>>,
    pub credentials: Credentials,
    pub routes: Routes,
    pub drain: Duration,
}

/// Loads a configuration. `None` where a finding is an error.
pub fn load(file: &Path) -> (Option<Config>, Vec<Finding>) {
    let findings = Findings::default();
    let sources = read_sources(file, &findings);
    let documents: Vec<Spanned<DeTable<'_>>> =
        sources.iter().map(|source| Table::document(&source.source, &findings)).collect();
    let tables: Vec<Part<'_>> = sources
        .iter()
        .zip(&documents)
        .map(|(source, document)| Part {
            table: Table::new(&source.source, &findings, document),
            folder: source.path.parent().unwrap_or(Path::new(".")),
        })
        .collect();
    let config = assemble(file, &sources, &tables, &findings);
    let config = if findings.any_error() { None } else { config };
    drop(tables);
    drop(documents);
    (config, findings.into_vec())
}

/// Whether an event in a watched folder can change the configuration.
pub fn is_change(event: &notify::Event) -> bool {
    let written = event.kind.is_modify() || event.kind.is_create() || event.kind.is_remove();
    let ours = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml" || extension == "cedar" || extension == "pem");
    written && event.paths.iter().any(ours)
}

/// One file of the configuration.
#[derive(Debug)]
struct FileText {
    path: PathBuf,
    source: Source,
}

/// One file's table, and the folder its paths are relative to.
#[derive(Debug)]
struct Part<'d> {
    table: Table<'d>,
    folder: &'d Path,
}

fn assemble(file: &Path, sources: &[FileText], parts: &[Part<'_>], findings: &Findings) -> Option<Config> {
    let main = parts.first()?;
    let mut packs = pack::Packs::default();
    let default = main.table.required_text("policy").and_then(|folder| packs.load(main, folder));
    let vocabulary = packs.vocabulary().unwrap_or_else(|| Arc::new(Vocabulary::standard()));
    let exporter_region = section::exporter_region(main);
    let purpose_header = section::purpose_header(main);
    let listeners = section::listeners(main);
    let admin = section::admin(main);
    let ledger = section::ledger(main);
    let audit = section::audit(main);
    let keys = section::keys(main);
    let drain = section::drain(main);
    let upstreams: Vec<Upstream> = parts.iter().flat_map(section::upstreams).collect();
    section::report_twins(findings, upstreams.iter().map(|upstream| &upstream.name), "upstream");
    let mut config = Config {
        file: file.to_owned(),
        folders: sources.iter().filter_map(|source| source.path.parent()).map(unit::or_here).collect(),
        vocabulary,
        packs: Vec::new(),
        exporter_region,
        purpose_header,
        listeners,
        admin,
        ledger,
        audit,
        keys,
        upstreams,
        recipients: Vec::new(),
        credentials: Credentials::default(),
        routes: Routes::default(),
        drain,
    };
    if let Some(default) = default {
        let default = packs.get(default)?;
        recipient::read_all(parts, &default, &mut config);
        route::read_all(parts, &mut packs, &mut config);
    } else {
        // What rests on the vocabulary cannot be judged without a pack; what does not was.
        for key in ["recipient", "route", "schema"] {
            parts.iter().for_each(|part| drop(part.table.value(key)));
        }
    }
    let (folders, packs) = packs.into_parts();
    config.folders.extend(folders);
    config.folders.sort();
    config.folders.dedup();
    config.packs = packs;
    for part in parts {
        part.table.value("include");
        part.table.report_unknown();
    }
    Some(config)
}

/// The file and what it includes. A file that does not read is a finding.
fn read_sources(file: &Path, findings: &Findings) -> Vec<FileText> {
    let Some(main) = read_source(file, findings) else { return Vec::new() };
    let folder = file.parent().unwrap_or(Path::new("."));
    // Its findings are made again when the table is read for good; these are dropped.
    let scratch = Findings::default();
    let document = Table::document(&main.source, &scratch);
    let table = Table::new(&main.source, findings, &document);
    let patterns = table.texts("include").unwrap_or_default();
    let mut included = Vec::new();
    for pattern in patterns {
        match unit::expand(folder, &pattern.value) {
            Ok(paths) => included.extend(paths.iter().filter_map(|path| read_source(path, findings))),
            Err(why) => findings.push(table.error(pattern.span, why).label("includes nothing that can be read")),
        }
    }
    drop(table);
    drop(document);
    let mut sources = vec![main];
    sources.append(&mut included);
    sources
}

fn read_source(path: &Path, findings: &Findings) -> Option<FileText> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(FileText { path: path.to_owned(), source: Source::new(path.display().to_string(), text) }),
        Err(error) => {
            findings.push(
                Finding::error(format!("{} cannot be read: {error}", path.display()))
                    .hint("check the path and that the file is UTF-8 and readable by this user"),
            );
            None
        }
    }
}
