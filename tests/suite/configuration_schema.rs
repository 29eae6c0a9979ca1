//! The JSON schema of the configuration has the keys that the readers accept, and every configuration of the documents and
//! the demonstration is valid by it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use purposegate::config;
use purposegate::config::schema::json_schema;
use serde_json::{Map, Value};

use crate::documents::read;
use crate::gateway::{base, pack};
use crate::json_schema::problems;

/// A key that no reader knows. A number follows that tells the table.
const UNKNOWN: &str = "qqqqqqqqqqqq-";

/// Makes a configuration with every table of the schema, each with an unknown key and nothing else.
struct TablesWithUnknownKey<'s> {
    schema: &'s Value,
    /// The keys of each table, in the order of the numbers.
    known: Vec<BTreeSet<String>>,
}

impl TablesWithUnknownKey<'_> {
    /// Returns a table of a schema.
    fn table(&mut self, schema: &Value) -> toml::Table {
        let properties = schema["properties"].as_object().unwrap();
        let mut table = toml::Table::new();
        table.insert(format!("{UNKNOWN}{}", self.known.len()), true.into());
        self.known.push(properties.keys().cloned().collect());
        for (name, schema) in properties {
            // These readers check what stands beside them before they go on.
            if let Some(value) = self.value(schema) {
                table.insert(name.clone(), value);
            }
        }
        table
    }

    /// Returns the tables that a value can have. `None` if it can have none.
    fn value(&mut self, schema: &Value) -> Option<toml::Value> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.schema.pointer(reference.strip_prefix('#').unwrap()).unwrap().clone();
            return target["properties"].is_object().then(|| self.table(&target).into());
        }
        if let Some(named) = schema.get("additionalProperties").filter(|named| named.is_object()) {
            let value = self.value(&named.clone())?;
            return Some(toml::Table::from_iter([("a-name".to_owned(), value)]).into());
        }
        schema["anyOf"].as_array()?.iter().find_map(|schema| self.value(schema))
    }
}

/// Returns the names in backquotes.
fn names_in(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_schema_has_the_keys_that_the_readers_know() {
    let schema = json_schema();
    let mut tables = TablesWithUnknownKey { schema: &schema, known: Vec::new() };
    let mut file = tables.table(&schema);
    // Without a pack that loads, the rest of the file is not read as a whole.
    file.insert("policy".to_owned(), pack("one-partner-360").display().to_string().into());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("purposegate.toml");
    std::fs::write(&path, toml::to_string(&file).unwrap()).unwrap();
    let (_, findings) = config::load(&path);
    let mut read: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.code() == "unknown-key") {
        let words = finding.to_string();
        let number = words.split(UNKNOWN).nth(1).unwrap().split('`').next().unwrap().parse().unwrap();
        let hint = miette::Diagnostic::help(finding).unwrap().to_string();
        read.insert(number, names_in(hint.strip_prefix("known: ").unwrap()));
    }
    let empty = BTreeSet::new();
    let differ = tables.known.iter().enumerate().filter_map(|(number, keys)| {
        let of_reader = read.get(&number).unwrap_or(&empty);
        let differences: Vec<&String> = keys.symmetric_difference(of_reader).collect();
        (!differences.is_empty()).then(|| format!("{differences:?} in the table of {keys:?}"))
    });
    // Add a key to `src/config/schema/tables.rs`, and a row about it to `docs/configuration.md`.
    assert_eq!(differ.collect::<Vec<_>>(), Vec::<String>::new());
}

/// Returns a value of TOML as JSON; dates become texts.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => Value::Object(object(table)),
        other => serde_json::to_value(other).unwrap(),
    }
}

pub(crate) fn object(table: toml::Table) -> Map<String, Value> {
    table.into_iter().map(|(name, value)| (name, json(value))).collect()
}

/// Returns what is wrong with a configuration by the schema.
fn problems_of(schema: &Value, text: &str) -> Vec<String> {
    problems(schema, schema, &Value::Object(object(text.parse().unwrap())))
}

/// Returns the configuration that the README's quick start writes.
fn of_quick_start() -> String {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("cat > purposegate.toml <<EOF\n").unwrap();
    let lines = rest.lines().map(str::trim_start).take_while(|line| *line != "EOF");
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_configuration_of_the_repository_is_valid_by_the_schema() {
    let schema = json_schema();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["examples", "src/demo/routes", "tests/payloads", "tests/rdap"];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(repository.join(folder)).unwrap());
    let files = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let files: Vec<String> = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert!(files.len() >= 12, "{}", files.len());
    for text in files.into_iter().chain([base("127.0.0.1:9".parse().unwrap()), of_quick_start()]) {
        let found = problems_of(&schema, &text);
        assert!(found.is_empty(), "{found:#?}\n{text}");
    }
}

#[test]
fn mistakes_are_invalid_by_the_schema() {
    let schema = json_schema();
    for wrong in [
        "polcy = \"policies/acme\"",
        "drain = 30",
        "[listener]\naddres = \"127.0.0.1:8080\"",
        "[listener]\nauthorities = []",
        "[[listener]]\naddress = \"127.0.0.1:8080\"\nmax-exchanges = \"many\"",
        "[audit]\ndurability = \"later\"",
        "[[route]]\nname = \"a\"\nupstream = \"b\"\npath = \"/\"\nmethods = [\"get\"]",
        "[[route]]\nname = \"a\"\nupstream = \"b\"\npath = \"/\"\n[route.fields]\n\"@.a\" = 1",
        "[[recipient]]\nname = \"a\"\nkind = \"b\"\nagreement = { end = 2027-01-01 }",
    ] {
        assert!(!problems_of(&schema, wrong).is_empty(), "{wrong}");
    }
    let right = "[[recipient]]\nname = \"a\"\nkind = \"b\"\nagreement = { until = 2027-01-01 }";
    assert_eq!(problems_of(&schema, right), Vec::<String>::new());
}
