//! Recipients identified by a token: the person themselves, the administrator of an account, a member of staff.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixtures::KNOWN;
use crate::gateway::{TestGateway, base, bearer, credential, wait_until};
use crate::http::{self, Answer};
use crate::token_issuer::Issuer;
use crate::upstream::Upstream;

const LIST: &str = r#"{"items": [
    {"id": "c-1", "account": 7, "name": "Ada Example", "email": "ada@example.org", "invoice": "I-1"},
    {"id": "c-2", "account": 8, "name": "Bob Example", "email": "bob@example.org", "invoice": "I-2"},
    {"id": ["c-1", "c-2"], "account": "7", "name": "Both Example", "email": "both@example.org", "invoice": "I-3"}
]}"#;

const ROUTES: &str = r#"
[[route]]
name = "customers"
upstream = "crm"
path = "/customers"
record = "$.items[*]"
subject = "@.id"
controller = "@.account"
methods = ["GET", "POST"]
[route.fields]
"@.name" = "name"
"@.email" = "email"
"@.invoice" = "service-data"
"@['id', 'account']" = "non-personal"

[[route]]
name = "gone"
upstream = "crm"
path = "/gone"
subject = "@.id"
hide-existence = true
fields = { "@.invoice" = "service-data", "@.email" = "email" }

[[route]]
name = "plain"
upstream = "crm"
path = "/plain"
subject = "@.id"
fields = { "@.email" = "email" }

[[route]]
name = "invoices"
upstream = "crm"
path = "/invoices"
purposes = ["hosting"]
controller = "@.account"
fields = { "@.invoice" = "service-data" }
"#;

fn start_gateway() -> (Upstream, TestGateway, Issuer) {
    let upstream = Upstream::start();
    upstream.json("/customers", LIST);
    let issuer = Issuer::new();
    let config = format!(
        r#"{}
{}
[[recipient]]
name = "portal"
kind = "data-subject"
purposes = ["data-subject-request"]
credentials = [{{ jwt = {{ issuer = "https://id.test", claims = {{ azp = "portal" }}, subject-claim = "sub" }} }}]

[[recipient]]
name = "administrators"
kind = "customer-administrator"
country = "DE"
purposes = ["service-provision"]
credentials = [{{ jwt = {{ issuer = "https://id.test", claims = {{ role = "administrator" }}, controller-claim = "account" }} }}]

[[recipient]]
name = "desk"
kind = "employee"
purposes = ["account-management", "direct-marketing"]
credentials = [
  {{ jwt = {{ issuer = "https://id.test", claims = {{ role = "desk" }}, actor-claim = "sub" }}, purpose = "account-management" }},
  {},
]
{ROUTES}"#,
        base(upstream.address),
        issuer.section(),
        credential("desk"),
    );
    let gateway = TestGateway::start(&config);
    for person in ["c-1", "c-2"] {
        gateway.record_event(person, KNOWN);
    }
    (upstream, gateway, issuer)
}

#[test]
fn a_refusal_of_service_data_names_the_customer_as_contact() {
    let (_upstream, gateway, issuer) = start_gateway();
    let contact = |claims: Value, purpose: &str| {
        let answer = http::get(
            gateway.address,
            "/invoices",
            &[&issuer.bearer(claims), &format!("data-purpose: {purpose}")],
        );
        assert_eq!(answer.status, 403, "{}", answer.text());
        answer.json()["contact"].as_str().unwrap().to_owned()
    };
    let person = contact(json!({ "azp": "portal", "sub": "c-1" }), "access");
    assert!(person.contains("administrator of the customer's account"), "{person}");
    let staff = contact(json!({ "role": "desk", "sub": "kim" }), "direct-marketing");
    assert!(!staff.contains("administrator"), "{staff}");
}

