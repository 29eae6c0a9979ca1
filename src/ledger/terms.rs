//! Terms that events use, by name and by id, and the rules by which ids of people are read.
//!
//! [`TermLookup`] is all that the ledger needs of a vocabulary and of the configured namespaces.

use std::sync::Arc;

use crate::finding::nearest;
use crate::vocabulary::{CategoryId, KindId, Namespaces, PurposeId, RelationId, TermId, Tree, Vocabulary};

/// The maximum length of a word for which a hint is looked up, in bytes. Computing edit distances takes time.
const MAX_HINT_BYTES: usize = 64;

/// The lists of terms in a vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermList {
    /// Purposes.
    Purposes,
    /// Data categories.
    Categories,
    /// Recipient kinds.
    Kinds,
    /// Relations.
    Relations,
}

/// Returns the term in `known` that a word most likely means, for a hint: the same word in another case or with
/// white space around it, a term at a small edit distance, or a term that begins with the word.
pub fn nearest_term<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let word = word.trim().to_lowercase();
    if word.is_empty() || word.len() > MAX_HINT_BYTES {
        return None;
    }
    known
        .clone()
        .find(|known| known.to_lowercase() == word)
        .or_else(|| nearest(&word, known.clone()))
        .or_else(|| known.clone().find(|known| word.len() > 2 && known.to_lowercase().starts_with(&word)))
}

/// Looks up the terms of a vocabulary. The ids of terms must not change while a ledger is open.
pub trait TermLookup: Send + Sync {
    /// Returns the namespaces, with the rules by which ids of people and controllers are read.
    fn namespaces(&self) -> &Namespaces;

    /// Returns the purpose of this name.
    fn purpose(&self, name: &str) -> Option<PurposeId>;
    /// Returns the data category of this name.
    fn category(&self, name: &str) -> Option<CategoryId>;
    /// Returns the recipient kind of this name.
    fn kind(&self, name: &str) -> Option<KindId>;
    /// Returns the relation of this name.
    fn relation(&self, name: &str) -> Option<RelationId>;

    /// Returns the name of a purpose.
    fn purpose_name(&self, purpose: PurposeId) -> &str;
    /// Returns the name of a data category.
    fn category_name(&self, category: CategoryId) -> &str;
    /// Returns the name of a recipient kind.
    fn kind_name(&self, kind: KindId) -> &str;
    /// Returns the name of a relation.
    fn relation_name(&self, relation: RelationId) -> &str;

    /// Returns the names of all terms of a list.
    fn all_terms(&self, list: TermList) -> Vec<&str>;

    /// True if `inner` is `outer` or stands below it in the tree.
    fn purpose_within(&self, inner: PurposeId, outer: PurposeId) -> bool;
    /// True if `inner` is `outer` or stands below it in the tree.
    fn kind_within(&self, inner: KindId, outer: KindId) -> bool;

    /// Returns the label of the region that a text names, or `None` if the text names no region.
    fn region(&self, text: &str) -> Option<Arc<str>>;

    /// True if a person can refuse this category separately (G-6.6b).
    fn refusable(&self, category: CategoryId) -> bool;

    /// True if an objection to this purpose is absolute, so that nothing can override it: direct marketing and the
    /// purposes that count as direct marketing (G-6.8f; GDPR Art. 21(2), (3)).
    fn objection_is_absolute(&self, purpose: PurposeId) -> bool;

    /// Returns a digest that is equal for two vocabularies if every id of a term means the same term at the same place
    /// in its tree, and every spelling of a person's id means the same person.
    fn digest(&self) -> [u8; 32];
}

/// The terms of a vocabulary, with the rules by which ids are read.
#[derive(Debug)]
pub struct VocabularyTerms {
    vocabulary: Arc<Vocabulary>,
    namespaces: Arc<Namespaces>,
}

impl VocabularyTerms {
    /// Returns the terms of a vocabulary with the given namespaces.
    pub fn new(vocabulary: Arc<Vocabulary>, namespaces: Arc<Namespaces>) -> VocabularyTerms {
        VocabularyTerms { vocabulary, namespaces }
    }

    /// Returns the terms of the standard vocabulary. Ids are taken as they are spelled.
    pub fn standard() -> VocabularyTerms {
        VocabularyTerms::new(Arc::new(Vocabulary::standard()), Arc::default())
    }
}

impl TermLookup for VocabularyTerms {
    fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    fn purpose(&self, name: &str) -> Option<PurposeId> {
        // As on requests, names of other vocabularies are accepted too.
        self.vocabulary.declared_purpose(name).ok()
    }

    fn category(&self, name: &str) -> Option<CategoryId> {
        self.vocabulary.categories().find(name)
    }

    fn kind(&self, name: &str) -> Option<KindId> {
        self.vocabulary.kinds().find(name)
    }

