//! Keys that the gateway fetches from a token issuer.

use serde_json::json;

use crate::fixtures::{CUSTOMER_ROUTES, NOTICE, person};
use crate::gateway::{TestGateway, base, bearer, wait_until};
use crate::http::{self, Answer};
use crate::tls_server::TlsServer;
use crate::token_issuer::{Issuer, SECTION, URL};
use crate::upstream::{Upstream, answer};

/// An issuer that publishes its keys at this address, with these further lines.
fn start_gateway(upstream: &Upstream, jwks_uri: &str, more: &str) -> TestGateway {
    upstream.json("/customers/p-1", &person("p-1"));
    let staff = format!(
        "[[recipient]]\nname = \"desk\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"customer-support\"]\n\
         credentials = [{{ jwt = {{ issuer = \"{URL}\", claims = {{ role = \"desk\" }} }} }}]\n"
    );
    let issuer = format!("{SECTION}jwks-uri = \"{jwks_uri}\"\n{more}\n");
    let gateway = TestGateway::start(&format!("{}{issuer}{staff}{CUSTOMER_ROUTES}", base(upstream.address)));
    gateway.record_event("p-1", NOTICE);
    gateway
}

fn ask(gateway: &TestGateway, credential: &str) -> Answer {
    http::get(gateway.address, "/customers/p-1", &[credential, "data-purpose: customer-support"])
}

fn is_accepted(gateway: &TestGateway, issuer: &Issuer) -> bool {
    let answer = ask(gateway, &issuer.bearer(json!({ "role": "desk" })));
    match answer.status {
        200 => true,
        _ => {
            assert_eq!(answer.outcome(), (401, "credential-invalid".to_owned()));
            false
        }
    }
}

fn metric(gateway: &TestGateway, name: &str) -> f64 {
    let metrics = gateway.metrics();
    let line = metrics.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(f64::NAN)
}

fn refreshes(gateway: &TestGateway, outcome: &str) -> f64 {
    let labels = format!("{{issuer=\"{URL}\",outcome=\"{outcome}\"}}");
    metric(gateway, &format!("purposegate_issuer_refresh_total{labels}"))
}

#[test]
fn keys_are_fetched_and_a_rotation_is_followed() {
    let upstream = Upstream::start();
    let (old, new) = (Issuer::with_key(7, "2026-1"), Issuer::with_key(8, "2026-2"));
    let uri = format!("http://{}/jwks?tenant=1", upstream.address);
    // The issuer is down when the gateway starts.
    let gateway = start_gateway(&upstream, &uri, "jwks-refresh = \"1s\"");
    assert!(!is_accepted(&gateway, &old), "without keys no token counts");
    assert_eq!(ask(&gateway, &bearer("support")).status, 200, "other credentials do");
    assert_eq!(metric(&gateway, "purposegate_issuer_keys_age_seconds"), f64::INFINITY);
    wait_until(|| refreshes(&gateway, "failed") >= 1.0);

    upstream.json("/jwks", &old.key_set());
    wait_until(|| is_accepted(&gateway, &old));
    assert!(metric(&gateway, "purposegate_issuer_keys_age_seconds") < 60.0);
    assert!(!is_accepted(&gateway, &new));
    wait_until(|| refreshes(&gateway, "confirmed") >= 1.0);

    upstream.json("/jwks", &new.key_set());
    wait_until(|| is_accepted(&gateway, &new));
    assert!(!is_accepted(&gateway, &old), "the old key is not published any more");
    assert_eq!(refreshes(&gateway, "changed"), 2.0);

    // Answers that are no keys leave the known ones in force.
    let secret = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }).to_string();
    let large = format!("{}{}", old.key_set(), " ".repeat(256 << 10));
    let redirect = answer("302 Found", &format!("location: http://{}/other\r\n", upstream.address), b"");
    upstream.json("/other", &old.key_set());
    for wrong in [
        answer("200 OK", "", secret.as_bytes()),
        answer("200 OK", "", large.as_bytes()),
        answer("503 Service Unavailable", "", old.key_set().as_bytes()),
        redirect,
    ] {
        let failed = refreshes(&gateway, "failed");
        upstream.raw("/jwks", wrong);
        wait_until(|| refreshes(&gateway, "failed") > failed + 1.0);
        assert!(is_accepted(&gateway, &new) && !is_accepted(&gateway, &old));
    }
    let asked = upstream.seen.lock().unwrap().iter().any(|head| head.starts_with("GET /other"));
    assert!(!asked, "a redirect is not followed");
}

