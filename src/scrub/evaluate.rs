//! Evaluates RFC 9535 queries over a held value, for the parts of a query that the automaton cannot decide from names
//! and positions.
//!
//! The module does not know the purpose of a selected node. It follows the RFC, with one extension for objects with
//! duplicate names, which the RFC does not define. A recipient sees one occurrence or the other, so a condition on a
//! duplicate name is evaluated in three-valued logic: it holds for all occurrences, for none, or it is uncertain.
//! [`OnDuplicateName`] says what an uncertain condition means. For a removal it holds. For a mapping the value is
//! unreadable, because either result could disclose more than the other.
//!
//! The cost of an evaluation is counted and bounded, because filters inside of filters over descendants can take time in
//! powers of the value's size.

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

use regex::Regex;

use super::lex::{denoted, unquoted};
use super::mapping::OnDuplicateName;
use super::node_table::{HeldJson, Node};
use super::number::Decimal;
use super::query::{ComparisonOperator, Filter, Operand, Path, QuerySegment, RegexpPattern, Selector};
use super::regexp;
use super::unreadable::BodyFault;

/// The greatest cost of evaluating all queries over one held value, in visited nodes. A value of one mebibyte has at
/// most 2^19 nodes.
const MAX_COST: u64 = 1 << 25;

/// The cost of compiling a pattern, in nodes. Compiling takes one or two milliseconds for a pattern that is built to be
/// expensive.
const PATTERN_COST: u64 = 1 << 14;

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
    /// The number of filters that are being evaluated, one inside of the other.
    nested: Cell<u32>,
    /// A selected name occurred more than once in its object.
    repeated: Cell<bool>,
    /// The current filter depends on duplicate names in a way that is not computed, so both results are possible.
    uncertain: Cell<bool>,
}

