//! The disclosure log: who received which categories about whom, for which purpose, on which basis.

mod detail_deletion;
pub mod entry;
mod entry_writer;
mod former;
#[cfg(feature = "sqlite")]
pub mod index;
mod log;
mod log_settings;
mod log_state;
pub mod observation;
mod origin;
pub mod questions;
mod queue;
pub mod read;
pub mod receipt;
pub mod record;
pub mod storage;
mod terms;
pub mod verify;
mod witness;
mod writer;

pub use detail_deletion::{DetailDeletionError, delete_details};
#[cfg(test)]
pub(crate) use former::tests::old_log::OldLog;
pub use former::{Checkpoint, FormerVerification, TagKey, UNCHECKED_TAGS, log_bytes, log_id, verify_former};
#[cfg(test)]
pub(crate) use log::tests::disk::Disk;
pub use log::{Durability, Log, LogError, LogSettings, PreparedRecord};
pub use origin::{is_origin, is_verifier_key};
pub use read::{
    Account, AccountedCategory, AccountedExchange, ActFilter, DeletedDetails, EndOfLog, ExchangeFilter,
    FoundDecision, LogPlace, LogSelection, LogSource, RecordedAct, RepeatedDecision, SearchEffort, account,
    accounting, acts, decision, export, find_decision, fold, has_former, in_use, is_running, last_position,
    merge, overlapping, repeated_decisions, resolved,
};
pub use storage::{OpenLogError, ReadError};
pub use witness::{WitnessKey, add_checkpoint_body, known_size};
