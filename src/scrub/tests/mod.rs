//! Tests of the scrubber, feature by feature. [`walks`] holds the general properties.
#![allow(clippy::string_slice, reason = "a test may fail by panicking")]

mod embedded;
mod framings;
mod fuzzed;
mod jsonpath_deviations;
mod rdap;
mod records;
mod redact_text;
mod removal;
mod strict;
mod tables;
mod walks;

use std::sync::{Arc, LazyLock};

use super::*;
use crate::decision::Permit;
use crate::vocabulary::{CategoryId, Form, IdReader, SubjectId, Vocabulary};

/// Categories of the vocabulary that the tests use.
pub(super) const CATEGORIES: &[&str] =
    &["name", "email", "phone", "billing", "postal-address", "service-data", "location"];

pub(super) fn category(name: &str) -> CategoryId {
    static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(Vocabulary::standard);
    VOCABULARY.categories().find(name).unwrap()
}

pub(super) fn compile(mapping: &Mapping) -> Result<Plan, Vec<MappingError>> {
    Plan::compile(mapping, &Vocabulary::standard())
}

/// Returns the field `(path, "category+category")`. The prefix `json:` stands for JSON in a string.
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

/// A record that the policy was asked about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DecidedRecord {
    pub(super) set: usize,
    pub(super) subjects: Option<Vec<String>>,
    pub(super) controller: Option<String>,
}

/// Returns the form of a category, for a record or (`None`) outside of all records.
type Rule = Box<dyn Fn(Option<&DecidedRecord>, CategoryId) -> Form>;

/// A policy that applies a rule and records each call.
pub(super) struct TestPolicy {
    classes: Vec<Class>,
    /// The form of unclassified fields, as the mapping has it.
    unclassified: Form,
    rule: Rule,
    pub(super) records: Vec<DecidedRecord>,
    pub(super) facts: Vec<crate::decision::RecordFacts>,
    pub(super) fields: Vec<Vec<u32>>,
}

impl TestPolicy {
    pub(super) fn new(
        plan: &Plan,
        rule: impl Fn(Option<&DecidedRecord>, CategoryId) -> Form + 'static,
    ) -> TestPolicy {
        TestPolicy {
            classes: plan.classes().to_vec(),
            unclassified: if plan.releases_unclassified() { Form::Clear } else { Form::Removed },
            rule: Box::new(rule),
            records: Vec::new(),
            facts: Vec::new(),
            fields: Vec::new(),
        }
    }

    fn permit(&self, decided: Option<&DecidedRecord>) -> Permit {
        let form = |class: &Class| {
            let forms = class.categories.iter().map(|&category| {
                if category == tests::category("non-personal") {
                    Form::Clear
                } else {
                    (self.rule)(decided, category)
                }
            });
            forms.max().unwrap_or(self.unclassified)
        };
        Permit::of(&self.classes.iter().map(form).collect::<Vec<_>>())
    }
}

impl RecordPolicy for TestPolicy {
    fn record_permit(&mut self, record: &JudgedRecord<'_>) -> Permit {
        let ids = |ids: &[SubjectId]| ids.iter().map(|id| id.id().to_string()).collect();
        let decided = DecidedRecord {
            set: record.set,
            subjects: record.subjects.map(ids),
            controller: record.controller.map(|id| id.id().to_string()),
        };
        let permit = self.permit(Some(&decided));
        self.records.push(decided);
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

/// Scrubs a body of one document in chunks of this size.
pub(super) fn scrub_in(
    plan: &Arc<Plan>,
    policy: &mut TestPolicy,
    body: &[u8],
    chunk: usize,
    limits: Limits,
) -> Result<Vec<u8>, (Unreadable, Vec<u8>)> {
    scrub_framed(plan, policy, Framing::Document, body, chunk, limits)
}

/// Scrubs a body of any framing in chunks of this size.
pub(super) fn scrub_framed(
    plan: &Arc<Plan>,
    policy: &mut TestPolicy,
    framing: Framing,
    body: &[u8],
    chunk: usize,
    limits: Limits,
) -> Result<Vec<u8>, (Unreadable, Vec<u8>)> {
    let mut out = Vec::new();
    let mut scrubber = Scrubber::new(plan.clone(), forms(), &[], limits, framing);
    for chunk in body.chunks(chunk) {
        scrubber.feed(chunk, policy, &mut out).map_err(|error| (error, out.clone()))?;
    }
    scrubber.finish(policy, &mut out).map_err(|error| (error, out.clone()))?;
    Ok(out)
}

/// Scrubs a body as a whole and in chunks, and checks that the results agree.
pub(super) fn scrub(
    mapping: &Mapping,
    body: &str,
    rule: impl Fn(Option<&DecidedRecord>, CategoryId) -> Form + Copy + 'static,
) -> (String, TestPolicy) {
    let plan = Arc::new(compile(mapping).unwrap());
    let mut policy = TestPolicy::new(&plan, rule);
    let whole = scrub_in(&plan, &mut policy, body.as_bytes(), usize::MAX, Limits::default()).unwrap();
    for chunk in [1, 2, 3, 7, 64] {
        let mut again = TestPolicy::new(&plan, rule);
        let out = scrub_in(&plan, &mut again, body.as_bytes(), chunk, Limits::default()).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&whole), "chunks of {chunk}");
        assert_eq!(again.records, policy.records, "chunks of {chunk}");
    }
    (String::from_utf8(whole).unwrap(), policy)
}
