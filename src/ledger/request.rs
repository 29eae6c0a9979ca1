//! Requests of data subjects that the controller must answer (P-5; GDPR Art. 12(3)).
//!
//! Pure. Invariant: a request has no effect on disclosures. A person who has sent only requests stays unknown to the
//! ledger.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::event::Event;
use super::fold::in_order;
use super::kinds::EventKind;
use super::payload::{RecordedBy, Right};
use super::store::Position;
use crate::vocabulary::SubjectId;

/// The time within which a request must be answered.
pub const TIME_TO_ANSWER: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A request without an answer.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenRequest {
    /// The person who sent the request.
    pub person: SubjectId,
    /// The right that the person exercises.
    pub right: Right,
    /// The time at which the request was received.
    pub received: Timestamp,
}

impl std::fmt::Debug for OpenRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenRequest")
    }
}

impl OpenRequest {
    /// Returns the time at which the answer is due.
    pub fn due(&self) -> Timestamp {
        due(self.received)
    }

    /// True if the answer was due before `now`.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.due() < now
    }

    /// Returns the request as JSON: person, right, and the times of receipt and of the answer.
    pub fn json(&self, now: Timestamp) -> Map<String, Value> {
        let mut shown = person_and_right(&self.person, self.right);
        shown.insert("received".to_owned(), self.received.to_string().into());
        shown.insert("due".to_owned(), self.due().to_string().into());
        shown.insert("overdue".to_owned(), self.is_overdue(now).into());
        shown
    }
}

/// An answer to a request, as it is on record.
#[derive(Clone, PartialEq, Eq)]
pub struct AnsweredRequest {
    /// The person who sent the request.
    pub person: SubjectId,
    /// The right that the person exercised.
    pub right: Right,
    /// The time at which the request was received. `None` if the answer is dated before every request.
    pub received: Option<Timestamp>,
    /// The time of the answer.
    pub answered: Timestamp,
    /// Position of the answer in the ledger.
    pub position: Position,
    /// Who recorded the answer.
    pub recorded_by: Option<RecordedBy>,
}

impl std::fmt::Debug for AnsweredRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AnsweredRequest({})", self.position)
    }
}

impl AnsweredRequest {
    /// Returns the request that an event answers, given all events of the person; `None` if the event is no answer.
    pub(super) fn of<'e>(
        person: &SubjectId,
        events: impl IntoIterator<Item = &'e Event>,
        (answer, position): (&'e Event, Position),
    ) -> Option<AnsweredRequest> {
        let EventKind::RequestAnswered { right } = answer.kind else { return None };
        let of_right = |event: &&Event| match &event.kind {
            EventKind::RequestReceived { right: of } | EventKind::RequestAnswered { right: of } => {
                *of == right
            }
            _ => false,
        };
        let mut received = None;
        for event in in_order(events.into_iter().filter(of_right)) {
            if std::ptr::eq(event, answer) {
                break;
            }
            received = match event.kind {
                EventKind::RequestReceived { .. } => received.or(Some(event.at)),
                _ => None,
            };
        }
        Some(AnsweredRequest {
            person: person.clone(),
            right,
            received,
            answered: answer.at,
            position,
            recorded_by: answer.provenance.recorded_by.clone(),
        })
    }

    /// Returns the time by which the answer was due.
    pub fn due(&self) -> Option<Timestamp> {
        self.received.map(due)
    }

    /// True if the answer came after it was due.
    pub fn was_overdue(&self) -> bool {
        self.due().is_some_and(|due| due < self.answered)
    }

    /// Returns the request as JSON: person, right, and the times of receipt, of the due date and of the answer.
    pub fn json(&self) -> Map<String, Value> {
        let mut shown = person_and_right(&self.person, self.right);
        for (name, time) in [("received", self.received), ("due", self.due())] {
            shown.extend(time.map(|time| (name.to_owned(), time.to_string().into())));
        }
        shown.insert("overdue".to_owned(), self.was_overdue().into());
        shown.insert("answered".to_owned(), self.answered.to_string().into());
        shown
    }
}

/// Returns the time by which a request that was received at this time has to be answered.
fn due(received: Timestamp) -> Timestamp {
    received.checked_add(TIME_TO_ANSWER).unwrap_or(Timestamp::MAX)
}

fn person_and_right(person: &SubjectId, right: Right) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("subject".to_owned(), person.id().as_str().into());
    if let Some(namespace) = person.namespace() {
        shown.insert("namespace".to_owned(), (&**namespace).into());
    }
    shown.insert("right".to_owned(), right.name().into());
    shown
}

/// Returns the requests that the events of one person leave open. A repetition does not change when the request is due.
pub(super) fn open<'e>(person: &SubjectId, events: impl IntoIterator<Item = &'e Event>) -> Vec<OpenRequest> {
    let mut open: Vec<OpenRequest> = Vec::new();
    for event in in_order(events.into_iter().filter(|event| is_request(event))) {
        match event.kind {
            EventKind::RequestReceived { right } if open.iter().all(|request| request.right != right) => {
                open.push(OpenRequest { person: person.clone(), right, received: event.at });
            }
            EventKind::RequestAnswered { right } => open.retain(|request| request.right != right),
            _ => {}
        }
    }
    open
}

