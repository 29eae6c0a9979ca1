//! What a pack leaves uncovered: clauses without rules, rules that never apply, categories nobody gets.

use super::cell_evaluator::CellEvaluator;
use super::facts::Fact;
use super::manifest::Enforcement;
use super::pack::Pack;
use super::rule::Rule;
use super::rulebook::RuleIndex;
use crate::finding::Finding;
use crate::vocabulary::{CategoryId, Operation};

/// How many scenarios a clause that rules keep needs.
const MIN_SCENARIOS: usize = 2;

/// What a scenario shows, and for which clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioCoverage<'s> {
    pub name: &'s str,
    pub clause: &'s str,
    /// Something leaves in it.
    pub releases: bool,
    /// Something is withheld in it.
    pub withholds: bool,
    /// The rules that it shows something of: what they are for, or where they end.
    pub rules: Vec<RuleIndex>,
}

/// What is not covered, given what the scenarios show and which rules have no effect
/// ([`crate::decision::mutation::without_effect`]). Empty is as it should be.
///
/// That a rule cites a clause, and that nothing rests on consent and on something else, is seen to
/// when a pack is loaded.
pub fn uncovered(
    pack: &Pack,
    scenarios: &[ScenarioCoverage<'_>],
    without_effect: &[RuleIndex],
) -> Vec<Finding> {
    let mut findings = clauses(pack, scenarios);
    let mut search = CellEvaluator::new(pack.rulebook());
    let rules: Vec<(RuleIndex, &Rule)> = (0..).zip(pack.rulebook().rules()).collect();
    for (at, rule) in rules {
        if !applies(pack, &mut search, at) {
            findings.push(at_rule(rule, "dead-rule", "can never apply", "nobody is in its reach", DEAD));
        } else if rule.is_permit() && !can_release(pack, &mut search, at) {
            let (words, label) = ("is a permit that a prohibition always beats", "releases nothing");
            findings.push(at_rule(rule, "permit-always-prohibited", words, label, PROHIBITED));
        } else if without_effect.contains(&at) && !pack.is_of_base(rule) {
            // A rule of a base may be about what another pack releases.
            let (words, label) = ("changes nothing", "without it the same leaves");
            findings.push(at_rule(rule, "rule-without-effect", words, label, WITHOUT_EFFECT));
        }
    }
    findings.extend(keys(pack));
    findings.extend(categories(pack, &mut search));
    findings
}

/// Keys of the manifest that give a fact its meaning, where no rule looks at the fact.
fn keys(pack: &Pack) -> Vec<Finding> {
    let manifest = pack.manifest();
    let keys = [
        ("account-closed-after", !manifest.account_closed_after.is_empty(), Fact::Account),
        ("retention", !manifest.retention.is_empty(), Fact::PastRetention),
    ];
    let is_read = |fact| pack.rulebook().rules().iter().any(|rule| rule.mask().contains(fact));
    let unread = keys.into_iter().filter(|&(_, is_set, fact)| is_set && !is_read(fact));
    let finding = |(key, _, fact): (&str, bool, Fact)| {
        Finding::error("key-without-rule", format!("`{key}` changes nothing: no rule looks at its fact"))
            .hint(format!("forbid what is then to be withheld: `when {{ … context.{} … }}`", fact.name()))
    };
    unread.map(finding).collect()
}

const DEAD: &str = "its conditions exclude each other, or exclude all that its scope names";
const PROHIBITED: &str = "take it out, or make an exception in the prohibition: `policy explain` names it";
const WITHOUT_EFFECT: &str = "other rules say the same: take it out, or say in it what they do not";

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
                format!("no rule keeps clause `{id}`"),
                "cite it with `@clause`, or say what else keeps it",
            );
        }
        let is_kept_by =
            |at: RuleIndex| pack.rulebook().rule(at).is_some_and(|rule| rule.clauses.contains(id));
        let meets = |shown: &&ScenarioCoverage<'_>| shown.rules.iter().any(|&at| is_kept_by(at));
        let cited = || scenarios.iter().filter(|shown| *shown.clause == **id);
        for beside in cited().filter(|shown| rules().next().is_some() && !meets(shown)) {
            find(
                "scenario-beside-clause",
                format!("the scenario `{}` cites clause `{id}` and meets none of its rules", beside.name),
                "cite the clause of the rule that decides it, or ask for what a rule of this one is about",
            );
        }
        let cited = || cited().filter(meets);
        let count = cited().count();
        let withholding = cited().filter(|shown| shown.withholds).count();
        let prohibits = !rules().any(Rule::is_permit);
        if count < MIN_SCENARIOS {
            let hint =
                "one in which something leaves, one in which it does not; a prohibition two of the latter";
            find(
                "clause-without-scenario",
                format!("clause `{id}` has {count} scenarios that meet its rules, and needs {MIN_SCENARIOS}"),
                hint,
            );
        } else if prohibits && withholding < MIN_SCENARIOS {
            find(
                "clause-without-scenario",
                format!(
                    "clause `{id}` prohibits, and {withholding} of its scenarios withhold; {MIN_SCENARIOS} should"
                ),
                "show with another recipient, purpose or category what never leaves",
            );
        } else if withholding == 0 {
            find(
                "clause-without-scenario",
                format!("no scenario of clause `{id}` withholds anything"),
                "show where it ends",
            );
        } else if !prohibits && !cited().any(|shown| shown.releases) {
            find(
                "clause-without-scenario",
                format!("no scenario of clause `{id}` releases anything"),
                "show what it is for",
            );
        }
    }
    findings
}

