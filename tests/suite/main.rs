//! Tests through the public surface.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod oracle;
