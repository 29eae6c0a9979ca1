//! The problem documents that operations can return, by their codes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::IntoResponses;
use utoipa::openapi::{
    AllOfBuilder, ContentBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, ResponsesBuilder,
    Type,
};

use crate::gateway::admin::problem::AdminCode;

/// Codes that every operation can return.
const OF_ALL: &[AdminCode] = &[AdminCode::RequestForeign, AdminCode::RequestMalformed];
/// Codes that every operation can return that needs a credential.
const OF_ACTORS: &[AdminCode] = &[
    AdminCode::CredentialMissing,
    AdminCode::CredentialInvalid,
    AdminCode::RoleMissing,
    AdminCode::TooManyRequests,
];

/// Problems of operations for anyone.
pub(in crate::gateway::admin) struct ProcessProblems;

impl IntoResponses for ProcessProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(OF_ALL.iter())
    }
}

/// Declares sets of problems: the codes that operations of one sort return beside those of every operation.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $($code:ident),*;)+) => {$(
        $(#[$doc])*
        pub(in crate::gateway::admin) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses(OF_ALL.iter().chain(OF_ACTORS).chain(&[$(AdminCode::$code),*]))
            }
        }
    )+};
}

problems! {
    /// Problems of the exposition.
    MetricsProblems: MetricsUnavailable;
    /// Problems of operations that read what is in memory.
    ReadProblems: LedgerStale;
    /// Problems of operations that read about one route.
    RouteProblems: NotFound, LedgerStale;
    /// Problems of operations that list people who are in memory.
    ListedPeopleProblems: LedgerStale, ReasonMissing, AuditUnavailable;
    /// Problems of operations that list notices, requests or cases from the ledger's store.
    StoredPeopleProblems: LedgerStale, LedgerUnavailable, ReasonMissing, AuditUnavailable;
    /// Problems of operations that close a notice.
    NoticeProblems: NotFound, LedgerStale, LedgerUnavailable, ReasonMissing, AuditUnavailable;
    /// Problems of operations that show what is on record about a person.
    PersonProblems: EventMalformed, NotFound, LedgerStale, LedgerUnavailable, ReasonMissing, AuditUnavailable;
    /// Problems of operations that read ledger and disclosure log.
    LogProblems: EventMalformed, NotFound, LedgerStale, LedgerUnavailable, ReasonMissing, AuditUnavailable, ReportUnavailable;
    /// Problems of operations that read one record of the disclosure log.
    DecisionProblems: NotFound, LedgerStale, ReasonMissing, AuditUnavailable;
    /// Problems of the list of decisions.
    DecisionListProblems: LedgerStale, ReasonMissing, AuditUnavailable;
    /// Problems of receipts.
    ReceiptProblems: NotFound, ReceiptPending, DecisionPruned, LedgerStale, ReasonMissing, AuditUnavailable;
    /// Problems of operations that record an event.
    EventProblems: EventMalformed, NotFound, EventConflict, IdempotencyKeyReused, BodyTooLarge, RequestTimeout, LedgerStale,
        LedgerUnavailable;
    /// Problems of an import. A line that is not recorded has its result.
    BatchProblems: BodyTooLarge, RequestTimeout, LedgerStale;
    /// Problems of access evaluations.
    EvaluationProblems: BodyTooLarge, RequestTimeout, LedgerStale, LedgerUnavailable, AuditUnavailable;
}

/// Returns one response for each status.
fn responses<'c>(codes: impl Iterator<Item = &'c AdminCode>) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
    for code in codes {
        let (name, status) = code.parts();
        by_status.entry(status.as_u16()).or_default().push(name);
    }
    let all = by_status.into_iter().map(|(status, codes)| (status.to_string(), response(codes)));
    ResponsesBuilder::new().responses_from_iter(all).build().responses.into_iter().collect()
}

/// Returns the response with one of these codes.
fn response(mut codes: Vec<&'static str>) -> Response {
    codes.sort_unstable();
    let names: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes));
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name("Problem"))
        .item(ObjectBuilder::new().property("code", code).required("code"));
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(names.join(", ")).content("application/problem+json", content).build()
}

/// Returns the schema of a problem document.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457).",
        "properties": {
            "type": { "type": "string", "format": "uri", "description": "`urn:purposegate:problem:CODE`." },
            "title": { "type": "string", "description": "The status in words." },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string", "description": "A sentence on this request." },
            "code": { "type": "string", "description": "A stable code." },
        },
        "required": ["type", "title", "status", "detail", "code"],
        "additionalProperties": false,
    })
}
