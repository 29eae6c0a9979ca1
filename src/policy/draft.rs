//! From a rule's text to the rule: read, desugared, and taken apart into what it needs.
//!
//! Nothing about a rule stays outside Cedar. What its annotations mean (`@basis` above all) is
//! written into its conditions before it is validated, so that what explains, covers and proves a
//! pack looks at what runs.

use std::ops::Range;
use std::sync::Arc;

use cedar_policy::{Policy, PolicySet};
use miette::Diagnostic;
use serde_json::Value;

use super::cedar_model::{CedarModel, policy_id};
use super::expression::{self, Flaw, Mentions};
use super::facts::{Fact, FactSet};
use super::manifest::Manifest;
use super::reach::Reach;
use super::rule::{Condition, ConditionInputs, Effect, Rule, RuleLocation};
use crate::document::join;
use crate::finding::{Finding, Source, suggestion};
use crate::vocabulary::{Basis, TermId, Tree, VOCABULARY_HINT, Vocabulary};

/// A rule that was read and is not yet known to be valid.
#[derive(Debug)]
pub(super) struct RuleDraft {
    pub(super) rule: Rule,
    conditions: Vec<(Value, Mentions)>,
}

/// Reads rules of one pack and says what is wrong with them.
#[derive(Debug)]
pub(super) struct RuleReader<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) manifest: &'a Manifest,
    pub(super) findings: &'a mut Vec<Finding>,
}

