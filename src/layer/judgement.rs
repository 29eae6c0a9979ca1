//! The layer's answer to the scrubber's one question: the ledger is asked, the policy decides, the
//! tally keeps the account.

use std::sync::Arc;

use jiff::Timestamp;

use super::identity::Identity;
use super::route::{Scrubbing, UnknownSubject};
use super::tally::Tally;
use crate::decision::{Admitted, Controller, Overdue, Permit, Relationship, Subject};
use crate::ledger::{Case, Ledger};
use crate::scrub::{Judge, Record, SubjectId};

/// Judges the records of one exchange while a chunk is scrubbed.
#[derive(Debug)]
pub(super) struct Judgement<'e> {
    pub(super) ledger: &'e Ledger,
    pub(super) admitted: &'e Admitted,
    pub(super) identity: &'e Identity,
    pub(super) scrubbing: &'e Scrubbing,
    pub(super) now: Timestamp,
    /// The cited case, where it is in force at this moment.
    pub(super) case: Option<Arc<Case>>,
    pub(super) tally: Tally,
    /// What of the record that is decided should not be there.
    pub(super) found: Overdue,
}

impl Judgement<'_> {
    fn judge_subject(&mut self, id: &SubjectId, record: &Record<'_>, controller: &Controller) -> Permit {
        let (fingerprint, known) = self.ledger.subject(id);
        self.tally.subjects.push(fingerprint);
        let is_recipient = |known: &Option<SubjectId>, here: Option<&SubjectId>| {
            known.as_ref().is_some_and(|known| here == Some(known))
        };
        let relationship = Relationship {
            subject_is_recipient: is_recipient(&self.identity.subject, Some(id)),
            controller_is_recipient: is_recipient(&self.identity.controller, record.controller),
            named_in_case: self.case.as_ref().is_some_and(|case| case.names(&fingerprint)),
        };
        self.found.add(self.admitted.overdue(known.as_deref(), controller, record.facts, self.now));
        match known {
            Some(subject) => {
                self.tally.ask_again_at(subject.ask_again_at(self.now));
                let permit = self.admitted.judge(&subject, controller, record.facts, relationship, self.now);
                if subject.only_refusals && self.scrubbing.unknown_subject == UnknownSubject::Withhold {
                    return Permit::least(&[permit, self.admitted.nobody()]);
                }
                permit
            }
            None => {
                self.tally.unknown_subjects += 1;
                match self.scrubbing.unknown_subject {
                    UnknownSubject::Withhold => self.admitted.nobody(),
                    UnknownSubject::NoFacts => self.admitted.judge(
                        &Subject::default(),
                        controller,
                        record.facts,
                        relationship,
                        self.now,
                    ),
                }
            }
        }
    }
}

impl Judge for Judgement<'_> {
    fn judge(&mut self, record: &Record<'_>) -> Permit {
        let subjects = record.subjects.unwrap_or_default();
        let known = record.controller.and_then(|id| self.ledger.controller(id));
        let unheard_of = Controller::default();
        let controller = known.as_deref().unwrap_or(&unheard_of);
        if let Some(controller) = record.controller {
            self.tally.concerns(self.ledger.fingerprints().controller(controller));
        }
        let first = self.tally.subjects.len();
        self.found = Overdue::default();
        let permit = match subjects {
            [] => {
                self.tally.unknown_subjects += 1;
                self.found = self.admitted.overdue(None, controller, record.facts, self.now);
                self.admitted.nobody()
            }
            [only] => self.judge_subject(only, record, controller),
            several => {
                let permits: Vec<Permit> =
                    several.iter().map(|subject| self.judge_subject(subject, record, controller)).collect();
                Permit::least(&permits)
            }
        };
        if self.scrubbing.releases_personal(&permit) {
            let Tally { subjects, touched, .. } = &mut self.tally;
            touched.extend_from_slice(subjects.get(first..).unwrap_or_default());
        }
        // Once a record, whoever of its people it concerns.
        let Overdue { minor, closed_account, retention } = self.found;
        self.tally.minors += u64::from(minor);
        self.tally.closed_accounts += u64::from(closed_account);
        self.tally.past_retention += u64::from(retention);
        permit
    }

    fn judge_document(&mut self) -> Permit {
        self.admitted.nobody()
    }

    fn account(&mut self, permit: &Permit, fields: &[u32]) {
        self.tally.add_record(permit, fields, &self.scrubbing.personal);
    }

    fn account_outside(&mut self, permit: &Permit, fields: &[u32]) {
        self.tally.add_fields(permit, fields);
    }
}
