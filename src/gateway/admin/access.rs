//! Access evaluations (OpenID AuthZEN 1.0).

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::HOST;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use serde_json::Value;

use super::AdminApi;
use super::authentication::AdminPeer;
use super::openapi::problems::{EvaluationProblems, ReadProblems};
use super::openapi::{PositionHeader, RequestIdHeader};
use super::problem::AdminProblem;
use super::request::{BoundedBody, NoParameters, QueryOf, scheme};
use crate::exchange::SharedState;
use crate::gateway::authzen::{self, MalformedRequest};
use crate::ledger::AppendError;

/// Maximum size of a request for access evaluations, in bytes.
const MAX_EVALUATIONS_BYTES: usize = 1 << 20;

/// The header that names a request; the response repeats it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Evaluates one access request (OpenID AuthZEN 1.0).
#[utoipa::path(
    post, path = "/access/v1/evaluation", operation_id = "evaluate", tag = "access",
    params(RequestIdHeader, PositionHeader),
    request_body = ref("#/components/schemas/AccessEvaluationRequest"),
    responses((status = 200, description = "The decision.", body = ref("#/components/schemas/AccessEvaluation")), EvaluationProblems)
)]
pub(super) async fn evaluation(
    State(admin): State<AdminApi>,
    headers: HeaderMap,
    _: QueryOf<NoParameters>,
    BoundedBody(body): BoundedBody<MAX_EVALUATIONS_BYTES>,
) -> Result<Response, AdminProblem> {
    admin.evaluate(&headers, &body, authzen::evaluation)
}

/// Evaluates several access requests (OpenID AuthZEN 1.0).
///
/// A request without evaluations is one request, with one decision.
#[utoipa::path(
    post, path = "/access/v1/evaluations", operation_id = "evaluateSeveral", tag = "access",
    params(RequestIdHeader, PositionHeader),
    request_body = ref("#/components/schemas/AccessEvaluationsRequest"),
    responses((status = 200, description = "The decisions.", body = ref("#/components/schemas/AccessEvaluations")), EvaluationProblems)
)]
pub(super) async fn evaluations(
    State(admin): State<AdminApi>,
    headers: HeaderMap,
    _: QueryOf<NoParameters>,
    BoundedBody(body): BoundedBody<MAX_EVALUATIONS_BYTES>,
) -> Result<Response, AdminProblem> {
    admin.evaluate(&headers, &body, authzen::evaluations)
}

/// Returns the metadata of the decision point (OpenID AuthZEN 1.0).
#[utoipa::path(
    get, path = "/.well-known/authzen-configuration", operation_id = "getAuthzenConfiguration", tag = "access",
    params(PositionHeader),
    responses((status = 200, description = "The metadata.", body = ref("#/components/schemas/AuthzenConfiguration")), ReadProblems)
)]
pub(super) async fn configuration(
    Extension(peer): Extension<AdminPeer>,
    headers: HeaderMap,
    _: QueryOf<NoParameters>,
) -> Result<Json<Value>, AdminProblem> {
    let authority = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = authority.ok_or_else(AdminProblem::not_found)?;
    let base = format!("{}://{authority}", scheme(peer.is_encrypted));
    Ok(Json(authzen::configuration(&base)))
}

impl AdminApi {
    fn evaluate(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        evaluate: fn(&SharedState, &[u8], Timestamp) -> Result<Value, MalformedRequest>,
    ) -> Result<Response, AdminProblem> {
        if !self.shared.ledger.healthy() {
            return Err(AppendError::Unavailable.into());
        }
        let evaluation = evaluate(&self.shared, body, Timestamp::now())
            .map_err(|error| AdminProblem::malformed(error.to_string()))?;
        let mut response = Json(evaluation).into_response();
        response.headers_mut().extend(headers.get(&REQUEST_ID).map(|id| (REQUEST_ID, id.clone())));
        Ok(response)
    }
}
