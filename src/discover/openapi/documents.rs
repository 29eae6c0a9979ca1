//! An OpenAPI document with the files that it refers to.
//!
//! The module reads no file: the caller's [`ReadReferenced`] does, and decides which files may be read. Nothing is fetched.
//! Only what a reference leads to is looked at for further references, and `$ref` in data is none ([`super::references`]).

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::OpenApiError;
use super::references::ReferencePosition;
use super::source::{ItemId, MAX_ITEMS, SourceDocument};
use crate::discover::effort;

/// Maximum number of files that one document refers to.
pub const MAX_FILES: usize = 256;
/// Maximum bytes of a document and of these files together.
pub const MAX_TOTAL_BYTES: usize = 64 << 20;

/// The bounds of a document and the files that it refers to, together.
#[derive(Clone, Copy)]
struct SharedBounds {
    /// Files beside the document itself.
    files: usize,
    bytes: usize,
    items: usize,
}

const BOUNDS: SharedBounds = SharedBounds { files: MAX_FILES, bytes: MAX_TOTAL_BYTES, items: MAX_ITEMS };

/// Reads a file that a document refers to.
pub trait ReadReferenced {
    /// Returns the path of a file without links, so that a file is read once, whatever paths lead to it. The empty path is that
    /// of the document itself, which can have none.
    ///
    /// # Errors
    /// The reason why the file is not read, for the person at the terminal.
    fn real_path(&mut self, path: &str) -> Result<String, String> {
        Ok(path.to_owned())
    }

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
    /// The place of each file, by all paths that lead to it.
    places: HashMap<String, usize>,
    /// The mappings whose `$ref` is a reference.
    references: HashSet<Place>,
}

impl DocumentSet {
    /// Reads a document and all files that it refers to, directly or through others.
    pub(super) fn load(text: String, reader: &mut dyn ReadReferenced) -> Result<DocumentSet, OpenApiError> {
        DocumentSet::load_within(BOUNDS, text, reader)
    }

    fn load_within(
        bounds: SharedBounds,
        text: String,
        reader: &mut dyn ReadReferenced,
    ) -> Result<DocumentSet, OpenApiError> {
        let (bytes, document) = (text.len(), SourceDocument::parse(text, bounds.items)?);
        let first = String::new();
        let root = Place { file: 0, item: document.root() };
        let mut loader = DocumentLoader {
            left: SharedBounds {
                files: bounds.files,
                bytes: bounds.bytes.saturating_sub(bytes),
                items: bounds.items.saturating_sub(document.len()),
            },
            seen: vec![vec![0; document.len()]],
            pending: vec![(root, ReferencePosition::Keywords)],
            real_paths: HashMap::new(),
            set: DocumentSet {
                places: HashMap::from([(first.clone(), 0)]),
                files: vec![(first, document)],
                references: HashSet::new(),
            },
            reader,
        };
        // A document from standard input has no path.
        if let Ok(real) = loader.reader.real_path("") {
            loader.real_paths.insert(real, 0);
        }
        while let Some((place, position)) = loader.pending.pop() {
            loader.look_at(place, position)?;
        }
        Ok(loader.set)
    }

    /// Returns the content of each file with its path; that of the first document is empty. References begin with the path of
    /// the file that they name. `None` if a file is nested too deep, or if the aliases are too many.
    pub(super) fn to_json(&self) -> Option<Vec<(String, Value)>> {
        let mut left = MAX_ITEMS;
        let content = |(file, (path, document)): (usize, &(String, SourceDocument))| {
            let full = |item: ItemId, reference: &str| self.full_reference(Place { file, item }, reference);
            let content = document.to_json(document.root(), &mut left, &full)?;
            Some((path.clone(), content))
        };
        self.files.iter().enumerate().map(content).collect()
    }

    /// Returns a reference with the path of its file. `None` if the `$ref` of a mapping is data.
    fn full_reference(&self, place: Place, reference: &str) -> Option<String> {
        if !self.references.contains(&place) {
            return None;
        }
        let (file, pointer) = self.target(place, reference)?;
        let (path, _) = self.files.get(file)?;
        Some(format!("{path}#{pointer}"))
    }

    /// Returns the file and the pointer that a reference in the file of `from` names.
    fn target<'r>(&self, from: Place, reference: &'r str) -> Option<(usize, &'r str)> {
        let (path, _) = self.files.get(from.file)?;
        let file = *self.places.get(&file_of(path, reference).ok()?)?;
        Some((file, reference.split_once('#').map_or("", |(_, pointer)| pointer)))
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
        let (file, pointer) = self.target(from, reference)?;
        let (_, document) = self.files.get(file)?;
        Some(Place { file, item: document.pointer(pointer)? })
    }
}

