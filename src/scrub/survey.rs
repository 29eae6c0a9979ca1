//! Finds the values of a body that nothing in the mapping classifies: where they are and of which type, never their
//! content.
//!
//! This is a second reading of a body beside the scrubber, which removes unclassified values without a look at their
//! names. It reads a limited number of bytes of a body, so the caller chooses the bodies and bears the cost. It has the
//! scrubber's own classes, conditions and embedded JSON included. A text that ends early is completed first: its open
//! containers are closed. A text that cannot be read is skipped.

use super::class::UNCLASSIFIED;
use super::embedded::ExpandedValue;
use super::evaluate::MemberKey;
use super::events::EventStream;
use super::forms::Forms;
use super::held_value::{HeldValue, Placement, RouteContext, SurveyVisitor};
use super::lex::{self, Scan};
use super::node_table::HeldJson;
use super::parameters::Parameters;
use super::plan::Plan;
use super::rows::{MappedColumns, Rows};
use super::unreadable::{BYTE_ORDER_MARK, Framing, Limits, RECORD_SEPARATOR};
use super::walk::Walk;

/// Reads the beginning of a body, decoded, and visits its records and its unclassified values.
pub fn survey_unclassified(plan: &Plan, framing: Framing, body: &[u8], visitor: &mut impl SurveyVisitor) {
    let survey = Survey { plan, forms: Forms::default(), parameters: Parameters::placeholders(plan) };
    let bounds = Limits::default();
    // Completing a text adds a bracket for each open container.
    let limits = Limits { record: body.len() + bounds.depth, ..bounds };
    let unmarked = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let mut ignored = Vec::new();
    match framing {
        Framing::Document => survey.visit_text(unmarked, limits, visitor),
        Framing::Lines => {
            unmarked.split(|&byte| byte == b'\n').for_each(|line| survey.visit_text(line, limits, visitor));
        }
        Framing::Sequence => {
            let texts = body.split(|&byte| byte == RECORD_SEPARATOR);
            texts.for_each(|text| survey.visit_text(text, limits, visitor));
        }
        // A fault ends the survey of the body. Results up to there count.
        Framing::Events => {
            let visit = |text: &[u8], _: &mut Vec<u8>| {
                survey.visit_text(text, limits, visitor);
                Ok(())
            };
            let _ = EventStream::default().feed(body, &plan.options.events, &limits, &mut ignored, visit);
        }
        Framing::Rows => {
            let visit = |text: &[u8], _: &mut Vec<u8>| {
                survey.visit_text(text, limits, visitor);
                Ok(())
            };
            // The columns of the mapping are not needed here: a table without one of them is refused by the scrubber.
            let every = MappedColumns::without_mapping();
            // The object of a row has the names of its columns and escapes beside the bytes of the row.
            let limits = Limits { record: limits.record.saturating_mul(8), ..limits };
            let _ = Rows::default().feed(body, false, &every, &limits, &mut ignored, visit);
        }
    }
}

/// The parts that all texts of a body share.
struct Survey<'p> {
    plan: &'p Plan,
    forms: Forms,
    parameters: Parameters,
}

impl Survey<'_> {
    fn visit_text(&self, text: &[u8], limits: Limits, visitor: &mut impl SurveyVisitor) {
        let Survey { plan, forms, parameters } = self;
        let route = RouteContext { plan, forms, parameters, is_row: false };
        let root = self.plan.automaton.root;
        let Some(text) = complete(text) else { return };
        // A number of an incomplete text may be cut; its type is known all the same.
        let Ok(table) = Walk::index_text(route, root, &text, limits) else { return };
        let placement = Placement {
            inherited_class: UNCLASSIFIED,
            conditions: &[],
            key: MemberKey::Index(0),
            is_document: true,
        };
        let value = HeldValue { route, held: HeldJson { table: &table, bytes: &text }, placement };
        let read_text = |state, text: &[u8]| Walk::index_text(route, state, text, limits).ok();
        let Ok(expanded) = ExpandedValue::expand(value, &read_text) else { return };
        let value = HeldValue { held: expanded.as_ref().map_or(value.held, ExpandedValue::held), ..value };
        // Conditions that are too costly end the scrubber's reading too.
        let _ = value.visit_unclassified(visitor);
    }
}

