//! The connections to the upstreams, as the service behind the gate.
//!
//! A pool of our own on hyper's connections: an exchange takes one, and gives it back when the body
//! has been read to its end; a body that is dropped before closes its connection. Invariant: a
//! request that has left is never sent again.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Request, Response, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use crate::config;
use crate::layer::inbound::Inbound;
use crate::layer::upstream::{Destination, UpstreamFailure};

/// Idle connections are closed before common origins close them.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// Bytes read at a time: what is scrubbed next still lies in the processor's cache.
const READ_BUFFER: usize = 64 * 1024;
/// Bytes of an answer's head at most.
const MAX_HEAD: usize = 64 * 1024;
/// Idle connections kept for each upstream.
const POOL_SIZE: usize = 64;

type Body = Inbound<Incoming>;

/// One upstream's address, bounds and idle connections.
#[derive(Debug)]
struct Upstream {
    /// Host and port.
    address: String,
    prefix: String,
    host: HeaderValue,
    connect_timeout: Duration,
    timeout: Duration,
    /// The one used last is taken first, so that the others can grow old.
    idle: Mutex<Vec<(SendRequest<Body>, Instant)>>,
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

/// The authority of an `http` URL as an address: without a port it is 80.
fn with_port(authority: &str) -> String {
    let has_port = authority.parse::<Authority>().is_ok_and(|authority| authority.port().is_some());
    if has_port { authority.to_owned() } else { format!("{authority}:80") }
}

impl Upstream {
    fn new(config: &config::Upstream) -> Upstream {
        Upstream {
            address: with_port(&config.authority),
            prefix: config.prefix.clone(),
            host: HeaderValue::from_str(&config.authority).unwrap_or_else(|_| HeaderValue::from_static("")),
            connect_timeout: config.connect_timeout,
            timeout: config.timeout,
            idle: Mutex::default(),
        }
    }

    /// The same path and query bytes, at this upstream, under its own name.
    fn address(&self, mut request: Request<Body>) -> Option<Request<Body>> {
        let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let target = match self.prefix.as_str() {
            "" if request.uri().authority().is_none() => None,
            prefix => Some(Uri::try_from(format!("{prefix}{target}")).ok()?),
        };
        if let Some(target) = target {
            *request.uri_mut() = target;
        }
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().insert(HOST, self.host.clone());
        Some(request)
    }

    /// Asks over a connection that is idle, or over a new one.
    async fn ask(self: Arc<Self>, mut request: Request<Body>) -> Result<Response<Reading>, UpstreamFailure> {
        loop {
            let (mut connection, is_new) = match self.idle().await {
                Some(connection) => (connection, false),
                None => (self.connect().await?, true),
            };
            match connection.try_send_request(request).await {
                Ok(response) => return Ok(response.map(|body| Reading::new(body, connection, self))),
                Err(mut failed) => match failed.take_message() {
                    // The upstream closed an idle connection just then: nothing of the request has left.
                    Some(unsent) if !is_new => request = unsent,
                    _ if failed.error().is_parse() => return Err(UpstreamFailure::Unreadable),
                    _ => return Err(UpstreamFailure::Unreachable),
                },
            }
        }
    }

    async fn idle(&self) -> Option<SendRequest<Body>> {
        loop {
            let (connection, since) = self.lock().pop()?;
            if since.elapsed() >= POOL_IDLE {
                continue;
            }
            if !connection.is_ready() {
                // It ended its last exchange just now and still has to say so. One that does not, as
                // the last request's body still goes over it, is not waited for.
                tokio::task::yield_now().await;
            }
            if connection.is_ready() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Body>, UpstreamFailure> {
        let connected = tokio::time::timeout(self.connect_timeout, TcpStream::connect(self.address.as_str()));
        let stream = connected.await.ok().and_then(Result::ok).ok_or(UpstreamFailure::Unreachable)?;
        // A refinement: a connection without it still works.
        let _ = stream.set_nodelay(true);
        let mut http1 = http1::Builder::new();
        http1.max_buf_size(READ_BUFFER).max_header_size(MAX_HEAD);
        let made = http1.handshake(TokioIo::new(stream)).await;
        let (connection, driving) = made.map_err(|_| UpstreamFailure::Unreachable)?;
        tokio::spawn(async move {
            if let Err(error) = driving.await {
                // hyper's words name kinds of errors, never bytes of the message.
                tracing::debug!(%error, "upstream connection ended");
            }
        });
        Ok(connection)
    }

    fn give_back(&self, connection: SendRequest<Body>) {
        let now = Instant::now();
        let mut idle = self.lock();
        if idle.first().is_some_and(|(_, since)| now.duration_since(*since) >= POOL_IDLE) {
            idle.retain(|(_, since)| now.duration_since(*since) < POOL_IDLE);
        }
        if idle.len() < POOL_SIZE && !connection.is_closed() {
            idle.push((connection, now));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(SendRequest<Body>, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer, with the connection that it comes over.
#[derive(Debug)]
pub(super) struct Reading {
    body: Incoming,
    connection: Option<(SendRequest<Body>, Arc<Upstream>)>,
}

impl Reading {
    fn new(body: Incoming, connection: SendRequest<Body>, upstream: Arc<Upstream>) -> Reading {
        let mut reading = Reading { body, connection: Some((connection, upstream)) };
        reading.release_at_end();
        reading
    }

    fn release_at_end(&mut self) {
        if self.body.is_end_stream()
            && let Some((connection, upstream)) = self.connection.take()
        {
            upstream.give_back(connection);
        }
    }
}

impl http_body::Body for Reading {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let reading = self.get_mut();
        let frame = std::task::ready!(Pin::new(&mut reading.body).poll_frame(context));
        match &frame {
            Some(Ok(_)) => reading.release_at_end(),
            // Not to be used again, whatever it is.
            Some(Err(_)) => drop(reading.connection.take()),
            None => {
                if let Some((connection, upstream)) = reading.connection.take() {
                    upstream.give_back(connection);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Service<Request<Body>> for Upstreams {
    type Response = Response<Reading>;
    type Error = UpstreamFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Reading>, UpstreamFailure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let destination = request.extensions().get::<Destination>();
        let upstream = destination.and_then(|Destination(name)| self.0.load().get(name).cloned());
        Box::pin(async move {
            let upstream = upstream.ok_or(UpstreamFailure::Unreachable)?;
            let request = upstream.address(request).ok_or(UpstreamFailure::Unreachable)?;
            let answered = tokio::time::timeout(upstream.timeout, Arc::clone(&upstream).ask(request)).await;
            answered.unwrap_or(Err(UpstreamFailure::Timeout))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_without_a_port_listens_on_80() {
        for (authority, address) in [
            ("crm", "crm:80"),
            ("crm:9000", "crm:9000"),
            ("127.0.0.1", "127.0.0.1:80"),
            ("[::1]", "[::1]:80"),
            ("[::1]:9000", "[::1]:9000"),
        ] {
            assert_eq!(with_port(authority), address);
        }
    }
}
