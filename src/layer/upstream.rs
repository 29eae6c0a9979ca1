//! The upstream of a request, which the layer names to the inner service.

use std::sync::Arc;

/// The name of the upstream that a request is for; an extension of the request that the layer hands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination(
    /// The configured name.
    pub Arc<str>,
);
