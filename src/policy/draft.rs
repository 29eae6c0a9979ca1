//! Turns the text of a rule into a [`Rule`]: parses it, desugars it, and splits it into its conditions.
//!
//! Everything that a rule means is expressed in Cedar. The meaning of annotations (`@basis` above all) is written
//! into the rule's conditions before validation, so that explanation, coverage and mutation tests examine the rule
//! that is evaluated.

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
use crate::vocabulary::{Basis, TermId, Tree, Vocabulary};

/// A rule that was parsed and is not yet validated.
#[derive(Debug)]
pub(super) struct RuleDraft {
    pub(super) rule: Rule,
    conditions: Vec<(Value, Mentions)>,
}

/// Reads the rules of one pack and reports their mistakes.
#[derive(Debug)]
pub(super) struct RuleReader<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) manifest: &'a Manifest,
    pub(super) findings: &'a mut Vec<Finding>,
}

impl RuleReader<'_> {
    /// Reads one statement. Its position in the pack becomes its Cedar policy id.
    ///
    /// Returns `None` if Cedar cannot parse the statement or a name in it does not exist; other mistakes are
    /// reported and do not prevent validation.
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
        let mentions = self.inspect(&written, &place)?;
        let text = desugar(text, effect, basis, &mentions, self.vocabulary);
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
                "every rule needs an id: `@id(\"support-staff\")`",
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
                "every rule cites the clause that it enforces: `@clause(\"G-6.4f\")`",
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
                    "a forbid needs no legal basis: remove it",
                );
                None
            }
            (Effect::Permit, None) => {
                let hint = format!("every permit needs a legal basis; {}", self.bases());
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

    /// Lists the bases that a rule of the pack can rest on, for a hint.
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

    /// Collects the variables and facts that the rule mentions before it is desugared. Returns `None` if a name in
    /// the rule does not exist.
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
                let hint = "name the facts that the rule compares: `context.minor`";
                self.report("whole-context", "`context` as a whole", place, Some("context"), hint);
            }
            Flaw::UnknownValue { fact, word } => {
                let hint = suggestion(word, fact.values().iter().copied())
                    .unwrap_or_else(|| format!("its values are {}", join(fact.values().iter().copied())));
                let message = format!("`context.{}` is never `{word}`", fact.name());
                self.report("unknown-value", &message, place, Some(&format!("\"{word}\"")), &hint);
            }
            Flaw::NotCompared(fact) => {
                let message = format!("`context.{}` is not compared with its values", fact.name());
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
                let hint = "rules apply to kinds of recipients: `principal in Kind::\"…\"`";
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

    /// Reports a permit in a base.
    pub(super) fn report_permit_in_base(&mut self, draft: &RuleDraft) {
        let words = format!("`{}` is a permit in a base", draft.rule.id);
        let hint =
            "a base contains prohibitions only: move the permit to the pack whose document promises it";
        self.report("permit-in-base", &words, &draft.rule.location, None, hint);
    }

    /// Reports an error of Cedar, with Cedar's label and help text.
    pub(super) fn report_cedar_error(&mut self, error: &(dyn Diagnostic + 'static), place: &RuleLocation) {
        let label = error.labels().and_then(|mut labels| labels.next());
        let span = label.as_ref().map(|label| label.offset()..label.offset() + label.len());
        let span = span.filter(|span| span.end <= place.span.len());
        let span =
            span.map_or(place.head(), |span| place.span.start + span.start..place.span.start + span.end);
        let message = error.to_string();
        // Cedar's message names the rule by its position; the finding's location already shows which rule it is.
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
    /// Compiles the draft. Conditions that compare no fact other than the operation and the form are evaluated and
    /// become part of the rule's reach. The others remain conditions.
    pub(super) fn compile(self, model: &CedarModel, words: &Vocabulary) -> Rule {
        let RuleDraft { mut rule, conditions } = self;
        for (condition, mentions) in conditions {
            let Some(probe) = probe(&condition) else {
                // A condition that Cedar cannot evaluate by itself never holds.
                rule.reach.clear();
                continue;
            };
            let fixed: FactSet = [Fact::Operation, Fact::Form].into_iter().collect();
            if mentions.facts.is_subset(fixed) {
                rule.reach.narrow(&probe, mentions, model, words);
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

/// Returns code and hint for a name that is not in a tree.
fn unknown_term<I: TermId>(id: &str, tree: &Tree<I>) -> (&'static str, String) {
    (I::UNKNOWN, tree.hint(id))
}

/// Adds the conditions that a permit's annotations and omissions imply:
///
/// - a permit that does not mention the operation applies to `disclose` only;
/// - a permit that does not mention the form applies to `clear` only;
/// - the basis `consent` requires the person's consent and no objection (GDPR Art. 6(1)(a), 7(3));
/// - the bases `legitimate-interest` and `public-task` yield to an objection (Art. 21(1)); for purposes that the
///   vocabulary marks `yields-only-to-upheld`, they yield only to an upheld objection;
/// - the basis `not-personal` excludes personal data and service data.
///
/// A forbid is returned unchanged.
fn desugar(
    text: &str,
    effect: Effect,
    basis: Option<Basis>,
    mentions: &Mentions,
    words: &Vocabulary,
) -> String {
    if effect == Effect::Forbid {
        return text.to_owned();
    }
    let mut added = Vec::new();
    if !mentions.facts.contains(Fact::Operation) {
        added.push("context.operation == \"disclose\"".to_owned());
    }
    if !mentions.facts.contains(Fact::Form) {
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

/// Returns an expression in Cedar's syntax on one line; empty if it is not an expression.
pub(super) fn text_of_expression(expression: &Value) -> String {
    probe(expression).map(|probe| text_of(&probe)).unwrap_or_default()
}

/// Returns the condition of a probe in Cedar's syntax, on one line.
fn text_of(probe: &PolicySet) -> String {
    let text = probe.to_cedar().unwrap_or_default();
    let inner =
        text.split_once("when {").and_then(|(_, rest)| rest.rsplit_once("};")).map_or("", |(inner, _)| inner);
    inner.split_whitespace().collect::<Vec<_>>().join(" ")
}
