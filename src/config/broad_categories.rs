//! Warns about fields whose category is so broad that the pack decides differently about the categories below it.
//!
//! A field is released by the rules for its own category, even if its values belong to narrower categories (except
//! categories that the pack never releases). If rules differ for the narrower ones, the mapping should name them.

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

/// A question to a pack: recipient kind, purpose and category.
type KindPurposeCategory = (KindId, PurposeId, CategoryId);
/// Revision of a pack, and a question to it.
type ComparisonKey = (Arc<str>, KindPurposeCategory);

/// Compares a category with those below it. Results are cached, as many routes map the same categories.
#[derive(Debug, Default)]
pub(super) struct CategoryComparison {
    /// For each question the first narrower category on which the pack decides differently.
    known: RefCell<HashMap<ComparisonKey, Option<CategoryId>>>,
}

/// The recipients of a route's fields, and the packs that decide about them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Audience<'r> {
    /// Versions of the route's pack.
    pub packs: &'r [Arc<Pack>],
    pub recipients: &'r [Arc<Recipient>],
    /// Purposes that the route serves. `None`: all.
    pub purposes: Option<&'r [PurposeId]>,
    pub comparison: &'r CategoryComparison,
}

impl Audience<'_> {
    /// Warns about each field whose category is too broad for some recipient and purpose.
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

    /// Returns every recipient kind and purpose that the route serves and some recipient is registered for.
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

    /// Returns a recipient kind, a purpose, and a category below `wide` on which a pack decides differently.
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

/// Returns the first narrower category that has another form, other conditions or another retention period.
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

/// True if the field's only category is `personal`, for which there is another warning.
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
