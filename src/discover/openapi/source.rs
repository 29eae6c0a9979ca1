//! A JSON or YAML document as a tree whose nodes know their places in the text.
//!
//! An alias of YAML is the node that it names, so a document of aliases does not grow. Size, nodes and depth are bounded.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::discover::effort;

/// Maximum bytes of one document.
pub const MAX_DOCUMENT_BYTES: usize = 32 << 20;
/// Maximum number of nodes of one document.
pub(super) const MAX_ITEMS: usize = 4 << 20;
/// Maximum depth of one document.
const MAX_DEPTH: usize = 200;
/// Maximum number of members of a mapping that is searched one by one.
const MAX_SEARCHED: usize = 32;

/// The position of a node in its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ItemId(u32);

/// The content of a node.
#[derive(Debug)]
enum ItemContent {
    /// A scalar. `is_text` is false for numbers, booleans and null.
    Scalar {
        text: Box<str>,
        is_text: bool,
    },
    Sequence(Vec<ItemId>),
    Mapping(Vec<(Box<str>, ItemId)>),
}

/// One node.
#[derive(Debug)]
struct DocumentItem {
    content: ItemContent,
    /// The place of a mapping: of its brace, or of its first key in YAML's block style. In bytes.
    start: usize,
    /// True if it is written with braces.
    is_flow: bool,
}

/// The reason why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The document is too long, too deep, or has too many nodes.
    #[error("the document has more than {0}")]
    TooLarge(&'static str),
    /// The text is neither JSON nor YAML.
    #[error("the document is not {format}: line {line}, column {column}: {message}")]
    Syntax {
        /// `JSON` or `YAML`.
        format: &'static str,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The parser's message.
        message: String,
    },
    /// A key is no scalar, or an alias names nothing.
    #[error("the document uses YAML that JSON has no counterpart for: line {0}")]
    NotJson(usize),
}

/// A document with its text.
#[derive(Debug)]
pub(super) struct SourceDocument {
    text: String,
    items: Vec<DocumentItem>,
    root: ItemId,
    /// The members of large mappings by their names. References look up schemas in one of them.
    index: HashMap<ItemId, HashMap<Box<str>, ItemId>>,
}

