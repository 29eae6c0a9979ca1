//! JSON schemas of the members of events. [`super::member`] says which member has which; [`super::schema`] makes the schemas
//! of events from them.

use serde_json::{Value, json};

use super::reader::MAX_SHORT_TEXT_BYTES;

/// The schemas of the members that one type of member reads.
pub(in crate::ledger) struct MemberSchema {
    /// Name and schema of each member.
    pub(in crate::ledger) properties: Vec<(&'static str, Value)>,
    /// The members that must be present.
    pub(in crate::ledger) required: &'static [&'static str],
    /// A condition on the whole event, if there is one.
    pub(in crate::ledger) condition: Option<Value>,
}

impl MemberSchema {
    /// Returns the schema of one required member.
    pub(in crate::ledger) fn required(names: &'static [&'static str], schema: Value) -> MemberSchema {
        MemberSchema { required: names, ..MemberSchema::optional(names, schema) }
    }

    /// Returns the schema of one member that can be absent.
    pub(in crate::ledger) fn optional(names: &'static [&'static str], schema: Value) -> MemberSchema {
        let properties = names.iter().map(|name| (*name, schema.clone())).collect();
        MemberSchema { properties, required: &[], condition: None }
    }
}

/// Returns the reference to a component of the document.
pub(in crate::ledger) fn reference(component: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{component}") })
}

/// Returns the schema of an instant.
pub(in crate::ledger) fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// Returns the schema of a short text.
pub(in crate::ledger) fn short_text() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": MAX_SHORT_TEXT_BYTES, "pattern": "\\S" })
}

/// Returns the schema of an approver's name, whose characters cannot be confused (see [`crate::ledger::Approver`]).
pub(in crate::ledger) fn approver() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_SHORT_TEXT_BYTES,
        "pattern": "^[A-Za-z0-9._@ -]*[A-Za-z0-9][A-Za-z0-9._@ -]*$",
    })
}
