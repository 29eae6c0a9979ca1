//! RFC 9537: an RDAP answer says which of its fields were redacted, and how.
//!
//! Refuses to decide anything. What nothing classifies goes without being mentioned, and no path holds
//! a name that the route does not mention.

use std::collections::{BTreeMap, HashSet};

use super::contacts::{Contacts, EMPTY, OfContact};
use super::filters::Filters;
use super::{Decision, Fate, Unit};
use crate::scrub::evaluate::denoted;
use crate::scrub::lex;
use crate::scrub::plan::UNCLASSIFIED;
use crate::scrub::rdap::{self, Contact, Entry, Method, Name, Property};
use crate::scrub::table::Node;
use crate::vocabulary::Form;

/// Most fields that are mentioned.
const MOST_ENTRIES: usize = 4096;

impl Unit<'_> {
    /// Adds what was redacted to the answer.
    pub(super) fn explain(&self, contacts: &Contacts, decision: &mut Decision) {
        if !decision.stays(0) || self.held.bytes.first() != Some(&b'{') {
            return;
        }
        for property in &contacts.properties {
            self.retype(property.node, decision);
        }
        let places = self.places(contacts, decision);
        let filters = self.filters(&places, decision);
        let explanation = Explanation {
            unit: self,
            decision,
            places: &places,
            filters: &filters,
            entries: Entries::default(),
        };
        let entries = explanation.entries(&contacts.properties);
        if !entries.is_empty() {
            self.announce(entries, decision);
        }
    }

    /// Where every node stands, once it is settled what goes.
    fn places(&self, contacts: &Contacts, decision: &Decision) -> Vec<Stands> {
        let plan = self.common.plan;
        let mut places = vec![Stands { sayable: true, ..Stands::default() }];
        places.resize(self.held.table.nodes.len(), Stands::default());
        // How many children a container had so far, and how many that are there afterwards.
        let mut counts = vec![(0, 0); places.len()];
        for (at, node) in (0..).zip(&self.held.table.nodes).skip(1) {
            let parent = contacts.parents.get(at as usize).copied().unwrap_or(0);
            let around = places.get(parent as usize).is_some_and(|place| place.sayable);
            let said = |name| {
                let name = denoted(name);
                plan.automaton.knows(&name, lex::hash(&name))
            };
            let sayable = around && self.held.name(node).is_none_or(said);
            let Some((before, after)) = counts.get_mut(parent as usize) else { continue };
            if let Some(place) = places.get_mut(at as usize) {
                *place = Stands { parent, before: *before, after: *after, sayable };
            }
            *before += 1;
            *after += u32::from(decision.fates.get(at as usize) != Some(&Fate::Goes));
        }
        places
    }

    /// Puts the entries in the objects that say them, and in the topmost one that there are any.
    fn announce(&self, entries: BTreeMap<u32, Vec<String>>, decision: &mut Decision) {
        let own = format!("\"{}\"", rdap::CONFORMANCE);
        let both = format!("\"{}\",{own}", rdap::BASE_CONFORMANCE);
        match self.member(0, b"rdapConformance") {
            Some((at, _)) if self.children(at).iter().any(|&said| self.says_redacted(said, decision)) => {}
            Some((at, node)) => self.extend(at, node, &own, &both, decision),
            None => decision.add(0, &format!("\"rdapConformance\":[{both}]")),
        }
        for (object, entries) in entries {
            let entries = entries.join(",");
            match self.member(object, b"redacted") {
                Some((at, node)) => self.extend(at, node, &entries, &entries, decision),
                None => decision.add(object, &format!("\"redacted\":[{entries}]")),
            }
        }
    }

    fn holds_results(&self, at: u32) -> bool {
        let name = self.held.table.node(at).and_then(|node| self.held.name(node));
        name.is_some_and(|name| rdap::is_list_of_results(&denoted(name)))
    }

    fn says_redacted(&self, at: u32, decision: &Decision) -> bool {
        decision.stays(at) && self.string(at) == rdap::CONFORMANCE.as_bytes()
    }

    /// Adds elements to an array if it stays; else puts an array in its place.
    fn extend(&self, at: u32, node: &Node, more: &str, all: &str, decision: &mut Decision) {
        if decision.stays(at) && node.next > at + 1 && self.held.text(node).starts_with(b"[") {
            decision.add(at, more);
        } else {
            decision.rewrite(at, format!("[{all}]"));
        }
    }
}

/// Where a node stands.
#[derive(Clone, Copy, Default)]
pub(super) struct Stands {
    parent: u32,
    /// Its elder siblings in the answer that was, and in the one that is.
    pub(super) before: u32,
    pub(super) after: u32,
    /// The route knows the names on the way to it.
    sayable: bool,
}

/// The entries, as JSON, by the objects that say them.
#[derive(Default)]
struct Entries {
    of: BTreeMap<u32, Vec<String>>,
    said: HashSet<String>,
    /// How many fields were mentioned, those with equal entries each by itself.
    fields: usize,
}

