//! Notices to recipients: signed requests to a server, and a feed (GDPR Art. 19).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};

use crate::fixtures::{CUSTOMER_ROUTES, KNOWN, person};
use crate::gateway::{TestGateway, base, bearer, credential, wait_until};
use crate::http;
use crate::upstream::{Upstream, answer};

const SECRET: &[u8] = b"a secret of thirty-two bytes....";

/// A server that keeps what it receives. It refuses the first request.
struct Webhook {
    address: SocketAddr,
    received: Arc<Mutex<Vec<(String, String)>>>,
}

impl Webhook {
    fn start() -> Webhook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let kept = Arc::clone(&received);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
                let length = field(&head, "content-length").and_then(|length| length.parse().ok());
                let mut body = String::new();
                reader.take(length.unwrap_or(0)).read_to_string(&mut body).unwrap();
                let mut kept = kept.lock().unwrap();
                let status = if kept.is_empty() { "503 Service Unavailable" } else { "204 No Content" };
                kept.push((head, body));
                let _ = stream.write_all(&answer(status, "", b""));
            }
        });
        Webhook { address, received }
    }

    fn received(&self) -> Vec<(String, String)> {
        self.received.lock().unwrap().clone()
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Checks a signature as a recipient does.
fn is_signed((head, body): &(String, String)) -> bool {
    let member = |name| field(head, name).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signed = format!("{}.{}.{body}", member("webhook-id"), member("webhook-timestamp"));
    let signature = STANDARD.decode(member("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
}

fn recipient(name: &str, notify: &str) -> String {
    format!(
        "[[recipient]]\nname = \"{name}\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"customer-support\"]\n\
         credentials = [{}]\nlegal-name = \"{name} Ltd\"\nnotify = {notify}\n",
        credential(name)
    )
}

fn start(webhook: &Webhook) -> (Upstream, TestGateway) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hook.secret"), format!("whsec_{}\n", STANDARD.encode(SECRET)))
        .unwrap();
    let upstream = Upstream::start();
    let hook = format!(
        "{{ webhook = \"http://{}/in?a=1\", secret = {{ file = \"hook.secret\" }} }}",
        webhook.address
    );
    let recipients = recipient("hooked", &hook) + &recipient("feeder", "{ feed = true }");
    let config = format!("{}{recipients}{CUSTOMER_ROUTES}", base(upstream.address));
    (upstream, TestGateway::start_in(folder, &config))
}

fn feed(gateway: &TestGateway, recipient: &str, query: &str) -> Value {
    let path = format!("/.well-known/data-purposes/notices{query}");
    let answer = http::get(gateway.address, &path, &[&bearer(recipient)]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn recipients_are_told_of_a_correction_by_webhook_and_feed() {
    let webhook = Webhook::start();
    let (upstream, gateway) = start(&webhook);
    for id in ["p-1", "p-2"] {
        gateway.record_event(id, KNOWN);
        upstream.json(&format!("/customers/{id}"), &person(id));
    }
    for recipient in ["hooked", "feeder"] {
        assert_eq!(gateway.get("/customers/p-1", recipient, "customer-support").status, 200);
    }
    gateway.record_event("p-1", r#"{"kind": "correction", "facts": {"country": "DE"}}"#);
    gateway.record_event("p-2", r#"{"kind": "restriction"}"#);

    wait_until(|| webhook.received().len() == 2);
    let received = webhook.received();
    assert!(received.iter().all(is_signed) && received[0].0.starts_with("POST /in?a=1 HTTP/1.1\r\n"));
    assert_eq!(field(&received[0].0, "webhook-id"), field(&received[1].0, "webhook-id"), "it is repeated");
    let told: Value = serde_json::from_str(&received[1].1).unwrap();
    assert_eq!(
        (&told["type"], &told["data"]["person"]),
        (&json!("data.correction"), &json!({ "id": "p-1" }))
    );
    assert_eq!(told["data"]["categories"], json!(["email", "name"]));

    wait_until(|| !feed(&gateway, "feeder", "")["notices"].as_array().unwrap().is_empty());
    let own = feed(&gateway, "feeder", "");
    let notice = &own["notices"][0];
    assert_eq!((&notice["type"], &notice["person"]["id"]), (&json!("data.correction"), &json!("p-1")));
    assert_eq!(own["notices"].as_array().unwrap().len(), 1);
    assert_eq!(feed(&gateway, "hooked", "")["notices"], json!([]), "another recipient's are its own");
    let id = notice["id"].as_str().unwrap();
    assert_eq!(feed(&gateway, "feeder", &format!("?after={id}"))["notices"], json!([]));
    let acknowledge = |recipient: &str, method: &str| {
        let path = format!("/.well-known/data-purposes/notices/{id}/acknowledge");
        http::send(gateway.address, method, &path, &[&bearer(recipient)], b"").status
    };
    assert_eq!(acknowledge("feeder", "GET"), 405);
    assert_eq!(acknowledge("hooked", "POST"), 404);
    assert_eq!(acknowledge("feeder", "POST"), 200);
    assert_eq!(acknowledge("feeder", "POST"), 404);
    assert_eq!(feed(&gateway, "feeder", "")["notices"], json!([]));
    wait_until(|| gateway.metrics().contains("purposegate_notices_open 0"));
    let malformed =
        http::get(gateway.address, "/.well-known/data-purposes/notices?after=x", &[&bearer("feeder")]);
    assert_eq!(malformed.status, 400);
}
