//! Finds and reads the files that a configuration names, and lists those to watch. Their paths are relative to the file that
//! names them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::Part;
use crate::document::{At, Fields};
use crate::finding::{Finding, Source};

/// The files that a configuration was read from, and those that it would be read from if they existed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchList {
    /// The folders of the files, of the packs and of every `include`.
    pub folders: BTreeSet<PathBuf>,
    /// The configuration files, and the files of TLS, of upstreams' headers, of token issuers and of webhooks.
    pub files: BTreeSet<PathBuf>,
    /// The patterns of `include`.
    pub includes: BTreeSet<IncludePattern>,
}

impl WatchList {
    /// Returns the list of these files, patterns and folders of packs.
    pub(super) fn new(
        files: Vec<PathBuf>,
        includes: BTreeSet<IncludePattern>,
        packs: Vec<PathBuf>,
    ) -> WatchList {
        let of_files = files.iter().map(|file| folder_of(file));
        // A folder counts before it has a file that a pattern matches: the first one is a change.
        let of_includes = includes.iter().map(IncludePattern::folder);
        WatchList {
            folders: of_files.chain(of_includes).chain(packs).collect(),
            files: files.into_iter().collect(),
            includes,
        }
    }

    /// True if a file in one of the folders can be a part of the configuration: one that it names or includes, one that a pack
    /// can have, or the link `..data`, by which Kubernetes replaces all files at once.
    pub fn concerns(&self, path: &Path) -> bool {
        let extension = path.extension().and_then(OsStr::to_str);
        let name = path.file_name();
        matches!(extension, Some("toml" | "cedar"))
            || name.is_some_and(|name| name == "..data")
            || self.files.iter().any(|file| file.file_name() == name)
            || self.includes.iter().any(|include| include.matches(path) && include.may_list(path))
    }

    /// Adds what another list has.
    pub fn extend(&mut self, other: WatchList) {
        let WatchList { folders, files, includes } = other;
        self.folders.extend(folders);
        self.files.extend(files);
        self.includes.extend(includes);
    }
}

/// A path that `include` names, with at most one `*` in its last part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IncludePattern(PathBuf);

impl IncludePattern {
    /// Reads a pattern, which is relative to a folder.
    fn read(base: &Path, pattern: &str) -> Result<IncludePattern, String> {
        let path = base.join(pattern);
        let Some(name) = path.file_name().and_then(OsStr::to_str) else {
            return Err(format!("`{pattern}` names no file"));
        };
        let stars = pattern.matches('*').count();
        if stars > 1 || stars != name.matches('*').count() {
            return Err(format!("`{pattern}` has several `*`, or one before the name of the file"));
        }
        Ok(IncludePattern(path))
    }

    fn folder(&self) -> PathBuf {
        folder_of(&self.0)
    }

    fn name(&self) -> &str {
        self.0.file_name().and_then(OsStr::to_str).unwrap_or_default()
    }

    /// True if a file has a name that the pattern includes. As in a shell, a `*` at the beginning matches no hidden file:
    /// editors and Kubernetes put files of their own beside those that they replace.
    fn matches(&self, file: &Path) -> bool {
        let name = file.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default();
        let Some((before, after)) = self.name().split_once('*') else {
            return name == self.name().as_bytes();
        };
        let is_hidden = before.is_empty() && name.starts_with(b".");
        !is_hidden
            && name.len() >= before.len() + after.len()
            && name.starts_with(before.as_bytes())
            && name.ends_with(after.as_bytes())
    }

    /// True if a file is in the pattern's folder, or if that cannot be told. Elsewhere files that the gateway itself writes can
    /// have a name like it.
    fn may_list(&self, file: &Path) -> bool {
        let real = |folder: PathBuf| folder.canonicalize();
        match (real(self.folder()), real(folder_of(file))) {
            (Ok(own), Ok(other)) => own == other,
            (Err(_), _) | (_, Err(_)) => true,
        }
    }

