//! A single client cannot exhaust the resources of a public listener.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::fixtures::{CUSTOMER_ROUTES, person};
use crate::gateway::{TestGateway, base, bearer, wait, wait_until};
use crate::http;
use crate::upstream::{Upstream, answer};

/// Starts a gateway with these bounds, and an upstream that answers `/customers/slow` once something is sent to the
/// channel.
fn start_gateway(bounds: &str) -> (Upstream, TestGateway, mpsc::Sender<()>) {
    let upstream = Upstream::start();
    let (resume, resumed) = mpsc::channel::<()>();
    let resumed = Mutex::new(resumed);
    upstream.script("/customers/slow", move |_, stream| {
        let _ = resumed.lock().unwrap().recv_timeout(Duration::from_secs(60));
        let body = person("slow");
        let _ = stream.write_all(&answer("200 OK", "content-type: application/json\r\n", body.as_bytes()));
    });
    upstream.json("/customers/p-1", &person("p-1"));
    let config = base(upstream.address)
        .replace("request-timeout", &format!("{bounds}\nrequest-timeout"))
        .replace("timeout = \"10s\"\n[[upstream]]", "timeout = \"60s\"\n[[upstream]]");
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_ROUTES}"));
    (upstream, gateway, resume)
}

/// Requests the slow answer and returns once the upstream has the request.
fn hold(gateway: &TestGateway, upstream: &Upstream, recipient: &str) -> TcpStream {
    let before = upstream.requests();
    let purpose = if recipient == "support" { "customer-support" } else { "reseller-follow-up" };
    let stream = gateway.begin_get("/customers/slow", recipient, purpose);
    wait_until(|| upstream.requests() > before);
    stream
}

#[test]
fn requests_that_need_no_upstream_are_answered_under_full_load() {
    let (upstream, gateway, resume) = start_gateway("max-exchanges = 1");
    let link = gateway.get_admin("/v1/subjects/p-1/opt-out-link").json()["path"].clone();
    let mut held = hold(&gateway, &upstream, "support");
    let full = gateway.get("/customers/p-1", "support", "customer-support");
    assert_eq!(full.outcome(), (503, "overloaded".to_owned()));
    assert_eq!(http::get(gateway.address, "/nothing", &[]).outcome(), (401, "credential-missing".to_owned()));
    assert_eq!(gateway.get("/nothing", "support", "customer-support").status, 404);
    let refused = gateway.get("/customers/p-1", "support", "no-such-purpose");
    assert_eq!(refused.outcome(), (400, "purpose-unknown".to_owned()));
    let page = http::get(gateway.address, "/.well-known/data-purposes", &[&bearer("support")]);
    assert_eq!(page.status, 200);
    let form = "content-type: application/x-www-form-urlencoded";
    let click =
        http::send(gateway.address, "POST", link.as_str().unwrap(), &[form], b"List-Unsubscribe=One-Click");
    assert_eq!(click.status, 200, "{}", click.text());
    resume.send(()).unwrap();
    let mut rest = Vec::new();
    held.read_to_end(&mut rest).unwrap();
    assert_eq!(http::parse(&rest).status, 200);
    assert_eq!(gateway.get("/customers/p-1", "support", "customer-support").status, 200, "its place is free");
}

#[test]
fn one_recipient_cannot_take_all_exchanges() {
    let (upstream, gateway, resume) = start_gateway("max-exchanges = 8");
    let held: Vec<TcpStream> = (0..2).map(|_| hold(&gateway, &upstream, "support")).collect();
    let third = gateway.get("/customers/p-1", "support", "customer-support");
    assert_eq!(third.outcome(), (503, "overloaded".to_owned()));
    assert!(third.text().contains("one recipient may have"), "{}", third.text());
    assert!(third.header("retry-after").is_some());
    assert_eq!(gateway.get("/customers/p-1", "reseller", "reseller-follow-up").status, 200);
    for _ in &held {
        resume.send(()).unwrap();
    }
    drop(held);

    let (upstream, gateway, resume) = start_gateway("max-exchanges = 8\nmax-exchanges-per-recipient = 3");
    let held: Vec<TcpStream> = (0..3).map(|_| hold(&gateway, &upstream, "support")).collect();
    assert_eq!(gateway.get("/customers/p-1", "support", "customer-support").status, 503);
    drop(held);
    drop(resume);
}

