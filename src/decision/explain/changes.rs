//! Finds changes that would let a withheld field leave.
//!
//! The decision is evaluated again with one fact changed, then with two, until something leaves. Hence the named
//! changes are sufficient, and none of the changes named together can be omitted.

use serde::Serialize;

use super::super::admission::AdmissionRequest;
use super::super::admitted::Slice;
use super::super::classes::Classes;
use super::super::decision_key::DecisionKey;
use super::super::facts::{PER_CATEGORY, RecordContext, RequestFacts};
use super::super::permit::ClassId;
use super::term_list::list_terms;
use crate::policy::{ConsentFact, Fact, ObjectionFact, Pack};
use crate::vocabulary::{CategoryId, Form, Operation, PurposeId, Vocabulary};

/// Maximum number of facts that are changed together.
const MAX_TOGETHER: usize = 4;
/// Maximum number of decisions that are evaluated for one answer.
const MAX_TRIALS: usize = 4096;
/// Maximum number of alternatives in an answer.
const MAX_ALTERNATIVES: usize = 6;
/// The kind of a change of the mapping.
const MAPPING: &str = "mapping";

/// One required change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequiredChange {
    /// The kind of change: `consent`, `agreement`, `relation`, …
    pub what: &'static str,
    /// The change in words.
    pub text: String,
}

impl RequiredChange {
    /// Creates a change of a kind.
    pub fn new(what: &'static str, text: impl Into<String>) -> RequiredChange {
        RequiredChange { what, text: text.into() }
    }
}

/// Alternatives: sets of changes, each of which would let a field leave or an operation be carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequiredChanges {
    /// The alternatives, each with all the changes that it needs; empty if nothing is known to suffice.
    #[serde(rename = "changes", skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Vec<RequiredChange>>,
    /// The reason why no change would suffice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub never: Option<String>,
}

impl RequiredChanges {
    /// Creates an answer with a single sufficient change.
    pub fn one(what: &'static str, text: impl Into<String>) -> RequiredChanges {
        RequiredChanges { alternatives: vec![vec![RequiredChange::new(what, text)]], never: None }
    }

    /// Creates an answer which states that no change would suffice, and the reason.
    pub fn never(why: impl Into<String>) -> RequiredChanges {
        RequiredChanges { alternatives: Vec::new(), never: Some(why.into()) }
    }

    /// Adds a change that comes first in every alternative.
    #[must_use]
    pub fn preceded_by(self, first: &RequiredChange) -> RequiredChanges {
        if self.never.is_some() {
            return self;
        }
        let mut alternatives = self.alternatives;
        if alternatives.is_empty() {
            alternatives.push(Vec::new());
        }
        for alternative in &mut alternatives {
            alternative.insert(0, first.clone());
        }
        RequiredChanges { alternatives, never: None }
    }

    /// Sort key by effort, least first: answers that only change facts, fewest first; answers that change the
    /// mapping; answers without a change that is known to suffice; answers which state that no change would
    /// suffice.
    pub(super) fn effort(&self) -> (bool, bool, bool, usize) {
        let mapping = self.alternatives.iter().flatten().any(|change| change.what == MAPPING);
        let fewest = self.alternatives.iter().map(Vec::len).min().unwrap_or(usize::MAX);
        (self.never.is_some(), self.alternatives.is_empty(), mapping, fewest)
    }

    /// Formats the alternatives on one line; `None` if there are none.
    pub fn to_text(&self) -> Option<String> {
        if let Some(why) = &self.never {
            return Some(format!("nothing: {why}"));
        }
        let together = |changes: &Vec<RequiredChange>| {
            changes.iter().map(|change| change.text.as_str()).collect::<Vec<_>>().join(", and ")
        };
        let alternatives: Vec<String> = self.alternatives.iter().map(together).collect();
        (!alternatives.is_empty()).then(|| alternatives.join("; or "))
    }
}

/// Returns the changes that would let a field with these categories leave, or let the operation be carried out on
/// it. The result is empty if no change is needed.
pub(super) fn changes(
    pack: &Pack,
    request: &AdmissionRequest,
    operation: Operation,
    about: &RecordContext<'_>,
    class: &[CategoryId],
) -> RequiredChanges {
    let trial = Trial::new(pack, request, operation, about, class);
    if trial.leaves(&[]) {
        return RequiredChanges::default();
    }
    let solutions = trial.solutions();
    if solutions.is_empty() && !trial.can_leave(request.purpose) {
        let why = || why_never(pack, request, operation, OF_THESE_CATEGORIES, &[class]);
        return trial.narrower().unwrap_or_else(|| RequiredChanges::never(why()));
    }
    let alternatives = merged(solutions).into_iter().take(MAX_ALTERNATIVES);
    let alternatives = alternatives
        .map(|solution| solution.iter().map(|(fact, values)| trial.describe(*fact, values)).collect());
    RequiredChanges { alternatives: alternatives.collect(), never: None }
}

