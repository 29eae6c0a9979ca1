//! The vocabulary as text: the standard one, and what a pack adds to it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::place::Regions;
use super::tree::Term;
use super::{CategoryId, Group, KindId, PurposeId, RelationId, TermId, Traits, Tree, Vocabulary};
use crate::document::{At, Document, Fields};
use crate::finding::{Finding, Source, suggestion};

const STANDARD: &str = include_str!("standard.toml");

impl Vocabulary {
    /// The standard vocabulary, and nothing else.
    pub fn standard() -> Vocabulary {
        Vocabulary::extended(None)
    }

    /// The words of a pack: the standard vocabulary, what `[vocabulary]` adds to it, and the regions that
    /// `[regions]` names. Findings go to the pack's document.
    pub fn of_pack(root: &mut Fields<'_>) -> Vocabulary {
        let regions = Regions::read(root);
        Vocabulary { regions, ..Vocabulary::extended(root.fields("vocabulary", "`vocabulary`")) }
    }

    /// The standard vocabulary and what a pack's `[vocabulary]` adds. Findings go to the pack's document.
    fn extended(addition: Option<Fields<'_>>) -> Vocabulary {
        let source = Source::new("standard.toml", STANDARD);
        let document = Document::parse(&source);
        let mut draft = Draft::default();
        draft.read(document.root("the standard vocabulary"));
        if let Some(addition) = addition {
            draft.read(addition);
        }
        draft.finish()
    }
}

/// The trees while they are read: a parent stands before its children.
#[derive(Debug, Default)]
struct Draft {
    purposes: List,
    categories: List,
    kinds: List,
    relations: List,
    groups: Vec<(String, u16)>,
    upheld_only: Vec<u16>,
    also_covers: Vec<(u16, u16)>,
    optional: Vec<u16>,
    agreement: HashMap<u16, bool>,
    legal_reference_for: HashMap<u16, u16>,
    bound_only: Vec<u16>,
}

impl Draft {
    fn read(&mut self, mut root: Fields<'_>) {
        let mut covers: Vec<(u16, String, Range<usize>)> = Vec::new();
        let document = root.document();
        for mut fields in root.tables("purposes", "a purpose") {
            let upheld = fields.flag("yields-only-to-upheld") == Some(true);
            let also = fields.texts("objection-also-covers");
            let Some(at) = self.purposes.read(fields) else { continue };
            self.upheld_only.extend(upheld.then_some(at));
            covers.extend(also.into_iter().map(|name| (at, name.value.to_owned(), name.at)));
        }
        for (at, name, place) in covers {
            let also = self.purposes.known(&name, "purpose", document, place);
            self.also_covers.extend(also.map(|also| (at, also)));
        }
        for mut fields in root.tables("categories", "a data category") {
            let optional = fields.flag("optional") == Some(true);
            let Some(at) = self.categories.read(fields) else { continue };
            self.optional.extend(optional.then_some(at));
        }
        for mut fields in root.tables("kinds", "a recipient kind") {
            let agreement = fields.flag("needs-agreement");
            let group = fields.text("group").map(|group| group.value.to_owned());
            let reference = fields.text("legal-reference-for");
            let Some(at) = self.kinds.read(fields) else { continue };
            self.agreement.extend(agreement.map(|agreement| (at, agreement)));
            self.groups.extend(group.map(|group| (group, at)));
            let purpose =
                reference.and_then(|name| self.purposes.known(name.value, "purpose", document, name.at));
            self.legal_reference_for.extend(purpose.map(|purpose| (at, purpose)));
        }
        for mut fields in root.tables("relations", "a relation") {
            let bound = fields.flag("bound-only") == Some(true);
            let Some(at) = self.relations.read(fields) else { continue };
            self.bound_only.extend(bound.then_some(at));
        }
        root.end();
    }

    fn finish(self) -> Vocabulary {
        let traits = Traits {
            yields_only_to_upheld: ids(self.upheld_only),
            objection_also_covers: self
                .also_covers
                .into_iter()
                .map(|(at, also)| (PurposeId(at), PurposeId(also)))
                .collect(),
            optional: ids(self.optional),
            agreement: self.agreement.into_iter().map(|(at, needs)| (KindId(at), needs)).collect(),
            legal_reference_for: self
                .legal_reference_for
                .into_iter()
                .map(|(kind, purpose)| (KindId(kind), PurposeId(purpose)))
                .collect(),
            bound_only: ids(self.bound_only),
        };
        let kinds: Tree<KindId> = Tree::new(self.kinds.terms);
        let groups = groups(self.groups, &kinds);
        let purposes: Tree<PurposeId> = Tree::new(self.purposes.terms);
        let aliases = purposes
            .terms()
            .flat_map(|(id, term)| {
                term.dpv.iter().chain(&term.fideslang).map(move |alias| (alias.clone(), id))
            })
            .collect();
        let categories: Tree<CategoryId> = Tree::new(self.categories.terms);
        let relations: Tree<RelationId> = Tree::new(self.relations.terms);
        Vocabulary {
            purposes,
            categories,
            kinds,
            relations,
            groups,
            aliases,
            traits,
            regions: Regions::default(),
        }
    }
}

