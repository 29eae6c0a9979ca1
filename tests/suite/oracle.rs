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
        let mut flat = Set { path: "$".to_owned(), fields: fields(route) };
        flat.fields.extend(schema.map(fields).unwrap_or_default());
        if let Some(path) = route.get("record") {
            flat.path = path.as_str().unwrap().to_owned();
        }
        let nested = route.get("records").and_then(toml::Value::as_array).into_iter().flatten().map(|set| {
            let set = set.as_table().unwrap();
            Set { path: set["path"].as_str().unwrap().to_owned(), fields: fields(set) }
        });
        let sets = std::iter::once(flat).filter(|flat| !flat.fields.is_empty()).chain(nested).collect();
        Written { sets }
    }

    /// What stays of a document where these categories leave in clear and all others are removed.
    pub(crate) fn kept(&self, document: &Value, leaves: &dyn Fn(&str) -> bool) -> Value {
        let records: Vec<(String, &Set)> = self
            .sets
            .iter()
            .flat_map(|set| located(&set.path, document).into_iter().map(move |at| (at, set)))
            .collect();
        let governs = |node: &str| {
            let around = records.iter().filter(|(record, _)| within(node, record));
            around.max_by_key(|(record, _)| record.len()).map(|(record, _)| record.as_str())
        };
        let mut classes = Classes::new();
        for (record, set) in &records {
            for (path, categories) in &set.fields {
                let matches = match path.strip_prefix('@') {
                    Some(relative) => {
                        let whole = document.pointer(record).unwrap();
                        let inside = located(&format!("${relative}"), whole);
                        inside
                            .into_iter()
                            .map(|at| format!("{record}{at}"))
                            .filter(|at| governs(at) == Some(record))
                            .collect()
                    }
                    None => located(path, document),
                };
                for at in matches {
                    classes.entry(at).or_default().extend(categories.iter().cloned());
                }
            }
        }
        let records: HashSet<String> = records.into_iter().map(|(record, _)| record).collect();
        let walk = Walk { classes: &classes, records: &records, leaves };
        walk.kept(document, "", false).unwrap_or(Value::Null)
    }
}

struct Walk<'a> {
    classes: &'a Classes,
    records: &'a HashSet<String>,
    leaves: &'a dyn Fn(&str) -> bool,
}

impl Walk<'_> {
    /// What stays of a node; `inherited` says whether its nearest classified ancestor leaves.
    fn kept(&self, node: &Value, at: &str, inherited: bool) -> Option<Value> {
        let is_record = self.records.contains(at);
        let own = self.classes.get(at).map(|classes| classes.iter().all(|class| (self.leaves)(class)));
        let leaves = own.unwrap_or(inherited && !is_record);
        let on_the_way = self.records.iter().any(|record| within(record, at));
        match node {
            Value::Object(members) => {
                let inside = members.iter().filter_map(|(name, member)| {
                    let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                    Some((name.clone(), self.kept(member, &at, leaves)?))
                });
                let inside: serde_json::Map<_, _> = inside.collect();
                (leaves || on_the_way || !inside.is_empty()).then_some(Value::Object(inside))
            }
            Value::Array(items) => {
                let inside = items
                    .iter()
                    .enumerate()
                    .filter_map(|(n, item)| self.kept(item, &format!("{at}/{n}"), leaves));
                let inside: Vec<Value> = inside.collect();
                (leaves || on_the_way || !inside.is_empty()).then_some(Value::Array(inside))
            }
            scalar => leaves.then(|| scalar.clone()),
        }
    }
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
fn it_keeps_what_is_permitted_and_the_way_to_records() {
    let file: Table = r#"
        [[route]]
        name = "r"
        record = "$.items[*]"
        [route.fields]
        "$.total" = "aggregate"
        "@.a" = "name"
        "@.a.open" = "non-personal"
        [[route.records]]
        path = "$.items[*].inner"
        [route.records.fields]
        "@.x" = "email"
    "#
    .parse()
    .unwrap();
    let document = serde_json::json!({"total": 2, "other": 1, "items": [{"a": {"b": 1, "open": 2}, "inner": {"x": 3}}, {"a": 4}]});
    let open = Written::of(&file, "r").kept(&document, &|category| category != "name" && category != "email");
    assert_eq!(open, serde_json::json!({"total": 2, "items": [{"a": {"open": 2}, "inner": {}}, {}]}));
    let none = Written::of(&file, "r").kept(&document, &|category| category == "email");
    assert_eq!(none, serde_json::json!({"items": [{"inner": {"x": 3}}, {}]}));
}
