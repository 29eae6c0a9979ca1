//! The answer to the scrubber's one question: the ledger is asked, the policy decides, the tally keeps
//! the account. An access evaluation asks the same, so that a decision is the same wherever it is asked.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use smallvec::SmallVec;

use crate::decision::{
    Admitted, Controller, Extracted, LegalReference, NamedAccount, OverdueData, Permit, RecipientFacts,
    RecordFacts, Relationship, Subject, UnknownSubject,
};
use crate::exchange::caller::Identity;
use crate::exchange::route::Recipient;
use crate::exchange::window::{FieldCounts, WindowSummary};
use crate::ledger::{Case, Ledger};
use crate::scrub::{PathIdentities, PathIds, Record, RecordPolicy};
use crate::vocabulary::{Form, Operation, SubjectId};

/// What is kept of people judged before in the same chunk; the oldest makes way.
const MAX_CACHED: usize = 8;

/// Stands for a controller that a record does not name, or of whom the ledger knows nothing.
static UNKNOWN_CONTROLLER: LazyLock<Arc<Controller>> = LazyLock::new(Arc::default);

/// The recipient as the policy sees it at this moment: in agreement or not, suspended or not.
pub(crate) fn recipient_facts(ledger: &Ledger, recipient: &Recipient, now: Timestamp) -> Arc<RecipientFacts> {
    let facts = recipient.facts(now.to_zoned(TimeZone::UTC).date());
    if ledger.is_suspended(&recipient.name) {
        return Arc::new(RecipientFacts { suspended: true, ..RecipientFacts::clone(facts) });
    }
    Arc::clone(facts)
}

/// What a cited case covers.
pub(crate) fn legal_reference(case: Option<&Case>) -> LegalReference {
    case.map_or(LegalReference::None, |case| LegalReference::Categories(Arc::clone(&case.categories)))
}

/// What becomes of somebody unknown under an operation: `no-facts` is about what leaves, and lets nobody change
/// or destroy what a stranger's record may hold.
pub(crate) fn unknown_subject_for(operation: Operation, of_route: UnknownSubject) -> UnknownSubject {
    match operation {
        Operation::Disclose | Operation::Collect => of_route,
        Operation::Alter | Operation::Destroy => UnknownSubject::Withhold,
    }
}

/// What of a route decides about its records, besides the policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteTerms<'e> {
    pub(crate) unknown_subject: UnknownSubject,
    /// Per class of fields: whether it can tell about a person.
    pub(crate) personal: &'e [bool],
}

/// Judges the records of one exchange while a chunk is scrubbed.
#[derive(Debug)]
pub(crate) struct LedgerPolicy<'e> {
    ledger: &'e Ledger,
    admitted: &'e Admitted,
    identity: &'e Identity,
    terms: RouteTerms<'e>,
    now: Timestamp,
    /// The cited case, where it is in force at this moment.
    case: Option<Arc<Case>>,
    tally: WindowSummary,
    /// What goes into the tally at the end.
    counted: FieldCounts,
    /// What of the record that is decided should not be there.
    found: OverdueData,
    judged: SmallVec<[CachedPermit; 1]>,
}

/// Somebody whom the ledger knows, as judged at the judgement's instant. Most people are in one of a few
/// states, which the ledger shares: the same state under the same facts is the same again.
#[derive(Debug)]
struct CachedPermit {
    subject: Arc<Subject>,
    controller: Arc<Controller>,
    facts: RecordFacts,
    relationship: Relationship,
    permit: Permit,
    overdue: OverdueData,
    ask_again: Option<Timestamp>,
}

