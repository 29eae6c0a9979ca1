//! Disclosure cases: the data that an authority may receive, the people they are about, and the end (P-4, G-4c).
//!
//! A case is registered once and never changed. Two different people must approve it. It is in force from the second
//! approval until it ends. Invariant: contradictory events (two different registrations, an approval without a
//! registration) put nothing in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::event::Event;
use super::event_json::member::write_registration;
use super::kinds::EventKind;
use super::payload::Registration;
use super::terms::TermLookup;
use crate::keys::{Fingerprint, Fingerprints};
use crate::vocabulary::{CategoryId, PurposeId};

/// The number of different people who must approve a case.
pub const APPROVALS: usize = 2;

/// A registered case, in the form that decisions about records use: fingerprints stand for people.
#[derive(Clone, PartialEq, Eq)]
pub struct Case {
    /// The configured name of the authority.
    pub recipient: Arc<str>,
    /// The purpose that the case permits disclosures for.
    pub purpose: PurposeId,
    /// The data categories that may be disclosed.
    pub categories: Arc<[CategoryId]>,
    /// The instant from which the case is no longer in force.
    pub end: Timestamp,
    subjects: BTreeSet<Fingerprint>,
    approvals: usize,
    ended: bool,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Case")
    }
}

/// The status of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaseStatus {
    /// The case waits for approvals.
    Registered,
    /// The case permits disclosures.
    InForce,
    /// The case has ended.
    Ended,
}

impl CaseStatus {
    /// Returns the name of the status, as JSON shows it.
    pub fn name(self) -> &'static str {
        match self {
            CaseStatus::Registered => "registered",
            CaseStatus::InForce => "in-force",
            CaseStatus::Ended => "ended",
        }
    }
}

impl Case {
    /// Returns the status at `now`.
    pub fn status(&self, now: Timestamp) -> CaseStatus {
        status(self.ended || self.end <= now, self.approvals)
    }

    /// Returns the number of approvals that count. Once somebody approved who was signed in, names that anybody could give do not.
    pub fn approvals(&self) -> usize {
        self.approvals
    }

    /// True if the case permits disclosures at `now`.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.status(now) == CaseStatus::InForce
    }

    /// True if the recipient can rely on the case for a purpose at `now`: for the purpose of the case or one below it.
    pub fn serves(
        &self,
        recipient: &str,
        purpose: PurposeId,
        terms: &dyn TermLookup,
        now: Timestamp,
    ) -> bool {
        self.is_in_force(now) && *self.recipient == *recipient && terms.purpose_within(purpose, self.purpose)
    }

    /// True if the case names this person.
    pub fn concerns(&self, person: &Fingerprint) -> bool {
        self.subjects.contains(person)
    }
}

fn status(ended: bool, approvals: usize) -> CaseStatus {
    match (ended, approvals >= APPROVALS) {
        (true, _) => CaseStatus::Ended,
        (false, true) => CaseStatus::InForce,
        (false, false) => CaseStatus::Registered,
    }
}

/// The events of one case, merged.
struct CaseHistory<'e> {
    registration: &'e Registration,
    /// The people who approved the case, by normalized name; the value is the name as it was first written, and true if
    /// it was verified.
    approvers: BTreeMap<String, (&'e str, bool)>,
    ended: bool,
}

