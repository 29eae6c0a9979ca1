//! OpenID AuthZEN 1.0: whether a recipient may have a data category for a purpose, or carry out another operation
//! on it. It is answered by the judgement that the gateway makes of each record, or of the request before the
//! upstream is called, so the two cannot differ.
//!
//! Subject is a recipient by its configured name, action a purpose, resource a data category, about
//! the person in `resource.properties`. It trusts its caller as far as the admin listener does, reads
//! no data and discloses none, so nothing is logged. What is not known is denied.

use std::sync::Arc;

use http::Method;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::decision::{
    AdmissionRequest, ClassRelease, Classes, Controller, Decisions, Denial, Reason, RecordFacts,
    Relationship, Subject, UnknownSubject, explain_only, scenario,
};
use crate::exchange::SharedState;
use crate::exchange::caller::Identity;
use crate::exchange::ledger_policy::{self, LedgerPolicy, RouteTerms};
use crate::finding::suggestion;
use crate::ledger::{self, Case, TermLookup};
use crate::scrub::{PathIdentities, PathIds, Record, RecordPolicy};
use crate::vocabulary::{Basis, CategoryId, Form, Operation, SubjectId};

/// Most evaluations of one request.
const MAX_EVALUATIONS: usize = 1000;

/// One access evaluation request; in a batch, what an evaluation does not say is said for all.
#[derive(Clone, Debug, Default, Deserialize)]
struct EvaluationRequest {
    subject: Option<AuthzenEntity>,
    action: Option<Action>,
    resource: Option<AuthzenEntity>,
    context: Option<Map<String, Value>>,
}

