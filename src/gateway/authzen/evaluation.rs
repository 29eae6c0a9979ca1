//! One access evaluation: a recipient, a purpose, an operation and a data category of one person.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::{EvaluationDetail, MalformedRequest, RequestParts, Target, identity};
use crate::decision::{
    AdmissionRequest, ClassRelease, Classes, Controller, Decisions, Denial, Reason, RecordFacts,
    Relationship, Subject, UnknownSubject, explain_only, scenario,
};
use crate::exchange::caller::Identity;
use crate::exchange::ledger_policy::{self, LedgerPolicy, PermitSource, RouteTerms};
use crate::exchange::stale::Knowledge;
use crate::exchange::{SharedState, Snapshot};
use crate::ledger::Case;
use crate::scrub::{JudgedRecord, PathIdentities, PathIds, RecordPolicy};
use crate::vocabulary::{Basis, BasisSet, CategoryId, Form, Operation, SubjectId};

/// One question about one person and one category, which an exchange asks for each record. For an operation other than
/// `disclose`, it is the question that an exchange asks if its path names the person and the account.
pub(super) struct AccessEvaluation<'q> {
    shared: &'q SharedState,
    decisions: &'q Decisions,
    admission: AdmissionRequest,
    category: CategoryId,
    asker: Identity,
    unknown_subject: UnknownSubject,
    person: Option<SubjectId>,
    account: Option<SubjectId>,
    case: Option<Arc<Case>>,
    now: Timestamp,
    /// End of the agreement, or start of the next policy version, if either is known.
    configuration_ends: Option<Timestamp>,
}