#[test]
fn one_address_cannot_open_all_connections() {
    let (_upstream, gateway, _resume) = start_gateway("max-connections-per-address = 3");
    let own: Vec<TcpStream> = (0..3).map(|_| http::connect(gateway.address)).collect();
    let mut fourth = http::connect(gateway.address);
    // The gateway closes it, with or without a reset.
    assert!(matches!(fourth.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(gateway.metrics().contains("purposegate_connections_refused_total{listener=\"127.0.0.1:0\"} 1"));
    let mut other = connect_from("127.0.0.2", gateway.address);
    other.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    other.read_to_end(&mut answer).unwrap();
    assert_eq!(http::parse(&answer).status, 401, "another address has its own share");
    drop(own);
    wait_until(|| {
        let mut stream = http::connect(gateway.address);
        let _ = stream.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 401")
    });
}

/// Connects from another address of the loopback.
fn connect_from(local: &str, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(local.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

fn link(gateway: &TestGateway, subject: &str) -> String {
    let answer = gateway.get_admin(&format!("/v1/subjects/{subject}/opt-out-link")).json();
    answer["path"].as_str().unwrap().to_owned()
}

/// Sends the head and half of the body of an objection.
fn half_an_objection(address: SocketAddr, link: &str) -> TcpStream {
    let mut stream = http::connect(address);
    let request = format!(
        "POST {link} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 26\r\n\r\nList-Unsub"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn incomplete_objections_of_one_link_do_not_block_others() {
    let (_upstream, gateway, _resume) = start_gateway("max-exchanges = 1");
    let (first, other) = (link(&gateway, "p-1"), link(&gateway, "p-2"));
    let mut halves: Vec<TcpStream> = (0..12).map(|_| half_an_objection(gateway.address, &first)).collect();
    // Requests above the bound of one link are refused at once; the others wait for their body.
    let mut waiting = Vec::new();
    let mut refused = 0;
    wait(|| {
        for mut half in std::mem::take(&mut halves) {
            half.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let mut start = [0; 12];
            match half.read_exact(&mut start) {
                Ok(()) => {
                    assert_eq!(&start, b"HTTP/1.1 429");
                    refused += 1;
                }
                Err(_) => waiting.push(half),
            }
        }
        halves = std::mem::take(&mut waiting);
        (refused == 8).then_some(())
    });
    let form = "content-type: application/x-www-form-urlencoded";
    let click = http::send(gateway.address, "POST", &other, &[form], b"List-Unsubscribe=One-Click");
    assert_eq!(click.status, 200, "{}", click.text());
    assert_eq!(gateway.get("/customers/p-1", "support", "customer-support").status, 200);
}

#[test]
fn an_objection_without_its_body_times_out_early() {
    let (_upstream, gateway, _resume) = start_gateway("max-exchanges = 1");
    let mut half = half_an_objection(gateway.address, &link(&gateway, "p-1"));
    let mut answer = Vec::new();
    // The listener's timeout for bodies is twice as long.
    half.read_to_end(&mut answer).unwrap();
    assert_eq!(http::parse(&answer).status, 408);
}

/// Both `POST` and the preface of HTTP/2 begin with `P`.
#[test]
fn the_protocol_is_detected_from_partial_input() {
    let (_upstream, gateway, _resume) = start_gateway("");
    for (first, rest) in [
        ("P", "OST /customers/p-1 HTTP/1.1\r\n"),
        ("PR", "OPFIND / HTTP/1.1\r\n"),
        ("G", "ET / HTTP/1.1\r\n"),
    ] {
        let mut stream = http::connect(gateway.address);
        stream.set_nodelay(true).unwrap();
        stream.write_all(first.as_bytes()).unwrap();
        // Another request is served meanwhile, so the gateway has read the first byte.
        assert_eq!(http::get(gateway.address, "/nothing", &[]).status, 401);
        stream.write_all(format!("{rest}host: x\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let status = http::parse(&answer).status;
        assert_eq!(status, if first == "PR" { 501 } else { 401 }, "{first}{rest}");
    }
}

#[test]
fn the_refused_connections_metric_starts_at_zero() {
    let (_upstream, gateway, _resume) = start_gateway("");
    let metrics = gateway.metrics();
    assert!(metrics.contains("purposegate_connections_refused_total{listener=\"admin\"} 0"), "{metrics}");
    assert!(
        metrics.contains("purposegate_connections_refused_total{listener=\"127.0.0.1:0\"} 0"),
        "{metrics}"
    );
}
