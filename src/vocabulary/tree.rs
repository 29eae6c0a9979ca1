//! A tree of terms with a constant-time test for "is within".

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use super::VOCABULARY_HINT;
use crate::finding::suggestion;

/// Id of a term: its position in its tree's list.
pub trait TermId: Copy + Eq {
    /// Code of the finding for a name that is not in the tree.
    const UNKNOWN: &'static str;

    /// Makes the id of the term at a position.
    fn from_position(position: u16) -> Self;
    /// Returns the position of the term.
    fn position(self) -> u16;
}

/// One term of the vocabulary.
#[derive(Clone, Debug)]
pub struct Term {
    /// Name by which packs, logs and metrics refer to the term.
    pub id: Arc<str>,
    /// Title for people.
    pub title: String,
    /// Description on one line.
    pub description: String,
    /// The equivalent term of W3C DPV 2.2 (`dpv:Marketing`, `pd:Name`), if there is one.
    pub dpv: Option<String>,
    /// The equivalent term of the Fides taxonomy, if there is one.
    pub fideslang: Option<String>,
    /// Position of the parent, which precedes the term.
    pub(super) parent: Option<u16>,
}

/// The terms of one tree or forest, parents before their children.
///
/// `within` compares intervals of the pre-order traversal, so its cost does not depend on the depth.
#[derive(Clone, Debug)]
pub struct Tree<I> {
    terms: Vec<Term>,
    by_id: HashMap<Arc<str>, u16>,
    spans: Vec<(u16, u16)>,
    of: PhantomData<I>,
}

impl<I: TermId> Tree<I> {
    /// Makes a tree of terms whose parents precede them.
    pub(super) fn new(terms: Vec<Term>) -> Tree<I> {
        let by_id = (0..).zip(&terms).map(|(position, term)| (Arc::clone(&term.id), position)).collect();
        let spans = spans(&terms);
        Tree { terms, by_id, spans, of: PhantomData }
    }

    /// Returns all ids in the order of the list.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = I> + use<I> {
        (0..u16::try_from(self.terms.len()).unwrap_or(u16::MAX)).map(I::from_position)
    }

    /// Returns the number of terms.
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// True if the tree has no terms.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Returns the id of the term with this name.
    pub fn find(&self, id: &str) -> Option<I> {
        self.by_id.get(id).copied().map(I::from_position)
    }

    /// Returns a hint for a name that is not in the tree: the most similar name, if there is one.
    pub fn suggestion(&self, word: &str) -> Option<String> {
        suggestion(word, self.terms.iter().map(|term| &*term.id))
    }

    /// Returns a hint for a name that is not in the tree: the most similar name, or how to list them.
    pub fn hint(&self, word: &str) -> String {
        self.suggestion(word).unwrap_or_else(|| VOCABULARY_HINT.to_owned())
    }

    /// Returns the terms with their ids.
    pub fn terms(&self) -> impl Iterator<Item = (I, &Term)> {
        self.ids().zip(&self.terms)
    }

    /// Returns a term; `None` for an id of another vocabulary.
    pub fn term(&self, id: I) -> Option<&Term> {
        self.terms.get(usize::from(id.position()))
    }

    /// Returns the name of a term; `?` for an id of another vocabulary.
    pub fn name(&self, id: I) -> &str {
        self.term(id).map_or("?", |term| &term.id)
    }

    /// Returns the name of a term as a shared string; `?` for an id of another vocabulary.
    pub fn shared_name(&self, id: I) -> Arc<str> {
        self.term(id).map_or_else(|| Arc::from("?"), |term| Arc::clone(&term.id))
    }

    /// Returns the parent of a term.
    pub fn parent(&self, id: I) -> Option<I> {
        self.term(id)?.parent.map(I::from_position)
    }

    /// Returns the term itself, its parent, and so on up to the root.
    pub fn lineage(&self, id: I) -> impl Iterator<Item = I> + '_ {
        std::iter::successors(Some(id), |&at| self.parent(at))
    }

    /// True if `inner` is `outer` or one of its descendants.
    pub fn within(&self, inner: I, outer: I) -> bool {
        match (self.spans.get(usize::from(inner.position())), self.spans.get(usize::from(outer.position()))) {
            (Some(&(at, _)), Some(&(start, end))) => start <= at && at < end,
            _ => false,
        }
    }

    /// True if one of the two is within the other.
    pub fn on_same_branch(&self, a: I, b: I) -> bool {
        self.within(a, b) || self.within(b, a)
    }

    /// Returns the number of ancestors of a term.
    pub fn depth(&self, id: I) -> usize {
        self.lineage(id).count().saturating_sub(1)
    }

    /// Returns all ids in pre-order: each term is followed by its descendants.
    pub fn preorder(&self) -> Vec<I> {
        let mut ids: Vec<I> = self.ids().collect();
        ids.sort_by_key(|id| self.spans.get(usize::from(id.position())).map(|span| span.0));
        ids
    }
}

/// Returns the interval of each term's subtree in the pre-order traversal: first position, and one past the last.
fn spans(terms: &[Term]) -> Vec<(u16, u16)> {
    let mut sizes = vec![1u16; terms.len()];
    for (position, term) in terms.iter().enumerate().rev() {
        let size = sizes.get(position).copied().unwrap_or(1);
        if let Some(of_parent) = term.parent.and_then(|parent| sizes.get_mut(usize::from(parent))) {
            *of_parent += size;
        }
    }
    let mut roots = 0;
    let mut next = vec![0u16; terms.len()];
    let mut spans = Vec::with_capacity(terms.len());
    for (term, &size) in terms.iter().zip(&sizes) {
        let free = term.parent.map_or(Some(&mut roots), |parent| next.get_mut(usize::from(parent)));
        let start = free.map_or(0, |free| std::mem::replace(free, *free + size));
        if let Some(inside) = next.get_mut(spans.len()) {
            *inside = start + 1;
        }
        spans.push((start, start + size));
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::PurposeId;

    fn tree(parents: &[Option<u16>]) -> Tree<PurposeId> {
        let term = |(position, parent): (usize, &Option<u16>)| Term {
            id: format!("t{position}").into(),
            title: String::new(),
            description: String::new(),
            dpv: None,
            fideslang: None,
            parent: *parent,
        };
        Tree::new(parents.iter().enumerate().map(term).collect())
    }

    proptest::proptest! {
        #[test]
        fn within_agrees_with_the_ancestors(seeds in proptest::collection::vec(proptest::num::u16::ANY, 1..40)) {
            let parents: Vec<Option<u16>> = (0u16..)
                .zip(&seeds)
                .map(|(position, seed)| Some(seed % (position + 1)).filter(|&parent| parent < position))
                .collect();
            let tree = tree(&parents);
            for inner in tree.ids() {
                for outer in tree.ids() {
                    assert_eq!(tree.within(inner, outer), tree.lineage(inner).any(|at| at == outer));
                }
            }
        }
    }
}
