//! What the gate asks of whatever answers behind it.

use std::sync::Arc;

use super::Refusal;

/// The name of the upstream that a request is for; an extension of the request that the gate hands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination(pub Arc<str>);

/// Why there is no answer to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamFailure {
    #[error("the upstream cannot be reached")]
    Unreachable,
    #[error("the upstream's answer is not HTTP")]
    Unreadable,
    #[error("the upstream took too long")]
    Timeout,
}

impl UpstreamFailure {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            UpstreamFailure::Unreachable => Refusal::UpstreamUnreachable,
            UpstreamFailure::Unreadable => Refusal::UpstreamUnreadable,
            UpstreamFailure::Timeout => Refusal::UpstreamTimeout,
        }
    }
}