#[derive(Clone, Debug, Deserialize)]
struct AuthzenEntity {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    #[serde(default)]
    properties: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
struct Action {
    name: String,
    #[serde(default)]
    properties: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct EvaluationsRequest {
    #[serde(flatten)]
    common: EvaluationRequest,
    #[serde(default)]
    evaluations: Vec<EvaluationRequest>,
    #[serde(default)]
    options: BatchOptions,
}

#[derive(Debug, Default, Deserialize)]
struct BatchOptions {
    #[serde(default)]
    evaluations_semantic: BatchSemantics,
}

/// When a batch is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BatchSemantics {
    #[default]
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

/// Why a request is no access evaluation request.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct MalformedRequest(String);

/// Answers an access evaluation request.
///
/// # Errors
/// [`Malformed`]: it is not one.
pub(super) fn evaluation(
    gatehouse: &SharedState,
    body: &[u8],
    now: Timestamp,
) -> Result<Value, MalformedRequest> {
    let question: EvaluationRequest =
        serde_json::from_slice(body).map_err(|error| MalformedRequest(error.to_string()))?;
    evaluate(gatehouse, &question, now)
}

/// Answers an access evaluations request.
///
/// # Errors
/// [`Malformed`]: it is not one. An evaluation that is none is denied by itself.
pub(super) fn evaluations(
    gatehouse: &SharedState,
    body: &[u8],
    now: Timestamp,
) -> Result<Value, MalformedRequest> {
    let batch: EvaluationsRequest =
        serde_json::from_slice(body).map_err(|error| MalformedRequest(error.to_string()))?;
    if batch.evaluations.is_empty() {
        return evaluate(gatehouse, &batch.common, now);
    }
    if batch.evaluations.len() > MAX_EVALUATIONS {
        return Err(MalformedRequest(format!("more than {MAX_EVALUATIONS} evaluations")));
    }
    let mut answers = Vec::new();
    for question in batch.evaluations {
        let question = question.or(&batch.common);
        let answer = evaluate(gatehouse, &question, now).unwrap_or_else(
            |MalformedRequest(message)| json!({ "decision": false, "context": { "error": { "status": 400, "message": message } } }),
        );
        let permits = answer.get("decision") == Some(&Value::Bool(true));
        answers.push(answer);
        match batch.options.evaluations_semantic {
            BatchSemantics::DenyOnFirstDeny if !permits => break,
            BatchSemantics::PermitOnFirstPermit if permits => break,
            BatchSemantics::ExecuteAll
            | BatchSemantics::DenyOnFirstDeny
            | BatchSemantics::PermitOnFirstPermit => {}
        }
    }
    Ok(json!({ "evaluations": answers }))
}

/// What `/.well-known/authzen-configuration` says, for the base URL of this listener.
pub(super) fn configuration(base: &str) -> Value {
    json!({
        "policy_decision_point": base,
        "access_evaluation_endpoint": format!("{base}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{base}/access/v1/evaluations"),
    })
}

impl EvaluationRequest {
    fn or(self, common: &EvaluationRequest) -> EvaluationRequest {
        let EvaluationRequest { subject, action, resource, context } = self;
        EvaluationRequest {
            subject: subject.or_else(|| common.subject.clone()),
            action: action.or_else(|| common.action.clone()),
            resource: resource.or_else(|| common.resource.clone()),
            context: context.or_else(|| common.context.clone()),
        }
    }
}

fn evaluate(
    gatehouse: &SharedState,
    question: &EvaluationRequest,
    now: Timestamp,
) -> Result<Value, MalformedRequest> {
    let missing = |what: &str| MalformedRequest(format!("`{what}` is missing"));
    let subject = question.subject.as_ref().ok_or_else(|| missing("subject"))?;
    let action = question.action.as_ref().ok_or_else(|| missing("action"))?;
    let resource = question.resource.as_ref().ok_or_else(|| missing("resource"))?;
    let context = question.context.clone().unwrap_or_default();
    let snapshot = gatehouse.snapshot();

    let recipient = snapshot.recipients.iter().find(|known| *known.name == *subject.id);
    let Some(recipient) = recipient.filter(|_| subject.kind == "recipient") else {
        let known = snapshot.recipients.iter().map(|known| &*known.name);
        let why = "there is no such recipient: `type` is `recipient`, `id` its configured name";
        return Ok(misspelt(why, &subject.id, known));
    };
    let route = match text(&context, "route")? {
        None => None,
        Some(name) => match snapshot.routes.iter().find(|route| *route.name == *name) {
            Some(route) => Some(route),
            None => {
                let known = snapshot.routes.iter().map(|known| &*known.name);
                return Ok(misspelt("there is no such route", name, known));
            }
        },
    };
    let versions = snapshot.packs.get(route.map_or(0, |route| route.pack));
    let Some(decisions) = versions.and_then(|versions| versions.in_force(now)) else {
        return Ok(unknown("no policy is in force"));
    };
    let words = decisions.pack().vocabulary();
    let Ok(purpose) = words.declared_purpose(&action.name) else {
        let known = words.purposes().terms().map(|(_, term)| &*term.id);
        return Ok(misspelt("there is no such purpose", &action.name, known));
    };
    if !route.is_none_or(|route| route.serves_purpose(words, purpose)) {
        return Ok(unknown("the route does not serve this purpose"));
    }
    let category = words.categories().find(&resource.id).filter(|_| resource.kind == "data-category");
    let Some(category) = category else {
        let known = words.categories().terms().map(|(_, term)| &*term.id);
        let why = "there is no such category: `type` is `data-category`, `id` its name";
        return Ok(misspelt(why, &resource.id, known));
    };
    let operation = match text(&action.properties, "operation")? {
        None => route.map_or(Operation::Disclose, |route| route.operation(&Method::GET)),
        Some(name) => match Operation::ALL.iter().find(|operation| operation.name() == name) {
            Some(operation) => *operation,
            None => {
                let known = Operation::ALL.iter().map(|operation| operation.name());
                return Ok(misspelt("there is no such operation", name, known));
            }
        },
    };

    let case = text(&context, "case")?.and_then(|id| gatehouse.ledger.case(id));
    let case = case.filter(|case| case.serves(&recipient.name, purpose, gatehouse.ledger.terms(), now));
    let asking = AdmissionRequest {
        recipient: ledger_policy::recipient_facts(&gatehouse.ledger, recipient, now),
        purpose,
        operation,
        exporter_region: Arc::clone(&snapshot.exporter_region),
        upstream_backup: route.is_some_and(|route| route.upstream_is_backup),
        legal_reference: ledger_policy::legal_reference(case.as_deref()),
    };
    let names = gatehouse.ledger.terms();
    let person = identity(&resource.properties, "subject", names)?;
    let account = identity(&resource.properties, "controller", names)?;
    // What a request's credential says who it is, the question says.
    let asker = Identity {
        subject: identity(&subject.properties, "subject", names)?,
        controller: identity(&subject.properties, "controller", names)?,
        actor: None,
    };
    let mapped = route.and_then(|route| route.mapping());
    let inquiry = AccessEvaluation {
        gatehouse,
        decisions,
        asking: &asking,
        asker: &asker,
        unknown_subject: mapped.map(|mapped| mapped.unknown_subject).unwrap_or_default(),
        person: person.as_ref(),
        account: account.as_ref(),
        case,
        now,
    };
    let ends = [
        recipient.agreement_ends(now.to_zoned(TimeZone::UTC).date()),
        versions.and_then(|versions| versions.changes_after(now)),
    ];
    Ok(inquiry.answer(category, ends.into_iter().flatten().min()))
}

/// One question about one person and one category, as the gateway asks it of each record; about an operation other
/// than `disclose`, as it asks it where the path names that person and that account.
struct AccessEvaluation<'q> {
    gatehouse: &'q SharedState,
    decisions: &'q Decisions,
    asking: &'q AdmissionRequest,
    asker: &'q Identity,
    unknown_subject: UnknownSubject,
    person: Option<&'q SubjectId>,
    account: Option<&'q SubjectId>,
    case: Option<Arc<Case>>,
    now: Timestamp,
}

impl AccessEvaluation<'_> {
    /// The decision, and until when it holds if nothing happens.
    fn judge(&self, category: CategoryId) -> Result<(ClassRelease, Option<Timestamp>), Denial> {
        let admitted = self.decisions.admit_once(self.asking, &Classes::new(vec![vec![category]], false))?;
        let personal = self.decisions.pack().vocabulary().has_owner(category);
        let unknown_subject = ledger_policy::unknown_subject_for(self.asking.operation, self.unknown_subject);
        let terms = RouteTerms { unknown_subject, personal: &[personal] };
        let ledger = &self.gatehouse.ledger;
        let mut judgement =
            LedgerPolicy::new(ledger, &admitted, self.asker, terms, self.case.clone(), self.now);
        if self.asking.operation != Operation::Disclose && self.person.is_none() {
            let named = PathIdentities { subjects: PathIds::None, controllers: PathIds::of(self.account) };
            return Ok((unreasoned(judgement.permits_operation(&named)), judgement.valid_until()));
        }
        let record = Record {
            set: 0,
            subjects: self.person.map(std::slice::from_ref),
            controller: self.account,
            facts: &RecordFacts::default(),
        };
        let permit = judgement.record_permit(&record);
        // An operation on what is about nobody is asked about everything that there can be of somebody.
        let mut releases = permit.releases().iter();
        let released = releases.find(|release| release.form != Form::Removed).or(permit.releases().first());
        let release = released.cloned().ok_or(Denial::NoRulePermits)?;
        Ok((release, judgement.valid_until()))
    }

