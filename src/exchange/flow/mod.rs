//! One body in one direction.

pub mod decode;
