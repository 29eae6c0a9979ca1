//! Why a category leaves, or what it would have needed.
//!
//! Worked out by evaluation: each condition of a rule, as Cedar runs it, is asked by itself.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::admission::{Asking, check};
use super::gather::{About, Exchange};
use super::scenario;
use super::subject::{RecordFacts, Subject, Unsure};
use crate::policy::{Fact, Facts, Mask, Pack, Rule};
use crate::vocabulary::{CategoryId, Form, Regions, TermId, Tree};

/// How many rules are named that would have released a withheld category.
const NEAREST: usize = 3;

/// Why one recipient receives what it does about one person.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub kind: String,
    pub purpose: String,
    /// The problem code, where the request is refused before anybody's data are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'static str>,
    pub categories: Vec<Explained>,
    /// Facts that could not be determined, and the value each took.
    pub unknown: Vec<String>,
}

/// Why one category leaves, or does not.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    pub category: String,
    pub form: Form,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basis: Option<&'static str>,
    pub clauses: Vec<String>,
    /// The rules that decided: permits of what leaves, forbids of what was withheld.
    pub rules: Vec<String>,
    /// For what is withheld: the rules that would have released it, and what each lacked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<Nearest>,
}

/// A rule that did not release, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Nearest {
    pub rule: String,
    pub clauses: Vec<String>,
    pub lacks: Vec<String>,
}

/// Explains every category of the vocabulary for one request about one person.
pub fn explain(
    pack: &Pack,
    asking: &Asking,
    about: &scenario::Facts,
    record: &RecordFacts,
    now: Timestamp,
) -> Explanation {
    explain_only(pack, asking, about, record, now, &pack.vocabulary().categories().in_order())
}

/// Explains these categories for one request about one person.
pub fn explain_only(
    pack: &Pack,
    asking: &Asking,
    about: &scenario::Facts,
    record: &RecordFacts,
    now: Timestamp,
    categories: &[CategoryId],
) -> Explanation {
    let words = pack.vocabulary();
    let refused = check(pack, asking).err().map(|denial| denial.code());
    let exchange = Exchange::new(pack, asking);
    let about = About {
        subject: &about.subject,
        controller: &about.controller,
        record,
        relationship: about.relationship,
        now,
    };
    let every: Mask = Fact::all(words.relations().len()).collect();
    let shared = exchange.about(pack, every, &about);
    let overrides = exchange.overrides(pack, every, &about, categories);
    let per_category: Mask = super::gather::PER_CATEGORY.into_iter().collect();
    let explained = categories.iter().map(|&category| {
        let own = overrides.iter().find(|(of, _)| *of == category);
        let facts = own.map_or(shared, |(_, own)| shared.overlaid(*own, per_category));
        let is_service_data = words.categories().name(category) == "service-data";
        let case =
            Case { pack, asking, category, facts: facts.with_flag(Fact::WithServiceData, is_service_data) };
        if refused.is_some() { case.withheld(case.nearest()) } else { case.explained() }
    });
    Explanation {
        kind: words.kinds().name(asking.recipient.kind).to_owned(),
        purpose: words.purposes().name(asking.purpose).to_owned(),
        refused,
        categories: explained.collect(),
        unknown: unknown(about.subject, record, asking, words.regions()),
    }
}

/// One category in one situation.
#[derive(Clone, Copy, Debug)]
struct Case<'a> {
    pack: &'a Pack,
    asking: &'a Asking,
    category: CategoryId,
    facts: Facts,
}

