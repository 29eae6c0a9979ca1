//! One attempt to send a request on one connection, and the decision if it may be sent again.
//!
//! Invariant: a request that was sent is sent again only if the upstream said that it did not process it, or if it is a GET
//! or HEAD without a body and no byte arrived on the connection since.

use std::error::Error;
use std::sync::Arc;

use http::{Request, Response};
use hyper::client::conn::TrySendError;

use super::body::{Held, UpstreamBody};
use super::connection::Http1Connection;
use super::endpoint::{ConnectionLease, InFlight};
use super::interim::InterimCounter;
use super::pool::{StreamLease, keep_alive_time};
use super::request::{self, OutgoingBody, RequestCopy};
use crate::exchange::upstream_fault::UpstreamFault;

/// A failed attempt.
pub(super) struct AttemptError {
    pub(super) fault: UpstreamFault,
    pub(super) again: Again,
}

/// The request of a failed attempt, if it may be sent again.
pub(super) enum Again {
    Never,
    /// Nothing of it was sent.
    Unsent(Request<OutgoingBody>),
    /// It was sent, and may be sent once more.
    Once(Request<OutgoingBody>),
}

impl From<UpstreamFault> for AttemptError {
    fn from(fault: UpstreamFault) -> AttemptError {
        AttemptError { fault, again: Again::Never }
    }
}

/// Sends a request on a connection.
///
/// # Errors
/// The [`AttemptError`].
pub(super) async fn send(
    lease: ConnectionLease,
    in_flight: InFlight,
    request: Request<OutgoingBody>,
) -> Result<Response<UpstreamBody>, AttemptError> {
    match lease {
        ConnectionLease::Http1 { connection, is_new } => {
            send_http1(connection, is_new, in_flight, request).await
        }
        ConnectionLease::Http2(stream) => Box::pin(send_http2(stream, in_flight, request)).await,
    }
}

async fn send_http1(
    mut connection: Http1Connection,
    is_new: bool,
    in_flight: InFlight,
    mut request: Request<OutgoingBody>,
) -> Result<Response<UpstreamBody>, AttemptError> {
    let endpoint = in_flight.endpoint();
    request::for_http1(&mut request, &endpoint.host, endpoint.reuse);
    let copy = if is_new { None } else { RequestCopy::of_safe(&request) };
    // A connection that has served a request speaks what the upstream speaks.
    let is_plaintext = is_new && endpoint.connector.tls.is_none();
    let observations = Arc::clone(&connection.link.observations);
    let before = observations.received();
    let interim = InterimCounter::of(&mut request);
    let sent = tokio::select! {
        biased;
        () = interim.over.notified() => return Err(UpstreamFault::InterimAnswers.into()),
        sent = connection.sender.try_send_request(request) => sent,
    };
    let mut failed = match sent {
        // All interim responses can arrive together with the final head.
        Ok(_) if interim.is_over() => return Err(UpstreamFault::InterimAnswers.into()),
        Ok(response) => {
            let keep_alive_time = keep_alive_time(response.headers());
            let held = Held::Http1 { connection, keep_alive_time, in_flight };
            return Ok(response.map(|body| UpstreamBody::new(body, held)));
        }
        Err(failed) => failed,
    };
    let is_parse = failed.error().is_parse();
    let again = match (failed.take_message(), copy) {
        // The upstream closed the idle connection at that moment; nothing of the request was sent.
        (Some(unsent), _) if !is_new => Again::Unsent(unsent),
        (None, Some(copy)) if observations.received() == before => Again::Once(copy.into_request()),
        _ => Again::Never,
    };
    let fault = observations.fault().unwrap_or(match (is_parse, is_plaintext) {
        (true, _) => UpstreamFault::Head,
        (false, true) => UpstreamFault::ClosedPlaintext,
        (false, false) => UpstreamFault::Closed,
    });
    Err(AttemptError { fault, again })
}

async fn send_http2(
    stream: StreamLease,
    in_flight: InFlight,
    mut request: Request<OutgoingBody>,
) -> Result<Response<UpstreamBody>, AttemptError> {
    request::for_http2(&mut request, &in_flight.endpoint().authority).ok_or(UpstreamFault::NoUpstream)?;
    let copy = RequestCopy::of(&request);
    let upload = request.body_mut().watch();
    let observations = Arc::clone(&stream.connection().link.observations);
    let before = observations.received();
    let mut sender = stream.connection().sender.clone();
    let failed = match sender.try_send_request(request).await {
        Ok(response) => {
            let held = Held::Http2 { stream, upload, _in_flight: in_flight };
            return Ok(response.map(|body| UpstreamBody::new(body, held)));
        }
        Err(failed) => failed,
    };
    let is_untouched = !stream.is_new && observations.received() == before;
    let (rejection, again) = rejected(failed, copy, stream.is_new, is_untouched);
    if matches!(rejection, Some(StreamRejection::Unprocessed | StreamRejection::GoingAway)) {
        // The connection is about to end, or takes no more requests for now.
        stream.retire();
    }
    let fault = observations.fault().unwrap_or(match rejection {
        Some(StreamRejection::Unprocessed | StreamRejection::GoingAway) => UpstreamFault::RequestRefused,
        Some(StreamRejection::Malformed) => UpstreamFault::Head,
        Some(StreamRejection::Violation) => UpstreamFault::Protocol,
        None => UpstreamFault::Closed,
    });
    Err(AttemptError { fault, again })
}

/// Decides about a request whose response did not come.
fn rejected(
    mut failed: TrySendError<Request<OutgoingBody>>,
    copy: Option<RequestCopy>,
    is_new: bool,
    is_untouched: bool,
) -> (Option<StreamRejection>, Again) {
    let rejection = StreamRejection::of(failed.error());
    let again = match (failed.take_message(), copy) {
        (Some(unsent), _) if !is_new => Again::Unsent(unsent),
        (None, Some(copy)) if rejection == Some(StreamRejection::Unprocessed) => {
            Again::Once(copy.into_request())
        }
        (None, Some(copy))
            if copy.is_safe() && (is_untouched || rejection == Some(StreamRejection::GoingAway)) =>
        {
            Again::Once(copy.into_request())
        }
        _ => Again::Never,
    };
    (rejection, again)
}

/// The end of an HTTP/2 stream before a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamRejection {
    /// The upstream said that it did not process the request: `REFUSED_STREAM` (RFC 9113, 8.7).
    Unprocessed,
    /// A `GOAWAY` arrived. Most likely it names an earlier stream as the last one. But hyper reports any `GOAWAY` that
    /// arrives while it sends a request in the same words, and the upstream may process that request.
    GoingAway,
    /// The response's head is malformed, or larger than the bound.
    Malformed,
    /// The upstream broke the rules of the connection.
    Violation,
}

impl StreamRejection {
    /// Reads the error of h2 below an error of hyper. hyper does not show its type, so its words are compared; the tests
    /// with a hostile upstream fail if they change.
    fn of(error: &hyper::Error) -> Option<StreamRejection> {
        let words = error.source()?.to_string();
        if words == "stream error received: refused stream before processing any application logic" {
            Some(StreamRejection::Unprocessed)
        } else if words.starts_with("connection error received: ") {
            Some(StreamRejection::GoingAway)
        } else if words.starts_with("stream error detected: ") {
            Some(StreamRejection::Malformed)
        } else if words.starts_with("connection error detected: ") {
            Some(StreamRejection::Violation)
        } else {
            None
        }
    }
}
