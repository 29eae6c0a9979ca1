//! The tower adapter: a layer that runs an exchange around any service.
//!
//! The gateway puts it in front of a pool of upstreams; an application can put it in front of its own handlers. It moves
//! heads and bodies between tower and `crate::exchange` and keeps the time. It decides nothing about a request, and it
//! knows no sockets and no files.

mod drain;
mod opt_out;
pub mod request_body;
mod respond;
pub mod response_body;
mod scrub_body;
pub mod upstream;

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::{BoxError, Layer, Service, ServiceExt};

use self::request_body::{RequestBody, has_body};
use self::response_body::ResponseBody;
use self::upstream::{CallConfirmation, Destination};
use crate::exchange::pages::opt_out::is_opt_out_path;
use crate::exchange::upstream_fault::UpstreamFault;
use crate::exchange::{self, ExchangeStart, GrantedExchange, Rejection, SharedState};

/// Puts a [`PurposeService`] in front of a service.
#[derive(Clone, Debug)]
pub struct PurposeLayer {
    shared: Arc<SharedState>,
}

impl PurposeLayer {
    /// A layer whose services share this state.
    pub fn new(shared: Arc<SharedState>) -> PurposeLayer {
        PurposeLayer { shared }
    }
}

impl<S> Layer<S> for PurposeLayer {
    type Service = PurposeService<S>;

    fn layer(&self, inner: S) -> PurposeService<S> {
        PurposeService { shared: Arc::clone(&self.shared), inner }
    }
}

/// A service whose every response went through an exchange.
///
/// The inner service may fail with any error. An error that is an [`UpstreamFault`], or a box of one, names the cause;
/// any other error is answered as an unreachable upstream. The service itself never fails: each refusal is a response.
#[derive(Clone, Debug)]
pub struct PurposeService<S> {
    shared: Arc<SharedState>,
    inner: S,
}

impl<S, B, U> Service<Request<B>> for PurposeService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<U>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    U: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The inner service is polled when the exchange calls it, because a refusal does not need it.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        if is_opt_out_path(request.uri().path()) {
            return Box::pin(async move { Ok(opt_out::answer(&shared, request).await) });
        }
        let inner = self.inner.clone();
        Box::pin(async move { Ok(run(shared, inner, request).await) })
    }
}

/// Runs one exchange.
async fn run<S, B, U>(shared: Arc<SharedState>, inner: S, request: Request<B>) -> Response<ResponseBody>
where
    S: Service<Request<RequestBody<B>>, Response = Response<U>>,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    U: Body<Data = Bytes> + Send + 'static,
{
    let (parts, body) = request.into_parts();
    let (granted, head) = match exchange::begin(&shared, &parts, has_body(&body)).await {
        ExchangeStart::Answered(response) => return response.map(ResponseBody::whole),
        ExchangeStart::Forward(granted, head) => (granted, head),
    };
    let body = RequestBody::new(body, granted.request_body_limits()).copied_to(granted.request_copy());
    let mut forwarded = head.map(|()| body);
    // Values that the application's own router and layers attached, such as axum's path parameters.
    *forwarded.extensions_mut() = parts.extensions;
    forwarded.extensions_mut().insert(Destination(Arc::clone(granted.upstream())));
    let responded = match call(inner, forwarded, &granted).await {
        Ok(response) => respond::respond(&granted, response).await,
        Err(rejection) => Err(rejection),
    };
    match responded {
        Ok(response) => response,
        Err(rejection) => granted.refuse(rejection).await.map(ResponseBody::whole),
    }
}

/// Calls the inner service once the log has an intent, if the exchange needs one. The exchange can forbid the call at the last
/// moment: before it, and whenever the inner service asks.
async fn call<S, B, U>(
    mut inner: S,
    mut request: Request<RequestBody<B>>,
    granted: &GrantedExchange,
) -> Result<Response<U>, Rejection>
where
    S: Service<Request<RequestBody<B>>, Response = Response<U>>,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Unpin,
{
    granted.record_intent().await?;
    let failure = request.body().failure();
    let responded = match inner.ready().await.map_err(Into::into) {
        Ok(ready) => {
            granted.authorize_call()?;
            let (confirmation, mut asked) = CallConfirmation::new();
            if granted.is_operation() {
                request.extensions_mut().insert(confirmation);
            }
            granted.call_begins();
            let mut responding = pin!(ready.call(request));
            loop {
                tokio::select! {
                    biased;
                    Some(confirm) = asked.recv() => {
                        granted.authorize_call()?;
                        // The inner service no longer asks if it has failed meanwhile.
                        let _ = confirm.send(());
                    }
                    responded = &mut responding => break responded.map_err(Into::into),
                }
            }
        }
        Err(error) => Err(error),
    };
    let status = responded.as_ref().ok().map(Response::status);
    granted.call_ends(status);
    match (responded, failure.get()) {
        // A failure of the recipient's own body is no fault of the upstream.
        (Err(_), Some(refusal)) => Err(Rejection::from(*refusal)),
        (responded, _) => {
            granted.count_call(status);
            responded.map_err(|error| Rejection::from(fault(&error)))
        }
    }
}

