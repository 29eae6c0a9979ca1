//! Problem documents of the admin API (RFC 9457).

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use crate::config::AdminRole;
use crate::ledger::{self, AppendError};

/// The reason why the admin API does not serve a request, as a stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum AdminCode {
    AuditUnavailable,
    BodyTooLarge,
    CredentialInvalid,
    CredentialMissing,
    DecisionPruned,
    EventConflict,
    EventMalformed,
    IdempotencyKeyReused,
    LedgerStale,
    LedgerUnavailable,
    MethodNotAllowed,
    MetricsUnavailable,
    NotFound,
    ReasonMissing,
    ReceiptPending,
    ReportUnavailable,
    RequestForeign,
    RequestMalformed,
    RequestTimeout,
    RoleMissing,
    TooManyRequests,
}

impl AdminCode {
    /// Returns the code and the status that goes with it.
    pub(super) const fn parts(self) -> (&'static str, StatusCode) {
        match self {
            AdminCode::AuditUnavailable => ("audit-unavailable", StatusCode::SERVICE_UNAVAILABLE),
            AdminCode::BodyTooLarge => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE),
            AdminCode::CredentialInvalid => ("credential-invalid", StatusCode::UNAUTHORIZED),
            AdminCode::CredentialMissing => ("credential-missing", StatusCode::UNAUTHORIZED),
            AdminCode::DecisionPruned => ("decision-pruned", StatusCode::GONE),
            AdminCode::EventConflict => ("event-conflict", StatusCode::CONFLICT),
            AdminCode::EventMalformed => ("event-malformed", StatusCode::BAD_REQUEST),
            AdminCode::IdempotencyKeyReused => ("idempotency-key-reused", StatusCode::CONFLICT),
            AdminCode::LedgerStale => ("ledger-stale", StatusCode::SERVICE_UNAVAILABLE),
            AdminCode::LedgerUnavailable => ("ledger-unavailable", StatusCode::SERVICE_UNAVAILABLE),
            AdminCode::MethodNotAllowed => ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED),
            AdminCode::MetricsUnavailable => ("metrics-unavailable", StatusCode::INTERNAL_SERVER_ERROR),
            AdminCode::NotFound => ("not-found", StatusCode::NOT_FOUND),
            AdminCode::ReasonMissing => ("reason-missing", StatusCode::BAD_REQUEST),
            AdminCode::ReceiptPending => ("receipt-pending", StatusCode::NOT_FOUND),
            AdminCode::ReportUnavailable => ("report-unavailable", StatusCode::INTERNAL_SERVER_ERROR),
            AdminCode::RequestForeign => ("request-foreign", StatusCode::FORBIDDEN),
            AdminCode::RequestMalformed => ("request-malformed", StatusCode::BAD_REQUEST),
            AdminCode::RequestTimeout => ("request-timeout", StatusCode::REQUEST_TIMEOUT),
            AdminCode::RoleMissing => ("role-missing", StatusCode::FORBIDDEN),
            AdminCode::TooManyRequests => ("too-many-requests", StatusCode::TOO_MANY_REQUESTS),
        }
    }
}

/// A request that the admin API does not serve.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct AdminProblem {
    code: AdminCode,
    detail: String,
    /// A header that the status demands.
    header: Option<(HeaderName, HeaderValue)>,
}

impl AdminProblem {
    pub(in crate::gateway) fn new(code: AdminCode, detail: impl Into<String>) -> AdminProblem {
        AdminProblem { code, detail: detail.into(), header: None }
    }

    pub(in crate::gateway) fn not_found() -> AdminProblem {
        AdminProblem::new(AdminCode::NotFound, "there is nothing at this path")
    }

    pub(in crate::gateway) fn malformed(detail: impl Into<String>) -> AdminProblem {
        AdminProblem::new(AdminCode::RequestMalformed, detail)
    }

    /// Names the methods that the resource has.
    pub(in crate::gateway) fn method_not_allowed(allowed: &[&str]) -> AdminProblem {
        let allowed = allowed.join(", ");
        let detail = format!("the methods of this resource are {allowed}");
        let header = HeaderValue::try_from(allowed).ok().map(|allowed| (ALLOW, allowed));
        AdminProblem { header, ..AdminProblem::new(AdminCode::MethodNotAllowed, detail) }
    }

    /// Answers a request without a valid credential (RFC 6750, 3).
    pub(in crate::gateway) fn unauthenticated(code: AdminCode) -> AdminProblem {
        let detail = match code {
            AdminCode::CredentialMissing => {
                "send `Authorization: Bearer` with a token, or a client certificate"
            }
            _ => "no actor is registered under the credential, or the certificate has the names of several",
        };
        let header = Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        AdminProblem { header, ..AdminProblem::new(code, detail) }
    }

