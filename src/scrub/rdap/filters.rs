//! JSONPath filters that select the elements of an answer that are dropped or have moved.
//!
//! The index of such an element would select another element of the redacted answer, or none (RFC 9537, 5.1). A
//! filter holds only words of the lists in [`super::words`]: names and kinds of a jCard's properties, and roles. An
//! element that these do not distinguish from its siblings has no filter.

use std::collections::{BTreeMap, HashMap};

use super::positions::NodePosition;
use super::tree::AnswerTree;
use super::words::{CardProperty, is_kind, is_role};
use crate::scrub::actions::Actions;

/// The filters, by the elements that they select.
pub(super) type Filters = HashMap<u32, String>;

impl AnswerTree<'_> {
    /// Returns the filters of the contacts' properties and of the members of `entities`. Visits each list once.
    pub(super) fn filters(&self, positions: &[NodePosition], actions: &Actions) -> Filters {
        let mut filters = Filters::new();
        for (at, node) in (0..).zip(&self.held.table.nodes) {
            if self.begins(at) != Some(b'[') {
                continue;
            }
            if self.is_named(node, b"entities") {
                let by_role = |entity| self.by_role(entity, actions);
                self.add_filters(at, by_role, positions, actions, &mut filters);
            } else if self.is_named(node, b"vcardArray")
                && let &[_, list] = self.children(at).as_slice()
            {
                let by_name = |property| self.by_name(property);
                self.add_filters(list, by_name, positions, actions, &mut filters);
            }
        }
        filters
    }

    /// Adds a filter for each element that is dropped or has moved, if one of its candidates is unambiguous.
    ///
    /// A dropped element takes its first candidate that selects no element that stays. A moved element takes its
    /// first candidate that selects it alone.
    fn add_filters(
        &self,
        list: u32,
        candidates: impl Fn(u32) -> Vec<String>,
        positions: &[NodePosition],
        actions: &Actions,
        filters: &mut Filters,
    ) {
        let has_moved =
            |at: u32| positions.get(at as usize).is_some_and(|position| position.before != position.after);
        let elements: Vec<_> = self.held.children(list).map(|(at, _)| (at, candidates(at))).collect();
        // The number of elements that each candidate selects, and the number of these that stay.
        let mut counts = BTreeMap::new();
        for (at, candidates) in &elements {
            for filter in candidates {
                let (all, staying) = counts.entry(filter.as_str()).or_insert((0, 0));
                *all += 1;
                *staying += u32::from(!actions.drops(*at));
            }
        }
        for (at, candidates) in &elements {
            let is_unambiguous = |filter: &&String| match counts.get(filter.as_str()) {
                Some((_, 0)) => true,
                Some((1, _)) => has_moved(*at),
                Some(_) | None => false,
            };
            filters.extend(candidates.iter().find(is_unambiguous).map(|filter| (*at, filter.clone())));
        }
    }

    /// Returns `?(@[0]=='tel')`, and a filter that tests the kind as well. The parentheses are for older
    /// implementations of JSONPath, which require them.
    fn by_name(&self, property: u32) -> Vec<String> {
        let parts = self.elements(property);
        let is_property = |name: &[u8]| CardProperty::named(name).is_some();
        let Some(name) = parts.first().and_then(|name| self.listed_word(*name, is_property)) else {
            return Vec::new();
        };
        let kind = parts.get(1).and_then(|parameters| self.member(*parameters, b"type"));
        let kind = kind.and_then(|(kind, _)| self.listed_word(kind, is_kind));
        let by_kind = kind.map(|kind| format!("?(@[0]=='{name}'&&@[1].type=='{kind}')"));
        [format!("?(@[0]=='{name}')")].into_iter().chain(by_kind).collect()
    }

    /// Returns `?(@.roles[0]=='registrant')`.
    fn by_role(&self, entity: u32, actions: &Actions) -> Vec<String> {
        let roles = self.member(entity, b"roles").map(|(roles, _)| self.elements(roles)).unwrap_or_default();
        // A path must not disclose a role that is withheld because of a class of its own. A role that is dropped only
        // with its entity may be disclosed, because it identifies the dropped entity.
        let class = |at: u32| actions.classes.get(at as usize);
        let is_disclosed =
            |role: &&u32| actions.keeps(**role) || (!actions.keeps(entity) && class(**role) == class(entity));
        let role = roles.first().filter(is_disclosed).and_then(|role| self.listed_word(*role, is_role));
        role.map(|role| format!("?(@.roles[0]=='{role}')")).into_iter().collect()
    }

    /// Returns the content of a string if it is a listed word.
    fn listed_word(&self, at: u32, is_listed: impl Fn(&[u8]) -> bool) -> Option<String> {
        String::from_utf8(self.string(at)).ok().filter(|text| is_listed(text.as_bytes()))
    }
}
