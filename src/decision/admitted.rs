//! Decides about each record of an admitted exchange.
//!
//! The rules are evaluated once for each combination of facts, and the outcome is cached. The key of the cache
//! holds exactly the facts that the rules of the slice compare; this set of facts is derived from the rules.
//! Invariant: a cached decision equals the one that a fresh evaluation would make.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use jiff::Timestamp;
use smallvec::SmallVec;

use super::admission::{self, AdmissionRequest, Denial};
use super::classes::{Classes, operation_classes, with_service_data};
use super::decision_key::{DecisionKey, PersonFacts};
use super::facts::{OverdueData, PER_CATEGORY, RecordContext, Relationship, RequestFacts, RetentionPeriods};
use super::permit::{ClassId, ClassRelease, Permit, Reason};
use super::subject::{Controller, Extracted, RecordFacts, Subject, UnknownSubject};
use crate::policy::cell_evaluator::Circumstances;
use crate::policy::{Fact, FactSet, Facts, Pack, RuleIndex, RuleVerdict};
use crate::vocabulary::{Basis, BasisSet, CategoryId, Form, KindId, Operation, PurposeId};

/// Maximum number of cached decisions of one slice. A full cache is cleared.
pub(super) const MAX_CACHED_DECISIONS: usize = 8192;
/// Maximum number of slices. Recipients, purposes and routes are configured, so this is not reached in practice.
const MAX_SLICES: usize = 4096;
/// Number of uses of cached decisions, per thread, of which one is compared with a fresh evaluation.
const CHECK_INTERVAL: u32 = 1000;

/// Decides by one policy pack and caches decisions.
#[derive(Debug)]
pub struct Decisions {
    pack: Arc<Pack>,
    slices: DashMap<(KindId, PurposeId, Operation, usize, bool), Arc<Slice>>,
    divergences: Arc<AtomicU64>,
}

/// An admitted exchange: its request is permitted, and each of its records is judged.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub(super) pack: Arc<Pack>,
    pub(super) slice: Arc<Slice>,
    pub(super) request: RequestFacts,
    divergences: Arc<AtomicU64>,
}

/// The rules, facts and cached decisions for one kind, purpose and operation on one route.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) kind: KindId,
    pub(super) purpose: PurposeId,
    pub(super) operation: Operation,
    pub(super) classes: Classes,
    /// The classes of the route. Their address is part of the slice's key, so they must live as long as the slice.
    pub(super) route_classes: Classes,
    /// The category whose prohibitions apply to unclassified fields, if these may leave at all: an unclassified field
    /// can contain any personal data.
    unclassified: Option<CategoryId>,
    /// Every category of the route, once.
    pub(super) categories: Vec<CategoryId>,
    /// The facts that the rules compare, for the record as a whole.
    record_facts: FactSet,
    /// The facts that the rules compare and that differ by category.
    category_facts: FactSet,
    /// The cached decisions, by the facts on which they depend.
    cache: DashMap<DecisionKey, Permit>,
    /// Decisions about records without a known subject, by the facts of the request, which can differ between two
    /// recipients of one kind.
    no_subject_cache: DashMap<(Facts, Reason), Permit>,
    /// Decisions about operations on a person who is not named, by the known facts.
    pub(super) unnamed_cache: DashMap<Circumstances, bool>,
}

impl Decisions {
    /// Creates the decisions of a pack, with empty caches.
    pub fn new(pack: Arc<Pack>) -> Decisions {
        Decisions { pack, slices: DashMap::new(), divergences: Arc::new(AtomicU64::new(0)) }
    }

    /// The policy pack.
    pub fn pack(&self) -> &Arc<Pack> {
        &self.pack
    }

    /// Number of cached decisions that differed from a fresh evaluation. Any value but 0 is an alarm.
    pub fn divergences(&self) -> u64 {
        self.divergences.load(Ordering::Relaxed)
    }

    /// Admits a request to disclose: decides everything that does not depend on a person.
    ///
    /// # Errors
    /// The denial, if the request is refused.
    pub fn admit(&self, request: &AdmissionRequest, classes: &Classes) -> Result<Admitted, Denial> {
        admission::check(&self.pack, request)?;
        Ok(self.admitted(request, self.slice(request, Operation::Disclose, classes)))
    }

