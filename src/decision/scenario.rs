//! Scenarios: tests of a pack, each with a recipient, a purpose, a person and the expected outcome.
//!
//! Scenarios are decided by the same code as exchanges of the gateway; only the facts come from the scenario.

mod reader;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

pub use self::reader::ScenarioReader;
use super::admission::{AdmissionRequest, Denial};
use super::admitted::{Admitted, Decisions};
use super::classes::Classes;
use super::facts::{Relationship, RetentionPeriods};
use super::subject::{Controller, Extracted, RecordFacts, Subject};
use crate::document::Document;
use crate::finding::{Finding, Source};
use crate::policy::{Pack, Rule, retention};
use crate::vocabulary::{CategoryId, EEA, Form, Vocabulary};

/// One test of a pack.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name in reports.
    pub name: String,
    /// Id of the clause that it shows.
    pub clause: String,
    request: AdmissionRequest,
    facts: ScenarioFacts,
    /// Retention periods of the scenario's file.
    retention: Option<RetentionPeriods>,
    expected: ExpectedResult,
    /// For an operation other than `disclose`: true if it is expected to be carried out. `None` without an
    /// expectation.
    carried_out: Option<bool>,
}

/// Facts about the person, the controller and the record, and how the recipient relates to them.
#[derive(Clone, Debug, Default)]
pub struct ScenarioFacts {
    /// The state of the person.
    pub subject: Subject,
    /// The state of the controller.
    pub controller: Controller,
    /// Facts that the record states itself: its age.
    pub record: RecordFacts,
    /// How the recipient relates to the person and the controller.
    pub relationship: Relationship,
}

impl ScenarioFacts {
    /// Returns the facts of a person in the EEA about whom nothing else is known.
    pub fn unremarkable() -> ScenarioFacts {
        let subject = Subject { region: Extracted::Known(Arc::from(EEA)), ..Subject::default() };
        ScenarioFacts { subject, ..ScenarioFacts::default() }
    }

    /// Returns the facts that a record states itself, with the age from these facts if the record states none.
    pub fn merged_record(&self, read: &RecordFacts) -> RecordFacts {
        let created = if read.created == Extracted::Absent { self.record.created } else { read.created };
        RecordFacts { created, ..read.clone() }
    }
}

#[derive(Clone, Debug)]
enum ExpectedResult {
    Refused(Denial),
    /// Each field's categories with the accepted forms; empty if only `carried-out` is expected.
    Forms(Vec<(Vec<CategoryId>, Vec<Form>)>),
}

/// An expectation of a scenario that the pack does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmetExpectation {
    /// The field's categories, `refused` or `carried-out`.
    pub what: String,
    /// The expected outcome.
    pub expected: String,
    /// The actual outcome.
    pub got: String,
}

impl fmt::Display for UnmetExpectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.what, self.expected, self.got)
    }
}

/// The time of all scenarios. No outcome depends on it.
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

impl Scenario {
    /// Reads a file of scenarios for a pack.
    ///
    /// # Errors
    /// A finding for each key or value that is unknown or invalid.
    pub fn read(source: &Source, pack: &Pack) -> Result<Vec<Scenario>, Vec<Finding>> {
        let document = Document::parse(source);
        let mut root = document.root("a file of scenarios");
        let stated = root.item("retention").is_some();
        let periods = retention(&mut root, pack.vocabulary());
        let retention = stated.then(|| RetentionPeriods::from(periods));
        let tables = root.tables("scenario", "a scenario");
        root.end();
        let reader = ScenarioReader::new(pack, &document, NOW);
        let scenarios: Vec<Option<Scenario>> =
            tables.into_iter().map(|fields| reader.scenario(fields)).collect();
        let findings = document.into_findings();
        if findings.iter().any(Finding::is_error) {
            return Err(findings);
        }
        let kept = |scenario| Scenario { retention: retention.clone(), ..scenario };
        Ok(scenarios.into_iter().flatten().map(kept).collect())
    }

    /// Runs the scenario. It passes if the result is empty.
    pub fn run(&self, decisions: &Decisions) -> Vec<UnmetExpectation> {
        let mut differences = self.run_disclosure(decisions);
        differences.extend(self.run_operation(decisions));
        differences
    }

    /// Returns one class for each field about which the scenario has an expectation.
    fn classes(&self) -> Classes {
        let sets: Vec<Vec<CategoryId>> = match &self.expected {
            ExpectedResult::Refused(_) => Vec::new(),
            ExpectedResult::Forms(forms) => forms.iter().map(|(categories, _)| categories.clone()).collect(),
        };
        Classes::new(sets, false)
    }

    /// Applies the retention periods of the scenario's file.
    fn with_retention(&self, admitted: Admitted) -> Admitted {
        match &self.retention {
            Some(retention) => admitted.with_retention(RetentionPeriods::clone(retention)),
            None => admitted,
        }
    }

