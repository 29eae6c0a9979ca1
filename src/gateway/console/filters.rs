//! Filters of the templates.
#![allow(unreachable_pub, reason = "the attribute `filter_fn` makes a public type of a filter")]

use std::fmt::Display;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Encodes a text for a segment of a path or a value of a query.
#[askama::filter_fn]
pub(super) fn encoded(text: impl Display, _: &dyn askama::Values) -> askama::Result<String> {
    Ok(utf8_percent_encode(&text.to_string(), NON_ALPHANUMERIC).to_string())
}