/// The fault that an inner service failed with.
fn fault(error: &BoxError) -> UpstreamFault {
    error.downcast_ref::<UpstreamFault>().copied().unwrap_or(UpstreamFault::ServiceFailed)
}

#[cfg(test)]
mod tests {
    use std::io;

    use http_body_util::{BodyExt, Full};
    use tower::service_fn;

    use super::*;
    use crate::exchange::flow::tests::{KEY, TestState};

    fn request() -> Request<Full<Bytes>> {
        let request = Request::get("/people").header("host", "x").header("data-purpose", "direct-marketing");
        let request = request.header("authorization", format!("Bearer {KEY}"));
        request.body(Full::default()).unwrap()
    }

    /// Returns how many calls of the upstream without a response are counted after a request whose upstream fails once it has
    /// read this body.
    async fn counted_errors(body: &'static str) -> (u16, u64) {
        let keys = "methods = [\"POST\"]\noperation = \"disclose\"\nmax-request-body = 4\n";
        let state = TestState::new(keys).await;
        let inner = service_fn(|request: Request<RequestBody<Full<Bytes>>>| async move {
            let _ = request.into_body().collect().await;
            Err::<Response<Full<Bytes>>, _>(io::Error::other("broken"))
        });
        let mut request = request().map(|_| Full::from(body));
        *request.method_mut() = http::Method::POST;
        let (status, _) = respond_to(&state, request, inner).await;
        (status, state.shared.metrics.upstream_requests.with_label_values(&["crm", "error"]).get())
    }

    #[tokio::test]
    async fn a_fault_of_the_recipient_is_no_error_of_the_upstream() {
        assert_eq!(counted_errors("{}").await, (502, 1));
        assert_eq!(counted_errors("[1, 2, 3]").await, (413, 0), "the body is too large");
    }

    /// Returns status and body of the response to [`request`], with this service behind the layer.
    async fn respond<S, U>(inner: S) -> (u16, String)
    where
        S: Service<Request<RequestBody<Full<Bytes>>>, Response = Response<U>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        U: Body<Data = Bytes> + Send + 'static,
    {
        respond_to(&TestState::new("").await, request(), inner).await
    }

    /// Returns status and body of the response to a request, with this service behind the layer.
    async fn respond_to<S, U>(state: &TestState, request: Request<Full<Bytes>>, inner: S) -> (u16, String)
    where
        S: Service<Request<RequestBody<Full<Bytes>>>, Response = Response<U>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        U: Body<Data = Bytes> + Send + 'static,
    {
        let mut service = PurposeLayer::new(Arc::clone(&state.shared)).layer(inner);
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_handler_that_cannot_fail_is_scrubbed() {
        let (status, body) = respond(service_fn(async |_| {
            let body = r#"{"items": [{"id": "p-1", "name": "Ada"}, {"id": "p-3", "name": "Cleo"}]}"#;
            let response = Response::builder().header("content-type", "application/json");
            Ok::<_, Infallible>(response.body(Full::from(body)).unwrap())
        }))
        .await;
        assert_eq!(status, 200);
        assert!(body.contains("Ada") && !body.contains("Cleo"), "{body}");
    }

    #[tokio::test]
    async fn any_error_of_the_inner_service_is_a_refusal() {
        let (status, body) =
            respond(service_fn(async |_| Err::<Response<Full<Bytes>>, _>(io::Error::other("jane")))).await;
        assert_eq!(status, 502);
        assert!(body.contains("upstream-unreachable") && !body.contains("jane"), "{body}");
        let fault: BoxError = UpstreamFault::HeadTimeout.into();
        let (status, _) = respond(service_fn(async move |_| {
            let fault: BoxError = UpstreamFault::HeadTimeout.into();
            Err::<Response<Full<Bytes>>, _>(fault)
        }))
        .await;
        assert_eq!((status, super::fault(&fault)), (504, UpstreamFault::HeadTimeout));
    }
}
