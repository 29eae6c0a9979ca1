//! The vocabulary as text: the standard one, and what a pack adds to it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::region::Regions;
use super::tree::Term;
use super::well_known::{PERSONAL, SERVICE_DATA, WellKnown};
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
        let mut draft = VocabularyDraft::default();
        draft.read(document.root("the standard vocabulary"));
        if let Some(addition) = addition {
            draft.read(addition);
        }
        draft.finish()
    }
}

/// A group that a term belongs to, with the term's position.
type GroupMembership = (At<String>, u16);

/// The trees while they are read: a parent stands before its children.
#[derive(Debug, Default)]
struct VocabularyDraft {
    purposes: TermList,
    categories: TermList,
    kinds: TermList,
    relations: TermList,
    kind_groups: Vec<GroupMembership>,
    category_groups: Vec<GroupMembership>,
    upheld_only: Vec<u16>,
    also_covers: Vec<(u16, u16)>,
    optional: Vec<u16>,
    agreement: HashMap<u16, bool>,
    legal_reference_for: HashMap<u16, u16>,
    bound_only: Vec<u16>,
}

impl VocabularyDraft {
    fn read(&mut self, mut root: Fields<'_>) {
        let mut covers: Vec<(u16, String, Range<usize>)> = Vec::new();
        let document = root.document();
        let (known_kinds, known_categories) = (self.kind_groups.len(), self.category_groups.len());
        for mut fields in root.tables("purposes", "a purpose") {
            let upheld = fields.flag("yields-only-to-upheld") == Some(true);
            let also = fields.texts("objection-also-covers");
            let Some(at) = self.purposes.read(fields, &[]) else { continue };
            self.upheld_only.extend(upheld.then_some(at));
            covers.extend(also.into_iter().map(|name| (at, name.value.to_owned(), name.at)));
        }
        for (at, name, place) in covers {
            let also = self.purposes.resolve(&name, "purpose", document, place);
            self.also_covers.extend(also.map(|also| (at, also)));
        }
        for mut fields in root.tables("categories", "a data category") {
            let optional = fields.flag("optional") == Some(true);
            let groups = fields.texts("group");
            let Some(at) = self.categories.read(fields, &self.category_groups) else { continue };
            self.category_groups.extend(memberships(groups, at));
            self.optional.extend(optional.then_some(at));
        }
        for mut fields in root.tables("kinds", "a recipient kind") {
            let agreement = fields.flag("needs-agreement");
            let groups = fields.texts("group");
            let reference = fields.text("legal-reference-for");
            let Some(at) = self.kinds.read(fields, &self.kind_groups) else { continue };
            self.agreement.extend(agreement.map(|agreement| (at, agreement)));
            self.kind_groups.extend(memberships(groups, at));
            let purpose =
                reference.and_then(|name| self.purposes.resolve(name.value, "purpose", document, name.at));
            self.legal_reference_for.extend(purpose.map(|purpose| (at, purpose)));
        }
        for mut fields in root.tables("relations", "a relation") {
            let bound = fields.flag("bound-only") == Some(true);
            let Some(at) = self.relations.read(fields, &[]) else { continue };
            self.bound_only.extend(bound.then_some(at));
        }
        self.kinds.report_names_of_terms(self.kind_groups.iter().skip(known_kinds), document);
        self.categories.report_names_of_terms(self.category_groups.iter().skip(known_categories), document);
        self.report_mixed_groups(known_categories, document);
        root.end();
    }

    /// Reports added categories that make a group hold personal data beside data of nobody: prohibitions
    /// except such groups, and would then except personal data too.
    fn report_mixed_groups(&self, known: usize, document: &Document<'_>) {
        let is_personal =
            |at: u16| self.categories.is_below(at, PERSONAL) || self.categories.is_below(at, SERVICE_DATA);
        for (added, (name, at)) in self.category_groups.iter().enumerate().skip(known) {
            let mut earlier = self.category_groups.iter().take(added);
            let first = earlier.find(|(other, _)| other.value == name.value);
            if first.is_some_and(|&(_, first)| is_personal(first) != is_personal(*at)) {
                let message = format!("`{}` would hold personal data and data of nobody", name.value);
                let hint =
                    "personal is what stands below `personal` or `service-data`: give it a group of its own";
                document.find(Finding::error("mixed-group", message).hint(hint), name.at.clone());
            }
        }
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
        let kind_groups = groups(self.kind_groups, &kinds);
        let purposes: Tree<PurposeId> = Tree::new(self.purposes.terms);
        let aliases = purposes
            .terms()
            .flat_map(|(id, term)| {
                term.dpv.iter().chain(&term.fideslang).map(move |alias| (alias.clone(), id))
            })
            .collect();
        let categories: Tree<CategoryId> = Tree::new(self.categories.terms);
        let category_groups = groups(self.category_groups, &categories);
        let relations: Tree<RelationId> = Tree::new(self.relations.terms);
        Vocabulary {
            well_known: WellKnown::resolve(&purposes, &categories),
            purposes,
            categories,
            kinds,
            relations,
            kind_groups,
            category_groups,
            aliases,
            traits,
            regions: Regions::default(),
        }
    }
}

fn ids<I: TermId>(positions: Vec<u16>) -> Vec<I> {
    positions.into_iter().map(I::from_position).collect()
}

fn memberships(groups: Vec<At<&str>>, term: u16) -> impl Iterator<Item = GroupMembership> {
    groups.into_iter().map(move |name| (At { value: name.value.to_owned(), at: name.at }, term))
}

