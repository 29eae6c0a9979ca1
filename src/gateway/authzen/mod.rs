//! OpenID AuthZEN 1.0: decides if a recipient may receive a data category for a purpose, or may carry out another
//! operation on it.
//!
//! The subject of a request is a recipient by its configured name, the action a purpose, the resource a data category
//! of the person in `resource.properties`. No personal data is disclosed. Why it is decided so tells facts about the person,
//! as the ledger has them: the caller of this module says if they may be told, and records that they are.
//!
//! Invariants: [`evaluation`] calls the same policy as an exchange does for each record (for an operation: before the
//! upstream is called), so the two decisions cannot differ; a name that is not configured is denied. While the ledger is
//! stale everything is denied, also what an exchange may go on to release.

mod evaluation;
pub(super) mod schema;

use std::collections::HashSet;

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::evaluation::AccessEvaluation;
use crate::decision::Decisions;
use crate::exchange::route::{Recipient, Route};
use crate::exchange::{Refusal, SharedState, Snapshot, Versions};
use crate::finding::suggestion;
use crate::ledger::{self, Freshness, TermLookup};
use crate::vocabulary::{CategoryId, Form, Operation, PurposeId, SubjectId, Vocabulary};

/// Maximum number of evaluations in one request.
const MAX_EVALUATIONS: usize = 1000;

/// One access evaluation request. In a batch, a member that is absent here is taken from the batch.
#[derive(Clone, Debug, Default, Deserialize)]
struct EvaluationRequest {
    subject: Option<AuthzenEntity>,
    action: Option<Action>,
    resource: Option<AuthzenEntity>,
    context: Option<Map<String, Value>>,
}

/// A subject or a resource.
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

/// A request for several evaluations, or for one if it lists none.
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

/// The condition after which a batch ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BatchSemantics {
    #[default]
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

/// The extent to which an evaluation tells facts of a person whom the request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EvaluationDetail {
    /// The decision: its form, its obligations and its end.
    Decision,
    /// Also why it was made, which tells facts about the person.
    Reasons,
}

/// The answer to a request.
#[derive(Debug)]
pub(super) struct Evaluated {
    pub(super) answer: Value,
    /// The people about whom it tells facts, each once.
    pub(super) told: HashSet<SubjectId>,
}

/// The request does not follow the AuthZEN schema.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct MalformedRequest(String);

/// The reason why a request has no evaluation.
enum Unresolved {
    Malformed(MalformedRequest),
    /// The configuration cannot resolve the request; the denial states the reason.
    Denied(Value),
}

impl From<MalformedRequest> for Unresolved {
    fn from(malformed: MalformedRequest) -> Unresolved {
        Unresolved::Malformed(malformed)
    }
}

/// Answers an access evaluation request.
///
/// # Errors
/// [`MalformedRequest`].
pub(super) fn evaluation(
    shared: &SharedState,
    body: &[u8],
    detail: EvaluationDetail,
    now: Timestamp,
) -> Result<Evaluated, MalformedRequest> {
    let request: EvaluationRequest =
        serde_json::from_slice(body).map_err(|error| MalformedRequest(error.to_string()))?;
    let mut told = HashSet::new();
    let answer = evaluate(shared, &request, detail, now, &mut told)?;
    Ok(Evaluated { answer, told })
}

/// Answers an access evaluations request.
///
/// # Errors
/// [`MalformedRequest`], for the request as a whole. A single evaluation that is malformed is denied.
pub(super) fn evaluations(
    shared: &SharedState,
    body: &[u8],
    detail: EvaluationDetail,
    now: Timestamp,
) -> Result<Evaluated, MalformedRequest> {
    let batch: EvaluationsRequest =
        serde_json::from_slice(body).map_err(|error| MalformedRequest(error.to_string()))?;
    let mut told = HashSet::new();
    if batch.evaluations.is_empty() {
        let answer = evaluate(shared, &batch.common, detail, now, &mut told)?;
        return Ok(Evaluated { answer, told });
    }
    if batch.evaluations.len() > MAX_EVALUATIONS {
        return Err(MalformedRequest(format!("more than {MAX_EVALUATIONS} evaluations")));
    }
    let mut responses = Vec::new();
    for request in batch.evaluations {
        let request = request.or(&batch.common);
        let response = evaluate(shared, &request, detail, now, &mut told).unwrap_or_else(
            |MalformedRequest(message)| json!({ "decision": false, "context": { "error": { "status": 400, "message": message } } }),
        );
        let permits = response.get("decision") == Some(&Value::Bool(true));
        responses.push(response);
        match batch.options.evaluations_semantic {
            BatchSemantics::DenyOnFirstDeny if !permits => break,
            BatchSemantics::PermitOnFirstPermit if permits => break,
            BatchSemantics::ExecuteAll
            | BatchSemantics::DenyOnFirstDeny
            | BatchSemantics::PermitOnFirstPermit => {}
        }
    }
    Ok(Evaluated { answer: json!({ "evaluations": responses }), told })
}