    fn relation(&self, name: &str) -> Option<RelationId> {
        self.vocabulary.relations().find(name)
    }

    fn purpose_name(&self, purpose: PurposeId) -> &str {
        self.vocabulary.purposes().name(purpose)
    }

    fn category_name(&self, category: CategoryId) -> &str {
        self.vocabulary.categories().name(category)
    }

    fn kind_name(&self, kind: KindId) -> &str {
        self.vocabulary.kinds().name(kind)
    }

    fn relation_name(&self, relation: RelationId) -> &str {
        self.vocabulary.relations().name(relation)
    }

    fn all_terms(&self, list: TermList) -> Vec<&str> {
        fn all<I: TermId>(tree: &Tree<I>) -> Vec<&str> {
            tree.terms().map(|(_, term)| &*term.id).collect()
        }
        match list {
            TermList::Purposes => all(self.vocabulary.purposes()),
            TermList::Categories => all(self.vocabulary.categories()),
            TermList::Kinds => all(self.vocabulary.kinds()),
            TermList::Relations => all(self.vocabulary.relations()),
        }
    }

    fn purpose_within(&self, inner: PurposeId, outer: PurposeId) -> bool {
        self.vocabulary.purposes().within(inner, outer)
    }

    fn kind_within(&self, inner: KindId, outer: KindId) -> bool {
        self.vocabulary.kinds().within(inner, outer)
    }

    fn region(&self, text: &str) -> Option<Arc<str>> {
        self.vocabulary.regions().label(text)
    }

    fn refusable(&self, category: CategoryId) -> bool {
        self.vocabulary.is_optional(category)
    }

    fn objection_is_absolute(&self, purpose: PurposeId) -> bool {
        self.vocabulary
            .purposes()
            .find("marketing")
            .is_some_and(|marketing| self.vocabulary.objection_covers(marketing, purpose))
    }

    fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("purposegate 2026 v1 language");
        hasher.update(&self.vocabulary.digest()).update(&self.namespaces.digest());
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_vocabulary_knows_absolute_objections_and_refusable_categories() {
        let terms = VocabularyTerms::standard();
        let purpose = |name: &str| terms.purpose(name).unwrap();
        assert!(terms.objection_is_absolute(purpose("prospecting")));
        assert!(terms.objection_is_absolute(purpose("product-news")));
        assert!(!terms.objection_is_absolute(purpose("analytics")));
        let category = |name: &str| terms.category(name).unwrap();
        assert!(["photo", "profile", "company", "phone"].iter().all(|name| terms.refusable(category(name))));
        assert!(["email", "name", "identity"].iter().all(|name| !terms.refusable(category(name))));
        assert_eq!(terms.digest(), VocabularyTerms::standard().digest());
    }
}

#[cfg(test)]
pub(super) mod fixture {
    //! A small vocabulary for the ledger's tests.

    use super::*;
    use crate::vocabulary::{IdRule, Normalization};

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

    impl TermLookup for Fixture {
        fn namespaces(&self) -> &Namespaces {
            static NAMESPACES: std::sync::LazyLock<Namespaces> = std::sync::LazyLock::new(|| {
                let lowercase = Normalization { lowercase: true, ..Normalization::default() };
                let references = Some("^(?:(?:.*/)?Patient/)?([^/]+)$");
                let rule = |normalise, pattern| IdRule::new(normalise, pattern).unwrap();
                Namespaces::new([
                    ("email".into(), rule(lowercase, None)),
                    ("fhir".into(), rule(Normalization::default(), references)),
                ])
            });
            &NAMESPACES
        }
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
        fn all_terms(&self, list: TermList) -> Vec<&str> {
            let list = match list {
                TermList::Purposes => PURPOSES,
                TermList::Categories => CATEGORIES,
                TermList::Kinds => KINDS,
                TermList::Relations => RELATIONS,
            };
            list.iter().map(|(word, _)| *word).collect()
        }
        fn purpose_within(&self, inner: PurposeId, outer: PurposeId) -> bool {
            within(PURPOSES, inner.0, outer.0)
        }
        fn region(&self, text: &str) -> Option<Arc<str>> {
            crate::vocabulary::Regions::default().label(text)
        }
        fn refusable(&self, category: CategoryId) -> bool {
            ["photo", "profile", "phone"]
                .iter()
                .any(|name| within(CATEGORIES, category.0, find(CATEGORIES, name).unwrap()))
        }
        fn objection_is_absolute(&self, purpose: PurposeId) -> bool {
            let named = ["prospecting", "reseller-follow-up"].contains(&self.purpose_name(purpose));
            named || within(PURPOSES, purpose.0, 0)
        }
        fn kind_within(&self, inner: KindId, outer: KindId) -> bool {
            within(KINDS, inner.0, outer.0)
        }
        fn digest(&self) -> [u8; 32] {
            [7; 32]
        }
    }
}
