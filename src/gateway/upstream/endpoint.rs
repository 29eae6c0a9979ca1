//! One address of an upstream: its connections, and the requests under way.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Instant;

use http::HeaderValue;
use http::uri::Authority;
use tokio::sync::Mutex;

use super::connection::{Connector, Http1Connection, OpenedConnection};
use super::pool::{IdleConnections, SharedConnections, SharedPlace, StreamLease};
use crate::config::UpstreamOrigin;
use crate::exchange::upstream_fault::UpstreamFault;

/// The version of HTTP that an address speaks is not known yet.
const UNKNOWN: u8 = 0;
const HTTP1: u8 = 1;
const HTTP2: u8 = 2;

/// One address of an upstream.
pub(super) struct Endpoint {
    pub(super) authority: Authority,
    /// The authority as the value of `Host`.
    pub(super) host: HeaderValue,
    pub(super) connector: Connector,
    /// True if a connection can serve more than one request.
    pub(super) reuse: bool,
    in_flight: AtomicUsize,
    pub(super) idle: IdleConnections,
    shared: SharedConnections,
    /// The version that was negotiated last.
    version: AtomicU8,
    /// Held while a connection is opened that others can share.
    opening: Mutex<()>,
}

/// A connection for one request.
pub(super) enum ConnectionLease {
    Http1 { connection: Http1Connection, is_new: bool },
    Http2(StreamLease),
}

impl Endpoint {
    pub(super) fn new(origin: &UpstreamOrigin, connector: Connector, reuse: bool) -> Endpoint {
        let version = if connector.tls.is_some() { UNKNOWN } else { HTTP1 };
        Endpoint {
            authority: origin.authority.clone(),
            host: HeaderValue::from_str(origin.authority.as_str())
                .unwrap_or_else(|_| HeaderValue::from_static("")),
            connector,
            reuse,
            in_flight: AtomicUsize::new(0),
            idle: IdleConnections::default(),
            shared: SharedConnections::default(),
            version: AtomicU8::new(version),
            opening: Mutex::default(),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.connector.address
    }

    /// Number of requests under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Returns a connection that is idle or shared, or a new one. With `fresh` it is a new one.
    ///
    /// # Errors
    /// The [`UpstreamFault`] for which there is no new connection.
    pub(super) async fn lease(&self, fresh: bool) -> Result<ConnectionLease, UpstreamFault> {
        if fresh || !self.reuse {
            return self.open().await;
        }
        if self.version.load(Ordering::Relaxed) != HTTP1
            && let Some(stream) = self.shared_stream().await
        {
            return Ok(ConnectionLease::Http2(stream));
        }
        if let Some(connection) = self.idle.take().await {
            return Ok(ConnectionLease::Http1 { connection, is_new: false });
        }
        if self.version.load(Ordering::Relaxed) == HTTP1 {
            return self.open().await;
        }
        let opened = tokio::time::timeout(self.connector.timeout, self.open_shared()).await;
        opened.unwrap_or(Err(UpstreamFault::ConnectTimeout))
    }

    /// Returns a stream of an HTTP/2 connection; waits while all streams of all connections are in use. `None` if a
    /// connection may be opened.
    async fn shared_stream(&self) -> Option<StreamLease> {
        loop {
            // Before the look, or the end of a stream right after it would be missed.
            let mut freed = pin!(self.shared.freed());
            freed.as_mut().enable();
            match self.shared.take() {
                SharedPlace::Free(stream) => return Some(stream),
                SharedPlace::NoConnection => return None,
                SharedPlace::Full => freed.await,
            }
        }
    }

    /// Opens a connection while nobody else does, so that requests that arrive together share one.
    async fn open_shared(&self) -> Result<ConnectionLease, UpstreamFault> {
        let _opening = self.opening.lock().await;
        match self.shared.take() {
            SharedPlace::Free(stream) => Ok(ConnectionLease::Http2(stream)),
            SharedPlace::NoConnection | SharedPlace::Full => self.open().await,
        }
    }

    async fn open(&self) -> Result<ConnectionLease, UpstreamFault> {
        // Connecting is rare, and its future is large: every request would carry it along.
        match Box::pin(self.connector.connect()).await? {
            OpenedConnection::Http1(connection) => {
                self.version.store(HTTP1, Ordering::Relaxed);
                Ok(ConnectionLease::Http1 { connection, is_new: true })
            }
            OpenedConnection::Http2(connection) => {
                self.version.store(HTTP2, Ordering::Relaxed);
                Ok(ConnectionLease::Http2(self.shared.add(connection, self.reuse)))
            }
        }
    }

    /// Closes connections that were idle for too long.
    pub(super) fn prune(&self, now: Instant) {
        self.idle.prune(now);
        self.shared.prune(now);
    }
}

/// Counts a request as under way at an address until it is dropped.
pub(super) struct InFlight(Arc<Endpoint>);

impl InFlight {
    pub(super) fn at(endpoint: &Arc<Endpoint>) -> InFlight {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(endpoint))
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
