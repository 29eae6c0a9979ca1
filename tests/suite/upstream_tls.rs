//! Upstreams over TLS: versions, certificates, headers, several addresses, health checks, reloads.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ::http::Version;
use jiff::Timestamp;
use purposegate::config;

use crate::fixtures::{CUSTOMER_ROUTES, person};
use crate::gateway::{TestGateway, base, wait_until};
use crate::http::{self, Answer};
use crate::process::ServeProcess;
use crate::tls_upstream::{TlsUpstream, certificates, certificates_at, server_tls};
use crate::upstream::{Upstream, answer};

const BOTH: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The base configuration with these keys in place of the URL of the upstream `crm`.
fn config_with(upstream: &str) -> String {
    let any = "127.0.0.1:1".parse().unwrap();
    base(any).replace("url = \"http://127.0.0.1:1\"\n", &format!("{upstream}\n"))
}

fn start(upstream: &str) -> TestGateway {
    TestGateway::start(&format!("{}{CUSTOMER_ROUTES}", config_with(upstream)))
}

fn ca(folder: &Path) -> String {
    format!("ca = {:?}", folder.join("ca.pem"))
}

fn ask(gateway: &TestGateway) -> Answer {
    gateway.get("/customers/p-1", "support", "customer-support")
}

fn metric(gateway: &TestGateway, name: &str) -> Option<f64> {
    let metrics = gateway.metrics();
    metrics.lines().find(|line| line.starts_with(name))?.rsplit(' ').next()?.parse().ok()
}

#[test]
fn the_version_of_http_is_negotiated() {
    let certificates = certificates();
    for (protocols, version) in [
        (&BOTH[..], Version::HTTP_2),
        (&BOTH[..1], Version::HTTP_2),
        (&BOTH[1..], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let upstream = TlsUpstream::start(server_tls(certificates.path(), protocols, None));
        upstream.json("/api/customers/p-1", &person("p-1"));
        let (port, ca) = (upstream.address.port(), ca(certificates.path()));
        let gateway = start(&format!("url = \"https://localhost:{port}/api\"\n{ca}"));
        for _ in 0..3 {
            let answer = ask(&gateway);
            assert!(answer.status == 200 && answer.text().contains("\"p-1\""), "{}", answer.text());
            let received = upstream.last();
            assert_eq!((received.version, received.path.as_str()), (version, "/api/customers/p-1"));
            assert_eq!(received.authority, format!("localhost:{port}"));
        }
        assert_eq!(upstream.connections.load(Ordering::SeqCst), 1, "the connection is used again");
        let posted =
            gateway.send("POST", "/customers/p-1", ("support", "customer-support"), &[], b"{\"a\": 1}");
        assert_eq!((posted.status, upstream.last().body.as_str()), (200, "{\"a\": 1}"), "{}", posted.text());
        let head = gateway.send("HEAD", "/customers/p-1", ("support", "customer-support"), &[], b"");
        assert_eq!((head.status, head.text().as_str()), (200, ""));
    }
}

#[test]
fn requests_share_a_connection_over_http2() {
    let certificates = certificates();
    let upstream = TlsUpstream::start(server_tls(certificates.path(), &BOTH, None));
    upstream.json("/customers/p-1", &person("p-1"));
    *upstream.delay.lock().unwrap() = Duration::from_millis(200);
    let (address, ca) = (upstream.address, ca(certificates.path()));
    let gateway = start(&format!("url = \"https://{address}\"\n{ca}"));
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(ask(&gateway).status, 200));
        }
    });
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 1);
    let gateway = start(&format!("url = \"https://{address}\"\n{ca}\nreuse = false"));
    for connections in 2..5 {
        assert_eq!(ask(&gateway).status, 200);
        assert_eq!(upstream.connections.load(Ordering::SeqCst), connections);
    }
}

