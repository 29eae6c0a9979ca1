//! The way out (`exchange::pages::opt_out`) as it comes over HTTP.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;

use super::body::Answer;
use super::inbound::Inbound;
use crate::exchange::pages::opt_out::{self, Step};
use crate::exchange::{Gatehouse, Refusal};

/// Answers a request for the way out.
pub(super) async fn answer<B>(gatehouse: &Gatehouse, incoming: Request<B>) -> Response<Answer>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let (parts, body) = incoming.into_parts();
    let response = match opt_out::begin(gatehouse, &parts) {
        Step::Answer(response) => response,
        Step::ReadBody(post) => {
            let body = Inbound::new(body, post.max_body, post.time);
            let failure = body.failure();
            let read = body.collect().await;
            let refused = |_| failure.get().copied().unwrap_or(Refusal::RequestMalformed);
            post.finish(gatehouse, read.map(|body| body.to_bytes()).map_err(refused)).await
        }
    };
    response.map(Answer::whole)
}
