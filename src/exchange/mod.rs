//! One exchange: one request and its answer.

pub mod caller;
pub mod concurrency;
pub mod cors;
pub mod flow;
pub(crate) mod grant;
pub(crate) mod ledger_policy;
pub mod media_type;
pub mod pages;
pub mod path;
pub(crate) mod privacy_control;
pub mod purpose;
mod refusal;
pub mod request;
pub mod response;
pub mod route;
mod shared;
mod snapshot;
pub mod upstream_fault;
pub(crate) mod window;

pub use pages::purposes::PurposePages;
pub use refusal::{Problem, Refusal, Rejection};
pub use shared::{ListenerContext, MAX_EXCHANGES, Peer, SharedState, exchanges_per_recipient};
pub use snapshot::{Snapshot, Versions};
