//! RFC 9535 queries: parsed by `jsonpath-rust`, checked against the RFC, and converted into the types that the
//! scrubber evaluates.
//!
//! The module does not know documents. It uses only the parser of the crate. The evaluator of the crate selects
//! nothing for `$[?@[?@>1]]`, so a removal with such a query would fail open. The parser accepts a few queries that
//! are not RFC 9535 (`count`, `length` and `value` as tests, `length` of a query that can select several nodes,
//! functions of its own); [`convert`] refuses them. The parser also trims names and rounds numbers; [`text`] prevents
//! both.

mod convert;
mod text;

use std::fmt;

use regex::Regex;

use self::convert::parse;
use self::text::{MAX_DIGITS, max_open_brackets};
use super::number::Decimal;

/// Bound on the bytes of a query. Parsing time grows with its length.
pub(super) const MAX_LENGTH: usize = 1024;

/// Bound on the brackets and parentheses that are open at once. Parsing time more than doubles with each level of
/// functions and filters that are nested in each other.
const MAX_OPEN_BRACKETS: usize = 12;

/// The greatest index that the automaton matches by counting elements. A greater index is treated as a condition,
/// which is evaluated over held values.
const MAX_COUNTED_INDEX: i64 = 255;

type QueryResult<T> = Result<T, MappingFault>;

/// The reason why a path of a mapping does not load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingFault {
    /// The path does not begin with `$` or `@` (a subject's path may be `{name}` as well).
    NoRoot,
    /// The path of a record set does not begin with `$`.
    NotFromDocument,
    /// The path is longer than 1024 bytes.
    TooLong,
    /// More than twelve brackets and parentheses are open at once.
    TooDeep,
    /// The path is not a query. Holds the message of the parser.
    Syntax(String),
    /// The query parses but is not RFC 9535.
    NotInRfc(&'static str),
    /// A double does not represent this number exactly enough: it has too many digits or is too close to 0.
    NotExact(String),
    /// A pattern of `match` or `search` takes too much memory.
    PatternTooLarge,
    /// A path parameter lacks its name or the closing brace.
    Parameter,
    /// A field has no data category.
    NoCategory,
    /// The first name of a path in a table is not one of its columns.
    NoColumn(String),
    /// A path in a table has a condition on `$`, where names of columns are not resolved.
    RootInTable,
}

impl fmt::Display for MappingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MappingFault::NoRoot => f.write_str("a path begins with `$` (the document) or `@` (the record)"),
            MappingFault::NotFromDocument => f.write_str("the path of a record set begins with `$`"),
            MappingFault::TooLong => write!(f, "a path has at most {MAX_LENGTH} bytes"),
            MappingFault::TooDeep => {
                write!(f, "a path has at most {MAX_OPEN_BRACKETS} nested brackets")
            }
            MappingFault::Syntax(what) => write!(f, "not a JSONPath query: {what}"),
            MappingFault::NotInRfc(what) => write!(f, "not RFC 9535: {what}"),
            MappingFault::NotExact(number) => {
                write!(
                    f,
                    "`{number}` is not exact: a number has at most {MAX_DIGITS} digits or is an integer below 2^53, and is not closer to 0 than 1e-307"
                )
            }
            MappingFault::PatternTooLarge => {
                f.write_str("the pattern is too large: its repetitions multiply to more than 10 MiB")
            }
            MappingFault::Parameter => f.write_str("a path parameter is written `{name}`"),
            MappingFault::NoCategory => f.write_str("a field has at least one data category"),
            MappingFault::NoColumn(name) => write!(f, "the table has no column `{name}`"),
            MappingFault::RootInTable => f.write_str("a condition on `$` cannot be used in a table"),
        }
    }
}

/// A query: the segments after its root.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) segments: Vec<QuerySegment>,
}

/// One segment of a query (RFC 9535, 2.5).
#[derive(Clone, Debug)]
pub(super) struct QuerySegment {
    /// True if the segment selects from the node and all its descendants, false if only from the node.
    pub(super) descendant: bool,
    pub(super) selectors: Vec<Selector>,
}

