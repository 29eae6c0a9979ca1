//! One exchange: one request and its answer.

pub mod caller;
pub mod cause;
pub mod concurrency;
pub mod cors;
pub mod flow;
pub(crate) mod grant;
pub mod media_type;
pub mod pages;
pub mod path;
pub(crate) mod privacy_control;
pub mod purpose;
pub(crate) mod record_policy;
mod refusal;
pub mod request;
pub mod response;
pub mod route;
mod shared;
mod snapshot;
pub(crate) mod window;

pub use pages::purposes::PurposePages;
pub use refusal::{Problem, Refusal, Rejection};
pub use shared::{Gatehouse, Listening, MAX_EXCHANGES, Peer, exchanges_per_recipient};
pub use snapshot::{Snapshot, Versions};
