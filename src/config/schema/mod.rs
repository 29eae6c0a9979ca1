//! The JSON schema of the configuration file (JSON Schema 2020-12), for editors and other programs.
//!
//! Sections are read by hand, so the schema cannot be derived from them. [`tables`] lists the keys and their types, and a
//! test of the suite (`configuration_schema`) gives each table of a configuration an unknown key: the finding lists the keys
//! that the reader knows, which have to be those of the schema.

mod reference;
mod tables;

use serde_json::{Map, Value, json};

use self::tables::{Key, KeyTable, ROOT, ValueType};
use crate::finding;

/// Returns the JSON schema of the configuration file.
pub fn json_schema() -> Value {
    let mut tables = Map::new();
    let mut schema = object(&ROOT, &mut tables);
    let about = "The configuration of purposegate. Paths are relative to the folder of the file.";
    if let Some(members) = schema.as_object_mut() {
        members.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        members.insert("title".to_owned(), "purposegate.toml".into());
        members.insert("description".to_owned(), about.into());
        // A file that another one includes has no `policy` of its own.
        members.remove("required");
        members.insert("$defs".to_owned(), tables.into());
    }
    schema
}

/// Returns the schema of a table. The tables in it are added to `tables`.
fn object(table: &KeyTable, tables: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    let mut required: Vec<&str> = table.required.to_vec();
    for key in table.keys {
        let row = reference::row(table.heading, table.of, &format!("{}{}", table.prefix, key.name));
        if row.is_some_and(|row| row.is_required()) {
            required.push(key.name);
        }
        properties.insert(key.name.to_owned(), property(key, row, tables));
    }
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if let (Some(members), false) = (schema.as_object_mut(), required.is_empty()) {
        members.insert("required".to_owned(), required.into());
    }
    schema
}

/// Returns the schema of one key, with the description and the default of its row.
fn property(key: &Key, row: Option<reference::ReferenceRow<'_>>, tables: &mut Map<String, Value>) -> Value {
    let mut schema = value(key.value, tables);
    let description = row.map_or(key.description, |row| row.description);
    if let Some(members) = schema.as_object_mut() {
        if !description.is_empty() {
            members.insert("description".to_owned(), description.into());
        }
        if let Some(default) = row.and_then(|row| row.default()) {
            members.insert("default".to_owned(), default);
        }
    }
    schema
}

/// Returns the schema of a value.
fn value(value_type: ValueType, tables: &mut Map<String, Value>) -> Value {
    match value_type {
        ValueType::Text => json!({ "type": "string" }),
        ValueType::Texts => listed(&json!({ "type": "string" })),
        ValueType::Flag => json!({ "type": "boolean" }),
        ValueType::Number => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        ValueType::Size => json!({
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9_]+ *(B|KiB|MiB|GiB)?$" },
            ],
        }),
        ValueType::Duration => {
            json!({ "type": "string", "minLength": 2, "examples": ["500ms", "2s", "400d"] })
        }
        ValueType::Date => json!({ "type": "string", "format": "date" }),
        ValueType::Word(words) => json!({ "type": "string", "enum": words }),
        ValueType::Words(words) => listed(&json!({ "type": "string", "enum": words })),
        ValueType::Scalar => json!({ "type": ["string", "integer", "boolean"] }),
        ValueType::Table(table) => definition(table, tables),
        ValueType::Tables(table) => listed(&definition(table, tables)),
        ValueType::Named(named) => json!({ "type": "object", "additionalProperties": value(*named, tables) }),
        ValueType::Listed(types) => listed(&one_of(types, tables)),
        ValueType::OneOf(types) => one_of(types, tables),
        ValueType::Allow => {
            let codes = json!({ "type": "string", "enum": finding::WARNINGS });
            tables.entry("warnings").or_insert_with(|| listed(&codes));
            json!({ "$ref": "#/$defs/warnings" })
        }
    }
}

/// Returns the reference to a table, and adds its definition.
fn definition(table: &KeyTable, tables: &mut Map<String, Value>) -> Value {
    if !tables.contains_key(table.name) {
        let schema = object(table, tables);
        tables.insert(table.name.to_owned(), schema);
    }
    json!({ "$ref": format!("#/$defs/{}", table.name) })
}

/// Returns the schema of one value, or a list of such values.
fn listed(item: &Value) -> Value {
    json!({ "anyOf": [item, { "type": "array", "items": item }] })
}

fn one_of(types: &[ValueType], tables: &mut Map<String, Value>) -> Value {
    json!({ "anyOf": types.iter().map(|each| value(*each, tables)).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `visit` with every table.
    fn tables_of(value: ValueType, visit: &mut dyn FnMut(&'static KeyTable)) {
        match value {
            ValueType::Table(table) | ValueType::Tables(table) => {
                visit(table);
                table.keys.iter().for_each(|key| tables_of(key.value, visit));
            }
            ValueType::Named(named) => tables_of(*named, visit),
            ValueType::Listed(types) | ValueType::OneOf(types) => {
                types.iter().for_each(|each| tables_of(*each, visit));
            }
            _ => {}
        }
    }

    #[test]
    fn every_key_is_described_and_every_row_of_the_reference_has_a_key() {
        static FILE: KeyTable = ROOT;
        let mut known = Vec::new();
        tables_of(ValueType::Table(&FILE), &mut |table| {
            for key in table.keys {
                let name = format!("{}{}", table.prefix, key.name);
                let row = reference::row(table.heading, table.of, &name);
                assert!(
                    row.is_some() || !key.description.is_empty(),
                    "nothing describes {name} in {}",
                    table.heading
                );
                assert!(row.is_none() || key.description.is_empty(), "two texts describe {name}");
                known.extend(row.map(|_| (table.heading, table.of, name)));
            }
        });
        for (heading, of, key) in reference::all_keys() {
            let mut all = known.iter();
            let is_known =
                all.any(|(known, table, name)| heading.starts_with(known) && *table == of && name == key);
            // Keys of the policy pack, which the reference explains, too.
            let of_pack = ["of-age", "account-closed-after", "[retention]", "never-released"];
            assert!(is_known || of_pack.contains(&key), "the schema has no `{key}` of {heading}");
        }
    }

    #[test]
    fn defaults_and_descriptions_come_from_the_reference() {
        let schema = json_schema();
        let listener = &schema["$defs"]["listener"];
        assert_eq!(listener["required"], json!(["address"]));
        assert_eq!(listener["properties"]["request-timeout"]["default"], "30s");
        assert_eq!(schema["$defs"]["upstream"]["properties"]["backup"]["default"], false);
        assert_eq!(listener["properties"]["max-requests-per-connection"]["default"], 10000);
        assert_eq!(schema["properties"]["include"]["default"], json!([]));
        assert!(schema["$defs"]["listener-tls"]["required"].as_array().is_some_and(|keys| keys.len() == 2));
    }
}
