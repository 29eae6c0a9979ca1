//! The facts that rules compare, packed into one 64-bit word.
//!
//! Numbers and dates enter only as the classes that rules distinguish (an account is open, closed, or due to be
//! purged), so few combinations occur and a decision can be reused. Invariant: value 0 of every fact is the value
//! for a person about whom nothing is known, and for an ordinary request for data in clear.

use crate::vocabulary::{Form, Operation, Origin, RelationId, Safeguard};

/// An attribute of `context` that rules can compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fact {
    /// The form under consideration.
    Form,
    /// The operation of the request.
    Operation,
    /// The subject's consent to the purpose, for this recipient.
    Consent,
    /// The subject's objection to the purpose.
    Objection,
    /// The subject opted out of disclosure to this recipient.
    OptedOut,
    /// The subject had the use of their data restricted (GDPR Art. 18).
    Restricted,
    /// The subject consented to this purpose after the restriction.
    ConsentedSinceRestriction,
    /// The subject had their data erased (GDPR Art. 17).
    Erased,
    /// The subject is younger than the pack's `of-age`.
    Minor,
    /// The subject or the exporter is in the EEA and the recipient is not.
    LeavesEea,
    /// Subject and recipient are known to be in the same region.
    SameRegion,
    /// The safeguard that protects the data at the recipient.
    Safeguard,
    /// The subject consented to the transfer explicitly.
    TransferConsent,
    /// The origin of the data of this category.
    Origin,
    /// The subject refused the disclosure of this category.
    Refused,
    /// The field is also mapped to service data.
    WithServiceData,
    /// The controller instructed this purpose.
    Instructed,
    /// The state of the controller's account.
    Account,
    /// The record is older than the retention period of this category.
    PastRetention,
    /// A registered case covers the request.
    LegalReference,
    /// The subject is the recipient.
    OwnData,
    /// The controller is the recipient.
    OwnAccount,
    /// The upstream is a backup.
    Backup,
    /// A relation between the subject and the recipient.
    Relation(RelationId),
}

const SINGLE_FACTS: [Fact; 23] = [
    Fact::Form,
    Fact::Operation,
    Fact::Consent,
    Fact::Objection,
    Fact::OptedOut,
    Fact::Restricted,
    Fact::ConsentedSinceRestriction,
    Fact::Erased,
    Fact::Minor,
    Fact::LeavesEea,
    Fact::SameRegion,
    Fact::Safeguard,
    Fact::TransferConsent,
    Fact::Origin,
    Fact::Refused,
    Fact::WithServiceData,
    Fact::Instructed,
    Fact::Account,
    Fact::PastRetention,
    Fact::LegalReference,
    Fact::OwnData,
    Fact::OwnAccount,
    Fact::Backup,
];

/// First bit of the relations, which have one bit each up to the end of the word.
const FIRST_RELATION_BIT: u32 = 40;

/// Maximum number of relations that a vocabulary can have.
pub const MAX_RELATIONS: usize = 64 - FIRST_RELATION_BIT as usize;

const FLAG: &[&str] = &["false", "true"];
const FORMS: &[&str] =
    &[Form::Clear.name(), Form::Masked.name(), Form::Generalised.name(), Form::Pseudonymised.name()];
const OPERATIONS: &[&str] = &[
    Operation::Disclose.name(),
    Operation::Collect.name(),
    Operation::Alter.name(),
    Operation::Destroy.name(),
];
const CONSENTS: &[&str] = &["none", "given", "refused", "withdrawn", "expired"];
const OBJECTIONS: &[&str] = &["none", "raised", "upheld"];
const SAFEGUARDS: &[&str] = &[
    Safeguard::None.name(),
    Safeguard::Adequacy.name(),
    Safeguard::StandardContractualClauses.name(),
    Safeguard::BindingCorporateRules.name(),
];
const ORIGINS: &[&str] = &[
    Origin::OwnStatement.name(),
    Origin::Automatic.name(),
    Origin::Referral.name(),
    Origin::ResellingPartner.name(),
    Origin::FederatedSignIn.name(),
    Origin::Event.name(),
    Origin::Social.name(),
    Origin::Published.name(),
    Origin::Customer.name(),
];
const ACCOUNTS: &[&str] = &["open", "closed", "purge-due", "purge-overdue"];

