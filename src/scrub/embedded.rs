//! JSON in strings: the value that a string spells is put in the string's place, before anything is
//! decided about either.
//!
//! Refuses to know what the values mean: paths go on below the string as if its value stood there,
//! conditions see the value, and the string's class is the value's. A string that should be JSON and
//! is not, or is nested too deep, is marked, and goes. Bytes only become fewer: no text is longer
//! than the string that spells it.

use super::lex;
use super::table::{Embedded, Held, Node, Table};
use super::unit::{Common, Unit};
use super::unreadable::BodyFault;
use super::unreadable::Limits;
use super::walk::Walk;

/// JSON in a string in JSON in a string, so many times.
const MAX_LEVELS: u8 = 4;

/// How often conditions are asked again after strings turned out not to be JSON.
const MAX_ROUNDS: u32 = 4;

/// Strings of one held value that are read; the rest goes.
const MAX_STRINGS: usize = 1 << 14;

/// A held value with the values of its strings in their places.
#[derive(Debug, Default)]
pub(super) struct ExpandedValue {
    table: Table,
    bytes: Vec<u8>,
    /// By how much what comes after these nodes was moved.
    moved: Vec<(u32, i64)>,
}

/// The new number of a node.
fn moved(by: &[(u32, i64)], at: u32) -> u32 {
    let before = by.partition_point(|(node, _)| *node < at);
    let shift = before.checked_sub(1).and_then(|last| by.get(last)).map_or(0, |(_, shift)| *shift);
    (i64::from(at) + shift) as u32
}

/// A string of the value that is expanded, and what takes its place.
struct DecodedString {
    node: u32,
    start: u32,
    end: u32,
    value: ExpandedValue,
    /// How many bytes, and nodes, there are more (or fewer) up to and with this piece.
    bytes: i64,
    nodes: i64,
}

impl ExpandedValue {
    /// The value of a unit expanded; `None` if no string of it may be JSON. Conditions see the values, also of what
    /// they select themselves: what may be JSON is taken for it until no condition selects it. Deeper
    /// strings are read where a condition selects them.
    ///
    /// # Errors
    /// If evaluating the plan's conditions takes too long.
    pub(super) fn decode(unit: Unit<'_>, limits: Limits) -> Result<Option<ExpandedValue>, BodyFault> {
        let (common, held) = (unit.common, unit.held);
        let expand = |held: Held<'_>, texts: &[u32]| {
            let mut left = MAX_STRINGS;
            expand(held, texts, common, limits, MAX_LEVELS, &mut left)
        };
        let certain = held.table.texts.as_slice();
        if !common.plan.may_embed {
            return Ok((!certain.is_empty()).then(|| expand(held, certain)));
        }
        let mut texts = unit.may_be_embedded();
        let mut expanded = expand(held, &texts);
        for round in 0.. {
            let selected = Unit { held: expanded.held(), ..unit }.embedded_by_condition()?;
            let counted = texts.len();
            texts.retain(|at| {
                let stays = || round < MAX_ROUNDS && selected.binary_search(&expanded.number(*at)).is_ok();
                certain.binary_search(at).is_ok() || stays()
            });
            if texts.len() == counted {
                break;
            }
            expanded = expand(held, &texts);
        }
        for level in (0..=MAX_LEVELS).rev() {
            let now = expanded.held();
            let selected = Unit { held: now, ..unit }.embedded_by_condition()?;
            let new = selected.into_iter().filter(|&at| now.is_unread_string(at));
            // Conditions that select it only as long as it is not read, or too deep: it goes.
            let (chosen, opaque): (Vec<u32>, Vec<u32>) =
                new.partition(|&at| level > 0 && now.is_embedded(at));
            if chosen.is_empty() && opaque.is_empty() {
                break;
            }
            let mut more = expand(now, &chosen);
            let opaque = opaque.into_iter().map(|at| more.number(at)).collect::<Vec<_>>();
            more.table.opaque.extend(opaque);
            more.table.opaque.sort_unstable();
            expanded = more;
        }
        Ok(Some(expanded))
    }

    /// Where a node of the value as it came has gone.
    fn number(&self, at: u32) -> u32 {
        moved(&self.moved, at)
    }

    pub(super) fn held(&self) -> Held<'_> {
        Held { table: &self.table, bytes: &self.bytes }
    }
}

fn expand(
    held: Held<'_>,
    texts: &[u32],
    common: Common<'_>,
    limits: Limits,
    levels: u8,
    strings: &mut usize,
) -> ExpandedValue {
    let mut pieces: Vec<DecodedString> = Vec::new();
    let mut opaque = Vec::new();
    let (mut bytes, mut nodes) = (0, 0);
    for &at in texts {
        let Some(node) = held.table.node(at) else { continue };
        let string = held.text(node);
        if string.first() != Some(&b'"') {
            continue;
        }
        let value = strings.checked_sub(1).and_then(|left| {
            *strings = left;
            read(string, node, common, limits, levels, strings)
        });
        match value {
            Some(value) => {
                bytes += value.bytes.len() as i64 - string.len() as i64;
                nodes += i64::from(value.table.len()) - 1;
                pieces.push(DecodedString {
                    node: at,
                    start: node.start,
                    end: node.end,
                    value,
                    bytes,
                    nodes,
                });
            }
            None => opaque.push(at),
        }
    }
    splice(held, pieces, &opaque)
}

