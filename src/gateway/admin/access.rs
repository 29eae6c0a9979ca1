//! Access evaluations (OpenID AuthZEN 1.0).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::HOST;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use serde_json::Value;

use super::AdminApi;
use super::problem::AdminProblem;
use super::request::{BoundedBody, NoParameters, QueryOf};
use crate::exchange::SharedState;
use crate::gateway::authzen::{self, MalformedRequest};
use crate::ledger::AppendError;

/// Maximum size of a request for access evaluations, in bytes.
const MAX_EVALUATIONS_BYTES: usize = 1 << 20;

/// The header that names a request; the response repeats it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `POST /access/v1/evaluation`: one evaluation.
pub(super) async fn evaluation(
    State(admin): State<AdminApi>,
    headers: HeaderMap,
    _: QueryOf<NoParameters>,
    BoundedBody(body): BoundedBody<MAX_EVALUATIONS_BYTES>,
) -> Result<Response, AdminProblem> {
    admin.evaluate(&headers, &body, authzen::evaluation)
}

/// `POST /access/v1/evaluations`: several evaluations.
pub(super) async fn evaluations(
    State(admin): State<AdminApi>,
    headers: HeaderMap,
    _: QueryOf<NoParameters>,
    BoundedBody(body): BoundedBody<MAX_EVALUATIONS_BYTES>,
) -> Result<Response, AdminProblem> {
    admin.evaluate(&headers, &body, authzen::evaluations)
}

/// `GET /.well-known/authzen-configuration`: the metadata of the decision point.
pub(super) async fn configuration(
    headers: HeaderMap,
    _: QueryOf<NoParameters>,
) -> Result<Json<Value>, AdminProblem> {
    let authority = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = authority.ok_or_else(AdminProblem::not_found)?;
    Ok(Json(authzen::configuration(&format!("http://{authority}"))))
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
