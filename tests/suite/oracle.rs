//! Reference implementation of scrubbing: it parses the whole document and evaluates every path of the mapping with
//! another implementation of RFC 9535.
//!
//! It shares only the text of the configuration file with the scrubber.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use serde_json_path::JsonPath;
use toml::Table;

/// One record set of a route.
struct RecordSet {
    path: String,
    /// Each a path, or a table with a path.
    subjects: Vec<toml::Value>,
    /// Paths with their categories.
    fields: Vec<(String, Vec<String>)>,
}

/// The mapping of a route, read from the text of the configuration.
pub(crate) struct RouteMapping {
    sets: Vec<RecordSet>,
}

/// Categories by JSON pointer.
type Classes = HashMap<String, HashSet<String>>;

impl RouteMapping {
    /// Reads the mapping of a route.
    pub(crate) fn of(file: &Table, route: &str) -> RouteMapping {
        let named = |key: &str, name: &str| -> Option<&Table> {
            let tables = file.get(key)?.as_array()?.iter().filter_map(toml::Value::as_table);
            tables.clone().find(|table| table.get("name").and_then(toml::Value::as_str) == Some(name))
        };
        let route = named("route", route).unwrap();
        let schema = route.get("schema").map(|name| named("schema", name.as_str().unwrap()).unwrap());
        let mut flat = RecordSet { path: "$".to_owned(), subjects: subjects(route), fields: fields(route) };
        flat.fields.extend(schema.map(fields).unwrap_or_default());
        if let Some(path) = route.get("record") {
            flat.path = path.as_str().unwrap().to_owned();
        }
        let nested = route.get("records").and_then(toml::Value::as_array).into_iter().flatten().map(|set| {
            let set = set.as_table().unwrap();
            RecordSet {
                path: set["path"].as_str().unwrap().to_owned(),
                subjects: subjects(set),
                fields: fields(set),
            }
        });
        let own = ["columns", "controller", "facts", "fields", "record", "schema", "subject"];
        let is_written = own.iter().any(|key| route.contains_key(*key));
        let sets = std::iter::once(flat).filter(|_| is_written).chain(nested).collect();
        RouteMapping { sets }
    }

    /// Returns all subjects of a document, as members of a ledger event. `parameter` is the path parameter.
    pub(crate) fn subjects(&self, document: &Value, parameter: &str) -> Vec<Value> {
        let in_set = |set: &RecordSet| {
            let records = located(&set.path, document);
            let pairs =
                records.iter().flat_map(|record| set.subjects.iter().map(move |source| (record, source)));
            let found = pairs.flat_map(|(record, source)| {
                subject_ids(document.pointer(record).unwrap(), source, parameter)
            });
            found.collect::<Vec<_>>()
        };
        self.sets.iter().flat_map(in_set).collect()
    }

    /// Returns the part of a document that leaves if these categories leave in clear and all others are removed.
    /// `about_nobody` applies outside the records, and to records without a usable subject.
    pub(crate) fn kept(
        &self,
        document: &Value,
        leaves: &dyn Fn(&str) -> bool,
        about_nobody: &dyn Fn(&str) -> bool,
    ) -> Value {
        let records: Vec<(String, &RecordSet)> = self
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
        let has_subject = |record: &str, set: &RecordSet| {
            let whole = document.pointer(record).unwrap();
            set.subjects.iter().any(|source| !subject_ids(whole, source, "parameter").is_empty())
        };
        let records =
            records.iter().map(|(record, set)| (record.clone(), has_subject(record, set))).collect();
        let evaluation = Evaluation { classes: &classes, records: &records, leaves, about_nobody };
        evaluation.kept(document, "", &[], false).unwrap_or(Value::Null)
    }
}

struct Evaluation<'a> {
    classes: &'a Classes,
    /// JSON pointer of each record; true if it has a subject.
    records: &'a HashMap<String, bool>,
    leaves: &'a dyn Fn(&str) -> bool,
    about_nobody: &'a dyn Fn(&str) -> bool,
}

impl Evaluation<'_> {
    /// Returns the part of a node that leaves. `inherited` are the categories of its nearest classified ancestor;
    /// `about_somebody` is true if the innermost record has a subject.
    fn kept(&self, node: &Value, at: &str, inherited: &[String], about_somebody: bool) -> Option<Value> {
        let record = self.records.get(at).copied();
        let about_somebody = record.unwrap_or(about_somebody);
        let own: Vec<String> = self.classes.get(at).into_iter().flatten().cloned().collect();
        let categories = if own.is_empty() { inherited } else { &own[..] };
        let may = if about_somebody { self.leaves } else { self.about_nobody };
        let leaves = !categories.is_empty() && categories.iter().all(|category| may(category));
        let contains_record = self.records.keys().any(|record| within(record, at));
        match node {
            Value::Object(members) => {
                let inside = members.iter().filter_map(|(name, member)| {
                    let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                    Some((name.clone(), self.kept(member, &at, categories, about_somebody)?))
                });
                let inside: serde_json::Map<_, _> = inside.collect();
                (leaves || contains_record || !inside.is_empty()).then_some(Value::Object(inside))
            }
            Value::Array(items) => {
                let inside = items.iter().enumerate().filter_map(|(n, item)| {
                    self.kept(item, &format!("{at}/{n}"), categories, about_somebody)
                });
                let inside: Vec<Value> = inside.collect();
                (leaves || contains_record || !inside.is_empty()).then_some(Value::Array(inside))
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

/// Returns the ids (strings and integers) that a source selects in a record.
fn subject_ids(record: &Value, source: &toml::Value, parameter: &str) -> Vec<Value> {
    let member = |name: &str| source.get(name).and_then(toml::Value::as_str);
    let path = source.as_str().or(member("path")).unwrap();
    let ids: Vec<String> = match path.strip_prefix('@') {
        Some(relative) => {
            let at = located(&format!("${relative}"), record);
            let id_text = |at: &String| match record.pointer(at).unwrap() {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            at.iter().filter_map(id_text).collect()
        }
        None => vec![parameter.to_owned()],
    };
    let id_text = |id: String| if member("normalise") == Some("lowercase") { id.to_lowercase() } else { id };
    ids.into_iter()
        .map(|id| match member("namespace") {
            Some(namespace) => serde_json::json!({"subject": id_text(id), "namespace": namespace}),
            None => serde_json::json!({"subject": id_text(id)}),
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

/// True if a node is this record or within it.
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
    let mapping = RouteMapping::of(&file, "r");
    let open = mapping.kept(&document, &|category| category == "non-personal", &nobody);
    assert_eq!(open, serde_json::json!({"total": 2, "items": [{"a": {"open": 2}, "inner": {}}, {}]}));
    let personal = mapping.kept(&document, &|category| category == "email", &nobody);
    assert_eq!(personal, serde_json::json!({"total": 2, "items": [{"inner": {"x": 3}}, {}]}));
    let subjects = mapping.subjects(&document, "p");
    assert_eq!(subjects, [serde_json::json!({"subject": "1"}), serde_json::json!({"subject": "2"})]);
}