/// True if a field with these categories leaves, or the operation is carried out on it, with the present facts.
pub(super) fn leaves(
    pack: &Pack,
    request: &AdmissionRequest,
    operation: Operation,
    about: &RecordContext<'_>,
    class: &[CategoryId],
) -> bool {
    Trial::new(pack, request, operation, about, class).leaves(&[])
}

/// Suffix for an operation that is explained for some categories only.
pub(super) const OF_THESE_CATEGORIES: &str = " of these categories";

/// Explains why none of these classes can leave whatever the facts are, or why the operation can be carried out on
/// none of them. Names the purposes for which rules permit it. `of` is the suffix of the operation.
pub(super) fn why_never(
    pack: &Pack,
    request: &AdmissionRequest,
    operation: Operation,
    of: &str,
    classes: &[&[CategoryId]],
) -> String {
    let can_leave = |purpose| {
        classes
            .iter()
            .any(|class| can_all_leave(pack, request, operation, purpose, &pack.judged_categories(class)))
    };
    let what = match operation {
        Operation::Disclose => "releases it to".to_owned(),
        other => format!("permits `{}`{of} to", other.name()),
    };
    only_for(pack, &what, can_leave)
}

/// Names the purposes for which rules release something to a kind, or permit an operation.
pub(super) fn only_for(pack: &Pack, what: &str, is_possible: impl Fn(PurposeId) -> bool) -> String {
    match list_terms(pack.vocabulary().purposes(), is_possible, std::iter::empty()) {
        None => format!("no rule of this policy ever {what} this kind"),
        Some(others) => format!("no rule {what} this kind for this purpose, only for {others}"),
    }
}

/// True if rules could release all of these categories to the requesting kind for a purpose, whatever the facts.
fn can_all_leave(
    pack: &Pack,
    request: &AdmissionRequest,
    operation: Operation,
    purpose: PurposeId,
    categories: &[CategoryId],
) -> bool {
    let is_open = |category: &CategoryId| {
        let cell = pack.rulebook().cell_for(operation, (request.recipient.kind, purpose, *category));
        cell.is_some_and(|cell| !cell.never_releases())
    };
    categories.iter().all(is_open)
}

/// A decision about one class of fields that is evaluated again with other facts.
struct Trial<'a> {
    pack: &'a Pack,
    request: &'a AdmissionRequest,
    operation: Operation,
    class: &'a [CategoryId],
    slice: Slice,
    key: DecisionKey,
}

/// Facts with their changed values.
type Solution = Vec<(Fact, u8)>;

