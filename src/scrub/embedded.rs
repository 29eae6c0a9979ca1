//! Embedded JSON: a string that holds a JSON text is replaced by the value of that text before the action on the
//! string or the value is decided.
//!
//! Paths then continue below the string as if the value stood in its place, conditions see the value, and the value
//! has the string's class. For example `{"a":"[1,2]","b":0}` is expanded to `{"a":[1,2],"b":0}`: node 1 was the
//! string and is the array, `b` moves from node 2 to node 4, and everything after the string moves by two bytes.
//!
//! A string that should be JSON and cannot be read, or that is nested too deep, is marked
//! [`undecodable`](NodeTable::undecodable) and is removed later. Invariant: an expanded value is never longer than the
//! original, because no JSON text is longer than the string that spells it.
//!
//! The module does not parse JSON itself. The walk, which uses this module, passes a function that reads a text into
//! a table.

use super::held_value::HeldValue;
use super::lex;
use super::node_table::{EmbeddedValue, HeldJson, Node, NodeTable};
use super::state::StateId;
use super::unreadable::BodyFault;

/// The greatest nesting depth of embedded JSON: JSON in a string of JSON in a string, and so on.
const MAX_LEVELS: u8 = 4;

/// The number of rounds in which a condition can keep a string expanded. In a later round, only strings that are
/// embedded JSON without a condition stay expanded.
const MAX_ROUNDS: u32 = 4;

/// The greatest number of strings of one held value that are decoded. Further ones count as undecodable.
const MAX_STRINGS: usize = 1 << 14;

/// Reads a JSON text into a table. The root of the text is in the given state. Returns `None` if the text cannot be
/// read.
pub(super) type ReadText<'a> = &'a dyn Fn(StateId, &[u8]) -> Option<NodeTable>;

/// A held value in which embedded JSON replaces the strings that held it.
#[derive(Debug, Default)]
pub(super) struct ExpandedValue {
    table: NodeTable,
    bytes: Vec<u8>,
    shifts: NodeShifts,
}

impl ExpandedValue {
    /// Expands a held value. Returns `None` if none of its strings can be JSON.
    ///
    /// Conditions see the expanded values, even those of strings that the conditions themselves select. The result is
    /// therefore found by iteration: all strings that may be JSON are expanded first, then the expansion of strings
    /// that no condition selects is undone. Strings inside expanded values are expanded only if a condition selects
    /// them.
    ///
    /// # Errors
    /// Returns [`BodyFault::TooCostly`] if evaluating the conditions takes too long.
    pub(super) fn expand(
        value: HeldValue<'_>,
        read_text: ReadText<'_>,
    ) -> Result<Option<ExpandedValue>, BodyFault> {
        let held = value.held;
        let certain = held.table.json_strings.as_slice();
        if !value.route.plan.may_embed {
            return Ok((!certain.is_empty()).then(|| StringDecoder::new(read_text).expand(held, certain)));
        }
        let mut strings = value.may_be_embedded();
        let mut expanded = StringDecoder::new(read_text).expand(held, &strings);
        for round in 0.. {
            let selected = HeldValue { held: expanded.held(), ..value }.embedded_by_condition()?;
            let count = strings.len();
            strings.retain(|at| {
                let is_selected =
                    || round < MAX_ROUNDS && selected.binary_search(&expanded.shifts.apply(*at)).is_ok();
                certain.binary_search(at).is_ok() || is_selected()
            });
            if strings.len() == count {
                break;
            }
            expanded = StringDecoder::new(read_text).expand(held, &strings);
        }
        expanded.expand_inner(value, read_text).map(Some)
    }

    /// Expands strings inside expanded values, level by level, where a condition selects them.
    fn expand_inner(
        mut self,
        value: HeldValue<'_>,
        read_text: ReadText<'_>,
    ) -> Result<ExpandedValue, BodyFault> {
        for level in (0..=MAX_LEVELS).rev() {
            let held = self.held();
            let selected = HeldValue { held, ..value }.embedded_by_condition()?;
            let strings = selected.into_iter().filter(|&at| held.is_unread_string(at));
            // The expansion of a selected string outside of expanded values was undone by `expand`: conditions select
            // the string only while it is not expanded. Such a string counts as undecodable, and so does a string
            // that is nested too deep.
            let (inner, undecodable): (Vec<u32>, Vec<u32>) =
                strings.partition(|&at| level > 0 && held.is_embedded(at));
            if inner.is_empty() && undecodable.is_empty() {
                break;
            }
            let mut next = StringDecoder::new(read_text).expand(held, &inner);
            let undecodable: Vec<u32> = undecodable.into_iter().map(|at| next.shifts.apply(at)).collect();
            next.table.undecodable.extend(undecodable);
            next.table.undecodable.sort_unstable();
            self = next;
        }
        Ok(self)
    }

