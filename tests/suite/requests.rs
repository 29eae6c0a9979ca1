//! Requests on their way to the upstream: which paths go on.

use serde_json::Value;

use crate::gate::{Gate, base, bearer};
use crate::http::{self as wire, Answer};
use crate::upstream::Upstream;

const CUSTOMER: &str =
    r#"{"id": "c-1", "name": "Ada Example", "email": "ada@example.org", "status": "active"}"#;

const ROUTES: &str = r#"
[[schema]]
name = "customer"
subject = "@.id"
[schema.fields]
"@.id" = "subject-identifier"
"@.name" = "name"
"@.email" = "email"
"@.status" = "non-personal"

[[route]]
name = "search"
upstream = "crm"
path = "/v1/customers:search"
purposes = ["account-management"]
schema = "customer"

[[route]]
name = "collection"
upstream = "crm"
path = "/v1/{collection}"
schema = "customer"
"#;

fn house() -> (Upstream, Gate) {
    let upstream = Upstream::start();
    for path in ["/v1/customers:search", "/v1/x"] {
        upstream.json(path, CUSTOMER);
    }
    let gate = Gate::start(&format!("{}{ROUTES}", base(upstream.address)));
    gate.tell("c-1", r#"{"kind": "fact", "facts": {"region": "EEA"}}"#);
    (upstream, gate)
}

/// A request of `support` for `customer-support`.
fn ask(gate: &Gate, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    let own = [bearer("support"), "data-purpose: customer-support".to_owned()];
    let headers: Vec<&str> = own.iter().map(String::as_str).chain(headers.iter().copied()).collect();
    wire::send(gate.address, method, path, &headers, body)
}

/// The status, and the code of the problem there is.
fn outcome(answer: &Answer) -> (u16, String) {
    let problem = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    (answer.status, problem["code"].as_str().unwrap_or_default().to_owned())
}

fn malformed() -> (u16, String) {
    (400, "request-malformed".to_owned())
}

#[test]
fn a_path_has_one_spelling_and_its_rules() {
    let (upstream, gate) = house();
    let get = |path: &str| ask(&gate, "GET", path, &[], b"");
    assert_eq!(outcome(&get("/v1/customers:search")), (403, "purpose-not-permitted".to_owned()));
    for (path, told) in [
        ("/v1/customers%3Asearch", "`%3A` is a second spelling in a path: write `:`"),
        ("/v1/customers%3asearch", "write `:`"),
        ("/v1/a%40b", "write `@`"),
        ("/v1/a%2Cb", "write `,`"),
        ("/v1/caf%c3%a9", "`%c3` is a second spelling in a path: write `%C3`"),
        ("/v1/a\"b", "write `%22`"),
    ] {
        let refused = get(path);
        assert_eq!(outcome(&refused), malformed(), "{path}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(told), "{detail}");
        assert!(!detail.contains("search") && !detail.contains("caf"), "{detail}");
    }
    assert_eq!(upstream.requests(), 0);
    assert_eq!(get("/v1/x").status, 200);
    upstream.json("/v1/caf%C3%A9", CUSTOMER);
    assert_eq!(get("/v1/caf%C3%A9").status, 200);
}