impl<'a> Trial<'a> {
    fn new(
        pack: &'a Pack,
        request: &'a AdmissionRequest,
        operation: Operation,
        about: &RecordContext<'_>,
        class: &'a [CategoryId],
    ) -> Trial<'a> {
        let classes = Classes::new(vec![class.to_vec()], false);
        let slice = Slice::new(pack, request.recipient.kind, request.purpose, operation, classes);
        let key = slice.key(pack, &RequestFacts::new(pack, request), about);
        Trial { pack, request, operation, class, slice, key }
    }

    fn vocabulary(&self) -> &Vocabulary {
        self.pack.vocabulary()
    }

    /// True if the field leaves with these facts changed.
    fn leaves(&self, solution: &[(Fact, u8)]) -> bool {
        let mut key = self.key.clone();
        for &(fact, value) in solution {
            key.facts = key.facts.with(fact, value);
            // A new consent is later than everything that the person has stated about the purpose.
            if fact == Fact::Consent || fact == Fact::ConsentedSinceRestriction {
                key.facts = key.facts.with_consent(ConsentFact::Given).with_objection(ObjectionFact::None);
            }
            for (_, own) in key.overrides.iter_mut().filter(|_| PER_CATEGORY.contains(&fact)) {
                *own = own.with(fact, value);
            }
        }
        self.slice.evaluate(self.pack, &key).form(ClassId(0)) != Form::Removed
    }

    /// Returns every smallest set of changed facts with which the field leaves.
    fn solutions(&self) -> Vec<Solution> {
        if !self.can_leave(self.request.purpose) {
            return Vec::new();
        }
        let steps = self.steps();
        let mut trials = 0;
        for size in 1..=MAX_TOGETHER.min(steps.len()) {
            let mut found = Vec::new();
            let mut chosen: Vec<usize> = (0..size).collect();
            loop {
                let solution: Solution = chosen.iter().filter_map(|&at| steps.get(at).copied()).collect();
                let distinct = solution.windows(2).all(|pair| matches!(pair, [a, b] if a.0 != b.0));
                trials += 1;
                if distinct && self.leaves(&solution) {
                    found.push(solution);
                }
                if trials >= MAX_TRIALS || !advance(&mut chosen, steps.len()) {
                    break;
                }
            }
            if !found.is_empty() || trials >= MAX_TRIALS {
                return found;
            }
        }
        Vec::new()
    }

    /// Returns the single changes that may help, for the facts on which the decision depends. Changes of the same
    /// fact are adjacent.
    fn steps(&self) -> Vec<(Fact, u8)> {
        let facts = self.slice.mask().facts();
        let usable = facts.filter(|fact| self.is_changeable(*fact));
        let steps = usable.flat_map(|fact| favourable(fact).map(move |value| (fact, value)));
        steps.filter(|(fact, value)| self.differs(*fact, *value)).collect()
    }

    fn differs(&self, fact: Fact, value: u8) -> bool {
        let own = || self.key.overrides.iter().any(|(_, own)| own.get(fact) != value);
        // If the person's data are not restricted, any consent suffices.
        let is_pointless =
            fact == Fact::ConsentedSinceRestriction && self.key.facts.get(Fact::Restricted) == 0;
        !is_pointless && (self.key.facts.get(fact) != value || (PER_CATEGORY.contains(&fact) && own()))
    }

    /// True if the fact can change at all: only a data subject can be the person, and only a customer administrator
    /// can own the account.
    fn is_changeable(&self, fact: Fact) -> bool {
        let kinds = self.vocabulary().kinds();
        let is =
            |name: &str| kinds.find(name).is_some_and(|of| kinds.within(self.request.recipient.kind, of));
        match fact {
            Fact::OwnData => is("data-subject"),
            Fact::OwnAccount => is("customer-administrator"),
            _ => true,
        }
    }

    /// True if rules could release the field to this kind for a purpose, whatever the facts.
    fn can_leave(&self, purpose: PurposeId) -> bool {
        self.can_all_leave(purpose, &self.pack.judged_categories(self.class))
    }

    fn can_all_leave(&self, purpose: PurposeId, categories: &[CategoryId]) -> bool {
        can_all_leave(self.pack, self.request, self.operation, purpose, categories)
    }

    /// Suggests a narrower category if only a descendant that is never released keeps the field from leaving.
    fn narrower(&self) -> Option<RequiredChanges> {
        if !self.can_all_leave(self.request.purpose, self.class) {
            return None;
        }
        let tree = self.vocabulary().categories();
        let held = self.pack.judged_categories(self.class);
        let held = held.iter().filter(|category| !self.class.contains(category));
        let closed = held.filter(|category| !self.can_all_leave(self.request.purpose, &[**category]));
        let closed: Vec<String> = closed.map(|category| format!("`{}`", tree.name(*category))).collect();
        let text = format!(
            "a narrower category in the mapping: the field may contain {}, and no rule releases that here",
            closed.join(", ")
        );
        Some(RequiredChanges::one(MAPPING, text))
    }

    /// Describes a change of one fact to one of these values.
    fn describe(&self, fact: Fact, values: &[u8]) -> RequiredChange {
        RequiredChange { what: change_kind(fact), text: self.change_text(fact, values) }
    }

    fn change_text(&self, fact: Fact, values: &[u8]) -> String {
        let vocabulary = self.vocabulary();
        let purpose = vocabulary.purposes().name(self.request.purpose);
        let now = self.key.facts;
        match fact {
            Fact::Consent => {
                let present = match now.get(fact) {
                    none if none == ConsentFact::None as u8 => "there is none".to_owned(),
                    _ => format!("it is {}", now.value_name(fact)),
                };
                format!("a new consent of the person to `{purpose}` ({present})")
            }
            Fact::Objection => format!(
                "the person's objection to (or refusal of) `{purpose}` lifted or overridden with a recorded reason, or a later consent"
            ),
            Fact::OptedOut => "the person's opt-out of this recipient lifted".to_owned(),
            Fact::Restricted => "the restriction of the person's data lifted".to_owned(),
            Fact::ConsentedSinceRestriction => {
                format!("a new consent of the person to `{purpose}`, after the restriction began")
            }
            Fact::Erased => "no erasure of the person's data (an erasure cannot be undone)".to_owned(),
            Fact::Minor => "a person who is of age".to_owned(),
            Fact::LeavesEea => "a recipient in the EEA: its `country` or `region`".to_owned(),
            Fact::SameRegion => {
                "a recipient in the person's region: `country` or `region` of either".to_owned()
            }
            Fact::Safeguard => {
                let names = values.iter().filter_map(|value| fact.values().get(usize::from(*value)));
                let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
                format!("a transfer safeguard of the recipient: {}", names.join(" or "))
            }
            Fact::TransferConsent => "the person's explicit consent to the transfer".to_owned(),
            Fact::Origin => format!("data that come from the person (origin now: {})", now.value_name(fact)),
            Fact::Refused => "the person's refusal of this category lifted".to_owned(),
            Fact::Instructed => format!("the controller's instruction for `{purpose}`"),
            Fact::Account => format!("the controller's account open (it is {})", now.value_name(fact)),
            Fact::PastRetention => "a record within its retention period".to_owned(),
            Fact::LegalReference => {
                "a registered case that is in force and names the person and the category".to_owned()
            }
            Fact::OwnData => "a request by the person whom the record is about".to_owned(),
            Fact::OwnAccount => "a request for the account whose service data they are".to_owned(),
            Fact::Backup => match values {
                [0] => "an upstream that is no backup".to_owned(),
                _ => "an upstream that is a backup".to_owned(),
            },
            Fact::Relation(relation) => {
                let bound = if vocabulary.is_bound_only(relation) { " to this recipient" } else { "" };
                format!("the relation `{}`{bound}", vocabulary.relations().name(relation))
            }
            Fact::Form | Fact::Operation | Fact::WithServiceData => fact.name().replace('_', " "),
        }
    }
}
/// Returns the kind of change that a fact needs, as in [`RequiredChange::what`].
fn change_kind(fact: Fact) -> &'static str {
    match fact {
        Fact::LeavesEea | Fact::SameRegion => "region",
        Fact::Refused => "category",
        Fact::Instructed => "instruction",
        Fact::LegalReference => "case",
        Fact::OptedOut => "opt-out",
        Fact::Restricted => "restriction",
        Fact::ConsentedSinceRestriction => "consent",
        Fact::Erased => "erasure",
        Fact::TransferConsent => "transfer-consent",
        Fact::PastRetention => "retention",
        Fact::OwnData | Fact::OwnAccount => "identity",
        Fact::Consent
        | Fact::Objection
        | Fact::Minor
        | Fact::Safeguard
        | Fact::Origin
        | Fact::Account
        | Fact::Backup
        | Fact::Relation(_)
        | Fact::Form
        | Fact::Operation
        | Fact::WithServiceData => fact.name(),
    }
}