impl Case<'_> {
    fn explained(&self) -> Explained {
        let rulebook = self.pack.rulebook();
        let verdict =
            rulebook.judge(self.asking.recipient.kind, self.asking.purpose, self.category, self.facts);
        if verdict.form == Form::Removed {
            return self.withheld(self.nearest());
        }
        let rules: Vec<&Rule> = verdict.rules.iter().filter_map(|&at| rulebook.rule(at)).collect();
        Explained {
            category: self.name(),
            form: verdict.form,
            basis: verdict.basis.map(|basis| basis.name()),
            clauses: clauses(&rules),
            rules: ids(&rules),
            nearest: Vec::new(),
        }
    }

    fn withheld(&self, nearest: Vec<Nearest>) -> Explained {
        let forbids = self.pack.rulebook().rules().iter().filter(|rule| !rule.is_permit());
        let applying: Vec<&Rule> = forbids.filter(|rule| self.lacks(rule).is_empty()).collect();
        Explained {
            category: self.name(),
            form: Form::Removed,
            basis: None,
            clauses: clauses(&applying),
            rules: ids(&applying),
            nearest,
        }
    }

    /// The permits for this kind and purpose that lack least; where there are none, those for others.
    fn nearest(&self) -> Vec<Nearest> {
        let permits = self.pack.rulebook().rules().iter().filter(|rule| rule.is_permit());
        let mut ranked: Vec<((bool, usize), &Rule, Vec<String>)> = permits
            .map(|rule| (rule.misses(self.point()), rule, self.lacks(rule)))
            .filter(|(misses, _, _)| !misses.category && !misses.operation)
            .map(|(misses, rule, lacks)| {
                ((misses.kind || misses.purpose || misses.joint, lacks.len()), rule, lacks)
            })
            .collect();
        ranked.sort_by_key(|(rank, _, _)| *rank);
        let least = ranked.first().map(|(rank, _, _)| *rank);
        let near = ranked.into_iter().take_while(|(rank, _, _)| Some(*rank) == least).take(NEAREST);
        near.map(|(_, rule, lacks)| Nearest {
            rule: rule.id.to_string(),
            clauses: rule.clauses.iter().map(ToString::to_string).collect(),
            lacks,
        })
        .collect()
    }

    fn point(&self) -> (crate::vocabulary::KindId, crate::vocabulary::PurposeId, CategoryId) {
        (self.asking.recipient.kind, self.asking.purpose, self.category)
    }

    /// What keeps a rule from applying here, in words.
    fn lacks(&self, rule: &Rule) -> Vec<String> {
        let words = self.pack.vocabulary();
        let (misses, conditions) = self.pack.rulebook().lacks(rule, self.point(), self.facts);
        let mut lacks = Vec::new();
        if misses.kind {
            let groups = words.groups().iter().map(|group| (group.name.as_str(), group.kinds.as_slice()));
            lacks.push(format!("is for {}", covered(words.kinds(), rule.kinds(), groups)));
        }
        if misses.purpose {
            lacks.push(format!(
                "is for the purpose {}",
                covered(words.purposes(), rule.purposes(), std::iter::empty())
            ));
        }
        if misses.category {
            lacks.push(format!(
                "is about {}",
                covered(words.categories(), rule.categories(), std::iter::empty())
            ));
        }
        if misses.joint {
            lacks.push("excludes this recipient, purpose and category together".to_owned());
        }
        for condition in conditions.into_iter().filter_map(|at| rule.conditions().get(at)) {
            lacks.push(self.condition(condition.mask, &condition.text));
        }
        lacks
    }

    /// A condition that does not hold, with the facts as they are.
    fn condition(&self, mask: Mask, text: &str) -> String {
        let purpose = self.pack.vocabulary().purposes().name(self.asking.purpose);
        let consent = mask.facts().eq([Fact::Consent]);
        if consent {
            let has = match self.facts.word(Fact::Consent) {
                "none" => "the ledger has none".to_owned(),
                status => format!("it is {status}"),
            };
            return format!("needs consent for `{purpose}`; {has}");
        }
        if mask.facts().eq([Fact::Objection]) {
            return format!("yields to the objection to `{purpose}`");
        }
        let facts = mask.facts().map(|fact| format!("{} is {}", self.fact_name(fact), self.facts.word(fact)));
        let facts: Vec<String> = facts.collect();
        format!("needs {text}; {}", facts.join(", "))
    }

    fn fact_name(&self, fact: Fact) -> String {
        match fact {
            Fact::Relation(relation) => {
                format!("relation `{}`", self.pack.vocabulary().relations().name(relation))
            }
            other => other.name().replace('_', " "),
        }
    }

    fn name(&self) -> String {
        self.pack.vocabulary().categories().name(self.category).to_owned()
    }
}

fn clauses(rules: &[&Rule]) -> Vec<String> {
    let mut clauses: Vec<String> = Vec::new();
    for clause in rules.iter().flat_map(|rule| &rule.clauses) {
        if !clauses.iter().any(|known| **known == **clause) {
            clauses.push(clause.to_string());
        }
    }
    clauses
}