/// Returns a text without white space around it. If the text ends early, it is cut after its last whole value, and its
/// open containers are closed. `None` if nothing is left.
fn complete(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.get(lex::space(text, 0)..)?;
    let mut closers: Vec<u8> = Vec::new();
    let (mut at, mut whole) = (0, 0);
    while let Some(&byte) = text.get(at) {
        let end = match byte {
            b'"' => match lex::string(text, at + 1, &mut false) {
                Scan::Whole(end) => end,
                Scan::Partial(_) | Scan::Wrong(_) => break,
            },
            b'{' | b'[' | b'}' | b']' | b',' | b':' => at + 1,
            byte if lex::is_space(byte) => lex::space(text, at),
            _ => scalar_end(text, at),
        };
        match byte {
            b'{' => closers.push(b'}'),
            b'[' => closers.push(b']'),
            b'}' | b']' => drop(closers.pop()),
            _ => {}
        }
        let next = lex::space(text, end);
        let is_name = byte == b'"' && text.get(next) == Some(&b':');
        let is_separator = matches!(byte, b',' | b':') || lex::is_space(byte);
        // A scalar at the very end of an open container may be cut, or may be a name.
        let may_be_cut =
            next == text.len() && !matches!(byte, b'{' | b'[' | b'}' | b']') && !closers.is_empty();
        at = end;
        if !is_name && !is_separator && !may_be_cut {
            whole = end;
            if closers.is_empty() {
                break;
            }
        }
    }
    // Between the last whole value and the end, no container begins or ends.
    let mut completed = text.get(..whole).filter(|whole| !whole.is_empty())?.to_vec();
    completed.extend(closers.iter().rev());
    Some(completed)
}

/// Returns the end of the number or the word that begins at `at`.
fn scalar_end(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let ends =
        |byte: &u8| lex::is_space(*byte) || matches!(byte, b',' | b':' | b'"' | b'{' | b'}' | b'[' | b']');
    rest.iter().position(ends).map_or(text.len(), |length| at + length.max(1))
}

#[cfg(test)]
mod tests {
    use super::super::held_value::UnclassifiedValue;
    use super::*;
    use crate::scrub::{FieldMapping, Mapping, RecordMapping};
    use crate::vocabulary::{CategoryId, Vocabulary};

    #[derive(Default)]
    struct Found {
        records: usize,
        values: Vec<String>,
        shared: Vec<usize>,
    }

    impl SurveyVisitor for Found {
        fn record(&mut self, set: Option<usize>) {
            self.records += usize::from(set.is_some());
        }

        fn value(&mut self, value: &UnclassifiedValue<'_>) {
            let steps = value.steps.iter().map(|step| match step {
                Some(name) => format!(".{name}"),
                None => "[*]".to_owned(),
            });
            let anchor = value.record.map_or("$".to_owned(), |set| format!("@{set}"));
            let value_type = value.value_type.name();
            self.values.push(format!("{anchor}{} {value_type}", steps.collect::<String>()));
            self.shared.push(value.known);
        }
    }

    fn field(path: &str) -> FieldMapping {
        FieldMapping {
            path: path.to_owned(),
            categories: vec![CategoryId(1)],
            embedded: path.contains("json"),
        }
    }

    fn plan(record: &str, fields: &[&str]) -> Plan {
        let records = vec![RecordMapping {
            path: record.to_owned(),
            fields: fields.iter().map(|path| field(path)).collect(),
            ..RecordMapping::default()
        }];
        Plan::compile(&Mapping { records, ..Mapping::default() }, &Vocabulary::standard()).unwrap()
    }

    fn found(plan: &Plan, framing: Framing, body: &str) -> Found {
        let mut found = Found::default();
        survey_unclassified(plan, framing, body.as_bytes(), &mut found);
        found
    }

