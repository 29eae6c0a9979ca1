//! Reads the keys of a `[[route]]` about its requests: query parameters, header fields, bodies, and CORS origins.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue, Method, Uri};

use super::terms::PackTerms;
use crate::document::{At, Document, Fields, Item};
use crate::exchange::cors::{self, Cors};
use crate::exchange::request_head;
use crate::exchange::route::QueryParameter;
use crate::finding::Finding;

/// Usual names of parameters by which APIs let the caller select, rename, sort, filter, expand or compute fields. They are
/// compared without case, leading signs (`$select`, `_sort`), separators (`sort_by`) and brackets (`fields[people]`).
const SELECTORS: [&str; 97] = [
    "aggregate",
    "aggregates",
    "aggregation",
    "aggregations",
    "aggs",
    "apply",
    "attributes",
    "attrs",
    "by",
    "cols",
    "column",
    "columns",
    "compute",
    "criteria",
    "distinct",
    "docvaluefields",
    "elements",
    "embed",
    "embedded",
    "exclude",
    "excludefields",
    "excludes",
    "expand",
    "expansions",
    "expr",
    "expression",
    "facet",
    "facets",
    "field",
    "fieldmask",
    "fields",
    "fieldset",
    "fieldsets",
    "filter",
    "filterby",
    "filterexpression",
    "filterfield",
    "filterpath",
    "filters",
    "fl",
    "fq",
    "graphql",
    "group",
    "groupby",
    "groupfield",
    "has",
    "having",
    "include",
    "includefields",
    "includes",
    "join",
    "joins",
    "jq",
    "jsonpath",
    "omit",
    "only",
    "order",
    "orderby",
    "ordercolumn",
    "orderfield",
    "ordering",
    "outputfields",
    "populate",
    "prefetch",
    "project",
    "projection",
    "properties",
    "props",
    "q",
    "query",
    "querystring",
    "readmask",
    "relations",
    "requestedfields",
    "returnfields",
    "revinclude",
    "scriptfields",
    "search",
    "searchfield",
    "searchfields",
    "select",
    "selectedfields",
    "selectfields",
    "sort",
    "sortby",
    "sortcolumn",
    "sortfield",
    "sortfields",
    "sorting",
    "sortkey",
    "source",
    "sourceincludes",
    "storedfields",
    "summary",
    "transform",
    "where",
    "with",
];

/// Names of parameters that override the method of a request.
const METHOD_OVERRIDES: [&str; 3] = ["_method", "_httpmethod", "x-http-method-override"];

/// True if APIs commonly let the caller choose the content of the response's fields by a parameter of this name.
fn is_selector(name: &str) -> bool {
    let base = name.split(['[', '(']).next().unwrap_or_default().to_ascii_lowercase();
    let base = base.replace(['$', '_', '-', '.'], "");
    SELECTORS.contains(&base.as_str())
}

/// Reads `query`.
pub(super) fn query(
    fields: &mut Fields<'_>,
    document: &Document<'_>,
    words: &PackTerms<'_>,
) -> HashMap<String, QueryParameter> {
    let mut query = HashMap::new();
    for (name, item) in fields.entries("query") {
        if METHOD_OVERRIDES.contains(&name.value.to_ascii_lowercase().as_str()) {
            let finding =
                Finding::error("bad-parameter", format!("the parameter `{}` cannot pass", name.value));
            let hint = "an origin that heeds it does something else than what was decided about";
            document.find(finding.label("overrides the method").hint(hint), name.at.clone());
        }
        query.insert(name.value.to_owned(), parameter(document, words, &name, &item));
    }
    query
}

