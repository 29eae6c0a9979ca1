//! Tests of the public interface: HTTP, the program and the library.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::string_slice,
    reason = "a test may fail by panicking, and says what it skips"
)]

mod access;
mod admin_access;
mod alert_metrics;
mod book;
mod cases;
mod circumstances;
mod client_certificates;
mod command_line;
mod commands;
mod configuration_schema;
mod console_browser;
mod dashboard_expressions;
mod dashboards;
mod decisions;
mod disclosure_crashes;
mod discover;
mod documents;
mod drain;
mod expired_data;
mod explain;
mod findings;
mod fixtures;
mod former_recipients;
mod gateway;
mod http;
mod in_flight;
mod issuer_keys;
mod json_schema;
mod jsonpath_compliance;
mod ledger;
mod ledger_copy;
mod ledger_gateways;
mod ledger_postgres;
mod ledger_server;
mod ledger_sharers;
mod ledger_url;
mod library;
mod listener_limits;
mod log_privacy;
mod log_questions;
mod log_verification;
mod lost_log;
mod notices;
mod observe_findings;
mod observed_routes;
mod openapi;
mod operations;
mod opt_out;
mod oracle;
mod overload;
mod page_commands;
mod page_walk;
mod pages;
mod payloads;
mod places_and_dates;
mod policy_commands;
mod policy_pack_guide;
#[allow(dead_code, reason = "the store's own tests use the rest")]
#[path = "../../src/ledger/store/postgres/rig.rs"]
mod postgres_server;
mod probes;
mod process;
mod processing_record;
mod program;
mod prometheus;
mod proxies;
mod record_push;
mod refusals;
mod releases;
mod remote_administration;
mod requests;
mod restarts;
mod several_logs;
mod shared_ledger;
mod snapshots;
mod source;
mod sslyze;
mod strata;
mod streams;
mod style;
mod subject_ids;
mod subjects;
mod tls;
mod tls_server;
mod tls_upstream;
mod token_issuer;
mod token_recipients;
mod traces;
mod tutorial;
mod unclassified;
mod upstream;
mod upstream_answers;
mod upstream_errors;
mod upstream_http2;
mod upstream_keys;
mod upstream_tls;
mod versions;
mod warnings;
mod web_driver;
mod well_known;
mod whole_bodies;
