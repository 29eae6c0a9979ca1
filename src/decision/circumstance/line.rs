//! One line of counted circumstances, as the gateway exports them and `policy diff --decisions` reads them.

use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::SeenCircumstance;

/// The records of one day under the same circumstances, or those that are not told apart.
#[derive(Clone, Debug, PartialEq)]
pub struct CircumstanceLine {
    /// The day (UTC).
    pub day: Date,
    /// The number of records.
    pub records: u64,
    /// The circumstances.
    pub of: LineOf,
}

/// The circumstances of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum LineOf {
    /// Described ones.
    Seen(Box<SeenCircumstance>),
    /// Those of a route beyond the number that is told apart, and those that the keys of a scenario cannot state.
    Other(String),
    /// Those of a route that too few records have.
    Rare(String),
}

impl CircumstanceLine {
    /// Returns the line as JSON.
    pub fn to_json(&self) -> Value {
        let CircumstanceLine { day, records, of } = self;
        let mut line = Map::from_iter([("day".to_owned(), json!(day))]);
        match of {
            LineOf::Seen(seen) => {
                if let Ok(Value::Object(members)) = serde_json::to_value(seen) {
                    line.extend(members);
                }
                line.insert("records".to_owned(), json!(records));
            }
            LineOf::Other(route) => line.extend(summary("other", route, *records)),
            LineOf::Rare(route) => line.extend(summary("rare", route, *records)),
        }
        Value::Object(line)
    }

    /// Reads a line.
    ///
    /// # Errors
    /// Words on what is wrong with it.
    pub fn from_json(line: Value) -> Result<CircumstanceLine, String> {
        let Value::Object(mut members) = line else { return Err("a line is a JSON object".to_owned()) };
        let day = members.remove("day").ok_or("`day` is missing")?;
        let day: Date = serde_json::from_value(day).map_err(|error| format!("`day`: {error}"))?;
        let count = |value: Option<Value>| value.as_ref().and_then(Value::as_u64);
        for (key, of) in [("other", LineOf::Other as fn(String) -> LineOf), ("rare", LineOf::Rare)] {
            if let Some(records) = members.remove(key) {
                let route = members.remove("route").and_then(|route| route.as_str().map(str::to_owned));
                let records =
                    count(Some(records)).ok_or_else(|| format!("`{key}` is a number of records"))?;
                return Ok(CircumstanceLine { day, records, of: of(route.ok_or("`route` is missing")?) });
            }
        }
        let records = count(members.remove("records")).ok_or("`records` is a number of records")?;
        let seen = serde_json::from_value(Value::Object(members)).map_err(|error| error.to_string())?;
        Ok(CircumstanceLine { day, records, of: LineOf::Seen(seen) })
    }

    /// Reads a text of JSON lines, or a JSON array of lines.
    ///
    /// # Errors
    /// Words on the first line that cannot be read, with its number.
    pub fn read_all(text: &str) -> Result<Vec<CircumstanceLine>, String> {
        let numbered = |(number, read): (usize, Result<CircumstanceLine, String>)| {
            read.map_err(|error| format!("line {}: {error}", number + 1))
        };
        if text.trim_start().starts_with('[') {
            let lines: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
            return lines.into_iter().map(CircumstanceLine::from_json).enumerate().map(numbered).collect();
        }
        let read = |line: &str| {
            let value = serde_json::from_str(line).map_err(|error| error.to_string())?;
            CircumstanceLine::from_json(value)
        };
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines.map(|(number, line)| numbered((number, read(line)))).collect()
    }
}

/// Returns the members of a line of records that are not told apart.
fn summary(key: &str, route: &str, records: u64) -> [(String, Value); 2] {
    [("route".to_owned(), route.into()), (key.to_owned(), records.into())]
}
