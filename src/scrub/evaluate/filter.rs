//! Evaluates filters, which are conditions on a node. If an object has duplicate names, three-valued logic applies.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex::Regex;

use super::{EvalResult, Evaluation};
use crate::scrub::lex::unquoted;
use crate::scrub::mapping::OnDuplicateName;
use crate::scrub::number::Decimal;
use crate::scrub::query::{ComparisonOperator, Filter, Operand, Path, QuerySegment, RegexpPattern};
use crate::scrub::regexp;
use crate::scrub::unreadable::BodyFault;

/// The cost of compiling a pattern, in nodes. Compiling takes one or two milliseconds for a pattern that is built to be
/// expensive.
const PATTERN_COST: u64 = 1 << 14;

/// The node that a filter tests, and the root of the query that contains the filter.
#[derive(Clone, Copy)]
pub(super) struct FilterScope {
    pub(super) current: u32,
    pub(super) root: u32,
}

impl<'a> Evaluation<'a> {
    /// True if a filter holds for a node, or if its result is uncertain and counts as true.
    pub(super) fn holds(&self, filter: &Filter, scope: FilterScope) -> EvalResult<bool> {
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
        // If this filter is nested in another filter, the result of that filter is uncertain as well.
        self.uncertain.set(outer || (is_uncertain && around > 0));
        Ok(holds || is_uncertain)
    }

    /// Marks the result as uncertain if a filter visits all members of an object with a duplicate name.
    pub(super) fn check_duplicates(&self, from: u32) -> EvalResult<()> {
        let is_asked = self.nested.get() > 0 && self.on_duplicate != OnDuplicateName::Impossible;
        if !is_asked || self.first_byte(self.node(from)?) != b'{' {
            return Ok(());
        }
        let members = self.members(from)?;
        let twice = members.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other));
        self.uncertain.set(self.uncertain.get() || twice);
        Ok(())
    }

    /// True if the result of a filter is `wanted` for some choice of one occurrence of each duplicate name.
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

    /// True if the result can be `wanted` for at least one filter of the list, if `one` is true, or for all filters
    /// of the list, if `one` is false.
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
        // If only the last name of a singular path is a duplicate, each selected node is the value that some
        // recipient sees. If an earlier name is a duplicate, or if the path is not singular, the selected nodes can
        // mix values that different recipients see.
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

    /// Marks a result as uncertain if it combines several occurrences of a name: no recipient sees such a result.
    fn mark_combined(&self, nodes: usize, path: &Path) {
        if nodes > 1 && path.segments.iter().all(QuerySegment::is_singular) {
            self.uncertain.set(true);
        }
    }

    /// Returns the values of an operand: no value for the special result `Nothing` (RFC 9535, 2.4.1), several values
    /// if a name is a duplicate.
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

    fn length(&self, value: &Value<'_>) -> EvalResult<Option<usize>> {
        Ok(match value {
            // The number of characters is the number of bytes that are not UTF-8 continuation bytes.
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

    /// True if each value equals the value at the same position of the other list.
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
            // A text with a lone surrogate is not UTF-8, so no pattern matches it.
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
