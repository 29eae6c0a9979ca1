//! Tests of reading.

mod accounts;
mod documented_reader;
mod ended;
mod folder_log;
mod former_log;
mod lookups;
mod missing_days;
mod model_comparison;
