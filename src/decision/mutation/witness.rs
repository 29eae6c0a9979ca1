//! Writes the text of a scenario that reproduces a difference found by the search.

use std::fmt::Write as _;

use super::is_carried_out;
use crate::policy::mutation::comparison::{JudgedField, MutantDifference};
use crate::policy::{AccountFact, ConsentFact, Fact, FactSet, Facts, ObjectionFact, Pack};
use crate::vocabulary::{CategoryId, Form, Operation};

/// The recipient's name, for facts that are bound to it.
const NAME: &str = "acme";
/// A country outside the EEA.
const ABROAD: &str = "US";
/// Retention period of the category in days; the record is older.
const KEPT_DAYS: u32 = 30;

/// Describes the difference: `hosting-provider for hosting: name: removed, and clear with the change (erased)`.
pub(super) fn describe(pack: &Pack, difference: &MutantDifference<'_>) -> String {
    let outcome = |form: Form| match difference.operation {
        Operation::Disclose => form.name(),
        _ if is_carried_out(form) => "carried out",
        _ => "refused",
    };
    let (old, new) = (outcome(difference.old), outcome(difference.new));
    let unusual = unusual_facts(pack, difference);
    format!("{}: {old}, and {new} with the change{unusual}", asked(pack, difference))
}

/// Describes the question: `hosting-provider for hosting: name`, `data-subject for rectification: alter name`.
fn asked(pack: &Pack, difference: &MutantDifference<'_>) -> String {
    let vocabulary = pack.vocabulary();
    let operation = match difference.operation {
        Operation::Disclose => String::new(),
        operation => format!("{} ", operation.name()),
    };
    let kind = vocabulary.kinds().name(difference.kind);
    let purpose = vocabulary.purposes().name(difference.purpose);
    format!("{kind} for {purpose}: {operation}{}", field_name(pack, difference.field))
}

/// Joins categories with `+`, as a scenario names a field.
fn field_name(pack: &Pack, field: &JudgedField) -> String {
    let tree = pack.vocabulary().categories();
    let named = field.categories.iter().take(field.named);
    named.map(|&(category, _)| tree.name(category)).collect::<Vec<_>>().join("+")
}

/// Returns a category on the same branch that a person can refuse; preferably this one.
pub(super) fn refusable(pack: &Pack, category: CategoryId) -> Option<CategoryId> {
    let vocabulary = pack.vocabulary();
    let tree = vocabulary.categories();
    let optional = tree.ids().filter(|&id| vocabulary.is_optional(id) && tree.on_same_branch(id, category));
    optional.min_by_key(|&id| id != category)
}

/// Returns the text of a scenario. It expects the pack's outcome of the operation, and that the field leaves in
/// this form. Returns `None` if no key of a scenario can state one of the facts.
pub(super) fn scenario(
    pack: &Pack,
    clause: &str,
    difference: &MutantDifference<'_>,
    form: Form,
) -> Option<String> {
    let vocabulary = pack.vocabulary();
    let purpose = vocabulary.purposes().name(difference.purpose);
    let keys = ScenarioKeys::of(pack, difference)?;
    let mut text = keys.retention.map(|kept| format!("[retention]\n{kept}\n\n")).unwrap_or_default();
    let _ = writeln!(text, "[[scenario]]\nname = {:?}\nclause = {clause:?}", name(pack, difference));
    let _ = writeln!(text, "purpose = {purpose:?}\nrecipient = {}", table(&keys.recipient));
    for (key, entries) in [("subject", &keys.subject), ("request", &keys.request)] {
        if !entries.is_empty() {
            let _ = writeln!(text, "{key} = {}", table(entries));
        }
    }
    let field = field_name(pack, difference.field);
    let field = if field.contains('+') { format!("{field:?}") } else { field };
    let _ = writeln!(text, "expect = {{ {field} = {:?} }}", form.name());
    if difference.operation != Operation::Disclose {
        let _ = writeln!(text, "carried-out = {}", is_carried_out(difference.old));
    }
    Some(text)
}

