//! JSON schemas of the paths that nothing classifies.

use serde_json::{Value, json};

use super::answers::{count, date, list, object, reference, text, text_or_null, time, words};
use crate::scrub::UnclassifiedType;

/// Returns the components.
pub(super) fn components() -> Vec<(&'static str, Value)> {
    let types = UnclassifiedType::ALL.map(UnclassifiedType::name);
    let types = json!({ "type": "array", "minItems": 1, "items": words("A type of JSON values.", &types) });
    let path = object(
        "A path that nothing in the mapping classifies.",
        vec![
            ("record", text_or_null("Path of the record set; null for a path from the document.")),
            (
                "path",
                text(
                    "JSONPath (RFC 9535), `@…` from the record or `$…` from the document. `*` stands for names that vary or look like values.",
                ),
            ),
            ("types", types),
            ("count", count("Number of values in the answers that were read.")),
            ("first", date("Day of the first value.")),
            ("last", date("Day of the last value.")),
        ],
    );
    let report = object(
        "The paths of a route that nothing in its mapping classifies. There are no values in it.",
        vec![
            ("route", text("Name of the route.")),
            ("since", time("Begin of the collection.")),
            ("records", count("Number of records that were read.")),
            ("paths", list(&reference("UnclassifiedPath"))),
            ("others", count("Number of values at further paths.")),
        ],
    );
    vec![("UnclassifiedPath", path), ("UnclassifiedPaths", report)]
}
