//! Reads the folders of policy packs. It knows the names of the files; [`crate::policy`] reads their content.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::Part;
use super::terms::PackTerms;
use crate::document::{At, Document, Fields};
use crate::finding::{Finding, Source};
use crate::policy::{Pack, versioning};
use crate::vocabulary::{Namespaces, Vocabulary};

/// The packs of a configuration, each read once. The first is the default.
#[derive(Debug)]
pub(super) struct Packs {
    all: Vec<ConfiguredPack>,
    /// Rules by which ids are read; the same for all packs.
    pub(super) namespaces: Namespaces,
    /// The standard vocabulary, which replaces the vocabulary of an unreadable pack.
    standard: Vocabulary,
    /// The instant for which the version in force is determined.
    now: Timestamp,
    findings: Vec<Finding>,
}

/// A pack that the configuration names.
#[derive(Debug)]
struct ConfiguredPack {
    /// One folder for each version.
    folders: Vec<PathBuf>,
    content: PackContent,
}

impl ConfiguredPack {
    /// Returns the versions in the order of their effective dates; none if the pack has errors.
    fn versions(&self) -> &[Arc<Pack>] {
        match &self.content {
            PackContent::Loaded(versions) => versions,
            PackContent::VocabularyOnly(_) | PackContent::Nothing => &[],
        }
    }
}

#[derive(Debug)]
enum PackContent {
    /// All versions, in the order of their effective dates.
    Loaded(Vec<Arc<Pack>>),
    /// Some version has errors, but its vocabulary can be read.
    VocabularyOnly(Box<Vocabulary>),
    Nothing,
}

impl Packs {
    /// Loads the default pack, which the first file names.
    pub(super) fn read(main: &mut Part<'_>, now: Timestamp) -> Packs {
        let mut packs = Packs {
            all: Vec::new(),
            namespaces: Namespaces::default(),
            standard: Vocabulary::standard(),
            now,
            findings: Vec::new(),
        };
        if packs.load_named(main).is_none() {
            main.fields.missing("policy");
            // The default pack has the first position even if it is missing.
            packs.all.push(ConfiguredPack { folders: Vec::new(), content: PackContent::Nothing });
        }
        packs
    }

    /// Loads the pack that the key `policy` names. Returns its position in the list; `None` if there is no such key.
    pub(super) fn load_named(&mut self, part: &mut Part<'_>) -> Option<usize> {
        let (folder, fields) = (part.folder, &mut part.fields);
        self.load_named_in(folder, fields)
    }

    /// Loads the pack that the key `policy` of a table names. The key names one folder, or a list with a folder for
    /// each version.
    pub(super) fn load_named_in(&mut self, base: &Path, fields: &mut Fields<'_>) -> Option<usize> {
        let named = fields.texts("policy");
        if named.is_empty() {
            return None;
        }
        let folders: Vec<PathBuf> = named.iter().map(|named| resolve(base, named.value)).collect();
        let there: Vec<bool> = folders.iter().map(|folder| folder.join("pack.toml").is_file()).collect();
        for ((named, folder), there) in named.iter().zip(&folders).zip(&there) {
            if !there {
                let finding = Finding::error(
                    "no-policy-pack",
                    format!("there is no policy pack in {}", folder.display()),
                );
                let hint = "name a folder with a `pack.toml`; `purposegate policy new DIR` writes one";
                fields.document().find(finding.label("no pack").hint(hint), named.at.clone());
            }
        }
        if let Some(position) = self.all.iter().position(|known| known.folders == folders) {
            return Some(position);
        }
        let content = match there.contains(&false) {
            true => PackContent::Nothing,
            false => self.read_content(&folders, fields.document(), &named),
        };
        self.all.push(ConfiguredPack { folders, content });
        Some(self.all.len() - 1)
    }