/// Returns a name that states who asks for what, and which facts are unusual.
fn name(pack: &Pack, difference: &MutantDifference<'_>) -> String {
    let outcome = match difference.operation {
        Operation::Disclose => difference.old.name(),
        _ if is_carried_out(difference.old) => "carried out",
        _ => "refused",
    };
    format!("{}: {outcome}{}", asked(pack, difference), unusual_facts(pack, difference))
}

/// Lists the facts that differ from those of a person about whom nothing is known: ` (erased, consent = given)`.
fn unusual_facts(pack: &Pack, difference: &MutantDifference<'_>) -> String {
    let unusual = difference.circumstances.non_default().describe(pack.vocabulary()).replace(" = true", "");
    if unusual.is_empty() { String::new() } else { format!(" ({unusual})") }
}

fn table(entries: &[String]) -> String {
    format!("{{ {} }}", entries.join(", "))
}

/// The keys of a scenario, each with its value.
#[derive(Default)]
struct ScenarioKeys {
    recipient: Vec<String>,
    subject: Vec<String>,
    request: Vec<String>,
    /// An entry of the file's `[retention]`.
    retention: Option<String>,
    /// True if something is bound to the recipient's name.
    names_recipient: bool,
}

impl ScenarioKeys {
    /// Returns the keys of a scenario that state the facts of a difference, or `None` if no key can state one of
    /// them.
    fn of(pack: &Pack, difference: &MutantDifference<'_>) -> Option<ScenarioKeys> {
        let kind = pack.vocabulary().kinds().name(difference.kind);
        let facts = difference.circumstances.facts;
        let fixed = difference.circumstances.fixed;
        let mut keys =
            ScenarioKeys { recipient: vec![format!("kind = {kind:?}")], ..ScenarioKeys::default() };
        for fact in fixed.facts().filter(|&fact| facts.get(fact) != 0) {
            keys.add_fact(pack, difference, fact)?;
        }
        keys.fold_relations();
        keys.place(facts, fixed);
        if keys.names_recipient {
            keys.recipient.insert(1, format!("name = {NAME:?}"));
        }
        if difference.operation != Operation::Disclose {
            keys.request.insert(0, format!("operation = {:?}", difference.operation.name()));
        }
        Some(keys)
    }

