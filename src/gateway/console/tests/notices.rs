//! The pages of the open notices: whom a recipient must be told about is named after the look is on record.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use super::*;
use crate::ledger::NoticeRow;
use crate::notices::{Channel, NoticeEvent, NoticeState, NoticeStatus, PersonName};

const PERSON: &str = "erased-person";

/// A waiting notice about [`PERSON`].
fn waiting(channel: Channel, name: Option<PersonName>) -> NoticeState {
    let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    NoticeState {
        event: NoticeEvent::Erasure,
        at,
        namespace: None,
        subject: PERSON.to_owned(),
        name,
        categories: vec!["email".to_owned(), "name".to_owned()],
        first: at,
        last: at,
        channel,
        identity: None,
        status: NoticeStatus::Waiting,
        attempts: 0,
        unrecorded: false,
        begun: None,
    }
}

impl TestConsole {
    /// Puts an open notice on record that is so many days old, and returns its id.
    fn notice(&self, recipient: &str, days: i64, state: &NoticeState) -> Ulid {
        let made = Timestamp::now().checked_sub(SignedDuration::from_hours(24 * days)).unwrap();
        let id = Ulid::from_parts(u64::try_from(made.as_millisecond()).unwrap(), u128::from(rand_bits()));
        let row = NoticeRow {
            id,
            inquiry: id,
            recipient: Some(Arc::from(recipient)),
            due: made,
            open: true,
            version: 1,
            state: serde_json::to_string(state).unwrap(),
        };
        assert!(self.admin.state.shared.ledger.notice_store().write_notices(&[row]).unwrap());
        id
    }
}

fn rand_bits() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_be_bytes(bytes)
}

async fn officer() -> TestConsole {
    let roles: &[AdminRole] = &[AdminRole::Privacy, AdminRole::Read];
    let mut console = TestConsole::with_actors(&[("officer", roles), ("ops", &[AdminRole::Operator])]).await;
    console.sign_in("officer").await;
    console
}

#[tokio::test]
async fn open_notices_are_listed_with_their_delivery_and_name_nobody() {
    let console = officer().await;
    assert_has(
        &console.get("/console/notices").await.body,
        &["No notice is open.", "0 open to all recipients"],
    );
    let failed =
        NoticeState { attempts: 3, ..waiting(Channel::Webhook, Some(PersonName::Id(PERSON.to_owned()))) };
    let expired = NoticeState { status: NoticeStatus::Expired, ..waiting(Channel::Manual, None) };
    console.notice("support", 1, &waiting(Channel::Manual, None));
    console.notice("acme", 45, &failed);
    console.notice("acme", 2, &waiting(Channel::Feed, None));
    console.notice("acme", 60, &expired);
    let list = console.get("/console/notices").await.body;
    let expected = [
        "4 open to all recipients, 2 of them overdue.",
        "overdue, open for 60 days",
        "not accepted in time: tell it yourself",
        "3 attempts failed: the gateway tries again",
        "waits in its feed",
        "<span class=\"chip bad\">tell it yourself</span>",
        "href=\"/console/recipients/support\"",
    ];
    assert_has(&list, &expected);
    let places: Vec<_> = ["open for 60 days", "open for 45 days", "open for 2 days", "open for 1 day<"]
        .iter()
        .map(|text| list.find(text).unwrap())
        .collect();
    assert!(places.is_sorted(), "oldest first: {list}");
    assert!(!list.contains(PERSON), "{list}");
    let of_one = console.get("/console/notices?recipient=support").await.body;
    assert_has(&of_one, &["open for 1 day<", "<option value=\"support\" selected>"]);
    assert!(!of_one.contains("open for 45 days"), "{of_one}");
    assert_has(
        &console.get("/console/notices?recipient=old").await.body,
        &["No notice to this recipient is open."],
    );
    let recipient = console.get("/console/recipients/support").await.body;
    assert_has(&recipient, &["<a href=\"/console/notices?recipient=support\">1</a>"]);
    assert_eq!(console.get("/console/notices?cursor=x").await.status, StatusCode::BAD_REQUEST);
    assert!(console.admin.acts().is_empty(), "nobody was looked at");
}

