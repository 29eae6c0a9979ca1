//! The decision for each record of an admitted exchange.
//!
//! Policies are asked once per combination of facts: what decides is packed into one word, and the
//! outcome remembered under it. The word holds exactly what the rules of the slice compare, read off
//! the rules themselves. Invariant: a remembered decision is the one that would be made.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use dashmap::DashMap;
use jiff::Timestamp;
use smallvec::SmallVec;

use super::admission::{self, Asking, Denial};
use super::gather::{About, Exchange, Overdue, Overrides, PER_CATEGORY, Periods, Relationship};
use super::operation;
use super::permit::{ClassId, Permit, Reason, Release};
use super::subject::{Controller, RecordFacts, Subject, UnknownSubject, Unsure};
use crate::policy::search::Circumstances;
use crate::policy::{ConsentFact, Fact, Facts, Mask, ObjectionFact, Pack, RuleAt, Verdict};
use crate::vocabulary::{Basis, CategoryId, Form, KindId, Operation, PurposeId};

/// How many combinations of facts one slice remembers; when it is full it forgets them all.
pub(super) const MOST_REMEMBERED: usize = 8192;
/// How many slices are kept; recipients, purposes and routes are configured, so this is not reached.
const MOST_SLICES: usize = 4096;
/// One remembered decision in so many is worked out afresh and compared.
const CHECKED: u32 = 1000;

/// The distinct sets of categories on a route. A field's set is its class; the empty set holds what
/// nothing classifies.
#[derive(Clone, Debug)]
pub struct Classes {
    sets: Arc<[Vec<CategoryId>]>,
    release_unclassified: bool,
}

impl Classes {
    /// The classes in the order of their ids; what nothing classifies leaves only where the route says so.
    pub fn new(sets: impl Into<Arc<[Vec<CategoryId>]>>, release_unclassified: bool) -> Classes {
        Classes { sets: sets.into(), release_unclassified }
    }

