//! Disclosure cases: registered and listed. Approving and ending one are events.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde_json::Value;
use ulid::Ulid;

use super::AdminApi;
use super::event::{Acknowledged, EventBody, EventQuery};
use super::openapi::problems::{EventProblems, LedgerProblems};
use super::openapi::{IdempotencyHeader, PositionHeader};
use super::problem::AdminProblem;
use super::request::{CasePath, NoParameters, PathText, QueryOf};
use crate::ledger::{self, Entity};

/// Lists all disclosure cases.
#[utoipa::path(
    get, path = "/v1/cases", operation_id = "listCases", tag = "cases",
    params(PositionHeader),
    responses((status = 200, description = "The cases, ordered by id.", body = ref("#/components/schemas/Cases")), LedgerProblems)
)]
pub(super) async fn cases(
    State(admin): State<AdminApi>,
    _: QueryOf<NoParameters>,
) -> Result<Json<Value>, AdminProblem> {
    let cases = admin.read_ledger(|archive| archive.cases(Timestamp::now())).await?;
    Ok(Json(cases.into_iter().map(Value::Object).collect()))
}

/// Returns one disclosure case.
#[utoipa::path(
    get, path = "/v1/cases/{id}", operation_id = "getCase", tag = "cases",
    params(CasePath, PositionHeader),
    responses((status = 200, description = "The case.", body = ref("#/components/schemas/Case")), LedgerProblems)
)]
pub(super) async fn case(
    State(admin): State<AdminApi>,
    PathText(id): PathText,
    _: QueryOf<NoParameters>,
) -> Result<Json<Value>, AdminProblem> {
    let id = ledger::case_id(&id)?;
    let case = admin.read_ledger(move |archive| archive.case(&id, Timestamp::now())).await?;
    case.map(|case| Json(Value::Object(case))).ok_or_else(AdminProblem::not_found)
}

/// Registers a disclosure case. If the body has no id, one is made.
#[utoipa::path(
    post, path = "/v1/cases", operation_id = "registerCase", tag = "cases",
    params(EventQuery, IdempotencyHeader, PositionHeader),
    request_body = ref("#/components/schemas/CaseRegistration"),
    responses((status = 200, description = "The case is registered.", body = ref("#/components/schemas/CaseAcknowledgement")), EventProblems)
)]
pub(super) async fn register(
    State(admin): State<AdminApi>,
    QueryOf(query): QueryOf<EventQuery>,
    event: EventBody,
) -> Result<Json<Value>, AdminProblem> {
    let fresh = fresh_id(event.key.as_deref());
    let (entity, draft) = ledger::parse_case(&event.body, fresh, admin.shared.ledger.terms())?;
    let case = match &entity {
        Entity::Case(id) => Value::from(&**id),
        Entity::Subject(_) | Entity::Controller(_) | Entity::Recipient(_) => Value::Null,
    };
    let Json(mut acknowledgement) = admin.append(&query, event, &entity, draft).await?;
    acknowledgement.insert("case".to_owned(), case);
    Ok(Json(Value::Object(acknowledgement)))
}

/// Records that somebody approves of a disclosure case: the actor that is signed in, or else the `approver` of the body.
#[utoipa::path(
    post, path = "/v1/cases/{id}/approve", operation_id = "approveCase", tag = "cases",
    params(CasePath, EventQuery, IdempotencyHeader, PositionHeader),
    request_body = ref("#/components/schemas/Approval"),
    responses((status = 200, description = "The event is durable and in force.", body = ref("#/components/schemas/Acknowledgement")), EventProblems)
)]
pub(super) async fn approve(
    State(admin): State<AdminApi>,
    PathText(id): PathText,
    QueryOf(query): QueryOf<EventQuery>,
    event: EventBody,
) -> Acknowledged {
    let case = Entity::Case(ledger::case_id(&id)?);
    let body: &[u8] = if event.body.is_empty() { b"{}" } else { &event.body };
    let signed_in = event.actor.name().map(|name| &**name);
    let draft = ledger::parse_approval(body, signed_in, admin.shared.ledger.terms())?;
    admin.append(&query, event, &case, draft).await
}

/// Ends a disclosure case.
#[utoipa::path(
    post, path = "/v1/cases/{id}/end", operation_id = "endCase", tag = "cases",
    params(CasePath, EventQuery, IdempotencyHeader, PositionHeader),
    request_body = ref("#/components/schemas/CaseEnd"),
    responses((status = 200, description = "The event is durable and in force.", body = ref("#/components/schemas/Acknowledgement")), EventProblems)
)]
pub(super) async fn end(
    State(admin): State<AdminApi>,
    PathText(id): PathText,
    QueryOf(query): QueryOf<EventQuery>,
    event: EventBody,
) -> Acknowledged {
    let case = Entity::Case(ledger::case_id(&id)?);
    admin.append_of_kind(&query, event, case, "case-ended").await
}

/// Makes an id for a case. Requests with the same idempotency key get the same id, so that a repeated request means the
/// same case.
fn fresh_id(key: Option<&str>) -> String {
    match key {
        None => Ulid::generate().to_string(),
        Some(key) => {
            let mut hasher = blake3::Hasher::new_derive_key("purposegate 2026 v1 case id");
            hasher.update(key.as_bytes()).finalize().to_hex().to_string()
        }
    }
}
