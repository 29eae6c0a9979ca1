//! Changes, grouped by the rules that make them and folded by their outermost names.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Change, DecidingRule};
use crate::policy::pack::Pack;
use crate::vocabulary::{Basis, Form, Operation, TermId, Tree, Vocabulary};

/// What one rule changes.
#[derive(Clone, Debug, Serialize)]
pub struct RuleChanges {
    /// More is disclosed or done; a rule that changes both ways has two groups.
    pub is_more: bool,
    pub cause: DecidingRule,
    pub lines: Vec<ChangeLine>,
}

/// Every combination of these kinds, purposes and categories changes in the same way.
///
/// A name stands for everything below it; one of which only the term itself is meant is marked `(alone)`.
#[derive(Clone, Debug, Serialize)]
pub struct ChangeLine {
    pub kinds: Vec<String>,
    pub purposes: Vec<String>,
    pub categories: Vec<String>,
    #[serde(flatten)]
    pub how: ChangeKind,
    /// The plainest circumstances under which any of them does; empty where they do not matter.
    pub when: String,
}

/// What changes, whatever the kinds, purposes and categories.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ChangeKind {
    pub operation: Operation,
    pub old: Form,
    pub new: Form,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_basis: Option<Basis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_basis: Option<Basis>,
}

/// Names of one tree.
type TermNames = BTreeSet<String>;
/// What changes in one way: for each kind and purpose the categories.
type ChangedTerms = BTreeMap<String, BTreeMap<String, TermNames>>;
/// The place of a group: more before less, then the position of its rule.
type GroupKey<'c> = (bool, usize, &'c DecidingRule);
/// The changes of one group, with the plainest circumstances of each.
type ChangesByKind<'c> = BTreeMap<ChangeKind, (ChangedTerms, &'c str)>;

/// The changes by rule: more before less, and then in the order of the rules in their packs.
pub(super) fn groups(changes: &[Change], old: &Pack, new: &Pack) -> Vec<RuleChanges> {
    let mut by_cause: BTreeMap<GroupKey<'_>, ChangesByKind<'_>> = BTreeMap::new();
    for change in changes {
        let Change { kind, purpose, operation, categories, old: before, new: after, .. } = change;
        let how = ChangeKind {
            operation: *operation,
            old: *before,
            new: *after,
            old_basis: change.old_basis,
            new_basis: change.new_basis,
        };
        let key = (!change.is_more(), place(&change.cause, old, new), &change.cause);
        let ways = by_cause.entry(key).or_default();
        let (table, when) = ways.entry(how).or_insert_with(|| (ChangedTerms::new(), &change.when));
        if plainness(&change.when) < plainness(when) {
            *when = &change.when;
        }
        let of_kind = table.entry(kind.clone()).or_default();
        of_kind.entry(purpose.clone()).or_default().extend(categories.iter().cloned());
    }
    let words = new.vocabulary();
    let group = |((is_less, _, cause), ways): (GroupKey<'_>, ChangesByKind<'_>)| {
        let lines = ways.into_iter().flat_map(|(how, (table, when))| lines(&table, &how, when, words));
        RuleChanges { is_more: !is_less, cause: cause.clone(), lines: lines.collect() }
    };
    by_cause.into_iter().map(group).collect()
}

/// How few circumstances have to hold.
fn plainness(when: &str) -> (usize, usize) {
    (when.matches('=').count(), when.len())
}

/// Where a rule stands in its pack.
fn place(cause: &DecidingRule, old: &Pack, new: &Pack) -> usize {
    let at = |pack: &Pack| pack.rulebook().rules().iter().position(|rule| *rule.id == *cause.rule);
    at(new).or_else(|| at(old)).unwrap_or(usize::MAX)
}

/// Kinds that change alike are put together, then purposes with the same categories.
fn lines(table: &ChangedTerms, how: &ChangeKind, when: &str, words: &Vocabulary) -> Vec<ChangeLine> {
    let mut alike: BTreeMap<&BTreeMap<String, TermNames>, TermNames> = BTreeMap::new();
    for (kind, purposes) in table {
        alike.entry(purposes).or_default().insert(kind.clone());
    }
    let mut lines = Vec::new();
    for (purposes, kinds) in alike {
        let mut same: BTreeMap<&TermNames, TermNames> = BTreeMap::new();
        for (purpose, categories) in purposes {
            same.entry(categories).or_default().insert(purpose.clone());
        }
        for (categories, purposes) in same {
            lines.push(ChangeLine {
                kinds: folded_kinds(&kinds, words),
                purposes: folded(&purposes, words.purposes()),
                categories: folded(categories, words.categories()),
                how: how.clone(),
                when: when.to_owned(),
            });
        }
    }
    lines.sort_by(|a, b| (&a.kinds, &a.purposes).cmp(&(&b.kinds, &b.purposes)));
    lines
}

/// The outermost names that stand for exactly these: a term with everything below it is one.
pub(super) fn folded<I: TermId>(names: &TermNames, tree: &Tree<I>) -> Vec<String> {
    let has = |id: I| names.contains(tree.name(id));
    let whole = |id: I| tree.ids().filter(|&inner| tree.within(inner, id)).all(has);
    let mut folded = Vec::new();
    for id in tree.preorder().into_iter().filter(|&id| has(id)) {
        if whole(id) {
            if !tree.parent(id).is_some_and(whole) {
                folded.push(tree.name(id).to_owned());
            }
        } else {
            folded.push(format!("{} (alone)", tree.name(id)));
        }
    }
    // Names of the other version.
    folded.extend(names.iter().filter(|name| tree.find(name).is_none()).cloned());
    folded
}

/// As [`folded`], with the groups of kinds (`staff`) by their names.
fn folded_kinds(names: &TermNames, words: &Vocabulary) -> Vec<String> {
    let kinds = words.kinds();
    if kinds.terms().all(|(_, term)| names.contains(&*term.id)) {
        return vec!["every kind".to_owned()];
    }
    let mut rest = names.clone();
    let mut folded_names = Vec::new();
    for group in words.kind_groups() {
        let members: Vec<&str> = group.members.iter().map(|&kind| kinds.name(kind)).collect();
        if !members.is_empty() && members.iter().all(|member| names.contains(*member)) {
            folded_names.push(group.name.clone());
            rest.retain(|name| !members.contains(&name.as_str()));
        }
    }
    folded_names.extend(folded(&rest, kinds));
    folded_names
}
