//! Lists the redacted fields of an answer in its member `redacted` (RFC 9537).
//!
//! Apart from that member and `rdapConformance`, the module changes actions in one case only: the type of a changed
//! URI becomes `text`. A field that no path of the mapping classifies is dropped without an entry. A path holds only
//! member names that the mapping contains.

use std::collections::{BTreeMap, HashSet};

use super::entry::{RedactedEntry, RedactionMethod};
use super::filters::Filters;
use super::jcard::{Contacts, EMPTY, PropertyNode};
use super::positions::NodePosition;
use super::tree::AnswerTree;
use super::words::{self, CardProperty, ContactRole, FieldName};
use crate::scrub::actions::{Actions, NodeAction};
use crate::scrub::class::UNCLASSIFIED;
use crate::scrub::lex::denoted;
use crate::scrub::node_table::Node;
use crate::vocabulary::Form;

/// Bound on the fields of one answer that have entries.
const MAX_ENTRIES: usize = 4096;

impl AnswerTree<'_> {
    /// Adds the entries of the redacted fields to the answer.
    pub(super) fn list_redactions(&self, contacts: &Contacts, actions: &mut Actions) {
        for property in &contacts.properties {
            self.retype(property.node, actions);
        }
        let positions = self.positions(&contacts.parents, actions);
        let filters = self.filters(&positions, actions);
        let collector = EntryCollector {
            tree: *self,
            actions,
            positions: &positions,
            filters: &filters,
            entries: BTreeMap::new(),
            unique: HashSet::new(),
            fields: 0,
        };
        let entries = collector.collect(&contacts.properties);
        if !entries.is_empty() {
            self.write_entries(entries, actions);
        }
    }

    /// Writes entries into the objects that list them, and `rdapConformance` into the topmost object.
    fn write_entries(&self, entries: BTreeMap<u32, Vec<String>>, actions: &mut Actions) {
        let own = format!("\"{}\"", words::CONFORMANCE);
        let both = format!("\"{}\",{own}", words::BASE_CONFORMANCE);
        match self.member(0, b"rdapConformance") {
            Some((at, _)) if self.children(at).iter().any(|&element| self.conforms(element, actions)) => {}
            Some((at, node)) => self.extend(at, node, &own, &both, actions),
            None => actions.append(0, &format!("\"rdapConformance\":[{both}]")),
        }
        for (object, entries) in entries {
            let entries = entries.join(",");
            match self.member(object, b"redacted") {
                Some((at, node)) => self.extend(at, node, &entries, &entries, actions),
                None => actions.append(object, &format!("\"redacted\":[{entries}]")),
            }
        }
    }

    fn holds_results(&self, at: u32) -> bool {
        let name = self.held.table.node(at).and_then(|node| self.held.name(node));
        name.is_some_and(|name| words::is_list_of_results(&denoted(name)))
    }

    /// True if an element of `rdapConformance` announces `redacted` already, and is kept.
    fn conforms(&self, at: u32, actions: &Actions) -> bool {
        actions.keeps(at) && self.string(at) == words::CONFORMANCE.as_bytes()
    }

    /// Appends elements to an array that is kept and not empty. Anything else is replaced by an array.
    fn extend(&self, at: u32, node: &Node, more: &str, all: &str, actions: &mut Actions) {
        if actions.keeps(at) && node.next > at + 1 && self.held.text(node).starts_with(b"[") {
            actions.append(at, more);
        } else {
            actions.rewrite(at, format!("[{all}]"));
        }
    }
}

/// Collects the entries of the fields that an answer's actions redact.
struct EntryCollector<'a> {
    tree: AnswerTree<'a>,
    actions: &'a Actions,
    positions: &'a [NodePosition],
    filters: &'a Filters,
    /// The entries as JSON, by the objects that list them.
    entries: BTreeMap<u32, Vec<String>>,
    /// All entries so far, because equal entries are listed only once.
    unique: HashSet<String>,
    /// The number of fields that have an entry. Fields with equal entries are counted separately.
    fields: usize,
}

