//! RFC 9537: an RDAP answer says which of its fields were redacted, and how.
//!
//! Refuses to decide anything. What nothing classifies goes without being mentioned, and no path holds
//! a name that the route does not mention.

use super::contacts::{Contacts, EMPTY, OfContact};
use super::{Decision, Fate, Unit};
use crate::scrub::evaluate::denoted;
use crate::scrub::lex;
use crate::scrub::mapping::RemovedAs;
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
        let entries = Explanation { unit: self, decision, places: &places }.entries(&contacts.properties);
        if !entries.is_empty() {
            self.announce(&entries, decision);
        }
    }

    /// Where every node stands, once it is settled what goes.
    fn places(&self, contacts: &Contacts, decision: &Decision) -> Vec<Stands> {
        let plan = self.common.plan;
        let omits = plan.removed_as == RemovedAs::Omit;
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
            *after += u32::from(!omits || decision.fates.get(at as usize) != Some(&Fate::Goes));
        }
        places
    }

    /// Puts the entries, and that there are any, where the RFC has them.
    fn announce(&self, entries: &[Entry], decision: &mut Decision) {
        let entries = entries.iter().map(Entry::json).collect::<Vec<_>>().join(",");
        let own = format!("\"{}\"", rdap::CONFORMANCE);
        let both = format!("\"{}\",{own}", rdap::BASE_CONFORMANCE);
        let mut members = Vec::new();
        match self.member(0, b"rdapConformance") {
            Some((at, _)) if self.children(at).iter().any(|&said| self.says_redacted(said, decision)) => {}
            Some((at, node)) => self.extend(at, node, &own, &both, decision),
            None => members.push(format!("\"rdapConformance\":[{both}]")),
        }
        match self.member(0, b"redacted") {
            Some((at, node)) => self.extend(at, node, &entries, &entries, decision),
            None => members.push(format!("\"redacted\":[{entries}]")),
        }
        if !members.is_empty() {
            decision.additions.push((0, members.join(",")));
        }
    }

    fn says_redacted(&self, at: u32, decision: &Decision) -> bool {
        decision.stays(at) && self.string(at) == rdap::CONFORMANCE.as_bytes()
    }

    /// Adds elements to an array if it stays; else puts an array in its place.
    fn extend(&self, at: u32, node: &Node, more: &str, all: &str, decision: &mut Decision) {
        if decision.stays(at) && node.next > at + 1 && self.held.text(node).starts_with(b"[") {
            decision.additions.push((at, more.to_owned()));
        } else {
            decision.rewrite(at, format!("[{all}]"));
        }
    }
}

/// Where a node stands.
#[derive(Clone, Copy, Default)]
struct Stands {
    parent: u32,
    /// Its elder siblings in the answer that was, and in the one that is.
    before: u32,
    after: u32,
    /// The route knows the names on the way to it.
    sayable: bool,
}

/// What there is to say about a decision.
struct Explanation<'a> {
    unit: &'a Unit<'a>,
    decision: &'a Decision,
    places: &'a [Stands],
}

impl Explanation<'_> {
    fn entries(&self, properties: &[OfContact]) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut coming = properties.iter().peekable();
        let mut at = 0;
        while let Some(node) = self.unit.held.table.node(at) {
            if entries.len() >= MOST_ENTRIES {
                break;
            }
            while coming.next_if(|property| property.node < at).is_some() {}
            if let Some(property) = coming.next_if(|property| property.node == at) {
                self.property(*property, &mut entries);
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
                        self.add(self.name(at, node), method, self.path(at), &mut entries);
                    }
                    node.next
                }
                None => at + 1,
            };
        }
        entries
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

    fn add(&self, name: Name, method: Method, path: Option<String>, entries: &mut Vec<Entry>) {
        entries.extend(path.map(|path| Entry::new(name, method, path)));
    }

    /// What a field outside of jCards is called.
    fn name(&self, at: u32, node: &Node) -> Name {
        let parent = self.places.get(at as usize).map_or(0, |place| place.parent);
        // One member of an object is a handle: its siblings are gone through once.
        let kind = if self.unit.is_named(node, b"handle") {
            self.unit.member(parent, b"objectClassName").map(|(kind, _)| self.unit.string(kind))
        } else {
            None
        };
        match kind.as_deref() {
            Some(b"domain") => rdap::domain_handle(),
            Some(b"entity") => {
                let roles = self.unit.member(parent, b"roles").map(|(roles, _)| self.unit.children(roles));
                let contacts = roles.unwrap_or_default().into_iter();
                let mut contacts = contacts.map(|role| Contact::of_role(&self.unit.string(role)));
                contacts.find(|contact| *contact != Contact::Other).unwrap_or_default().handle()
            }
            Some(_) | None => {
                let class = self.decision.classes.get(at as usize).copied().unwrap_or(UNCLASSIFIED);
                Name::Description(self.unit.common.plan.kind(class, None).category.to_owned())
            }
        }
    }

    /// A jCard's property.
    fn property(&self, of: OfContact, entries: &mut Vec<Entry>) {
        if !self.is_sayable(of.node) {
            return;
        }
        let parts = self.unit.children(of.node);
        let values = parts.get(3..).unwrap_or_default();
        if self.method(of.node) == Some(Method::Removal) {
            if self.is_classified(of.node) {
                for field in self.fields(of.property, &parts) {
                    self.add(of.contact.field(field), Method::Removal, self.path(of.node), entries);
                }
            }
            return;
        }
        let mut fields = None;
        for &value in values {
            if entries.len() >= MOST_ENTRIES {
                return;
            }
            let components = self.unit.children(value);
            if of.property == Some(Property::Address) && !components.is_empty() {
                self.address(of.contact, value, &components, entries);
                continue;
            }
            let changed = |at: &u32| self.method(*at).filter(|_| !self.was_empty(*at));
            let method = changed(&value).or_else(|| components.iter().find_map(changed));
            if let Some(method) = method {
                for field in fields.get_or_insert_with(|| self.fields(of.property, &parts)) {
                    self.add(of.contact.field(field), method, self.path(value), entries);
                }
            }
        }
    }

    /// Street, city and the like, each by itself.
    fn address(&self, contact: Contact, value: u32, components: &[u32], entries: &mut Vec<Entry>) {
        let mut last = None;
        for (place, &component) in components.iter().enumerate() {
            let method = self.method(component).filter(|_| !self.was_empty(component));
            let (Some(method), Some(field)) = (method, rdap::address_component(place)) else { continue };
            if last == Some(field) {
                continue;
            }
            last = Some(field);
            // The three components of a street are one field.
            let selector = if place < 3 { "[:3]".to_owned() } else { format!("[{place}]") };
            let path = self.path(value).map(|path| path + &selector);
            self.add(contact.field(field), method, path, entries);
        }
    }

    fn was_empty(&self, at: u32) -> bool {
        let text = self.unit.held.table.node(at).map(|node| self.unit.held.text(node));
        text.is_some_and(|text| text == EMPTY.as_bytes())
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
        let before = self.method(at) == Some(Method::Removal);
        let mut steps = Vec::new();
        let mut at = at;
        while at > 0 {
            let node = self.unit.held.table.node(at)?;
            let place = self.places.get(at as usize).filter(|place| place.sayable)?;
            steps.push(match self.unit.held.name(node).map(denoted) {
                Some(name) => member_step(std::str::from_utf8(&name).ok()?),
                None => format!("[{}]", if before { place.before } else { place.after }),
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