impl<'e> CaseHistory<'e> {
    /// Merges the events of one case. Returns `None` if the case is not registered.
    fn read(events: impl IntoIterator<Item = &'e Event>) -> Option<CaseHistory<'e>> {
        let mut registration: Option<&Registration> = None;
        let (mut approvers, mut ended) = (BTreeMap::new(), false);
        for event in events {
            match &event.kind {
                EventKind::CaseRegistered { registration: other } => match registration {
                    None => registration = Some(other),
                    Some(known) => ended |= known != &**other,
                },
                EventKind::CaseApproved { approver } => {
                    let known = approvers.entry(approver.normalized()).or_insert((&*approver.0, false));
                    known.1 |= event.has_verified_approver();
                }
                EventKind::CaseEnded => ended = true,
                _ => {}
            }
        }
        Some(CaseHistory { registration: registration?, approvers, ended })
    }

    /// Number of approvals that count. Once somebody approved who is signed in, names that anybody could give do not.
    fn approvals(&self) -> usize {
        match self.approvers.values().filter(|(_, verified)| *verified).count() {
            0 => self.approvers.len(),
            verified => verified,
        }
    }
}

/// Folds the events of one case. Returns `None` if the case is not registered.
pub(super) fn fold<'e>(
    events: impl IntoIterator<Item = &'e Event>,
    fingerprints: &Fingerprints,
) -> Option<Case> {
    let history = CaseHistory::read(events)?;
    let approvals = history.approvals();
    let CaseHistory { registration, approvers: _, ended } = history;
    let Registration { recipient, purpose, subjects, categories, end, reference: _, confidential_until: _ } =
        registration;
    Some(Case {
        recipient: Arc::clone(recipient),
        purpose: *purpose,
        categories: categories.as_slice().into(),
        end: *end,
        subjects: subjects.iter().map(|subject| fingerprints.subject(subject)).collect(),
        approvals,
        ended,
    })
}

/// A case that must not yet be mentioned to the people it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfidentialCase {
    /// Recipient and purpose of the case. `None` if the case has no readable registration; it is then confidential for
    /// every recipient and purpose.
    of: Option<(Arc<str>, PurposeId)>,
}

impl ConfidentialCase {
    /// Returns the case if it is confidential at `now`.
    pub(super) fn read<'e>(
        events: impl IntoIterator<Item = &'e Event>,
        now: Timestamp,
    ) -> Option<ConfidentialCase> {
        let Some(CaseHistory { registration, .. }) = CaseHistory::read(events) else {
            return Some(ConfidentialCase { of: None });
        };
        let confidential = registration.confidential_until.is_some_and(|until| now < until);
        confidential.then(|| ConfidentialCase {
            of: Some((Arc::clone(&registration.recipient), registration.purpose)),
        })
    }

    /// True if a disclosure to this recipient, for this purpose, that cites the case can have relied on it. The
    /// citation alone proves nothing: any recipient can send the id of a case.
    pub fn covers(&self, recipient: &str, purpose: &str, terms: &dyn TermLookup) -> bool {
        self.of.as_ref().is_none_or(|(named, wide)| {
            let purpose = terms.purpose(purpose);
            **named == *recipient && purpose.is_some_and(|purpose| terms.purpose_within(purpose, *wide))
        })
    }
}