impl EntryCollector<'_> {
    fn collect(mut self, properties: &[PropertyNode]) -> BTreeMap<u32, Vec<String>> {
        let mut properties = properties.iter().peekable();
        let mut at = 0;
        while let Some(node) = self.tree.held.table.node(at) {
            if self.is_full() {
                break;
            }
            while properties.next_if(|property| property.node < at).is_some() {}
            if let Some(property) = properties.next_if(|property| property.node == at) {
                self.add_property(*property);
                at = node.next;
                continue;
            }
            let classified = self.is_classified(at);
            let method = self.method(at);
            at = match method {
                // Nodes in it may have classes of their own.
                Some(RedactionMethod::Removal) if !classified => at + 1,
                Some(method) => {
                    if classified && self.has_mapped_path(at) {
                        self.add(at, self.field_name(at, node), method, self.path(at));
                    }
                    node.next
                }
                None => at + 1,
            };
        }
        self.entries
    }

    fn is_full(&self) -> bool {
        self.fields >= MAX_ENTRIES
    }

    fn has_mapped_path(&self, at: u32) -> bool {
        self.positions.get(at as usize).is_some_and(|position| position.has_mapped_path)
    }

    fn is_classified(&self, at: u32) -> bool {
        self.actions.classes.get(at as usize).is_some_and(|class| *class != UNCLASSIFIED)
    }

    /// Returns the method by which a node is redacted; `None` if it is kept.
    fn method(&self, at: u32) -> Option<RedactionMethod> {
        match self.actions.get(at) {
            NodeAction::Keep => None,
            NodeAction::Drop => Some(RedactionMethod::Removal),
            NodeAction::Transform(Form::Pseudonymised, _) => Some(RedactionMethod::ReplacementValue),
            NodeAction::Transform(Form::Clear | Form::Masked | Form::Generalised | Form::Removed, _) => {
                Some(RedactionMethod::PartialValue)
            }
            NodeAction::Rewrite if self.actions.text_of(at) == EMPTY => Some(RedactionMethod::EmptyValue),
            NodeAction::Rewrite => Some(RedactionMethod::PartialValue),
        }
    }

    /// Adds an entry about a node, if a path to the node can be disclosed. Elements that one filter selects share
    /// an entry.
    fn add(&mut self, at: u32, name: FieldName, method: RedactionMethod, path: Option<String>) {
        let Some(path) = path.filter(|_| !self.is_full()) else { return };
        self.fields += 1;
        let entry = RedactedEntry::new(name, method, path).json();
        if self.unique.insert(entry.clone()) {
            self.entries.entry(self.listing_object(at)).or_default().push(entry);
        }
    }

    /// Returns the object that lists the redaction of a node: the search result around the node (RFC 9537, 4.2)
    /// if that is kept, or else the topmost object.
    fn listing_object(&self, mut at: u32) -> u32 {
        loop {
            let list = self.parent(at);
            if list == 0 {
                return 0;
            }
            if self.parent(list) == 0 {
                let is_result = self.actions.keeps(at)
                    && self.tree.begins(at) == Some(b'{')
                    && self.tree.begins(list) == Some(b'[')
                    && self.tree.holds_results(list);
                return if is_result { at } else { 0 };
            }
            at = list;
        }
    }

    fn parent(&self, at: u32) -> u32 {
        self.positions.get(at as usize).map_or(0, |position| position.parent)
    }

    /// Returns the name of a field outside of jCards: the handle of a domain or a contact, or else its category.
    fn field_name(&self, at: u32, node: &Node) -> FieldName {
        let parent = self.parent(at);
        // An object has one handle, so its members are searched once.
        let kind = if self.tree.is_named(node, b"handle") {
            self.tree.member(parent, b"objectClassName").map(|(kind, _)| self.tree.string(kind))
        } else {
            None
        };
        match kind.as_deref() {
            Some(b"domain") => words::domain_handle(),
            Some(b"entity") => self.tree.contact_role(parent).handle(),
            Some(_) | None => {
                let class = self.actions.classes.get(at as usize).copied().unwrap_or(UNCLASSIFIED);
                FieldName::Description(self.tree.plan.value_context(class, None).category.to_owned())
            }
        }
    }

    /// Adds the entries of a jCard's property.
    fn add_property(&mut self, of: PropertyNode) {
        if !self.has_mapped_path(of.node) {
            return;
        }
        let parts = self.tree.children(of.node);
        if self.method(of.node) == Some(RedactionMethod::Removal) {
            if self.is_classified(of.node) {
                for field in self.fields_of(of.property, &parts) {
                    self.add(of.node, of.role.field(field), RedactionMethod::Removal, self.path(of.node));
                }
            }
            return;
        }
        let &[_, parameters, _, ref values @ ..] = parts.as_slice() else { return };
        if of.property == Some(CardProperty::Address) {
            self.add_label(of.role, parameters);
        }
        let mut fields = None;
        for &value in values {
            if self.is_full() {
                return;
            }
            let components = self.tree.children(value);
            if of.property == Some(CardProperty::Address) && !components.is_empty() {
                self.add_address(of.role, value, &components);
            } else if let Some(method) = self.method_of_all(&[value]) {
                for field in fields.get_or_insert_with(|| self.fields_of(of.property, &parts)).iter() {
                    self.add(value, of.role.field(field), method, self.path(value));
                }
            }
        }
    }

    /// Adds an entry about the parameter `label`, which may hold a whole address (RFC 6350, 6.3.1). It has an entry
    /// of its own, besides those of the components, because it may hold another address.
    fn add_label(&mut self, role: ContactRole, parameters: u32) {
        let label = self.tree.member(parameters, b"label").map(|(label, _)| label);
        let Some(label) = label.filter(|label| self.tree.begins(*label) == Some(b'"')) else { return };
        let Some(method) = self.method(label) else { return };
        if !self.was_empty(label) && self.is_classified(label) {
            let is_removed = method == RedactionMethod::Removal;
            let path = self.path_in(parameters, is_removed).map(|path| path + ".label");
            self.add(label, role.field("Address"), method, path);
        }
    }

    /// Adds an entry for each component of an address: street, city and so on.
    fn add_address(&mut self, role: ContactRole, value: u32, components: &[u32]) {
        for (positions, field) in words::ADDRESS {
            let components = components.get(positions.start..).unwrap_or_default();
            let components = components.get(..positions.len()).unwrap_or(components);
            let Some(method) = self.method_of_all(components) else { continue };
            let selector = match (positions.start, positions.len()) {
                (position, 1) => format!("[{position}]"),
                _ => format!("[:{}]", positions.end),
            };
            let path = self.path(value).map(|path| path + &selector);
            self.add(value, role.field(field), method, path);
        }
    }

    /// Returns the method by which values and the nodes in them are redacted together; `None` if all are kept.
    /// Values that were empty before do not count.
    fn method_of_all(&self, values: &[u32]) -> Option<RedactionMethod> {
        let mut methods = Vec::new();
        for &value in values {
            let next = self.tree.held.table.node(value).map_or(value, |node| node.next);
            let mut at = value;
            while let Some(node) = self.tree.held.table.node(at).filter(|_| at < next) {
                let method = self.method(at);
                let is_final = method.is_some() || node.next == at + 1;
                if is_final && !self.was_empty(at) && !methods.contains(&method) {
                    methods.push(method);
                }
                at = if is_final { node.next } else { at + 1 };
            }
        }
        match methods.as_slice() {
            [] | [None] => None,
            [Some(RedactionMethod::Removal)] | [_, _, ..] => Some(RedactionMethod::PartialValue),
            [method] => *method,
        }
    }

    /// True if a value held only empty strings and empty arrays before redaction.
    fn was_empty(&self, at: u32) -> bool {
        let held = self.tree.held;
        let next = held.table.node(at).map_or(at, |node| node.next);
        let mut nodes = (at..next).filter_map(|at| held.table.node(at).map(|node| (at, node)));
        nodes.all(|(at, node)| node.next > at + 1 || matches!(held.text(node), b"\"\"" | b"[]"))
    }

    /// Returns the names of a property's fields. A telephone number with an extension has two.
    fn fields_of(&self, property: Option<CardProperty>, parts: &[u32]) -> Vec<&'static str> {
        match property {
            None => vec!["Property"],
            Some(CardProperty::Name) => vec!["Name"],
            Some(CardProperty::Address) => vec!["Address"],
            Some(CardProperty::Other(field)) => vec![field],
            Some(CardProperty::Phone) => {
                let names_fax = |at: &u32| {
                    let node = self.tree.held.table.node(*at);
                    node.is_some_and(|node| {
                        self.tree.held.text(node).windows(5).any(|word| word == b"\"fax\"")
                    })
                };
                let is_fax = parts.get(1).is_some_and(names_fax);
                let has_extension = parts
                    .get(3)
                    .is_some_and(|at| self.tree.string(*at).windows(5).any(|part| part == b";ext="));
                match (is_fax, has_extension) {
                    (false, false) => vec!["Phone"],
                    (false, true) => vec!["Phone", "Phone Ext"],
                    (true, false) => vec!["Fax"],
                    (true, true) => vec!["Fax", "Fax Ext"],
                }
            }
        }
    }

    /// Returns the path of a node: before redaction if the node is dropped, after it if not. `None` if the path
    /// would disclose a name that the mapping does not contain.
    fn path(&self, at: u32) -> Option<String> {
        self.path_in(at, self.method(at) == Some(RedactionMethod::Removal))
    }

    /// Returns the path of a node in the answer before redaction, or after it.
    fn path_in(&self, mut at: u32, before: bool) -> Option<String> {
        let mut steps = Vec::new();
        while at > 0 {
            let node = self.tree.held.table.node(at)?;
            let position = self.positions.get(at as usize).filter(|position| position.has_mapped_path)?;
            let filter = self.filters.get(&at).filter(|_| before);
            steps.push(match (self.tree.held.name(node).map(denoted), filter) {
                (Some(name), _) => member_step(std::str::from_utf8(&name).ok()?),
                (None, Some(filter)) => format!("[{filter}]"),
                (None, None) => format!("[{}]", if before { position.before } else { position.after }),
            });
            at = position.parent;
        }
        Some(steps.into_iter().rev().fold("$".to_owned(), |path, step| path + &step))
    }
}

/// Returns a member's step in a path: `.name`, or `['na me']` (RFC 9535, 2.5.1 and 2.7).
fn member_step(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    if plain {
        return format!(".{name}");
    }
    let escaped: String = name
        .chars()
        .map(|char| match char {
            '\'' | '\\' => format!("\\{char}"),
            _ if char.is_control() => format!("\\u{:04x}", u32::from(char)),
            _ => char.to_string(),
        })
        .collect();
    format!("['{escaped}']")
}
