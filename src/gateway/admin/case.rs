//! Disclosure cases: registered and listed. Approving and ending one are events.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde_json::Value;
use ulid::Ulid;

use super::AdminApi;
use super::event::{Acknowledged, EventBody, EventQuery};
use super::problem::AdminProblem;
use super::request::{NoParameters, PathText, QueryOf};
use crate::ledger::{self, Entity};

/// `GET /v1/cases`: all cases.
pub(super) async fn cases(
    State(admin): State<AdminApi>,
    _: QueryOf<NoParameters>,
) -> Result<Json<Value>, AdminProblem> {
    let cases = admin.read_ledger(|archive| archive.cases(Timestamp::now())).await?;
    Ok(Json(cases.into_iter().map(Value::Object).collect()))
}

/// `GET /v1/cases/{id}`: one case.
pub(super) async fn case(
    State(admin): State<AdminApi>,
    PathText(id): PathText,
    _: QueryOf<NoParameters>,
) -> Result<Json<Value>, AdminProblem> {
    let id = ledger::case_id(&id)?;
    let case = admin.read_ledger(move |archive| archive.case(&id, Timestamp::now())).await?;
    case.map(|case| Json(Value::Object(case))).ok_or_else(AdminProblem::not_found)
}

/// `POST /v1/cases`: registers a case. If the body has no id, one is made.
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

/// `POST /v1/cases/{id}/approve`: records that somebody approves of a case.
pub(super) async fn approve(
    State(admin): State<AdminApi>,
    PathText(id): PathText,
    QueryOf(query): QueryOf<EventQuery>,
    event: EventBody,
) -> Acknowledged {
    let case = Entity::Case(ledger::case_id(&id)?);
    admin.append_of_kind(&query, event, case, "case-approved").await
}

/// `POST /v1/cases/{id}/end`: ends a case.
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
