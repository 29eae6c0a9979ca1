//! One rule: read, desugared, and taken apart into what it needs.
//!
//! Nothing about a rule stays outside Cedar. What its annotations mean (`@basis` above all) is
//! written into its conditions before it is validated, so that what explains, covers and proves a
//! pack looks at what runs.

use std::ops::Range;
use std::sync::Arc;

use cedar_policy::{Policy, PolicySet};
use miette::Diagnostic;
use serde_json::Value;

use super::expression::{self, Flaw, Mentions};
use super::facts::{Fact, Facts, Mask};
use super::manifest::Manifest;
use super::world::{World, policy_id};
use crate::document::join;
use crate::finding::{Finding, Source, nearest};
use crate::vocabulary::{Basis, CategoryId, Form, KindId, Operation, PurposeId, TermId, Tree, Vocabulary};

/// What a rule does when it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Releases, unless a forbid applies too.
    Permit,
    /// Withholds, whatever permits.
    Forbid,
}

/// One rule of a pack.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `@id`.
    pub id: Arc<str>,
    /// `@clause`, several separated by commas.
    pub clauses: Vec<Arc<str>>,
    /// `@basis`; every permit has one, no forbid has.
    pub basis: Option<Basis>,
    pub effect: Effect,
    /// The rule as Cedar runs it, with everything that was added to what the pack says.
    pub text: String,
    pub(super) reach: Reach,
    /// What has to hold of the facts, one condition each.
    pub(super) conditions: Vec<Condition>,
    pub(super) policy: Policy,
    pub(super) place: Place,
}

/// Where a rule stands.
#[derive(Clone, Debug)]
pub struct Place {
    pub source: Source,
    pub span: Range<usize>,
}

/// To which kinds, purposes, categories, operations and forms a rule applies, whatever the facts.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    kinds: Vec<bool>,
    purposes: Vec<bool>,
    categories: Vec<bool>,
    operations: Vec<bool>,
    forms: Vec<bool>,
    /// Conditions on two or more of these together.
    joint: Vec<Joint>,
}

/// A condition on several of kind, purpose, category, operation and form at once.
#[derive(Clone, Debug)]
struct Joint {
    table: Vec<bool>,
    sizes: [usize; 5],
}

/// One condition of a rule on the facts.
#[derive(Clone, Debug)]
pub struct Condition {
    /// As Cedar writes it.
    pub text: String,
    /// The facts that it compares.
    pub mask: Mask,
    looks: Looks,
    probe: PolicySet,
}

/// What a condition looks at besides the facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    pub kind: bool,
    pub purpose: bool,
    pub category: bool,
}

/// The fixed part of a question: who, why, what, and how.
pub(super) type Point = (KindId, PurposeId, CategoryId, Operation, Form);

impl Rule {
    /// Every fact that the rule's conditions compare.
    pub fn mask(&self) -> Mask {
        self.conditions.iter().fold(Mask::NONE, |mask, condition| mask.and(condition.mask))
    }

    /// What has to hold of the facts.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Whether it is about recipients of this kind.
    pub fn kinds(&self) -> impl Fn(KindId) -> bool {
        |kind| self.reach.kinds.get(kind.index()).copied().unwrap_or(false)
    }

    /// Whether it is about this purpose.
    pub fn purposes(&self) -> impl Fn(PurposeId) -> bool {
        |purpose| self.reach.purposes.get(purpose.index()).copied().unwrap_or(false)
    }

    /// Whether it is about this category.
    pub fn categories(&self) -> impl Fn(CategoryId) -> bool {
        |category| self.reach.categories.get(category.index()).copied().unwrap_or(false)
    }

    /// What keeps it from a question before any fact is looked at.
    pub fn misses(&self, point: (KindId, PurposeId, CategoryId)) -> Misses {
        self.reach.misses(point)
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it can apply to this kind and purpose, for some category.
    pub(super) fn concerns(&self, kind: KindId, purpose: PurposeId) -> bool {
        self.kinds()(kind) && self.purposes()(purpose)
    }

    /// Whether the rule applies there, for some facts.
    pub(super) fn reaches(&self, point: Point) -> bool {
        self.reach.holds(point)
    }

    /// Whether the rule applies there for any of the releasing forms.
    pub(super) fn reaches_any_form(
        &self,
        (kind, purpose, category, operation): (KindId, PurposeId, CategoryId, Operation),
    ) -> bool {
        FORMS.iter().any(|&form| self.reaches((kind, purpose, category, operation, form)))
    }

    pub fn is_permit(&self) -> bool {
        self.effect == Effect::Permit
    }
}

/// The forms that are asked for, most revealing first.
pub const FORMS: [Form; 4] = [Form::Clear, Form::Masked, Form::Generalised, Form::Pseudonymised];

impl Condition {
    /// What it looks at besides the facts.
    pub fn looks_at(&self) -> Looks {
        self.looks
    }

