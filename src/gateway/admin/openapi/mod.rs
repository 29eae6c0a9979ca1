//! `GET /openapi.json`: the description of the admin API (OpenAPI 3.1).
//!
//! Paths and parameters come from the handlers, so that no route is missing. The schemas of events come from the table of
//! kinds in the ledger. The terms are those of the loaded vocabulary. Names of recipients and of routes are no part of the
//! document: not everybody who may read it may know them.

mod answers;
pub(super) mod problems;
mod unclassified;

use std::sync::LazyLock;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use self::problems::ReadProblems;
use super::request::{NoParameters, QueryOf};
use super::roles::{RESOURCES, ResourceAccess, ResourceRule};
use super::{AdminApi, routes};
use crate::gateway::authzen;
use crate::ledger::{self, EntityKind, EventForm, TermLookup, any_event, component_name, event_components};

/// Description of the API.
const DESCRIPTION: &str = "The admin API of the gateway: the ledger's events, data subjects, disclosure cases, decisions, access \
                           evaluations, and what is loaded. Errors are problem documents (RFC 9457).";

/// Tags of the operations, with their descriptions.
const TAGS: [(&str, &str); 7] = [
    ("process", "Health, metrics, and this description."),
    ("configuration", "Loaded policies, recipients and routes."),
    ("subjects", "Data subjects: state, history, reports, requests."),
    ("events", "Events of the ledger."),
    ("cases", "Disclosure cases."),
    ("decisions", "Records of the disclosure log."),
    ("access", "OpenID AuthZEN 1.0."),
];

/// The paths of all routes. They do not depend on the configuration.
static PATHS: LazyLock<Value> = LazyLock::new(|| {
    let router: OpenApiRouter<AdminApi> = routes();
    let mut paths = serde_json::to_value(router.into_openapi().paths).unwrap_or_default();
    let items = paths.as_object_mut().into_iter().flat_map(Map::values_mut);
    items.filter_map(Value::as_object_mut).flat_map(Map::values_mut).for_each(require_body);
    paths
});

/// Operations whose body can be left out.
const BODY_OPTIONAL: [&str; 2] = ["endCase", "importEvents"];

/// States that the body of an operation has to be there. The attribute of a handler cannot say so of a reference.
fn require_body(operation: &mut Value) {
    let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
    let is_required = !BODY_OPTIONAL.contains(&id);
    if let Some(body) = operation.get_mut("requestBody").and_then(Value::as_object_mut) {
        body.insert("required".to_owned(), is_required.into());
    }
}

/// The header that names the event which an answer has to know.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes a header that the router reads")]
pub(super) struct PositionHeader {
    /// The `position` of an acknowledgement: the request is answered with the knowledge of that event, or refused
    /// (`ledger-stale`).
    #[param(rename = "Ledger-Position", pattern = "^[A-Za-z0-9_-]{55}$", required = false)]
    position: String,
}

/// The header that names a request which can be repeated.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes a header that an extractor reads")]
pub(super) struct IdempotencyHeader {
    /// A name of the request. A repetition returns the first event, with `"again": true`.
    #[param(rename = "Idempotency-Key", required = false)]
    key: String,
}

/// The header that names an access request.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes a header that a handler reads")]
pub(super) struct RequestIdHeader {
    /// An id of the request, which the response repeats.
    #[param(rename = "X-Request-ID", required = false)]
    id: String,
}

/// Returns this API as an OpenAPI document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getDescription", tag = "process", params(PositionHeader),
    responses((status = 200, description = "The document.", body = serde_json::Value), ReadProblems)
)]
pub(super) async fn description(State(admin): State<AdminApi>, _: QueryOf<NoParameters>) -> Json<Value> {
    let mut document = document(admin.shared.ledger.terms(), admin.needs_credentials());
    let texts = &admin.shared.snapshot().texts;
    describe_languages(&mut document, &texts.tags().collect::<Vec<_>>());
    Json(document)
}

/// Returns the document. `is_secured` tells if requests need a credential.
fn document(terms: &dyn TermLookup, is_secured: bool) -> Value {
    let tags = TAGS.map(|(name, description)| json!({ "name": name, "description": description }));
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "purposegate admin API",
            "description": DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/" }],
        "tags": tags,
        "paths": *PATHS,
        "components": { "schemas": components(terms), "securitySchemes": security_schemes() },
    });
    if is_secured {
        describe_credentials(&mut document);
    }
    document
}

/// Adds what holds where a credential is needed: each operation names the roles that may use it, and a reason has to be
/// given where one is recorded.
fn describe_credentials(document: &mut Value) {
    if let Some(document) = document.as_object_mut() {
        document.insert("security".to_owned(), json!([{ "token": [] }, { "certificate": [] }]));
    }
    for ResourceRule { method, path, access, is_act } in RESOURCES {
        let operation = format!("/paths/{}/{}", path.replace('/', "~1"), method.to_lowercase());
        let Some(operation) = document.pointer_mut(&operation).and_then(Value::as_object_mut) else {
            continue;
        };
        match access {
            ResourceAccess::Anyone => drop(operation.insert("security".to_owned(), json!([]))),
            ResourceAccess::SignedIn => {}
            ResourceAccess::Roles(roles) => {
                let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
                operation.insert("x-roles".to_owned(), names.into());
            }
        }
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        let reasons = parameters
            .into_iter()
            .flatten()
            .filter(|each| *is_act && each.get("name").is_some_and(|name| name == "reason"));
        for reason in reasons.filter_map(Value::as_object_mut) {
            reason.insert("required".to_owned(), true.into());
        }
    }
    // The approver is the actor who is signed in.
    let approval =
        document.pointer_mut("/components/schemas/Approval/required").and_then(Value::as_array_mut);
    approval.into_iter().for_each(|required| required.retain(|name| name != "approver"));
    let body = document.pointer_mut("/paths/~1v1~1cases~1{id}~1approve/post/requestBody/required");
    body.into_iter().for_each(|required| *required = false.into());
}

