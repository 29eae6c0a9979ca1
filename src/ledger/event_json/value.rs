//! A JSON value that keeps repeated members and the digits of integers.
//!
//! serde_json's own map keeps the last of two members of the same name, which would hide the repetition.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value, as far as events use JSON.
pub(super) enum JsonValue {
    Text(String),
    /// The digits of an integer. An id may be an integer.
    Integer(String),
    Flag(bool),
    Null,
    Object(Vec<(String, JsonValue)>),
    List(Vec<JsonValue>),
    /// A number that is not an integer.
    Other,
}

/// Returns the name of a member that occurs more than once.
pub(super) fn repeated_member(members: &[(String, JsonValue)]) -> Option<&str> {
    let mut names = members.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    names.sort_unstable();
    names.windows(2).find_map(|pair| match pair {
        [a, b] if a == b => Some(*a),
        _ => None,
    })
}

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonValue, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = JsonValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_str<E>(self, text: &str) -> Result<JsonValue, E> {
        Ok(JsonValue::Text(text.to_owned()))
    }
    fn visit_string<E>(self, text: String) -> Result<JsonValue, E> {
        Ok(JsonValue::Text(text))
    }
    fn visit_bool<E>(self, flag: bool) -> Result<JsonValue, E> {
        Ok(JsonValue::Flag(flag))
    }
    fn visit_unit<E>(self) -> Result<JsonValue, E> {
        Ok(JsonValue::Null)
    }
    fn visit_i64<E>(self, integer: i64) -> Result<JsonValue, E> {
        Ok(JsonValue::Integer(integer.to_string()))
    }
    fn visit_u64<E>(self, integer: u64) -> Result<JsonValue, E> {
        Ok(JsonValue::Integer(integer.to_string()))
    }
    fn visit_f64<E>(self, _: f64) -> Result<JsonValue, E> {
        Ok(JsonValue::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<JsonValue, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(JsonValue::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonValue, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(JsonValue::Object(members))
    }
}