    /// Admits a request whose operation is not `disclose`. A permit then releases the classes on which the operation
    /// may be performed ([`Admitted::carries_out`]).
    ///
    /// # Errors
    /// The denial, if the request is refused.
    pub fn admit_operation(&self, request: &AdmissionRequest, classes: &Classes) -> Result<Admitted, Denial> {
        admission::check(&self.pack, request)?;
        Ok(self.admitted(request, self.slice(request, request.operation, classes)))
    }

    /// Admits a request like [`Decisions::admit_operation`], or for `disclose` like [`Decisions::admit`], but
    /// caches no slice. Meant for a single question.
    ///
    /// # Errors
    /// The denial, if the request is refused.
    pub fn admit_once(&self, request: &AdmissionRequest, classes: &Classes) -> Result<Admitted, Denial> {
        admission::check(&self.pack, request)?;
        Ok(self.admitted(request, Arc::new(self.new_slice(request, request.operation, classes))))
    }

    fn new_slice(&self, request: &AdmissionRequest, operation: Operation, classes: &Classes) -> Slice {
        Slice::new(&self.pack, request.recipient.kind, request.purpose, operation, classes.clone())
    }

    fn admitted(&self, request: &AdmissionRequest, slice: Arc<Slice>) -> Admitted {
        Admitted {
            pack: Arc::clone(&self.pack),
            slice,
            request: RequestFacts::new(&self.pack, request),
            divergences: Arc::clone(&self.divergences),
        }
    }

    /// Returns a function from a category to the most revealing form in which it could leave, whatever is known
    /// about the person. It returns the same as [`Admitted::best`] without an exchange, and caches nothing.
    ///
    /// # Errors
    /// The denial, if the request would be refused.
    pub fn best_forms(&self, request: &AdmissionRequest) -> Result<impl Fn(CategoryId) -> Form, Denial> {
        admission::check(&self.pack, request)?;
        let (request_facts, kind, purpose) =
            (RequestFacts::new(&self.pack, request), request.recipient.kind, request.purpose);
        Ok(move |category| best(&self.pack, &request_facts, kind, purpose, category))
    }

    fn slice(&self, request: &AdmissionRequest, operation: Operation, classes: &Classes) -> Arc<Slice> {
        // The slice holds the sets, so their address stays valid as long as it is a key.
        let address = classes.sets.as_ptr() as usize;
        let (kind, purpose) = (request.recipient.kind, request.purpose);
        let key = (kind, purpose, operation, address, classes.release_unclassified);
        if let Some(known) = self.slices.get(&key) {
            return Arc::clone(&known);
        }
        if self.slices.len() >= MAX_SLICES {
            self.slices.clear();
        }
        let slice = Arc::new(self.new_slice(request, operation, classes));
        self.slices.insert(key, Arc::clone(&slice));
        slice
    }
}

impl Slice {
    pub(super) fn new(
        pack: &Pack,
        kind: KindId,
        purpose: PurposeId,
        operation: Operation,
        classes: Classes,
    ) -> Slice {
        // An unclassified field does not decide about an operation.
        let of_route = classes.clone();
        let (classes, unclassified) = match operation {
            Operation::Disclose => {
                let unclassified = unclassified(pack, kind, purpose, &classes);
                (classes, unclassified)
            }
            Operation::Collect | Operation::Alter | Operation::Destroy => {
                (Classes::new(operation_classes(pack, &classes.sets), false), None)
            }
        };
        let judged: Vec<_> = classes.sets.iter().map(|set| pack.judged_categories(set)).collect();
        let classes = Classes::new(judged, classes.release_unclassified);
        let mut categories: Vec<CategoryId> = classes.sets.iter().flatten().copied().collect();
        let mask = pack.rulebook().mask(kind, purpose, operation, categories.iter().copied());
        let mask = unclassified.map_or(mask, |category| {
            let never: FactSet = NEVER_UNCLASSIFIED.into_iter().collect();
            mask.union(pack.rulebook().prohibition_mask(kind, purpose, category)).union(never)
        });
        categories.extend(unclassified);
        categories.sort_unstable();
        categories.dedup();
        let per_category: FactSet = PER_CATEGORY.into_iter().collect();
        let fixed: FactSet = [Fact::Form, Fact::Operation, Fact::WithServiceData].into_iter().collect();
        Slice {
            kind,
            purpose,
            operation,
            route_classes: of_route,
            unclassified,
            categories,
            // The origin of the record as a whole remains part of the key, since overrides hold only the
            // categories that differ from it.
            record_facts: mask.difference(fixed),
            category_facts: mask.difference(mask.difference(per_category)),
            classes,
            cache: DashMap::new(),
            no_subject_cache: DashMap::new(),
            unnamed_cache: DashMap::new(),
        }
    }

