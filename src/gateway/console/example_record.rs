//! An invented answer of the API, made from the mapping of a route.

use serde_json::{Map, Value};

use crate::exchange::route::MappedField;
use crate::vocabulary::Vocabulary;

/// Maximum number of fields of an example.
const MAX_FIELDS: usize = 200;

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExampleStep<'p> {
    Member(&'p str),
    Element,
}

/// Returns an answer with a value for each field whose path has plain names and `[*]` only.
pub(super) fn example(fields: &[MappedField], words: &Vocabulary) -> Value {
    let mut example = Value::Null;
    for field in fields.iter().take(MAX_FIELDS) {
        let category = field.categories.first().map_or("", |category| words.categories().name(*category));
        if let Some(steps) = steps(&field.path) {
            insert(&mut example, &steps, sample(category, &field.path));
        }
    }
    example
}

/// Reads a path from the root of the document; `None` if it has filters, positions or `..`.
fn steps(path: &str) -> Option<Vec<ExampleStep<'_>>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[*]") {
            steps.push(ExampleStep::Element);
            rest = after;
            continue;
        }
        let named = rest.strip_prefix('.')?;
        let (name, after) = named.split_at_checked(named.find(['.', '[']).unwrap_or(named.len()))?;
        if name.is_empty() || name == "*" {
            return None;
        }
        steps.push(ExampleStep::Member(name));
        rest = after;
    }
    Some(steps)
}

/// Puts a value at a place, unless something is there or the place is below a value.
fn insert(node: &mut Value, steps: &[ExampleStep<'_>], value: Value) {
    let Some((first, rest)) = steps.split_first() else {
        if node.is_null() {
            *node = value;
        }
        return;
    };
    if node.is_null() {
        *node = match first {
            ExampleStep::Member(_) => Value::Object(Map::new()),
            ExampleStep::Element => Value::Array(Vec::new()),
        };
    }
    match (first, node) {
        (ExampleStep::Member(name), Value::Object(members)) => {
            insert(members.entry((*name).to_owned()).or_insert(Value::Null), rest, value);
        }
        (ExampleStep::Element, Value::Array(elements)) => {
            if elements.is_empty() {
                elements.push(Value::Null);
            }
            elements.iter_mut().take(1).for_each(|element| insert(element, rest, value.clone()));
        }
        (ExampleStep::Member(_) | ExampleStep::Element, _) => {}
    }
}

/// Returns an invented value, which a form can mask or generalise.
fn sample(category: &str, path: &str) -> Value {
    let text = match category {
        category if category.contains("email") => "ada@example.org",
        category if category.contains("phone") => "+49 30 5550142",
        category if category.contains("ip-address") => "198.51.100.23",
        category if category.contains("date-of-birth") => "1984-03-11",
        category if category.contains("address") => "1 Example Street, 28195 Bremen",
        category if category.contains("card-number") => "4111111111111111",
        category if category.contains("country") => "DE",
        "name" => "Ada Example",
        _ if path.ends_with("id") => "example-1",
        _ => "example",
    };
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_share_their_containers() {
        let field = |path: &str| MappedField {
            path: path.to_owned(),
            categories: Vec::new(),
            without_subject: false,
        };
        let fields = [
            "$.items[*].id",
            "$.items[*].address.city",
            "$.total",
            "$..deep",
            "$.items[0].x",
            "$.total.below",
            "$['a b']",
        ];
        let made = example(&fields.map(field), &Vocabulary::standard());
        let expected = serde_json::json!({
            "items": [{"id": "example-1", "address": {"city": "example"}}], "total": "example",
        });
        assert_eq!(made, expected);
        assert_eq!(
            example(&[field("$[*].id")], &Vocabulary::standard()),
            serde_json::json!([{"id": "example-1"}])
        );
    }
}
