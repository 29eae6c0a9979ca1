//! JSON schemas of OpenID AuthZEN 1.0, as components of an OpenAPI document, with the members that this decision point
//! reads and returns.
//!
//! The specification lets both sides add members, so these objects are open.

use serde_json::{Value, json};

use super::MAX_EVALUATIONS;
use crate::vocabulary::Operation;

fn reference(component: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{component}") })
}

/// Returns the components of requests and responses.
pub(in crate::gateway) fn components() -> Vec<(&'static str, Value)> {
    vec![
        ("AuthzenSubject", subject()),
        ("AuthzenAction", action()),
        ("AuthzenResource", resource()),
        ("AuthzenContext", request_context()),
        ("AccessEvaluationRequest", evaluation(&["subject", "action", "resource"])),
        ("AccessEvaluationsRequest", evaluations()),
        ("AccessEvaluation", decision()),
        ("AccessEvaluations", decisions()),
        ("AuthzenConfiguration", configuration()),
    ]
}

/// Returns the schema of an id: a text, a whole number, or an id and its namespace.
fn identity(description: &str) -> Value {
    let named = json!({
        "type": "object",
        "properties": { "id": reference("Id"), "namespace": { "type": ["string", "null"], "minLength": 1 } },
        "required": ["id"],
    });
    json!({ "description": description, "anyOf": [reference("Id"), named, { "type": "null" }] })
}

fn subject() -> Value {
    json!({
        "type": "object",
        "description": "The recipient that asks.",
        "properties": {
            "type": { "type": "string", "description": "`recipient`." },
            "id": { "type": "string", "description": "Its configured name." },
            "properties": {
                "type": "object",
                "properties": {
                    "subject": identity("The person who asks, for a recipient that is a data subject."),
                    "controller": identity("The account that the recipient administers."),
                },
            },
        },
        "required": ["type", "id"],
    })
}

fn action() -> Value {
    let operations: Vec<&str> = Operation::ALL.iter().map(|operation| operation.name()).collect();
    let operation = json!({
        "type": ["string", "null"],
        "description": format!("The operation on the data: {}. The default is that of the route.", operations.join(", ")),
    });
    json!({
        "type": "object",
        "description": "The purpose.",
        "properties": {
            "name": { "type": "string", "description": "Name of the purpose." },
            "properties": { "type": "object", "properties": { "operation": operation } },
        },
        "required": ["name"],
    })
}

fn resource() -> Value {
    json!({
        "type": "object",
        "description": "A data category of a person.",
        "properties": {
            "type": { "type": "string", "description": "`data-category`." },
            "id": { "type": "string", "description": "Name of the category." },
            "properties": {
                "type": "object",
                "properties": {
                    "subject": identity("The person."),
                    "controller": identity("The account, for service data."),
                },
            },
        },
        "required": ["type", "id"],
    })
}

fn request_context() -> Value {
    json!({
        "type": ["object", "null"],
        "properties": {
            "route": { "type": ["string", "null"], "description": "Name of a route whose policy and purposes count." },
            "case": { "type": ["string", "null"], "description": "Id of a disclosure case." },
        },
    })
}

fn evaluation(required: &[&str]) -> Value {
    json!({
        "type": "object",
        "properties": {
            "subject": reference("AuthzenSubject"),
            "action": reference("AuthzenAction"),
            "resource": reference("AuthzenResource"),
            "context": reference("AuthzenContext"),
        },
        "required": required,
    })
}

/// An evaluation takes what it lacks from the batch. Without evaluations, the batch itself is one.
fn evaluations() -> Value {
    let mut batch = evaluation(&[]);
    let semantics = json!({
        "type": "string",
        "enum": ["execute_all", "deny_on_first_deny", "permit_on_first_permit"],
        "default": "execute_all",
    });
    let more = [
        ("evaluations", json!({ "type": "array", "maxItems": MAX_EVALUATIONS, "items": evaluation(&[]) })),
        ("options", json!({ "type": "object", "properties": { "evaluations_semantic": semantics } })),
    ];
    if let Some(properties) = batch.get_mut("properties").and_then(Value::as_object_mut) {
        properties.extend(more.map(|(name, schema)| (name.to_owned(), schema)));
    }
    if let Some(batch) = batch.as_object_mut() {
        let alone = json!({ "required": ["subject", "action", "resource"] });
        let several = json!({
            "required": ["evaluations"],
            "properties": { "evaluations": { "type": "array", "minItems": 1 } },
        });
        batch.insert("anyOf".to_owned(), json!([alone, several]));
        batch.remove("required");
    }
    batch
}

/// Returns the schema of one decision for each evaluation, or of the one decision on a request without evaluations.
fn decisions() -> Value {
    let several = json!({
        "type": "object",
        "properties": { "evaluations": { "type": "array", "items": reference("AccessEvaluation") } },
        "required": ["evaluations"],
        "additionalProperties": false,
    });
    json!({ "anyOf": [several, reference("AccessEvaluation")] })
}

fn decision() -> Value {
    let obligation = json!({
        "type": "object",
        "properties": { "id": { "const": "redact" }, "form": reference("Form") },
        "required": ["id", "form"],
    });
    let nearest = json!({
        "type": "object",
        "properties": {
            "rule": { "type": "string" },
            "clauses": { "type": "array", "items": { "type": "string" } },
            "lacks": { "type": "array", "items": { "type": "string" } },
        },
        "required": ["rule", "clauses", "lacks"],
        "additionalProperties": false,
    });
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let error = json!({
        "type": "object",
        "properties": { "status": { "const": 400 }, "message": { "type": "string" } },
        "required": ["status", "message"],
    });
    let context = json!({
        "type": "object",
        "description": "If the request names a person, `clauses`, `rules`, `basis`, `reason_admin`, `nearest` and a `reason` that depends on the person tell facts about them: they are there only for somebody who may use `GET /v1/subjects/{id}`.",
        "properties": {
            "form": reference("Form"),
            "policy": { "type": "string", "description": "Revision of the policy." },
            "position": reference("LedgerPlace"),
            "ask_again_at": { "type": "string", "format": "date-time", "description": "Time at which the decision ends by itself." },
            "clauses": texts,
            "rules": texts,
            "basis": { "anyOf": [reference("Basis"), { "type": "null" }] },
            "obligations": { "type": "array", "items": obligation },
            "reason": { "type": ["string", "null"], "description": "A reason as in the log, or the code with which a request would be refused." },
            "reason_admin": { "type": "object", "additionalProperties": { "type": "string" }, "description": "A sentence on what was missing, by language." },
            "nearest": { "type": "array", "items": nearest, "description": "The rules that are nearest to a release, and what each lacked." },
            "error": error,
        },
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": { "decision": { "type": "boolean" }, "context": context },
        "required": ["decision"],
        "additionalProperties": false,
    })
}

fn configuration() -> Value {
    let url = json!({ "type": "string", "format": "uri" });
    json!({
        "type": "object",
        "properties": {
            "policy_decision_point": url,
            "access_evaluation_endpoint": url,
            "access_evaluations_endpoint": url,
        },
        "required": ["policy_decision_point", "access_evaluation_endpoint"],
    })
}
