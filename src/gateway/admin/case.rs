//! Disclosure cases: registered and listed. Approving and ending one are events.

use std::sync::Arc;

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
use crate::ledger::{self, Archive, Entity};

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
    admin.case_of(&id).await.map(Json)
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
) -> Acknowledged {
    admin.register_case(&query, event).await
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
    admin.approve_case(&id, &query, event).await
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
    admin.end_case(&id, &query, event).await
}

impl AdminApi {
    /// Returns a case.
    pub(in crate::gateway) async fn case_of(&self, id: &str) -> Result<Value, AdminProblem> {
        let case = self.cases_of(vec![ledger::case_id(id)?]).await?.pop();
        case.filter(|case| !case.is_null()).ok_or_else(AdminProblem::not_found)
    }

    /// Returns the cases of these ids; `null` for an id under which none is registered.
    pub(in crate::gateway) async fn cases_of(&self, ids: Vec<Arc<str>>) -> Result<Vec<Value>, AdminProblem> {
        let now = Timestamp::now();
        let read = move |archive: &Archive| {
            ids.iter().map(|id| archive.case(id, now)).collect::<Result<Vec<_>, _>>()
        };
        let cases = self.read_ledger(read).await?;
        Ok(cases.into_iter().map(|case| case.map_or(Value::Null, Value::Object)).collect())
    }

    /// Registers a case. The acknowledgement has its id.
    pub(in crate::gateway) async fn register_case(
        &self,
        query: &EventQuery,
        event: EventBody,
    ) -> Acknowledged {
        let fresh = fresh_id(event.key.as_deref());
        let (entity, draft) = ledger::parse_case(&event.body, fresh, self.shared.ledger.terms())?;
        let case = match &entity {
            Entity::Case(id) => Value::from(&**id),
            Entity::Subject(_) | Entity::Controller(_) | Entity::Recipient(_) => Value::Null,
        };
        let Json(mut acknowledgement) = self.append(query, event, &entity, draft).await?;
        acknowledgement.insert("case".to_owned(), case);
        Ok(Json(acknowledgement))
    }

    /// Records an approval: by the actor that is signed in, or else by the `approver` of the body.
    pub(in crate::gateway) async fn approve_case(
        &self,
        id: &str,
        query: &EventQuery,
        event: EventBody,
    ) -> Acknowledged {
        let case = Entity::Case(ledger::case_id(id)?);
        let body: &[u8] = if event.body.is_empty() { b"{}" } else { &event.body };
        let signed_in = event.actor.name().map(|name| &**name);
        let draft = ledger::parse_approval(body, signed_in, self.shared.ledger.terms())?;
        self.append(query, event, &case, draft).await
    }

    /// Ends a case before its time.
    pub(in crate::gateway) async fn end_case(
        &self,
        id: &str,
        query: &EventQuery,
        event: EventBody,
    ) -> Acknowledged {
        let case = Entity::Case(ledger::case_id(id)?);
        self.append_of_kind(query, event, case, "case-ended").await
    }
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
