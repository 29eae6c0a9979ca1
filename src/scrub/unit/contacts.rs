//! The contacts of an RDAP answer stay jCards (RFC 7095), whatever is withheld of them.
//!
//! Refuses to release anything that was withheld: of a jCard's property that goes at most its name
//! and its type stay, which are words of a list, with an empty value. Places in its arrays mean
//! something, so nothing in them closes up.

use std::collections::HashMap;

use super::{Decision, Fate, Unit};
use crate::scrub::evaluate::{denoted, unquoted};
use crate::scrub::rdap::{self, Contact, Property};
use crate::scrub::table::Node;
use crate::vocabulary::Form;

pub(super) const EMPTY: &str = "\"\"";

/// A property of somebody's jCard.
#[derive(Clone, Copy)]
pub(super) struct OfContact {
    pub(super) node: u32,
    pub(super) property: Option<Property>,
    pub(super) contact: Contact,
}

/// The contacts of an answer, and what every node is in.
#[derive(Default)]
pub(super) struct Contacts {
    pub(super) properties: Vec<OfContact>,
    pub(super) parents: Vec<u32>,
}

impl Unit<'_> {
    /// Lets the contacts stay jCards. Comes before anything looks through what stays: what it keeps
    /// is looked through too.
    pub(super) fn mend_contacts(&self, decision: &mut Decision) -> Contacts {
        if !decision.stays(0) || self.held.bytes.first() != Some(&b'{') {
            return Contacts::default();
        }
        let mut properties = Vec::new();
        // An object whose names are not unique may have many cards.
        let mut contacts = HashMap::new();
        let mut parents = vec![0; self.held.table.nodes.len()];
        for (at, node) in (0..).zip(&self.held.table.nodes) {
            for (child, _) in self.held.children(at) {
                if let Some(parent) = parents.get_mut(child as usize) {
                    *parent = at;
                }
            }
            if self.is_named(node, b"vcardArray") {
                let entity = parents.get(at as usize).copied().unwrap_or(0);
                let contact = *contacts.entry(entity).or_insert_with(|| self.contact_of(entity));
                self.mend_card(at, contact, decision, &mut properties);
            }
        }
        decision.redacted.sort_unstable();
        Contacts { properties, parents }
    }

    /// Whose contact an entity is.
    pub(super) fn contact_of(&self, entity: u32) -> Contact {
        let roles = self.member(entity, b"roles").map(|(roles, _)| self.children(roles)).unwrap_or_default();
        let mut contacts = roles.into_iter().map(|role| Contact::of_role(&self.string(role)));
        contacts.find(|contact| *contact != Contact::Other).unwrap_or_default()
    }

    /// A jCard: `["vcard", [property, …]]`.
    fn mend_card(
        &self,
        card: u32,
        contact: Contact,
        decision: &mut Decision,
        properties: &mut Vec<OfContact>,
    ) {
        let &[word, list] = self.children(card).as_slice() else { return };
        if decision.stays(card) && self.string(word) == b"vcard" && self.begins(list) == Some(b'[') {
            decision.set(word, Fate::Stays);
            decision.set(list, Fate::Stays);
        }
        for node in self.children(list) {
            let parts = self.children(node);
            let property = parts.first().and_then(|name| Property::of(&self.string(*name)));
            if decision.stays(list) {
                self.mend(node, &parts, property, decision);
            }
            properties.push(OfContact { node, property, contact });
        }
    }

    /// A property: `[name, parameters, type, value, …]`.
    fn mend(&self, node: u32, parts: &[u32], property: Option<Property>, decision: &mut Decision) {
        let (&[name, parameters, kind, ref values @ ..], Some(property)) = (parts, property) else {
            // Not a property, or none that has a name here: it goes if some of it does.
            if decision.stays(node) && !parts.iter().all(|part| decision.stays(*part)) {
                self.drop(node, decision);
            }
            return;
        };
        let kind_text = self.string(kind);
        if !decision.stays(node) {
            if property.stays_empty() && kind_text == b"text" && !values.is_empty() {
                [node, name, kind].into_iter().for_each(|part| decision.set(part, Fate::Stays));
                self.put(parameters, "{}", decision);
                values.iter().for_each(|value| self.empty(*value, decision));
            }
            return;
        }
        if [name, parameters, kind].into_iter().all(|part| decision.stays(part)) {
            values.iter().for_each(|value| self.keep_places(*value, decision));
            return;
        }
        if !rdap::is_value_type(&kind_text) {
            return self.drop(node, decision);
        }
        decision.set(name, Fate::Stays);
        decision.set(kind, Fate::Stays);
        self.mend_parameters(parameters, decision);
        for &value in values {
            let generalised = |part: u32| {
                matches!(decision.fates.get(part as usize), Some(Fate::Changes(Form::Generalised, _)))
            };
            let components = self.children(value);
            if property == Property::Address && components.iter().any(|part| generalised(*part)) {
                for (place, &component) in components.iter().enumerate() {
                    match place {
                        rdap::STATE | rdap::COUNTRY => self.keep(component, decision),
                        _ => self.put(component, EMPTY, decision),
                    }
                }
            } else {
                self.keep_places(value, decision);
            }
        }
    }

    /// A URI that changed is none.
    pub(super) fn retype(&self, node: u32, decision: &mut Decision) {
        let parts = self.children(node);
        let &[_, _, kind, ref values @ ..] = parts.as_slice() else { return };
        let whole = |value: &u32| decision.stays(*value);
        if decision.stays(node) && whole(&kind) && self.string(kind) == b"uri" && !values.iter().all(whole) {
            decision.rewrite(kind, "\"text\"".to_owned());
        }
    }

    /// Of the parameters of a property that changes those stay that only say what kind it is.
    fn mend_parameters(&self, parameters: u32, decision: &mut Decision) {
        if self.begins(parameters) != Some(b'{') {
            return self.put(parameters, "{}", decision);
        }
        decision.set(parameters, Fate::Stays);
        for (at, node) in self.held.children(parameters) {
            let kinds = match self.begins(at) {
                Some(b'[') => self.children(at),
                Some(_) | None => vec![at],
            };
            if self.is_named(node, b"type") && kinds.iter().all(|kind| rdap::is_kind(&self.string(*kind))) {
                (at..node.next).for_each(|within| decision.set(within, Fate::Stays));
            } else if !decision.stays(at) || !self.is_scalar(at) {
                self.drop(at, decision);
            }
        }
    }

    /// A component that an address keeps which is generalised, if nothing else withholds it.
    fn keep(&self, at: u32, decision: &mut Decision) {
        let generalised =
            matches!(decision.fates.get(at as usize), Some(Fate::Changes(Form::Generalised, _)));
        if !self.is_scalar(at) || !(generalised || decision.stays(at)) {
            return self.put(at, EMPTY, decision);
        }
        decision.set(at, Fate::Stays);
        let class = decision.classes.get(at as usize).copied();
        if generalised && class.is_some_and(|class| self.common.plan.redacts(class)) {
            decision.redacted.push(at);
        }
    }

    /// A node goes, and all that is in it.
    fn drop(&self, at: u32, decision: &mut Decision) {
        let next = self.held.table.node(at).map_or(at, |node| node.next);
        (at..next).for_each(|within| decision.set(within, Fate::Goes));
    }

    /// A text stands in a node's place.
    fn put(&self, at: u32, text: &str, decision: &mut Decision) {
        self.drop(at, decision);
        decision.rewrite(at, text.to_owned());
    }

    /// An empty value in the place of this one; of a structured one in the place of each component.
    fn empty(&self, at: u32, decision: &mut Decision) {
        let components = self.children(at);
        if self.begins(at) == Some(b'[') && !components.is_empty() {
            decision.set(at, Fate::Stays);
            components.into_iter().for_each(|component| self.put(component, EMPTY, decision));
        } else {
            self.put(at, EMPTY, decision);
        }
    }

    /// What goes of a value leaves its place empty.
    fn keep_places(&self, value: u32, decision: &mut Decision) {
        if decision.fates.get(value as usize) == Some(&Fate::Goes) {
            return self.empty(value, decision);
        }
        for component in self.children(value) {
            if decision.fates.get(component as usize) == Some(&Fate::Goes) {
                self.put(component, EMPTY, decision);
            }
        }
    }

    pub(super) fn is_named(&self, node: &Node, name: &[u8]) -> bool {
        self.held.name(node).is_some_and(|own| &*denoted(own) == name)
    }

    pub(super) fn member(&self, of: u32, name: &[u8]) -> Option<(u32, &Node)> {
        self.held.children(of).find(|(_, node)| self.is_named(node, name))
    }

    pub(super) fn string(&self, at: u32) -> Vec<u8> {
        let text = self.held.table.node(at).map_or(&[][..], |node| self.held.text(node));
        if text.first() == Some(&b'"') { unquoted(text).into_owned() } else { Vec::new() }
    }

    pub(super) fn children(&self, at: u32) -> Vec<u32> {
        self.held.children(at).map(|(child, _)| child).collect()
    }

    pub(super) fn begins(&self, at: u32) -> Option<u8> {
        self.held.table.node(at).and_then(|node| self.held.text(node).first().copied())
    }

    pub(super) fn is_scalar(&self, at: u32) -> bool {
        !matches!(self.begins(at), Some(b'{' | b'[') | None)
    }
}