/// A selector (RFC 9535, 2.3).
#[derive(Clone, Debug)]
pub(super) enum Selector {
    Name(Box<str>),
    Wildcard,
    Index(i64),
    Slice { start: Option<i64>, end: Option<i64>, step: i64 },
    Filter(Filter),
}

/// A condition of a filter selector.
#[derive(Clone, Debug)]
pub(super) enum Filter {
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    /// The query selects at least one node.
    Exists(Path),
    Compare(ComparisonOperator, Operand, Operand),
    /// `match` (the whole string) or `search` (a part of it).
    Matches {
        whole: bool,
        text: Operand,
        pattern: RegexpPattern,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ComparisonOperator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A query within a filter.
#[derive(Clone, Debug)]
pub(super) struct Path {
    /// True if the query starts at the root of the argument (`$`), false if at the current node (`@`).
    pub(super) absolute: bool,
    pub(super) segments: Vec<QuerySegment>,
}

/// One side of a comparison, or an argument of a function.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    String(Box<str>),
    Number(Decimal),
    Bool(bool),
    Null,
    /// The node of a query that selects at most one.
    Node(Path),
    /// The functions of RFC 9535, 2.4.4 to 2.4.8, that return a value.
    Length(Box<Operand>),
    Count(Path),
    Value(Path),
}

/// The pattern of `match` or `search`.
#[derive(Clone, Debug)]
pub(super) enum RegexpPattern {
    /// A literal, compiled at load. `None` if it is no I-Regexp: it matches nothing (RFC 9535, 2.4.6).
    Fixed(Option<Regex>),
    /// A pattern from the document.
    Computed(Operand),
}

/// The node where a path starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Document,
    Record,
}

/// Reads a path of a mapping: `$…` or `@…`. A path that begins with `@` is a query whose argument is the record.
///
/// # Errors
/// Returns the reason why the path does not load.
pub(super) fn read(text: &str) -> Result<(Anchor, Query), MappingFault> {
    if text.len() > MAX_LENGTH {
        return Err(MappingFault::TooLong);
    }
    if max_open_brackets(text) > MAX_OPEN_BRACKETS {
        return Err(MappingFault::TooDeep);
    }
    if text.ends_with([' ', '\t', '\n', '\r']) {
        return Err(MappingFault::NotInRfc("white space after the query"));
    }
    match text.strip_prefix('@') {
        Some(rest) => Ok((Anchor::Record, parse(&format!("${rest}"))?)),
        None if text.starts_with('$') => Ok((Anchor::Document, parse(text)?)),
        None => Err(MappingFault::NoRoot),
    }
}

/// True if a path selects elements of a row by their positions. A row is the record itself, or an element that a
/// wildcard selects.
pub fn selects_by_position(path: &str) -> bool {
    let Ok((anchor, query)) = read(path) else { return false };
    let by_position = |segment: &QuerySegment| {
        let counts = |selector: &Selector| matches!(selector, Selector::Index(_) | Selector::Slice { .. });
        !segment.descendant && segment.selectors.iter().any(counts)
    };
    let is_row =
        |segment: &QuerySegment| segment.selectors.iter().any(|one| matches!(one, Selector::Wildcard));
    let first = query.segments.first().is_some_and(by_position);
    let later = query.segments.windows(2).any(|pair| match pair {
        [row, element] => is_row(row) && by_position(element),
        _ => false,
    });
    (anchor == Anchor::Record && first) || later
}

/// Returns the names of members in a path, without those in a filter; none of a path that does not load.
pub fn names_in(path: &str) -> Vec<String> {
    let segments = read(path).map(|(_, query)| query.segments).unwrap_or_default();
    let names =
        segments.iter().flat_map(|segment| &segment.selectors).filter_map(|selector| match selector {
            Selector::Name(name) => Some(name.to_string()),
            Selector::Wildcard | Selector::Index(_) | Selector::Slice { .. } | Selector::Filter(_) => None,
        });
    names.collect()
}

