//! Tests of entries.

mod foreign;
mod privacy;
mod round_trip;
pub(in crate::disclosure) mod samples;
mod schema_file;
mod size;
mod strictness;