    fn read_content(
        &mut self,
        folders: &[PathBuf],
        document: &Document<'_>,
        named: &[At<&str>],
    ) -> PackContent {
        let mut versions = Vec::new();
        let mut failed = None;
        for (folder, named) in folders.iter().zip(named) {
            match read_pack(folder) {
                Ok(pack) => versions.push((Arc::new(pack), named.at.clone())),
                Err(findings) => {
                    let (of_files, of_pack): (Vec<_>, Vec<_>) =
                        findings.into_iter().partition(Finding::has_place);
                    self.findings.extend(of_files);
                    // Something that a pack lacks, or that cannot be read, has no place but the key that names the pack.
                    for finding in of_pack {
                        document.find(finding.label("in this pack"), named.at.clone());
                    }
                    failed = failed.or(Some(folder));
                }
            }
        }
        if let Some(folder) = failed {
            return words(folder)
                .map_or(PackContent::Nothing, |words| PackContent::VocabularyOnly(Box::new(words)));
        }
        versions.sort_by_key(|(pack, _)| pack.manifest().effective);
        for (finding, at) in versioning::sequence_findings(&versions, self.now) {
            document.find(finding, at);
        }
        self.check_vocabulary(&versions, document);
        PackContent::Loaded(versions.into_iter().map(|(pack, _)| pack).collect())
    }

    /// Checks that the vocabulary of a pack is that of the default pack. Ledger and recipients use the default pack's terms; with
    /// another vocabulary a purpose would be judged by the consent to another purpose.
    fn check_vocabulary(&self, versions: &[(Arc<Pack>, Range<usize>)], document: &Document<'_>) {
        let mut loaded = self.all.iter().flat_map(ConfiguredPack::versions);
        let Some(default) = loaded.next().or(versions.first().map(|(pack, _)| pack)) else { return };
        let differs = |(pack, _): &&(Arc<Pack>, Range<usize>)| {
            pack.vocabulary().digest() != default.vocabulary().digest()
        };
        let Some((other, at)) = versions.iter().find(differs) else { return };
        let (title, default) = (&other.manifest().title, &default.manifest().title);
        let finding = Finding::error(
            "packs-differ-in-words",
            format!(
                "the vocabulary of the pack \"{title}\" differs from that of the default pack \"{default}\""
            ),
        );
        let hint = "make the `[vocabulary]` of all packs of one configuration the same";
        document.find(finding.label("has other words").hint(hint), at.clone());
    }

    /// Returns the shortest limit that a pack sets for the retention of the access log, in days, and that pack's title.
    pub(super) fn access_log_limit(&self) -> Option<(u32, String)> {
        let limits = self.all.iter().flat_map(ConfiguredPack::versions).filter_map(|pack| {
            let days = pack.manifest().access_log_limit?.as_hours() / 24;
            Some((u32::try_from(days).unwrap_or(0), pack.manifest().title.clone()))
        });
        limits.min_by_key(|(days, _)| *days)
    }

    /// Returns the versions of the pack at a position; none if it has errors.
    pub(super) fn versions(&self, position: usize) -> &[Arc<Pack>] {
        self.all.get(position).map(ConfiguredPack::versions).unwrap_or_default()
    }

    /// Returns the terms of the pack at a position.
    pub(super) fn terms(&self, position: usize) -> PackTerms<'_> {
        let namespaces = &self.namespaces;
        match self.all.get(position).map(|known| &known.content) {
            Some(PackContent::Loaded(versions)) => match versions.first() {
                Some(pack) => PackTerms { vocabulary: pack.vocabulary(), complete: true, namespaces },
                None => PackTerms { vocabulary: &self.standard, complete: false, namespaces },
            },
            Some(PackContent::VocabularyOnly(vocabulary)) => {
                PackTerms { vocabulary, complete: true, namespaces }
            }
            Some(PackContent::Nothing) | None => {
                PackTerms { vocabulary: &self.standard, complete: false, namespaces }
            }
        }
    }

    /// Returns the folders, the versions of each pack, and the findings about packs. If there are no findings, the
    /// positions that [`Packs::load_named`] returned are valid in the list of packs.
    pub(super) fn into_parts(self) -> (Vec<PathBuf>, Vec<Vec<Arc<Pack>>>, Vec<Finding>) {
        let mut folders = Vec::new();
        let mut packs = Vec::new();
        for known in self.all {
            folders.extend(known.folders);
            if let PackContent::Loaded(versions) = known.content {
                packs.push(versions);
            }
        }
        (folders, packs, self.findings)
    }
}

