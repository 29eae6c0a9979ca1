//! RFC 9535 queries: parsed by `jsonpath-rust`, checked here against what the RFC allows, and
//! turned into the form that is walked.
//!
//! Refuses to know documents. Only the crate's parser is used: its evaluator answers `$[?@[?@>1]]`
//! with nothing, which for a rule about privacy fails open. The parser accepts a few queries that
//! are not RFC 9535 (`count`, `length` and `value` as tests, `length` of a query that can select
//! several nodes, functions of its own); they are refused here. What it would change before it parses
//! is seen to in [`text`].

mod text;

use std::fmt;

use jsonpath_rust::parser::model as parsed;
use jsonpath_rust::parser::parse_json_path;
use regex::Regex;

use self::text::{MAX_DIGITS, max_open_brackets, prepare};
use super::number::Decimal;

/// Longest text of a query, in bytes: parsing time grows with it.
pub(super) const MAX_LENGTH: usize = 1024;

/// Brackets and parentheses of a query that are open at once: parsing time doubles and more with each
/// function in a filter in a function.
const MAX_OPEN_BRACKETS: usize = 12;

/// A greatest index up to which array positions are told apart without holding the value.
const MAX_COUNTED_INDEX: i64 = 255;

/// Why a path does not load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingFault {
    /// It must begin with `$` or `@` (or be `{name}`, for a subject).
    NoRoot,
    /// A record's path must begin with `$`: it is relative to the document.
    NotFromDocument,
    /// Longer than 1024 bytes.
    TooLong,
    /// More than twelve brackets and parentheses are open at once.
    TooDeep,
    /// Not a query; what the parser says.
    Syntax(String),
    /// Parses, and is not RFC 9535.
    NotInRfc(&'static str),
    /// A number that a double does not tell apart from others: of more digits, or nearer to 0.
    NotExact(String),
    /// A pattern of `match` or `search` that would take too much memory.
    PatternTooLarge,
    /// `{` without a name and `}`.
    Parameter,
    /// A field without a category.
    NoCategory,
    /// The first name of a path in a table is none of its columns.
    NoColumn(String),
    /// A condition on `$` in a table: names of columns are not looked up there.
    RootInTable,
}

