//! Mutation operators: the single changes of a rule in Cedar's JSON form.
//!
//! The module knows the shape of policies and the trees of the vocabulary. It does not know the effect of a
//! change.

use serde_json::{Value, json};

use super::super::draft::text_of_expression;
use super::super::expression::operands;
use crate::vocabulary::{TermId, Tree, Vocabulary};

/// Maximum number of characters of a condition that a description quotes.
const MAX_QUOTED: usize = 100;

/// One change of a rule.
#[derive(Clone, Debug)]
pub(super) struct RuleMutation {
    /// The changed rule; `None` if it is deleted.
    pub(super) policy: Option<Value>,
    /// Description of the change.
    pub(super) description: String,
    /// The text that is deleted or replaced, by which the line of the change is found.
    pub(super) quoted: Option<String>,
}

/// Returns every single change of one rule.
pub(super) fn mutations(policy: &Value, vocabulary: &Vocabulary) -> Vec<RuleMutation> {
    let mut all =
        vec![RuleMutation { policy: None, description: "delete the rule".to_owned(), quoted: None }];
    all.extend(scopes(policy, vocabulary));
    all.extend(conditions(policy));
    all
}

/// Changes the scope: removes one item of a list, or replaces a term by its parent.
fn scopes(policy: &Value, vocabulary: &Vocabulary) -> Vec<RuleMutation> {
    let mut all = Vec::new();
    for variable in ["principal", "action", "resource"] {
        let Some(scope) = policy.get(variable) else { continue };
        let mut change = |scope: Value, description: String, quoted: String| {
            let mut changed = policy.clone();
            if let Some(place) = changed.get_mut(variable) {
                *place = scope;
            }
            all.push(RuleMutation { policy: Some(changed), description, quoted: Some(quoted) });
        };
        if let Some(entities) = scope.get("entities").and_then(Value::as_array) {
            for (rest, entity) in without_each(entities) {
                let name = entity_text(entity);
                let scope = json!({ "op": "in", "entities": rest });
                change(scope, format!("delete `{name}` from the list of `{variable}`"), name);
            }
        } else if let Some(entity) = scope.get("entity") {
            let operator = scope.get("op").and_then(Value::as_str).unwrap_or("==");
            let written = format!("{variable} {operator} {}", entity_text(entity));
            for outer in outer(entity, vocabulary) {
                let (scope, wider) = match outer {
                    Some(outer) => {
                        let wider = format!("{variable} in {}", entity_text(&outer));
                        (json!({ "op": "in", "entity": outer }), wider)
                    }
                    None => (json!({ "op": "All" }), variable.to_owned()),
                };
                change(scope, format!("replace `{written}` by `{wider}`"), entity_text(entity));
            }
        }
    }
    all
}

/// Returns the entities directly above the named one: its parent and its groups. If it has neither, returns one
/// `None`, which stands for any entity.
fn outer(entity: &Value, vocabulary: &Vocabulary) -> Vec<Option<Value>> {
    let text = |key| entity.get(key).and_then(Value::as_str).unwrap_or_default();
    let (of, id) = (text("type"), text("id"));
    fn parent<I: TermId>(tree: &Tree<I>, id: &str) -> Option<String> {
        Some(tree.name(tree.parent(tree.find(id)?)?).to_owned())
    }
    let (parent, groups) = match of {
        "Kind" => {
            let kind = vocabulary.kinds().find(id);
            let groups = vocabulary.kind_groups().iter();
            let groups = groups.filter(|group| kind.is_some_and(|kind| group.members.contains(&kind)));
            (parent(vocabulary.kinds(), id), groups.map(|group| group.name.clone()).collect())
        }
        "Action" => (parent(vocabulary.purposes(), id), Vec::new()),
        "Category" => (parent(vocabulary.categories(), id), Vec::new()),
        _ => (None, Vec::new()),
    };
    let names: Vec<String> = parent.into_iter().chain(groups).collect();
    match names.is_empty() {
        true => vec![None],
        false => names.into_iter().map(|name| Some(json!({ "type": of, "id": name }))).collect(),
    }
}

/// Changes the conditions: removes one `when` or `unless`, or changes a part of one.
fn conditions(policy: &Value) -> Vec<RuleMutation> {
    let Some(conditions) = policy.get("conditions").and_then(Value::as_array) else { return Vec::new() };
    let mut all = Vec::new();
    let mut change = |conditions: Vec<Value>, description: String, quoted: Option<String>| {
        let mut changed = policy.clone();
        if let Some(place) = changed.get_mut("conditions") {
            *place = Value::Array(conditions);
        }
        all.push(RuleMutation { policy: Some(changed), description, quoted });
    };
    for (rest, condition) in without_each(conditions) {
        let kind = condition.get("kind").and_then(Value::as_str).unwrap_or("when");
        let text = condition.get("body").map(text_of_expression).unwrap_or_default();
        let description = format!("delete `{kind} {{ {} }}`", shortened(&text));
        change(rest, description, None);
    }
    for (at, condition) in conditions.iter().enumerate() {
        let Some(body) = condition.get("body") else { continue };
        let kind = condition.get("kind").cloned().unwrap_or_default();
        for Variant { expression, description, quoted } in variants(body) {
            let mut changed = conditions.clone();
            if let Some(place) = changed.get_mut(at) {
                *place = json!({ "kind": kind, "body": expression });
            }
            change(changed, description, Some(quoted));
        }
    }
    all
}

/// An expression with one change.
#[derive(Debug)]
struct Variant {
    expression: Value,
    description: String,
    quoted: String,
}