    /// Whether it holds; `None` where Cedar could not say.
    pub(super) fn holds(
        &self,
        world: &World,
        point: (KindId, PurposeId, CategoryId),
        facts: Facts,
    ) -> Option<bool> {
        let response = world.ask(&self.probe, point, facts)?;
        let broken = response.diagnostics().errors().next().is_some();
        (!broken).then(|| response.decision() == cedar_policy::Decision::Allow)
    }
}

impl Reach {
    fn holds(&self, (kind, purpose, category, operation, form): Point) -> bool {
        let at = [kind.index(), purpose.index(), category.index(), operation as usize, form as usize];
        let [kind, purpose, category, operation, form] = at;
        let holds = |set: &[bool], at: usize| set.get(at).copied().unwrap_or(false);
        holds(&self.categories, category)
            && holds(&self.kinds, kind)
            && holds(&self.purposes, purpose)
            && holds(&self.operations, operation)
            && holds(&self.forms, form)
            && self.joint.iter().all(|joint| joint.holds(at))
    }

    /// Which of kind, purpose, category, operation and form stands in the way, each by itself.
    pub(super) fn misses(&self, (kind, purpose, category): (KindId, PurposeId, CategoryId)) -> Misses {
        let out = |set: &[bool], at: usize| !set.get(at).copied().unwrap_or(false);
        Misses {
            kind: out(&self.kinds, kind.index()),
            purpose: out(&self.purposes, purpose.index()),
            category: out(&self.categories, category.index()),
            operation: out(&self.operations, Operation::Disclose as usize),
            joint: !FORMS.iter().any(|&form| {
                let at = [
                    kind.index(),
                    purpose.index(),
                    category.index(),
                    Operation::Disclose as usize,
                    form as usize,
                ];
                self.joint.iter().all(|joint| joint.holds(at))
            }),
        }
    }
}

/// What keeps a rule from a question before any fact is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misses {
    pub kind: bool,
    pub purpose: bool,
    pub category: bool,
    pub operation: bool,
    /// Several of these together.
    pub joint: bool,
}

impl Misses {
    /// Whether nothing does.
    pub fn is_none(self) -> bool {
        let Misses { kind, purpose, category, operation, joint } = self;
        !(kind || purpose || category || operation || joint)
    }
}

impl Joint {
    fn holds(&self, at: [usize; 5]) -> bool {
        self.position(at).and_then(|position| self.table.get(position).copied()).unwrap_or(false)
    }

    fn position(&self, at: [usize; 5]) -> Option<usize> {
        at.iter().zip(self.sizes).try_fold(0, |position, (&at, size)| {
            let at = if size == 1 { 0 } else { at };
            (at < size).then_some(position * size + at)
        })
    }
}

/// A rule that was read and is not yet known to be valid.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) rule: Rule,
    conditions: Vec<(Value, Mentions)>,
}

/// Reads rules of one pack and says what is wrong with them.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) manifest: &'a Manifest,
    pub(super) findings: &'a mut Vec<Finding>,
}

