//! Coverage of a pack: clauses without rules or scenarios, rules without effect, categories that are never
//! released.
//!
//! The check evaluates the rules of a loaded pack. It does not run the scenarios; the caller passes in their
//! results.

use super::cell_evaluator::CellEvaluator;
use super::facts::Fact;
use super::manifest::Enforcement;
use super::pack::Pack;
use super::rule::Rule;
use super::rulebook::RuleIndex;
use crate::finding::Finding;
use crate::vocabulary::{CategoryId, Operation};

/// Number of scenarios that a clause needs if rules enforce it.
const MIN_SCENARIOS: usize = 2;

/// One scenario's result, for the clause that it cites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioCoverage<'s> {
    /// Name of the scenario.
    pub name: &'s str,
    /// Id of the clause that it cites.
    pub clause: &'s str,
    /// True if the scenario expects something to be released.
    pub releases: bool,
    /// True if the scenario expects something to be withheld.
    pub withholds: bool,
    /// Rules that the scenario exercises: those that release something in it, and those that withhold something.
    pub rules: Vec<RuleIndex>,
}

/// Returns a finding for each gap in the coverage; an empty list means full coverage. `without_effect` are the
/// rules without effect, see [`crate::decision::mutation::without_effect`].
///
/// Missing citations and conflicts of legal bases are not reported here: a pack that has one does not load.
pub fn uncovered(
    pack: &Pack,
    scenarios: &[ScenarioCoverage<'_>],
    without_effect: &[RuleIndex],
) -> Vec<Finding> {
    let mut findings = clauses(pack, scenarios);
    let mut evaluator = CellEvaluator::new(pack.rulebook());
    let rules: Vec<(RuleIndex, &Rule)> = (0..).zip(pack.rulebook().rules()).collect();
    for (at, rule) in rules {
        if !applies(pack, &mut evaluator, at) {
            findings.push(at_rule(rule, "dead-rule", "can never apply", "no request can match it", DEAD));
        } else if rule.is_permit() && !can_release(pack, &mut evaluator, at) {
            let (words, label) = ("is a permit that a prohibition always overrides", "releases nothing");
            findings.push(at_rule(rule, "permit-always-prohibited", words, label, PROHIBITED));
        } else if without_effect.contains(&at) && !pack.is_of_base(rule) {
            // A rule of a base may have an effect only in another pack that extends the base.
            let (words, label) = ("has no effect", "without it, the same is released");
            findings.push(at_rule(rule, "rule-without-effect", words, label, WITHOUT_EFFECT));
        }
    }
    findings.extend(keys(pack));
    findings.extend(categories(pack, &mut evaluator));
    findings
}

/// Reports keys of the manifest that define a fact which no rule reads.
fn keys(pack: &Pack) -> Vec<Finding> {
    let manifest = pack.manifest();
    let keys = [
        ("account-closed-after", !manifest.account_closed_after.is_empty(), Fact::Account),
        ("retention", !manifest.retention.is_empty(), Fact::PastRetention),
    ];
    let is_read = |fact| pack.rulebook().rules().iter().any(|rule| rule.mask().contains(fact));
    let unread = keys.into_iter().filter(|&(_, is_set, fact)| is_set && !is_read(fact));
    let finding = |(key, _, fact): (&str, bool, Fact)| {
        Finding::error(
            "key-without-rule",
            format!("`{key}` has no effect: no rule reads the fact that it defines"),
        )
        .hint(format!("add a forbid that then withholds data: `when {{ … context.{} … }}`", fact.name()))
    };
    unread.map(finding).collect()
}

const DEAD: &str = "its conditions contradict each other, or exclude everything in its scope";
const PROHIBITED: &str = "remove it, or add an exception to the prohibition: `policy explain` names it";
const WITHOUT_EFFECT: &str =
    "other rules give the same results: remove it, or extend it to data that they do not cover";

fn at_rule(rule: &Rule, code: &'static str, words: &str, label: &str, hint: &str) -> Finding {
    let place = rule.location();
    let finding = Finding::error(code, format!("the rule `{}` {words}", rule.id));
    finding.at(&place.source, place.head()).label(label).hint(hint)
}

fn clauses(pack: &Pack, scenarios: &[ScenarioCoverage<'_>]) -> Vec<Finding> {
    let by_rules = pack.manifest().clauses.iter().filter(|clause| clause.enforcement == Enforcement::ByRules);
    let mut findings = Vec::new();
    for clause in by_rules {
        let mut find = |code: &'static str, message: String, hint: &str| {
            let finding = Finding::error(code, message).at(&clause.source, clause.at.clone());
            findings.push(finding.label(clause.title.clone()).hint(hint));
        };
        let id = &clause.id;
        let rules = || pack.rulebook().rules().iter().filter(|rule| rule.clauses.contains(id));
        if rules().next().is_none() {
            find(
                "clause-without-rule",
                format!("no rule enforces clause `{id}`"),
                "cite it with `@clause`, or name the mechanism that enforces it",
            );
        }
        let is_kept_by =
            |at: RuleIndex| pack.rulebook().rule(at).is_some_and(|rule| rule.clauses.contains(id));
        let meets = |shown: &&ScenarioCoverage<'_>| shown.rules.iter().any(|&at| is_kept_by(at));
        let cited = || scenarios.iter().filter(|shown| *shown.clause == **id);
        for beside in cited().filter(|shown| rules().next().is_some() && !meets(shown)) {
            find(
                "scenario-beside-clause",
                format!("the scenario `{}` cites clause `{id}` but exercises none of its rules", beside.name),
                "cite the clause of the rule that decides it, or request something that a rule of this clause decides",
            );
        }
        let cited = || cited().filter(meets);
        let count = cited().count();
        let withholding = cited().filter(|shown| shown.withholds).count();
        let prohibits = !rules().any(Rule::is_permit);
        if count < MIN_SCENARIOS {
            let hint = "add one that releases something and one that withholds it; a prohibition needs two that withhold";
            find(
                "clause-without-scenario",
                format!(
                    "clause `{id}` has {count} scenarios that exercise its rules, and needs {MIN_SCENARIOS}"
                ),
                hint,
            );
        } else if prohibits && withholding < MIN_SCENARIOS {
            find(
                "clause-without-scenario",
                format!(
                    "clause `{id}` prohibits, and {withholding} of its scenarios withhold; {MIN_SCENARIOS} should"
                ),
                "add one with another recipient, purpose or category",
            );
        } else if withholding == 0 {
            find(
                "clause-without-scenario",
                format!("no scenario of clause `{id}` withholds anything"),
                "add one that shows the limit of the rule",
            );
        } else if !prohibits && !cited().any(|shown| shown.releases) {
            find(
                "clause-without-scenario",
                format!("no scenario of clause `{id}` releases anything"),
                "add one that shows what the rule is for",
            );
        }
    }
    findings
}

/// True if a permit releases something, or permits some operation, under some circumstances.
fn can_release(pack: &Pack, evaluator: &mut CellEvaluator<'_>, at: RuleIndex) -> bool {
    let words = pack.vocabulary();
    let Some(rule) = pack.rulebook().rule(at) else { return false };
    Operation::ALL.iter().any(|&operation| {
        words.kinds().ids().any(|kind| {
            words.purposes().ids().any(|purpose| {
                let concerned = rule.concerns(kind, purpose, operation);
                concerned
                    && words.categories().ids().any(|category| {
                        let cell = evaluator.cell_for(operation, kind, purpose, category);
                        cell.with_permits(|permit| permit == at).releasing_circumstances().is_some()
                    })
            })
        })
    })
}

fn applies(pack: &Pack, evaluator: &mut CellEvaluator<'_>, at: RuleIndex) -> bool {
    let words = pack.vocabulary();
    words.kinds().ids().any(|kind| {
        words.purposes().ids().any(|purpose| {
            words.categories().ids().any(|category| evaluator.can_apply(at, (kind, purpose, category)))
        })
    })
}

/// Reports leaf categories that are never released although `never-released` does not list them. Also reports
/// categories, leaf or not, that `never-released` lists and that can be released.
fn categories(pack: &Pack, evaluator: &mut CellEvaluator<'_>) -> Vec<Finding> {
    let words = pack.vocabulary();
    let tree = words.categories();
    let mut findings = Vec::new();
    for category in tree.ids() {
        let is_leaf = !tree.ids().any(|other| tree.parent(other) == Some(category));
        let stated = pack.manifest().never_released.contains(&category);
        match (released_to(pack, evaluator, category), stated) {
            (None, false) if is_leaf => {
                let finding = Finding::error(
                    "never-released-category",
                    format!("`{}` is never released", tree.name(category)),
                );
                findings.push(finding.hint("if this is intended, list it in `never-released` in pack.toml"));
            }
            (Some(to), true) => {
                let message =
                    format!("`{}` is listed as never released, but is released to {to}", tree.name(category));
                findings.push(
                    Finding::error("released-category", message)
                        .hint("remove it from `never-released`, or forbid it"),
                );
            }
            (Some(_), false) | (None, _) => {}
        }
    }
    findings
}

fn released_to(pack: &Pack, evaluator: &mut CellEvaluator<'_>, category: CategoryId) -> Option<String> {
    let words = pack.vocabulary();
    for kind in words.kinds().ids() {
        for purpose in words.purposes().ids() {
            if evaluator.cell(kind, purpose, category).releasing_circumstances().is_some() {
                return Some(format!(
                    "`{}` for `{}`",
                    words.kinds().name(kind),
                    words.purposes().name(purpose)
                ));
            }
        }
    }
    None
}
