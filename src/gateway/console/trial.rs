//! A decision that is tried: nothing is disclosed. It decides as an exchange on an enforced route does, about facts that
//! somebody typed or about the state in force of a person, and says if the route is observed.
//!
//! Invariant: nothing is decided about people or accounts that the ledger may not know.

use std::sync::Arc;

use jiff::Timestamp;

use super::clause_words::ClauseWords;
use super::withheld_step::withheld_step;
use crate::decision::scenario::ScenarioFacts;
use crate::decision::{
    AdmissionRequest, Admitted, ClassId, ClassRelease, Controller, Decisions, Denial, LegalReference,
    PathNames, Permit, Question, Reason, RecordFacts, Subject, UnknownSubject,
};
use crate::exchange::ledger_policy::{recipient_facts, unknown_subject_for};
use crate::exchange::route::{MappedField, Recipient, Route, RouteRequest, Scrubbing};
use crate::exchange::{SharedState, Snapshot};
use crate::gateway::admin::problem::{AdminCode, AdminProblem};
use crate::ledger::{AppendError, Freshness, Ledger};
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
    /// True if the route refuses an answer of which something is withheld, and something is.
    pub(super) is_refused_whole: bool,
    /// The last day on which the route is observed: everything leaves until then.
    pub(super) observed_until: Option<String>,
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
            is_refused_whole: false,
            observed_until: None,
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
    /// Decides. Blocks while the ledger reads people and accounts.
    ///
    /// # Errors
    /// An [`AdminProblem`] if the ledger is not current, as for access evaluations: an exchange could know more.
    pub(super) fn decide(
        &self,
        shared: &SharedState,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<TrialResult, AdminProblem> {
        let ledger = &shared.ledger;
        if !ledger.healthy() {
            return Err(AppendError::Unavailable.into());
        }
        let failed_reads = ledger.failed_reads();
        let result = self.result(shared, snapshot, now);
        if ledger.freshness() == Freshness::Current && ledger.failed_reads() == failed_reads {
            return Ok(result);
        }
        let why = "the ledger is stale: what this gateway knows about people is older than `max-staleness`";
        Err(AdminProblem::new(AdminCode::LedgerStale, why))
    }

    fn result(&self, shared: &SharedState, snapshot: &Snapshot, now: Timestamp) -> TrialResult {
        let decisions = snapshot.packs.get(self.route.pack).and_then(|versions| versions.in_force(now));
        let (Some(decisions), Some(scrubbing)) = (decisions, self.route.scrubbing.as_ref()) else {
            return TrialResult {
                left: Err("no policy is in force, or the route is not personal".to_owned()),
                ..TrialResult::default()
            };
        };
        let request = RouteRequest {
            recipient: recipient_facts(&shared.ledger, &self.recipient, now),
            purpose: self.purpose,
            method: &self.route.default_method(),
            exporter_region: &snapshot.exporter_region,
            legal_reference: LegalReference::None,
        };
        let asking = match self.route.admission_request(decisions.pack().vocabulary(), request) {
            Ok(asking) => asking,
            Err(denial) => {
                let refusal = Some((format!("`{}`", denial.name()), None));
                return TrialResult { refusal, ..TrialResult::default() };
            }
        };
        let trial = TriedDecision {
            ledger: &shared.ledger,
            decisions,
            scrubbing,
            names: self.route.path_names(),
            asking,
            person: self.judged_person(&shared.ledger),
            now,
        };
        let observed_until = self.route.observe_until.filter(|_| self.route.observes(now));
        TrialResult {
            observed_until: observed_until.map(|until| until.to_string()),
            ..trial.result(&self.record)
        }
    }

    fn judged_person(&self, ledger: &Ledger) -> JudgedPerson {
        match &self.person {
            TriedPerson::Invented(facts) => {
                JudgedPerson { known: Some(facts.subject.clone()), facts: ScenarioFacts::clone(facts) }
            }
            TriedPerson::Real(id) => {
                let known = ledger.subject(id).1.map(|subject| Subject::clone(&subject));
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
    ledger: &'t Ledger,
    decisions: &'t Decisions,
    scrubbing: &'t Scrubbing,
    names: PathNames,
    asking: AdmissionRequest,
    person: JudgedPerson,
    now: Timestamp,
}

impl TriedDecision<'_> {
    fn pack(&self) -> &Arc<Pack> {
        self.decisions.pack()
    }

    fn result(mut self, record: &str) -> TrialResult {
        let manifest = self.pack().manifest();
        let result = TrialResult {
            pack: manifest.title.clone(),
            version: manifest.version.clone(),
            notes: self.question().explain(&[]).unknown,
            ..TrialResult::default()
        };
        let admitted = match self.admit() {
            Ok(admitted) => admitted,
            Err(refusal) => return TrialResult { refusal: Some(refusal), ..result },
        };
        let (left, judged) = self.scrubbed(&admitted, record);
        // The fields are explained as those of the first record: its age and its account can decide.
        if let Some(facts) = judged.first {
            self.person.facts = facts;
        }
        let facts = &self.person.facts;
        let fields = self.fields(&self.permit(&admitted, &facts.controller, &facts.record));
        let is_refused = self.scrubbing.is_all_or_nothing() && judged.withholds;
        TrialResult { fields, left, is_refused_whole: is_refused, ..result }
    }

    /// Admits the request. The operation is decided first, and the answer then as a disclosure.
    ///
    /// # Errors
    /// The reason of the refusal, and what would have to change.
    fn admit(&mut self) -> Result<Admitted, (String, Option<String>)> {
        let classes = &self.scrubbing.classes;
        let admitted =
            self.decisions.admit_once(&self.asking, classes).map_err(|denial| self.refusal(denial))?;
        if self.asking.operation == Operation::Disclose {
            return Ok(admitted);
        }
        if !self.carries_out(&admitted) {
            let operation = self.asking.operation.name();
            let why =
                format!("`{operation}` is not carried out on this person or account: `subject-withheld`.");
            return Err((why, self.question().explain_operation(classes.sets()).to_text()));
        }
        self.asking.operation = Operation::Disclose;
        self.decisions.admit_once(&self.asking, classes).map_err(|denial| self.refusal(denial))
    }

    fn refusal(&self, denial: Denial) -> (String, Option<String>) {
        let refusal = self.question().explain(&[]).refusal;
        let refusal = refusal.map(|refusal| (refusal.why, refusal.changes.to_text()));
        refusal.unwrap_or_else(|| (denial.name().to_owned(), None))
    }

    /// True if the operation is carried out on the person.
    fn carries_out(&self, admitted: &Admitted) -> bool {
        let JudgedPerson { known, facts } = &self.person;
        let unknown = unknown_subject_for(self.asking.operation, self.scrubbing.unknown_subject);
        let ScenarioFacts { controller, relationship, .. } = facts;
        admitted.carries_out_on(self.names, known.as_ref(), unknown, controller, *relationship, self.now)
    }

    fn question(&self) -> Question<'_> {
        let JudgedPerson { facts, .. } = &self.person;
        Question { pack: self.pack(), request: &self.asking, facts, record: &facts.record, now: self.now }
    }

    /// Decides about a record of the person, as an exchange does.
    fn permit(&self, admitted: &Admitted, account: &Controller, record: &RecordFacts) -> Permit {
        let JudgedPerson { known, facts } = &self.person;
        let unknown: UnknownSubject = self.scrubbing.unknown_subject;
        admitted.judge_person(known.as_ref(), unknown, account, record, facts.relationship, self.now)
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

    /// Returns the answer as it leaves if all of its records are about the person, and how they were judged. Pseudonyms are
    /// not those that the recipient would see.
    fn scrubbed(&self, admitted: &Admitted, record: &str) -> (Result<String, String>, JudgedRecords) {
        let forms = Pseudonyms::new([0; 32]).for_recipient("");
        let plan = Arc::clone(&self.scrubbing.plan);
        let mut scrubber = Scrubber::for_trial(plan, forms, self.scrubbing.limits, Framing::default());
        let mut policy = TrialPolicy { trial: self, admitted, judged: JudgedRecords::default() };
        let mut left = Vec::new();
        let scrubbed = scrubber.feed(record.as_bytes(), &mut policy, &mut left);
        let scrubbed = scrubbed.and_then(|()| scrubber.finish(&mut policy, &mut left));
        let judged = policy.judged;
        if let Err(unreadable) = scrubbed {
            return (Err(unreadable.to_string()), judged);
        }
        // Scrubbed bytes of a document are a document, or nothing.
        let pretty = serde_json::from_slice::<serde_json::Value>(&left).ok();
        (Ok(pretty.and_then(|left| serde_json::to_string_pretty(&left).ok()).unwrap_or_default()), judged)
    }
}

/// The outcome for the records of an answer.
#[derive(Default)]
struct JudgedRecords {
    /// The facts on which the first record was judged.
    first: Option<ScenarioFacts>,
    /// True if something about a person was withheld that a rule could have released.
    withholds: bool,
}

/// Decides about each record as if it were about the person.
struct TrialPolicy<'p> {
    trial: &'p TriedDecision<'p>,
    admitted: &'p Admitted,
    judged: JudgedRecords,
}

impl TrialPolicy<'_> {
    fn count(&mut self, permit: &Permit, counts: &[u32]) {
        let classes = permit.releases().iter().zip(counts).enumerate();
        self.judged.withholds |=
            classes.filter(|(_, (_, count))| **count > 0).any(|(class, (release, _))| {
                let class = u16::try_from(class).map(ClassId).ok();
                class.is_some_and(|class| self.admitted.withholds(class, release.form))
            });
    }
}

impl RecordPolicy for TrialPolicy<'_> {
    fn record_permit(&mut self, record: &JudgedRecord<'_>) -> Permit {
        if record.subjects.is_none_or(<[SubjectId]>::is_empty) {
            return self.admitted.no_subject();
        }
        let person = &self.trial.person.facts;
        let account = record.controller.and_then(|id| self.trial.ledger.controller(id).1);
        let facts = ScenarioFacts {
            controller: account.map_or_else(|| person.controller.clone(), |known| Controller::clone(&known)),
            record: person.merged_record(record.facts),
            ..person.clone()
        };
        let permit = self.trial.permit(self.admitted, &facts.controller, &facts.record);
        self.judged.first.get_or_insert(facts);
        permit
    }

    fn document_permit(&mut self) -> Permit {
        self.admitted.no_subject()
    }

    fn account(&mut self, permit: &Permit, counts: &[u32]) {
        self.count(permit, counts);
    }

    fn account_outside(&mut self, permit: &Permit, counts: &[u32]) {
        self.count(permit, counts);
    }
}

impl TrialField {
    /// True if the field leaves in some form.
    pub(super) fn leaves(&self) -> bool {
        self.form != Form::Removed.name()
    }
}