impl SourceDocument {
    /// Reads a document. Text that begins with a brace is JSON, everything else is YAML.
    ///
    /// # Errors
    /// [`SourceError`].
    pub(super) fn parse(text: String) -> Result<SourceDocument, SourceError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(SourceError::TooLarge("32 MiB"));
        }
        let mut items = Vec::new();
        let root = match text.trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t']).starts_with('{') {
            true => JsonReader { text: &text, items: &mut items }.read().or_else(|error| {
                // YAML has a flow style with braces, too.
                items.clear();
                YamlReader::new(&text, &mut items).read().map_err(|_| error)
            })?,
            false => YamlReader::new(&text, &mut items).read()?,
        };
        let index = index_of(&items);
        Ok(SourceDocument { text, items, root, index })
    }

    /// Returns the root.
    pub(super) fn root(&self) -> ItemId {
        self.root
    }

    /// Returns the text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn item(&self, id: ItemId) -> Option<&DocumentItem> {
        self.items.get(id.0 as usize)
    }

    /// Returns the members of a mapping.
    pub(super) fn members(&self, id: ItemId) -> &[(Box<str>, ItemId)] {
        match self.item(id).map(|item| &item.content) {
            Some(ItemContent::Mapping(members)) => members,
            _ => &[],
        }
    }

    /// Returns a member of a mapping.
    pub(super) fn member(&self, id: ItemId, name: &str) -> Option<ItemId> {
        let members = self.members(id);
        if members.len() > MAX_SEARCHED {
            effort::count(1);
            return self.index.get(&id)?.get(name).copied();
        }
        effort::count(members.len());
        members.iter().find(|(key, _)| **key == *name).map(|(_, value)| *value)
    }

    /// Returns the elements of a sequence.
    pub(super) fn elements(&self, id: ItemId) -> &[ItemId] {
        match self.item(id).map(|item| &item.content) {
            Some(ItemContent::Sequence(elements)) => elements,
            _ => &[],
        }
    }

    /// Returns the text of a scalar, whatever its type is.
    pub(super) fn scalar(&self, id: ItemId) -> Option<&str> {
        match self.item(id).map(|item| &item.content) {
            Some(ItemContent::Scalar { text, .. }) => Some(text),
            _ => None,
        }
    }

    /// Returns the text of a string member.
    pub(super) fn member_text(&self, id: ItemId, name: &str) -> Option<&str> {
        self.scalar(self.member(id, name)?)
    }

    /// True if a node is a mapping.
    pub(super) fn is_mapping(&self, id: ItemId) -> bool {
        matches!(self.item(id).map(|item| &item.content), Some(ItemContent::Mapping(_)))
    }

    /// Returns all mappings of the document.
    pub(super) fn mappings(&self) -> impl Iterator<Item = ItemId> {
        let is_mapping = |item: &DocumentItem| matches!(item.content, ItemContent::Mapping(_));
        (0..).map(ItemId).zip(&self.items).filter(move |(_, item)| is_mapping(item)).map(|(id, _)| id)
    }

    /// Returns the place of a mapping in the text, in bytes, and true if it is written with braces.
    pub(super) fn mapping_start(&self, id: ItemId) -> Option<(usize, bool)> {
        let item = self.item(id).filter(|item| matches!(item.content, ItemContent::Mapping(_)))?;
        Some((item.start, item.is_flow))
    }

    /// Follows a JSON pointer (RFC 6901) from the root.
    pub(super) fn pointer(&self, pointer: &str) -> Option<ItemId> {
        pointer.split('/').skip(1).try_fold(self.root, |at, token| {
            let token = percent_encoding::percent_decode_str(token)
                .decode_utf8()
                .ok()?
                .replace("~1", "/")
                .replace("~0", "~");
            self.member(at, &token).or_else(|| self.elements(at).get(token.parse::<usize>().ok()?).copied())
        })
    }

    /// Returns a node as a JSON value. Bounded by [`MAX_DEPTH`]; an alias is copied, as long as nodes are left.
    pub(super) fn to_json(&self, id: ItemId, left: &mut usize) -> Option<Value> {
        self.json(id, 0, left)
    }

    fn json(&self, id: ItemId, depth: usize, left: &mut usize) -> Option<Value> {
        *left = left.checked_sub(1)?;
        if depth > MAX_DEPTH {
            return None;
        }
        Some(match &self.item(id)?.content {
            ItemContent::Scalar { text, is_text: true } => Value::String(text.to_string()),
            ItemContent::Scalar { text, is_text: false } => {
                serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_string()))
            }
            ItemContent::Sequence(elements) => {
                elements.iter().map(|&element| self.json(element, depth + 1, left)).collect::<Option<_>>()?
            }
            ItemContent::Mapping(members) => {
                let member = |(name, value): &(Box<str>, ItemId)| {
                    Some((name.to_string(), self.json(*value, depth + 1, left)?))
                };
                Value::Object(members.iter().map(member).collect::<Option<_>>()?)
            }
        })
    }
}

/// Returns the members of large mappings by their names. Of several with one name the first counts.
fn index_of(items: &[DocumentItem]) -> HashMap<ItemId, HashMap<Box<str>, ItemId>> {
    let large = (0..).map(ItemId).zip(items).filter_map(|(id, item)| match &item.content {
        ItemContent::Mapping(members) if members.len() > MAX_SEARCHED => Some((id, members)),
        ItemContent::Mapping(_) | ItemContent::Sequence(_) | ItemContent::Scalar { .. } => None,
    });
    let by_name = |members: &Vec<(Box<str>, ItemId)>| members.iter().rev().cloned().collect();
    large.map(|(id, members)| (id, by_name(members))).collect()
}

fn push(items: &mut Vec<DocumentItem>, item: DocumentItem) -> Result<ItemId, SourceError> {
    if items.len() >= MAX_ITEMS {
        return Err(SourceError::TooLarge("4 million nodes"));
    }
    let id = ItemId(u32::try_from(items.len()).unwrap_or(u32::MAX));
    items.push(item);
    Ok(id)
}

/// Reads JSON. The places of values follow from where their text lies in the document.
struct JsonReader<'t, 'i> {
    text: &'t str,
    items: &'i mut Vec<DocumentItem>,
}

/// The members of one object, unread.
struct RawMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawMembers<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

