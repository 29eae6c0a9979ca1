//! Exchanges on observed routes: what leaves, what is on record, and what is refused all the same.

mod ending;
mod hostile;
mod leaving;
mod on_record;

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower::{Layer, ServiceExt};

use super::fixture::{
    BODY, Chunks, GatewayFixture, KEY, STALE, json_answer, read, records, resume, streamed, whole,
};
use crate::disclosure::{self, Disk, Durability, ExchangeFilter, LogPlace};
use crate::exchange::{BodyTreatment, ExchangeStart, GrantedExchange, Refusal};
use crate::layer::PurposeLayer;
use crate::layer::request_body::RequestBody;
use crate::layer::response_body::ResponseBody;
use crate::ledger::Freshness;
use crate::vocabulary::IdReader;

const PARTNER_KEY: &str = "pgk_test_partner";

const ROUTES: &str = r#"
[[route]]
name = "watched"
upstream = "crm"
methods = ["GET", "POST"]
path = "/watched"
schema = "person"
purposes = ["order-fulfilment", "security", "legal"]
query = { status = "non-personal", name = "name" }
mode = "observe"
observe-until = 2999-01-31

[[route]]
name = "person"
upstream = "crm"
methods = ["GET", "POST", "PUT", "DELETE"]
path = "/people/{id}"
subject = "{id}"
fields = { "@.name" = "name", "@.status" = "non-personal" }
purposes = ["order-fulfilment", "security", "legal"]
mode = "observe"
observe-until = 2999-01-31

[[route]]
name = "watched-deny"
upstream = "crm"
path = "/watched-deny"
schema = "person"
purposes = ["order-fulfilment", "security", "legal"]
withheld = "deny"
hide-existence = true
max-deny-body = "1KiB"
mode = "observe"
observe-until = 2999-01-31

[[route]]
name = "watched-list"
upstream = "crm"
path = "/watched-list"
record = "$[*]"
schema = "person"
purposes = ["order-fulfilment", "security", "legal"]
mode = "observe"
observe-until = 2999-01-31

[[route]]
name = "until-2027"
upstream = "crm"
methods = ["GET", "POST"]
path = "/until-2027"
schema = "person"
purposes = ["order-fulfilment", "security", "legal"]
mode = "observe"
observe-until = 2027-01-31

[[route]]
name = "list-until-2027"
upstream = "crm"
path = "/list-until-2027"
record = "$[*]"
schema = "person"
purposes = ["order-fulfilment", "security", "legal"]
mode = "observe"
observe-until = 2027-01-31
"#;

/// A person of whom the ledger knows nothing, with a field that nothing classifies.
const UNKNOWN: &str = r#"{"id":"p-2","name":"Bea","email":"bea@example.org","note":"x"}"#;

async fn observed() -> GatewayFixture {
    GatewayFixture::with(&format!("{}{ROUTES}", partner())).await
}

/// A partner, which is registered for a purpose that the observed routes do not serve.
fn partner() -> String {
    let hash: String = Sha256::digest(PARTNER_KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "[[recipient]]\nname = \"reseller\"\nkind = \"affiliate\"\ncountry = \"DE\"\nagreement = {{ type = \"controller\" }}\n\
         purposes = [\"direct-marketing\"]\ncredentials = [{{ api-key = \"sha256:{hash}\" }}]\n"
    )
}

/// A request of an exchange.
#[derive(Clone, Copy)]
struct Ask<'a> {
    method: &'a str,
    path: &'a str,
    purpose: Option<&'a str>,
    key: &'a str,
}

const ASK: Ask<'_> = Ask { method: "GET", path: "/watched", purpose: Some("order-fulfilment"), key: KEY };

