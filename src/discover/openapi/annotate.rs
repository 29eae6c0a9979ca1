//! Writes proposed categories into an OpenAPI document as `x-data-category`. The rest of the text stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use super::schema::CATEGORY;
use super::source::{ItemId, SourceDocument};
use super::{OpenApiDocument, WalkedBodies};
use crate::discover::name::forget_readings;
use crate::discover::path::parse;

/// The categories that routes propose for one schema: `None` if they disagree.
type Proposed = BTreeMap<ItemId, Option<Vec<String>>>;

/// Confidence below which a category is a guess. Written down it would count as declared.
const MIN_CONFIDENCE: f64 = 0.5;

/// A document with proposed categories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnotatedDocument {
    /// The text of the document.
    pub text: String,
    /// Number of schemas without a category, because operations disagree about them or they are in another file.
    pub disputed: usize,
    /// Number of schemas without a category, because it would be a guess.
    pub unsure: usize,
}

pub(super) fn annotate(document: &OpenApiDocument) -> AnnotatedDocument {
    let Some(source) = document.documents.first() else { return AnnotatedDocument::default() };
    let mut proposed = Proposed::new();
    let mut unsure = BTreeSet::new();
    let mut bodies = WalkedBodies::default();
    let mut elsewhere = BTreeSet::new();
    for operation in &document.operations {
        let walked = document.body(operation, &mut bodies);
        let (routes, is_new) = walked.routes(&operation.hints);
        // The same routes again add nothing.
        for route in routes.iter().filter(|_| is_new) {
            for field in route.fields.iter() {
                let full = match field.path.strip_prefix('@') {
                    Some(rest) => format!("{}{rest}", route.record),
                    None => field.path.clone(),
                };
                let origins = parse(&full).and_then(|steps| walked.origins.get(&steps));
                let places = origins.map(Vec::as_slice).unwrap_or_default();
                for place in places {
                    match document.documents.item_in_first(*place) {
                        Some(item) if field.confidence < MIN_CONFIDENCE => {
                            unsure.insert(item);
                        }
                        Some(item) => add(&mut proposed, item, &field.categories),
                        None => _ = elsewhere.insert(*place),
                    }
                }
            }
        }
    }
    forget_readings();
    // Of a schema that one operation leaves unsure, the others do not decide.
    proposed.retain(|item, _| !unsure.contains(item));
    let disagreed = proposed.values().filter(|categories| categories.is_none()).count();
    let text = insert(source, &proposed);
    AnnotatedDocument { text, disputed: elsewhere.len() + disagreed, unsure: unsure.len() }
}

fn add(proposed: &mut Proposed, item: ItemId, categories: &[String]) {
    let known = proposed.entry(item).or_insert_with(|| Some(categories.to_vec()));
    if known.as_deref() != Some(categories) {
        *known = None;
    }
}

/// Inserts the categories, from the first place to the last.
fn insert(source: &SourceDocument, proposed: &Proposed) -> String {
    let mut edits: Vec<(usize, String)> = Vec::new();
    for (item, categories) in proposed {
        let Some(categories) = categories else { continue };
        if source.member(*item, CATEGORY).is_some() {
            continue;
        }
        let Some((start, is_flow)) = source.mapping_start(*item) else { continue };
        let is_json = source.text().trim_start_matches('\u{feff}').trim_start().starts_with('{');
        edits.push(edit(source.text(), start, is_flow, is_json, categories));
    }
    edits.sort_unstable();
    let mut text = String::with_capacity(source.text().len() + edits.len() * 40);
    let mut done = 0;
    for (at, inserted) in edits {
        text.push_str(source.text().get(done..at).unwrap_or_default());
        text.push_str(&inserted);
        done = at;
    }
    text.push_str(source.text().get(done..).unwrap_or_default());
    text
}

/// Returns the place and the text of one insertion.
fn edit(text: &str, start: usize, is_flow: bool, is_json: bool, categories: &[String]) -> (usize, String) {
    let quote = |name: &String| if is_json { format!("\"{name}\"") } else { name.clone() };
    let value = match categories {
        [one] => quote(one),
        several => format!("[{}]", several.iter().map(quote).collect::<Vec<_>>().join(", ")),
    };
    let key = if is_json { format!("\"{CATEGORY}\"") } else { CATEGORY.to_owned() };
    if is_flow {
        let inside = text.get(start + 1..).unwrap_or_default();
        let content = inside.trim_start();
        let blanks = inside.get(..inside.len() - content.len()).unwrap_or_default();
        let separator = if content.starts_with('}') { "" } else { "," };
        // The next member keeps its own line, if it has one.
        let after =
            if separator.is_empty() || blanks.contains('\n') || !blanks.is_empty() { "" } else { " " };
        return (start + 1, format!("{blanks}{key}: {value}{separator}{after}"));
    }
    let line = text.get(..start).unwrap_or_default().rfind('\n').map_or(0, |at| at + 1);
    let column = text.get(line..start).unwrap_or_default().chars().count();
    (start, format!("{key}: {value}\n{}", " ".repeat(column)))
}
