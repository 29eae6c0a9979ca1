//! The disclosure log: who received which categories about whom, for which purpose, on which basis.

pub mod entry;
mod entry_writer;
mod former;
#[cfg(feature = "sqlite")]
pub mod index;
mod log;
mod names;
pub mod observation;
mod origin;
pub mod questions;
mod queue;
pub mod receipt;
pub mod record;
pub mod storage;
mod witness;
mod writer;

pub use former::{
    AccountedCategory, AccountedExchange, ActFilter, Checkpoint, DisclosedCategory, ExchangeFilter,
    LogSelection, LogSource, ReadError, RecordedAct, RepeatedDecision, VerificationReport, accounting, acts,
    decision, export, find_decision, fold, in_use, is_running, last_position, log_bytes, log_id, merge,
    overlapping, repeated_decisions, resolved, verify, verify_with_progress,
};
pub use log::{Durability, Log, LogError, LogSettings};
pub use origin::{is_origin, is_verifier_key};
pub use storage::OpenLogError;
pub use witness::{WitnessKey, add_checkpoint_body, known_size};