/// Returns the values of a fact with which more may leave.
fn favourable(fact: Fact) -> impl Iterator<Item = u8> {
    let values: &[u8] = match fact {
        Fact::Form | Fact::Operation | Fact::WithServiceData => &[],
        Fact::Consent
        | Fact::ConsentedSinceRestriction
        | Fact::SameRegion
        | Fact::TransferConsent
        | Fact::Instructed
        | Fact::LegalReference
        | Fact::OwnData
        | Fact::OwnAccount
        | Fact::Relation(_) => &[1],
        Fact::Objection
        | Fact::OptedOut
        | Fact::Restricted
        | Fact::Erased
        | Fact::Minor
        | Fact::LeavesEea
        | Fact::Origin
        | Fact::Refused
        | Fact::Account
        | Fact::PastRetention => &[0],
        Fact::Backup => &[0, 1],
        Fact::Safeguard => &[1, 2, 3],
    };
    values.iter().copied()
}

/// Advances to the next combination of positions below `end`, in order. Returns `false` after the last.
fn advance(chosen: &mut [usize], end: usize) -> bool {
    let size = chosen.len();
    let movable =
        (0..size).rev().find(|&at| chosen.get(at).is_some_and(|&position| position < end - size + at));
    let Some(at) = movable else { return false };
    let first = chosen.get(at).copied().unwrap_or(0) + 1;
    for (position, next) in chosen.iter_mut().skip(at).zip(first..) {
        *position = next;
    }
    true
}

/// Merges solutions that differ only in the value of one fact.
fn merged(solutions: Vec<Solution>) -> Vec<Vec<(Fact, Vec<u8>)>> {
    let mut all: Vec<Vec<(Fact, Vec<u8>)>> = Vec::new();
    for solution in solutions {
        let same_but_one = |known: &Vec<(Fact, Vec<u8>)>| {
            let pairs = || known.iter().zip(&solution);
            let differ = pairs().filter(|((_, values), (_, value))| **values != [*value]).count();
            pairs().all(|((one, _), (other, _))| one == other) && differ == 1
        };
        match all.iter_mut().find(|known| same_but_one(known)) {
            Some(known) => {
                for ((_, values), (_, value)) in known.iter_mut().zip(&solution) {
                    if !values.contains(value) {
                        values.push(*value);
                    }
                }
            }
            None => all.push(solution.into_iter().map(|(fact, value)| (fact, vec![value])).collect()),
        }
    }
    all
}