impl Fact {
    /// Returns every fact of a vocabulary with this many relations.
    pub fn all(relations: usize) -> impl Iterator<Item = Fact> {
        let relations =
            (0..u16::try_from(relations).unwrap_or(0)).map(|relation| Fact::Relation(RelationId(relation)));
        SINGLE_FACTS.into_iter().chain(relations)
    }

    /// Returns the fact with this name in `context`. Relations are not included: they are members of
    /// `context.relation`.
    pub fn from_name(name: &str) -> Option<Fact> {
        SINGLE_FACTS.into_iter().find(|fact| fact.name() == name)
    }

    /// Returns the name of every attribute of `context`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SINGLE_FACTS.into_iter().map(Fact::name).chain([RELATION])
    }

    /// Returns the name of the attribute in `context`.
    pub const fn name(self) -> &'static str {
        match self {
            Fact::Form => "form",
            Fact::Operation => "operation",
            Fact::Consent => "consent",
            Fact::Objection => "objection",
            Fact::OptedOut => "opted_out",
            Fact::Restricted => "restricted",
            Fact::ConsentedSinceRestriction => "consented_since_restriction",
            Fact::Erased => "erased",
            Fact::Minor => "minor",
            Fact::LeavesEea => "leaves_eea",
            Fact::SameRegion => "same_region",
            Fact::Safeguard => "safeguard",
            Fact::TransferConsent => "transfer_consent",
            Fact::Origin => "origin",
            Fact::Refused => "refused",
            Fact::WithServiceData => "with_service_data",
            Fact::Instructed => "instructed",
            Fact::Account => "account",
            Fact::PastRetention => "past_retention",
            Fact::LegalReference => "legal_reference",
            Fact::OwnData => "own_data",
            Fact::OwnAccount => "own_account",
            Fact::Backup => "backup",
            Fact::Relation(_) => RELATION,
        }
    }

    /// Returns the names of its values, in the order of their numbers.
    pub const fn values(self) -> &'static [&'static str] {
        match self {
            Fact::Form => FORMS,
            Fact::Operation => OPERATIONS,
            Fact::Consent => CONSENTS,
            Fact::Objection => OBJECTIONS,
            Fact::Safeguard => SAFEGUARDS,
            Fact::Origin => ORIGINS,
            Fact::Account => ACCOUNTS,
            Fact::OptedOut
            | Fact::Restricted
            | Fact::ConsentedSinceRestriction
            | Fact::Erased
            | Fact::Minor
            | Fact::LeavesEea
            | Fact::SameRegion
            | Fact::TransferConsent
            | Fact::Refused
            | Fact::WithServiceData
            | Fact::Instructed
            | Fact::PastRetention
            | Fact::LegalReference
            | Fact::OwnData
            | Fact::OwnAccount
            | Fact::Backup
            | Fact::Relation(_) => FLAG,
        }
    }

    /// True if rules see the fact as a Boolean rather than as a string.
    pub fn is_flag(self) -> bool {
        std::ptr::eq(self.values(), FLAG)
    }

    /// Returns the first bit and the number of bits. Relations have one bit each, from bit 40 on.
    const fn bit_range(self) -> (u32, u32) {
        match self {
            Fact::Form => (0, 2),
            Fact::Operation => (2, 2),
            Fact::Consent => (4, 3),
            Fact::Objection => (7, 2),
            Fact::Safeguard => (9, 2),
            Fact::Origin => (11, 4),
            Fact::Account => (15, 2),
            Fact::OptedOut => (17, 1),
            Fact::Restricted => (18, 1),
            Fact::ConsentedSinceRestriction => (19, 1),
            Fact::Erased => (20, 1),
            Fact::Minor => (21, 1),
            Fact::LeavesEea => (22, 1),
            Fact::SameRegion => (23, 1),
            Fact::TransferConsent => (24, 1),
            Fact::Refused => (25, 1),
            Fact::WithServiceData => (26, 1),
            Fact::Instructed => (27, 1),
            Fact::PastRetention => (28, 1),
            Fact::LegalReference => (29, 1),
            Fact::OwnData => (30, 1),
            Fact::OwnAccount => (31, 1),
            Fact::Backup => (32, 1),
            Fact::Relation(relation) => (FIRST_RELATION_BIT + relation.0 as u32, 1),
        }
    }
}

