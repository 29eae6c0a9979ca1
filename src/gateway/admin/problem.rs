//! Problem documents of the admin API (RFC 9457).

use http::StatusCode;
use serde_json::json;

use super::{AdminResponse, response};
use crate::disclosure::ReadError;
use crate::ledger::{self, AppendError};

/// The reason why the admin API cannot serve a request.
#[derive(Debug)]
pub(super) struct AdminProblem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl AdminProblem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> AdminProblem {
        AdminProblem { status, code, detail: detail.into() }
    }

    pub(super) fn not_found() -> AdminProblem {
        AdminProblem::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this path")
    }

    pub(super) fn malformed(detail: impl Into<String>) -> AdminProblem {
        AdminProblem::new(StatusCode::BAD_REQUEST, "request-malformed", detail)
    }

    /// Names the file: with several logs, an operator has to know which one cannot be read.
    pub(super) fn log_unreadable(error: &ReadError) -> AdminProblem {
        tracing::warn!(error = error as &dyn std::error::Error, "a disclosure log cannot be read");
        AdminProblem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "audit-unavailable",
            format!("a disclosure log cannot be read: {error}"),
        )
    }

    pub(super) fn ledger_stale() -> AdminProblem {
        AdminProblem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ledger-stale",
            "this gateway does not know the event of `Ledger-Position` yet",
        )
    }

    pub(super) fn into_response(self) -> AdminResponse {
        let body = json!({
            "type": format!("urn:purposegate:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        response(self.status, "application/problem+json", body.to_string())
    }
}

impl From<AppendError> for AdminProblem {
    fn from(error: AppendError) -> Self {
        let detail = error.to_string();
        let (status, code) = match error {
            AppendError::Event(_) | AppendError::Future => (StatusCode::BAD_REQUEST, "event-malformed"),
            AppendError::Conflict(ledger::Conflict::CaseUnknown) => (StatusCode::NOT_FOUND, "not-found"),
            AppendError::Conflict(_) => (StatusCode::CONFLICT, "event-conflict"),
            AppendError::KeyReused => (StatusCode::CONFLICT, "idempotency-key-reused"),
            AppendError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ledger-unavailable"),
        };
        AdminProblem::new(status, code, detail)
    }
}

impl From<ledger::EventError> for AdminProblem {
    fn from(error: ledger::EventError) -> Self {
        AdminProblem::new(StatusCode::BAD_REQUEST, "event-malformed", error.to_string())
    }
}

impl From<ledger::StoreError> for AdminProblem {
    fn from(_: ledger::StoreError) -> Self {
        AdminProblem::new(StatusCode::SERVICE_UNAVAILABLE, "ledger-unavailable", "the ledger cannot be read")
    }
}
