//! Pages that the gateway answers itself, without an upstream.

pub mod opt_out;
pub mod purposes;
