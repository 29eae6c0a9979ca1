//! A decision that is tried: nothing is disclosed. It decides as an exchange does, about facts that somebody typed or about the
//! state in force of a person.

use std::sync::Arc;

use jiff::Timestamp;

use super::clause_words::ClauseWords;
use super::withheld_step::withheld_step;
use crate::decision::scenario::ScenarioFacts;
use crate::decision::{
    AdmissionRequest, Admitted, ClassId, ClassRelease, Decisions, LegalReference, Permit, Question, Reason,
    RecordFacts, Subject, UnknownSubject,
};
use crate::exchange::ledger_policy::recipient_facts;
use crate::exchange::route::{MappedField, Recipient, Route, Scrubbing};
use crate::exchange::{SharedState, Snapshot};
use crate::policy::Pack;
use crate::scrub::{Framing, JudgedRecord, Pseudonyms, RecordPolicy, Scrubber};
use crate::vocabulary::{Basis, CategoryId, Form, Operation, PurposeId, SubjectId};

/// The person about whom a decision is tried.
#[derive(Debug)]
pub(super) enum TriedPerson {
    /// An invented one.
    Invented(Box<ScenarioFacts>),
    /// A person by id.
    Real(SubjectId),
}

/// The request that is tried.
#[derive(Debug)]
pub(super) struct TriedRequest {
    pub(super) recipient: Arc<Recipient>,
    pub(super) purpose: PurposeId,
    pub(super) route: Arc<Route>,
    pub(super) person: TriedPerson,
    /// An answer of the API.
    pub(super) record: String,
}

/// The result of a trial.
#[derive(Debug)]
pub(super) struct TrialResult {
    pub(super) pack: String,
    pub(super) version: String,
    /// The reason why the whole request is refused, and what would have to change.
    pub(super) refusal: Option<(String, Option<String>)>,
    pub(super) fields: Vec<TrialField>,
    /// The answer as it leaves; or why it cannot be read.
    pub(super) left: Result<String, String>,
    /// Facts that are not known, and how they count.
    pub(super) notes: Vec<String>,
}

impl Default for TrialResult {
    fn default() -> TrialResult {
        TrialResult {
            pack: String::new(),
            version: String::new(),
            refusal: None,
            fields: Vec::new(),
            left: Ok(String::new()),
            notes: Vec::new(),
        }
    }
}

/// The outcome for one field.
#[derive(Debug)]
pub(super) struct TrialField {
    pub(super) path: String,
    pub(super) categories: String,
    pub(super) form: &'static str,
    pub(super) basis: &'static str,
    pub(super) reason: &'static str,
    pub(super) rules: String,
    pub(super) clauses: Vec<(String, String)>,
    /// The nearest rules, each with what it lacks.
    pub(super) nearest: Vec<String>,
    pub(super) change: String,
}

impl TriedRequest {
    /// Decides. Blocks while the ledger reads a person.
    pub(super) fn decide(&self, shared: &SharedState, snapshot: &Snapshot, now: Timestamp) -> TrialResult {
        let decisions = snapshot.packs.get(self.route.pack).and_then(|versions| versions.in_force(now));
        let (Some(decisions), Some(scrubbing)) = (decisions, self.route.scrubbing.as_ref()) else {
            return TrialResult {
                left: Err("no policy is in force, or the route is not personal".to_owned()),
                ..TrialResult::default()
            };
        };
        let asking = AdmissionRequest {
            recipient: recipient_facts(&shared.ledger, &self.recipient, now),
            purpose: self.purpose,
            operation: Operation::Disclose,
            exporter_region: Arc::clone(&snapshot.exporter_region),
            upstream_backup: self.route.upstream_is_backup,
            legal_reference: LegalReference::None,
        };
        let person = self.judged_person(shared);
        let trial = TriedDecision { decisions, scrubbing, asking, person, now };
        trial.result(&self.record)
    }

    fn judged_person(&self, shared: &SharedState) -> JudgedPerson {
        match &self.person {
            TriedPerson::Invented(facts) => {
                JudgedPerson { known: Some(facts.subject.clone()), facts: ScenarioFacts::clone(facts) }
            }
            TriedPerson::Real(id) => {
                let known = shared.ledger.subject(id).1.map(|subject| Subject::clone(&subject));
                let facts =
                    ScenarioFacts { subject: known.clone().unwrap_or_default(), ..ScenarioFacts::default() };
                JudgedPerson { known, facts }
            }
        }
    }
}

/// The state of the person.
struct JudgedPerson {
    /// `None` if the ledger does not know the person.
    known: Option<Subject>,
    facts: ScenarioFacts,
}

struct TriedDecision<'t> {
    decisions: &'t Decisions,
    scrubbing: &'t Scrubbing,
    asking: AdmissionRequest,
    person: JudgedPerson,
    now: Timestamp,
}

