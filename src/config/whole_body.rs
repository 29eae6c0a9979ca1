//! Reads `body` of a `[[route]]`: a body of any media type that is one field of the person whom the path names.
//!
//! Such a body is not read. So nothing in it can name its person, and no key about the content of a body has a meaning.

use http::Method;
use http::header::{CONTENT_DISPOSITION, CONTENT_LOCATION, HeaderName, LAST_MODIFIED, LINK, LOCATION};

use super::mapping::LocatedMapping;
use super::terms::PackTerms;
use crate::document::{Document, Fields, Item};
use crate::finding::Finding;
use crate::scrub::{FieldMapping, SubjectSource};

/// Header fields that can name a file or its place, or say when it changed. They are not decided with the body.
const HEADERS_OF_FILES: [HeaderName; 5] =
    [CONTENT_DISPOSITION, CONTENT_LOCATION, LAST_MODIFIED, LINK, LOCATION];

/// Keys about the content of a body.
const KEYS_OF_CONTENT: [&str; 15] = [
    "columns",
    "duplicate-keys",
    "events",
    "facts",
    "fields",
    "framing",
    "max-record",
    "record",
    "records",
    "redact",
    "redaction",
    "removed-as",
    "schema",
    "unclassified",
    "withhold-echoes",
];

/// Reads the mapping of a route with `body`: one record, which is one field. `None` if the route has no `body`.
pub(super) fn read<'d>(
    fields: &mut Fields<'d>,
    words: &PackTerms<'_>,
    methods: &[Method],
) -> Option<LocatedMapping<'d>> {
    let document = fields.document();
    let body = fields.item("body")?;
    check_keys(fields, document);
    check_methods(fields, document, methods);
    check_headers(fields, document);
    let categories = words.categories(document, &body);
    // The subject and the controller: the other keys of a mapping are findings already.
    let mut located = LocatedMapping::default().read_people(fields, words);
    check_people(&located, &body, document);
    located.mapping.path = "$".to_owned();
    located.mapping.fields.push(FieldMapping { path: "@".to_owned(), categories, embedded: false });
    Some(located)
}

fn check_keys(fields: &mut Fields<'_>, document: &Document<'_>) {
    for key in KEYS_OF_CONTENT {
        if let Some(item) = fields.item(key) {
            document.find(beside(key), item.at());
        }
    }
    let withheld =
        fields.item("withheld").filter(|item| item.choice(&[("strip", true), ("deny", false)]) == Some(true));
    let unread = fields.item("personal").filter(|item| item.flag() == Some(false));
    for (key, item) in [("withheld", withheld), ("personal", unread)] {
        if let Some(item) = item {
            document.find(beside(key), item.at());
        }
    }
}

fn beside(key: &str) -> Finding {
    let hint = "the whole body is one field, which leaves or is refused: take out this key, or `body`";
    Finding::error("body-beside-mapping", format!("`{key}` has no meaning beside `body`"))
        .label("about the content of a body")
        .hint(hint)
}

fn check_methods(fields: &mut Fields<'_>, document: &Document<'_>, methods: &[Method]) {
    let Some(written) = fields.item("methods") else { return };
    if let Some(other) = methods.iter().find(|method| ![Method::GET, Method::HEAD].contains(method)) {
        let finding = Finding::error("body-needs-get", format!("`{other}` has no `body` that is one field"));
        let hint =
            "only answers to GET and HEAD are: give the other methods a route of their own at the same path";
        document.find(finding.label("not GET or HEAD").hint(hint), written.at());
    }
}

fn check_headers(fields: &mut Fields<'_>, document: &Document<'_>) {
    for name in fields.texts("answer-headers") {
        if HEADERS_OF_FILES.iter().any(|header| name.value.eq_ignore_ascii_case(header.as_str())) {
            let finding =
                Finding::error("bad-answer-header", format!("`{}` can tell about the file", name.value));
            let hint = "files about people are often named after them: the recipient names the file itself";
            document.find(finding.label("is not decided with the body").hint(hint), name.at);
        }
    }
}

fn check_people(located: &LocatedMapping<'_>, body: &Item<'_>, document: &Document<'_>) {
    let set = &located.mapping;
    if set.subjects.is_empty() {
        let finding = Finding::error("body-without-subject", "nothing says whose `body` this is");
        let hint = "name the person by a parameter of the path: `subject = \"{id}\"`";
        document.find(finding.label("has no subject").hint(hint), body.at());
    }
    let is_in_body = |source: &&SubjectSource| !source.path.starts_with('{');
    for source in set.subjects.iter().chain(&set.controller).filter(is_in_body) {
        let message = format!("`{}` is in a body that is not read", source.path);
        let finding = Finding::error("body-without-subject", message).label("not in the path");
        located
            .warn(finding.hint("only the path can name a person here: `subject = \"{id}\"`"), &source.path);
    }
}
