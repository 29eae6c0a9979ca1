//! Exchanges while the ledger is stale, or becomes stale before a window leaves.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::{Layer, ServiceExt};

use super::fixture::{BODY, GatewayFixture, KEY, STALE, flow, handed_out, push};
use crate::exchange::concurrency::ConcurrencyLimit;
use crate::exchange::position::LEDGER_POSITION;
use crate::exchange::{BodyTreatment, ExchangeStart, GrantedExchange, ListenerContext, Refusal};
use crate::keys::Keys;
use crate::layer::PurposeLayer;
use crate::layer::request_body::RequestBody;
use crate::layer::response_body::ResponseBody;
use crate::ledger::{Freshness, Position};
const TOO_OLD: Freshness = Freshness::Stale { age: Duration::from_secs(61) };

/// The fields of a person without those whose release rests on consent, or on anything but a contract.
fn on_contract() -> Value {
    json!({ "id": "p-1", "name": "Ada", "status": "new" })
}

#[tokio::test]
async fn while_the_ledger_is_current_everything_leaves() {
    let state = GatewayFixture::new().await;
    for path in ["/stops", "/goes-on", "/denies"] {
        let outcome = state.get(path, "order-fulfilment").await;
        assert_eq!(outcome.body, serde_json::from_str::<Value>(BODY).unwrap(), "{path}");
        assert_eq!(outcome.record.get("stale"), None, "{path}");
    }
}

#[tokio::test]
async fn a_stale_ledger_stops_every_release_but_legal_ones() {
    let state = GatewayFixture::new().await;
    state.assume(STALE);
    for purpose in ["order-fulfilment", "direct-marketing", "service-communication", "security"] {
        let outcome = state.get("/stops", purpose).await;
        assert_eq!(
            (outcome.status.as_u16(), &outcome.body["code"]),
            (503, &json!("ledger-stale")),
            "{purpose}"
        );
        assert_eq!(outcome.record["outcome"], "refused:ledger-stale", "{purpose}");
    }
    for (freshness, path) in [(STALE, "/stops"), (STALE, "/goes-on"), (TOO_OLD, "/stops")] {
        state.assume(freshness);
        let outcome = state.get(path, "legal").await;
        assert_eq!(outcome.body, on_contract(), "what rests on consent does not go on");
        assert_eq!(outcome.record["stale"], true);
        assert_eq!(outcome.record["outcome"], "released");
        assert_eq!(outcome.record["categories"]["email"][0]["reason"], "stale");
        let names = outcome.record["categories"]["name"].as_array().unwrap();
        assert!(names.iter().any(|left| left["basis"] == "legal-obligation"), "{names:?}");
    }
}