impl<'q> AccessEvaluation<'q> {
    pub(super) fn new(
        shared: &'q SharedState,
        snapshot: &Snapshot,
        target: Target<'q>,
        parts: RequestParts<'_>,
        now: Timestamp,
    ) -> Result<AccessEvaluation<'q>, MalformedRequest> {
        let Target { recipient, route, versions, decisions, purpose, category, operation } = target;
        let (ledger, names) = (&shared.ledger, shared.ledger.terms());
        let case = parts.context_text("case")?.and_then(|id| ledger.case(id));
        let case = case.filter(|case| case.serves(&recipient.name, purpose, names, now));
        let admission = AdmissionRequest {
            recipient: ledger_policy::recipient_facts(ledger, recipient, now),
            purpose,
            operation,
            exporter_region: Arc::clone(&snapshot.exporter_region),
            upstream_backup: route.is_some_and(|route| route.upstream_is_backup),
            legal_reference: ledger_policy::legal_reference(case.as_deref()),
        };
        let person = identity(&parts.resource.properties, "subject", names)?;
        let account = identity(&parts.resource.properties, "controller", names)?;
        // In an exchange the credential says who the asker is.
        let asker = Identity {
            subject: identity(&parts.subject.properties, "subject", names)?,
            controller: identity(&parts.subject.properties, "controller", names)?,
            actor: None,
        };
        let mapping = route.and_then(|route| route.mapping());
        let ends =
            [recipient.agreement_ends(now.to_zoned(TimeZone::UTC).date()), versions.changes_after(now)];
        Ok(AccessEvaluation {
            shared,
            decisions,
            admission,
            category,
            asker,
            unknown_subject: mapping.map(|mapping| mapping.unknown_subject).unwrap_or_default(),
            person,
            account,
            case,
            now,
            configuration_ends: ends.into_iter().flatten().min(),
        })
    }

    /// Decides, and returns the decision with the instant until which it holds if no event arrives.
    fn decide(&self) -> Result<(ClassRelease, Option<Timestamp>), Denial> {
        let classes = Classes::new(vec![vec![self.category]], false);
        let admitted = self.decisions.admit_once(&self.admission, &classes)?;
        let personal = self.decisions.pack().vocabulary().has_owner(self.category);
        let operation = self.admission.operation;
        let unknown_subject = ledger_policy::unknown_subject_for(operation, self.unknown_subject);
        let terms = RouteTerms {
            unknown_subject,
            personal: &[personal],
            knowledge: Knowledge::Current,
            observed: false,
        };
        let ledger = &self.shared.ledger;
        let mut policy = LedgerPolicy::new(
            ledger,
            PermitSource::Admitted(&admitted),
            &self.asker,
            terms,
            self.case.clone(),
            self.now,
        );
        if operation != Operation::Disclose && self.person.is_none() {
            let named =
                PathIdentities { subjects: PathIds::None, controllers: PathIds::of(self.account.as_ref()) };
            return Ok((release_without_rule(policy.permits_operation(&named)), policy.valid_until()));
        }
        let record = JudgedRecord {
            set: 0,
            subjects: self.person.as_ref().map(std::slice::from_ref),
            controller: self.account.as_ref(),
            facts: &RecordFacts::default(),
        };
        let permit = policy.record_permit(&record);
        // An operation on a category about no person is evaluated for every category of a person: one that is permitted
        // suffices.
        let mut releases = permit.releases().iter();
        let released = releases.find(|release| release.form != Form::Removed).or(permit.releases().first());
        let release = released.cloned().ok_or(Denial::NoRulePermits)?;
        Ok((release, policy.valid_until()))
    }

    /// Returns the person whom the request names.
    pub(super) fn person(&self) -> Option<&SubjectId> {
        self.person.as_ref()
    }

    /// Returns the response of the API.
    pub(super) fn response(&self, detail: EvaluationDetail) -> Value {
        let tells_reasons = detail == EvaluationDetail::Reasons || self.person.is_none();
        let decided = self.decide();
        let valid_until = decided.as_ref().ok().and_then(|(_, valid_until)| *valid_until);
        let form = decided.as_ref().map_or(Form::Removed, |(release, _)| release.form);
        let mut context = Map::new();
        let mut add = |key: &str, value: Value| {
            context.insert(key.to_owned(), value);
        };
        add("form", json!(form));
        add("policy", json!(&**self.decisions.pack().revision()));
        add("position", json!(self.shared.ledger.position().0));
        if let Some(instant) = valid_until.into_iter().chain(self.configuration_ends).min() {
            add("ask_again_at", json!(instant));
        }
        if let Ok((release, _)) = &decided {
            let texts = |texts: &[Arc<str>]| texts.iter().map(|text| json!(**text)).collect::<Value>();
            if tells_reasons {
                add("clauses", texts(&release.clauses));
                add("rules", texts(&release.rules));
            }
            if form != Form::Removed {
                if tells_reasons {
                    add("basis", json!(release.basis.map(Basis::name)));
                }
                if form != Form::Clear {
                    add("obligations", json!([{ "id": "redact", "form": form }]));
                }
                return json!({ "decision": true, "context": context });
            }
        }
        let decided = decided.map(|(release, _)| release);
        match &decided {
            Ok(release) if tells_reasons => add("reason", json!(release.reason.map(Reason::name))),
            Ok(_) => {}
            // It is the same for everybody.
            Err(denial) => add("reason", json!(denial.name())),
        }
        if !tells_reasons {
            return json!({ "decision": false, "context": context });
        }
        let why = self.denial_text(decided.as_ref(), &mut add);
        add("reason_admin", json!({ "en": why }));
        json!({ "decision": false, "context": context })
    }

    /// Returns a sentence on why nothing is released, and adds the nearest rules to the context.
    fn denial_text(
        &self,
        decided: Result<&ClassRelease, &Denial>,
        add: &mut impl FnMut(&str, Value),
    ) -> String {
        let is_unknown = decided
            .is_ok_and(|release| matches!(release.reason, Some(Reason::UnknownSubject | Reason::NoSubject)));
        if is_unknown {
            return "the ledger knows no such person, or nothing but refusals of theirs".to_owned();
        }
        match self.admission.operation {
            Operation::Disclose => self.explain(decided.err(), add),
            Operation::Collect | Operation::Alter | Operation::Destroy => match decided {
                Ok(_) => "no rule permits the operation on this person's data".to_owned(),
                Err(denial) => denial.name().to_owned(),
            },
        }
    }

    /// Explains why a category is withheld. The explanation has no part in the decision.
    fn explain(&self, denial: Option<&Denial>, add: &mut impl FnMut(&str, Value)) -> String {
        let facts = self.facts();
        let pack = self.decisions.pack();
        let explained =
            explain_only(pack, &self.admission, &facts, &facts.record, self.now, &[self.category]);
        let Some(line) = explained.categories.into_iter().next() else { return String::new() };
        add("clauses", json!(line.clauses));
        add("rules", json!(line.rules));
        add("nearest", json!(line.nearest));
        match (denial, line.nearest.first()) {
            (Some(denial), _) => denial.name().to_owned(),
            (None, Some(near)) if !near.lacks.is_empty() => near.lacks.join("; "),
            (None, _) if !line.rules.is_empty() => format!("forbidden by {}", line.rules.join(", ")),
            (None, _) => "no rule permits this".to_owned(),
        }
    }

    /// Returns the facts that the policy decided on.
    fn facts(&self) -> scenario::ScenarioFacts {
        let ledger = &self.shared.ledger;
        let known = self.person.as_ref().map(|person| ledger.subject(person));
        let (fingerprint, subject) =
            known.map_or((None, None), |(fingerprint, subject)| (Some(fingerprint), subject));
        let controller = self.account.as_ref().and_then(|account| ledger.controller(account).1);
        let is_asker = |id: &Option<SubjectId>, asker: &Option<SubjectId>| id.is_some() && asker == id;
        let relationship = Relationship {
            subject_is_recipient: is_asker(&self.person, &self.asker.subject),
            controller_is_recipient: is_asker(&self.account, &self.asker.controller),
            named_in_case: self
                .case
                .as_ref()
                .zip(fingerprint)
                .is_some_and(|(case, fingerprint)| case.concerns(&fingerprint)),
        };
        scenario::ScenarioFacts {
            subject: subject.map_or_else(Subject::default, |subject| Subject::clone(&subject)),
            controller: controller.map_or_else(Controller::default, |known| Controller::clone(&known)),
            record: RecordFacts::default(),
            relationship,
        }
    }
}

/// Returns the decision on an operation if no person is named: no single rule decides it.
fn release_without_rule(is_permitted: bool) -> ClassRelease {
    ClassRelease {
        form: if is_permitted { Form::Clear } else { Form::Removed },
        basis: None,
        bases: BasisSet::default(),
        reason: (!is_permitted).then_some(Reason::NoRule),
        rules: Arc::default(),
        clauses: Arc::default(),
    }
}
