//! Disclosure cases: an authority receives the categories of a case about its subjects while the case is in force, and
//! otherwise nothing.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::fixtures::{CUSTOMER_ROUTES, NOTICE, person};
use crate::gateway::{TestGateway, base, bearer, credential, wait_until};
use crate::http;
use crate::upstream::Upstream;

fn start_gateway() -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    let other = format!(
        "[[recipient]]\nname = \"court\"\nkind = \"public-authority\"\ncountry = \"DE\"\npurposes = [\"legal\"]\ncredentials = [{}]\n",
        credential("court")
    );
    let gateway = TestGateway::start(&format!("{}{other}{CUSTOMER_ROUTES}", base(upstream.address)));
    for id in ["p-1", "p-2"] {
        gateway.record_event(id, NOTICE);
        upstream.json(&format!("/customers/{id}"), &person(id));
    }
    (upstream, gateway)
}

fn post(gateway: &TestGateway, path: &str, body: &Value) -> http::Answer {
    gateway.post_admin(path, body.to_string().as_bytes())
}

/// A case for the police about `p-1`.
fn case(id: &str) -> Value {
    json!({
        "case": id,
        "recipient": "police",
        "purpose": "law-enforcement",
        "subjects": ["p-1"],
        "categories": ["contact", "password"],
        "end": "2099-01-01T00:00:00Z",
        "reference": "12 Js 4/26",
    })
}

