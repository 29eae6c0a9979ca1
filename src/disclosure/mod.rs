//! The disclosure log: who received which categories about whom, for which purpose, on which basis.

pub mod entry;
mod former;
pub(crate) mod origin;
pub mod record;
pub mod storage;

pub use former::*;
pub use origin::{is_origin, is_verifier_key};
