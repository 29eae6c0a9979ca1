//! The disclosure log: who received which categories about whom, for which purpose, on which basis.

pub mod entry;
mod entry_writer;
mod former;
pub mod log;
mod origin;
mod queue;
pub mod record;
pub mod storage;
mod witness;
mod writer;

pub use former::*;
pub use origin::{is_origin, is_verifier_key};
pub use witness::{WitnessKey, add_checkpoint_body, known_size};