impl Reader<'_> {
    /// Reads one statement; the position in the pack is Cedar's id for it. What has a name that does
    /// not exist is no draft; other mistakes do not keep it from being validated too.
    pub(super) fn read(&mut self, source: &Source, span: Range<usize>, position: usize) -> Option<Draft> {
        let place = Place { source: source.clone(), span: span.clone() };
        let text = source.text().get(span)?;
        let written = match Policy::parse(Some(policy_id(position)), text) {
            Ok(policy) => policy,
            Err(errors) => {
                errors.iter().for_each(|error| self.find_cedar(error, &place));
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
        self.known_annotations(&written, &place);
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
        let reach = scope(&json, self.vocabulary);
        let rule = Rule { id, clauses, basis, effect, text, reach, conditions: Vec::new(), policy, place };
        Some(Draft { rule, conditions })
    }

    fn id(&mut self, policy: &Policy, place: &Place) -> Arc<str> {
        let id = policy.annotation("id").unwrap_or_default();
        if id.is_empty() {
            self.find("a rule without `@id`", place, None, "every rule has a name: `@id(\"support-staff\")`");
        }
        Arc::from(id)
    }

    fn clauses(&mut self, policy: &Policy, place: &Place) -> Vec<Arc<str>> {
        let text = policy.annotation("clause").unwrap_or_default();
        let clauses: Vec<Arc<str>> =
            text.split(',').map(str::trim).filter(|id| !id.is_empty()).map(Arc::from).collect();
        if clauses.is_empty() {
            self.find(
                "a rule without `@clause`",
                place,
                None,
                "every rule cites what it keeps: `@clause(\"G-6.4f\")`",
            );
        }
        for clause in clauses.iter().filter(|clause| self.manifest.clause(clause).is_none()) {
            let known = self.manifest.clauses.iter().map(|clause| &*clause.id);
            let hint = match nearest(clause, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "list it under `[[clauses]]` in pack.toml".to_owned(),
            };
            self.find(&format!("unknown clause `{clause}`"), place, Some(clause), &hint);
        }
        clauses
    }

    fn basis(&mut self, policy: &Policy, effect: Effect, place: &Place) -> Option<Basis> {
        let word = policy.annotation("basis");
        match (effect, word) {
            (Effect::Forbid, None) => None,
            (Effect::Forbid, Some(word)) => {
                self.find(
                    "a forbid with `@basis`",
                    place,
                    Some(word),
                    "a forbid needs no legal basis: take it out",
                );
                None
            }
            (Effect::Permit, None) => {
                let bases = join(self.manifest.bases.iter().map(|basis| basis.basis.name()));
                self.find(
                    "a permit without `@basis`",
                    place,
                    None,
                    &format!("every release has a legal basis: {bases}"),
                );
                None
            }
            (Effect::Permit, Some(word)) => {
                let basis =
                    self.manifest.bases.iter().map(|basis| basis.basis).find(|basis| basis.name() == word);
                if basis.is_none() {
                    let bases = join(self.manifest.bases.iter().map(|basis| basis.basis.name()));
                    self.find(
                        &format!("unknown basis `{word}`"),
                        place,
                        Some(word),
                        &format!("the pack's bases: {bases}"),
                    );
                }
                basis
            }
        }
    }

    fn known_annotations(&mut self, policy: &Policy, place: &Place) {
        for (key, _) in policy.annotations() {
            if !["id", "clause", "basis"].contains(&key) {
                self.find(
                    &format!("unknown annotation `@{key}`"),
                    place,
                    Some(key),
                    "known: `@id`, `@clause`, `@basis`",
                );
            }
        }
    }

    /// What the rule mentions, as written. `None` where a name in it does not exist.
    fn inspect(&mut self, policy: &Policy, place: &Place) -> Option<Mentions> {
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
        for flaw in &flaws {
            self.find_flaw(flaw, place);
        }
        flaws.is_empty().then_some(mentions)
    }

    fn find_flaw(&mut self, flaw: &Flaw, place: &Place) {
        match flaw {
            Flaw::WholeContext => {
                let hint = "a rule names the facts it compares: `context.minor`";
                self.find("`context` as a whole", place, Some("context"), hint);
            }
            Flaw::Word { fact, word } => {
                let hint = match nearest(word, fact.values().iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it takes {}", join(fact.values().iter().copied())),
                };
                let message = format!("`context.{}` is never `{word}`", fact.name());
                self.find(&message, place, Some(&format!("\"{word}\"")), &hint);
            }
            Flaw::NotCompared(fact) => {
                let message = format!("`context.{}` is not compared with its words", fact.name());
                let hint = format!(
                    "use `==`, `!=` or `[…].contains(…)` with {}",
                    join(fact.values().iter().copied())
                );
                self.find(&message, place, Some(&format!("context.{}", fact.name())), &hint);
            }
            Flaw::Fact(name) => {
                let hint = match nearest(name, Fact::names()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the facts are {}", join(Fact::names())),
                };
                self.find(&format!("unknown fact `{name}`"), place, Some(name), &hint);
            }
            Flaw::Name { kind_of: "recipient", id } => {
                let hint = "a rule is about kinds: `principal in Kind::\"…\"`";
                self.find("a rule about one recipient", place, Some(id), hint);
            }
            Flaw::Name { kind_of, id } => {
                let words = self.vocabulary;
                let near = match *kind_of {
                    "purpose" => nearest_term(id, words.purposes()),
                    "category" => nearest_term(id, words.categories()),
                    "relation" => nearest_term(id, words.relations()),
                    _ => nearest_term(id, words.kinds()),
                };
                let hint = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`purposegate policy vocabulary` lists what there is".to_owned(),
                };
                self.find(&format!("unknown {kind_of} `{id}`"), place, Some(&format!("\"{id}\"")), &hint);
            }
        }
    }

    fn find(&mut self, message: &str, place: &Place, near: Option<&str>, hint: &str) {
        let text = place.source.text().get(place.span.clone()).unwrap_or_default();
        let within = near.and_then(|near| text.find(near).map(|at| at..at + near.len()));
        let span = match within {
            Some(within) => place.span.start + within.start..place.span.start + within.end,
            None => place.head(),
        };
        self.findings.push(Finding::error(message).at(&place.source, span).hint(hint));
    }

    /// An error of Cedar's, with its own labels and help.
    pub(super) fn find_cedar(&mut self, error: &(dyn Diagnostic + 'static), place: &Place) {
        let label = error.labels().and_then(|mut labels| labels.next());
        let span = label.as_ref().map(|label| label.offset()..label.offset() + label.len());
        let span = span.filter(|span| span.end <= place.span.len());
        let span =
            span.map_or(place.head(), |span| place.span.start + span.start..place.span.start + span.end);
        let message = error.to_string();
        // Cedar names the rule by its number; the place says which it is.
        let message = message.split_once("`, ").filter(|(rule, _)| rule.starts_with("for policy `"));
        let message = message.map_or_else(|| error.to_string(), |(_, message)| message.to_owned());
        let mut finding = Finding::error(message).at(&place.source, span);
        if let Some(text) = label.as_ref().and_then(|label| label.label()) {
            finding = finding.label(text);
        }
        if let Some(help) = error.help() {
            finding = finding.hint(help.to_string());
        }
        self.findings.push(finding);
    }
}

impl Place {
    /// The first line of the rule.
    pub(super) fn head(&self) -> Range<usize> {
        let text = self.source.text().get(self.span.clone()).unwrap_or_default();
        let first = text.lines().next().unwrap_or_default();
        self.span.start..self.span.start + first.len()
    }
}

fn nearest_term<'t, I: TermId>(id: &str, tree: &'t Tree<I>) -> Option<&'t str> {
    nearest(id, tree.terms().map(|(_, term)| &*term.id))
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
    if !said.facts.holds(Fact::Operation) {
        added.push("context.operation == \"disclose\"".to_owned());
    }
    if !said.facts.holds(Fact::Form) {
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
    let names =
        words.upheld_only().iter().map(|&purpose| format!("Action::\"{}\"", words.purposes().name(purpose)));
    let names: Vec<String> = names.collect();
    format!(
        "context.objection == \"none\" || (context.objection == \"raised\" && action in [{}])",
        names.join(", ")
    )
}