/// True if a permit releases something, or lets something be carried out, under some circumstances.
fn can_release(pack: &Pack, search: &mut CellEvaluator<'_>, at: RuleIndex) -> bool {
    let words = pack.vocabulary();
    let Some(rule) = pack.rulebook().rule(at) else { return false };
    Operation::ALL.iter().any(|&operation| {
        words.kinds().ids().any(|kind| {
            words.purposes().ids().any(|purpose| {
                let concerned = rule.concerns(kind, purpose, operation);
                concerned
                    && words.categories().ids().any(|category| {
                        let slice = search.cell_for(operation, kind, purpose, category);
                        slice.with_permits(|permit| permit == at).releasing_circumstances().is_some()
                    })
            })
        })
    })
}

fn applies(pack: &Pack, search: &mut CellEvaluator<'_>, at: RuleIndex) -> bool {
    let words = pack.vocabulary();
    words.kinds().ids().any(|kind| {
        words.purposes().ids().any(|purpose| {
            words.categories().ids().any(|category| search.can_apply(at, (kind, purpose, category)))
        })
    })
}

/// Categories that never leave although nobody says so, and those that do although somebody does. Where a
/// category has others below it, these are what a pack has to speak of.
fn categories(pack: &Pack, search: &mut CellEvaluator<'_>) -> Vec<Finding> {
    let words = pack.vocabulary();
    let tree = words.categories();
    let mut findings = Vec::new();
    for category in tree.ids() {
        let is_leaf = !tree.ids().any(|other| tree.parent(other) == Some(category));
        let stated = pack.manifest().never_released.contains(&category);
        match (released_to(pack, search, category), stated) {
            (None, false) if is_leaf => {
                let finding = Finding::error(
                    "never-released-category",
                    format!("nobody ever receives `{}`", tree.name(category)),
                );
                findings.push(finding.hint("if that is meant, list it in `never-released` in pack.toml"));
            }
            (Some(to), true) => {
                let message =
                    format!("`{}` is stated never to leave, and leaves to {to}", tree.name(category));
                findings.push(
                    Finding::error("released-category", message)
                        .hint("take it from `never-released`, or forbid it"),
                );
            }
            (Some(_), false) | (None, _) => {}
        }
    }
    findings
}

fn released_to(pack: &Pack, search: &mut CellEvaluator<'_>, category: CategoryId) -> Option<String> {
    let words = pack.vocabulary();
    for kind in words.kinds().ids() {
        for purpose in words.purposes().ids() {
            if search.cell(kind, purpose, category).releasing_circumstances().is_some() {
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
