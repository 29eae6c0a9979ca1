//! The pages of cases: registered, approved by two people, ended, and who they are about.

use super::*;
use crate::ledger::{Batch, LineResult};

const COURT: &str = r#"
[[recipient]]
name = "court"
kind = "public-authority"
country = "DE"
purposes = ["legal"]
"#;
const FIELDS: &str = "once=reg&case=2026%2F017&recipient=court&purpose=legal&subjects=p-1%0D%0Ap-2&namespace=\
    &category%3Aname=yes&category%3Acontact=yes&end=2099-03-31T00%3A00&reference=12-O-4%2F26&confidential-until=";
const PAGE: &str = "/console/cases/2026%2F017";

impl TestConsole {
    async fn sign_in_as(&mut self, name: &str) {
        self.cookie = None;
        self.sign_in(name).await;
    }

    fn state_of_case(&self) -> &'static str {
        let case = self.admin.state.shared.ledger.case("2026/017").unwrap();
        case.status(jiff::Timestamp::now()).name()
    }
}

async fn signed_in() -> TestConsole {
    let roles: &[AdminRole] = &[AdminRole::Cases];
    let mut console = TestConsole::with_sections(&[("ada", roles), ("ben", roles)], COURT).await;
    console.sign_in("ada").await;
    console
}

#[tokio::test]
async fn two_people_approve_a_case_and_one_of_them_cannot_do_so_twice() {
    let mut console = signed_in().await;
    assert_has(&console.get("/console/cases").await.body, &["There is none.", "href=\"/console/new-case\""]);
    for _ in 0..2 {
        let registered = console.form("/console/new-case", FIELDS).await;
        assert_eq!(registered.location(), "/console/cases/2026%2F017", "{}", registered.body);
    }
    let list = console.get("/console/cases?state=registered").await.body;
    assert_has(&list, &["1 in all", "12-O-4/26", "waits for approval: 0 of 2", "2099-03-31 00:00:00"]);
    let page = console.get(PAGE).await;
    assert_eq!(page.title(), "Case 2026/017 · purposegate");
    assert_has(
        &page.body,
        &["Case 2026/017", "Nobody has approved it", "data-purpose: legal;case=", "2 in all"],
    );
    let approve = format!("{PAGE}/approve");
    let question = console.form(&approve, "once=a1").await.body;
    assert_has(
        &question,
        &[
            "Approve case 2026/017?",
            "It is the first of two approvals",
            "these data of 2 people for legal: contact, name",
        ],
    );
    assert_eq!(console.state_of_case(), "registered");
    assert_eq!(console.confirm(&approve, "once=a1", "").await.location(), PAGE);
    assert_has(&console.get(PAGE).await.body, &["You have approved it.", "approved by ada", "1 of 2"]);
    let twice = console.confirm(&approve, "once=a2&approver=ben", "").await;
    assert_eq!(twice.status, StatusCode::CONFLICT);
    assert_has(&twice.body, &["the second approval must be somebody else"]);
    assert_eq!(console.state_of_case(), "registered");
    console.sign_in_as("ben").await;
    assert_has(&console.form(&approve, "once=b1").await.body, &["It is the second approval"]);
    console.confirm(&approve, "once=b1", "").await;
    assert_eq!(console.state_of_case(), "in-force");
    assert_has(&console.get(PAGE).await.body, &["in force", "<span class=\"chip \">ben</span>"]);
    let end = format!("{PAGE}/end");
    assert_has(&console.form(&end, "once=e").await.body, &["End case 2026/017?", "The end is final"]);
    let without = console.confirm(&end, "once=e", "&reason=").await;
    assert_eq!(without.status, StatusCode::BAD_REQUEST);
    assert_has(&without.body, &["End case 2026/017?", "Give a reason. It is recorded."]);
    console.confirm(&end, "once=e", "&reason=order+lifted").await;
    assert_eq!(console.state_of_case(), "ended");
    assert_has(&console.get(PAGE).await.body, &["ended before its time", "order lifted"]);
    assert_has(&console.get("/console/cases?state=in-force").await.body, &["No case is in this state"]);
}

#[tokio::test]
async fn a_claimed_approval_does_not_count_beside_a_verified_one() {
    let console = signed_in().await;
    console.form("/console/new-case", FIELDS).await;
    let claimed = br#"{"case":"2026/017","kind":"case-approved","approver":"eve"}"#;
    let accepted = |line: LineResult| assert!(line.outcome.is_ok(), "{:?}", line.outcome);
    let ledger = &console.admin.state.shared.ledger;
    ledger.import(claimed, Batch::default(), jiff::Timestamp::now(), accepted).await;
    assert_has(&console.get(PAGE).await.body, &["eve, unverified", "waits for approval: 1 of 2"]);
    console.confirm(&format!("{PAGE}/approve"), "once=a", "").await;
    let page = console.get(PAGE).await.body;
    assert_has(&page, &["eve, unverified", "waits for approval: 1 of 2", "You have approved it."]);
    assert_has(&console.get("/console/cases").await.body, &["waits for approval: 1 of 2"]);
}