/// Name of the record in `context` that holds the relations.
pub(super) const RELATION: &str = "relation";

/// The subject's consent to the purpose (`context.consent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentFact {
    /// No applicable statement about the purpose is recorded.
    None = 0,
    /// Consent was given.
    Given = 1,
    /// Consent was refused.
    Refused = 2,
    /// Consent was withdrawn.
    Withdrawn = 3,
    /// Consent was given for a period that has ended.
    Expired = 4,
}

/// The subject's objection to the purpose (`context.objection`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectionFact {
    /// No objection is in force.
    None = 0,
    /// An objection was raised.
    Raised = 1,
    /// An objection was upheld.
    Upheld = 2,
}

/// State of the controller's account (`context.account`), by the periods of the pack's `account-closed-after`.
/// Without that key, an account is either open or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccountFact {
    /// The account is open.
    Open = 0,
    /// The account is closed.
    Closed = 1,
    /// Closed for longer than the first period: the deletion of the service data is due.
    PurgeDue = 2,
    /// Closed for longer than the second period: the deletion of the service data is overdue.
    PurgeOverdue = 3,
}

/// A value for every fact, packed into one word. The default is the value 0 of every fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Facts(u64);

impl Facts {
    /// Returns these facts with one fact set to the value with this number.
    #[must_use]
    pub const fn with(self, fact: Fact, value: u8) -> Facts {
        let (at, bits) = fact.bit_range();
        let field = ((1u64 << bits) - 1) << at;
        Facts((self.0 & !field) | (((value as u64) << at) & field))
    }

    /// Returns these facts with a Boolean fact set.
    #[must_use]
    pub const fn with_flag(self, fact: Fact, holds: bool) -> Facts {
        self.with(fact, holds as u8)
    }

    /// Returns these facts with the subject's consent.
    #[must_use]
    pub const fn with_consent(self, consent: ConsentFact) -> Facts {
        self.with(Fact::Consent, consent as u8)
    }

    /// Returns these facts with the subject's objection.
    #[must_use]
    pub const fn with_objection(self, objection: ObjectionFact) -> Facts {
        self.with(Fact::Objection, objection as u8)
    }

    /// Returns these facts with the state of the controller's account.
    #[must_use]
    pub const fn with_account(self, account: AccountFact) -> Facts {
        self.with(Fact::Account, account as u8)
    }

    /// Returns these facts with the origin of the data.
    #[must_use]
    pub const fn with_origin(self, origin: Origin) -> Facts {
        self.with(Fact::Origin, origin as u8)
    }

    /// Returns these facts with the recipient's safeguard.
    #[must_use]
    pub const fn with_safeguard(self, safeguard: Safeguard) -> Facts {
        self.with(Fact::Safeguard, safeguard as u8)
    }

    /// Returns these facts with the operation.
    #[must_use]
    pub const fn with_operation(self, operation: Operation) -> Facts {
        self.with(Fact::Operation, operation as u8)
    }

    /// Returns these facts with the form under consideration. [`Form::Removed`] is never requested and counts as
    /// the least revealing one.
    #[must_use]
    pub const fn with_form(self, form: Form) -> Facts {
        let asked = match form {
            Form::Clear => 0,
            Form::Masked => 1,
            Form::Generalised => 2,
            Form::Pseudonymised | Form::Removed => 3,
        };
        self.with(Fact::Form, asked)
    }

    /// Returns the number of a fact's value.
    pub const fn get(self, fact: Fact) -> u8 {
        let (at, bits) = fact.bit_range();
        ((self.0 >> at) & ((1u64 << bits) - 1)) as u8
    }

    /// Returns the name of a fact's value.
    pub fn value_name(self, fact: Fact) -> &'static str {
        fact.values().get(usize::from(self.get(fact))).copied().unwrap_or("?")
    }

    /// Keeps the facts of the set and sets all others to 0.
    #[must_use]
    pub const fn masked(self, mask: FactSet) -> Facts {
        Facts(self.0 & mask.0)
    }

    /// Returns these facts, with those of the set taken from `other`.
    #[must_use]
    pub const fn overlay(self, other: Facts, mask: FactSet) -> Facts {
        Facts((self.0 & !mask.0) | (other.0 & mask.0))
    }
}