/// True if a path selects by a filter or by positions. False for a path that does not load.
pub fn selects_by_condition(path: &str) -> bool {
    let Ok((_, query)) = read(path) else { return false };
    let by_name = |selector: &Selector| matches!(selector, Selector::Name(_) | Selector::Wildcard);
    !query.segments.iter().flat_map(|segment| &segment.selectors).all(by_name)
}

/// True if a path selects values in the row of a table: columns by their names, or members of the JSON text in a column that
/// a path of `embedded` selects.
pub fn selects_in_row<'p>(path: &str, mut embedded: impl Iterator<Item = &'p str>) -> bool {
    let columns = |path: &str| {
        let (_, query) = read(path).ok()?;
        let first = query.segments.first().and_then(QuerySegment::member_names)?;
        Some((first.into_iter().map(str::to_owned).collect::<Vec<_>>(), query.segments.len() == 1))
    };
    match columns(path) {
        None => false,
        Some((_, true)) => true,
        Some((names, false)) => embedded.any(|text| {
            columns(text).is_some_and(|(texts, only)| only && names.iter().all(|name| texts.contains(name)))
        }),
    }
}

/// True if a path selects by the mere presence of a member: a test such as `?@.public`, which holds for `false` as well
/// (RFC 9535, 2.3.5.1). A test whose query has a filter of its own (`?@.roles[?@ == 'owner']`) does not count.
pub fn tests_existence(text: &str) -> bool {
    fn tests(filter: &Filter) -> bool {
        match filter {
            Filter::Any(all) | Filter::All(all) => all.iter().any(tests),
            Filter::Exists(path) => !path.segments.is_empty() && filters(&path.segments).next().is_none(),
            // A negated test does not hold if the member is present, so the presence of the member does not select
            // anything.
            Filter::Not(_) | Filter::Compare(..) | Filter::Matches { .. } => false,
        }
    }
    read(text).is_ok_and(|(_, query)| filters(&query.segments).any(tests))
}

fn filters(segments: &[QuerySegment]) -> impl Iterator<Item = &Filter> {
    let selectors = segments.iter().flat_map(|segment| &segment.selectors);
    selectors.filter_map(|selector| match selector {
        Selector::Filter(filter) => Some(filter),
        Selector::Name(_) | Selector::Wildcard | Selector::Index(_) | Selector::Slice { .. } => None,
    })
}

impl Query {
    /// True if the query selects at most one node of a document without duplicate names.
    pub(super) fn is_singular(&self) -> bool {
        self.segments.iter().all(QuerySegment::is_singular)
    }

    /// Returns the names that the query selects if it selects members of its argument by their names. `None` for any other
    /// query.
    pub(super) fn member_names(&self) -> Option<Vec<&str>> {
        match self.segments.as_slice() {
            [only] => only.member_names(),
            _ => None,
        }
    }

    /// True if a filter refers to the root of the query's argument.
    pub(super) fn reads_root(&self) -> bool {
        self.segments.iter().any(QuerySegment::reads_root)
    }

    /// Replaces names of columns in the first segment by their positions.
    pub(super) fn resolve_columns(&mut self, columns: &[String]) -> Result<(), MappingFault> {
        if self.reads_root() {
            return Err(MappingFault::RootInTable);
        }
        let Some(first) = self.segments.first_mut().filter(|first| !first.descendant) else { return Ok(()) };
        for selector in &mut first.selectors {
            let Selector::Name(name) = selector else { continue };
            let column = columns.iter().position(|column| **column == **name);
            let column = column.and_then(|column| i64::try_from(column).ok());
            *selector = Selector::Index(column.ok_or_else(|| MappingFault::NoColumn(name.to_string()))?);
        }
        Ok(())
    }

    /// True if the selection depends on more than names and positions counted from the front.
    pub(super) fn is_conditional(&self) -> bool {
        self.reads_root() || !self.segments.iter().all(QuerySegment::is_forward)
    }
}

impl QuerySegment {
    /// Returns the names that the segment selects; `None` if it has another selector, or selects from descendants.
    fn member_names(&self) -> Option<Vec<&str>> {
        if self.descendant {
            return None;
        }
        let names = self.selectors.iter().map(|selector| match selector {
            Selector::Name(name) => Some(&**name),
            Selector::Wildcard | Selector::Index(_) | Selector::Slice { .. } | Selector::Filter(_) => None,
        });
        names.collect()
    }