#[test]
fn configured_headers_and_the_recipients_name_reach_the_upstream() {
    let certificates = certificates();
    let secret = certificates.path().join("secret");
    std::fs::write(&secret, "Bearer upstream-secret\n").unwrap();
    for protocols in [&BOTH[..], &BOTH[1..]] {
        let upstream = TlsUpstream::start(server_tls(certificates.path(), protocols, None));
        upstream.json("/customers/p-1", &person("p-1"));
        let (address, ca) = (upstream.address, ca(certificates.path()));
        let keys = format!(
            "url = \"https://{address}\"\n{ca}\nrecipient-header = \"X-Recipient\"\n\
             headers = {{ authorization = {{ file = {secret:?} }}, x-env = \"prod\", x-path = {{ env = \"PATH\" }} }}"
        );
        let routes = CUSTOMER_ROUTES.replacen(
            "path = \"/customers/{id}\"",
            "path = \"/customers/{id}\"\nrequest-headers = [\"x-env\", \"x-recipient\"]",
            1,
        );
        let gateway = TestGateway::start(&format!("{}{routes}", config_with(&keys)));
        let sent = ["x-env: forged", "x-recipient: forged", "x-recipient: twice", "via: 1.1 forged"];
        let recipient = ("support", "customer-support");
        assert_eq!(gateway.send("GET", "/customers/p-1", recipient, &sent, b"").status, 200);
        let received = upstream.last();
        assert_eq!(received.header("authorization"), ["Bearer upstream-secret"]);
        assert_eq!(received.header("x-env"), ["prod"]);
        assert_eq!(received.header("x-recipient"), ["support"]);
        assert_eq!(received.header("via"), ["1.1 purposegate"]);
        assert_eq!(received.header("x-path"), [std::env::var("PATH").unwrap()]);
    }
}

#[test]
fn no_output_has_a_configured_header() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "canary-of-the-file").unwrap();
    let keys = "url = \"http://127.0.0.1:9\"\nheaders = { x-a = \"canary-of-the-text\", x-b = { file = \"secret\" } }\nbakcup = true";
    let file = folder.path().join("purposegate.toml");
    std::fs::write(&file, format!("{}{CUSTOMER_ROUTES}", config_with(keys))).unwrap();
    let (loaded, findings) = config::load(&file);
    let shown = crate::findings::rendered(&findings, folder.path());
    assert!(loaded.is_none() && shown.contains("bakcup"), "{shown}");
    assert!(!shown.contains("canary") && !format!("{findings:?}").contains("of-the-file"), "{shown}");
    std::fs::write(&file, format!("{}{CUSTOMER_ROUTES}", config_with(&keys.replace("bakcup = true", ""))))
        .unwrap();
    let (loaded, findings) = config::load(&file);
    let loaded = loaded.unwrap_or_else(|| panic!("{findings:?}"));
    assert!(!format!("{loaded:?}").contains("canary"));
    assert!(loaded.watch_list.files.iter().any(|file| file.ends_with("secret")), "the file is watched");
    // Neither has the log, at any level.
    let upstream = Upstream::start();
    let text = std::fs::read_to_string(&file).unwrap().replace("file = \"secret\"", "env = \"CANARY\"");
    let text =
        text.replace("http://127.0.0.1:9\"\nheaders", &format!("http://{}\"\nheaders", upstream.address));
    let debug = "PURPOSEGATE_LOG=trace CANARY=canary-of-the-environment; export PURPOSEGATE_LOG CANARY;";
    let process = ServeProcess::start(&text, debug);
    upstream.json("/customers/p-1", &person("p-1"));
    assert_eq!(process.get("/customers/p-1", "customer-support").status, 200);
    let seen = upstream.seen.lock().unwrap().concat();
    assert!(seen.contains("canary-of-the-environment") && seen.contains("canary-of-the-text"), "{seen}");
    process.signal("-HUP");
    wait_until(|| process.log().contains("\"message\":\"reload\""));
    assert!(!process.log().contains("canary"), "{}", process.log());
}

/// Starts a server that answers without TLS.
fn plaintext_server() -> std::net::SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in socket.incoming().map_while(Result::ok) {
            let _ = std::io::Write::write_all(&mut stream, &answer("400 Bad Request", "", b""));
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    address
}