fn register(gateway: &TestGateway, case: &Value) {
    let answer = post(gateway, "/v1/cases", case);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn approve(gateway: &TestGateway, id: &str, approver: &str) -> http::Answer {
    post(gateway, &format!("/v1/cases/{id}/approve"), &json!({ "approver": approver }))
}

fn put_in_force(gateway: &TestGateway, case: &Value) {
    register(gateway, case);
    let id = case["case"].as_str().unwrap();
    assert_eq!(approve(gateway, id, "ada").status, 200);
    assert_eq!(approve(gateway, id, "ben").status, 200);
}

fn ask(gateway: &TestGateway, who: &str, purpose: &str, case: &str) -> http::Answer {
    gateway.get("/customers/p-1", who, &format!("{purpose};case=\"{case}\""))
}

fn is_refused(answer: &http::Answer) -> bool {
    answer.status == 403 && answer.json()["code"] == "legal-reference-missing"
}

#[test]
fn a_case_releases_its_categories_about_its_subjects() {
    let (upstream, gateway) = start_gateway();
    put_in_force(&gateway, &case("C-7"));
    let answer = ask(&gateway, "police", "law-enforcement", "C-7");
    assert_eq!(answer.status, 200, "{}", answer.text());
    // The case does not cover the name, and no rule ever releases a password.
    assert_eq!(answer.json(), json!({"id": "p-1", "email": "p-1@example.org", "status": "active"}));

    upstream.json("/customers", &format!("{{\"items\": [{}, {}]}}", person("p-2"), person("p-1")));
    let list = gateway.get("/customers", "police", "law-enforcement;case=\"C-7\"");
    let expected = json!({"items": [
        {"id": "p-2", "status": "active"},
        {"id": "p-1", "email": "p-1@example.org", "status": "active"},
    ]});
    assert_eq!(list.json(), expected);

    let decision = answer.decision();
    let record = gateway.decision(&decision);
    assert_eq!(record["case"], "C-7");
    assert_eq!(record["categories"]["email"][0]["basis"], "legal-obligation");
    assert_eq!(record["subjects"].as_array().map(Vec::len), Some(1), "the case is not a data subject");
}

#[test]
fn the_page_of_purposes_says_what_a_case_can_cover() {
    let (_upstream, gateway) = start_gateway();
    let page =
        |recipient| http::get(gateway.address, "/.well-known/data-purposes", &[&bearer(recipient)]).json();
    let police = page("police");
    assert_eq!(police["purposes"], json!(["law-enforcement"]));
    let routes = police["routes"].as_array().unwrap();
    let list = routes.iter().find(|route| route["route"] == "customers").unwrap();
    let entry = &list["purposes"][0];
    assert_eq!((&entry["purpose"], &entry["case"]), (&json!("law-enforcement"), &json!("required")));
    let fields = entry["fields"].as_array().unwrap();
    assert!(fields.contains(&json!({ "path": "$.items[*].email", "form": "clear" })), "{entry}");
    assert!(!entry.to_string().contains("password"), "no rule releases it: {entry}");
    assert!(!page("support").to_string().contains("\"case\""), "staff need none");
}

#[test]
fn an_authority_without_a_case_in_force_is_refused_before_the_upstream() {
    let (upstream, gateway) = start_gateway();
    let before = upstream.requests();
    assert!(is_refused(&gateway.get("/customers/p-1", "police", "law-enforcement")), "none cited");
    assert!(is_refused(&ask(&gateway, "police", "law-enforcement", "C-7")), "none registered");
    register(&gateway, &case("C-7"));
    assert!(is_refused(&ask(&gateway, "police", "law-enforcement", "C-7")), "not approved");
    assert_eq!(approve(&gateway, "C-7", "ada").status, 200);
    assert!(is_refused(&ask(&gateway, "police", "law-enforcement", "C-7")), "approved once");
    for again in ["ada", "Ada", " ada "] {
        let answer = approve(&gateway, "C-7", again);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (409, Some("event-conflict")));
    }
    assert!(is_refused(&ask(&gateway, "police", "law-enforcement", "C-7")), "approved twice by one");
    assert_eq!(approve(&gateway, "C-7", "ben").status, 200);
    assert_eq!(upstream.requests(), before, "the upstream is not called");
    assert_eq!(ask(&gateway, "police", "law-enforcement", "C-7").status, 200);

    assert!(is_refused(&ask(&gateway, "court", "law-enforcement", "C-7")), "another recipient's");
    let for_another = json!({"case": "C-8", "recipient": "court", "purpose": "court-order"});
    let mut other = case("C-8");
    other.as_object_mut().unwrap().extend(for_another.as_object().unwrap().clone());
    put_in_force(&gateway, &other);
    assert_eq!(ask(&gateway, "court", "court-order", "C-8").status, 200);
    assert!(is_refused(&ask(&gateway, "court", "law-enforcement", "C-8")), "another purpose");
    assert!(is_refused(&ask(&gateway, "court", "legal", "C-8")), "the purpose above it");

    let mut past = case("C-9");
    past["end"] = json!("2020-01-01T00:00:00Z");
    put_in_force(&gateway, &past);
    assert!(is_refused(&ask(&gateway, "police", "law-enforcement", "C-9")), "past its end");
    assert_eq!(post(&gateway, "/v1/cases/C-7/end", &json!({})).status, 200);
    assert!(is_refused(&ask(&gateway, "police", "law-enforcement", "C-7")), "ended before its time");
    assert_eq!(approve(&gateway, "C-7", "cleo").status, 200);
    assert!(is_refused(&ask(&gateway, "police", "law-enforcement", "C-7")), "for good");
    gateway.wait_for_log("refused:legal-reference-missing");
}

#[test]
fn a_case_that_is_not_needed_is_only_recorded() {
    let (_upstream, gateway) = start_gateway();
    let with = ask(&gateway, "support", "customer-support", "no-such-case");
    let without = gateway.get("/customers/p-1", "support", "customer-support");
    assert_eq!((with.status, with.text()), (200, without.text()));
    gateway.wait_for_log("no-such-case");
}

