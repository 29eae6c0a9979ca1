//! Addresses of the host names of upstreams, by the system's resolver.
//!
//! Invariant: an address of a link-local network or of a cloud's metadata service is used only if the configuration has
//! written that address itself. Otherwise, whoever controls a name could direct requests to credentials of the machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::config::UpstreamOrigin;

/// Time for which an answer is used without asking again.
pub(super) const MAX_ANSWER_AGE: Duration = Duration::from_secs(30);
/// Age of an answer after which it is asked for again in the background.
pub(super) const REFRESH_AGE: Duration = Duration::from_secs(20);
/// Time for which an answer is used while asking again fails.
pub(super) const MAX_STALE_AGE: Duration = Duration::from_secs(300);
/// Time until a name is asked for again after a failure.
pub(super) const RETRY: Duration = Duration::from_secs(5);
/// Time that one question may take. The resolver of the system has timeouts of its own, which end its thread.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of addresses of one name.
const MAX_ADDRESSES: usize = 32;

/// Metadata services outside of the link-local networks: Amazon (IPv6), Alibaba, Oracle, Azure.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// The addresses of one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvedAddresses {
    /// Sorted, without duplicates.
    pub(super) addresses: Vec<SocketAddr>,
    /// Number of addresses that may not be used.
    pub(super) forbidden: usize,
    /// Time of the answer; `None` for an address in the configuration.
    pub(super) at: Option<Instant>,
}

impl ResolvedAddresses {
    fn of_answer(found: impl Iterator<Item = SocketAddr>, now: Instant) -> ResolvedAddresses {
        let (mut addresses, forbidden): (Vec<SocketAddr>, Vec<SocketAddr>) =
            found.partition(|address| !is_forbidden(address.ip()));
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        ResolvedAddresses { addresses, forbidden: forbidden.len(), at: Some(now) }
    }

    /// True if the answer may still be used although asking again fails.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        self.usable_until().is_none_or(|until| now < until)
    }

    /// Returns the end of that time. `None` for an address in the configuration.
    pub(super) fn usable_until(&self) -> Option<Instant> {
        Some(self.at? + MAX_STALE_AGE)
    }
}

/// Returns the address of an origin whose host is one.
pub(super) fn literal(origin: &UpstreamOrigin) -> Option<ResolvedAddresses> {
    let address = SocketAddr::new(origin.host().parse().ok()?, origin.port());
    Some(ResolvedAddresses { addresses: vec![address], forbidden: 0, at: None })
}

/// Asks the system's resolver. `None` if it fails or has no address.
pub(super) async fn look_up(origin: &UpstreamOrigin) -> Option<ResolvedAddresses> {
    let lookup = tokio::net::lookup_host((origin.host(), origin.port()));
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await.ok()?.ok()?;
    let answer = ResolvedAddresses::of_answer(found, Instant::now());
    (!answer.addresses.is_empty() || answer.forbidden > 0).then_some(answer)
}

/// True for an address that a name may not have.
fn is_forbidden(address: IpAddr) -> bool {
    let address = embedded(address.to_canonical());
    METADATA.contains(&address)
        || match address {
            IpAddr::V4(address) => {
                address.is_link_local()
                    || address.is_multicast()
                    || address.is_broadcast()
                    || address.is_unspecified()
            }
            IpAddr::V6(address) => {
                address.is_unicast_link_local() || address.is_multicast() || address.is_unspecified()
            }
        }
}

/// Returns the IPv4 address that a NAT64 gateway makes of an address (RFC 6052), or the address itself.
fn embedded(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
            }
            _ => address,
        },
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lead_to_metadata() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(is_forbidden(address.parse().unwrap()), "{address}");
        }
        for address in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd00::1", "2001:db8::1", "100.64.0.1"]
        {
            assert!(!is_forbidden(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_answer_keeps_what_may_be_used() {
        let now = Instant::now();
        let found = ["10.0.0.2:1", "169.254.169.254:1", "10.0.0.1:1", "10.0.0.2:1"];
        let answer = ResolvedAddresses::of_answer(found.iter().map(|text| text.parse().unwrap()), now);
        let kept = ["10.0.0.1:1", "10.0.0.2:1"].map(|text| text.parse().unwrap());
        assert_eq!((answer.addresses.as_slice(), answer.forbidden), (&kept[..], 1));
        assert!(answer.is_usable(now) && !answer.is_usable(now + MAX_STALE_AGE));
    }

    #[test]
    fn an_address_in_the_configuration_is_used_as_it_is() {
        let origin = UpstreamOrigin { authority: "169.254.169.254:8080".parse().unwrap(), server_name: None };
        let written = literal(&origin).unwrap();
        assert_eq!(written.addresses, ["169.254.169.254:8080".parse().unwrap()]);
        let name = UpstreamOrigin { authority: "crm:8080".parse().unwrap(), server_name: None };
        assert_eq!(literal(&name), None);
    }
}
