//! A validator of JSON Schema 2020-12, with the keywords that the product's schemas use. A keyword that it does not know
//! fails the test, so that no part of a schema passes unread.

use serde_json::Value;

/// Keywords that do not restrict the value.
const ANNOTATIONS: [&str; 7] =
    ["$defs", "$schema", "default", "description", "discriminator", "examples", "title"];

/// Returns what is wrong with a value by a schema, which is part of a document. Empty: the value is valid.
pub(crate) fn problems(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Validator { document }.check(schema, value, "", &mut found);
    found
}

/// Fails the test if the value is not valid by the schema at a JSON pointer of the document.
#[track_caller]
pub(crate) fn assert_valid(document: &Value, pointer: &str, value: &Value) {
    let schema = document.pointer(pointer).unwrap_or_else(|| panic!("there is no schema {pointer}"));
    let found = problems(document, schema, value);
    assert!(found.is_empty(), "{pointer}: {found:#?}\n{value:#}");
}

struct Validator<'d> {
    document: &'d Value,
}

impl Validator<'_> {
    fn is_valid(&self, schema: &Value, value: &Value) -> bool {
        let mut found = Vec::new();
        self.check(schema, value, "", &mut found);
        found.is_empty()
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let schema = match schema {
            Value::Bool(true) => return,
            Value::Bool(false) => return found.push(format!("{at}: nothing is allowed here")),
            schema => schema.as_object().unwrap_or_else(|| panic!("not a schema: {schema}")),
        };
        for (keyword, argument) in schema {
            let valid = match keyword.as_str() {
                "$ref" => {
                    let pointer = argument.as_str().unwrap().strip_prefix('#').unwrap();
                    let target = self.document.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
                    self.check(target, value, at, found);
                    true
                }
                "allOf" => {
                    argument.as_array().unwrap().iter().for_each(|each| self.check(each, value, at, found));
                    true
                }
                "anyOf" => self.count(argument, value) > 0,
                "oneOf" => self.count(argument, value) == 1,
                "not" => !self.is_valid(argument, value),
                "if" => {
                    let then = schema.get("then").filter(|_| self.is_valid(argument, value));
                    then.is_none_or(|then| self.is_valid(then, value))
                }
                "then" => true,
                "type" => as_list(argument).iter().any(|name| has_type(name.as_str().unwrap(), value)),
                "enum" => argument.as_array().unwrap().contains(value),
                "const" => argument == value,
                name if ANNOTATIONS.contains(&name) => true,
                name => match value {
                    Value::Object(_) => self.check_object(name, argument, schema, value, at, found),
                    Value::Array(_) => self.check_list(name, argument, value, at, found),
                    _ => is_valid_scalar(name, argument, value),
                },
            };
            if !valid {
                found.push(format!("{at}: `{keyword}` {argument} does not hold"));
            }
        }
    }

    fn count(&self, schemas: &Value, value: &Value) -> usize {
        schemas.as_array().unwrap().iter().filter(|schema| self.is_valid(schema, value)).count()
    }

    fn check_object(
        &self,
        keyword: &str,
        argument: &Value,
        schema: &serde_json::Map<String, Value>,
        value: &Value,
        at: &str,
        found: &mut Vec<String>,
    ) -> bool {
        let members = value.as_object().unwrap();
        match keyword {
            "properties" => {
                for (name, schema) in argument.as_object().unwrap() {
                    if let Some(value) = members.get(name) {
                        self.check(schema, value, &format!("{at}/{name}"), found);
                    }
                }
                true
            }
            "required" => {
                argument.as_array().unwrap().iter().all(|name| members.contains_key(name.as_str().unwrap()))
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, value) in members {
                    if known.is_none_or(|known| !known.contains_key(name)) {
                        self.check(argument, value, &format!("{at}/{name}"), found);
                    }
                }
                true
            }
            "propertyNames" => {
                members.keys().all(|name| self.is_valid(argument, &Value::from(name.as_str())))
            }
            "minProperties" => members.len() as u64 >= argument.as_u64().unwrap(),
            other => is_valid_scalar(other, argument, value),
        }
    }

    fn check_list(
        &self,
        keyword: &str,
        argument: &Value,
        value: &Value,
        at: &str,
        found: &mut Vec<String>,
    ) -> bool {
        let elements = value.as_array().unwrap();
        match keyword {
            "items" => {
                for (number, element) in elements.iter().enumerate() {
                    self.check(argument, element, &format!("{at}/{number}"), found);
                }
                true
            }
            "minItems" => elements.len() as u64 >= argument.as_u64().unwrap(),
            "maxItems" => elements.len() as u64 <= argument.as_u64().unwrap(),
            other => is_valid_scalar(other, argument, value),
        }
    }
}

fn as_list(argument: &Value) -> Vec<Value> {
    argument.as_array().cloned().unwrap_or_else(|| vec![argument.clone()])
}

fn has_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("unknown type {other}"),
    }
}

/// Checks a keyword about texts or numbers. It holds for values of other types.
fn is_valid_scalar(keyword: &str, argument: &Value, value: &Value) -> bool {
    let (text, number) = (value.as_str(), value.as_f64());
    let length = text.map_or(0, |text| text.chars().count() as u64);
    match keyword {
        "minLength" => text.is_none() || length >= argument.as_u64().unwrap(),
        "maxLength" => text.is_none() || length <= argument.as_u64().unwrap(),
        "pattern" => {
            let pattern = regex::Regex::new(argument.as_str().unwrap()).unwrap();
            text.is_none_or(|text| pattern.is_match(text))
        }
        "minimum" => number.is_none_or(|number| number >= argument.as_f64().unwrap()),
        "maximum" => number.is_none_or(|number| number <= argument.as_f64().unwrap()),
        "format" => text.is_none_or(|text| match argument.as_str().unwrap() {
            "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
            "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
            "uri" => text.contains(':'),
            other => panic!("unknown format {other}"),
        }),
        "properties"
        | "required"
        | "additionalProperties"
        | "propertyNames"
        | "minProperties"
        | "items"
        | "minItems"
        | "maxItems" => true,
        other => panic!("unknown keyword {other}"),
    }
}

#[test]
fn invalid_values_are_found() {
    use serde_json::json;

    let schema = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "minLength": 1, "pattern": "^[a-z]+$" },
            "count": { "type": "integer", "maximum": 3 },
            "list": { "anyOf": [{ "type": "null" }, { "type": "array", "minItems": 1, "items": { "const": "x" } }] },
        },
        "required": ["name"],
        "additionalProperties": false,
        "if": { "required": ["count"] },
        "then": { "required": ["list"] },
    });
    let valid = |value: Value| problems(&schema, &schema, &value).is_empty();
    assert!(valid(json!({ "name": "a" })));
    assert!(valid(json!({ "name": "a", "count": 3, "list": ["x"] })));
    for wrong in [
        json!({}),
        json!({ "name": "" }),
        json!({ "name": "A" }),
        json!({ "name": 1 }),
        json!({ "name": "a", "more": 1 }),
        json!({ "name": "a", "count": 1 }),
        json!({ "name": "a", "count": 4, "list": ["x"] }),
        json!({ "name": "a", "list": [] }),
        json!({ "name": "a", "list": ["y"] }),
        json!(["name"]),
    ] {
        assert!(!valid(wrong.clone()), "{wrong}");
    }
}
