//! A JSON or YAML document as a tree whose nodes know their places in the text.
//!
//! An alias of YAML is the node that it names, so a document of aliases does not grow. Size, nodes and depth are bounded.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::discover::effort;

/// Maximum bytes of one document.
pub const MAX_DOCUMENT_BYTES: usize = 32 << 20;
/// Maximum number of nodes of a document and of the files that it refers to, together.
pub(super) const MAX_ITEMS: usize = 4 << 20;
/// Maximum depth of one document.
const MAX_DEPTH: usize = 200;
/// Maximum number of members of a mapping that is searched one by one.
const MAX_SEARCHED: usize = 32;

/// The position of a node in its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ItemId(u32);

impl ItemId {
    /// Returns the position as an index.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

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
    /// The document is too long or too deep.
    #[error("the document has more than {0}")]
    TooLarge(&'static str),
    /// The document has too many nodes, those of the files that were read before included.
    #[error("the document and the files that it refers to have more than 4 million nodes together")]
    TooManyNodes,
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
    /// Reads a document of at most `max_items` nodes. Text that begins with a brace is JSON, everything else is YAML.
    ///
    /// # Errors
    /// [`SourceError`].
    pub(super) fn parse(text: String, max_items: usize) -> Result<SourceDocument, SourceError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(SourceError::TooLarge("32 MiB"));
        }
        let mut items = ItemList { items: Vec::new(), limit: max_items };
        let root = match text.trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t']).starts_with('{') {
            true => JsonReader { text: &text, at: 0, items: &mut items }.read().or_else(|error| {
                // YAML has a flow style with braces, too.
                items.items.clear();
                YamlReader::new(&text, &mut items).read().map_err(|_| error)
            })?,
            false => YamlReader::new(&text, &mut items).read()?,
        };
        let items = items.items;
        let index = index_of(&items);
        Ok(SourceDocument { text, items, root, index })
    }

    /// Returns the root.
    pub(super) fn root(&self) -> ItemId {
        self.root
    }

    /// Returns the number of nodes.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns the text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn item(&self, id: ItemId) -> Option<&DocumentItem> {
        self.items.get(id.index())
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

    /// Returns a node as a JSON value. Bounded by [`MAX_DEPTH`]; an alias is copied, as long as nodes are left. `full` returns
    /// the text that replaces the `$ref` of a mapping.
    pub(super) fn to_json(&self, id: ItemId, left: &mut usize, full: &FullReference<'_>) -> Option<Value> {
        self.json(id, 0, left, full)
    }

    fn json(&self, id: ItemId, depth: usize, left: &mut usize, full: &FullReference<'_>) -> Option<Value> {
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
                let element = |&element: &ItemId| self.json(element, depth + 1, left, full);
                elements.iter().map(element).collect::<Option<_>>()?
            }
            ItemContent::Mapping(members) => {
                let member = |(name, value): &(Box<str>, ItemId)| {
                    let reference = self.scalar(*value).filter(|_| **name == *"$ref");
                    let replaced = reference.and_then(|reference| full(id, reference));
                    let value = self.json(*value, depth + 1, left, full)?;
                    Some((name.to_string(), replaced.map_or(value, Value::String)))
                };
                Value::Object(members.iter().map(member).collect::<Option<_>>()?)
            }
        })
    }
}

/// Returns the text that replaces the `$ref` of a mapping, if it is a reference.
type FullReference<'f> = dyn Fn(ItemId, &str) -> Option<String> + 'f;

/// Returns the members of large mappings by their names. Of several with one name the first counts.
fn index_of(items: &[DocumentItem]) -> HashMap<ItemId, HashMap<Box<str>, ItemId>> {
    let large = (0..).map(ItemId).zip(items).filter_map(|(id, item)| match &item.content {
        ItemContent::Mapping(members) if members.len() > MAX_SEARCHED => Some((id, members)),
        ItemContent::Mapping(_) | ItemContent::Sequence(_) | ItemContent::Scalar { .. } => None,
    });
    let by_name = |members: &Vec<(Box<str>, ItemId)>| members.iter().rev().cloned().collect();
    large.map(|(id, members)| (id, by_name(members))).collect()
}

/// The nodes of a document that is being read.
struct ItemList {
    items: Vec<DocumentItem>,
    limit: usize,
}

impl ItemList {
    fn push(&mut self, item: DocumentItem) -> Result<ItemId, SourceError> {
        if self.items.len() >= self.limit {
            return Err(SourceError::TooManyNodes);
        }
        let id = ItemId(u32::try_from(self.items.len()).unwrap_or(u32::MAX));
        self.items.push(item);
        Ok(id)
    }
}

/// Reads JSON in one pass, after the parser has found that it is JSON. The parser does not tell the places of values.
struct JsonReader<'t, 'i> {
    text: &'t str,
    /// The place of the next byte.
    at: usize,
    items: &'i mut ItemList,
}

impl JsonReader<'_, '_> {
    fn read(mut self) -> Result<ItemId, SourceError> {
        let text = self.text.trim_start_matches('\u{feff}');
        let _: &RawValue = serde_json::from_str(text).map_err(|error| json_error(&error))?;
        self.at = self.text.len() - text.len();
        self.value(0)
    }

