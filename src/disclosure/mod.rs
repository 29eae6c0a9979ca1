//! The disclosure log: who received which categories about whom, for which purpose, on which basis.

pub mod entry;
mod former;
pub mod record;

pub use former::*;
