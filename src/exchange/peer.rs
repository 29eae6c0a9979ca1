//! The peer of a request's connection.

use std::fmt::{self, Debug, Formatter};
use std::net::IpAddr;

/// The peer of a request's connection. An extension of the request, set by the listener.
#[derive(Clone, Copy)]
pub struct Peer {
    /// The peer's address.
    pub address: IpAddr,
    /// True if the connection is encrypted.
    pub encrypted: bool,
}

/// Omits the address, which may be personal data.
impl Debug for Peer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("encrypted", &self.encrypted).finish_non_exhaustive()
    }
}