    fn answer(&self, category: CategoryId, ends: Option<Timestamp>) -> Value {
        let judged = self.judge(category);
        let ask_again = judged.as_ref().ok().and_then(|(_, ask_again)| *ask_again);
        let (form, reason) = match &judged {
            Ok((release, _)) => (release.form, release.reason.map(Reason::name)),
            Err(denial) => (Form::Removed, Some(denial.code())),
        };
        let mut context = json!({
            "form": form,
            "policy": &**self.decisions.pack().revision(),
            "position": self.gatehouse.ledger.position().0,
        });
        let mut say = |key: &str, value: Value| {
            if let Value::Object(context) = &mut context {
                context.insert(key.to_owned(), value);
            }
        };
        if let Some(instant) = ask_again.into_iter().chain(ends).min() {
            say("ask_again_at", json!(instant));
        }
        if let Ok((release, _)) = &judged {
            let texts = |texts: &[Arc<str>]| texts.iter().map(|text| json!(**text)).collect::<Value>();
            say("clauses", texts(&release.clauses));
            say("rules", texts(&release.rules));
            if form != Form::Removed {
                say("basis", json!(release.basis.map(Basis::name)));
                if form != Form::Clear {
                    say("obligations", json!([{ "id": "redact", "form": form }]));
                }
                return json!({ "decision": true, "context": context });
            }
        }
        say("reason", json!(reason));
        let is_unknown = judged.as_ref().is_ok_and(|(release, _)| {
            matches!(release.reason, Some(Reason::UnknownSubject | Reason::NoSubject))
        });
        let why = match (is_unknown, self.asking.operation) {
            (true, _) => "the ledger knows no such person, or nothing but what they refused".to_owned(),
            (false, Operation::Disclose) => self.explain(category, judged.as_ref().err(), &mut say),
            (false, Operation::Collect | Operation::Alter | Operation::Destroy) => {
                judged.as_ref().map_or_else(
                    |denial| denial.code().to_owned(),
                    |_| "no rule permits the operation about them".to_owned(),
                )
            }
        };
        say("reason_admin", json!({ "en": why }));
        json!({ "decision": false, "context": context })
    }

