//! A tree of terms with constant-time "is within".

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::finding::suggestion;

/// The id of a term: its position in the vocabulary's list.
pub trait TermId: Copy + Eq {
    /// The code of the finding that a word is none of its tree.
    const UNKNOWN: &'static str;

    fn from_position(position: u16) -> Self;
    fn position(self) -> u16;
}

/// One word of the vocabulary.
#[derive(Clone, Debug)]
pub struct Term {
    pub id: Arc<str>,
    pub title: String,
    /// One line.
    pub description: String,
    /// The W3C DPV 2.2 term that means the same (`dpv:Marketing`, `pd:Name`).
    pub dpv: Option<String>,
    /// The Fides taxonomy's term that means the same.
    pub fideslang: Option<String>,
    /// Position of the parent, which comes before.
    pub(super) parent: Option<u16>,
}

/// The terms of one tree (or forest), parents before children.
///
/// `within` compares intervals of the pre-order walk, so it costs the same at any depth.
#[derive(Clone, Debug)]
pub struct Tree<I> {
    terms: Vec<Term>,
    by_id: HashMap<Arc<str>, u16>,
    spans: Vec<(u16, u16)>,
    of: PhantomData<I>,
}

impl<I: TermId> Tree<I> {
    /// A tree of terms whose parents come before them.
    pub(super) fn new(terms: Vec<Term>) -> Tree<I> {
        let by_id = (0..).zip(&terms).map(|(position, term)| (Arc::clone(&term.id), position)).collect();
        let spans = spans(&terms);
        Tree { terms, by_id, spans, of: PhantomData }
    }

    /// All ids in the order of the list.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = I> + use<I> {
        (0..u16::try_from(self.terms.len()).unwrap_or(u16::MAX)).map(I::from_position)
    }

    pub fn len(&self) -> usize {
        self.terms.len()
    }

    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    pub fn find(&self, id: &str) -> Option<I> {
        self.by_id.get(id).copied().map(I::from_position)
    }

    /// The hint to a word that is none of the tree's: the nearest that is, where there is one.
    pub fn suggestion(&self, word: &str) -> Option<String> {
        suggestion(word, self.terms.iter().map(|term| &*term.id))
    }

    /// The terms with their ids.
    pub fn terms(&self) -> impl Iterator<Item = (I, &Term)> {
        self.ids().zip(&self.terms)
    }

    pub fn term(&self, id: I) -> Option<&Term> {
        self.terms.get(usize::from(id.position()))
    }

    /// The word itself; `?` for an id of another vocabulary.
    pub fn name(&self, id: I) -> &str {
        self.term(id).map_or("?", |term| &term.id)
    }

    /// The word itself, shared.
    pub fn shared_name(&self, id: I) -> Arc<str> {
        self.term(id).map_or_else(|| Arc::from("?"), |term| Arc::clone(&term.id))
    }

    pub fn parent(&self, id: I) -> Option<I> {
        self.term(id)?.parent.map(I::from_position)
    }

    /// The term itself, its parent, and so on up to the root.
    pub fn lineage(&self, id: I) -> impl Iterator<Item = I> + '_ {
        std::iter::successors(Some(id), |&at| self.parent(at))
    }

    /// Whether `inner` is `outer` or one of its descendants.
    pub fn within(&self, inner: I, outer: I) -> bool {
        match (self.spans.get(usize::from(inner.position())), self.spans.get(usize::from(outer.position()))) {
            (Some(&(at, _)), Some(&(start, end))) => start <= at && at < end,
            _ => false,
        }
    }

    /// Whether one of the two is within the other.
    pub fn on_same_branch(&self, a: I, b: I) -> bool {
        self.within(a, b) || self.within(b, a)
    }

    /// How many steps below the root.
    pub fn depth(&self, id: I) -> usize {
        self.lineage(id).count().saturating_sub(1)
    }

    /// All ids, children straight after their parents.
    pub fn preorder(&self) -> Vec<I> {
        let mut ids: Vec<I> = self.ids().collect();
        ids.sort_by_key(|id| self.spans.get(usize::from(id.position())).map(|span| span.0));
        ids
    }
}

/// First and one-past-last position of each term's subtree in the pre-order walk.
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
        fn within_agrees_with_walking_up(seeds in proptest::collection::vec(proptest::num::u16::ANY, 1..40)) {
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
