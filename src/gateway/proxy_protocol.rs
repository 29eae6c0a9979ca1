//! The PROXY protocol, version 2: the header in which a load balancer that forwards TCP states the address of the client
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).
//!
//! The module does not know who may send a header. Invariant: exactly the header is read, and no byte after it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Maximum bytes of a header after its first 16. The specification promises receivers no more than 536 in total.
const MAX_REST: usize = 520;

/// The connection for which a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxiedSource {
    /// The connection of a client with this address.
    Client(IpAddr),
    /// The connection of a client whose address is not stated (UNSPEC, or a Unix socket).
    Unknown,
    /// The proxy's own connection, such as a health check (LOCAL).
    Proxy,
}

/// Reads the header of a connection.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if it is not a header of version 2 for TCP, or is too long; otherwise the error of the
/// stream.
pub(super) async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<ProxiedSource> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let [signature @ .., version_and_command, family, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if signature != SIGNATURE || version_and_command >> 4 != 2 || length > MAX_REST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut rest = [0; MAX_REST];
    let rest = rest.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
    stream.read_exact(rest).await?;
    source(version_and_command & 0xf, family, rest).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Returns the source from the addresses of a header. `None` if the header is malformed.
fn source(command: u8, family: u8, rest: &[u8]) -> Option<ProxiedSource> {
    // Each block: source address, destination address, source port, destination port. Further fields (TLV) may follow.
    const BLOCK_IPV4: usize = 12;
    const BLOCK_IPV6: usize = 36;
    match (command, family) {
        (0, _) => Some(ProxiedSource::Proxy),
        // TCP over IPv4 and IPv6.
        (1, 0x11) => {
            let address = rest.get(..BLOCK_IPV4)?.first_chunk::<4>()?;
            Some(ProxiedSource::Client(Ipv4Addr::from(*address).into()))
        }
        (1, 0x21) => {
            let address = rest.get(..BLOCK_IPV6)?.first_chunk::<16>()?;
            Some(ProxiedSource::Client(IpAddr::from(Ipv6Addr::from(*address)).to_canonical()))
        }
        (1, 0x00 | 0x31) => Some(ProxiedSource::Unknown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with this version and command, this family, and this text after the length.
    fn header(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, family], &length, rest].concat()
    }

    async fn read(bytes: &[u8]) -> Result<(ProxiedSource, Vec<u8>), io::ErrorKind> {
        let mut stream = bytes;
        let source = read_header(&mut stream).await.map_err(|error| error.kind())?;
        Ok((source, stream.to_vec()))
    }

    fn block_ipv4() -> Vec<u8> {
        vec![192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0x01, 0xbb]
    }

    fn block_ipv6(source: &str) -> Vec<u8> {
        let source: Ipv6Addr = source.parse().unwrap();
        [&source.octets()[..], &[0; 16], &[0x12, 0x34, 0x01, 0xbb]].concat()
    }

    #[tokio::test]
    async fn the_address_of_the_client_is_read_and_nothing_after_the_header() {
        let with_fields = [block_ipv4(), vec![0x04, 0, 1, 0]].concat();
        for (bytes, expected) in [
            (header(0x21, 0x11, &block_ipv4()), ProxiedSource::Client([192, 0, 2, 1].into())),
            (header(0x21, 0x11, &with_fields), ProxiedSource::Client([192, 0, 2, 1].into())),
            (
                header(0x21, 0x21, &block_ipv6("2001:db8::1")),
                ProxiedSource::Client("2001:db8::1".parse().unwrap()),
            ),
            (
                header(0x21, 0x21, &block_ipv6("::ffff:192.0.2.1")),
                ProxiedSource::Client([192, 0, 2, 1].into()),
            ),
            (header(0x20, 0x00, b""), ProxiedSource::Proxy),
            (header(0x20, 0x11, &block_ipv4()), ProxiedSource::Proxy),
            (header(0x21, 0x00, b""), ProxiedSource::Unknown),
            (header(0x21, 0x00, b"anything"), ProxiedSource::Unknown),
            (header(0x21, 0x31, &[b'/'; 216]), ProxiedSource::Unknown),
            (
                header(0x21, 0x11, &[&block_ipv4()[..], &[0; MAX_REST - 12]].concat()),
                ProxiedSource::Client([192, 0, 2, 1].into()),
            ),
        ] {
            let sent = [&bytes[..], b"GET / HTTP/1.1"].concat();
            assert_eq!(read(&sent).await, Ok((expected, b"GET / HTTP/1.1".to_vec())), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_malformed_header_is_an_error() {
        let too_long = header(0x21, 0x11, &[&block_ipv4()[..], &[0; MAX_REST - 11]].concat());
        let mut other_signature = header(0x21, 0x11, &block_ipv4());
        other_signature[5] = b'x';
        for bytes in [
            too_long,
            other_signature,
            header(0x11, 0x11, &block_ipv4()),
            header(0x31, 0x11, &block_ipv4()),
            header(0x22, 0x11, &block_ipv4()),
            header(0x21, 0x12, &block_ipv4()),
            header(0x21, 0x22, &block_ipv6("2001:db8::1")),
            header(0x21, 0x41, &block_ipv4()),
            header(0x21, 0x11, &block_ipv4()[..11]),
            header(0x21, 0x21, &block_ipv6("2001:db8::1")[..35]),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 443\r\n".to_vec(),
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        ] {
            assert_eq!(read(&bytes).await, Err(io::ErrorKind::InvalidData), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_truncated_header_is_an_error() {
        let whole = header(0x21, 0x11, &block_ipv4());
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]).await, Err(io::ErrorKind::UnexpectedEof), "{length}");
        }
    }
}
