//! The response body that leaves.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody};
use tokio::time::Instant;

use super::drain::end_at_drain;
use crate::exchange::Transfer;
use crate::exchange::upstream_fault::{ResponseError, UpstreamFault};

/// A body that may leave.
pub enum ResponseBody {
    /// Known in full when the head leaves; `None` without any bytes.
    Whole(Option<Bytes>),
    /// Handed out part by part; an error cuts the connection.
    Streamed(Pin<Box<dyn Body<Data = Bytes, Error = ResponseError> + Send>>),
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResponseBody")
    }
}

impl ResponseBody {
    /// A body without any bytes.
    pub fn empty() -> ResponseBody {
        ResponseBody::Whole(None)
    }

    /// A body of these bytes.
    pub fn whole(bytes: Bytes) -> ResponseBody {
        ResponseBody::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// A body that passes unread. The exchange closes when the whole body was taken. If the body is dropped before, the
    /// exchange closes as aborted.
    pub(super) fn passing<U>(body: U, mut transfer: Box<Transfer>) -> ResponseBody
    where
        U: Body<Data = Bytes> + Send + 'static,
    {
        if body.is_end_stream() {
            transfer.close();
            return ResponseBody::empty();
        }
        let idle = transfer.idle_timeout();
        let frames =
            futures_util::stream::unfold((Box::pin(body), transfer), move |(mut body, mut transfer)| {
                async move {
                    let frame = match next_chunk(body.as_mut(), &mut transfer, idle).await {
                        Ok(Some(chunk)) => {
                            transfer.received(chunk.len());
                            transfer.sent(chunk.len());
                            // Where the length is known, the body is not polled again after it.
                            if body.is_end_stream() {
                                transfer.close();
                            }
                            Ok(Frame::data(chunk))
                        }
                        Ok(None) => {
                            transfer.close();
                            return None;
                        }
                        Err(error) => {
                            transfer.abort(error);
                            Err(error)
                        }
                    };
                    Some((frame, (body, transfer)))
                }
            });
        ResponseBody::Streamed(Box::pin(StreamBody::new(frames)))
    }
}

/// Reads the next chunk of a body that passes unread; trailers are dropped.
async fn next_chunk<U: Body<Data = Bytes>>(
    mut body: Pin<&mut U>,
    transfer: &mut Transfer,
    idle: Duration,
) -> Result<Option<Bytes>, ResponseError> {
    loop {
        if transfer.ends_now() {
            return Ok(None);
        }
        let waiting = Instant::now();
        let drain_end = end_at_drain(transfer.drain_end(), body.size_hint().exact().is_some());
        let next = async {
            match tokio::time::timeout(idle, body.frame()).await {
                Ok(Some(Ok(frame))) => Ok(Some(frame)),
                Ok(Some(Err(_))) => Err(UpstreamFault::Broken),
                Ok(None) => Ok(None),
                Err(_) => Err(UpstreamFault::IdleTimeout),
            }
        };
        let frame = tokio::select! {
            biased;
            frame = next => frame,
            ended = drain_end => return ended.map(|()| None),
        };
        transfer.waited(waiting.elapsed())?;
        match frame?.map(Frame::into_data) {
            Some(Ok(chunk)) => return Ok(Some(transfer.hand_out_unread(chunk).await?)),
            Some(Err(_trailers)) => {}
            None => return Ok(None),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        match self.get_mut() {
            ResponseBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            ResponseBody::Streamed(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Whole(bytes) => bytes.is_none(),
            ResponseBody::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            ResponseBody::Streamed(body) => body.size_hint(),
        }
    }
}
