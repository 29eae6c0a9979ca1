//! The words of a pack, as the configuration uses them: a name that is not one of them is a finding.
//!
//! Invariant: each unknown name is found exactly once, and none is found where it is not known which
//! words there are.

use std::sync::Arc;

use crate::document::{At, Document, Item};
use crate::finding::Finding;
use crate::vocabulary::{
    CategoryId, KindId, Namespaces, PurposeId, TermId, Tree, VOCABULARY_HINT, Vocabulary, region,
};

/// The vocabulary of a pack, and how ids are read beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackTerms<'p> {
    pub vocabulary: &'p Vocabulary,
    /// Whether these are all words. They are not where the pack that may add some does not read:
    /// what it says would make findings of what is right.
    pub complete: bool,
    pub namespaces: &'p Namespaces,
}

impl PackTerms<'_> {
    pub(super) fn kind(&self, document: &Document<'_>, name: &At<&str>) -> Option<KindId> {
        self.find(document, "recipient kind", name, self.vocabulary.kinds())
    }

    /// A purpose by any of its names.
    pub(super) fn purpose(&self, document: &Document<'_>, name: &At<&str>) -> Option<PurposeId> {
        let declared = self.vocabulary.declared_purpose(name.value).ok();
        declared.or_else(|| self.find(document, "purpose", name, self.vocabulary.purposes()))
    }

    pub(super) fn purposes(&self, document: &Document<'_>, names: &[At<&str>]) -> Vec<PurposeId> {
        names.iter().filter_map(|name| self.purpose(document, name)).collect()
    }

    /// One category or a list of them. None at all is a finding of its own.
    pub(super) fn categories(&self, document: &Document<'_>, item: &Item<'_>) -> Vec<CategoryId> {
        if item.items().is_empty() {
            let finding = Finding::error("no-category", "this field has no category").label("empty");
            let hint = "name at least one data category, or `non-personal`";
            document.find(finding.hint(hint), item.at());
        }
        let find = |name: &At<&str>| self.find(document, "data category", name, self.vocabulary.categories());
        item.texts().iter().filter_map(find).collect()
    }

    /// A country: an assigned code of ISO 3166-1.
    pub(super) fn country(&self, document: &Document<'_>, text: &At<&str>) -> Option<Arc<str>> {
        let country = region::country(text.value);
        if country.is_none() {
            let finding =
                Finding::error("unknown-country", format!("`{}` is no country", text.value)).label("unknown");
            document.find(finding.hint(region::country_hint(text.value)), text.at.clone());
        }
        country.map(Arc::from)
    }

    /// A region that the pack knows.
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
        tree: &Tree<I>,
    ) -> Option<I> {
        let found = tree.find(name.value);
        if found.is_none() && self.complete {
            let known = tree.terms().map(|(_, term)| &*term.id);
            let otherwise = format!("the vocabulary and the pack have no word like it: {VOCABULARY_HINT}");
            document.find_unknown(I::UNKNOWN, what, name, known, &otherwise);
        }
        found
    }
}
