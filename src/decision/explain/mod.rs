//! Explains why a category leaves, or why it is withheld.
//!
//! Explanations are found by evaluation: each condition of a rule is evaluated by itself, as Cedar runs it.

mod changes;
mod refusal;
mod term_list;
mod text;

use jiff::Timestamp;
use serde::Serialize;

use self::changes::OF_THESE_CATEGORIES;
pub use self::changes::{RequiredChange, RequiredChanges};
pub use self::refusal::{DenialExplanation, no_rule_permits};
use self::term_list::list_terms;
use super::admission::{AdmissionRequest, check};
use super::classes::{operation_classes, with_service_data};
use super::facts::{RecordContext, RequestFacts, is_place_unknown};
use super::scenario;
use super::subject::{Extracted, RecordFacts, Subject};
use crate::policy::{Fact, FactSet, Facts, Mismatch, Pack, Rule};
use crate::vocabulary::{Basis, CategoryId, Form, KindId, Operation, PurposeId, Regions};

/// Maximum number of permits that are named as nearest to releasing a withheld category.
const MAX_NEAREST: usize = 3;

/// Explains what one recipient receives about one person.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The recipient's kind.
    pub kind: String,
    /// The purpose.
    pub purpose: String,
    /// The problem code, if the request is refused before any data are considered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'static str>,
    /// The reason why the request is refused, and the required changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<DenialExplanation>,
    /// For an operation other than `disclose`: the outcome for the described person, and the required changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationExplanation>,
    /// One explanation for each category.
    pub categories: Vec<CategoryOutcome>,
    /// Facts that could not be determined, and the value that each took.
    pub unknown: Vec<String>,
}

/// Explains whether an operation is carried out.
#[derive(Clone, Debug, Serialize)]
pub struct OperationExplanation {
    /// The operation's name.
    pub name: &'static str,
    /// True if the operation is carried out.
    pub carried_out: bool,
    /// The changes that would let it be carried out.
    #[serde(flatten)]
    pub changes: RequiredChanges,
}

/// Explains why one category leaves or is withheld.
#[derive(Clone, Debug, Serialize)]
pub struct CategoryOutcome {
    /// The category's name.
    pub category: String,
    /// A descendant that decides instead: a field of the category may contain data of the descendant, which the
    /// pack never releases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_hold: Option<String>,
    /// The form in which the category leaves.
    pub form: Form,
    /// The legal basis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basis: Option<&'static str>,
    /// The clauses that the deciding rules cite.
    pub clauses: Vec<String>,
    /// The rules that decided: permits if the category leaves, prohibitions if it is withheld.
    pub rules: Vec<String>,
    /// If the category is withheld: the permits that are nearest to releasing it, each with its unmet conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<NearestRule>,
    /// If the category is withheld: the required changes.
    #[serde(flatten)]
    pub changes: RequiredChanges,
}

/// A rule that did not release a category, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NearestRule {
    /// The rule's id.
    pub rule: String,
    /// The clauses that it cites.
    pub clauses: Vec<String>,
    /// The conditions that do not hold.
    pub lacks: Vec<String>,
    /// True if the rule is about this kind of recipient and other purposes.
    #[serde(skip)]
    pub is_elsewhere: bool,
}

/// A request about one person that is to be explained.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The policy pack.
    pub pack: &'a Pack,
    /// The request.
    pub request: &'a AdmissionRequest,
    /// The facts about the person.
    pub facts: &'a scenario::ScenarioFacts,
    /// The facts that the record states itself.
    pub record: &'a RecordFacts,
    /// The time of the request.
    pub now: Timestamp,
}

impl<'a> Question<'a> {
    /// Explains these categories, each by itself.
    pub fn explain(&self, categories: &[CategoryId]) -> Explanation {
        let mut explanation = self.explain_without_changes(categories);
        explanation.refusal = check(self.pack, self.request)
            .err()
            .map(|denial| DenialExplanation::of(self.pack, self.request, denial));
        if explanation.refusal.is_none() {
            let lines = explanation.categories.iter_mut().zip(categories);
            for (line, category) in lines.filter(|(line, _)| line.form == Form::Removed) {
                line.changes = self.changes(Operation::Disclose, &[*category]);
            }
        }
        explanation
    }