/// The reach that the scope alone gives.
fn scope(policy: &Value, words: &Vocabulary) -> Reach {
    let kinds = words.kinds();
    let in_kind = |id: &str, kind: KindId| match kinds.find(id) {
        Some(outer) => kinds.within(kind, outer),
        None => words.groups().iter().any(|group| group.name == id && group.kinds.contains(&kind)),
    };
    Reach {
        kinds: members(policy.get("principal"), kinds, in_kind),
        purposes: members(policy.get("action"), words.purposes(), |id, purpose| {
            words.purposes().find(id).is_some_and(|outer| words.purposes().within(purpose, outer))
        }),
        categories: members(policy.get("resource"), words.categories(), |id, category| {
            words.categories().find(id).is_some_and(|outer| words.categories().within(category, outer))
        }),
        operations: vec![true; Operation::ALL.len()],
        forms: vec![true; FORMS.len()],
        joint: Vec::new(),
    }
}

/// Which terms of a tree a scope constraint admits.
fn members<I: TermId>(
    constraint: Option<&Value>,
    tree: &Tree<I>,
    within: impl Fn(&str, I) -> bool,
) -> Vec<bool> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let id = |entity: &Value| text(entity.get("id")).unwrap_or_default();
    let operator = text(constraint.and_then(|constraint| constraint.get("op"))).unwrap_or_default();
    let entity = constraint.and_then(|constraint| constraint.get("entity"));
    let inner = constraint.and_then(|constraint| constraint.get("in")?.get("entity"));
    let several = constraint.and_then(|constraint| constraint.get("entities")?.as_array());
    let named: Vec<String> =
        entity.into_iter().chain(inner).chain(several.into_iter().flatten()).map(id).collect();
    tree.ids()
        .map(|term| match operator.as_str() {
            "==" => named.iter().any(|name| tree.name(term) == name),
            "in" => named.iter().any(|name| within(name, term)),
            "is" => named.is_empty() || named.iter().any(|name| within(name, term)),
            _ => true,
        })
        .collect()
}

