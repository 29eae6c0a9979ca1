//! The pump between an upstream's body and a [`BodyFlow`]: it reads, waits and yields; the flow scrubs and decides.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use tokio::time::Instant;

use super::drain::{drain, end_at_drain};
use super::response_body::ResponseBody;
use crate::exchange::flow::{BodyFlow, PART_SIZE};
use crate::exchange::upstream_fault::{ResponseError, UpstreamFault};

/// Scrubs until something can leave. A body that is whole by then leaves with its length. For a `HEAD` request nothing
/// leaves.
///
/// # Errors
/// [`ResponseError`] if nothing may leave; then the upstream's body is drained.
pub(super) async fn scrub<U>(
    upstream: U,
    flow: Box<BodyFlow>,
    is_head_request: bool,
) -> Result<ResponseBody, ResponseError>
where
    U: Body<Data = Bytes> + Send + 'static,
{
    let mut pump = Pump { upstream: Box::pin(upstream), flow, has_handed_out: false };
    let first = match pump.begin().await {
        Ok(first) => first,
        Err(error) => {
            // A body that broke or stalled is not waited for again.
            let gave_up = matches!(
                error.fault,
                Some(UpstreamFault::Broken | UpstreamFault::IdleTimeout | UpstreamFault::BodyTimeout)
            );
            if !gave_up && !pump.flow.is_finished() {
                drain(pump.upstream.as_mut()).await;
            }
            pump.flow.refuse(error);
            return Err(error);
        }
    };
    match first {
        None if !is_head_request => Ok(pump.into_body()),
        whole => {
            pump.flow.transfer().close();
            let left = whole.filter(|_| !is_head_request);
            Ok(left.map_or_else(ResponseBody::empty, ResponseBody::whole))
        }
    }
}

/// Bytes or the lack of them, as an upstream's body yields them.
enum Read {
    Chunk(Bytes),
    /// The body has ended.
    End,
    /// The body has to end here, because the gateway drains.
    DrainEnd,
    /// Nothing came until the deadline.
    Timeout,
}

/// Drives a flow with the frames of an upstream's body.
struct Pump<U> {
    upstream: Pin<Box<U>>,
    flow: Box<BodyFlow>,
    /// True if something was handed out just now.
    has_handed_out: bool,
}

impl<U> Pump<U>
where
    U: Body<Data = Bytes>,
{
    /// Fills the first window. Returns the body if it is whole: it leaves with its head. `None`: the head leaves now, and the
    /// body follows.
    async fn begin(&mut self) -> Result<Option<Bytes>, ResponseError> {
        self.fill().await?;
        let is_whole = self.flow.is_whole();
        let whole = if is_whole { self.next().await? } else { None };
        if whole.is_none() {
            self.flow.transfer().hand_out_head().await?;
        }
        Ok(whole.or_else(|| is_whole.then(Bytes::new)))
    }

    /// Reads and scrubs until the window is full, its time is over or the body ends; then records the window.
    async fn fill(&mut self) -> Result<(), ResponseError> {
        let (mut time, mut deadline, mut unyielded) = (None, None, 0);
        while self.flow.wants_more() {
            let before = self.flow.gathered();
            if self.flow.has_coded() {
                let _turn = self.flow.turn().await;
                self.flow.resume()?;
            } else {
                match self.read(deadline).await? {
                    Read::Chunk(chunk) => {
                        let _turn = self.flow.turn().await;
                        self.flow.push(chunk, self.upstream.is_end_stream())?;
                    }
                    Read::End => self.flow.finish()?,
                    Read::DrainEnd => self.flow.end_early(),
                    Read::Timeout => break,
                }
            }
            if self.flow.window_time() != time {
                time = self.flow.window_time();
                deadline = time.map(|time| Instant::now() + time);
            }
            // The work on a large body yields to other exchanges.
            unyielded += self.flow.gathered() - before;
            if unyielded >= PART_SIZE {
                unyielded = 0;
                tokio::task::yield_now().await;
            }
        }
        self.flow.record().await
    }

    /// Reads the next chunk until the deadline. Trailers are dropped.
    async fn read(&mut self, deadline: Option<Instant>) -> Result<Read, ResponseError> {
        if self.flow.transfer().ends_now() {
            return Ok(Read::DrainEnd);
        }
        let has_length = self.upstream.size_hint().exact().is_some();
        let upstream = &mut self.upstream;
        let mut next = pin!(async {
            loop {
                match upstream.frame().await {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(chunk) if chunk.is_empty() => {}
                        Ok(chunk) => return Ok(Read::Chunk(chunk)),
                        Err(_trailers) => {}
                    },
                    Some(Err(_)) => return Err(ResponseError::from(UpstreamFault::Broken)),
                    None => return Ok(Read::End),
                }
            }
        });
        // Often a chunk has already arrived, and no timer is needed.
        if let Poll::Ready(next) = futures_util::poll!(next.as_mut()) {
            return next;
        }
        let waiting = Instant::now();
        let transfer = self.flow.transfer();
        let idle: Duration = transfer.idle_timeout();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(waiting));
        let drain_end = end_at_drain(transfer.drain_end(), has_length);
        let read = tokio::select! {
            biased;
            read = tokio::time::timeout(left.map_or(idle, |left| left.min(idle)), next) => read,
            ended = drain_end => return ended.map(|()| Read::DrainEnd),
        };
        transfer.waited(waiting.elapsed())?;
        read.unwrap_or(match left {
            Some(left) if left <= idle => Ok(Read::Timeout),
            _ => Err(UpstreamFault::IdleTimeout.into()),
        })
    }

    /// Returns the next bytes to leave; `None` at the end of the body.
    async fn next(&mut self) -> Result<Option<Bytes>, ResponseError> {
        if std::mem::take(&mut self.has_handed_out) {
            // Writing a whole window takes long, so other exchanges run in between.
            tokio::task::yield_now().await;
        }
        loop {
            if let Some(bytes) = self.flow.hand_out().await? {
                self.has_handed_out = true;
                return Ok(Some(bytes));
            }
            if self.flow.is_finished() {
                return Ok(None);
            }
            self.fill().await?;
        }
    }

    /// Hands out the body frame by frame. The exchange closes when the last frame was taken. If the body is dropped
    /// before, the exchange closes as aborted.
    fn into_body(self) -> ResponseBody
    where
        U: Send + 'static,
    {
        let frames = futures_util::stream::unfold(Some(self), |pump| async move {
            let mut pump = pump?;
            match pump.next().await {
                Ok(Some(bytes)) => Some((Ok(Frame::data(bytes)), Some(pump))),
                Ok(None) => {
                    pump.flow.transfer().close();
                    pump.flow.trailer().map(|trailer| (Ok(Frame::trailers(trailer)), None))
                }
                Err(error) => {
                    pump.flow.transfer().abort(error);
                    Some((Err(error), None))
                }
            }
        });
        ResponseBody::Streamed(Box::pin(StreamBody::new(frames)))
    }
}
