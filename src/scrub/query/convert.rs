//! Converts the syntax tree of `jsonpath-rust` into a [`Query`], and refuses the parts that are not RFC 9535.

use jsonpath_rust::parser::model as parsed;
use jsonpath_rust::parser::parse_json_path;

use super::text::prepare;
use super::{
    ComparisonOperator, Filter, MappingFault, Operand, Path, Query, QueryResult, QuerySegment, RegexpPattern,
    Selector,
};
use crate::scrub::number::Decimal;
use crate::scrub::regexp;

/// Parses the text of a query.
///
/// # Errors
/// Returns an error if the parser refuses the text, or if the text is not RFC 9535.
pub(super) fn parse(text: &str) -> Result<Query, MappingFault> {
    let query = parse_json_path(&prepare(text)?)
        .map_err(|error| MappingFault::Syntax(parser_expectation(&error.to_string())))?;
    Ok(Query { segments: segments(query.segments)? })
}

/// Returns the last line of the parser's message, which says what it expected. The lines before it show the query
/// with a caret under the error.
fn parser_expectation(message: &str) -> String {
    let told = message.lines().rev().find_map(|line| line.trim().strip_prefix("= "));
    told.unwrap_or(message).trim().to_owned()
}

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
        Operand::String(fixed) => {
            RegexpPattern::Fixed(regexp::compile(&fixed, whole).map_err(|_| MappingFault::PatternTooLarge)?)
        }
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
        // The parser keeps the nearest double. Its shortest spelling is the number in the query, because `prepare`
        // refuses numbers for which this does not hold.
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

/// Converts an argument of the declared type UnclassifiedType (RFC 9535, 2.4.3).
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

/// Converts an argument of the declared type NodesType.
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