impl RuleReader<'_> {
    /// Reads one statement; the position in the pack is Cedar's id for it. What has a name that does
    /// not exist is no draft; other mistakes do not keep it from being validated too.
    pub(super) fn read(&mut self, source: &Source, span: Range<usize>, position: usize) -> Option<RuleDraft> {
        let place = RuleLocation { source: source.clone(), span: span.clone() };
        let text = source.text().get(span)?;
        let written = match Policy::parse(Some(policy_id(position)), text) {
            Ok(policy) => policy,
            Err(errors) => {
                errors.iter().for_each(|error| self.report_cedar_error(error, &place));
                return None;
            }
        };
        let effect = match written.effect() {
            cedar_policy::Effect::Permit => Effect::Permit,
            cedar_policy::Effect::Forbid => Effect::Forbid,
        };
        let id = self.id(&written, &place);
        let clauses = self.clauses(&written, &place);
        let basis = self.basis(&written, effect, &place);
        self.check_annotations(&written, &place);
        let said = self.inspect(&written, &place)?;
        let text = desugar(text, effect, basis, &said, self.vocabulary);
        let policy = Policy::parse(Some(policy_id(position)), &text).ok()?;
        let json = policy.to_json().ok()?;
        let conditions = expression::conditions(&json);
        let conditions = conditions.into_iter().map(|condition| {
            let mentions = expression::inspect(&condition, self.vocabulary, &mut Vec::new());
            (condition, mentions)
        });
        let conditions = conditions.collect();
        let reach = Reach::of_scope(&json, self.vocabulary);
        let rule =
            Rule { id, clauses, basis, effect, text, reach, conditions: Vec::new(), policy, location: place };
        Some(RuleDraft { rule, conditions })
    }

    fn id(&mut self, policy: &Policy, place: &RuleLocation) -> Arc<str> {
        let id = policy.annotation("id").unwrap_or_default();
        if id.is_empty() {
            self.report(
                "rule-without-id",
                "a rule without `@id`",
                place,
                None,
                "every rule has a name: `@id(\"support-staff\")`",
            );
        }
        Arc::from(id)
    }

    fn clauses(&mut self, policy: &Policy, place: &RuleLocation) -> Vec<Arc<str>> {
        let text = policy.annotation("clause").unwrap_or_default();
        let clauses: Vec<Arc<str>> =
            text.split(',').map(str::trim).filter(|id| !id.is_empty()).map(Arc::from).collect();
        if clauses.is_empty() {
            self.report(
                "rule-without-clause",
                "a rule without `@clause`",
                place,
                None,
                "every rule cites what it keeps: `@clause(\"G-6.4f\")`",
            );
        }
        for clause in clauses.iter().filter(|clause| self.manifest.clause(clause).is_none()) {
            let known = self.manifest.clauses.iter().map(|clause| &*clause.id);
            let hint = suggestion(clause, known)
                .unwrap_or_else(|| "list it under `[[clauses]]` in pack.toml".to_owned());
            self.report("unknown-clause", &format!("unknown clause `{clause}`"), place, Some(clause), &hint);
        }
        clauses
    }

    fn basis(&mut self, policy: &Policy, effect: Effect, place: &RuleLocation) -> Option<Basis> {
        let word = policy.annotation("basis");
        match (effect, word) {
            (Effect::Forbid, None) => None,
            (Effect::Forbid, Some(word)) => {
                self.report(
                    "forbid-with-basis",
                    "a forbid with `@basis`",
                    place,
                    Some(word),
                    "a forbid needs no legal basis: take it out",
                );
                None
            }
            (Effect::Permit, None) => {
                let hint = format!("every release has a legal basis; {}", self.bases());
                self.report("permit-without-basis", "a permit without `@basis`", place, None, &hint);
                None
            }
            (Effect::Permit, Some(word)) => {
                let basis =
                    self.manifest.bases.iter().map(|basis| basis.basis).find(|basis| basis.name() == word);
                if basis.is_none() {
                    let known = self.manifest.bases.iter().map(|basis| basis.basis.name());
                    let hint = suggestion(word, known).unwrap_or_else(|| self.bases());
                    self.report(
                        "unknown-basis",
                        &format!("unknown basis `{word}`"),
                        place,
                        Some(word),
                        &hint,
                    );
                }
                basis
            }
        }
    }

    /// The bases that a rule of the pack can rest on, in words.
    fn bases(&self) -> String {
        match &*self.manifest.bases {
            [] => format!(
                "list some in `[bases]` of pack.toml: {}",
                join(Basis::ALL.iter().map(|basis| basis.name()))
            ),
            bases => format!("the pack's bases: {}", join(bases.iter().map(|basis| basis.basis.name()))),
        }
    }

    fn check_annotations(&mut self, policy: &Policy, place: &RuleLocation) {
        for (key, _) in policy.annotations() {
            if !["id", "clause", "basis"].contains(&key) {
                self.report(
                    "unknown-annotation",
                    &format!("unknown annotation `@{key}`"),
                    place,
                    Some(key),
                    "known: `@id`, `@clause`, `@basis`",
                );
            }
        }
    }

    /// What the rule mentions, as written. `None` where a name in it does not exist.
    fn inspect(&mut self, policy: &Policy, place: &RuleLocation) -> Option<Mentions> {
        let json = policy.to_json().ok()?;
        let mut flaws = Vec::new();
        for variable in ["principal", "action", "resource"] {
            let constraint = json.get(variable);
            let one = constraint.and_then(|constraint| constraint.get("entity"));
            let inner = constraint.and_then(|constraint| constraint.get("in")?.get("entity"));
            let several = constraint.and_then(|constraint| constraint.get("entities")?.as_array());
            let named = one.into_iter().chain(inner).chain(several.into_iter().flatten());
            flaws.extend(named.filter_map(|entity| expression::unknown_name(Some(entity), self.vocabulary)));
        }
        let all = Value::Array(expression::conditions(&json));
        let mentions = expression::inspect(&all, self.vocabulary, &mut flaws);
        if policy.effect() == cedar_policy::Effect::Forbid {
            flaws.extend(expression::without_descendants(&json));
        }
        for flaw in &flaws {
            self.report_flaw(flaw, place);
        }
        flaws.is_empty().then_some(mentions)
    }

    fn report_flaw(&mut self, flaw: &Flaw, place: &RuleLocation) {
        match flaw {
            Flaw::WholeContext => {
                let hint = "a rule names the facts it compares: `context.minor`";
                self.report("whole-context", "`context` as a whole", place, Some("context"), hint);
            }
            Flaw::UnknownValue { fact, word } => {
                let hint = suggestion(word, fact.values().iter().copied())
                    .unwrap_or_else(|| format!("it takes {}", join(fact.values().iter().copied())));
                let message = format!("`context.{}` is never `{word}`", fact.name());
                self.report("unknown-value", &message, place, Some(&format!("\"{word}\"")), &hint);
            }
            Flaw::NotCompared(fact) => {
                let message = format!("`context.{}` is not compared with its words", fact.name());
                let hint = format!(
                    "use `==`, `!=` or `[…].contains(…)` with {}",
                    join(fact.values().iter().copied())
                );
                self.report(
                    "fact-not-compared",
                    &message,
                    place,
                    Some(&format!("context.{}", fact.name())),
                    &hint,
                );
            }
            Flaw::UnknownFact(name) => {
                let hint = suggestion(name, Fact::names())
                    .unwrap_or_else(|| format!("the facts are {}", join(Fact::names())));
                self.report("unknown-fact", &format!("unknown fact `{name}`"), place, Some(name), &hint);
            }
            Flaw::WithoutDescendants { id } => {
                let message = format!("a prohibition of `{id}` alone leaves out the categories below it");
                let hint =
                    format!("write `resource in Category::\"{id}\"`; a pack can add categories below any");
                let near = format!("Category::\"{id}\"");
                self.report("forbid-without-descendants", &message, place, Some(&near), &hint);
            }
            Flaw::UnknownName { kind_of: "recipient", id } => {
                let hint = "a rule is about kinds: `principal in Kind::\"…\"`";
                self.report("rule-about-one-recipient", "a rule about one recipient", place, Some(id), hint);
            }
            Flaw::UnknownName { kind_of, id } => {
                let words = self.vocabulary;
                let (code, hint) = match *kind_of {
                    "purpose" => unknown_term(id, words.purposes()),
                    "category" => unknown_term(id, words.categories()),
                    "relation" => unknown_term(id, words.relations()),
                    _ => unknown_term(id, words.kinds()),
                };
                self.report(
                    code,
                    &format!("unknown {kind_of} `{id}`"),
                    place,
                    Some(&format!("\"{id}\"")),
                    &hint,
                );
            }
        }
    }

    fn report(
        &mut self,
        code: &'static str,
        message: &str,
        place: &RuleLocation,
        near: Option<&str>,
        hint: &str,
    ) {
        let text = place.source.text().get(place.span.clone()).unwrap_or_default();
        let within = near.and_then(|near| text.find(near).map(|at| at..at + near.len()));
        let span = match within {
            Some(within) => place.span.start + within.start..place.span.start + within.end,
            None => place.head(),
        };
        self.findings.push(Finding::error(code, message).at(&place.source, span).hint(hint));
    }

    /// Reports a base that permits something.
    pub(super) fn report_permit_in_base(&mut self, draft: &RuleDraft) {
        let words = format!("`{}` is a permit in a base", draft.rule.id);
        let hint = "a base only prohibits: a permit stands in the pack whose document has the sentence";
        self.report("permit-in-base", &words, &draft.rule.location, None, hint);
    }

    /// An error of Cedar's, with its own labels and help.
    pub(super) fn report_cedar_error(&mut self, error: &(dyn Diagnostic + 'static), place: &RuleLocation) {
        let label = error.labels().and_then(|mut labels| labels.next());
        let span = label.as_ref().map(|label| label.offset()..label.offset() + label.len());
        let span = span.filter(|span| span.end <= place.span.len());
        let span =
            span.map_or(place.head(), |span| place.span.start + span.start..place.span.start + span.end);
        let message = error.to_string();
        // Cedar names the rule by its number; the place says which it is.
        let message = message.split_once("`, ").filter(|(rule, _)| rule.starts_with("for policy `"));
        let message = message.map_or_else(|| error.to_string(), |(_, message)| message.to_owned());
        let mut finding = Finding::error("bad-rule", message).at(&place.source, span);
        if let Some(text) = label.as_ref().and_then(|label| label.label()) {
            finding = finding.label(text);
        }
        if let Some(help) = error.help() {
            finding = finding.hint(help.to_string());
        }
        self.findings.push(finding);
    }
}

