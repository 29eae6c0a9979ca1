//! The library without the gateway: the application of `examples/axum.rs`, called without a socket.

use std::path::Path;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use purposegate::{assembly, config, ledger};
use serde_json::{Value, json};
use tower::ServiceExt;

#[allow(dead_code, reason = "the example's own main is not called")]
#[path = "../../examples/axum.rs"]
mod example;

/// The key of the example's recipient, as its documentation has it.
const KEY: &str = "pgk_example_00000000";

async fn get(application: &Router, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    let mut request = Request::get(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = application.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (
        status,
        serde_json::from_slice(&body).unwrap_or(Value::String(String::from_utf8_lossy(&body).into_owned())),
    )
}

#[tokio::test]
async fn an_axum_application_answers_each_recipient_with_what_the_policy_permits() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("examples/axum.toml")).unwrap();
    let file = folder.path().join("axum.toml");
    std::fs::write(&file, text.replace("../policies", root.join("policies").to_str().unwrap())).unwrap();
    let (loaded, findings) = config::load_for_layer(&file);
    assert!(findings.is_empty(), "{findings:#?}");
    let state = assembly::assemble(loaded.unwrap()).unwrap();
    let application = example::application(std::sync::Arc::clone(&state));

    assert_eq!(get(&application, "/health", &[]).await, (StatusCode::OK, json!("ok")));
    let (status, problem) = get(&application, "/customers/42", &[]).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("credential-missing")));

    let asked = [("x-api-key", KEY), ("data-purpose", "customer-support")];
    let unknown = get(&application, "/customers/42", &asked).await;
    assert_eq!(unknown, (StatusCode::OK, json!({ "status": "active" })));

    let event = br#"{"subject": "42", "kind": "notice", "notice": "privacy-2025-01"}"#;
    let (entity, draft) = ledger::parse_line(event, state.ledger.terms()).unwrap();
    state.ledger.append(&entity, draft, None, Timestamp::now()).await.unwrap();
    let known = get(&application, "/customers/42", &asked).await;
    let expected =
        json!({ "id": "42", "name": "Ada Example", "email": "ada@example.org", "status": "active" });
    assert_eq!(known, (StatusCode::OK, expected));
    state.log.flush().await.unwrap();
}
