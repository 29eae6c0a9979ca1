//! Tests through the public surface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod gate;
mod http;
mod in_flight;
mod oracle;
mod refusals;
mod releases;
mod strata;
mod upstream;
