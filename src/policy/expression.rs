//! Analysis of a rule's conditions in Cedar's JSON form: splits them into single conditions and collects the
//! variables and facts that each mentions.
//!
//! The module knows the shape of expressions. It does not evaluate them.

use serde_json::{Value, json};

use super::facts::{Fact, FactSet, RELATION};
use crate::vocabulary::Vocabulary;

/// Variables and facts that an expression mentions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mentions {
    pub(super) kind: bool,
    pub(super) purpose: bool,
    pub(super) category: bool,
    pub(super) facts: FactSet,
}

/// A mistake in an expression that Cedar itself would accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// `context` is used as a whole: the facts that the rule compares, and hence the key of the decision cache,
    /// would be unknown.
    WholeContext,
    /// A fact is compared with a value that it never has.
    UnknownValue { fact: Fact, word: String },
    /// A fact with named values is used without comparing it with one of them.
    NotCompared(Fact),
    /// A fact that does not exist.
    UnknownFact(String),
    /// A name that is not in the vocabulary.
    UnknownName { kind_of: &'static str, id: String },
    /// A prohibition of one category that does not cover the categories below it.
    WithoutDescendants { id: String },
}

/// Returns the single conditions of a rule, all of which must hold for it to apply.
///
/// `when { a && b }` becomes two conditions, `unless { a || b }` becomes `!a` and `!b`.
pub(super) fn conditions(policy: &Value) -> Vec<Value> {
    let mut single = Vec::new();
    for condition in policy.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let Some(body) = condition.get("body") else { continue };
        split(body, condition.get("kind").and_then(Value::as_str) != Some("unless"), &mut single);
    }
    single
}

fn split(body: &Value, holds: bool, single: &mut Vec<Value>) {
    let both = if holds { "&&" } else { "||" };
    if let Some((left, right)) = operands(body, both) {
        split(left, holds, single);
        split(right, holds, single);
    } else if let Some(inner) = body.get("!").and_then(|not| not.get("arg")) {
        split(inner, !holds, single);
    } else {
        single.push(if holds { body.clone() } else { json!({ "!": { "arg": body } }) });
    }
}

/// Returns both operands of an expression if it has this operator.
pub(super) fn operands<'v>(body: &'v Value, operator: &str) -> Option<(&'v Value, &'v Value)> {
    let operands = body.get(operator)?;
    Some((operands.get("left")?, operands.get("right")?))
}

/// Finds categories that a forbid covers without those below them: `resource == Category::"x"` in its scope, or
/// in a condition that must hold (a `when`, or a negation in an `unless`).
///
/// In an exception (`unless { resource == … }`) the comparison is no mistake: the categories below stay forbidden.
pub(super) fn without_descendants(forbid: &Value) -> Vec<Flaw> {
    let mut found = Vec::new();
    if let Some(scope) = forbid.get("resource")
        && scope.get("op").and_then(Value::as_str) == Some("==")
    {
        found.extend(category(scope.get("entity")));
    }
    for condition in conditions(forbid) {
        required_categories(&condition, true, &mut found);
    }
    found.into_iter().map(|id| Flaw::WithoutDescendants { id }).collect()
}

/// Collects the categories that `resource` must equal for the expression to evaluate to `wanted`.
fn required_categories(expression: &Value, wanted: bool, found: &mut Vec<String>) {
    let equal = operands(expression, "==").filter(|_| wanted);
    let equal = equal.or_else(|| operands(expression, "!=").filter(|_| !wanted));
    let among = operands(expression, "contains").filter(|_| wanted).map(|(set, one)| (one, set));
    if let Some((left, right)) = equal.or(among) {
        for (one, other) in [(left, right), (right, left)] {
            if one.get("Var").and_then(Value::as_str) == Some("resource") {
                let set = other.get("Set").and_then(Value::as_array);
                let named = set.into_iter().flatten().chain([other]);
                found.extend(named.filter_map(|value| category(value.get("Value")?.get("__entity"))));
            }
        }
    } else if let Some(inner) = expression.get("!").and_then(|not| not.get("arg")) {
        required_categories(inner, !wanted, found);
    } else if let Some((left, right)) = operands(expression, "&&").or_else(|| operands(expression, "||")) {
        required_categories(left, wanted, found);
        required_categories(right, wanted, found);
    } else if let Some(branches) = expression.get("if-then-else").and_then(Value::as_object) {
        // The forbid may require either result of the `if` condition, so both are examined.
        let test = branches.get("if");
        test.into_iter().for_each(|test| required_categories(test, !wanted, found));
        branches.values().for_each(|branch| required_categories(branch, wanted, found));
    }
}