/// What there is to say about a decision.
struct Explanation<'a> {
    unit: &'a Unit<'a>,
    decision: &'a Decision,
    places: &'a [Stands],
    filters: &'a Filters,
    entries: Entries,
}

impl Explanation<'_> {
    fn entries(mut self, properties: &[OfContact]) -> BTreeMap<u32, Vec<String>> {
        let mut coming = properties.iter().peekable();
        let mut at = 0;
        while let Some(node) = self.unit.held.table.node(at) {
            if self.is_full() {
                break;
            }
            while coming.next_if(|property| property.node < at).is_some() {}
            if let Some(property) = coming.next_if(|property| property.node == at) {
                self.property(*property);
                at = node.next;
                continue;
            }
            let classified = self.is_classified(at);
            let method = self.method(at);
            at = match method {
                // What is in it may have a class of its own.
                Some(Method::Removal) if !classified => at + 1,
                Some(method) => {
                    if classified && self.is_sayable(at) {
                        self.add(at, self.name(at, node), method, self.path(at));
                    }
                    node.next
                }
                None => at + 1,
            };
        }
        self.entries.of
    }

    fn is_full(&self) -> bool {
        self.entries.fields >= MOST_ENTRIES
    }

    fn is_sayable(&self, at: u32) -> bool {
        self.places.get(at as usize).is_some_and(|place| place.sayable)
    }

    fn is_classified(&self, at: u32) -> bool {
        self.decision.classes.get(at as usize).is_some_and(|class| *class != UNCLASSIFIED)
    }

    /// What was done to a node; none if it stays.
    fn method(&self, at: u32) -> Option<Method> {
        match self.decision.fates.get(at as usize).copied().unwrap_or(Fate::Goes) {
            Fate::Stays => None,
            Fate::Goes => Some(Method::Removal),
            Fate::Changes(Form::Pseudonymised, _) => Some(Method::ReplacementValue),
            Fate::Changes(Form::Clear | Form::Masked | Form::Generalised | Form::Removed, _) => {
                Some(Method::PartialValue)
            }
            Fate::Rewritten if self.decision.text_of(at) == EMPTY => Some(Method::EmptyValue),
            Fate::Rewritten => Some(Method::PartialValue),
        }
    }

    /// Says something about a node, if it can be said where that was or is. Several elements that one
    /// filter selects have one entry.
    fn add(&mut self, at: u32, name: Name, method: Method, path: Option<String>) {
        let Some(path) = path.filter(|_| !self.is_full()) else { return };
        self.entries.fields += 1;
        let entry = Entry::new(name, method, path).json();
        if self.entries.said.insert(entry.clone()) {
            self.entries.of.entry(self.spokesman(at)).or_default().push(entry);
        }
    }

    /// Which object says what was done to a node: the search result that it is in (RFC 9537, 4.2), if
    /// that stays, or else the topmost.
    fn spokesman(&self, mut at: u32) -> u32 {
        loop {
            let list = self.parent(at);
            if list == 0 {
                return 0;
            }
            if self.parent(list) == 0 {
                let is_result = self.decision.stays(at)
                    && self.unit.begins(at) == Some(b'{')
                    && self.unit.begins(list) == Some(b'[')
                    && self.unit.holds_results(list);
                return if is_result { at } else { 0 };
            }
            at = list;
        }
    }

    fn parent(&self, at: u32) -> u32 {
        self.places.get(at as usize).map_or(0, |place| place.parent)
    }

    /// What a field outside of jCards is called.
    fn name(&self, at: u32, node: &Node) -> Name {
        let parent = self.parent(at);
        // One member of an object is a handle: its siblings are gone through once.
        let kind = if self.unit.is_named(node, b"handle") {
            self.unit.member(parent, b"objectClassName").map(|(kind, _)| self.unit.string(kind))
        } else {
            None
        };
        match kind.as_deref() {
            Some(b"domain") => rdap::domain_handle(),
            Some(b"entity") => self.unit.contact_of(parent).handle(),
            Some(_) | None => {
                let class = self.decision.classes.get(at as usize).copied().unwrap_or(UNCLASSIFIED);
                Name::Description(self.unit.common.plan.kind(class, None).category.to_owned())
            }
        }
    }

    /// A jCard's property.
    fn property(&mut self, of: OfContact) {
        if !self.is_sayable(of.node) {
            return;
        }
        let parts = self.unit.children(of.node);
        if self.method(of.node) == Some(Method::Removal) {
            if self.is_classified(of.node) {
                for field in self.fields(of.property, &parts) {
                    self.add(of.node, of.contact.field(field), Method::Removal, self.path(of.node));
                }
            }
            return;
        }
        let &[_, parameters, _, ref values @ ..] = parts.as_slice() else { return };
        if of.property == Some(Property::Address) {
            self.label(of.contact, parameters);
        }
        let mut fields = None;
        for &value in values {
            if self.is_full() {
                return;
            }
            let components = self.unit.children(value);
            if of.property == Some(Property::Address) && !components.is_empty() {
                self.address(of.contact, value, &components);
            } else if let Some(method) = self.method_of_all(&[value]) {
                for field in fields.get_or_insert_with(|| self.fields(of.property, &parts)).iter() {
                    self.add(value, of.contact.field(field), method, self.path(value));
                }
            }
        }
    }

    /// An address may stand in a parameter as a whole (RFC 6350, 6.3.1). Nothing tells whether that is what
    /// the components say as well, so it is mentioned beside them.
    fn label(&mut self, contact: Contact, parameters: u32) {
        let label = self.unit.member(parameters, b"label").map(|(label, _)| label);
        let Some(label) = label.filter(|label| self.unit.begins(*label) == Some(b'"')) else { return };
        let Some(method) = self.method(label) else { return };
        if !self.was_empty(label) && self.is_classified(label) {
            let path = self.path_in(parameters, method == Method::Removal).map(|path| path + ".label");
            self.add(label, contact.field("Address"), method, path);
        }
    }

    /// Street, city and the like, each by itself.
    fn address(&mut self, contact: Contact, value: u32, components: &[u32]) {
        for (places, field) in rdap::ADDRESS {
            let components = components.get(places.start..).unwrap_or_default();
            let components = components.get(..places.len()).unwrap_or(components);
            let Some(method) = self.method_of_all(components) else { continue };
            let selector = match (places.start, places.len()) {
                (place, 1) => format!("[{place}]"),
                _ => format!("[:{}]", places.end),
            };
            let path = self.path(value).map(|path| path + &selector);
            self.add(value, contact.field(field), method, path);
        }
    }

    /// What was done to values and to what is in them; none if that all stays. What was empty does not
    /// count.
    fn method_of_all(&self, values: &[u32]) -> Option<Method> {
        let mut methods = Vec::new();
        for &value in values {
            let next = self.unit.held.table.node(value).map_or(value, |node| node.next);
            let mut at = value;
            while let Some(node) = self.unit.held.table.node(at).filter(|_| at < next) {
                let method = self.method(at);
                let settled = method.is_some() || node.next == at + 1;
                if settled && !self.was_empty(at) && !methods.contains(&method) {
                    methods.push(method);
                }
                at = if settled { node.next } else { at + 1 };
            }
        }
        match methods.as_slice() {
            [] | [None] => None,
            [Some(Method::Removal)] | [_, _, ..] => Some(Method::PartialValue),
            [method] => *method,
        }
    }

    /// Whether there was nothing in a value but empty strings.
    fn was_empty(&self, at: u32) -> bool {
        let held = self.unit.held;
        let next = held.table.node(at).map_or(at, |node| node.next);
        let mut nodes = (at..next).filter_map(|at| held.table.node(at).map(|node| (at, node)));
        nodes.all(|(at, node)| node.next > at + 1 || matches!(held.text(node), b"\"\"" | b"[]"))
    }

    /// What a property's fields are called: a telephone number may have an extension.
    fn fields(&self, property: Option<Property>, parts: &[u32]) -> Vec<&'static str> {
        match property {
            None => vec!["Property"],
            Some(Property::Name) => vec!["Name"],
            Some(Property::Address) => vec!["Address"],
            Some(Property::Plain(field)) => vec![field],
            Some(Property::Phone) => {
                let of_fax = |at: &u32| {
                    let node = self.unit.held.table.node(*at);
                    node.is_some_and(|node| {
                        self.unit.held.text(node).windows(5).any(|word| word == b"\"fax\"")
                    })
                };
                let fax = parts.get(1).is_some_and(of_fax);
                let extended = parts
                    .get(3)
                    .is_some_and(|at| self.unit.string(*at).windows(5).any(|part| part == b";ext="));
                match (fax, extended) {
                    (false, false) => vec!["Phone"],
                    (false, true) => vec!["Phone", "Phone Ext"],
                    (true, false) => vec!["Fax"],
                    (true, true) => vec!["Fax", "Fax Ext"],
                }
            }
        }
    }

    /// The path of a node, before redaction if it goes and after it if not. None where that would
    /// tell a name that the route does not know.
    fn path(&self, at: u32) -> Option<String> {
        self.path_in(at, self.method(at) == Some(Method::Removal))
    }

    /// The path of a node in the answer that was, or in the one that is.
    fn path_in(&self, mut at: u32, before: bool) -> Option<String> {
        let mut steps = Vec::new();
        while at > 0 {
            let node = self.unit.held.table.node(at)?;
            let place = self.places.get(at as usize).filter(|place| place.sayable)?;
            let filter = self.filters.get(&at).filter(|_| before);
            steps.push(match (self.unit.held.name(node).map(denoted), filter) {
                (Some(name), _) => member_step(std::str::from_utf8(&name).ok()?),
                (None, Some(filter)) => format!("[{filter}]"),
                (None, None) => format!("[{}]", if before { place.before } else { place.after }),
            });
            at = place.parent;
        }
        Some(steps.into_iter().rev().fold("$".to_owned(), |path, step| path + &step))
    }
}

/// `.name`, or `['na me']` (RFC 9535, 2.5.1 and 2.7).
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