/// True if an event is about a request.
pub(super) fn is_request(event: &Event) -> bool {
    matches!(event.kind, EventKind::RequestReceived { .. } | EventKind::RequestAnswered { .. })
}

/// True if there is at least one event and all events are about requests. False without events: there may be events that
/// cannot be read.
pub(super) fn are_all_requests<'e>(events: impl Iterator<Item = &'e Event>) -> bool {
    let mut events = events.peekable();
    events.peek().is_some() && events.all(is_request)
}

/// Sorts requests by the time at which they are due.
pub(super) fn sort_by_due(mut requests: Vec<OpenRequest>) -> Vec<OpenRequest> {
    requests.sort_by(|a, b| {
        (a.due(), a.person.namespace(), a.person.id(), a.right).cmp(&(
            b.due(),
            b.person.namespace(),
            b.person.id(),
            b.right,
        ))
    });
    requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::entity::EntityKind;
    use crate::ledger::event_json;
    use crate::ledger::terms::fixture::Fixture;
    use crate::vocabulary::IdReader;

    fn event(text: &str) -> Event {
        let draft = event_json::parse(text.as_bytes(), EntityKind::Subject, &Fixture).unwrap();
        Event { kind: draft.kind, at: draft.at.unwrap(), provenance: draft.provenance }
    }

    fn left_open(texts: &[&str]) -> Vec<(Right, String)> {
        let events: Vec<_> = texts.iter().map(|text| event(text)).collect();
        let person = IdReader::default().read("ada").unwrap();
        open(&person, &events).iter().map(|open| (open.right, open.due().to_string())).collect()
    }

    const ACCESS: &str = r#"{"kind":"request-received","right":"access","at":"2026-01-01T00:00:00Z"}"#;
    const ERASURE: &str = r#"{"kind":"request-received","right":"erasure","at":"2026-01-05T00:00:00Z"}"#;
    const AGAIN: &str = r#"{"kind":"request-received","right":"access","at":"2026-01-20T00:00:00Z"}"#;
    const ANSWERED: &str = r#"{"kind":"request-answered","right":"access","at":"2026-01-25T00:00:00Z"}"#;

    #[test]
    fn a_request_is_due_after_thirty_days_and_open_until_it_is_answered() {
        let access = (Right::Access, "2026-01-31T00:00:00Z".to_owned());
        let erasure = (Right::Erasure, "2026-02-04T00:00:00Z".to_owned());
        assert_eq!(left_open(&[ACCESS]), std::slice::from_ref(&access));
        assert_eq!(left_open(&[ERASURE, ACCESS]), [access.clone(), erasure.clone()]);
        assert_eq!(left_open(&[ACCESS, AGAIN]), [access], "a repetition does not extend the time");
        assert_eq!(left_open(&[ACCESS, ERASURE, AGAIN, ANSWERED]), [erasure]);
        let anew = r#"{"kind":"request-received","right":"access","at":"2026-03-01T00:00:00Z"}"#;
        let due_anew = (Right::Access, "2026-03-31T00:00:00Z".to_owned());
        assert_eq!(left_open(&[ACCESS, ANSWERED, anew]), [due_anew]);
        assert_eq!(left_open(&[ANSWERED]), []);
    }

    /// Returns receipt, due date and lateness of the request that the last event answers.
    fn answered(texts: &[&str]) -> (Option<String>, bool) {
        let events: Vec<_> = texts.iter().map(|text| event(text)).collect();
        let person = IdReader::default().read("ada").unwrap();
        let answer = (events.last().unwrap(), Position(7));
        let answered = AnsweredRequest::of(&person, &events, answer).unwrap();
        assert!(!format!("{answered:?}").contains("ada"));
        (answered.received.map(|received| received.to_string()), answered.was_overdue())
    }

    #[test]
    fn an_answer_is_to_the_first_request_that_was_open() {
        let received = Some("2026-01-01T00:00:00Z".to_owned());
        assert_eq!(answered(&[ACCESS, ERASURE, AGAIN, ANSWERED]), (received.clone(), false));
        let late = ANSWERED.replace("2026-01-25", "2026-02-01");
        assert_eq!(answered(&[ACCESS, &late]), (received, true));
        let anew = ACCESS.replace("2026-01-01", "2026-02-01");
        let again = ANSWERED.replace("2026-01-25", "2026-02-02");
        let since = Some("2026-02-01T00:00:00Z".to_owned());
        assert_eq!(answered(&[ACCESS, ANSWERED, &anew, &again]), (since, false));
        let before = ANSWERED.replace("2026-01-25", "2025-12-31");
        assert_eq!(answered(&[ACCESS, &before]), (None, false), "it is dated before the request");
        let person = IdReader::default().read("ada").unwrap();
        let request = event(ACCESS);
        assert!(AnsweredRequest::of(&person, [&request], (&request, Position(1))).is_none());
    }

    #[test]
    fn a_request_is_overdue_after_the_thirtieth_day() {
        let person = IdReader::default().read("ada").unwrap();
        let received = "2026-01-01T00:00:00Z".parse().unwrap();
        let request = OpenRequest { person, right: Right::Access, received };
        assert!(!request.is_overdue("2026-01-31T00:00:00Z".parse().unwrap()));
        assert!(request.is_overdue("2026-01-31T00:00:01Z".parse().unwrap()));
        assert!(!format!("{request:?}").contains("ada"));
    }
}