    /// Adds the keys that state one fact. Returns `None` if no key can state it.
    fn add_fact(&mut self, pack: &Pack, difference: &MutantDifference<'_>, fact: Fact) -> Option<()> {
        let vocabulary = pack.vocabulary();
        let purpose = vocabulary.purposes().name(difference.purpose);
        let facts = difference.circumstances.facts;
        let fixed = difference.circumstances.fixed;
        let first = difference.field.categories.first().map(|&(category, _)| category)?;
        let category = vocabulary.categories().name(first);
        let flag = format!("{} = true", fact.name().replace('_', "-"));
        match fact {
            // These facts follow from the request or from the two locations.
            Fact::Form | Fact::Operation | Fact::WithServiceData | Fact::LeavesEea | Fact::SameRegion => {}
            Fact::Consent => {
                self.subject.push(format!("consents = {{ {purpose} = {:?} }}", facts.value_name(fact)));
            }
            Fact::Objection if is_implied(facts, fixed) => {}
            Fact::Objection => {
                let upheld = if facts.get(fact) == ObjectionFact::Upheld as u8 { ":upheld" } else { "" };
                self.subject.push(format!("objections = [\"{purpose}{upheld}\"]"));
            }
            Fact::OptedOut => {
                self.names_recipient = true;
                self.subject.push(format!("opt-outs = [{NAME:?}]"));
            }
            Fact::ConsentedSinceRestriction => {
                self.subject.push(format!("consents-since-restriction = [{purpose:?}]"));
            }
            Fact::Restricted | Fact::Erased | Fact::Minor | Fact::TransferConsent => self.subject.push(flag),
            Fact::Origin => self.subject.push(match difference.field.named {
                1 => format!("origin = {:?}", facts.value_name(fact)),
                _ => format!("origin = {{ {category} = {:?} }}", facts.value_name(fact)),
            }),
            Fact::Refused => {
                let refused = vocabulary.categories().name(refusable(pack, first)?);
                self.subject.push(format!("refused-categories = [{refused:?}]"));
            }
            Fact::Instructed => self.subject.push(format!("instructions = [{purpose:?}]")),
            Fact::Account => {
                self.subject.push(format!("account-closed-days = {}", closed_days(pack, facts)?));
            }
            Fact::PastRetention => {
                self.subject.push(format!("age-days = {}", KEPT_DAYS + 1));
                self.retention = Some(format!("{category} = \"{KEPT_DAYS}d\""));
            }
            Fact::Relation(relation) => {
                let name = vocabulary.relations().name(relation);
                let bound = vocabulary.is_bound_only(relation);
                self.names_recipient |= bound;
                let to = if bound { format!(":{NAME}") } else { String::new() };
                self.subject.push(format!("\"{name}{to}\""));
            }
            Fact::Safeguard => self.recipient.push(format!("safeguard = {:?}", facts.value_name(fact))),
            Fact::LegalReference => self.request.push("legal-reference = true".to_owned()),
            Fact::OwnData => self.request.push("subject-is-recipient = true".to_owned()),
            Fact::OwnAccount => self.request.push("controller-is-recipient = true".to_owned()),
            Fact::Backup => self.request.push("upstream-backup = true".to_owned()),
        }
        Some(())
    }

    /// Combines the relations into one list.
    fn fold_relations(&mut self) {
        let is_relation = |entry: &String| entry.starts_with('"');
        let (relations, others): (Vec<String>, Vec<String>) =
            std::mem::take(&mut self.subject).into_iter().partition(is_relation);
        self.subject = others;
        if !relations.is_empty() {
            self.subject.push(format!("relations = [{}]", relations.join(", ")));
        }
    }

    /// Sets the locations of the recipient and the person according to the facts; both are in the EEA by default.
    fn place(&mut self, facts: Facts, fixed: FactSet) {
        let is = |fact: Fact, value: u8| fixed.contains(fact) && facts.get(fact) == value;
        let abroad = format!("country = {ABROAD:?}");
        let recipient_abroad = is(Fact::LeavesEea, 1);
        let apart = is(Fact::SameRegion, 0);
        let together = is(Fact::SameRegion, 1);
        if recipient_abroad {
            self.recipient.push(abroad.clone());
        }
        // A person in the EEA is never in the region of a recipient abroad, so the default suffices then.
        if (recipient_abroad && together) || (!recipient_abroad && apart) {
            self.subject.push(abroad);
        }
    }
}

/// True if the objection follows from a refused or withdrawn consent.
fn is_implied(facts: Facts, fixed: FactSet) -> bool {
    let consent = facts.get(Fact::Consent);
    let no = [ConsentFact::Refused, ConsentFact::Withdrawn].into_iter().any(|no| no as u8 == consent);
    no && fixed.contains(Fact::Consent) && facts.get(Fact::Objection) == ObjectionFact::Raised as u8
}

/// Returns for how many days the account has been closed; `None` if the pack has no such period.
fn closed_days(pack: &Pack, facts: Facts) -> Option<i64> {
    let periods = &pack.manifest().account_closed_after;
    let after = match facts.get(Fact::Account) {
        account if account == AccountFact::PurgeDue as u8 => periods.first()?,
        account if account == AccountFact::PurgeOverdue as u8 => periods.get(1)?,
        _ => return Some(1),
    };
    Some(after.as_hours() / 24 + 1)
}
