//! Evaluates RFC 9535 queries over a held value, for the parts of a query that the automaton cannot decide from names
//! and positions.
//!
//! The module does not know the role of a selected node. It follows the RFC, with one extension for objects with
//! duplicate names, which the RFC does not define. A recipient sees one occurrence or the other, so a condition on a
//! duplicate name is evaluated in three-valued logic: it holds for all occurrences, for none, or it is uncertain.
//! [`OnDuplicateName`] gives the treatment of an uncertain condition. In a removal the condition holds. In a mapping
//! the body is unreadable, because either result could disclose more than the other.
//!
//! The cost of an evaluation is counted and bounded, because the time for filters that are nested over descendants
//! can grow as a power of the value's size.

mod filter;
mod slice;

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

use self::filter::FilterScope;
use self::slice::{element_position, slice_contains, slice_positions};
use super::lex::denoted;
use super::mapping::OnDuplicateName;
use super::node_table::{HeldJson, Node};
use super::query::{QuerySegment, Selector};
use super::unreadable::BodyFault;

/// The greatest cost of evaluating all queries over one held value, in visited nodes. A value of one mebibyte has at
/// most 2^19 nodes.
const MAX_COST: u64 = 1 << 25;

type EvalResult<T> = Result<T, BodyFault>;

/// The place of a node in its container.
#[derive(Clone, Copy, Debug)]
pub(super) enum MemberKey<'a> {
    /// The decoded name of a member.
    Name(&'a [u8]),
    /// The position of an element.
    Index(u64),
}

