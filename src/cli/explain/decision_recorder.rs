//! Decides about records as the gateway does, and records the facts that each decision rests on.

use super::ledger_facts::LedgerFacts;
use crate::cli::error::CliError;
use crate::decision::{Admitted, Controller, Permit, RecordFacts, Relationship, UnknownSubject, scenario};
use crate::exchange::caller::Identity;
use crate::ledger::Case;
use crate::scrub::{JudgedRecord, RecordPolicy};
use crate::vocabulary::SubjectId;

/// The knowledge of the ledger about a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubjectStatus {
    /// The ledger has events about the person.
    Known,
    /// The ledger has nothing but refusals.
    OnlyRefusals,
    /// The ledger has no event about the person.
    Unknown,
    /// No person is named; a known person without any choice is assumed.
    Assumed,
}

/// The decision for one of the people that a record is about.
pub(super) struct SubjectDecision {
    pub(super) status: SubjectStatus,
    pub(super) facts: scenario::ScenarioFacts,
    pub(super) permit: Permit,
    /// True if it is the person in the arguments.
    pub(super) is_named: bool,
}

/// The decision about a record.
pub(super) struct RecordDecision {
    pub(super) set: usize,
    /// Empty if the record has no usable subject.
    pub(super) people: Vec<SubjectDecision>,
    pub(super) facts: RecordFacts,
    pub(super) permit: Permit,
    /// Number of fields of each class; `None` without a record to count them in.
    pub(super) fields: Option<Vec<u32>>,
}

impl RecordDecision {
    /// True if both have the same decision for the same reasons.
    pub(super) fn is_alike(&self, other: &RecordDecision) -> bool {
        let alike = |(one, other): (&SubjectDecision, &SubjectDecision)| {
            one.status == other.status
                && one.is_named == other.is_named
                && one.facts.subject == other.facts.subject
                && one.facts.controller == other.facts.controller
                && one.facts.relationship == other.facts.relationship
        };
        self.set == other.set
            && self.facts == other.facts
            && self.fields == other.fields
            && self.people.len() == other.people.len()
            && self.people.iter().zip(&other.people).all(alike)
    }
}

/// Decides record by record, and keeps the decisions.
pub(super) struct DecisionRecorder<'a> {
    pub(super) admitted: &'a Admitted,
    pub(super) knowledge: &'a LedgerFacts,
    /// The identity of the requester, if the recipient is a person or an account.
    pub(super) asker: &'a Identity,
    /// The person in the arguments.
    pub(super) named_subject: Option<&'a SubjectId>,
    pub(super) unknown_subject: UnknownSubject,
    pub(super) case: Option<&'a Case>,
    /// True if no case is in force, and a case that names everybody is assumed.
    pub(super) case_is_assumed: bool,
    pub(super) now: jiff::Timestamp,
    pub(super) decisions: Vec<RecordDecision>,
    /// Number of fields of each class outside of every record.
    pub(super) outside: Vec<u32>,
    pub(super) error: Option<CliError>,
}

