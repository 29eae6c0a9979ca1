//! The probes listener (`[probes]`): `/healthz`, `/readyz`, `/metrics` and nothing else, for load balancers, container
//! engines and Prometheus.
//!
//! It can be public, so it tells nothing about people, and everything is bounded: connections, connections of one client,
//! requests of a connection, and each wait. It asks for no authority, because probers name pods by changing addresses.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;

use super::acceptor::Acceptor;
use super::connection::HEAD_TIME;
use super::connection_limit::ConnectionLimit;
use super::stage::{Stage, reached};
use super::status::{EXPOSITION, ProcessStatus};
use crate::exchange::TrustedProxies;

/// Maximum number of open connections of one client address.
const MAX_CONNECTIONS_PER_ADDRESS: usize = 16;
/// Maximum number of requests of one connection.
const MAX_REQUESTS: u32 = 1000;
/// Time in which a prober has to accept at least one byte of a response.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// Maximum size of a request's head in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The bound probes listener.
#[derive(Debug)]
pub(super) struct ProbesListener {
    acceptor: Acceptor,
    status: ProcessStatus,
}

impl ProbesListener {
    pub(super) fn new(socket: TcpListener, limit: ConnectionLimit, status: ProcessStatus) -> ProbesListener {
        let limit = limit.per_address(MAX_CONNECTIONS_PER_ADDRESS, TrustedProxies::default());
        ProbesListener { acceptor: Acceptor::new(socket, limit), status }
    }

    /// Returns the bound address, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// The error of the system, if the socket no longer has an address.
    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.acceptor.address()
    }

    /// Serves until the gateway closes.
    pub(super) async fn run(self, mut stage: watch::Receiver<Stage>) {
        loop {
            let (stream, _, permit) = tokio::select! {
                accepted = self.acceptor.accept() => accepted,
                () = reached(&mut stage, Stage::Closing) => return,
            };
            let status = self.status.clone();
            tokio::spawn(async move {
                serve(stream, status).await;
                drop(permit);
            });
        }
    }
}

async fn serve(stream: TcpStream, status: ProcessStatus) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIME));
    let requests = Arc::new(AtomicU32::new(0));
    let service = service_fn(move |request: Request<Incoming>| {
        let status = status.clone();
        let is_last = requests.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_REQUESTS;
        async move {
            let mut response = respond(&status, &request).await;
            if is_last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "probe connection ended");
    }
}

/// Answers a request by its path and method alone. hyper drops the body of a response to HEAD.
async fn respond<B>(status: &ProcessStatus, request: &Request<B>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
        return problem(StatusCode::NOT_FOUND, "there is nothing at this path\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are possible\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/healthz" => {
            let (status, text) = status.liveness();
            response(status, "text/plain", text)
        }
        "/readyz" => {
            let (status, state) = status.readiness().await;
            response(status, "application/json", state.to_string())
        }
        _ => match status.exposition() {
            Ok(text) => response(StatusCode::OK, EXPOSITION, text),
            Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be encoded\n"),
        },
    }
}

fn problem(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain", text)
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