    /// Answers a request with two valid credentials of different actors.
    pub(super) fn disagreeing() -> AdminProblem {
        let detail = "the token and the client certificate name different actors";
        AdminProblem {
            detail: detail.to_owned(),
            ..AdminProblem::unauthenticated(AdminCode::CredentialInvalid)
        }
    }

    /// Names the roles of which the actor needs one.
    pub(in crate::gateway) fn role_missing(roles: &[AdminRole]) -> AdminProblem {
        let roles: Vec<String> = roles.iter().map(|role| format!("`{}`", role.name())).collect();
        AdminProblem::new(AdminCode::RoleMissing, format!("this needs the role {}", roles.join(" or ")))
    }

    pub(super) fn too_many_requests(seconds: u64) -> AdminProblem {
        let header = Some((RETRY_AFTER, HeaderValue::from(seconds)));
        AdminProblem { header, ..AdminProblem::new(AdminCode::TooManyRequests, "send fewer requests") }
    }

    /// Returns the status of the answer.
    pub(in crate::gateway) fn status(&self) -> StatusCode {
        self.code.parts().1
    }

    /// Returns the reason in words.
    pub(in crate::gateway) fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the code.
    pub(in crate::gateway) fn code(&self) -> &'static str {
        self.code.parts().0
    }

    /// Names the file: with several logs, an operator has to know which one cannot be read.
    pub(in crate::gateway) fn log_unreadable(error: &(dyn std::error::Error + 'static)) -> AdminProblem {
        tracing::warn!(error, "a disclosure log cannot be read");
        let detail = format!("a disclosure log cannot be read: {error}");
        AdminProblem::new(AdminCode::AuditUnavailable, detail)
    }

    /// Answers before the checkpoint that covers a decision: there is one every second.
    pub(super) fn receipt_pending() -> AdminProblem {
        let header = Some((RETRY_AFTER, HeaderValue::from(1)));
        let detail = "no checkpoint covers the decision yet";
        AdminProblem { header, ..AdminProblem::new(AdminCode::ReceiptPending, detail) }
    }

    /// The ledger's store does not answer.
    pub(super) fn ledger_unavailable() -> AdminProblem {
        AdminProblem::new(AdminCode::LedgerUnavailable, "the ledger's store does not answer; try again later")
    }

    /// The disclosure log cannot be written.
    pub(super) fn audit_unavailable() -> AdminProblem {
        AdminProblem::new(
            AdminCode::AuditUnavailable,
            "the disclosure log cannot be written; try again later",
        )
    }

    pub(super) fn ledger_stale() -> AdminProblem {
        AdminProblem::new(
            AdminCode::LedgerStale,
            "this gateway does not know the event of `Ledger-Position` yet",
        )
    }
}

impl IntoResponse for AdminProblem {
    fn into_response(self) -> Response {
        let AdminProblem { code, detail, header } = self;
        let (code, status) = code.parts();
        let body = json!({
            "type": format!("urn:purposegate:problem:{code}"),
            "title": status.canonical_reason().unwrap_or("error"),
            "status": status.as_u16(),
            "detail": detail,
            "code": code,
        });
        // A store or log that does not answer is asked again soon.
        let again =
            || (status == StatusCode::SERVICE_UNAVAILABLE).then(|| (RETRY_AFTER, HeaderValue::from(1)));
        let headers: HeaderMap = header.or_else(again).into_iter().collect();
        (status, headers, [(CONTENT_TYPE, "application/problem+json")], Json(body)).into_response()
    }
}

impl From<AppendError> for AdminProblem {
    fn from(error: AppendError) -> Self {
        let detail = error.to_string();
        let code = match error {
            AppendError::Event(_) | AppendError::Future => AdminCode::EventMalformed,
            AppendError::Conflict(ledger::Conflict::CaseUnknown) => AdminCode::NotFound,
            AppendError::Conflict(_) => AdminCode::EventConflict,
            AppendError::KeyReused => AdminCode::IdempotencyKeyReused,
            AppendError::Unavailable => AdminCode::LedgerUnavailable,
        };
        AdminProblem::new(code, detail)
    }
}

impl From<ledger::EventError> for AdminProblem {
    fn from(error: ledger::EventError) -> Self {
        AdminProblem::new(AdminCode::EventMalformed, error.to_string())
    }
}

impl From<ledger::SenderError> for AdminProblem {
    fn from(error: ledger::SenderError) -> Self {
        AdminProblem::new(AdminCode::EventMalformed, error.to_string())
    }
}

impl From<ledger::StoreError> for AdminProblem {
    fn from(_: ledger::StoreError) -> Self {
        AdminProblem::new(AdminCode::LedgerUnavailable, "the ledger cannot be read")
    }
}