    /// Explains a field that holds all of these categories. Returns the nearest permits for its withheld
    /// categories, and the required changes.
    pub fn explain_class(&self, class: &[CategoryId]) -> (Vec<NearestRule>, RequiredChanges) {
        let changes = self.changes(Operation::Disclose, class);
        let explained = self.explain_without_changes(class).categories.into_iter();
        let mut nearest: Vec<NearestRule> = Vec::new();
        for near in explained.filter(|line| line.form == Form::Removed).flat_map(|line| line.nearest) {
            if !nearest.iter().any(|known| known.rule == near.rule) {
                nearest.push(near);
            }
        }
        (nearest, changes)
    }

    /// Returns the changes that would let the request's operation be carried out on a route with these classes of
    /// fields. One permitted class suffices, so the answer with the least effort is returned. The answer is empty
    /// if the rules already permit the operation.
    pub fn explain_operation(&self, classes: &[Vec<CategoryId>]) -> RequiredChanges {
        let operation = self.request.operation;
        let decides = |category: &&CategoryId| self.pack.vocabulary().governs_operations(**category);
        let of = if classes.iter().flatten().any(|category| decides(&category)) {
            OF_THESE_CATEGORIES
        } else {
            ""
        };
        let classes = operation_classes(self.pack, classes);
        let deciding = classes.iter().map(|class| class.iter().filter(decides).copied().collect());
        let deciding: Vec<Vec<CategoryId>> =
            deciding.filter(|class: &Vec<CategoryId>| !class.is_empty()).collect();
        let leaves = |class: &Vec<CategoryId>| {
            changes::leaves(self.pack, self.request, operation, &self.about(), class)
        };
        if deciding.iter().any(leaves) {
            return RequiredChanges::default();
        }
        let found = deciding.iter().map(|class| self.changes(operation, class));
        let least = found.min_by_key(RequiredChanges::effort).unwrap_or_default();
        if least.never.is_none() {
            return least;
        }
        let deciding: Vec<&[CategoryId]> = deciding.iter().map(Vec::as_slice).collect();
        RequiredChanges::never(changes::why_never(self.pack, self.request, operation, of, &deciding))
    }

    fn changes(&self, operation: Operation, class: &[CategoryId]) -> RequiredChanges {
        changes::changes(self.pack, self.request, operation, &self.about(), class)
    }

    fn explain_without_changes(&self, categories: &[CategoryId]) -> Explanation {
        let Question { pack, request, facts: known, record, .. } = *self;
        let vocabulary = pack.vocabulary();
        let refused = check(pack, request).err().map(super::admission::Denial::name);
        let request_facts = RequestFacts::new(pack, request);
        let about = self.about();
        let every: FactSet = Fact::all(vocabulary.relations().len()).collect();
        let shared = request_facts.record_facts(pack, every, &about);
        let overrides =
            request_facts.category_overrides(pack, every, &about, &pack.judged_categories(categories));
        let per_category: FactSet = super::facts::PER_CATEGORY.into_iter().collect();
        let explained = categories.iter().map(|&field| {
            let case = |category| {
                let own = overrides.iter().find(|(of, _)| *of == category);
                let facts = own.map_or(shared, |(_, own)| shared.overlay(*own, per_category));
                let facts = facts.with_flag(Fact::WithServiceData, with_service_data(pack, &[field]));
                CategoryEvaluation { pack, request, category, facts }
            };
            let own = case(field);
            if refused.is_some() {
                return own.withheld(own.nearest());
            }
            let own = own.explained();
            let held = pack.judged_categories(&[field]).into_iter().filter(|&held| held != field);
            let mut stricter = held.map(|held| case(held).explained()).filter(|line| line.form > own.form);
            match stricter.next() {
                Some(held) => {
                    CategoryOutcome { category: own.category, may_hold: Some(held.category), ..held }
                }
                None => own,
            }
        });
        Explanation {
            kind: vocabulary.kinds().name(request.recipient.kind).to_owned(),
            purpose: vocabulary.purposes().name(request.purpose).to_owned(),
            refused,
            refusal: None,
            operation: None,
            categories: explained.collect(),
            unknown: unknown_facts(&known.subject, record, request, vocabulary.regions()),
        }
    }