impl TriedDecision<'_> {
    fn pack(&self) -> &Arc<Pack> {
        self.decisions.pack()
    }

    fn result(&self, record: &str) -> TrialResult {
        let manifest = self.pack().manifest();
        let explained = self.question().explain(&[]);
        let result = TrialResult {
            pack: manifest.title.clone(),
            version: manifest.version.clone(),
            notes: explained.unknown,
            ..TrialResult::default()
        };
        let admitted = self.decisions.admit_once(&self.asking, &self.scrubbing.classes);
        match (admitted, explained.refusal) {
            (Ok(admitted), _) => TrialResult {
                fields: self.fields(&self.permit(&admitted, &self.person.facts.record)),
                left: self.scrubbed(&admitted, record),
                ..result
            },
            (Err(_), Some(refusal)) => {
                TrialResult { refusal: Some((refusal.why, refusal.changes.to_text())), ..result }
            }
            (Err(denial), None) => TrialResult { refusal: Some((denial.code().to_owned(), None)), ..result },
        }
    }

    fn question(&self) -> Question<'_> {
        let JudgedPerson { facts, .. } = &self.person;
        Question { pack: self.pack(), request: &self.asking, facts, record: &facts.record, now: self.now }
    }

    /// Decides about a record of the person, as an exchange does.
    fn permit(&self, admitted: &Admitted, record: &RecordFacts) -> Permit {
        let JudgedPerson { known, facts } = &self.person;
        let unknown: UnknownSubject = self.scrubbing.unknown_subject;
        admitted.judge_person(
            known.as_ref(),
            unknown,
            &facts.controller,
            record,
            facts.relationship,
            self.now,
        )
    }

    fn fields(&self, permit: &Permit) -> Vec<TrialField> {
        let words = ClauseWords::of_packs([self.pack()]);
        let unclassified = MappedField {
            path: "any other field".to_owned(),
            categories: Vec::new(),
            without_subject: false,
        };
        let fields = self.scrubbing.fields.iter().chain([&unclassified]);
        fields.filter_map(|field| self.field(field, permit, &words)).collect()
    }

    /// Explains a field. `None` if the plan has no class for it, which a loaded mapping rules out.
    fn field(&self, field: &MappedField, permit: &Permit, words: &ClauseWords) -> Option<TrialField> {
        let tree = self.pack().vocabulary().categories();
        let names: Vec<&str> = field.categories.iter().map(|category| tree.name(*category)).collect();
        let ClassRelease { form, basis, reason, rules, clauses, .. } =
            permit.releases().get(usize::from(self.class(&field.categories)?.0))?;
        let texts = |texts: &[Arc<str>]| texts.iter().map(ToString::to_string).collect::<Vec<String>>();
        let (nearest, change) =
            reason.map_or_else(Default::default, |reason| self.change(reason, &field.categories));
        Some(TrialField {
            path: field.path.clone(),
            categories: if names.is_empty() { "unclassified".to_owned() } else { names.join(" + ") },
            form: form.name(),
            basis: basis.map(Basis::name).unwrap_or_default(),
            reason: reason.map(Reason::name).unwrap_or_default(),
            rules: texts(rules).join(", "),
            clauses: words.of(&texts(clauses)),
            nearest,
            change,
        })
    }

    fn class(&self, categories: &[CategoryId]) -> Option<ClassId> {
        let mut sorted = categories.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let at = self.scrubbing.classes.sets().iter().position(|set| *set == sorted)?;
        u16::try_from(at).ok().map(ClassId)
    }

    /// Returns the nearest rules and what would have to change.
    fn change(&self, reason: Reason, categories: &[CategoryId]) -> (Vec<String>, String) {
        match reason {
            Reason::Refused | Reason::Prohibited | Reason::NoRule if !categories.is_empty() => {
                let (nearest, changes) = self.question().explain_class(categories);
                let near = nearest.iter().filter(|near| !near.lacks.is_empty());
                let near = near.map(|near| format!("{}: {}", near.rule, near.lacks.join("; "))).collect();
                (near, changes.to_text().unwrap_or_default())
            }
            Reason::Refused
            | Reason::Prohibited
            | Reason::NoRule
            | Reason::Unclassified
            | Reason::NoSubject
            | Reason::Unreadable
            | Reason::UnknownSubject
            | Reason::Stale => (Vec::new(), withheld_step(reason.name()).to_owned()),
        }
    }

    /// Returns the answer as it leaves if all of its records are about the person. Pseudonyms are not those that the
    /// recipient would see.
    fn scrubbed(&self, admitted: &Admitted, record: &str) -> Result<String, String> {
        let forms = Pseudonyms::new([0; 32]).for_recipient("");
        let plan = Arc::clone(&self.scrubbing.plan);
        let mut scrubber = Scrubber::for_trial(plan, forms, self.scrubbing.limits, Framing::default());
        let mut policy = TrialPolicy { trial: self, admitted };
        let mut left = Vec::new();
        let scrubbed = scrubber.feed(record.as_bytes(), &mut policy, &mut left);
        let scrubbed = scrubbed.and_then(|()| scrubber.finish(&mut policy, &mut left));
        scrubbed.map_err(|unreadable| unreadable.to_string())?;
        // Scrubbed bytes of a document are a document, or nothing.
        let pretty = serde_json::from_slice::<serde_json::Value>(&left).ok();
        Ok(pretty.and_then(|left| serde_json::to_string_pretty(&left).ok()).unwrap_or_default())
    }
}

/// Decides about each record as if it were about the person.
struct TrialPolicy<'p> {
    trial: &'p TriedDecision<'p>,
    admitted: &'p Admitted,
}

impl RecordPolicy for TrialPolicy<'_> {
    fn record_permit(&mut self, record: &JudgedRecord<'_>) -> Permit {
        let has_person = record.subjects.is_some_and(|subjects| !subjects.is_empty());
        match has_person {
            true => self.trial.permit(self.admitted, &self.trial.person.facts.merged_record(record.facts)),
            false => self.admitted.no_subject(),
        }
    }

    fn document_permit(&mut self) -> Permit {
        self.admitted.no_subject()
    }

    fn account(&mut self, _: &Permit, _: &[u32]) {}

    fn account_outside(&mut self, _: &Permit, _: &[u32]) {}
}

impl TrialField {
    /// True if the field leaves in some form.
    pub(super) fn leaves(&self) -> bool {
        self.form != Form::Removed.name()
    }
}