impl Draft {
    /// Works out where the rule applies whatever the facts, and keeps the rest as conditions on them.
    pub(super) fn settle(self, world: &World, words: &Vocabulary) -> Rule {
        let Draft { mut rule, conditions } = self;
        for (condition, mentions) in conditions {
            let Some(probe) = probe(&condition) else {
                // A condition that cannot be asked by itself never holds.
                rule.reach.kinds.fill(false);
                continue;
            };
            let fixed: Mask = [Fact::Operation, Fact::Form].into_iter().collect();
            if mentions.facts.within(fixed) {
                rule.reach.narrow(&probe, mentions, world, words);
            } else {
                let text = text_of(&probe);
                let Mentions { kind, purpose, category, facts: _ } = mentions;
                let looks = Looks { kind, purpose, category };
                rule.conditions.push(Condition { text, mask: mentions.facts, looks, probe });
            }
        }
        rule
    }
}

fn probe(condition: &Value) -> Option<PolicySet> {
    let policy = Policy::from_json(Some(policy_id(0)), expression::probe(condition)).ok()?;
    PolicySet::from_policies([policy]).ok()
}

/// The condition as Cedar writes it, on one line.
fn text_of(probe: &PolicySet) -> String {
    let text = probe.to_cedar().unwrap_or_default();
    let inner =
        text.split_once("when {").and_then(|(_, rest)| rest.rsplit_once("};")).map_or("", |(inner, _)| inner);
    inner.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Reach {
    fn narrow(&mut self, probe: &PolicySet, mentions: Mentions, world: &World, words: &Vocabulary) {
        let size = |mentioned: bool, all: usize| if mentioned { all } else { 1 };
        let sizes = [
            size(mentions.kind, words.kinds().len()),
            size(mentions.purpose, words.purposes().len()),
            size(mentions.category, words.categories().len()),
            size(mentions.facts.holds(Fact::Operation), Operation::ALL.len()),
            size(mentions.facts.holds(Fact::Form), FORMS.len()),
        ];
        let table: Vec<bool> = points(sizes).map(|point| applies(probe, world, point)).collect();
        let mentioned = sizes.iter().filter(|&&size| size > 1).count();
        let sets = [
            &mut self.kinds,
            &mut self.purposes,
            &mut self.categories,
            &mut self.operations,
            &mut self.forms,
        ];
        if mentioned > 1 {
            self.joint.push(Joint { table, sizes });
            return;
        }
        for (set, size) in sets.into_iter().zip(sizes) {
            if size > 1 {
                set.iter_mut().zip(&table).for_each(|(in_set, holds)| *in_set &= holds);
            } else if mentioned == 0 {
                // A constant condition.
                set.iter_mut().for_each(|in_set| *in_set &= table.first().copied().unwrap_or(false));
            }
        }
    }
}

/// Every point of a table with these sizes, in the order of [`Joint::position`].
fn points(sizes: [usize; 5]) -> impl Iterator<Item = [usize; 5]> {
    (0..sizes.iter().product()).map(move |mut number: usize| {
        let mut point = [0; 5];
        for (at, size) in point.iter_mut().zip(sizes).rev() {
            *at = number % size;
            number /= size;
        }
        point
    })
}

fn applies(probe: &PolicySet, world: &World, [kind, purpose, category, operation, form]: [usize; 5]) -> bool {
    fn id<I: TermId>(position: usize) -> I {
        I::from_position(u16::try_from(position).unwrap_or(u16::MAX))
    }
    let facts = Operation::ALL.get(operation).map(|&operation| Facts::default().with_operation(operation));
    let facts = facts.zip(FORMS.get(form)).map(|(facts, &form)| facts.with_form(form));
    let Some(facts) = facts else { return false };
    world
        .ask(probe, (id(kind), id(purpose), id(category)), facts)
        .is_some_and(|response| response.decision() == cedar_policy::Decision::Allow)
}
