//! The policy that the scrubber calls for each record: it looks the subjects up in the ledger, asks the pack, and
//! counts the fields in a summary.
//!
//! Access evaluations use the same policy. Invariant: exchanges and access evaluations get the same decision.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use smallvec::SmallVec;

use crate::circumstances::WindowCircumstances;
use crate::decision::PersonFacts;
use crate::decision::circumstance::RecordPeople;
use crate::decision::{
    Admitted, Controller, Extracted, LegalReference, NamedAccount, OverdueData, Permit, RecipientFacts,
    RecordFacts, Relationship, Subject, UnknownSubject,
};
use crate::exchange::caller::Identity;
use crate::exchange::route::Recipient;
use crate::exchange::stale::Knowledge;
use crate::exchange::window::{FieldCounts, WindowSummary};
use crate::ledger::{Case, Ledger};
use crate::scrub::{JudgedRecord, PathIdentities, PathIds, RecordPolicy};
use crate::vocabulary::{Form, Operation, SubjectId};

/// Maximum number of cached permits of a chunk; the oldest is dropped.
const MAX_CACHED: usize = 8;

/// Stands for a controller that a record does not name or that the ledger does not know.
static UNKNOWN_CONTROLLER: LazyLock<Arc<Controller>> = LazyLock::new(Arc::default);

/// Returns the facts about the recipient at this moment: its agreement, its suspension.
pub(crate) fn recipient_facts(ledger: &Ledger, recipient: &Recipient, now: Timestamp) -> Arc<RecipientFacts> {
    let facts = recipient.facts(now.to_zoned(TimeZone::UTC).date());
    if ledger.is_suspended(&recipient.name) {
        return Arc::new(RecipientFacts { suspended: true, ..RecipientFacts::clone(facts) });
    }
    Arc::clone(facts)
}

/// Returns the legal reference that a cited case gives.
pub(crate) fn legal_reference(case: Option<&Case>) -> LegalReference {
    case.map_or(LegalReference::None, |case| LegalReference::Categories(Arc::clone(&case.categories)))
}

/// Returns the treatment of unknown subjects under an operation. `no-facts` applies to disclosing and collecting: it
/// does not permit altering or destroying the record of an unknown person.
pub(crate) fn unknown_subject_for(operation: Operation, of_route: UnknownSubject) -> UnknownSubject {
    match operation {
        Operation::Disclose | Operation::Collect => of_route,
        Operation::Alter | Operation::Destroy => UnknownSubject::Withhold,
    }
}

/// The settings of a route for its records, in addition to the policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteTerms<'e> {
    /// The treatment of subjects that the ledger does not know.
    pub(crate) unknown_subject: UnknownSubject,
    /// For each class of fields: true if it can be personal.
    pub(crate) personal: &'e [bool],
    /// The knowledge of the ledger on which the records are judged.
    pub(crate) knowledge: Knowledge,
    /// True if everything leaves, whatever is decided.
    pub(crate) observed: bool,
}

/// The source of the permits of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PermitSource<'e> {
    /// The policy, by which the exchange is admitted.
    Admitted(&'e Admitted),
    /// Enforcing would refuse the observed exchange: each record gets this permit, which releases nothing.
    Refused(&'e Permit),
}

/// Decides on the records of one exchange while a chunk is scrubbed.
#[derive(Debug)]
pub(crate) struct LedgerPolicy<'e> {
    ledger: &'e Ledger,
    source: PermitSource<'e>,
    identity: &'e Identity,
    terms: RouteTerms<'e>,
    now: Timestamp,
    /// The cited case, if it is in force at this moment.
    case: Option<Arc<Case>>,
    summary: WindowSummary,
    /// Counts that are added to the summary at the end.
    counted: FieldCounts,
    /// The overdue data of the current record.
    overdue: OverdueData,
    circumstances: WindowCircumstances,
    cache: SmallVec<[CachedPermit; 1]>,
}

/// The permit for a person that the ledger knows. Most people are in one of a few states, which the ledger shares. The
/// same state under the same facts yields the same permit.
#[derive(Debug)]
struct CachedPermit {
    subject: Arc<Subject>,
    controller: Arc<Controller>,
    facts: RecordFacts,
    relationship: Relationship,
    permit: Permit,
    /// The facts on which it was decided. `None` if the exchange is refused whoever it is about.
    person: Option<PersonFacts>,
    overdue: OverdueData,
    valid_until: Option<Timestamp>,
}