fn ids(rules: &[&Rule]) -> Vec<String> {
    rules.iter().map(|rule| rule.id.to_string()).collect()
}

/// A set of terms by its outermost names: `marketing` rather than all its children, and
/// `service-provision` but `invoicing` where a child is left out.
fn covered<'g, I: TermId + 'g>(
    tree: &Tree<I>,
    set: impl Fn(I) -> bool,
    groups: impl Iterator<Item = (&'g str, &'g [I])>,
) -> String {
    let (mut names, mut grouped) = (Vec::new(), Vec::new());
    for (name, members) in groups.filter(|(_, members)| members.iter().all(|&member| set(member))) {
        names.push(format!("`{name}`"));
        grouped.extend(members);
    }
    let top = |id: I| set(id) && !tree.parent(id).is_some_and(&set);
    for outer in tree.in_order().into_iter().filter(|&id| top(id) && !grouped.contains(&id)) {
        let left_out = tree.in_order().into_iter().filter(|&inner| {
            tree.within(inner, outer) && !set(inner) && tree.parent(inner).is_some_and(&set)
        });
        let left_out: Vec<String> = left_out.map(|inner| format!("`{}`", tree.name(inner))).collect();
        let but = if left_out.is_empty() { String::new() } else { format!(" but {}", left_out.join(", ")) };
        names.push(format!("`{}`{but}", tree.name(outer)));
    }
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// Facts that nobody knows, and what they were taken for.
fn unknown(subject: &Subject, record: &RecordFacts, asking: &Asking, regions: &Regions) -> Vec<String> {
    let mut notes = Vec::new();
    let silent = record.region == Unsure::Absent && record.country == Unsure::Absent;
    let unreadable = record.region == Unsure::Unreadable || record.country == Unsure::Unreadable;
    if (subject.region.is_none() && subject.country.is_none() && silent) || unreadable {
        notes.push(
            "the person's region is not known: it counts as the EEA for transfers, and equals no other"
                .to_owned(),
        );
    }
    if asking.recipient.region(regions).is_none() {
        notes.push(
            "the recipient's region is not known, or contradicts its country: it counts as outside the EEA, and equals no other"
                .to_owned(),
        );
    }
    if record.birth_date == Unsure::Unreadable {
        notes.push("the birth date cannot be read: the person counts as a minor".to_owned());
    }
    if record.account_closed == Unsure::Unreadable {
        notes.push(
            "the closing date cannot be read: the account counts as closed for longer than the pack keeps its data"
                .to_owned(),
        );
    }
    if record.origin == Unsure::Unreadable {
        notes.push("the origin cannot be read: it counts as a referral".to_owned());
    }
    if record.created == Unsure::Unreadable {
        notes.push("the record's age cannot be read: it counts as older than it may be kept".to_owned());
    }
    notes
}

impl Explanation {
    /// One line a category; below what is withheld, what stood in the way.
    pub fn to_text(&self) -> String {
        let mut text = format!("`{}` asks for `{}`\n", self.kind, self.purpose);
        if let Some(code) = self.refused {
            let _ = writeln!(text, "refused before anything is read: {code}");
        }
        for line in &self.categories {
            let basis = line.basis.unwrap_or("");
            let by = if line.rules.is_empty() {
                String::new()
            } else {
                format!("{}  [{}]", line.rules.join(", "), line.clauses.join(", "))
            };
            let written = format!("{:22} {:13} {basis:19} {by}", line.category, line.form.name());
            let _ = writeln!(text, "{}", written.trim_end());
            // Rules that lack several things are for others: one of them is enough to read.
            let shown =
                if line.nearest.iter().all(|near| near.lacks.len() > 1) { 1 } else { line.nearest.len() };
            for near in line.nearest.iter().take(shown) {
                let lacks = if near.lacks.is_empty() {
                    "would release, but a forbid wins".to_owned()
                } else {
                    near.lacks.join("; ")
                };
                let _ = writeln!(text, "{:22}   {} [{}]: {lacks}", "", near.rule, near.clauses.join(", "));
            }
        }
        for note in &self.unknown {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}
