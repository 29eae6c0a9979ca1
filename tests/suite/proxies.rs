//! Listeners behind a load balancer: the PROXY protocol, and the fields of trusted proxies.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use purposegate::credentials::development;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::fixtures::CUSTOMER_ROUTES;
use crate::gateway::{TestGateway, base, bearer, wait_until};
use crate::http::{self, Answer};
use crate::upstream::Upstream;

/// Starts an upstream, and in front of it a gateway whose listener has these further keys.
fn start_gateway(listener: &str) -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    upstream.json("/open", "{}");
    let config = base(upstream.address).replace("request-timeout", &format!("{listener}\nrequest-timeout"));
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_ROUTES}"));
    (upstream, gateway)
}

fn request(fields: &[&str]) -> String {
    let mut request = format!(
        "GET /open HTTP/1.1\r\nhost: api.example\r\n{}\r\ndata-purpose: customer-support\r\nconnection: close\r\n",
        bearer("support")
    );
    for field in fields {
        request.push_str(&format!("{field}\r\n"));
    }
    request + "\r\n"
}

/// A header of the PROXY protocol with this command and family.
fn proxy_header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, family][..], &length, block].concat()
}

/// A header for the connection of a client.
fn proxied(client: &str) -> Vec<u8> {
    match client.parse().unwrap() {
        IpAddr::V4(client) => {
            proxy_header(1, 0x11, &[&client.octets()[..], &[10, 0, 0, 1, 1, 2, 3, 4]].concat())
        }
        IpAddr::V6(client) => proxy_header(1, 0x21, &[&client.octets()[..], &[0; 20]].concat()),
    }
}

/// Sends the bytes, and reads until the gateway closes.
fn exchange(gateway: &TestGateway, bytes: &[u8]) -> Answer {
    http::raw(gateway.address, bytes)
}

/// The field `Forwarded` of the last request that the upstream received.
fn forwarded(upstream: &Upstream) -> String {
    let seen = upstream.seen.lock().unwrap();
    let line = seen.last().unwrap().lines().find_map(|line| line.strip_prefix("forwarded: "));
    line.unwrap().to_owned()
}

