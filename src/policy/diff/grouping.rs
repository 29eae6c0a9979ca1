//! Groups changes by the rules that cause them, and folds terms into their ancestors.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Change, DecidingRule};
use crate::policy::pack::Pack;
use crate::vocabulary::{Basis, Form, Operation, TermId, Tree, Vocabulary};

/// The changes that one rule causes.
#[derive(Clone, Debug, Serialize)]
pub struct RuleChanges {
    /// True if more is disclosed or permitted. A rule that changes results in both directions has two groups.
    pub is_more: bool,
    /// The rule.
    pub cause: DecidingRule,
    /// Its changes.
    pub lines: Vec<ChangeLine>,
}

/// A change that applies to every combination of these kinds, purposes and categories.
///
/// A name stands for everything below it; `(alone)` marks a name that stands for the term itself only.
#[derive(Clone, Debug, Serialize)]
pub struct ChangeLine {
    /// Recipient kinds and groups of them.
    pub kinds: Vec<String>,
    /// Purposes.
    pub purposes: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
    /// The kind of the change.
    #[serde(flatten)]
    pub how: ChangeKind,
    /// The simplest circumstances under which one of the results changes; empty if they change under all.
    pub when: String,
}

/// The kind of a change, without kinds, purposes and categories.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ChangeKind {
    /// Operation.
    pub operation: Operation,
    /// Form in the old version.
    pub old: Form,
    /// Form in the new version.
    pub new: Form,
    /// Legal basis in the old version; only set if the forms are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_basis: Option<Basis>,
    /// Legal basis in the new version; only set if the forms are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_basis: Option<Basis>,
}

/// Names of terms of one tree.
type TermNames = BTreeSet<String>;
/// The categories of one kind of change, by recipient kind and purpose.
type ChangedTerms = BTreeMap<String, BTreeMap<String, TermNames>>;
/// Sort key of a group: false if it discloses or permits more, then the position of its rule, then the rule.
type GroupKey<'c> = (bool, usize, &'c DecidingRule);
/// The changes of one group by their kind, each with its simplest circumstances.
type ChangesByKind<'c> = BTreeMap<ChangeKind, (ChangedTerms, &'c str)>;

/// Groups the changes by rule. Groups that disclose or permit more come first. Otherwise, the order is that of the
/// rules in their packs.
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

/// Sort key for circumstances, simplest first: the number of facts, then the length of the text.
fn plainness(when: &str) -> (usize, usize) {
    (when.matches('=').count(), when.len())
}

/// Returns the position of a rule in its pack.
fn place(cause: &DecidingRule, old: &Pack, new: &Pack) -> usize {
    let at = |pack: &Pack| pack.rulebook().rules().iter().position(|rule| *rule.id == *cause.rule);
    at(new).or_else(|| at(old)).unwrap_or(usize::MAX)
}

/// Merges kinds with equal changes, then purposes with equal categories.
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

/// Returns the shortest list of names that stands for exactly these terms. A name stands for its term with
/// everything below it.
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
    // Terms that this tree lacks, because only the other version has them.
    folded.extend(names.iter().filter(|name| tree.find(name).is_none()).cloned());
    folded
}

/// Folds kinds as [`folded`] does, and names groups of kinds (`staff`).
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
