//! An OpenAPI document with the files that it refers to.
//!
//! The module reads no file: the caller's [`ReadReferenced`] does, and decides which files may be read. Nothing is fetched.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::source::{ItemId, MAX_ITEMS, SourceDocument};
use crate::discover::effort;

/// Maximum number of files that one document refers to.
pub const MAX_FILES: usize = 256;
/// Maximum bytes of these files together.
pub const MAX_REFERENCED_BYTES: usize = 64 << 20;

/// Reads a file that a document refers to.
pub trait ReadReferenced {
    /// Returns the text of a file, by its path relative to the first document's folder.
    ///
    /// # Errors
    /// The reason why the file is not read, for the person at the terminal.
    fn read(&mut self, path: &str) -> Result<String, String>;
}

/// A node in one of the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    file: usize,
    item: ItemId,
}

/// The reason why a document or a file that it refers to cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {message}")]
pub struct ReferenceError {
    /// The path as it is written in the document; empty for the document itself.
    pub file: String,
    /// The reason.
    pub message: String,
}

/// The documents by their paths. The first one has the empty path.
#[derive(Debug)]
pub(super) struct DocumentSet {
    files: Vec<(String, SourceDocument)>,
    /// The place of each file.
    places: HashMap<String, usize>,
}

impl DocumentSet {
    /// Reads all files that a document refers to, directly or through others.
    pub(super) fn load(
        document: SourceDocument,
        reader: &mut dyn ReadReferenced,
    ) -> Result<DocumentSet, ReferenceError> {
        let first = String::new();
        let mut set =
            DocumentSet { places: HashMap::from([(first.clone(), 0)]), files: vec![(first, document)] };
        let mut total = 0;
        let mut next = 0;
        while let Some((path, document)) = set.files.get(next) {
            let mut wanted: BTreeSet<String> = BTreeSet::new();
            for reference in references(document) {
                effort::count(1);
                let file = file_of(path, reference).map_err(|why| refused(file_part(reference), why))?;
                if !set.places.contains_key(&file) {
                    wanted.insert(file);
                }
            }
            for file in wanted {
                if set.files.len() > MAX_FILES {
                    return Err(refused(
                        &file,
                        format!("the document refers to more than {MAX_FILES} files"),
                    ));
                }
                let text = reader.read(&file).map_err(|why| refused(&file, why))?;
                total += text.len();
                if total > MAX_REFERENCED_BYTES {
                    let why = "the files that the document refers to have more than 64 MiB together";
                    return Err(refused(&file, why));
                }
                let document =
                    SourceDocument::parse(text).map_err(|error| refused(&file, error.to_string()))?;
                set.places.insert(file.clone(), set.files.len());
                set.files.push((file, document));
            }
            next += 1;
        }
        Ok(set)
    }

    /// Returns the content of each file with its path; that of the first document is empty. References begin with the path of
    /// the file that they name. `None` if a file is nested too deep, or if the aliases are too many.
    pub(super) fn to_json(&self) -> Option<Vec<(String, Value)>> {
        let mut left = MAX_ITEMS;
        let content = |(path, document): &(String, SourceDocument)| {
            let mut content = document.to_json(document.root(), &mut left)?;
            qualify(&mut content, path);
            Some((path.clone(), content))
        };
        self.files.iter().map(content).collect()
    }

    fn document(&self, place: Place) -> Option<&SourceDocument> {
        self.files.get(place.file).map(|(_, document)| document)
    }

    /// Returns the first document, which is the one that was named.
    pub(super) fn first(&self) -> Option<&SourceDocument> {
        self.files.first().map(|(_, document)| document)
    }

    /// Returns the root of the first document.
    pub(super) fn root(&self) -> Option<Place> {
        Some(Place { file: 0, item: self.first()?.root() })
    }

    /// Returns the node of a place in the first document.
    pub(super) fn item_in_first(&self, place: Place) -> Option<ItemId> {
        (place.file == 0).then_some(place.item)
    }

    pub(super) fn member(&self, place: Place, name: &str) -> Option<Place> {
        let item = self.document(place)?.member(place.item, name)?;
        Some(Place { item, ..place })
    }

    pub(super) fn members(&self, place: Place) -> impl Iterator<Item = (&str, Place)> {
        let members = self.document(place).map(|document| document.members(place.item)).unwrap_or_default();
        members.iter().map(move |(name, item)| (&**name, Place { item: *item, ..place }))
    }

    pub(super) fn elements(&self, place: Place) -> Vec<Place> {
        let elements = self.document(place).map(|document| document.elements(place.item)).unwrap_or_default();
        elements.iter().map(|&item| Place { item, ..place }).collect()
    }

    pub(super) fn scalar(&self, place: Place) -> Option<&str> {
        self.document(place)?.scalar(place.item)
    }

    pub(super) fn text(&self, place: Place, name: &str) -> Option<&str> {
        self.document(place)?.member_text(place.item, name)
    }

    /// True if a node is a schema with keywords, and not `true` or `false`.
    pub(super) fn is_schema(&self, place: Place) -> bool {
        self.document(place).is_some_and(|document| document.is_mapping(place.item))
    }

