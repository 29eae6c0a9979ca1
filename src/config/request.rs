//! The keys of a `[[route]]` about its requests: parameters, header fields, bodies.

use std::collections::HashMap;

use http::{HeaderName, Method};

use super::words::Words;
use crate::document::{At, Document, Fields, Item};
use crate::finding::Finding;
use crate::layer::request;
use crate::layer::route::Parameter;

/// Names by which APIs let a caller select, rename, sort, filter, expand or compute fields: without case, signs at
/// the beginning (`$select`, `_sort`), separators (`sort_by`) and what stands in brackets (`fields[people]`).
const CHOOSING: [&str; 74] = [
    "aggregate",
    "aggregates",
    "aggregation",
    "aggregations",
    "aggs",
    "apply",
    "attributes",
    "attrs",
    "by",
    "columns",
    "column",
    "compute",
    "cols",
    "criteria",
    "distinct",
    "docvaluefields",
    "elements",
    "embed",
    "embedded",
    "exclude",
    "excludes",
    "expand",
    "expansions",
    "expr",
    "expression",
    "facet",
    "facets",
    "field",
    "fields",
    "filter",
    "filterby",
    "filterpath",
    "filters",
    "fl",
    "fq",
    "graphql",
    "group",
    "groupby",
    "has",
    "having",
    "include",
    "includes",
    "jq",
    "join",
    "joins",
    "jsonpath",
    "only",
    "omit",
    "order",
    "orderby",
    "ordering",
    "populate",
    "prefetch",
    "project",
    "projection",
    "properties",
    "props",
    "q",
    "query",
    "relations",
    "revinclude",
    "scriptfields",
    "search",
    "select",
    "sort",
    "sortby",
    "sorting",
    "source",
    "sourceincludes",
    "storedfields",
    "summary",
    "transform",
    "where",
    "with",
];

/// Names by which a query says another method than the request's.
const OVERRIDING: [&str; 3] = ["_method", "_httpmethod", "x-http-method-override"];

/// Whether a parameter of this name commonly lets its caller choose what the answer's fields hold.
fn chooses(name: &str) -> bool {
    let base = name.split(['[', '(']).next().unwrap_or_default().to_ascii_lowercase();
    let base = base.replace(['$', '_', '-', '.'], "");
    CHOOSING.contains(&base.as_str())
}

/// Reads `query`.
pub(super) fn query(
    fields: &mut Fields<'_>,
    document: &Document<'_>,
    words: &Words<'_>,
) -> HashMap<String, Parameter> {
    let mut query = HashMap::new();
    for (name, item) in fields.entries("query") {
        if OVERRIDING.contains(&name.value.to_ascii_lowercase().as_str()) {
            let finding =
                Finding::error("bad-parameter", format!("the parameter `{}` cannot pass", name.value));
            let hint = "an origin that heeds it does something else than what was decided about";
            document.find(finding.label("overrides the method").hint(hint), name.at.clone());
        }
        query.insert(name.value.to_owned(), parameter(document, words, &name, &item));
    }
    query
}

/// A category or a list of them for every value, or a table of the values that pass.
fn parameter(document: &Document<'_>, words: &Words<'_>, name: &At<&str>, item: &Item<'_>) -> Parameter {
    if !item.is_table() {
        if chooses(name.value) {
            let finding = Finding::warning(
                "parameter-chooses-fields",
                format!(
                    "the parameter `{}` may let its caller choose what a field of the answer holds",
                    name.value
                ),
            );
            let hint = format!(
                "where the API selects, renames, sorts or filters by it, any value tells about any field, and the route's paths \
                 mean nothing: list the values that pass, `{} = {{ values = {{ … = \"category\" }} }}`",
                name.value
            );
            document.find(finding.label("passes with any value").hint(hint), name.at.clone());
        }
        return Parameter::Any(words.categories(document, item));
    }
    let mut listed = HashMap::new();
    if let Some(mut table) = item.fields("a parameter") {
        let values = table.entries("values");
        if values.is_empty() {
            let finding =
                Finding::error("bad-parameter", format!("the parameter `{}` has no `values`", name.value));
            let hint =
                "write `values = { VALUE = \"category\" }`, or a category alone where any value passes";
            document.find(finding.label("no value passes").hint(hint), item.at());
        }
        for (value, item) in values {
            listed.insert(value.value.to_owned(), words.categories(document, &item));
        }
        table.end();
    }
    Parameter::Listed(listed)
}

