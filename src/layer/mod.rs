//! One exchange over HTTP: the gate as a tower layer around whatever answers.
//!
//! The gateway puts it in front of a pool of upstreams; an application can put it in front of its
//! own handlers. It knows nothing of sockets and files.

pub mod body;
mod opt_out;
pub mod request_body;
mod run;
pub mod upstream;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::{Layer, Service};

use self::request_body::RequestBody;
use self::upstream::UpstreamFailure;
use crate::exchange::SharedState;
use crate::exchange::pages::opt_out::is_opt_out_path;

/// Puts the gate in front of a service.
#[derive(Clone, Debug)]
pub struct PurposeLayer {
    gatehouse: Arc<SharedState>,
}

impl PurposeLayer {
    pub fn new(gatehouse: Arc<SharedState>) -> PurposeLayer {
        PurposeLayer { gatehouse }
    }
}

impl<S> Layer<S> for PurposeLayer {
    type Service = PurposeService<S>;

    fn layer(&self, inner: S) -> PurposeService<S> {
        PurposeService { gatehouse: Arc::clone(&self.gatehouse), inner }
    }
}

/// The gate: a service whose every answer went through an exchange.
#[derive(Clone, Debug)]
pub struct PurposeService<S> {
    gatehouse: Arc<SharedState>,
    inner: S,
}

impl<S, B, U> Service<Request<B>> for PurposeService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<U>, Error = UpstreamFailure>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    U: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<body::ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The inner service is asked when the exchange gets that far: a refusal needs none.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if is_opt_out_path(request.uri().path()) {
            let gatehouse = Arc::clone(&self.gatehouse);
            return Box::pin(async move { Ok(opt_out::answer(&gatehouse, request).await) });
        }
        let mut exchange = run::Exchange::new(Arc::clone(&self.gatehouse));
        let inner = self.inner.clone();
        Box::pin(async move { Ok(exchange.run(inner, request).await) })
    }
}