impl JsonReader<'_, '_> {
    fn read(mut self) -> Result<ItemId, SourceError> {
        let text = self.text.trim_start_matches('\u{feff}');
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| json_error(&error))?;
        self.value(raw.get(), 0)
    }

    fn value(&mut self, raw: &str, depth: usize) -> Result<ItemId, SourceError> {
        if depth > MAX_DEPTH {
            return Err(SourceError::TooLarge("200 levels"));
        }
        let raw = raw.trim();
        let start = (raw.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let content = match raw.as_bytes().first() {
            Some(b'{') => {
                let RawMembers(members) = serde_json::from_str(raw).map_err(|error| json_error(&error))?;
                let member =
                    |(name, raw): (String, &RawValue)| Ok((name.into(), self.value(raw.get(), depth + 1)?));
                ItemContent::Mapping(members.into_iter().map(member).collect::<Result<_, _>>()?)
            }
            Some(b'[') => {
                let elements: Vec<&RawValue> =
                    serde_json::from_str(raw).map_err(|error| json_error(&error))?;
                let element = |raw: &RawValue| self.value(raw.get(), depth + 1);
                ItemContent::Sequence(elements.into_iter().map(element).collect::<Result<_, _>>()?)
            }
            Some(b'"') => {
                let text: String = serde_json::from_str(raw).map_err(|error| json_error(&error))?;
                ItemContent::Scalar { text: text.into(), is_text: true }
            }
            _ => ItemContent::Scalar { text: raw.into(), is_text: false },
        };
        push(self.items, DocumentItem { content, start, is_flow: true })
    }
}

fn json_error(error: &serde_json::Error) -> SourceError {
    // The message of the parser ends in its own place, which is relative to the part that was read.
    let message = error.to_string();
    let message = message.split(" at line").next().unwrap_or_default().to_owned();
    SourceError::Syntax { format: "JSON", line: error.line(), column: error.column(), message }
}

/// Reads YAML.
struct YamlReader<'t, 'i> {
    text: &'t str,
    items: &'i mut Vec<DocumentItem>,
    anchors: HashMap<usize, ItemId>,
    /// Places of characters in bytes, if the text is not ASCII.
    offsets: Vec<u32>,
}

/// A container that is being read.
struct OpenSource {
    content: ItemContent,
    key: Option<Box<str>>,
    anchor: usize,
    start: Option<usize>,
    is_flow: bool,
}

impl OpenSource {
    /// Keeps a scalar as a key, if it is the place of one. The first key is the place of a mapping in block style.
    fn take_key(&mut self, text: &str, start: usize) -> bool {
        let is_key = matches!(self.content, ItemContent::Mapping(_)) && self.key.is_none();
        if is_key {
            self.start.get_or_insert(start);
            self.key = Some(text.into());
        }
        is_key
    }

    /// Adds an element, or the value of the member whose key was read.
    fn add(&mut self, value: ItemId) -> Result<(), ()> {
        match &mut self.content {
            ItemContent::Sequence(elements) => elements.push(value),
            ItemContent::Mapping(members) => members.push((self.key.take().ok_or(())?, value)),
            ItemContent::Scalar { .. } => {}
        }
        Ok(())
    }
}

impl<'t, 'i> YamlReader<'t, 'i> {
    fn new(text: &'t str, items: &'i mut Vec<DocumentItem>) -> Self {
        let offsets = match text.is_ascii() {
            true => Vec::new(),
            false => text.char_indices().map(|(at, _)| u32::try_from(at).unwrap_or(u32::MAX)).collect(),
        };
        YamlReader { text, items, anchors: HashMap::new(), offsets }
    }

    fn offset(&self, index: usize) -> usize {
        match self.offsets.is_empty() {
            true => index,
            false => self.offsets.get(index).map_or(self.text.len(), |&at| at as usize),
        }
    }

