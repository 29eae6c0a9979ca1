//! The end of the gateway, as one connection experiences it.
//!
//! An HTTP/2 connection is told at the start of the drain notice (GOAWAY); its streams go on. hyper would close an idle
//! HTTP/1.1 connection at once, so such a connection is told by its next response (`Connection: close`), and closed after
//! the notice. A connection without a request is not closed at once, because its first request may be on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Response};
use tokio::sync::{Notify, watch};

use super::stage::{Stage, reached};

/// Time for the first request of a connection to arrive after the gateway has begun to drain.
const FIRST_REQUEST_TIME: Duration = Duration::from_secs(1);

/// Tells a connection when it has to close because the gateway ends. All clones are about the same connection.
#[derive(Clone, Debug)]
pub(super) struct GatewayEnd(Arc<ConnectionEnd>);

#[derive(Debug)]
struct ConnectionEnd {
    stage: watch::Receiver<Stage>,
    /// Stage at which the connection is asked to close.
    close_at: Stage,
    has_request: AtomicBool,
    first_request: Notify,
}

impl GatewayEnd {
    /// A connection that is asked to close when the gateway has reached `close_at`.
    pub(super) fn new(stage: watch::Receiver<Stage>, close_at: Stage) -> GatewayEnd {
        let (has_request, first_request) = (AtomicBool::new(false), Notify::new());
        GatewayEnd(Arc::new(ConnectionEnd { stage, close_at, has_request, first_request }))
    }

    /// Notes that the connection has a request.
    pub(super) fn note_request(&self) {
        if !self.0.has_request.load(Ordering::Relaxed) {
            self.0.has_request.store(true, Ordering::Relaxed);
            self.0.first_request.notify_one();
        }
    }

    /// Makes an HTTP/1.1 response the last one of its connection once the drain notice has begun.
    pub(super) fn mark<B>(&self, response: &mut Response<B>) {
        if *self.0.stage.borrow() > Stage::Serving {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Returns when the connection has to be asked to close.
    pub(super) async fn begins(self) {
        let ConnectionEnd { stage, close_at, has_request, first_request } = &*self.0;
        let mut stage = stage.clone();
        reached(&mut stage, *close_at).await;
        if has_request.load(Ordering::Relaxed) {
            return;
        }
        tokio::select! {
            () = first_request.notified() => {}
            () = too_late_to_begin(stage) => {}
        }
    }
}

/// Returns when the gateway has drained for so long that no first request is waited for any more.
pub(super) async fn too_late_to_begin(mut stage: watch::Receiver<Stage>) {
    reached(&mut stage, Stage::Draining).await;
    tokio::time::sleep(FIRST_REQUEST_TIME).await;
}
