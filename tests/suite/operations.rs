//! An operation reaches the upstream only if the policy permits this recipient to change data of this subject.
//!
//! The upstream records its requests. The expectation is written by hand from the sentences of the policy and does not
//! use the program.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

use crate::fixtures::KNOWN;
use crate::gateway::{TestGateway, base, bearer, credential};
use crate::http;
use crate::token_issuer::Issuer;
use crate::upstream::{Upstream, answer};

/// Each method with its operation.
const OPERATIONS: [(&str, &str); 3] = [("POST", "collect"), ("PATCH", "alter"), ("DELETE", "destroy")];

/// Each state of a person or an account, with the id of the person and of the account.
const FACTS: [(&str, &str, &str); 9] = [
    ("known", "p-known", "a-open"),
    ("unknown", "p-stranger", "a-open"),
    ("erased", "p-erased", "a-open"),
    ("restricted", "p-restricted", "a-open"),
    ("minor", "p-minor", "a-open"),
    ("objected", "p-objected", "a-open"),
    ("opted-out", "p-opted-out", "a-open"),
    ("without-relation", "p-alone", "a-open"),
    ("closed", "p-known", "a-closed"),
];

/// Each recipient kind with the purposes that it declares.
const KINDS: [(&str, &[&str]); 23] = [
    ("employee", &["account-management", "customer-support", "direct-marketing"]),
    ("contractor", &["account-management"]),
    ("affiliate", &["customer-support"]),
    ("sub-processor", &["service-provision", "customer-support"]),
    ("user-integration", &["service-provision"]),
    ("collaborator", &["collaboration"]),
    ("customer-administrator", &["service-provision", "customer-support", "data-subject-request"]),
    ("data-subject", &["rectification", "erasure", "objection", "restriction", "access"]),
    ("hosting-provider", &["hosting"]),
    ("email-provider", &["campaign-delivery"]),
    ("administrative-provider", &["administration"]),
    ("developer", &["hosting"]),
    ("marketing-partner", &["direct-marketing"]),
    ("web-analytics-provider", &["usage-analytics"]),
    ("payment-processor", &["payment"]),
    ("event-organiser", &["event-management"]),
    ("mapping-provider", &["mapping"]),
    ("push-notification-provider", &["push-notification"]),
    ("reselling-partner", &["reseller-follow-up"]),
    ("domain-registrar", &["domain-registration"]),
    ("business-partner", &["customer-support"]),
    ("public-authority", &["law-enforcement"]),
    ("acquirer", &["corporate-transaction"]),
];

/// The data that a route maps: personal data, or service data that a customer entrusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DataKind {
    Personal,
    Entrusted,
}

/// One request for an operation.
#[derive(Clone, Copy, Debug)]
struct OperationRequest {
    kind: &'static str,
    purpose: &'static str,
    operation: &'static str,
    fact: &'static str,
    /// True if the recipient is the person, or the administrator of the account.
    own: bool,
    data: DataKind,
}

/// True if the sentences of the policy permit the operation.
fn is_permitted(request: OperationRequest) -> bool {
    let OperationRequest { kind, purpose, operation, fact, own, data } = request;
    // A person unknown to the ledger is withheld, as for a release.
    if fact == "unknown" {
        return false;
    }
    let is_changed = match kind {
        // "Need to know": for the service and for support (G-6.4d, G-6.4f).
        "employee" | "contractor" | "affiliate" => {
            ["account-management", "customer-support"].contains(&purpose)
        }
        // G-6.10d: service data, for service and support.
        "sub-processor" => data == DataKind::Entrusted,
        // G-6.10f: what the user enabled, and nothing is destroyed.
        "user-integration" => operation != "destroy" && fact != "without-relation",
        // G-6.10e: certain profile information.
        "collaborator" => operation != "destroy" && data == DataKind::Personal,
        // G-6.10b2: its own service data.
        "customer-administrator" => {
            own && data == DataKind::Entrusted && ["service-provision", "customer-support"].contains(&purpose)
        }
        // G-6.8b to G-6.8f: its own data, each right by its own operation; about entrusted data it asks the customer.
        "data-subject" => {
            let right = [
                ("rectification", "alter"),
                ("erasure", "destroy"),
                ("objection", "collect"),
                ("restriction", "collect"),
            ];
            own && data == DataKind::Personal && right.contains(&(purpose, operation))
        }
        _ => false,
    };
    // Requests of the person themselves are not stopped (G-6.8c, G-6.8d, G-ch).
    let stands_against =
        kind != "data-subject" && ["erased", "restricted", "minor", "opted-out"].contains(&fact);
    // G-4b: service data are purged after 90 days.
    let is_purged = fact == "closed" && data == DataKind::Entrusted;
    is_changed && !stands_against && !is_purged
}