    /// Returns the node that a reference in the file of `from` names.
    pub(super) fn resolve(&self, from: Place, reference: &str) -> Option<Place> {
        let (path, _) = self.files.get(from.file)?;
        let file = *self.places.get(&file_of(path, reference).ok()?)?;
        let pointer = reference.split_once('#').map_or("", |(_, pointer)| pointer);
        let (_, document) = self.files.get(file)?;
        Some(Place { file, item: document.pointer(pointer)? })
    }
}

/// Returns the texts of all references of a document.
fn references(document: &SourceDocument) -> impl Iterator<Item = &str> {
    document.mappings().filter_map(|id| document.member_text(id, "$ref"))
}

/// Writes the path of the file before each reference. Nesting is bounded by that of the document.
fn qualify(content: &mut Value, path: &str) {
    match content {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get_mut("$ref")
                && let Ok(file) = file_of(path, reference)
            {
                let pointer = reference.split_once('#').map_or("", |(_, pointer)| pointer);
                *reference = format!("{file}#{pointer}");
            }
            members.values_mut().for_each(|member| qualify(member, path));
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| qualify(element, path)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn refused(file: &str, why: impl Into<String>) -> ReferenceError {
    ReferenceError { file: file.to_owned(), message: why.into() }
}

/// Returns the part of a reference that names a file. It is empty for a reference within the file.
fn file_part(reference: &str) -> &str {
    reference.split('#').next().unwrap_or_default()
}

/// Returns the path of the file that a reference names, relative to the folder of the first document.
///
/// # Errors
/// The reason, if it cannot be a file below that folder. Links are the reader's to check.
fn file_of(from: &str, reference: &str) -> Result<String, &'static str> {
    let file = file_part(reference);
    if file.is_empty() {
        return Ok(from.to_owned());
    }
    if has_scheme(file) || file.starts_with("//") {
        return Err("nothing is fetched: keep a copy below the folder of the document");
    }
    let file = percent_encoding::percent_decode_str(file).decode_utf8().map_err(|_| "it is not UTF-8")?;
    if file.starts_with('/') {
        return Err("an absolute path is not below the folder of the document: write a relative one");
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop().ok_or("it is not below the folder of the document")?;
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() { Err("it names a folder") } else { Ok(parts.join("/")) }
}

/// True if a reference begins with a scheme (RFC 3986, 3.1), such as `https:` or `file:`.
fn has_scheme(file: &str) -> bool {
    let Some((scheme, _)) = file.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_a_file_below_the_folder_or_is_refused() {
        for (from, reference, expected) in [
            ("", "#/a", Some("")),
            ("parts/a.yaml", "#/a", Some("parts/a.yaml")),
            ("", "./a.yaml#/b", Some("a.yaml")),
            ("parts/a.yaml", "b.yaml", Some("parts/b.yaml")),
            ("parts/a.yaml", "../b%20c.yaml", Some("b c.yaml")),
            ("", "parts/../a.yaml", Some("a.yaml")),
            ("", "./a:b.yaml", Some("a:b.yaml")),
            ("", "../a.yaml", None),
            ("parts/a.yaml", "../../a.yaml", None),
            ("parts/a.yaml", "%2e%2e/%2e%2e/a.yaml", None),
            ("", "/etc/passwd", None),
            ("", "%2Fetc/passwd", None),
            ("", "//example.org/a.yaml", None),
            ("", "https://example.org/a.yaml", None),
            ("", "file:a.yaml", None),
            ("", "urn:example:a", None),
            ("", "parts/..", None),
        ] {
            assert_eq!(file_of(from, reference).ok().as_deref(), expected, "{from} {reference}");
        }
    }

    /// Answers from a table, and counts.
    struct Files(fn(&str) -> String, usize);

    impl ReadReferenced for Files {
        fn read(&mut self, path: &str) -> Result<String, String> {
            self.1 += 1;
            Ok(self.0(path))
        }
    }

    fn load(text: &str, files: &mut Files) -> Result<DocumentSet, ReferenceError> {
        DocumentSet::load(SourceDocument::parse(text.to_owned()).unwrap(), files)
    }

    #[test]
    fn files_that_refer_to_each_other_are_read_once() {
        let mut files = Files(|path| format!("a: {{$ref: '{}'}}", if path == "a" { "b" } else { "a#/a" }), 0);
        let set = load("x: {$ref: a}\ny: {$ref: './b#/a'}", &mut files).unwrap();
        assert_eq!((files.1, set.files.len()), (2, 3));
        let content = set.to_json().unwrap();
        let of = |file: usize, at: &str| content[file].1.pointer(at).unwrap().as_str().unwrap();
        assert_eq!((of(0, "/x/$ref"), of(0, "/y/$ref")), ("a#", "b#/a"));
        assert_eq!((of(1, "/a/$ref"), of(2, "/a/$ref")), ("b#", "a#/a"));
    }

    #[test]
    fn the_number_and_the_size_of_files_are_bounded() {
        let mut many = Files(|path| format!("$ref: '{path}x'"), 0);
        let error = load("$ref: x", &mut many).unwrap_err();
        assert_eq!(
            (many.1, error.message.as_str()),
            (MAX_FILES, "the document refers to more than 256 files")
        );
        let mut large = Files(|path| format!("$ref: '{path}x'\na: '{}'", "y".repeat(20 << 20)), 0);
        let error = load("$ref: x", &mut large).unwrap_err();
        assert!(error.message.contains("more than 64 MiB"), "{error}");
        assert_eq!(large.1, 4);
    }
}