/// Reads the vocabulary of a pack with errors, if the vocabulary itself has no error. The errors were reported when the
/// pack was read.
fn words(folder: &Path) -> Option<Vocabulary> {
    let file = folder.join("pack.toml");
    let source = Source::new(file.display().to_string(), std::fs::read_to_string(&file).ok()?);
    let document = Document::parse(&source);
    let vocabulary = Vocabulary::of_pack(&mut document.root("the pack"));
    document.into_findings().is_empty().then_some(vocabulary)
}

/// Returns a pack's folder: relative to the file that names it, or else to the working directory.
fn resolve(folder: &Path, named: &str) -> PathBuf {
    let beside = folder.join(named);
    let here = PathBuf::from(named);
    if !beside.exists() && here.exists() { here } else { beside }
}

/// Reads and loads the pack in a folder: its `pack.toml` and every `.cedar` file beside it.
///
/// # Errors
/// All findings about the pack.
pub fn read_pack(folder: &Path) -> Result<Pack, Vec<Finding>> {
    Pack::load(&sources(folder)?)
}

/// Reads the texts that make up a pack.
///
/// # Errors
/// The files that cannot be read.
pub fn sources(folder: &Path) -> Result<Vec<Source>, Vec<Finding>> {
    let mut files = vec![folder.join("pack.toml")];
    files.extend(listed(folder, "cedar")?);
    read_all(&files)
}

/// Reads the scenario files of a pack: those of its base, then `scenarios/*.toml` in the order of their names.
///
/// # Errors
/// The files that cannot be read.
pub fn scenarios(folder: &Path, pack: &Pack) -> Result<Vec<Source>, Vec<Finding>> {
    let scenarios = folder.join("scenarios");
    if !scenarios.exists() {
        let words = format!("this pack has no scenarios: there is no folder {}", scenarios.display());
        let hint = "write them in `scenarios/*.toml`, or name their files";
        return Err(vec![Finding::error("no-scenario", words).hint(hint)]);
    }
    let own = read_all(&listed(&scenarios, "toml")?)?;
    Ok(pack.base_scenarios().into_iter().chain(own).collect())
}

/// Reads files.
///
/// # Errors
/// The files that cannot be read.
pub fn read_all(files: &[PathBuf]) -> Result<Vec<Source>, Vec<Finding>> {
    let (mut sources, mut findings) = (Vec::new(), Vec::new());
    for file in files {
        match std::fs::read_to_string(file) {
            Ok(text) => sources.push(Source::new(file.display().to_string(), text)),
            Err(error) => findings
                .push(Finding::error("unreadable-file", format!("cannot read {}: {error}", file.display()))),
        }
    }
    if findings.is_empty() { Ok(sources) } else { Err(findings) }
}

fn listed(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Vec<Finding>> {
    let unreadable = |error: std::io::Error| {
        vec![Finding::error(
            "unreadable-folder",
            format!("cannot read the folder {}: {error}", folder.display()),
        )]
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Renders findings as the operator sees them.
    fn report(findings: &[Finding]) -> String {
        let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none());
        let mut text = String::new();
        for finding in findings {
            handler.render_report(&mut text, finding).unwrap();
        }
        text
    }

    #[test]
    fn both_packs_load() {
        for name in ["one-partner-360", "perspectium"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name);
            let pack = read_pack(&folder).unwrap_or_else(|findings| panic!("{}", report(&findings)));
            assert!(pack.rulebook().rules().len() > 50);
        }
    }

    #[test]
    fn a_folder_without_a_pack_says_so() {
        let empty = tempfile::tempdir().unwrap();
        assert!(report(&read_pack(empty.path()).unwrap_err()).contains("pack.toml"));
        assert!(report(&read_pack(&empty.path().join("nowhere")).unwrap_err()).contains("nowhere"));
    }
}
