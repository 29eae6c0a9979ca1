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
pub(crate) fn example(fields: &[MappedField], words: &Vocabulary) -> Value {
    let mut example = Value::Null;
    let placed = fields.iter().take(MAX_FIELDS).filter_map(|field| Some((field, steps(&field.path)?)));
    let placed: Vec<(&MappedField, Vec<ExampleStep<'_>>)> = placed.collect();
    for (field, steps) in &placed {
        // A field with mapped parts is the container of these.
        let is_container = |(_, other): &(_, Vec<_>)| other.len() > steps.len() && other.starts_with(steps);
        if placed.iter().any(is_container) {
            continue;
        }
        let category = field.categories.first().map_or("", |category| words.categories().name(*category));
        insert(&mut example, steps, sample(category, &field.path));
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
    let member = path.rsplit('.').next().unwrap_or_default().trim_end_matches("[*]").to_ascii_lowercase();
    let named = |parts: &[&str]| parts.iter().any(|part| member.contains(part));
    if category == "aggregate" {
        return 1.into();
    }
    let text = match category {
        "name" if named(&["first", "given"]) => "Ada",
        "name" if named(&["last", "family", "surname"]) => "Example",
        "name" => "Ada Example",
        "username" => "ada",
        "company" => "Example GmbH",
        "job-title" => "Engineer",
        "language" => "de",
        "time-zone" => "Europe/Berlin",
        "photo" => "photo-1.jpg",
        "domain-name" => "example.org",
        "payment-card-summary" => "1111, 12/29",
        "billing" => "INV-1001",
        "location" => "53.0793, 8.8017",
        "communications" | "support-content" | "message-content" => "Please call me back.",
        "postal-address" => return address_part(&named).into(),
        category if category.contains("email") => "ada@example.org",
        category if category.contains("phone") => "+49 30 5550142",
        category if category.contains("ip-address") => "198.51.100.23",
        category if category.contains("date-of-birth") => "1984-03-11",
        category if category.contains("card-number") => "4111111111111111",
        category if category.contains("country") => "DE",
        category if category.contains("address") => "1 Example Street, 28195 Bremen",
        _ if member.ends_with("id") => "example-1",
        _ => "example",
    };
    text.into()
}

/// Returns a part of an invented postal address, or all of it.
fn address_part(named: &dyn Fn(&[&str]) -> bool) -> &'static str {
    match () {
        () if named(&["country"]) => "DE",
        () if named(&["city", "town", "locality"]) => "Bremen",
        () if named(&["zip", "postal_code", "postalcode", "postcode", "post_code"]) => "28195",
        () if named(&["region", "state", "province"]) => "Bremen",
        () if named(&["street", "line"]) => "1 Example Street",
        () => "1 Example Street, 28195 Bremen",
    }
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
            "items": [{"id": "example-1", "address": {"city": "example"}}], "total": {"below": "example"},
        });
        assert_eq!(made, expected);
        assert_eq!(
            example(&[field("$[*].id")], &Vocabulary::standard()),
            serde_json::json!([{"id": "example-1"}])
        );
    }
}
