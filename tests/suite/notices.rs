//! Notices to recipients: signed requests to a server, and a feed (GDPR Art. 19).

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use purposegate::credentials::development;
use purposegate::disclosure::{self, ActFilter, LogPlace};
use ring::hmac;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::fixtures::{CUSTOMER_ROUTES, KNOWN, person};
use crate::gateway::{TestGateway, base, bearer, credential, wait_until};
use crate::http;
use crate::ledger_sharers::SharedLedger;
use crate::postgres_server::PostgresServer;
use crate::process::ServeProcess;
use crate::program::run;
use crate::tls_server::server_config;
use crate::upstream::{Upstream, answer};

const SECRET: &[u8] = b"a secret of thirty-two bytes....";

/// A server that accepts connections and answers nothing. Returns its address.
fn start_silent_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let _kept: Vec<_> = listener.incoming().map_while(Result::ok).collect();
    });
    address
}

/// A server that keeps what it receives.
struct Webhook {
    address: SocketAddr,
    received: Arc<Mutex<Vec<(String, String)>>>,
}

impl Webhook {
    /// Starts a server that refuses the first request.
    fn start() -> Webhook {
        Webhook::serve(1, |stream, respond| respond(stream))
    }

    /// Starts a server with TLS.
    fn start_with_tls(config: Arc<ServerConfig>) -> Webhook {
        Webhook::serve(0, move |stream, respond| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            respond(&mut stream);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        })
    }

    /// Starts a server that refuses so many requests. `accept` passes on each connection.
    fn serve(
        refused: usize,
        accept: impl Fn(&mut TcpStream, &mut dyn FnMut(&mut dyn ReadWrite)) + Send + 'static,
    ) -> Webhook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let kept = Arc::clone(&received);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                accept(&mut stream, &mut |stream| {
                    let mut reader = BufReader::new(&mut *stream);
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
                    let Some(length) = field(&head, "content-length") else { return };
                    let mut body = String::new();
                    reader.take(length.parse().unwrap()).read_to_string(&mut body).unwrap();
                    let mut kept = kept.lock().unwrap();
                    let is_refused = kept.len() < refused;
                    let status = if is_refused { "503 Service Unavailable" } else { "204 No Content" };
                    kept.push((head, body));
                    let _ = stream.write_all(&answer(status, "", b""));
                });
            }
        });
        Webhook { address, received }
    }

    fn received(&self) -> Vec<(String, String)> {
        self.received.lock().unwrap().clone()
    }
}

/// A connection with or without TLS.
trait ReadWrite: Read + Write {}

impl<S: Read + Write> ReadWrite for S {}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Checks a signature as a recipient does.
fn is_signed(request: &(String, String)) -> bool {
    is_signed_with(SECRET, request)
}

