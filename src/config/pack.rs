//! A policy pack's folder, read.
//!
//! It knows file names; what is in the files is for [`crate::policy`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Part, unit};
use crate::finding::{At, Finding, Source};
use crate::policy::Pack;
use crate::vocabulary::Vocabulary;

/// The packs of a configuration, each loaded once; the first is the default.
#[derive(Debug, Default)]
pub(super) struct Packs(Vec<(PathBuf, Arc<Pack>)>);

impl Packs {
    /// Loads the pack in a folder that the configuration names, and says where it stands in the list.
    pub(super) fn load(&mut self, part: &Part<'_>, named: At<String>) -> Option<usize> {
        let folder = resolve(part.folder, &named.value);
        if let Some(position) = self.0.iter().position(|(known, _)| *known == folder) {
            return Some(position);
        }
        if !folder.join("pack.toml").is_file() {
            let finding = part.table.error(named.span, format!("there is no policy pack in {}", folder.display()));
            part.table.findings().push(finding.hint("name a folder with a `pack.toml`, for example `policies/one-partner-360`"));
            return None;
        }
        match read_pack(&folder) {
            Ok(pack) => {
                self.0.push((folder, Arc::new(pack)));
                Some(self.0.len() - 1)
            }
            Err(findings) => {
                part.table.findings().extend(findings);
                None
            }
        }
    }

    pub(super) fn get(&self, position: usize) -> Option<Arc<Pack>> {
        self.0.get(position).map(|(_, pack)| Arc::clone(pack))
    }

    /// The default pack's words: events of the ledger are read with them.
    pub(super) fn vocabulary(&self) -> Option<Arc<Vocabulary>> {
        self.0.first().map(|(_, pack)| Arc::clone(pack.vocabulary()))
    }

    /// The folders and the packs, in the order of loading.
    pub(super) fn into_parts(self) -> (Vec<PathBuf>, Vec<Arc<Pack>>) {
        self.0.into_iter().unzip()
    }
}

/// A pack's folder: beside the file that names it, else in the working directory.
fn resolve(folder: &Path, named: &str) -> PathBuf {
    let beside = unit::resolve(folder, named);
    let here = PathBuf::from(named);
    if !beside.exists() && here.exists() { here } else { beside }
}

/// Reads and loads the pack in a folder: its `pack.toml` and every `.cedar` file beside it.
///
/// # Errors
/// Everything that is wrong, all at once.
pub fn read_pack(folder: &Path) -> Result<Pack, Vec<Finding>> {
    Pack::load(&sources(folder)?)
}

/// The texts that make up a pack.
///
/// # Errors
/// The files that cannot be read.
pub fn sources(folder: &Path) -> Result<Vec<Source>, Vec<Finding>> {
    let mut files = vec![folder.join("pack.toml")];
    files.extend(listed(folder, "cedar")?);
    read_all(&files)
}

/// The scenario files of a pack: `scenarios/*.toml`, in the order of their names.
///
/// # Errors
/// The files that cannot be read.
pub fn scenarios(folder: &Path) -> Result<Vec<Source>, Vec<Finding>> {
    read_all(&listed(&folder.join("scenarios"), "toml")?)
}

/// The texts of these files.
///
/// # Errors
/// The files that cannot be read.
pub fn read_all(files: &[PathBuf]) -> Result<Vec<Source>, Vec<Finding>> {
    let (mut sources, mut findings) = (Vec::new(), Vec::new());
    for file in files {
        match std::fs::read_to_string(file) {
            Ok(text) => sources.push(Source::new(file.display().to_string(), text)),
            Err(error) => findings.push(Finding::error(format!("cannot read {}: {error}", file.display()))),
        }
    }
    if findings.is_empty() { Ok(sources) } else { Err(findings) }
}

fn listed(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Vec<Finding>> {
    let unreadable = |error: std::io::Error| {
        vec![Finding::error(format!("cannot read the folder {}: {error}", folder.display()))]
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
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    /// The findings as the operator sees them.
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
