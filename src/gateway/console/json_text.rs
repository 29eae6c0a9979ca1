//! Texts and numbers in the JSON documents that the API returns.

use serde_json::Value;

/// Returns a member as a text; empty if it is absent or `null`.
pub(super) fn text(of: &Value, member: &str) -> String {
    match of.get(member) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Returns a member as a number; 0 if it is none.
pub(super) fn number(of: &Value, member: &str) -> u64 {
    of.get(member).and_then(Value::as_u64).unwrap_or(0)
}

/// Returns the texts of a member that is an array.
pub(super) fn texts(of: &Value, member: &str) -> Vec<String> {
    let items = of.get(member).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Returns the name of who did something, and if it is verified.
pub(super) fn named_actor(actor: &Value) -> (String, bool) {
    (text(actor, "name"), actor.get("verified") == Some(&Value::Bool(true)))
}

/// Shortens a time to seconds: `2026-11-29 15:18:46`.
pub(super) fn short_time(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}
