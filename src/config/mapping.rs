//! Reads the mapping of a route or a schema: record sets, subjects, fields, facts.
//!
//! Paths stay text here; the compiler of scrub plans checks them.

use std::ops::Range;

use super::namespace::check_name;
use super::terms::PackTerms;
use crate::document::{At, Document, Fields, Item};
use crate::finding::Finding;
use crate::scrub::{Columns, FactKey, FieldMapping, RecordMapping, SubjectSource};
use crate::vocabulary::CategoryId;

const FACTS: [(&str, FactKey); 6] = [
    ("country", FactKey::Country),
    ("region", FactKey::Region),
    ("birth-date", FactKey::BirthDate),
    ("account-closed", FactKey::AccountClosed),
    ("origin", FactKey::Origin),
    ("created", FactKey::Created),
];

/// A path, and its place in the file.
#[derive(Clone, Debug)]
pub(super) struct PathPlace<'d> {
    pub path: String,
    pub document: &'d Document<'d>,
    pub at: Range<usize>,
}

/// A record set, with the places of its paths for findings of the plan compiler.
#[derive(Clone, Debug, Default)]
pub(super) struct LocatedMapping<'d> {
    pub mapping: RecordMapping,
    pub places: Vec<PathPlace<'d>>,
}

impl<'d> LocatedMapping<'d> {
    /// Reports a finding at the place of a path.
    pub(super) fn warn(&self, finding: Finding, path: &str) {
        if let Some(place) = self.places.iter().find(|place| place.path == path) {
            place.document.find(finding, place.at.clone());
        }
    }

    /// Records the place of a path, and returns the path.
    pub(super) fn path(&mut self, document: &'d Document<'d>, path: At<&str>) -> String {
        let At { value, at } = path;
        self.places.push(PathPlace { path: value.to_owned(), document, at });
        value.to_owned()
    }

