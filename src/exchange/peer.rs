//! The peer of a request: the client, and the proxy that stands between the client and this gateway.

use std::fmt::{self, Debug, Formatter};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// The peer of a request. An extension of the request, set by the listener.
#[derive(Clone, Copy)]
pub struct Peer {
    /// Address of the client: of the connection's other end, or the one that a trusted proxy states. It is the proxy's own
    /// address if the proxy states none that can be read.
    pub address: IpAddr,
    /// Address of the trusted proxy that the connection comes from. `None` if the client is connected itself.
    pub proxy: Option<IpAddr>,
    /// True if the client's connection is encrypted: to this gateway, or to the trusted proxy.
    pub encrypted: bool,
}

impl Peer {
    /// A client that is connected itself.
    pub fn connected(address: IpAddr, encrypted: bool) -> Peer {
        Peer { address, proxy: None, encrypted }
    }

    /// The scheme of the client's connection: `http` or `https`.
    pub(super) fn scheme(&self) -> &'static str {
        if self.encrypted { "https" } else { "http" }
    }
}

/// Omits the addresses, which may be personal data.
impl Debug for Peer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("proxied", &self.proxy.is_some())
            .field("encrypted", &self.encrypted)
            .finish_non_exhaustive()
    }
}

/// The networks of the proxies that are believed when they state the address of a client. Cheap to clone. The default
/// trusts nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Option<Arc<[IpNet]>>);

impl TrustedProxies {
    /// Trusts the addresses of these networks.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> TrustedProxies {
        let networks: Arc<[IpNet]> = networks.into_iter().collect();
        TrustedProxies(Some(networks).filter(|networks| !networks.is_empty()))
    }

    /// True if nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// True if a proxy with this address is believed. An IPv4 address that is mapped into IPv6 counts as itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().flat_map(|networks| networks.iter()).any(|network| network.contains(&address))
    }
}