/// The node that a filter tests, and the root of the query that contains the filter.
#[derive(Clone, Copy)]
struct FilterScope {
    current: u32,
    root: u32,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(held: HeldJson<'a>, ambiguous: OnDuplicateName) -> Evaluation<'a> {
        let (steps, nested) = (Cell::new(0), Cell::new(0));
        Evaluation {
            held,
            on_duplicate: ambiguous,
            cost: steps,
            nested,
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

    /// True if a filter holds for a node, or if it is uncertain and counts as holding.
    fn holds(&self, filter: &Filter, scope: FilterScope) -> EvalResult<bool> {
        if self.on_duplicate == OnDuplicateName::Impossible {
            return self.can_be(filter, scope, true);
        }
        let (around, outer) = (self.nested.get(), self.uncertain.replace(false));
        self.nested.set(around + 1);
        let holds = self.can_be(filter, scope, true)?;
        let is_uncertain =
            self.uncertain.get() || holds && (self.can_be(filter, scope, false)? || self.uncertain.get());
        self.nested.set(around);
        if is_uncertain && self.on_duplicate == OnDuplicateName::Unreadable {
            return Err(BodyFault::DuplicateName);
        }
        // A filter around this one is uncertain as well.
        self.uncertain.set(outer || (is_uncertain && around > 0));
        Ok(holds || is_uncertain)
    }

    /// Marks the result as uncertain if a filter visits all members of an object with a duplicate name.
    fn check_duplicates(&self, from: u32) -> EvalResult<()> {
        let is_asked = self.nested.get() > 0 && self.on_duplicate != OnDuplicateName::Impossible;
        if !is_asked || self.first_byte(self.node(from)?) != b'{' {
            return Ok(());
        }
        let members = self.members(from)?;
        let twice = members.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other));
        self.uncertain.set(self.uncertain.get() || twice);
        Ok(())
    }

    /// True if the result of a filter can be `wanted`, for some choice of an occurrence of each duplicate name.
    fn can_be(&self, filter: &Filter, scope: FilterScope, wanted: bool) -> EvalResult<bool> {
        self.charge_node()?;
        match filter {
            Filter::Any(list) => self.any_or_all(list, scope, wanted, wanted),
            Filter::All(list) => self.any_or_all(list, scope, wanted, !wanted),
            Filter::Not(inner) => self.can_be(inner, scope, !wanted),
            Filter::Exists(path) => Ok(self.path(path, scope, true)?.is_empty() != wanted),
            Filter::Compare(relation, left, right) => {
                let (left, right) = (self.values(left, scope)?, self.values(right, scope)?);
                self.compare(*relation, &left, &right, wanted)
            }
            Filter::Matches { whole, text, pattern } => self.matches(*whole, text, pattern, scope, wanted),
        }
    }

    /// True if the result can be `wanted` for at least one filter of the list (`one`), or for all of them.
    fn any_or_all(&self, list: &[Filter], scope: FilterScope, wanted: bool, one: bool) -> EvalResult<bool> {
        for filter in list {
            if self.can_be(filter, scope, wanted)? == one {
                return Ok(one);
            }
        }
        Ok(!one)
    }

    /// Returns the nodes that a path in a filter selects.
    fn path(&self, path: &Path, scope: FilterScope, distinct: bool) -> EvalResult<Vec<u32>> {
        let from = if path.absolute { scope.root } else { scope.current };
        if self.on_duplicate == OnDuplicateName::Impossible {
            return self.walk(&path.segments, from, scope.root, distinct);
        }
        // For a singular path, each occurrence of its last name is what one recipient sees. If an earlier name is a
        // duplicate, or if the path is not singular, the selected nodes do not say what one recipient sees.
        let exact = path.segments.iter().all(QuerySegment::is_singular);
        let before =
            path.segments.split_last().filter(|_| exact).map(|(_, before)| before).unwrap_or_default();
        if !before.is_empty() && self.walk(before, from, scope.root, true)?.len() > 1 {
            self.uncertain.set(true);
        }
        let outer = self.repeated.replace(false);
        let nodes = self.walk(&path.segments, from, scope.root, distinct)?;
        if self.repeated.get() && !exact {
            self.uncertain.set(true);
        }
        self.repeated.set(outer || self.repeated.get());
        Ok(nodes)
    }

    /// Marks a result that combines several occurrences as uncertain: no recipient sees it.
    fn mark_combined(&self, nodes: usize, path: &Path) {
        if nodes > 1 && path.segments.iter().all(QuerySegment::is_singular) {
            self.uncertain.set(true);
        }
    }

    /// Returns the values of an operand: none for the RFC's Nothing, several for a duplicate name.
    fn values<'v>(&'v self, operand: &'v Operand, scope: FilterScope) -> EvalResult<Vec<Value<'v>>> {
        Ok(match operand {
            Operand::String(text) => vec![Value::String(Cow::Borrowed(text.as_bytes()))],
            Operand::Number(number) => vec![Value::Number(Cow::Borrowed(number))],
            Operand::Bool(bool) => vec![Value::Bool(*bool)],
            Operand::Null => vec![Value::Null],
            Operand::Node(path) => {
                let nodes = self.path(path, scope, true)?;
                nodes.into_iter().map(|at| self.value(at)).collect::<EvalResult<_>>()?
            }
            Operand::Length(inner) => {
                let values = self.values(inner, scope)?;
                if values.len() > 1 {
                    self.uncertain.set(true);
                }
                let lengths =
                    values.iter().map(|value| self.length(value)).collect::<EvalResult<Vec<_>>>()?;
                lengths.into_iter().flatten().map(count).collect()
            }
            Operand::Count(path) => {
                let nodes = self.path(path, scope, false)?.len();
                self.mark_combined(nodes, path);
                vec![count(nodes)]
            }
            Operand::Value(path) => {
                let nodes = self.path(path, scope, false)?;
                self.mark_combined(nodes.len(), path);
                match nodes.as_slice() {
                    [one] => vec![self.value(*one)?],
                    _ => Vec::new(),
                }
            }
        })
    }

    fn value(&self, at: u32) -> EvalResult<Value<'a>> {
        let node = self.node(at)?;
        let text = self.held.text(node);
        self.charge_text(text)?;
        Ok(match self.first_byte(node) {
            b'"' => Value::String(unquoted(text)),
            b't' => Value::Bool(true),
            b'f' => Value::Bool(false),
            b'n' => Value::Null,
            b'{' => Value::Object(at),
            b'[' => Value::Array(at),
            _ => Value::Number(Cow::Owned(Decimal::read(text).ok_or(BodyFault::TooCostly)?)),
        })
    }

