//! Reads the address of the client from the fields of trusted proxies: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Each proxy appends the address that it saw. So the fields are read from the right: the first address that is not one
//! of a trusted proxy is the client's, and everything to its left was written by the client. Invariants: nothing is read
//! from a peer that is not trusted; a field that cannot be read yields the address of the proxy, never an address that
//! somebody chose.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};

use super::peer::{Peer, TrustedProxies};
use super::request_head::{FORWARDED_FOR, FORWARDED_PROTO};

/// Maximum number of hops that a request may state.
const MAX_HOPS: usize = 100;

/// A hop that a proxy states: the sender of the request that it received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hop {
    /// `None` if the address is missing, obfuscated or malformed.
    address: Option<IpAddr>,
    /// `None` if the scheme is missing or unknown.
    encrypted: Option<bool>,
}

/// Returns the peer of a request with these fields that came from `connected`.
pub fn client(headers: &HeaderMap, connected: Peer, trusted: &TrustedProxies) -> Peer {
    if trusted.is_empty() || !trusted.contains(connected.address) {
        return connected;
    }
    let hop = match (forwarded_hops(headers), x_forwarded_hops(headers)) {
        (None, None) => return connected,
        (Some(hops), None) | (None, Some(hops)) => first_untrusted(&hops, trusted),
        // A proxy that writes one field may pass on a field of the other name that the client wrote.
        (Some(hops), Some(others)) => {
            let (hop, other) = (first_untrusted(&hops, trusted), first_untrusted(&others, trusted));
            let encrypted = hop.encrypted.filter(|_| hop.encrypted == other.encrypted);
            if hop.address == other.address { Hop { encrypted, ..hop } } else { Hop::default() }
        }
    };
    let proxy = connected.proxy.or(Some(connected.address));
    match hop.address {
        Some(address) => Peer { address, proxy, encrypted: hop.encrypted.unwrap_or(connected.encrypted) },
        None => Peer { proxy, ..connected },
    }
}

/// Returns the last hop that is not a trusted proxy, or the first hop if all are.
fn first_untrusted(hops: &[Hop], trusted: &TrustedProxies) -> Hop {
    let is_untrusted = |hop: &&Hop| hop.address.is_none_or(|address| !trusted.contains(address));
    hops.iter().rev().find(is_untrusted).or(hops.first()).copied().unwrap_or_default()
}

/// Returns the values of a field as text, in their order. `None` if one is not ASCII.
fn texts(headers: &HeaderMap, name: HeaderName) -> Option<Vec<&str>> {
    headers.get_all(name).iter().map(|value| value.to_str().ok()).collect()
}

/// Returns the hops of `X-Forwarded-For`; empty if they cannot be read, and `None` if there is no such field.
fn x_forwarded_hops(headers: &HeaderMap) -> Option<Vec<Hop>> {
    if !headers.contains_key(FORWARDED_FOR) {
        return None;
    }
    let entries = |name| {
        let lines = texts(headers, name)?;
        let entries = lines.into_iter().flat_map(|line| line.split(',')).map(str::trim);
        Some(entries.filter(|entry| !entry.is_empty()).take(MAX_HOPS + 1).collect::<Vec<&str>>())
    };
    let nodes = entries(FORWARDED_FOR).filter(|nodes| nodes.len() <= MAX_HOPS).unwrap_or_default();
    let schemes = entries(FORWARDED_PROTO).unwrap_or_default();
    let scheme_of = |at: usize| match schemes.as_slice() {
        [only] => Some(*only),
        all if all.len() == nodes.len() => all.get(at).copied(),
        _ => None,
    };
    let hop = |(at, node): (usize, &&str)| Hop {
        address: node
            .parse::<Ipv6Addr>()
            .ok()
            .map(IpAddr::V6)
            .or_else(|| address(node))
            .map(|address| address.to_canonical()),
        encrypted: scheme_of(at).and_then(is_encrypted),
    };
    Some(nodes.iter().enumerate().map(hop).collect())
}

