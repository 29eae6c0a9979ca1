//! The paths of a route that nobody has classified, each with a proposal.

use std::collections::HashMap;
use std::fmt::Write as _;

use http::Method;

use crate::discover::{
    JsonType, KnownRecords, ObservedPath, ProposedField, ProposedRoute, propose_for_route, without_conditions,
};
use crate::exchange::route::Route;
use crate::exchange::unclassified::{UnclassifiedPath, UnclassifiedReport};

/// The unclassified paths of a route, as its page shows them.
#[derive(Debug)]
pub(super) struct UnclassifiedView {
    pub(super) since: String,
    pub(super) records: u64,
    pub(super) rows: Vec<UnclassifiedRow>,
    /// The number of values at further paths.
    pub(super) others: u64,
    /// The lines to add to the route's fields.
    pub(super) lines: String,
}

/// One path.
#[derive(Debug, PartialEq)]
pub(super) struct UnclassifiedRow {
    pub(super) path: String,
    pub(super) types: String,
    pub(super) count: u64,
    pub(super) last: String,
    /// The proposed categories; empty if there is no proposal.
    pub(super) proposal: String,
    pub(super) confidence: String,
    pub(super) reason: String,
}

impl UnclassifiedView {
    /// Reads what was seen on a route, and proposes categories.
    pub(super) fn of(route: &Route) -> UnclassifiedView {
        let UnclassifiedReport { since, records, paths, others } = route.unclassified.report();
        let known = known_records(route);
        let observed: Vec<ObservedPath> = paths.iter().map(|path| observed(path, &known)).collect();
        let proposed = propose_for_route(&observed, &known).routes;
        let by_path = by_path(&proposed);
        let rows = paths.iter().zip(&observed).map(|(path, observed)| row(path, observed, &by_path));
        UnclassifiedView {
            since: since.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            records,
            rows: rows.collect(),
            others,
            lines: lines(&proposed),
        }
    }
}

/// Returns the record sets of a route for a proposal.
fn known_records(route: &Route) -> KnownRecords {
    let sets = route.scrubbing.as_ref().map(|scrubbing| scrubbing.records.as_slice()).unwrap_or_default();
    let record = |set: &crate::scrub::RecordMapping| {
        (set.path.clone(), set.subjects.first().map(|source| source.path.clone()))
    };
    KnownRecords {
        path: route.pattern.clone(),
        methods: route.methods.iter().map(Method::to_string).collect(),
        records: sets.iter().map(record).collect(),
    }
}

/// Returns the path from the document's root.
fn observed(seen: &UnclassifiedPath, known: &KnownRecords) -> ObservedPath {
    let record = seen.record.and_then(|set| known.records.get(set)).map(|(record, _)| record);
    ObservedPath {
        path: from_root(record.map_or("$", String::as_str), &seen.path),
        types: seen.types.iter().filter_map(|kind| JsonType::from_name(kind.name())).collect(),
        count: seen.count,
    }
}

fn from_root(record: &str, path: &str) -> String {
    match path.strip_prefix('@') {
        Some(rest) => format!("{}{rest}", without_conditions(record)),
        None => path.to_owned(),
    }
}

fn by_path(proposed: &[ProposedRoute]) -> HashMap<String, &ProposedField> {
    let fields = proposed.iter().flat_map(|route| route.fields.iter().map(move |field| (route, field)));
    fields.map(|(route, field)| (from_root(&route.record, &field.path), field)).collect()
}

fn row(
    seen: &UnclassifiedPath,
    observed: &ObservedPath,
    proposed: &HashMap<String, &ProposedField>,
) -> UnclassifiedRow {
    let types: Vec<&str> = seen.types.iter().map(|kind| kind.name()).collect();
    let field = proposed.get(&observed.path);
    UnclassifiedRow {
        path: observed.path.clone(),
        types: types.join(", "),
        count: seen.count,
        last: seen.last.to_string(),
        proposal: field.map(|field| field.categories.join(" + ")).unwrap_or_default(),
        confidence: field.map(|field| format!("{:.2}", field.confidence)).unwrap_or_default(),
        reason: field.map(|field| field.reason.clone()).unwrap_or_default(),
    }
}

/// Returns the proposal as lines of the configuration.
fn lines(proposed: &[ProposedRoute]) -> String {
    let mut text = String::new();
    for ProposedRoute { record, fields, .. } in proposed.iter().filter(|route| !route.fields.is_empty()) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# records at {record}");
        for ProposedField { path, categories, confidence, .. } in fields.iter() {
            let quoted = |text: &str| toml::Value::from(text).to_string();
            let categories = match categories.as_slice() {
                [one] => quoted(one),
                several => {
                    format!("[{}]", several.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "))
                }
            };
            let unsure = if *confidence < 0.5 { " # unsure: the stricter category" } else { "" };
            let _ = writeln!(text, "{} = {categories}{unsure}", quoted(path));
        }
    }
    text
}
