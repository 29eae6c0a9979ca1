//! The records that each shape of exchange has on the disclosure log.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};

use super::fixture::{
    BODY, Chunks, GatewayFixture, KEY, STALE, json_answer, read, records, resume, streamed, whole,
};
use crate::disclosure::questions::{AnswerCursor, LogQuestion};
use crate::disclosure::record::{Outcome, Record};
use crate::disclosure::{Disk, Durability, ReadError, SearchEffort};
use crate::exchange::{ExchangeStart, GrantedExchange, Refusal, SharedState};
use crate::layer::PurposeLayer;
use crate::layer::request_body::RequestBody;
use crate::layer::response_body::ResponseBody;
use crate::ledger::Freshness;

/// An answer of an upstream in NDJSON, which ends with the connection.
fn lines_answer(lines: usize, breaks: bool) -> Response<Chunks> {
    // More than one window of 1 MiB.
    let chunk = format!("{BODY}\n").repeat(4000);
    let body = streamed(vec![chunk; lines], breaks);
    Response::builder().header("content-type", "application/x-ndjson").body(body).unwrap()
}

/// A list about `p-1` and about `p-2`, whom the ledger does not know.
fn two_people() -> String {
    let other = BODY.replace("p-1", "p-2").replace("ada@", "bea@");
    format!("[{}]", vec![format!("{BODY},{other}"); 2000].join(","))
}

/// The consent of `p-2`.
const GIVEN_BY_THE_OTHER: &str =
    r#"{"kind": "consent-given", "purpose": "order-fulfilment", "subject": "p-2"}"#;

/// Sends a request through the layer to an upstream that answers so.
async fn send(
    shared: &Arc<SharedState>,
    method: Method,
    path: &str,
    answer: Response<Chunks>,
) -> Response<ResponseBody> {
    send_to(shared, method, path, async move || answer).await
}

async fn send_to<F>(
    shared: &Arc<SharedState>,
    method: Method,
    path: &str,
    answer: impl FnOnce() -> F + Send + 'static,
) -> Response<ResponseBody>
where
    F: Future<Output = Response<Chunks>> + Send + 'static,
{
    let answer = Arc::new(Mutex::new(Some(answer)));
    let upstream = tower::service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
        let answering = answer.lock().unwrap().take().unwrap()();
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let request = Request::builder().method(method.clone()).uri(path).header("host", "x");
    let request = request.header("data-purpose", "order-fulfilment");
    let request = request.header("authorization", format!("Bearer {KEY}"));
    let request = match method {
        Method::POST => request.header("content-type", "application/json").body(Full::from("{}")),
        _ => request.body(Full::default()),
    };
    let service = PurposeLayer::new(Arc::clone(shared)).layer(upstream);
    service.oneshot(request.unwrap()).await.unwrap()
}

/// Returns kind and outcome of each record, for example `close released`.
async fn kinds(shared: &SharedState) -> Vec<String> {
    kinds_of(&records(shared).await)
}

fn kinds_of(records: &[Value]) -> Vec<String> {
    let decision = records.first().map(|record| record["decision"].clone());
    assert!(records.iter().all(|record| Some(&record["decision"]) == decision.as_ref()), "{records:#?}");
    let text = |record: &Value, member: &str| record[member].as_str().unwrap_or("").to_owned();
    let kind = |record| format!("{} {}", text(record, "kind"), text(record, "outcome")).trim().to_owned();
    records.iter().map(kind).collect()
}

#[tokio::test]
async fn a_whole_answer_has_one_record_that_says_all_of_it() {
    let state = GatewayFixture::new().await;
    let response = send(&state.shared, Method::GET, "/stops", json_answer(whole(BODY))).await;
    assert_eq!(response.status(), StatusCode::OK);
    let one = records(&state.shared).await;
    assert_eq!(one.len(), 1, "it is on record before the body was read: {one:#?}");
    let record = &one[0];
    assert_eq!((&record["kind"], &record["outcome"]), (&json!("exchange"), &json!("released")));
    assert_eq!(
        (&record["recipient"], &record["purpose"], &record["route"], &record["operation"]),
        (&json!("support"), &json!("order-fulfilment"), &json!("stops"), &json!("disclose"))
    );
    assert_eq!((&record["records"], record["subjects"].as_array().unwrap().len()), (&json!(1), 1));
    assert_eq!(record["factors"]["route"], "permits");
    assert!(read(response).await.unwrap().starts_with(b"{\"id\""));
    assert_eq!(records(&state.shared).await, one);
}