impl Ask<'_> {
    /// Sends the request to an upstream that answers so.
    async fn send(self, state: &GatewayFixture, answer: Response<Chunks>) -> Response<ResponseBody> {
        self.send_to(state, move |_| answer).await
    }

    async fn send_to(
        self,
        state: &GatewayFixture,
        answer: impl FnOnce(&Request<()>) -> Response<Chunks> + Send + 'static,
    ) -> Response<ResponseBody> {
        self.send_while(state, move |request| std::future::ready(answer(&request))).await
    }

    /// Sends the request to an upstream that takes its time.
    async fn send_while<F: Future<Output = Response<Chunks>> + Send + 'static>(
        self,
        state: &GatewayFixture,
        answer: impl FnOnce(Request<()>) -> F + Send + 'static,
    ) -> Response<ResponseBody> {
        let answer = Arc::new(Mutex::new(Some(answer)));
        let upstream = tower::service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
            let answer = answer.lock().unwrap().take().unwrap();
            let answered = answer(request.map(|_| ()));
            async move { Ok::<_, Infallible>(answered.await) }
        });
        let request = Request::builder().method(self.method).uri(self.path).header("host", "x");
        let request = request.header("authorization", format!("Bearer {}", self.key));
        let request = match self.purpose {
            Some(purpose) => request.header("data-purpose", purpose),
            None => request,
        };
        let body = match self.method {
            "POST" | "PUT" => Full::from("{}"),
            _ => Full::default(),
        };
        let service = PurposeLayer::new(Arc::clone(&state.shared)).layer(upstream);
        service.oneshot(request.body(body).unwrap()).await.unwrap()
    }
}

fn applied(response: &Response<ResponseBody>) -> String {
    response.headers()["data-purpose-applied"].to_str().unwrap().to_owned()
}

/// Returns the folded record of the exchange whose answer has this header.
async fn record_of(state: &GatewayFixture, applied: &str) -> Value {
    state.shared.log.flush().await.unwrap();
    let id = applied.split('"').nth(1).unwrap();
    let mut found = None;
    // Not by the time in the id: the clock of exchanges may be set.
    disclosure::fold(state.shared.log.folder(), &ExchangeFilter::default(), true, |exchange| {
        found = Some(exchange).filter(|exchange| exchange["decision"] == id).or(found.take());
        Ok(())
    })
    .unwrap();
    found.unwrap()
}

/// Sends the request and returns status, body and record of the exchange.
async fn exchange(state: &GatewayFixture, ask: Ask<'_>, answer: Response<Chunks>) -> (u16, Bytes, Value) {
    let response = ask.send(state, answer).await;
    let (status, applied) = (response.status().as_u16(), applied(&response));
    let body = read(response).await.unwrap();
    (status, body, record_of(state, &applied).await)
}

fn counted(state: &GatewayFixture, route: &str, category: &str, reason: &str) -> u64 {
    state.shared.metrics.would_withhold.with_label_values(&[route, category, reason]).get()
}

fn chunks_of(body: &[u8], size: usize) -> Vec<Bytes> {
    body.chunks(size).map(Bytes::copy_from_slice).collect()
}

