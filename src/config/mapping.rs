//! The mapping of a route or a schema: record sets, subjects, fields, facts.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeValue;

use super::recipient::report_unknown_name;
use super::section::choice;
use crate::finding::{At, Table};
use crate::scrub::{FactKey, Normalise, RecordMapping, SubjectSource};
use crate::vocabulary::{CategoryId, Vocabulary};

const FACTS: [(&str, FactKey); 6] = [
    ("country", FactKey::Country),
    ("region", FactKey::Region),
    ("birth-date", FactKey::BirthDate),
    ("account-closed", FactKey::AccountClosed),
    ("origin", FactKey::Origin),
    ("created", FactKey::Created),
];

/// A record set with the places of its paths, for findings of the compiler.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub mapping: RecordMapping,
    /// Each path of the mapping and where it is written.
    pub places: Vec<(String, Range<usize>)>,
}

/// Reads `subject`, `controller`, `fields`, `facts` of a table; what it does not say comes from `base`.
pub(super) fn read(table: &Table<'_>, vocabulary: &Vocabulary, base: Option<&Written>) -> Written {
    let mut written = base.cloned().unwrap_or_default();
    if let Some(value) = table.value("subject") {
        written.mapping.subjects = sources(table, value, &mut written.places);
    }
    if let Some(value) = table.value("controller") {
        written.mapping.controller = sources(table, value, &mut written.places).into_iter().next();
    }
    if let Some(fields) = table.table("fields") {
        for (path, value) in fields.entries() {
            let categories = categories(&fields, value, vocabulary);
            written.places.push((path.value.to_owned(), path.span));
            written.mapping.fields.push((path.value.to_owned(), categories));
        }
    }
    if let Some(facts) = table.table("facts") {
        for (word, fact) in FACTS {
            if let Some(path) = facts.text(word) {
                written.places.push((path.value.clone(), path.span));
                written.mapping.facts.push((fact, path.value));
            }
        }
        facts.report_unknown();
    }
    written
}

/// One category or a list of them, by name.
pub(super) fn categories(table: &Table<'_>, value: &Spanned<DeValue<'_>>, vocabulary: &Vocabulary) -> Vec<CategoryId> {
    let names = texts(table, value);
    if names.is_empty() {
        table.findings().push(table.error(value.span(), "a field needs at least one category"));
    }
    let known = names.into_iter().filter_map(|name| {
        let found = vocabulary.categories().find(&name.value);
        if found.is_none() {
            report_unknown_name(table, "data category", &name.value, name.span, vocabulary.categories());
        }
        found
    });
    known.collect()
}

fn texts(table: &Table<'_>, value: &Spanned<DeValue<'_>>) -> Vec<At<String>> {
    let text = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::String(text) => Some(At { value: text.to_string(), span: value.span() }),
        _ => {
            table.findings().push(table.error(value.span(), "expected the name of a data category"));
            None
        }
    };
    match value.get_ref() {
        DeValue::Array(items) => items.iter().filter_map(text).collect(),
        _ => text(value).into_iter().collect(),
    }
}

/// A path, a table with `path`, or a list of either.
fn sources(table: &Table<'_>, value: &Spanned<DeValue<'_>>, places: &mut Vec<(String, Range<usize>)>) -> Vec<SubjectSource> {
    match value.get_ref() {
        DeValue::Array(items) => items.iter().filter_map(|item| source(table, item, places)).collect(),
        _ => source(table, value, places).into_iter().collect(),
    }
}

fn source(table: &Table<'_>, value: &Spanned<DeValue<'_>>, places: &mut Vec<(String, Range<usize>)>) -> Option<SubjectSource> {
    match value.get_ref() {
        DeValue::String(path) => {
            places.push((path.to_string(), value.span()));
            Some(SubjectSource { path: path.to_string(), namespace: None, normalise: Normalise::Exact })
        }
        DeValue::Table(_) => {
            let inner = table.as_table(value, "a path or a table with `path`")?;
            let path = inner.required_text("path");
            let namespace = inner.text("namespace").map(|namespace| Arc::from(namespace.value));
            let words = [("exact", Normalise::Exact), ("lowercase", Normalise::Lowercase)];
            let normalise = choice(&inner, "normalise", &words, Normalise::Exact);
            inner.report_unknown();
            let path = path?;
            places.push((path.value.clone(), path.span));
            Some(SubjectSource { path: path.value, namespace, normalise })
        }
        _ => {
            table.findings().push(table.error(value.span(), "expected a path or a table with `path`"));
            None
        }
    }
}