#[tokio::test]
async fn answers_without_content_that_is_read_have_one_record() {
    let empty = || Response::builder().status(204).body(whole("")).unwrap();
    let unframed = || Response::builder().body(streamed(Vec::<String>::new(), false)).unwrap();
    let text = || Response::builder().header("content-type", "text/plain").body(whole("x")).unwrap();
    let answers: [(Method, &str, Response<Chunks>); 7] = [
        (Method::HEAD, "/stops", json_answer(whole(BODY))),
        (Method::HEAD, "/denies", json_answer(whole(BODY))),
        (Method::GET, "/stops", empty()),
        (Method::GET, "/stops", unframed()),
        (Method::GET, "/stops", json_answer(streamed(Vec::<String>::new(), false))),
        (Method::GET, "/unread", text()),
        (Method::GET, "/unread", empty()),
    ];
    for (method, path, answer) in answers {
        let state = GatewayFixture::new().await;
        let response = send(&state.shared, method.clone(), path, answer).await;
        assert!(response.status().is_success(), "{method} {path}: {}", response.status());
        read(response).await.unwrap();
        assert_eq!(kinds(&state.shared).await, ["exchange released"], "{method} {path}");
    }
}

#[tokio::test]
async fn a_refusal_has_one_record() {
    let status = |status: u16| Response::builder().status(status).body(whole("")).unwrap();
    let answers = [
        ("/stops", status(404), "refusal refused:upstream-refused"),
        ("/stops", status(500), "refusal refused:upstream-refused"),
        ("/stops", json_answer(whole("{\"id\":")), "refusal refused:upstream-unreadable"),
        (
            "/stops",
            json_answer(streamed(vec!["{\"id\":".to_owned()], true)),
            "refusal refused:upstream-unreadable",
        ),
        ("/denies", json_answer(whole(r#"{"id":"p-2","name":"Ben"}"#)), "refusal refused:subject-withheld"),
        ("/hides", json_answer(whole(r#"{"id":"p-2","name":"Ben"}"#)), "refusal refused:not-found"),
        ("/hides", status(404), "refusal refused:not-found"),
    ];
    for (path, answer, expected) in answers {
        let state = GatewayFixture::new().await;
        let response = send(&state.shared, Method::GET, path, answer).await;
        assert!(!response.status().is_success(), "{path}");
        assert_eq!(kinds(&state.shared).await, [expected], "{path}");
    }
}

#[tokio::test]
async fn a_streamed_answer_has_its_head_in_the_first_window_and_a_closing_record() {
    let state = GatewayFixture::new().await;
    let response = send(&state.shared, Method::GET, "/stops", lines_answer(6, false)).await;
    read(response).await.unwrap();
    let records = records(&state.shared).await;
    let (first, rest) = records.split_first().unwrap();
    let (close, later) = rest.split_last().unwrap();
    assert_eq!((&first["kind"], &first["recipient"]), (&json!("window"), &json!("support")));
    assert!(!later.is_empty(), "{records:#?}");
    for window in later {
        assert_eq!((&window["kind"], window.get("recipient")), (&json!("window"), None), "{window}");
    }
    assert_eq!((&close["kind"], &close["outcome"]), (&json!("close"), &json!("released")));
    let sum: u64 = records.iter().filter_map(|record| record["records"].as_u64()).sum();
    assert_eq!(sum, 24_000);
}

#[tokio::test]
async fn an_answer_that_ends_otherwise_is_corrected_or_closed_as_aborted() {
    // The recipient goes away before the first byte, and after it.
    for frames in [0, 1] {
        let state = GatewayFixture::new().await;
        let body = format!("[{}]", vec![BODY; 4000].join(","));
        let response = send(&state.shared, Method::GET, "/lists", json_answer(whole(body))).await;
        assert_eq!(kinds(&state.shared).await, ["exchange released"]);
        let mut body = response.into_body();
        for _ in 0..frames {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        assert_eq!(kinds(&state.shared).await, ["exchange released", "correction aborted"], "{frames}");
    }
    let state = GatewayFixture::new().await;
    let response = send(&state.shared, Method::GET, "/stops", lines_answer(6, true)).await;
    assert_eq!(read(response).await, Err(Refusal::UpstreamUnreadable));
    let kinds_of_stream = kinds(&state.shared).await;
    assert_eq!(kinds_of_stream.last().unwrap(), "close aborted", "{kinds_of_stream:?}");

    let state = GatewayFixture::new().await;
    let answer = Response::builder().header("content-type", "text/plain");
    let answer = answer.body(streamed(vec!["a".to_owned(), "b".to_owned()], true)).unwrap();
    let response = send(&state.shared, Method::GET, "/unread", answer).await;
    assert!(read(response).await.is_err());
    assert_eq!(kinds(&state.shared).await, ["exchange released", "correction aborted"]);
}

#[tokio::test]
async fn an_operation_has_an_intent_before_the_upstream_sees_the_request() {
    let state = GatewayFixture::new().await;
    let shared = Arc::clone(&state.shared);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let at_upstream = Arc::clone(&seen);
    let response = send_to(&state.shared, Method::POST, "/goes-on", async move || {
        *at_upstream.lock().unwrap() = kinds(&shared).await;
        json_answer(whole(BODY))
    })
    .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(*seen.lock().unwrap(), ["intent"]);
    assert_eq!(kinds(&state.shared).await, ["intent", "window", "close released"]);
    let all = records(&state.shared).await;
    assert_eq!((&all[0]["operation"], &all[0]["recipient"]), (&json!("collect"), &json!("support")));
    assert_eq!((&all[1]["records"], all[1].get("recipient")), (&json!(1), None));

    let state = GatewayFixture::new().await;
    let answer = Response::builder().status(204).body(whole("")).unwrap();
    send(&state.shared, Method::POST, "/goes-on", answer).await;
    assert_eq!(kinds(&state.shared).await, ["intent", "close released"]);

    let state = GatewayFixture::new().await;
    let answer = Response::builder().status(409).body(whole("")).unwrap();
    send(&state.shared, Method::POST, "/goes-on", answer).await;
    assert_eq!(kinds(&state.shared).await, ["intent", "close refused:upstream-refused"]);
}

#[tokio::test]
async fn an_operation_that_is_not_permitted_has_a_refusal_and_no_intent() {
    let post = || Request::post("/goes-on").header("content-type", "application/json");
    let granted = async |state: &GatewayFixture| -> GrantedExchange {
        match state.begin(post(), "order-fulfilment").await {
            ExchangeStart::Forward(granted, _) => granted,
            other @ ExchangeStart::Answered(_) => panic!("{other:?}"),
        }
    };
    let state = GatewayFixture::new().await;
    let early = granted(&state).await;
    state.assume(STALE);
    let rejection = early.record_intent().await.unwrap_err();
    early.refuse(rejection).await;
    assert_eq!(kinds(&state.shared).await, ["refusal refused:ledger-stale"]);

    let state = GatewayFixture::new().await;
    let late = granted(&state).await;
    late.record_intent().await.unwrap();
    state.assume(STALE);
    let rejection = late.authorize_call().unwrap_err();
    late.refuse(rejection).await;
    assert_eq!(kinds(&state.shared).await, ["intent", "close refused:ledger-stale"]);
}

#[tokio::test]
async fn every_exchange_has_an_intent_where_the_configuration_says_so() {
    let state = GatewayFixture::with("[audit]\nintents = \"always\"\n").await;
    let response = send(&state.shared, Method::GET, "/stops", json_answer(whole(BODY))).await;
    read(response).await.unwrap();
    assert_eq!(kinds(&state.shared).await, ["intent", "window", "close released"]);
}

#[tokio::test]
async fn an_answer_that_is_judged_again_is_corrected() {
    let list = || format!("[{}]", vec![BODY; 4000].join(","));
    // Less leaves: the consent is withdrawn after the answer is on record.
    let state = GatewayFixture::new().await;
    let response = send(&state.shared, Method::GET, "/lists", json_answer(whole(list()))).await;
    let withdrawn = r#"{"kind": "consent-withdrawn", "purpose": "order-fulfilment", "subject": "p-1"}"#;
    state.tell(withdrawn).await;
    let left = read(response).await.unwrap();
    assert!(!String::from_utf8_lossy(&left).contains("ada@example.org"));
    assert_eq!(kinds(&state.shared).await, ["exchange released", "correction released"]);
    let all = records(&state.shared).await;
    assert_eq!((&all[1]["records"], &all[1]["categories"]), (&json!(0), &json!([])), "nothing is taken back");

    // More leaves about somebody else, who was unknown. It is on record before it leaves.
    let state = GatewayFixture::new().await;
    let response = send(&state.shared, Method::GET, "/lists", json_answer(whole(two_people()))).await;
    state.tell(GIVEN_BY_THE_OTHER).await;
    state.tell(withdrawn).await;
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let first = String::from_utf8_lossy(&first);
    assert!(first.contains("bea@example.org") && !first.contains("ada@example.org"));
    let all = records(&state.shared).await;
    assert_eq!((&all[1]["kind"], &all[1]["outcome"]), (&json!("correction"), &json!("released")));
    let categories = all[1]["categories"].to_string();
    assert!(categories.contains("consent") && categories.contains("email"), "{categories}");

    // Nothing leaves after all.
    let state = GatewayFixture::new().await;
    let answer = json_answer(whole(BODY));
    let ExchangeStart::Forward(granted, _) = state.begin(Request::get("/denies"), "order-fulfilment").await
    else {
        panic!("it is granted")
    };
    let responded = granted.respond(&answer.into_parts().0, None).await.unwrap();
    let crate::exchange::BodyTreatment::Scrub(mut flow) = responded.body else { panic!("it is JSON") };
    flow.push(Bytes::from_static(BODY.as_bytes()), true).unwrap();
    flow.record().await.unwrap();
    state.tell(withdrawn).await;
    let error = flow.hand_out().await.unwrap_err();
    flow.refuse(error);
    granted.refuse(error.into()).await;
    assert_eq!(kinds(&state.shared).await, ["exchange released", "correction refused:subject-withheld"]);
}

/// Polls a future so often, each time when it can go on, and drops it; returns its result if it has one by then.
async fn cancelled_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn an_exchange_that_is_cancelled_anywhere_says_no_more_than_happened() {
    for (method, path) in [(Method::GET, "/stops"), (Method::GET, "/unread"), (Method::POST, "/goes-on")] {
        let is_operation = method == Method::POST;
        let state = GatewayFixture::new().await;
        let mut before = 0;
        let mut recorded = std::collections::BTreeSet::new();
        for polls in 0..200 {
            let answer =
                json_answer(streamed(BODY.split(',').map(|part| format!("{part},")).collect(), false));
            let answer = if path == "/unread" { answer } else { json_answer(whole(BODY)) };
            let sent = send_to(&state.shared, method.clone(), path, async move || {
                tokio::task::yield_now().await;
                answer
            });
            let done = cancelled_after(polls, sent).await;
            let is_done = done.is_some();
            drop(done);
            let records = records(&state.shared).await;
            let kinds = kinds_of(&records[before..]);
            before = records.len();
            let expected: &[&[&str]] = match (is_operation, is_done) {
                (false, false) => &[&[], &["exchange released", "correction aborted"]],
                (false, true) if path == "/unread" => &[&["exchange released", "correction aborted"]],
                (false, true) => &[&["exchange released"]],
                (true, false) => &[&[], &["intent", "close aborted"], &["intent", "window", "close aborted"]],
                (true, true) => &[&["intent", "window", "close released"]],
            };
            assert!(expected.iter().any(|expected| kinds == *expected), "{method} {path} {polls}: {kinds:?}");
            recorded.insert(kinds);
            if is_done {
                break;
            }
            assert!(polls < 199, "it never ends");
        }
        assert!(recorded.len() >= 2, "{method} {path}: {recorded:?}");
    }
}

#[tokio::test]
async fn what_leaves_while_the_ledger_is_stale_is_on_record_as_stale() {
    let state = GatewayFixture::new().await;
    let answer = Response::builder().header("content-type", "text/plain");
    let answer = answer.body(streamed(vec!["a".to_owned(), "b".to_owned()], false)).unwrap();
    let request = Request::get("/unread").header("host", "x").header("data-purpose", "security");
    let request = request.header("authorization", format!("Bearer {KEY}")).body(Full::default()).unwrap();
    let answer = Arc::new(Mutex::new(Some(answer)));
    let upstream = tower::service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
        let answer = answer.lock().unwrap().take().unwrap();
        async move { Ok::<_, Infallible>(answer) }
    });
    let service = PurposeLayer::new(Arc::clone(&state.shared)).layer(upstream);
    let mut body = service.oneshot(request).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    state.assume(STALE);
    body.frame().await.unwrap().unwrap();
    let all = records(&state.shared).await;
    assert_eq!((all[0].get("stale"), &all[1]["stale"]), (None, &json!(true)), "{all:#?}");
    state.assume(Freshness::Current);
    drop(body);
    assert_eq!(
        kinds(&state.shared).await,
        ["exchange released", "correction released", "correction aborted"]
    );
}

#[tokio::test]
async fn a_disk_that_is_full_lets_nothing_leave_that_is_not_on_record() {
    let disk = Arc::new(Disk::default());
    let state = GatewayFixture::on(&disk, Durability::BeforeRelease).await;
    for path in ["/stops", "/unread", "/denies"] {
        disk.set_full(true);
        let refused = send(&state.shared, Method::GET, path, json_answer(whole(BODY))).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        let problem = String::from_utf8(read(refused).await.unwrap().to_vec()).unwrap();
        assert!(problem.contains("audit-unavailable") && !problem.contains("Ada"), "{problem}");
        resume(&state, &disk).await;
    }
    let refusals = records(&state.shared).await;
    assert!(refusals.iter().all(|record| record["kind"] == "refusal"), "{refusals:#?}");

    // The upstream does not see an operation without its intent.
    disk.set_full(true);
    let refused = send_to(&state.shared, Method::POST, "/goes-on", async || -> Response<Chunks> {
        panic!("it is called")
    })
    .await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    resume(&state, &disk).await;
    let response = send(&state.shared, Method::GET, "/stops", json_answer(whole(BODY))).await;
    assert_eq!(response.status(), StatusCode::OK, "it goes on by itself");
}

/// Records that wait in memory may be about what has left.
#[tokio::test]
async fn answers_from_a_log_that_cannot_be_written_do_not_count_as_complete() {
    let disk = Arc::new(Disk::default());
    let state = GatewayFixture::on(&disk, Durability::Batched).await;
    let (shared, unknown) = (&state.shared, ulid::Ulid::generate());
    let fault = async || {
        let (question, cursor) = (LogQuestion::default(), AnswerCursor::default());
        shared.ask_logs(question, cursor, 10).await.unwrap().logs[0].fault.clone()
    };
    let look_up = async || shared.logged_decision(unknown.to_string(), SearchEffort::Exhaustive).await;
    let prove = async || shared.receipt(unknown, SearchEffort::Exhaustive).await;
    assert!(fault().await.is_none() && look_up().await.unwrap().is_none() && prove().await.is_ok());
    disk.set_full(true);
    shared.log.append_detached(Record::Close { decision: ulid::Ulid::generate(), outcome: Outcome::Aborted });
    while shared.log.healthy() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(fault().await.unwrap().contains("cannot be written"));
    assert!(matches!(look_up().await, Err(ReadError::Unwritten(_))));
    assert!(matches!(prove().await, Err(ReadError::Unwritten(_))));
    resume(&state, &disk).await;
    assert_eq!(fault().await, None);
}

#[tokio::test]
async fn a_disk_that_fills_up_cuts_what_is_not_on_record_yet() {
    let disk = Arc::new(Disk::default());
    let state = GatewayFixture::on(&disk, Durability::BeforeRelease).await;
    let response = send(&state.shared, Method::GET, "/stops", lines_answer(6, false)).await;
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    disk.set_full(true);
    let cut = loop {
        match body.frame().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error.refusal,
        }
    };
    assert_eq!(cut, Refusal::AuditUnavailable);
    drop(body);
    resume(&state, &disk).await;
    let of_stream = kinds(&state.shared).await;
    assert_eq!(
        (of_stream.first().unwrap().as_str(), of_stream.last().unwrap().as_str()),
        ("window", "close aborted")
    );

    // More would leave than is on record, and cannot be recorded.
    let state = GatewayFixture::on(&disk, Durability::BeforeRelease).await;
    let response = send(&state.shared, Method::GET, "/lists", json_answer(whole(two_people()))).await;
    state.tell(GIVEN_BY_THE_OTHER).await;
    state.tell(r#"{"kind": "consent-withdrawn", "purpose": "order-fulfilment", "subject": "p-1"}"#).await;
    disk.set_full(true);
    assert_eq!(read(response).await.map(|left| left.len()), Err(Refusal::AuditUnavailable));
    resume(&state, &disk).await;
    assert_eq!(kinds(&state.shared).await, ["exchange released", "correction aborted"]);
}
