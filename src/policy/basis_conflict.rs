//! Rejects packs that could release the same data on consent and on another legal basis.
//!
//! Suppose that two permits release the same category to the same kind for the same purpose, one on consent and
//! one on another basis. A withdrawal of consent would then change nothing, and asking for the consent would have
//! been unfair (EDPB Guidelines 05/2020, 122 f.). The check evaluates the rules, so a rule that never applies
//! conflicts with no other.

use std::collections::HashMap;

use super::cell_evaluator::CellEvaluator;
use super::rulebook::{RuleIndex, Rulebook};
use crate::finding::Finding;
use crate::vocabulary::{Basis, CategoryId, KindId, PurposeId, Vocabulary};

/// Returns a finding for each pair of rules that can release the same category, one on consent and one on another
/// basis.
pub(super) fn basis_conflicts(rulebook: &Rulebook, words: &Vocabulary) -> Vec<Finding> {
    let mut found: HashMap<(RuleIndex, RuleIndex), (KindId, PurposeId, CategoryId)> = HashMap::new();
    for kind in words.kinds().ids() {
        for purpose in words.purposes().ids() {
            for category in words.categories().ids() {
                for pair in pairs(rulebook, kind, purpose, category) {
                    found.entry(pair).or_insert((kind, purpose, category));
                }
            }
        }
    }
    let mut evaluator = CellEvaluator::new(rulebook);
    let mut releases = |at: RuleIndex, (kind, purpose, category): (KindId, PurposeId, CategoryId)| {
        evaluator
            .cell(kind, purpose, category)
            .with_permits(|permit| permit == at)
            .releasing_circumstances()
            .is_some()
    };
    let mut both = |&((consent, other), point): &(_, _)| releases(consent, point) && releases(other, point);
    let mut found: Vec<_> = found.into_iter().filter(|pair| both(pair)).collect();
    found.sort_unstable_by_key(|&(pair, _)| pair);
    found.into_iter().filter_map(|(pair, point)| finding(rulebook, words, pair, point)).collect()
}

/// Returns the pairs of permits of one cell. The first permit of a pair rests on consent, the second on another
/// basis.
fn pairs(
    rulebook: &Rulebook,
    kind: KindId,
    purpose: PurposeId,
    category: CategoryId,
) -> Vec<(RuleIndex, RuleIndex)> {
    let Some(cell) = rulebook.cell(kind, purpose, category) else { return Vec::new() };
    let basis = |at: RuleIndex| rulebook.rule(at).and_then(|rule| rule.basis);
    let consents = cell.rules().iter().copied().filter(|&at| basis(at) == Some(Basis::Consent));
    let others =
        || cell.rules().iter().copied().filter(|&at| basis(at).is_some_and(|basis| basis != Basis::Consent));
    consents.flat_map(|consent| others().map(move |other| (consent, other))).collect()
}

fn finding(
    rulebook: &Rulebook,
    words: &Vocabulary,
    (consent, other): (RuleIndex, RuleIndex),
    (kind, purpose, category): (KindId, PurposeId, CategoryId),
) -> Option<Finding> {
    let (consent, other) = (rulebook.rule(consent)?, rulebook.rule(other)?);
    let message = format!(
        "`{}` to `{}` for `{}` could rest on consent (rule `{}`) and on {} (rule `{}`)",
        words.categories().name(category),
        words.kinds().name(kind),
        words.purposes().name(purpose),
        consent.id,
        other.basis?.name(),
        other.id,
    );
    let place = other.location();
    let hint = "use one basis: a withdrawal of consent must end the release, so take the category, purpose or kind out of one of the two rules";
    Some(
        Finding::error("two-bases", message)
            .at(&place.source, place.head())
            .label("releases without the consent")
            .hint(hint),
    )
}
