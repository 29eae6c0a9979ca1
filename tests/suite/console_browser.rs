//! The console in a browser: every page, at three widths, light and dark, and its forms by keyboard alone.
//!
//! `PURPOSEGATE_PICTURES=FOLDER` looks at every page in every view, and saves a picture of each.

use serde_json::json;

use crate::admin_access::token_hash;
use crate::fixtures::{CONSENT, CUSTOMER_ROUTES, NOTICE, person};
use crate::gateway::{TestGateway, base, credential, wait_until};
use crate::http;
use crate::page_walk::PageWalk;
use crate::upstream::Upstream;
use crate::web_driver::{ENTER, SPACE};

/// Routes and recipients besides those of other tests: one that is observed, and long names.
fn more() -> String {
    format!(
        r#"
[[route]]
name = "orders-and-returns-of-a-customer-in-one-calendar-year"
upstream = "crm"
path = "/customers/{{id}}/orders-and-returns/by-calendar-year/{{year}}"
record = "$.orders[*]"
subject = "@.customer_identifier_in_the_order_system"
purposes = ["customer-support"]
mode = "observe"
observe-until = 2999-01-31
[route.fields]
"@.customer_identifier_in_the_order_system" = "subject-identifier"
"@.delivery.recipient_name_as_printed_on_the_label" = "name"
"@.delivery.recipient_email_for_notifications" = "email"

[[recipient]]
name = "complaints-and-returns-department-of-the-northern-region"
kind = "employee"
country = "DE"
purposes = ["customer-support"]
credentials = [{}]
"#,
        credential("complaints")
    )
}

const ORDERS: &str = r#"{"orders": [{"customer_identifier_in_the_order_system": "p-1", "delivery": {
    "recipient_name_as_printed_on_the_label": "Ada", "recipient_email_for_notifications": "a@example.org",
    "note_of_the_driver_about_the_entrance_and_the_parcel_shop": "x"}}]}"#;

