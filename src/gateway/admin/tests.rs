//! The admin API over a socket.

pub(in crate::gateway) mod actors;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus::IntCounter;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::AdminApi;
use crate::config::AdminSection;
use crate::exchange::flow::tests::TestState;
use crate::gateway::acceptor::Acceptor;
use crate::gateway::connection_limit::ConnectionLimit;
use crate::gateway::console::{Console, ConsoleClock};
use crate::gateway::stage::Stage;
use crate::gateway::status::ProcessStatus;
use crate::ledger::{Freshness, Ledger, Position};

const STALE: Freshness = Freshness::Stale { age: Duration::from_millis(2500) };

/// An admin listener on the loopback. It ends when it is dropped.
pub(in crate::gateway) struct TestAdmin {
    pub(in crate::gateway) state: TestState,
    address: std::net::SocketAddr,
    listener: JoinHandle<()>,
    pub(in crate::gateway) api: AdminApi,
    pub(in crate::gateway) console: Console,
    pub(in crate::gateway) clock: TestClock,
}

/// A clock that a test moves forward.
#[derive(Clone, Debug, Default)]
pub(in crate::gateway) struct TestClock(Arc<Mutex<Duration>>);

impl TestClock {
    fn read(&self) -> ConsoleClock {
        let shown = Arc::clone(&self.0);
        ConsoleClock::of_test(move || *shown.lock().unwrap())
    }