    /// Returns the paths that the pattern includes, sorted, whatever is there; and the error that ended the listing of the
    /// folder early.
    fn paths(&self) -> (Vec<PathBuf>, Option<std::io::Error>) {
        if !self.name().contains('*') {
            return (vec![self.0.clone()], None);
        }
        let entries = match std::fs::read_dir(self.folder()) {
            Ok(entries) => entries,
            Err(error) => return (Vec::new(), Some(error)),
        };
        let (mut paths, mut failure) = (Vec::new(), None);
        for entry in entries {
            match entry {
                Ok(entry) => paths.push(entry.path()),
                Err(error) => failure = Some(error),
            }
        }
        paths.retain(|path| self.matches(path));
        paths.sort();
        (paths, failure)
    }
}

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
fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// Reads the files that `include` names, and returns them with its patterns. Each file that cannot be read is a finding, and
/// the others are read nevertheless, so that what they define is known.
pub(super) fn included(fields: &mut Fields<'_>, base: &Path) -> (Vec<FileText>, BTreeSet<IncludePattern>) {
    let document = fields.document();
    let (mut files, mut patterns) = (Vec::new(), BTreeSet::new());
    for named in fields.texts("include") {
        let report = |finding: Finding| document.find(finding, named.at.clone());
        let pattern = match IncludePattern::read(base, named.value) {
            Ok(pattern) => pattern,
            Err(why) => {
                let finding = Finding::error("unreadable-include", why).label("includes nothing");
                let hint = "write a path with at most one `*`, in the name of the file: `routes/*.toml`";
                report(finding.hint(hint));
                continue;
            }
        };
        let (paths, failure) = pattern.paths();
        if let Some(error) = failure {
            let message = format!("the folder {} cannot be read: {error}", pattern.folder().display());
            let finding =
                Finding::error("unreadable-include", message).label("includes files that cannot be found");
            report(finding.hint(
                "make the folder, readable by this user, or take the entry out of `include`; paths are relative to the file \
                 that names them",
            ));
        }
        for path in paths {
            match read_included(&path) {
                Ok(file) => files.push(file),
                Err(finding) => report(finding),
            }
        }
        patterns.insert(pattern);
    }
    (files, patterns)
}

/// Reads an included file. A folder has no text, and a pipe would block until somebody writes to it.
fn read_included(path: &Path) -> Result<FileText, Finding> {
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => {
            let finding = Finding::error("unreadable-file", format!("{} is not a file", path.display()));
            Err(finding.hint("give it a name that `include` does not match"))
        }
        Ok(_) | Err(_) => FileText::read(path),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_one_star_in_the_name_of_the_file() {
        let read = |pattern: &str| IncludePattern::read(Path::new("/etc/gate"), pattern);
        for pattern in ["a.toml", "routes/*.toml", "routes/a*", "*", "/srv/*.inc"] {
            assert!(read(pattern).is_ok(), "{pattern}");
        }
        for pattern in ["*/a.toml", "*/*.toml", "a*b*.toml", "**", "routes/**.toml", "..", "/"] {
            assert!(read(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_matches_names_and_no_hidden_ones() {
        let matches = |pattern: &str, name: &str| {
            IncludePattern::read(Path::new("conf*"), pattern).unwrap().matches(&Path::new("/x").join(name))
        };
        for (pattern, name) in
            [("a.toml", "a.toml"), ("r/*.toml", "a.toml"), ("a*a", "aa"), (".*", ".a"), ("a*", "a.b")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a.toml", "b.toml"),
            ("*.toml", "a.toml~"),
            ("*.toml", ".#a.toml"),
            ("*", "..data"),
            ("aba*aba", "ababa"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn files_of_includes_and_their_folders_are_watched_before_they_exist() {
        let includes = ["routes/*.inc", "more.conf"]
            .map(|pattern| IncludePattern::read(Path::new("/etc/gate"), pattern).unwrap());
        let list = WatchList::new(vec!["gate.conf".into()], includes.into(), vec!["/packs".into()]);
        let folders = [".", "/etc/gate", "/etc/gate/routes", "/packs"].map(PathBuf::from);
        assert_eq!(list.folders, BTreeSet::from(folders));
        for name in ["gate.conf", "new.inc", "more.conf", "new.toml"] {
            assert!(list.concerns(&Path::new("/anywhere").join(name)), "{name}");
        }
        assert!(!list.concerns(Path::new("/etc/gate/gateway.log")));
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("routes")).unwrap();
        let all = IncludePattern::read(folder.path(), "routes/*").unwrap();
        let list = WatchList::new(Vec::new(), [all].into(), Vec::new());
        assert!(list.concerns(&folder.path().join("routes/./new")));
        assert!(!list.concerns(&folder.path().join("gateway.log")), "what the gateway writes beside it");
    }
}
