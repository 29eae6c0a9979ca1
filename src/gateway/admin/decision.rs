//! Records of decisions in the disclosure logs.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::AdminApi;
use super::act::{ActObject, PendingAct};
use super::openapi::PositionHeader;
use super::openapi::problems::DecisionProblems;
use super::problem::AdminProblem;
use super::request::{DecisionPath, PathText, QueryOf, ReasonQuery};

/// Returns the record of one decision, with its factors.
#[utoipa::path(
    get, path = "/v1/decisions/{id}", operation_id = "getDecision", tag = "decisions",
    params(DecisionPath, ReasonQuery, PositionHeader),
    responses((status = 200, description = "The record.", body = ref("#/components/schemas/Decision")), DecisionProblems)
)]
pub(super) async fn decision(
    State(admin): State<AdminApi>,
    act: PendingAct,
    PathText(id): PathText,
    QueryOf(query): QueryOf<ReasonQuery>,
) -> Result<Json<Value>, AdminProblem> {
    admin.record_act(&act, ActObject::Decision(&id), query.reason.as_deref()).await?;
    match admin.shared.logged_decision(id).await {
        Ok(Some(record)) => Ok(Json(record)),
        Ok(None) => Err(AdminProblem::not_found()),
        Err(error) => Err(AdminProblem::log_unreadable(&error)),
    }
}
