//! Extensions of a request by which the layer speaks with an inner service that calls upstreams.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

/// The name of the upstream that a request is for; an extension of the request that the layer hands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination(
    /// The configured name.
    pub Arc<str>,
);

/// Asks the layer whether a request may still be sent; an extension of a request for an operation other than `disclose`.
///
/// The layer judges each request before it calls the inner service. An inner service that then waits, for a connection or for
/// its turn, asks again right before it sends: somebody may have withdrawn meanwhile.
#[derive(Clone, Debug)]
pub struct CallConfirmation(mpsc::Sender<oneshot::Sender<()>>);

/// The layer's side of a [`CallConfirmation`].
pub(super) type AskedConfirmations = mpsc::Receiver<oneshot::Sender<()>>;

impl CallConfirmation {
    pub(super) fn new() -> (CallConfirmation, AskedConfirmations) {
        let (ask, asked) = mpsc::channel(1);
        (CallConfirmation(ask), asked)
    }

    /// True if the request may be sent now. If it may not, the layer answers, and drops the call.
    pub async fn confirm(&self) -> bool {
        let (confirm, confirmed) = oneshot::channel();
        self.0.send(confirm).await.is_ok() && confirmed.await.is_ok()
    }
}
