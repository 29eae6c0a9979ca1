//! The body of a request for an opt-out link, read for [`opt_out`](crate::exchange::pages::opt_out).

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;

use super::request_body::RequestBody;
use super::response_body::ResponseBody;
use crate::exchange::pages::opt_out::{self, OptOutStep};
use crate::exchange::{Refusal, SharedState};

/// Answers a request for an opt-out link.
pub(super) async fn answer<B>(shared: &SharedState, incoming: Request<B>) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let (parts, body) = incoming.into_parts();
    let response = match opt_out::begin(shared, &parts) {
        OptOutStep::Answered(response) => response,
        OptOutStep::ReadBody(post) => {
            let body = RequestBody::new(body, post.body_limits);
            let failure = body.failure();
            let read = body.collect().await;
            let refused = |_| failure.get().copied().unwrap_or(Refusal::RequestMalformed);
            post.finish(shared, read.map(http_body_util::Collected::to_bytes).map_err(refused)).await
        }
    };
    response.map(ResponseBody::whole)
}
