//! The decision for each record of an admitted exchange.
//!
//! Policies are asked once per combination of facts: what decides is packed into one word, and the
//! outcome remembered under it. The word holds exactly what the rules of the slice compare, read off
//! the rules themselves. Invariant: a remembered decision is the one that would be made.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use jiff::Timestamp;
use smallvec::SmallVec;

use super::admission::{self, AdmissionRequest, Denial};
use super::classes::{Classes, operation_classes, with_service_data};
use super::facts::{
    OverdueData, Overrides, PER_CATEGORY, RecordContext, Relationship, RequestFacts, RetentionPeriods,
};
use super::permit::{ClassId, ClassRelease, Permit, Reason};
use super::subject::{Controller, Extracted, RecordFacts, Subject, UnknownSubject};
use crate::policy::cell_evaluator::Circumstances;
use crate::policy::{ConsentFact, Fact, FactSet, Facts, ObjectionFact, Pack, RuleIndex, RuleVerdict};
use crate::vocabulary::{Basis, CategoryId, Form, KindId, Operation, PurposeId};

/// How many combinations of facts one slice remembers; when it is full it forgets them all.
pub(super) const MAX_CACHED_DECISIONS: usize = 8192;
/// How many slices are kept; recipients, purposes and routes are configured, so this is not reached.
const MAX_SLICES: usize = 4096;
/// One remembered decision in so many is worked out afresh and compared.
const CHECK_INTERVAL: u32 = 1000;

/// Decides by one policy pack, and remembers.
#[derive(Debug)]
pub struct Decisions {
    pack: Arc<Pack>,
    slices: DashMap<(KindId, PurposeId, Operation, usize, bool), Arc<Slice>>,
    divergences: Arc<AtomicU64>,
}

/// An exchange that may go on: what it may ask for is settled, each record is judged.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub(super) pack: Arc<Pack>,
    pub(super) slice: Arc<Slice>,
    pub(super) request: RequestFacts,
    divergences: Arc<AtomicU64>,
}

/// What one kind, purpose and operation need on one route.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) kind: KindId,
    pub(super) purpose: PurposeId,
    pub(super) operation: Operation,
    pub(super) classes: Classes,
    /// The classes of the route: their address is the key.
    _route_classes: Classes,
    /// The category whose prohibitions hold for what nothing classifies, where that may leave: a field
    /// without a classification can hold anything personal.
    unclassified: Option<CategoryId>,
    /// Every category of the route, once.
    categories: Vec<CategoryId>,
    /// The facts that decide, for the record as a whole and by category.
    record_facts: FactSet,
    category_facts: FactSet,
    cache: DashMap<DecisionKey, Permit>,
    /// By the facts of the exchange: two recipients of one kind differ in theirs.
    no_subject_cache: DashMap<(Facts, Reason), Permit>,
    /// By the facts that are known: whether an operation is permitted on somebody who is not named.
    pub(super) unnamed_cache: DashMap<Circumstances, bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct DecisionKey {
    pub(super) facts: Facts,
    pub(super) overrides: Overrides,
}

impl Decisions {
    pub fn new(pack: Arc<Pack>) -> Decisions {
        Decisions { pack, slices: DashMap::new(), divergences: Arc::new(AtomicU64::new(0)) }
    }

    pub fn pack(&self) -> &Arc<Pack> {
        &self.pack
    }

    /// How often a remembered decision was not the one made afresh. Anything but 0 is an alarm.
    pub fn divergences(&self) -> u64 {
        self.divergences.load(Ordering::Relaxed)
    }

    /// Settles everything that does not depend on a person.
    ///
    /// # Errors
    /// Why the request is refused.
    pub fn admit(&self, request: &AdmissionRequest, classes: &Classes) -> Result<Admitted, Denial> {
        admission::check(&self.pack, request)?;
        Ok(self.admitted(request, self.slice(request, Operation::Disclose, classes)))
    }

    /// What may be done where the request's operation is another than `disclose`; a permit of it releases what
    /// the operation may be carried out on ([`Admitted::permits_operation`]).
    ///
    /// # Errors
    /// Why the request is refused.
    pub fn admit_operation(&self, request: &AdmissionRequest, classes: &Classes) -> Result<Admitted, Denial> {
        admission::check(&self.pack, request)?;
        Ok(self.admitted(request, self.slice(request, request.operation, classes)))
    }