#[test]
fn the_log_names_the_cause_of_a_certificate_error() {
    let good = certificates();
    let expired = certificates_at(&["localhost", "127.0.0.1"], "2020-01-01T00:00:00Z");
    let future = certificates_at(&["localhost", "127.0.0.1"], "2090-01-01T00:00:00Z");
    let other = certificates_at(&["other.example"], &Timestamp::now().to_string());
    let plain = |folder: &Path| TlsUpstream::start(server_tls(folder, &BOTH, None));
    let demanding = || {
        let ca = Some(good.path().join("ca.pem"));
        TlsUpstream::start(server_tls(good.path(), &BOTH, ca))
    };
    let stranger = certificates();
    let identity = |folder: &Path| {
        let (certificate, key) = (folder.join("gateway.pem"), folder.join("gateway.key"));
        format!("client-certificate = {certificate:?}\nclient-key = {key:?}\n")
    };
    let cases = [
        (plain(good.path()), ca(stranger.path()), "the certificate is from an unknown authority"),
        (plain(expired.path()), ca(expired.path()), "the certificate has expired"),
        (plain(future.path()), ca(future.path()), "the certificate is not valid yet"),
        (plain(other.path()), ca(other.path()), "the certificate is for other names"),
        (demanding(), ca(good.path()), "the upstream demands a client certificate"),
        (
            demanding(),
            format!("{}\n{}", ca(good.path()), identity(stranger.path())),
            "the upstream refused the client certificate",
        ),
    ];
    let mut config = config_with("url = \"http://127.0.0.1:9\"");
    for (number, (upstream, keys, _)) in cases.iter().enumerate() {
        let url = format!("https://{}", upstream.address);
        config += &format!("[[upstream]]\nname = \"u{number}\"\nurl = \"{url}\"\n{keys}\n");
        config += &format!(
            "[[route]]\nname = \"r{number}\"\nupstream = \"u{number}\"\npath = \"/r{number}\"\npersonal = false\n"
        );
    }
    let url = format!("https://{}", plaintext_server());
    config += &format!("[[upstream]]\nname = \"plain\"\nurl = \"{url}\"\n{}\n", ca(good.path()));
    config += "[[route]]\nname = \"rp\"\nupstream = \"plain\"\npath = \"/rp\"\npersonal = false\n";
    let process = ServeProcess::start(&config, "");
    let cause = |route: &str| {
        let log = process.log();
        let line = log.lines().rfind(|line| line.contains(&format!("\"route\":\"{route}\"")))?;
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = &value["fields"];
        assert!(fields["upstream"].is_string());
        Some(fields["cause"].as_str().unwrap().to_owned())
    };
    for (number, (_, _, expected)) in cases.iter().enumerate() {
        let (path, route) = (format!("/r{number}"), format!("r{number}"));
        // A server can close the connection before its alert was read.
        for _ in 0..5 {
            let answer = process.get(&path, "customer-support");
            let code = answer.json()["code"].as_str().map(str::to_owned);
            assert_eq!((answer.status, code.as_deref()), (502, Some("upstream-unreachable")), "{expected}");
            wait_until(|| cause(&route).is_some());
            let cause = cause(&route).unwrap();
            if cause == format!("TLS failed: {expected}") {
                break;
            }
            assert!(number > 3 && cause.contains("closed"), "{expected}: {cause}");
        }
    }
    assert_eq!(process.get("/rp", "customer-support").status, 502);
    wait_until(|| cause("rp").is_some());
    assert_eq!(cause("rp").unwrap(), "TLS failed: the upstream does not speak TLS");
}

#[test]
fn a_client_certificate_and_another_server_name_are_used() {
    let certificates = certificates();
    let other = certificates_at(&["crm.internal"], &Timestamp::now().to_string());
    let client_ca = Some(certificates.path().join("ca.pem"));
    let upstream = TlsUpstream::start(server_tls(other.path(), &BOTH, client_ca));
    upstream.json("/customers/p-1", &person("p-1"));
    let (certificate, key) =
        (certificates.path().join("gateway.pem"), certificates.path().join("gateway.key"));
    let keys = format!(
        "url = \"https://{}\"\n{}\nclient-certificate = {certificate:?}\nclient-key = {key:?}\nserver-name = \"crm.internal\"",
        upstream.address,
        ca(other.path())
    );
    assert_eq!(ask(&start(&keys)).status, 200);
    assert_eq!(ask(&start(&keys.replace("crm.internal", "other.internal"))).status, 502);
}

#[test]
fn addresses_that_do_not_answer_are_passed_over_and_ejected() {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = dead.local_addr().unwrap();
    drop(dead);
    let gateway = start(&format!("urls = [\"http://{}\", \"http://{closed}\"]", upstream.address));
    let ejected = "purposegate_upstream_endpoints{state=\"ejected\",upstream=\"crm\"}";
    let ejections = "purposegate_upstream_ejections_total{upstream=\"crm\"}";
    assert_eq!(metric(&gateway, ejections), Some(0.0));
    for _ in 0..40 {
        assert_eq!(ask(&gateway).status, 200, "another address is tried");
    }
    assert_eq!((metric(&gateway, ejections), metric(&gateway, ejected)), (Some(1.0), Some(1.0)));
    // Any method: nothing of the request was sent.
    for _ in 0..10 {
        let posted = gateway.send("POST", "/open", ("support", "customer-support"), &[], b"{}");
        assert_ne!(posted.status, 502);
    }
}