    /// Returns the facts on which decisions depend, for the record as a whole or for one category.
    pub(super) fn mask(&self) -> FactSet {
        self.record_facts.union(self.category_facts)
    }

    /// Returns the key of a record: the known facts, reduced to those on which decisions of this slice depend.
    pub(super) fn key(
        &self,
        pack: &Pack,
        request_facts: &RequestFacts,
        about: &RecordContext<'_>,
    ) -> DecisionKey {
        DecisionKey {
            facts: request_facts.record_facts(pack, self.record_facts, about).masked(self.record_facts),
            overrides: request_facts.category_overrides(pack, self.category_facts, about, &self.categories),
        }
    }

    /// Decides about every class, with a reason for each withheld class.
    fn decide(&self, pack: &Pack, key: &DecisionKey) -> Permit {
        let permit = self.evaluate(pack, key);
        match key.without_refusals() {
            Some(willing) => permit.with_reason(&self.evaluate(pack, &willing), Reason::Refused),
            None => permit,
        }
    }

    /// Evaluates the policies for every class. If the facts alone decide, categories that share a cell are evaluated
    /// once.
    pub(super) fn evaluate(&self, pack: &Pack, key: &DecisionKey) -> Permit {
        let rulebook = pack.rulebook();
        let mut judged: SmallVec<[(usize, Facts, RuleVerdict); 8]> = SmallVec::new();
        let unclassified = match self.unclassified {
            Some(category) => self.release_unclassified(pack, category, key.facts_of(category)),
            None => withheld(Reason::Unclassified),
        };
        self.permit(pack, &unclassified, |category, with_service_data| {
            let facts = key.facts_of(category).with_flag(Fact::WithServiceData, with_service_data);
            let (operation, point) = (self.operation, (self.kind, self.purpose, category));
            let cell = rulebook.cell_index(operation, point);
            let alike = cell.filter(|&cell| rulebook.cells().get(cell).is_some_and(|cell| cell.is_uniform()));
            let Some(cell) = alike else { return rulebook.judge_operation(operation, point, facts) };
            if let Some((_, _, known)) = judged.iter().find(|(of, with, _)| *of == cell && *with == facts) {
                return known.clone();
            }
            let verdict = rulebook.judge_operation(operation, point, facts);
            judged.push((cell, facts, verdict.clone()));
            verdict
        })
    }

    fn permit(
        &self,
        pack: &Pack,
        unclassified: &ClassRelease,
        mut verdict: impl FnMut(CategoryId, bool) -> RuleVerdict,
    ) -> Permit {
        let releases = self.classes.sets.iter().map(|class| {
            if class.is_empty() {
                return unclassified.clone();
            }
            let with_service_data = with_service_data(pack, class);
            let asked = class.iter().filter(|&&category| self.is_relevant(pack, category));
            let verdicts = asked.map(|&category| verdict(category, with_service_data));
            release(pack, &verdicts.collect::<SmallVec<[RuleVerdict; 4]>>())
        });
        Permit::new(releases.collect())
    }

    /// True if a category is evaluated: every category for a disclosure, and personal and service data for other
    /// operations.
    fn is_relevant(&self, pack: &Pack, category: CategoryId) -> bool {
        self.operation == Operation::Disclose || pack.vocabulary().governs_operations(category)
    }

    /// Decides about unclassified fields. They leave because the operator configured it, hence without a legal
    /// basis, and only if no prohibition applies to personal data in general.
    fn release_unclassified(&self, pack: &Pack, category: CategoryId, facts: Facts) -> ClassRelease {
        let prohibitions = pack.rulebook().prohibitions(self.kind, self.purpose, category, facts);
        let never = NEVER_UNCLASSIFIED.into_iter().any(|fact| facts.get(fact) != 0);
        let (rules, clauses) = cited(pack, &prohibitions);
        let withheld = ClassRelease { rules, clauses, ..withheld(Reason::Prohibited) };
        match prohibitions.is_empty() && !never {
            true => ClassRelease { form: Form::Clear, reason: None, ..withheld },
            false => withheld,
        }
    }
}

/// The facts about a person that withhold every unclassified field, whatever the pack says.
const NEVER_UNCLASSIFIED: [Fact; 3] = [Fact::Erased, Fact::Restricted, Fact::Minor];

