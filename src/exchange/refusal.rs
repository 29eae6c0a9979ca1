//! Refusals: the reason for which an exchange ends without the data, its status and its problem document (RFC 9457).
//!
//! A refusal is a value, not an error. Everything unknown is refused. Invariant: a refusal holds no subject, no field
//! and no rule about anybody.

use std::borrow::Cow;

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $code:literal, $title:literal, $detail:literal;)+) => {
        /// The reason of a refusal. The set is closed and public: see `docs/problem-codes.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $($(#[$doc])* #[doc = concat!($title, ": `", $code, "`, status ", stringify!($status), ".")] $variant,)+
            /// The upstream answered with this 4xx or 5xx; its body and reason phrase are not forwarded.
            UpstreamRefused(StatusCode),
        }

        impl Refusal {
            /// Every reason but [`Refusal::UpstreamRefused`], in the order of their statuses.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$variant,)+];

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                match self {
                    $(Refusal::$variant => StatusCode::from_u16($status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),)+
                    Refusal::UpstreamRefused(status) => status,
                }
            }

            /// The stable code: the last part of the problem's `type`, and a label of the metrics.
            pub fn code(self) -> &'static str {
                match self {
                    $(Refusal::$variant => $code,)+
                    Refusal::UpstreamRefused(_) => "upstream-refused",
                }
            }

            fn title(self) -> &'static str {
                match self {
                    $(Refusal::$variant => $title,)+
                    Refusal::UpstreamRefused(_) => "The upstream refused the request",
                }
            }

            fn detail(self) -> &'static str {
                match self {
                    $(Refusal::$variant => $detail,)+
                    Refusal::UpstreamRefused(_) => "The API behind the gateway answered with this status. Its own words may hold personal data and are not forwarded.",
                }
            }
        }
    };
}

refusals! {
    PurposeMissing = 400 "purpose-missing", "No purpose was declared",
        "Say in the purpose header what you want the data for, by the name of a purpose.";
    PurposeMalformed = 400 "purpose-malformed", "The purpose cannot be read",
        "The purpose header holds exactly one RFC 9651 item: a token or a string, parameters allowed, 256 bytes at most.";
    PurposeUnknown = 400 "purpose-unknown", "There is no such purpose",
        "The declared purpose is not in the vocabulary of the policy.";
    LegalBasisAsPurpose = 400 "legal-basis-as-purpose", "A legal basis is not a purpose",
        "Declare what the data is for. The legal basis follows from the policy.";
    RequestMalformed = 400 "request-malformed", "The request is malformed",
        "The request line, the authority, the path, a header or the body is not what this gateway accepts. Nothing is normalised: send the canonical spelling.";
    CredentialMissing = 401 "credential-missing", "No credential",
        "Send an API key (`Authorization: Bearer` or `X-Api-Key`) or a registered client certificate.";
    CredentialInvalid = 401 "credential-invalid", "The credential is not valid",
        "The credential is unknown, or two credentials name different recipients.";
    PurposeNotPermitted = 403 "purpose-not-permitted", "Not for this purpose",
        "Your registration, your credential or this route does not cover the declared purpose.";
    RecipientSuspended = 403 "recipient-suspended", "The recipient is suspended",
        "Releases to you are suspended for now.";
    AgreementNotInForce = 403 "agreement-not-in-force", "No agreement in force",
        "Your kind of recipient needs an agreement in force, and there is none today.";
    LegalReferenceMissing = 403 "legal-reference-missing", "No legal reference",
        "An authority receives data under a registered disclosure case only: cite one that is in force for you and this purpose.";
    NoRulePermits = 403 "no-rule-permits", "No rule permits this",
        "No rule lets anything leave to your kind of recipient for this purpose and operation.";
    SubjectWithheld = 403 "subject-withheld", "Withheld",
        "Something in the answer may not be released to you, and this route releases all or nothing.";
    NotFound = 404 "not-found", "Not found",
        "There is nothing here.";
    ReceiptPending = 404 "receipt-pending", "The receipt is not ready",
        "No checkpoint covers the decision yet.";
    MethodNotAllowed = 405 "method-not-allowed", "Method not allowed",
        "This route does not serve that method.";
    RequestTimeout = 408 "request-timeout", "The request took too long",
        "The request did not arrive in time.";
    DecisionPruned = 410 "decision-pruned", "The decision is no longer on record",
        "The retention period of the disclosure log is over.";
    BodyTooLarge = 413 "body-too-large", "The request body is too large",
        "The request body is larger than this route accepts.";
    UriTooLong = 414 "uri-too-long", "The request target is too long",
        "The request target is longer than 8 KiB.";
    ExpectationFailed = 417 "expectation-failed", "The expectation cannot be met",
        "The only expectation that is met is `100-continue`.";
    AuthorityNotServed = 421 "authority-not-served", "This authority is not served here",
        "The authority of the request is not one of this listener's.";
    QueryOnWithheldField = 422 "query-on-withheld-field", "The query uses a field you may not see",
        "Filtering, sorting or expanding by what you may not see would tell you about it. Only the parameters and values that the route lists pass.";
    TooManyRequests = 429 "too-many-requests", "Too many requests",
        "Come back later.";
    HeadersTooLarge = 431 "headers-too-large", "The request headers are too large",
        "At most 64 header fields of 16 KiB together are accepted.";
    MethodNotImplemented = 501 "method-not-implemented", "The method is not implemented",
        "The gateway does not know this method.";
    UpstreamUnreadable = 502 "upstream-unreadable", "The upstream's answer cannot be read",
        "What the API behind the gateway answered cannot be judged field by field, so none of it leaves.";
    UpstreamUnreachable = 502 "upstream-unreachable", "The upstream cannot be reached",
        "The API behind the gateway cannot be reached.";
    LedgerUnavailable = 503 "ledger-unavailable", "The ledger is unavailable",
        "What people have consented to cannot be looked up, so nothing leaves.";
    AuditUnavailable = 503 "audit-unavailable", "The disclosure log is unavailable",
        "What leaves must be on record, and the record cannot be written, so nothing leaves.";
    LedgerStale = 503 "ledger-stale", "The ledger is stale",
        "What is known about people is older than the gateway accepts.";
    Overloaded = 503 "overloaded", "Overloaded",
        "The gateway is at its limit. Come back later.";
    UpstreamTimeout = 504 "upstream-timeout", "The upstream took too long",
        "The API behind the gateway did not answer in time.";
}

