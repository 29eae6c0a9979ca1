//! What the scrubber does, feature by feature; `walks` holds the laws.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod concealed;
mod embedded;
mod framings;
mod fuzzed;
mod rdap;
mod records;
mod removal;
mod strict;
mod upstream;
mod walks;

use std::sync::{Arc, LazyLock};

use super::*;
use crate::decision::Permit;
use crate::vocabulary::{CategoryId, Form, IdReader, SubjectId, Vocabulary};

/// Some categories of the vocabulary.
pub(super) const CATEGORIES: &[&str] =
    &["name", "email", "phone", "billing", "postal-address", "service-data", "location"];

pub(super) fn category(name: &str) -> CategoryId {
    static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(Vocabulary::standard);
    VOCABULARY.categories().find(name).unwrap()
}

pub(super) fn compile(mapping: &Mapping) -> Result<Plan, Vec<MappingError>> {
    Plan::compile(mapping, &Vocabulary::standard())
}

/// `@.path = category+category`, with `json:` before them for JSON in a string.
fn field((path, categories): &(&str, &str)) -> FieldMapping {
    let embedded = categories.starts_with("json:");
    let categories = categories.trim_start_matches("json:").split('+').map(category).collect();
    FieldMapping { path: (*path).to_owned(), categories, embedded }
}

pub(super) fn record(path: &str, subjects: &[&str], fields: &[(&str, &str)]) -> RecordMapping {
    let source =
        |path: &&str| SubjectSource { path: (*path).to_owned(), ids: IdReader::default(), optional: false };
    RecordMapping {
        path: path.to_owned(),
        subjects: subjects.iter().map(source).collect(),
        fields: fields.iter().map(field).collect(),
        ..RecordMapping::default()
    }
}

pub(super) fn mapping(records: Vec<RecordMapping>) -> Mapping {
    Mapping { records, ..Mapping::default() }
}

/// A record as a judge saw it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JudgedRecord {
    pub(super) set: usize,
    pub(super) subjects: Option<Vec<String>>,
    pub(super) controller: Option<String>,
}

/// What a category may leave in, by the record's first subject; `None` is what stands outside.
type Rule = Box<dyn Fn(Option<&JudgedRecord>, CategoryId) -> Form>;

/// A judge with a rule, that remembers what it was asked and told.
pub(super) struct RuleJudge {
    classes: Vec<Class>,
    /// What nothing classifies leaves in; the mapping says so, whoever it is about.
    unclassified: Form,
    rule: Rule,
    pub(super) records: Vec<JudgedRecord>,
    pub(super) facts: Vec<crate::decision::RecordFacts>,
    pub(super) fields: Vec<Vec<u32>>,
}

impl RuleJudge {
    pub(super) fn new(
        plan: &Plan,
        rule: impl Fn(Option<&JudgedRecord>, CategoryId) -> Form + 'static,
    ) -> RuleJudge {
        RuleJudge {
            classes: plan.classes().to_vec(),
            unclassified: if plan.releases_unclassified() { Form::Clear } else { Form::Removed },
            rule: Box::new(rule),
            records: Vec::new(),
            facts: Vec::new(),
            fields: Vec::new(),
        }
    }

    fn permit(&self, seen: Option<&JudgedRecord>) -> Permit {
        let form = |class: &Class| {
            let forms = class.categories.iter().map(|&category| {
                if category == super::tests::category("non-personal") {
                    Form::Clear
                } else {
                    (self.rule)(seen, category)
                }
            });
            forms.max().unwrap_or(self.unclassified)
        };
        Permit::of(&self.classes.iter().map(form).collect::<Vec<_>>())
    }
}

impl RecordPolicy for RuleJudge {
    fn record_permit(&mut self, record: &Record<'_>) -> Permit {
        let ids = |ids: &[SubjectId]| ids.iter().map(|id| id.id().to_string()).collect();
        let seen = JudgedRecord {
            set: record.set,
            subjects: record.subjects.map(ids),
            controller: record.controller.map(|id| id.id().to_string()),
        };
        let permit = self.permit(Some(&seen));
        self.records.push(seen);
        self.facts.push(record.facts.clone());
        permit
    }

    fn document_permit(&mut self) -> Permit {
        self.permit(None)
    }

    fn account(&mut self, _: &Permit, fields: &[u32]) {
        self.fields.push(fields.to_vec());
    }

    fn account_outside(&mut self, _: &Permit, fields: &[u32]) {
        self.fields.push(fields.to_vec());
    }
}

pub(super) fn forms() -> Forms {
    Pseudonyms::new([1; 32]).for_recipient("somebody")
}

/// Scrubs a body in chunks of this size.
pub(super) fn scrub_in(
    plan: &Arc<Plan>,
    rules: &mut RuleJudge,
    body: &[u8],
    chunk: usize,
    limits: Limits,
) -> Result<Vec<u8>, (Unreadable, Vec<u8>)> {
    scrub_framed(plan, rules, Framing::Document, body, chunk, limits)
}

/// Scrubs a body of several texts in chunks of this size.
pub(super) fn scrub_framed(
    plan: &Arc<Plan>,
    rules: &mut RuleJudge,
    framing: Framing,
    body: &[u8],
    chunk: usize,
    limits: Limits,
) -> Result<Vec<u8>, (Unreadable, Vec<u8>)> {
    let mut out = Vec::new();
    let mut scrubber = Scrubber::new(plan.clone(), forms(), &[], limits, framing);
    for chunk in body.chunks(chunk) {
        scrubber.feed(chunk, rules, &mut out).map_err(|error| (error, out.clone()))?;
    }
    scrubber.finish(rules, &mut out).map_err(|error| (error, out.clone()))?;
    Ok(out)
}

/// Scrubs a body whole, byte by byte and in between; all must agree.
pub(super) fn scrub(
    mapping: &Mapping,
    body: &str,
    rule: impl Fn(Option<&JudgedRecord>, CategoryId) -> Form + Copy + 'static,
) -> (String, RuleJudge) {
    let plan = Arc::new(compile(mapping).unwrap());
    let mut rules = RuleJudge::new(&plan, rule);
    let whole = scrub_in(&plan, &mut rules, body.as_bytes(), usize::MAX, Limits::default()).unwrap();
    for chunk in [1, 2, 3, 7, 64] {
        let mut again = RuleJudge::new(&plan, rule);
        let out = scrub_in(&plan, &mut again, body.as_bytes(), chunk, Limits::default()).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&whole), "chunks of {chunk}");
        assert_eq!(again.records, rules.records, "chunks of {chunk}");
    }
    (String::from_utf8(whole).unwrap(), rules)
}
