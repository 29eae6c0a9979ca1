//! The decision for each record of an admitted exchange.
//!
//! Policies are asked once per combination of facts: what decides is packed into one word, and the
//! outcome remembered under it. The word holds exactly what the rules of the slice compare, read off
//! the rules themselves. Invariant: a remembered decision is the one that would be made.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;
use jiff::Timestamp;
use smallvec::SmallVec;

use super::admission::{self, Asking, Denial};
use super::gather::{About, Exchange, Overrides, PER_CATEGORY, Relationship};
use super::permit::{ClassId, Permit, Release};
use super::subject::{Controller, RecordFacts, Subject};
use crate::policy::{Fact, Facts, Mask, Pack, RuleAt, Verdict};
use crate::vocabulary::{Basis, CategoryId, Form, KindId, PurposeId};

/// How many combinations of facts one slice remembers; when it is full it forgets them all.
const MOST_REMEMBERED: usize = 8192;
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

    pub fn sets(&self) -> &[Vec<CategoryId>] {
        &self.sets
    }
}

/// Decides by one policy pack, and remembers.
#[derive(Debug)]
pub struct Decisions {
    pack: Arc<Pack>,
    slices: DashMap<(KindId, PurposeId, usize, bool), Arc<Slice>>,
    divergences: Arc<AtomicU64>,
}

/// An exchange that may go on: what it may ask for is settled, each record is judged.
#[derive(Clone, Debug)]
pub struct Admitted {
    pack: Arc<Pack>,
    slice: Arc<Slice>,
    exchange: Exchange,
    divergences: Arc<AtomicU64>,
}

/// What one kind and purpose need on one route.
#[derive(Debug)]
struct Slice {
    kind: KindId,
    purpose: PurposeId,
    classes: Classes,
    /// Every category of the route, once.
    categories: Vec<CategoryId>,
    /// The facts that decide, for the record as a whole and by category.
    shared: Mask,
    by_category: Mask,
    known: DashMap<Key, Permit>,
    nobody: OnceLock<Permit>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    facts: Facts,
    overrides: Overrides,
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
        Ok(Admitted {
            pack: Arc::clone(&self.pack),
            slice: self.slice(asking.recipient.kind, asking.purpose, classes),
            exchange: Exchange::new(&self.pack, asking),
            divergences: Arc::clone(&self.divergences),
        })
    }

    fn slice(&self, kind: KindId, purpose: PurposeId, classes: &Classes) -> Arc<Slice> {
        // The slice holds the sets, so their address stays theirs for as long as it is a key.
        let address = classes.sets.as_ptr() as usize;
        let key = (kind, purpose, address, classes.release_unclassified);
        if let Some(known) = self.slices.get(&key) {
            return Arc::clone(&known);
        }
        if self.slices.len() >= MOST_SLICES {
            self.slices.clear();
        }
        let slice = Arc::new(Slice::new(&self.pack, kind, purpose, classes.clone()));
        self.slices.insert(key, Arc::clone(&slice));
        slice
    }
}

impl Slice {
    fn new(pack: &Pack, kind: KindId, purpose: PurposeId, classes: Classes) -> Slice {
        let mut categories: Vec<CategoryId> = classes.sets.iter().flatten().copied().collect();
        categories.sort_unstable();
        categories.dedup();
        let mask = pack.rulebook().mask(kind, purpose, categories.iter().copied());
        let per_category: Mask = PER_CATEGORY.into_iter().collect();
        let fixed: Mask = [Fact::Form, Fact::Operation, Fact::WithServiceData].into_iter().collect();
        Slice {
            kind,
            purpose,
            categories,
            // The origin of the record as a whole stays in: only what differs from it is an override.
            shared: mask.without(fixed),
            by_category: mask.without(mask.without(per_category)),
            classes,
            known: DashMap::new(),
            nobody: OnceLock::new(),
        }
    }

    /// Asks the policies about every class; where the facts alone decide, once for all that share a cell.
    fn decide(&self, pack: &Pack, key: &Key) -> Permit {
        let per_category: Mask = PER_CATEGORY.into_iter().collect();
        let rulebook = pack.rulebook();
        let mut asked: SmallVec<[(usize, Facts, Verdict); 8]> = SmallVec::new();
        self.permit(pack, |category, with_service_data| {
            let own = key.overrides.iter().find(|(of, _)| *of == category).map(|(_, own)| *own);
            let facts = own.map_or(key.facts, |own| key.facts.overlaid(own, per_category));
            let facts = facts.with_flag(Fact::WithServiceData, with_service_data);
            let cell = rulebook.cell_at(self.kind, self.purpose, category);
            let alike =
                cell.filter(|&cell| rulebook.cells().get(cell).is_some_and(crate::policy::Cell::is_alike));
            let Some(cell) = alike else { return rulebook.judge(self.kind, self.purpose, category, facts) };
            if let Some((_, _, known)) = asked.iter().find(|(of, with, _)| *of == cell && *with == facts) {
                return known.clone();
            }
            let verdict = rulebook.judge(self.kind, self.purpose, category, facts);
            asked.push((cell, facts, verdict.clone()));
            verdict
        })
    }