#[test]
fn answers_to_a_data_subject_request_name_the_controller_of_service_data() {
    let (upstream, gateway, issuer) = start_gateway();
    upstream.json("/plain", "{}");
    let controller =
        "\"The administrator of the customer's account: the customer is the controller of these data\"";
    let person = issuer.bearer(json!({ "azp": "portal", "sub": "c-1" }));
    let stranger = issuer.bearer(json!({ "azp": "portal", "sub": "c-404" }));
    let get = |path: &str, token: &str, purpose: &str| {
        http::get(gateway.address, path, &[token, &format!("data-purpose: {purpose}")])
    };
    for (path, token, purpose, status, names) in [
        ("/customers", &person, "access", 200, true),
        ("/customers", &person, "data-subject-request", 200, true),
        ("/customers", &stranger, "portability", 200, true),
        ("/customers?secret=1", &person, "access", 422, true),
        ("/invoices", &person, "access", 403, true),
        ("/gone", &person, "access", 404, true),
        // No service data, another purpose, no purpose, another recipient.
        ("/plain", &person, "access", 200, false),
        ("/customers", &person, "marketing", 403, false),
        ("/customers", &person, "nonsense", 400, false),
        ("/customers", &bearer("support"), "customer-support", 200, false),
    ] {
        let answer = get(path, token, purpose);
        assert_eq!(answer.status, status, "{path} {purpose}: {}", answer.text());
        let named = answer.header("data-purpose-controller");
        assert_eq!(named, names.then_some(controller), "{path} {purpose}");
    }
    // The refusal of a body that the route does not accept has the field, too.
    let gzip = ["data-purpose: objection", &person, "content-encoding: gzip"];
    let gzip = http::send(gateway.address, "POST", "/customers", &gzip, b"x");
    assert_eq!((gzip.status, gzip.header("data-purpose-controller")), (400, Some(controller)));
    let head = ["data-purpose: access", &person];
    let head = http::send(gateway.address, "HEAD", "/customers", &head, b"");
    assert_eq!((head.status, head.header("data-purpose-controller")), (200, Some(controller)));
}

fn ask(gateway: &TestGateway, token: &str, purpose: &str, more: &[&str]) -> Answer {
    let purpose = format!("data-purpose: {purpose}");
    http::get(gateway.address, "/customers", &[&[token, &purpose], more].concat())
}

#[test]
fn a_person_sees_only_their_own_data() {
    let (_upstream, gateway, issuer) = start_gateway();
    let token = issuer.bearer(json!({ "azp": "portal", "sub": "c-1" }));
    let items = ask(&gateway, &token, "access", &[]).json()["items"].clone();
    assert_eq!(items[0]["name"], "Ada Example");
    assert_eq!(items[0]["email"], "ada@example.org");
    for other in [1, 2] {
        assert_eq!(items[other].get("name"), None, "{items}");
        assert_eq!(items[other].get("email"), None, "{items}");
    }
    // Only the claim identifies the person, not a header.
    let claimed = ask(&gateway, &token, "access", &["x-subject: c-2", "sub: c-2"]).json();
    assert_eq!(claimed["items"][1].get("name"), None);
    let nobody = ask(&gateway, &issuer.bearer(json!({ "azp": "portal" })), "access", &[]);
    assert_eq!((nobody.status, &nobody.json()["code"]), (401, &json!("credential-invalid")));
}

#[test]
fn an_administrator_sees_service_data_of_their_own_account() {
    let (_upstream, gateway, issuer) = start_gateway();
    let token = issuer.bearer(json!({ "role": ["user", "administrator"], "account": 7 }));
    let items = ask(&gateway, &token, "service-provision", &[]).json()["items"].clone();
    assert_eq!(items[0]["invoice"], "I-1");
    assert_eq!(items[1].get("invoice"), None);
    // A list is not an id: the record has no subject.
    assert_eq!(items[2].get("invoice"), None);
    assert!(items.as_array().unwrap().iter().all(|item| item.get("email").is_none()), "{items}");
}

