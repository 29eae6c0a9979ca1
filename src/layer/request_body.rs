//! The request body on its way to the upstream: bounded in size and time, without trailers.
//!
//! The layer does not read the content.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::exchange::Refusal;

/// True if content follows a request head. A body whose length is known to be 0 is no content.
pub fn has_body(body: &impl Body) -> bool {
    !body.is_end_stream() && body.size_hint().exact() != Some(0)
}

/// The reason for which the request's body ends the exchange. The cell is set when that happens.
pub type RequestBodyFailure = Arc<OnceLock<Refusal>>;

/// The body exceeded a bound or ended early. The reason is in the [`RequestBodyFailure`].
#[derive(Debug, thiserror::Error)]
#[error("the request body ended early")]
pub struct RequestBodyError;

/// A request body under bounds.
#[derive(Debug)]
pub struct RequestBody<B> {
    /// `None`: there is no body.
    inner: Option<B>,
    /// Bytes that may still come.
    left: usize,
    /// `None` for a body that is whole already.
    deadline: Option<Pin<Box<Sleep>>>,
    failure: RequestBodyFailure,
}

impl<B: Body> RequestBody<B> {
    /// A body of at most `max` bytes that must be complete within `time`.
    pub fn new(inner: B, max: usize, time: Duration) -> RequestBody<B> {
        let failure = RequestBodyFailure::default();
        if inner.size_hint().lower() > max as u64 {
            let _ = failure.set(Refusal::BodyTooLarge);
        }
        let deadline = has_body(&inner).then(|| Box::pin(tokio::time::sleep(time)));
        RequestBody { inner: Some(inner), left: max, deadline, failure }
    }

    /// No body, for a request that is sent once more.
    pub fn none() -> RequestBody<B> {
        RequestBody { inner: None, left: 0, deadline: None, failure: RequestBodyFailure::default() }
    }

    /// Returns the cell for the reason, which is set if this body ends the exchange.
    pub fn failure(&self) -> RequestBodyFailure {
        Arc::clone(&self.failure)
    }

    fn fail(&self, refusal: Refusal) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let _ = self.failure.set(refusal);
        Poll::Ready(Some(Err(RequestBodyError)))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if let Some(refusal) = self.failure.get() {
            return self.fail(*refusal);
        }
        loop {
            let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
            match Pin::new(inner).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(chunk) => match self.left.checked_sub(chunk.len()) {
                        Some(left) => {
                            self.left = left;
                            return Poll::Ready(Some(Ok(Frame::data(chunk))));
                        }
                        None => return self.fail(Refusal::BodyTooLarge),
                    },
                    Err(_trailers) => {}
                },
                Poll::Ready(Some(Err(_))) => return self.fail(Refusal::RequestMalformed),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        match self.deadline.as_mut().map(|deadline| deadline.as_mut().poll(context)) {
            Some(Poll::Ready(())) => self.fail(Refusal::RequestTimeout),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| !has_body(inner))
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
