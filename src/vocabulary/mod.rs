//! The vocabulary of a policy pack: purposes, data categories, recipient kinds, relations, forms, legal bases.
//!
//! Pure: the module knows trees of terms. It does not know rules, requests or files. Invariant: the terms of the
//! standard vocabulary have the same ids in every pack; the terms that a pack adds come after them.

mod alias;
pub mod date;
mod export;
mod id_time;
mod namespace;
pub mod region;
mod subject_id;
mod terms;
mod toml;
mod tree;
mod well_known;

use std::collections::HashMap;

pub use alias::{NotAPurpose, dpv_iri};
pub(crate) use id_time::time_of;
pub use namespace::{IdError, IdRule, MAX_ID_BYTES, Normalization, PatternError};
pub use region::{EEA, Regions};
pub use subject_id::{ActorId, DEFAULT_NAMESPACE, IdReader, Namespaces, SubjectId};
pub(crate) use terms::terms;
pub use terms::{Basis, BasisSet, Form, Operation, Origin, Safeguard};
pub use tree::{Term, TermId, Tree};
pub use well_known::WellKnown;

/// Hint for an unknown name that resembles no known one.
pub const VOCABULARY_HINT: &str =
    "`purposegate policy vocabulary --policy DIR --format text` lists what there is";

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $unknown:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) u16);

        impl $name {
            /// Returns the position in the list of its tree.
            pub fn index(self) -> usize {
                usize::from(self.0)
            }
        }

        impl TermId for $name {
            const UNKNOWN: &'static str = $unknown;

            fn from_position(position: u16) -> Self {
                $name(position)
            }

            fn position(self) -> u16 {
                self.0
            }
        }
    };
}

id!(
    /// Id of a purpose.
    PurposeId, "unknown-purpose"
);
id!(
    /// Id of a data category.
    CategoryId, "unknown-category"
);
id!(
    /// Id of a recipient kind.
    KindId, "unknown-kind"
);
id!(
    /// Id of a relation between a data subject and a recipient (`domain-registrant`, …).
    RelationId, "unknown-relation"
);

/// A name that rules can use for several terms of one tree, including the terms below them (`staff`,
/// `anonymous`). A group is not a term: no recipient has it as its kind, and no field is mapped to it.
#[derive(Clone, Debug)]
pub struct Group<I> {
    /// Name that rules use.
    pub name: String,
    /// The terms, including those below a listed one.
    pub members: Vec<I>,
}

impl<I: TermId> Group<I> {
    /// Returns a hint for a place that needs a term of the tree and names one of these groups.
    pub fn hint(groups: &[Group<I>], tree: &Tree<I>, name: &str, what: &str) -> Option<String> {
        let group = groups.iter().find(|group| group.name == name)?;
        let members: Vec<&str> = group.members.iter().map(|member| tree.name(*member)).collect();
        let members = members.join("`, `");
        Some(format!("`{name}` is a group for rules; this needs one {what}: `{members}`"))
    }
}

/// The vocabulary of one pack: the standard terms and those that the pack adds.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    purposes: Tree<PurposeId>,
    categories: Tree<CategoryId>,
    kinds: Tree<KindId>,
    relations: Tree<RelationId>,
    kind_groups: Vec<Group<KindId>>,
    category_groups: Vec<Group<CategoryId>>,
    aliases: HashMap<String, PurposeId>,
    traits: Traits,
    regions: Regions,
    well_known: WellKnown,
}

/// Legal properties of single terms, which the terms below inherit.
#[derive(Clone, Debug, Default)]
struct Traits {
    yields_only_to_upheld: Vec<PurposeId>,
    objection_also_covers: Vec<(PurposeId, PurposeId)>,
    optional: Vec<CategoryId>,
    agreement: HashMap<KindId, bool>,
    legal_reference_for: HashMap<KindId, PurposeId>,
    bound_only: Vec<RelationId>,
}

impl Vocabulary {
    /// Returns the purposes.
    pub fn purposes(&self) -> &Tree<PurposeId> {
        &self.purposes
    }

    /// Returns the data categories.
    pub fn categories(&self) -> &Tree<CategoryId> {
        &self.categories
    }

    /// Returns the recipient kinds.
    pub fn kinds(&self) -> &Tree<KindId> {
        &self.kinds
    }

