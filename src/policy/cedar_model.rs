//! The Cedar model of a vocabulary: schema, entities and requests.
//!
//! `principal` is a recipient of some kind, `action` the purpose, `resource` the data category, `context` the
//! facts. Schema and entities are generated from the vocabulary, so a rule with any other name does not load. The
//! rules are not part of the model.

use std::collections::HashSet;
use std::fmt::Write as _;

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId, PolicySet, Request,
    Response, RestrictedExpression, Schema,
};

use super::facts::{Fact, Facts, RELATION};
use crate::vocabulary::{CategoryId, KindId, PurposeId, Vocabulary};

/// Schema and entities of one vocabulary, and the authorizer.
pub(super) struct CedarModel {
    pub(super) schema: Schema,
    pub(super) entities: Entities,
    authorizer: Authorizer,
    principals: Vec<EntityUid>,
    actions: Vec<EntityUid>,
    resources: Vec<EntityUid>,
    relations: Vec<String>,
}

impl std::fmt::Debug for CedarModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CedarModel").finish_non_exhaustive()
    }
}

impl CedarModel {
    /// Generates schema and entities of a vocabulary.
    ///
    /// # Errors
    /// Returns Cedar's message if Cedar rejects the generated schema or entities. That would be a bug in this
    /// program.
    pub(super) fn new(vocabulary: &Vocabulary) -> Result<CedarModel, String> {
        let (schema, _) =
            Schema::from_cedarschema_str(&schema(vocabulary)).map_err(|error| error.to_string())?;
        let types = EntityTypes::new()?;
        let kinds = vocabulary.kinds();
        let categories = vocabulary.categories();
        let mut entities = Vec::new();
        for kind in kinds.ids() {
            let own = types.kind(kinds.name(kind));
            let groups = vocabulary.kind_groups().iter().filter(|group| group.members.contains(&kind));
            let parents = groups.map(|group| types.kind(&group.name));
            let parents = parents.chain(kinds.parent(kind).map(|parent| types.kind(kinds.name(parent))));
            entities.push(Entity::new_no_attrs(own.clone(), parents.collect()));
            entities.push(Entity::new_no_attrs(types.recipient(kinds.name(kind)), HashSet::from([own])));
        }
        for category in categories.ids() {
            let groups = vocabulary.category_groups().iter();
            let groups = groups.filter(|group| group.members.contains(&category));
            let parents = groups.map(|group| types.category(&group.name));
            let parent = categories.parent(category).map(|parent| types.category(categories.name(parent)));
            entities.push(Entity::new_no_attrs(
                types.category(categories.name(category)),
                parents.chain(parent).collect(),
            ));
        }
        Ok(CedarModel {
            entities: Entities::from_entities(entities, Some(&schema)).map_err(|error| error.to_string())?,
            authorizer: Authorizer::new(),
            principals: kinds.ids().map(|kind| types.recipient(kinds.name(kind))).collect(),
            actions: vocabulary.purposes().terms().map(|(_, term)| types.action(&term.id)).collect(),
            resources: categories.terms().map(|(_, term)| types.category(&term.id)).collect(),
            relations: vocabulary.relations().terms().map(|(_, term)| term.id.to_string()).collect(),
            schema,
        })
    }

    /// Evaluates policies for one category that one kind requests for one purpose.
    ///
    /// Returns `None` for an id of another vocabulary; the caller must then withhold.
    pub(super) fn authorize(
        &self,
        policies: &PolicySet,
        (kind, purpose, category): (KindId, PurposeId, CategoryId),
        facts: Facts,
    ) -> Option<Response> {
        let principal = self.principals.get(kind.index())?.clone();
        let action = self.actions.get(purpose.index())?.clone();
        let resource = self.resources.get(category.index())?.clone();
        let request = Request::new(principal, action, resource, self.context(facts)?, None).ok()?;
        Some(self.authorizer.is_authorized(&request, policies, &self.entities))
    }

    fn context(&self, facts: Facts) -> Option<Context> {
        let expression = |fact: Fact| {
            if fact.is_flag() {
                RestrictedExpression::new_bool(facts.get(fact) == 1)
            } else {
                RestrictedExpression::new_string(facts.value_name(fact).to_owned())
            }
        };
        let relations =
            self.relations.iter().zip(Fact::all(self.relations.len()).filter(|fact| is_relation(*fact)));
        let relations = relations.map(|(name, fact)| (name.clone(), expression(fact)));
        let relation = RestrictedExpression::new_record(relations).ok()?;
        let single = Fact::all(0).map(|fact| (fact.name().to_owned(), expression(fact)));
        Context::from_pairs(single.chain([(RELATION.to_owned(), relation)])).ok()
    }
}

fn is_relation(fact: Fact) -> bool {
    matches!(fact, Fact::Relation(_))
}

/// Returns the Cedar policy id of a rule: its position.
pub(super) fn policy_id(position: usize) -> PolicyId {
    PolicyId::new(position.to_string())
}

/// Returns the position of the rule with this policy id.
pub(super) fn rule_position(id: &PolicyId) -> Option<usize> {
    AsRef::<str>::as_ref(id).parse().ok()
}

struct EntityTypes {
    recipient: EntityTypeName,
    kind: EntityTypeName,
    action: EntityTypeName,
    category: EntityTypeName,
}

impl EntityTypes {
    fn new() -> Result<EntityTypes, String> {
        let parse = |name: &str| name.parse().map_err(|error| format!("{error}"));
        Ok(EntityTypes {
            recipient: parse("Recipient")?,
            kind: parse("Kind")?,
            action: parse("Action")?,
            category: parse("Category")?,
        })
    }

    fn recipient(&self, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.recipient.clone(), EntityId::new(id))
    }

    fn kind(&self, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.kind.clone(), EntityId::new(id))
    }

    fn action(&self, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.action.clone(), EntityId::new(id))
    }

    fn category(&self, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.category.clone(), EntityId::new(id))
    }
}

/// Returns the schema in Cedar's syntax. The context is strict: an unknown fact or relation is rejected. Comments
/// list the values that a fact can have.
pub(super) fn schema(vocabulary: &Vocabulary) -> String {
    let mut text =
        String::from("entity Kind in [Kind];\nentity Recipient in [Kind];\nentity Category in [Category];\n");
    text.push_str("type Relations = {\n");
    for (_, term) in vocabulary.relations().terms() {
        let _ = writeln!(text, "  \"{}\": Bool,", term.id);
    }
    text.push_str("};\ntype Facts = {\n");
    for fact in Fact::all(0) {
        let _ = match fact.is_flag() {
            true => writeln!(text, "  {}: Bool,", fact.name()),
            false => writeln!(text, "  {}: String, // {}", fact.name(), fact.values().join(", ")),
        };
    }
    let _ = writeln!(text, "  {RELATION}: Relations,\n}};");
    let purposes = vocabulary.purposes();
    for (purpose, term) in purposes.terms() {
        let parent = purposes.parent(purpose).map(|parent| format!(" in [\"{}\"]", purposes.name(parent)));
        let _ = writeln!(
            text,
            "action \"{}\"{} appliesTo {{ principal: [Recipient], resource: [Category], context: Facts }};",
            term.id,
            parent.unwrap_or_default()
        );
    }
    text
}