#[test]
fn an_address_that_answers_503_is_ejected_but_never_the_only_one() {
    let (good, bad) = (Upstream::start(), Upstream::start());
    good.json("/customers/p-1", &person("p-1"));
    bad.raw("*", answer("503 Busy", "", b""));
    let gateway = start(&format!("urls = [\"http://{}\", \"http://{}\"]", good.address, bad.address));
    let statuses: Vec<u16> = (0..60).map(|_| ask(&gateway).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 5, "{statuses:?}");
    assert!(statuses[40..].iter().all(|status| *status == 200), "{statuses:?}");
    let alone = start(&format!("url = \"http://{}\"", bad.address));
    for _ in 0..12 {
        assert_eq!(ask(&alone).status, 503);
    }
    assert_eq!(bad.requests(), 5 + 12, "the only address is asked each time");
    assert_eq!(metric(&alone, "purposegate_upstream_ejections_total{upstream=\"crm\"}"), Some(0.0));
    bad.json("/customers/p-1", &person("p-1"));
    assert_eq!(ask(&alone).status, 200);
}

#[test]
fn health_checks_take_an_address_out_and_back() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let is_healthy = Arc::new(AtomicBool::new(false));
    for upstream in [&first, &second] {
        upstream.json("/api/customers/p-1", &person("p-1"));
        upstream.raw("/health?full", answer("204 No Content", "", b""));
        upstream.raw("/health", answer("204 No Content", "", b""));
    }
    let healthy = Arc::clone(&is_healthy);
    second.script("/health", move |_, stream| {
        let status = if healthy.load(Ordering::SeqCst) { "200 OK" } else { "500 Oops" };
        let _ = std::io::Write::write_all(stream, &answer(status, "", b""));
    });
    let health = "health = { path = \"/health\", interval = \"100ms\", expected = [200, 204] }\nheaders = { x-key = \"k\" }";
    let gateway = start(&format!(
        "urls = [\"http://{}/api\", \"http://{}/api\"]\n{health}",
        first.address, second.address
    ));
    let unhealthy = "purposegate_upstream_endpoints{state=\"unhealthy\",upstream=\"crm\"}";
    wait_until(|| metric(&gateway, unhealthy) == Some(1.0));
    let asked = |upstream: &Upstream| {
        let seen = upstream.seen.lock().unwrap();
        seen.iter().filter(|head| head.starts_with("GET /api/customers")).count()
    };
    let before = asked(&second);
    (0..20).for_each(|_| assert_eq!(ask(&gateway).status, 200));
    assert_eq!(asked(&second), before);
    is_healthy.store(true, Ordering::SeqCst);
    wait_until(|| metric(&gateway, unhealthy) == Some(0.0));
    (0..40).for_each(|_| assert_eq!(ask(&gateway).status, 200));
    assert!(asked(&second) > before);
    let checks = second.seen.lock().unwrap().iter().any(|head| {
        head.starts_with("GET /health HTTP/1.1") && head.contains("x-key: k") && head.contains("host: ")
    });
    assert!(checks);
    // The only address is used, whatever the checks say; and checks end with the gateway.
    is_healthy.store(false, Ordering::SeqCst);
    drop(gateway);
    let alone = start(&format!("url = \"http://{}/api\"\n{health}", second.address));
    wait_until(|| metric(&alone, unhealthy) == Some(1.0));
    assert_eq!(ask(&alone).status, 200);
}

#[test]
fn all_addresses_of_a_name_are_tried() {
    // `localhost` may also be ::1, where nothing listens.
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let gateway = start(&format!("url = \"http://localhost:{}\"", upstream.address.port()));
    for _ in 0..10 {
        assert_eq!(ask(&gateway).status, 200);
    }
    let gateway = start("url = \"http://name.invalid\"\nallow = [\"plaintext-upstream\"]");
    for _ in 0..3 {
        assert_eq!(ask(&gateway).outcome(), (502, "upstream-unreachable".to_owned()));
    }
}