const VARIANTS: [(&str, &str); 3] =
    [("plain", ""), ("hidden", "hide-existence = true\n"), ("strict", "withheld = \"deny\"\n")];

fn routes() -> String {
    let mut text = String::new();
    for (variant, key) in VARIANTS {
        for (data, fields) in [
            ("people", r#"{ "@.name" = "name", "@.email" = "email", "@.status" = "non-personal" }"#),
            ("files", r#"{ "@.file" = "service-data", "@.status" = "non-personal" }"#),
        ] {
            text.push_str(&format!(
                "[[route]]\nname = \"{variant}-{data}\"\nupstream = \"crm\"\nmethods = [\"POST\", \"PATCH\", \"DELETE\"]\n\
                 path = \"/{variant}/{{account}}/{data}/{{id}}\"\nsubject = \"{{id}}\"\ncontroller = \"{{account}}\"\n{key}\
                 allow = [\"controller-by-path-alone\"]\nfields = {fields}\n"
            ));
        }
    }
    text
}

fn recipients() -> String {
    let mut text = String::new();
    for (kind, purposes) in KINDS {
        let purposes: Vec<String> = purposes.iter().map(|purpose| format!("\"{purpose}\"")).collect();
        let credential = match kind {
            "data-subject" => r#"{ jwt = { issuer = "https://id.test", claims = { azp = "portal" }, subject-claim = "sub" } }"#.to_owned(),
            "customer-administrator" => {
                r#"{ jwt = { issuer = "https://id.test", claims = { role = "administrator" }, controller-claim = "account" } }"#.to_owned()
            }
            _ => credential(kind),
        };
        text.push_str(&format!(
            "[[recipient]]\nname = \"{kind}\"\nkind = \"{kind}\"\ncountry = \"DE\"\npurposes = [{}]\nagreement = {{}}\n\
             credentials = [{credential}]\nallow = [\"purpose-without-rule\"]\n",
            purposes.join(", ")
        ));
    }
    text
}

fn start_gateway(more: &str) -> (Upstream, TestGateway, Issuer) {
    let upstream = Upstream::start();
    upstream.raw("*", answer("200 OK", "content-type: application/json\r\n", b"{}"));
    let issuer = Issuer::new();
    let config = format!("{}{}{}{}{more}", base(upstream.address), issuer.section(), recipients(), routes());
    let gateway = TestGateway::start(&config);
    let people = FACTS.iter().map(|(_, person, _)| *person).filter(|person| *person != "p-stranger");
    for person in people {
        gateway.record_event(person, KNOWN);
        if person != "p-alone" {
            gateway.record_event(
                person,
                r#"{"kind": "relation", "relation": "integration-enabled", "recipient": "user-integration"}"#,
            );
        }
    }
    gateway.record_event("p-erased", r#"{"kind": "erasure"}"#);
    gateway.record_event("p-restricted", r#"{"kind": "restriction"}"#);
    gateway.record_event("p-minor", r#"{"kind": "fact", "facts": {"minor": true}}"#);
    gateway.record_event("p-objected", r#"{"kind": "objection", "purpose": "marketing"}"#);
    for (kind, _) in KINDS.iter().filter(|(kind, _)| *kind != "data-subject") {
        gateway.record_event("p-opted-out", &json!({ "kind": "opt-out", "recipient": kind }).to_string());
    }
    let closed = br#"{"kind": "account-closed", "at": "2020-01-01T00:00:00Z"}"#;
    assert_eq!(gateway.post_admin("/v1/controllers/a-closed/events", closed).status, 200);
    (upstream, gateway, issuer)
}

/// Returns the header line with the credential of a recipient.
fn credential_header(issuer: &Issuer, kind: &str, own: bool, person: &str, account: &str) -> String {
    match kind {
        "data-subject" => {
            issuer.bearer(json!({ "azp": "portal", "sub": if own { person } else { "p-other" } }))
        }
        "customer-administrator" => issuer
            .bearer(json!({ "role": "administrator", "account": if own { account } else { "a-other" } })),
        _ => bearer(kind),
    }
}

/// Returns every request of the tables with its path, method and credential.
fn all_requests(issuer: &Issuer, variant: &str) -> Vec<(OperationRequest, String, &'static str, String)> {
    let mut all = Vec::new();
    for (kind, purposes) in KINDS {
        let has_own = ["data-subject", "customer-administrator"].contains(&kind);
        for &purpose in purposes {
            for (method, operation) in OPERATIONS {
                for (fact, person, account) in FACTS {
                    for own in if has_own { &[true, false][..] } else { &[false] } {
                        for (data, name) in [(DataKind::Personal, "people"), (DataKind::Entrusted, "files")] {
                            let request =
                                OperationRequest { kind, purpose, operation, fact, own: *own, data };
                            let path = format!("/{variant}/{account}/{name}/{person}");
                            all.push((
                                request,
                                path,
                                method,
                                credential_header(issuer, kind, *own, person, account),
                            ));
                        }
                    }
                }
            }
        }
    }
    all
}

/// Status and problem code of an answer.
type Outcome = (u16, String);

fn code(body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    problem["code"].as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn check(variant: &str, request: OperationRequest, outcome: &Outcome, reached: usize) {
    let (status, code) = (outcome.0, outcome.1.as_str());
    if is_permitted(request) {
        assert_eq!((status, reached), (200, 1), "{variant}: {request:?}: {outcome:?}");
        return;
    }
    assert_eq!(reached, 0, "{variant}: {request:?}: {outcome:?}");
    let refused = match variant {
        "hidden" => (status, code) == (404, "not-found"),
        _ => (status, code) == (403, "subject-withheld"),
    };
    // Operations that no rule can permit are refused before the subject is considered.
    let never = status == 403 && ["no-rule-permits", "legal-reference-missing"].contains(&code);
    assert!(refused || never, "{variant}: {request:?}: {outcome:?}");
}

#[test]
fn an_operation_that_the_policy_does_not_permit_never_reaches_the_upstream() {
    let (upstream, gateway, issuer) = start_gateway("");
    let (mut permitted, mut all) = (0, 0);
    for (variant, _) in VARIANTS {
        for (request, path, method, credential) in all_requests(&issuer, variant) {
            let before = upstream.requests();
            let purpose = format!("data-purpose: {}", request.purpose);
            let answer = http::send(gateway.address, method, &path, &[&credential, &purpose], b"");
            let outcome = (answer.status, code(&answer.body));
            check(variant, request, &outcome, upstream.requests() - before);
            permitted += usize::from(is_permitted(request));
            all += 1;
        }
    }
    assert!(permitted > 300 && all > 3 * permitted, "{permitted} of {all}");
}

#[test]
fn operations_over_http2_are_judged_alike() {
    let (upstream, gateway, issuer) = start_gateway("");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TokioIo::new(tokio::net::TcpStream::connect(gateway.address).await.unwrap());
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        for (request, path, method, credential) in all_requests(&issuer, "plain") {
            let before = upstream.requests();
            let http_request = Request::builder()
                .method(method)
                .uri(format!("http://api.example.org{path}"))
                .header("authorization", credential.trim_start_matches("authorization: "))
                .header("data-purpose", request.purpose)
                .body(Full::<Bytes>::default())
                .unwrap();
            let answer = send.send_request(http_request).await.unwrap();
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            check("plain", request, &(status, code(&body)), upstream.requests() - before);
        }
    });
}

const COLLECTIONS: &str = r#"
[[route]]
name = "collection"
upstream = "crm"
methods = ["POST"]
path = "/collection"
subject = "@.id"
controller = "@.account"
allow = ["operation-names-nobody"]
fields = { "@.name" = "name", "@.file" = "service-data" }

[[route]]
name = "of-account"
upstream = "crm"
methods = ["POST"]
path = "/of-account/{account}"
subject = "@.id"
controller = "{account}"
allow = ["operation-names-nobody", "controller-by-path-alone"]
fields = { "@.name" = "name", "@.file" = "service-data" }

[[route]]
name = "unread"
upstream = "crm"
methods = ["GET", "POST", "PATCH"]
path = "/unread/{id}"
personal = false
allow = ["operation-names-nobody", "route-not-personal"]

[[route]]
name = "statuses"
upstream = "crm"
methods = ["PATCH"]
path = "/statuses/{id}"
subject = "{id}"
fields = { "@.status" = "non-personal" }

[[route]]
name = "unread-person"
upstream = "crm"
methods = ["POST", "PATCH", "DELETE"]
path = "/passing/{account}/people/{id}"
personal = false
subject = "{id}"
controller = "{account}"
allow = ["route-not-personal"]

[[route]]
name = "unread-account"
upstream = "crm"
methods = ["PATCH"]
path = "/passing/{account}/settings"
personal = false
controller = "{account}"
allow = ["operation-names-nobody", "route-not-personal"]

[[route]]
name = "unread-strangers"
upstream = "crm"
methods = ["POST", "PATCH"]
path = "/unread-strangers/{id}"
personal = false
subject = ["{id}", "@.id"]
unknown-subject = "no-facts"
allow = ["route-not-personal"]

[[route]]
name = "posts"
upstream = "crm"
methods = ["PATCH", "DELETE"]
path = "/posts/{id}"
subject = "{id}"
fields = { "@.post" = "published" }

[[route]]
name = "signed-posts"
upstream = "crm"
methods = ["PATCH"]
path = "/signed-posts/{id}"
subject = "{id}"
fields = { "@.post" = "published", "@.author" = ["published", "name"] }

[[route]]
name = "counts"
upstream = "crm"
methods = ["PATCH"]
path = "/counts/{id}"
subject = "{id}"
fields = { "@.count" = "aggregate", "@.answers" = "de-identified" }

[[route]]
name = "strangers"
upstream = "crm"
methods = ["POST", "PATCH"]
path = "/strangers/{id}"
subject = ["{id}", "@.id"]
unknown-subject = "no-facts"
fields = { "@.name" = "name" }

[[route]]
name = "searches"
upstream = "crm"
methods = ["POST"]
path = "/searches"
operation = "disclose"
subject = "@.id"
fields = { "@.name" = "name" }

[[route]]
name = "links"
upstream = "crm"
path = "/links/{id}"
operation = "alter"
subject = "{id}"
fields = { "@.name" = "name" }
"#;

#[test]
fn an_operation_without_a_subject_in_its_path_is_permitted_only_by_rules_that_need_none() {
    let (upstream, gateway, issuer) = start_gateway(COLLECTIONS);
    let person = credential_header(&issuer, "data-subject", true, "p-known", "");
    let administrator = credential_header(&issuer, "customer-administrator", true, "", "a-open");
    let of_closed = credential_header(&issuer, "customer-administrator", true, "", "a-closed");
    let staff = bearer("employee");
    let integration = bearer("user-integration");
    for (credential, purpose, method, path, reaches) in [
        (&staff, "customer-support", "POST", "/collection", true),
        (&staff, "direct-marketing", "POST", "/collection", false),
        (&integration, "service-provision", "POST", "/collection", true),
        (&person, "objection", "POST", "/collection", false),
        (&administrator, "service-provision", "POST", "/collection", false),
        // The path identifies the account only.
        (&administrator, "service-provision", "POST", "/of-account/a-open", true),
        (&administrator, "service-provision", "POST", "/of-account/a-other", false),
        (&of_closed, "service-provision", "POST", "/of-account/a-closed", false),
        (&person, "objection", "POST", "/of-account/a-open", false),
        (&staff, "customer-support", "POST", "/of-account/a-open", true),
        // The route maps nothing and its path identifies nobody.
        (&staff, "customer-support", "PATCH", "/unread/p-erased", true),
        (&person, "rectification", "PATCH", "/unread/p-known", false),
        (&person, "rectification", "PATCH", "/statuses/p-known", true),
        (&person, "rectification", "PATCH", "/statuses/p-objected", false),
        (&staff, "customer-support", "PATCH", "/statuses/p-erased", false),
        // With `no-facts`, data of unknown people can be collected but not changed.
        (&staff, "customer-support", "POST", "/strangers/p-stranger", true),
        (&staff, "customer-support", "PATCH", "/strangers/p-stranger", false),
        (&staff, "customer-support", "PATCH", "/strangers/p-known", true),
        (&staff, "customer-support", "POST", "/strangers/p-erased", false),
        // The route sets the operation of its method.
        (&person, "access", "POST", "/searches", true),
        (&person, "rectification", "GET", "/links/p-known", true),
        (&person, "rectification", "GET", "/links/p-objected", false),
        (&person, "rectification", "HEAD", "/links/p-objected", false),
    ] {
        let before = upstream.requests();
        let answer = http::send(
            gateway.address,
            method,
            path,
            &[credential, &format!("data-purpose: {purpose}")],
            b"",
        );
        let reached = upstream.requests() - before;
        assert_eq!(reached, usize::from(reaches), "{purpose} {method} {path}: {}", answer.text());
        assert_eq!(
            answer.status,
            if reaches { 200 } else { 403 },
            "{purpose} {method} {path}: {}",
            answer.text()
        );
    }
}

#[test]
fn an_operation_on_an_unread_route_is_judged_by_the_subject_of_the_path() {
    let (upstream, gateway, issuer) = start_gateway(COLLECTIONS);
    let credentials = |kind: &str, person: &str| credential_header(&issuer, kind, true, person, "a-open");
    let mut permitted = 0;
    for (kind, purposes) in KINDS {
        // Permitted if any data of the subject may be changed.
        let may = |request: OperationRequest| {
            [DataKind::Personal, DataKind::Entrusted]
                .into_iter()
                .any(|data| is_permitted(OperationRequest { data, ..request }))
        };
        for &purpose in purposes {
            for (method, operation) in OPERATIONS {
                for (fact, person, account) in FACTS.iter().filter(|(fact, ..)| *fact != "closed") {
                    let request = OperationRequest {
                        kind,
                        purpose,
                        operation,
                        fact,
                        own: true,
                        data: DataKind::Personal,
                    };
                    let path = format!("/passing/{account}/people/{person}");
                    let headers = [&*credentials(kind, person), &format!("data-purpose: {purpose}")];
                    let before = upstream.requests();
                    let answer = http::send(gateway.address, method, &path, &headers, b"");
                    let reached = upstream.requests() - before;
                    let context = format!("{request:?}: {}", answer.text());
                    assert_eq!(
                        (reached, answer.status == 200),
                        (usize::from(may(request)), may(request)),
                        "{context}"
                    );
                    permitted += reached;
                }
            }
        }
    }
    assert!(permitted > 50, "{permitted}");
}

#[test]
fn an_operation_on_data_that_are_not_personal_is_judged_by_the_subject_of_the_path() {
    let (upstream, gateway, issuer) = start_gateway(COLLECTIONS);
    let person = credential_header(&issuer, "data-subject", true, "p-known", "");
    let administrator = credential_header(&issuer, "customer-administrator", true, "", "a-open");
    let staff = bearer("employee");
    let reaches = |credential: &String, purpose: &str, method: &str, path: &str, reaches: bool| {
        let before = upstream.requests();
        let headers = [&**credential, &format!("data-purpose: {purpose}")];
        let answer = http::send(gateway.address, method, path, &headers, b"");
        let outcome = (answer.status, upstream.requests() - before);
        let due = if reaches { (200, 1) } else { (403, 0) };
        assert_eq!(outcome, due, "{purpose} {method} {path}: {}", answer.text());
    };
    for route in ["statuses", "posts", "signed-posts", "counts"] {
        reaches(&staff, "customer-support", "PATCH", &format!("/{route}/p-known"), true);
        reaches(&staff, "customer-support", "PATCH", &format!("/{route}/p-erased"), false);
        reaches(&staff, "customer-support", "PATCH", &format!("/{route}/p-stranger"), false);
        reaches(&staff, "direct-marketing", "PATCH", &format!("/{route}/p-known"), false);
        reaches(&person, "rectification", "PATCH", &format!("/{route}/p-known"), true);
        reaches(&person, "rectification", "PATCH", &format!("/{route}/p-objected"), false);
    }
    reaches(&person, "erasure", "DELETE", "/posts/p-known", true);
    reaches(&person, "erasure", "DELETE", "/posts/p-objected", false);
    // The path identifies the account only.
    reaches(&administrator, "service-provision", "PATCH", "/passing/a-open/settings", true);
    reaches(&administrator, "service-provision", "PATCH", "/passing/a-other/settings", false);
    reaches(&person, "rectification", "PATCH", "/passing/a-open/settings", false);
    // People unknown to the ledger.
    reaches(&staff, "customer-support", "POST", "/unread-strangers/p-stranger", true);
    reaches(&staff, "customer-support", "PATCH", "/unread-strangers/p-stranger", false);
    reaches(&staff, "customer-support", "POST", "/unread-strangers/p-erased", false);
}

#[test]
fn a_refused_operation_is_logged_and_counted() {
    let (upstream, gateway, _issuer) = start_gateway("");
    let patch = |variant: &str, person: &str| {
        let path = format!("/{variant}/a-open/people/{person}");
        let headers = [&*bearer("employee"), "data-purpose: customer-support"];
        http::send(gateway.address, "PATCH", &path, &headers, br#"{"name": "Eve"}"#)
    };
    assert_eq!(patch("plain", "p-known").status, 200);
    gateway.record_event("p-known", r#"{"kind": "erasure"}"#);
    let refused = patch("plain", "p-known");
    assert_eq!((refused.status, code(&refused.body).as_str()), (403, "subject-withheld"));
    assert!(refused.text().contains("The API was not called"), "{}", refused.text());
    assert_eq!(upstream.requests(), 1);
    gateway.wait_for_log("refused:subject-withheld");
    let id = refused.decision();
    let record = gateway.decision(&id);
    assert_eq!(
        (&record["operation"], &record["outcome"], &record["factors"]["subjects"]),
        (&json!("alter"), &json!("refused:subject-withheld"), &json!("refuses")),
        "{record}"
    );
    let metrics = gateway.metrics();
    let counted = r#"purposegate_refusals_total{code="subject-withheld",recipient="employee"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    let called = r#"purposegate_upstream_requests_total{status_class="2xx",upstream="crm"} 1"#;
    let failed = r#"purposegate_upstream_requests_total{status_class="error",upstream="crm"} 0"#;
    assert!(metrics.contains(called) && metrics.contains(failed), "{metrics}");

    // With `hide-existence`, a refused and an absent record look alike.
    upstream.raw("/hidden/a-open/people/p-alone", answer("404 Not Found", "", b""));
    let (hidden, absent) = (patch("hidden", "p-known"), patch("hidden", "p-alone"));
    let shape = |answer: &http::Answer| {
        let mut problem = answer.json();
        problem["decision"] = Value::Null;
        let names = answer.head.lines().skip(1).filter_map(|line| line.split(':').next());
        (answer.status, problem, names.map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(shape(&hidden), shape(&absent));
    assert_eq!(hidden.status, 404);
}

#[test]
fn evaluations_and_the_purpose_page_agree_with_the_gateway() {
    let (_upstream, gateway, issuer) = start_gateway(COLLECTIONS);
    let evaluated = |request: OperationRequest, person: &str, account: &str| {
        let own = |id: &str, other: &str| if request.own { id.to_owned() } else { other.to_owned() };
        let mut asker = json!({});
        match request.kind {
            "data-subject" => asker = json!({ "subject": own(person, "p-other") }),
            "customer-administrator" => asker = json!({ "controller": own(account, "a-other") }),
            _ => {}
        }
        let category = if request.data == DataKind::Personal { "email" } else { "service-data" };
        let question = json!({
            "subject": { "type": "recipient", "id": request.kind, "properties": asker },
            "action": { "name": request.purpose, "properties": { "operation": request.operation } },
            "resource": { "type": "data-category", "id": category,
                "properties": { "subject": person, "controller": account } },
        });
        let body = question.to_string();
        let answer = gateway.post_admin("/access/v1/evaluation", body.as_bytes()).json();
        answer["decision"].as_bool().unwrap_or_else(|| panic!("{answer}"))
    };
    for (request, path, ..) in all_requests(&issuer, "plain") {
        let mut steps = path.split('/').skip(2);
        let (account, person) = (steps.next().unwrap(), steps.nth(1).unwrap());
        assert_eq!(evaluated(request, person, account), is_permitted(request), "{request:?}");
    }

    let methods = |credential: &str, route: &str, purpose: &str| -> Vec<String> {
        let page = http::get(gateway.address, "/.well-known/data-purposes", &[credential]).json();
        let routes = page["routes"].as_array().unwrap().iter();
        let purposes =
            routes.filter(|known| known["route"] == route).flat_map(|route| route["purposes"].as_array());
        let entry = purposes.flatten().find(|entry| entry["purpose"] == purpose).cloned().unwrap_or_default();
        let methods = entry["methods"].as_array().cloned().unwrap_or_default();
        methods.iter().map(|method| method.as_str().unwrap().to_owned()).collect()
    };
    let person = credential_header(&issuer, "data-subject", true, "p-known", "");
    assert_eq!(methods(&person, "plain-people", "rectification"), ["PATCH"]);
    assert_eq!(methods(&person, "plain-files", "rectification"), [""; 0]);
    assert_eq!(methods(&person, "unread", "rectification"), ["GET"]);
    assert_eq!(methods(&person, "unread-person", "rectification"), ["PATCH"]);
    assert_eq!(methods(&person, "posts", "erasure"), ["DELETE"]);
    assert_eq!(methods(&person, "collection", "objection"), [""; 0]);
    assert_eq!(methods(&bearer("employee"), "collection", "customer-support"), ["POST"]);
    assert_eq!(methods(&bearer("employee"), "unread", "customer-support"), ["GET", "POST", "PATCH"]);
    let administrator = credential_header(&issuer, "customer-administrator", true, "", "a-open");
    assert_eq!(methods(&administrator, "of-account", "service-provision"), ["POST"]);
    assert_eq!(methods(&administrator, "collection", "service-provision"), [""; 0]);
}
