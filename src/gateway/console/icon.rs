//! The icon that browsers show beside the title.

use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;

const ICON: &str = include_str!("templates/console.svg");

/// Returns the icon. Without one, browsers ask for `/favicon.ico`, which is not there.
pub(super) async fn icon() -> impl IntoResponse {
    ([(CONTENT_TYPE, "image/svg+xml")], ICON)
}