#[tokio::test]
async fn a_legal_release_rests_on_what_was_last_known() {
    let state = GatewayFixture::new().await;
    state.tell(r#"{"kind": "relation", "relation": "domain-registrant", "subject": "p-2"}"#).await;
    state.assume(STALE);
    let recorded = state.granted(Request::get("/stops"), "legal").await.unwrap();
    let (mut flow, _) = flow(&recorded).await.unwrap();
    flow.push(Bytes::from_static(br#"{"id":"p-9","name":"Unknown","status":"new"}"#), true).unwrap();
    flow.record().await.unwrap();
    let left: Value = serde_json::from_slice(&handed_out(&mut flow).await.unwrap()).unwrap();
    assert_eq!(left, json!({ "id": "p-9", "status": "new" }), "nobody knows this person");
}

#[tokio::test]
async fn a_gateway_that_has_known_nothing_releases_nothing() {
    let state = GatewayFixture::new().await;
    state.assume(Freshness::Unknown);
    for path in ["/stops", "/goes-on", "/unread"] {
        for purpose in ["order-fulfilment", "security", "legal"] {
            let outcome = state.get(path, purpose).await;
            assert_eq!(outcome.body["code"], "ledger-stale", "{path} {purpose}");
        }
    }
}

#[tokio::test]
async fn a_route_goes_on_with_contracts_and_security_for_its_time() {
    let state = GatewayFixture::new().await;
    state.assume(STALE);
    let outcome = state.get("/goes-on", "order-fulfilment").await;
    assert_eq!(outcome.body, on_contract());
    assert_eq!((&outcome.record["stale"], &outcome.record["outcome"]), (&json!(true), &json!("released")));
    for (category, reason) in [("email", json!("stale")), ("phone", json!("stale"))] {
        assert_eq!(outcome.record["categories"][category][0]["reason"], reason, "{category}");
    }
    assert_eq!(state.get("/goes-on", "security").await.body, on_contract());
    for purpose in ["direct-marketing", "service-communication"] {
        assert_eq!(state.get("/goes-on", purpose).await.body["code"], "ledger-stale", "{purpose}");
    }
    state.assume(TOO_OLD);
    for purpose in ["order-fulfilment", "security"] {
        assert_eq!(state.get("/goes-on", purpose).await.body["code"], "ledger-stale", "{purpose}");
    }
}

#[tokio::test]
async fn while_the_ledger_is_stale_only_legal_operations_are_carried_out() {
    let state = GatewayFixture::new().await;
    let post = || Request::post("/goes-on").header("content-type", "application/json");
    let begun = state.begin(post(), "order-fulfilment").await;
    let ExchangeStart::Forward(admitted, _) = begun else { panic!("{begun:?}") };
    assert_eq!(admitted.authorize_call(), Ok(()));
    state.assume(STALE);
    assert_eq!(admitted.authorize_call(), Err(Refusal::LedgerStale.into()), "stale since the admission");
    for purpose in ["order-fulfilment", "security"] {
        let refused = state.granted(post(), purpose).await.unwrap_err();
        assert_eq!(refused.body["code"], "ledger-stale", "{purpose}");
    }
    assert!(state.granted(post(), "legal").await.is_ok());
}

#[tokio::test]
async fn a_window_that_becomes_stale_is_judged_again_or_cut() {
    let state = GatewayFixture::new().await;
    for (path, purpose, expected) in [
        ("/stops", "order-fulfilment", None),
        ("/goes-on", "direct-marketing", Some(json!({ "id": "p-1", "status": "new" }))),
        ("/goes-on", "order-fulfilment", Some(on_contract())),
        ("/stops", "legal", Some(on_contract())),
    ] {
        state.assume(Freshness::Current);
        let recorded = state.granted(Request::get(path), purpose).await.unwrap();
        let (mut flow, decision) = flow(&recorded).await.unwrap();
        push(&mut flow).await.unwrap();
        state.assume(STALE);
        let left = handed_out(&mut flow).await;
        let Some(expected) = expected else {
            assert_eq!(left.unwrap_err().refusal, Refusal::LedgerStale);
            continue;
        };
        assert_eq!(serde_json::from_slice::<Value>(&left.unwrap()).unwrap(), expected, "{path} {purpose}");
        flow.transfer().close();
        assert_eq!(state.record(&decision).await["stale"], true, "{path} {purpose}");
    }
}

/// Sends a request through the layer. The upstream answers with one line of NDJSON for each that the sender gets.
async fn begin_stream(
    state: &GatewayFixture,
    path: &str,
    purpose: &str,
) -> (Response<ResponseBody>, mpsc::UnboundedSender<String>) {
    let (lines, received) = mpsc::unbounded_channel::<String>();
    let received = Arc::new(Mutex::new(Some(received)));
    let upstream = tower::service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
        let received = received.lock().unwrap().take().unwrap();
        let lines = futures_util::stream::unfold(received, async |mut received| {
            let line = Bytes::from(received.recv().await? + "\n");
            Some((Ok::<_, Infallible>(Frame::data(line)), received))
        });
        let response = Response::builder().header("content-type", "application/x-ndjson");
        std::future::ready(Ok::<_, Infallible>(response.body(StreamBody::new(Box::pin(lines))).unwrap()))
    });
    let request = Request::get(path).header("host", "x").header("data-purpose", purpose);
    let request = request.header("authorization", format!("Bearer {KEY}")).body(Full::default()).unwrap();
    lines.send(BODY.to_owned()).unwrap();
    let service = PurposeLayer::new(Arc::clone(&state.shared)).layer(upstream);
    (service.oneshot(request).await.unwrap(), lines)
}

#[tokio::test]
async fn a_stream_goes_on_with_what_may_leave_once_the_ledger_is_stale() {
    let state = GatewayFixture::new().await;
    for (path, purpose, expected) in [
        ("/stops", "order-fulfilment", None),
        ("/goes-on", "order-fulfilment", Some(on_contract())),
        ("/stops", "legal", Some(on_contract())),
    ] {
        state.assume(Freshness::Current);
        let (response, lines) = begin_stream(&state, path, purpose).await;
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(String::from_utf8_lossy(&first).contains("ada@example.org"), "{path} {purpose}");
        state.assume(STALE);
        lines.send(BODY.to_owned()).unwrap();
        let next = body.frame().await.unwrap();
        match expected {
            None => assert_eq!(next.unwrap_err().refusal, Refusal::LedgerStale),
            Some(expected) => {
                let line: Value = serde_json::from_slice(&next.unwrap().into_data().unwrap()).unwrap();
                assert_eq!(line, expected, "{path} {purpose}");
            }
        }
    }
}

#[tokio::test]
async fn the_first_byte_is_refused_with_a_time_to_retry() {
    let state = GatewayFixture::new().await;
    state.assume(STALE);
    let (response, _lines) = begin_stream(&state, "/stops", "order-fulfilment").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    let problem = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&problem).contains("urn:purposegate:problem:ledger-stale"));
}