    const BODY: &str = r#"{"total":2,"next":null,"items":[
        {"name":"Ada","tags":["a","b"],"home":{"city":"x","geo":{"lat":1.5}},"empty":{},"none":[]},
        {"name":"Ben","tags":[],"ok":true}]}"#;

    #[test]
    fn unclassified_values_are_found_by_path_and_type() {
        let plan = plan("$.items[*]", &["@.name", "$.total"]);
        let found = found(&plan, Framing::Document, BODY);
        assert_eq!(found.records, 2);
        let expected = [
            "$.next null",
            "@0.tags[*] string",
            "@0.tags[*] string",
            "@0.home.city string",
            "@0.home.geo.lat number",
            "@0.empty object",
            "@0.none array",
            "@0.tags array",
            "@0.ok boolean",
        ];
        assert_eq!(found.values, expected);
        assert_eq!(found.shared, [0, 0, 1, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn conditions_and_embedded_json_are_read_as_the_scrubber_reads_them() {
        let filtered = plan("$.items[?@.kind == 'p']", &["@.name", "@.kind"]);
        let body = r#"{"items":[{"kind":"p","name":"Ada","age":3},{"kind":"q","name":"Ben"}]}"#;
        let values = found(&filtered, Framing::Document, body).values;
        assert_eq!(values, ["@0.age number", "$.items[*].kind string", "$.items[*].name string"]);
        let conditional = plan("$", &["@.list[?@.k == 1].v"]);
        let body = r#"{"list":[{"k":1,"v":"x"},{"k":2,"v":"y"}]}"#;
        let values = found(&conditional, Framing::Document, body).values;
        assert_eq!(values, ["@0.list[*].k number", "@0.list[*].k number", "@0.list[*].v string"]);
        let embedded = plan("$", &["@.json", "@.json.a"]);
        let body = r#"{"json":"{\"a\":1,\"b\":2}","rest":"{}"}"#;
        assert_eq!(found(&embedded, Framing::Document, body).values, ["@0.rest string"]);
    }

    #[test]
    fn every_prefix_of_a_body_has_a_prefix_of_its_values() {
        let plan = plan("$.items[*]", &["@.name", "$.total"]);
        let whole = found(&plan, Framing::Document, BODY).values;
        let mut most = 0;
        for end in 0..=BODY.len() {
            let values = found(&plan, Framing::Document, BODY.get(..end).unwrap()).values;
            // A container whose content is missing looks empty.
            let is_open = |value: &&String| !value.ends_with(" object") && !value.ends_with(" array");
            let values: Vec<&String> = values.iter().filter(is_open).collect();
            let expected: Vec<&String> = whole.iter().filter(is_open).take(values.len()).collect();
            assert_eq!(values, expected, "{}", BODY.get(..end).unwrap());
            most = most.max(values.len());
        }
        assert_eq!(most, 6, "the whole body is among the prefixes");
    }

    #[test]
    fn white_space_is_read_once() {
        let plan = plan("$", &[]);
        // A reading whose time grows with the square of the length would not end.
        let spaces = " ".repeat(2 << 20);
        for body in [format!("{{\"a\":1{spaces}}}"), format!("{{\"a\"{spaces}:1,{spaces}"), spaces.clone()] {
            let values = found(&plan, Framing::Document, &body).values;
            assert!(values.is_empty() || values == ["@0.a number"], "{values:?}");
        }
    }

    #[test]
    fn each_framing_has_its_texts() {
        let plan = plan("$", &["@.a"]);
        for (framing, body) in [
            (Framing::Lines, "{\"a\":1,\"b\":2}\n\n{\"b\":3}\n{\"b"),
            (Framing::Sequence, "\u{1e}{\"a\":1,\"b\":2}\n\u{1e}{\"b\":3}\n"),
            (
                Framing::Events,
                "data: {\"a\":1,\"b\":2}\n\nevent: other\ndata: {\"c\":1}\n\ndata: {\"b\":3}\n\n",
            ),
        ] {
            let found = found(&plan, framing, body);
            let texts = found.records;
            assert!((2..=3).contains(&texts), "{framing:?}: {texts}");
            assert_eq!(found.values, ["@0.b number", "@0.b number"], "{framing:?}");
        }
        let rows = found(&plan, Framing::Rows, "a,b\r\n1,2\r\n1,\"x\ny\"\r\n3");
        assert_eq!((rows.records, rows.values), (2, vec!["@0.b string".to_owned(); 2]));
    }

    #[test]
    fn a_text_that_cannot_be_read_is_skipped() {
        let plan = plan("$", &[]);
        for body in ["", " ", "}", "{]", "nul", "[1 2]", "{\"a\":1,\"a\":2}", "{\"\\ud800\":1}"] {
            assert_eq!(found(&plan, Framing::Document, body).values, [""; 0], "{body}");
        }
        let deep = "[".repeat(200);
        assert_eq!(found(&plan, Framing::Document, &deep).values, [""; 0]);
        assert_eq!(found(&plan, Framing::Document, "\u{feff} {\"a\":1}").values, ["@0.a number"]);
    }
}