/// Reads one parameter: categories for any value, or a table with the values that pass.
fn parameter(
    document: &Document<'_>,
    words: &PackTerms<'_>,
    name: &At<&str>,
    item: &Item<'_>,
) -> QueryParameter {
    if !item.is_table() {
        if is_selector(name.value) {
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
        return QueryParameter::Any(words.categories(document, item));
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
    QueryParameter::Listed(listed)
}

/// Reads `forward-credential`.
pub(super) fn forward_credential(fields: &mut Fields<'_>) -> bool {
    let item = fields.item("forward-credential");
    let forwards = item.as_ref().and_then(Item::flag) == Some(true);
    if let Some(item) = item.filter(|_| forwards) {
        let words = "the recipient's credential for the gateway goes on to the upstream";
        let hint = "whoever reads the upstream's traffic or logs can use it here: give the upstream a credential of \
                    its own (`headers`) if the API does without";
        let finding =
            Finding::warning("credential-forwarded", words).label("the upstream sees keys and tokens");
        fields.document().find(finding.hint(hint), item.at());
    }
    forwards
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
        if let Some(why) = request_head::never_forwarded(&header, purpose_header) {
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

/// Reads `request-body`. True if a DELETE can have a body.
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

/// Warns if requests with a body count as `disclose`, because the body can choose fields. `operation` is the item that
/// sets the operation.
pub(super) fn warn_body_selectors(
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

/// Reads `cors`.
pub(super) fn cors(
    fields: &mut Fields<'_>,
    methods: &[Method],
    request_headers: &[HeaderName],
    answer_headers: &[HeaderName],
    purpose_header: &HeaderName,
) -> Option<Cors> {
    let mut table = fields.fields("cors", "`cors`")?;
    let (document, at) = (table.document(), table.at());
    let written = table.item("origins");
    let origins = written.map_or_else(Vec::new, |item| item.texts());
    table.end();
    if origins.is_empty() {
        let finding = Finding::error("no-origin", "`cors` lists no origin").label("for no page");
        document.find(finding.hint("write `cors = { origins = [\"https://app.example.org\"] }`"), at);
    }
    let origins = origins.iter().filter_map(|text| origin(document, text)).collect();
    Some(Cors::new(origins, methods, request_headers, answer_headers, purpose_header))
}

/// Reads an origin as browsers write it (RFC 6454, 6.2): scheme, host, and a port other than the scheme's default.
fn origin(document: &Document<'_>, text: &At<&str>) -> Option<HeaderValue> {
    let hint = match text.value {
        "*" => "every origin has to be named: who may ask is not for any page to say",
        "null" => "every page in a sandbox and every file has this origin",
        written if is_origin(written) => return HeaderValue::from_str(written).ok(),
        _ => {
            "write it as browsers do: scheme, host in lower case (Punycode for other scripts) and a port that is not \
              the usual one, `https://app.example.org`, without a path"
        }
    };
    let finding = Finding::error("bad-origin", format!("`{}` is not an origin", text.value));
    document.find(finding.label("no page has this origin").hint(hint), text.at.clone());
    None
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    let is_authority = authority
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte));
    if !is_scheme || !is_authority || authority.is_empty() {
        return false;
    }
    // The scheme can be an application's own; its authority is read as that of HTTP.
    let Ok(uri) = format!("http://{authority}").parse::<Uri>() else { return false };
    let Some(parsed) = uri.authority() else { return false };
    let port = authority.strip_prefix(parsed.host()).unwrap_or_default();
    let usual = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let is_port = || {
        let port = port.strip_prefix(':').filter(|digits| !digits.starts_with('0'));
        port.and_then(|digits| digits.parse::<u16>().ok()).is_some_and(|port| Some(port) != usual)
    };
    !parsed.host().is_empty() && (port.is_empty() || is_port())
}

/// Warns if CORS headers of the upstream are listed beside `cors`, which replaces them.
pub(super) fn warn_upstream_cors(document: &Document<'_>, listed: &[At<&str>]) {
    let is_about_origins =
        |name: &&At<&str>| name.value.parse().is_ok_and(|header| cors::is_about_origins(&header));
    for name in listed.iter().filter(is_about_origins) {
        let finding =
            Finding::warning("upstream-cors", format!("`{}` of the upstream does not pass", name.value));
        let hint = "`cors` says which pages may read the answers of this route";
        document.find(finding.label("never leaves").hint(hint), name.at.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_recognized_in_all_spellings() {
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
            "sortField",
            "sort_field",
            "sort[field]",
            "include_fields",
            "search_fields",
            "fieldset",
            "fieldMask",
            "filterExpression",
            "query_string",
        ] {
            assert!(is_selector(name), "{name}");
        }
        for name in
            ["page", "limit", "offset", "cursor", "email", "id", "status", "pace", "since", "$top", "$skip"]
        {
            assert!(!is_selector(name), "{name}");
        }
    }

    #[test]
    fn only_origins_as_browsers_write_them_are_accepted() {
        for origin in [
            "https://app.example.org",
            "https://app.example.org:8443",
            "http://localhost:3000",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "capacitor://localhost",
            "chrome-extension://abcdefghijklmnop",
            "https://xn--bcher-kva.example",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for origin in [
            "",
            "app.example.org",
            "//app.example.org",
            "https://",
            "https://app.example.org/",
            "https://app.example.org/app",
            "https://App.example.org",
            "HTTPS://app.example.org",
            "https://app.example.org:443",
            "http://app.example.org:80",
            "https://app.example.org:",
            "https://app.example.org:08443",
            "https://app.example.org:99999",
            "https://u@app.example.org",
            "https://*.example.org",
            "https://app.example.org?x",
            "https://bücher.example",
            "https://a b",
            "https://[::1",
        ] {
            assert!(!is_origin(origin), "{origin}");
        }
    }
}
