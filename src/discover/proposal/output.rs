//! The output of a proposal: JSON, and TOML that can be pasted into a configuration.
//!
//! Many operations of a document have the same answers, so that the output is much longer than the proposal. Fields that
//! several routes share are written out once and copied, and JSON is serialized from the proposal without a copy of it.

use std::collections::HashMap;
use std::fmt::Write;
use std::marker::PhantomData;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::discover::types::{Proposal, ProposedField, ProposedRoute};

/// A proposal that is serialized: `{"routes": [{"path", "methods", "record", "subject", "fields": […]}]}`.
#[derive(Serialize)]
struct JsonProposal<'p> {
    routes: Vec<JsonRoute<'p>>,
}

#[derive(Serialize)]
struct JsonRoute<'p> {
    #[serde(serialize_with = "serialize_fields")]
    fields: &'p [ProposedField],
    #[serde(skip_serializing_if = "Option::is_none")]
    framing: Option<&'static str>,
    methods: &'p [String],
    path: Option<&'p str>,
    record: &'p str,
    subject: Option<&'p str>,
}

#[derive(Serialize)]
struct JsonField<'p> {
    category: JsonCategory<'p>,
    confidence: f64,
    path: &'p str,
    reason: &'p str,
}

/// A word, or a list of words.
#[derive(Serialize)]
#[serde(untagged)]
enum JsonCategory<'p> {
    One(&'p str),
    Several(&'p [String]),
}

fn serialize_fields<S: Serializer>(fields: &[ProposedField], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(fields.iter().map(|field| JsonField {
        category: match field.categories.as_slice() {
            [one] => JsonCategory::One(one),
            several => JsonCategory::Several(several),
        },
        confidence: field.confidence,
        path: &field.path,
        reason: &field.reason,
    }))
}

fn json_route(route: &ProposedRoute) -> JsonRoute<'_> {
    JsonRoute {
        fields: &route.fields,
        framing: route.framing,
        methods: &route.methods,
        path: route.path.as_deref(),
        record: &route.record,
        subject: route.subject.as_deref(),
    }
}

impl Proposal {
    /// Returns the proposal as a value that is serialized as [`to_json`](Proposal::to_json) returns it.
    pub fn as_json(&self) -> impl Serialize {
        JsonProposal { routes: self.routes.iter().map(json_route).collect() }
    }

    /// Returns the proposal as JSON: `{"routes": [{"path", "methods", "record", "subject", "fields": […]}]}`.
    pub fn to_json(&self) -> Value {
        // Its keys are strings, and its numbers finite.
        serde_json::to_value(self.as_json()).unwrap_or_default()
    }

    /// Returns the proposal as TOML: one `[[route]]` for each path and its methods, each field with confidence and reason.
    /// Without the name of an upstream, the routes have a placeholder.
    pub fn to_toml(&self, upstream: Option<&str>) -> String {
        let mut text = String::from(
            "# Proposed by `purposegate discover`. Read every line before you use it: below 0.5 it is a guess.\n",
        );
        let mut written = WrittenFields::new();
        let mut rest = self.routes.as_slice();
        while let Some(first) = rest.first() {
            let sets = rest
                .iter()
                .take_while(|route| route.path == first.path && route.methods == first.methods)
                .count();
            let (together, after) = rest.split_at(sets.max(1));
            write_route(&mut text, together, upstream, &mut written);
            rest = after;
        }
        text
    }
}

/// Writes the record sets of one route. Writing to a string cannot fail.
fn write_route<'p>(
    text: &mut String,
    sets: &'p [ProposedRoute],
    upstream: Option<&str>,
    written: &mut WrittenFields<'p>,
) {
    let Some(first) = sets.first() else { return };
    let name = route_name(first);
    let _ = write!(text, "\n[[route]]\nname = {}\n", quoted(&name));
    match upstream {
        Some(upstream) => _ = writeln!(text, "upstream = {}", quoted(upstream)),
        None => text.push_str("upstream = \"upstream\"  # the name of your `[[upstream]]`\n"),
    }
    match &first.path {
        Some(path) => _ = writeln!(text, "path = {}", quoted(path)),
        None => _ = writeln!(text, "path = \"/\"  # the path of your API"),
    }
    if !first.methods.is_empty() {
        let methods: Vec<String> = first.methods.iter().map(|method| quoted(method)).collect();
        let _ = writeln!(text, "methods = [{}]", methods.join(", "));
    }
    if let Some(framing) = first.framing {
        let _ = writeln!(text, "framing = {}", quoted(framing));
    }
    if let [one] = sets {
        if one.record != "$" {
            let _ = writeln!(text, "record = {}", quoted(&one.record));
        }
        write_subject(text, one);
        text.push_str("[route.fields]\n");
        text.push_str(written.lines(&one.fields));
        return;
    }
    for set in sets {
        let _ = write!(text, "[[route.records]]\npath = {}\n", quoted(&set.record));
        write_subject(text, set);
        text.push_str("[route.records.fields]\n");
        text.push_str(written.lines(&set.fields));
    }
}