#[tokio::test]
async fn every_body_leaves_byte_for_byte() {
    let state = observed().await;
    let bodies = hostile::hostile_bodies();
    assert!(bodies.len() >= 40, "{}", bodies.len());
    for (at, body) in bodies.iter().enumerate() {
        for path in ["/watched", "/watched-list", "/watched-deny", "/people/p-1"] {
            let size = (body.len() / 5).max(3);
            for answer in [whole(body.clone()), streamed(chunks_of(body, size), false)] {
                let (status, left, record) = exchange(&state, Ask { path, ..ASK }, json_answer(answer)).await;
                assert_eq!(status, 200, "{at} {path}");
                assert!(left == *body, "body {at} of {path} changed");
                assert_eq!((&record["mode"], &record["outcome"]), (&json!("observe"), &json!("released")));
                assert_eq!(record["withheld_records"], 0, "{at} {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_record_says_what_left_and_what_enforcing_would_have_done() {
    let state = observed().await;
    let (_, left, record) = exchange(&state, ASK, json_answer(whole(UNKNOWN))).await;
    assert_eq!(left, UNKNOWN);
    assert_eq!(
        record["categories"]["email"],
        json!([{
            "form": "clear", "basis": null, "rules": [], "clauses": [], "fields": 1,
            "would": { "form": "removed", "rules": [], "clauses": [], "reason": "unknown-subject" },
        }])
    );
    assert_eq!(record["categories"]["unclassified"][0]["form"], "clear");
    assert_eq!(record["categories"]["unclassified"][0]["would"]["reason"], "unclassified");
    assert_eq!(record["would"], Value::Null, "enforcing would have answered");
    assert_eq!((record["subjects"].as_array().unwrap().len(), &record["withheld_subjects"]), (1, &json!([])));
    for (category, reason) in
        [("email", "unknown-subject"), ("name", "unknown-subject"), ("unclassified", "unclassified")]
    {
        assert_eq!(counted(&state, "watched", category, reason), 1, "{category}");
    }

    let (_, left, record) = exchange(&state, ASK, json_answer(whole(BODY))).await;
    assert_eq!(left, BODY);
    let name = &record["categories"]["name"];
    assert!(name.as_array().unwrap().iter().all(|one| one["basis"].is_null() && one["form"] == "clear"));
    assert_eq!(name[0]["would"]["form"], "clear");
    assert_eq!(name[0]["would"]["rules"], json!(["order-name", "order-phone"]), "a card is name and phone");
    assert_eq!((&name[0]["would"]["clauses"], &name[0]["would"]["reason"]), (&json!(["A-1"]), &Value::Null));
    assert_eq!(counted(&state, "watched", "", "refused"), 0);

    let refuses = r#"{"kind": "consent-withdrawn", "purpose": "order-fulfilment", "subject": "p-1"}"#;
    state.tell(refuses).await;
    let (_, left, record) = exchange(&state, ASK, json_answer(whole(BODY))).await;
    assert_eq!(left, BODY);
    assert_eq!(record["categories"]["email"][0]["would"]["reason"], "refused");
    assert_eq!(counted(&state, "watched", "email", "refused"), 1);
    let exposed = state.shared.metrics.expose(|_| ()).unwrap();
    assert!(
        exposed.contains(r#"purposegate_fields_total{category="email",form="clear",purpose="order-fulfilment",route="watched"} 3"#),
        "what left is counted in clear: {exposed}"
    );
}

#[tokio::test]
async fn an_observed_exchange_is_accounted_for_as_the_disclosure_it_is() {
    let state = observed().await;
    for (body, people) in [(BODY, "p-1"), (UNKNOWN, "p-2")] {
        exchange(&state, ASK, json_answer(whole(body))).await;
        let ledger = &state.shared.ledger;
        let (person, _) = ledger.person(&IdReader::default().read(people).unwrap());
        let person = ledger.logged_person(person);
        let accounted = disclosure::accounting(state.shared.log.source(), &[person]).unwrap();
        assert_eq!(accounted.len(), 1, "{people}");
        let categories = &accounted[0].categories;
        assert!(categories.iter().all(|one| one.form == "clear" && one.basis.is_none()), "{categories:?}");
        let names: Vec<&str> = categories.iter().map(|one| one.category.as_str()).collect();
        assert!(names.contains(&"email") && names.contains(&"name"), "{names:?}");
        assert!(!names.contains(&"non-personal"), "{names:?}");
    }
}

#[tokio::test]
async fn a_purpose_that_is_missing_unknown_or_not_permitted_passes_and_is_noted() {
    let state = observed().await;
    for (purpose, code, named) in [
        (None, "purpose-missing", "none"),
        (Some("world-domination"), "purpose-unknown", "none"),
        (Some("a, b"), "purpose-malformed", "none"),
        (Some("dpv:Consent"), "legal-basis-as-purpose", "none"),
        (Some("product-improvement"), "purpose-not-permitted", "product-improvement"),
        (Some("direct-marketing"), "purpose-not-permitted", "direct-marketing"),
    ] {
        let response = Ask { purpose, ..ASK }.send(&state, json_answer(whole(BODY))).await;
        assert_eq!(response.status(), StatusCode::OK, "{code}");
        let applied = applied(&response);
        assert!(applied.starts_with(&format!("{named};decision=\"")), "{applied}");
        assert!(applied.ends_with("\";observed"), "{applied}");
        assert_eq!(read(response).await.unwrap(), BODY, "{code}");
        let record = record_of(&state, &applied).await;
        assert_eq!(record["would"], json!({ "refused": code }), "{record:#}");
        assert_eq!(record["outcome"], "released");
        assert_eq!(record["categories"]["email"][0]["would"]["form"], "removed", "{code}");
        assert_eq!(record["subjects"].as_array().unwrap().len(), 1, "{code}");
        let declared = purpose.filter(|purpose| !purpose.contains(','));
        assert_eq!(record["declared"], json!(declared));
    }
    assert_eq!(counted(&state, "watched", "", "refused"), 6);
    assert_eq!(counted(&state, "watched", "email", "no-rule"), 6);
    // Four exchanges had no purpose. The metrics name that as the answers do.
    let exposed = state.shared.metrics.expose(|_| ()).unwrap();
    for series in [
        r#"purposegate_requests_total{outcome="released",purpose="none",recipient="support",route="watched"} 4"#,
        r#"purposegate_records_total{outcome="released",purpose="none",route="watched"} 4"#,
        r#"purposegate_fields_total{category="email",form="clear",purpose="none",route="watched"} 4"#,
    ] {
        assert!(exposed.contains(series), "{series}: {exposed}");
    }
    assert!(!exposed.contains("purpose=\"\""), "{exposed}");
}

#[tokio::test]
async fn a_recipient_of_another_organisation_is_enforced() {
    let state = observed().await;
    for purpose in [None, Some("order-fulfilment"), Some("direct-marketing")] {
        let ask = Ask { key: PARTNER_KEY, purpose, ..ASK };
        let upstream = ask.send(&state, json_answer(whole(BODY))).await;
        assert!(upstream.status().is_client_error(), "{purpose:?}: {}", upstream.status());
        assert!(!String::from_utf8_lossy(&read(upstream).await.unwrap()).contains("Ada"));
    }
    assert!(records(&state.shared).await.iter().all(|record| record.get("mode").is_none()));
}

#[tokio::test]
async fn the_query_passes_as_it_is() {
    let state = observed().await;
    for (query, would) in [
        ("status=new", Value::Null),
        ("name=Ada", Value::Null),
        ("email=ada%40example.org&sort=-email", json!({ "refused": "query-on-withheld-field" })),
        ("a;b=%zz", json!({ "refused": "request-malformed" })),
    ] {
        let path = format!("/watched?{query}");
        let seen = Arc::new(Mutex::new(String::new()));
        let at_upstream = Arc::clone(&seen);
        let response = Ask { path: &path, ..ASK }
            .send_to(&state, move |request| {
                *at_upstream.lock().unwrap() = request.uri().query().unwrap_or_default().to_owned();
                json_answer(whole(BODY))
            })
            .await;
        assert_eq!((response.status().as_u16(), &*seen.lock().unwrap()), (200, &query.to_owned()));
        let applied = applied(&response);
        assert_eq!(read(response).await.unwrap(), BODY);
        assert_eq!(record_of(&state, &applied).await["would"], would, "{query}");
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_compressed_body_leaves_compressed_and_is_judged() {
    let state = observed().await;
    let list = format!("[{}]", vec![UNKNOWN; 500].join(","));
    let coded = gzip(list.as_bytes());
    for size in [coded.len(), 7] {
        let answer = Response::builder().header("content-type", "application/json");
        let answer = answer.header("content-encoding", "gzip").header("etag", "\"1\"");
        let answer = answer.body(streamed(chunks_of(&coded, size), false)).unwrap();
        let response = Ask { path: "/watched-list", ..ASK }.send(&state, answer).await;
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert_eq!(response.headers()["etag"], "\"1\"", "the head leaves, too");
        let applied = applied(&response);
        assert!(read(response).await.unwrap() == coded);
        let record = record_of(&state, &applied).await;
        assert_eq!((&record["records"], &record["would"]), (&json!(500), &Value::Null));
        assert_eq!(record["categories"]["email"][0]["fields"], 500);
    }
    // A coded body that breaks off.
    let answer = Response::builder().header("content-type", "application/json");
    let answer = answer.header("content-encoding", "gzip");
    let torn = coded[..coded.len() - 9].to_vec();
    let (_, left, record) =
        exchange(&state, Ask { path: "/watched-list", ..ASK }, answer.body(whole(torn.clone())).unwrap())
            .await;
    assert!(left == torn);
    assert_eq!(record["would"], json!({ "refused": "upstream-unreadable" }));
}

#[tokio::test]
async fn a_body_that_cannot_be_read_leaves_as_it_came_and_is_on_record_as_unread() {
    let state = observed().await;
    let answer = |status: u16, media_type: &str, body: &str| {
        let answer = Response::builder().status(status).header("content-type", media_type);
        answer.header("x-origin", "kept").body(whole(body.to_owned())).unwrap()
    };
    for (answer, code) in [
        (answer(404, "application/json", r#"{"error":"Ada"}"#), "upstream-refused"),
        (answer(500, "text/html", "<p>Ada</p>"), "upstream-refused"),
        (answer(302, "text/plain", "Ada moved"), "upstream-unreadable"),
        (answer(200, "text/html", "<p>Ada</p>"), "upstream-unreadable"),
        (answer(200, "application/json; charset=latin1", "{}"), "upstream-unreadable"),
        (answer(200, "application/json", r#"{"name":"Ada""#), "upstream-unreadable"),
    ] {
        let (expected_status, expected) = (answer.status().as_u16(), answer.headers().clone());
        let response = Ask { path: "/people/p-1", ..ASK }.send(&state, answer).await;
        assert_eq!(response.status().as_u16(), expected_status);
        assert_eq!(response.headers()["content-type"], expected["content-type"]);
        assert_eq!(response.headers()["x-origin"], "kept");
        let applied = applied(&response);
        assert!(!read(response).await.unwrap().is_empty());
        let record = record_of(&state, &applied).await;
        assert_eq!(record["would"], json!({ "refused": code }), "{record:#}");
        let unread = &record["categories"]["unclassified"][0];
        assert_eq!((&unread["form"], &unread["basis"]), (&json!("clear"), &Value::Null), "{record:#}");
        assert_eq!(
            (&unread["would"]["form"], &unread["would"]["reason"]),
            (&json!("removed"), &json!("unreadable"))
        );
        assert_eq!(record["subjects"].as_array().unwrap().len(), 1, "the path names the person: {record:#}");
    }
    assert_eq!(counted(&state, "person", "", "unreadable"), 6);
}

#[tokio::test]
async fn answers_without_a_body_have_one_record_and_nothing_to_note() {
    let state = observed().await;
    let empty = || Response::builder().status(204).body(whole("")).unwrap();
    for (ask, answer) in [
        (Ask { method: "HEAD", ..ASK }, json_answer(whole(""))),
        (Ask { method: "HEAD", path: "/watched-deny", ..ASK }, json_answer(whole(""))),
        (ASK, empty()),
        (ASK, json_answer(streamed(Vec::<Bytes>::new(), false))),
    ] {
        let method = ask.method.to_owned();
        let response = ask
            .send_to(&state, move |request| {
                assert_eq!(request.method().as_str(), method, "the upstream gets the request as it came");
                answer
            })
            .await;
        assert!(response.status().is_success());
        let applied = applied(&response);
        assert!(read(response).await.unwrap().is_empty());
        let record = record_of(&state, &applied).await;
        assert_eq!((&record["would"], &record["categories"]), (&Value::Null, &json!({})), "{record:#}");
        assert_eq!((&record["mode"], &record["outcome"]), (&json!("observe"), &json!("released")));
    }
}

#[tokio::test]
async fn a_route_that_denies_lets_the_answer_leave_and_notes_the_refusal() {
    let state = observed().await;
    let ask = Ask { path: "/watched-deny", ..ASK };
    let (status, left, record) = exchange(&state, ask, json_answer(whole(UNKNOWN))).await;
    assert_eq!((status, &*left), (200, UNKNOWN.as_bytes()));
    assert_eq!(record["would"], json!({ "refused": "not-found" }), "the code that the recipient would get");
    let (_, _, record) = exchange(&state, ask, json_answer(whole(BODY))).await;
    assert_eq!(record["would"], Value::Null);
    let long = format!("{BODY}{}", " ".repeat(1024));
    let (_, left, record) = exchange(&state, ask, json_answer(whole(long.clone()))).await;
    assert!(left == long);
    assert_eq!(record["would"], json!({ "refused": "not-found" }), "it has more than max-deny-body");
}

#[tokio::test]
async fn an_operation_has_an_intent_first_and_is_let_through() {
    let state = observed().await;
    for (method, path, would) in [
        ("POST", "/watched", None),
        ("POST", "/people/p-2", Some("subject-withheld")),
        ("PUT", "/people/p-2", Some("no-rule-permits")),
        ("DELETE", "/people/p-1", Some("no-rule-permits")),
    ] {
        let state_at_upstream = Arc::clone(&state.shared);
        let before = records(&state.shared).await.len();
        let folder = state_at_upstream.log.folder().to_owned();
        let seen = Arc::new(Mutex::new(None));
        let at_upstream = Arc::clone(&seen);
        let response = Ask { method, path, ..ASK }
            .send_to(&state, move |_| {
                let mut kinds = Vec::new();
                disclosure::export(LogPlace::unindexed(&folder), None, |line| {
                    let record: Value = serde_json::from_slice(line).unwrap();
                    kinds.extend(record.get("decision").is_some().then_some(record));
                    Ok(())
                })
                .unwrap();
                *at_upstream.lock().unwrap() = kinds.pop();
                json_answer(whole(UNKNOWN))
            })
            .await;
        assert_eq!(response.status(), StatusCode::OK, "{method}");
        let applied = applied(&response);
        assert_eq!(read(response).await.unwrap(), UNKNOWN);
        let intent = seen.lock().unwrap().take().unwrap();
        assert_eq!((&intent["kind"], &intent["mode"]), (&json!("intent"), &json!("observe")), "{method}");
        let all = records(&state.shared).await;
        let kinds: Vec<&str> = all[before..].iter().map(|one| one["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["intent", "window", "close"], "{method}");
        let record = record_of(&state, &applied).await;
        assert_eq!(record["would"]["refused"].as_str(), would, "{method}: {record:#}");
        assert_eq!(intent["would"], record["would"], "{method}: the intent says it already");
    }
}

#[tokio::test]
async fn a_suspended_recipient_a_bad_credential_and_screening_refuse_as_always() {
    let state = observed().await;
    let refused = async |ask: Ask<'_>| {
        let response = ask.send(&state, json_answer(whole(BODY))).await;
        let status = response.status().as_u16();
        let body = read(response).await.unwrap();
        let problem: Value = serde_json::from_slice(&body).unwrap();
        (status, problem["code"].as_str().unwrap().to_owned())
    };
    assert_eq!(refused(Ask { key: "pgk_other", ..ASK }).await, (401, "credential-invalid".to_owned()));
    assert_eq!(refused(Ask { path: "/a/../watched", ..ASK }).await, (400, "request-malformed".to_owned()));
    state.tell(r#"{"kind": "suspended", "recipient": "support"}"#).await;
    for purpose in [Some("order-fulfilment"), None, Some("product-improvement")] {
        assert_eq!(
            refused(Ask { purpose, ..ASK }).await,
            (403, "recipient-suspended".to_owned()),
            "{purpose:?}"
        );
    }
    let all = records(&state.shared).await;
    assert!(all.iter().all(|record| record["kind"] == "refusal" && record["mode"] == "observe"), "{all:#?}");
}

#[tokio::test]
async fn a_suspension_cuts_an_observed_answer_that_is_under_way() {
    let state = observed().await;
    let lines = vec![format!("{BODY}\n").repeat(4000); 6];
    let answer = Response::builder().header("content-type", "application/x-ndjson");
    let answer = answer.body(streamed(lines, false)).unwrap();
    let mut body = ASK.send(&state, answer).await.into_body();
    body.frame().await.unwrap().unwrap();
    // A withdrawal does not stop what is observed.
    state.tell(r#"{"kind": "consent-withdrawn", "purpose": "order-fulfilment", "subject": "p-1"}"#).await;
    body.frame().await.unwrap().unwrap();
    state.tell(r#"{"kind": "suspended", "recipient": "support"}"#).await;
    let cut = body.frame().await.unwrap().unwrap_err();
    assert_eq!(cut.refusal, Refusal::RecipientSuspended);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_refuses() {
    let disk = Arc::new(Disk::default());
    let state =
        GatewayFixture::on_with(&disk, Durability::BeforeRelease, &format!("{}{ROUTES}", partner())).await;
    for ask in [ASK, Ask { path: "/people/p-1", ..ASK }, Ask { purpose: None, ..ASK }] {
        disk.set_full(true);
        let refused = ask.send(&state, json_answer(whole(BODY))).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        let problem = String::from_utf8(read(refused).await.unwrap().to_vec()).unwrap();
        assert!(problem.contains("audit-unavailable") && !problem.contains("Ada"), "{problem}");
        resume(&state, &disk).await;
    }
    disk.set_full(true);
    let refused = Ask { method: "POST", ..ASK }.send_to(&state, |_| panic!("it is called")).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    resume(&state, &disk).await;
    let html = Response::builder().status(500).body(whole("Ada")).unwrap();
    disk.set_full(true);
    assert_eq!(ASK.send(&state, html).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_stale_ledger_is_noted_and_one_that_was_never_known_refuses() {
    let state = observed().await;
    state.assume(STALE);
    let (status, left, record) = exchange(&state, ASK, json_answer(whole(BODY))).await;
    assert_eq!((status, &*left), (200, BODY.as_bytes()));
    assert_eq!((&record["would"], &record["stale"]), (&json!({ "refused": "ledger-stale" }), &json!(true)));
    assert_eq!(record["categories"]["email"][0]["would"]["reason"], "stale");
    assert_eq!(counted(&state, "watched", "", "unreadable"), 1);
    // It becomes stale after the exchange was admitted.
    state.assume(Freshness::Current);
    let granted = granted(&state).await;
    state.assume(STALE);
    let response = Response::builder().header("content-type", "application/json").body(()).unwrap();
    let responded = granted.respond(&response.into_parts().0, None).await.unwrap();
    let BodyTreatment::Scrub(mut flow) = responded.body else { panic!("it is JSON") };
    flow.push(Bytes::from_static(BODY.as_bytes()), true).unwrap();
    flow.record().await.unwrap();
    assert_eq!(flow.hand_out().await.unwrap().unwrap(), BODY);
    flow.transfer().close();
    state.assume(Freshness::Unknown);
    let refused = ASK.send(&state, json_answer(whole(BODY))).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
}

async fn granted(state: &GatewayFixture) -> GrantedExchange {
    match state.begin(Request::get("/watched"), "order-fulfilment").await {
        ExchangeStart::Forward(granted, _) => granted,
        other @ ExchangeStart::Answered(_) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_byte_of_a_record_leaves_before_its_people_are_on_record() {
    let state = observed().await;
    let granted = granted(&state).await;
    let response = Response::builder().header("content-type", "application/x-ndjson").body(()).unwrap();
    let responded = granted.respond(&response.into_parts().0, None).await.unwrap();
    let BodyTreatment::Scrub(mut flow) = responded.body else { panic!("it is JSON") };
    let (begin, rest) = UNKNOWN.split_at(20);
    flow.push(Bytes::from(begin), false).unwrap();
    flow.record().await.unwrap();
    assert_eq!(flow.hand_out().await.unwrap(), None, "nobody knows yet whose record it is");
    flow.push(Bytes::from(format!("{rest}\n")), false).unwrap();
    assert_eq!(flow.hand_out().await.unwrap(), None, "it is not on record");
    flow.record().await.unwrap();
    let all = records(&state.shared).await;
    let people: usize = all.iter().filter_map(|one| one["subjects"].as_array()).map(Vec::len).sum();
    assert_eq!(people, 1, "{all:#?}");
    let mut left = Vec::new();
    while let Some(bytes) = flow.hand_out().await.unwrap() {
        left.extend_from_slice(&bytes);
    }
    assert_eq!(left, format!("{UNKNOWN}\n").into_bytes(), "a whole line does not wait for the next one");
    flow.finish().unwrap();
    flow.record().await.unwrap();
    flow.transfer().close();
}

#[tokio::test]
async fn events_leave_one_by_one_as_they_came() {
    let state = observed().await;
    for end in ["\n", "\r\n"] {
        let granted = granted(&state).await;
        let response = Response::builder().header("content-type", "text/event-stream").body(()).unwrap();
        let responded = granted.respond(&response.into_parts().0, None).await.unwrap();
        let BodyTreatment::Scrub(mut flow) = responded.body else { panic!("it is a stream") };
        for event in [
            format!("id: 7{end}event: odd{end}data: {UNKNOWN}{end}{end}"),
            format!(": a comment{end}{end}"),
            format!("data: {BODY}{end}{end}"),
        ] {
            flow.push(Bytes::from(event.clone()), false).unwrap();
            flow.record().await.unwrap();
            assert_eq!(flow.hand_out().await.unwrap().as_deref(), Some(event.as_bytes()), "{end:?}");
        }
        flow.push(Bytes::from_static(b"data: {\"id\":"), false).unwrap();
        flow.record().await.unwrap();
        assert_eq!(flow.hand_out().await.unwrap(), None);
        flow.end_early();
        flow.transfer().close();
    }
}

#[tokio::test]
async fn a_failing_upstream_refuses_or_cuts_as_always() {
    let state = observed().await;
    let broken = json_answer(streamed(vec!["{\"id\":".to_owned()], true));
    let refused = ASK.send(&state, broken).await;
    assert_eq!(refused.status(), StatusCode::BAD_GATEWAY);
    let answer = Response::builder().header("content-type", "application/x-ndjson");
    let answer = answer.body(streamed(vec![format!("{BODY}\n").repeat(8000); 3], true)).unwrap();
    assert_eq!(read(ASK.send(&state, answer).await).await, Err(Refusal::UpstreamUnreadable));
    tokio::time::timeout(Duration::from_secs(5), state.shared.log.flush()).await.unwrap().unwrap();
}
