//! The pages of recipients: what is registered, suspending and resuming, long lists.

use super::*;

const PARTNERS: &str = r#"
[[recipient]]
name = "acme"
kind = "business-partner"
country = "US"
legal-name = "Acme Ltd."
purposes = ["direct-marketing"]
agreement = { type = "processor", reference = "DPA-2026-014", until = 9999-12-30 }
credentials = [{ certificate = "spiffe://example.org/acme", purpose = "direct-marketing" }]
[[recipient]]
name = "old"
kind = "employee"
suspended = true
agreement = { until = 2020-01-31 }
"#;

async fn signed_in(sections: &str, roles: &[AdminRole]) -> TestConsole {
    let mut console = TestConsole::with_sections(&[("ops", roles)], sections).await;
    console.sign_in("ops").await;
    console
}

#[tokio::test]
async fn a_recipient_shows_its_registration_and_no_secret() {
    let console = signed_in(PARTNERS, &[AdminRole::Read]).await;
    let list = console.get("/console/recipients").await;
    assert_has(
        &list.body,
        &["3 in all", "Acme Ltd.", "in force until 9999-12-30", "ended with 2020-01-31", "direct-marketing"],
    );
    for (query, kept) in [
        ("name=ACM&kind=&state=", "acme"),
        ("name=&kind=&state=suspended", "old"),
        ("name=&kind=&state=agreement", "old"),
        ("name=sup&kind=employee&state=", "support"),
    ] {
        let list = console.get(&format!("/console/recipients?{query}")).await;
        assert_has(&list.body, &["1 in all", &format!("href=\"/console/recipients/{kept}\"")]);
    }
    assert_has(&console.get("/console/recipients?name=nobody").await.body, &["No recipient is like that"]);
    let page = console.get("/console/recipients/acme").await;
    assert_eq!(page.title(), "Recipient acme · purposegate");
    assert_has(
        &page.body,
        &[
            "Recipient acme",
            "DPA-2026-014",
            "processor",
            "client certificate",
            "spiffe://example.org/acme",
            "href=\"/console/routes/people\"",
            "It was never suspended",
            "not suspended",
        ],
    );
    assert!(!page.body.contains("<button class=\"danger\""), "the role only reads");
    let support = console.get("/console/recipients/support").await.body;
    let digits: String = crate::credentials::hash(crate::exchange::flow::tests::KEY.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_has(&support, &["API key", &format!("sha256:{}…", digits.get(..12).unwrap())]);
    assert!(!support.contains(&digits), "the whole hash is nobody's business");
    let old = console.get("/console/recipients/old").await.body;
    assert_has(&old, &["The configuration suspends it", "No route serves a purpose of it", "It has none"]);
    assert_eq!(console.get("/console/recipients/nobody").await.status, StatusCode::NOT_FOUND);
    assert!(console.admin.acts().is_empty(), "nothing of it is about a person");
}

#[tokio::test]
async fn a_recipient_is_suspended_and_resumed_with_a_reason_after_a_question() {
    let console = signed_in(PARTNERS, &[AdminRole::Read, AdminRole::Operator]).await;
    let is_suspended = || console.admin.state.shared.ledger.is_suspended("acme");
    const EVENTS: &str = "/console/recipients/acme/events";
    let question = console.form(EVENTS, "once=abc&kind=suspended").await;
    assert_eq!(question.status, StatusCode::OK);
    assert_has(&question.body, &["Suspend acme?", "recipient-suspended", "name=\"reason\"", "value=\"abc\""]);
    console.form(EVENTS, "once=abc&kind=suspended&confirmed=yes&reason=x").await;
    let without = console.confirm(EVENTS, "once=abc&kind=suspended", "&reason=+").await;
    assert_eq!(without.status, StatusCode::BAD_REQUEST);
    let again = [
        "Suspend acme?",
        "Nothing was recorded.",
        "Give a reason. It is recorded.",
        "value=\"abc\"",
        "<title>Error: ",
    ];
    assert_has(&without.body, &again);
    let long = format!("&reason={}", "x".repeat(4097));
    let refused = console.confirm(EVENTS, "once=abc&kind=suspended", &long).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
    assert_has(&refused.body, &["Suspend acme?", &"x".repeat(4097), "aria-invalid=\"true\""]);
    // The page that asks again can be answered as the first one.
    assert_eq!(refused.hidden("confirmed"), question.hidden("confirmed"));
    assert!(!is_suspended(), "nothing happened");
    for _ in 0..2 {
        let recorded = console.confirm(EVENTS, "once=abc&kind=suspended", "&reason=breach+%3Cb%3E4711").await;
        assert_eq!(recorded.location(), "/console/recipients/acme#suspension", "{}", recorded.body);
    }
    assert!(is_suspended());
    let page = console.get("/console/recipients/acme").await.body;
    let expected = ["breach &#60;b&#62;4711", "Resume …", "1 in all", "<span class=\"chip \">ops</span>"];
    assert_has(&page, &expected);
    let list = console.get("/console/recipients?state=suspended").await.body;
    assert_has(&list, &["2 in all", "since 20"]);
    console.confirm(EVENTS, "once=def&kind=resumed", "&reason=mended").await;
    assert!(!is_suspended());
    assert_has(&console.get("/console/recipients/acme").await.body, &["2 in all", "mended", "Suspend …"]);
    let other = console.form(EVENTS, "once=abc&kind=case-ended").await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
    let unknown = console.form("/console/recipients/nobody/events", "once=abc&kind=suspended").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_only_reads_suspends_nobody() {
    let console = signed_in(PARTNERS, &[AdminRole::Read]).await;
    let refused = console.form("/console/recipients/acme/events", "once=abc&kind=suspended").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_thousand_recipients_are_pages_with_a_way_on() {
    let sections: String =
        (0..1000).map(|n| format!("[[recipient]]\nname = \"r-{n:03}\"\nkind = \"employee\"\n")).collect();
    let console = signed_in(&sections, &[AdminRole::Read]).await;
    let first = console.get("/console/recipients").await.body;
    assert_has(&first, &["1 to 50 of 1001", "page=1\" rel=\"next\""]);
    assert_eq!(first.matches("<th role=\"rowheader\"").count(), 50);
    assert!(first.len() < 64 * 1024, "{}", first.len());
    let last = console.get("/console/recipients?page=20").await.body;
    assert_has(&last, &["1001 to 1001 of 1001", "page=19\" rel=\"prev\""]);
    assert_has(&console.get("/console/recipients?page=18446744073709551615").await.body, &["1001 to 1001"]);
    assert_has(&console.get("/console/recipients?name=r-499").await.body, &["1 in all"]);
    for page in ["/console/decisions?recipient=r-499", "/console/try?recipient=r-499"] {
        let body = console.get(page).await.body;
        assert_has(&body, &["<input id=\"recipient\" name=\"recipient\" value=\"r-499\""]);
        assert!(body.len() < 64 * 1024, "{page}: {}", body.len());
    }
}

#[tokio::test]
async fn a_recipient_named_like_a_script_is_text() {
    let sections = format!(
        "[[recipient]]\nname = \"{SCRIPT}\"\nkind = \"employee\"\nlegal-name = \"{SCRIPT}\"\naddress = \"{SCRIPT}\"\n\
         contact = \"{SCRIPT}\"\npurposes = [\"direct-marketing\"]\nagreement = {{ type = \"{SCRIPT}\", reference = \"{SCRIPT}\" }}\n\
         credentials = [{{ certificate = \"{SCRIPT}\" }}]\n"
    );
    let console = signed_in(&sections, &AdminRole::ALL).await;
    let page = format!("/console/recipients/{ENCODED_SCRIPT}");
    let events = format!("{page}/events");
    let question = console.form(&events, "once=abc&kind=suspended").await;
    assert_has(&question.body, &["Suspend &#60;script&#62;"]);
    let recorded = console.confirm(&events, "once=abc&kind=suspended", "&reason=x").await;
    assert_eq!(recorded.location(), format!("{page}#suspension"));
    let pages = [
        question,
        console.get(&page).await,
        console.get("/console/recipients").await,
        console.get(&format!("/console/recipients?name={ENCODED_SCRIPT}")).await,
        console.get("/").await,
        console.get("/console/decisions").await,
        console.get("/console/routes/people").await,
        console.get("/console/try").await,
        console.get(&format!("/console/try?recipient={ENCODED_SCRIPT}")).await,
    ];
    for page in pages {
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        assert!(!page.body.contains("<script"), "{}", page.body);
    }
}