    /// [`Decisions::admit_operation`] (for `disclose` that is [`Decisions::admit`]) for a question of its own:
    /// nothing is remembered for the classes.
    ///
    /// # Errors
    /// Why the request is refused.
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

    /// The most revealing form in which each category could leave, whoever it is about: what
    /// [`Admitted::best`] says, without an exchange and without remembering anything for one.
    ///
    /// # Errors
    /// Why the request would be refused.
    pub fn best_forms(&self, request: &AdmissionRequest) -> Result<impl Fn(CategoryId) -> Form, Denial> {
        admission::check(&self.pack, request)?;
        let (request_facts, kind, purpose) =
            (RequestFacts::new(&self.pack, request), request.recipient.kind, request.purpose);
        Ok(move |category| best(&self.pack, &request_facts, kind, purpose, category))
    }

    fn slice(&self, request: &AdmissionRequest, operation: Operation, classes: &Classes) -> Arc<Slice> {
        // The slice holds the sets, so their address stays theirs for as long as it is a key.
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
        // What nothing classifies says nothing about what may be done.
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
            _route_classes: of_route,
            unclassified,
            categories,
            // The origin of the record as a whole stays in: only what differs from it is an override.
            record_facts: mask.difference(fixed),
            category_facts: mask.difference(mask.difference(per_category)),
            classes,
            cache: DashMap::new(),
            no_subject_cache: DashMap::new(),
            unnamed_cache: DashMap::new(),
        }
    }

    /// The facts that decide, for the record as a whole or for one category.
    pub(super) fn mask(&self) -> FactSet {
        self.record_facts.union(self.category_facts)
    }

    /// What of everything that is known about a record decides here.
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

    /// Decides every class, and says of what is withheld why it is.
    fn decide(&self, pack: &Pack, key: &DecisionKey) -> Permit {
        let permit = self.evaluate(pack, key);
        match key.without_refusals() {
            Some(willing) => permit.with_reason(&self.evaluate(pack, &willing), Reason::Refused),
            None => permit,
        }
    }

    /// Asks the policies about every class; where the facts alone decide, once for all that share a cell.
    pub(super) fn evaluate(&self, pack: &Pack, key: &DecisionKey) -> Permit {
        let rulebook = pack.rulebook();
        let mut asked: SmallVec<[(usize, Facts, RuleVerdict); 8]> = SmallVec::new();
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
            if let Some((_, _, known)) = asked.iter().find(|(of, with, _)| *of == cell && *with == facts) {
                return known.clone();
            }
            let verdict = rulebook.judge_operation(operation, point, facts);
            asked.push((cell, facts, verdict.clone()));
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

    /// Whether a category counts: all do for what leaves, and personal and service data for what is done.
    fn is_relevant(&self, pack: &Pack, category: CategoryId) -> bool {
        self.operation == Operation::Disclose || pack.vocabulary().governs_operations(category)
    }

    /// A field that nothing classifies leaves on the operator's word alone, and so without a basis, unless
    /// a prohibition holds for everything personal.
    fn release_unclassified(&self, pack: &Pack, category: CategoryId, facts: Facts) -> ClassRelease {
        let prohibitions = pack.rulebook().prohibitions(self.kind, self.purpose, category, facts);
        let never = NEVER_UNCLASSIFIED.into_iter().any(|fact| facts.get(fact) != 0);
        let (rules, clauses) = cited(pack, &prohibitions);
        match prohibitions.is_empty() && !never {
            true => ClassRelease { form: Form::Clear, basis: None, reason: None, rules, clauses },
            false => ClassRelease { rules, clauses, ..withheld(Reason::Prohibited) },
        }
    }
}

impl DecisionKey {
    /// The facts that count for a category.
    fn facts_of(&self, category: CategoryId) -> Facts {
        let per_category: FactSet = PER_CATEGORY.into_iter().collect();
        let own = self.overrides.iter().find(|(of, _)| *of == category);
        own.map_or(self.facts, |(_, own)| self.facts.overlay(*own, per_category))
    }

