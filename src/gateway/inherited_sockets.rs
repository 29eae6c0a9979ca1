//! Listening sockets that the parent process hands over (`LISTEN_FDS`, the protocol of systemd's socket activation).
//!
//! The sockets stay open across a restart, so connections that arrive meanwhile wait in their queues and are not refused.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use socket2::SockRef;

/// Length of the queue of connections that are not accepted yet. The kernel bounds it, too (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// The sockets that were handed over and not used yet, each with its address.
#[derive(Debug, Default)]
pub struct InheritedSockets(Vec<(SocketAddr, TcpListener)>);

/// The reason why sockets that were handed over cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedSocketError {
    /// A descriptor is no TCP socket.
    #[error("socket {number} of LISTEN_FDS cannot be used: {source}")]
    Unusable {
        /// Its number, counted from 0.
        number: usize,
        /// The cause.
        source: std::io::Error,
    },
    /// No section of the configuration has the address of a socket.
    #[error(
        "the socket {socket} was handed over (LISTEN_FDS), but no listener, admin or probes section has its address; the \
         configured addresses are {}",
        configured.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Unmatched {
        /// Address of the socket.
        socket: SocketAddr,
        /// Addresses of the configuration.
        configured: Vec<SocketAddr>,
    },
}

impl InheritedSockets {
    /// Takes the sockets that the environment names. Child processes do not inherit them. Call it before the process starts
    /// threads, because it removes the variables from the environment.
    ///
    /// # Errors
    /// [`InheritedSocketError::Unusable`].
    pub fn from_env() -> Result<InheritedSockets, InheritedSocketError> {
        let mut handed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for number in 0..handed.len() {
            let prepared =
                handed.take_tcp_listener(number).and_then(|socket| socket.map(prepare).transpose());
            sockets.extend(prepared.map_err(|source| InheritedSocketError::Unusable { number, source })?);
        }
        Ok(InheritedSockets(sockets))
    }

    /// True if no socket was handed over.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Assigns the sockets to the configured addresses, in their order; `None` for an address that is to be bound. A socket
    /// is for the same address, or else for the same IP address with port 0, which means any port.
    ///
    /// # Errors
    /// [`InheritedSocketError::Unmatched`]: a socket is left.
    pub(super) fn assign(
        mut self,
        configured: &[SocketAddr],
    ) -> Result<Vec<Option<TcpListener>>, InheritedSocketError> {
        let mut assigned: Vec<Option<TcpListener>> =
            configured.iter().map(|address| self.take(|socket| socket == *address)).collect();
        for (address, slot) in configured.iter().zip(&mut assigned) {
            if address.port() == 0 && slot.is_none() {
                *slot = self.take(|socket| socket.ip() == address.ip());
            }
        }
        match self.0.first() {
            None => Ok(assigned),
            Some((socket, _)) => {
                Err(InheritedSocketError::Unmatched { socket: *socket, configured: configured.to_vec() })
            }
        }
    }

    fn take(&mut self, fits: impl Fn(SocketAddr) -> bool) -> Option<TcpListener> {
        let at = self.0.iter().position(|(address, _)| fits(*address))?;
        Some(self.0.remove(at).1)
    }
}

/// Makes a socket ready for the runtime, with a long queue.
fn prepare(socket: TcpListener) -> std::io::Result<(SocketAddr, TcpListener)> {
    socket.set_nonblocking(true)?;
    SockRef::from(&socket).listen(BACKLOG)?;
    Ok((socket.local_addr()?, socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(count: usize) -> (InheritedSockets, Vec<SocketAddr>) {
        let bound = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let sockets: Vec<_> = bound.map(|socket| prepare(socket).unwrap()).collect();
        let addresses = sockets.iter().map(|(address, _)| *address).collect();
        (InheritedSockets(sockets), addresses)
    }

    fn assigned(handed: InheritedSockets, configured: &[SocketAddr]) -> Vec<Option<SocketAddr>> {
        let assigned = handed.assign(configured).unwrap();
        assigned.into_iter().map(|socket| socket.map(|socket| socket.local_addr().unwrap())).collect()
    }

    #[test]
    fn a_socket_is_used_for_its_address_and_port_0_means_any() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let other: SocketAddr = "127.0.0.2:0".parse().unwrap();
        let (handed, has) = sockets(2);
        assert_eq!(assigned(handed, &[has[1], has[0]]), [Some(has[1]), Some(has[0])]);
        let (handed, has) = sockets(2);
        assert_eq!(assigned(handed, &[any, any]), [Some(has[0]), Some(has[1])]);
        // An address that is written out is served before port 0.
        let (handed, has) = sockets(2);
        assert_eq!(assigned(handed, &[any, has[0], other]), [Some(has[1]), Some(has[0]), None]);
        assert_eq!(assigned(InheritedSockets::default(), &[any, other]), [None, None]);
    }

    #[test]
    fn a_socket_without_a_section_is_an_error_that_names_both() {
        let (handed, has) = sockets(1);
        let other: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let words = handed.assign(&[other]).unwrap_err().to_string();
        assert!(words.contains(&has[0].to_string()) && words.contains("127.0.0.1:1"), "{words}");
    }
}
