//! Repairs the contacts of an answer, so that they remain valid jCards (RFC 7095) no matter which parts are withheld.
//!
//! At most the name and the type of a withheld property stay, with an empty value; both are listed words. The meaning
//! of an element in a property depends on its position, so each dropped value or component of a kept property is
//! replaced by an empty one.

use std::collections::HashMap;

use super::tree::AnswerTree;
use super::words::{self, CardProperty, ContactRole};
use crate::scrub::actions::{Actions, NodeAction};

/// The empty value of a property.
pub(super) const EMPTY: &str = "\"\"";

/// A property of a contact's jCard.
#[derive(Clone, Copy, Debug)]
pub(super) struct PropertyNode {
    pub(super) node: u32,
    /// `None` if the property has no field name.
    pub(super) property: Option<CardProperty>,
    pub(super) role: ContactRole,
}

/// The contacts of an answer, and the parent of every node.
#[derive(Debug)]
pub(super) struct Contacts {
    /// In document order.
    pub(super) properties: Vec<PropertyNode>,
    pub(super) parents: Vec<u32>,
}

impl AnswerTree<'_> {
    /// Changes actions so that contacts remain valid jCards.
    pub(super) fn repair_contacts(&self, actions: &mut Actions) -> Contacts {
        let mut properties = Vec::new();
        // Each entity's role is looked up once: an object with repeated names may have many cards.
        let mut roles = HashMap::new();
        let mut parents = vec![0; self.held.table.nodes.len()];
        for (at, node) in (0..).zip(&self.held.table.nodes) {
            for (child, _) in self.held.children(at) {
                if let Some(parent) = parents.get_mut(child as usize) {
                    *parent = at;
                }
            }
            if self.is_named(node, b"vcardArray") {
                let entity = parents.get(at as usize).copied().unwrap_or(0);
                let role = *roles.entry(entity).or_insert_with(|| self.contact_role(entity));
                self.repair_card(at, role, actions, &mut properties);
            }
        }
        actions.redacted.sort_unstable();
        Contacts { properties, parents }
    }

    /// Returns the first role of an entity that has field names of its own.
    pub(super) fn contact_role(&self, entity: u32) -> ContactRole {
        let roles = self.member(entity, b"roles").map(|(roles, _)| self.children(roles)).unwrap_or_default();
        let mut roles = roles.into_iter().map(|role| ContactRole::named(&self.string(role)));
        roles.find(|role| *role != ContactRole::Other).unwrap_or_default()
    }

    /// Repairs a jCard: `["vcard", [property, …]]`.
    fn repair_card(
        &self,
        card: u32,
        role: ContactRole,
        actions: &mut Actions,
        properties: &mut Vec<PropertyNode>,
    ) {
        let &[word, list] = self.children(card).as_slice() else { return };
        if actions.keeps(card) && self.string(word) == b"vcard" && self.begins(list) == Some(b'[') {
            actions.set(word, NodeAction::Keep);
            actions.set(list, NodeAction::Keep);
        }
        for node in self.children(list) {
            let parts = self.children(node);
            let property = parts.first().and_then(|name| CardProperty::named(&self.string(*name)));
            if actions.keeps(list) {
                self.repair_property(node, &parts, property, actions);
            }
            properties.push(PropertyNode { node, property, role });
        }
    }

    /// Repairs a property: `[name, parameters, type, value, …]`.
    fn repair_property(
        &self,
        node: u32,
        parts: &[u32],
        property: Option<CardProperty>,
        actions: &mut Actions,
    ) {
        let (&[name, parameters, kind, ref values @ ..], Some(property)) = (parts, property) else {
            // This is no property, or a property without a field name. It is dropped if any part of it is withheld.
            if actions.keeps(node) && !parts.iter().all(|part| actions.keeps(*part)) {
                self.drop(node, actions);
            }
            return;
        };
        let value_type = self.string(kind);
        if !actions.keeps(node) {
            if property.stays_empty() && value_type == b"text" && !values.is_empty() {
                [node, name, kind].into_iter().for_each(|part| actions.set(part, NodeAction::Keep));
                self.replace(parameters, "{}", actions);
                values.iter().for_each(|value| self.empty(*value, actions));
            }
            return;
        }
        if [name, parameters, kind].into_iter().all(|part| actions.keeps(part)) {
            values.iter().for_each(|value| self.fill_places(*value, actions));
            return;
        }
        if !words::is_value_type(&value_type) {
            return self.drop(node, actions);
        }
        actions.set(name, NodeAction::Keep);
        actions.set(kind, NodeAction::Keep);
        self.repair_parameters(parameters, actions);
        for &value in values {
            let components = self.children(value);
            let is_generalised = components.iter().any(|part| actions.generalises(*part));
            if property == CardProperty::Address && is_generalised {
                self.generalise_address(&components, actions);
            } else {
                self.fill_places(value, actions);
            }
        }
    }

    /// Keeps state and country of an address and empties the other components.
    fn generalise_address(&self, components: &[u32], actions: &mut Actions) {
        for (position, &component) in components.iter().enumerate() {
            match position {
                words::STATE | words::COUNTRY => self.keep_component(component, actions),
                _ => self.replace(component, EMPTY, actions),
            }
        }
    }

    /// Changes the type `uri` to `text` if a value of the property changes, because the new value is no URI.
    pub(super) fn retype(&self, property: u32, actions: &mut Actions) {
        let parts = self.children(property);
        let &[_, _, kind, ref values @ ..] = parts.as_slice() else { return };
        let is_kept = |at: &u32| actions.keeps(*at);
        if is_kept(&property) && is_kept(&kind) && self.string(kind) == b"uri" && !values.iter().all(is_kept)
        {
            actions.rewrite(kind, "\"text\"".to_owned());
        }
    }

    /// Keeps the parameter `type` if it holds only listed kinds. Drops every other parameter that is withheld or
    /// changed, or that is not a scalar.
    fn repair_parameters(&self, parameters: u32, actions: &mut Actions) {
        if self.begins(parameters) != Some(b'{') {
            return self.replace(parameters, "{}", actions);
        }
        actions.set(parameters, NodeAction::Keep);
        for (at, node) in self.held.children(parameters) {
            let kinds = match self.begins(at) {
                Some(b'[') => self.children(at),
                Some(_) | None => vec![at],
            };
            if self.is_named(node, b"type") && kinds.iter().all(|kind| words::is_kind(&self.string(*kind))) {
                (at..node.next).for_each(|within| actions.set(within, NodeAction::Keep));
            } else if !actions.keeps(at) || !self.is_scalar(at) {
                self.drop(at, actions);
            }
        }
    }

    /// Keeps a component of a generalised address. Empties it if it is not a scalar, or if it is withheld for another
    /// reason.
    fn keep_component(&self, at: u32, actions: &mut Actions) {
        let is_generalised = actions.generalises(at);
        if !self.is_scalar(at) || !(is_generalised || actions.keeps(at)) {
            return self.replace(at, EMPTY, actions);
        }
        actions.set(at, NodeAction::Keep);
        let class = actions.classes.get(at as usize).copied();
        if is_generalised && class.is_some_and(|class| self.plan.redacts(class)) {
            actions.redacted.push(at);
        }
    }

    /// Drops a node and everything in it.
    fn drop(&self, at: u32, actions: &mut Actions) {
        let next = self.held.table.node(at).map_or(at, |node| node.next);
        (at..next).for_each(|within| actions.set(within, NodeAction::Drop));
    }

    /// Replaces a node by a JSON text.
    fn replace(&self, at: u32, text: &str, actions: &mut Actions) {
        self.drop(at, actions);
        actions.rewrite(at, text.to_owned());
    }

    /// Replaces a value by an empty string, or each component of a structured value.
    fn empty(&self, at: u32, actions: &mut Actions) {
        let components = self.children(at);
        if self.begins(at) == Some(b'[') && !components.is_empty() {
            actions.set(at, NodeAction::Keep);
            components.into_iter().for_each(|component| self.replace(component, EMPTY, actions));
        } else {
            self.replace(at, EMPTY, actions);
        }
    }

    /// Replaces a dropped value by an empty value, and each dropped component of any other value.
    fn fill_places(&self, value: u32, actions: &mut Actions) {
        if actions.drops(value) {
            return self.empty(value, actions);
        }
        for component in self.children(value) {
            if actions.drops(component) {
                self.replace(component, EMPTY, actions);
            }
        }
    }
}