    /// The same facts about a person who refuses nothing; `None` where this one refuses nothing either.
    fn without_refusals(&self) -> Option<DecisionKey> {
        let refuses = |fact| self.facts.get(fact) != 0;
        let consent = self.facts.get(Fact::Consent);
        let consent =
            [ConsentFact::Refused, ConsentFact::Withdrawn].into_iter().any(|no| no as u8 == consent);
        let categories = self.overrides.iter().any(|(_, own)| own.get(Fact::Refused) != 0);
        if !(consent || categories || refuses(Fact::Objection) || refuses(Fact::OptedOut)) {
            return None;
        }
        let facts = self.facts.with_objection(ObjectionFact::None).with_flag(Fact::OptedOut, false);
        let facts = if consent { facts.with_consent(ConsentFact::Given) } else { facts };
        let willing =
            |(category, own): &(CategoryId, Facts)| (*category, own.with_flag(Fact::Refused, false));
        Some(DecisionKey { facts, overrides: self.overrides.iter().map(willing).collect() })
    }
}

/// Whose data never leave unclassified, whatever the pack says.
const NEVER_UNCLASSIFIED: [Fact; 3] = [Fact::Erased, Fact::Restricted, Fact::Minor];

/// The category that stands for what nothing classifies, where that may leave to this kind for this purpose.
fn unclassified(pack: &Pack, kind: KindId, purpose: PurposeId, classes: &Classes) -> Option<CategoryId> {
    let vocabulary = pack.vocabulary();
    // A case names categories: what has none is outside of every case.
    let may_leave = classes.release_unclassified && !admission::needs_case(vocabulary, kind, purpose);
    let is_there = classes.sets.iter().any(Vec::is_empty);
    (may_leave && is_there).then_some(vocabulary.well_known().personal)
}

fn withheld(reason: Reason) -> ClassRelease {
    ClassRelease {
        form: Form::Removed,
        basis: None,
        reason: Some(reason),
        rules: Arc::default(),
        clauses: Arc::default(),
    }
}

/// Ids of rules, or the clauses that they cite.
type NameList = Arc<[Arc<str>]>;

/// Ids and clauses of rules, each once.
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

/// Several categories at one node: all must be permitted, and the least revealing form counts.
fn release(pack: &Pack, verdicts: &[RuleVerdict]) -> ClassRelease {
    let form = verdicts.iter().map(|verdict| verdict.form).max().unwrap_or(Form::Removed);
    let removed = form == Form::Removed;
    let decided = verdicts.iter().filter(|verdict| (verdict.form == Form::Removed) == removed);
    let mut at: SmallVec<[RuleIndex; 4]> =
        decided.clone().flat_map(|verdict| verdict.rules.iter().copied()).collect();
    at.sort_unstable();
    at.dedup();
    // What makes a field personal says on what it rests.
    let bases = decided.filter_map(|verdict| verdict.basis);
    let basis = bases.min_by_key(|&basis| (basis == Basis::NotPersonal, basis)).filter(|_| !removed);
    let reason = if at.is_empty() { Reason::NoRule } else { Reason::Prohibited };
    let (rules, clauses) = cited(pack, &at);
    ClassRelease { form, basis, reason: removed.then_some(reason), rules, clauses }
}

impl Admitted {
    /// What one record about one person may disclose, however much the ledger knows of them (`None`: it
    /// has never heard of them). Everybody who asks about a person asks this.
    ///
    /// A record about several is judged for each, and [`Permit::strictest`] of the permits holds.
    pub fn judge_person(
        &self,
        known: Option<&Subject>,
        unknown: UnknownSubject,
        controller: &Controller,
        record: &RecordFacts,
        relationship: Relationship,
        now: Timestamp,
    ) -> Permit {
        let judge = |subject: &Subject| self.judge(subject, controller, record, relationship, now);
        match (known, unknown) {
            (None, UnknownSubject::Withhold) => self.judge_without_subject(Reason::UnknownSubject),
            (None, UnknownSubject::NoFacts) => judge(&Subject::default()),
            // Saying no makes nobody better known.
            (Some(subject), UnknownSubject::Withhold) if subject.only_refusals => {
                Permit::strictest(&[judge(subject), self.judge_without_subject(Reason::UnknownSubject)])
            }
            (Some(subject), _) => judge(subject),
        }
    }

