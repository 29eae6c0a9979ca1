//! Screening of requests: the paths, parameters, header fields and bodies that reach the upstream, and CORS for web
//! pages.

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::fixtures::{CUSTOMER, CUSTOMER_SCHEMA, KNOWN};
use crate::gateway::{TestGateway, base, bearer};
use crate::http::{self as wire, Answer};
use crate::upstream::{Upstream, answer};

const APP: &str = "https://app.example.org";

const ROUTES: &str = r#"
[[route]]
name = "customer"
upstream = "crm"
methods = ["GET", "POST", "DELETE"]
path = "/customers/{id}"
schema = "customer"
request-headers = ["X-Tenant"]
[route.query]
page = "non-personal"
email = "email"
[route.query.sort.values]
status = "non-personal"
"first name" = "name"
"name,email" = ["name", "email"]
"Straße" = "non-personal"
password_hash = "credential"
"" = "non-personal"
[route.query.order.values]
asc = "non-personal"
desc = "non-personal"

[[route]]
name = "removable"
upstream = "crm"
methods = ["DELETE"]
path = "/removable/{id}"
schema = "customer"
request-body = true

[[route]]
name = "open"
upstream = "crm"
path = "/open"
personal = false

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

[[route]]
name = "page"
upstream = "crm"
methods = ["GET", "POST"]
path = "/page/{id}"
schema = "customer"
request-headers = ["X-Tenant"]
answer-headers = ["X-Total", "Access-Control-Allow-Origin"]
cors = { origins = ["https://app.example.org", "http://localhost:3000"] }

[[route]]
name = "page-removal"
upstream = "crm"
methods = ["DELETE"]
path = "/page/{id}"
schema = "customer"

[[route]]
name = "open-page"
upstream = "crm"
path = "/open-page"
personal = false
cors = { origins = ["https://app.example.org"] }
"#;

fn start_gateway() -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    for path in ["/customers/c-1", "/removable/c-1", "/open", "/v1/customers:search", "/v1/x", "/page/c-1"] {
        upstream.json(path, CUSTOMER);
    }
    let gateway = TestGateway::start(&format!("{}{CUSTOMER_SCHEMA}{ROUTES}", base(upstream.address)));
    gateway.record_event("c-1", KNOWN);
    (upstream, gateway)
}

/// Sends a request of `support` for `customer-support`.
fn ask(gateway: &TestGateway, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    gateway.send(method, path, ("support", "customer-support"), headers, body)
}

fn malformed() -> (u16, String) {
    (400, "request-malformed".to_owned())
}

fn withheld() -> (u16, String) {
    (422, "query-on-withheld-field".to_owned())
}

#[test]
fn a_body_without_meaning_is_refused_and_not_forwarded() {
    let (upstream, gateway) = start_gateway();
    let query = br#"{"query": {"password": "h"}}"#;
    for path in ["/customers/c-1", "/open", "/.well-known/data-purposes"] {
        let refused = ask(&gateway, "GET", path, &[], query);
        assert_eq!(refused.outcome(), malformed(), "{path}");
        assert_eq!(refused.header("connection"), Some("close"));
        assert!(refused.json()["detail"].as_str().unwrap().contains("no body"));
    }
    assert_eq!(ask(&gateway, "HEAD", "/customers/c-1", &[], query).status, 400);
    assert_eq!(ask(&gateway, "DELETE", "/customers/c-1", &[], b"{}").outcome(), malformed());
    let chunked = format!(
        "GET /customers/c-1 HTTP/1.1\r\nhost: x\r\n{}\r\ndata-purpose: customer-support\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n",
        bearer("support")
    );
    assert_eq!(wire::raw(gateway.address, chunked.as_bytes()).outcome(), malformed());
    assert_eq!(upstream.requests(), 0);
    // A length of 0 means no body; a POST may have a body.
    assert_eq!(ask(&gateway, "GET", "/customers/c-1", &["content-length: 0"], b"").status, 200);
    assert_eq!(ask(&gateway, "DELETE", "/customers/c-1", &["content-length: 0"], b"").status, 200);
    assert_eq!(ask(&gateway, "POST", "/customers/c-1", &[], b"{}").status, 200);
    assert_eq!(ask(&gateway, "DELETE", "/removable/c-1", &[], b"{}").status, 200);
    let coded = ask(&gateway, "POST", "/customers/c-1", &["content-encoding: gzip"], b"{}");
    assert_eq!(coded.outcome(), malformed());
}