    /// Returns the next byte that is no blank.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += rest.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))?;
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes the next byte that is no blank, if it is this one.
    fn passes(&mut self, byte: u8) -> bool {
        let is_next = self.next() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: usize) -> Result<ItemId, SourceError> {
        if depth > MAX_DEPTH {
            return Err(SourceError::TooLarge("200 levels"));
        }
        let first = self.next();
        let start = self.at;
        let content = match first {
            Some(b'{') => self.members(depth)?,
            Some(b'[') => self.elements(depth)?,
            Some(b'"') => ItemContent::Scalar { text: self.string()?, is_text: true },
            _ => {
                let rest = self.text.get(start..).unwrap_or_default();
                let length = rest.find([',', ']', '}', ' ', '\n', '\r', '\t']).unwrap_or(rest.len());
                self.at += length;
                ItemContent::Scalar { text: rest.get(..length).unwrap_or_default().into(), is_text: false }
            }
        };
        self.items.push(DocumentItem { content, start, is_flow: true })
    }

    fn members(&mut self, depth: usize) -> Result<ItemContent, SourceError> {
        let mut members = Vec::new();
        self.at += 1;
        while self.next() == Some(b'"') {
            let name = self.string()?;
            self.passes(b':');
            members.push((name, self.value(depth + 1)?));
            self.passes(b',');
        }
        self.passes(b'}');
        Ok(ItemContent::Mapping(members))
    }

    fn elements(&mut self, depth: usize) -> Result<ItemContent, SourceError> {
        let mut elements = Vec::new();
        self.at += 1;
        while self.next().is_some_and(|byte| byte != b']') {
            elements.push(self.value(depth + 1)?);
            self.passes(b',');
        }
        self.passes(b']');
        Ok(ItemContent::Sequence(elements))
    }

    /// Reads the string that begins at the next byte.
    fn string(&mut self) -> Result<Box<str>, SourceError> {
        let start = self.at;
        self.at = self.text.len();
        let mut bytes = self.text.as_bytes().iter().enumerate().skip(start + 1);
        let mut has_escapes = false;
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.at = at + 1;
                    break;
                }
                b'\\' => {
                    has_escapes = true;
                    bytes.next();
                }
                _ => {}
            }
        }
        let quoted = self.text.get(start..self.at).unwrap_or_default();
        if has_escapes {
            return serde_json::from_str::<String>(quoted)
                .map(String::into_boxed_str)
                .map_err(|error| json_error(&error));
        }
        Ok(quoted.trim_matches('"').into())
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
    items: &'i mut ItemList,
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
    fn new(text: &'t str, items: &'i mut ItemList) -> Self {
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
                    (self.items.push(DocumentItem { content, start: at.unwrap_or(start), is_flow })?, anchor)
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
        let content = ItemContent::Scalar { text: text.into(), is_text: !is_literal };
        self.items.push(DocumentItem { content, start, is_flow: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: String) -> Result<SourceDocument, SourceError> {
        SourceDocument::parse(text, MAX_ITEMS)
    }

    #[test]
    fn json_and_yaml_give_the_same_tree() {
        let json = parse("{\"a\": {\"b\": [1, \"x\", null]}, \"c\": \"1\"}".to_owned()).unwrap();
        let yaml = parse("a:\n  b:\n    - 1\n    - x\n    -\nc: '1'\n".to_owned()).unwrap();
        let expected = serde_json::json!({"a": {"b": [1, "x", null]}, "c": "1"});
        for document in [json, yaml] {
            assert_eq!(document.to_json(document.root(), &mut 100, &|_, _| None).unwrap(), expected);
            assert_eq!(document.to_json(document.root(), &mut 5, &|_, _| None), None, "there are six nodes");
        }
    }

    #[test]
    fn json_is_read_as_the_parser_reads_it() {
        let text = "\u{feff}\r\n { \"\" : \"\", \"a\\\"b\\\\\":[ ],\"c\":{ },\t\"d\":[ -1.5e3 ,true,\n[[null]],\"\\u00e9\\n]}\"] , \
                    \"e\":{\"f\": \"[,:{\" } } ";
        let expected: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap();
        let document = parse(text.to_owned()).unwrap();
        assert_eq!(document.to_json(document.root(), &mut 100, &|_, _| None).unwrap(), expected);
        for wrong in ["{\"a\":1,}", "{\"a\" 1}", "{\"a\":[1 2]}", "{\"a\":\"\u{1}\"}", "{\"a\":01}"] {
            assert!(
                JsonReader { text: wrong, at: 0, items: &mut ItemList { items: Vec::new(), limit: 9 } }
                    .read()
                    .is_err()
            );
        }
    }

    #[test]
    fn mappings_know_their_places() {
        let text = "ä:\n  b: 1\nf: {x: 1}\n";
        let document = parse(text.to_owned()).unwrap();
        let at = |pointer: &str| document.mapping_start(document.pointer(pointer).unwrap()).unwrap();
        assert_eq!(at("/ä"), (text.find("b:").unwrap(), false));
        assert_eq!(at("/f"), (text.find('{').unwrap(), true));
        let json = parse("{\"a\": {\"b\": 1}}".to_owned()).unwrap();
        assert_eq!(json.mapping_start(json.pointer("/a").unwrap()), Some((6, true)));
    }

    #[test]
    fn aliases_are_not_copied_and_bounds_hold() {
        let mut text = String::from("a0: &a0 [x, x]\n");
        for level in 1..60 {
            text += &format!("a{level}: &a{level} [*a{}, *a{}]\n", level - 1, level - 1);
        }
        let document = parse(text).unwrap();
        assert!(document.items.len() < 200);
        let mut left = MAX_ITEMS;
        assert_eq!(
            document.to_json(document.root(), &mut left, &|_, _| None),
            None,
            "2^59 values are too many"
        );
        let deep = "[".repeat(300) + &"]".repeat(300);
        assert!(parse(format!("a: {deep}")).is_err());
        assert!(parse("{\"a\": ".to_owned()).is_err());
        assert!(parse(String::new()).is_err());
        assert!(parse("a: *nothing".to_owned()).is_err());
    }
}