#[tokio::test]
async fn a_window_judged_while_stale_leaves_up_to_the_time_of_its_route() {
    let state = GatewayFixture::new().await;
    state.assume(STALE);
    for (later, leaves) in
        [(STALE, true), (Freshness::Current, true), (TOO_OLD, false), (Freshness::Unknown, false)]
    {
        state.assume(STALE);
        let recorded = state.granted(Request::get("/goes-on"), "order-fulfilment").await.unwrap();
        let (mut flow, _) = flow(&recorded).await.unwrap();
        push(&mut flow).await.unwrap();
        state.assume(later);
        let left = handed_out(&mut flow).await;
        assert_eq!(left.is_ok(), leaves, "{later:?}");
        if let Err(error) = left {
            assert_eq!(error.refusal, Refusal::LedgerStale);
        }
    }
}

#[tokio::test]
async fn a_part_judged_before_and_after_the_ledger_became_stale_is_judged_again() {
    let state = GatewayFixture::new().await;
    let recorded = state.granted(Request::get("/goes-on"), "order-fulfilment").await.unwrap();
    let (mut flow, _) = flow(&recorded).await.unwrap();
    flow.push(Bytes::from_static(&BODY.as_bytes()[..BODY.len()]), false).unwrap();
    state.assume(STALE);
    flow.push(Bytes::from_static(b" "), true).unwrap();
    flow.record().await.unwrap();
    let left = handed_out(&mut flow).await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&left).unwrap(), on_contract());
}

#[tokio::test]
async fn a_response_head_does_not_leave_while_the_ledger_is_stale() {
    let state = GatewayFixture::new().await;
    for path in ["/stops", "/unread"] {
        state.assume(Freshness::Current);
        let recorded = state.granted(Request::get(path), "order-fulfilment").await.unwrap();
        state.assume(STALE);
        let upstream = Response::builder().status(204).body(()).unwrap().into_parts().0;
        assert_eq!(
            recorded.respond(&upstream, Some(0)).await.unwrap_err().refusal,
            Refusal::LedgerStale,
            "{path}"
        );
    }
}

#[tokio::test]
async fn all_or_nothing_is_refused_as_stale_unless_that_would_show_the_record() {
    let state = GatewayFixture::new().await;
    state.assume(STALE);
    assert_eq!(state.get("/denies", "order-fulfilment").await.body["code"], "ledger-stale");
    assert_eq!(state.get("/hides", "order-fulfilment").await.body["code"], "not-found");
}

#[tokio::test]
async fn a_query_on_what_rests_on_consent_stops_while_the_ledger_is_stale() {
    let state = GatewayFixture::new().await;
    let by_email = || Request::get("/goes-on?email=ada@example.org");
    let admitted = state.granted(by_email(), "order-fulfilment").await.unwrap();
    state.assume(STALE);
    assert!(state.granted(Request::get("/goes-on?name=Ada"), "order-fulfilment").await.is_ok());
    let refused = state.granted(by_email(), "order-fulfilment").await.unwrap_err();
    assert_eq!(refused.body["code"], "ledger-stale");
    let error = flow(&admitted).await.unwrap_err();
    assert_eq!(error.refusal, Refusal::LedgerStale, "the records were selected by the e-mail address");
}

#[tokio::test]
async fn a_body_that_passes_unread_stops_but_for_the_same_purposes() {
    let state = GatewayFixture::new().await;
    let transfer = async |recorded: &GrantedExchange| {
        let upstream = Response::builder().header("content-type", "text/plain").body(()).unwrap();
        match recorded.respond(&upstream.into_parts().0, None).await.unwrap().body {
            BodyTreatment::PassThrough(transfer) => transfer,
            other => panic!("{other:?}"),
        }
    };
    let part = || Bytes::from_static(b"part");
    for (purpose, goes_on) in [("order-fulfilment", false), ("security", true), ("legal", true)] {
        state.assume(Freshness::Current);
        let recorded = state.granted(Request::get("/unread"), purpose).await.unwrap();
        let transfer = transfer(&recorded).await;
        assert_eq!(transfer.hand_out_unread(part()).await, Ok(part()));
        state.assume(STALE);
        let left = transfer.hand_out_unread(part()).await;
        assert_eq!(left, if goes_on { Ok(part()) } else { Err(Refusal::LedgerStale) }, "{purpose}");
        let refused = state.granted(Request::get("/unread"), purpose).await;
        assert_eq!(refused.is_ok(), goes_on, "{purpose}");
    }
}