/// The value that a string spells; `None` if it spells none that can be read.
fn read(
    string: &[u8],
    node: &Node,
    common: Common<'_>,
    limits: Limits,
    levels: u8,
    strings: &mut usize,
) -> Option<ExpandedValue> {
    let levels = levels.checked_sub(1)?;
    let mut text = Vec::with_capacity(string.len());
    let paired = lex::unescape(string.get(1..string.len() - 1)?, &mut text);
    // Half of a surrogate pair is no character.
    std::str::from_utf8(&text).ok().filter(|_| paired)?;
    let from = lex::space(&text, 0);
    let to = text.iter().rposition(|&byte| !lex::is_space(byte))? + 1;
    let text = text.get(from..to)?;
    let mut table = Walk::index_text(common, node.state, text, limits).ok()?;
    // A string that is the whole text is a string, unless it was spelled twice.
    if !may_be_json(text) {
        table.texts.retain(|&inside| inside != 0);
    }
    let held = Held { table: &table, bytes: text };
    if table.texts.is_empty() {
        return Some(ExpandedValue { bytes: text.to_vec(), table, moved: Vec::new() });
    }
    let value = expand(held, &table.texts, common, limits, levels, strings);
    (value.table.opaque.first() != Some(&0)).then_some(value)
}

/// Whether a text is a string that seems to spell more than a scalar.
fn may_be_json(text: &[u8]) -> bool {
    let [b'"', inside @ .., b'"'] = text else { return false };
    let mut denoted = Vec::with_capacity(inside.len());
    lex::unescape(inside, &mut denoted);
    matches!(denoted.get(lex::space(&denoted, 0)), Some(b'{' | b'[' | b'"'))
}

/// Puts the pieces in their places.
fn splice(held: Held<'_>, pieces: Vec<DecodedString>, opaque: &[u32]) -> ExpandedValue {
    let shift = |count: usize, of: fn(&DecodedString) -> i64| {
        count.checked_sub(1).and_then(|last| pieces.get(last)).map_or(0, of)
    };
    // No place is inside of a string that is replaced.
    let place = |offset: u32| {
        let before = pieces.partition_point(|piece| piece.end <= offset);
        (i64::from(offset) + shift(before, |piece| piece.bytes)) as u32
    };
    let shifts: Vec<(u32, i64)> = pieces.iter().map(|piece| (piece.node, piece.nodes)).collect();
    let number = |node: u32| moved(&shifts, node);
    let is_replaced = |node: u32| pieces.binary_search_by_key(&node, |piece| piece.node).is_ok();

    let mut table = Table::default();
    let mut bytes = Vec::with_capacity(held.bytes.len());
    let mut copied = 0;
    let mut coming = pieces.iter().peekable();
    for (at, node) in (0..).zip(&held.table.nodes) {
        let Some(piece) = coming.next_if(|piece| piece.node == at) else {
            let moved = Node {
                name: place(node.name),
                start: place(node.start),
                end: place(node.end),
                next: number(node.next),
                state: node.state,
            };
            table.nodes.push(moved);
            continue;
        };
        bytes.extend_from_slice(held.bytes.get(copied..piece.start as usize).unwrap_or_default());
        let (start, first) = (bytes.len() as u32, table.len());
        bytes.extend_from_slice(&piece.value.bytes);
        copied = piece.end as usize;
        let inner = &piece.value.table;
        for inside in &inner.nodes {
            table.nodes.push(Node {
                name: start + inside.name,
                start: start + inside.start,
                end: start + inside.end,
                next: first + inside.next,
                state: inside.state,
            });
        }
        if let Some(root) = table.nodes.get_mut(first as usize).filter(|_| node.name != node.start) {
            root.name = place(node.name);
        }
        table.captures.extend(inner.captures.iter().map(|&(query, inside)| (query, first + inside)));
        let repeated = inner.repeated.iter().map(|&(name, object)| (first + name, first + object));
        table.repeated.extend(repeated);
        let (again, deeper) = match inner.embedded.split_first() {
            Some((again, deeper)) if again.node == 0 => (again.times, deeper),
            Some(_) | None => (0, inner.embedded.as_slice()),
        };
        let string = held.text(node).into();
        table.embedded.push(Embedded { node: first, string, times: again + 1 });
        table
            .embedded
            .extend(deeper.iter().map(|inside| Embedded { node: first + inside.node, ..inside.clone() }));
        table.opaque.extend(inner.opaque.iter().map(|&inside| first + inside));
    }
    bytes.extend_from_slice(held.bytes.get(copied..).unwrap_or_default());
    // What captures a string captures its value, which has it noted.
    let captures = held.table.captures.iter().filter(|(_, node)| !is_replaced(*node));
    table.captures.extend(captures.map(|&(query, node)| (query, number(node))));
    table.captures.sort_by_key(|(_, node)| *node);
    let repeated = held.table.repeated.iter();
    table.repeated.extend(repeated.map(|&(name, object)| (number(name), number(object))));
    let embedded = held.table.embedded.iter();
    table.embedded.extend(embedded.map(|known| Embedded { node: number(known.node), ..known.clone() }));
    table.embedded.sort_by_key(|embedded| embedded.node);
    table.opaque.extend(held.table.opaque.iter().chain(opaque).map(|&node| number(node)));
    table.opaque.sort_unstable();
    ExpandedValue { table, bytes, moved: shifts }
}

/// Spells `out` from `from` on, which is JSON, as a string, so many times.
pub(super) fn spell(out: &mut Vec<u8>, from: usize, times: u8) {
    for _ in 0..times {
        let text = out.split_off(from);
        out.push(b'"');
        for byte in text {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                // JSON has no other controls, in strings or between tokens.
                _ => out.push(byte),
            }
        }
        out.push(b'"');
    }
}