#[test]
fn a_reload_changes_headers_authority_and_addresses_while_exchanges_run() {
    let (old, new) = (certificates(), certificates());
    let first = TlsUpstream::start(server_tls(old.path(), &BOTH, None));
    let second = TlsUpstream::start(server_tls(new.path(), &BOTH, None));
    for upstream in [&first, &second] {
        upstream.json("/customers/p-1", &person("p-1"));
        *upstream.delay.lock().unwrap() = Duration::from_millis(20);
    }
    let files = tempfile::tempdir().unwrap();
    let (authority, secret) = (files.path().join("ca.pem"), files.path().join("secret"));
    std::fs::copy(old.path().join("ca.pem"), &authority).unwrap();
    std::fs::write(&secret, "one").unwrap();
    let config = |upstream: &TlsUpstream| {
        let keys = format!(
            "url = \"https://{}\"\nca = {authority:?}\nheaders = {{ x-key = {{ file = {secret:?} }} }}",
            upstream.address
        );
        format!("{}{CUSTOMER_ROUTES}", config_with(&keys))
    };
    let process = ServeProcess::start(&config(&first), "");
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut statuses = Vec::new();
            while running.load(Ordering::SeqCst) {
                statuses.push(process.get("/customers/p-1", "customer-support").status);
            }
            statuses
        });
        let key = |upstream: &TlsUpstream| {
            let received = upstream.received.lock().unwrap();
            received.last().map(|last| last.header("x-key").concat())
        };
        wait_until(|| key(&first).as_deref() == Some("one"));
        // The files are watched.
        let renewed = files.path().join("renewed");
        std::fs::write(&renewed, "two\n").unwrap();
        std::fs::rename(&renewed, &secret).unwrap();
        wait_until(|| key(&first).as_deref() == Some("two"));
        // Both authorities, then the other upstream, then its authority alone.
        let both = [old.path(), new.path()].map(|folder| std::fs::read(folder.join("ca.pem")).unwrap());
        std::fs::write(&renewed, both.concat()).unwrap();
        std::fs::rename(&renewed, &authority).unwrap();
        process.rewrite(&config(&second));
        process.signal("-HUP");
        wait_until(|| key(&second).as_deref() == Some("two"));
        let count = second.received.lock().unwrap().len();
        std::fs::copy(new.path().join("ca.pem"), &renewed).unwrap();
        std::fs::rename(&renewed, &authority).unwrap();
        wait_until(|| second.received.lock().unwrap().len() > count + 20);
        running.store(false, Ordering::SeqCst);
        let statuses = asking.join().unwrap();
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    });
    // An authority that did not issue the certificate: no connection that was opened before is used.
    let renewed = files.path().join("renewed");
    std::fs::copy(old.path().join("ca.pem"), &renewed).unwrap();
    std::fs::rename(&renewed, &authority).unwrap();
    wait_until(|| process.get("/customers/p-1", "customer-support").status == 502);
    // A reload that fails changes nothing.
    std::fs::write(&authority, "no certificate").unwrap();
    process.signal("-HUP");
    wait_until(|| process.log().contains("reload failed"));
    assert_eq!(process.get("/customers/p-1", "customer-support").status, 502);
}

/// Accepts one connection and passes its bytes to another server once it is told.
fn hold_connection(behind: std::net::SocketAddr) -> (std::net::SocketAddr, Receiver<()>, Sender<()>) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let ((accept, accepted), (go_on, told)) = (channel(), channel());
    std::thread::spawn(move || {
        let near = socket.accept().unwrap().0;
        accept.send(()).unwrap();
        let _ = told.recv();
        let far = std::net::TcpStream::connect(behind).unwrap();
        let (mut from_near, mut to_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from_near, &mut to_far));
        let _ = std::io::copy(&mut { far }, &mut { near });
    });
    (address, accepted, go_on)
}

#[test]
fn an_operation_is_judged_again_when_it_has_waited_for_a_connection() {
    let certificates = certificates();
    for (is_suspended, status, reached) in [(false, 200, 1), (true, 403, 0)] {
        let upstream = TlsUpstream::start(server_tls(certificates.path(), &BOTH, None));
        upstream.json("/customers/p-1", &person("p-1"));
        let (address, accepted, go_on) = hold_connection(upstream.address);
        let (port, ca) = (address.port(), ca(certificates.path()));
        let keys = format!("url = \"https://127.0.0.1:{port}\"\n{ca}\nconnect-timeout = \"10s\"");
        let gateway = start(&keys);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                gateway.send("POST", "/customers/p-1", ("support", "customer-support"), &[], b"{}")
            });
            // The request was judged, and waits for the handshake.
            accepted.recv_timeout(Duration::from_secs(60)).unwrap();
            if is_suspended {
                let event = br#"{"kind": "suspended"}"#;
                let told = http::send(gateway.admin, "POST", "/v1/recipients/support/events", &[], event);
                assert_eq!(told.status, 200, "{}", told.text());
            }
            go_on.send(()).unwrap();
            let answer = asking.join().unwrap();
            assert_eq!(answer.status, status, "{}", answer.text());
        });
        assert_eq!(upstream.received.lock().unwrap().len(), reached);
    }
}
