//! purposegate: a reverse proxy that lets personal data leave only to a known recipient, for a
//! declared purpose, on a legal basis that allows it at that moment.
//!
//! # Lexicon
//!
//! One word per thing; types, policy packs, metrics, logs and problem codes use the same one.
//!
//! | word | what it means here | source |
//! | --- | --- | --- |
//! | recipient | who asks and would receive the data; has a *kind* (registrar, employee, …) | GDPR Art. 4(9) |
//! | purpose | why the recipient wants the data, declared on the request | GDPR Art. 5(1)(b) |
//! | data category | what a field holds (`email`, `payment-card-number`) | W3C DPV |
//! | legal basis | what makes a disclosure lawful | GDPR Art. 6(1) |
//! | data subject | the person a record is about | GDPR Art. 4(1) |
//! | controller | whose service data a record is (the customer) | GDPR Art. 4(7) |
//! | form | how a field leaves: `clear`, `masked`, `generalised`, `pseudonymised`, or not: `removed` | |
//! | rule | a Cedar policy of a *policy pack*, which cites a clause | |
//! | reason | why a field is withheld: `unknown-subject`, `refused`, `prohibited`, … | |
//! | permit | what a decision allows one record to disclose; only [`decision`] makes one | |
//! | record | the part of a body that is about one data subject (or several) | |
//! | ledger | what each data subject has consented to, objected to, restricted | |
//! | disclosure | personal data leaving to a recipient, and its entry in the log | GDPR Art. 4(2) |
//! | withdrawal | the end of a consent, in force from its acknowledgement on | GDPR Art. 7(3) |
//! | exchange | one request and its answer | |
//! | listener, upstream, route, body | as in nginx and Envoy | |
//!
//! # Strata
//!
//! A module uses only what stands to its right or below it; `tests/suite/strata.rs` checks it.
//!
//! ```text
//! process   main, cli, demo        gateway, assembly, config
//! HTTP      layer -> exchange
//! state     ledger   disclosure   report   keys   credentials   metrics   access_log   log_limit
//! pure      scrub -> decision -> policy -> vocabulary
//! ```

pub mod document;
pub mod finding;
pub mod retention;

pub mod decision;
pub mod policy;
pub mod scrub;
pub mod vocabulary;

pub mod access_log;
pub mod credentials;
pub mod disclosure;
pub mod keys;
pub mod ledger;
pub mod log_limit;
pub mod metrics;
pub mod report;

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