/// Returns the metadata document `/.well-known/authzen-configuration` for the base URL of the listener.
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

    fn parts(&self) -> Result<RequestParts<'_>, MalformedRequest> {
        let missing = |what: &str| MalformedRequest(format!("`{what}` is missing"));
        Ok(RequestParts {
            subject: self.subject.as_ref().ok_or_else(|| missing("subject"))?,
            action: self.action.as_ref().ok_or_else(|| missing("action"))?,
            resource: self.resource.as_ref().ok_or_else(|| missing("resource"))?,
            context: self.context.as_ref(),
        })
    }
}

/// A request with all of its required members.
#[derive(Clone, Copy)]
struct RequestParts<'q> {
    subject: &'q AuthzenEntity,
    action: &'q Action,
    resource: &'q AuthzenEntity,
    context: Option<&'q Map<String, Value>>,
}

impl<'q> RequestParts<'q> {
    /// Checks the members that an evaluation reads, whatever the request names: a denial must not hide a mistake.
    fn check(&self, names: &dyn TermLookup) -> Result<(), MalformedRequest> {
        for key in ["route", "case"] {
            self.context_text(key)?;
        }
        text(&self.action.properties, "operation")?;
        for entity in [self.subject, self.resource] {
            for key in ["subject", "controller"] {
                identity(&entity.properties, key, names)?;
            }
        }
        Ok(())
    }

    fn context_text(&self, key: &str) -> Result<Option<&'q str>, MalformedRequest> {
        self.context.map_or(Ok(None), |context| text(context, key))
    }
}

/// Evaluates one request. Adds the person about whom the answer tells facts to `told`.
fn evaluate(
    shared: &SharedState,
    request: &EvaluationRequest,
    detail: EvaluationDetail,
    now: Timestamp,
    told: &mut HashSet<SubjectId>,
) -> Result<Value, MalformedRequest> {
    let parts = request.parts()?;
    parts.check(shared.ledger.terms())?;
    let snapshot = shared.snapshot();
    let target = match Target::resolve(&snapshot, parts, now) {
        Ok(target) => target,
        Err(Unresolved::Malformed(malformed)) => return Err(malformed),
        Err(Unresolved::Denied(denial)) => return Ok(denial),
    };
    // Releases while the ledger is stale must be on record as stale, and an evaluation is not on record.
    let failed_reads = shared.ledger.failed_reads();
    let evaluation = AccessEvaluation::new(shared, &snapshot, target, parts, now)?;
    let response = evaluation.response(detail);
    let is_known = shared.ledger.failed_reads() == failed_reads;
    if shared.ledger.freshness() != Freshness::Current || !is_known {
        return Ok(stale());
    }
    told.extend(evaluation.person().filter(|_| detail == EvaluationDetail::Reasons).cloned());
    Ok(response)
}

/// The configured things that a request names.
struct Target<'s> {
    recipient: &'s Recipient,
    route: Option<&'s Route>,
    versions: &'s Versions,
    decisions: &'s Decisions,
    purpose: PurposeId,
    category: CategoryId,
    operation: Operation,
}

impl<'s> Target<'s> {
    fn resolve(
        snapshot: &'s Snapshot,
        parts: RequestParts<'_>,
        now: Timestamp,
    ) -> Result<Target<'s>, Unresolved> {
        let recipient = find_recipient(snapshot, parts.subject)?;
        let route = parts.context_text("route")?.map(|name| find_route(snapshot, name)).transpose()?;
        let no_policy = || Unresolved::Denied(denied("no policy is in force"));
        let versions = snapshot.packs.get(route.map_or(0, |route| route.pack)).ok_or_else(no_policy)?;
        let decisions = versions.in_force(now).ok_or_else(no_policy)?;
        let vocabulary = decisions.pack().vocabulary();
        let Ok(purpose) = vocabulary.declared_purpose(&parts.action.name) else {
            let known = vocabulary.purposes().terms().map(|(_, term)| &*term.id);
            return Err(unknown_name("there is no such purpose", &parts.action.name, known));
        };
        if !route.is_none_or(|route| route.serves_purpose(vocabulary, purpose)) {
            return Err(Unresolved::Denied(denied("the route does not serve this purpose")));
        }
        let category = find_category(vocabulary, parts.resource)?;
        let operation = match text(&parts.action.properties, "operation")? {
            None => route.map_or(Operation::Disclose, |route| route.operation(&Method::GET)),
            Some(name) => find_operation(name)?,
        };
        Ok(Target { recipient, route, versions, decisions, purpose, category, operation })
    }
}