impl<'e> LedgerPolicy<'e> {
    pub(crate) fn new(
        ledger: &'e Ledger,
        admitted: &'e Admitted,
        identity: &'e Identity,
        terms: RouteTerms<'e>,
        case: Option<Arc<Case>>,
        now: Timestamp,
    ) -> LedgerPolicy<'e> {
        // A case that ends is asked about again.
        let ask_again = case.as_ref().map(|case| case.end);
        LedgerPolicy {
            ledger,
            admitted,
            identity,
            terms,
            now,
            case,
            tally: WindowSummary { valid_until: ask_again, ..WindowSummary::default() },
            counted: FieldCounts::default(),
            found: OverdueData::default(),
            judged: SmallVec::new(),
        }
    }

    /// The account of what was judged.
    pub(crate) fn into_summary(mut self) -> WindowSummary {
        self.tally.add_field_counts(self.counted);
        self.tally
    }

    /// When what was judged has to be decided again though nothing happens.
    pub(crate) fn valid_until(&self) -> Option<Timestamp> {
        self.tally.valid_until
    }

    /// Whether the operation that [`LedgerPolicy::new`] was told to be admitted is carried out on whom the path names.
    /// Of several accounts each has to permit it.
    pub(crate) fn permits_operation(&mut self, named: &PathIdentities) -> bool {
        match &named.controllers {
            PathIds::None => self.permits_operation_on(&named.subjects, None, &RecordFacts::default()),
            PathIds::Unusable => {
                // An account that cannot be told may be a closed one.
                let facts = RecordFacts { account_closed: Extracted::Unreadable, ..RecordFacts::default() };
                !matches!(named.subjects, PathIds::None)
                    && self.permits_operation_on(&named.subjects, None, &facts)
            }
            PathIds::Ids(accounts) => {
                let facts = RecordFacts::default();
                accounts
                    .iter()
                    .all(|account| self.permits_operation_on(&named.subjects, Some(account), &facts))
            }
        }
    }

    fn permits_operation_on(
        &mut self,
        subjects: &PathIds,
        controller: Option<&SubjectId>,
        facts: &RecordFacts,
    ) -> bool {
        let subjects = match subjects {
            PathIds::Ids(subjects) => subjects,
            PathIds::Unusable => return false,
            PathIds::None => return self.permits_operation_on_unnamed(controller),
        };
        let permit = self.record_permit(&Record { set: 0, subjects: Some(subjects), controller, facts });
        self.admitted.carries_out(&permit)
    }

    fn permits_operation_on_unnamed(&self, controller: Option<&SubjectId>) -> bool {
        let known = controller.and_then(|id| self.ledger.controller(id).1);
        let known = known.unwrap_or_else(|| Arc::clone(&UNKNOWN_CONTROLLER));
        let account = controller.map(|id| NamedAccount {
            controller: &known,
            is_recipient: self.identity.controller.as_ref() == Some(id),
        });
        self.admitted.carries_out_on_unnamed(account, self.now)
    }

    /// Whether a permit lets anything leave that can tell about a person.
    fn releases_personal(&self, permit: &Permit) -> bool {
        let mut classes = permit.releases().iter().zip(self.terms.personal);
        classes.any(|(release, personal)| *personal && release.form != Form::Removed)
    }

    fn judge_subject(&mut self, id: &SubjectId, record: &Record<'_>, controller: &Arc<Controller>) -> Permit {
        let (fingerprint, known) = self.ledger.subject(id);
        self.tally.subjects.push(fingerprint);
        let is_recipient = |known: &Option<SubjectId>, here: Option<&SubjectId>| {
            known.as_ref().is_some_and(|known| here == Some(known))
        };
        let relationship = Relationship {
            subject_is_recipient: is_recipient(&self.identity.subject, Some(id)),
            controller_is_recipient: is_recipient(&self.identity.controller, record.controller),
            named_in_case: self.case.as_ref().is_some_and(|case| case.concerns(&fingerprint)),
        };
        let Some(subject) = known else {
            self.tally.unknown_subjects += 1;
            let overdue = self.admitted.overdue(None, controller, record.facts, relationship, self.now);
            self.found.merge(overdue);
            return self.judge_person(None, controller, record.facts, relationship);
        };
        let is_same = |judged: &CachedPermit| {
            Arc::ptr_eq(&judged.subject, &subject)
                && Arc::ptr_eq(&judged.controller, controller)
                && judged.relationship == relationship
                && judged.facts == *record.facts
        };
        let at = self.judged.iter().position(is_same).unwrap_or_else(|| {
            let judged = self.judge_known(subject, Arc::clone(controller), record.facts, relationship);
            if self.judged.len() >= MAX_CACHED {
                self.judged.remove(0);
            }
            self.judged.push(judged);
            self.judged.len() - 1
        });
        let Some(judged) = self.judged.get(at) else { return self.admitted.no_subject() };
        self.found.merge(judged.overdue);
        self.tally.limit_validity(judged.ask_again);
        judged.permit.clone()
    }

    fn judge_known(
        &self,
        subject: Arc<Subject>,
        controller: Arc<Controller>,
        facts: &RecordFacts,
        relationship: Relationship,
    ) -> CachedPermit {
        CachedPermit {
            permit: self.judge_person(Some(&subject), &controller, facts, relationship),
            overdue: self.admitted.overdue(Some(&subject), &controller, facts, relationship, self.now),
            ask_again: subject.next_consent_expiry(self.now),
            subject,
            controller,
            facts: facts.clone(),
            relationship,
        }
    }

    fn judge_person(
        &self,
        known: Option<&Subject>,
        controller: &Controller,
        facts: &RecordFacts,
        relationship: Relationship,
    ) -> Permit {
        let unknown = self.terms.unknown_subject;
        self.admitted.judge_person(known, unknown, controller, facts, relationship, self.now)
    }
}

impl RecordPolicy for LedgerPolicy<'_> {
    fn record_permit(&mut self, record: &Record<'_>) -> Permit {
        let subjects = record.subjects.unwrap_or_default();
        let known = record.controller.and_then(|id| {
            let (fingerprint, known) = self.ledger.controller(id);
            self.tally.add_controller(fingerprint);
            known
        });
        let controller = known.unwrap_or_else(|| Arc::clone(&UNKNOWN_CONTROLLER));
        let first = self.tally.subjects.len();
        self.found = OverdueData::default();
        let permit = match subjects {
            [] => {
                self.tally.unknown_subjects += 1;
                let relationship = Relationship::default();
                self.found = self.admitted.overdue(None, &controller, record.facts, relationship, self.now);
                self.admitted.no_subject()
            }
            [only] => self.judge_subject(only, record, &controller),
            several => {
                let judge = |subject| self.judge_subject(subject, record, &controller);
                let permits: Vec<Permit> = several.iter().map(judge).collect();
                Permit::strictest(&permits)
            }
        };
        if self.releases_personal(&permit) {
            let WindowSummary { subjects, released_subjects: touched, .. } = &mut self.tally;
            touched.extend_from_slice(subjects.get(first..).unwrap_or_default());
        }
        // Once a record, whoever of its people it concerns.
        let OverdueData { minor, closed_account, retention } = self.found;
        self.tally.minors += u64::from(minor);
        self.tally.closed_accounts += u64::from(closed_account);
        self.tally.past_retention += u64::from(retention);
        permit
    }

    fn document_permit(&mut self) -> Permit {
        self.admitted.no_subject()
    }

    fn account(&mut self, permit: &Permit, fields: &[u32]) {
        self.tally.add_record(permit, fields, self.terms.personal);
        self.counted.add(permit, fields, &mut self.tally);
    }

    fn account_outside(&mut self, permit: &Permit, fields: &[u32]) {
        self.counted.add(permit, fields, &mut self.tally);
    }
}