fn is_signed_with(secret: &[u8], (head, body): &(String, String)) -> bool {
    let member = |name| field(head, name).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
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

fn hook(address: SocketAddr) -> String {
    format!("{{ webhook = \"http://{address}/in?a=1\", secret = {{ file = \"hook.secret\" }} }}")
}

fn write_secret(file: &Path, secret: &[u8]) {
    std::fs::write(file, format!("whsec_{}\n", STANDARD.encode(secret))).unwrap();
}

fn start(webhook: &Webhook) -> (Upstream, TestGateway) {
    let folder = tempfile::tempdir().unwrap();
    write_secret(&folder.path().join("hook.secret"), SECRET);
    let upstream = Upstream::start();
    let hook = hook(webhook.address);
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
fn a_webhook_without_a_secret_is_signed_with_that_of_the_key_file() {
    let (webhook, upstream) = (Webhook::serve(0, |stream, respond| respond(stream)), Upstream::start());
    let hook = format!("{{ webhook = \"http://{}/in\" }}", webhook.address);
    let config = format!("{}{}{CUSTOMER_ROUTES}", base(upstream.address), recipient("hooked", &hook));
    let gateway = TestGateway::start(&config);
    gateway.record_event("p-1", KNOWN);
    upstream.json("/customers/p-1", &person("p-1"));
    assert_eq!(gateway.get("/customers/p-1", "hooked", "customer-support").status, 200);
    gateway.record_event("p-1", r#"{"kind": "restriction"}"#);
    wait_until(|| !webhook.received().is_empty());

    let file = gateway.folder.path().join("purposegate.toml");
    let printed = |name: &str| run(["recipient", "webhook-secret", name, "--config", file.to_str().unwrap()]);
    let (status, secret, words) = printed("hooked");
    assert_eq!(status, 0, "{words}");
    let secret = STANDARD.decode(secret.trim().strip_prefix("whsec_").unwrap()).unwrap();
    assert!(is_signed_with(&secret, &webhook.received()[0]));
    let (status, out, words) = printed("nobody");
    assert!(status == 2 && out.is_empty() && words.contains("no recipient `nobody`"), "{status} {words}");
    assert!(!words.contains("did you mean") && words.contains("; it has `support`, `reseller`"), "{words}");
    assert!(printed("hookd").2.contains("no recipient `hookd` in the configuration; did you mean `hooked`?"));
    let (status, _, words) = printed("support");
    assert!(status == 2 && words.contains("has no webhook"), "{status} {words}");
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
    assert_eq!(acknowledge("feeder", "POST"), 200, "the answer may have been lost");
    assert_eq!(acknowledge("hooked", "POST"), 404);
    assert_eq!(feed(&gateway, "feeder", "")["notices"], json!([]));
    wait_until(|| gateway.metrics().contains("purposegate_notices_open 0"));
    let malformed =
        http::get(gateway.address, "/.well-known/data-purposes/notices?after=x", &[&bearer("feeder")]);
    assert_eq!(malformed.status, 400);
}

#[test]
fn a_recipient_that_does_not_answer_delays_no_other() {
    let (webhook, silent) = (Webhook::start(), start_silent_server());
    let folder = tempfile::tempdir().unwrap();
    let secret = format!("whsec_{}\n", STANDARD.encode(SECRET));
    std::fs::write(folder.path().join("hook.secret"), secret).unwrap();
    let upstream = Upstream::start();
    let recipients = recipient("asleep", &hook(silent)) + &recipient("hooked", &hook(webhook.address));
    let config = format!("{}{recipients}{CUSTOMER_ROUTES}", base(upstream.address));
    let gateway = TestGateway::start_in(folder, &config);
    let ids = ["p-1", "p-2", "p-3"];
    for id in ids {
        gateway.record_event(id, KNOWN);
        upstream.json(&format!("/customers/{id}"), &person(id));
        for recipient in ["asleep", "hooked"] {
            let path = format!("/customers/{id}");
            assert_eq!(gateway.get(&path, recipient, "customer-support").status, 200);
        }
    }
    let began = Instant::now();
    for id in ids {
        gateway.record_event(id, r#"{"kind": "erasure"}"#);
    }
    // The first request is refused, and repeated after ten seconds. One request to the other recipient takes twenty.
    wait_until(|| webhook.received().len() == 4);
    assert!(began.elapsed() < Duration::from_secs(19), "{:?}", began.elapsed());
    let told: BTreeSet<String> = webhook
        .received()
        .into_iter()
        .map(|(_, body)| {
            serde_json::from_str::<Value>(&body).unwrap()["data"]["person"]["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(told, ids.map(str::to_owned).into());
}

#[test]
fn whoever_reads_or_closes_notices_is_on_record() {
    let webhook = Webhook::start();
    let (upstream, gateway) = start(&webhook);
    gateway.record_event("p-1", KNOWN);
    upstream.json("/customers/p-1", &person("p-1"));
    assert_eq!(gateway.get("/customers/p-1", "support", "customer-support").status, 200);
    gateway.record_event("p-1", r#"{"kind": "correction", "facts": {"country": "DE"}}"#);
    let open = || gateway.get_admin("/v1/notices?reason=weekly").json();
    wait_until(|| open()["notices"].as_array().unwrap().len() == 1);
    assert_eq!(open()["complete"], true);
    let id = open()["notices"][0]["id"].as_str().unwrap().to_owned();
    let close = format!("/v1/notices/{id}/delivered?reason=by%20letter");
    assert_eq!(gateway.post_admin(&close, b"").status, 200);
    let acts = |resource: &str| {
        let mut found = Vec::new();
        let folder = gateway.folder.path().join("data/audit");
        disclosure::acts(LogPlace::unindexed(&folder), &ActFilter::default(), |act| {
            found.extend(Some(act.clone()).filter(|act| *act.resource == *resource));
            Ok(())
        })
        .unwrap();
        found
    };
    let closed = acts("/v1/notices/{id}/delivered");
    assert_eq!((closed.len(), closed[0].reason.as_deref()), (1, Some("by letter")));
    assert_eq!(closed[0].subject, None, "the time of the event would lead from the person to the act");
    let read = acts("/v1/notices");
    assert!(read.len() > 2 && read.iter().all(|act| act.reason.as_deref() == Some("weekly")));
}

/// Returns the kinds of the events about a person.
fn kinds(gateway: &TestGateway, id: &str) -> String {
    gateway.get_admin(&format!("/v1/subjects/{id}/events")).text()
}

#[test]
fn what_another_gateway_has_released_is_told_and_a_log_that_is_not_listed_keeps_the_search_open() {
    let Some(server) = PostgresServer::shared() else { return };
    let ledger = SharedLedger::new(&[server]);
    let folders = [ledger.folder(), ledger.folder()];
    let logs = folders.each_ref().map(|folder| folder.path().join("data/audit"));
    let [first, second] = folders;
    let config = |name: &str, other: &Path| {
        format!("{}[audit]\nlogs = [{{ path = {:?} }}]\n", ledger.config(name), other.display().to_string())
    };
    let one = TestGateway::start_in(first, &config("gateway-1", &logs[1]));
    let two = TestGateway::start_in(second, &config("gateway-2", &logs[0]));
    // A gateway that does not know a person yet answers, too, and withholds.
    let has_left = |gateway: &TestGateway, id: &str| {
        let answer = gateway.get(&format!("/customers/{id}"), "support", "customer-support");
        answer.status == 200 && answer.json().get("name").is_some()
    };
    for id in ["p-1", "p-2"] {
        one.record_event(id, KNOWN);
        wait_until(|| has_left(&two, id));
    }
    one.record_event("p-1", r#"{"kind": "erasure"}"#);
    let open = || one.get_admin("/v1/notices").json()["notices"].as_array().unwrap().clone();
    wait_until(|| open().len() == 1);
    let notice = open().remove(0);
    assert_eq!((&notice["recipient"], &notice["known-as"]), (&json!("support"), &json!({ "id": "p-1" })));
    let close = |notice: &Value| {
        let path = format!("/v1/notices/{}/delivered", notice["id"].as_str().unwrap());
        assert_eq!(one.post_admin(&path, b"").status, 200);
    };
    close(&notice);
    // The second gateway is idle now. It states that its log has everything.
    wait_until(|| kinds(&one, "p-1").contains("log-secret-erased"));

    let three = ledger.start("gateway-3");
    wait_until(|| has_left(&three, "p-2"));
    one.record_event("p-2", r#"{"kind": "erasure"}"#);
    wait_until(|| open().len() == 1);
    close(&open()[0]);
    for gateway in [&one, &two, &three] {
        wait_until(|| gateway.metrics().contains("purposegate_notice_searches_incomplete 1"));
    }
    assert_eq!(three.get_admin("/v1/notices").json()["complete"], false);
    assert!(!kinds(&one, "p-2").contains("log-secret-erased"));
    // It may have released something before it ends, and its log is not listed.
    let origin = std::fs::read_to_string(three.folder.path().join("data/audit/origin")).unwrap();
    drop(three);
    assert!(!kinds(&one, "p-2").contains("log-secret-erased"));
    let retired = |config: String| format!("{config}retired = [{:?}]\n", origin.trim());
    let two = two.end();
    let one = TestGateway::start_in(one.end(), &retired(config("gateway-1", &logs[1])));
    let _two = TestGateway::start_in(two, &retired(config("gateway-2", &logs[0])));
    wait_until(|| kinds(&one, "p-2").contains("log-secret-erased"));
}

/// The id of a person can be in the path of the request only.
#[test]
fn a_person_who_is_named_by_the_path_leads_to_the_same_notices_as_one_who_is_named_by_the_record() {
    const PROFILE_ROUTE: &str = r#"
[[route]]
name = "profile"
upstream = "crm"
path = "/profiles/{id}"
subject = "{id}"
[route.fields]
"@.name" = "name"
"@.email" = "email"
"#;
    let upstream = Upstream::start();
    let recipients = recipient("by-record", "{ feed = true }") + &recipient("by-path", "{ feed = true }");
    let config = format!("{}{recipients}{CUSTOMER_ROUTES}{PROFILE_ROUTE}", base(upstream.address));
    let gateway = TestGateway::start(&config);
    gateway.record_event("p-1", KNOWN);
    upstream.json("/customers/p-1", &person("p-1"));
    upstream.json("/profiles/p-1", r#"{"name": "Name-p-1", "email": "p-1@example.org"}"#);
    assert_eq!(gateway.get("/customers/p-1", "by-record", "customer-support").status, 200);
    let profile = gateway.get("/profiles/p-1", "by-path", "customer-support");
    assert!(profile.text().contains("p-1@example.org"), "{}", profile.text());
    gateway.record_event("p-1", r#"{"kind": "erasure"}"#);
    let told = |recipient: &str| {
        wait_until(|| !feed(&gateway, recipient, "")["notices"].as_array().unwrap().is_empty());
        let notices = feed(&gateway, recipient, "")["notices"].take();
        assert_eq!(notices.as_array().unwrap().len(), 1);
        ["type", "person", "categories"].map(|member| notices[0][member].clone())
    };
    let by_record = told("by-record");
    assert_eq!(by_record, told("by-path"));
    assert_eq!(by_record, [json!("data.erasure"), json!({ "id": "p-1" }), json!(["email", "name"])]);
}

#[test]
fn a_webhook_is_known_by_its_authority_and_its_secret_is_reloaded_when_the_file_changes() {
    const ANOTHER_SECRET: &[u8] = b"another secret of thirty bytes";
    let (certificates, secrets) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    development::make(certificates.path(), &[]).unwrap();
    let webhook = Webhook::start_with_tls(server_config(certificates.path()));
    let secret = secrets.path().join("hook.secret");
    write_secret(&secret, SECRET);
    let upstream = Upstream::start();
    let hook = format!(
        "{{ webhook = \"https://localhost:{}/in\", secret = {{ file = {secret:?} }}, ca = {:?} }}",
        webhook.address.port(),
        certificates.path().join("ca.pem"),
    );
    let config = format!("{}{}{CUSTOMER_ROUTES}", base(upstream.address), recipient("hooked", &hook));
    let process = ServeProcess::start(&config, "");
    let record = |event: &str| {
        let answer = http::send(process.admin, "POST", "/v1/subjects/p-1/events", &[], event.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    record(KNOWN);
    upstream.json("/customers/p-1", &person("p-1"));
    let headers = [&*bearer("hooked"), "data-purpose: customer-support"];
    assert_eq!(http::get(process.address, "/customers/p-1", &headers).status, 200);
    record(r#"{"kind": "correction", "facts": {"country": "DE"}}"#);
    wait_until(|| webhook.received().len() == 1);
    let loaded = || process.log.lock().unwrap().matches("\"outcome\":\"loaded\"").count();
    let before = loaded();
    write_secret(&secret, ANOTHER_SECRET);
    wait_until(|| loaded() > before);
    record(r#"{"kind": "restriction"}"#);
    wait_until(|| webhook.received().len() == 2);
    let received = webhook.received();
    assert!(is_signed(&received[0]) && !is_signed(&received[1]));
    assert!(is_signed_with(ANOTHER_SECRET, &received[1]));
}