    pub(super) fn is_singular(&self) -> bool {
        !self.descendant && matches!(self.selectors.as_slice(), [Selector::Name(_) | Selector::Index(_)])
    }

    /// True if both segments have the same names, positions and wildcards, and no conditions.
    pub(super) fn is_same(&self, other: &QuerySegment) -> bool {
        self.descendant == other.descendant
            && self.selectors.len() == other.selectors.len()
            && self.selectors.iter().zip(&other.selectors).all(|pair| match pair {
                (Selector::Name(one), Selector::Name(other)) => one == other,
                (Selector::Index(one), Selector::Index(other)) => one == other,
                (Selector::Wildcard, Selector::Wildcard) => true,
                _ => false,
            })
    }

    /// True if a child's name or position alone decides if the segment selects it.
    pub(super) fn is_forward(&self) -> bool {
        self.selectors.iter().all(Selector::is_forward)
    }

    /// True if selecting from an array requires its length.
    pub(super) fn counts_from_the_end(&self) -> bool {
        self.selectors.iter().any(Selector::counts_from_the_end)
    }

    fn reads_root(&self) -> bool {
        self.selectors.iter().any(|selector| match selector {
            Selector::Filter(filter) => filter.reads_root(),
            Selector::Name(_) | Selector::Wildcard | Selector::Index(_) | Selector::Slice { .. } => false,
        })
    }
}

impl Selector {
    pub(super) fn is_forward(&self) -> bool {
        match self {
            Selector::Name(_) | Selector::Wildcard => true,
            Selector::Index(index) => (0..=MAX_COUNTED_INDEX).contains(index),
            Selector::Slice { start, end, step } => {
                let counted =
                    |bound: &Option<i64>| bound.is_none_or(|bound| (0..=MAX_COUNTED_INDEX).contains(&bound));
                counted(start) && counted(end) && *step == 1
            }
            Selector::Filter(_) => false,
        }
    }

    fn counts_from_the_end(&self) -> bool {
        match self {
            Selector::Name(_) | Selector::Wildcard | Selector::Filter(_) => false,
            Selector::Index(index) => *index < 0,
            Selector::Slice { start, end, step } => {
                *step < 0 || start.is_some_and(|bound| bound < 0) || end.is_some_and(|bound| bound < 0)
            }
        }
    }

    /// True if the selector can select an element of an array.
    pub(super) fn selects_elements(&self) -> bool {
        !matches!(self, Selector::Name(_))
    }

    /// True if the selector can select a member of an object.
    pub(super) fn selects_members(&self) -> bool {
        matches!(self, Selector::Name(_) | Selector::Wildcard | Selector::Filter(_))
    }
}

impl Filter {
    fn reads_root(&self) -> bool {
        match self {
            Filter::Any(list) | Filter::All(list) => list.iter().any(Filter::reads_root),
            Filter::Not(inner) => inner.reads_root(),
            Filter::Exists(path) => path.reads_root(),
            Filter::Compare(_, left, right) => left.reads_root() || right.reads_root(),
            Filter::Matches { text, pattern, .. } => {
                text.reads_root()
                    || match pattern {
                        RegexpPattern::Fixed(_) => false,
                        RegexpPattern::Computed(operand) => operand.reads_root(),
                    }
            }
        }
    }
}

impl Path {
    fn reads_root(&self) -> bool {
        self.absolute || self.segments.iter().any(QuerySegment::reads_root)
    }
}

