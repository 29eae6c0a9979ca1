//! Reads vocabularies from TOML: the standard one, and the terms that a pack adds.

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
    /// Returns the standard vocabulary.
    pub fn standard() -> Vocabulary {
        Vocabulary::extended(None)
    }

    /// Reads the vocabulary of a pack: the standard terms, those that `[vocabulary]` adds, and the regions that
    /// `[regions]` defines. Findings are added to the pack's document.
    pub fn of_pack(root: &mut Fields<'_>) -> Vocabulary {
        let regions = Regions::read(root);
        Vocabulary { regions, ..Vocabulary::extended(root.fields("vocabulary", "`vocabulary`")) }
    }

    /// Reads the standard vocabulary and the terms of a pack's `[vocabulary]`. Findings are added to the pack's
    /// document.
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

/// A group, and the position of a term that belongs to it.
type GroupMembership = (At<String>, u16);

/// The trees while they are read. A parent precedes its children.
#[derive(Debug, Default)]
struct VocabularyDraft {
    purposes: TreeDraft,
    categories: TreeDraft,
    kinds: TreeDraft,
    relations: TreeDraft,
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

    /// Reports added categories that would make a group contain both personal data and data about nobody.
    /// Prohibitions make exceptions for groups of data about nobody. For a mixed group, the exception would apply
    /// to personal data as well.
    fn report_mixed_groups(&self, known: usize, document: &Document<'_>) {
        let is_personal =
            |at: u16| self.categories.is_below(at, PERSONAL) || self.categories.is_below(at, SERVICE_DATA);
        for (added, (name, at)) in self.category_groups.iter().enumerate().skip(known) {
            let mut earlier = self.category_groups.iter().take(added);
            let first = earlier.find(|(other, _)| other.value == name.value);
            if first.is_some_and(|&(_, first)| is_personal(first) != is_personal(*at)) {
                let message = format!("`{}` would contain personal data and data about nobody", name.value);
                let hint = "categories below `personal` or `service-data` are personal: give them a group of their own";
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
            well_known: WellKnown::resolve(&purposes, &categories, &kinds),
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

/// Returns the groups with their members, including the terms below them.
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
struct TreeDraft {
    terms: Vec<Term>,
}

impl TreeDraft {
    fn find(&self, id: &str) -> Option<u16> {
        self.terms.iter().position(|term| *term.id == *id).and_then(|position| u16::try_from(position).ok())
    }

    fn resolve(&self, id: &str, what: &str, document: &Document<'_>, at: Range<usize>) -> Option<u16> {
        let found = self.find(id);
        if found.is_none() {
            let finding = Finding::error("unknown-parent", format!("unknown {what} `{id}`"))
                .label("not in the vocabulary");
            let hint = suggestion(id, self.terms.iter().map(|term| &*term.id))
                .unwrap_or_else(|| "a parent must precede its children".to_owned());
            document.find(finding.hint(hint), at);
        }
        found
    }

    /// True if a term is the named one or below it.
    fn is_below(&self, at: u16, above: &str) -> bool {
        let term = |at: u16| self.terms.get(usize::from(at));
        std::iter::successors(term(at), |below| below.parent.and_then(term)).any(|term| *term.id == *above)
    }

    /// Reports groups that have the name of a term: a rule could not distinguish them.
    fn report_names_of_terms<'g>(
        &self,
        groups: impl Iterator<Item = &'g GroupMembership>,
        document: &Document<'_>,
    ) {
        for (name, _) in groups.filter(|(name, _)| self.find(&name.value).is_some()) {
            let finding =
                Finding::error("duplicate-term", format!("`{}` is both a term and a group", name.value));
            document.find(finding.hint("choose another name for the group"), name.at.clone());
        }
    }

    /// Reads one term, which must not have the name of a group. Mistakes are added to the findings of its
    /// document.
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
                Finding::error("duplicate-term", format!("`{}` is already in the vocabulary", id.value));
            document.find(finding.hint("a pack can add terms, but cannot change existing ones"), id.at);
            return None;
        }
        if groups.iter().any(|(group, _)| group.value == id.value) {
            let finding = Finding::error("duplicate-term", format!("`{}` is already a group", id.value));
            document.find(finding.hint("choose another name for the term"), id.at);
            return None;
        }
        if !is_well_formed(id.value) {
            let finding = Finding::error("bad-identifier", format!("`{}` is not an identifier", id.value));
            document.find(
                finding.hint("use lower-case letters, digits and hyphens, beginning with a letter"),
                id.at,
            );
            return None;
        }
        let position = u16::try_from(self.terms.len()).ok()?;
        self.terms.push(Term { id: Arc::from(id.value), title, description, dpv, fideslang, parent });
        Some(position)
    }
}

/// True if the text is a valid identifier. Identifiers occur in headers, metrics and rules, so they are tokens of
/// RFC 9651 in a reduced alphabet.
fn is_well_formed(id: &str) -> bool {
    id.starts_with(|first: char| first.is_ascii_lowercase())
        && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_vocabulary_has_no_findings() {
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
    fn a_pack_can_extend_groups_and_cannot_name_one_like_a_term() {
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
        assert_eq!(findings, ["`email` is both a term and a group"]);
    }

    #[test]
    fn groups_do_not_mix_personal_data_with_data_about_nobody() {
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
                "`anonymous` would contain personal data and data about nobody",
                "`rewards` would contain personal data and data about nobody",
                "`anonymous` is already a group",
            ]
        );
    }

    #[test]
    fn terms_of_a_pack_come_after_the_standard_ones() {
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