fn category(entity: Option<&Value>) -> Option<String> {
    let entity = entity.filter(|entity| entity.get("type").and_then(Value::as_str) == Some("Category"))?;
    entity.get("id")?.as_str().map(str::to_owned)
}

/// Returns a policy that applies exactly when this one condition holds.
pub(super) fn probe(condition: &Value) -> Value {
    let any = json!({ "op": "All" });
    json!({
        "effect": "permit",
        "principal": any, "action": any, "resource": any,
        "conditions": [{ "kind": "when", "body": condition }],
    })
}

/// Returns the variables and facts that an expression mentions, and adds its mistakes to `flaws`.
pub(super) fn inspect(expression: &Value, vocabulary: &Vocabulary, flaws: &mut Vec<Flaw>) -> Mentions {
    let mut mentions = Mentions::default();
    walk(expression, vocabulary, &mut mentions, flaws);
    mentions
}

fn walk(expression: &Value, words: &Vocabulary, mentions: &mut Mentions, flaws: &mut Vec<Flaw>) {
    if let Some(variable) = expression.get("Var").and_then(Value::as_str) {
        match variable {
            "principal" => mentions.kind = true,
            "action" => mentions.purpose = true,
            "resource" => mentions.category = true,
            _ => flaws.push(Flaw::WholeContext),
        }
        return;
    }
    if let Some(literal) = expression.get("Value") {
        flaws.extend(unknown_name(literal.get("__entity"), words));
        return;
    }
    if let Some((fact, compared)) = comparison(expression, words) {
        mentions.facts = mentions.facts.union(FactSet::of(fact));
        let wrong = compared.into_iter().filter(|word| !fact.values().contains(word));
        flaws.extend(wrong.map(|word| Flaw::UnknownValue { fact, word: word.to_owned() }));
        return;
    }
    if let Some(fact) = access(expression, words) {
        mentions.facts = mentions.facts.union(FactSet::of(fact));
        if !fact.is_flag() {
            flaws.push(Flaw::NotCompared(fact));
        }
        return;
    }
    if let Some(flaw) = unknown_access(expression) {
        flaws.push(flaw);
        return;
    }
    match expression {
        Value::Array(parts) => parts.iter().for_each(|part| walk(part, words, mentions, flaws)),
        Value::Object(parts) => parts.values().for_each(|part| walk(part, words, mentions, flaws)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns the flaw if the expression accesses a fact or a relation that does not exist.
fn unknown_access(expression: &Value) -> Option<Flaw> {
    let dot = expression.get(".")?;
    let attribute = dot.get("attr")?.as_str()?.to_owned();
    let left = dot.get("left")?;
    if is_context(left) {
        return Some(Flaw::UnknownFact(attribute));
    }
    let outer = left.get(".")?;
    let in_relations = is_context(outer.get("left")?) && outer.get("attr")?.as_str()? == RELATION;
    in_relations.then_some(Flaw::UnknownName { kind_of: "relation", id: attribute })
}

/// Returns the fact that `context.fact` or `context.relation["name"]` accesses.
fn access(expression: &Value, words: &Vocabulary) -> Option<Fact> {
    let dot = expression.get(".")?;
    let attribute = dot.get("attr")?.as_str()?;
    let left = dot.get("left")?;
    if is_context(left) {
        return Fact::from_name(attribute);
    }
    let outer = left.get(".")?;
    let in_relations = is_context(outer.get("left")?) && outer.get("attr")?.as_str()? == RELATION;
    in_relations.then(|| words.relations().find(attribute).map(Fact::Relation))?
}

fn is_context(expression: &Value) -> bool {
    expression.get("Var").and_then(Value::as_str) == Some("context")
}

/// Returns the fact and the values of a comparison: `fact == "value"`, `fact != "value"`, `["value",
/// "value"].contains(fact)`.
fn comparison<'v>(expression: &'v Value, words: &Vocabulary) -> Option<(Fact, Vec<&'v str>)> {
    let (left, right) = operands(expression, "==").or_else(|| operands(expression, "!=")).or_else(|| {
        let (set, element) = operands(expression, "contains")?;
        Some((element, set))
    })?;
    let (fact, with) = match (access(left, words), access(right, words)) {
        (Some(fact), None) => (fact, right),
        (None, Some(fact)) => (fact, left),
        _ => return None,
    };
    if fact.is_flag() {
        return None;
    }
    let set = with.get("Set").and_then(Value::as_array);
    let literals: Vec<&Value> = set.map_or_else(|| vec![with], |set| set.iter().collect());
    let texts: Vec<&str> = literals.iter().filter_map(|literal| literal.get("Value")?.as_str()).collect();
    (texts.len() == literals.len()).then_some((fact, texts))
}

/// Returns the flaw if an entity's name is not in the vocabulary.
pub(super) fn unknown_name(entity: Option<&Value>, words: &Vocabulary) -> Option<Flaw> {
    let kind_of = entity?.get("type")?.as_str()?;
    let id = entity?.get("id")?.as_str()?;
    let (known, kind_of) = match kind_of {
        "Action" => (words.purposes().find(id).is_some(), "purpose"),
        "Category" => {
            let group = words.category_groups().iter().any(|group| group.name == id);
            (group || words.categories().find(id).is_some(), "category")
        }
        "Kind" => {
            let group = words.kind_groups().iter().any(|group| group.name == id);
            (group || words.kinds().find(id).is_some(), "kind")
        }
        "Recipient" => (false, "recipient"),
        // Strict validation rejects any other type.
        _ => (true, ""),
    };
    (!known).then(|| Flaw::UnknownName { kind_of, id: id.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedar_policy::Policy;

    fn of(conditions_text: &str) -> (Vec<Value>, Mentions, Vec<Flaw>) {
        let text = format!("permit(principal, action, resource) {conditions_text};");
        let policy = Policy::parse(None, text).unwrap().to_json().unwrap();
        let words = Vocabulary::standard();
        let mut flaws = Vec::new();
        let single = conditions(&policy);
        let all = Value::Array(single.clone());
        (single, inspect(&all, &words, &mut flaws), flaws)
    }

    #[test]
    fn conditions_are_split_into_conjuncts() {
        let (single, mentions, flaws) =
            of(r#"when { context.minor && !(context.erased || context.restricted) }
            unless { context.backup || resource in Category::"email" }"#);
        assert_eq!(single.len(), 5, "{single:?}");
        assert_eq!(flaws, []);
        let facts: FactSet =
            [Fact::Minor, Fact::Erased, Fact::Restricted, Fact::Backup].into_iter().collect();
        assert_eq!(mentions, Mentions { kind: false, purpose: false, category: true, facts });
    }

    #[test]
    fn a_prohibition_must_cover_the_categories_below() {
        let found = |text: &str| {
            let forbid = Policy::parse(None, text).unwrap().to_json().unwrap();
            without_descendants(&forbid).len()
        };
        let scope = |scope: &str| found(&format!("forbid(principal, action, {scope});"));
        let rest = |rest: &str| found(&format!("forbid(principal, action, resource) {rest};"));
        assert_eq!(scope(r#"resource == Category::"x""#), 1);
        assert_eq!(scope(r#"resource in Category::"x""#), 0);
        for misses in [
            r#"when { resource == Category::"x" }"#,
            r#"when { context.minor && (Category::"x" == resource || context.erased) }"#,
            r#"when { [Category::"x"].contains(resource) }"#,
            r#"unless { resource != Category::"x" }"#,
            r#"unless { !(resource == Category::"x") }"#,
            r#"when { if resource == Category::"x" then true else false }"#,
        ] {
            assert_eq!(rest(misses), 1, "{misses}");
        }
        for reaches in [
            r#"unless { resource == Category::"x" }"#,
            r#"when { resource != Category::"x" }"#,
            r#"when { resource in [Category::"x", Category::"y"] }"#,
            r#"unless { principal in Kind::"y" && resource == Category::"x" }"#,
        ] {
            assert_eq!(rest(reaches), 0, "{reaches}");
        }
    }

    #[test]
    fn unknown_values_facts_and_names_are_flaws() {
        let (_, _, flaws) = of(r#"when { context.origin == "refferal" && resource in [Category::"emial"] }
            when { ["open", "shut"].contains(context.account) && context.consent like "g*" }
            when { context == context && context.relation["domain-registrant"] }
            when { context.minr && context.relation["domain-registrar"] }"#);
        assert_eq!(
            flaws,
            [
                Flaw::UnknownValue { fact: Fact::Origin, word: "refferal".into() },
                Flaw::UnknownName { kind_of: "category", id: "emial".into() },
                Flaw::UnknownValue { fact: Fact::Account, word: "shut".into() },
                Flaw::NotCompared(Fact::Consent),
                Flaw::WholeContext,
                Flaw::WholeContext,
                Flaw::UnknownFact("minr".into()),
                Flaw::UnknownName { kind_of: "relation", id: "domain-registrar".into() },
            ]
        );
    }
}