/// Returns the hops of `Forwarded`; empty if the field is malformed, and `None` if there is no such field.
fn forwarded_hops(headers: &HeaderMap) -> Option<Vec<Hop>> {
    if !headers.contains_key(FORWARDED) {
        return None;
    }
    let read = || {
        let mut hops = Vec::new();
        for line in texts(headers, FORWARDED)? {
            read_elements(line, &mut hops)?;
        }
        Some(hops)
    };
    Some(read().unwrap_or_default())
}

/// Reads the elements of a line of `Forwarded`. `None` if it is malformed or there are too many.
fn read_elements(line: &str, hops: &mut Vec<Hop>) -> Option<()> {
    let mut cursor = Cursor { rest: line };
    loop {
        cursor.skip_space();
        if cursor.rest.is_empty() {
            return Some(());
        }
        if cursor.eat(',') {
            continue;
        }
        let hop = cursor.element()?;
        if hops.len() == MAX_HOPS {
            return None;
        }
        hops.push(hop);
        if !cursor.rest.is_empty() && !cursor.eat(',') {
            return None;
        }
    }
}

/// The unread rest of a field's value.
struct Cursor<'v> {
    rest: &'v str,
}

impl<'v> Cursor<'v> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn eat(&mut self, expected: char) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Reads `name=value` pairs up to a comma or the end. A pair may be empty.
    fn element(&mut self) -> Option<Hop> {
        let (mut node, mut scheme) = (None, None);
        loop {
            self.skip_space();
            if !self.rest.is_empty() && !self.rest.starts_with([',', ';']) {
                let (name, value) = self.pair()?;
                let place = match name {
                    _ if name.eq_ignore_ascii_case("for") => Some(&mut node),
                    _ if name.eq_ignore_ascii_case("proto") => Some(&mut scheme),
                    _ => None,
                };
                // A parameter occurs at most once.
                if place.is_some_and(|place| place.replace(value).is_some()) {
                    return None;
                }
                self.skip_space();
            }
            if !self.eat(';') {
                break;
            }
        }
        Some(Hop {
            address: node.and_then(|node| address(&node)).map(|address| address.to_canonical()),
            encrypted: scheme.and_then(|scheme| is_encrypted(&scheme)),
        })
    }

    fn pair(&mut self) -> Option<(&'v str, Cow<'v, str>)> {
        let name = self.token()?;
        if !self.eat('=') {
            return None;
        }
        Some((name, self.value()?))
    }

    fn token(&mut self) -> Option<&'v str> {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let (token, rest) = self.rest.split_at(self.rest.find(|c| !is_token(c)).unwrap_or(self.rest.len()));
        self.rest = rest;
        Some(token).filter(|token| !token.is_empty())
    }

    /// Reads a token or a quoted string (RFC 9110, 5.6.4).
    fn value(&mut self) -> Option<Cow<'v, str>> {
        if !self.eat('"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut text = String::new();
        let mut letters = self.rest.chars();
        loop {
            match letters.next()? {
                '"' => break,
                '\\' => text.push(letters.next()?),
                letter => text.push(letter),
            }
        }
        self.rest = letters.as_str();
        Some(Cow::Owned(text))
    }
}

fn is_encrypted(scheme: &str) -> Option<bool> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => Some(true),
        _ if scheme.eq_ignore_ascii_case("http") => Some(false),
        _ => None,
    }
}

/// Reads the address of a node (RFC 7239, 6): `192.0.2.1` or `[2001:db8::1]`, with or without a port.
fn address(node: &str) -> Option<IpAddr> {
    if let Some(rest) = node.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let has_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return address.parse::<Ipv6Addr>().ok().filter(|_| has_port).map(IpAddr::V6);
    }
    let (address, has_port) = match node.split_once(':') {
        Some((address, port)) => (address, is_port(port)),
        None => (node, true),
    };
    address.parse::<Ipv4Addr>().ok().filter(|_| has_port).map(IpAddr::V4)
}