/// Sends one request over HTTP/2 and returns the status.
fn over_http2(
    gateway: &TestGateway,
    request: Request<http_body_util::combinators::UnsyncBoxBody<Bytes, hyper::Error>>,
) -> u16 {
    let address = gateway.address;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let stream = TokioIo::new(tokio::net::TcpStream::connect(address).await.unwrap());
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let response = send.send_request(request).await.unwrap();
        response.status().as_u16()
    })
}

fn http2_request(method: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri("http://api.example.org/customers/c-1")
        .header("authorization", bearer("support").trim_start_matches("authorization: "))
        .header("data-purpose", "customer-support")
}

#[test]
fn requests_over_http2_are_screened_alike() {
    let (upstream, gateway) = start_gateway();
    let none = || Full::<Bytes>::default().map_err(|never| match never {}).boxed_unsync();
    let some = || Full::from("{}").map_err(|never| match never {}).boxed_unsync();
    for method in ["GET", "HEAD", "DELETE"] {
        assert_eq!(over_http2(&gateway, http2_request(method).body(some()).unwrap()), 400, "{method}");
    }
    for value in [" b", "b\t"] {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        let request = http2_request("GET").header("x-a", value).body(none()).unwrap();
        assert_eq!(over_http2(&gateway, request), 400);
    }
    // The stream is open, so the body may still have data.
    let open = StreamBody::new(futures_util::stream::pending());
    assert_eq!(over_http2(&gateway, http2_request("GET").body(BodyExt::boxed_unsync(open)).unwrap()), 400);
    assert_eq!(upstream.requests(), 0);
    assert_eq!(over_http2(&gateway, http2_request("GET").body(none()).unwrap()), 200);
    let seen = upstream.seen.lock().unwrap().concat().to_ascii_lowercase();
    assert!(seen.contains("via: 2.0 purposegate\r\n") && seen.contains("host=\"api.example.org\""), "{seen}");
    assert!(!seen.contains("content-length") && !seen.contains("transfer-encoding"), "{seen}");
}

#[test]
fn the_upstream_receives_listed_headers_and_those_of_the_gateway() {
    let (upstream, gateway) = start_gateway();
    let headers = [
        "x-forwarded-for: 9.9.9.9",
        "x-forwarded-host: evil.example",
        "x-forwarded-proto: gopher",
        "x-forwarded-user: root",
        "forwarded: for=9.9.9.9",
        "x-real-ip: 9.9.9.9",
        "x-original-uri: /admin",
        "x-user-id: 9.9.9.9",
        "x-remote-user: root",
        "prefer: respond-async",
        "cookie: session=root",
        "via: 1.1 evil",
        "x-data-purpose: root",
        "data-purpose-applied: root",
        "x-tenant: acme",
        "accept: application/json",
        "accept-language: de",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "idempotency-key: k-1",
        "x-request-id: r-1",
        "user-agent: curl",
    ];
    let released = ask(&gateway, "GET", "/customers/c-1", &headers, b"");
    assert_eq!(released.status, 200, "{}", released.text());
    assert_eq!(released.header("via"), Some("1.1 purposegate"));
    let open = ask(&gateway, "GET", "/open", &headers, b"");
    assert_eq!((open.status, open.header("via")), (200, Some("1.1 purposegate")));
    let heads = upstream.seen.lock().unwrap().clone();
    for (head, tenant) in heads.iter().zip([true, false]) {
        let mut lines: Vec<String> =
            head.lines().skip(1).filter(|line| !line.is_empty()).map(str::to_lowercase).collect();
        lines.sort_unstable();
        let authority = gateway.address;
        let mut expected = vec![
            "accept-encoding: identity".to_owned(),
            "accept-language: de".to_owned(),
            "accept: application/json".to_owned(),
            format!("forwarded: for=127.0.0.1;host=\"{authority}\";proto=http"),
            format!("host: {}", upstream.address),
            "idempotency-key: k-1".to_owned(),
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            "user-agent: curl".to_owned(),
            "via: 1.1 purposegate".to_owned(),
            "x-forwarded-for: 127.0.0.1".to_owned(),
            format!("x-forwarded-host: {authority}"),
            "x-forwarded-proto: http".to_owned(),
            "x-request-id: r-1".to_owned(),
        ];
        expected.extend(tenant.then(|| "x-tenant: acme".to_owned()));
        assert_eq!(lines, expected);
    }
}