    /// Returns the decoded name of a member.
    pub(super) fn name(&self, node: &Node) -> Option<Cow<'a, [u8]>> {
        self.held.name(node).map(denoted)
    }

    /// True if a member has this name. An escape is longer than the character that it denotes.
    fn is_named(&self, node: &Node, name: &[u8]) -> bool {
        let Some(spelled) = self.held.name(node) else { return false };
        match spelled.len().cmp(&name.len()) {
            Ordering::Less => false,
            Ordering::Equal => spelled == name && !spelled.contains(&b'\\'),
            Ordering::Greater => spelled.contains(&b'\\') && *denoted(spelled) == *name,
        }
    }

    fn length(&self, value: &Value<'_>) -> EvalResult<Option<usize>> {
        Ok(match value {
            // The number of characters: the bytes that do not continue a character.
            Value::String(text) => Some(text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()),
            Value::Array(at) | Value::Object(at) => {
                self.check_duplicates(*at)?;
                Some(self.elements(*at)?.len())
            }
            Value::Number(_) | Value::Bool(_) | Value::Null => None,
        })
    }

    fn matches(
        &self,
        whole: bool,
        text: &Operand,
        pattern: &RegexpPattern,
        scope: FilterScope,
        wanted: bool,
    ) -> EvalResult<bool> {
        let texts = self.values(text, scope)?;
        let compiled;
        let patterns: Vec<Option<&Regex>> = match pattern {
            RegexpPattern::Fixed(fixed) => vec![fixed.as_ref()],
            RegexpPattern::Computed(operand) => {
                let patterns = self.values(operand, scope)?;
                self.charge(PATTERN_COST * patterns.len() as u64)?;
                let compile = |value: &Value<'_>| match value.string() {
                    Some(text) => regexp::compile_computed(text, whole).map_err(|_| BodyFault::TooCostly),
                    None => Ok(None),
                };
                compiled = patterns.iter().map(compile).collect::<EvalResult<Vec<Option<Regex>>>>()?;
                compiled.iter().map(Option::as_ref).collect()
            }
        };
        if texts.is_empty() || patterns.is_empty() {
            return Ok(!wanted);
        }
        let is_match = |text: &Value<'_>, pattern: &Option<&Regex>| {
            text.string().zip(*pattern).is_some_and(|(text, pattern)| pattern.is_match(text))
        };
        Ok(texts.iter().any(|text| patterns.iter().any(|pattern| is_match(text, pattern) == wanted)))
    }

    fn compare(
        &self,
        relation: ComparisonOperator,
        left: &[Value<'_>],
        right: &[Value<'_>],
        wanted: bool,
    ) -> EvalResult<bool> {
        if left.is_empty() || right.is_empty() {
            let both = left.is_empty() && right.is_empty();
            let holds = match relation {
                ComparisonOperator::Equal
                | ComparisonOperator::LessOrEqual
                | ComparisonOperator::GreaterOrEqual => both,
                ComparisonOperator::NotEqual => !both,
                ComparisonOperator::Less | ComparisonOperator::Greater => false,
            };
            return Ok(holds == wanted);
        }
        for one in left {
            for other in right {
                let holds = match relation {
                    ComparisonOperator::Equal => self.equal(one, other)?,
                    ComparisonOperator::NotEqual => !self.equal(one, other)?,
                    ComparisonOperator::Less => one.order(other) == Some(Ordering::Less),
                    ComparisonOperator::Greater => one.order(other) == Some(Ordering::Greater),
                    ComparisonOperator::LessOrEqual => {
                        one.order(other) == Some(Ordering::Less) || self.equal(one, other)?
                    }
                    ComparisonOperator::GreaterOrEqual => {
                        one.order(other) == Some(Ordering::Greater) || self.equal(one, other)?
                    }
                };
                if holds == wanted {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn equal(&self, one: &Value<'_>, other: &Value<'_>) -> EvalResult<bool> {
        self.charge_node()?;
        Ok(match (one, other) {
            (Value::String(one), Value::String(other)) => one == other,
            (Value::Number(one), Value::Number(other)) => one == other,
            (Value::Bool(one), Value::Bool(other)) => one == other,
            (Value::Null, Value::Null) => true,
            (Value::Array(one), Value::Array(other)) => {
                let (ones, others) = (self.elements(*one)?, self.elements(*other)?);
                ones.len() == others.len() && self.pairwise(&ones, &others)?
            }
            (Value::Object(one), Value::Object(other)) => {
                self.check_duplicates(*one)?;
                self.check_duplicates(*other)?;
                let (ones, others) = (self.members(*one)?, self.members(*other)?);
                let same_names = ones.iter().map(|(name, _)| name).eq(others.iter().map(|(name, _)| name));
                let at =
                    |members: &[(Cow<'_, [u8]>, u32)]| members.iter().map(|(_, at)| *at).collect::<Vec<_>>();
                same_names && self.pairwise(&at(&ones), &at(&others))?
            }
            _ => false,
        })
    }

    /// True if values are equal one by one.
    fn pairwise(&self, ones: &[u32], others: &[u32]) -> EvalResult<bool> {
        for (one, other) in ones.iter().zip(others) {
            if !self.equal(&self.value(*one)?, &self.value(*other)?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the members of an object, sorted by name; members of the same name are in document order.
    fn members(&self, from: u32) -> EvalResult<Vec<(Cow<'a, [u8]>, u32)>> {
        let mut members = Vec::new();
        for (at, child) in self.held.children(from) {
            self.charge_node()?;
            members.extend(self.name(child).map(|name| (name, at)));
        }
        members.sort();
        Ok(members)
    }
}

fn count(count: usize) -> Value<'static> {
    Value::Number(Cow::Owned(Decimal::of(count as u64)))
}

/// A value in a comparison, from the document or from the query.
enum Value<'v> {
    String(Cow<'v, [u8]>),
    Number(Cow<'v, Decimal>),
    Bool(bool),
    Null,
    Array(u32),
    Object(u32),
}

impl Value<'_> {
    fn string(&self) -> Option<&str> {
        match self {
            // Half of a surrogate pair is not a character, and no pattern matches it.
            Value::String(text) => std::str::from_utf8(text).ok(),
            Value::Number(_) | Value::Bool(_) | Value::Null | Value::Array(..) | Value::Object(..) => None,
        }
    }

    /// Compares two numbers, or two strings by code points (RFC 9535, 2.3.5.2.2). Other values have no order.
    fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
            (Value::Number(one), Value::Number(other)) => Some(one.cmp(other)),
            _ => None,
        }
    }
}

/// Returns the position of an index, which counts from the end if it is negative.
fn element_position(index: i64, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

/// Returns the positions of a slice, as computed in RFC 9535, 2.3.4.2.2.
fn slice_positions(
    start: Option<i64>,
    end: Option<i64>,
    step: i64,
    length: usize,
) -> impl Iterator<Item = usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let normal = |bound: i64| if bound >= 0 { bound } else { length.saturating_add(bound) };
    let (first, stop) = if step >= 0 {
        let start = normal(start.unwrap_or(0)).clamp(0, length);
        (start, normal(end.unwrap_or(length)).clamp(0, length))
    } else {
        let start = start.map_or(length - 1, normal).clamp(-1, length - 1);
        (start, end.map_or(-1, normal).clamp(-1, length - 1))
    };
    let within = move |at: &i64| if step > 0 { *at < stop } else { step < 0 && *at > stop };
    std::iter::successors(Some(first).filter(within), move |at| at.checked_add(step).filter(within))
        .filter_map(|at| usize::try_from(at).ok())
}

/// True if a slice selects a position. The slice must not count from the end.
fn slice_contains(start: Option<i64>, end: Option<i64>, step: i64, index: u64) -> bool {
    let Ok(index) = i64::try_from(index) else { return false };
    let start = start.unwrap_or(0);
    step > 0 && index >= start && end.is_none_or(|end| index < end) && (index - start) % step == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn slices_follow_the_rfc() {
        let of = |start, end, step| slice_positions(start, end, step, 5).collect::<Vec<_>>();
        assert_eq!(of(Some(1), Some(3), 1), [1, 2]);
        assert_eq!(of(None, None, 2), [0, 2, 4]);
        assert_eq!(of(None, None, -1), [4, 3, 2, 1, 0]);
        assert_eq!(of(Some(-2), None, 1), [3, 4]);
        assert_eq!(of(Some(5), Some(1), -2), [4, 2]);
        assert!(of(Some(0), Some(3), 0).is_empty());
        assert_eq!(of(Some(i64::MIN), Some(i64::MAX), i64::MAX), [0]);
        assert!(of(None, Some(-1), -1).is_empty());
        for (start, end, step) in
            [(Some(1), Some(4), 2), (None, None, 3), (Some(2), None, 1), (Some(3), Some(2), 1)]
        {
            let direct: Vec<_> = (0..5).filter(|&at| slice_contains(start, end, step, at)).collect();
            let listed: Vec<_> = slice_positions(start, end, step, 5).map(|at| at as u64).collect();
            assert_eq!(direct, listed);
        }
    }
}