impl RuleDraft {
    /// Works out where the rule applies whatever the facts, and keeps the rest as conditions on them.
    pub(super) fn compile(self, world: &CedarModel, words: &Vocabulary) -> Rule {
        let RuleDraft { mut rule, conditions } = self;
        for (condition, mentions) in conditions {
            let Some(probe) = probe(&condition) else {
                // A condition that cannot be asked by itself never holds.
                rule.reach.clear();
                continue;
            };
            let fixed: FactSet = [Fact::Operation, Fact::Form].into_iter().collect();
            if mentions.facts.is_subset(fixed) {
                rule.reach.narrow(&probe, mentions, world, words);
            } else {
                let text = text_of(&probe);
                let Mentions { kind, purpose, category, facts: _ } = mentions;
                let looks = ConditionInputs { kind, purpose, category };
                rule.conditions.push(Condition { text, mask: mentions.facts, inputs: looks, probe });
            }
        }
        rule
    }
}

/// The code and the hint for a word that is none of the tree's.
fn unknown_term<I: TermId>(id: &str, tree: &Tree<I>) -> (&'static str, String) {
    let hint = tree.suggestion(id);
    (I::UNKNOWN, hint.unwrap_or_else(|| VOCABULARY_HINT.to_owned()))
}

/// Writes into a rule what its annotations, and its silence, mean.
///
/// - a permit that does not mention the operation is about `disclose`;
/// - one that does not mention the form is about `clear`;
/// - `consent` needs the person's consent and no objection (GDPR Art. 6(1)(a), 7(3));
/// - `legitimate-interest` and `public-task` yield to an objection (Art. 21(1)), where the
///   vocabulary says so only to one that was upheld;
/// - `not-personal` is about nothing personal.
fn desugar(text: &str, effect: Effect, basis: Option<Basis>, said: &Mentions, words: &Vocabulary) -> String {
    if effect == Effect::Forbid {
        return text.to_owned();
    }
    let mut added = Vec::new();
    if !said.facts.contains(Fact::Operation) {
        added.push("context.operation == \"disclose\"".to_owned());
    }
    if !said.facts.contains(Fact::Form) {
        added.push("context.form == \"clear\"".to_owned());
    }
    match basis {
        Some(Basis::Consent) => {
            added.push("context.consent == \"given\"".to_owned());
            added.push("context.objection == \"none\"".to_owned());
        }
        Some(Basis::LegitimateInterest | Basis::PublicTask) => added.push(yields_to_objection(words)),
        Some(Basis::NotPersonal) => {
            added.push("!(resource in Category::\"personal\")".to_owned());
            added.push("!(resource in Category::\"service-data\")".to_owned());
        }
        Some(Basis::Contract | Basis::LegalObligation | Basis::VitalInterest) | None => {}
    }
    let mut text = text.strip_suffix(';').unwrap_or(text).to_owned();
    for condition in added {
        text.push_str(&format!("\nwhen {{ {condition} }}"));
    }
    text.push(';');
    text
}

fn yields_to_objection(words: &Vocabulary) -> String {
    let names = words
        .purposes_upheld_only()
        .iter()
        .map(|&purpose| format!("Action::\"{}\"", words.purposes().name(purpose)));
    let names: Vec<String> = names.collect();
    format!(
        "context.objection == \"none\" || (context.objection == \"raised\" && action in [{}])",
        names.join(", ")
    )
}

fn probe(condition: &Value) -> Option<PolicySet> {
    let policy = Policy::from_json(Some(policy_id(0)), expression::probe(condition)).ok()?;
    PolicySet::from_policies([policy]).ok()
}

/// An expression as Cedar writes it, on one line; empty where it is none.
pub(super) fn text_of_expression(expression: &Value) -> String {
    probe(expression).map(|probe| text_of(&probe)).unwrap_or_default()
}

/// The condition as Cedar writes it, on one line.
fn text_of(probe: &PolicySet) -> String {
    let text = probe.to_cedar().unwrap_or_default();
    let inner =
        text.split_once("when {").and_then(|(_, rest)| rest.rsplit_once("};")).map_or("", |(inner, _)| inner);
    inner.split_whitespace().collect::<Vec<_>>().join(" ")
}