/// Reads the files that references lead to.
struct DocumentLoader<'r> {
    set: DocumentSet,
    /// The places of files by their paths without links.
    real_paths: HashMap<String, usize>,
    reader: &'r mut dyn ReadReferenced,
    left: SharedBounds,
    /// The positions in which the nodes of each file were looked at, one bit for each.
    seen: Vec<Vec<u8>>,
    pending: Vec<(Place, ReferencePosition)>,
}

impl DocumentLoader<'_> {
    /// Looks for references in a node, and queues the nodes below it and those that they lead to.
    fn look_at(&mut self, place: Place, position: ReferencePosition) -> Result<(), ReferenceError> {
        effort::count(1);
        let seen = self.seen.get_mut(place.file).and_then(|items| items.get_mut(place.item.index()));
        let bit = 1 << position as u8;
        if seen.as_ref().is_none_or(|seen| **seen & bit != 0) {
            return Ok(());
        }
        seen.into_iter().for_each(|seen| *seen |= bit);
        let Some((path, document)) = self.set.files.get(place.file) else { return Ok(()) };
        let members = document.members(place.item).iter();
        let below = members.filter_map(|(name, item)| Some((*item, position.below(name)?)));
        let elements = document.elements(place.item).iter().map(|item| (*item, ReferencePosition::Keywords));
        let inside = below.chain(elements).map(|(item, position)| (Place { item, ..place }, position));
        self.pending.extend(inside);
        let Some(reference) = document.member_text(place.item, "$ref") else { return Ok(()) };
        let reference = reference.to_owned();
        let path = file_of(path, &reference).map_err(|why| refused(file_part(&reference), why))?;
        self.set.references.insert(place);
        self.open(path)?;
        let target = self.set.resolve(place, &reference);
        self.pending.extend(target.map(|target| (target, position)));
        Ok(())
    }

    /// Reads a file, if it was not read yet.
    fn open(&mut self, path: String) -> Result<(), ReferenceError> {
        if self.set.places.contains_key(&path) {
            return Ok(());
        }
        let real = self.reader.real_path(&path).map_err(|why| refused(&path, why))?;
        if let Some(&file) = self.real_paths.get(&real) {
            self.set.places.insert(path, file);
            return Ok(());
        }
        let files = self.left.files.checked_sub(1);
        self.left.files = files
            .ok_or_else(|| refused(&path, format!("the document refers to more than {MAX_FILES} files")))?;
        let text = self.reader.read(&path).map_err(|why| refused(&path, why))?;
        let bytes = self.left.bytes.checked_sub(text.len());
        self.left.bytes = bytes.ok_or_else(|| {
            refused(&path, "the document and the files that it refers to have more than 64 MiB together")
        })?;
        let document = SourceDocument::parse(text, self.left.items)
            .map_err(|error| refused(&path, error.to_string()))?;
        self.left.items = self.left.items.saturating_sub(document.len());
        let file = self.set.files.len();
        self.seen.push(vec![0; document.len()]);
        self.real_paths.insert(real, file);
        self.set.places.insert(path.clone(), file);
        self.set.files.push((path, document));
        Ok(())
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

    fn load(text: &str, files: &mut dyn ReadReferenced) -> Result<DocumentSet, OpenApiError> {
        DocumentSet::load(text.to_owned(), files)
    }

    #[test]
    fn files_that_refer_to_each_other_are_read_once() {
        let mut files = Files(|path| format!("a: {{$ref: '{}'}}", if path == "a" { "b" } else { "a#/a" }), 0);
        let set = load("x: {$ref: a}\ny: {$ref: './b#/a'}", &mut files).unwrap();
        assert_eq!((files.1, set.files.len()), (2, 3));
        let content = set.to_json().unwrap();
        let of = |file: &str, at: &str| {
            let (_, content) = content.iter().find(|(path, _)| path == file).unwrap();
            content.pointer(at).unwrap().as_str().unwrap()
        };
        assert_eq!((of("", "/x/$ref"), of("", "/y/$ref")), ("a#", "b#/a"));
        assert_eq!((of("a", "/a/$ref"), of("b", "/a/$ref")), ("b#", "a#/a"));
    }

    #[test]
    fn a_reference_in_data_is_data() {
        let mut files = Files(|_| "type: string".to_owned(), 0);
        let text = "components:\n  examples: {e: {value: {$ref: 'https://example.org/a'}}}\n  schemas:\n    s:\n      \
                    example: {$ref: /etc/passwd}\n      examples: [{$ref: gone.yaml}]\n      default: {$ref: '../up.yaml'}\n      \
                    enum: [{$ref: '#/nothing'}]\n      x-note: {$ref: 'urn:x'}\n      \
                    properties: {example: {$ref: a.yaml}, default: {items: {$ref: b.yaml}}}\n";
        let set = load(text, &mut files).unwrap();
        assert_eq!(files.1, 2, "names of members are no keywords");
        let (_, content) = &set.to_json().unwrap()[0];
        let at = |pointer: &str| content.pointer(pointer).unwrap().as_str().unwrap();
        assert_eq!(at("/components/schemas/s/enum/0/$ref"), "#/nothing");
        assert_eq!(at("/components/schemas/s/example/$ref"), "/etc/passwd");
        assert_eq!(at("/components/schemas/s/properties/example/$ref"), "a.yaml#");
        // In a file of schemas, `example` is the name of one, if a reference says so.
        let mut files = Files(
            |path| if path == "a" { "example: {items: {$ref: b}}" } else { "type: string" }.to_owned(),
            0,
        );
        load("x: {$ref: 'a#/example'}", &mut files).unwrap();
        assert_eq!(files.1, 2);
    }

    /// A document `api.yaml` with a link to it and a link to another file.
    struct LinkedFiles(usize);

    impl ReadReferenced for LinkedFiles {
        fn real_path(&mut self, path: &str) -> Result<String, String> {
            Ok(match path {
                "" | "api.yaml" | "link.yaml" => "/f/api.yaml".to_owned(),
                "other-link.yaml" => "/f/other.yaml".to_owned(),
                path => format!("/f/{path}"),
            })
        }

        fn read(&mut self, _: &str) -> Result<String, String> {
            self.0 += 1;
            Ok("a: {$ref: './api.yaml#/s'}".to_owned())
        }
    }

    #[test]
    fn a_file_is_one_document_by_whatever_path() {
        let mut files = LinkedFiles(0);
        let text = "s: {type: string}\nx: {$ref: 'api.yaml#/s'}\ny: {$ref: 'link.yaml#/s'}\n\
                    z: [{$ref: 'other.yaml#/a'}, {$ref: 'other-link.yaml#/a'}]";
        let set = load(text, &mut files).unwrap();
        assert_eq!((files.0, set.files.len()), (1, 2));
        let root = set.root().unwrap();
        let at = |name: &str| set.member(root, name).unwrap();
        for name in ["x", "y"] {
            let reference = set.text(at(name), "$ref").unwrap();
            assert_eq!(set.resolve(at(name), reference), Some(at("s")), "{name}");
        }
        assert_eq!(set.to_json().unwrap()[0].1["y"]["$ref"], "#/s");
    }

    #[test]
    fn the_number_the_size_and_the_nodes_of_files_are_bounded_together() {
        let mut many = Files(|path| format!("$ref: '{path}x'"), 0);
        let error = load("$ref: x", &mut many).unwrap_err().to_string();
        assert_eq!(many.1, MAX_FILES);
        assert!(error.contains("refers to more than 256 files"), "{error}");
        let within =
            |bounds, text: &str, files: &mut Files| DocumentSet::load_within(bounds, text.to_owned(), files);
        let page = |path: &str| format!("{{\"$ref\":\"{path}x\",\"a\":[{}1]}}", "1,".repeat(400));
        let bytes = SharedBounds { bytes: 3 * page("").len() + 100, ..BOUNDS };
        let mut pages = Files(|path| format!("{{\"$ref\":\"{path}x\",\"a\":[{}1]}}", "1,".repeat(400)), 0);
        let error = within(bytes, &page(""), &mut pages).unwrap_err().to_string();
        assert!(
            error.contains("xxx: the document") && error.contains("more than 64 MiB together"),
            "{error}"
        );
        assert_eq!(pages.1, 3, "the document itself counts");
        let items = SharedBounds { items: 3 * 404, ..BOUNDS };
        pages.1 = 0;
        let error = within(items, &page(""), &mut pages).unwrap_err().to_string();
        assert!(error.contains("more than 4 million nodes together"), "{error}");
        assert_eq!(pages.1, 3);
        assert!(within(items, &page(""), &mut Files(|_| "{}".to_owned(), 0)).is_ok());
    }
}
