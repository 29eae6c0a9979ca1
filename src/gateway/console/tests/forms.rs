//! Forms: where they come from.

use super::*;

const KIND: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const OWN: (&str, &str) = ("origin", "http://localhost");
const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");

#[tokio::test]
async fn a_form_comes_from_a_page_of_this_listener() {
    let mut console = TestConsole::with_actors(&[("ops", &[AdminRole::Operator])]).await;
    console.sign_in("ops").await;
    let form = format!("form-token={}", console.get("/").await.form_token());
    for headers in [
        &[KIND][..],
        &[KIND, SAME],
        &[KIND, ("origin", "http://evil.example")],
        &[KIND, ("origin", "https://localhost")],
        &[KIND, ("origin", "http://localhost:1")],
        &[KIND, ("origin", "null")],
        &[KIND, ("origin", "")],
        &[KIND, OWN, OWN],
        &[KIND, OWN, ("sec-fetch-site", "same-site")],
        &[KIND, OWN, ("sec-fetch-site", "cross-site")],
        &[KIND, OWN, ("sec-fetch-site", "none")],
        &[KIND, OWN, SAME, ("sec-fetch-site", "cross-site")],
    ] {
        let answer = console.send(Method::POST, "/sign-out", headers, &form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
        assert!(answer.body.contains("request-foreign"), "{headers:?}");
    }
    assert_eq!(console.get("/").await.status, StatusCode::OK, "nothing happened");
    let answer = console.send(Method::POST, "/sign-out", &[KIND, OWN], &form).await;
    assert_eq!(answer.location(), "/sign-in", "old browsers send no `Sec-Fetch-Site`");
}

#[tokio::test]
async fn a_link_of_another_site_leads_to_pages_that_record_nothing() {
    let console = TestConsole::open().await;
    let ask = async |path: &str, site: &str, mode: &str, dest: &str| {
        let headers = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
        console.send(Method::GET, path, &headers, "").await
    };
    let acts = ["/console/decisions", "/console/decisions/01M8HSMCDZ7JP0DJMTP6MWK1K8", "/console/subjects/x"];
    for site in ["cross-site", "same-site"] {
        for path in acts {
            let answer = ask(path, site, "navigate", "document").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{site} {path}");
            assert!(answer.body.contains("request-foreign"), "{}", answer.body);
        }
        let outlines = ["/console/requests", "/console/notices", "/console/cases", "/console/subjects"];
        for path in ["/", "/console/routes", "/console/try?recipient=support"].into_iter().chain(outlines) {
            assert_eq!(ask(path, site, "navigate", "document").await.status, StatusCode::OK, "{path}");
            for (mode, dest) in [("no-cors", "image"), ("navigate", "iframe"), ("cors", "empty")] {
                assert_eq!(ask(path, site, mode, dest).await.status, StatusCode::FORBIDDEN, "{path} {dest}");
            }
        }
    }
    assert!(console.admin.acts().is_empty());
    assert_eq!(ask("/console/decisions", "same-origin", "navigate", "document").await.status, StatusCode::OK);
    assert_eq!(console.admin.acts().len(), 1);
}

#[tokio::test]
async fn a_form_has_the_token_of_its_session() {
    let actors: [(&str, &[AdminRole]); 1] = [("ops", &[AdminRole::Operator])];
    let mut console = TestConsole::with_actors(&actors).await;
    let of_the_process = console.get("/sign-in").await.form_token();
    console.sign_in("ops").await;
    let of_an_earlier_session = console.get("/").await.form_token();
    console.cookie = None;
    console.sign_in("ops").await;
    let own = console.get("/").await.form_token();
    let mut other = TestConsole::with_actors(&actors).await;
    other.sign_in("ops").await;
    let of_another_process = other.get("/").await.form_token();
    for form in [
        String::new(),
        "form-token=".to_owned(),
        format!("form-token={of_the_process}"),
        format!("form-token={of_an_earlier_session}"),
        format!("form-token={of_another_process}"),
        format!("form-token={own}x"),
    ] {
        let answer = console.post("/sign-out", &form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{form}");
    }
    let twice = console.post("/sign-out", &format!("form-token={own}&form-token={own}")).await;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
    let large = console.post("/sign-out", &format!("form-token={own}&x={}", "x".repeat(64 * 1024))).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(console.get("/").await.status, StatusCode::OK, "nothing happened");
    assert_eq!(console.post("/sign-out", &format!("form-token={own}")).await.location(), "/sign-in");
}

#[tokio::test]
async fn signing_in_needs_a_form_of_this_process() {
    let mut console = TestConsole::with_actors(&[("ops", &[AdminRole::Operator])]).await;
    let answer = console.post("/sign-in", "token=pga_ops").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let token = console.get("/sign-in").await.form_token();
    let form = format!("form-token={token}&token=pga_ops");
    let answer =
        console.send(Method::POST, "/sign-in", &[KIND, ("origin", "http://evil.example")], &form).await;
    assert_eq!((answer.status, answer.header(SET_COOKIE)), (StatusCode::FORBIDDEN, ""));
    assert_eq!(console.sign_in("ops").await.status, StatusCode::SEE_OTHER);
}