    fn about(&self) -> RecordContext<'a> {
        RecordContext {
            subject: &self.facts.subject,
            controller: &self.facts.controller,
            record: self.record,
            relationship: self.facts.relationship,
            now: self.now,
        }
    }
}

/// Explains these categories for one request about one person, without the required changes.
pub fn explain_only(
    pack: &Pack,
    request: &AdmissionRequest,
    about: &scenario::ScenarioFacts,
    record: &RecordFacts,
    now: Timestamp,
    categories: &[CategoryId],
) -> Explanation {
    Question { pack, request, facts: about, record, now }.explain_without_changes(categories)
}

/// The evaluation of one category with given facts.
#[derive(Clone, Copy, Debug)]
struct CategoryEvaluation<'a> {
    pack: &'a Pack,
    request: &'a AdmissionRequest,
    category: CategoryId,
    facts: Facts,
}

impl CategoryEvaluation<'_> {
    fn explained(&self) -> CategoryOutcome {
        let rulebook = self.pack.rulebook();
        let verdict =
            rulebook.judge(self.request.recipient.kind, self.request.purpose, self.category, self.facts);
        if verdict.form == Form::Removed {
            return self.withheld(self.nearest());
        }
        let rules: Vec<&Rule> = verdict.rules.iter().filter_map(|&at| rulebook.rule(at)).collect();
        CategoryOutcome {
            category: self.name(),
            may_hold: None,
            form: verdict.form,
            basis: verdict.basis.map(Basis::name),
            clauses: clauses(&rules),
            rules: ids(&rules),
            nearest: Vec::new(),
            changes: RequiredChanges::default(),
        }
    }

    fn withheld(&self, nearest: Vec<NearestRule>) -> CategoryOutcome {
        let forbids = self.pack.rulebook().rules().iter().filter(|rule| !rule.is_permit());
        let applying: Vec<&Rule> = forbids.filter(|rule| self.lacks(rule).is_empty()).collect();
        CategoryOutcome {
            category: self.name(),
            may_hold: None,
            form: Form::Removed,
            basis: None,
            clauses: clauses(&applying),
            rules: ids(&applying),
            nearest,
            changes: RequiredChanges::default(),
        }
    }

    /// Returns the permits for this kind and purpose with the fewest unmet conditions. If there are none, returns
    /// permits for this kind and another purpose, or for this purpose and another kind. All other permits concern
    /// other recipients and other purposes, so they are not named.
    fn nearest(&self) -> Vec<NearestRule> {
        let permits = self.pack.rulebook().rules().iter().filter(|rule| rule.is_permit());
        let permits = permits.map(|rule| (rule.mismatch(self.point()), rule));
        let near = permits
            .filter(|(misses, rule)| !misses.category && !misses.operation && self.is_near(*misses, rule));
        let ranked = near.map(|(misses, rule)| {
            let nearest = NearestRule {
                rule: rule.id.to_string(),
                clauses: rule.clauses.iter().map(ToString::to_string).collect(),
                lacks: self.lacks(rule),
                is_elsewhere: misses.purpose && !misses.kind,
            };
            ((misses.kind || misses.purpose || misses.joint, nearest.lacks.len()), nearest)
        });
        let mut ranked: Vec<((bool, usize), NearestRule)> = ranked.collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        let least = ranked.first().map(|(rank, _)| *rank);
        let near = ranked.into_iter().take_while(|(rank, _)| Some(*rank) == least).take(MAX_NEAREST);
        near.map(|(_, nearest)| nearest).collect()
    }

    /// True if a rule is about this kind or a descendant, or about this purpose or a descendant.
    fn is_near(&self, misses: Mismatch, rule: &Rule) -> bool {
        let (kind, purpose, _) = self.point();
        let vocabulary = self.pack.vocabulary();
        let below_kind =
            || vocabulary.kinds().ids().filter(|id| vocabulary.kinds().within(*id, kind)).any(rule.kinds());
        let below_purpose = || {
            vocabulary
                .purposes()
                .ids()
                .filter(|id| vocabulary.purposes().within(*id, purpose))
                .any(rule.purposes())
        };
        !misses.kind || !misses.purpose || below_kind() || below_purpose()
    }

    fn point(&self) -> (KindId, PurposeId, CategoryId) {
        (self.request.recipient.kind, self.request.purpose, self.category)
    }

    /// Describes what keeps a rule from applying.
    fn lacks(&self, rule: &Rule) -> Vec<String> {
        let vocabulary = self.pack.vocabulary();
        let (misses, conditions) = self.pack.rulebook().unmet(rule, self.point(), self.facts);
        let mut lacks = Vec::new();
        if misses.kind {
            let groups = vocabulary.kind_groups().iter();
            let groups = groups.map(|group| (group.name.as_str(), group.members.as_slice()));
            lacks
                .push(format!("is for {}", or_nothing(list_terms(vocabulary.kinds(), rule.kinds(), groups))));
        }
        if misses.purpose {
            lacks.push(format!(
                "is for the purpose {}",
                or_nothing(list_terms(vocabulary.purposes(), rule.purposes(), std::iter::empty()))
            ));
        }
        if misses.category {
            let groups = vocabulary.category_groups().iter();
            let groups = groups.map(|group| (group.name.as_str(), group.members.as_slice()));
            lacks.push(format!(
                "is about {}",
                or_nothing(list_terms(vocabulary.categories(), rule.categories(), groups))
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

    /// Describes a condition that does not hold, with the present facts.
    fn condition(&self, mask: FactSet, text: &str) -> String {
        let purpose = self.pack.vocabulary().purposes().name(self.request.purpose);
        let consent = mask.facts().eq([Fact::Consent]);
        if consent {
            let has = match self.facts.value_name(Fact::Consent) {
                "none" => "the ledger has none".to_owned(),
                status => format!("it is {status}"),
            };
            return format!("needs consent for `{purpose}`; {has}");
        }
        if mask.facts().eq([Fact::Objection]) {
            return format!("yields to the objection to `{purpose}`");
        }
        let facts =
            mask.facts().map(|fact| format!("{} is {}", self.fact_name(fact), self.facts.value_name(fact)));
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

fn or_nothing(names: Option<String>) -> String {
    names.unwrap_or_else(|| "nothing".to_owned())
}

/// Lists facts that are unknown, and the value that each took.
fn unknown_facts(
    subject: &Subject,
    record: &RecordFacts,
    request: &AdmissionRequest,
    regions: &Regions,
) -> Vec<String> {
    let mut notes = Vec::new();
    if is_place_unknown(subject, record, regions) {
        notes.push(
            "the person's region is unknown: it counts as the EEA for transfers and equals no region"
                .to_owned(),
        );
    }
    if request.recipient.region(regions).is_none() {
        notes.push(
            "the recipient's region is unknown or contradicts its country: it counts as outside the EEA and equals no region"
                .to_owned(),
        );
    }
    if record.birth_date == Extracted::Unreadable {
        notes.push("the birth date cannot be read: the person counts as a minor".to_owned());
    }
    if record.account_closed == Extracted::Unreadable {
        notes.push(
            "the closing date cannot be read: the account counts as closed for longer than the pack's periods"
                .to_owned(),
        );
    }
    if record.origin == Extracted::Unreadable {
        notes.push("the origin cannot be read: it counts as a referral".to_owned());
    }
    if record.created == Extracted::Unreadable {
        notes.push("the record's age cannot be read: it counts as older than it may be kept".to_owned());
    }
    notes
}
