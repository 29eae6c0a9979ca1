//! `[audit.push]`: exchanges on record reach a server at least once, over outages and restarts, without people.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::fixtures::{CUSTOMER_ROUTES, NOTICE, person};
use crate::gateway::{TestGateway, base, wait, wait_until};
use crate::http::read_request;
use crate::upstream::Upstream;

/// In place of a status: the server reads a request and does not answer.
const NO_ANSWER: u16 = 0;

/// A server that gets records.
struct RecordServer {
    address: SocketAddr,
    /// The status of the next answers, and what follows the status line.
    answer: Arc<Mutex<(u16, &'static str)>>,
    /// Bodies with more lines are too large (413).
    max_lines: Arc<Mutex<usize>>,
    /// A body that has this is too large.
    too_large: Arc<Mutex<Option<String>>>,
    /// Each request with the status that it got.
    requests: Arc<Mutex<Vec<(u16, String)>>>,
}

impl RecordServer {
    fn start() -> RecordServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new((204, "")));
        let requests: Arc<Mutex<Vec<(u16, String)>>> = Arc::default();
        let max_lines = Arc::new(Mutex::new(usize::MAX));
        let (present, kept, max) = (Arc::clone(&answer), Arc::clone(&requests), Arc::clone(&max_lines));
        let too_large: Arc<Mutex<Option<String>>> = Arc::default();
        let refused = Arc::clone(&too_large);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Some((head, body)) = read_request(&stream) else { continue };
                let request = head + &String::from_utf8(body).unwrap();
                let (mut status, fields) = *present.lock().unwrap();
                let lines = request.split_once("\r\n\r\n").unwrap().1.lines().count();
                let is_refused = refused.lock().unwrap().as_ref().is_some_and(|part| request.contains(part));
                if status == 204 && (lines > *max.lock().unwrap() || is_refused) {
                    status = 413;
                }
                kept.lock().unwrap().push((status, request));
                if status == NO_ANSWER {
                    std::thread::spawn(move || stream.read(&mut [0; 64]));
                    continue;
                }
                let length = if status == 200 { "" } else { "content-length: 0\r\n" };
                let _ = write!(stream, "HTTP/1.1 {status} X\r\n{fields}{length}\r\n");
                if status == 200 {
                    // A body that does not end.
                    std::thread::spawn(move || stream.read(&mut [0; 64]));
                }
            }
        });
        RecordServer { address, answer, max_lines, too_large, requests }
    }

    fn answers(&self, status: u16, fields: &'static str) {
        *self.answer.lock().unwrap() = (status, fields);
    }

    fn requests(&self) -> Vec<(u16, String)> {
        self.requests.lock().unwrap().clone()
    }

    /// The records that were accepted.
    fn accepted(&self) -> Vec<Value> {
        let accepted = self.requests().into_iter().filter(|(status, _)| matches!(status, 200 | 204));
        let bodies = accepted.map(|(_, request)| request.split_once("\r\n\r\n").unwrap().1.to_owned());
        let lines =
            |body: String| body.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>();
        bodies.flat_map(lines).collect()
    }

    /// Waits until the exchanges of these decisions were accepted.
    fn wait_for(&self, decisions: &[String]) -> Vec<Value> {
        wait(|| {
            let accepted = self.accepted();
            let has =
                |decision: &String| accepted.iter().any(|record| record["decision"] == decision.as_str());
            decisions.iter().all(has).then_some(accepted)
        })
    }

    fn section(&self, more: &str) -> String {
        format!("[audit.push]\nurl = \"http://{}/records?x=1\"\n{more}\n", self.address)
    }
}

fn config(upstream: &Upstream, server: &RecordServer, more: &str) -> String {
    upstream.json("/customers/p-1", &person("p-1"));
    format!("{}{CUSTOMER_ROUTES}{}", base(upstream.address), server.section(more))
}