#[test]
fn only_listed_values_of_a_query_parameter_pass() {
    let (upstream, gateway) = start_gateway();
    let get = |query: &str| ask(&gateway, "GET", &format!("/customers/c-1?{query}"), &[], b"");
    for query in [
        "sort=email",
        "sort=password_hash",
        "sort=password%5Fhash",
        "sort=status,password_hash",
        "sort=email,name",
        "sort=-status",
        "sort=status:password_hash",
        "sort=Status",
        "sort=status%20",
        "sort=status%00",
        "sort=status&sort=password_hash",
        // An upstream that joins the two values reads one that is not listed.
        "sort=status&sort=status",
        "sort=status&so%72t=first+name",
        "sort[]=status",
        "SORT=status",
        "order=asc&order=asc",
    ] {
        assert_eq!(get(query).outcome(), withheld(), "{query}");
    }
    for query in ["sort=%FF", "sort=status;password_hash", "so%FFrt=status"] {
        assert_eq!(get(query).outcome(), malformed(), "{query}");
    }
    assert_eq!(upstream.requests(), 0);
    for query in [
        "sort=status",
        "sort=%73tatus",
        "s%6Frt=status",
        "sort=first+name",
        "sort=first%20name",
        "sort=name,email",
        "sort=name%2Cemail",
        "sort=Stra%C3%9Fe",
        "sort=Stra%c3%9fe",
        "sort=",
        "sort",
        "sort=status&order=desc&page=1&page=2",
    ] {
        assert_eq!(get(query).outcome().0, 200, "{query}");
    }
}

#[test]
fn a_second_spelling_of_a_path_is_refused() {
    let (upstream, gateway) = start_gateway();
    let get = |path: &str| ask(&gateway, "GET", path, &[], b"");
    assert_eq!(get("/v1/customers:search").outcome(), (403, "purpose-not-permitted".to_owned()));
    for (path, response) in [
        ("/v1/customers%3Asearch", "`%3A` is a second spelling in a path: write `:`"),
        ("/v1/customers%3asearch", "write `:`"),
        ("/v1/a%40b", "write `@`"),
        ("/v1/a%2Cb", "write `,`"),
        ("/v1/caf%c3%a9", "`%c3` is a second spelling in a path: write `%C3`"),
        ("/v1/a\"b", "write `%22`"),
    ] {
        let refused = get(path);
        assert_eq!(refused.outcome(), malformed(), "{path}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(response), "{detail}");
        assert!(!detail.contains("search") && !detail.contains("caf"), "{detail}");
    }
    assert_eq!(upstream.requests(), 0);
    assert_eq!(get("/v1/x").status, 200);
    upstream.json("/v1/caf%C3%A9", CUSTOMER);
    assert_eq!(get("/v1/caf%C3%A9").status, 200);
}

/// Sends a CORS preflight as a browser does for a page of this origin.
fn preflight(gateway: &TestGateway, path: &str, origin: &str, method: &str) -> Answer {
    let headers = [
        format!("origin: {origin}"),
        format!("access-control-request-method: {method}"),
        "access-control-request-headers: authorization,data-purpose".to_owned(),
    ];
    wire::send(gateway.address, "OPTIONS", path, &headers.each_ref().map(String::as_str), b"")
}

fn list<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    answer.header(name).unwrap_or_default().split(", ").filter(|word| !word.is_empty()).collect()
}