#[tokio::test]
async fn a_long_list_of_notices_goes_on_at_its_cursor() {
    let console = officer().await;
    for n in 0..60 {
        console.notice("support", 100 - n, &waiting(Channel::Manual, None));
    }
    let first = console.get("/console/notices?recipient=support").await.body;
    assert_has(&first, &["open for 100 days", "open for 51 days", "rel=\"next\">Later"]);
    assert!(!first.contains("open for 50 days"), "{first}");
    let (_, rest) = first.split_once("cursor=").unwrap();
    let cursor = rest.split_once('"').unwrap().0;
    let second = console.get(&format!("/console/notices?recipient=support&cursor={cursor}")).await.body;
    assert_has(&second, &["open for 50 days", "open for 41 days", ">Oldest</a>"]);
    assert!(!second.contains("rel=\"next\""), "{second}");
}

#[tokio::test]
async fn a_notice_names_its_person_after_the_look_is_on_record() {
    let console = officer().await;
    let name = Some(PersonName::Pseudonym("pn_7".to_owned()));
    let page = format!("/console/notices/{}", console.notice("support", 1, &waiting(Channel::Manual, name)));
    let outline = console.get(&page).await;
    assert_eq!(outline.title(), "Notice · purposegate");
    assert_has(&outline.body, &["Notice to support", "2026-01-02 03:04:05", "email", "Show who it is"]);
    assert!(!outline.body.contains(PERSON) && !outline.body.contains("pn_7"), "{}", outline.body);
    let person = format!("{page}/person");
    for (reason, words) in [("", "Give a reason. It is recorded."), ("a%01b", "control characters")] {
        let missing = console.form(&person, &format!("reason={reason}")).await;
        assert_eq!(missing.status, StatusCode::BAD_REQUEST);
        assert_has(&missing.body, &[words, "role=\"alert\"", "<title>Error: Notice"]);
        assert!(!missing.body.contains(PERSON), "{}", missing.body);
    }
    assert!(console.admin.acts().is_empty());
    let shown = console.form(&person, "reason=to+tell+them").await;
    assert_has(&shown.body, &[PERSON, "the pseudonym pn_7", "Shown for: to tell them"]);
    let acts = console.admin.acts();
    let told: Vec<_> = acts.iter().map(|act| (&*act.resource, act.reason.as_deref())).collect();
    assert_eq!(told, [("/v1/notices", Some("to tell them"))]);
    assert!(acts[0].subject.as_ref().is_some_and(|pseudonym| !pseudonym.contains(PERSON)));
    console.admin.state.shared.log.assume_failed();
    let unrecorded = console.form(&person, "reason=x").await;
    assert_eq!(unrecorded.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!unrecorded.body.contains(PERSON), "{}", unrecorded.body);
    for nothing in ["x", "01M8HSMCDZ7JP0DJMTP6MWK1K8"] {
        let answer = console.get(&format!("/console/notices/{nothing}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{nothing}");
    }
}

#[tokio::test]
async fn a_notice_is_closed_after_a_question_with_a_reason() {
    let mut console = officer().await;
    let id = console.notice("support", 1, &waiting(Channel::Manual, None));
    let page = format!("/console/notices/{id}");
    let close = format!("{page}/delivered");
    let question = console.form(&close, "").await;
    assert_has(&question.body, &["Have you told support?", "name=\"reason\"", "The notice is closed"]);
    let missing = console.confirm(&close, "", "&reason=+").await;
    assert_eq!(missing.status, StatusCode::BAD_REQUEST);
    assert_has(&missing.body, &["Have you told support?", "Give a reason. It is recorded."]);
    assert!(console.admin.acts().is_empty());
    let closed = console.confirm(&close, "", "&reason=by+letter").await;
    assert_eq!(closed.location(), "/console/notices", "{}", closed.body);
    let acts = console.admin.acts();
    let told: Vec<_> = acts.iter().map(|act| (&*act.resource, act.reason.as_deref())).collect();
    assert_eq!(told, [("/v1/notices/{id}/delivered", Some("by letter"))]);
    assert_has(&console.get("/console/notices").await.body, &["No notice is open."]);
    let told = console.get(&page).await.body;
    assert_has(&told, &["<span class=\"chip \">told</span>"]);
    assert!(!told.contains("I have told it"), "{told}");
    console.cookie = None;
    console.sign_in("ops").await;
    for path in ["/console/notices", &page] {
        assert_eq!(console.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
}
