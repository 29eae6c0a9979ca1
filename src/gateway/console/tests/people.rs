//! The pages of a person: who opens them, what is on record, and the events that forms record.

use super::*;
use crate::gateway::console::opened_people::{MAX_OF_ACTOR, MAX_UNUSED};
use crate::ledger::{Batch, LineResult};

const ROLES: [AdminRole; 2] = [AdminRole::Ledger, AdminRole::Privacy];

impl TestConsole {
    /// Sends the form that opens a person.
    async fn open_person(&self, fields: &str) -> Answer {
        let token = self.get("/").await.form_token();
        self.post("/console/subjects", &format!("form-token={token}&{fields}")).await
    }

    /// Sends an event of the page of a person.
    async fn record(&self, page: &str, fields: &str) -> Answer {
        let token = self.get("/").await.form_token();
        self.post(page, &format!("form-token={token}&{fields}")).await
    }

    fn looks(&self) -> Vec<(String, Option<String>)> {
        let acts = self.admin.acts().into_iter();
        acts.map(|act| (act.resource.to_string(), act.reason.as_deref().map(str::to_owned))).collect()
    }
}

async fn signed_in(name: &str) -> TestConsole {
    let actors: [(&str, &[AdminRole]); 4] = [
        ("officer", &ROLES),
        ("second", &ROLES),
        ("reader", &[AdminRole::Read]),
        ("ops", &[AdminRole::Operator]),
    ];
    let mut console = TestConsole::with_actors(&actors).await;
    console.sign_in(name).await;
    console
}

fn assert_closed(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.body.contains("open the person again") && !answer.body.contains("p-1"), "{}", answer.body);
}

#[tokio::test]
async fn a_person_is_opened_after_a_recorded_reason_and_named_in_no_url() {
    let console = signed_in("officer").await;
    let missing = console.open_person("subject=p-1&reason=").await;
    assert_eq!(missing.status, StatusCode::BAD_REQUEST);
    for text in ["Give a reason. It is recorded.", "value=\"p-1\"", "role=\"alert\"", "<title>Error: "] {
        assert!(missing.body.contains(text), "no {text} in {}", missing.body);
    }
    assert!(console.looks().is_empty());
    let opened = console.open_person("subject=p-1&reason=ticket+4711").await;
    assert!(console.looks().is_empty(), "nothing was shown");
    assert_eq!(opened.status, StatusCode::SEE_OTHER, "{}", opened.body);
    let page = opened.location().to_owned();
    assert!(page.starts_with("/console/subjects/") && !page.contains("p-1"), "{page}");
    let shown = console.get(&page).await;
    assert_eq!(shown.title(), "Subject · purposegate");
    for text in ["Subject p-1", "opened for: ticket 4711", "consent: direct-marketing", "consent-given"] {
        assert!(shown.body.contains(text), "no {text} in {}", shown.body);
    }
    let reason = Some("ticket 4711".to_owned());
    let expected = ["", "/events", "/disclosures"];
    let expected = expected.map(|end| (format!("/v1/subjects/{{id}}{end}"), reason.clone()));
    assert_eq!(console.looks(), expected);
    let report = console.get(&format!("{page}/report")).await;
    assert_eq!(report.header("content-disposition"), "attachment; filename=\"report.html\"");
    assert!(report.body.contains("What we know about you"), "{}", report.body);
    assert_eq!(console.looks().len(), 4);
    for link in shown.body.split("href=\"").skip(1) {
        assert!(!link.split('"').next().unwrap().contains("p-1"), "{link}");
    }
}

