//! Connections of one listener: accepted up to a bound, refused and counted beyond it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::log_limit::LogLimit;

/// Before the next attempt where a connection cannot be accepted: out of file descriptors, most likely, and
/// the others need time to end.
const PAUSE: Duration = Duration::from_millis(50);

/// A bound socket and the bound of its connections.
#[derive(Debug)]
pub(super) struct Acceptor {
    socket: TcpListener,
    max: u32,
    open: Arc<Semaphore>,
    refused: IntCounter,
}

impl Acceptor {
    /// Accepts at most `max` connections at a time; `refused` counts the others.
    pub(super) fn new(socket: TcpListener, max: u32, refused: IntCounter) -> Acceptor {
        Acceptor { socket, max, open: Arc::new(Semaphore::new(max as usize)), refused }
    }

    /// The bound address, with the port that was chosen for port 0.
    ///
    /// # Errors
    /// Where the socket has none any more.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection, where it comes from, and its place among those that may be open.
    pub(super) async fn accept(&self) -> (TcpStream, IpAddr, OwnedSemaphorePermit) {
        static CANNOT_ACCEPT: LogLimit = LogLimit::new();
        static REFUSED: LogLimit = LogLimit::new();
        loop {
            let (stream, from) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(count) = CANNOT_ACCEPT.admit() {
                        tracing::warn!(%error, count, "connections cannot be accepted");
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            match Arc::clone(&self.open).try_acquire_owned() {
                Ok(place) => return (stream, from.ip(), place),
                Err(_) => {
                    self.refused.inc();
                    if let Some(count) = REFUSED.admit() {
                        tracing::warn!(
                            count,
                            open = self.max,
                            "connections refused: as many are open as may be"
                        );
                    }
                }
            }
        }
    }

    /// Accepts no more, and returns when all connections have ended.
    pub(super) async fn close(self) {
        drop(self.socket);
        // The semaphore is never closed, so this only waits.
        let _ = self.open.acquire_many(self.max).await;
    }
}