#[test]
fn each_actor_is_logged_under_a_pseudonym() {
    let (_upstream, gateway, issuer) = start_gateway();
    let actor = |sub: &str| -> Value {
        let token = issuer.bearer(json!({ "role": "desk", "sub": sub }));
        // The credential is locked to one purpose, so the request declares none.
        let answer = http::get(gateway.address, "/customers", &[&token]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let decision = answer.decision();
        let record = gateway.decision(&decision);
        assert_eq!(record["factors"]["purpose"], "permits");
        assert_eq!(record["factors"]["credential"], "permits");
        assert_eq!(record["factors"]["policy"], "permits");
        record["actor"].clone()
    };
    let (kim, lee) = (actor("kim@example.org"), actor("lee@example.org"));
    assert!(kim.is_string() && kim != lee);
    assert_eq!(kim, actor("kim@example.org"));
    assert!(!gateway.log_bytes().contains("kim@example.org"));
    let other_purpose =
        ask(&gateway, &issuer.bearer(json!({ "role": "desk", "sub": "kim" })), "direct-marketing", &[]);
    assert_eq!(other_purpose.status, 403);
    gateway.wait_for_log(r#""credential":"refuses""#);
}

#[test]
fn a_key_and_a_token_must_name_the_same_recipient() {
    let (_upstream, gateway, issuer) = start_gateway();
    let token = issuer.bearer(json!({ "role": "desk", "sub": "kim" }));
    let key = |recipient: &str| bearer(recipient).replace("authorization: Bearer", "x-api-key:");
    assert_eq!(ask(&gateway, &token, "account-management", &[&key("desk")]).status, 200);
    assert_eq!(ask(&gateway, &token, "account-management", &[&key("support")]).status, 401);
}

#[test]
fn sec_gpc_of_the_person_is_an_objection_to_marketing() {
    let (_upstream, gateway, issuer) = start_gateway();
    let objections = || {
        let state = gateway.get_admin("/v1/subjects/c-1").json();
        state["objections"].as_array().cloned().unwrap_or_default()
    };
    let person = issuer.bearer(json!({ "azp": "portal", "sub": "c-1" }));
    let desk = issuer.bearer(json!({ "role": "desk", "sub": "c-1" }));
    ask(&gateway, &desk, "account-management", &["sec-gpc: 1"]);
    for no_signal in
        [vec!["dnt: 1"], vec!["sec-gpc: 0"], vec!["sec-gpc: true"], vec!["sec-gpc: 1", "sec-gpc: 1"]]
    {
        ask(&gateway, &person, "access", &no_signal);
    }
    assert_eq!(objections(), Vec::<Value>::new());
    for _ in 0..2 {
        assert_eq!(ask(&gateway, &person, "access", &["sec-gpc: 1"]).status, 200);
    }
    assert_eq!(objections(), ["marketing"]);
    let recorded = || {
        for _ in 0..2 {
            assert_eq!(ask(&gateway, &person, "access", &["sec-gpc: 1"]).status, 200);
        }
        let history = gateway.get_admin("/v1/subjects/c-1/events").json();
        history.as_array().unwrap().iter().filter(|event| event["kind"] == "objection").count()
    };
    assert_eq!(recorded(), 1);
    // A later choice of the person takes precedence over the signal, which a browser sends with each request.
    gateway.record_event("c-1", r#"{"kind": "consent-given", "purpose": "direct-marketing"}"#);
    assert_eq!(recorded(), 1);
    gateway.record_event("c-1", r#"{"kind": "objection-lifted", "purpose": "marketing"}"#);
    assert_eq!((recorded(), objections()), (1, Vec::new()));
    // A later refusal restores the objection.
    gateway.record_event("c-1", r#"{"kind": "consent-withdrawn", "purpose": "direct-marketing"}"#);
    assert_eq!((recorded(), objections()), (2, vec![json!("marketing")]));
    gateway.record_event(
        "c-1",
        r#"{"kind": "consent-given", "purpose": "marketing", "valid-until": "2020-01-01T00:00:00Z"}"#,
    );
    gateway.record_event("c-1", r#"{"kind": "objection-lifted", "purpose": "marketing"}"#);
    assert_eq!((recorded(), objections()), (2, Vec::new()), "lifted, whatever ended");
}

#[test]
fn refusals_do_not_make_a_person_known() {
    let (upstream, gateway, issuer) = start_gateway();
    upstream.json("/customers", r#"{"items": [{"id": "c-9", "account": 7, "name": "Nova Example"}]}"#);
    let desk = issuer.bearer(json!({ "role": "desk", "sub": "kim" }));
    let has_name =
        || ask(&gateway, &desk, "account-management", &[]).json()["items"][0].get("name").is_some();
    assert!(!has_name(), "the ledger has never heard of them");
    ask(&gateway, &issuer.bearer(json!({ "azp": "portal", "sub": "c-9" })), "access", &["sec-gpc: 1"]);
    gateway.record_event("c-9", r#"{"kind": "opt-out", "recipient": "reseller"}"#);
    assert!(!has_name(), "they have only said no");
    gateway.record_event("c-9", KNOWN);
    assert!(has_name());
}

#[test]
fn a_person_sees_only_their_own_decisions() {
    let (_upstream, gateway, issuer) = start_gateway();
    let person = |sub: &str| issuer.bearer(json!({ "azp": "portal", "sub": sub }));
    let of_account = |account: u64| issuer.bearer(json!({ "role": "administrator", "account": account }));
    let page = |id: &str, token: &str, more: &str| {
        let path = format!("/.well-known/data-purposes/decisions/{id}{more}");
        http::get(gateway.address, &path, &[token])
    };
    let receipt = |id: &str, token: &str| {
        let began = Instant::now();
        loop {
            let answer = page(id, token, "/receipt");
            if answer.json()["code"] != "receipt-pending" {
                return answer;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "a checkpoint is published every second");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    for (own, other, purpose) in [
        (person("c-1"), person("c-2"), "access"),
        // The ledger knows this person only from the next event on.
        (person("c-404"), person("c-1"), "access"),
        (of_account(7), of_account(8), "service-provision"),
        (of_account(7), person("7"), "service-provision"),
    ] {
        let made = [
            ask(&gateway, &own, purpose, &[]).decision(),
            ask(&gateway, &own, "direct-marketing", &[]).json()["decision"].as_str().unwrap().to_owned(),
        ];
        for id in made {
            assert_eq!(page(&id, &own, "").json()["decision"], json!(id));
            assert_eq!(receipt(&id, &own).json()["decision"], json!(id));
            let (unknown, strangers) =
                (page("01ARZ3NDEKTSV4RRFFQ69G5FAV", &other, ""), page(&id, &other, ""));
            assert_eq!((unknown.status, strangers.status), (404, 404), "{}", strangers.text());
            assert_eq!(unknown.json()["code"], strangers.json()["code"]);
            assert_eq!(receipt(&id, &other).status, 404);
        }
    }
    let before = ask(&gateway, &person("c-404"), "access", &[]).decision();
    gateway.record_event("c-404", KNOWN);
    assert_eq!(page(&before, &person("c-404"), "").status, 200, "on record from before the ledger knew them");
    // The one recipient desk has several people.
    let decision =
        ask(&gateway, &issuer.bearer(json!({ "role": "desk", "sub": "kim" })), "account-management", &[]);
    let colleague = issuer.bearer(json!({ "role": "desk", "sub": "lee" }));
    assert_eq!(page(&decision.decision(), &colleague, "").status, 200);
}

/// A configuration with such a feed does not load any more; notices of an earlier one may be there.
#[test]
fn people_of_one_recipient_have_no_feed() {
    let (_upstream, gateway, issuer) = start_gateway();
    let person = issuer.bearer(json!({ "azp": "portal", "sub": "c-1" }));
    assert_eq!(ask(&gateway, &person, "access", &[]).status, 200);
    gateway.record_event("c-1", r#"{"kind": "restriction"}"#);
    let open = || gateway.get_admin("/v1/notices").json()["notices"].clone();
    wait_until(|| open().as_array().unwrap().len() == 1);
    let notice = open()[0].clone();
    assert_eq!((&notice["recipient"], &notice["channel"]), (&json!("portal"), &json!("manual")));
    let feed = "/.well-known/data-purposes/notices";
    assert_eq!(http::get(gateway.address, feed, &[&person]).json()["notices"], json!([]));
    let acknowledge = format!("{feed}/{}/acknowledge", notice["id"].as_str().unwrap());
    assert_eq!(http::send(gateway.address, "POST", &acknowledge, &[&person], b"").status, 404);
}