/// The evaluation of queries over one held value.
#[derive(Debug)]
pub(super) struct Evaluation<'a> {
    held: HeldJson<'a>,
    on_duplicate: OnDuplicateName,
    /// The cost so far.
    cost: Cell<u64>,
    /// The current nesting depth of filters.
    nested: Cell<u32>,
    /// True if a selected name occurred more than once in its object.
    repeated: Cell<bool>,
    /// True if both results of the current filter are possible, because it depends on duplicate names in a way that
    /// is not computed.
    uncertain: Cell<bool>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(held: HeldJson<'a>, on_duplicate: OnDuplicateName) -> Evaluation<'a> {
        Evaluation {
            held,
            on_duplicate,
            cost: Cell::new(0),
            nested: Cell::new(0),
            repeated: Cell::new(false),
            uncertain: Cell::new(false),
        }
    }

    fn charge_node(&self) -> EvalResult<()> {
        self.charge(1)
    }

    /// Adds the cost of reading a text: one node per 16 bytes.
    fn charge_text(&self, text: &[u8]) -> EvalResult<()> {
        self.charge(text.len() as u64 / 16)
    }

    /// Adds to the cost.
    ///
    /// # Errors
    /// Returns [`BodyFault::TooCostly`] if the cost exceeds the bound.
    pub(super) fn charge(&self, more: u64) -> EvalResult<()> {
        self.cost.set(self.cost.get().saturating_add(more));
        if self.cost.get() > MAX_COST { Err(BodyFault::TooCostly) } else { Ok(()) }
    }

    fn node(&self, at: u32) -> EvalResult<&'a Node> {
        // All positions come from the table, so this error cannot occur.
        self.held.table.node(at).ok_or(BodyFault::TooCostly)
    }

    fn first_byte(&self, node: &Node) -> u8 {
        self.held.bytes.get(node.start as usize).copied().unwrap_or(0)
    }

    /// Returns the distinct nodes that the segments select from `from`, in document order.
    pub(super) fn select(&self, segments: &[QuerySegment], from: u32, root: u32) -> EvalResult<Vec<u32>> {
        self.walk(segments, from, root, true)
    }

    /// Applies segments one after the other. If `distinct`, the result has no duplicates and is in document order.
    fn walk(&self, segments: &[QuerySegment], from: u32, root: u32, distinct: bool) -> EvalResult<Vec<u32>> {
        let mut nodes = vec![from];
        for segment in segments {
            let mut reached = Vec::new();
            for node in nodes {
                self.apply_segment(segment, node, root, &mut reached)?;
            }
            if distinct {
                reached.sort_unstable();
                reached.dedup();
            }
            nodes = reached;
        }
        Ok(nodes)
    }

    fn apply_segment(
        &self,
        segment: &QuerySegment,
        from: u32,
        root: u32,
        into: &mut Vec<u32>,
    ) -> EvalResult<()> {
        // The nodes of a subtree are consecutive.
        let last = if segment.descendant { self.node(from)?.next } else { from + 1 };
        let of_all = |selector: &Selector| matches!(selector, Selector::Wildcard | Selector::Filter(_));
        let through_all = segment.descendant || segment.selectors.iter().any(of_all);
        for at in from..last {
            if through_all {
                self.check_duplicates(at)?;
            }
            for selector in &segment.selectors {
                self.apply_selector(selector, at, root, into)?;
            }
        }
        Ok(())
    }

    fn apply_selector(
        &self,
        selector: &Selector,
        from: u32,
        root: u32,
        into: &mut Vec<u32>,
    ) -> EvalResult<()> {
        self.charge_node()?;
        let kind = self.first_byte(self.node(from)?);
        match (selector, kind) {
            (Selector::Name(name), b'{') => {
                let before = into.len();
                for (at, child) in self.held.children(from) {
                    self.charge_node()?;
                    if self.is_named(child, name.as_bytes()) {
                        into.push(at);
                    }
                }
                if into.len() > before + 1 {
                    self.repeated.set(true);
                }
            }
            (Selector::Wildcard, b'{' | b'[') => {
                for (at, _) in self.held.children(from) {
                    self.charge_node()?;
                    into.push(at);
                }
            }
            (Selector::Index(index), b'[') => {
                let elements = self.elements(from)?;
                into.extend(element_position(*index, elements.len()).and_then(|at| elements.get(at)));
            }
            (Selector::Slice { start, end, step }, b'[') => {
                let elements = self.elements(from)?;
                into.extend(
                    slice_positions(*start, *end, *step, elements.len()).filter_map(|at| elements.get(at)),
                );
            }
            (Selector::Filter(filter), b'{' | b'[') => {
                for (current, _) in self.held.children(from) {
                    if self.holds(filter, FilterScope { current, root })? {
                        into.push(current);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the children of an array, or of an object.
    fn elements(&self, from: u32) -> EvalResult<Vec<u32>> {
        self.held.children(from).map(|(at, _)| self.charge_node().map(|()| at)).collect()
    }

    /// True if a segment selects the held value itself, as the child `place` of a container that is not held. The segment
    /// must not count from the end of an array.
    pub(super) fn selects_root(&self, segment: &QuerySegment, place: MemberKey<'_>) -> EvalResult<bool> {
        for selector in &segment.selectors {
            let selected = match (selector, place) {
                (Selector::Wildcard, _) => true,
                (Selector::Name(own), MemberKey::Name(name)) => own.as_bytes() == name,
                (Selector::Index(own), MemberKey::Index(index)) => u64::try_from(*own) == Ok(index),
                (Selector::Slice { start, end, step }, MemberKey::Index(index)) => {
                    slice_contains(*start, *end, *step, index)
                }
                (Selector::Filter(filter), _) => self.holds(filter, FilterScope { current: 0, root: 0 })?,
                (Selector::Name(_), MemberKey::Index(_)) => false,
                (Selector::Index(_) | Selector::Slice { .. }, MemberKey::Name(_)) => false,
            };
            if selected {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the decoded name of a member.
    pub(super) fn name(&self, node: &Node) -> Option<Cow<'a, [u8]>> {
        self.held.name(node).map(denoted)
    }

    /// True if a member has this name. Lengths are compared first, because an escape is longer than the character
    /// that it denotes.
    fn is_named(&self, node: &Node, name: &[u8]) -> bool {
        let Some(spelled) = self.held.name(node) else { return false };
        match spelled.len().cmp(&name.len()) {
            Ordering::Less => false,
            Ordering::Equal => spelled == name && !spelled.contains(&b'\\'),
            Ordering::Greater => spelled.contains(&b'\\') && *denoted(spelled) == *name,
        }
    }
}
