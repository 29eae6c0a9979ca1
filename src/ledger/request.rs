//! Requests of data subjects that the controller must answer (P-5; GDPR Art. 12(3)).
//!
//! Pure. Invariant: a request has no effect on disclosures. A person who has sent only requests stays unknown to the
//! ledger.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::event::Event;
use super::fold::in_order;
use super::kinds::EventKind;
use super::payload::Right;
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
        self.received.checked_add(TIME_TO_ANSWER).unwrap_or(Timestamp::MAX)
    }

    /// True if the answer was due before `now`.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.due() < now
    }

    /// Returns the request as JSON: person, right, and the times of receipt and of the answer.
    pub fn json(&self, now: Timestamp) -> Map<String, Value> {
        let mut shown = Map::new();
        shown.insert("subject".to_owned(), self.person.id().as_str().into());
        if let Some(namespace) = self.person.namespace() {
            shown.insert("namespace".to_owned(), (&**namespace).into());
        }
        shown.insert("right".to_owned(), self.right.name().into());
        shown.insert("received".to_owned(), self.received.to_string().into());
        shown.insert("due".to_owned(), self.due().to_string().into());
        shown.insert("overdue".to_owned(), self.is_overdue(now).into());
        shown
    }
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

    fn left_open(texts: &[&str]) -> Vec<(Right, String)> {
        let event = |text: &&str| {
            let draft = event_json::parse(text.as_bytes(), EntityKind::Subject, &Fixture).unwrap();
            Event { kind: draft.kind, at: draft.at.unwrap(), provenance: draft.provenance }
        };
        let events: Vec<_> = texts.iter().map(event).collect();
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
