//! purposegate: a reverse proxy that lets personal data leave only to a known recipient, for a
//! declared purpose, on a legal basis that allows it at that moment.
//!
//! # Use
//!
//! The `purposegate` command serves the gateway. An application puts [`layer::PurposeLayer`] around its own service
//! instead; `examples/axum.rs` is a whole application. The cargo features `gateway`, `cli`, `demo`, `sqlite` and
//! `postgres`, all on by default, add what their names say.
//!
//! ```no_run
//! use std::convert::Infallible;
//! use std::path::Path;
//!
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use purposegate::layer::PurposeLayer;
//! use purposegate::layer::request_body::RequestBody;
//! use purposegate::{assembly, config};
//! use tower::Layer;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (loaded, findings) = config::load_for_layer(Path::new("purposegate.toml"));
//! # #[cfg(feature = "sqlite")]
//! let state = assembly::assemble(loaded.ok_or_else(|| format!("{findings:?}"))?)?;
//! let records = tower::service_fn(async |_: Request<RequestBody<Full<bytes::Bytes>>>| {
//!     Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::from_static(b"{}"))))
//! });
//! # #[cfg(feature = "sqlite")]
//! let service = PurposeLayer::new(state).layer(records);
//! # Ok(())
//! # }
//! ```
//!
//! # Lexicon
//!
//! One word per thing: types, policy packs, metrics, logs and problem codes use the same word.
//!
//! | word | what it means here | source |
//! | --- | --- | --- |
//! | recipient | the person or organisation that requests the data; has a *kind* (registrar, employee, …) | GDPR Art. 4(9) |
//! | purpose | why the recipient wants the data, declared on the request | GDPR Art. 5(1)(b) |
//! | data category | what a field holds (`email`, `payment-card-number`) | W3C DPV |
//! | legal basis | what makes a disclosure lawful | GDPR Art. 6(1) |
//! | data subject | the person a record is about | GDPR Art. 4(1) |
//! | controller | the customer whose service data a record holds | GDPR Art. 4(7) |
//! | form | the form in which a field leaves: `clear`, `masked`, `generalised`, `pseudonymised`; `removed` for a withheld field | |
//! | rule | a Cedar policy of a *policy pack*, which cites a clause | |
//! | reason | why a field is withheld: `unknown-subject`, `refused`, `prohibited`, … | |
//! | permit | the releases that a decision allows for one record; only [`decision`] makes permits | |
//! | record | the part of a body that is about one data subject (or several) | |
//! | ledger | the consents, objections and restrictions of each data subject | |
//! | disclosure | the release of personal data to a recipient, and its entry in the log | GDPR Art. 4(2) |
//! | withdrawal | the end of a consent, in force from its acknowledgement on | GDPR Art. 7(3) |
//! | exchange | one request and its response | |
//! | listener, upstream, route, body | as in nginx and Envoy | |
//!
//! # Strata
//!
//! A module uses only modules of its own line and of the lines below it; `tests/suite/strata.rs` has the exact list, and
//! checks it.
//!
//! ```text
//! process   main, cli, demo        gateway, assembly, config
//! HTTP      layer -> exchange
//! state     ledger   disclosure   report   notices   keys   credentials
//!           metrics   access_log   log_limit   circumstances   traces
//! pure      scrub -> decision -> policy -> vocabulary   discover   texts
//! shared    finding   document   retention
//! ```

pub mod document;
pub mod finding;
pub mod retention;

pub mod decision;
pub mod discover;
pub mod policy;
pub mod scrub;
pub mod texts;
pub mod vocabulary;

pub mod access_log;
pub mod circumstances;
pub mod credentials;
pub mod disclosure;
pub mod keys;
pub mod ledger;
pub mod log_limit;
pub mod metrics;
pub mod notices;
pub mod report;
pub mod traces;

pub mod exchange;
pub mod layer;

pub mod assembly;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
#[cfg(feature = "gateway")]
pub mod gateway;