fn ids<I: TermId>(positions: Vec<u16>) -> Vec<I> {
    positions.into_iter().map(I::from_position).collect()
}

/// A group holds the kinds that name it, with their children.
fn groups(named: Vec<(String, u16)>, kinds: &Tree<KindId>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (name, at) in named {
        let members = kinds.ids().filter(|&kind| kinds.within(kind, KindId(at)));
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.kinds.extend(members),
            None => groups.push(Group { name, kinds: members.collect() }),
        }
    }
    groups
}

/// The terms of one tree while they are read.
#[derive(Debug, Default)]
struct List {
    terms: Vec<Term>,
}

impl List {
    fn find(&self, id: &str) -> Option<u16> {
        self.terms.iter().position(|term| *term.id == *id).and_then(|position| u16::try_from(position).ok())
    }

    fn known(&self, id: &str, what: &str, document: &Document<'_>, at: Range<usize>) -> Option<u16> {
        let found = self.find(id);
        if found.is_none() {
            let finding = Finding::error("unknown-parent", format!("unknown {what} `{id}`"))
                .label("not in the vocabulary");
            let hint = suggestion(id, self.terms.iter().map(|term| &*term.id))
                .unwrap_or_else(|| "a parent has to stand before its children".to_owned());
            document.find(finding.hint(hint), at);
        }
        found
    }

    /// Reads one term; what is wrong with it is a finding of its document.
    fn read(&mut self, mut fields: Fields<'_>) -> Option<u16> {
        let document = fields.document();
        let id = fields.needed_text("id");
        let title = fields.needed_text("title");
        let description = fields.needed_text("description");
        let parent = fields.text("parent");
        let owned = |text: Option<At<&str>>| text.map(|text| text.value.to_owned());
        let dpv = owned(fields.text("dpv"));
        let fideslang = owned(fields.text("fideslang"));
        fields.end();
        let (id, title, description) = (id?, owned(title)?, owned(description)?);
        let parent = match parent {
            Some(name) => Some(self.known(name.value, "parent", document, name.at)?),
            None => None,
        };
        if self.find(id.value).is_some() {
            let finding =
                Finding::error("duplicate-term", format!("`{}` is in the vocabulary already", id.value));
            document.find(finding.hint("a pack adds terms and changes none"), id.at);
            return None;
        }
        if !well_formed(id.value) {
            let finding = Finding::error("bad-identifier", format!("`{}` is no identifier", id.value));
            document.find(finding.hint("small letters, digits and hyphens, beginning with a letter"), id.at);
            return None;
        }
        let position = u16::try_from(self.terms.len()).ok()?;
        self.terms.push(Term { id: Arc::from(id.value), title, description, dpv, fideslang, parent });
        Some(position)
    }
}

/// Identifiers go into headers, metrics and rules: an RFC 9651 token without surprises.
fn well_formed(id: &str) -> bool {
    id.starts_with(|first: char| first.is_ascii_lowercase())
        && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_vocabulary_reads_without_a_finding() {
        let source = Source::new("standard.toml", STANDARD);
        let document = Document::parse(&source);
        let mut draft = Draft::default();
        draft.read(document.root("the standard vocabulary"));
        let words = draft.finish();
        let findings: Vec<String> = document.into_findings().iter().map(ToString::to_string).collect();
        assert_eq!(findings, Vec::<String>::new());
        assert_eq!(
            (words.purposes.len(), words.categories.len(), words.kinds.len(), words.relations.len()),
            (63, 59, 24, 7)
        );
    }

    #[test]
    fn a_pack_adds_terms_after_the_standard_ones() {
        let text = "[vocabulary]\n[[vocabulary.purposes]]\nid = \"sms-marketing\"\nparent = \"direct-marketing\"\n\
                    title = \"t\"\ndescription = \"d\"\n[[vocabulary.categories]]\nid = \"email\"\ntitle = \"t\"\n\
                    description = \"d\"\n[[vocabulary.kinds]]\nid = \"x\"\nparent = \"hosting-provder\"\ntitle = \"t\"\ndescription = \"d\"\n";
        let source = Source::new("pack.toml", text);
        let document = Document::parse(&source);
        let mut root = document.root("a pack");
        let words = Vocabulary::of_pack(&mut root);
        root.end();
        let sms = words.purposes().find("sms-marketing").unwrap();
        assert!(words.purposes().within(sms, words.purposes().find("marketing").unwrap()));
        let standard = Vocabulary::standard();
        for id in standard.purposes().ids() {
            assert_eq!(standard.purposes().name(id), words.purposes().name(id));
        }
        let findings: Vec<String> = document.into_findings().iter().map(ToString::to_string).collect();
        assert_eq!(findings.len(), 2, "{findings:?}");
    }
}
