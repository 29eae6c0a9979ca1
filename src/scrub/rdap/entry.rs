//! The members of `redacted` (RFC 9537, 4.2) as JSON.

use serde::Serialize;

use super::words::FieldName;

/// The way in which a field was redacted (RFC 9537, 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum RedactionMethod {
    Removal,
    EmptyValue,
    PartialValue,
    ReplacementValue,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct RedactionReason {
    description: &'static str,
}

/// One member of `redacted`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RedactedEntry {
    name: FieldName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pre_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_path: Option<String>,
    path_lang: &'static str,
    method: RedactionMethod,
    reason: RedactionReason,
}

impl RedactedEntry {
    /// Makes an entry. The path of a removed field refers to the answer before redaction, any other path to the
    /// answer after it.
    pub(super) fn new(name: FieldName, method: RedactionMethod, path: String) -> RedactedEntry {
        let (pre_path, post_path) = match method {
            RedactionMethod::Removal => (Some(path), None),
            RedactionMethod::EmptyValue
            | RedactionMethod::PartialValue
            | RedactionMethod::ReplacementValue => (None, Some(path)),
        };
        let reason = RedactionReason { description: "Server policy" };
        RedactedEntry { name, pre_path, post_path, path_lang: "jsonpath", method, reason }
    }

    pub(super) fn json(&self) -> String {
        // An entry consists of strings, so serialising it cannot fail. If it did, `null` would disclose nothing.
        serde_json::to_string(self).unwrap_or_else(|_| "null".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrub::rdap::words::ContactRole;

    #[test]
    fn removed_fields_have_a_path_before_redaction_and_others_one_after_it() {
        let name = ContactRole::named(b"registrant").field("Email");
        assert_eq!(
            RedactedEntry::new(name, RedactionMethod::Removal, "$.a".to_owned()).json(),
            r#"{"name":{"type":"Registrant Email"},"prePath":"$.a","pathLang":"jsonpath","method":"removal","reason":{"description":"Server policy"}}"#
        );
        let name = ContactRole::named(b"jane@x.org").field("Email");
        assert_eq!(
            RedactedEntry::new(name, RedactionMethod::EmptyValue, "$.a".to_owned()).json(),
            r#"{"name":{"description":"Contact Email"},"postPath":"$.a","pathLang":"jsonpath","method":"emptyValue","reason":{"description":"Server policy"}}"#
        );
    }
}
