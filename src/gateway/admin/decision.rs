//! Records of decisions in the disclosure logs.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::AdminApi;
use super::openapi::PositionHeader;
use super::openapi::problems::DecisionProblems;
use super::problem::AdminProblem;
use super::request::{DecisionPath, NoParameters, PathText, QueryOf};

/// Returns the record of one decision, with its factors.
#[utoipa::path(
    get, path = "/v1/decisions/{id}", operation_id = "getDecision", tag = "decisions",
    params(DecisionPath, PositionHeader),
    responses((status = 200, description = "The record.", body = ref("#/components/schemas/Decision")), DecisionProblems)
)]
pub(super) async fn decision(
    State(admin): State<AdminApi>,
    PathText(id): PathText,
    _: QueryOf<NoParameters>,
) -> Result<Json<Value>, AdminProblem> {
    match admin.shared.logged_decision(id).await {
        Ok(Some(record)) => Ok(Json(record)),
        Ok(None) => Err(AdminProblem::not_found()),
        Err(error) => Err(AdminProblem::log_unreadable(&error)),
    }
}
