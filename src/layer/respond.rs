//! Makes the response that leaves from the upstream's response, as the exchange says.

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use http_body::Body;
use http_body_util::BodyExt;

use super::drain::{drain, drain_detached, is_empty};
use super::response_body::ResponseBody;
use super::scrub_body;
use crate::exchange::{BodyTreatment, ErrorBody, GrantedExchange, Rejection};

/// Makes the response that leaves from the upstream's response.
///
/// # Errors
/// The [`Rejection`] for which nothing of it leaves.
pub(super) async fn respond<U>(
    granted: &GrantedExchange,
    response: Response<U>,
) -> Result<Response<ResponseBody>, Rejection>
where
    U: Body<Data = Bytes> + Send + 'static,
{
    let (parts, body) = response.into_parts();
    let responded = match granted.respond(&parts, body.size_hint().exact()).await {
        Ok(responded) => responded,
        Err(rejection) => {
            if let Some((recipient, max)) = granted.refuses_at_once() {
                drain_detached(body, recipient, max);
                return Err(rejection);
            }
            let mut body = pin!(body);
            let mut error = granted.error_body(&parts, &rejection);
            if let Some(error) = &mut error {
                read_error(body.as_mut(), error, granted.error_timeout()).await;
            }
            drain(body).await;
            return Err(granted.explain(rejection, error).await);
        }
    };
    let mut head = responded.head;
    let body = match responded.body {
        BodyTreatment::Empty => {
            drain(pin!(body)).await;
            granted.release_empty().await?;
            ResponseBody::empty()
        }
        BodyTreatment::OnlyIfEmpty(fault) => {
            if !is_empty(body, granted.idle_timeout()).await? {
                return Err(fault.into());
            }
            granted.release_empty().await?;
            ResponseBody::empty()
        }
        BodyTreatment::Scrub(flow) => {
            let scrubbed = scrub_body::scrub(body, flow, granted.is_head_request()).await?;
            if scrubbed.is_end_stream() && !granted.is_head_request() {
                // An empty body has no media type.
                head.headers_mut().remove(CONTENT_TYPE);
            }
            scrubbed
        }
        BodyTreatment::PassThrough(transfer) => {
            if let Err(refusal) = transfer.hand_out_head().await {
                transfer.refuse(refusal);
                drain(pin!(body)).await;
                return Err(refusal.into());
            }
            ResponseBody::passing(body, transfer)
        }
    };
    Ok(head.map(|()| body))
}

/// Reads the body of an upstream's error for the members that the route maps, all of it within `time`.
async fn read_error<U: Body<Data = Bytes>>(mut body: Pin<&mut U>, error: &mut ErrorBody, time: Duration) {
    let reading = async {
        while error.wants_more() {
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        error.push(&chunk);
                    }
                }
                Some(Err(_)) => return,
                None => return error.finish(),
            }
        }
    };
    // A body that is not whole in time has no members.
    let _ = tokio::time::timeout(time, reading).await;
}