    /// Returns the expanded value.
    pub(super) fn held(&self) -> HeldJson<'_> {
        HeldJson { table: &self.table, bytes: &self.bytes }
    }
}

/// Changes of node numbers, as pairs of a node and a shift, sorted by node. The shift applies to the nodes after that
/// node, up to the next pair.
#[derive(Debug, Default)]
struct NodeShifts(Vec<(u32, i64)>);

impl NodeShifts {
    /// Returns the new number of a node.
    fn apply(&self, at: u32) -> u32 {
        let before = self.0.partition_point(|(node, _)| *node < at);
        let last = before.checked_sub(1).and_then(|last| self.0.get(last));
        (i64::from(at) + last.map_or(0, |(_, shift)| *shift)) as u32
    }
}

/// A decoded string, and the value that replaces it.
struct DecodedString {
    /// The node of the string, and the offsets of its bytes.
    node: u32,
    start: u32,
    end: u32,
    value: ExpandedValue,
    /// The change in bytes of this and all earlier decoded strings together.
    byte_shift: i64,
    /// The change in nodes of this and all earlier decoded strings together.
    node_shift: i64,
}

/// Decodes strings of one held value.
struct StringDecoder<'a> {
    read_text: ReadText<'a>,
    strings_left: usize,
}

impl<'a> StringDecoder<'a> {
    fn new(read_text: ReadText<'a>) -> StringDecoder<'a> {
        StringDecoder { read_text, strings_left: MAX_STRINGS }
    }

    fn expand(mut self, held: HeldJson<'_>, strings: &[u32]) -> ExpandedValue {
        self.expand_strings(held, strings, MAX_LEVELS)
    }

    /// Replaces these strings of a value by the JSON values that they hold.
    fn expand_strings(&mut self, held: HeldJson<'_>, strings: &[u32], levels: u8) -> ExpandedValue {
        let mut decoded: Vec<DecodedString> = Vec::new();
        let mut undecodable = Vec::new();
        let (mut byte_shift, mut node_shift) = (0, 0);
        for &at in strings {
            let Some(node) = held.table.node(at) else { continue };
            let string = held.text(node);
            if string.first() != Some(&b'"') {
                continue;
            }
            let Some(value) = self.decode(string, node.state, levels) else {
                undecodable.push(at);
                continue;
            };
            byte_shift += value.bytes.len() as i64 - string.len() as i64;
            node_shift += i64::from(value.table.len()) - 1;
            let (start, end) = (node.start, node.end);
            decoded.push(DecodedString { node: at, start, end, value, byte_shift, node_shift });
        }
        Splicer::new(held, &decoded).splice(&undecodable)
    }

    /// Returns the JSON value that a string holds, or `None` if the string holds no readable JSON text.
    fn decode(&mut self, string: &[u8], state: StateId, levels: u8) -> Option<ExpandedValue> {
        self.strings_left = self.strings_left.checked_sub(1)?;
        let levels = levels.checked_sub(1)?;
        let mut text = Vec::with_capacity(string.len());
        let is_paired = lex::unescape(string.get(1..string.len() - 1)?, &mut text);
        // A text with a lone surrogate is not UTF-8.
        std::str::from_utf8(&text).ok().filter(|_| is_paired)?;
        let from = lex::space(&text, 0);
        let to = text.iter().rposition(|&byte| !lex::is_space(byte))? + 1;
        let text = text.get(from..to)?;
        let mut table = (self.read_text)(state, text)?;
        // If the text is itself a string, it is decoded again only if it seems to hold JSON.
        if !spells_json(text) {
            table.json_strings.retain(|&inside| inside != 0);
        }
        let held = HeldJson { table: &table, bytes: text };
        if table.json_strings.is_empty() {
            return Some(ExpandedValue { bytes: text.to_vec(), table, shifts: NodeShifts::default() });
        }
        let value = self.expand_strings(held, &table.json_strings, levels);
        (value.table.undecodable.first() != Some(&0)).then_some(value)
    }
}

/// True if a JSON text is a string that seems to hold a container or another string as JSON.
fn spells_json(text: &[u8]) -> bool {
    let [b'"', inside @ .., b'"'] = text else { return false };
    let mut denoted = Vec::with_capacity(inside.len());
    lex::unescape(inside, &mut denoted);
    matches!(denoted.get(lex::space(&denoted, 0)), Some(b'{' | b'[' | b'"'))
}

/// Rebuilds a value in which decoded strings are replaced by their values.
struct Splicer<'a> {
    held: HeldJson<'a>,
    strings: &'a [DecodedString],
    shifts: NodeShifts,
    table: NodeTable,
    bytes: Vec<u8>,
    /// The offset up to which the bytes of `held` are written or replaced.
    copied: usize,
}

