//! By which filter an element is found that goes, or that has moved: its number would be another's in the
//! answer that leaves (RFC 9537, 5.1).
//!
//! Refuses to put anything in a filter but words of lists: names and kinds of a jCard's properties, and
//! roles. An element that no such words tell apart has none.

use std::collections::{BTreeMap, HashMap};

use super::explanation::Stands;
use super::{Decision, Fate, Unit};
use crate::scrub::rdap::{Property, is_kind, is_role};

/// By their elements.
pub(super) type Filters = HashMap<u32, String>;

impl Unit<'_> {
    /// The filters of contacts' properties and of `entities`. Each list is gone through once.
    pub(super) fn filters(&self, places: &[Stands], decision: &Decision) -> Filters {
        let mut filters = Filters::new();
        for (at, node) in (0..).zip(&self.held.table.nodes) {
            if self.begins(at) != Some(b'[') {
                continue;
            }
            if self.is_named(node, b"entities") {
                self.tell_apart(at, |entity| self.by_role(entity, decision), places, decision, &mut filters);
            } else if self.is_named(node, b"vcardArray")
                && let &[_, list] = self.children(at).as_slice()
            {
                self.tell_apart(list, |property| self.by_name(property), places, decision, &mut filters);
            }
        }
        filters
    }

    /// Gives each element of a list that goes the first of its filters that selects none that stays, and
    /// each that has moved the first that selects it alone.
    fn tell_apart(
        &self,
        list: u32,
        filters_of: impl Fn(u32) -> Vec<String>,
        places: &[Stands],
        decision: &Decision,
        filters: &mut Filters,
    ) {
        let goes = |at: u32| decision.fates.get(at as usize) == Some(&Fate::Goes);
        let moves = |at: u32| places.get(at as usize).is_some_and(|place| place.before != place.after);
        let elements: Vec<_> = self.held.children(list).map(|(at, _)| (at, filters_of(at))).collect();
        // How many elements a filter selects, and how many of them stay.
        let mut counts = BTreeMap::new();
        for (at, of_element) in &elements {
            for filter in of_element {
                let (all, staying) = counts.entry(filter.as_str()).or_insert((0, 0));
                *all += 1;
                *staying += u32::from(!goes(*at));
            }
        }
        for (at, of_element) in &elements {
            let tells = |filter: &&String| match counts.get(filter.as_str()) {
                Some((_, 0)) => true,
                Some((1, _)) => moves(*at),
                Some(_) | None => false,
            };
            filters.extend(of_element.iter().find(tells).map(|filter| (*at, filter.clone())));
        }
    }

    /// `?(@[0]=='tel')`, and one that asks for the kind as well; in parentheses, which older readers of JSONPath want.
    fn by_name(&self, property: u32) -> Vec<String> {
        let parts = self.elements(property);
        let name = parts.first().and_then(|name| self.word(*name, |name| Property::of(name).is_some()));
        let Some(name) = name else { return Vec::new() };
        let kind = parts.get(1).and_then(|parameters| self.member(*parameters, b"type"));
        let kind = kind.and_then(|(kind, _)| self.word(kind, is_kind));
        let by_kind = kind.map(|kind| format!("?(@[0]=='{name}'&&@[1].type=='{kind}')"));
        [format!("?(@[0]=='{name}')")].into_iter().chain(by_kind).collect()
    }

    /// `?(@.roles[0]=='registrant')`
    fn by_role(&self, entity: u32, decision: &Decision) -> Vec<String> {
        let roles = self.member(entity, b"roles").map(|(roles, _)| self.elements(roles)).unwrap_or_default();
        // One that is withheld for itself is not told in a path; one that goes with its entity is what tells that.
        let class = |at: u32| decision.classes.get(at as usize);
        let told = |role: &&u32| {
            decision.stays(**role) || (!decision.stays(entity) && class(**role) == class(entity))
        };
        let role = roles.first().filter(told).and_then(|role| self.word(*role, is_role));
        role.map(|role| format!("?(@.roles[0]=='{role}')")).into_iter().collect()
    }

    /// The elements of an array; none of what is no array.
    fn elements(&self, at: u32) -> Vec<u32> {
        if self.begins(at) == Some(b'[') { self.children(at) } else { Vec::new() }
    }

    /// A string that is a word of a list.
    fn word(&self, at: u32, is_listed: impl Fn(&[u8]) -> bool) -> Option<String> {
        String::from_utf8(self.string(at)).ok().filter(|text| is_listed(text.as_bytes()))
    }
}
