//! Finds and reads the files that a configuration names. Their paths are relative to the file that names them.

use std::path::{Path, PathBuf};

use super::Part;
use crate::document::{At, Fields};
use crate::finding::{Finding, Source};

/// The path and the text of a configuration file.
#[derive(Debug)]
pub(super) struct FileText {
    pub path: PathBuf,
    pub source: Source,
}

impl FileText {
    pub(super) fn read(path: &Path) -> Result<FileText, Finding> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let source = Source::new(path.display().to_string(), text).with_masked_passwords();
                Ok(FileText { path: path.to_owned(), source })
            }
            Err(error) => {
                Err(Finding::error("unreadable-file", format!("{} cannot be read: {error}", path.display()))
                    .hint("check the path and that the file is UTF-8 and readable by this user"))
            }
        }
    }

    /// Returns the folder that paths in the file are relative to.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

/// Returns the folder of a file, which is the working directory if the path names none.
pub(super) fn folder_to_watch(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// Reads the files that `include` names. A file that cannot be read is a finding.
pub(super) fn included(fields: &mut Fields<'_>, folder: &Path) -> Vec<FileText> {
    let document = fields.document();
    let mut files = Vec::new();
    for pattern in fields.texts("include") {
        let read = expand(folder, pattern.value)
            .map_err(|why| {
                Finding::error("unreadable-include", why).label("includes nothing that can be read")
            })
            .and_then(|paths| paths.iter().map(|path| FileText::read(path)).collect::<Result<Vec<_>, _>>());
        match read {
            Ok(read) => files.extend(read),
            Err(finding) => document.find(finding, pattern.at),
        }
    }
    files
}

/// Returns the path of a file that the configuration names. A file that does not exist is a finding.
pub(super) fn existing(part: &Part<'_>, named: &At<&str>, hint: &str) -> Option<PathBuf> {
    let path = part.folder.join(named.value);
    if path.is_file() {
        return Some(path);
    }
    let finding =
        Finding::error("no-such-file", format!("there is no file {}", path.display())).label("not there");
    part.fields.document().find(finding.hint(hint), named.at.clone());
    None
}

/// Returns the files that match a pattern, sorted by name. A pattern is a path, with at most one `*` in its last part.
fn expand(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = folder.join(pattern);
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(format!("`{pattern}` names no file"));
    };
    let Some((before, after)) = name.split_once('*') else { return Ok(vec![path]) };
    let parent = path.parent().unwrap_or(folder);
    let entries = std::fs::read_dir(parent)
        .map_err(|error| format!("the folder {} cannot be read: {error}", parent.display()))?;
    let fits = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        path.is_file()
            && name.len() >= before.len() + after.len()
            && name.starts_with(before)
            && name.ends_with(after)
    };
    let mut found: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(fits).collect();
    found.sort();
    Ok(found)
}