/// Returns the groups with the terms that name them and what is below those.
fn groups<I: TermId>(named: Vec<GroupMembership>, tree: &Tree<I>) -> Vec<Group<I>> {
    let mut groups: Vec<Group<I>> = Vec::new();
    for (name, at) in named {
        let members = tree.ids().filter(|&id| tree.within(id, I::from_position(at)));
        match groups.iter_mut().find(|group| group.name == name.value) {
            Some(group) => group.members.extend(members),
            None => groups.push(Group { name: name.value, members: members.collect() }),
        }
    }
    groups
}

/// The terms of one tree while they are read.
#[derive(Debug, Default)]
struct TermList {
    terms: Vec<Term>,
}

impl TermList {
    fn find(&self, id: &str) -> Option<u16> {
        self.terms.iter().position(|term| *term.id == *id).and_then(|position| u16::try_from(position).ok())
    }

    fn resolve(&self, id: &str, what: &str, document: &Document<'_>, at: Range<usize>) -> Option<u16> {
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

    /// True if a term is the named one or stands below it.
    fn is_below(&self, at: u16, above: &str) -> bool {
        let term = |at: u16| self.terms.get(usize::from(at));
        std::iter::successors(term(at), |below| below.parent.and_then(term)).any(|term| *term.id == *above)
    }

    /// Reports groups that are named like a term: a rule could not tell them apart.
    fn report_names_of_terms<'g>(
        &self,
        groups: impl Iterator<Item = &'g GroupMembership>,
        document: &Document<'_>,
    ) {
        for (name, _) in groups.filter(|(name, _)| self.find(&name.value).is_some()) {
            let finding = Finding::error("duplicate-term", format!("`{}` is a term and a group", name.value));
            document.find(finding.hint("a group has a name of its own"), name.at.clone());
        }
    }

    /// Reads one term, which is named like none of the groups; what is wrong with it is a finding of its document.
    fn read(&mut self, mut fields: Fields<'_>, groups: &[GroupMembership]) -> Option<u16> {
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
            Some(name) => Some(self.resolve(name.value, "parent", document, name.at)?),
            None => None,
        };
        if self.find(id.value).is_some() {
            let finding =
                Finding::error("duplicate-term", format!("`{}` is in the vocabulary already", id.value));
            document.find(finding.hint("a pack adds terms and changes none"), id.at);
            return None;
        }
        if groups.iter().any(|(group, _)| group.value == id.value) {
            let finding = Finding::error("duplicate-term", format!("`{}` is a group already", id.value));
            document.find(finding.hint("give the term a name of its own"), id.at);
            return None;
        }
        if !is_well_formed(id.value) {
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
fn is_well_formed(id: &str) -> bool {
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
        let mut draft = VocabularyDraft::default();
        draft.read(document.root("the standard vocabulary"));
        let words = draft.finish();
        let findings: Vec<String> = document.into_findings().iter().map(ToString::to_string).collect();
        assert_eq!(findings, Vec::<String>::new());
        assert_eq!(
            (words.purposes.len(), words.categories.len(), words.kinds.len(), words.relations.len()),
            (63, 60, 24, 7)
        );
    }

    #[test]
    fn a_pack_adds_to_groups_and_names_none_like_a_term() {
        let text = "[vocabulary]\n[[vocabulary.categories]]\nid = \"survey-figure\"\ntitle = \"t\"\ndescription = \"d\"\n\
                    group = [\"anonymous\", \"figures\"]\n[[vocabulary.categories]]\nid = \"other\"\ntitle = \"t\"\n\
                    description = \"d\"\ngroup = \"email\"\n";
        let source = Source::new("pack.toml", text);
        let document = Document::parse(&source);
        let mut root = document.root("a pack");
        let words = Vocabulary::of_pack(&mut root);
        root.end();
        let own = words.categories().find("survey-figure").unwrap();
        for name in ["anonymous", "figures"] {
            let group = words.category_groups().iter().find(|group| group.name == name).unwrap();
            assert!(group.members.contains(&own), "{name}");
        }
        let findings: Vec<String> = document.into_findings().iter().map(ToString::to_string).collect();
        assert_eq!(findings, ["`email` is a term and a group"]);
    }

    #[test]
    fn personal_data_join_no_group_of_data_of_nobody() {
        let category = |id: &str, parent: &str, group: &str| {
            format!(
                "[[vocabulary.categories]]\nid = \"{id}\"\n{parent}title = \"t\"\ndescription = \"d\"\ngroup = \"{group}\"\n"
            )
        };
        let (profile, data) = ("parent = \"profile\"\n", "parent = \"service-data\"\n");
        let text = [
            "[vocabulary]\n".to_owned(),
            category("loyalty", profile, "anonymous"),
            category("tier", profile, "rewards"),
            category("points", data, "rewards"),
            category("shop-figure", "", "rewards"),
            category("counted", "parent = \"aggregate\"\n", "public-or-anonymous"),
            category("anonymous", "", "mine"),
        ];
        let source = Source::new("pack.toml", text.concat());
        let document = Document::parse(&source);
        let mut root = document.root("a pack");
        Vocabulary::of_pack(&mut root);
        root.end();
        let findings: Vec<String> = document.into_findings().iter().map(ToString::to_string).collect();
        assert_eq!(
            findings,
            [
                "`anonymous` would hold personal data and data of nobody",
                "`rewards` would hold personal data and data of nobody",
                "`anonymous` is a group already",
            ]
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
