//! Access evaluations (OpenID AuthZEN 1.0).

use axum::extract::{MatchedPath, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::HOST;
use http::{HeaderMap, HeaderName, Method};
use jiff::Timestamp;
use serde_json::Value;

use super::AdminApi;
use super::act::{ActObject, PendingAct};
use super::authentication::{Actor, AdminPeer};
use super::openapi::problems::{EvaluationProblems, ReadProblems};
use super::openapi::{PositionHeader, RequestIdHeader};
use super::problem::AdminProblem;
use super::request::{BoundedBody, NoParameters, QueryOf, ReasonQuery, scheme};
use super::roles::rule;
use crate::exchange::SharedState;
use crate::gateway::authzen::{self, Evaluated, EvaluationDetail, MalformedRequest};
use crate::ledger::AppendError;

/// An evaluation of one request or of several.
type EvaluateFn = fn(&SharedState, &[u8], EvaluationDetail, Timestamp) -> Result<Evaluated, MalformedRequest>;

/// The resource that shows the state of a person.
const SUBJECT: &str = "/v1/subjects/{id}";

/// Maximum size of a request for access evaluations, in bytes.
const MAX_EVALUATIONS_BYTES: usize = 1 << 20;

/// The header that names a request; the response repeats it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Evaluates one access request (OpenID AuthZEN 1.0).
///
/// Why it is decided so tells facts about the person. Only somebody who may use `GET /v1/subjects/{id}` learns that, and it is
/// an act on record.
#[utoipa::path(
    post, path = "/access/v1/evaluation", operation_id = "evaluate", tag = "access",
    params(ReasonQuery, RequestIdHeader, PositionHeader),
    request_body = ref("#/components/schemas/AccessEvaluationRequest"),
    responses((status = 200, description = "The decision.", body = ref("#/components/schemas/AccessEvaluation")), EvaluationProblems)
)]
pub(super) async fn evaluation(
    State(admin): State<AdminApi>,
    actor: Actor,
    path: MatchedPath,
    headers: HeaderMap,
    QueryOf(query): QueryOf<ReasonQuery>,
    BoundedBody(body): BoundedBody<MAX_EVALUATIONS_BYTES>,
) -> Result<Response, AdminProblem> {
    let answer = admin.evaluate(actor, path.as_str(), query.reason.as_deref(), &body, authzen::evaluation);
    Ok(with_request_id(&headers, answer.await?))
}

/// Evaluates several access requests (OpenID AuthZEN 1.0).
///
/// A request without evaluations is one request, with one decision. Reasons are told as for a single one.
#[utoipa::path(
    post, path = "/access/v1/evaluations", operation_id = "evaluateSeveral", tag = "access",
    params(ReasonQuery, RequestIdHeader, PositionHeader),
    request_body = ref("#/components/schemas/AccessEvaluationsRequest"),
    responses((status = 200, description = "The decisions.", body = ref("#/components/schemas/AccessEvaluations")), EvaluationProblems)
)]
pub(super) async fn evaluations(
    State(admin): State<AdminApi>,
    actor: Actor,
    path: MatchedPath,
    headers: HeaderMap,
    QueryOf(query): QueryOf<ReasonQuery>,
    BoundedBody(body): BoundedBody<MAX_EVALUATIONS_BYTES>,
) -> Result<Response, AdminProblem> {
    let answer = admin.evaluate(actor, path.as_str(), query.reason.as_deref(), &body, authzen::evaluations);
    Ok(with_request_id(&headers, answer.await?))
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
    /// Answers with an evaluation. If it tells facts about people to somebody who is signed in, the look at each of them is on
    /// record first.
    async fn evaluate(
        &self,
        actor: Actor,
        path: &str,
        reason: Option<&str>,
        body: &[u8],
        evaluate: EvaluateFn,
    ) -> Result<Value, AdminProblem> {
        if !self.shared.ledger.healthy() {
            return Err(AppendError::Unavailable.into());
        }
        let rule = |method, path| rule(&method, path).ok_or_else(AdminProblem::not_found);
        let role = actor.role_for(rule(Method::GET, SUBJECT)?);
        let detail = if role.is_ok() { EvaluationDetail::Reasons } else { EvaluationDetail::Decision };
        let evaluated = evaluate(&self.shared, body, detail, Timestamp::now());
        let Evaluated { answer, told } =
            evaluated.map_err(|error| AdminProblem::malformed(error.to_string()))?;
        if actor.name().is_some() {
            let act = PendingAct { role: role.ok().flatten(), rule: rule(Method::POST, path)?, actor };
            self.record_looks(&act, told.iter().map(ActObject::EvaluatedPerson), reason).await?;
        }
        Ok(answer)
    }
}

fn with_request_id(request: &HeaderMap, answer: Value) -> Response {
    let mut response = Json(answer).into_response();
    response.headers_mut().extend(request.get(&REQUEST_ID).map(|id| (REQUEST_ID, id.clone())));
    response
}
