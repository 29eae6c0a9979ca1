//! Reads logs as operators, people and their representatives need them: exchanges folded into one JSON object each, the
//! disclosures about one person, administrative acts, and every entry as JSON.
//!
//! The old log in the folder `former`, or an old log that was not taken over yet, is read before the new entries.
//!
//! Invariants:
//! * The result says at least what left. It trusts the files that it reads; [`super::verify`] checks them.
//! * A log that cannot be read, or a number without a name, is an error and never a shorter result.

mod accounting;
mod act;
pub(in crate::disclosure) mod decoded_log;
pub(in crate::disclosure) mod deleted_details;
pub mod ended;
mod exchange_records;
mod export;
pub(in crate::disclosure) mod fold;
pub(in crate::disclosure) mod former_records;
mod last_position;
mod log_end;
mod merge;
pub(in crate::disclosure) mod model;
pub(in crate::disclosure) mod source;
#[cfg(test)]
mod tests;

pub use accounting::{Account, AccountedCategory, AccountedExchange, account, accounting};
pub use act::{ActFilter, RecordedAct, acts};
pub use deleted_details::DeletedDetails;
pub use export::export;
pub use fold::{ExchangeFilter, FoundDecision, SearchEffort, decision};
pub use former_records::has_former;
pub use last_position::last_position;
pub use log_end::EndOfLog;
pub use merge::{
    LogSelection, RepeatedDecision, find_decision, fold, in_use, is_running, merge, repeated_decisions,
};
pub use source::{LogPlace, LogSource, overlapping, resolved};