    pub(in crate::gateway) fn move_forward(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl TestAdmin {
    async fn start() -> TestAdmin {
        TestAdmin::start_with(&AdminSection::default()).await
    }

    /// Starts a listener on the loopback with the actors and the rate of the section.
    pub(in crate::gateway) async fn start_with(section: &AdminSection) -> TestAdmin {
        TestAdmin::start_on(section, "").await
    }

    /// Starts a listener of a gateway whose route has these keys.
    pub(in crate::gateway) async fn start_on(section: &AdminSection, keys_of_route: &str) -> TestAdmin {
        TestAdmin::of_state(section, TestState::new(keys_of_route).await).await
    }

    /// Starts a listener of a gateway in this state.
    pub(in crate::gateway) async fn of_state(section: &AdminSection, state: TestState) -> TestAdmin {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let refused = IntCounter::new("refused", "Connections refused.").unwrap();
        let stage = watch::Sender::new(Stage::Serving);
        let status = ProcessStatus::new(Arc::clone(&state.shared), stage.subscribe());
        let api = AdminApi::new(Arc::clone(&state.shared), status, section).unwrap();
        let clock = TestClock::default();
        let console = Console::new(api.clone(), clock.read()).unwrap();
        let (admin, pages) = (api.clone(), console.clone().router());
        let acceptor = Acceptor::new(socket, ConnectionLimit::new(8, refused));
        let listener = tokio::spawn(async move { admin.run(acceptor, stage.subscribe(), pages).await });
        TestAdmin { state, address, listener, api, console, clock }
    }

    fn ledger(&self) -> &Ledger {
        &self.state.shared.ledger
    }

    /// Returns head and body of the response to a request.
    async fn exchange(&self, request: &str, headers: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let head = format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        let request = format!("{head}content-length: {length}\r\n{headers}\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (format!("{head}\r\n"), body.to_owned())
    }

    /// Returns status and body of the response to a request.
    async fn send(&self, request: &str, headers: &str, body: &str) -> (u16, String) {
        let (head, body) = self.exchange(request, headers, body).await;
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    async fn json(&self, request: &str, headers: &str, body: &str) -> (u16, Value) {
        let (status, body) = self.send(request, headers, body).await;
        (status, serde_json::from_str(&body).unwrap())
    }
}

impl Drop for TestAdmin {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

#[tokio::test]
async fn a_gateway_whose_ledger_is_not_current_is_not_ready() {
    let admin = TestAdmin::start().await;
    for (freshness, status, seconds) in
        [(Freshness::Current, 200, "0"), (STALE, 503, "2.5"), (Freshness::Unknown, 503, "inf")]
    {
        admin.ledger().assume_freshness(freshness);
        let (answered, readiness) = admin.json("GET /readyz", "", "").await;
        assert_eq!((answered, &readiness["ledger"]), (status, &json!(status == 200)), "{freshness:?}");
        let (_, metrics) = admin.send("GET /metrics", "", "").await;
        let line = metrics.lines().find(|line| line.starts_with("purposegate_ledger_staleness_seconds "));
        let value = line.unwrap().split(' ').nth(1).unwrap().to_ascii_lowercase();
        assert_eq!(value.trim_start_matches('+'), seconds);
    }
}

#[tokio::test]
async fn while_the_ledger_is_stale_every_access_evaluation_is_denied() {
    let admin = TestAdmin::start().await;
    let question = json!({
        "subject": { "type": "recipient", "id": "support" },
        "action": { "name": "direct-marketing" },
        "resource": { "type": "data-category", "id": "name", "properties": { "subject": "p-1" } },
    });
    let json_type = "content-type: application/json\r\n";
    let ask = async || {
        let (status, answer) =
            admin.json("POST /access/v1/evaluation", json_type, &question.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    };
    assert_eq!(ask().await["decision"], true);
    for freshness in [STALE, Freshness::Unknown] {
        admin.ledger().assume_freshness(freshness);
        let answer = ask().await;
        assert_eq!(
            (&answer["decision"], &answer["context"]["reason"]),
            (&json!(false), &json!("ledger-stale"))
        );
        assert_eq!(answer["context"]["form"], "removed");
    }
    let batch = json!({ "evaluations": [question] }).to_string();
    let (_, answer) = admin.json("POST /access/v1/evaluations", json_type, &batch).await;
    assert_eq!(answer["evaluations"][0]["context"]["reason"], "ledger-stale");
}

#[tokio::test]
async fn a_read_waits_for_the_event_that_it_names() {
    let admin = TestAdmin::start().await;
    let later = Position(admin.ledger().position().0 + 1);
    let header = format!("ledger-position: {}\r\n", admin.ledger().position_token(later));
    let event = r#"{"kind": "restriction"}"#;
    let ((status, state), (recorded, _)) = tokio::join!(
        admin.json("GET /v1/subjects/p-1", &header, ""),
        admin.json("POST /v1/subjects/p-1/events", "", event)
    );
    assert_eq!((status, recorded), (200, 200));
    assert_eq!((&state["restricted"], &state["position"]), (&json!(true), &json!(later.0)));
    let header = format!("ledger-position: {}\r\n", admin.ledger().position_token(Position(later.0 + 1)));
    let (status, problem) = admin.json("GET /v1/subjects/p-1", &header, "").await;
    assert_eq!((status, &problem["code"]), (503, &json!("ledger-stale")));
}

#[tokio::test]
async fn an_unknown_method_is_told_the_methods_there_are() {
    let admin = TestAdmin::start().await;
    for (request, allowed) in [
        ("DELETE /v1/subjects/p-1", "GET, HEAD"),
        ("PUT /v1/subjects/p-1/events", "GET, HEAD, POST"),
        ("GET /v1/events:batch", "POST"),
        ("POST /healthz", "GET, HEAD"),
    ] {
        let (head, problem) = admin.exchange(request, "", "").await;
        assert!(head.starts_with("HTTP/1.1 405"), "{request}: {head}");
        assert!(head.contains(&format!("allow: {allowed}\r\n")), "{request}: {head}");
        assert!(head.contains("content-type: application/problem+json"), "{request}: {head}");
        assert!(problem.contains("method-not-allowed"), "{request}: {problem}");
    }
}

#[tokio::test]
async fn no_answer_is_kept_or_shown_by_another_page() {
    let admin = TestAdmin::start().await;
    let own = "default-src 'none'; style-src 'self';";
    let inline = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none';";
    for (request, policy) in [
        ("GET /v1/subjects/p-1", own),
        ("GET /v1/subjects/p-1/report?format=html", inline),
        ("GET /metrics", own),
        ("GET /nothing", own),
        ("DELETE /v1/routes", own),
        ("GET /console/nothing", own),
    ] {
        let (head, _) = admin.exchange(request, "", "").await;
        for header in [
            "cache-control: no-store\r\n",
            "x-content-type-options: nosniff\r\n",
            "x-frame-options: DENY\r\n",
            "cross-origin-resource-policy: same-origin\r\n",
            &format!("content-security-policy: {policy}"),
        ] {
            assert!(head.contains(header), "{request} has no {header}: {head}");
        }
    }
}

#[tokio::test]
async fn a_path_or_a_parameter_that_does_not_exist_is_refused() {
    let admin = TestAdmin::start().await;
    for (request, status, code) in [
        ("GET /v1/subject/p-1", 404, "not-found"),
        ("GET /v1/subjects/p-1/", 404, "not-found"),
        ("GET /v1/policies?x=1", 400, "request-malformed"),
        ("GET /v1/subjects/p-1?wait=everywhere", 400, "request-malformed"),
        ("GET /v1/subjects/p-1/report?format=pdf", 400, "request-malformed"),
        ("GET /v1/subjects/p-1/report?format=html&format=html", 400, "request-malformed"),
        ("GET /v1/subjects/%FF", 400, "request-malformed"),
        ("POST /v1/events:batch?from=x", 400, "request-malformed"),
    ] {
        let (answered, problem) = admin.json(request, "", "").await;
        assert_eq!((answered, &problem["code"]), (status, &json!(code)), "{request}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let admin = TestAdmin::start().await;
    for path in ["/healthz", "/v1/policies"] {
        let (_, body) = admin.send(&format!("GET {path}"), "", "").await;
        let (head, nothing) = admin.exchange(&format!("HEAD {path}"), "", "").await;
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(head.starts_with("HTTP/1.1 200") && nothing.is_empty());
    }
}