/// A set of facts, as a mask over the bits of [`Facts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FactSet(u64);

impl FactSet {
    /// The empty set.
    pub const EMPTY: FactSet = FactSet(0);

    /// Returns the set of one fact.
    pub const fn of(fact: Fact) -> FactSet {
        let (at, bits) = fact.bit_range();
        FactSet(((1u64 << bits) - 1) << at)
    }

    /// Returns the facts that are in either set.
    #[must_use]
    pub const fn union(self, other: FactSet) -> FactSet {
        FactSet(self.0 | other.0)
    }

    /// Returns the facts of this set that are not in the other.
    #[must_use]
    pub const fn difference(self, other: FactSet) -> FactSet {
        FactSet(self.0 & !other.0)
    }

    /// Returns the facts that are in both sets.
    #[must_use]
    pub const fn intersection(self, other: FactSet) -> FactSet {
        FactSet(self.0 & other.0)
    }

    /// True if the fact is in the set.
    pub const fn contains(self, fact: Fact) -> bool {
        self.0 & FactSet::of(fact).0 != 0
    }

    /// True if the set has no facts.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if every fact of this set is in the other.
    pub const fn is_subset(self, other: FactSet) -> bool {
        self.0 & !other.0 == 0
    }

    /// Returns the facts of the set.
    pub fn facts(self) -> impl Iterator<Item = Fact> {
        Fact::all(MAX_RELATIONS).filter(move |&fact| self.contains(fact))
    }

    /// Returns the number of combinations of values that its facts can have.
    pub fn combinations(self) -> u64 {
        self.facts().fold(1, |count: u64, fact| count.saturating_mul(fact.values().len() as u64))
    }

    /// Returns every combination of values of its facts, with all other facts at 0.
    pub fn assignments(self) -> impl Iterator<Item = Facts> {
        let facts: Vec<Fact> = self.facts().collect();
        (0..self.combinations()).map(move |mut number| {
            facts.iter().fold(Facts::default(), |so_far, &fact| {
                let values = fact.values().len() as u64;
                let value = u8::try_from(number % values).unwrap_or(0);
                number /= values;
                so_far.with(fact, value)
            })
        })
    }
}

impl FromIterator<Fact> for FactSet {
    fn from_iter<T: IntoIterator<Item = Fact>>(facts: T) -> FactSet {
        facts.into_iter().fold(FactSet::EMPTY, |mask, fact| mask.union(FactSet::of(fact)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_facts_share_a_bit_and_every_value_fits() {
        let mut taken = 0u64;
        for fact in Fact::all(MAX_RELATIONS) {
            let FactSet(bits) = FactSet::of(fact);
            assert_eq!(taken & bits, 0, "{fact:?}");
            taken |= bits;
            for value in 0..u8::try_from(fact.values().len()).unwrap_or(0) {
                assert_eq!(Facts(u64::MAX).with(fact, value).get(fact), value, "{fact:?}");
                assert_eq!(
                    Facts(u64::MAX).with(fact, value).0 | bits,
                    u64::MAX,
                    "{fact:?} leaves the others alone"
                );
            }
        }
    }

    #[test]
    fn value_names_agree_with_the_enums() {
        for &origin in Origin::ALL {
            assert_eq!(Facts::default().with_origin(origin).value_name(Fact::Origin), origin.name());
        }
        for &safeguard in Safeguard::ALL {
            assert_eq!(
                Facts::default().with_safeguard(safeguard).value_name(Fact::Safeguard),
                safeguard.name()
            );
        }
        for &operation in Operation::ALL {
            assert_eq!(
                Facts::default().with_operation(operation).value_name(Fact::Operation),
                operation.name()
            );
        }
        for form in [Form::Clear, Form::Masked, Form::Generalised, Form::Pseudonymised] {
            assert_eq!(Facts::default().with_form(form).value_name(Fact::Form), form.name());
        }
    }

    #[test]
    fn every_combination_occurs_once() {
        let mask: FactSet = [Fact::Consent, Fact::Minor, Fact::Relation(RelationId(3))].into_iter().collect();
        let all: std::collections::BTreeSet<Facts> = mask.assignments().collect();
        assert_eq!((all.len(), mask.combinations()), (20, 20));
    }
}
