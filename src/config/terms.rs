//! Looks up terms of a pack's vocabulary that the configuration uses. An unknown term is a finding.
//!
//! Invariant: each unknown term is reported exactly once, and none if the vocabulary could not be read completely.

use std::sync::Arc;

use crate::document::{At, Document, Item};
use crate::finding::Finding;
use crate::vocabulary::{
    CategoryId, Group, KindId, Namespaces, PurposeId, TermId, Tree, VOCABULARY_HINT, Vocabulary, region,
};

/// The vocabulary of a pack, and the rules by which ids are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackTerms<'p> {
    pub vocabulary: &'p Vocabulary,
    /// True if the vocabulary is complete. If the pack, which can add terms, could not be read, correct terms may be
    /// unknown and are not reported.
    pub complete: bool,
    pub namespaces: &'p Namespaces,
}

impl PackTerms<'_> {
    pub(super) fn kind(&self, document: &Document<'_>, name: &At<&str>) -> Option<KindId> {
        let words = self.vocabulary;
        self.find(document, "recipient kind", name, (words.kinds(), words.kind_groups()))
    }

    /// Finds a purpose by its id or an alias.
    pub(super) fn purpose(&self, document: &Document<'_>, name: &At<&str>) -> Option<PurposeId> {
        let declared = self.vocabulary.declared_purpose(name.value).ok();
        declared.or_else(|| self.find(document, "purpose", name, (self.vocabulary.purposes(), &[])))
    }

    pub(super) fn purposes(&self, document: &Document<'_>, names: &[At<&str>]) -> Vec<PurposeId> {
        names.iter().filter_map(|name| self.purpose(document, name)).collect()
    }

    /// Reads one category or a list of categories. An empty list is a finding.
    pub(super) fn categories(&self, document: &Document<'_>, item: &Item<'_>) -> Vec<CategoryId> {
        if item.items().is_empty() {
            let finding = Finding::error("no-category", "this field has no category").label("empty");
            let hint = "name at least one data category, or `non-personal`";
            document.find(finding.hint(hint), item.at());
        }
        let known = (self.vocabulary.categories(), self.vocabulary.category_groups());
        let find = |name: &At<&str>| self.find(document, "data category", name, known);
        item.texts().iter().filter_map(find).collect()
    }

    /// Reads a country: an assigned code of ISO 3166-1.
    pub(super) fn country(&self, document: &Document<'_>, text: &At<&str>) -> Option<Arc<str>> {
        let country = region::country(text.value);
        if country.is_none() {
            let finding =
                Finding::error("unknown-country", format!("`{}` is no country", text.value)).label("unknown");
            document.find(finding.hint(region::country_hint(text.value)), text.at.clone());
        }
        country.map(Arc::from)
    }

    /// Reads a region of the pack.
    pub(super) fn region(&self, document: &Document<'_>, text: &At<&str>) -> Option<Arc<str>> {
        let regions = self.vocabulary.regions();
        let region = regions.label(text.value);
        if region.is_none() && self.complete {
            let finding =
                Finding::error("unknown-region", format!("`{}` is no region", text.value)).label("unknown");
            document.find(finding.hint(regions.hint(text.value)), text.at.clone());
        }
        region
    }

    fn find<I: TermId>(
        &self,
        document: &Document<'_>,
        what: &str,
        name: &At<&str>,
        (tree, groups): (&Tree<I>, &[Group<I>]),
    ) -> Option<I> {
        let found = tree.find(name.value);
        if found.is_none() && self.complete {
            match Group::hint(groups, tree, name.value, what) {
                Some(hint) => document.find_unknown(I::UNKNOWN, what, name, [], &hint),
                None => {
                    let known = tree.terms().map(|(_, term)| &*term.id);
                    let otherwise =
                        format!("the vocabulary and the pack have no word like it: {VOCABULARY_HINT}");
                    document.find_unknown(I::UNKNOWN, what, name, known, &otherwise);
                }
            }
        }
        found
    }
}