/// A gateway whose admin listener wants tokens, after some exchanges. All of them are in the log.
fn busy_gateway() -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    let all = r#"["read", "ledger", "privacy", "cases", "operator"]"#;
    let tokens = format!(
        "[admin]\ntokens = [{{ name = \"ada\", hash = \"{}\", roles = {all} }}, {{ name = \"ben\", hash = \"{}\", roles = [\"cases\"] }}]",
        token_hash("pga_ada"),
        token_hash("pga_ben")
    );
    let config = base(upstream.address).replace("[admin]\nallow = [\"approvers-unverified\"]", &tokens);
    let gateway = TestGateway::start(&format!("{config}{}{CUSTOMER_ROUTES}", more()));
    let post = |path: &str, body: &str| {
        let answer =
            http::send(gateway.admin, "POST", path, &["authorization: Bearer pga_ada"], body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    for id in ["p-1", "p-2"] {
        upstream.json(&format!("/customers/{id}"), &person(id));
        post(&format!("/v1/subjects/{id}/events"), NOTICE);
        post(&format!("/v1/subjects/{id}/events"), CONSENT);
    }
    upstream.json("/customers/p-1/orders-and-returns/by-calendar-year/2026", ORDERS);
    upstream.json("/customers", &format!("{{\"items\": [{}, {}]}}", person("p-1"), person("p-3")));
    let case = json!({
        "case": "C-7", "recipient": "police", "purpose": "law-enforcement", "subjects": ["p-1"],
        "categories": ["contact"], "end": "2099-01-01T00:00:00Z", "reference": "12 Js 4/26",
    });
    post("/v1/cases", &case.to_string());
    for (path, recipient, purpose) in [
        ("/customers/p-1", "support", "customer-support"),
        ("/customers/p-2", "reseller", "reseller-follow-up"),
        ("/customers", "support", "customer-support"),
        ("/customers/p-1", "police", "law-enforcement"),
        ("/customers/p-1", "support", "nonsense"),
        ("/customers/p-1", "lapsed", "reseller-follow-up"),
        ("/customers/p-1", "nobody", "customer-support"),
        ("/customers/p-1/orders-and-returns/by-calendar-year/2026", "complaints", "customer-support"),
        ("/customers/p-1/orders-and-returns/by-calendar-year/2026", "complaints", "direct-marketing"),
    ] {
        gateway.get(path, recipient, purpose);
    }
    gateway.wait_for_log("legal-reference-missing");
    post("/v1/subjects/p-1/requests", r#"{"right": "access", "at": "2026-01-01T00:00:00Z"}"#);
    post("/v1/subjects/p-2/requests", r#"{"right": "objection"}"#);
    for (what, at) in [("requests", "2026-01-01T00:00:00Z"), ("answers", "2026-02-02T00:00:00Z")] {
        post(&format!("/v1/subjects/p-2/{what}"), &json!({ "right": "erasure", "at": at }).to_string());
    }
    post("/v1/subjects/p-1/events", r#"{"kind": "correction", "facts": {"country": "DE"}}"#);
    let notices =
        || http::get(gateway.admin, "/v1/notices?reason=x", &["authorization: Bearer pga_ada"]).json();
    wait_until(|| !notices()["notices"].as_array().unwrap().is_empty());
    (upstream, gateway)
}

/// Opens a person with a reason, by keyboard. Returns the path of the page.
fn open_person(walk: &mut PageWalk, id: &str) -> String {
    walk.open("/console/subjects");
    walk.browser.tab_to("#subject");
    walk.browser.press(id);
    walk.browser.tab_to("#reason");
    walk.browser.press("request for access, ticket 4712");
    walk.browser.press_and_load(&ENTER.to_string());
    let url = walk.browser.url();
    let (_, path) = url.split_once("/console/").unwrap();
    format!("/console/{path}")
}

/// Tries a decision about an invented person, by keyboard.
fn try_decision(walk: &mut PageWalk) {
    walk.open("/console/try");
    walk.browser.tab_to("#recipient");
    walk.browser.press("support");
    walk.browser.tab_to("#purpose");
    walk.browser.press("customer-support");
    walk.browser.tab_to("#consents");
    walk.browser.press("direct-marketing");
    walk.browser.tab_to("form[action^='/console/try'] button");
    walk.browser.press_and_load(&ENTER.to_string());
    assert_eq!(walk.browser.evaluate("return document.querySelectorAll('#result').length"), 1);
    walk.look("try-decided");
}

/// Records an event about the person of the page, and asks for an erasure without confirming it.
fn record_events(walk: &mut PageWalk) {
    walk.browser.tab_to("details:has(#opt-out-kind) summary");
    walk.browser.press(&SPACE.to_string());
    walk.browser.tab_to("#opt-out-kind");
    walk.browser.press("opts");
    walk.browser.tab_to("#opt-out-recipient");
    walk.browser.press("reseller");
    walk.browser.tab_to("details[open] button");
    walk.browser.press_and_load(&ENTER.to_string());
    let text = walk.browser.evaluate("return document.querySelector('main').innerText");
    assert!(text.as_str().unwrap().contains("reseller"), "{text}");
    walk.look("subject-after-event");
    walk.browser.tab_to("details:has(#erasure-kind) summary");
    walk.browser.press(&SPACE.to_string());
    walk.browser.tab_to("details[open]:has(#erasure-kind) button");
    walk.browser.press_and_load(&ENTER.to_string());
    walk.look("confirm-erasure");
}

/// Asks for the suspension of a recipient, and leaves it as it is.
fn suspend_recipient(walk: &mut PageWalk) {
    walk.open("/console/recipients/support");
    walk.browser.tab_to("main button.danger");
    walk.browser.press_and_load(&ENTER.to_string());
    walk.look("confirm-suspension");
}

/// Looks at the person of a notice, and asks to close it without saying why.
fn look_at_notice(walk: &mut PageWalk) {
    walk.open("/console/notices");
    walk.browser.tab_to("main table a");
    walk.browser.press_and_load(&ENTER.to_string());
    walk.look("notice");
    walk.browser.tab_to("#reason");
    walk.browser.press("to tell them");
    walk.browser.press_and_load(&ENTER.to_string());
    walk.look("notice-person");
    walk.browser.tab_to("form[action$='/delivered'] button");
    walk.browser.press_and_load(&ENTER.to_string());
    walk.look("confirm-notice");
    walk.browser.tab_to("#reason");
    walk.browser.press(" ");
    walk.browser.press_and_load(&ENTER.to_string());
    let focused = walk.browser.evaluate("return document.activeElement.id");
    assert_eq!(focused, "problem", "a reader begins with the problem");
    walk.look("confirm-notice-again");
}

/// Looks at the people of a case, and asks to approve it.
fn look_at_case(walk: &mut PageWalk) {
    walk.open("/console/cases/C-7");
    walk.browser.tab_to("#reason");
    walk.browser.press("the order lies before me");
    walk.browser.press_and_load(&ENTER.to_string());
    walk.look("case-people");
    walk.browser.tab_to("form[action$='/approve'] button");
    walk.browser.press_and_load(&ENTER.to_string());
    walk.look("confirm-approval");
}

/// Opens the person of an answered request from the list.
fn open_answered_request(walk: &mut PageWalk) {
    walk.visit("/console/requests?state=answered");
    walk.browser.tab_to("main table button");
    walk.browser.press_and_load(&ENTER.to_string());
    assert!(walk.browser.url().contains("/console/subjects/"), "{}", walk.browser.url());
}

#[test]
fn every_page_works_in_a_browser() {
    let (_upstream, gateway) = busy_gateway();
    let Some(mut walk) = PageWalk::start(gateway.admin) else { return };
    walk.visit("/");
    walk.browser.press("pga_wrong");
    walk.browser.press_and_load(&ENTER.to_string());
    walk.browser.tab_to("#token");
    walk.look("sign-in-refused");
    walk.browser.press("pga_ada");
    walk.browser.press_and_load(&ENTER.to_string());
    assert_eq!(walk.browser.url(), format!("http://{}/", gateway.admin));
    walk.look("overview");
    let mut links = walk.links();
    try_decision(&mut walk);
    links.insert("/console/nothing".to_owned());
    links.insert("/console/decisions?outcome=aborted".to_owned());
    walk.follow(links);

    let person = open_person(&mut walk, "p-1");
    walk.look("subject");
    let links = walk.links();
    record_events(&mut walk);
    walk.look_at_file(&format!("{person}/report"));
    walk.follow(links);
    suspend_recipient(&mut walk);
    look_at_notice(&mut walk);
    look_at_case(&mut walk);
    open_answered_request(&mut walk);

    walk.open("/");
    walk.browser.tab_to("form[action='/sign-out'] button");
    walk.browser.press_and_load(&ENTER.to_string());
    walk.look("signed-out");
    walk.end(true);
}

/// Ends the session of the page that is open, as its time does.
fn end_session(walk: &mut PageWalk) {
    let token = walk.browser.evaluate("return document.querySelector('[name=form-token]').value");
    let form = format!("form-token={}", token.as_str().unwrap());
    let cookie = format!("cookie: purposegate={}", walk.browser.cookie("purposegate"));
    let origin = format!("origin: http://{}", walk.admin);
    let headers = [cookie.as_str(), &origin, "content-type: application/x-www-form-urlencoded"];
    assert_eq!(http::send(walk.admin, "POST", "/sign-out", &headers, form.as_bytes()).status, 303);
}

#[test]
fn an_ended_session_and_a_missing_role_are_explained() {
    let (_upstream, gateway) = busy_gateway();
    let Some(mut walk) = PageWalk::start(gateway.admin) else { return };
    walk.open("/console/routes");
    walk.browser.press("pga_ben");
    walk.browser.press_and_load(&ENTER.to_string());
    walk.look("role-missing");
    walk.visit("/");

    walk.browser.tab_to("form[action='/sign-out'] button");
    walk.browser.press_and_load(&ENTER.to_string());
    walk.browser.press("pga_ada");
    walk.browser.press_and_load(&ENTER.to_string());
    open_person(&mut walk, "p-2");
    end_session(&mut walk);
    walk.browser.tab_to("details:has(#restriction-kind) summary");
    walk.browser.press(&SPACE.to_string());
    walk.browser.tab_to("#restriction-kind");
    walk.browser.press("begins");
    walk.browser.tab_to("details[open] button");
    walk.browser.press_and_load(&ENTER.to_string());
    walk.look("session-ended");
    let text = walk.browser.evaluate("return document.querySelector('main').innerText");
    assert!(text.as_str().unwrap().contains("Your session has ended"), "{text}");
    walk.end(false);
}

/// Nothing has happened yet, and nobody has to sign in.
#[test]
fn an_empty_console_without_credentials_works_in_a_browser() {
    let upstream = Upstream::start();
    let gateway = TestGateway::start(&base(upstream.address));
    let Some(mut walk) = PageWalk::start(gateway.admin) else { return };
    for page in ["", "decisions", "routes", "try", "subjects", "recipients", "requests", "notices", "cases"] {
        walk.visit(&if page.is_empty() { "/".to_owned() } else { format!("/console/{page}") });
    }
    walk.visit("/console/requests?state=answered");
    open_person(&mut walk, "somebody-whom-nobody-knows@a-long-domain-name.example.org");
    walk.look("unknown-subject");
    walk.end(false);
}