/// Reads `request-headers`.
pub(super) fn headers(fields: &mut Fields<'_>, purpose_header: &HeaderName) -> Vec<HeaderName> {
    let document = fields.document();
    let mut headers = Vec::new();
    for name in fields.texts("request-headers") {
        let Ok(header) = name.value.parse::<HeaderName>() else {
            document.find(Finding::error("bad-header-name", "this is not a header name"), name.at);
            continue;
        };
        if let Some(why) = request::never_forwarded(&header, purpose_header) {
            let finding = Finding::error(
                "bad-request-header",
                format!("`{}` cannot go on to the upstream", name.value),
            );
            document.find(finding.label("stays here").hint(why), name.at);
            continue;
        }
        if header == http::header::COOKIE {
            let finding =
                Finding::warning("cookie-forwarded", "the recipient's cookies go on to the upstream");
            let hint = "they can log somebody in there whom the gateway has not identified: take this out if the API \
                        does without";
            document.find(finding.label("a credential for the upstream").hint(hint), name.at);
        }
        headers.push(header);
    }
    headers
}

/// Reads `request-body`: whether a DELETE may have one.
pub(super) fn delete_body(fields: &mut Fields<'_>, methods: &[Method]) -> bool {
    let Some(item) = fields.item("request-body") else { return false };
    let allowed = item.flag() == Some(true);
    if allowed && !methods.contains(&Method::DELETE) {
        let finding = Finding::error("body-without-delete", "`request-body` is for routes that serve DELETE");
        let hint = "POST, PUT and PATCH have a body without it, GET and HEAD never have one";
        fields.document().find(finding.label("allows nothing").hint(hint), item.at());
    }
    allowed
}

/// Warns where requests with a body count as reading. `operation` is where the route says that they do.
pub(super) fn screen_disclosure(
    document: &Document<'_>,
    operation: &Item<'_>,
    methods: &[Method],
    delete_body: bool,
) {
    let has_body = |method: &Method| match *method {
        Method::POST | Method::PUT | Method::PATCH => true,
        Method::DELETE => delete_body,
        _ => false,
    };
    if !methods.iter().any(has_body) {
        return;
    }
    let finding = Finding::warning(
        "body-chooses-fields",
        "the body of a request may choose what a field of the answer holds",
    );
    let hint = "a query in a body can rename fields (GraphQL aliases, OData `$compute`, `script_fields`), and then the route's \
                paths mean nothing: put only APIs here whose answers have the same members whatever is asked";
    document.find(finding.label("reads by a body that is not screened").hint(hint), operation.at());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_choose_are_recognised_in_their_spellings() {
        for name in [
            "select",
            "$select",
            "fields",
            "fields[people]",
            "sort",
            "_sort",
            "sort_by",
            "sortBy",
            "order",
            "orderby",
            "$orderby",
            "order-by",
            "filter",
            "$filter",
            "filter[name]",
            "q",
            "query",
            "expand",
            "$expand",
            "include",
            "_include",
            "group",
            "group_by",
            "aggregate",
            "columns",
            "projection",
            "embed",
            "_embed",
            "populate",
            "search",
            "$search",
            "where",
            "$compute",
            "$apply",
            "_source",
            "_elements",
            "script_fields",
            "Filter",
        ] {
            assert!(chooses(name), "{name}");
        }
        for name in
            ["page", "limit", "offset", "cursor", "email", "id", "status", "pace", "since", "$top", "$skip"]
        {
            assert!(!chooses(name), "{name}");
        }
    }
}
