//! Decides whether an operation other than `disclose` is carried out, before the upstream is called (P-0c).
//!
//! At that time, only the person or account that the request's path names is known, with their state in the
//! ledger. The request's body is not judged. An operation is carried out if the facts permit it on at least one
//! class of the route that is personal or service data. Invariant: an operation that a rule permits only on the
//! recipient's own data, or on its own account, is carried out only if the path names that person or account.

use std::ops::ControlFlow;

use jiff::Timestamp;

use super::admission::{self, AdmissionRequest, Denial, LegalReference};
use super::admitted::{Admitted, MAX_CACHED_DECISIONS};
use super::classes::{Classes, operation_classes, with_service_data};
use super::facts::{RecordContext, Relationship, RequestFacts};
use super::permit::Permit;
use super::subject::{Controller, RecordFacts, Subject, UnknownSubject};
use crate::policy::cell_evaluator::{CellEvaluator, CellInput, CellOutcome, Circumstances, outcomes};
use crate::policy::{Fact, FactSet, MAX_RELATIONS, Pack};
use crate::vocabulary::{CategoryId, Form, KindId, Operation, PurposeId};

/// The people and accounts that a route's path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathNames {
    /// True if the path names a data subject.
    pub subject: bool,
    /// True if the path names a controller's account.
    pub controller: bool,
}

/// The account that a path names if it names no person.
#[derive(Clone, Copy, Debug)]
pub struct NamedAccount<'a> {
    /// The state of the account's controller.
    pub controller: &'a Controller,
    /// True if it is the recipient's own account.
    pub is_recipient: bool,
}

impl Admitted {
    /// True if the operation for which this exchange was admitted ([`super::Decisions::admit_operation`]) is carried
    /// out, given the permit for the person in the path.
    pub fn carries_out(&self, permit: &Permit) -> bool {
        permit.releases().iter().any(|release| release.form != Form::Removed)
    }

    /// True if the operation is carried out on the person and the account that the path names, of whom this is known. The
    /// known account counts only if the path names one.
    pub fn carries_out_on(
        &self,
        names: PathNames,
        known: Option<&Subject>,
        unknown: UnknownSubject,
        controller: &Controller,
        relationship: Relationship,
        now: Timestamp,
    ) -> bool {
        let nobody = Controller::default();
        let controller = if names.controller { controller } else { &nobody };
        let is_recipient = names.controller && relationship.controller_is_recipient;
        if !names.subject {
            let account = names.controller.then_some(NamedAccount { controller, is_recipient });
            return self.carries_out_on_unnamed(account, now);
        }
        let relationship = Relationship { controller_is_recipient: is_recipient, ..relationship };
        let facts = RecordFacts::default();
        self.carries_out(&self.judge_person(known, unknown, controller, &facts, relationship, now))
    }

    /// True if the operation is carried out although the path names no person.
    ///
    /// Rules that permit only the recipient's own data do not count. Without an account, rules that permit only
    /// the data of the recipient's own account do not count either. Other requirements on the person, such as a
    /// relation or a consent, count as met, because the person is unknown. The person is assumed to have made no
    /// statement that prohibits the operation.
    pub fn carries_out_on_unnamed(&self, account: Option<NamedAccount<'_>>, now: Timestamp) -> bool {
        let nobody = Controller::default();
        let about = RecordContext {
            subject: &Subject::default(),
            controller: account.map_or(&nobody, |account| account.controller),
            record: &RecordFacts::default(),
            relationship: Relationship {
                controller_is_recipient: account.is_some_and(|account| account.is_recipient),
                ..Relationship::default()
            },
            now,
        };
        let mut open = open_person_facts();
        if account.is_none() {
            open = open.union(FactSet::of(Fact::Instructed));
        }
        let facts = self.request.record_facts(&self.pack, every_fact(), &about);
        let known = Circumstances { facts, fixed: every_fact().difference(open) };
        let known_so_far = &self.slice.unnamed_cache;
        if let Some(decided) = known_so_far.get(&known) {
            return *decided;
        }
        let point = (self.slice.kind, self.slice.purpose);
        let mut search = CellEvaluator::new(self.pack.rulebook());
        let (operation, sets) = (self.slice.operation, self.slice.classes.sets());
        let decided = is_possible(&mut search, &self.pack, operation, point, sets, known);
        if known_so_far.len() >= MAX_CACHED_DECISIONS {
            known_so_far.clear();
        }
        known_so_far.insert(known, decided);
        decided
    }
}