#[test]
fn a_query_parameter_outside_the_case_is_refused() {
    let upstream = Upstream::start();
    let gateway = TestGateway::start(&format!(
        "{}{CUSTOMER_ROUTES}\n[[route]]\nname = \"search\"\nupstream = \"crm\"\npath = \"/search\"\nrecord = \"$.items[*]\"\nschema = \"customer\"\nquery = {{ email = \"email\", name = \"name\", page = \"non-personal\" }}\n",
        base(upstream.address)
    ));
    upstream.json("/search", r#"{"items": []}"#);
    put_in_force(&gateway, &case("C-7"));
    let search = |query: &str| {
        gateway.get(&format!("/search?{query}"), "police", "law-enforcement;case=\"C-7\"").status
    };
    assert_eq!((search("email=x"), search("page=2"), search("name=x")), (200, 200, 422));
}

#[test]
fn cases_are_listed_with_their_state() {
    let (_upstream, gateway) = start_gateway();
    put_in_force(&gateway, &case("C-7"));
    register(&gateway, &case("C-8"));
    let list = gateway.get_admin("/v1/cases").json();
    let states: Vec<_> =
        list.as_array().unwrap().iter().map(|case| (&case["case"], &case["state"])).collect();
    assert_eq!(states, [(&json!("C-7"), &json!("in-force")), (&json!("C-8"), &json!("registered"))]);
    assert_eq!(
        list[0]["approvers"],
        json!([{ "name": "ada", "verified": false }, { "name": "ben", "verified": false }])
    );
    assert_eq!(gateway.get_admin("/v1/cases/C-8").json(), list[1]);
    assert_eq!(gateway.get_admin("/v1/cases/C-9").status, 404);
}

#[test]
fn a_malformed_case_is_not_registered() {
    let (_upstream, gateway) = start_gateway();
    register(&gateway, &case("C-7"));
    let registered = |case: &Value| {
        let answer = post(&gateway, "/v1/cases", case);
        (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(registered(&case("C-7")), (409, "event-conflict".to_owned()), "a second time");
    for (member, value) in [
        ("case", json!("no spaces")),
        ("recipient", json!("somebody")),
        ("purpose", json!("curiosity")),
        ("subjects", json!([])),
        ("categories", json!(["e-mail"])),
        ("end", json!("soon")),
        ("kind", json!("case-approved")),
        ("approver", json!("ada")),
    ] {
        let mut wrong = case("C-8");
        wrong[member] = value;
        assert_eq!(registered(&wrong), (400, "event-malformed".to_owned()), "{member}");
    }
    assert_eq!(approve(&gateway, "C-8", "ada").status, 404);
    assert_eq!(post(&gateway, "/v1/cases/C-7/approve", &json!({})).status, 400, "by nobody");
    assert_eq!(http::send(gateway.admin, "PUT", "/v1/cases/C-7/approve", &[], b"").status, 405);
}

#[test]
fn an_answer_in_flight_stops_releasing_when_its_case_ends() {
    // On a busy machine the answer may begin late: the next attempt has a longer case.
    for seconds in [5, 20, 80] {
        let (upstream, gateway) = start_gateway();
        endless_list(&upstream);
        let mut short = case("C-7");
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        short["end"] = json!(end.to_string());
        put_in_force(&gateway, &short);
        let Some((mut stream, mut bytes)) = begin(&gateway) else { continue };
        wait_until(|| gateway.get_admin("/v1/cases/C-7").json()["state"] == "ended");
        stream.read_to_end(&mut bytes).unwrap();
        return assert_released_until_the_end(&bytes);
    }
    panic!("no answer began within 80 seconds");
}

/// Number of records; far more than the buffers between gateway and recipient hold.
const RECORDS: usize = 60_000;

#[test]
fn nothing_leaves_under_a_case_after_its_end_was_acknowledged() {
    let (upstream, gateway) = start_gateway();
    endless_list(&upstream);
    put_in_force(&gateway, &case("C-7"));
    let (mut stream, mut bytes) = begin(&gateway).unwrap();
    assert_eq!(post(&gateway, "/v1/cases/C-7/end", &json!({})).status, 200);
    stream.read_to_end(&mut bytes).unwrap();
    assert_released_until_the_end(&bytes);
}

fn endless_list(upstream: &Upstream) {
    upstream.script("/customers", |_, stream| {
        let head =
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"items\": [";
        let _ = stream.write_all(head);
        for n in 0..RECORDS {
            let separator = if n == 0 { "" } else { "," };
            if stream.write_all(format!("{separator}{}", person("p-1")).as_bytes()).is_err() {
                return;
            }
        }
        let _ = stream.write_all(b"]}");
    });
}

/// Requests the list and reads its beginning, which is released under the case. `None` if the case has ended already.
fn begin(gateway: &TestGateway) -> Option<(TcpStream, Vec<u8>)> {
    let mut stream = gateway.begin_get("/customers", "police", "law-enforcement;case=\"C-7\"");
    let mut bytes = vec![0u8; 64 * 1024];
    stream.read_exact(&mut bytes).ok()?;
    String::from_utf8_lossy(&bytes).contains("p-1@example.org").then_some((stream, bytes))
}

/// Asserts that the list is complete and its last record is no longer released under the case.
fn assert_released_until_the_end(bytes: &[u8]) {
    let answer = http::parse(bytes);
    assert!(answer.complete);
    let items = answer.json();
    let items = items["items"].as_array().unwrap();
    assert_eq!(items.len(), RECORDS);
    assert_eq!(items[0]["email"], "p-1@example.org");
    assert_eq!(items[RECORDS - 1], json!({"id": "p-1", "status": "active"}));
}

#[test]
fn a_case_without_an_id_gets_one() {
    let (_upstream, gateway) = start_gateway();
    let mut nameless = case("");
    nameless.as_object_mut().unwrap().remove("case");
    nameless["subjects"] = json!([1, "p-1"]);
    let answer = post(&gateway, "/v1/cases", &nameless);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.json()["case"].as_str().unwrap().to_owned();
    assert_eq!(approve(&gateway, &id, "ada").status, 200);
    let shown = gateway.get_admin(&format!("/v1/cases/{id}")).json();
    assert_eq!(shown["subjects"], json!(["1", "p-1"]), "{shown}");
    let again = || {
        let body = nameless.to_string();
        let answer =
            http::send(gateway.admin, "POST", "/v1/cases", &["idempotency-key: k-1"], body.as_bytes());
        answer.json()["case"].clone()
    };
    assert_eq!(again(), again());
    assert_eq!(gateway.get_admin("/v1/cases").json().as_array().map(Vec::len), Some(2));
}

/// A web page in a browser on the same machine can reach the loopback.
#[test]
fn the_admin_listener_refuses_requests_of_other_sites() {
    let (_upstream, gateway) = start_gateway();
    let event = br#"{"kind": "erasure"}"#;
    let ask = |head: &str| {
        let head = format!(
            "POST /v1/subjects/p-1/events HTTP/1.1\r\nconnection: close\r\n{head}content-length: {}\r\n\r\n",
            event.len()
        );
        http::raw(gateway.admin, &[head.as_bytes(), event].concat())
    };
    let own = gateway.admin;
    for head in [
        "host: purposegate.example\r\n".to_owned(),
        format!("host: {own}\r\norigin: https://elsewhere.example\r\n"),
        format!("host: {own}\r\norigin: null\r\n"),
    ] {
        let answer = ask(&head);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (403, Some("request-foreign")), "{head}");
    }
    for head in [
        format!("host: {own}\r\n"),
        format!("host: localhost:{}\r\n", own.port()),
        format!("host: {own}\r\norigin: http://{own}\r\n"),
    ] {
        assert_eq!(ask(&head).status, 200, "{head}");
    }
}

#[test]
fn recipients_are_listed_with_their_revision() {
    let upstream = Upstream::start();
    let suspended =
        base(upstream.address).replace("name = \"lapsed\"", "name = \"lapsed\"\nsuspended = true");
    let gateway = TestGateway::start(&suspended);
    let recipients = gateway.get_admin("/v1/recipients").json();
    let of =
        |name: &str| recipients.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
    assert_eq!((&of("lapsed")["suspended"], &of("support")["suspended"]), (&json!(true), &json!(false)));
    assert_eq!(of("support")["revision"].as_str().unwrap().len(), 64);
}
