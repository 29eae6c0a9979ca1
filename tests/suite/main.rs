//! Tests through the public surface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod gate;
mod http;
mod oracle;
mod refusals;
mod strata;
mod upstream;
