//! The limit of open connections of one listener: of all clients together, and of one client address.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use prometheus::IntCounter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::exchange::TrustedProxies;
use crate::exchange::concurrency::{ConcurrencyLimit, ConcurrencyPermit};
use crate::log_limit::LogLimit;

/// The addresses that count as one client: an IPv4 address, or the 64-bit prefix of an IPv6 address, because a provider
/// assigns at least such a prefix to each customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AddressBlock(IpAddr);

impl AddressBlock {
    pub(super) fn of(address: IpAddr) -> AddressBlock {
        AddressBlock(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX))),
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// A limit of open connections.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    max: u32,
    open: Arc<Semaphore>,
    shares: Arc<AddressShares>,
}

/// The connections of each client address.
#[derive(Debug)]
struct AddressShares {
    limit: Arc<ConcurrencyLimit<AddressBlock>>,
    /// The proxies that connect for many clients.
    exempt: TrustedProxies,
    refused: IntCounter,
}

/// Counts one connection as open until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    _open: OwnedSemaphorePermit,
    shares: Arc<AddressShares>,
    of_address: Option<ConcurrencyPermit<AddressBlock>>,
}

impl ConnectionLimit {
    /// A limit of `max` connections; `refused` counts those beyond.
    pub(super) fn new(max: u32, refused: IntCounter) -> ConnectionLimit {
        let shares = AddressShares::new(max as usize, TrustedProxies::default(), refused);
        ConnectionLimit { max, open: Arc::new(Semaphore::new(max as usize)), shares }
    }

    /// Limits the connections of one client address, too. Those of `exempt` proxies count only in total.
    pub(super) fn per_address(self, max: usize, exempt: TrustedProxies) -> ConnectionLimit {
        let shares = AddressShares::new(max, exempt, self.shares.refused.clone());
        ConnectionLimit { shares, ..self }
    }

    /// Counts a connection from this address as open; `None` if it is beyond the limit.
    pub(super) fn admit(&self, address: IpAddr) -> Option<ConnectionPermit> {
        static REFUSED: LogLimit = LogLimit::new();
        let Ok(open) = Arc::clone(&self.open).try_acquire_owned() else {
            self.shares.refused.inc();
            if let Some(count) = REFUSED.admit() {
                tracing::warn!(count, open = self.max, "connections refused: the maximum number is open");
            }
            return None;
        };
        let shares = Arc::clone(&self.shares);
        let mut permit = ConnectionPermit { _open: open, shares, of_address: None };
        permit.assign(address).then_some(permit)
    }

    /// Returns when no connection is open.
    pub(super) async fn all_closed(&self) {
        // Cannot fail: the semaphore is never closed.
        let _ = self.open.acquire_many(self.max).await;
    }
}

impl AddressShares {
    fn new(max_each: usize, exempt: TrustedProxies, refused: IntCounter) -> Arc<AddressShares> {
        // Together they are never more than the connections that are open.
        Arc::new(AddressShares { limit: ConcurrencyLimit::new(usize::MAX, max_each), exempt, refused })
    }
}

impl ConnectionPermit {
    /// Counts the connection as one of this client address, and no longer as one of another. False if it is beyond the
    /// limit of the address.
    pub(super) fn assign(&mut self, address: IpAddr) -> bool {
        static REFUSED: LogLimit = LogLimit::new();
        self.of_address = None;
        let AddressShares { limit, exempt, refused } = &*self.shares;
        if exempt.contains(address) {
            return true;
        }
        self.of_address = limit.acquire(&AddressBlock::of(address)).ok();
        if self.of_address.is_none() {
            refused.inc();
            if let Some(count) = REFUSED.admit() {
                tracing::warn!(count, "connections refused: one address has its maximum number open");
            }
        }
        self.of_address.is_some()
    }
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;

    use super::*;

    fn block(address: &str) -> AddressBlock {
        AddressBlock::of(address.parse().unwrap())
    }

    #[test]
    fn an_ipv6_customer_is_one_client() {
        assert_eq!(block("2001:db8:1:2::1"), block("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(block("2001:db8:1:2::1"), block("2001:db8:1:3::1"));
        assert_eq!(block("::ffff:192.0.2.1"), block("192.0.2.1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
    }

    #[tokio::test]
    async fn one_address_cannot_open_all_connections_unless_it_is_a_trusted_proxy() {
        let [one, other, third, proxy] =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "10.0.0.1"].map(|address| address.parse().unwrap());
        let proxies = TrustedProxies::new([IpNet::from(proxy)]);
        let refused = IntCounter::new("refused", "Connections").unwrap();
        let limit = ConnectionLimit::new(4, refused.clone()).per_address(2, proxies);
        let own: Vec<ConnectionPermit> = (0..2).map(|_| limit.admit(one).unwrap()).collect();
        assert!(limit.admit(one).is_none());
        let mut proxied = [limit.admit(proxy).unwrap(), limit.admit(proxy).unwrap()];
        assert!(limit.admit(third).is_none(), "all are open");
        assert_eq!(refused.get(), 2);
        assert!(!proxied[0].assign(one), "a connection of a proxy counts for its client once that is known");
        assert!(proxied[1].assign(other));
        drop(own);
        assert!(proxied[0].assign(one));
        assert!(futures_util::poll!(std::pin::pin!(limit.all_closed())).is_pending());
        drop(proxied);
        limit.all_closed().await;
    }
}