fn write_subject(text: &mut String, set: &ProposedRoute) {
    match &set.subject {
        Some(subject) => _ = writeln!(text, "subject = {}", quoted(subject)),
        None => text.push_str("# subject = \"…\"  # nothing says whose record this is\n"),
    }
}

/// The lines of fields that were written, by the place of the fields.
struct WrittenFields<'p> {
    lines: HashMap<*const ProposedField, String>,
    fields: PhantomData<&'p [ProposedField]>,
}

impl<'p> WrittenFields<'p> {
    fn new() -> WrittenFields<'p> {
        WrittenFields { lines: HashMap::new(), fields: PhantomData }
    }

    fn lines(&mut self, fields: &'p [ProposedField]) -> &str {
        self.lines.entry(fields.as_ptr()).or_insert_with(|| {
            let mut text = String::new();
            write_fields(&mut text, fields);
            text
        })
    }
}

fn write_fields(text: &mut String, fields: &[ProposedField]) {
    for ProposedField { path, categories, confidence, reason } in fields {
        let categories = match categories.as_slice() {
            [one] => quoted(one),
            several => {
                format!("[{}]", several.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "))
            }
        };
        let reason: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(text, "{} = {categories}  # {confidence:.2} {reason}", quoted(path));
    }
}

/// Makes a name for a route of its path and methods.
fn route_name(route: &ProposedRoute) -> String {
    let Some(path) = &route.path else { return "proposed".to_owned() };
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-");
    match route.methods.as_slice() {
        [] => name,
        methods if methods == ["GET"] => name,
        methods => format!("{name}-{}", methods.join("-").to_ascii_lowercase()),
    }
}

/// Returns a TOML basic string, the only kind that can hold every text as a key. Its escapes are those of JSON, and DEL.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::Samples;

    fn propose(sample: &str) -> Proposal {
        let mut samples = Samples::default();
        samples.add(sample.as_bytes()).unwrap();
        samples.propose()
    }

    #[test]
    fn the_proposal_as_toml_can_be_read() {
        let text =
            propose(r#"{"items":[{"id":7,"e-mail":"a@b.example","it's":"x\ny"}],"total":1}"#).to_toml(None);
        let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}: {text}"));
        let route = &table["route"][0];
        assert_eq!(route["record"].as_str(), Some("$.items[*]"));
        assert_eq!(route["fields"]["@['e-mail']"].as_str(), Some("email"));
        assert!(
            route["fields"].get("@['it\\'s']").is_some() && route["fields"].get("$.total").is_some(),
            "{text}"
        );
        assert!(!text.contains("a@b.example") && !text.contains("x\ny"), "{text}");
        for name in ["it's \"quoted\"", "a\nb\u{7f}\u{1}", "'''", "\\"] {
            let table: toml::Table = format!("{} = 1", quoted(name)).parse().unwrap();
            assert!(table.contains_key(name), "{table}");
        }
    }

    #[test]
    fn record_sets_of_one_path_are_one_route() {
        let route = |record: &str| ProposedRoute {
            path: Some("/groups/{id}".to_owned()),
            methods: vec!["GET".to_owned()],
            framing: None,
            record: record.to_owned(),
            subject: None,
            fields: Vec::new().into(),
        };
        let text = Proposal { routes: vec![route("$"), route("$.members[*]")] }.to_toml(None);
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["route"].as_array().unwrap().len(), 1, "{text}");
        assert_eq!(table["route"][0]["name"].as_str(), Some("groups-id"));
        assert_eq!(table["route"][0]["records"].as_array().unwrap().len(), 2);
    }
}
