//! The request body on its way to the upstream: bounded in size, time and rate, without trailers.
//!
//! The layer does not read the content. On routes that map members of errors it copies the beginning.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::exchange::request_values::EchoedRequest;
use crate::exchange::{Refusal, RequestBodyLimits};

/// Time that a body may take whatever its rate is.
const RATE_GRACE: Duration = Duration::from_secs(10);

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
    pace: Option<Pace>,
    failure: RequestBodyFailure,
    /// Takes a copy of each chunk before it goes on.
    copy: Option<Arc<EchoedRequest>>,
}

impl<B: Body> RequestBody<B> {
    /// A body that has to arrive within these bounds.
    pub fn new(inner: B, limits: RequestBodyLimits) -> RequestBody<B> {
        let RequestBodyLimits { max_bytes, time, min_rate } = limits;
        let failure = RequestBodyFailure::default();
        if inner.size_hint().lower() > max_bytes as u64 {
            let _ = failure.set(Refusal::BodyTooLarge);
        }
        let pace = has_body(&inner).then(|| Pace::new(time, min_rate));
        RequestBody { inner: Some(inner), left: max_bytes, pace, failure, copy: None }
    }

    /// The same body, of which each chunk is copied.
    #[must_use]
    pub fn copied_to(self, copy: Option<Arc<EchoedRequest>>) -> RequestBody<B> {
        RequestBody { copy, ..self }
    }

    /// Says that the upstream gets this value in a field that the head of the request did not have.
    pub fn comes_with(&self, field: &HeaderValue) {
        if let Some(copy) = &self.copy {
            copy.add_field(field);
        }
    }

    /// No body, for a request that is sent once more.
    pub fn none() -> RequestBody<B> {
        RequestBody { inner: None, left: 0, pace: None, failure: RequestBodyFailure::default(), copy: None }
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

/// The time and the rate of a body.
///
/// Time counts for the rate only while the gateway waits for the sender: an upstream that reads slowly is no fault of it.
#[derive(Debug)]
struct Pace {
    ends: Instant,
    /// Bytes per second; 0: none.
    min_rate: usize,
    received: usize,
    /// Time waited for the sender before `waiting`.
    waited: Duration,
    /// The instant since which the sender is waited for.
    waiting: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Pace {
    fn new(time: Duration, min_rate: usize) -> Pace {
        let timer = Box::pin(tokio::time::sleep(time));
        let (waited, waiting) = (Duration::ZERO, None);
        Pace { ends: timer.deadline(), min_rate, received: 0, waited, waiting, timer }
    }

    fn received(&mut self, bytes: usize, now: Instant) {
        self.waited +=
            self.waiting.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.received = self.received.saturating_add(bytes);
    }

    /// The instant at which the body is too slow if nothing more of it comes.
    fn deadline(&self, since: Instant) -> Instant {
        let Some(permitted) = (self.received as u64 * 1000).checked_div(self.min_rate as u64) else {
            return self.ends;
        };
        let permitted = RATE_GRACE + Duration::from_millis(permitted);
        let by_rate = since.checked_add(permitted.saturating_sub(self.waited));
        by_rate.map_or(self.ends, |by_rate| by_rate.min(self.ends))
    }

    /// Ready if the body takes too long. The caller waits for the sender.
    fn poll_overdue(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let since = *self.waiting.get_or_insert_with(Instant::now);
        let deadline = self.deadline(since);
        if self.timer.deadline() != deadline {
            self.timer.set(sleep_until(deadline));
        }
        self.timer.as_mut().poll(context)
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
                            if let Some(copy) = &self.copy {
                                copy.push(&chunk);
                            }
                            if let Some(pace) = &mut self.pace {
                                pace.received(chunk.len(), Instant::now());
                            }
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
        match self.pace.as_mut().map(|pace| pace.poll_overdue(context)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);

    /// Receives 60 chunks of `bytes`, each a second after it was waited for; the upstream takes `pause` for each.
    /// Returns true if all of them come in time.
    fn arrives(bytes: usize, pause: Duration, min_rate: usize) -> bool {
        let mut pace = Pace::new(100 * HOUR, min_rate);
        let mut now = Instant::now();
        (0..60).all(|_| {
            pace.waiting = Some(now);
            let deadline = pace.deadline(now);
            now += SECOND;
            let is_in_time = now < deadline;
            pace.received(bytes, now);
            now += pause;
            is_in_time
        })
    }

    #[tokio::test]
    async fn a_body_has_to_arrive_at_the_lowest_rate() {
        assert!(!arrives(1, Duration::ZERO, 256));
        assert!(!arrives(200, Duration::ZERO, 256));
        assert!(arrives(300, Duration::ZERO, 256));
        assert!(arrives(300, HOUR, 256), "the upstream's time does not count");
        assert!(arrives(1, Duration::ZERO, 0));
    }

    #[tokio::test]
    async fn the_total_time_and_the_grace_count_whatever_the_rate() {
        let began = Instant::now();
        let deadline = |time, min_rate| Pace::new(time, min_rate).deadline(began) - began;
        let is_about = |time: Duration, expected: Duration| time >= expected && time < expected + SECOND;
        assert!(is_about(deadline(HOUR, 256), RATE_GRACE));
        assert!(is_about(deadline(SECOND, 256), SECOND));
        assert!(is_about(deadline(HOUR, 0), HOUR));
    }
}