    /// Those of an answer that passes unread: none. The same each time, as decisions are remembered
    /// for the classes that they are about.
    pub fn unread() -> &'static Classes {
        static UNREAD: LazyLock<Classes> = LazyLock::new(|| Classes::new(Vec::new(), false));
        &UNREAD
    }

    pub fn sets(&self) -> &[Vec<CategoryId>] {
        &self.sets
    }
}

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
    pub(super) exchange: Exchange,
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
    _of_route: Classes,
    /// The category whose prohibitions hold for what nothing classifies, where that may leave: a field
    /// without a classification can hold anything personal.
    unclassified: Option<CategoryId>,
    /// Every category of the route, once.
    categories: Vec<CategoryId>,
    /// The facts that decide, for the record as a whole and by category.
    shared: Mask,
    by_category: Mask,
    known: DashMap<Key, Permit>,
    /// By the facts of the exchange: two recipients of one kind differ in theirs.
    nobody: DashMap<(Facts, Reason), Permit>,
    /// By the facts that are known: whether an operation is permitted on somebody who is not named.
    pub(super) unnamed: DashMap<Circumstances, bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
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
    pub fn admit(&self, asking: &Asking, classes: &Classes) -> Result<Admitted, Denial> {
        admission::check(&self.pack, asking)?;
        Ok(self.admitted(asking, self.slice(asking, Operation::Disclose, classes)))
    }

    /// What may be done where the request's operation is another than `disclose`; a permit of it releases what
    /// the operation may be carried out on ([`Admitted::permits_operation`]).
    ///
    /// # Errors
    /// Why the request is refused.
    pub fn admit_operation(&self, asking: &Asking, classes: &Classes) -> Result<Admitted, Denial> {
        admission::check(&self.pack, asking)?;
        Ok(self.admitted(asking, self.slice(asking, asking.operation, classes)))
    }

    /// [`Decisions::admit_operation`] (for `disclose` that is [`Decisions::admit`]) for a question of its own:
    /// nothing is remembered for the classes.
    ///
    /// # Errors
    /// Why the request is refused.
    pub fn admit_once(&self, asking: &Asking, classes: &Classes) -> Result<Admitted, Denial> {
        admission::check(&self.pack, asking)?;
        Ok(self.admitted(asking, Arc::new(self.new_slice(asking, asking.operation, classes))))
    }

    fn new_slice(&self, asking: &Asking, operation: Operation, classes: &Classes) -> Slice {
        Slice::new(&self.pack, asking.recipient.kind, asking.purpose, operation, classes.clone())
    }

    fn admitted(&self, asking: &Asking, slice: Arc<Slice>) -> Admitted {
        Admitted {
            pack: Arc::clone(&self.pack),
            slice,
            exchange: Exchange::new(&self.pack, asking),
            divergences: Arc::clone(&self.divergences),
        }
    }

    /// The most revealing form in which each category could leave, whoever it is about: what
    /// [`Admitted::best`] says, without an exchange and without remembering anything for one.
    ///
    /// # Errors
    /// Why the request would be refused.
    pub fn foresee(&self, asking: &Asking) -> Result<impl Fn(CategoryId) -> Form, Denial> {
        admission::check(&self.pack, asking)?;
        let (exchange, kind, purpose) =
            (Exchange::new(&self.pack, asking), asking.recipient.kind, asking.purpose);
        Ok(move |category| best(&self.pack, &exchange, kind, purpose, category))
    }

    fn slice(&self, asking: &Asking, operation: Operation, classes: &Classes) -> Arc<Slice> {
        // The slice holds the sets, so their address stays theirs for as long as it is a key.
        let address = classes.sets.as_ptr() as usize;
        let (kind, purpose) = (asking.recipient.kind, asking.purpose);
        let key = (kind, purpose, operation, address, classes.release_unclassified);
        if let Some(known) = self.slices.get(&key) {
            return Arc::clone(&known);
        }
        if self.slices.len() >= MOST_SLICES {
            self.slices.clear();
        }
        let slice = Arc::new(self.new_slice(asking, operation, classes));
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
                (Classes::new(operation::of_somebody(pack, &classes.sets), false), None)
            }
        };
        let judged: Vec<_> = classes.sets.iter().map(|set| pack.judged_as(set)).collect();
        let classes = Classes::new(judged, classes.release_unclassified);
        let mut categories: Vec<CategoryId> = classes.sets.iter().flatten().copied().collect();
        let mask = pack.rulebook().mask(kind, purpose, operation, categories.iter().copied());
        let mask = unclassified.map_or(mask, |category| {
            let never: Mask = NEVER_UNCLASSIFIED.into_iter().collect();
            mask.and(pack.rulebook().prohibition_mask(kind, purpose, category)).and(never)
        });
        categories.extend(unclassified);
        categories.sort_unstable();
        categories.dedup();
        let per_category: Mask = PER_CATEGORY.into_iter().collect();
        let fixed: Mask = [Fact::Form, Fact::Operation, Fact::WithServiceData].into_iter().collect();
        Slice {
            kind,
            purpose,
            operation,
            _of_route: of_route,
            unclassified,
            categories,
            // The origin of the record as a whole stays in: only what differs from it is an override.
            shared: mask.without(fixed),
            by_category: mask.without(mask.without(per_category)),
            classes,
            known: DashMap::new(),
            nobody: DashMap::new(),
            unnamed: DashMap::new(),
        }
    }

    /// The facts that decide, for the record as a whole or for one category.
    pub(super) fn mask(&self) -> Mask {
        self.shared.and(self.by_category)
    }

    /// What of everything that is known about a record decides here.
    pub(super) fn key(&self, pack: &Pack, exchange: &Exchange, about: &About<'_>) -> Key {
        Key {
            facts: exchange.about(pack, self.shared, about).only(self.shared),
            overrides: exchange.overrides(pack, self.by_category, about, &self.categories),
        }
    }

    /// Decides every class, and says of what is withheld why it is.
    fn decide(&self, pack: &Pack, key: &Key) -> Permit {
        let permit = self.ask(pack, key);
        match key.without_refusals() {
            Some(willing) => permit.reasoned(&self.ask(pack, &willing), Reason::Refused),
            None => permit,
        }
    }

    /// Asks the policies about every class; where the facts alone decide, once for all that share a cell.
    pub(super) fn ask(&self, pack: &Pack, key: &Key) -> Permit {
        let rulebook = pack.rulebook();
        let mut asked: SmallVec<[(usize, Facts, Verdict); 8]> = SmallVec::new();
        let unclassified = match self.unclassified {
            Some(category) => self.release_unclassified(pack, category, key.of(category)),
            None => withheld(Reason::Unclassified),
        };
        self.permit(pack, &unclassified, |category, with_service_data| {
            let facts = key.of(category).with_flag(Fact::WithServiceData, with_service_data);
            let (operation, point) = (self.operation, (self.kind, self.purpose, category));
            let cell = rulebook.cell_at(operation, point);
            let alike = cell.filter(|&cell| rulebook.cells().get(cell).is_some_and(|cell| cell.is_alike()));
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
        unclassified: &Release,
        mut verdict: impl FnMut(CategoryId, bool) -> Verdict,
    ) -> Permit {
        let releases = self.classes.sets.iter().map(|class| {
            if class.is_empty() {
                return unclassified.clone();
            }
            let with_service_data = with_service_data(pack, class);
            let asked = class.iter().filter(|&&category| self.asks_about(pack, category));
            let verdicts = asked.map(|&category| verdict(category, with_service_data));
            release(pack, &verdicts.collect::<SmallVec<[Verdict; 4]>>())
        });
        Permit::new(releases.collect())
    }

    /// Whether a category counts: all do for what leaves, and what is about somebody for what is done.
    fn asks_about(&self, pack: &Pack, category: CategoryId) -> bool {
        self.operation == Operation::Disclose || pack.vocabulary().is_somebodys(category)
    }

    /// A field that nothing classifies leaves on the operator's word alone, and so without a basis, unless
    /// a prohibition holds for everything personal.
    fn release_unclassified(&self, pack: &Pack, category: CategoryId, facts: Facts) -> Release {
        let prohibitions = pack.rulebook().prohibitions(self.kind, self.purpose, category, facts);
        let never = NEVER_UNCLASSIFIED.into_iter().any(|fact| facts.get(fact) != 0);
        let (rules, clauses) = cited(pack, &prohibitions);
        match prohibitions.is_empty() && !never {
            true => Release { form: Form::Clear, basis: None, reason: None, rules, clauses },
            false => Release { rules, clauses, ..withheld(Reason::Prohibited) },
        }
    }
}

impl Key {
    /// The facts that count for a category.
    fn of(&self, category: CategoryId) -> Facts {
        let per_category: Mask = PER_CATEGORY.into_iter().collect();
        let own = self.overrides.iter().find(|(of, _)| *of == category);
        own.map_or(self.facts, |(_, own)| self.facts.overlaid(*own, per_category))
    }

    /// The same facts about a person who refuses nothing; `None` where this one refuses nothing either.
    fn without_refusals(&self) -> Option<Key> {
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
        Some(Key { facts, overrides: self.overrides.iter().map(willing).collect() })
    }
}

/// Whether a field of these categories holds service data.
pub(super) fn with_service_data(pack: &Pack, class: &[CategoryId]) -> bool {
    let tree = pack.vocabulary().categories();
    let root = tree.find("service-data");
    root.is_some_and(|root| class.iter().any(|&category| tree.within(category, root)))
}

/// Whose data never leave unclassified, whatever the pack says.
const NEVER_UNCLASSIFIED: [Fact; 3] = [Fact::Erased, Fact::Restricted, Fact::Minor];

/// The category that stands for what nothing classifies, where that may leave to this kind for this purpose.
fn unclassified(pack: &Pack, kind: KindId, purpose: PurposeId, classes: &Classes) -> Option<CategoryId> {
    let words = pack.vocabulary();
    // A case names categories: what has none is outside of every case.
    let may_leave = classes.release_unclassified && !admission::needs_case(words, kind, purpose);
    let is_there = classes.sets.iter().any(Vec::is_empty);
    words.categories().find("personal").filter(|_| may_leave && is_there)
}

fn withheld(reason: Reason) -> Release {
    Release {
        form: Form::Removed,
        basis: None,
        reason: Some(reason),
        rules: Arc::default(),
        clauses: Arc::default(),
    }
}

/// Ids of rules, or the clauses that they cite.
type Names = Arc<[Arc<str>]>;

/// Ids and clauses of rules, each once.
fn cited(pack: &Pack, at: &[RuleAt]) -> (Names, Names) {
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
fn release(pack: &Pack, verdicts: &[Verdict]) -> Release {
    let form = verdicts.iter().map(|verdict| verdict.form).max().unwrap_or(Form::Removed);
    let removed = form == Form::Removed;
    let decided = verdicts.iter().filter(|verdict| (verdict.form == Form::Removed) == removed);
    let mut at: SmallVec<[RuleAt; 4]> =
        decided.clone().flat_map(|verdict| verdict.rules.iter().copied()).collect();
    at.sort_unstable();
    at.dedup();
    // What makes a field personal says on what it rests.
    let bases = decided.filter_map(|verdict| verdict.basis);
    let basis = bases.min_by_key(|&basis| (basis == Basis::NotPersonal, basis)).filter(|_| !removed);
    let reason = if at.is_empty() { Reason::NoRule } else { Reason::Prohibited };
    let (rules, clauses) = cited(pack, &at);
    Release { form, basis, reason: removed.then_some(reason), rules, clauses }
}

impl Admitted {
    /// What one record about one person may disclose, however much the ledger knows of them (`None`: it
    /// has never heard of them). Everybody who asks about a person asks this.
    ///
    /// A record about several is judged for each, and [`Permit::least`] of the permits holds.
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
            (None, UnknownSubject::Withhold) => self.nobody(Reason::UnknownSubject),
            (None, UnknownSubject::NoFacts) => judge(&Subject::default()),
            // Saying no makes nobody better known.
            (Some(subject), UnknownSubject::Withhold) if subject.only_refusals => {
                Permit::least(&[judge(subject), self.nobody(Reason::UnknownSubject)])
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
        permit.reasoned(&other, Reason::Unreadable)
    }

    fn judge_as_read(
        &self,
        subject: &Subject,
        controller: &Controller,
        record: &RecordFacts,
        relationship: Relationship,
        now: Timestamp,
    ) -> Permit {
        let about = About { subject, controller, record, relationship, now };
        let key = self.slice.key(&self.pack, &self.exchange, &about);
        let known = self.slice.known.get(&key).map(|known| known.clone());
        match known {
            Some(known) if is_due() => self.checked(&key, known),
            Some(known) => known,
            None => {
                let permit = self.slice.decide(&self.pack, &key);
                if self.slice.known.len() >= MOST_REMEMBERED {
                    self.slice.known.clear();
                }
                self.slice.known.insert(key, permit.clone());
                permit
            }
        }
    }

    /// The same where categories are kept for other periods than the pack says.
    pub(super) fn keeping(self, retention: Periods) -> Admitted {
        Admitted { exchange: self.exchange.keeping(retention), ..self }
    }

    /// What of a record should not be there at all.
    pub fn overdue(
        &self,
        subject: Option<&Subject>,
        controller: &Controller,
        record: &RecordFacts,
        relationship: Relationship,
        now: Timestamp,
    ) -> Overdue {
        let somebody = Subject::default();
        let subject = subject.unwrap_or(&somebody);
        let categories = &self.slice.categories;
        let found = Overdue::of(&self.pack, &self.exchange, subject, controller, record, categories, now);
        // Some purposes may use what is kept for longer, and the person may see it.
        let judge = |created| {
            let record = RecordFacts { created, ..RecordFacts::default() };
            self.judge_as_read(subject, controller, &record, relationship, now)
        };
        let withholds = || {
            let (old, young) = (judge(record.created), judge(Unsure::Absent));
            old.releases().iter().zip(young.releases()).any(|(old, young)| old.form > young.form)
        };
        Overdue { retention: found.retention && withholds(), ..found }
    }

    /// What may leave of what has no subject: nothing personal, no service data, nothing published; what
    /// is about no person passes as the rules say.
    pub fn no_subject(&self) -> Permit {
        self.nobody(Reason::NoSubject)
    }

    /// What may leave that belongs to nobody, or to somebody unknown.
    fn nobody(&self, reason: Reason) -> Permit {
        let facts = self.exchange.facts();
        if let Some(known) = self.slice.nobody.get(&(facts, reason)) {
            return known.clone();
        }
        let words = self.pack.vocabulary();
        let unclassified = if self.slice.unclassified.is_some() { reason } else { Reason::Unclassified };
        let permit = self.slice.permit(&self.pack, &withheld(unclassified), |category, _| {
            if words.is_somebodys(category) {
                return Verdict::nothing();
            }
            let Slice { kind, purpose, operation, .. } = *self.slice;
            self.pack.rulebook().judge_operation(operation, (kind, purpose, category), facts)
        });
        let is_somebodys = |set: &Vec<CategoryId>| set.iter().any(|category| words.is_somebodys(*category));
        let releases = permit.releases().iter().zip(self.slice.classes.sets.iter());
        let releases = releases.map(|(release, set)| match is_somebodys(set) {
            true => Release { reason: Some(reason), ..release.clone() },
            false => release.clone(),
        });
        let permit = Permit::new(releases.collect());
        self.slice.nobody.insert((facts, reason), permit.clone());
        permit
    }

    /// The most revealing form that some rule could release a category in to this recipient,
    /// whatever there is to know about the person.
    pub fn best(&self, category: CategoryId) -> Form {
        best(&self.pack, &self.exchange, self.slice.kind, self.slice.purpose, category)
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
    fn checked(&self, key: &Key, known: Permit) -> Permit {
        let fresh = self.slice.decide(&self.pack, key);
        if fresh.same_as(&known) {
            return known;
        }
        self.divergences.fetch_add(1, Ordering::Relaxed);
        let least = Permit::least(&[known, fresh]);
        self.slice.known.insert(key.clone(), least.clone());
        least
    }
}

fn best(pack: &Pack, exchange: &Exchange, kind: KindId, purpose: PurposeId, category: CategoryId) -> Form {
    let best = |category| match exchange.is_outside_case(pack.vocabulary(), category) {
        true => Form::Removed,
        false => pack.rulebook().best(kind, purpose, category),
    };
    pack.judged_as(&[category]).into_iter().map(best).max().unwrap_or(Form::Removed)
}

/// Every so many decisions of a thread one is due to be checked.
fn is_due() -> bool {
    thread_local!(static SINCE: Cell<u32> = const { Cell::new(0) });
    SINCE.with(|since| {
        let next = since.get() + 1;
        since.set(if next == CHECKED { 0 } else { next });
        next == CHECKED
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decision::testing::{one_partner, one_partner_and, one_partner_saying};
    use crate::decision::{Addressee, Consent, ConsentStatus, LegalReference, Objection, RecipientFacts};
    use crate::vocabulary::{EEA, Operation, Safeguard};

    /// Somebody asks about one person, on a route with these classes.
    fn admitted(
        decisions: &Decisions,
        kind: &str,
        purpose: &str,
        classes: &[&[&str]],
        unclassified: bool,
    ) -> Admitted {
        let asking = asking(decisions, kind, purpose);
        let words = decisions.pack().vocabulary();
        let category = |name: &&str| words.categories().find(name).unwrap();
        let sets: Vec<Vec<CategoryId>> =
            classes.iter().map(|set| set.iter().map(category).collect()).collect();
        decisions.admit(&asking, &Classes::new(sets, unclassified)).unwrap()
    }

    fn asking(decisions: &Decisions, kind: &str, purpose: &str) -> Asking {
        let words = decisions.pack().vocabulary();
        let purpose = words.purposes().find(purpose).unwrap();
        let recipient = RecipientFacts {
            name: "acme".into(),
            kind: words.kinds().find(kind).unwrap(),
            country: None,
            region: Some(EEA.into()),
            purposes: vec![purpose],
            agreement: true,
            safeguard: Safeguard::None,
            suspended: false,
        };
        Asking {
            recipient: Arc::new(recipient),
            purpose,
            operation: Operation::Disclose,
            exporter_region: EEA.into(),
            upstream_backup: false,
            legal_reference: LegalReference::None,
        }
    }

    fn consented(decisions: &Decisions, purpose: &str, until: Option<Timestamp>) -> Subject {
        let purpose = decisions.pack().vocabulary().purposes().find(purpose).unwrap();
        let to = Addressee::Anyone;
        let (status, order, overridden) = (ConsentStatus::Given, Some(1), false);
        let consent = Consent { purpose, to, status, until, order, overridden };
        Subject { consents: vec![consent], region: Some(EEA.into()), ..Subject::default() }
    }

    fn forms(permit: &Permit) -> Vec<Form> {
        permit.releases().iter().map(|release| release.form).collect()
    }

    fn judge(admitted: &Admitted, subject: &Subject, now: Timestamp) -> Permit {
        let (controller, record) = (Controller::default(), RecordFacts::default());
        admitted.judge(subject, &controller, &record, Relationship::default(), now)
    }

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn several_categories_at_one_node_must_all_be_permitted() {
        let decisions = Decisions::new(one_partner());
        let classes: &[&[&str]] =
            &[&["email"], &["billing"], &["email", "billing"], &["email", "aggregate"], &["aggregate"]];
        let admitted = admitted(&decisions, "marketing-partner", "direct-marketing", classes, false);
        let permit = judge(&admitted, &consented(&decisions, "marketing", None), NOW);
        use Form::{Clear, Removed};
        assert_eq!(forms(&permit), [Clear, Removed, Removed, Clear, Clear]);
        let [email, billing, _, mixed, aggregate] = permit.releases() else { unreachable!() };
        assert_eq!(email.rules.iter().map(|rule| &**rule).collect::<Vec<_>>(), ["marketing-partner"]);
        assert_eq!(
            email.clauses.iter().map(|clause| &**clause).collect::<Vec<_>>(),
            ["G-6.7b", "G-6.4b", "G-3b"]
        );
        assert_eq!(email.basis, Some(Basis::Consent));
        assert_eq!(mixed.basis, Some(Basis::Consent), "what makes a field personal says on what it rests");
        assert_eq!(aggregate.basis, Some(Basis::NotPersonal));
        assert_eq!((billing.basis, billing.rules.len()), (None, 0));
    }

    fn reasons(permit: &Permit) -> Vec<Option<&'static str>> {
        permit.releases().iter().map(|release| release.reason.map(Reason::name)).collect()
    }

    #[test]
    fn what_nothing_classifies_leaves_only_where_the_route_says_so() {
        let decisions = Decisions::new(one_partner());
        let (form, reason) = ([Form::Removed], [Some("unclassified")]);
        let route = admitted(&decisions, "employee", "customer-support", &[&[]], false);
        let known = judge(&route, &Subject::default(), NOW);
        assert_eq!((forms(&known).as_slice(), reasons(&known).as_slice()), (&form[..], &reason[..]));
        let nobodys = route.no_subject();
        assert_eq!((forms(&nobodys).as_slice(), reasons(&nobodys).as_slice()), (&form[..], &reason[..]));
        let released = judge(
            &admitted(&decisions, "employee", "customer-support", &[&[]], true),
            &Subject::default(),
            NOW,
        );
        assert_eq!(forms(&released), [Form::Clear]);
        let [release] = released.releases() else { unreachable!() };
        assert_eq!((release.basis, release.reason, release.rules.len()), (None, None, 0));
    }

    #[test]
    fn what_nothing_classifies_is_withheld_of_those_whose_data_stay_and_of_nobody() {
        let decisions = Decisions::new(one_partner());
        let words = decisions.pack().vocabulary();
        let route = admitted(&decisions, "employee", "customer-support", &[&[], &["email"]], true);
        let subject = |change: &dyn Fn(&mut Subject)| {
            let mut subject = Subject::default();
            change(&mut subject);
            subject
        };
        let phone = words.categories().find("phone").unwrap();
        for (who, subject, reason) in [
            ("erased", subject(&|subject| subject.erased = true), "prohibited"),
            ("restricted", subject(&|subject| subject.restricted = true), "prohibited"),
            ("a minor", subject(&|subject| subject.minor = true), "prohibited"),
            ("opted out", subject(&|subject| subject.opt_outs = vec!["acme".into()]), "refused"),
            ("refused a category", subject(&|subject| subject.refused_categories = vec![phone]), "refused"),
        ] {
            let permit = judge(&route, &subject, NOW);
            assert_eq!(
                (permit.form(ClassId(0)), reasons(&permit)[0]),
                (Form::Removed, Some(reason)),
                "{who}"
            );
            assert!(!permit.releases()[0].rules.is_empty(), "{who}");
        }
        let record =
            RecordFacts { birth_date: Unsure::Known("2020-02-03".parse().unwrap()), ..Default::default() };
        let (controller, relationship) = (Controller::default(), Relationship::default());
        let now = "2026-06-15T00:00:00Z".parse().unwrap();
        let of = |known: Option<&Subject>, unknown, record: &RecordFacts| {
            let permit = route.judge_person(known, unknown, &controller, record, relationship, now);
            (permit.form(ClassId(0)), reasons(&permit)[0])
        };
        use UnknownSubject::{NoFacts, Withhold};
        let nothing = RecordFacts::default();
        assert_eq!(of(None, Withhold, &nothing), (Form::Removed, Some("unknown-subject")));
        assert_eq!(of(None, NoFacts, &nothing), (Form::Clear, None));
        assert_eq!(of(None, NoFacts, &record), (Form::Removed, Some("prohibited")), "a minor by the record");
        let unreadable = RecordFacts { birth_date: Unsure::Unreadable, ..RecordFacts::default() };
        assert_eq!(of(Some(&Subject::default()), Withhold, &unreadable), (Form::Removed, Some("unreadable")));
        let refuses = Subject { only_refusals: true, ..Subject::default() };
        assert_eq!(of(Some(&refuses), Withhold, &nothing), (Form::Removed, Some("unknown-subject")));
        assert_eq!(reasons(&route.no_subject()), [Some("no-subject"); 2]);
        assert!(route.withholds(ClassId(0), Form::Removed), "with `withheld = \"deny\"` nothing leaves");
    }

    #[test]
    fn an_erased_person_has_nothing_unclassified_that_leaves_whatever_the_purpose() {
        let decisions = Decisions::new(one_partner());
        // The pack's own prohibition leaves these purposes open.
        let route = admitted(&decisions, "data-subject", "data-subject-request", &[&[]], true);
        let erased = Subject { erased: true, ..Subject::default() };
        assert_eq!(forms(&judge(&route, &erased, NOW)), [Form::Removed]);
        assert_eq!(forms(&judge(&route, &Subject::default(), NOW)), [Form::Clear]);
    }

    #[test]
    fn a_case_covers_nothing_that_nothing_classifies() {
        let decisions = Decisions::new(one_partner());
        let mut asking = asking(&decisions, "public-authority", "court-order");
        asking.legal_reference = LegalReference::Everything;
        let route = decisions.admit(&asking, &Classes::new(vec![vec![]], true)).unwrap();
        let relationship = Relationship { named_in_case: true, ..Relationship::default() };
        let (subject, controller, record) =
            (Subject::default(), Controller::default(), RecordFacts::default());
        let permit = route.judge(&subject, &controller, &record, relationship, NOW);
        assert_eq!((forms(&permit), reasons(&permit)), (vec![Form::Removed], vec![Some("unclassified")]));
    }

    #[test]
    fn what_is_withheld_says_why() {
        let decisions = Decisions::new(one_partner());
        let words = decisions.pack().vocabulary();
        let classes: &[&[&str]] = &[&["email"], &["password"]];
        let route = admitted(&decisions, "marketing-partner", "direct-marketing", classes, false);
        let purpose = |name: &str| words.purposes().find(name).unwrap();
        let said = |status| {
            let to = Addressee::Anyone;
            let purpose = purpose("direct-marketing");
            Consent { purpose, to, status, until: None, order: Some(1), overridden: false }
        };
        let subject = |consents: Vec<Consent>| Subject { consents, ..Subject::default() };
        let given = subject(vec![said(ConsentStatus::Given)]);
        let objection = Objection { purpose: purpose("marketing"), upheld: false, order: Some(2) };
        for (why, subject, reason) in [
            ("never asked", subject(vec![]), "no-rule"),
            ("withdrew", subject(vec![said(ConsentStatus::Withdrawn)]), "refused"),
            ("refused", subject(vec![said(ConsentStatus::Refused)]), "refused"),
            ("expired", subject(vec![said(ConsentStatus::Expired)]), "no-rule"),
            ("objected", Subject { objections: vec![objection.clone()], ..given.clone() }, "refused"),
            ("opted out", Subject { opt_outs: vec!["acme".into()], ..given.clone() }, "refused"),
            ("erased", Subject { erased: true, ..given.clone() }, "prohibited"),
            (
                "erased and objected",
                Subject { erased: true, objections: vec![objection], ..given.clone() },
                "prohibited",
            ),
        ] {
            let permit = judge(&route, &subject, NOW);
            assert_eq!(permit.form(ClassId(0)), Form::Removed, "{why}");
            assert_eq!(reasons(&permit), [Some(reason), Some("no-rule")], "{why}");
        }
        assert_eq!(reasons(&judge(&route, &given, NOW)), [None, Some("no-rule")]);
        let unreadable = RecordFacts { birth_date: Unsure::Unreadable, ..RecordFacts::default() };
        let (controller, relationship) = (Controller::default(), Relationship::default());
        let permit = route.judge(&given, &controller, &unreadable, relationship, NOW);
        assert_eq!(reasons(&permit), [Some("unreadable"), Some("no-rule")]);
        let unknown = route.judge_person(
            None,
            UnknownSubject::Withhold,
            &controller,
            &RecordFacts::default(),
            relationship,
            NOW,
        );
        assert_eq!(reasons(&unknown)[0], Some("unknown-subject"));
    }

    #[test]
    fn refusals_alone_make_nobody_known_enough() {
        let decisions = Decisions::new(one_partner());
        let route =
            admitted(&decisions, "employee", "customer-support", &[&["email"], &["non-personal"]], false);
        let refuses = Subject { only_refusals: true, ..Subject::default() };
        let (controller, record, relationship) =
            (Controller::default(), RecordFacts::default(), Relationship::default());
        let of = |unknown| {
            forms(&route.judge_person(Some(&refuses), unknown, &controller, &record, relationship, NOW))
        };
        assert_eq!(of(UnknownSubject::Withhold), [Form::Removed, Form::Clear]);
        assert_eq!(of(UnknownSubject::NoFacts), [Form::Clear, Form::Clear]);
    }

    #[test]
    fn a_question_of_its_own_is_answered_alike_and_remembered_nowhere() {
        let decisions = Decisions::new(one_partner());
        let asking = asking(&decisions, "employee", "customer-support");
        let words = decisions.pack().vocabulary();
        let classes = Classes::new(vec![vec![words.categories().find("email").unwrap()]], false);
        let once = decisions.admit_once(&asking, &classes).unwrap();
        assert_eq!(decisions.slices.len(), 0);
        let route = decisions.admit(&asking, &classes).unwrap();
        for subject in [Subject::default(), Subject { erased: true, ..Subject::default() }] {
            assert!(judge(&once, &subject, NOW).same_as(&judge(&route, &subject, NOW)));
        }
    }

    #[test]
    fn a_field_is_judged_as_if_it_also_held_what_below_it_is_never_released() {
        let decisions = Decisions::new(one_partner());
        let words = decisions.pack().vocabulary();
        let classes: &[&[&str]] = &[
            &["payment"],
            &["billing"],
            &["payment", "billing"],
            &["personal"],
            &["contact"],
            &["name", "payment"],
        ];
        use Form::{Clear, Removed};
        for (kind, purpose, contact) in
            [("payment-processor", "payment", Removed), ("employee", "customer-support", Clear)]
        {
            let asking = asking(&decisions, kind, purpose);
            let route = admitted(&decisions, kind, purpose, classes, false);
            let permit = judge(&route, &Subject::default(), NOW);
            assert_eq!(forms(&permit), [Removed, Clear, Removed, Removed, contact, Removed], "{kind}");
            let foreseen = decisions.foresee(&asking).unwrap();
            for name in ["payment", "personal"] {
                let category = words.categories().find(name).unwrap();
                assert_eq!((route.best(category), foreseen(category)), (Removed, Removed), "{kind} {name}");
            }
            assert!(!route.withholds(ClassId(0), Removed), "nobody's record would have it");
        }
        let alter =
            Asking { operation: Operation::Alter, ..asking(&decisions, "employee", "customer-support") };
        let category = |name: &&str| words.categories().find(name).unwrap();
        let sets: Vec<Vec<CategoryId>> =
            classes.iter().map(|set| set.iter().map(category).collect()).collect();
        let done = decisions.admit_operation(&alter, &Classes::new(sets, false)).unwrap();
        let permit = judge(&done, &Subject::default(), NOW);
        assert_eq!(forms(&permit), [Removed, Clear, Removed, Removed, Clear, Removed]);
    }

    #[test]
    fn a_record_past_its_retention_counts_where_that_withholds_something() {
        let kept = "\n[retention]\nemail = \"365d\"\n";
        let decisions = Decisions::new(one_partner_saying("\n[retention]\n", kept));
        let made =
            |day: &str| RecordFacts { created: Unsure::Known(day.parse().unwrap()), ..Default::default() };
        let (old, young) = (made("2020-01-01T00:00:00Z"), made("2026-06-01T00:00:00Z"));
        let now = "2026-06-15T00:00:00Z".parse().unwrap();
        let counts = |purpose: &str, subject: Option<&Subject>, record: &RecordFacts| {
            let route = admitted(&decisions, "employee", purpose, &[&["email"], &["name"]], false);
            let (controller, relationship) = (Controller::default(), Relationship::default());
            route.overdue(subject, &controller, record, relationship, now).retention
        };
        let known = Subject { region: Some(EEA.into()), ..Subject::default() };
        assert!(counts("customer-support", Some(&known), &old) && counts("customer-support", None, &old));
        assert!(!counts("customer-support", Some(&known), &young));
        let erased = Subject { erased: true, ..known.clone() };
        assert!(!counts("customer-support", Some(&erased), &old), "withheld for another reason");
        assert!(!counts("legal-obligation", Some(&known), &old), "may be used for longer");
    }

    #[test]
    fn what_belongs_to_nobody_is_not_personal() {
        let decisions = Decisions::new(one_partner());
        let classes: &[&[&str]] = &[
            &["email"],
            &["service-data"],
            &["published"],
            &["aggregate"],
            &["non-personal"],
            &["aggregate", "email"],
        ];
        let admitted = admitted(&decisions, "employee", "customer-support", classes, false);
        use Form::{Clear, Removed};
        assert_eq!(forms(&admitted.no_subject()), [Removed, Removed, Removed, Clear, Clear, Removed]);
        assert_eq!(
            forms(&judge(&admitted, &Subject::default(), NOW)),
            [Clear, Clear, Clear, Clear, Clear, Clear]
        );
    }

    #[test]
    fn what_belongs_to_nobody_leaves_by_the_recipients_own_facts() {
        let pack = one_partner_and(
            r#"@id("numbers-stay") @clause("G-tr")
            forbid (principal, action, resource in Category::"aggregate")
            when { context.leaves_eea && context.safeguard == "none" };"#,
        );
        let decisions = Decisions::new(pack);
        let words = decisions.pack().vocabulary();
        let classes = Classes::new(vec![vec![words.categories().find("aggregate").unwrap()]], false);
        let form = |region: Option<&str>, safeguard: Safeguard| {
            let asking = asking(&decisions, "employee", "customer-support");
            let recipient = RecipientFacts {
                region: region.map(Arc::from),
                safeguard,
                ..RecipientFacts::clone(&asking.recipient)
            };
            let asking = Asking { recipient: Arc::new(recipient), ..asking };
            forms(&decisions.admit(&asking, &classes).unwrap().no_subject())
        };
        use Form::{Clear, Removed};
        for _ in 0..2 {
            assert_eq!(form(Some("US"), Safeguard::StandardContractualClauses), [Clear]);
            assert_eq!(form(Some("US"), Safeguard::None), [Removed]);
            assert_eq!(form(None, Safeguard::None), [Removed]);
            assert_eq!(form(Some(EEA), Safeguard::None), [Clear]);
        }
    }

    #[test]
    fn what_passes_unread_is_remembered_once_and_looking_ahead_not_at_all() {
        let decisions = Decisions::new(one_partner());
        let asking = asking(&decisions, "employee", "customer-support");
        for _ in 0..3 {
            decisions.admit(&asking, Classes::unread()).unwrap();
        }
        assert_eq!(decisions.slices.len(), 1);
        let foreseen = decisions.foresee(&asking).unwrap();
        assert_eq!(decisions.slices.len(), 1);
        let admitted = decisions.admit(&asking, Classes::unread()).unwrap();
        for category in decisions.pack().vocabulary().categories().in_order() {
            assert_eq!(foreseen(category), admitted.best(category));
        }
    }

    #[test]
    fn a_case_opens_what_it_covers_about_whom_it_names() {
        let decisions = Decisions::new(one_partner());
        let words = decisions.pack().vocabulary();
        let category = |name: &str| words.categories().find(name).unwrap();
        let mut asking = asking(&decisions, "public-authority", "court-order");
        let names = [&["email"][..], &["contact"], &["phone"], &["name"], &["health"], &["email", "name"]];
        let sets: Vec<Vec<CategoryId>> =
            names.iter().map(|set| set.iter().map(|name| category(name)).collect()).collect();
        let classes = Classes::new(sets, false);
        let judged = |asking: &Asking, named_in_case: bool| {
            let admitted = decisions.admit(asking, &classes).unwrap();
            let relationship = Relationship { named_in_case, ..Relationship::default() };
            let (subject, controller, record) =
                (Subject::default(), Controller::default(), RecordFacts::default());
            forms(&admitted.judge(&subject, &controller, &record, relationship, NOW))
        };
        assert_eq!(decisions.admit(&asking, &classes).unwrap_err(), Denial::LegalReferenceMissing);
        use Form::{Clear, Removed};
        asking.legal_reference = LegalReference::Everything;
        assert_eq!(judged(&asking, true), [Clear; 6]);
        assert_eq!(judged(&asking, false), [Removed; 6]);
        let of =
            |named: &[&str]| LegalReference::Categories(named.iter().map(|name| category(name)).collect());
        asking.legal_reference = of(&["contact"]);
        assert_eq!(
            judged(&asking, true),
            [Clear, Clear, Clear, Removed, Removed, Removed],
            "and its children"
        );
        assert_eq!(judged(&asking, false), [Removed; 6]);
        let admitted = decisions.admit(&asking, &classes).unwrap();
        assert_eq!(forms(&admitted.no_subject()), [Removed; 6]);
        let best = ["phone", "name", "non-personal"].map(|name| admitted.best(category(name)));
        assert_eq!(best, [Clear, Removed, Clear], "nobody may be looked for by what the case does not cover");
        asking.legal_reference = of(&["email", "special"]);
        assert_eq!(
            judged(&asking, true),
            [Clear, Removed, Removed, Removed, Clear, Removed],
            "not its parent"
        );
    }

    #[test]
    fn a_remembered_decision_follows_the_facts_and_the_clock() {
        let decisions = Decisions::new(one_partner());
        let admitted = admitted(&decisions, "marketing-partner", "direct-marketing", &[&["email"]], false);
        let until = Timestamp::from_second(10).unwrap();
        let subject = consented(&decisions, "direct-marketing", Some(until));
        for _ in 0..3 {
            assert_eq!(forms(&judge(&admitted, &subject, NOW)), [Form::Clear]);
            assert_eq!(forms(&judge(&admitted, &subject, until)), [Form::Removed], "expired");
            let objected = Subject { restricted: true, ..subject.clone() };
            assert_eq!(forms(&judge(&admitted, &objected, NOW)), [Form::Removed]);
        }
        assert_eq!(admitted.slice.known.len(), 3);
        // A fact that no rule of the slice compares makes no combination of its own.
        let irrelevant = Subject { transfer_consent: true, ..subject };
        judge(&admitted, &irrelevant, NOW);
        assert_eq!(admitted.slice.known.len(), 3);
    }

    #[test]
    fn remembered_decisions_are_checked_and_a_difference_discloses_less() {
        let decisions = Decisions::new(one_partner());
        let admitted = admitted(&decisions, "marketing-partner", "direct-marketing", &[&["email"]], false);
        let (with, without) = (consented(&decisions, "marketing", None), Subject::default());
        let clear = judge(&admitted, &with, NOW);
        judge(&admitted, &without, NOW);
        // Somebody tampers with the memory: what was withheld is remembered as released.
        for mut known in admitted.slice.known.iter_mut() {
            *known.value_mut() = clear.clone();
        }
        for _ in 0..=CHECKED {
            judge(&admitted, &without, NOW);
        }
        assert_eq!(decisions.divergences(), 1);
        assert_eq!(forms(&judge(&admitted, &without, NOW)), [Form::Removed]);
    }

    #[test]
    fn least_takes_the_least_revealing_of_each_class() {
        let permit = |forms: &[Form]| Permit::of(forms);
        let least = |permits: &[Permit]| forms(&Permit::least(permits));
        use Form::{Clear, Masked, Removed};
        assert_eq!(least(&[permit(&[Clear, Removed]), permit(&[Masked, Clear])]), [Masked, Removed]);
        assert_eq!(least(&[permit(&[Clear, Clear])]), [Clear, Clear]);
        assert_eq!(least(&[permit(&[Clear, Clear]), permit(&[Clear])]), [Clear], "a class one does not know");
        assert_eq!(least(&[]), []);
    }

    #[test]
    fn the_memory_is_bounded() {
        let decisions = Decisions::new(one_partner());
        let admitted = admitted(&decisions, "employee", "customer-support", &[&["email"]], false);
        let permit = judge(&admitted, &Subject::default(), NOW);
        let categories: Vec<CategoryId> = decisions.pack().vocabulary().categories().ids().collect();
        for number in 0..MOST_REMEMBERED {
            let facts = Facts::default().with(Fact::Consent, u8::try_from(number % 5).unwrap());
            let overrides = categories.iter().enumerate().filter(|(at, _)| number >> (at % 13) & 1 == 1);
            let overrides = overrides.map(|(_, &category)| (category, facts)).collect();
            admitted.slice.known.insert(Key { facts, overrides }, permit.clone());
        }
        let erased = Subject { erased: true, ..Subject::default() };
        judge(&admitted, &erased, NOW);
        assert!(admitted.slice.known.len() <= MOST_REMEMBERED);
    }
}
