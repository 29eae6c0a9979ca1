//! An OpenAPI document with the files that it refers to.
//!
//! The module reads no file: the caller's [`ReadReferenced`] does, and decides which files may be read. Nothing is fetched.

use super::source::{ItemId, SourceDocument};

/// Maximum number of files that one document refers to.
pub const MAX_FILES: usize = 256;

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
}

impl DocumentSet {
    /// Reads all files that a document refers to, directly or through others.
    pub(super) fn load(
        document: SourceDocument,
        reader: &mut dyn ReadReferenced,
    ) -> Result<DocumentSet, ReferenceError> {
        let mut set = DocumentSet { files: vec![(String::new(), document)] };
        let mut next = 0;
        while let Some((path, document)) = set.files.get(next) {
            let mut wanted: Vec<String> = Vec::new();
            for reference in references(document) {
                let file = file_of(path, reference).filter(|file| !file.is_empty());
                wanted.extend(file.filter(|file| !set.files.iter().any(|(known, _)| known == file)));
            }
            wanted.sort_unstable();
            wanted.dedup();
            for file in wanted {
                let fault = |message: String| ReferenceError { file: file.clone(), message };
                if set.files.len() > MAX_FILES {
                    return Err(fault(format!("the document refers to more than {MAX_FILES} files")));
                }
                if file.contains("://") {
                    return Err(fault(
                        "nothing is fetched: keep a copy below the document's folder".to_owned(),
                    ));
                }
                let text = reader.read(&file).map_err(fault)?;
                let document = SourceDocument::parse(text).map_err(|error| fault(error.to_string()))?;
                set.files.push((file, document));
            }
            next += 1;
        }
        Ok(set)
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

    pub(super) fn members(&self, place: Place) -> Vec<(Box<str>, Place)> {
        let members = self.document(place).map(|document| document.members(place.item)).unwrap_or_default();
        members.iter().map(|(name, item)| (name.clone(), Place { item: *item, ..place })).collect()
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
        let wanted = file_of(path, reference)?;
        let file = self.files.iter().position(|(known, _)| *known == wanted)?;
        let pointer = reference.split_once('#').map_or("", |(_, pointer)| pointer);
        let (_, document) = self.files.get(file)?;
        Some(Place { file, item: document.pointer(pointer)? })
    }
}

/// Returns the texts of all references of a document.
fn references(document: &SourceDocument) -> impl Iterator<Item = &str> {
    document.mappings().filter_map(|id| document.member_text(id, "$ref"))
}

/// Returns the path of the file that a reference names, relative to the folder of the first document.
fn file_of(from: &str, reference: &str) -> Option<String> {
    let file = reference.split('#').next().unwrap_or_default();
    if file.is_empty() {
        return Some(from.to_owned());
    }
    if file.contains("://") {
        return Some(file.to_owned());
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "." | "" => {}
            // Above the folder of the document: left as it is, so that the reader refuses it.
            ".." if parts.last().is_none_or(|last| *last == "..") => parts.push(".."),
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    let absolute = if file.starts_with('/') { "/" } else { "" };
    Some(format!("{absolute}{}", parts.join("/")))
}