#[tokio::test]
async fn a_body_that_passes_unread_is_on_record_as_stale_before_it_leaves() {
    let state = GatewayFixture::new().await;
    for becomes_stale_at in [0, 1] {
        state.assume(if becomes_stale_at == 0 { STALE } else { Freshness::Current });
        let recorded = state.granted(Request::get("/unread"), "security").await.unwrap();
        let upstream = Response::builder().header("content-type", "text/plain").body(()).unwrap();
        let responded = recorded.respond(&upstream.into_parts().0, None).await.unwrap();
        let applied = responded.head.headers()["data-purpose-applied"].to_str().unwrap().to_owned();
        let BodyTreatment::PassThrough(transfer) = responded.body else { panic!("{:?}", responded.body) };
        state.assume(STALE);
        transfer.hand_out_unread(Bytes::from_static(b"part")).await.unwrap();
        let record = state.record(applied.split('"').nth(1).unwrap()).await;
        assert_eq!((&record["stale"], &record["outcome"]), (&json!(true), &json!("released")), "{record}");
    }
}

#[tokio::test]
async fn a_request_waits_for_the_event_that_it_names() {
    let state = GatewayFixture::new().await;
    let ledger = &state.shared.ledger;
    let at =
        |position: Position| Request::get("/stops").header(LEDGER_POSITION, ledger.position_token(position));
    let known = state.granted(at(ledger.position()), "order-fulfilment").await;
    assert!(known.is_ok());
    let next = Position(ledger.position().0 + 1);
    let (waiting, recorded) = tokio::join!(
        state.granted(at(next), "direct-marketing"),
        state.tell(r#"{"kind": "notice", "notice": "v1", "subject": "p-1"}"#)
    );
    assert_eq!(recorded, next);
    assert!(waiting.is_ok());
    let began = std::time::Instant::now();
    let refused = state.granted(at(Position(next.0 + 1)), "order-fulfilment").await.unwrap_err();
    assert_eq!(refused.body["code"], "ledger-stale");
    assert!(began.elapsed() >= Duration::from_millis(500), "it waits for `max-staleness`");
}

#[tokio::test]
async fn a_position_that_no_acknowledgement_gave_is_malformed() {
    let state = GatewayFixture::new().await;
    let ledger = &state.shared.ledger;
    let token = ledger.position_token(ledger.position());
    let forged = Keys::random().unwrap().position_tokens().token(1);
    let shorter: String = token.chars().skip(1).collect();
    for values in [vec!["1"], vec![""], vec![&forged], vec![&token, &token], vec![&shorter]] {
        for path in ["/stops", "/.well-known/data-purposes"] {
            let mut request = Request::get(path);
            for value in &values {
                request = request.header(LEDGER_POSITION, *value);
            }
            let refused = state.granted(request, "order-fulfilment").await.unwrap_err();
            assert_eq!(refused.body["code"], "request-malformed", "{values:?}");
            assert!(refused.body["detail"].as_str().unwrap().contains("Ledger-Position"));
        }
    }
}

#[tokio::test]
async fn a_waiting_request_is_one_of_the_concurrent_exchanges() {
    let state = GatewayFixture::new().await;
    let context = ListenerContext { exchanges: ConcurrencyLimit::new(1, 1), ..ListenerContext::default() };
    let context = Arc::new(context);
    let later = Position(state.shared.ledger.position().0 + 1);
    let token = state.shared.ledger.position_token(later);
    let waiting = Request::get("/stops").header(LEDGER_POSITION, token).extension(Arc::clone(&context));
    let other = Request::get("/stops").extension(context);
    let (waiting, other) =
        tokio::join!(state.granted(waiting, "order-fulfilment"), state.granted(other, "order-fulfilment"));
    assert_eq!(waiting.unwrap_err().body["code"], "ledger-stale");
    assert_eq!(other.unwrap_err().body["code"], "overloaded");
}

#[tokio::test]
async fn the_upstream_receives_no_position() {
    let state = GatewayFixture::new().await;
    let token = state.shared.ledger.position_token(state.shared.ledger.position());
    let begun = state.begin(Request::get("/stops").header(LEDGER_POSITION, token), "order-fulfilment").await;
    let ExchangeStart::Forward(_, head) = begun else { panic!("{begun:?}") };
    assert!(!head.headers().contains_key(LEDGER_POSITION));
    let purpose = http::HeaderName::from_static("data-purpose");
    assert!(crate::exchange::request_head::never_forwarded(&LEDGER_POSITION, &purpose).is_some());
}
