//! Reads `docs/configuration.md`: the defaults and the descriptions of keys have one source.

use serde_json::Value;

/// The reference of the configuration.
const REFERENCE: &str = include_str!("../../../docs/configuration.md");

/// A row of the reference.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReferenceRow<'r> {
    /// The key whose table the row belongs to, as in the header `key of …`. Empty for the keys of the section itself.
    of: &'r str,
    key: &'r str,
    default: &'r str,
    /// The text of the last column.
    pub(super) description: &'r str,
}

impl ReferenceRow<'_> {
    /// True if the key has to be there.
    pub(super) fn is_required(&self) -> bool {
        self.default == "required"
    }

    /// Returns the default, if it is one value.
    pub(super) fn default(&self) -> Option<Value> {
        let literal = self.default.strip_prefix('`')?.strip_suffix('`')?;
        let document: toml::Table = format!("value = {literal}").parse().ok()?;
        serde_json::to_value(document.get("value")?).ok()
    }

    /// True if the row is about this key. One row can be about several keys.
    fn is_about(&self, key: &str) -> bool {
        self.key
            .split(", ")
            .any(|name| name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) == Some(key))
    }
}

/// Returns the row about a key in the section under a heading. `of` is the key whose table holds it, or empty.
pub(super) fn row(heading: &str, of: &str, key: &str) -> Option<ReferenceRow<'static>> {
    rows(section(heading)?).find(|row| row.of == of && row.is_about(key))
}

/// Returns the text of a section, up to the next section.
fn section(heading: &str) -> Option<&'static str> {
    let rest = REFERENCE.split("\n## ").find_map(|section| section.strip_prefix(heading));
    rest.filter(|text| text.starts_with(['\n', ' ']))
}

/// Returns the rows of all tables of keys.
fn rows(section: &'static str) -> impl Iterator<Item = ReferenceRow<'static>> {
    let mut table_of = None;
    section.lines().filter_map(move |line| {
        let Some(cells) = line.strip_prefix("| ") else {
            table_of = None;
            return None;
        };
        let mut cells = cells.trim_end_matches(" |").trim_end_matches('|').splitn(3, " | ");
        let (key, default) = (cells.next()?, cells.next()?);
        if key.starts_with("key") {
            table_of = Some(key.trim_start_matches("key").trim_start_matches(" of ").trim_matches('`'));
            return None;
        }
        let row = ReferenceRow {
            of: table_of?,
            key,
            default,
            description: cells.next().unwrap_or_default().trim(),
        };
        key.starts_with('`').then_some(row)
    })
}

/// Returns the keys of all rows, each with the heading of its section and the key whose table holds it.
#[cfg(test)]
pub(super) fn all_keys() -> Vec<(&'static str, &'static str, &'static str)> {
    let sections = REFERENCE.split("\n## ").skip(1).map(|section| section.split_once('\n').unwrap());
    let keys = |(heading, text): (&'static str, &'static str)| {
        let names = rows(text).flat_map(|row| row.key.split(", ").map(move |name| (row.of, name)));
        names.map(move |(of, name)| (heading, of, name.trim_matches('`'))).collect::<Vec<_>>()
    };
    sections.flat_map(keys).collect()
}