    /// Reads `subject` and `controller` of a table, which replace those of `self`.
    pub(super) fn read_people(mut self, table: &mut Fields<'d>, words: &PackTerms<'_>) -> LocatedMapping<'d> {
        let document = table.document();
        if let Some(item) = table.item("subject") {
            self.mapping.subjects = self.sources(document, &item, words);
        }
        if let Some(item) = table.item("controller") {
            let mut controllers = self.sources(document, &item, words);
            if controllers.len() > 1 {
                let finding = Finding::error("several-controllers", "a record has one controller")
                    .label("several paths")
                    .hint("name the one account whose service data it is; split the record set where there are more");
                document.find(finding, item.at());
            }
            self.mapping.controller = controllers.pop();
        }
        self
    }

    /// Reads `subject`, `controller`, `fields` and `facts` of a table. Subjects and controller replace those of `self`;
    /// fields and facts are added.
    pub(super) fn read(self, table: &mut Fields<'d>, words: &PackTerms<'_>) -> LocatedMapping<'d> {
        let document = table.document();
        let mut located = self.read_people(table, words);
        if let Some(columns) = table.fields("columns", "`columns`") {
            located.mapping.columns = located.columns(document, columns);
        }
        for (path, item) in table.entries("fields") {
            if is_misplaced(document, &path, "fields") {
                continue;
            }
            let (categories, embedded) = field(document, &item, words);
            let root = words.vocabulary.well_known().personal;
            if categories.as_slice() == [root] {
                let finding =
                    Finding::warning("category-too-wide", "`personal` does not say what the field holds");
                let hint = "name a category below it: rules that release `personal` mean everything but what they except";
                document.find(finding.label("too wide").hint(hint), item.at());
            }
            let path = located.path(document, path);
            located.mapping.fields.push(FieldMapping { path, categories, embedded });
        }
        if let Some(mut facts) = table.fields("facts", "`facts`") {
            for (key, fact) in FACTS {
                if let Some(path) = facts.text(key) {
                    let path = located.path(document, path);
                    located.mapping.facts.push((fact, path));
                }
            }
            facts.end();
        }
        located
    }

    /// Reads `columns = { path = "$.columns", names = ["id", "email"] }`.
    fn columns(&mut self, document: &'d Document<'d>, mut table: Fields<'d>) -> Option<Columns> {
        let at = table.at();
        let path = table.needed_text("path");
        let written = table.texts("names");
        table.end();
        let names: Vec<String> = written.iter().map(|name| name.value.to_owned()).collect();
        if names.is_empty() {
            let finding = Finding::error("bad-columns", "a table without columns").label("has no `names`");
            document.find(finding.hint("list the names of all columns, in the order of the header"), at);
        }
        for (at, name) in written.iter().enumerate() {
            if names.iter().take(at).any(|earlier| earlier == name.value) {
                let finding =
                    Finding::error("bad-columns", format!("the column `{}` is there twice", name.value));
                document.find(finding.label("the second one"), name.at.clone());
            }
        }
        let path = self.path(document, path?);
        Some(Columns { path, names })
    }

    /// Reads a path, a table with `path`, or a list of these.
    fn sources(
        &mut self,
        document: &'d Document<'d>,
        item: &Item<'d>,
        words: &PackTerms<'_>,
    ) -> Vec<SubjectSource> {
        item.items().iter().filter_map(|item| self.source(document, item, words)).collect()
    }

    fn source(
        &mut self,
        document: &'d Document<'d>,
        item: &Item<'d>,
        words: &PackTerms<'_>,
    ) -> Option<SubjectSource> {
        if item.is_text() {
            let path = self.path(document, item.text()?);
            return Some(SubjectSource { path, ids: words.namespaces.reader(None), optional: false });
        }
        if !item.is_table() {
            let finding = Finding::error("bad-subject", "this is not where a subject's id is found");
            document.find(
                finding.hint("a path such as `@.id`, a table with `path`, or a list of these"),
                item.at(),
            );
            return None;
        }
        let mut table = item.fields("where an id is found")?;
        let path = table.needed_text("path");
        let namespace = table.text("namespace");
        if let Some(name) = &namespace {
            check_name(document, name);
        }
        // Already read with the rules of namespaces.
        table.item("normalise");
        let optional = table.flag("optional") == Some(true);
        table.end();
        let path = self.path(document, path?);
        let ids = words.namespaces.reader(namespace.map(|name| name.value));
        Some(SubjectSource { path, ids, optional })
    }
}

/// Keys of a route that are often written below a table header by mistake.
const KEYS_OF_A_ROUTE: [&str; 12] = [
    "allow",
    "controller",
    "methods",
    "operation",
    "path",
    "personal",
    "policy",
    "record",
    "schema",
    "subject",
    "unknown-subject",
    "upstream",
];

/// Reports a key of the route among the paths below a table header: in TOML a key belongs to the header above it.
/// Returns true if the name is such a key.
fn is_misplaced(document: &Document<'_>, name: &At<&str>, table: &str) -> bool {
    let misplaced = KEYS_OF_A_ROUTE.contains(&name.value);
    if misplaced {
        let words = format!("`{}` stands below `{table}`, where every key is a path", name.value);
        let hint = format!("move it above `[route.{table}]`: in TOML a key belongs to the header above it");
        document.find(Finding::error("misplaced-key", words).label("not a path").hint(hint), name.at.clone());
    }
    misplaced
}

/// Reads a field: a category, a list of categories, or a table with `category` and `embedded`. Returns its categories, and
/// true if it holds JSON in a string.
fn field(document: &Document<'_>, item: &Item<'_>, words: &PackTerms<'_>) -> (Vec<CategoryId>, bool) {
    if !item.is_table() {
        return (words.categories(document, item), false);
    }
    let Some(mut table) = item.fields("a field") else { return (Vec::new(), false) };
    let categories = table.item("category");
    if categories.is_none() {
        table.missing("category");
    }
    let embedded = table.choice("embedded", &[("json", true)]).unwrap_or(false);
    table.end();
    (categories.map_or_else(Vec::new, |item| words.categories(document, &item)), embedded)
}
