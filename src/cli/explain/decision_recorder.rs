//! The judge of an explanation: it decides as the gateway does, and keeps what each decision rested on.

use super::ledger_facts::LedgerFacts;
use crate::cli::error::CliError;
use crate::decision::{Admitted, Controller, Permit, RecordFacts, Relationship, UnknownSubject, scenario};
use crate::exchange::caller::Identity;
use crate::ledger::Case;
use crate::scrub::{Record, RecordPolicy};
use crate::vocabulary::SubjectId;

/// How well the ledger knows a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubjectStatus {
    Known,
    /// Nothing but what they refused.
    OnlyRefusals,
    Unknown,
    /// Nobody is named: somebody whom the ledger knows, and of whom it knows nothing special.
    Assumed,
}

/// One of those whom a record is about.
pub(super) struct SubjectDecision {
    pub(super) status: SubjectStatus,
    pub(super) facts: scenario::ScenarioFacts,
    pub(super) permit: Permit,
    /// It is who was asked about.
    pub(super) is_named: bool,
}

/// A record, and what was decided about it.
pub(super) struct RecordDecision {
    pub(super) set: usize,
    /// Empty where the record has no usable subject.
    pub(super) people: Vec<SubjectDecision>,
    pub(super) facts: RecordFacts,
    pub(super) permit: Permit,
    /// How many fields of each class it holds; `None` where there is no record to count in.
    pub(super) fields: Option<Vec<u32>>,
}

impl RecordDecision {
    /// Whether both are decided alike for the same reasons.
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

/// Decides record by record.
pub(super) struct DecisionRecorder<'a> {
    pub(super) admitted: &'a Admitted,
    pub(super) knowledge: &'a LedgerFacts,
    /// Who asks, where the recipient is somebody.
    pub(super) asker: &'a Identity,
    /// The person who was asked about.
    pub(super) named_subject: Option<&'a SubjectId>,
    pub(super) unknown_subject: UnknownSubject,
    pub(super) case: Option<&'a Case>,
    /// No case counts, and it is explained what one would open that names everybody.
    pub(super) case_is_assumed: bool,
    pub(super) now: jiff::Timestamp,
    pub(super) decisions: Vec<RecordDecision>,
    /// Of what stands outside of every record: how many fields of each class there are.
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

    /// Judges a record that nobody has seen: about this person, or about somebody where none is named.
    pub(super) fn judge_assumed(
        &mut self,
        set: usize,
        subject: Option<&SubjectId>,
        controller: Option<&SubjectId>,
    ) {
        let facts = RecordFacts::default();
        if subject.is_some() {
            let record =
                Record { set, subjects: subject.map(std::slice::from_ref), controller, facts: &facts };
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

    /// Takes down a record that no mapping makes anybody's.
    pub(super) fn judge_without_subject(&mut self, set: usize) {
        let facts = RecordFacts::default();
        self.record_permit(&Record { set, subjects: None, controller: None, facts: &facts });
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

    fn person(&mut self, id: &SubjectId, record: &Record<'_>, controller: &Controller) -> SubjectDecision {
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
    fn record_permit(&mut self, record: &Record<'_>) -> Permit {
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
        // Records end in the opposite order of their beginnings.
        if let Some(last) = self.decisions.iter_mut().rev().find(|seen| seen.fields.is_none()) {
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