#[test]
fn a_preflight_is_answered_by_the_gateway() {
    let (upstream, gateway) = start_gateway();
    for origin in [APP, "http://localhost:3000"] {
        for method in ["GET", "POST", "PATCH"] {
            let response = preflight(&gateway, "/page/c-1", origin, method);
            assert_eq!(response.status, 204, "{}", response.head);
            assert_eq!(response.header("access-control-allow-origin"), Some(origin));
            assert_eq!(response.header("vary"), Some("Origin"));
            assert_eq!(list(&response, "access-control-allow-methods"), ["GET", "POST", "HEAD"]);
            let headers = list(&response, "access-control-allow-headers");
            for name in [
                "data-purpose",
                "authorization",
                "x-api-key",
                "content-type",
                "ledger-position",
                "x-tenant",
                "idempotency-key",
            ] {
                assert!(headers.contains(&name), "{headers:?}");
            }
            assert!(response.header("access-control-max-age").is_some());
            assert!(response.header("access-control-allow-credentials").is_none());
        }
    }
    for (path, origin, method) in [
        ("/page/c-1", "https://evil.example", "GET"),
        ("/page/c-1", "https://app.example.org.evil.example", "GET"),
        ("/page/c-1", "https://APP.example.org", "GET"),
        ("/page/c-1", "http://app.example.org", "GET"),
        ("/page/c-1", "null", "GET"),
        // The method of another route, which lists no origins.
        ("/page/c-1", APP, "DELETE"),
        ("/customers/c-1", APP, "GET"),
        ("/nowhere", APP, "GET"),
        ("/open-page", "http://localhost:3000", "GET"),
    ] {
        let response = preflight(&gateway, path, origin, method);
        assert_eq!(response.outcome(), (405, "method-not-allowed".to_owned()), "{path} {origin} {method}");
        assert_eq!(response.header("allow"), Some(""), "a caller without a credential learns no method");
        assert!(!response.head.to_lowercase().contains("access-control-"), "{}", response.head);
    }
    // Other OPTIONS requests are refused as before.
    let plain = wire::send(gateway.address, "OPTIONS", "/page/c-1", &[&format!("origin: {APP}")], b"");
    assert_eq!(plain.outcome(), (405, "method-not-allowed".to_owned()));
    assert_eq!(plain.header("allow"), Some(""));
    let headers = [format!("origin: {APP}"), "access-control-request-method: GET".to_owned()];
    let headers = headers.each_ref().map(String::as_str);
    assert_eq!(wire::send(gateway.address, "OPTIONS", "/page/%63-1", &headers, b"").outcome(), malformed());
    assert_eq!(wire::send(gateway.address, "OPTIONS", "/page/c-1", &headers, b"{}").outcome(), malformed());
    assert_eq!(upstream.requests(), 0);
    assert!(!gateway.log().contains("page"), "a preflight is no disclosure");
}

#[test]
fn answers_and_refusals_carry_cors_headers() {
    let (upstream, gateway) = start_gateway();
    let head = "content-type: application/json\r\naccess-control-allow-origin: *\r\naccess-control-allow-credentials: true\r\nx-total: 1\r\n";
    for path in ["/page/c-1", "/open-page"] {
        upstream.raw(path, answer("200 OK", head, CUSTOMER.as_bytes()));
    }
    let origin = format!("origin: {APP}");
    let marked = |answer: &Answer| {
        let lines = answer.head.to_lowercase();
        let count = lines.matches("access-control-allow-origin").count();
        assert!(!lines.contains("access-control-allow-credentials"), "{lines}");
        assert!(answer.header("vary").is_some_and(|vary| vary.contains("Origin")), "{lines}");
        (count, answer.header("access-control-allow-origin").map(str::to_owned))
    };
    let readable = (1, Some(APP.to_owned()));
    let unreadable = (0, None);
    for path in ["/page/c-1", "/open-page"] {
        let released = ask(&gateway, "GET", path, &[&origin], b"");
        assert_eq!((released.status, marked(&released)), (200, readable.clone()), "{path}");
        let exposed = list(&released, "access-control-expose-headers");
        assert!(exposed.contains(&"data-purpose-applied") && exposed.contains(&"retry-after"), "{exposed:?}");
        assert_eq!(exposed.contains(&"x-total"), path == "/page/c-1");
        for headers in [&[][..], &["origin: https://evil.example"]] {
            let released = ask(&gateway, "GET", path, headers, b"");
            assert_eq!((released.status, marked(&released)), (200, unreadable.clone()), "{path} {headers:?}");
        }
    }
    // Also refusals that precede the choice of a route.
    let purpose = "data-purpose: customer-support";
    for (method, headers, status) in [
        ("GET", vec![purpose], 401),
        ("GET", vec![purpose, "authorization: Bearer nobody"], 401),
        ("GET", vec!["x_y: 1"], 400),
        ("PATCH", vec![purpose], 401),
    ] {
        let headers = [&headers[..], &[&origin]].concat();
        let refused = wire::send(gateway.address, method, "/page/c-1", &headers, b"");
        assert_eq!((refused.status, marked(&refused)), (status, readable.clone()), "{method} {headers:?}");
    }
    upstream.raw("/page/c-1", answer("404 Not Found", head, b"{}"));
    let refused = ask(&gateway, "GET", "/page/c-1", &[&origin], b"");
    assert_eq!((refused.outcome(), marked(&refused)), ((404, "upstream-refused".to_owned()), readable));
    let elsewhere = ask(&gateway, "GET", "/customers/c-1", &[&origin], b"");
    assert!(elsewhere.status == 200 && !elsewhere.head.to_lowercase().contains("access-control"));
}
