//! Accepts the connections of one listener up to a bound, in total and by client address. Beyond it, connections are
//! closed at once and counted.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::connection_limit::{ConnectionLimit, ConnectionPermit};
use crate::log_limit::LogLimit;

/// Pause after a failed attempt to accept. The process most likely has no file descriptor left, and other connections
/// need time to end.
const PAUSE: Duration = Duration::from_millis(50);

/// A bound socket, and the limit of its connections.
#[derive(Debug)]
pub(super) struct Acceptor {
    socket: TcpListener,
    limit: ConnectionLimit,
}

impl Acceptor {
    /// Accepts connections within a limit.
    pub(super) fn new(socket: TcpListener, limit: ConnectionLimit) -> Acceptor {
        Acceptor { socket, limit }
    }

    /// Returns the bound address, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// The error of the system, if the socket no longer has an address.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Returns the next connection, the address of its peer, and the permit that counts it as open until it is dropped.
    pub(super) async fn accept(&self) -> (TcpStream, IpAddr, ConnectionPermit) {
        static CANNOT_ACCEPT: LogLimit = LogLimit::new();
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
            if let Some(permit) = self.limit.admit(from.ip()) {
                return (stream, from.ip(), permit);
            }
        }
    }

    /// Closes the socket, and returns when all connections have ended.
    pub(super) async fn close(self) {
        drop(self.socket);
        self.limit.all_closed().await;
    }
}