    /// What one record about a person of whom the ledger knows enough may disclose.
    pub fn judge(
        &self,
        subject: &Subject,
        controller: &Controller,
        record: &RecordFacts,
        relationship: Relationship,
        now: Timestamp,
    ) -> Permit {
        let permit = self.judge_as_read(subject, controller, record, relationship, now);
        let Some(readable) = record.readable() else { return permit };
        let other = self.judge_as_read(subject, controller, &readable, relationship, now);
        permit.with_reason(&other, Reason::Unreadable)
    }

    fn judge_as_read(
        &self,
        subject: &Subject,
        controller: &Controller,
        record: &RecordFacts,
        relationship: Relationship,
        now: Timestamp,
    ) -> Permit {
        let about = RecordContext { subject, controller, record, relationship, now };
        let key = self.slice.key(&self.pack, &self.request, &about);
        let known = self.slice.cache.get(&key).map(|known| known.clone());
        match known {
            Some(known) if is_check_due() => self.verify_cached(&key, known),
            Some(known) => known,
            None => {
                let permit = self.slice.decide(&self.pack, &key);
                if self.slice.cache.len() >= MAX_CACHED_DECISIONS {
                    self.slice.cache.clear();
                }
                self.slice.cache.insert(key, permit.clone());
                permit
            }
        }
    }

    /// The same where categories are kept for other periods than the pack says.
    pub(super) fn with_retention(self, retention: RetentionPeriods) -> Admitted {
        Admitted { request: self.request.with_retention(retention), ..self }
    }

    /// What of a record should not be there at all.
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
        // Some purposes may use what is kept for longer, and the person may see it.
        let judge = |created| {
            let record = RecordFacts { created, ..RecordFacts::default() };
            self.judge_as_read(subject, controller, &record, relationship, now)
        };
        let withholds = || {
            let (old, young) = (judge(record.created), judge(Extracted::Absent));
            old.releases().iter().zip(young.releases()).any(|(old, young)| old.form > young.form)
        };
        OverdueData { retention: found.retention && withholds(), ..found }
    }

    /// What may leave of what has no subject: nothing personal, no service data, nothing published; what
    /// is about no person passes as the rules say.
    pub fn no_subject(&self) -> Permit {
        self.judge_without_subject(Reason::NoSubject)
    }

    /// What may leave that belongs to nobody, or to somebody unknown.
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

    /// The most revealing form that some rule could release a category in to this recipient,
    /// whatever there is to know about the person.
    pub fn best(&self, category: CategoryId) -> Form {
        best(&self.pack, &self.request, self.slice.kind, self.slice.purpose, category)
    }

    /// [`Admitted::best`] of a class: the least revealing of its categories'.
    fn best_of_class(&self, class: ClassId) -> Form {
        let set = self.slice.classes.sets.get(usize::from(class.0));
        if set.is_some_and(Vec::is_empty) && self.slice.unclassified.is_some() {
            return Form::Clear;
        }
        set.into_iter().flatten().map(|&category| self.best(category)).max().unwrap_or(Form::Removed)
    }

    /// Whether what a class holds was withheld because of somebody: in another's record a rule could release it.
    pub fn withholds(&self, class: ClassId, form: Form) -> bool {
        form == Form::Removed && self.best_of_class(class) != Form::Removed
    }

    pub fn pack(&self) -> &Arc<Pack> {
        &self.pack
    }

    /// Asks again what is remembered. Where the two differ, less of both leaves, and it is counted.
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
    let best = |category| match request_facts.is_outside_case(pack.vocabulary(), category) {
        true => Form::Removed,
        false => pack.rulebook().most_revealing_form(kind, purpose, category),
    };
    pack.judged_categories(&[category]).into_iter().map(best).max().unwrap_or(Form::Removed)
}

/// Every so many decisions of a thread one is due to be checked.
fn is_check_due() -> bool {
    thread_local!(static SINCE: Cell<u32> = const { Cell::new(0) });
    SINCE.with(|since| {
        let next = since.get() + 1;
        since.set(if next == CHECK_INTERVAL { 0 } else { next });
        next == CHECK_INTERVAL
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