    /// Compares the outcome of the operation with the expectation. A refusal counts as not carried out.
    fn run_operation(&self, decisions: &Decisions) -> Option<UnmetExpectation> {
        let expected = self.carried_out?;
        let ScenarioFacts { subject, controller, record, relationship } = &self.facts;
        let admitted = decisions
            .admit_operation(&self.request, &self.classes())
            .map(|admitted| self.with_retention(admitted));
        let carried_out = admitted.as_ref().is_ok_and(|admitted| {
            admitted.carries_out(&admitted.judge(subject, controller, record, *relationship, NOW))
        });
        let got = match admitted {
            Ok(_) => carried_out.to_string(),
            Err(denial) => format!("false (refused: {})", denial.name()),
        };
        let differs = carried_out != expected;
        differs.then(|| difference("carried-out", &expected.to_string(), &got))
    }

    fn run_disclosure(&self, decisions: &Decisions) -> Vec<UnmetExpectation> {
        let admitted =
            decisions.admit(&self.request, &self.classes()).map(|admitted| self.with_retention(admitted));
        let forms = match (&self.expected, admitted.as_ref()) {
            (ExpectedResult::Refused(expected), Err(got)) if expected == got => return Vec::new(),
            (ExpectedResult::Refused(expected), got) => {
                let got = got.map_or_else(|denial| denial.name(), |_| "admitted");
                return vec![difference("refused", expected.name(), got)];
            }
            (ExpectedResult::Forms(forms), _) => forms,
        };
        let ScenarioFacts { subject, controller, record, relationship } = &self.facts;
        let permit =
            admitted.as_ref().map(|admitted| admitted.judge(subject, controller, record, *relationship, NOW));
        let tree = decisions.pack().vocabulary().categories();
        let mut differences = Vec::new();
        for (class, (categories, accepted)) in (0..).zip(forms) {
            // If the request is refused, every category counts as removed.
            let form = permit.as_ref().map_or(Form::Removed, |permit| permit.form(super::ClassId(class)));
            if !accepted.contains(&form) {
                let names: Vec<&str> = categories.iter().map(|&category| tree.name(category)).collect();
                let accepted: Vec<&str> = accepted.iter().map(|form| form.name()).collect();
                let got = match &admitted {
                    Ok(_) => form.name().to_owned(),
                    Err(denial) => format!("{} (refused: {})", form.name(), denial.name()),
                };
                differences.push(difference(&names.join("+"), &accepted.join(" or "), &got));
            }
        }
        differences
    }

    /// True if a rule can affect the scenario: its kind and purpose are the rule's and, if forms are expected, the
    /// rule covers one of the categories or a descendant of one.
    pub fn concerns(&self, rule: &Rule, vocabulary: &Vocabulary) -> bool {
        let asked = rule.kinds()(self.request.recipient.kind) && rule.purposes()(self.request.purpose);
        asked && self.is_about(rule, vocabulary)
    }

    /// True if the scenario is about one of a rule's categories or an ancestor of one.
    fn is_about(&self, rule: &Rule, vocabulary: &Vocabulary) -> bool {
        match &self.expected {
            ExpectedResult::Refused(_) => true,
            // If only `carried-out` is expected, every category is concerned.
            ExpectedResult::Forms(forms) if forms.is_empty() => true,
            ExpectedResult::Forms(forms) => {
                let tree = vocabulary.categories();
                let named =
                    |id| forms.iter().flat_map(|(named, _)| named).any(|&named| tree.within(id, named));
                tree.ids().any(|id| rule.categories()(id) && named(id))
            }
        }
    }

    /// True if the scenario shows the effect or the limit of a rule: it concerns one of the rule's kinds or
    /// purposes, or it expects that another recipient does not receive the rule's categories.
    pub fn is_near(&self, rule: &Rule, vocabulary: &Vocabulary) -> bool {
        rule.kinds()(self.request.recipient.kind)
            || rule.purposes()(self.request.purpose)
            || (!self.releases() && self.is_about(rule, vocabulary))
    }

    /// True if the scenario expects something to leave or to be carried out.
    pub fn releases(&self) -> bool {
        let leaves = match &self.expected {
            ExpectedResult::Refused(_) => false,
            ExpectedResult::Forms(forms) => {
                forms.iter().any(|(_, accepted)| !accepted.contains(&Form::Removed))
            }
        };
        leaves || self.carried_out == Some(true)
    }

    /// True if the scenario expects something to be withheld or not to be carried out.
    pub fn withholds(&self) -> bool {
        let stays = match &self.expected {
            ExpectedResult::Refused(_) => true,
            ExpectedResult::Forms(forms) => {
                forms.iter().any(|(_, accepted)| accepted.contains(&Form::Removed))
            }
        };
        stays || self.carried_out == Some(false)
    }
}

fn difference(what: &str, expected: &str, got: &str) -> UnmetExpectation {
    UnmetExpectation { what: what.to_owned(), expected: expected.to_owned(), got: got.to_owned() }
}