#[tokio::test]
async fn other_roles_open_nobody() {
    for name in ["reader", "ops"] {
        let console = signed_in(name).await;
        let refused = console.open_person("subject=p-1&reason=x").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{name}");
        assert!(!console.get("/").await.body.contains("/console/subjects"), "{name}");
        assert!(console.looks().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn nothing_is_shown_that_cannot_be_put_on_record() {
    let console = signed_in("officer").await;
    let page = console.open_person("subject=p-1&reason=x").await.location().to_owned();
    console.admin.state.shared.log.assume_failed();
    for path in [page.clone(), format!("{page}/report")] {
        let answer = console.get(&path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.body.contains("audit-unavailable") && !answer.body.contains("p-1"), "{}", answer.body);
    }
}

#[tokio::test]
async fn the_pages_belong_to_one_session_for_a_while() {
    let mut console = signed_in("officer").await;
    let page = console.open_person("subject=p-1&reason=x").await.location().to_owned();
    let own = console.cookie.clone();
    console.cookie = None;
    console.sign_in("second").await;
    assert_closed(&console.get(&page).await);
    assert_closed(&console.record(&format!("{page}/events"), "kind=restriction&once=a").await);
    console.cookie = own;
    assert_eq!(console.get(&page).await.status, StatusCode::OK);
    // The session is used in between, so that only the pages end.
    console.admin.clock.move_forward(MAX_UNUSED / 2);
    assert_eq!(console.get(&page).await.status, StatusCode::OK);
    for _ in 0..2 {
        console.admin.clock.move_forward(MAX_UNUSED / 2);
        assert_eq!(console.get("/").await.status, StatusCode::OK);
    }
    assert_closed(&console.get(&page).await);
    assert_closed(&console.get("/console/subjects/nothing").await);
}

#[tokio::test]
async fn nobody_closes_the_pages_of_others_by_opening_many() {
    let mut console = signed_in("officer").await;
    let page = console.open_person("subject=p-1&reason=x").await.location().to_owned();
    let own = console.cookie.clone();
    // Signing in anew changes nothing: the pages count by the actor.
    for session in 0..3 {
        console.cookie = None;
        console.sign_in("second").await;
        for _ in 0..MAX_OF_ACTOR {
            let opened = console.open_person("subject=p-1&reason=x").await;
            assert_eq!(opened.status, StatusCode::SEE_OTHER, "{session}");
        }
    }
    console.cookie = own;
    assert_eq!(console.get(&page).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_form_that_is_sent_twice_is_one_event_of_who_is_signed_in() {
    let console = signed_in("officer").await;
    let page = console.open_person("subject=p-1&reason=x").await.location().to_owned();
    let fields = "kind=consent-given&purpose=survey&recipient-kind=&channel=letter&once=abc";
    for _ in 0..2 {
        let recorded = console.record(&format!("{page}/events"), fields).await;
        assert_eq!(recorded.status, StatusCode::SEE_OTHER, "{}", recorded.body);
        assert_eq!(recorded.location(), format!("{page}#history"));
    }
    let shown = console.get(&page).await;
    assert!(shown.body.contains("2 events, newest first"), "{}", shown.body);
    assert!(shown.body.contains("channel: letter") && shown.body.contains("consent: survey"));
    assert!(shown.body.contains("<span class=\"chip \">officer</span>"), "{}", shown.body);
    let without_key = console.record(&format!("{page}/events"), "kind=restriction").await;
    assert_eq!(without_key.status, StatusCode::BAD_REQUEST);
    let malformed = console.record(&format!("{page}/events"), "kind=consent-given&purpose=x&once=abcd").await;
    assert_eq!(malformed.status, StatusCode::BAD_REQUEST, "{}", malformed.body);
    let other_kind = console.record(&format!("{page}/answers"), "kind=erasure&confirmed=yes&once=e").await;
    assert_eq!(other_kind.status, StatusCode::BAD_REQUEST);
    let asked =
        console.record(&format!("{page}/requests"), "kind=request-received&right=access&once=r").await;
    assert_eq!(asked.status, StatusCode::SEE_OTHER, "{}", asked.body);
    assert_eq!(console.admin.state.shared.ledger.requests().len(), 1);
    console.record(&format!("{page}/answers"), "kind=request-answered&right=access&once=s").await;
    assert!(console.admin.state.shared.ledger.requests().is_empty());
}

#[tokio::test]
async fn a_form_that_cannot_be_recorded_is_shown_again_as_it_was_sent() {
    let console = signed_in("officer").await;
    let page = console.open_person("subject=p-1&reason=x").await.location().to_owned();
    let form = "kind=consent-refused&purpose=survey&channel=letter+7&at=soon&once=a";
    let again = console.record(&format!("{page}/events"), form).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);
    for text in [
        "Nothing was recorded.",
        "<details open><summary>Consent</summary>",
        "<option value=\"consent-refused\" selected>",
        "<option selected>survey</option>",
        "value=\"letter 7\"",
        "value=\"soon\" aria-invalid=\"true\" aria-describedby=\"problem\"",
        "<title>Error: Subject",
    ] {
        assert!(again.body.contains(text), "no {text} in {}", again.body);
    }
    assert_eq!(again.body.matches("<details open>").count(), 1, "{}", again.body);
    assert!(!again.body.contains("consent: survey"), "{}", again.body);
    let shown = console.get(&page).await;
    assert!(shown.body.contains("1 event"), "{}", shown.body);
    // Nothing is chosen in a new form: the first kind of event would be one that permits.
    assert!(shown.body.contains("required><option value=\"\"></option><option value=\"consent-given\">"));
    console.admin.state.shared.log.assume_failed();
    let unavailable = console.record(&format!("{page}/events"), form).await;
    assert_eq!(unavailable.status, StatusCode::SERVICE_UNAVAILABLE, "the page cannot be put on record");
}

#[tokio::test]
async fn a_list_keeps_the_page_of_the_other_and_ends() {
    let console = signed_in("officer").await;
    let ledger = &console.admin.state.shared.ledger;
    let events = (0..119)
        .map(|number| format!("{{\"subject\": \"p-1\", \"kind\": \"notice\", \"notice\": \"v{number}\"}}\n"));
    let accepted = |line: LineResult| assert!(line.outcome.is_ok(), "{:?}", line.outcome);
    let events = events.collect::<String>();
    ledger.import(events.as_bytes(), Batch::default(), jiff::Timestamp::now(), accepted).await;
    let page = console.open_person("subject=p-1&reason=x").await.location().to_owned();
    let second = console.get(&format!("{page}?history=1")).await;
    for link in ["?history=0&#38;disclosures=0#history", "?history=2&#38;disclosures=0#history"] {
        assert!(second.body.contains(link), "no {link} in {}", second.body);
    }
    let beyond = console.get(&format!("{page}?history=77&disclosures=77")).await;
    assert!(
        beyond.body.contains("consent-given") && beyond.body.contains("?history=1&#38;"),
        "{}",
        beyond.body
    );
    assert!(!beyond.body.contains("rel=\"next\""), "{}", beyond.body);
}

#[tokio::test]
async fn an_erasure_is_asked_about_on_a_page_of_its_own() {
    let console = signed_in("officer").await;
    let page = console.open_person("subject=p-1&reason=x").await.location().to_owned();
    let events = format!("{page}/events");
    let question = console.record(&events, "kind=erasure&channel=letter&once=abc").await;
    assert_eq!(question.status, StatusCode::OK);
    for text in ["The erasure is final", "<dt>person</dt><dd>p-1</dd>", "<dt>channel</dt><dd>letter</dd>"] {
        assert!(question.body.contains(text), "no {text} in {}", question.body);
    }
    assert_eq!(console.looks().last(), Some(&("/v1/subjects/{id}".to_owned(), Some("x".to_owned()))));
    assert!(question.body.contains("<input type=\"hidden\" name=\"channel\" value=\"letter\">"));
    assert!(!console.get(&page).await.body.contains("No event lifts it"), "nothing happened");
    let confirmed = question.hidden("confirmed");
    let other = console.open_person("subject=p-2&reason=x").await.location().to_owned();
    for (path, fields) in [
        (&events, "kind=erasure&channel=letter&once=abc&confirmed=yes".to_owned()),
        (&events, format!("kind=erasure&channel=call&once=abc&confirmed={confirmed}")),
        (&events, format!("kind=erasure&channel=letter&once=abd&confirmed={confirmed}")),
        (&events, format!("kind=erasure&channel=letter&at=&once=abc&confirmed={confirmed}")),
        (&format!("{other}/events"), format!("kind=erasure&channel=letter&once=abc&confirmed={confirmed}")),
    ] {
        let asked = console.record(path, &fields).await;
        assert_eq!(asked.status, StatusCode::OK, "{fields}: that was not what the page had shown");
    }
    assert!(!console.get(&page).await.body.contains("No event lifts it"), "nothing happened");
    let fields = format!("kind=erasure&channel=letter&once=abc&confirmed={confirmed}");
    let recorded = console.record(&events, &fields).await;
    assert_eq!(recorded.status, StatusCode::SEE_OTHER);
    assert!(console.get(&page).await.body.contains("No event lifts it"));
}

#[tokio::test]
async fn an_id_and_what_an_event_says_are_text() {
    let console = signed_in("officer").await;
    let opened =
        console.open_person("subject=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E&reason=%3Cb%3E").await;
    let page = opened.location().to_owned();
    let evidence = "kind=notice&notice=%3Cscript%3E&evidence=%22%3E%3Cscript%3E&once=a";
    console.record(&format!("{page}/events"), evidence).await;
    let shown = console.get(&page).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert!(shown.body.contains("&#60;script&#62;") && shown.body.contains("The person is known"));
    assert!(!shown.body.contains("<script") && !shown.body.contains("<b>"), "{}", shown.body);
    let unknown = console.open_person("subject=p-77&reason=x").await.location().to_owned();
    assert!(console.get(&unknown).await.body.contains("no event about this person"));
}
