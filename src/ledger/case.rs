//! Disclosure cases: what an authority may have, about whom, until when (P-4, G-4c).
//!
//! A case is registered once and never changed; it is in force after two different people have
//! approved it and until it ends. Invariant: what is not certain (a case registered twice in
//! different words, an approval without a case) puts nothing in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::event::Event;
use super::event_json::member::write_registration;
use super::kinds::EventKind;
use super::payload::Registration;
use super::terms::TermLookup;
use crate::keys::{Fingerprint, Fingerprints};
use crate::vocabulary::{CategoryId, PurposeId};

/// How many different people must have approved a case.
pub const APPROVALS: usize = 2;

/// A registered case, as every record of an answer under it asks. People are fingerprints here.
#[derive(Clone, PartialEq, Eq)]
pub struct Case {
    pub recipient: Arc<str>,
    pub purpose: PurposeId,
    pub categories: Arc<[CategoryId]>,
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

/// Where a case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaseStatus {
    /// It waits for approvals.
    Registered,
    InForce,
    Ended,
}

impl CaseStatus {
    pub fn name(self) -> &'static str {
        match self {
            CaseStatus::Registered => "registered",
            CaseStatus::InForce => "in-force",
            CaseStatus::Ended => "ended",
        }
    }
}

impl Case {
    pub fn status(&self, now: Timestamp) -> CaseStatus {
        standing(self.ended || self.end <= now, self.approvals)
    }

    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.status(now) == CaseStatus::InForce
    }

    /// Whether a recipient can rest on the case for a purpose now: one that it is for, or one below.
    pub fn serves(
        &self,
        recipient: &str,
        purpose: PurposeId,
        terms: &dyn TermLookup,
        now: Timestamp,
    ) -> bool {
        self.is_in_force(now) && *self.recipient == *recipient && terms.purpose_within(purpose, self.purpose)
    }

    /// Whether the case names this person.
    pub fn concerns(&self, person: &Fingerprint) -> bool {
        self.subjects.contains(person)
    }
}

fn standing(ended: bool, approvals: usize) -> CaseStatus {
    match (ended, approvals >= APPROVALS) {
        (true, _) => CaseStatus::Ended,
        (false, true) => CaseStatus::InForce,
        (false, false) => CaseStatus::Registered,
    }
}

/// What the events of one case say together.
struct CaseHistory<'e> {
    registration: &'e Registration,
    /// Who approved it: each person once, as they were first written.
    approvers: BTreeMap<String, &'e str>,
    ended: bool,
}

impl<'e> CaseHistory<'e> {
    /// `None`: the case is not registered.
    fn read(events: impl IntoIterator<Item = &'e Event>) -> Option<CaseHistory<'e>> {
        let mut registration: Option<&Registration> = None;
        let (mut approvers, mut ended) = (BTreeMap::new(), false);
        for event in events {
            match &event.kind {
                EventKind::CaseRegistered { registration: said } => match registration {
                    None => registration = Some(said),
                    Some(known) => ended |= known != &**said,
                },
                EventKind::CaseApproved { approver } => {
                    approvers.entry(approver.normalized()).or_insert(&*approver.0);
                }
                EventKind::CaseEnded => ended = true,
                _ => {}
            }
        }
        Some(CaseHistory { registration: registration?, approvers, ended })
    }
}

/// Folds the events of one case; `None`: it is not registered.
pub(super) fn fold<'e>(
    events: impl IntoIterator<Item = &'e Event>,
    fingerprints: &Fingerprints,
) -> Option<Case> {
    let CaseHistory { registration, approvers, ended } = CaseHistory::read(events)?;
    let Registration { recipient, purpose, subjects, categories, end, reference: _, confidential_until: _ } =
        registration;
    Some(Case {
        recipient: Arc::clone(recipient),
        purpose: *purpose,
        categories: categories.as_slice().into(),
        end: *end,
        subjects: subjects.iter().map(|subject| fingerprints.subject(subject)).collect(),
        approvals: approvers.len(),
        ended,
    })
}

/// A case that the people whom it names are not told of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfidentialCase {
    /// For whom and what it is; `None` where its registration does not read, which says nothing
    /// against it.
    of: Option<(Arc<str>, PurposeId)>,
}

