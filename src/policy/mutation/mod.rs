//! Mutation testing of packs: generates every single change of a rule that an editor could make by mistake.
//!
//! A mutant is made from the rule's source text and then loaded like the pack, so the changed rule is desugared as
//! well. [`comparison`] finds the effect of a change on disclosures and operations. The module does not know which
//! tests detect a change.

pub mod comparison;
mod operators;

use std::sync::Arc;

use cedar_policy::Policy;

use super::cedar_model::policy_id;
use super::draft::{RuleDraft, RuleReader};
use super::pack::{Pack, is_valid};
use super::rule::Rule;
use super::rulebook::RuleIndex;
use crate::finding::Source;

/// A pack with one changed rule.
#[derive(Debug)]
pub struct Mutant {
    /// Position of the changed rule.
    pub at: RuleIndex,
    /// Description of the change.
    pub change: String,
    /// Line of the change in the rule's file, counted from 1.
    pub line: usize,
    pack: Option<Arc<Pack>>,
}

impl Mutant {
    /// Returns the changed pack, or `None` if it does not load.
    pub fn pack(&self) -> Option<&Arc<Pack>> {
        self.pack.as_ref()
    }
}

/// One change, before the pack is loaded with it.
#[derive(Debug)]
pub struct PlannedMutation {
    at: RuleIndex,
    change: operators::RuleMutation,
}

/// Returns every single change of the rules of a pack, in the order of the rules.
pub fn planned_mutations(pack: &Pack) -> Vec<PlannedMutation> {
    let rules = (0..).zip(pack.rulebook().rules());
    let of_rule = |(at, rule): (RuleIndex, &Rule)| {
        let written = Policy::parse(Some(policy_id(usize::from(at))), source_text(rule)).ok();
        let json = written.and_then(|policy| policy.to_json().ok());
        let changes = json.map(|json| operators::mutations(&json, pack.vocabulary())).unwrap_or_default();
        changes.into_iter().map(move |change| PlannedMutation { at, change })
    };
    rules.flat_map(of_rule).collect()
}

/// Returns the rule's text in its file.
fn source_text(rule: &Rule) -> &str {
    let place = rule.location();
    place.source.text().get(place.span.clone()).unwrap_or_default()
}

impl PlannedMutation {
    /// Returns the position of the changed rule.
    pub fn at(&self) -> RuleIndex {
        self.at
    }

    /// True if the change deletes the whole rule.
    pub fn is_deletion(&self) -> bool {
        self.change.policy.is_none()
    }

    /// Loads the pack with the change.
    pub fn load(self, pack: &Pack) -> Mutant {
        let PlannedMutation { at, change } = self;
        let line = pack.rulebook().rule(at).map_or(0, |rule| line(rule, change.quoted.as_deref()));
        let rule = match &change.policy {
            None => pack.rulebook().rule(at).map(Rule::disabled),
            Some(policy) => mutated_rule(pack, at, policy),
        };
        let pack = rule.and_then(|rule| pack.with_rule(at, rule)).map(Arc::new);
        Mutant { at, change: change.description, line, pack }
    }
}

/// Returns the line of a text in a rule if it occurs there once, else the first line of the rule.
fn line(rule: &Rule, quoted: Option<&str>) -> usize {
    let text = source_text(rule);
    let mut found = quoted.into_iter().flat_map(|quoted| text.match_indices(quoted));
    let within = match (found.next(), found.next()) {
        (Some((at, _)), None) => at,
        _ => 0,
    };
    let before = rule.location().source.text().get(..rule.location().span.start + within).unwrap_or_default();
    before.matches('\n').count() + 1
}

/// Reads and validates the changed rule as one of the pack; `None` if it does not load.
fn mutated_rule(pack: &Pack, at: RuleIndex, policy: &serde_json::Value) -> Option<Rule> {
    let position = usize::from(at);
    let policy = Policy::from_json(Some(policy_id(position)), policy.clone()).ok()?;
    let text = format!("{};", policy.to_cedar()?.trim_end().trim_end_matches(';'));
    let mut findings = Vec::new();
    let mut reader =
        RuleReader { vocabulary: pack.vocabulary(), manifest: pack.manifest(), findings: &mut findings };
    let model = pack.rulebook().model();
    let draft = reader.read(&Source::new("mutant", text.as_str()), 0..text.len(), position)?;
    if !is_valid(std::slice::from_ref(&draft), model, &mut reader) {
        return None;
    }
    Some(RuleDraft::compile(draft, model, pack.vocabulary()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_has_the_line_of_its_change() {
        let manifest = "title = \"T\"\nversion = \"1\"\nannounced = 2026-01-01\neffective = 2026-01-01\n\
            contact = \"c\"\n[[clauses]]\nid = \"C\"\ntitle = \"t\"\nkept = \"by-rules\"\n";
        let rules = "// A comment.\n\n@id(\"erased\") @clause(\"C\")\nforbid (principal, action, resource)\n\
            when { context.erased }\nunless {\n    action in [\n        Action::\"legal\",\n        Action::\"erasure\"\n    ]\n};\n";
        let pack =
            Pack::load(&[Source::new("pack.toml", manifest), Source::new("rules.cedar", rules)]).unwrap();
        let placed: Vec<(usize, String)> = planned_mutations(&pack)
            .into_iter()
            .map(|planned| planned.load(&pack))
            .map(|mutant| (mutant.line, mutant.change))
            .collect();
        let placed: Vec<(usize, &str)> =
            placed.iter().map(|(line, change)| (*line, change.as_str())).collect();
        assert_eq!(
            placed,
            [
                (3, "delete the rule"),
                (3, "delete `when { context.erased }`"),
                (3, "delete `unless { action in [Action::\"legal\", Action::\"erasure\"] }`"),
                (8, "delete `Action::\"legal\"` from a list"),
                (9, "delete `Action::\"erasure\"` from a list"),
            ]
        );
    }
}
