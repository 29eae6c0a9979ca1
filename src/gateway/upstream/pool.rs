//! The connections to one address that can serve further requests: idle ones of HTTP/1.1, and shared ones of HTTP/2.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::connection::{Http1Connection, Http2Connection};

/// Time after which an idle connection is closed: shortly before Node, uvicorn and Apache close it (5 s).
const IDLE: Duration = Duration::from_secs(4);
/// Maximum idle time if the upstream announces its own (`Keep-Alive: timeout=…`).
const MAX_IDLE: Duration = Duration::from_secs(30);
/// Maximum number of idle HTTP/1.1 connections to one address.
const MAX_IDLE_CONNECTIONS: usize = 64;
/// Time after which an HTTP/2 connection without requests is closed.
const SHARED_IDLE: Duration = Duration::from_secs(30);
/// Maximum number of HTTP/2 connections to one address.
const MAX_SHARED_CONNECTIONS: usize = 8;
/// Age from which on an HTTP/2 connection gets no new requests, so that load moves to addresses that were added.
const MAX_SHARED_AGE: Duration = Duration::from_secs(600);

/// Idle HTTP/1.1 connections.
#[derive(Debug, Default)]
pub(super) struct IdleConnections {
    /// A stack: the connection used last is taken first, so that surplus connections time out.
    idle: Mutex<Vec<IdleConnection>>,
}

/// A connection that no exchange uses.
#[derive(Debug)]
struct IdleConnection {
    connection: Http1Connection,
    until: Instant,
}

impl IdleConnections {
    pub(super) async fn take(&self) -> Option<Http1Connection> {
        loop {
            let IdleConnection { connection, until } = self.lock().pop()?;
            if Instant::now() >= until {
                continue;
            }
            if !connection.sender.is_ready() {
                // The task of the connection may not have run since the last exchange ended. If the connection is still
                // not ready after that, the body of the last request is still being sent, and another connection is
                // used.
                tokio::task::yield_now().await;
            }
            if connection.sender.is_ready() {
                return Some(connection);
            }
        }
    }

    pub(super) fn give_back(&self, connection: Http1Connection, keep_alive_time: Duration) {
        let now = Instant::now();
        let mut idle = self.lock();
        if idle.first().is_some_and(|oldest| oldest.until <= now) {
            idle.retain(|one| one.until > now);
        }
        if !keep_alive_time.is_zero() && idle.len() < MAX_IDLE_CONNECTIONS && !connection.sender.is_closed() {
            idle.push(IdleConnection { connection, until: now + keep_alive_time });
        }
    }

    /// Closes connections that were idle for too long.
    pub(super) fn prune(&self, now: Instant) {
        self.lock().retain(|one| one.until > now && !one.connection.sender.is_closed());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<IdleConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns how long a connection may be idle: one second less than the upstream announces, or [`IDLE`].
pub(super) fn keep_alive_time(headers: &HeaderMap) -> Duration {
    let fields = headers.get_all("keep-alive").iter().filter_map(|value| value.to_str().ok());
    let timeout = fields.flat_map(|value| value.split(',')).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
        is_timeout.then(|| value.trim().trim_matches('"').parse().ok())?
    });
    let said = |seconds: u64| Duration::from_secs(seconds.saturating_sub(1)).min(MAX_IDLE);
    timeout.map_or(IDLE, said)
}

/// HTTP/2 connections, which requests share.
#[derive(Debug, Default)]
pub(super) struct SharedConnections {
    connections: Mutex<Vec<Arc<SharedConnection>>>,
    /// Notified when a stream has ended.
    freed: Arc<Notify>,
}

#[derive(Debug)]
struct SharedConnection {
    connection: Http2Connection,
    opened: Instant,
    /// When the last stream ended.
    used: Mutex<Instant>,
    /// Streams under way.
    streams: AtomicUsize,
    /// True if it gets no new streams.
    is_retired: AtomicBool,
    freed: Arc<Notify>,
}