/// Returns the category that represents unclassified fields, if these may leave to this kind for this purpose.
fn unclassified(pack: &Pack, kind: KindId, purpose: PurposeId, classes: &Classes) -> Option<CategoryId> {
    let vocabulary = pack.vocabulary();
    // A case names categories, so an unclassified field is outside every case.
    let may_leave = classes.release_unclassified && !admission::needs_case(vocabulary, kind, purpose);
    let is_there = classes.sets.iter().any(Vec::is_empty);
    (may_leave && is_there).then_some(vocabulary.well_known().personal)
}

fn withheld(reason: Reason) -> ClassRelease {
    ClassRelease {
        form: Form::Removed,
        basis: None,
        bases: BasisSet::default(),
        reason: Some(reason),
        rules: Arc::default(),
        clauses: Arc::default(),
    }
}

/// Ids of rules, or the clauses that they cite.
type NameList = Arc<[Arc<str>]>;

/// Returns the ids and clauses of rules, each once.
fn cited(pack: &Pack, at: &[RuleIndex]) -> (NameList, NameList) {
    let rules = at.iter().filter_map(|&at| pack.rulebook().rule(at));
    let mut clauses: Vec<Arc<str>> = Vec::new();
    for clause in rules.clone().flat_map(|rule| &rule.clauses) {
        if !clauses.contains(clause) {
            clauses.push(Arc::clone(clause));
        }
    }
    (rules.map(|rule| Arc::clone(&rule.id)).collect(), clauses.into())
}

/// Combines the verdicts on several categories of one field: all must be permitted, and the least revealing form
/// counts.
fn release(pack: &Pack, verdicts: &[RuleVerdict]) -> ClassRelease {
    let form = verdicts.iter().map(|verdict| verdict.form).max().unwrap_or(Form::Removed);
    let removed = form == Form::Removed;
    let decided = verdicts.iter().filter(|verdict| (verdict.form == Form::Removed) == removed);
    let mut at: SmallVec<[RuleIndex; 4]> =
        decided.clone().flat_map(|verdict| verdict.rules.iter().copied()).collect();
    at.sort_unstable();
    at.dedup();
    // The category that makes the field personal determines the legal basis.
    let bases = decided.filter_map(|verdict| verdict.basis);
    let basis = bases.min_by_key(|&basis| (basis == Basis::NotPersonal, basis)).filter(|_| !removed);
    let reason = if at.is_empty() { Reason::NoRule } else { Reason::Prohibited };
    let (rules, clauses) = cited(pack, &at);
    let bases = verdicts.iter().map(|verdict| verdict.basis).collect::<Option<BasisSet>>();
    let bases = bases.filter(|_| !removed).unwrap_or_default();
    ClassRelease { form, basis, bases, reason: removed.then_some(reason), rules, clauses }
}

impl Admitted {
    /// Decides what one record about one person may disclose. `known` is `None` if the ledger does not know the
    /// person. The gateway, the explanations and the offline commands use this function, so they decide alike.
    ///
    /// A record about several people is judged for each of them, and [`Permit::strictest`] of the permits applies.
    pub fn judge_person(
        &self,
        known: Option<&Subject>,
        unknown: UnknownSubject,
        controller: &Controller,
        record: &RecordFacts,
        relationship: Relationship,
        now: Timestamp,
    ) -> Permit {
        self.judge_person_with_facts(known, unknown, controller, record, relationship, now).0
    }

    /// As [`Admitted::judge_person`], with the facts on which the decision depended.
    pub fn judge_person_with_facts(
        &self,
        known: Option<&Subject>,
        unknown: UnknownSubject,
        controller: &Controller,
        record: &RecordFacts,
        relationship: Relationship,
        now: Timestamp,
    ) -> (Permit, PersonFacts) {
        let judge = |subject: &Subject| self.judge_with_key(subject, controller, record, relationship, now);
        let without_subject = || self.judge_without_subject(Reason::UnknownSubject);
        match (known, unknown) {
            (None, UnknownSubject::Withhold) => (without_subject(), PersonFacts::Unknown),
            (None, UnknownSubject::NoFacts) => {
                let (permit, key) = judge(&Subject::default());
                (permit, PersonFacts::Known(key))
            }
            // Refusals alone do not make a person known.
            (Some(subject), UnknownSubject::Withhold) if subject.only_refusals => {
                let (permit, key) = judge(subject);
                (Permit::strictest(&[permit, without_subject()]), PersonFacts::OnlyRefusals(key))
            }
            (Some(subject), _) => {
                let (permit, key) = judge(subject);
                (permit, PersonFacts::Known(key))
            }
        }
    }

