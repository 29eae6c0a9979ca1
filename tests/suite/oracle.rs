//! What must stay of a document, worked out the slow way: the whole document as values, every path
//! of the mapping as written, evaluated by another implementation of RFC 9535.
//!
//! It shares nothing with the scrubber but the configuration file's text.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use serde_json_path::JsonPath;
use toml::Table;

/// One record set as a route writes it.
struct Set {
    path: String,
    /// As written: a path, a table with one, a list of either.
    subjects: Vec<toml::Value>,
    /// Path and categories.
    fields: Vec<(String, Vec<String>)>,
}

/// A route's mapping, read from the file as it stands.
pub(crate) struct Written {
    sets: Vec<Set>,
}

/// JSON pointers to categories.
type Classes = HashMap<String, HashSet<String>>;

impl Written {
    /// The mapping of a route in a configuration file's text.
    pub(crate) fn of(file: &Table, route: &str) -> Written {
        let named = |key: &str, name: &str| -> Option<&Table> {
            let tables = file.get(key)?.as_array()?.iter().filter_map(toml::Value::as_table);
            tables.clone().find(|table| table.get("name").and_then(toml::Value::as_str) == Some(name))
        };
        let route = named("route", route).unwrap();
        let schema = route.get("schema").map(|name| named("schema", name.as_str().unwrap()).unwrap());
        let mut flat = Set { path: "$".to_owned(), subjects: subjects(route), fields: fields(route) };
        flat.fields.extend(schema.map(fields).unwrap_or_default());
        if let Some(path) = route.get("record") {
            flat.path = path.as_str().unwrap().to_owned();
        }
        let nested = route.get("records").and_then(toml::Value::as_array).into_iter().flatten().map(|set| {
            let set = set.as_table().unwrap();
            Set {
                path: set["path"].as_str().unwrap().to_owned(),
                subjects: subjects(set),
                fields: fields(set),
            }
        });
        let sets = std::iter::once(flat).filter(|flat| !flat.fields.is_empty()).chain(nested).collect();
        Written { sets }
    }

    /// Everybody the document is about, as members of a ledger event. `parameter` is in the request's path.
    pub(crate) fn subjects(&self, document: &Value, parameter: &str) -> Vec<Value> {
        let in_set = |set: &Set| {
            let records = located(&set.path, document);
            let pairs =
                records.iter().flat_map(|record| set.subjects.iter().map(move |source| (record, source)));
            let found = pairs.flat_map(|(record, source)| {
                identified(document.pointer(record).unwrap(), source, parameter)
            });
            found.collect::<Vec<_>>()
        };
        self.sets.iter().flat_map(in_set).collect()
    }

    /// What stays of a document where these categories leave in clear and all others are removed. In what
    /// is about nobody (outside the records, and in a record without a usable subject) fewer may leave.
    pub(crate) fn kept(
        &self,
        document: &Value,
        leaves: &dyn Fn(&str) -> bool,
        about_nobody: &dyn Fn(&str) -> bool,
    ) -> Value {
        let records: Vec<(String, &Set)> = self
            .sets
            .iter()
            .flat_map(|set| located(&set.path, document).into_iter().map(move |at| (at, set)))
            .collect();
        let mut classes = Classes::new();
        for (record, set) in &records {
            for (path, categories) in &set.fields {
                let matches = match path.strip_prefix('@') {
                    Some(relative) => {
                        let whole = document.pointer(record).unwrap();
                        let inside = located(&format!("${relative}"), whole);
                        inside.into_iter().map(|at| format!("{record}{at}")).collect()
                    }
                    None => located(path, document),
                };
                for at in matches {
                    classes.entry(at).or_default().extend(categories.iter().cloned());
                }
            }
        }
        let has_subject = |record: &str, set: &Set| {
            let whole = document.pointer(record).unwrap();
            set.subjects.iter().any(|source| !identified(whole, source, "parameter").is_empty())
        };
        let records =
            records.iter().map(|(record, set)| (record.clone(), has_subject(record, set))).collect();
        let walk = Walk { classes: &classes, records: &records, leaves, about_nobody };
        walk.kept(document, "", &[], false).unwrap_or(Value::Null)
    }
}

struct Walk<'a> {
    classes: &'a Classes,
    /// Each record, and whether it says whom it is about.
    records: &'a HashMap<String, bool>,
    leaves: &'a dyn Fn(&str) -> bool,
    about_nobody: &'a dyn Fn(&str) -> bool,
}

