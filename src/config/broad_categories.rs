//! Warnings about fields of a category that can hold several things which the pack judges differently.
//!
//! A field leaves by the rules for its own category, whatever of the categories below it holds (but for what
//! the pack never releases). Where the rules for these differ, the narrower category says what is meant.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::mapping::LocatedMapping;
use crate::document::join;
use crate::exchange::route::Recipient;
use crate::finding::Finding;
use crate::policy::Pack;
use crate::policy::cell_evaluator::CellEvaluator;
use crate::scrub::FieldMapping;
use crate::vocabulary::{CategoryId, KindId, PurposeId, Vocabulary};

/// Who asks for what, and why.
type KindPurposeCategory = (KindId, PurposeId, CategoryId);
/// The revision of a pack, and a question to it.
type ComparisonKey = (Arc<str>, KindPurposeCategory);

/// Compares the categories below a category with it, and remembers what it found: many routes map the same.
#[derive(Debug, Default)]
pub(super) struct CategoryComparison {
    /// The first category below that is judged otherwise.
    known: RefCell<HashMap<ComparisonKey, Option<CategoryId>>>,
}

/// Who can receive the fields of a route, and by which rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Audience<'r> {
    /// The versions of the route's pack.
    pub packs: &'r [Arc<Pack>],
    pub recipients: &'r [Arc<Recipient>],
    /// The purposes that the route serves; all where it names none.
    pub purposes: Option<&'r [PurposeId]>,
    pub comparison: &'r CategoryComparison,
}

impl Audience<'_> {
    /// Names every field that may hold what is judged otherwise than the field for somebody who can ask for it.
    pub(super) fn warn(&self, sets: &[LocatedMapping<'_>]) {
        let Some(words) = self.packs.first().map(|pack| pack.vocabulary()) else { return };
        let points: Vec<(&Pack, BTreeSet<(KindId, PurposeId)>)> =
            self.packs.iter().map(|pack| (&**pack, self.points(pack))).collect();
        for set in sets {
            for field in &set.mapping.fields {
                let wide =
                    field.categories.iter().filter(|category| !is_named_already(words, field, **category));
                let found = wide.filter_map(|&wide| Some((wide, self.otherwise(&points, wide)?))).next();
                if let Some((wide, otherwise)) = found {
                    set.warn(finding(words, wide, otherwise), &field.path);
                }
            }
        }
    }

    /// Every kind and purpose for which somebody is registered and the route serves.
    fn points(&self, pack: &Pack) -> BTreeSet<(KindId, PurposeId)> {
        let words = pack.vocabulary();
        let serves = |purpose: PurposeId| {
            let within = |served: &PurposeId| words.purposes().within(purpose, *served);
            self.purposes.is_none_or(|purposes| purposes.iter().any(within))
        };
        let of = |recipient: &Arc<Recipient>| {
            let facts = Arc::clone(&recipient.in_agreement);
            let purposes = words
                .purposes()
                .ids()
                .filter(move |&purpose| facts.is_registered_for(words, purpose) && serves(purpose));
            let kind = recipient.in_agreement.kind;
            purposes.map(move |purpose| (kind, purpose)).collect::<Vec<_>>()
        };
        self.recipients.iter().flat_map(of).collect()
    }

    /// Somebody for whom a category below this one is judged otherwise, with that category.
    fn otherwise(
        &self,
        points: &[(&Pack, BTreeSet<(KindId, PurposeId)>)],
        wide: CategoryId,
    ) -> Option<KindPurposeCategory> {
        points.iter().find_map(|(pack, points)| {
            points.iter().find_map(|&(kind, purpose)| {
                let below = self.comparison.below(pack, (kind, purpose, wide))?;
                Some((kind, purpose, below))
            })
        })
    }
}

impl CategoryComparison {
    fn below(&self, pack: &Pack, point: KindPurposeCategory) -> Option<CategoryId> {
        let key = (Arc::clone(pack.revision()), point);
        if let Some(known) = self.known.borrow().get(&key) {
            return *known;
        }
        let found = first_below(pack, point);
        self.known.borrow_mut().insert(key, found);
        found
    }
}

/// The first category below that leaves in another form, or under other conditions, or is kept for another time.
fn first_below(pack: &Pack, (kind, purpose, wide): KindPurposeCategory) -> Option<CategoryId> {
    let (words, rulebook) = (pack.vocabulary(), pack.rulebook());
    let tree = words.categories();
    let mut below = tree.preorder().into_iter().filter(|&id| id != wide && tree.within(id, wide)).peekable();
    below.peek()?;
    let mut search = CellEvaluator::new(rulebook);
    let own = search.cell(kind, purpose, wide);
    let kept = |category| pack.manifest().retention(words, category);
    below.find(|&id| {
        let other = search.cell(kind, purpose, id);
        own.differs_from(&other) || (other.releasing_circumstances().is_some() && kept(id) != kept(wide))
    })
}

/// `personal` alone is named for being no category at all.
fn is_named_already(words: &Vocabulary, field: &FieldMapping, category: CategoryId) -> bool {
    field.categories.len() == 1 && words.well_known().personal == category
}

fn finding(words: &Vocabulary, wide: CategoryId, (kind, purpose, below): KindPurposeCategory) -> Finding {
    let tree = words.categories();
    let name = |category| format!("`{}`", tree.name(category));
    let children = tree.preorder().into_iter().filter(|&id| tree.parent(id) == Some(wide));
    let children: Vec<&str> = children.map(|id| tree.name(id)).collect();
    let message = format!("a field of {} can hold what the pack judges otherwise", name(wide));
    let hint = format!(
        "name what it holds: {}; for a `{}` and `{}`, {} is judged otherwise than {}",
        join(children.into_iter()),
        words.kinds().name(kind),
        words.purposes().name(purpose),
        name(below),
        name(wide)
    );
    Finding::warning("category-members-differ", message).label("too wide").hint(hint)
}
