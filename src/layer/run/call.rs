//! The call of the upstream: what goes on to it, and the last moment at which it may still be left out.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tower::{Service, ServiceExt};

use super::Exchange;
use crate::decision::Admitted;
use crate::exchange::route::{MatchedRoute, Route};
use crate::exchange::upstream_fault::ResponseError;
use crate::exchange::{Refusal, request};
use crate::layer::request_body::RequestBody;
use crate::layer::upstream::{Destination, UpstreamFailure};

/// The detail of a refusal before the upstream is called, for the facts of whom the path names.
const NOT_CARRIED_OUT: &str = "This may not be done for you with the data of whom the path names, or the path names nobody. The API was not asked.";

impl Exchange {
    /// The refusal where there is no answer of the upstream; where it was not asked, in words that say so.
    pub(super) fn not_called(&mut self, failure: ResponseError) -> Refusal {
        let hides = self.route.as_ref().is_some_and(|route| route.hide_existence);
        if failure.refusal == Refusal::SubjectWithheld && !hides {
            self.detail = Some(Cow::Borrowed(NOT_CARRIED_OUT));
        }
        self.cut(failure)
    }

    pub(super) fn forwarded<B>(
        &self,
        parts: &Parts,
        route: &Route,
        body: RequestBody<B>,
    ) -> Request<RequestBody<B>> {
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() =
            request::forwarded(parts, &route.request_headers, &self.snapshot.purpose_header);
        if let Some(value) = route.forward_purpose.then(|| self.purpose_value(None)).flatten() {
            request.headers_mut().insert(self.snapshot.purpose_header.clone(), value);
        }
        request.extensions_mut().insert(Destination(Arc::clone(&route.upstream)));
        request
    }

    /// Calls the upstream. What changes something is judged at the last moment before.
    pub(super) async fn call<S, B, U>(
        &self,
        mut upstream: S,
        request: Request<RequestBody<B>>,
        found: &MatchedRoute,
        operation: Option<&Admitted>,
    ) -> Result<Response<U>, ResponseError>
    where
        S: Service<Request<RequestBody<B>>, Response = Response<U>, Error = UpstreamFailure>,
        B: Body<Data = Bytes> + Unpin,
    {
        let failure = request.body().failure();
        let answered = match upstream.ready().await {
            Ok(ready) => {
                operation.map_or(Ok(()), |admitted| self.judge_operation(admitted, found))?;
                ready.call(request).await
            }
            Err(error) => Err(error),
        };
        let class = answered.as_ref().map_or("error", |response| status_class(response.status()));
        self.gatehouse.metrics.upstream_requests.with_label_values(&[&*found.route.upstream, class]).inc();
        // What went wrong with the recipient's own body is not the upstream's fault.
        answered.map_err(|failed| {
            failure.get().map_or(ResponseError::from(failed.0), |refusal| ResponseError::from(*refusal))
        })
    }
}

fn status_class(status: http::StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