fn variants(expression: &Value) -> Vec<Variant> {
    for (operator, called) in [("&&", "conjunct"), ("||", "disjunct")] {
        if operands(expression, operator).is_some() {
            return of_chain(expression, operator, called);
        }
    }
    if let Some(items) = expression.get("Set").and_then(Value::as_array) {
        let without = |(rest, item): (Vec<Value>, &Value)| {
            let text = text_of_expression(item);
            let description = format!("delete `{text}` from a list");
            Variant { expression: json!({ "Set": rest }), description, quoted: text }
        };
        return without_each(items).map(without).collect();
    }
    match expression {
        Value::Object(parts) => {
            let mut all = Vec::new();
            for (key, part) in parts {
                for variant in variants(part) {
                    let mut changed = parts.clone();
                    changed.insert(key.clone(), variant.expression);
                    all.push(Variant { expression: Value::Object(changed), ..variant });
                }
            }
            all
        }
        Value::Array(parts) => {
            let mut all = Vec::new();
            for (at, part) in parts.iter().enumerate() {
                for variant in variants(part) {
                    let mut changed = parts.clone();
                    if let Some(place) = changed.get_mut(at) {
                        *place = variant.expression;
                    }
                    all.push(Variant { expression: Value::Array(changed), ..variant });
                }
            }
            all
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// Removes each operand of a chain of one operator, and changes each part of an operand.
fn of_chain(expression: &Value, operator: &str, called: &str) -> Vec<Variant> {
    let mut parts = Vec::new();
    flatten(expression, operator, &mut parts);
    let mut all: Vec<Variant> = without_each(&parts)
        .filter_map(|(rest, part)| {
            let text = text_of_expression(part);
            let description = format!("delete the {called} `{}`", shortened(&text));
            Some(Variant { expression: joined(rest, operator)?, description, quoted: text })
        })
        .collect();
    for (at, part) in parts.iter().enumerate() {
        for variant in variants(part) {
            let mut changed = parts.clone();
            if let Some(place) = changed.get_mut(at) {
                *place = variant.expression;
            }
            all.extend(joined(changed, operator).map(|expression| Variant {
                expression,
                description: variant.description,
                quoted: variant.quoted,
            }));
        }
    }
    all
}

fn flatten(expression: &Value, operator: &str, parts: &mut Vec<Value>) {
    match operands(expression, operator) {
        Some((left, right)) => {
            flatten(left, operator, parts);
            flatten(right, operator, parts);
        }
        None => parts.push(expression.clone()),
    }
}

fn joined(parts: Vec<Value>, operator: &str) -> Option<Value> {
    parts.into_iter().reduce(|left, right| json!({ operator: { "left": left, "right": right } }))
}

/// Returns each item with the list of the others.
fn without_each(items: &[Value]) -> impl Iterator<Item = (Vec<Value>, &Value)> {
    items.iter().enumerate().map(|(at, item)| {
        let others = items.iter().enumerate().filter(|(other, _)| *other != at);
        (others.map(|(_, other)| other.clone()).collect(), item)
    })
}

/// Formats an entity as `Kind::"staff"`.
fn entity_text(entity: &Value) -> String {
    let text = |key| entity.get(key).and_then(Value::as_str).unwrap_or_default();
    format!("{}::\"{}\"", text("type"), text("id"))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((at, _)) => format!("{} …", text.get(..at).unwrap_or_default().trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedar_policy::Policy;

    fn words_of(text: &str) -> Vec<String> {
        let policy = Policy::parse(None, text).unwrap().to_json().unwrap();
        let all = mutations(&policy, &Vocabulary::standard());
        for change in &all {
            // Cedar accepts the changed rule.
            if let Some(changed) = &change.policy {
                Policy::from_json(None, changed.clone()).unwrap();
            }
        }
        all.into_iter().map(|change| change.description).collect()
    }

    #[test]
    fn each_part_of_a_rule_is_changed_separately() {
        let text = r#"permit (principal in Kind::"hosting-provider", action in [Action::"hosting", Action::"billing"],
            resource == Category::"email")
            when { context.minor && context.erased && context.backup }
            unless { context.own_data || [Category::"name", Category::"phone"].contains(resource) };"#;
        assert_eq!(
            words_of(text),
            [
                "delete the rule",
                "replace `principal in Kind::\"hosting-provider\"` by `principal in Kind::\"service-provider\"`",
                "delete `Action::\"hosting\"` from the list of `action`",
                "delete `Action::\"billing\"` from the list of `action`",
                "replace `resource == Category::\"email\"` by `resource in Category::\"contact\"`",
                "delete `when { context.minor && context.erased && context.backup }`",
                "delete `unless { context.own_data || [Category::\"name\", Category::\"phone\"].contains(resource) }`",
                "delete the conjunct `context.minor`",
                "delete the conjunct `context.erased`",
                "delete the conjunct `context.backup`",
                "delete the disjunct `context.own_data`",
                "delete the disjunct `[Category::\"name\", Category::\"phone\"].contains(resource)`",
                "delete `Category::\"name\"` from a list",
                "delete `Category::\"phone\"` from a list",
            ]
        );
    }

    #[test]
    fn a_term_becomes_its_parent_or_groups_or_any() {
        let text = r#"forbid (principal in Kind::"employee", action in Action::"legal", resource in Category::"personal");"#;
        assert_eq!(
            words_of(text),
            [
                "delete the rule",
                "replace `principal in Kind::\"employee\"` by `principal in Kind::\"staff\"`",
                "replace `action in Action::\"legal\"` by `action`",
                "replace `resource in Category::\"personal\"` by `resource`",
            ]
        );
    }
}
