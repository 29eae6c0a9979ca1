//! What a request is judged by: everything that a reload replaces, taken once for the whole exchange.

use std::sync::Arc;

use http::HeaderName;

use super::identity::Credentials;
use super::route::{Recipient, Routes};
use crate::decision::Decisions;

/// One loaded configuration, as requests walk it.
#[derive(Debug)]
pub struct Snapshot {
    pub routes: Routes,
    pub recipients: Vec<Arc<Recipient>>,
    pub credentials: Credentials,
    /// One for each pack, in the order that routes refer to.
    pub decisions: Vec<Arc<Decisions>>,
    pub purpose_header: HeaderName,
    pub exporter_region: Arc<str>,
}