/// The document that a recipient reads (RFC 9457, `application/problem+json`).
#[derive(Debug, Serialize)]
pub struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    pub(crate) detail: Cow<'a, str>,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permitted_purposes: Option<Vec<&'a str>>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after: Option<u32>,
    /// The members of the upstream's error that the route maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<&'a Value>,
}

impl Refusal {
    /// The refusals caused by the upstream. Alerts count them by upstream.
    pub const OF_UPSTREAM: [Refusal; 3] =
        [Refusal::UpstreamUnreachable, Refusal::UpstreamTimeout, Refusal::UpstreamUnreadable];

    /// Returns every code: those of [`Refusal::ALL`], and `upstream-refused`.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        let of_upstream = Refusal::UpstreamRefused(StatusCode::BAD_GATEWAY);
        Refusal::ALL.iter().copied().chain([of_upstream]).map(Refusal::code)
    }

    /// True if the problem document names the purposes that the recipient may use.
    pub(crate) fn is_about_purpose(self) -> bool {
        matches!(
            self,
            Refusal::PurposeMissing
                | Refusal::PurposeUnknown
                | Refusal::LegalBasisAsPurpose
                | Refusal::PurposeNotPermitted
        )
    }

    /// Seconds after which a new attempt makes sense; `None` if it makes none.
    pub fn retry_after(self) -> Option<u32> {
        matches!(
            self,
            Refusal::TooManyRequests
                | Refusal::ReceiptPending
                | Refusal::LedgerUnavailable
                | Refusal::AuditUnavailable
                | Refusal::LedgerStale
                | Refusal::Overloaded
        )
        .then_some(1)
    }

    /// Returns the refusal on a route that hides existence: a denied record looks like an absent one.
    #[must_use]
    pub fn hiding_existence(self) -> Refusal {
        match self {
            // An unreadable body would disclose that the record exists.
            Refusal::SubjectWithheld | Refusal::UpstreamUnreadable => Refusal::NotFound,
            Refusal::UpstreamRefused(
                StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::CONFLICT
                | StatusCode::GONE
                | StatusCode::LOCKED
                | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            ) => Refusal::NotFound,
            other => other,
        }
    }

    /// True if the bytes that follow on the connection may not be a request.
    pub fn closes_connection(self) -> bool {
        matches!(self, Refusal::RequestMalformed | Refusal::BodyTooLarge | Refusal::RequestTimeout)
    }

    /// Returns the problem document. `permitted_purposes` are the purposes of the recipient itself, if the refusal is
    /// about the purpose.
    pub fn problem<'a>(
        self,
        decision: Option<&'a str>,
        contact: Option<&'a str>,
        permitted_purposes: Option<Vec<&'a str>>,
    ) -> Problem<'a> {
        Problem {
            kind: format!("urn:purposegate:problem:{}", self.code()),
            title: self.title(),
            status: self.status().as_u16(),
            detail: self.detail().into(),
            code: self.code(),
            decision,
            contact,
            permitted_purposes,
            retry_after: self.retry_after(),
            upstream: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_an_error_status_and_a_unique_code() {
        let mut codes: Vec<&str> = Refusal::codes().collect();
        assert!(
            Refusal::ALL
                .iter()
                .all(|refusal| refusal.status().is_client_error() || refusal.status().is_server_error())
        );
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Refusal::ALL.len() + 1);
    }
}
