//! Requests of people: those that nobody has answered yet, and those that were answered.
//!
//! Both lists name people, so who reads one is on record.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::AdminApi;
use super::act::{ActObject, PendingAct};
use super::openapi::PositionHeader;
use super::openapi::problems::{ListedPeopleProblems, StoredPeopleProblems};
use super::problem::AdminProblem;
use super::request::{QueryOf, ReasonQuery};
use crate::ledger::{AnsweredRequest, Position};

/// Default number of answered requests of a page.
const PAGE: usize = 50;
/// Maximum number of answered requests of a page.
const MAX_PAGE: usize = 500;

/// The query of the answered requests.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AnsweredQuery {
    /// Maximum number of requests.
    #[param(minimum = 1, maximum = 500, nullable = false)]
    limit: Option<usize>,
    /// The `next` of the page before.
    #[param(max_length = 19, pattern = "^[0-9]{1,19}$", nullable = false)]
    cursor: Option<String>,
    /// Why the resource is used. Required where tokens or certificates are configured, and recorded.
    #[param(
        min_length = 1,
        max_length = 500,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        nullable = false
    )]
    reason: Option<String>,
}

/// Lists the requests of data subjects that nobody has answered yet.
#[utoipa::path(
    get, path = "/v1/requests", operation_id = "listRequests", tag = "subjects",
    params(ReasonQuery, PositionHeader),
    responses((status = 200, description = "The requests, ordered by due date.", body = ref("#/components/schemas/OpenRequests")), ListedPeopleProblems)
)]
pub(super) async fn requests(
    State(admin): State<AdminApi>,
    act: PendingAct,
    QueryOf(query): QueryOf<ReasonQuery>,
) -> Result<Json<Value>, AdminProblem> {
    admin.record_act(&act, ActObject::Worklist, query.reason.as_deref()).await?;
    let now = Timestamp::now();
    let open = admin.shared.ledger.requests();
    Ok(Json(open.iter().map(|request| Value::Object(request.json(now))).collect()))
}

/// Lists the requests of data subjects that were answered, the last answer on record first.
///
/// A page can end before `limit`, when much of the ledger had to be read for it; the list goes on at `next`.
#[utoipa::path(
    get, path = "/v1/requests/answered", operation_id = "listAnsweredRequests", tag = "subjects",
    params(AnsweredQuery, PositionHeader),
    responses((status = 200, description = "The requests.", body = ref("#/components/schemas/AnsweredRequests")), StoredPeopleProblems)
)]
pub(super) async fn answered(
    State(admin): State<AdminApi>,
    act: PendingAct,
    QueryOf(query): QueryOf<AnsweredQuery>,
) -> Result<Json<Value>, AdminProblem> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(AdminProblem::malformed(format!("`limit` is from 1 to {MAX_PAGE}")));
    }
    let before = query.cursor.as_deref().map(answer_cursor).transpose()?;
    admin.record_act(&act, ActObject::People, query.reason.as_deref()).await?;
    let (answered, next) = admin.answered_requests(before, limit).await?;
    let requests: Vec<Value> = answered.iter().map(|request| Value::Object(request.json())).collect();
    Ok(Json(json!({ "requests": requests, "next": next.map(|next| next.to_string()) })))
}

/// Reads the cursor of a page of answered requests.
pub(in crate::gateway) fn answer_cursor(text: &str) -> Result<Position, AdminProblem> {
    let is_number = text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit());
    let position = text.parse().ok().filter(|_| is_number);
    position.map(Position).ok_or_else(|| AdminProblem::malformed("`cursor` is not the `next` of a page"))
}

impl AdminApi {
    /// Returns answered requests, the last answer on record first: the ones before a position, or all. Also returns the position
    /// to go on before. They name people.
    pub(in crate::gateway) async fn answered_requests(
        &self,
        before: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<AnsweredRequest>, Option<Position>), AdminProblem> {
        self.read_ledger(move |archive| archive.answered_requests(before, limit)).await
    }
}
