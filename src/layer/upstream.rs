//! What the gate asks of whatever answers behind it.

use std::sync::Arc;

use crate::exchange::upstream_fault::UpstreamFault;

/// The name of the upstream that a request is for; an extension of the request that the gate hands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination(pub Arc<str>);

/// Why there is no answer to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UpstreamFailure(pub UpstreamFault);

impl From<UpstreamFault> for UpstreamFailure {
    fn from(cause: UpstreamFault) -> UpstreamFailure {
        UpstreamFailure(cause)
    }
}