    /// Returns the relations between data subjects and recipients.
    pub fn relations(&self) -> &Tree<RelationId> {
        &self.relations
    }

    /// Returns the ids of the terms that the program itself refers to.
    pub fn well_known(&self) -> WellKnown {
        self.well_known
    }

    /// Returns the regions that the pack defines.
    pub fn regions(&self) -> &Regions {
        &self.regions
    }

    /// Returns the groups of recipient kinds (`staff`).
    pub fn kind_groups(&self) -> &[Group<KindId>] {
        &self.kind_groups
    }

    /// Returns the groups of data categories (`anonymous`).
    pub fn category_groups(&self) -> &[Group<CategoryId>] {
        &self.category_groups
    }

    /// Returns the purposes marked `yields-only-to-upheld`, without those below them.
    pub fn purposes_upheld_only(&self) -> &[PurposeId] {
        &self.traits.yields_only_to_upheld
    }

    /// True if an objection to this purpose has effect only once it was upheld (`security`, `legal-claims`).
    pub fn yields_only_to_upheld(&self, purpose: PurposeId) -> bool {
        self.traits.yields_only_to_upheld.iter().any(|&at| self.purposes.within(purpose, at))
    }

    /// True if an objection to `objected` covers `purpose`: if `purpose` is within `objected`, or within a purpose
    /// that `objection-also-covers` lists for it (an objection to `marketing` covers `prospecting`).
    pub fn objection_covers(&self, objected: PurposeId, purpose: PurposeId) -> bool {
        self.purposes.within(purpose, objected)
            || self
                .traits
                .objection_also_covers
                .iter()
                .any(|&(at, also)| self.purposes.within(at, objected) && self.purposes.within(purpose, also))
    }

    /// True if a person can refuse the disclosure of this category alone.
    pub fn is_optional(&self, category: CategoryId) -> bool {
        self.traits.optional.iter().any(|&at| self.categories.within(category, at))
    }

    /// True if a category is `personal` or below it.
    pub fn is_personal(&self, category: CategoryId) -> bool {
        self.categories.within(category, self.well_known.personal)
    }

    /// True if a category is `service-data` or below it.
    pub fn is_service_data(&self, category: CategoryId) -> bool {
        self.categories.within(category, self.well_known.service_data)
    }

    /// True if data of a category belong to somebody: to a person, or to the customer who entrusted them.
    pub fn has_owner(&self, category: CategoryId) -> bool {
        self.governs_operations(category) || self.may_be_within(category, self.well_known.published)
    }

    /// True if operations other than `disclose` are evaluated for a category (P-0c): personal data and service
    /// data. Published data are not included: publication does not say who may change the data.
    pub fn governs_operations(&self, category: CategoryId) -> bool {
        let roots = [self.well_known.personal, self.well_known.service_data];
        roots.into_iter().any(|root| self.may_be_within(category, root))
    }

    /// True if a category is within a root, or if the vocabulary lacks the root: if it is not known whose the data are,
    /// they count as somebody's.
    fn may_be_within(&self, category: CategoryId, root: CategoryId) -> bool {
        let has_root = self.categories.within(root, root);
        !has_root || self.categories.within(category, root)
    }

    /// True if a recipient of this kind receives nothing without an agreement in force.
    pub fn needs_agreement(&self, kind: KindId) -> bool {
        let said = self.kinds.lineage(kind).find_map(|kind| self.traits.agreement.get(&kind).copied());
        said.unwrap_or(true)
    }

    /// True if recipients of this kind belong to the controller's own organisation: employees, contractors and the kinds
    /// below these.
    pub fn is_own_organisation(&self, kind: KindId) -> bool {
        [self.well_known.employee, self.well_known.contractor].iter().any(|&own| self.kinds.within(kind, own))
    }

    /// Returns the purpose for which a recipient of this kind must cite a registered case.
    pub fn legal_reference_for(&self, kind: KindId) -> Option<PurposeId> {
        self.kinds.lineage(kind).find_map(|kind| self.traits.legal_reference_for.get(&kind).copied())
    }

    /// True if a relation holds only for the recipient that it names (`integration-enabled`).
    pub fn is_bound_only(&self, relation: RelationId) -> bool {
        self.traits.bound_only.contains(&relation)
    }

