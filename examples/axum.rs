//! An axum application with the layer around one of its routes: `GET /customers/{id}` answers each recipient with what
//! the policy permits for the declared purpose, `GET /health` is not touched.
//!
//! Run it in the repository, then ask as the registered recipient:
//!
//! ```sh
//! cargo run --example axum -- examples/axum.toml &
//! curl -i http://127.0.0.1:3000/customers/42 -H 'X-Api-Key: pgk_example_00000000' -H 'Data-Purpose: customer-support'
//! ```

#![allow(clippy::print_stderr, reason = "findings are for the terminal")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::Path as PathParameters;
use axum::routing::get;
use purposegate::exchange::SharedState;
use purposegate::layer::PurposeLayer;
use purposegate::{assembly, config};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "examples/axum.toml".into());
    let (loaded, findings) = config::load_for_layer(Path::new(&file));
    for finding in &findings {
        eprintln!("{finding}");
    }
    let state = assembly::assemble(loaded.ok_or("the configuration cannot be used")?)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, application(state)).await?;
    Ok(())
}

/// Returns the application: one route behind the layer, one beside it.
pub(crate) fn application(state: Arc<SharedState>) -> Router {
    Router::new()
        .route("/customers/{id}", get(customer))
        .layer(PurposeLayer::new(state))
        .route("/health", get(|| async { "ok" }))
}

/// The handler knows nothing of purposes: it answers with all that it has.
async fn customer(PathParameters(id): PathParameters<String>) -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({
        "id": id,
        "name": "Ada Example",
        "email": "ada@example.org",
        "status": "active",
        "internal_note": "prefers to be called in the morning",
    }))
}