/// Lists the languages in which there are pages.
fn describe_languages(document: &mut Value, tags: &[&str]) {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let operations = paths
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut);
    let parameters = operations
        .filter_map(|operation| operation.get_mut("parameters").and_then(Value::as_array_mut))
        .flatten()
        .filter(|parameter| parameter.get("name").is_some_and(|name| name == "language"));
    for parameter in parameters.filter_map(Value::as_object_mut) {
        parameter.insert("schema".to_owned(), json!({ "type": "string", "enum": tags }));
    }
}

fn security_schemes() -> Value {
    json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "pga_…",
            "description": "A token of `[admin]`, made by `purposegate admin token`.",
        },
        "certificate": { "type": "mutualTLS", "description": "A client certificate that `[admin]` registers." },
    })
}

/// Returns all schemas.
fn components(terms: &dyn TermLookup) -> Map<String, Value> {
    let with_events = [EntityKind::Subject, EntityKind::Controller, EntityKind::Recipient];
    let all = [EntityKind::Subject, EntityKind::Controller, EntityKind::Recipient, EntityKind::Case];
    let bodies = with_events.into_iter().flat_map(|entity| event_components(EventForm::Body, entity));
    let lines = all.into_iter().flat_map(|entity| event_components(EventForm::Line, entity));
    let recorded = event_components(EventForm::Recorded, EntityKind::Subject);
    let any = [
        ("SubjectEvent", any_event(EventForm::Body, &[EntityKind::Subject])),
        ("ControllerEvent", any_event(EventForm::Body, &[EntityKind::Controller])),
        ("RecipientEvent", any_event(EventForm::Body, &[EntityKind::Recipient])),
        ("EventLine", any_event(EventForm::Line, &all)),
        ("Problem", problems::schema()),
    ];
    let named = ledger::term_components(terms).into_iter().chain(any).chain(events_of_paths());
    let named = named
        .chain(answers::components())
        .chain(unclassified::components())
        .chain(authzen::schema::components());
    let named = named.map(|(name, schema)| (name.to_owned(), schema));
    named.chain(bodies).chain(lines).chain(recorded).collect()
}

/// Returns the schemas of events whose kind follows from the path.
fn events_of_paths() -> Vec<(&'static str, Value)> {
    let of_path = [
        ("Request", EventForm::Body, EntityKind::Subject, "request-received"),
        ("Answer", EventForm::Body, EntityKind::Subject, "request-answered"),
        ("Approval", EventForm::Body, EntityKind::Case, "case-approved"),
        ("CaseEnd", EventForm::Body, EntityKind::Case, "case-ended"),
        ("CaseRegistration", EventForm::Line, EntityKind::Case, "case-registered"),
    ];
    let schema = |(name, form, entity, kind)| {
        let component = component_name(form, kind);
        let mut components = event_components(form, entity).into_iter();
        let (_, schema) = components.find(|(name, _)| *name == component)?;
        Some((name, with_optional_kind(schema)))
    };
    of_path.into_iter().filter_map(schema).collect()
}

/// Returns the schema of an event whose kind follows from the path, and that may leave it out, like the id of a case.
fn with_optional_kind(mut schema: Value) -> Value {
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "kind" && name != "case");
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::VocabularyTerms;

    #[test]
    fn the_languages_of_pages_are_listed() {
        let mut document = document(&VocabularyTerms::standard(), false);
        describe_languages(&mut document, &["en", "de"]);
        for path in ["/v1/subjects/{id}/report", "/v1/recipients/{name}/page"] {
            let parameters = document["paths"][path]["get"]["parameters"].as_array().cloned().unwrap();
            let language = parameters.iter().find(|parameter| parameter["name"] == "language").unwrap();
            assert_eq!(language["schema"], json!({ "type": "string", "enum": ["en", "de"] }), "{path}");
        }
    }

    #[test]
    fn credentials_are_described_only_where_they_are_needed() {
        let terms = VocabularyTerms::standard();
        let (open, secured) = (document(&terms, false), document(&terms, true));
        assert!(open.get("security").is_none() && secured["security"][0].get("token").is_some());
        for ResourceRule { method, path, access, is_act } in RESOURCES {
            let operation = |document: &Value| document["paths"][path][method.to_lowercase()].clone();
            assert!(operation(&open).get("x-roles").is_none(), "{path}");
            let operation = operation(&secured);
            assert_eq!(operation["security"] == json!([]), *access == ResourceAccess::Anyone, "{path}");
            assert_eq!(
                operation.get("x-roles").is_some(),
                matches!(access, ResourceAccess::Roles(_)),
                "{path}"
            );
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let reason = parameters.iter().find(|parameter| parameter["name"] == "reason");
            assert_eq!(reason.is_some_and(|reason| reason["required"] == true), *is_act, "{path}");
        }
        assert_eq!(open["components"]["schemas"]["Approval"]["required"], json!(["approver"]));
        assert_eq!(secured["components"]["schemas"]["Approval"]["required"], json!([]));
    }
}