fn find_recipient<'s>(snapshot: &'s Snapshot, subject: &AuthzenEntity) -> Result<&'s Recipient, Unresolved> {
    let recipient = snapshot.recipients.iter().find(|known| *known.name == *subject.id);
    recipient.filter(|_| subject.kind == "recipient").map(|recipient| &**recipient).ok_or_else(|| {
        let known = snapshot.recipients.iter().map(|known| &*known.name);
        let why = "there is no such recipient: `type` is `recipient`, `id` its configured name";
        unknown_name(why, &subject.id, known)
    })
}

fn find_route<'s>(snapshot: &'s Snapshot, name: &str) -> Result<&'s Route, Unresolved> {
    let route = snapshot.routes.iter().find(|route| *route.name == *name);
    route.map(|route| &**route).ok_or_else(|| {
        unknown_name("there is no such route", name, snapshot.routes.iter().map(|known| &*known.name))
    })
}

fn find_category(vocabulary: &Vocabulary, resource: &AuthzenEntity) -> Result<CategoryId, Unresolved> {
    let categories = vocabulary.categories();
    categories.find(&resource.id).filter(|_| resource.kind == "data-category").ok_or_else(|| {
        let known = categories.terms().map(|(_, term)| &*term.id);
        let why = "there is no such category: `type` is `data-category`, `id` its name";
        unknown_name(why, &resource.id, known)
    })
}

fn find_operation(name: &str) -> Result<Operation, Unresolved> {
    let operation = Operation::ALL.iter().find(|operation| operation.name() == name);
    operation.copied().ok_or_else(|| {
        let known = Operation::ALL.iter().map(|operation| operation.name());
        unknown_name("there is no such operation", name, known)
    })
}

/// Denies a name that is not configured, and suggests the nearest one that is.
fn unknown_name<'k>(why: &str, name: &str, known: impl Iterator<Item = &'k str>) -> Unresolved {
    Unresolved::Denied(match suggestion(name, known) {
        Some(hint) => denied(&format!("{why}; {hint}")),
        None => denied(why),
    })
}

fn denied(why: &str) -> Value {
    json!({ "decision": false, "context": { "form": Form::Removed, "reason_admin": { "en": why } } })
}

/// Denies because the gateway may not know the latest events.
fn stale() -> Value {
    let why = "the ledger is stale: what this gateway knows about people is older than `max-staleness`";
    let mut denial = denied(why);
    if let Some(context) = denial.get_mut("context").and_then(Value::as_object_mut) {
        context.insert("reason".to_owned(), Refusal::LedgerStale.code().into());
    }
    denial
}

fn text<'m>(members: &'m Map<String, Value>, key: &str) -> Result<Option<&'m str>, MalformedRequest> {
    match members.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(MalformedRequest(format!("`{key}` is not a string"))),
    }
}

/// Reads an id: a string, a whole number, or `{ "id": …, "namespace": … }`.
fn identity(
    members: &Map<String, Value>,
    key: &str,
    names: &dyn TermLookup,
) -> Result<Option<SubjectId>, MalformedRequest> {
    let malformed = || MalformedRequest(format!("`{key}` is not an id"));
    let (id, namespace) = match members.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(id)) => (id.get("id"), text(id, "namespace")?),
        Some(id) => (Some(id), None),
    };
    let id = match id {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) if id.is_i64() || id.is_u64() => id.to_string(),
        _ => return Err(malformed()),
    };
    ledger::person(&id, namespace, names).map(Some).map_err(|error| match error {
        // The error names its own member; the caller knows it as `key`.
        ledger::EventError::InvalidMember { problem, .. } => MalformedRequest(format!("`{key}` {problem}")),
        _ => malformed(),
    })
}