    /// Says what stood in the way of a category; which rules are near does not decide anything.
    fn explain(
        &self,
        category: CategoryId,
        denial: Option<&Denial>,
        say: &mut impl FnMut(&str, Value),
    ) -> String {
        let ledger = &self.gatehouse.ledger;
        let known = self.person.map(|person| ledger.subject(person));
        let (fingerprint, known) = known.map_or((None, None), |(print, known)| (Some(print), known));
        let controller = self.account.and_then(|account| ledger.controller(account).1);
        let is_asker =
            |here: Option<&SubjectId>, asker: &Option<SubjectId>| here.is_some() && asker.as_ref() == here;
        let relationship = Relationship {
            subject_is_recipient: is_asker(self.person, &self.asker.subject),
            controller_is_recipient: is_asker(self.account, &self.asker.controller),
            named_in_case: self
                .case
                .as_ref()
                .zip(fingerprint)
                .is_some_and(|(case, print)| case.concerns(&print)),
        };
        let about = scenario::ScenarioFacts {
            subject: known.map_or_else(Subject::default, |known| Subject::clone(&known)),
            controller: controller.map_or_else(Controller::default, |known| Controller::clone(&known)),
            record: RecordFacts::default(),
            relationship,
        };
        let pack = self.decisions.pack();
        let explained = explain_only(pack, self.asking, &about, &about.record, self.now, &[category]);
        let Some(line) = explained.categories.into_iter().next() else { return String::new() };
        say("clauses", json!(line.clauses));
        say("rules", json!(line.rules));
        say("nearest", json!(line.nearest));
        match (denial, line.nearest.first()) {
            (Some(denial), _) => denial.code().to_owned(),
            (None, Some(near)) if !near.lacks.is_empty() => near.lacks.join("; "),
            (None, _) if !line.rules.is_empty() => format!("forbidden by {}", line.rules.join(", ")),
            (None, _) => "no rule permits this".to_owned(),
        }
    }
}

/// The decision about an operation where no person is named: no single rule decides it.
fn unreasoned(carried_out: bool) -> ClassRelease {
    ClassRelease {
        form: if carried_out { Form::Clear } else { Form::Removed },
        basis: None,
        reason: (!carried_out).then_some(Reason::NoRule),
        rules: Arc::default(),
        clauses: Arc::default(),
    }
}

/// A denial because of a word that nothing has, with the nearest that something has.
fn misspelt<'k>(why: &str, word: &str, known: impl Iterator<Item = &'k str>) -> Value {
    match suggestion(word, known) {
        Some(hint) => unknown(&format!("{why}; {hint}")),
        None => unknown(why),
    }
}

fn unknown(why: &str) -> Value {
    json!({ "decision": false, "context": { "form": Form::Removed, "reason_admin": { "en": why } } })
}

fn text<'m>(members: &'m Map<String, Value>, key: &str) -> Result<Option<&'m str>, MalformedRequest> {
    match members.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(MalformedRequest(format!("`{key}` is not a text"))),
    }
}

/// An id: a text, a whole number, or `{ "id": …, "namespace": … }`.
fn identity(
    members: &Map<String, Value>,
    key: &str,
    names: &dyn TermLookup,
) -> Result<Option<SubjectId>, MalformedRequest> {
    let wrong = |_| MalformedRequest(format!("`{key}` is not an id"));
    let (id, namespace) = match members.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(id)) => (id.get("id"), text(id, "namespace")?),
        Some(id) => (Some(id), None),
    };
    let id = match id {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) if id.is_i64() || id.is_u64() => id.to_string(),
        _ => return Err(wrong(())),
    };
    ledger::person(&id, namespace, names).map(Some).map_err(|error| match error {
        // Which of them it is, the caller can tell by the key.
        ledger::EventError::InvalidMember { what, .. } => MalformedRequest(format!("`{key}` {what}")),
        _ => wrong(()),
    })
}