    fn read(mut self) -> Result<ItemId, SourceError> {
        let mut open: Vec<OpenSource> = Vec::new();
        let mut root = None;
        for event in Parser::new_from_str(self.text) {
            let (event, span) = event.map_err(|error| SourceError::Syntax {
                format: "YAML",
                line: error.marker().line(),
                column: error.marker().col() + 1,
                message: error.info().to_owned(),
            })?;
            let start = self.offset(span.start.index());
            let is_flow = self.text.as_bytes().get(start) == Some(&b'{');
            let (value, anchor) = match event {
                Event::MappingStart(anchor, _) => {
                    let content = ItemContent::Mapping(Vec::new());
                    open.push(OpenSource {
                        content,
                        key: None,
                        anchor,
                        start: is_flow.then_some(start),
                        is_flow,
                    });
                    Self::check_depth(&open)?;
                    continue;
                }
                Event::SequenceStart(anchor, _) => {
                    let content = ItemContent::Sequence(Vec::new());
                    open.push(OpenSource { content, key: None, anchor, start: Some(start), is_flow: false });
                    Self::check_depth(&open)?;
                    continue;
                }
                Event::Scalar(text, style, anchor, _) => {
                    if open.last_mut().is_some_and(|container| container.take_key(&text, start)) {
                        continue;
                    }
                    (self.scalar(&text, style, start)?, anchor)
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    let Some(done) = open.pop() else { continue };
                    let OpenSource { content, key: _, anchor, start: at, is_flow } = done;
                    (push(self.items, DocumentItem { content, start: at.unwrap_or(start), is_flow })?, anchor)
                }
                Event::Alias(anchor) => match self.anchors.get(&anchor) {
                    Some(&named) => (named, 0),
                    None => return Err(SourceError::NotJson(span.start.line())),
                },
                Event::DocumentEnd => break,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => continue,
            };
            if anchor > 0 {
                self.anchors.insert(anchor, value);
            }
            match open.last_mut() {
                None => root = Some(value),
                Some(container) => {
                    container.add(value).map_err(|()| SourceError::NotJson(span.start.line()))?;
                }
            }
        }
        root.ok_or(SourceError::NotJson(1))
    }

    fn check_depth(open: &[OpenSource]) -> Result<(), SourceError> {
        if open.len() > MAX_DEPTH { Err(SourceError::TooLarge("200 levels")) } else { Ok(()) }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, start: usize) -> Result<ItemId, SourceError> {
        let is_null = matches!(text, "" | "~" | "null" | "Null" | "NULL");
        let is_literal = style == ScalarStyle::Plain
            && (is_null || matches!(text, "true" | "false") || text.parse::<f64>().is_ok());
        let text = if is_literal && is_null { "null" } else { text };
        push(
            self.items,
            DocumentItem {
                content: ItemContent::Scalar { text: text.into(), is_text: !is_literal },
                start,
                is_flow: false,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_yaml_give_the_same_tree() {
        let json =
            SourceDocument::parse("{\"a\": {\"b\": [1, \"x\", null]}, \"c\": \"1\"}".to_owned()).unwrap();
        let yaml = SourceDocument::parse("a:\n  b:\n    - 1\n    - x\n    -\nc: '1'\n".to_owned()).unwrap();
        let expected = serde_json::json!({"a": {"b": [1, "x", null]}, "c": "1"});
        for document in [json, yaml] {
            assert_eq!(document.to_json(document.root(), &mut 100).unwrap(), expected);
            assert_eq!(document.to_json(document.root(), &mut 5), None, "there are six nodes");
        }
    }

    #[test]
    fn mappings_know_their_places() {
        let text = "ä:\n  b: 1\nf: {x: 1}\n";
        let document = SourceDocument::parse(text.to_owned()).unwrap();
        let at = |pointer: &str| document.mapping_start(document.pointer(pointer).unwrap()).unwrap();
        assert_eq!(at("/ä"), (text.find("b:").unwrap(), false));
        assert_eq!(at("/f"), (text.find('{').unwrap(), true));
        let json = SourceDocument::parse("{\"a\": {\"b\": 1}}".to_owned()).unwrap();
        assert_eq!(json.mapping_start(json.pointer("/a").unwrap()), Some((6, true)));
    }

    #[test]
    fn aliases_are_not_copied_and_bounds_hold() {
        let mut text = String::from("a0: &a0 [x, x]\n");
        for level in 1..60 {
            text += &format!("a{level}: &a{level} [*a{}, *a{}]\n", level - 1, level - 1);
        }
        let document = SourceDocument::parse(text).unwrap();
        assert!(document.items.len() < 200);
        let mut left = MAX_ITEMS;
        assert_eq!(document.to_json(document.root(), &mut left), None, "2^59 values are too many");
        let deep = "[".repeat(300) + &"]".repeat(300);
        assert!(SourceDocument::parse(format!("a: {deep}")).is_err());
        assert!(SourceDocument::parse("{\"a\": ".to_owned()).is_err());
        assert!(SourceDocument::parse(String::new()).is_err());
        assert!(SourceDocument::parse("a: *nothing".to_owned()).is_err());
    }
}