impl ConfidentialCase {
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

    /// Whether a disclosure that cites the case rested on it: anybody can send its id.
    pub fn covers(&self, recipient: &str, purpose: &str, terms: &dyn TermLookup) -> bool {
        self.of.as_ref().is_none_or(|(named, wide)| {
            let purpose = terms.purpose(purpose);
            **named == *recipient && purpose.is_some_and(|purpose| terms.purpose_within(purpose, *wide))
        })
    }
}

/// A case as JSON: the members it was registered with, who approved it and where it stands.
pub(super) fn json<'e>(
    id: &str,
    events: impl IntoIterator<Item = &'e Event>,
    now: Timestamp,
    terms: &dyn TermLookup,
) -> Option<Map<String, Value>> {
    let CaseHistory { registration, approvers, ended } = CaseHistory::read(events)?;
    let mut shown = Map::new();
    shown.insert("case".to_owned(), id.into());
    write_registration(registration, terms, &mut |name, value| {
        shown.insert(name.to_owned(), value);
    });
    let state = standing(ended || registration.end <= now, approvers.len());
    shown.insert("approvers".to_owned(), approvers.into_values().collect());
    shown.insert("state".to_owned(), state.name().into());
    Some(shown)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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

    fn standing(texts: &[&str]) -> CaseStatus {
        folded(texts).unwrap().status(NOW.parse().unwrap())
    }

    #[test]
    fn two_different_people_put_a_case_in_force() {
        let (ada, ben) = (approved("Ada Lovelace"), approved("Ben"));
        assert_eq!(standing(&[REGISTERED]), CaseStatus::Registered);
        assert_eq!(standing(&[REGISTERED, &ada]), CaseStatus::Registered);
        assert_eq!(standing(&[REGISTERED, &ada, &ada]), CaseStatus::Registered);
        assert_eq!(standing(&[REGISTERED, &ada, &approved(" ada  LOVELACE ")]), CaseStatus::Registered);
        for same in
            ["Ada Lovelace.", "ada.lovelace", "ADA-LOVELACE", "Ada Lovelace\u{200b}", "_ada lovelace_"]
        {
            assert_eq!(standing(&[REGISTERED, &ada, &approved(same)]), CaseStatus::Registered, "{same}");
        }
        assert_eq!(standing(&[REGISTERED, &ada, &ben]), CaseStatus::InForce);
        assert!(folded(&[&ada, &ben]).is_none());
    }

    #[test]
    fn a_case_ends_at_its_end_or_before() {
        let (ada, ben) = (approved("ada"), approved("ben"));
        let case = folded(&[REGISTERED, &ada, &ben]).unwrap();
        let at = |time: &str| case.is_in_force(time.parse().unwrap());
        assert!(at("2026-12-31T23:59:59Z") && !at("2027-01-01T00:00:00Z"));
        assert_eq!(standing(&[REGISTERED, &ada, &ben, r#"{"kind":"case-ended"}"#]), CaseStatus::Ended);
        assert_eq!(standing(&[REGISTERED, r#"{"kind":"case-ended"}"#, &ada, &ben]), CaseStatus::Ended);
        let other = REGISTERED.replace("email", "personal");
        assert_eq!(standing(&[REGISTERED, &ada, &ben, &other]), CaseStatus::Ended, "in other words");
        assert_eq!(standing(&[REGISTERED, &ada, &ben, REGISTERED]), CaseStatus::InForce, "in the same words");
    }

    #[test]
    fn a_case_names_people_with_their_namespace() {
        let fingerprints = Keys::random().unwrap().fingerprints();
        let draft = event_json::parse(REGISTERED.as_bytes(), EntityKind::Case, &Fixture).unwrap();
        let event = Event { kind: draft.kind, at: NOW.parse().unwrap(), provenance: draft.provenance };
        let case = fold([&event], &fingerprints).unwrap();
        let terms = |namespace: Option<&str>, id: &str| {
            let person = Namespaces::default().reader(namespace).read(id).unwrap();
            case.concerns(&fingerprints.subject(&person))
        };
        assert!(terms(None, "ada") && terms(Some("crm"), "ada"));
        assert!(!terms(Some("shop"), "ada") && !terms(None, "ben"));
    }
}
