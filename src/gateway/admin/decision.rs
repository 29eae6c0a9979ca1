//! Records of decisions in the disclosure logs.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use ulid::Ulid;
use utoipa::IntoParams;

use super::AdminApi;
use super::act::{ActObject, PendingAct};
use super::openapi::PositionHeader;
use super::openapi::problems::{DecisionListProblems, DecisionProblems, ReceiptProblems};
use super::problem::{AdminCode, AdminProblem};
use super::request::{DecisionPath, PathText, QueryOf, ReasonQuery};
use crate::disclosure::SearchEffort;
use crate::disclosure::questions::{Answer, AnswerCursor, LogQuestion, MAX_ANSWER};
use crate::disclosure::receipt::{DecisionReceipt, ReceiptState};

/// Default number of decisions of an answer.
const DECISIONS: usize = 50;

/// The query of the list of decisions. Each member that is present narrows the list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct DecisionsQuery {
    /// Configured name of the recipient.
    #[param(nullable = false)]
    pub(in crate::gateway) recipient: Option<String>,
    /// The accepted purpose.
    #[param(nullable = false)]
    pub(in crate::gateway) purpose: Option<String>,
    /// Configured name of the route.
    #[param(nullable = false)]
    pub(in crate::gateway) route: Option<String>,
    /// The outcome: `released`, `aborted` or `refused:CODE`.
    #[param(nullable = false)]
    pub(in crate::gateway) outcome: Option<String>,
    /// The case that the request cited.
    #[param(nullable = false)]
    pub(in crate::gateway) case: Option<String>,
    /// Only exchanges that began at this time or later.
    #[param(value_type = Option<String>, format = DateTime, nullable = false)]
    pub(in crate::gateway) since: Option<Timestamp>,
    /// Maximum number of decisions.
    #[param(minimum = 1, maximum = 500, nullable = false)]
    pub(in crate::gateway) limit: Option<usize>,
    /// The `cursor` of the answer before.
    #[param(max_length = 8256, pattern = "^2([0-9a-f]{64}[01]){0,127}$", nullable = false)]
    pub(in crate::gateway) cursor: Option<String>,
    /// Why the resource is used; recorded.
    #[param(
        min_length = 1,
        max_length = 500,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        nullable = false
    )]
    pub(in crate::gateway) reason: Option<String>,
}

/// Lists decisions, newest first.
///
/// An answer can end before `limit`, when much had to be read for it; it goes on at its cursor. A cursor stays valid while
/// the log grows. The log of an earlier version is not searched: `complete` is false then, and `logs` says how to read it.
#[utoipa::path(
    get, path = "/v1/decisions", operation_id = "listDecisions", tag = "decisions",
    params(DecisionsQuery, PositionHeader),
    responses((status = 200, description = "The decisions.", body = ref("#/components/schemas/Decisions")), DecisionListProblems)
)]
pub(super) async fn decisions(
    State(admin): State<AdminApi>,
    act: PendingAct,
    QueryOf(query): QueryOf<DecisionsQuery>,
) -> Result<Json<Value>, AdminProblem> {
    let answer = admin.list_decisions(&act, query).await?;
    Ok(Json(json!({
        "decisions": answer.exchanges,
        "cursor": answer.next.map(|cursor| cursor.text()),
        "complete": answer.logs.iter().all(|log| log.fault.is_none()),
        "logs": answer.logs,
    })))
}

/// Returns the proof that a decision is on record.
///
/// It has the leaves of the decision's entries and of the entries to which they refer, their inclusion proofs (RFC 6962),
/// and the signed checkpoint. It shows no detail. `purposegate audit key` prints the key that verifies the checkpoint.
#[utoipa::path(
    get, path = "/v1/decisions/{id}/receipt", operation_id = "getReceipt", tag = "decisions",
    params(DecisionPath, ReasonQuery, PositionHeader),
    responses((status = 200, description = "The receipt.", body = ref("#/components/schemas/Receipt")), ReceiptProblems)
)]
pub(super) async fn receipt(
    State(admin): State<AdminApi>,
    act: PendingAct,
    PathText(id): PathText,
    QueryOf(query): QueryOf<ReasonQuery>,
) -> Result<Json<DecisionReceipt>, AdminProblem> {
    admin.record_act(&act, ActObject::Decision(&id), query.reason.as_deref()).await?;
    let decision = Ulid::from_string(&id).map_err(|_| AdminProblem::not_found())?;
    let state = admin.shared.receipt(decision, SearchEffort::Exhaustive).await;
    match state.map_err(|error| AdminProblem::log_unreadable(&error))? {
        ReceiptState::Proven(receipt) => Ok(Json(*receipt)),
        ReceiptState::Pending => Err(AdminProblem::receipt_pending()),
        ReceiptState::Pruned => Err(AdminProblem::new(
            AdminCode::DecisionPruned,
            "the log no longer holds the day of this decision",
        )),
        ReceiptState::Unknown => Err(AdminProblem::not_found()),
    }
}

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
    admin.read_decision(&act, id, query.reason.as_deref()).await.map(Json)
}

impl AdminApi {
    /// Lists decisions, newest first, after the act is on record.
    ///
    /// # Errors
    /// An [`AdminProblem`] if the query cannot be read, or a log.
    pub(in crate::gateway) async fn list_decisions(
        &self,
        act: &PendingAct,
        query: DecisionsQuery,
    ) -> Result<Answer, AdminProblem> {
        let DecisionsQuery { recipient, purpose, route, outcome, case, since, limit, cursor, reason } = query;
        let limit = limit.unwrap_or(DECISIONS);
        if !(1..=MAX_ANSWER).contains(&limit) {
            return Err(AdminProblem::malformed(format!("`limit` is from 1 to {MAX_ANSWER}")));
        }
        let cursor = match cursor.as_deref() {
            None => AnswerCursor::default(),
            Some(text) => AnswerCursor::parse(text)
                .ok_or_else(|| AdminProblem::malformed("`cursor` is none that this resource has returned"))?,
        };
        self.record_act(act, ActObject::Decisions, reason.as_deref()).await?;
        let question =
            LogQuestion { recipient, purpose, route, case, outcome, decision: None, since, until: None };
        let answer = self.shared.ask_logs(question, cursor, limit).await;
        answer.map_err(|error| AdminProblem::log_unreadable(&error))
    }

    /// Returns the record of a decision, after the act is on record.
    ///
    /// # Errors
    /// An [`AdminProblem`] if there is no such decision, or a log cannot be read.
    pub(in crate::gateway) async fn read_decision(
        &self,
        act: &PendingAct,
        id: String,
        reason: Option<&str>,
    ) -> Result<Value, AdminProblem> {
        self.record_act(act, ActObject::Decision(&id), reason).await?;
        match self.shared.logged_decision(id, SearchEffort::Exhaustive).await {
            Ok(Some(found)) => Ok(found.record),
            Ok(None) => Err(AdminProblem::not_found()),
            Err(error) => Err(AdminProblem::log_unreadable(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use utoipa::IntoParams as _;

    use super::*;
    use crate::disclosure::questions::CURSOR_PATTERN;

    #[test]
    fn the_description_of_a_cursor_is_the_pattern_of_its_reader() {
        let described = serde_json::to_value(DecisionsQuery::into_params(|| None)).unwrap();
        let cursor =
            described.as_array().unwrap().iter().find(|parameter| parameter["name"] == "cursor").unwrap();
        assert_eq!(cursor["schema"]["pattern"], CURSOR_PATTERN);
    }
}