fn failed(gateway: &TestGateway, reason: &str) -> u64 {
    let name =
        format!("purposegate_connections_failed_total{{listener=\"127.0.0.1:0\",reason=\"{reason}\"}} ");
    let metrics = gateway.metrics();
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[test]
fn a_trusted_proxy_states_the_address_and_the_scheme_of_the_client() {
    let (upstream, gateway) = start_gateway("trusted-proxies = [\"127.0.0.0/8\", \"2001:db8::9\"]");
    for (fields, expected) in [
        (&["forwarded: for=192.0.2.7;proto=https"][..], "for=192.0.2.7;host=\"api.example\";proto=https"),
        (
            &["x-forwarded-for: 1.1.1.1, 2001:db8::7, 2001:db8::9", "x-forwarded-proto: https"],
            "for=\"[2001:db8::7]\";host=\"api.example\";proto=https",
        ),
        (&["x-forwarded-for: nobody"], "for=127.0.0.1;host=\"api.example\";proto=http"),
        (
            &["forwarded: for=1.1.1.1", "x-forwarded-for: 192.0.2.7"],
            "for=127.0.0.1;host=\"api.example\";proto=http",
        ),
        (&[], "for=127.0.0.1;host=\"api.example\";proto=http"),
    ] {
        assert_eq!(exchange(&gateway, request(fields).as_bytes()).status, 200);
        assert_eq!(forwarded(&upstream), expected, "{fields:?}");
    }
}

#[test]
fn the_fields_of_other_peers_are_ignored() {
    for listener in ["", "trusted-proxies = [\"127.0.0.2\"]"] {
        let (upstream, gateway) = start_gateway(listener);
        let spoofed = [
            "forwarded: for=192.0.2.7;proto=https",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-proto: https",
        ];
        assert_eq!(exchange(&gateway, request(&spoofed).as_bytes()).status, 200);
        assert_eq!(forwarded(&upstream), "for=127.0.0.1;host=\"api.example\";proto=http");
    }
}

#[test]
fn requests_of_one_connection_have_different_clients() {
    let (upstream, gateway) = start_gateway("trusted-proxies = [\"127.0.0.1\"]");
    let first = request(&["x-forwarded-for: 192.0.2.1"]).replace("connection: close\r\n", "");
    let both = format!("{first}{}", request(&["x-forwarded-for: 192.0.2.2"]));
    assert_eq!(exchange(&gateway, both.as_bytes()).status, 200);
    let seen = upstream.seen.lock().unwrap();
    let clients: Vec<bool> =
        ["192.0.2.1", "192.0.2.2"].iter().zip(&*seen).map(|(client, head)| head.contains(client)).collect();
    assert_eq!(clients, [true, true], "{seen:?}");
}

const PROXY_LISTENER: &str = "proxy-protocol = true\ntrusted-proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]";

#[test]
fn the_proxy_protocol_states_the_address_of_the_client() {
    let (upstream, gateway) = start_gateway(PROXY_LISTENER);
    let spoofed = "x-forwarded-for: 1.1.1.1";
    for (header, fields, expected) in [
        (proxied("192.0.2.7"), &[][..], "for=192.0.2.7;"),
        (proxied("2001:db8::7"), &[], "for=\"[2001:db8::7]\";"),
        // Behind the load balancer is the client itself, or another trusted proxy.
        (proxied("192.0.2.7"), &[spoofed], "for=192.0.2.7;"),
        (proxied("10.2.3.4"), &[spoofed], "for=1.1.1.1;"),
        (proxied("::ffff:10.2.3.4"), &[spoofed], "for=1.1.1.1;"),
        // The load balancer's own connection, and one of a client that it does not name.
        (proxy_header(0, 0, b""), &[], "for=127.0.0.1;"),
        (proxy_header(1, 0, b""), &[spoofed], "for=127.0.0.1;"),
        (proxy_header(1, 0x31, &[b'/'; 216]), &[spoofed], "for=127.0.0.1;"),
    ] {
        let answer = exchange(&gateway, &[header, request(fields).into_bytes()].concat());
        assert_eq!(answer.status, 200, "{expected} {}", answer.text());
        assert!(forwarded(&upstream).starts_with(expected), "{expected} {}", forwarded(&upstream));
    }
    assert_eq!(failed(&gateway, "proxy-header"), 0);
}

#[test]
fn a_connection_without_a_proper_header_is_closed_and_counted() {
    let (upstream, gateway) = start_gateway(PROXY_LISTENER);
    let whole = proxied("192.0.2.7");
    let bad = [
        request(&[]).into_bytes(),
        format!("PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n{}", request(&[])).into_bytes(),
        [&proxy_header(1, 0x11, &[0; 521])[..], request(&[]).as_bytes()].concat(),
        [&proxy_header(1, 0x11, &[1; 11])[..], request(&[]).as_bytes()].concat(),
        [&proxy_header(2, 0x11, &[1; 12])[..], request(&[]).as_bytes()].concat(),
        [&proxy_header(1, 0x12, &[1; 12])[..], request(&[]).as_bytes()].concat(),
    ];
    for (count, bytes) in bad.iter().enumerate() {
        let answer = exchange(&gateway, bytes);
        assert_eq!((answer.status, answer.body.len()), (0, 0), "{bytes:?}");
        wait_until(|| failed(&gateway, "proxy-header") == count as u64 + 1);
    }
    // Truncated by the end of the connection.
    let mut stream = http::connect(gateway.address);
    stream.write_all(&whole[..20]).unwrap();
    drop(stream);
    wait_until(|| failed(&gateway, "proxy-header") == bad.len() as u64 + 1);
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn a_slow_header_times_out() {
    let (_upstream, gateway) = start_gateway(PROXY_LISTENER);
    let began = Instant::now();
    let mut slow = http::connect(gateway.address);
    slow.write_all(&proxied("192.0.2.7")[..27]).unwrap();
    // Another one is served meanwhile.
    let answer = exchange(&gateway, &[proxied("192.0.2.8"), request(&[]).into_bytes()].concat());
    assert_eq!(answer.status, 200);
    assert_eq!(slow.read(&mut [0]).unwrap_or(0), 0, "it is closed");
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
    wait_until(|| failed(&gateway, "proxy-header") == 1);
}

#[test]
fn a_header_in_pieces_is_read() {
    let (upstream, gateway) = start_gateway(PROXY_LISTENER);
    let mut stream = http::connect(gateway.address);
    stream.set_nodelay(true).unwrap();
    for byte in proxied("192.0.2.7") {
        stream.write_all(&[byte]).unwrap();
    }
    stream.write_all(request(&[]).as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(http::parse(&answer).status, 200);
    assert!(forwarded(&upstream).starts_with("for=192.0.2.7;"));
}

#[test]
fn a_header_from_another_address_closes_the_connection() {
    let (upstream, gateway) = start_gateway("proxy-protocol = true\ntrusted-proxies = [\"127.0.0.2\"]");
    let answer = exchange(&gateway, &[proxied("192.0.2.7"), request(&[]).into_bytes()].concat());
    assert_eq!((answer.status, answer.body.len()), (0, 0));
    wait_until(|| failed(&gateway, "untrusted-proxy") == 1);
    assert_eq!(upstream.requests(), 0);
}

/// A connection for a client behind the load balancer, which begins a request and does not finish it.
fn half_a_request(gateway: &TestGateway, client: &str) -> TcpStream {
    let mut stream = http::connect(gateway.address);
    stream.write_all(&proxied(client)).unwrap();
    stream.write_all(b"GET /open HTTP/1.1\r\n").unwrap();
    stream
}

#[test]
fn connections_behind_a_load_balancer_count_for_their_clients() {
    let (_upstream, gateway) = start_gateway(&format!("{PROXY_LISTENER}\nmax-connections-per-address = 2"));
    let refused = || {
        let metrics = gateway.metrics();
        let name = "purposegate_connections_refused_total{listener=\"127.0.0.1:0\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse::<u64>().unwrap()
    };
    let _open: Vec<TcpStream> = (0..2).map(|_| half_a_request(&gateway, "192.0.2.7")).collect();
    // The first two may be read after the third.
    let mut further = Vec::new();
    wait_until(|| {
        further.push(half_a_request(&gateway, "192.0.2.7"));
        refused() > 0
    });
    for client in ["192.0.2.8", "2001:db8::7"] {
        let answer = exchange(&gateway, &[proxied(client), request(&[]).into_bytes()].concat());
        assert_eq!(answer.status, 200, "{client}");
    }
}

#[test]
fn the_connections_of_a_trusted_proxy_are_not_limited() {
    let limited = |listener: &str| start_gateway(&format!("{listener}\nmax-connections-per-address = 1"));
    for (listener, served) in [("trusted-proxies = [\"127.0.0.1\"]", true), ("", false)] {
        let (_upstream, gateway) = limited(listener);
        let mut first = http::connect(gateway.address);
        first.write_all(b"GET /open HTTP/1.1\r\n").unwrap();
        let answer = exchange(&gateway, request(&["x-forwarded-for: 192.0.2.7"]).as_bytes());
        assert_eq!(answer.status == 200, served, "{listener}");
    }
}

/// Starts a gateway with TLS whose listener has these further keys.
fn start_tls_gateway(listener: &str) -> (Upstream, TestGateway, tempfile::TempDir) {
    let certificates = tempfile::tempdir().unwrap();
    development::make(certificates.path(), &[]).unwrap();
    let (certificate, key) = (certificates.path().join("server.pem"), certificates.path().join("server.key"));
    let tls = format!("{listener}\ntls = {{ certificate = {certificate:?}, key = {key:?} }}");
    let (upstream, gateway) = start_gateway(&tls);
    (upstream, gateway, certificates)
}

fn over_tls(certificates: &tempfile::TempDir, socket: TcpStream, request: &str) -> Answer {
    let roots = purposegate::config::roots(&certificates.path().join("ca.pem")).unwrap();
    let client = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(client.into(), name).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, socket);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    http::parse(&answer)
}

#[test]
fn the_header_comes_before_tls() {
    let (upstream, gateway, certificates) = start_tls_gateway(PROXY_LISTENER);
    let mut socket = http::connect(gateway.address);
    socket.write_all(&proxied("192.0.2.7")).unwrap();
    assert_eq!(over_tls(&certificates, socket, &request(&[])).status, 200);
    assert_eq!(forwarded(&upstream), "for=192.0.2.7;host=\"api.example\";proto=https");
}

#[test]
fn plaintext_on_a_port_with_tls_is_answered() {
    for (listener, header) in [("", Vec::new()), (PROXY_LISTENER, proxied("192.0.2.7"))] {
        let (upstream, gateway, certificates) = start_tls_gateway(listener);
        let (get, post) =
            (request(&[]), format!("POST / HTTP/1.1\r\ncontent-length: 40000\r\n\r\n{}", "x".repeat(40_000)));
        let http2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        for (count, sent) in [&get, &post, http2].into_iter().enumerate() {
            let answer = exchange(&gateway, &[&header[..], sent.as_bytes()].concat());
            assert_eq!(answer.outcome(), (400, "request-malformed".to_owned()));
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert_eq!(answer.header("connection"), Some("close"));
            assert!(answer.complete && answer.text().contains("This port speaks TLS: use https://"));
            wait_until(|| failed(&gateway, "http-on-tls-port") == count as u64 + 1);
        }
        // Anything else gets an alert of TLS, and the port goes on.
        let answer = exchange(&gateway, &[&header[..], b"\x80\x00\x01"].concat());
        assert_eq!(answer.status, 0);
        wait_until(|| failed(&gateway, "tls-handshake") == 1);
        let mut socket = http::connect(gateway.address);
        socket.write_all(&header).unwrap();
        assert_eq!(over_tls(&certificates, socket, &request(&[])).status, 200);
        assert_eq!(upstream.requests(), 1);
    }
}

#[test]
fn plaintext_on_the_admin_port_with_tls_is_answered() {
    let certificates = tempfile::tempdir().unwrap();
    development::make(certificates.path(), &[]).unwrap();
    let (certificate, key) = (certificates.path().join("server.pem"), certificates.path().join("server.key"));
    let admin = format!("[admin]\ntls = {{ certificate = {certificate:?}, key = {key:?} }}");
    let upstream = Upstream::start();
    let config = base(upstream.address).replace("[admin]", &admin);
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_ROUTES}"));
    let answer = http::get(gateway.admin, "/healthz", &[]);
    assert_eq!(answer.outcome(), (400, "request-malformed".to_owned()));
    assert!(answer.text().contains("This port speaks TLS: use https://"), "{}", answer.text());
    let request = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(over_tls(&certificates, http::connect(gateway.admin), request).status, 200);
}
