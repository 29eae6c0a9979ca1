//! What a pack leaves uncovered: clauses without rules, rules that never apply, categories nobody gets.

use super::manifest::Kept;
use super::pack::Pack;
use super::rulebook::RuleAt;
use super::search::Search;
use crate::finding::Finding;
use crate::vocabulary::CategoryId;

/// How many scenarios a clause that rules keep needs.
const SCENARIOS: usize = 2;

/// What a scenario shows, and for which clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown<'s> {
    pub clause: &'s str,
    /// Something leaves in it.
    pub releases: bool,
    /// Something is withheld in it.
    pub withholds: bool,
}

/// What is not covered, given what the scenarios show. Empty is as it should be.
///
/// That a rule cites a clause, and that nothing rests on consent and on something else, is seen to
/// when a pack is loaded.
pub fn uncovered(pack: &Pack, scenarios: &[Shown<'_>]) -> Vec<Finding> {
    let mut findings = clauses(pack, scenarios);
    let mut search = Search::new(pack.rulebook());
    findings.extend(dead_rules(pack, &mut search));
    findings.extend(categories(pack, &mut search));
    findings
}

fn clauses(pack: &Pack, scenarios: &[Shown<'_>]) -> Vec<Finding> {
    let by_rules = pack.manifest().clauses.iter().filter(|clause| clause.kept == Kept::ByRules);
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
        let cited = || scenarios.iter().filter(|shown| *shown.clause == **id);
        let count = cited().count();
        if count < SCENARIOS {
            let hint =
                "one in which something leaves, one in which it does not; a prohibition two of the latter";
            find(
                "clause-without-scenario",
                format!("clause `{id}` has {count} scenarios, and needs {SCENARIOS}"),
                hint,
            );
        } else if !cited().any(|shown| shown.withholds) {
            find(
                "clause-without-scenario",
                format!("no scenario of clause `{id}` withholds anything"),
                "show where it ends",
            );
        } else if rules().any(super::Rule::is_permit) && !cited().any(|shown| shown.releases) {
            find(
                "clause-without-scenario",
                format!("no scenario of clause `{id}` releases anything"),
                "show what it is for",
            );
        }
    }
    findings
}

/// Rules that apply under no circumstances.
fn dead_rules(pack: &Pack, search: &mut Search<'_>) -> Vec<Finding> {
    let rules = (0..).zip(pack.rulebook().rules());
    let dead = rules.filter(|(at, _)| !applies(pack, search, *at));
    dead.map(|(_, rule)| {
        let place = rule.place();
        let finding = Finding::error("dead-rule", format!("the rule `{}` can never apply", rule.id))
            .at(&place.source, place.head());
        finding
            .label("nobody is in its reach")
            .hint("its conditions exclude each other, or exclude all that its scope names")
    })
    .collect()
}

fn applies(pack: &Pack, search: &mut Search<'_>, at: RuleAt) -> bool {
    let words = pack.vocabulary();
    words.kinds().ids().any(|kind| {
        words.purposes().ids().any(|purpose| {
            words.categories().ids().any(|category| search.can_apply(at, (kind, purpose, category)))
        })
    })
}

/// Categories that never leave although nobody says so, and those that do although somebody does. Where a
/// category has others below it, these are what a pack has to speak of.
fn categories(pack: &Pack, search: &mut Search<'_>) -> Vec<Finding> {
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

fn released_to(pack: &Pack, search: &mut Search<'_>, category: CategoryId) -> Option<String> {
    let words = pack.vocabulary();
    for kind in words.kinds().ids() {
        for purpose in words.purposes().ids() {
            if search.slice(kind, purpose, category).releases().is_some() {
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
