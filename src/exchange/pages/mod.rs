//! Pages that the gateway answers itself, without an upstream.

pub mod cache;
pub(crate) mod example_record;
pub(crate) mod notices;
pub mod opt_out;
pub mod opt_out_state;
pub mod purposes;
pub mod recipient_page;
mod recipient_view;
