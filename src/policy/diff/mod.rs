//! Semantic difference of two versions of a pack, found by evaluation and not by comparing text.
//!
//! [`Difference::of`] compares what is disclosed and which operations are permitted, over the vocabulary and over
//! the facts that the rules of either version compare, and the settings outside the rules. It does not know which
//! changes need notice: see [`super::versioning`].

mod evaluation;
mod grouping;
mod settings;
mod text;

use serde::Serialize;

pub use grouping::{ChangeLine, RuleChanges};
pub use settings::SettingChange;

use super::pack::Pack;
use crate::finding::Finding;
use crate::vocabulary::{Basis, Form, Operation, Vocabulary};

/// All differences between two versions.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// Changed results of rules.
    pub changes: Vec<Change>,
    /// Settings outside the rules that differ.
    pub pack: Vec<SettingChange>,
    /// The changes, grouped by the rules that cause them.
    pub groups: Vec<RuleChanges>,
    /// Number of changes and settings that disclose or permit more.
    pub more: usize,
    /// Number of all other changes and settings.
    pub less: usize,
}

/// A changed result for some categories of one recipient kind, purpose and operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Recipient kind.
    pub kind: String,
    /// Purpose.
    pub purpose: String,
    /// Operation.
    pub operation: Operation,
    /// Categories whose result changes in the same way.
    pub categories: Vec<String>,
    /// Form in the old version. For an operation other than `disclose`, `clear` means that it is permitted.
    pub old: Form,
    /// Form in the new version.
    pub new: Form,
    /// Legal basis in the old version; only set if the forms are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_basis: Option<Basis>,
    /// Legal basis in the new version; only set if the forms are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_basis: Option<Basis>,
    /// The simplest circumstances under which the change occurs; empty if it occurs under all.
    pub when: String,
    /// The rule that causes the change.
    pub cause: DecidingRule,
}

/// A rule that causes a change, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DecidingRule {
    /// How the rule causes the change.
    pub role: Role,
    /// Id of the rule.
    pub rule: String,
    /// Clauses that the rule cites.
    pub clauses: Vec<String>,
}

/// How a rule causes a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A permit of the new version releases.
    ReleasesNow,
    /// A permit of the old version released.
    ReleasedBefore,
    /// A prohibition of the new version withholds.
    WithholdsNow,
    /// A prohibition of the old version withheld.
    WithheldBefore,
    /// A permit of the new version rests on another basis than that of the old one.
    RestsOn,
}

impl Role {
    /// Describes the role in a report, after the rule's name.
    pub const fn describe(self) -> &'static str {
        match self {
            Role::ReleasesNow => "permits now",
            Role::ReleasedBefore => "permitted before",
            Role::WithholdsNow => "forbids now",
            Role::WithheldBefore => "forbade before",
            Role::RestsOn => "rests on another basis",
        }
    }
}

impl Change {
    /// True if the new version discloses or permits more, or gives the person less control over it.
    pub fn is_more(&self) -> bool {
        match self.new.cmp(&self.old) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal => {
                degree_of_control(self.new_basis) <= degree_of_control(self.old_basis)
            }
        }
    }
}

/// Ranks a basis by the control that it gives to the person: consent can be withdrawn, and a person can object to
/// processing for a legitimate interest (GDPR Art. 7(3), 21(1)). Bases of equal rank are nevertheless different
/// promises.
fn degree_of_control(basis: Option<Basis>) -> u8 {
    match basis {
        Some(Basis::Consent) => 2,
        Some(Basis::LegitimateInterest | Basis::PublicTask) => 1,
        Some(Basis::Contract | Basis::LegalObligation | Basis::VitalInterest | Basis::NotPersonal) | None => {
            0
        }
    }
}

impl Difference {
    /// Compares two versions.
    ///
    /// # Errors
    /// A finding if they cannot be compared: their relations have different positions.
    pub fn of(old: &Pack, new: &Pack) -> Result<Difference, Finding> {
        comparable(old.vocabulary(), new.vocabulary())?;
        let mut changes = evaluation::changes(old, new);
        let mut pack = settings::setting_changes(old, new);
        changes.sort_by_key(|change| !change.is_more());
        pack.sort_by_key(|statement| !statement.more);
        let groups = grouping::groups(&changes, old, new);
        let more = changes.iter().filter(|change| change.is_more()).count()
            + pack.iter().filter(|statement| statement.more).count();
        let less = changes.len() + pack.len() - more;
        Ok(Difference { changes, pack, groups, more, less })
    }

    /// True if nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.pack.is_empty()
    }

    /// True if the new version discloses anything that the old one does not.
    pub fn releases_more(&self) -> bool {
        let discloses = |change: &Change| change.operation == Operation::Disclose && change.new < change.old;
        self.changes.iter().any(discloses)
    }

    /// Describes one thing that the new version does and the old one does not.
    pub fn example(&self) -> Option<String> {
        let change = self.changes.iter().find(|change| change.is_more()).map(Change::describe);
        change.or_else(|| self.pack.iter().find(|statement| statement.more).map(SettingChange::describe))
    }
}

impl Change {
    fn describe(&self) -> String {
        let Change { kind, purpose, categories, operation, new, new_basis, .. } = self;
        let categories = categories.join(", ");
        let how = match operation {
            Operation::Disclose => format!("{categories} {} to `{kind}`", new.name()),
            Operation::Collect | Operation::Alter | Operation::Destroy => {
                format!("`{kind}` may {} {categories}", operation.name())
            }
        };
        let basis = new_basis.filter(|_| self.old == self.new);
        let basis = basis.map(|basis| format!(" on the basis {}", basis.name())).unwrap_or_default();
        format!("{how} for `{purpose}`{basis}")
    }
}

fn comparable(old: &Vocabulary, new: &Vocabulary) -> Result<(), Finding> {
    let names = |words: &Vocabulary| {
        words.relations().terms().map(|(_, term)| term.id.to_string()).collect::<Vec<_>>()
    };
    match names(old).iter().zip(&names(new)).find(|(old, new)| old != new) {
        Some((old, new)) => {
            let finding = Finding::error(
                "packs-differ-in-words",
                format!("the relation `{old}` of one version has the position of `{new}` in the other"),
            );
            Err(finding.hint("append new relations to the vocabulary, and keep the order of the others"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
