//! Accepts the connections of one listener up to a bound. Beyond it, connections are closed at once and counted.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::log_limit::LogLimit;

/// Pause after a failed attempt to accept. The process most likely has no file descriptor left, and other connections
/// need time to end.
const PAUSE: Duration = Duration::from_millis(50);

/// A bound socket, and the maximum number of its connections.
#[derive(Debug)]
pub(super) struct Acceptor {
    socket: TcpListener,
    max: u32,
    open: Arc<Semaphore>,
    refused: IntCounter,
}

impl Acceptor {
    /// Allows `max` open connections; `refused` counts those beyond.
    pub(super) fn new(socket: TcpListener, max: u32, refused: IntCounter) -> Acceptor {
        Acceptor { socket, max, open: Arc::new(Semaphore::new(max as usize)), refused }
    }

    /// Returns the bound address, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// The error of the system, if the socket no longer has an address.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Returns the next connection, the address of its peer, and the permit that counts it as open until it is dropped.
    pub(super) async fn accept(&self) -> (TcpStream, IpAddr, OwnedSemaphorePermit) {
        static CANNOT_ACCEPT: LogLimit = LogLimit::new();
        static REFUSED: LogLimit = LogLimit::new();
        loop {
            let (stream, from) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(count) = CANNOT_ACCEPT.admit() {
                        tracing::warn!(%error, count, "cannot accept connections");
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            match Arc::clone(&self.open).try_acquire_owned() {
                Ok(permit) => return (stream, from.ip(), permit),
                Err(_) => {
                    self.refused.inc();
                    if let Some(count) = REFUSED.admit() {
                        tracing::warn!(
                            count,
                            open = self.max,
                            "connections refused: the maximum number is open"
                        );
                    }
                }
            }
        }
    }

    /// Closes the socket, and returns when all connections have ended.
    pub(super) async fn close(self) {
        drop(self.socket);
        // Cannot fail: the semaphore is never closed.
        let _ = self.open.acquire_many(self.max).await;
    }
}
