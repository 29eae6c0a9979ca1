//! The words that events use, by name and back: what the ledger needs of a vocabulary.

use crate::vocabulary::{CategoryId, KindId, PurposeId, RelationId};

/// Looks up the words of a vocabulary. Ids must stay the same as long as a ledger is open.
pub trait Names: Send + Sync {
    fn purpose(&self, name: &str) -> Option<PurposeId>;
    fn category(&self, name: &str) -> Option<CategoryId>;
    fn kind(&self, name: &str) -> Option<KindId>;
    fn relation(&self, name: &str) -> Option<RelationId>;

    fn purpose_name(&self, purpose: PurposeId) -> &str;
    fn category_name(&self, category: CategoryId) -> &str;
    fn kind_name(&self, kind: KindId) -> &str;
    fn relation_name(&self, relation: RelationId) -> &str;

    /// Whether `inner` is `outer` or stands below it.
    fn purpose_within(&self, inner: PurposeId, outer: PurposeId) -> bool;
    /// Whether `inner` is `outer` or stands below it.
    fn category_within(&self, inner: CategoryId, outer: CategoryId) -> bool;
    /// Whether `inner` is `outer` or stands below it.
    fn kind_within(&self, inner: KindId, outer: KindId) -> bool;

    /// Equal where every id means the same word, in the same place of its tree.
    fn digest(&self) -> [u8; 32];
}

#[cfg(test)]
pub(super) mod fixture {
    //! A small vocabulary for the tests of this module.

    use super::*;

    const PURPOSES: &[(&str, Option<&str>)] = &[
        ("marketing", None),
        ("direct-marketing", Some("marketing")),
        ("product-news", Some("marketing")),
        ("service-provision", None),
        ("invoicing", Some("service-provision")),
        ("campaign-delivery", Some("service-provision")),
        ("analytics", None),
        ("usage-analytics", Some("analytics")),
        ("prospecting", None),
        ("reseller-follow-up", None),
        ("security", None),
    ];
    const CATEGORIES: &[(&str, Option<&str>)] = &[
        ("personal", None),
        ("profile", Some("personal")),
        ("company", Some("profile")),
        ("photo", Some("personal")),
        ("phone", Some("personal")),
        ("email", Some("personal")),
    ];
    const KINDS: &[(&str, Option<&str>)] =
        &[("service-provider", None), ("marketing-partner", Some("service-provider")), ("employee", None)];
    const RELATIONS: &[(&str, Option<&str>)] = &[("domain-registrant", None), ("integration-enabled", None)];

    #[derive(Debug)]
    pub(in crate::ledger) struct Fixture;

    fn find(list: &[(&str, Option<&str>)], name: &str) -> Option<u16> {
        list.iter().position(|(known, _)| *known == name).map(|at| at as u16)
    }

    fn within(list: &[(&str, Option<&str>)], inner: u16, outer: u16) -> bool {
        inner == outer
            || list[usize::from(inner)]
                .1
                .is_some_and(|parent| within(list, find(list, parent).unwrap(), outer))
    }

    #[allow(clippy::unwrap_used)]
    impl Names for Fixture {
        fn purpose(&self, name: &str) -> Option<PurposeId> {
            find(PURPOSES, name).map(PurposeId)
        }
        fn category(&self, name: &str) -> Option<CategoryId> {
            find(CATEGORIES, name).map(CategoryId)
        }
        fn kind(&self, name: &str) -> Option<KindId> {
            find(KINDS, name).map(KindId)
        }
        fn relation(&self, name: &str) -> Option<RelationId> {
            find(RELATIONS, name).map(RelationId)
        }
        fn purpose_name(&self, purpose: PurposeId) -> &str {
            PURPOSES[purpose.index()].0
        }
        fn category_name(&self, category: CategoryId) -> &str {
            CATEGORIES[category.index()].0
        }
        fn kind_name(&self, kind: KindId) -> &str {
            KINDS[kind.index()].0
        }
        fn relation_name(&self, relation: RelationId) -> &str {
            RELATIONS[relation.index()].0
        }
        fn purpose_within(&self, inner: PurposeId, outer: PurposeId) -> bool {
            within(PURPOSES, inner.0, outer.0)
        }
        fn category_within(&self, inner: CategoryId, outer: CategoryId) -> bool {
            within(CATEGORIES, inner.0, outer.0)
        }
        fn kind_within(&self, inner: KindId, outer: KindId) -> bool {
            within(KINDS, inner.0, outer.0)
        }
        fn digest(&self) -> [u8; 32] {
            [7; 32]
        }
    }
}
