//! What one version of a pack does and another does not, found by evaluation and not by text.
//!
//! [`Difference::of`] compares what leaves and what is carried out, over the vocabulary and over the
//! facts that the rules of either version compare, and what the packs say outside their rules. It does
//! not know who promised notice of which change: that is for [`super::versioning`].

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

/// Everything that differs from one version to another.
#[derive(Debug, Serialize)]
pub struct Difference {
    pub changes: Vec<Change>,
    /// What the packs say differently outside their rules.
    pub pack: Vec<SettingChange>,
    /// The changes, grouped by the rules that make them.
    pub groups: Vec<RuleChanges>,
    /// How many changes and statements disclose or do more, and how many do not.
    pub more: usize,
    pub less: usize,
}

/// How the treatment of some categories differs for one recipient kind, purpose and operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub kind: String,
    pub purpose: String,
    pub operation: Operation,
    pub categories: Vec<String>,
    /// For an operation other than `disclose`: `clear` where it is carried out.
    pub old: Form,
    pub new: Form,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_basis: Option<Basis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_basis: Option<Basis>,
    /// The plainest circumstances under which it does; empty where they do not matter.
    pub when: String,
    /// The rule that makes the difference.
    pub cause: DecidingRule,
}

/// A rule that makes a difference, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DecidingRule {
    pub role: Role,
    pub rule: String,
    pub clauses: Vec<String>,
}

/// How a rule makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A permit of the new version.
    ReleasesNow,
    /// A permit of the old version.
    ReleasedBefore,
    /// A prohibition of the new version.
    WithholdsNow,
    /// A prohibition of the old version.
    WithheldBefore,
    /// A permit of the new version, on another basis than the old one's.
    RestsOn,
}

impl Role {
    /// Its words in a report, after the rule's name.
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
    /// Whether the new version discloses or does more, or leaves the person less to say about it.
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

/// How much the person has to say about a release on this basis: a consent can be withdrawn, a
/// legitimate interest objected to (GDPR Art. 7(3), 21(1)). Bases of equal rank are different promises.
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
    /// Where they cannot be compared: a relation of one stands in the place of another's.
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

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.pack.is_empty()
    }

    /// Whether the new version discloses anything that the old one does not.
    pub fn releases_more(&self) -> bool {
        let discloses = |change: &Change| change.operation == Operation::Disclose && change.new < change.old;
        self.changes.iter().any(discloses)
    }

    /// An example of what the new version does that the old one does not, in words.
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
                format!("the relation `{old}` of the one version stands where the other has `{new}`"),
            );
            Err(finding
                .hint("add relations at the end of the vocabulary, and leave the others where they are"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
