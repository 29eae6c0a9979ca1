//! The pool of connections to the upstreams, as the service behind the gate.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;

use crate::config;
use crate::layer::inbound::Inbound;
use crate::layer::upstream::{Destination, UpstreamFailure};

/// Idle connections are closed before common origins close them.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// Idle connections kept for each upstream.
const POOL_SIZE: usize = 64;

type Body = Inbound<Incoming>;

/// One upstream's address, bounds and connections.
#[derive(Debug)]
struct Upstream {
    authority: String,
    prefix: String,
    host: HeaderValue,
    timeout: Duration,
    connections: Client<HttpConnector, Body>,
}

type ByName = HashMap<Arc<str>, Arc<Upstream>>;

/// All upstreams; a request says in an extension which one it is for.
#[derive(Clone, Debug)]
pub(super) struct Upstreams(Arc<ArcSwap<ByName>>);

impl Upstreams {
    pub(super) fn new(upstreams: &[config::Upstream]) -> Upstreams {
        Upstreams(Arc::new(ArcSwap::from_pointee(by_name(upstreams))))
    }

    /// Replaces all upstreams. Exchanges under way keep their connections.
    pub(super) fn replace(&self, upstreams: &[config::Upstream]) {
        self.0.store(Arc::new(by_name(upstreams)));
    }
}

fn by_name(upstreams: &[config::Upstream]) -> ByName {
    upstreams.iter().map(|upstream| (Arc::clone(&upstream.name), Arc::new(Upstream::new(upstream)))).collect()
}

impl Upstream {
    fn new(config: &config::Upstream) -> Upstream {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(config.connect_timeout));
        connector.set_nodelay(true);
        let connections = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .build(connector);
        Upstream {
            authority: config.authority.clone(),
            prefix: config.prefix.clone(),
            host: HeaderValue::from_str(&config.authority).unwrap_or_else(|_| HeaderValue::from_static("")),
            timeout: config.timeout,
            connections,
        }
    }

    /// The same path and query bytes, at this upstream, under its own name.
    fn address(&self, mut request: Request<Body>) -> Option<Request<Body>> {
        let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.as_str())
            .path_and_query(format!("{}{target}", self.prefix))
            .build()
            .ok()?;
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().insert(HOST, self.host.clone());
        Some(request)
    }
}

impl Service<Request<Body>> for Upstreams {
    type Response = Response<Incoming>;
    type Error = UpstreamFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, UpstreamFailure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let destination = request.extensions().get::<Destination>();
        let upstream = destination.and_then(|Destination(name)| self.0.load().get(name).cloned());
        Box::pin(async move {
            let upstream = upstream.ok_or(UpstreamFailure::Unreachable)?;
            let request = upstream.address(request).ok_or(UpstreamFailure::Unreachable)?;
            match tokio::time::timeout(upstream.timeout, upstream.connections.request(request)).await {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(error)) if speaks_no_http(&error) => Err(UpstreamFailure::Unreadable),
                Ok(Err(_)) => Err(UpstreamFailure::Unreachable),
                Err(_) => Err(UpstreamFailure::Timeout),
            }
        })
    }
}

/// Whether the upstream answered, and with something that is not HTTP.
fn speaks_no_http(error: &hyper_util::client::legacy::Error) -> bool {
    error
        .source()
        .and_then(|source| source.downcast_ref::<hyper::Error>())
        .is_some_and(hyper::Error::is_parse)
}
