//! Makes the response that leaves from the upstream's response, as the exchange says.

use std::pin::pin;

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use http_body::Body;

use super::drain::{drain, is_empty};
use super::response_body::ResponseBody;
use super::scrub_body;
use crate::exchange::{BodyTreatment, GrantedExchange, Rejection};

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
            drain(pin!(body)).await;
            return Err(rejection);
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
