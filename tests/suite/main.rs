//! Tests through the public surface.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod access;
mod answers;
mod cases;
mod commands;
mod compliance;
mod decisions;
mod documents;
mod explain;
mod findings;
mod gate;
mod guide;
mod http;
mod ids;
mod in_flight;
mod ledger;
mod listener;
mod operations;
mod opt_out;
mod oracle;
mod overdue;
mod own_data;
mod packs;
mod payloads;
mod places;
mod process;
mod processing;
mod refusals;
mod releases;
mod requests;
mod signed;
mod snapshots;
mod strata;
mod streams;
mod subjects;
mod tls;
mod told;
mod upstream;
mod versions;
mod well_known;