/// Predicts which operations can be carried out on at least one person or account. Caches the evaluated
/// conditions.
#[derive(Debug)]
pub struct OperationForecast<'a> {
    pack: &'a Pack,
    search: CellEvaluator<'a>,
}

impl<'a> OperationForecast<'a> {
    /// Creates a forecast for a pack.
    pub fn new(pack: &'a Pack) -> OperationForecast<'a> {
        OperationForecast { pack, search: CellEvaluator::new(pack.rulebook()) }
    }

    /// True if an operation can be carried out on at least one person or account, on a route with these classes.
    /// Always true for `disclose`.
    ///
    /// # Errors
    /// The denial, if the request would be refused for every person.
    pub fn carries_out(
        &mut self,
        request: &AdmissionRequest,
        classes: &Classes,
        names: PathNames,
    ) -> Result<bool, Denial> {
        let pack = self.pack;
        admission::check(pack, request)?;
        if request.operation == Operation::Disclose {
            return Ok(true);
        }
        let mut fixed: FactSet = [Fact::Safeguard, Fact::Backup].into_iter().collect();
        // A case can name the person.
        if request.legal_reference == LegalReference::None {
            fixed = fixed.union(FactSet::of(Fact::LegalReference));
        }
        let facts = RequestFacts::new(pack, request).request_facts();
        if facts.get(Fact::LeavesEea) == 0 {
            fixed = fixed.union(FactSet::of(Fact::LeavesEea));
        }
        if !names.subject {
            let of_account: FactSet = ACCOUNT_FACTS.into_iter().collect();
            fixed = every_fact().difference(open_person_facts()).difference(of_account);
        }
        if !names.controller {
            fixed = fixed.union([Fact::OwnAccount, Fact::Account].into_iter().collect());
            // If the path names a person but no account, no instruction applies.
            if names.subject {
                fixed = fixed.union(FactSet::of(Fact::Instructed));
            }
        }
        let sets = operation_classes(pack, classes.sets());
        let point = (request.recipient.kind, request.purpose);
        let known = Circumstances { facts, fixed };
        Ok(is_possible(&mut self.search, pack, request.operation, point, &sets, known))
    }
}

const ACCOUNT_FACTS: [Fact; 3] = [Fact::Instructed, Fact::Account, Fact::OwnAccount];

/// Returns the facts that a rule can require of a person, except `own_data`.
fn open_person_facts() -> FactSet {
    let asks = |fact: &Fact| matches!(fact, Fact::Consent | Fact::SameRegion | Fact::Relation(_));
    Fact::all(MAX_RELATIONS).filter(asks).collect()
}

fn every_fact() -> FactSet {
    Fact::all(MAX_RELATIONS).collect()
}

/// True if some values of the unknown facts permit at least one class.
fn is_possible(
    search: &mut CellEvaluator<'_>,
    pack: &Pack,
    operation: Operation,
    (kind, purpose): (KindId, PurposeId),
    sets: &[Vec<CategoryId>],
    known: Circumstances,
) -> bool {
    let vocabulary = pack.vocabulary();
    sets.iter().map(|set| pack.judged_categories(set)).any(|set| {
        let known = known.with(Fact::WithServiceData, u8::from(with_service_data(pack, &set)));
        let categories = set.iter().filter(|category| vocabulary.governs_operations(**category));
        let slices = categories.map(|&category| search.cell_for(operation, kind, purpose, category));
        let slices: Vec<_> = slices.collect();
        let asked: Vec<CellInput<'_>> =
            slices.iter().map(|slice| CellInput { cell: slice, given: known }).collect();
        let mut permits = |_: Circumstances, outcomes: &[CellOutcome]| {
            let all = !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.form != Form::Removed);
            if all { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        outcomes(&asked, Circumstances::default(), &mut permits).is_break()
    })
}
