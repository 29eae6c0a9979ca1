//! The body of a response, with the connection that it comes on.
//!
//! Invariants: a connection is used again only after the whole body was read; a dropped body closes an HTTP/1.1 connection
//! and resets an HTTP/2 stream; a body that a reset ends is an error, whatever the reason of the reset.

use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::Http1Connection;
use super::endpoint::InFlight;
use super::pool::StreamLease;

/// The error of a response's body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamBodyError {
    /// The connection broke, or the body does not have its framing.
    #[error("the body broke")]
    Broken(#[source] hyper::Error),
    /// An HTTP/2 stream was reset without an error before its end. hyper reports that as the end of the body.
    #[error("the body was cut")]
    Cut,
}

/// The connection of a response, until the end of the body.
pub(super) enum Held {
    Http1 {
        connection: Http1Connection,
        /// Time for which the connection may be idle afterwards.
        keep_alive_time: Duration,
        in_flight: InFlight,
    },
    Http2 {
        stream: StreamLease,
        /// The request's body, while it is under way.
        upload: Option<Weak<()>>,
        _in_flight: InFlight,
    },
}

impl Held {
    fn release(self) {
        match self {
            Held::Http1 { connection, keep_alive_time, in_flight } => {
                let endpoint = in_flight.endpoint();
                if endpoint.reuse {
                    endpoint.idle.give_back(connection, keep_alive_time);
                }
            }
            Held::Http2 { stream, upload, _in_flight } => {
                if upload.is_some_and(|upload| upload.strong_count() > 0) {
                    // The upstream answered and does not take the rest of the request: nothing but the end of the
                    // connection ends that.
                    stream.retire();
                }
            }
        }
    }
}

/// The body of a response.
pub(crate) struct UpstreamBody {
    body: Incoming,
    held: Option<Held>,
}

impl UpstreamBody {
    pub(super) fn new(body: Incoming, held: Held) -> UpstreamBody {
        let mut body = UpstreamBody { body, held: Some(held) };
        if body.body.is_end_stream() {
            body.release();
        }
        body
    }

    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            held.release();
        }
    }

    /// True if the body ended without its end (HTTP/2).
    fn is_cut(&self) -> bool {
        matches!(self.held, Some(Held::Http2 { .. })) && !self.body.is_end_stream()
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        // A stream of HTTP/2 also has to free its place. The rest of an HTTP/1.1 body closes the connection.
        if let Some(held @ Held::Http2 { .. }) = self.held.take() {
            held.release();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        let this = self.get_mut();
        Poll::Ready(match std::task::ready!(Pin::new(&mut this.body).poll_frame(context)) {
            Some(Ok(frame)) => {
                if this.body.is_end_stream() {
                    this.release();
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                // After an error the connection is not used again.
                this.held = None;
                Some(Err(UpstreamBodyError::Broken(error)))
            }
            None if this.is_cut() => {
                this.held = None;
                Some(Err(UpstreamBodyError::Cut))
            }
            None => {
                this.release();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // hyper reports the length that an answer to a HEAD over HTTP/2 announces.
        if self.body.is_end_stream() { SizeHint::with_exact(0) } else { self.body.size_hint() }
    }
}