#[test]
fn a_token_cannot_choose_a_weaker_algorithm() {
    let upstream = Upstream::start();
    let issuer = Issuer::with_key(7, "k");
    upstream.json("/jwks", &issuer.key_set());
    let gateway = start_gateway(&upstream, &format!("http://{}/jwks", upstream.address), "");
    wait_until(|| is_accepted(&gateway, &issuer));
    for header in [json!({ "alg": "none" }), json!({ "alg": "HS256", "kid": "k" })] {
        let token = issuer.bearer_with(&header, json!({ "role": "desk" }));
        assert_eq!(ask(&gateway, &token).outcome(), (401, "credential-invalid".to_owned()), "{header}");
    }
}

#[test]
fn the_server_of_the_keys_is_verified() {
    let upstream = Upstream::start();
    let issuer = Issuer::with_key(7, "k");
    let server = TlsServer::start("200 OK", &issuer.key_set());
    let other = TlsServer::start("200 OK", "{}");
    let uri = format!("https://localhost:{}/jwks", server.port);
    let refused = start_gateway(&upstream, &uri, &format!("ca = {:?}", other.ca()));
    wait_until(|| refreshes(&refused, "failed") >= 1.0);
    assert!(!is_accepted(&refused, &issuer));
    let gateway = start_gateway(&upstream, &uri, &format!("ca = {:?}", server.ca()));
    wait_until(|| is_accepted(&gateway, &issuer));
    assert!(server.last_head().starts_with("GET /jwks HTTP/1.1"), "{}", server.last_head());
}

#[test]
fn mistakes_about_published_keys_are_found() {
    let found = |lines: &str| {
        let (folder, file) = crate::program::write_config(&format!(
            "{}{SECTION}{lines}\n",
            base("127.0.0.1:9".parse().unwrap())
        ));
        let (_, findings) = purposegate::config::load(&file);
        drop(folder);
        let errors = findings.iter().filter(|finding| finding.is_error());
        errors.map(|finding| finding.code().to_owned()).collect::<Vec<String>>()
    };
    assert_eq!(found("jwks-uri = \"http://127.0.0.1:8/jwks\""), Vec::<String>::new());
    for (lines, code) in [
        ("", "issuer-keys-source"),
        ("keys = \"x\"\njwks-uri = \"https://id.example/jwks\"", "issuer-keys-source"),
        ("jwks-uri = \"http://id.example/jwks\"", "bad-jwks-uri"),
        ("jwks-uri = \"id.example/jwks\"", "bad-jwks-uri"),
        ("jwks-uri = \"http://127.0.0.1:8/jwks\"\njwks-refresh = \"0s\"", "bad-jwks-times"),
        ("jwks-uri = \"http://127.0.0.1:8/jwks\"\njwks-lifetime = \"5m\"", "bad-jwks-times"),
        ("jwks-uri = \"https://localhost:8/jwks\"\nca = \"none.pem\"", "no-such-file"),
        ("jwks-uri = \"https://localhost:8/jwks\"\nca = \"purposegate.toml\"", "bad-tls"),
    ] {
        assert_eq!(found(lines), [code], "{lines}");
    }
    let (folder, file) = crate::program::write_config(&format!(
        "{}{SECTION}jwks-uri = \"http://127.0.0.1:8/jwks\"\n",
        base("127.0.0.1:9".parse().unwrap())
    ));
    let (loaded, findings) = purposegate::config::load_for_layer(&file);
    drop(folder);
    assert!(loaded.is_none() && findings.iter().any(|finding| finding.code() == "issuer-keys-source"));
}