    /// Decides what one record about a known person may disclose.
    pub fn judge(
        &self,
        subject: &Subject,
        controller: &Controller,
        record: &RecordFacts,
        relationship: Relationship,
        now: Timestamp,
    ) -> Permit {
        self.judge_with_key(subject, controller, record, relationship, now).0
    }

    fn judge_with_key(
        &self,
        subject: &Subject,
        controller: &Controller,
        record: &RecordFacts,
        relationship: Relationship,
        now: Timestamp,
    ) -> (Permit, DecisionKey) {
        let (permit, key) = self.judge_as_read(subject, controller, record, relationship, now);
        let Some(readable) = record.readable() else { return (permit, key) };
        let (other, _) = self.judge_as_read(subject, controller, &readable, relationship, now);
        (permit.with_reason(&other, Reason::Unreadable), key)
    }

    fn judge_as_read(
        &self,
        subject: &Subject,
        controller: &Controller,
        record: &RecordFacts,
        relationship: Relationship,
        now: Timestamp,
    ) -> (Permit, DecisionKey) {
        let about = RecordContext { subject, controller, record, relationship, now };
        let key = self.slice.key(&self.pack, &self.request, &about);
        let cached = self.slice.cache.get(&key).map(|cached| cached.clone());
        let permit = match cached {
            Some(cached) if is_check_due() => self.verify_cached(&key, cached),
            Some(cached) => cached,
            None => {
                let permit = self.slice.decide(&self.pack, &key);
                if self.slice.cache.len() >= MAX_CACHED_DECISIONS {
                    self.slice.cache.clear();
                }
                self.slice.cache.insert(key.clone(), permit.clone());
                permit
            }
        };
        (permit, key)
    }

    /// Returns the exchange with other retention periods than the pack's.
    pub(super) fn with_retention(self, retention: RetentionPeriods) -> Admitted {
        Admitted { request: self.request.with_retention(retention), ..self }
    }

    /// Reports data that the upstream should no longer hold.
    pub fn overdue(
        &self,
        subject: Option<&Subject>,
        controller: &Controller,
        record: &RecordFacts,
        relationship: Relationship,
        now: Timestamp,
    ) -> OverdueData {
        let somebody = Subject::default();
        let subject = subject.unwrap_or(&somebody);
        let categories = &self.slice.categories;
        let found = OverdueData::of(&self.pack, &self.request, subject, controller, record, categories, now);
        // Rules can permit a use beyond the retention period, for example the person's own request. So data are
        // reported as past retention only if their age makes the decision stricter.
        let judge = |created| {
            let record = RecordFacts { created, ..RecordFacts::default() };
            self.judge_as_read(subject, controller, &record, relationship, now).0
        };
        let withholds = || {
            let (old, young) = (judge(record.created), judge(Extracted::Absent));
            old.releases().iter().zip(young.releases()).any(|(old, young)| old.form > young.form)
        };
        OverdueData { retention: found.retention && withholds(), ..found }
    }

    /// Decides about a record without a subject: personal data, service data and published data are withheld; data
    /// about no person leave in the form that the rules permit.
    pub fn no_subject(&self) -> Permit {
        self.judge_without_subject(Reason::NoSubject)
    }

    /// Decides about a record without a known subject, with `reason` for each class that is withheld on this
    /// ground.
    fn judge_without_subject(&self, reason: Reason) -> Permit {
        let facts = self.request.request_facts();
        if let Some(known) = self.slice.no_subject_cache.get(&(facts, reason)) {
            return known.clone();
        }
        let vocabulary = self.pack.vocabulary();
        let unclassified = if self.slice.unclassified.is_some() { reason } else { Reason::Unclassified };
        let permit = self.slice.permit(&self.pack, &withheld(unclassified), |category, _| {
            if vocabulary.has_owner(category) {
                return RuleVerdict::withheld();
            }
            let Slice { kind, purpose, operation, .. } = *self.slice;
            self.pack.rulebook().judge_operation(operation, (kind, purpose, category), facts)
        });
        let is_somebodys = |set: &Vec<CategoryId>| set.iter().any(|category| vocabulary.has_owner(*category));
        let releases = permit.releases().iter().zip(self.slice.classes.sets.iter());
        let releases = releases.map(|(release, set)| match is_somebodys(set) {
            true => ClassRelease { reason: Some(reason), ..release.clone() },
            false => release.clone(),
        });
        let permit = Permit::new(releases.collect());
        self.slice.no_subject_cache.insert((facts, reason), permit.clone());
        permit
    }

