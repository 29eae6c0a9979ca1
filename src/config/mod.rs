//! What the operator wrote, read.

pub mod pack;