    /// Returns a digest that is equal for two vocabularies if every id stands for the same term at the same place
    /// of its tree.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("purposegate 2026 v1 vocabulary");
        add_tree(&mut hasher, &self.purposes);
        add_tree(&mut hasher, &self.categories);
        add_tree(&mut hasher, &self.kinds);
        add_tree(&mut hasher, &self.relations);
        *hasher.finalize().as_bytes()
    }
}

fn add_tree<I: TermId>(hasher: &mut blake3::Hasher, tree: &Tree<I>) {
    hasher.update(&(tree.len() as u64).to_le_bytes());
    for (id, term) in tree.terms() {
        let parent = tree.parent(id).map_or(u32::MAX, |parent| u32::from(parent.position()));
        hasher.update(&parent.to_le_bytes()).update(term.id.as_bytes()).update(&[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purpose(vocabulary: &Vocabulary, name: &str) -> PurposeId {
        vocabulary.purposes().find(name).unwrap()
    }

    #[test]
    fn an_objection_to_marketing_covers_its_children_and_the_listed_purposes() {
        let words = Vocabulary::standard();
        let marketing = purpose(&words, "marketing");
        for covered in ["marketing", "product-news", "prospecting", "reseller-follow-up"] {
            assert!(words.objection_covers(marketing, purpose(&words, covered)), "{covered}");
        }
        assert!(!words.objection_covers(marketing, purpose(&words, "essential-notice")));
        assert!(!words.objection_covers(purpose(&words, "direct-marketing"), purpose(&words, "prospecting")));
    }

    #[test]
    fn only_employees_and_contractors_are_of_the_own_organisation() {
        let words = Vocabulary::standard();
        let own = words.kinds().ids().filter(|kind| words.is_own_organisation(*kind));
        let mut own: Vec<&str> = own.map(|kind| words.kinds().name(kind)).collect();
        own.sort_unstable();
        assert_eq!(own, ["contractor", "employee"]);
    }

    #[test]
    fn kinds_inherit_whether_they_need_an_agreement() {
        let words = Vocabulary::standard();
        let kind = |name: &str| words.kinds().find(name).unwrap();
        assert!(words.needs_agreement(kind("hosting-provider")));
        assert!(words.needs_agreement(kind("affiliate")));
        for exempt in [
            "employee",
            "contractor",
            "public-authority",
            "data-subject",
            "customer-administrator",
            "collaborator",
        ] {
            assert!(!words.needs_agreement(kind(exempt)), "{exempt}");
        }
        assert_eq!(words.legal_reference_for(kind("public-authority")), words.purposes().find("legal"));
        assert_eq!(words.legal_reference_for(kind("employee")), None);
        assert_eq!(words.kinds().find("staff"), None, "a group is not a kind");
        assert_eq!(words.kind_groups().first().unwrap().members.len(), 3);
    }

    #[test]
    fn category_groups_contain_data_about_nobody() {
        let words = Vocabulary::standard();
        let members = |name: &str| {
            let group = words.category_groups().iter().find(|group| group.name == name).unwrap();
            group.members.iter().map(|&member| words.categories().name(member)).collect::<Vec<_>>()
        };
        assert_eq!(members("anonymous"), ["de-identified", "aggregate", "non-personal"]);
        assert_eq!(
            members("public-or-anonymous"),
            ["published", "de-identified", "aggregate", "non-personal"]
        );
        assert_eq!(words.categories().find("anonymous"), None, "a group is not a category");
    }

    #[test]
    fn optional_categories_are_photo_profile_and_phone() {
        let words = Vocabulary::standard();
        let optional: Vec<&str> = words
            .categories()
            .ids()
            .filter(|&category| words.is_optional(category))
            .map(|category| words.categories().name(category))
            .collect();
        let expected = [
            "photo",
            "phone",
            "profile",
            "company",
            "job-title",
            "country",
            "language",
            "time-zone",
            "preferences",
            "social-profile",
        ];
        assert_eq!(optional, expected);
    }

    #[test]
    fn without_the_roots_every_category_counts_as_somebodys() {
        let mut vocabulary = Vocabulary::standard();
        let plain = vocabulary.categories().find("non-personal").unwrap();
        assert!(!vocabulary.governs_operations(plain) && !vocabulary.has_owner(plain));
        vocabulary.well_known.personal = CategoryId::from_position(u16::MAX);
        assert!(vocabulary.governs_operations(plain) && vocabulary.has_owner(plain));
    }
}