impl<'a> Splicer<'a> {
    fn new(held: HeldJson<'a>, strings: &'a [DecodedString]) -> Splicer<'a> {
        let shifts = strings.iter().map(|string| (string.node, string.node_shift)).collect();
        let bytes = Vec::with_capacity(held.bytes.len());
        Splicer { held, strings, shifts: NodeShifts(shifts), table: NodeTable::default(), bytes, copied: 0 }
    }

    fn splice(mut self, undecodable: &[u32]) -> ExpandedValue {
        let mut strings = self.strings.iter().peekable();
        for (at, node) in (0..).zip(&self.held.table.nodes) {
            match strings.next_if(|string| string.node == at) {
                Some(string) => self.push_value(node, string),
                None => self.push_node(node),
            }
        }
        self.bytes.extend_from_slice(self.held.bytes.get(self.copied..).unwrap_or_default());
        self.merge_lists(undecodable);
        ExpandedValue { table: self.table, bytes: self.bytes, shifts: self.shifts }
    }

    /// Returns the new offset of a byte that is not inside of a replaced string.
    fn offset(&self, offset: u32) -> u32 {
        let before = self.strings.partition_point(|string| string.end <= offset);
        let last = before.checked_sub(1).and_then(|last| self.strings.get(last));
        (i64::from(offset) + last.map_or(0, |string| string.byte_shift)) as u32
    }

    /// Adds a node that is not replaced.
    fn push_node(&mut self, node: &Node) {
        self.table.nodes.push(Node {
            name: self.offset(node.name),
            start: self.offset(node.start),
            end: self.offset(node.end),
            next: self.shifts.apply(node.next),
            state: node.state,
        });
    }

    /// Adds the value of a decoded string in place of its node.
    fn push_value(&mut self, node: &Node, string: &DecodedString) {
        let before = self.held.bytes.get(self.copied..string.start as usize);
        self.bytes.extend_from_slice(before.unwrap_or_default());
        self.copied = string.end as usize;
        let (start, first) = (self.bytes.len() as u32, self.table.len());
        self.bytes.extend_from_slice(&string.value.bytes);
        let inner = &string.value.table;
        self.table.nodes.extend(inner.nodes.iter().map(|inside| Node {
            name: start + inside.name,
            start: start + inside.start,
            end: start + inside.end,
            next: first + inside.next,
            state: inside.state,
        }));
        if node.name != node.start {
            let name = self.offset(node.name);
            if let Some(root) = self.table.nodes.get_mut(first as usize) {
                root.name = name;
            }
        }
        let table = &mut self.table;
        table.captures.extend(inner.captures.iter().map(|&(query, inside)| (query, first + inside)));
        let duplicates = inner.duplicates.iter().map(|&(name, object)| (first + name, first + object));
        table.duplicates.extend(duplicates);
        table.undecodable.extend(inner.undecodable.iter().map(|&inside| first + inside));
        // If the text of the string was itself a string, the result is one value that was quoted several times.
        let (times, deeper) = match inner.embedded.split_first() {
            Some((root, deeper)) if root.node == 0 => (root.times, deeper),
            Some(_) | None => (0, inner.embedded.as_slice()),
        };
        let spelled = self.held.text(node).into();
        table.embedded.push(EmbeddedValue { node: first, string: spelled, times: times + 1 });
        let deeper =
            deeper.iter().map(|inside| EmbeddedValue { node: first + inside.node, ..inside.clone() });
        table.embedded.extend(deeper);
    }

    /// Adds the entries of the original table about nodes that are not replaced.
    fn merge_lists(&mut self, undecodable: &[u32]) {
        let (original, strings, shifts) = (self.held.table, self.strings, &self.shifts);
        let table = &mut self.table;
        // A capture that selects a replaced string selects its value instead. The table of the value holds that
        // capture already.
        let is_replaced = |node: u32| strings.binary_search_by_key(&node, |string| string.node).is_ok();
        let captures = original.captures.iter().filter(|(_, node)| !is_replaced(*node));
        table.captures.extend(captures.map(|&(query, node)| (query, shifts.apply(node))));
        table.captures.sort_by_key(|(_, node)| *node);
        let duplicates = original.duplicates.iter();
        table.duplicates.extend(duplicates.map(|&(name, object)| (shifts.apply(name), shifts.apply(object))));
        let embedded = original.embedded.iter();
        table
            .embedded
            .extend(embedded.map(|known| EmbeddedValue { node: shifts.apply(known.node), ..known.clone() }));
        table.embedded.sort_by_key(|embedded| embedded.node);
        let undecodable = original.undecodable.iter().chain(undecodable);
        table.undecodable.extend(undecodable.map(|&node| shifts.apply(node)));
        table.undecodable.sort_unstable();
    }
}
