//! Reads the rest of a body that does not leave, within bounds, so that its connection can be used again; and ends bodies
//! without an end when the gateway drains.
//!
//! A connection whose body is dropped before its end is closed. The request after a refusal would then take longer than
//! the request after a release, and the difference would disclose what the refusal hides.

use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;

use crate::exchange::concurrency::ConcurrencyLimit;
use crate::exchange::upstream_fault::{ResponseError, UpstreamFault};
use crate::exchange::{DrainEnd, Refusal};

/// Maximum number of bytes that are read.
const MAX_DRAINED: usize = 64 * 1024;
/// Maximum time that is spent. The connection of a body that takes longer is closed.
const DRAIN_TIME: Duration = Duration::from_millis(250);

/// Maximum numbers of bodies that are read at a time after their refusal has left, together and of one recipient. The connection of
/// another one is closed.
const MAX_DETACHED: usize = 64;
const MAX_DETACHED_EACH: usize = 4;
/// Maximum time that is spent on each of them.
const DETACHED_TIME: Duration = Duration::from_secs(2);

/// Time without a chunk after which a stream that cannot end regularly is cut while the gateway drains.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// Returns when a body has to end because the gateway drains. A body of known length can go on.
///
/// # Errors
/// [`Refusal::Overloaded`], as at a reload: the body has no regular end here.
pub(super) async fn end_at_drain(
    drain_end: impl Future<Output = DrainEnd>,
    has_length: bool,
) -> Result<(), ResponseError> {
    match drain_end.await {
        DrainEnd::Regular => Ok(()),
        DrainEnd::Cut if has_length => std::future::pending().await,
        DrainEnd::Cut => {
            tokio::time::sleep(QUIET_TIME).await;
            Err(Refusal::Overloaded.into())
        }
    }
}

/// Reads a body to its end, within bounds.
pub(super) async fn drain<U: Body<Data = Bytes>>(body: Pin<&mut U>) {
    drain_within(body, MAX_DRAINED, DRAIN_TIME).await;
}

/// Reads a body of at most `max` bytes to its end while the refusal leaves. Nothing of the exchange is held meanwhile: if its
/// place became free with the end of the body, the next request would tell that there was one.
pub(super) fn drain_detached<U>(body: U, recipient: &Arc<str>, max: usize)
where
    U: Body<Data = Bytes> + Send + 'static,
{
    static PLACES: LazyLock<Arc<ConcurrencyLimit<Arc<str>>>> =
        LazyLock::new(|| ConcurrencyLimit::new(MAX_DETACHED, MAX_DETACHED_EACH));
    let Ok(place) = PLACES.acquire(recipient) else { return };
    tokio::spawn(async move {
        drain_within(pin!(body), max, DETACHED_TIME).await;
        drop(place);
    });
}

async fn drain_within<U: Body<Data = Bytes>>(mut body: Pin<&mut U>, max: usize, time: Duration) {
    if body.is_end_stream() || body.size_hint().lower() > max as u64 {
        return;
    }
    let drained = async {
        let mut left = max;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else { break };
            left = rest;
        }
    };
    let _ = tokio::time::timeout(time, drained).await;
}

/// Returns true if a body has no bytes, however it is framed. A body that has some is drained.
///
/// # Errors
/// The [`UpstreamFault`]: nothing comes within `idle`, or the connection ends.
pub(super) async fn is_empty<U: Body<Data = Bytes>>(body: U, idle: Duration) -> Result<bool, UpstreamFault> {
    let mut body = pin!(body);
    let first = async {
        loop {
            match body.frame().await {
                Some(Ok(frame)) if frame.data_ref().is_none_or(Bytes::is_empty) => {}
                Some(Ok(_)) => return Ok(false),
                Some(Err(_)) => return Err(UpstreamFault::Broken),
                None => return Ok(true),
            }
        }
    };
    let is_empty = tokio::time::timeout(idle, first).await.unwrap_or(Err(UpstreamFault::IdleTimeout))?;
    if !is_empty {
        drain(body).await;
    }
    Ok(is_empty)
}
