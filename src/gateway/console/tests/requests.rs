//! The list of people's requests: it names nobody, and leads to the pages of the person.

use super::*;
use crate::ledger::{Batch, Freshness, LineResult};

impl TestConsole {
    async fn ask(&self, person: &str, right: &str, at: &str) {
        self.record_request("received", person, right, at).await;
    }

    async fn answer(&self, person: &str, right: &str, at: &str) {
        self.record_request("answered", person, right, at).await;
    }

    async fn record_request(&self, what: &str, person: &str, right: &str, at: &str) {
        let line =
            format!(r#"{{"subject":"{person}","kind":"request-{what}","right":"{right}","at":"{at}"}}"#);
        let accepted = |line: LineResult| assert!(line.outcome.is_ok(), "{:?}", line.outcome);
        let now = jiff::Timestamp::now();
        self.admin.state.shared.ledger.import(line.as_bytes(), Batch::default(), now, accepted).await;
    }
}

async fn officer() -> TestConsole {
    let mut console = TestConsole::with_actors(&[("officer", &[AdminRole::Privacy])]).await;
    console.sign_in("officer").await;
    console
}

#[tokio::test]
async fn a_request_leads_to_its_person_and_the_look_is_on_record() {
    let console = officer().await;
    assert_has(&console.get("/console/requests").await.body, &["No request is open"]);
    console.ask("p-1", "access", "2026-01-01T00:00:00Z").await;
    let now = jiff::Timestamp::now().to_string();
    console.ask("person-two", "erasure", &now).await;
    let list = console.get("/console/requests").await;
    assert_has(
        &list.body,
        &[
            "2 open, 1 of them overdue",
            "access, received 2026-01-01 00:00:00",
            "overdue by",
            "due in 29 days",
        ],
    );
    assert!(!list.body.contains("p-1") && !list.body.contains("person-two"), "{}", list.body);
    assert!(console.admin.acts().is_empty(), "nobody was looked at");
    let overdue = console.get("/console/requests?state=overdue").await;
    assert_has(&overdue.body, &["1 in all", "Show all that are open", "<option value=\"overdue\" selected>"]);
    let token = list.hidden("request");
    assert_eq!(overdue.hidden("request"), token, "the same request");
    let opened = console.form("/console/requests", &format!("request={token}")).await;
    assert_eq!(opened.status, StatusCode::SEE_OTHER, "{}", opened.body);
    let link = opened.location().to_owned();
    assert!(link.starts_with("/console/subjects/") && !link.contains("p-1"), "{link}");
    assert!(console.admin.acts().is_empty(), "nothing is shown yet");
    let page = console.get(&link).await;
    assert_has(&page.body, &["Subject p-1", "opened for: request of the person: access"]);
    let acts = console.admin.acts();
    let reason = "request of the person: access, received 2026-01-01 00:00:00 UTC";
    assert!(!acts.is_empty() && acts.iter().all(|act| act.reason.as_deref() == Some(reason)));
    let answers = format!("{link}/answers");
    let answered = console.form(&answers, "kind=request-answered&right=access&once=a").await;
    assert_eq!(answered.status, StatusCode::SEE_OTHER, "{}", answered.body);
    for gone in [format!("request={token}"), "request=".to_owned(), "request=p-1".to_owned()] {
        assert_eq!(console.form("/console/requests", &gone).await.status, StatusCode::NOT_FOUND, "{gone}");
    }
    let rest = console.get("/console/requests").await.body;
    assert_has(&rest, &["1 open, 0 of them overdue", "href=\"/console/requests?state=answered\""]);
    let overview = console.get("/").await.body;
    assert_has(&overview, &["<a href=\"/console/requests\" aria-label=\"Requests of people: 1\">1</a>"]);
}

#[tokio::test]
async fn a_long_list_of_requests_has_pages() {
    let console = officer().await;
    for n in 0..60 {
        console.ask(&format!("c-{n:03}"), "access", "2026-01-01T00:00:00Z").await;
    }
    let first = console.get("/console/requests").await.body;
    assert_has(&first, &["1 to 50 of 60", "page=1\" rel=\"next\""]);
    let last = console.get("/console/requests?page=1").await.body;
    assert_has(&last, &["51 to 60 of 60"]);
    console.admin.state.shared.ledger.assume_freshness(Freshness::Unknown);
    assert_has(&console.get("/console/requests").await.body, &["The ledger is not current."]);
}

#[tokio::test]
async fn answered_requests_are_read_from_the_store_and_lead_to_their_people() {
    let console = officer().await;
    let none = console.get("/console/requests?state=answered").await.body;
    assert_has(&none, &["No answer is on record here.", "href=\"/console/requests\""]);
    for n in 0..60 {
        let person = format!("person-{n:03}");
        console.ask(&person, "access", "2026-01-01T00:00:00Z").await;
        let at = if n == 59 { "2026-03-01T00:00:00Z" } else { "2026-01-20T00:00:00Z" };
        console.answer(&person, "access", at).await;
    }
    let first = console.get("/console/requests?state=answered").await;
    assert_has(
        &first.body,
        &[
            "Answered requests",
            "29 days late",
            "in time",
            "2026-03-01 00:00:00",
            "nobody signed in",
            "rel=\"next\">Older",
        ],
    );
    assert_eq!(first.body.matches("<th role=\"rowheader\"").count(), 50);
    assert!(!first.body.contains("person-0"), "{}", first.body);
    let (_, rest) = first.body.split_once("cursor=").unwrap();
    let cursor = rest.split_once('"').unwrap().0;
    let second = console.get(&format!("/console/requests?state=answered&cursor={cursor}")).await;
    assert_eq!(second.body.matches("<th role=\"rowheader\"").count(), 10);
    assert_has(&second.body, &["href=\"/console/requests?state=answered\">Newest</a>"]);
    assert!(!second.body.contains("rel=\"next\""), "{}", second.body);
    assert_eq!(
        console.get("/console/requests?state=answered&cursor=x").await.status,
        StatusCode::BAD_REQUEST
    );
    assert!(console.admin.acts().is_empty(), "nobody was looked at");

    let (token, answer) = (first.hidden("request"), first.hidden("answer"));
    let opened = console.form("/console/requests", &format!("request={token}&answer={answer}")).await;
    let page = console.get(opened.location()).await;
    let reason = "request of the person: access, answered 2026-03-01 00:00:00 UTC";
    assert_has(&page.body, &["Subject person-059", reason]);
    assert!(console.admin.acts().iter().all(|act| act.reason.as_deref() == Some(reason)));
    let other = second.hidden("answer");
    for forged in [
        format!("request={token}&answer={other}"),
        format!("request={token}"),
        format!("request={token}&answer=1"),
        format!("request={token}&answer=18446744073709551615"),
    ] {
        assert_eq!(
            console.form("/console/requests", &forged).await.status,
            StatusCode::NOT_FOUND,
            "{forged}"
        );
    }
}