/// Makes one exchange. Returns its decision.
fn ask(gateway: &TestGateway) -> String {
    let answer = gateway.get("/customers/p-1", "support", "customer-support");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.decision()
}

#[test]
fn an_exchange_is_pushed_as_it_is_on_record_without_people() {
    let (upstream, server) = (Upstream::start(), RecordServer::start());
    let gateway = TestGateway::start(&config(&upstream, &server, "authorization = \"Bearer s3cret\""));
    gateway.record_event("p-1", NOTICE);
    let decision = ask(&gateway);
    let record = server.wait_for(std::slice::from_ref(&decision)).remove(0);
    let mut logged = gateway.get_admin(&format!("/v1/decisions/{decision}")).json();
    assert_eq!(logged["subjects"].as_array().unwrap().len(), 1);
    for member in ["subjects", "withheld_subjects", "actor", "case", "declared"] {
        logged.as_object_mut().unwrap().remove(member).unwrap();
    }
    assert_eq!(record, logged);
    let (_, request) = server.requests().remove(0);
    assert!(request.starts_with("POST /records?x=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("content-type: application/x-ndjson\r\n"), "{request}");
    assert!(request.contains("authorization: Bearer s3cret\r\n"), "{request}");
    wait_until(|| gateway.metrics().contains("purposegate_push_lag_seconds 0\n"));
}

#[test]
fn people_are_pushed_only_where_that_is_asked_for() {
    let (upstream, server) = (Upstream::start(), RecordServer::start());
    let gateway = TestGateway::start(&config(&upstream, &server, "subjects = true"));
    gateway.record_event("p-1", NOTICE);
    let decision = ask(&gateway);
    let record = server.wait_for(std::slice::from_ref(&decision)).remove(0);
    assert_eq!(record, gateway.get_admin(&format!("/v1/decisions/{decision}")).json());
    assert_eq!(record["subjects"].as_array().unwrap().len(), 1);
}

#[test]
fn nothing_is_lost_in_an_outage_and_over_a_restart() {
    let (upstream, server) = (Upstream::start(), RecordServer::start());
    let config = config(&upstream, &server, "");
    let gateway = TestGateway::start(&config);
    gateway.record_event("p-1", NOTICE);
    let mut decisions = vec![ask(&gateway)];
    server.wait_for(&decisions);

    server.answers(503, "");
    decisions.extend((0..5).map(|_| ask(&gateway)));
    wait_until(|| server.requests().iter().filter(|(status, _)| *status == 503).count() >= 2);
    wait_until(|| !gateway.metrics().contains("purposegate_push_lag_seconds 0\n"));
    assert!(gateway.metrics().contains("purposegate_push_records_total 1\n"));
    let folder = gateway.end();

    server.answers(204, "");
    let gateway = TestGateway::start_in(folder, &config);
    decisions.push(ask(&gateway));
    let accepted = server.wait_for(&decisions);
    let first = accepted.iter().filter(|record| record["decision"] == decisions[0].as_str()).count();
    assert_eq!(first, 1, "what was accepted is not sent again");
    let of_gateway: Vec<&str> = accepted.iter().map(|record| record["decision"].as_str().unwrap()).collect();
    assert_eq!(of_gateway, decisions, "in the order of their ends");
}

#[test]
fn the_lag_is_stated_while_a_server_does_not_answer() {
    let (upstream, server) = (Upstream::start(), RecordServer::start());
    server.answers(NO_ANSWER, "");
    let gateway = TestGateway::start(&config(&upstream, &server, ""));
    gateway.record_event("p-1", NOTICE);
    ask(&gateway);
    wait_until(|| !server.requests().is_empty());
    let lag = || -> f64 {
        let metrics = gateway.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix("purposegate_push_lag_seconds "));
        line.unwrap().parse().unwrap()
    };
    let first = lag();
    assert!(first > 0.0);
    wait_until(|| lag() >= first + 1.0);
    let metrics = gateway.metrics();
    assert!(metrics.contains("purposegate_push_failures_total 0\n"), "{metrics}");
}

#[test]
fn a_server_that_asks_to_wait_is_left_alone() {
    let (upstream, server) = (Upstream::start(), RecordServer::start());
    server.answers(429, "retry-after: 3\r\n");
    let gateway = TestGateway::start(&config(&upstream, &server, ""));
    gateway.record_event("p-1", NOTICE);
    let decision = ask(&gateway);
    wait_until(|| !server.requests().is_empty());
    let refused = std::time::Instant::now();
    server.answers(204, "");
    server.wait_for(&[decision]);
    assert!(refused.elapsed().as_secs() >= 2, "{:?}", refused.elapsed());
    assert!(gateway.metrics().contains("purposegate_push_failures_total 1\n"));
}

#[test]
fn a_body_that_the_server_goes_on_with_changes_nothing() {
    let (upstream, server) = (Upstream::start(), RecordServer::start());
    server.answers(200, "");
    let gateway = TestGateway::start(&config(&upstream, &server, ""));
    gateway.record_event("p-1", NOTICE);
    let first = ask(&gateway);
    wait_until(|| gateway.metrics().contains("purposegate_push_records_total 1\n"));
    let second = ask(&gateway);
    wait_until(|| gateway.metrics().contains("purposegate_push_records_total 2\n"));
    let accepted = server.wait_for(&[first.clone(), second.clone()]);
    let accepted: Vec<&str> = accepted.iter().map(|record| record["decision"].as_str().unwrap()).collect();
    assert_eq!(accepted, [first, second], "each once");
}

#[test]
fn a_batch_that_is_too_large_is_sent_in_parts() {
    let (upstream, server) = (Upstream::start(), RecordServer::start());
    server.answers(503, "");
    let config = config(&upstream, &server, "");
    let gateway = TestGateway::start(&config);
    gateway.record_event("p-1", NOTICE);
    let decisions: Vec<String> = (0..7).map(|_| ask(&gateway)).collect();
    let folder = gateway.end();
    *server.max_lines.lock().unwrap() = 2;
    server.answers(204, "");
    let gateway = TestGateway::start_in(folder, &config);
    let accepted = server.wait_for(&decisions);
    let accepted: Vec<&str> = accepted.iter().map(|record| record["decision"].as_str().unwrap()).collect();
    assert_eq!(accepted, decisions, "each once, in the order of their ends");
    wait_until(|| gateway.metrics().contains("purposegate_push_records_total 7\n"));
    assert!(server.requests().iter().any(|(status, _)| *status == 413));
}

#[test]
fn an_exchange_that_is_too_large_is_sent_without_its_people() {
    let (upstream, server) = (Upstream::start(), RecordServer::start());
    *server.too_large.lock().unwrap() = Some("\"subjects\":[".to_owned());
    let gateway = TestGateway::start(&config(&upstream, &server, "subjects = true"));
    gateway.record_event("p-1", NOTICE);
    let decisions = [ask(&gateway), ask(&gateway)];
    let accepted = server.wait_for(&decisions);
    let people = |record: &Value| (record["subjects"].clone(), record["subjects_omitted"].clone());
    assert!(accepted.iter().all(|record| people(record) == (Value::Null, true.into())), "{accepted:?}");
    wait_until(|| gateway.metrics().contains("purposegate_push_records_total 2\n"));
}

#[test]
fn the_place_moves_past_entries_that_hold_nothing_to_push() {
    let (upstream, server) = (Upstream::start(), RecordServer::start());
    let gateway = TestGateway::start(&config(&upstream, &server, ""));
    let place = gateway.folder.path().join("data/audit-push");
    let text = wait(|| std::fs::read_to_string(&place).ok());
    let place: Value = serde_json::from_str(&text).unwrap();
    assert!(place["next"].as_u64().unwrap() > 0, "{place}");
    assert_eq!(server.requests(), []);
}
