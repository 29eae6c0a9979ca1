//! Pages that the gateway answers itself, without an upstream.

pub mod cache;
pub(crate) mod notices;
pub mod opt_out;
pub mod opt_out_state;
pub mod purposes;