/// Returns a case as JSON: the members of its registration, its approvers and its status.
pub(super) fn json<'e>(
    id: &str,
    events: impl IntoIterator<Item = &'e Event>,
    now: Timestamp,
    terms: &dyn TermLookup,
) -> Option<Map<String, Value>> {
    let history = CaseHistory::read(events)?;
    let approvals = history.approvals();
    let CaseHistory { registration, approvers, ended } = history;
    let mut shown = Map::new();
    shown.insert("case".to_owned(), id.into());
    write_registration(registration, terms, &mut |name, value| {
        shown.insert(name.to_owned(), value);
    });
    let status = status(ended || registration.end <= now, approvals);
    let approvers =
        approvers.into_values().map(|(name, verified)| json!({ "name": name, "verified": verified }));
    shown.insert("approvers".to_owned(), approvers.collect());
    shown.insert("state".to_owned(), status.name().into());
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;
    use crate::ledger::entity::EntityKind;
    use crate::ledger::event_json;
    use crate::ledger::terms::fixture::Fixture;
    use crate::vocabulary::Namespaces;

    const REGISTERED: &str = r#"{"kind":"case-registered","recipient":"court","purpose":"security",
        "subjects":["ada",{"id":"ada","namespace":"crm"}],"categories":["email"],"end":"2027-01-01T00:00:00Z","reference":"12 O 4/26"}"#;
    const NOW: &str = "2026-11-22T00:00:00Z";

    fn approved(by: &str) -> String {
        format!(r#"{{"kind":"case-approved","approver":"{by}"}}"#)
    }

    fn folded(texts: &[&str]) -> Option<Case> {
        let event = |text: &&str| {
            let draft = event_json::parse(text.as_bytes(), EntityKind::Case, &Fixture).unwrap();
            Event { kind: draft.kind, at: NOW.parse().unwrap(), provenance: draft.provenance }
        };
        let events: Vec<_> = texts.iter().map(event).collect();
        fold(&events, &Keys::random().unwrap().fingerprints())
    }

    fn status_of(texts: &[&str]) -> CaseStatus {
        folded(texts).unwrap().status(NOW.parse().unwrap())
    }

    #[test]
    fn two_different_people_put_a_case_in_force() {
        let (ada, ben) = (approved("Ada Lovelace"), approved("Ben"));
        assert_eq!(status_of(&[REGISTERED]), CaseStatus::Registered);
        assert_eq!(status_of(&[REGISTERED, &ada]), CaseStatus::Registered);
        assert_eq!(status_of(&[REGISTERED, &ada, &ada]), CaseStatus::Registered);
        assert_eq!(status_of(&[REGISTERED, &ada, &approved(" ada  LOVELACE ")]), CaseStatus::Registered);
        for same in
            ["Ada Lovelace.", "ada.lovelace", "ADA-LOVELACE", "Ada Lovelace\u{200b}", "_ada lovelace_"]
        {
            assert_eq!(status_of(&[REGISTERED, &ada, &approved(same)]), CaseStatus::Registered, "{same}");
        }
        assert_eq!(status_of(&[REGISTERED, &ada, &ben]), CaseStatus::InForce);
        assert!(folded(&[&ada, &ben]).is_none());
    }

    #[test]
    fn a_name_that_anybody_gave_does_not_count_beside_somebody_who_was_signed_in() {
        let signed = |by: &str| {
            format!(
                r#"{{"kind":"case-approved","approver":"{by}","recorded-by":{{"name":"{by}","verified":true}}}}"#
            )
        };
        let (claimed, ada, ben) = (approved("ada"), signed("ada"), signed("ben"));
        assert_eq!(status_of(&[REGISTERED, &claimed, &ben]), CaseStatus::Registered);
        assert_eq!(status_of(&[REGISTERED, &claimed, &ben, &ada]), CaseStatus::InForce);
    }

    #[test]
    fn a_case_ends_at_its_end_by_an_event_or_by_a_second_registration() {
        let (ada, ben) = (approved("ada"), approved("ben"));
        let case = folded(&[REGISTERED, &ada, &ben]).unwrap();
        let at = |time: &str| case.is_in_force(time.parse().unwrap());
        assert!(at("2026-12-31T23:59:59Z") && !at("2027-01-01T00:00:00Z"));
        assert_eq!(status_of(&[REGISTERED, &ada, &ben, r#"{"kind":"case-ended"}"#]), CaseStatus::Ended);
        assert_eq!(status_of(&[REGISTERED, r#"{"kind":"case-ended"}"#, &ada, &ben]), CaseStatus::Ended);
        let other = REGISTERED.replace("email", "personal");
        assert_eq!(status_of(&[REGISTERED, &ada, &ben, &other]), CaseStatus::Ended, "in other words");
        assert_eq!(
            status_of(&[REGISTERED, &ada, &ben, REGISTERED]),
            CaseStatus::InForce,
            "in the same words"
        );
    }

    #[test]
    fn a_case_names_people_with_their_namespace() {
        let fingerprints = Keys::random().unwrap().fingerprints();
        let draft = event_json::parse(REGISTERED.as_bytes(), EntityKind::Case, &Fixture).unwrap();
        let event = Event { kind: draft.kind, at: NOW.parse().unwrap(), provenance: draft.provenance };
        let case = fold([&event], &fingerprints).unwrap();
        let is_named = |namespace: Option<&str>, id: &str| {
            let person = Namespaces::default().reader(namespace).read(id).unwrap();
            case.concerns(&fingerprints.subject(&person))
        };
        assert!(is_named(None, "ada") && is_named(Some("crm"), "ada"));
        assert!(!is_named(Some("shop"), "ada") && !is_named(None, "ben"));
    }
}
