//! Records of decisions in the disclosure logs.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::AdminApi;
use super::problem::AdminProblem;
use super::request::{NoParameters, PathText, QueryOf};

/// `GET /v1/decisions/{id}`: the record of one decision, with its factors.
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