    /// Returns the most that the rules could release about anybody, class by class. It is for samples with invented values: a
    /// record of a person is judged by that person's state.
    pub fn most_revealing(&self) -> Permit {
        let without = self.no_subject();
        let releases = without.releases().iter().zip(0..).map(|(release, class)| {
            match (release.form, self.best_of_class(ClassId(class))) {
                (Form::Removed, best) if best != Form::Removed => {
                    ClassRelease { form: best, reason: None, ..release.clone() }
                }
                _ => release.clone(),
            }
        });
        Permit::new(releases.collect())
    }

    /// Returns the most revealing form in which some rule could release a category to this recipient, whatever is
    /// known about the person.
    pub fn best(&self, category: CategoryId) -> Form {
        best(&self.pack, &self.request, self.slice.kind, self.slice.purpose, category)
    }

    /// Returns [`Admitted::best`] by the rules on one of these bases.
    pub fn best_on(&self, bases: BasisSet, category: CategoryId) -> Form {
        let Slice { kind, purpose, .. } = *self.slice;
        let rulebook = self.pack.rulebook();
        let form = |category| rulebook.most_revealing_form_on(bases, kind, purpose, category);
        best_by(&self.pack, &self.request, category, form)
    }

    /// True if a rule on one of these bases could release a class that is about somebody, whatever is known about the
    /// person.
    pub fn can_rest_on(&self, bases: BasisSet) -> bool {
        let about_people = bases.without(Basis::NotPersonal);
        let releases = |bases, category: &CategoryId| self.best_on(bases, *category) != Form::Removed;
        self.slice.classes.sets.iter().any(|set| {
            set.iter().all(|category| releases(bases, category))
                && set.iter().any(|category| releases(about_people, category))
        })
    }

    /// Returns [`Admitted::best`] of a class: the least revealing form of its categories.
    fn best_of_class(&self, class: ClassId) -> Form {
        let set = self.slice.classes.sets.get(usize::from(class.0));
        if set.is_some_and(Vec::is_empty) && self.slice.unclassified.is_some() {
            return Form::Clear;
        }
        set.into_iter().flatten().map(|&category| self.best(category)).max().unwrap_or(Form::Removed)
    }

    /// True if a class was withheld because of the data subject: in another person's record a rule could release it.
    pub fn withholds(&self, class: ClassId, form: Form) -> bool {
        form == Form::Removed && self.best_of_class(class) != Form::Removed
    }

    /// The policy pack that decides.
    pub fn pack(&self) -> &Arc<Pack> {
        &self.pack
    }

    /// Compares a cached decision with a fresh evaluation. If they differ, the stricter of both applies and the
    /// divergence is counted.
    fn verify_cached(&self, key: &DecisionKey, known: Permit) -> Permit {
        let fresh = self.slice.decide(&self.pack, key);
        if fresh.is_equivalent(&known) {
            return known;
        }
        self.divergences.fetch_add(1, Ordering::Relaxed);
        let least = Permit::strictest(&[known, fresh]);
        self.slice.cache.insert(key.clone(), least.clone());
        least
    }
}

fn best(
    pack: &Pack,
    request_facts: &RequestFacts,
    kind: KindId,
    purpose: PurposeId,
    category: CategoryId,
) -> Form {
    let form = |category| pack.rulebook().most_revealing_form(kind, purpose, category);
    best_by(pack, request_facts, category, form)
}

fn best_by(
    pack: &Pack,
    request_facts: &RequestFacts,
    category: CategoryId,
    form: impl Fn(CategoryId) -> Form,
) -> Form {
    let best = |category| match request_facts.is_outside_case(pack.vocabulary(), category) {
        true => Form::Removed,
        false => form(category),
    };
    pack.judged_categories(&[category]).into_iter().map(best).max().unwrap_or(Form::Removed)
}

/// True once in [`CHECK_INTERVAL`] calls on a thread.
fn is_check_due() -> bool {
    thread_local!(static SINCE: Cell<u32> = const { Cell::new(0) });
    SINCE.with(|since| {
        let next = since.get() + 1;
        since.set(if next == CHECK_INTERVAL { 0 } else { next });
        next == CHECK_INTERVAL
    })
}

#[cfg(test)]
mod tests;