    fn permit(&self, pack: &Pack, mut verdict: impl FnMut(CategoryId, bool) -> Verdict) -> Permit {
        let service_data = pack.vocabulary().categories().find("service-data");
        let releases = self.classes.sets.iter().map(|class| {
            if class.is_empty() {
                return unclassified(self.classes.release_unclassified);
            }
            let with_service_data = service_data.is_some_and(|service_data| class.contains(&service_data));
            let verdicts = class.iter().map(|&category| verdict(category, with_service_data));
            release(pack, &verdicts.collect::<SmallVec<[Verdict; 4]>>())
        });
        Permit::new(releases.collect())
    }
}

/// A field that nothing classifies leaves where the route says so, on the operator's word alone.
fn unclassified(release: bool) -> Release {
    let form = if release { Form::Clear } else { Form::Removed };
    Release { form, basis: None, rules: Arc::default(), clauses: Arc::default() }
}

/// Several categories at one node: all must be permitted, and the least revealing form counts.
fn release(pack: &Pack, verdicts: &[Verdict]) -> Release {
    let form = verdicts.iter().map(|verdict| verdict.form).max().unwrap_or(Form::Removed);
    let withheld = form == Form::Removed;
    let decided = verdicts.iter().filter(|verdict| (verdict.form == Form::Removed) == withheld);
    let mut at: SmallVec<[RuleAt; 4]> =
        decided.clone().flat_map(|verdict| verdict.rules.iter().copied()).collect();
    at.sort_unstable();
    at.dedup();
    // What makes a field personal says on what it rests.
    let bases = decided.filter_map(|verdict| verdict.basis);
    let basis = bases.min_by_key(|&basis| (basis == Basis::NotPersonal, basis)).filter(|_| !withheld);
    let rules = at.iter().filter_map(|&at| pack.rulebook().rule(at));
    let mut clauses: Vec<Arc<str>> = Vec::new();
    for clause in rules.clone().flat_map(|rule| &rule.clauses) {
        if !clauses.contains(clause) {
            clauses.push(Arc::clone(clause));
        }
    }
    Release { form, basis, rules: rules.map(|rule| Arc::clone(&rule.id)).collect(), clauses: clauses.into() }
}

impl Admitted {
    /// What one record about one person may disclose.
    ///
    /// A record about several is judged for each, and [`Permit::least`] of the permits holds.
    pub fn judge(
        &self,
        subject: &Subject,
        controller: &Controller,
        record: &RecordFacts,
        relationship: Relationship,
        now: Timestamp,
    ) -> Permit {
        let about = About { subject, controller, record, relationship, now };
        let key = Key {
            facts: self.exchange.about(&self.pack, self.slice.shared, &about).only(self.slice.shared),
            overrides: self.exchange.overrides(
                &self.pack,
                self.slice.by_category,
                &about,
                &self.slice.categories,
            ),
        };
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

    /// What may leave that belongs to nobody, or to somebody unknown: nothing personal, no service
    /// data, nothing published; what is about no person passes as the rules say.
    pub fn nobody(&self) -> Permit {
        let decide = || {
            let tree = self.pack.vocabulary().categories();
            let somebodys = ["personal", "service-data", "published"].map(|name| tree.find(name));
            self.slice.permit(&self.pack, |category, _| {
                // A name that the vocabulary lacks would leave everything open.
                if somebodys.iter().any(|root| root.is_none_or(|root| tree.within(category, root))) {
                    return Verdict::nothing();
                }
                self.pack.rulebook().judge(
                    self.slice.kind,
                    self.slice.purpose,
                    category,
                    self.exchange.facts(),
                )
            })
        };
        self.slice.nobody.get_or_init(decide).clone()
    }

    /// The most revealing form that some rule could release a category in to this recipient,
    /// whatever there is to know about the person.
    pub fn best(&self, category: CategoryId) -> Form {
        self.pack.rulebook().best(self.slice.kind, self.slice.purpose, category)
    }

    /// [`Admitted::best`] of a class: the least revealing of its categories'.
    pub fn best_of_class(&self, class: ClassId) -> Form {
        let set = self.slice.classes.sets.get(usize::from(class.0));
        set.into_iter().flatten().map(|&category| self.best(category)).max().unwrap_or(Form::Removed)
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

/// Every so many decisions of a thread one is due to be checked.
fn is_due() -> bool {
    thread_local!(static SINCE: Cell<u32> = const { Cell::new(0) });
    SINCE.with(|since| {
        let next = since.get() + 1;
        since.set(if next == CHECKED { 0 } else { next });
        next == CHECKED
    })
}