impl Operand {
    fn reads_root(&self) -> bool {
        match self {
            Operand::String(_) | Operand::Number(_) | Operand::Bool(_) | Operand::Null => false,
            Operand::Node(path) | Operand::Count(path) | Operand::Value(path) => path.reads_root(),
            Operand::Length(inner) => inner.reads_root(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_members_and_not_of_filters() {
        for (path, names) in [
            ("$.items[*]", vec!["items"]),
            ("@.address.postal_code", vec!["address", "postal_code"]),
            ("$..name", vec!["name"]),
            ("@['e mail', \"b\"][0]['c']", vec!["e mail", "b", "c"]),
            ("@.a[?@.jane == 'x]'].b", vec!["a", "b"]),
            ("@['it\\'s'].b", vec!["it's", "b"]),
            ("@", vec![]),
            ("$.*.c", vec!["c"]),
            ("@.straße", vec!["straße"]),
            ("@.a[", vec![]),
        ] {
            assert_eq!(names_in(path), names, "{path}");
        }
    }

    #[test]
    fn a_filter_or_a_position_is_a_condition() {
        for path in [
            "$.errors[*].field",
            "$..field",
            "$['a', \"b\"][*]",
            "$",
            "$.*",
            "$['what?']",
            "$[*,'a, 0']",
            "$['it\\'s', 'b']",
        ] {
            assert!(read(path).is_ok() && !selects_by_condition(path), "{path}");
        }
        for path in [
            "$.errors[0]",
            "$.errors[?@.a == 1].b",
            "$.errors[1:2]",
            "$.errors[-1]",
            "$['a', ?@.b]",
            "$.errors['a', 0]",
            "$['a', 1:2]",
            "$[*, 0]",
        ] {
            assert!(selects_by_condition(path), "{path}");
        }
        for path in ["$['a' 'b']", "$['a',]", "$['a", "$["] {
            assert!(read(path).is_err() && !selects_by_condition(path), "{path}");
        }
    }

    #[test]
    fn patterns_are_bounded_in_size() {
        assert!(read(r"$[?match(@.m, '[^@]{1,64}@[^@]{1,255}')]").is_ok());
        let error = read(r"$[?search(@.m, '(\\p{L}{1,1000}){1,1000}')]").unwrap_err();
        assert_eq!(error, MappingFault::PatternTooLarge);
    }

    #[test]
    fn extensions_of_the_parser_are_refused() {
        for text in ["$[?count(1) == 1]", "$[?match(@.*, 'a')]"] {
            assert!(matches!(read(text), Err(MappingFault::NotInRfc(_) | MappingFault::Syntax(_))), "{text}");
        }
    }

    #[test]
    fn paths_have_a_root_and_are_bounded() {
        assert_eq!(read("name").unwrap_err(), MappingFault::NoRoot);
        assert_eq!(read(&format!("${}", ".a".repeat(512))).unwrap_err(), MappingFault::TooLong);
        assert!(matches!(read("$.a["), Err(MappingFault::Syntax(_))));
        let nested = |levels: usize| format!("${}a{}", "[?search(@".repeat(levels), ",'')]".repeat(levels));
        assert_eq!(read(&nested(7)).unwrap_err(), MappingFault::TooDeep);
        assert_eq!(read(&nested(60)).unwrap_err(), MappingFault::TooDeep);
        assert!(read("$['[[[[[[[[[[[[[[', \"((((((((((((\\\"[\"]").is_ok());
        assert!(matches!(read("@.a.b").unwrap(), (Anchor::Record, _)));
        assert!(matches!(read("@").unwrap(), (Anchor::Record, query) if query.segments.is_empty()));
    }

    #[test]
    fn forward_segments_use_names_and_positions_only() {
        let forward = |text: &str| read(text).unwrap().1.segments.iter().all(QuerySegment::is_forward);
        for text in ["$.a", "$[*].b", "$..a[0]", "$['a','b'][1:3]", "$[2:]", "$[:]"] {
            assert!(forward(text), "{text}");
        }
        for text in ["$[-1]", "$[::2]", "$[-2:]", "$[?@.a]", "$[1000]", "$..a[?@.b == 1]"] {
            assert!(!forward(text), "{text}");
        }
    }

    #[test]
    fn filters_that_read_the_root_are_recognised() {
        for text in ["$[?@.a == $.b]", "$[?@[?$.x]]", "$[?count($..*) > 1]", "$[?match(@.a, $.p)]"] {
            assert!(read(text).unwrap().1.reads_root(), "{text}");
        }
        assert!(!read("$.a[?@.b == 'x']").unwrap().1.reads_root());
    }
}