/// True for a number of up to five digits and for an obfuscated port (`_` and letters).
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn trusted() -> TrustedProxies {
        TrustedProxies::new(["10.0.0.0/8", "2001:db8:ffff::/48"].map(|network| network.parse().unwrap()))
    }

    fn from(connected: &str, fields: &[(&str, &str)]) -> Peer {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        client(&headers, Peer::connected(connected.parse().unwrap(), false), &trusted())
    }

    /// The address that the proxy's `Forwarded` yields.
    fn by_forwarded(value: &str) -> String {
        from(PROXY, &[("forwarded", value)]).address.to_string()
    }

    fn by_x_forwarded(value: &str) -> String {
        from(PROXY, &[("x-forwarded-for", value)]).address.to_string()
    }

    #[test]
    fn spellings_of_forwarded() {
        for (value, expected) in [
            ("for=192.0.2.43", "192.0.2.43"),
            ("For=\"192.0.2.43:47011\"", "192.0.2.43"),
            ("for=\"192.0.2.43:_port\"", "192.0.2.43"),
            ("for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
            ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=\"[::ffff:192.0.2.43]\"", "192.0.2.43"),
            ("for=\"\\1\\92.0.2.43\"", "192.0.2.43"),
            ("by=203.0.113.60;for=192.0.2.43;host=x;proto=https", "192.0.2.43"),
            ("by=\"a,b;c=d\" ; for=192.0.2.43", "192.0.2.43"),
            (" for=192.0.2.43; ,, ", "192.0.2.43"),
            // From the right, past trusted proxies.
            ("for=192.0.2.43, for=10.9.9.9", "192.0.2.43"),
            ("for=1.1.1.1, for=192.0.2.43, for=10.9.9.9, for=\"[2001:db8:ffff::1]\"", "192.0.2.43"),
            ("for=10.2.0.1, for=10.3.0.1", "10.2.0.1"),
            // The address is not stated.
            ("for=unknown", PROXY),
            ("for=_hidden", PROXY),
            ("for=192.0.2.43, for=_hidden", PROXY),
            ("proto=https", PROXY),
            ("", PROXY),
            // Malformed.
            ("for=2001:db8::1", PROXY),
            ("for=\"2001:db8::1\"", PROXY),
            ("for=192.0.2.43:80", PROXY),
            ("for=\"192.0.2.43:\"", PROXY),
            ("for=\"192.0.2.43:123456\"", PROXY),
            ("for=\"[2001:db8::1]x\"", PROXY),
            ("for=\"[fe80::1%eth0]\"", PROXY),
            ("for=\"[192.0.2.43]\"", PROXY),
            ("for=192.0.2.043", PROXY),
            ("for=192.0.2.43;for=192.0.2.44", PROXY),
            ("for=\"192.0.2.43", PROXY),
            ("for =192.0.2.43", PROXY),
            ("for=192.0.2.43 for=192.0.2.44", PROXY),
            ("192.0.2.43", PROXY),
            ("for=\", for=192.0.2.43", PROXY),
        ] {
            assert_eq!(by_forwarded(value), expected, "{value}");
        }
    }

    #[test]
    fn spellings_of_x_forwarded_for() {
        for (value, expected) in [
            ("192.0.2.43", "192.0.2.43"),
            ("192.0.2.43:4711", "192.0.2.43"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:192.0.2.43", "192.0.2.43"),
            (" , 192.0.2.43 ,,10.0.0.7", "192.0.2.43"),
            // Written by the client, and never reached.
            ("1.1.1.1, 192.0.2.43", "192.0.2.43"),
            ("garbage \"', 192.0.2.43, 10.9.9.9", "192.0.2.43"),
            ("10.0.0.9, 192.0.2.43", "192.0.2.43"),
            ("10.2.0.1, 10.3.0.1", "10.2.0.1"),
            ("unknown", PROXY),
            ("192.0.2.43, unknown", PROXY),
            ("192.0.2.43, garbage", PROXY),
            ("\"192.0.2.43\"", PROXY),
            ("", PROXY),
        ] {
            assert_eq!(by_x_forwarded(value), expected, "{value}");
        }
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_not_believed() {
        for name in ["forwarded", "x-forwarded-for"] {
            let peer = from(
                "192.0.2.9",
                &[(name, "for=1.1.1.1"), (name, "1.1.1.1"), ("x-forwarded-proto", "https")],
            );
            assert_eq!(
                (peer.address.to_string().as_str(), peer.proxy, peer.encrypted),
                ("192.0.2.9", None, false)
            );
        }
        assert_eq!(from("::ffff:10.0.0.1", &[("forwarded", "for=1.1.1.1")]).address.to_string(), "1.1.1.1");
    }

    #[test]
    fn a_trusted_peer_that_states_nothing_is_the_client() {
        let peer = from(PROXY, &[("x-forwarded-proto", "https")]);
        assert_eq!((peer.address.to_string().as_str(), peer.proxy, peer.encrypted), (PROXY, None, false));
    }

    #[test]
    fn fields_that_disagree_yield_the_proxy() {
        let both = |forwarded: &str, other: &str| {
            from(PROXY, &[("forwarded", forwarded), ("x-forwarded-for", other)]).address.to_string()
        };
        assert_eq!(both("for=192.0.2.43", "192.0.2.43"), "192.0.2.43");
        assert_eq!(both("for=192.0.2.43;proto=https", "1.1.1.1, 192.0.2.43:80"), "192.0.2.43");
        assert_eq!(both("for=1.1.1.1", "192.0.2.43"), PROXY);
        assert_eq!(both("for=", "192.0.2.43"), PROXY);
        assert_eq!(both("for=192.0.2.43", "garbage"), PROXY);
    }

    #[test]
    fn lines_continue_each_other_and_hops_are_bounded() {
        let lines = [("x-forwarded-for", "192.0.2.43"), ("x-forwarded-for", "10.1.1.1")];
        assert_eq!(from(PROXY, &lines).address.to_string(), "192.0.2.43");
        let lines = [("forwarded", "for=192.0.2.43"), ("forwarded", "for=10.1.1.1;proto=https")];
        let peer = from(PROXY, &lines);
        assert_eq!((peer.address.to_string().as_str(), peer.encrypted), ("192.0.2.43", false));
        assert_eq!(peer.proxy, Some(PROXY.parse().unwrap()));
        for (hops, expected) in [(MAX_HOPS, "192.0.2.43"), (MAX_HOPS + 1, PROXY), (10 * MAX_HOPS, PROXY)] {
            let hops = |first: &str, next: &str| [vec![first], vec![next; hops - 1]].concat().join(", ");
            assert_eq!(by_x_forwarded(&hops("192.0.2.43", "10.1.1.1")), expected);
            assert_eq!(by_forwarded(&hops("for=192.0.2.43", "for=10.1.1.1")), expected);
        }
    }

    #[test]
    fn the_scheme_is_that_of_the_clients_hop() {
        let encrypted = |fields: &[(&str, &str)]| from(PROXY, fields).encrypted;
        assert!(encrypted(&[("forwarded", "for=192.0.2.43;proto=HTTPS, for=10.1.1.1;proto=http")]));
        assert!(!encrypted(&[("forwarded", "for=192.0.2.43;proto=http, for=10.1.1.1;proto=https")]));
        assert!(!encrypted(&[("forwarded", "for=192.0.2.43, for=10.1.1.1;proto=https")]));
        let x = |nodes: &'static str, schemes: &'static str| {
            encrypted(&[("x-forwarded-for", nodes), ("x-forwarded-proto", schemes)])
        };
        assert!(x("192.0.2.43", "https"));
        assert!(x("1.1.1.1, 192.0.2.43, 10.1.1.1", "https"));
        assert!(x("192.0.2.43, 10.1.1.1", "https, http"));
        assert!(!x("192.0.2.43, 10.1.1.1", "http, https"));
        assert!(!x("192.0.2.43", "https, https"));
        assert!(!x("192.0.2.43", "ftp"));
    }

    #[test]
    fn the_debug_form_has_no_address() {
        let peer = from(PROXY, &[("forwarded", "for=192.0.2.43")]);
        let shown = format!("{peer:?}");
        assert!(!shown.contains("192.0.2") && !shown.contains("10.0.0"), "{shown}");
    }
}