impl DecisionRecorder<'_> {
    pub(super) fn has_records(&self) -> bool {
        !self.decisions.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.decisions.clear();
        self.outside.clear();
    }

    /// Decides about an assumed record of this person, or of an assumed person if none is named.
    pub(super) fn judge_assumed(
        &mut self,
        set: usize,
        subject: Option<&SubjectId>,
        controller: Option<&SubjectId>,
    ) {
        let facts = RecordFacts::default();
        if subject.is_some() {
            let record =
                JudgedRecord { set, subjects: subject.map(std::slice::from_ref), controller, facts: &facts };
            self.record_permit(&record);
            return;
        }
        let controller = self.controller(controller);
        let relationship = Relationship { named_in_case: self.case_is_assumed, ..Relationship::default() };
        let about =
            scenario::ScenarioFacts { controller, relationship, ..scenario::ScenarioFacts::default() };
        let permit =
            self.admitted.judge(&about.subject, &about.controller, &facts, about.relationship, self.now);
        let person = SubjectDecision {
            status: SubjectStatus::Assumed,
            facts: about,
            permit: permit.clone(),
            is_named: false,
        };
        self.decisions.push(RecordDecision { set, people: vec![person], facts, permit, fields: None });
    }

    /// Decides about an assumed record whose mapping names no subject.
    pub(super) fn judge_without_subject(&mut self, set: usize) {
        let facts = RecordFacts::default();
        self.record_permit(&JudgedRecord { set, subjects: None, controller: None, facts: &facts });
    }

    fn controller(&mut self, id: Option<&SubjectId>) -> Controller {
        match id.map(|id| self.knowledge.controller(id)) {
            Some(Ok(known)) => known.unwrap_or_default(),
            Some(Err(error)) => {
                self.error.get_or_insert(error);
                Controller::default()
            }
            None => Controller::default(),
        }
    }

    fn person(
        &mut self,
        id: &SubjectId,
        record: &JudgedRecord<'_>,
        controller: &Controller,
    ) -> SubjectDecision {
        let subject = self.knowledge.subject(id).unwrap_or_else(|error| {
            self.error.get_or_insert(error);
            None
        });
        let is =
            |known: &Option<SubjectId>, here: Option<&SubjectId>| known.is_some() && known.as_ref() == here;
        let fingerprint = self.knowledge.fingerprint(id);
        let named = self.case.zip(fingerprint).is_some_and(|(case, print)| case.concerns(&print));
        let relationship = Relationship {
            subject_is_recipient: is(&self.asker.subject, Some(id)),
            controller_is_recipient: is(&self.asker.controller, record.controller),
            named_in_case: self.case_is_assumed
                || named && self.case.is_some_and(|case| case.is_in_force(self.now)),
        };
        let permit = self.admitted.judge_person(
            subject.as_ref(),
            self.unknown_subject,
            controller,
            record.facts,
            relationship,
            self.now,
        );
        let known = match &subject {
            None => SubjectStatus::Unknown,
            Some(subject) if subject.only_refusals => SubjectStatus::OnlyRefusals,
            Some(_) => SubjectStatus::Known,
        };
        let subject = subject.unwrap_or_default();
        let (controller, record) = (controller.clone(), record.facts.clone());
        let about = scenario::ScenarioFacts { subject, controller, record, relationship };
        SubjectDecision { status: known, facts: about, permit, is_named: self.named_subject == Some(id) }
    }
}

impl RecordPolicy for DecisionRecorder<'_> {
    fn record_permit(&mut self, record: &JudgedRecord<'_>) -> Permit {
        let controller = self.controller(record.controller);
        let subjects = record.subjects.unwrap_or_default();
        let people: Vec<SubjectDecision> =
            subjects.iter().map(|id| self.person(id, record, &controller)).collect();
        let permits: Vec<Permit> = people.iter().map(|person| person.permit.clone()).collect();
        let permit =
            if permits.is_empty() { self.admitted.no_subject() } else { Permit::strictest(&permits) };
        let (set, facts) = (record.set, record.facts.clone());
        self.decisions.push(RecordDecision { set, people, facts, permit: permit.clone(), fields: None });
        permit
    }

    fn document_permit(&mut self) -> Permit {
        self.admitted.no_subject()
    }

    fn account(&mut self, _: &Permit, fields: &[u32]) {
        // Records are nested: the one that began last ends first.
        if let Some(last) = self.decisions.iter_mut().rev().find(|decision| decision.fields.is_none()) {
            last.fields = Some(fields.to_vec());
        }
    }

    fn account_outside(&mut self, _: &Permit, fields: &[u32]) {
        self.outside.resize(fields.len(), 0);
        for (known, more) in self.outside.iter_mut().zip(fields) {
            *known = known.saturating_add(*more);
        }
    }
}