impl fmt::Display for MappingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MappingFault::NoRoot => f.write_str("a path begins with `$` (the document) or `@` (the record)"),
            MappingFault::NotFromDocument => f.write_str("the path of a record set begins with `$`"),
            MappingFault::TooLong => write!(f, "a path has at most {MAX_LENGTH} bytes"),
            MappingFault::TooDeep => {
                write!(f, "a path has at most {MAX_OPEN_BRACKETS} brackets in each other")
            }
            MappingFault::Syntax(what) => write!(f, "not a JSONPath query: {what}"),
            MappingFault::NotInRfc(what) => write!(f, "not RFC 9535: {what}"),
            MappingFault::NotExact(number) => {
                write!(
                    f,
                    "`{number}` is not told apart from its neighbours: {MAX_DIGITS} digits are, or an integer below 2^53, and nothing nearer to 0 than 1e-307"
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

/// One query.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) segments: Vec<QuerySegment>,
}

/// One step from a node to nodes below it.
#[derive(Clone, Debug)]
pub(super) struct QuerySegment {
    /// To all descendants that the selectors choose, not only to children.
    pub(super) descendant: bool,
    pub(super) selectors: Vec<Selector>,
}

#[derive(Clone, Debug)]
pub(super) enum Selector {
    Name(Box<str>),
    Wildcard,
    Index(i64),
    Slice { start: Option<i64>, end: Option<i64>, step: i64 },
    Filter(Filter),
}

#[derive(Clone, Debug)]
pub(super) enum Filter {
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
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

#[derive(Clone, Debug)]
pub(super) struct Path {
    /// From the root of the query's argument (`$`) instead of the current node (`@`).
    pub(super) absolute: bool,
    pub(super) segments: Vec<QuerySegment>,
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    String(Box<str>),
    Number(Decimal),
    Bool(bool),
    Null,
    /// A query that selects one node at most.
    Node(Path),
    Length(Box<Operand>),
    Count(Path),
    Value(Path),
}

#[derive(Clone, Debug)]
pub(super) enum RegexpPattern {
    /// Known at load; `None` where it is not an I-Regexp and so matches nothing (RFC 9535, 2.4.6).
    Fixed(Option<Regex>),
    Computed(Operand),
}

/// Where a path starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Document,
    Record,
}

/// Reads a path of a mapping: `$…` or `@…`. A relative path is a query whose argument is the record.
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

/// Whether a path tells the elements of rows by their positions: those of the record itself, or of each
/// element of a list.
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

/// True if a path selects by the mere presence of a member: a test such as `?@.public`, which holds for
/// `false` as well (RFC 9535, 2.3.5.1). What a filter selects in turn (`?@.roles[?@ == 'owner']`) is no such test.
pub fn tests_existence(text: &str) -> bool {
    fn tests(filter: &Filter) -> bool {
        match filter {
            Filter::Any(all) | Filter::All(all) => all.iter().any(tests),
            Filter::Exists(path) => !path.segments.is_empty() && filters(&path.segments).next().is_none(),
            // Where presence keeps something from being selected, it is withheld rather than released.
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

fn parse(text: &str) -> Result<Query, MappingFault> {
    let query = parse_json_path(&prepare(text)?)
        .map_err(|error| MappingFault::Syntax(parser_expectation(&error.to_string())))?;
    Ok(Query { segments: segments(query.segments)? })
}

/// The parser draws the query with a caret under it; its last line says what it expected.
fn parser_expectation(message: &str) -> String {
    let told = message.lines().rev().find_map(|line| line.trim().strip_prefix("= "));
    told.unwrap_or(message).trim().to_owned()
}

type QueryResult<T> = Result<T, MappingFault>;

fn segments(list: Vec<parsed::Segment>) -> QueryResult<Vec<QuerySegment>> {
    list.into_iter().map(segment).collect()
}

fn segment(segment: parsed::Segment) -> QueryResult<QuerySegment> {
    let (descendant, inner) = match segment {
        parsed::Segment::Descendant(inner) => (true, *inner),
        child => (false, child),
    };
    let selectors = match inner {
        parsed::Segment::Selector(one) => vec![selector(one)?],
        parsed::Segment::Selectors(several) => {
            several.into_iter().map(selector).collect::<QueryResult<Vec<_>>>()?
        }
        parsed::Segment::Descendant(_) => return Err(MappingFault::NotInRfc("`..` twice")),
    };
    Ok(QuerySegment { descendant, selectors })
}

fn selector(selector: parsed::Selector) -> QueryResult<Selector> {
    Ok(match selector {
        parsed::Selector::Name(name) => Selector::Name(name.into()),
        parsed::Selector::Wildcard => Selector::Wildcard,
        parsed::Selector::Index(index) => Selector::Index(index),
        parsed::Selector::Slice(start, end, step) => Selector::Slice { start, end, step: step.unwrap_or(1) },
        parsed::Selector::Filter(inner) => Selector::Filter(filter(inner)?),
    })
}

fn filter(inner: parsed::Filter) -> QueryResult<Filter> {
    let all = |list: Vec<parsed::Filter>| list.into_iter().map(filter).collect::<QueryResult<Vec<_>>>();
    Ok(match inner {
        parsed::Filter::Or(list) => Filter::Any(all(list)?),
        parsed::Filter::And(list) => Filter::All(all(list)?),
        parsed::Filter::Atom(parsed::FilterAtom::Filter { expr, not }) => negated(filter(*expr)?, not),
        parsed::Filter::Atom(parsed::FilterAtom::Test { expr, not }) => negated(test(*expr)?, not),
        parsed::Filter::Atom(parsed::FilterAtom::Comparison(comparison)) => compare(*comparison)?,
    })
}

fn negated(filter: Filter, not: bool) -> Filter {
    if not { Filter::Not(Box::new(filter)) } else { filter }
}

fn test(test: parsed::Test) -> QueryResult<Filter> {
    match test {
        parsed::Test::RelQuery(list) => Ok(Filter::Exists(relative(list)?)),
        parsed::Test::AbsQuery(query) => Ok(Filter::Exists(absolute(query)?)),
        parsed::Test::Function(function) => match *function {
            parsed::TestFunction::Match(text, pattern) => matches(true, text, pattern),
            parsed::TestFunction::Search(text, pattern) => matches(false, text, pattern),
            parsed::TestFunction::Length(_)
            | parsed::TestFunction::Value(_)
            | parsed::TestFunction::Count(_) => {
                Err(MappingFault::NotInRfc("the result of `length`, `count` or `value` is not compared"))
            }
            parsed::TestFunction::Custom(..) => Err(UNKNOWN_FUNCTION),
        },
    }
}

const UNKNOWN_FUNCTION: MappingFault =
    MappingFault::NotInRfc("the functions are `length`, `count`, `match`, `search` and `value`");

fn relative(list: Vec<parsed::Segment>) -> QueryResult<Path> {
    Ok(Path { absolute: false, segments: segments(list)? })
}

fn absolute(query: parsed::JpQuery) -> QueryResult<Path> {
    Ok(Path { absolute: true, segments: segments(query.segments)? })
}

fn matches(whole: bool, text: parsed::FnArg, pattern: parsed::FnArg) -> QueryResult<Filter> {
    let text = value_argument(text)?;
    let pattern = match value_argument(pattern)? {
        Operand::String(fixed) => RegexpPattern::Fixed(
            super::regexp::compile(&fixed, whole).map_err(|_| MappingFault::PatternTooLarge)?,
        ),
        computed => RegexpPattern::Computed(computed),
    };
    Ok(Filter::Matches { whole, text, pattern })
}

fn compare(comparison: parsed::Comparison) -> QueryResult<Filter> {
    let (relation, left, right) = match comparison {
        parsed::Comparison::Eq(left, right) => (ComparisonOperator::Equal, left, right),
        parsed::Comparison::Ne(left, right) => (ComparisonOperator::NotEqual, left, right),
        parsed::Comparison::Gt(left, right) => (ComparisonOperator::Greater, left, right),
        parsed::Comparison::Gte(left, right) => (ComparisonOperator::GreaterOrEqual, left, right),
        parsed::Comparison::Lt(left, right) => (ComparisonOperator::Less, left, right),
        parsed::Comparison::Lte(left, right) => (ComparisonOperator::LessOrEqual, left, right),
    };
    Ok(Filter::Compare(relation, comparable(left)?, comparable(right)?))
}

fn comparable(comparable: parsed::Comparable) -> QueryResult<Operand> {
    match comparable {
        parsed::Comparable::Literal(inner) => literal(inner),
        parsed::Comparable::Function(function) => value_function(function),
        parsed::Comparable::SingularQuery(query) => {
            let (absolute, steps) = match query {
                parsed::SingularQuery::Current(steps) => (false, steps),
                parsed::SingularQuery::Root(steps) => (true, steps),
            };
            let segments = steps.into_iter().map(singular_segment).collect();
            Ok(Operand::Node(Path { absolute, segments }))
        }
    }
}

fn singular_segment(step: parsed::SingularQuerySegment) -> QuerySegment {
    let selector = match step {
        parsed::SingularQuerySegment::Index(index) => Selector::Index(index),
        parsed::SingularQuerySegment::Name(name) => Selector::Name(name.into()),
    };
    QuerySegment { descendant: false, selectors: vec![selector] }
}

fn literal(literal: parsed::Literal) -> QueryResult<Operand> {
    Ok(match literal {
        parsed::Literal::Int(int) => Operand::Number(decimal(&int.to_string())?),
        // The parser kept the nearest double; its shortest spelling is what the author meant.
        parsed::Literal::Float(float) => Operand::Number(decimal(&format!("{float:e}"))?),
        parsed::Literal::String(text) => Operand::String(text.into()),
        parsed::Literal::Bool(bool) => Operand::Bool(bool),
        parsed::Literal::Null => Operand::Null,
    })
}

fn decimal(text: &str) -> QueryResult<Decimal> {
    Decimal::read(text.as_bytes()).ok_or(MappingFault::NotInRfc("a number out of range"))
}

fn value_function(function: parsed::TestFunction) -> QueryResult<Operand> {
    match function {
        parsed::TestFunction::Length(argument) => Ok(Operand::Length(Box::new(value_argument(*argument)?))),
        parsed::TestFunction::Count(argument) => Ok(Operand::Count(nodes_argument(argument)?)),
        parsed::TestFunction::Value(argument) => Ok(Operand::Value(nodes_argument(argument)?)),
        parsed::TestFunction::Search(..) | parsed::TestFunction::Match(..) => {
            Err(MappingFault::NotInRfc("the result of `match` or `search` is not a value"))
        }
        parsed::TestFunction::Custom(..) => Err(UNKNOWN_FUNCTION),
    }
}

/// An argument of declared type ValueType (RFC 9535, 2.4.3).
fn value_argument(argument: parsed::FnArg) -> QueryResult<Operand> {
    match argument {
        parsed::FnArg::Literal(inner) => literal(inner),
        parsed::FnArg::Test(test) => match *test {
            parsed::Test::RelQuery(list) => singular_query(relative(list)?),
            parsed::Test::AbsQuery(query) => singular_query(absolute(query)?),
            parsed::Test::Function(function) => value_function(*function),
        },
        parsed::FnArg::Filter(_) => Err(MappingFault::NotInRfc("a condition is not a value")),
    }
}

fn singular_query(path: Path) -> QueryResult<Operand> {
    if path.segments.iter().all(QuerySegment::is_singular) {
        Ok(Operand::Node(path))
    } else {
        Err(MappingFault::NotInRfc("a query that can select several nodes is not a value"))
    }
}

/// An argument of declared type NodesType.
fn nodes_argument(argument: parsed::FnArg) -> QueryResult<Path> {
    match argument {
        parsed::FnArg::Test(test) => match *test {
            parsed::Test::RelQuery(list) => relative(list),
            parsed::Test::AbsQuery(query) => absolute(query),
            parsed::Test::Function(_) => Err(NOT_NODES),
        },
        parsed::FnArg::Literal(_) | parsed::FnArg::Filter(_) => Err(NOT_NODES),
    }
}

const NOT_NODES: MappingFault = MappingFault::NotInRfc("`count` and `value` take a query");

impl Query {
    /// Selects one node at most, in a document without duplicate names.
    pub(super) fn is_singular(&self) -> bool {
        self.segments.iter().all(QuerySegment::is_singular)
    }

    /// Whether some filter reads the query's argument from its root.
    pub(super) fn reads_root(&self) -> bool {
        self.segments.iter().any(QuerySegment::reads_root)
    }

    /// Puts positions in the place of the names of columns that it begins with.
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

    /// Whether names and positions from the front do not say what it selects.
    pub(super) fn is_conditional(&self) -> bool {
        self.reads_root() || !self.segments.iter().all(QuerySegment::is_forward)
    }
}

impl QuerySegment {
    pub(super) fn is_singular(&self) -> bool {
        !self.descendant && matches!(self.selectors.as_slice(), [Selector::Name(_) | Selector::Index(_)])
    }

    /// Whether both are one step: names, positions and `*` alike, no conditions.
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

    /// Whether a child's name or position alone says if it is selected.
    pub(super) fn is_forward(&self) -> bool {
        self.selectors.iter().all(Selector::is_forward)
    }

    /// Whether the length of an array must be known to select from it.
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

    /// Whether it can select an element of an array.
    pub(super) fn selects_elements(&self) -> bool {
        !matches!(self, Selector::Name(_))
    }

    /// Whether it can select a member of an object.
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
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_read_or_refused_as_a_whole() {
        assert!(read(r"$[?match(@.m, '[^@]{1,64}@[^@]{1,255}')]").is_ok());
        let error = read(r"$[?search(@.m, '(\\p{L}{1,1000}){1,1000}')]").unwrap_err();
        assert_eq!(error, MappingFault::PatternTooLarge);
    }

    #[test]
    fn what_the_parser_accepts_beyond_the_rfc_is_refused() {
        for text in ["$[?count(1) == 1]", "$[?match(@.*, 'a')]"] {
            assert!(matches!(read(text), Err(MappingFault::NotInRfc(_) | MappingFault::Syntax(_))), "{text}");
        }
    }

    #[test]
    fn a_path_has_a_root_and_a_length() {
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
    fn what_can_be_told_from_names_and_positions() {
        let forward = |text: &str| read(text).unwrap().1.segments.iter().all(QuerySegment::is_forward);
        for text in ["$.a", "$[*].b", "$..a[0]", "$['a','b'][1:3]", "$[2:]", "$[:]"] {
            assert!(forward(text), "{text}");
        }
        for text in ["$[-1]", "$[::2]", "$[-2:]", "$[?@.a]", "$[1000]", "$..a[?@.b == 1]"] {
            assert!(!forward(text), "{text}");
        }
    }

    #[test]
    fn filters_that_read_the_root_are_told() {
        for text in ["$[?@.a == $.b]", "$[?@[?$.x]]", "$[?count($..*) > 1]", "$[?match(@.a, $.p)]"] {
            assert!(read(text).unwrap().1.reads_root(), "{text}");
        }
        assert!(!read("$.a[?@.b == 'x']").unwrap().1.reads_root());
    }
}