#[tokio::test]
async fn who_a_case_is_about_is_shown_after_the_look_is_on_record() {
    let console = signed_in().await;
    console.form("/console/new-case", FIELDS).await;
    let people = format!("{PAGE}/people");
    for page in ["/console/cases", PAGE] {
        assert!(!console.get(page).await.body.contains("p-1"), "{page}");
    }
    assert!(!console.form(&format!("{PAGE}/approve"), "once=a").await.body.contains("p-1"));
    let missing = console.form(&people, "reason=&page=0").await;
    assert_eq!(missing.status, StatusCode::BAD_REQUEST);
    assert!(console.admin.acts().is_empty() && !missing.body.contains("p-1"), "{}", missing.body);
    assert_has(&missing.body, &["Case 2026/017", "Give a reason. It is recorded.", "<title>Error: "]);
    let long = "x".repeat(501);
    let refused = console.form(&people, &format!("reason={long}&page=0")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_has(&refused.body, &[&format!("value=\"{long}\""), "aria-invalid=\"true\""]);
    let shown = console.form(&people, "reason=order+lies+before+me").await;
    assert_has(&shown.body, &["p-1", "p-2", "Shown for: order lies before me"]);
    assert!(!shown.title().contains("p-1"));
    let acts = console.admin.acts();
    let told: Vec<_> = acts.iter().map(|act| (&*act.resource, act.reason.as_deref())).collect();
    assert_eq!(told, [("/v1/cases/{id}", Some("order lies before me")); 2]);
    assert!(acts.iter().all(|act| act.subject.is_some()) && acts[0].subject != acts[1].subject);
    console.admin.state.shared.log.assume_failed();
    let unrecorded = console.form(&people, "reason=x").await;
    assert_eq!(unrecorded.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!unrecorded.body.contains("p-1"), "{}", unrecorded.body);
}

#[tokio::test]
async fn a_long_case_shows_its_people_page_by_page() {
    let console = signed_in().await;
    let ids: Vec<String> = (0..120).map(|n| format!("c-{n:03}")).collect();
    let fields = FIELDS.replace("p-1%0D%0Ap-2", &ids.join("%0A"));
    console.form("/console/new-case", &fields).await;
    let people = format!("{PAGE}/people");
    let first = console.form(&people, "reason=x").await.body;
    assert_has(&first, &["1 to 50 of 120", "c-049", "name=\"page\" value=\"1\""]);
    assert!(!first.contains("c-050"));
    assert_eq!(console.admin.acts().len(), 50, "who was not shown was not looked at");
    assert_has(&console.form(&people, "reason=x&page=2").await.body, &["101 to 120 of 120", "c-119"]);
}

#[tokio::test]
async fn a_form_that_cannot_be_accepted_keeps_what_was_entered() {
    let console = signed_in().await;
    let wrong =
        FIELDS.replace("recipient=court", "recipient=cuort").replace("reference=12", "reference=%3Cb%3E12");
    let refused = console.form("/console/new-case", &wrong).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_has(
        &refused.body,
        &[
            "The case is not registered.",
            "court",
            "value=\"&#60;b&#62;12-O-4/26\"",
            "p-1\r\np-2",
            "name=\"category:contact\" value=\"yes\" checked",
            "value=\"2099-03-31T00:00\"",
        ],
    );
    assert!(!refused.body.contains("value=\"reg\""), "the next attempt is another form");
    let nobody = console.form("/console/new-case", &FIELDS.replace("p-1%0D%0Ap-2", "+")).await;
    assert_eq!(nobody.status, StatusCode::BAD_REQUEST);
    assert!(console.admin.state.shared.ledger.cases().is_empty());
    let again = console.form("/console/new-case", &FIELDS.replace("once=reg", "once=other")).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER);
    let known = console.form("/console/new-case", &FIELDS.replace("once=reg", "once=third")).await;
    assert_eq!(known.status, StatusCode::CONFLICT);
    assert_has(&known.body, &["is registered already"]);
}

#[tokio::test]
async fn without_credentials_the_approver_is_named() {
    let console = TestConsole::with_sections(&[], COURT).await;
    console.form("/console/new-case", FIELDS).await;
    assert_has(&console.get(PAGE).await.body, &["name=\"approver\"", "recorded as unverified"]);
    let approve = format!("{PAGE}/approve");
    let nobody = console.form(&approve, "once=a&approver=").await;
    assert_eq!(nobody.status, StatusCode::BAD_REQUEST);
    assert_has(&nobody.body, &["Case 2026/017", "Enter the name of who approves.", "href=\"#approver\""]);
    let question = console.form(&approve, "once=a&approver=Ada+Adler").await.body;
    assert_has(&question, &["name=\"approver\" value=\"Ada Adler\"", "the approval of Ada Adler"]);
    for (once, approver, state) in
        [("a", "Ada+Adler", "registered"), ("b", "ada.adler", "registered"), ("c", "ben", "in-force")]
    {
        console.confirm(&approve, &format!("once={once}&approver={approver}"), "").await;
        assert_eq!(console.state_of_case(), state, "{approver}");
    }
    assert_has(&console.get(PAGE).await.body, &["Ada Adler, unverified"]);
}

#[tokio::test]
async fn a_case_with_a_script_in_its_reference_is_text() {
    let console = signed_in().await;
    let fields = FIELDS.replace("12-O-4%2F26", ENCODED_SCRIPT).replace("p-1", ENCODED_SCRIPT);
    assert_eq!(console.form("/console/new-case", &fields).await.location(), PAGE);
    for answer in [
        console.get("/console/cases").await,
        console.get(PAGE).await,
        console.form(&format!("{PAGE}/people"), &format!("reason={ENCODED_SCRIPT}")).await,
        console.form("/console/new-case", &fields.replace("once=reg", "once=x")).await,
    ] {
        assert_has(&answer.body, &["&#60;script&#62;"]);
        assert!(!answer.body.contains("<script"), "{}", answer.body);
    }
}