impl Walk<'_> {
    /// What stays of a node. `inherited` are the categories of its nearest classified ancestor,
    /// `about_somebody` is the innermost record's.
    fn kept(&self, node: &Value, at: &str, inherited: &[String], about_somebody: bool) -> Option<Value> {
        let record = self.records.get(at).copied();
        let about_somebody = record.unwrap_or(about_somebody);
        let own: Vec<String> = self.classes.get(at).into_iter().flatten().cloned().collect();
        let categories = if own.is_empty() { inherited } else { &own[..] };
        let may = if about_somebody { self.leaves } else { self.about_nobody };
        let leaves = !categories.is_empty() && categories.iter().all(|category| may(category));
        let on_the_way = self.records.keys().any(|record| within(record, at));
        match node {
            Value::Object(members) => {
                let inside = members.iter().filter_map(|(name, member)| {
                    let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                    Some((name.clone(), self.kept(member, &at, categories, about_somebody)?))
                });
                let inside: serde_json::Map<_, _> = inside.collect();
                (leaves || on_the_way || !inside.is_empty()).then_some(Value::Object(inside))
            }
            Value::Array(items) => {
                let inside = items.iter().enumerate().filter_map(|(n, item)| {
                    self.kept(item, &format!("{at}/{n}"), categories, about_somebody)
                });
                let inside: Vec<Value> = inside.collect();
                (leaves || on_the_way || !inside.is_empty()).then_some(Value::Array(inside))
            }
            scalar => leaves.then(|| scalar.clone()),
        }
    }
}

fn subjects(table: &Table) -> Vec<toml::Value> {
    match table.get("subject") {
        Some(toml::Value::Array(sources)) => sources.clone(),
        source => source.cloned().into_iter().collect(),
    }
}

/// The ids that a source finds in a record: strings and integers.
fn identified(record: &Value, source: &toml::Value, parameter: &str) -> Vec<Value> {
    let member = |name: &str| source.get(name).and_then(toml::Value::as_str);
    let path = source.as_str().or(member("path")).unwrap();
    let ids: Vec<String> = match path.strip_prefix('@') {
        Some(relative) => {
            let at = located(&format!("${relative}"), record);
            let spelt = |at: &String| match record.pointer(at).unwrap() {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            at.iter().filter_map(spelt).collect()
        }
        None => vec![parameter.to_owned()],
    };
    let spelt = |id: String| if member("normalise") == Some("lowercase") { id.to_lowercase() } else { id };
    ids.into_iter()
        .map(|id| match member("namespace") {
            Some(namespace) => serde_json::json!({"subject": spelt(id), "namespace": namespace}),
            None => serde_json::json!({"subject": spelt(id)}),
        })
        .collect()
}

fn fields(table: &Table) -> Vec<(String, Vec<String>)> {
    let fields = table.get("fields").and_then(toml::Value::as_table);
    let entry = |(path, value): (&String, &toml::Value)| {
        let categories = match value {
            toml::Value::Array(names) => names.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
            name => vec![name.as_str().unwrap().to_owned()],
        };
        (path.clone(), categories)
    };
    fields.into_iter().flatten().map(entry).collect()
}

fn located(path: &str, document: &Value) -> Vec<String> {
    let query = JsonPath::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    query.query_located(document).iter().map(|node| node.location().to_json_pointer()).collect()
}

/// Whether a node is this record or stands in it.
fn within(node: &str, record: &str) -> bool {
    node.strip_prefix(record).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[test]
fn the_oracle_keeps_permitted_fields_and_the_path_to_records() {
    let file: Table = r#"
        [[route]]
        name = "r"
        record = "$.items[*]"
        subject = "@.who"
        [route.fields]
        "$.total" = "aggregate"
        "@.a" = "name"
        "@.a.open" = "non-personal"
        [[route.records]]
        path = "$.items[*].inner"
        subject = "@.who"
        [route.records.fields]
        "@.x" = "email"
    "#
    .parse()
    .unwrap();
    let document = serde_json::json!({
        "total": 2,
        "other": 1,
        "items": [{"who": 1, "a": {"b": 1, "open": 2}, "inner": {"who": "2", "x": 3}}, {"who": null, "a": {"open": 4}}],
    });
    let nobody = |category: &str| category == "aggregate";
    let written = Written::of(&file, "r");
    let open = written.kept(&document, &|category| category == "non-personal", &nobody);
    assert_eq!(open, serde_json::json!({"total": 2, "items": [{"a": {"open": 2}, "inner": {}}, {}]}));
    let personal = written.kept(&document, &|category| category == "email", &nobody);
    assert_eq!(personal, serde_json::json!({"total": 2, "items": [{"inner": {"x": 3}}, {}]}));
    let subjects = written.subjects(&document, "p");
    assert_eq!(subjects, [serde_json::json!({"subject": "1"}), serde_json::json!({"subject": "2"})]);
}
