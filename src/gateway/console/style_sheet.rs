//! The style sheet.

use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;

const STYLE_SHEET: &str = include_str!("templates/console.css");

/// Returns the style sheet.
pub(super) async fn style_sheet() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE_SHEET)
}
