//! Tells references from data: a member `$ref` refers to something only where an object of the specification stands.
//!
//! The values of examples, defaults and enumerations are values of the described API. There `$ref` is a member like any other.

/// The role of a node in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReferencePosition {
    /// Its members are keywords: a schema, an operation, an answer.
    Keywords,
    /// Its members have names that the document chooses, such as those of `properties`.
    Names,
}

impl ReferencePosition {
    /// Returns the position of a member's value: `None` if it is data.
    pub(super) fn below(self, member: &str) -> Option<ReferencePosition> {
        match self {
            ReferencePosition::Names => Some(ReferencePosition::Keywords),
            ReferencePosition::Keywords if is_data_keyword(member) => None,
            ReferencePosition::Keywords if holds_names(member) => Some(ReferencePosition::Names),
            ReferencePosition::Keywords => Some(ReferencePosition::Keywords),
        }
    }
}

/// True for a keyword whose value is data of the described API, or an extension.
pub fn is_data_keyword(keyword: &str) -> bool {
    matches!(keyword, "example" | "examples" | "default" | "const" | "enum") || keyword.starts_with("x-")
}

/// True for a keyword whose members have names that the document chooses.
pub fn holds_names(keyword: &str) -> bool {
    matches!(
        keyword,
        "properties"
            | "patternProperties"
            | "dependentSchemas"
            | "$defs"
            | "definitions"
            | "schemas"
            | "responses"
            | "parameters"
            | "requestBodies"
            | "headers"
            | "securitySchemes"
            | "links"
            | "callbacks"
            | "pathItems"
            | "paths"
            | "webhooks"
            | "content"
            | "encoding"
            | "variables"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_document_chooses_is_no_keyword() {
        let at = |path: &str| path.split('/').try_fold(ReferencePosition::Keywords, ReferencePosition::below);
        for data in ["example", "content/json/examples", "properties/a/default", "a/enum", "x-note/a"] {
            assert_eq!(at(data), None, "{data}");
        }
        for keywords in ["properties/example", "$defs/default/items", "components/schemas/x-a", "a/b"] {
            assert_eq!(at(keywords), Some(ReferencePosition::Keywords), "{keywords}");
        }
    }
}