impl<'e> LedgerPolicy<'e> {
    /// A policy for the decisions at one instant.
    pub(crate) fn new(
        ledger: &'e Ledger,
        source: PermitSource<'e>,
        identity: &'e Identity,
        terms: RouteTerms<'e>,
        case: Option<Arc<Case>>,
        now: Timestamp,
    ) -> LedgerPolicy<'e> {
        // After its end the case has to be looked up again.
        let valid_until = case.as_ref().map(|case| case.end);
        LedgerPolicy {
            ledger,
            source,
            identity,
            terms,
            now,
            case,
            summary: WindowSummary {
                valid_until,
                current: terms.knowledge == Knowledge::Current,
                stale: terms.knowledge != Knowledge::Current,
                ..WindowSummary::default()
            },
            counted: FieldCounts::default(),
            overdue: OverdueData::default(),
            circumstances: WindowCircumstances::default(),
            cache: SmallVec::new(),
        }
    }

    /// Returns the summary of all decisions.
    pub(crate) fn into_summary(mut self) -> WindowSummary {
        self.summary.add_field_counts(self.counted);
        self.summary.circumstances = self.circumstances;
        self.summary
    }

    /// Returns the first instant at which a decision ends by itself.
    #[cfg(feature = "gateway")]
    pub(crate) fn valid_until(&self) -> Option<Timestamp> {
        self.summary.valid_until
    }

    /// True if the admitted operation may be carried out on the people that the path names. If the path names several
    /// accounts, each has to permit the operation.
    pub(crate) fn permits_operation(&mut self, named: &PathIdentities) -> bool {
        match &named.controllers {
            PathIds::None => self.permits_operation_on(&named.subjects, None, &RecordFacts::default()),
            PathIds::Unusable => {
                // An account that cannot be read may be closed.
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
        let permit =
            self.record_permit(&JudgedRecord { set: 0, subjects: Some(subjects), controller, facts });
        match self.source {
            PermitSource::Admitted(admitted) => admitted.carries_out(&permit),
            PermitSource::Refused(_) => false,
        }
    }

    fn permits_operation_on_unnamed(&self, controller: Option<&SubjectId>) -> bool {
        let known = controller.and_then(|id| self.ledger.controller(id).1);
        let known = known.unwrap_or_else(|| Arc::clone(&UNKNOWN_CONTROLLER));
        let account = controller.map(|id| NamedAccount {
            controller: &known,
            is_recipient: self.identity.controller.as_ref() == Some(id),
        });
        match self.source {
            PermitSource::Admitted(admitted) => admitted.carries_out_on_unnamed(account, self.now),
            PermitSource::Refused(_) => false,
        }
    }

    /// True if a permit lets anything personal leave.
    fn releases_personal(&self, permit: &Permit) -> bool {
        let mut classes = permit.releases().iter().zip(self.terms.personal);
        classes.any(|(release, personal)| *personal && release.form != Form::Removed)
    }

    fn judge_subject(
        &mut self,
        id: &SubjectId,
        record: &JudgedRecord<'_>,
        controller: &Arc<Controller>,
    ) -> (Permit, Option<PersonFacts>) {
        let (person, known) = self.ledger.person(id);
        self.summary.subjects.push(person);
        let is_recipient = |known: &Option<SubjectId>, here: Option<&SubjectId>| {
            known.as_ref().is_some_and(|known| here == Some(known))
        };
        let relationship = Relationship {
            subject_is_recipient: is_recipient(&self.identity.subject, Some(id)),
            controller_is_recipient: is_recipient(&self.identity.controller, record.controller),
            named_in_case: self.case.as_ref().is_some_and(|case| case.concerns(&person.fingerprint)),
        };
        let Some(subject) = known else {
            self.summary.unknown_subjects += 1;
            let overdue = self.overdue_data(None, controller, record.facts, relationship);
            self.overdue.merge(overdue);
            return self.judge_person(None, controller, record.facts, relationship);
        };
        let is_same = |cached: &CachedPermit| {
            Arc::ptr_eq(&cached.subject, &subject)
                && Arc::ptr_eq(&cached.controller, controller)
                && cached.relationship == relationship
                && cached.facts == *record.facts
        };
        let at = self.cache.iter().position(is_same).unwrap_or_else(|| {
            let cached = self.judge_known(subject, Arc::clone(controller), record.facts, relationship);
            if self.cache.len() >= MAX_CACHED {
                self.cache.remove(0);
            }
            self.cache.push(cached);
            self.cache.len() - 1
        });
        let Some(cached) = self.cache.get(at) else { return (self.judge_nobody(), self.nobody()) };
        self.overdue.merge(cached.overdue);
        self.summary.limit_validity(cached.valid_until);
        (cached.permit.clone(), cached.person.clone())
    }

    fn judge_known(
        &self,
        subject: Arc<Subject>,
        controller: Arc<Controller>,
        facts: &RecordFacts,
        relationship: Relationship,
    ) -> CachedPermit {
        let (permit, person) = self.judge_person(Some(&subject), &controller, facts, relationship);
        CachedPermit {
            permit,
            person,
            overdue: self.overdue_data(Some(&subject), &controller, facts, relationship),
            valid_until: subject.next_consent_expiry(self.now),
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
    ) -> (Permit, Option<PersonFacts>) {
        let (unknown, now) = (self.terms.unknown_subject, self.now);
        let (permit, person) = match self.source {
            PermitSource::Admitted(admitted) => {
                let judged =
                    admitted.judge_person_with_facts(known, unknown, controller, facts, relationship, now);
                (judged.0, Some(judged.1))
            }
            PermitSource::Refused(permit) => (permit.clone(), None),
        };
        (self.limited(permit), person)
    }

    /// Returns the facts about nobody, if they were decided on.
    fn nobody(&self) -> Option<PersonFacts> {
        matches!(self.source, PermitSource::Admitted(_)).then_some(PersonFacts::Nobody)
    }

    /// Decides about fields that are about nobody known.
    fn judge_nobody(&self) -> Permit {
        self.limited(match self.source {
            PermitSource::Admitted(admitted) => admitted.no_subject(),
            PermitSource::Refused(permit) => permit.clone(),
        })
    }

    /// Returns the data that the upstream should no longer hold about a person.
    fn overdue_data(
        &self,
        known: Option<&Subject>,
        controller: &Controller,
        facts: &RecordFacts,
        relationship: Relationship,
    ) -> OverdueData {
        match self.source {
            PermitSource::Admitted(admitted) => {
                admitted.overdue(known, controller, facts, relationship, self.now)
            }
            PermitSource::Refused(_) => OverdueData::default(),
        }
    }

    /// Limits the permit of one person. The permits of several people are combined afterwards, because the combination
    /// names the basis of one of them.
    fn limited(&self, permit: Permit) -> Permit {
        match self.terms.knowledge {
            Knowledge::Current => permit,
            Knowledge::LastKnown(bases) => permit.limited_to(bases),
        }
    }
}

impl RecordPolicy for LedgerPolicy<'_> {
    fn record_permit(&mut self, record: &JudgedRecord<'_>) -> Permit {
        let subjects = record.subjects.unwrap_or_default();
        let known = record.controller.and_then(|id| {
            let (fingerprint, known) = self.ledger.controller(id);
            self.summary.add_controller(fingerprint);
            known
        });
        let controller = known.unwrap_or_else(|| Arc::clone(&UNKNOWN_CONTROLLER));
        let first = self.summary.subjects.len();
        self.overdue = OverdueData::default();
        let mut people = RecordPeople::new();
        let permit = match subjects {
            [] => {
                self.summary.unknown_subjects += 1;
                let relationship = Relationship::default();
                self.overdue = self.overdue_data(None, &controller, record.facts, relationship);
                people.extend(self.nobody());
                self.judge_nobody()
            }
            [only] => {
                let (permit, person) = self.judge_subject(only, record, &controller);
                people.extend(person);
                permit
            }
            several => {
                let judge = |subject| self.judge_subject(subject, record, &controller);
                let (permits, judged): (Vec<Permit>, Vec<_>) = several.iter().map(judge).unzip();
                people.extend(judged.into_iter().flatten());
                Permit::strictest(&permits)
            }
        };
        let people = self.circumstances.number(people);
        self.circumstances.begin(people);
        // Everything in an observed record leaves.
        if self.terms.observed || self.releases_personal(&permit) {
            let WindowSummary { subjects, released_subjects, .. } = &mut self.summary;
            let of_record = subjects.get(first..).unwrap_or_default();
            released_subjects.extend(of_record.iter().map(|person| person.fingerprint));
        }
        // Each of these properties is counted once for each record, even if it concerns several of its people.
        let OverdueData { minor, closed_account, retention } = self.overdue;
        self.summary.minors += u64::from(minor);
        self.summary.closed_accounts += u64::from(closed_account);
        self.summary.past_retention += u64::from(retention);
        permit
    }

    fn document_permit(&mut self) -> Permit {
        self.judge_nobody()
    }

    fn account(&mut self, permit: &Permit, fields: &[u32]) {
        let personal = if self.terms.observed { &[] } else { self.terms.personal };
        self.summary.add_record(permit, fields, personal);
        self.circumstances.end(fields);
        self.counted.add(permit, fields, &mut self.summary);
    }

    fn account_outside(&mut self, permit: &Permit, fields: &[u32]) {
        self.counted.add(permit, fields, &mut self.summary);
    }
}