/// The place for a free stream, or the reason why there is none.
pub(super) enum SharedPlace {
    Free(StreamLease),
    /// A connection may be opened.
    NoConnection,
    /// All connections that there may be are in use: wait for [`SharedConnections::freed`].
    Full,
}

impl SharedConnections {
    /// Takes a stream of the connection with the fewest ones.
    pub(super) fn take(&self) -> SharedPlace {
        let now = Instant::now();
        let mut connections = self.lock();
        connections.retain(|one| one.is_usable(now));
        let has_free =
            |one: &&Arc<SharedConnection>| one.streams.load(Ordering::Relaxed) < one.connection.max_streams();
        let least = connections.iter().filter(has_free);
        match least.min_by_key(|one| one.streams.load(Ordering::Relaxed)) {
            Some(connection) => SharedPlace::Free(StreamLease::new(connection, false)),
            None if connections.len() < MAX_SHARED_CONNECTIONS => SharedPlace::NoConnection,
            None => SharedPlace::Full,
        }
    }

    /// Returns the first stream of a new connection. The connection is shared if there may be one more.
    pub(super) fn add(&self, connection: Http2Connection, reuse: bool) -> StreamLease {
        let now = Instant::now();
        let connection = Arc::new(SharedConnection {
            connection,
            opened: now,
            used: Mutex::new(now),
            streams: AtomicUsize::new(0),
            is_retired: AtomicBool::new(false),
            freed: Arc::clone(&self.freed),
        });
        let lease = StreamLease::new(&connection, true);
        let mut connections = self.lock();
        if reuse && connections.len() < MAX_SHARED_CONNECTIONS {
            connections.push(connection);
            drop(connections);
            self.freed.notify_waiters();
        }
        lease
    }

    /// Waits until a stream has ended, or a connection was added.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Closes connections that were idle for too long.
    pub(super) fn prune(&self, now: Instant) {
        let mut connections = self.lock();
        let before = connections.len();
        connections.retain(|one| one.is_usable(now));
        if connections.len() < before {
            // Others can be opened in their place.
            self.freed.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<SharedConnection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedConnection {
    fn is_usable(&self, now: Instant) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let idle_time = now.saturating_duration_since(used);
        let is_in_use = self.streams.load(Ordering::Relaxed) > 0;
        let is_young = now.saturating_duration_since(self.opened) < MAX_SHARED_AGE;
        let is_retired = self.is_retired.load(Ordering::Relaxed) || self.connection.sender.is_closed();
        !is_retired && is_young && (is_in_use || idle_time < SHARED_IDLE)
    }
}

/// One stream of a shared connection. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct StreamLease {
    shared: Arc<SharedConnection>,
    /// True for the first stream of a connection.
    pub(super) is_new: bool,
}

impl StreamLease {
    fn new(shared: &Arc<SharedConnection>, is_new: bool) -> StreamLease {
        shared.streams.fetch_add(1, Ordering::Relaxed);
        StreamLease { shared: Arc::clone(shared), is_new }
    }

    pub(super) fn connection(&self) -> &Http2Connection {
        &self.shared.connection
    }

    /// Gives the connection no more requests. It ends with its last stream.
    pub(super) fn retire(&self) {
        self.shared.is_retired.store(true, Ordering::Relaxed);
        self.shared.freed.notify_waiters();
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        *self.shared.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.shared.streams.fetch_sub(1, Ordering::Relaxed);
        self.shared.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_closed_before_its_upstream_closes_it() {
        for (value, seconds) in [
            ("timeout=5", 4),
            ("timeout=5, max=1000", 4),
            ("max=100, Timeout = \"15\"", 14),
            ("timeout=1", 0),
            ("timeout=0", 0),
            ("timeout=600", 30),
            ("timeout=soon", 4),
            ("max=3", 4),
        ] {
            let headers = HeaderMap::from_iter([("keep-alive".parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(keep_alive_time(&headers), Duration::from_secs(seconds), "{value}");
        }
        assert_eq!(keep_alive_time(&HeaderMap::new()), IDLE);
    }
}
