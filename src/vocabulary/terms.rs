//! The closed lists: terms that no pack can extend.

/// Defines a closed list: an enum, all its values and their names. A value cannot be missing from [`ALL`](Form::ALL).
macro_rules! terms {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// Returns the name that packs, logs and metrics use.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// Returns the value with this name, if there is one.
            pub fn parse(text: &str) -> Option<$name> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use terms;

terms!(
    /// The form in which a field is disclosed, most revealing first: a greater form reveals less.
    Form {
        /// The value itself.
        Clear = "clear",
        /// A value that only somebody who knows the original recognises.
        Masked = "masked",
        /// A coarser value that many people share.
        Generalised = "generalised",
        /// A pseudonym: equal for the same value, category and recipient, and different for another recipient.
        Pseudonymised = "pseudonymised",
        /// The field is not disclosed.
        Removed = "removed",
    }
);

terms!(
    /// The legal bases (GDPR Art. 6(1); `not-personal` where the GDPR does not apply).
    Basis {
        /// Consent (Art. 6(1)(a)).
        Consent = "consent",
        /// Performance of a contract (Art. 6(1)(b)).
        Contract = "contract",
        /// Legitimate interests (Art. 6(1)(f)).
        LegitimateInterest = "legitimate-interest",
        /// Legal obligation (Art. 6(1)(c)).
        LegalObligation = "legal-obligation",
        /// Vital interests (Art. 6(1)(d)).
        VitalInterest = "vital-interest",
        /// Task in the public interest (Art. 6(1)(e)).
        PublicTask = "public-task",
        /// None needed: the data are not personal.
        NotPersonal = "not-personal",
    }
);

/// A set of legal bases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BasisSet(u8);

impl BasisSet {
    /// Every basis.
    pub const ALL: BasisSet = BasisSet::of(Basis::ALL);

    /// Returns the set of these bases.
    pub const fn of(bases: &[Basis]) -> BasisSet {
        let (mut set, mut rest) = (0, bases);
        while let [first, others @ ..] = rest {
            set |= 1 << *first as u8;
            rest = others;
        }
        BasisSet(set)
    }

    /// Returns the set without one basis.
    #[must_use]
    pub const fn without(self, basis: Basis) -> BasisSet {
        BasisSet(self.0 & !(1 << basis as u8))
    }

    /// True if the set has this basis.
    pub const fn contains(self, basis: Basis) -> bool {
        self.0 & (1 << basis as u8) != 0
    }

    /// True if the set has no basis.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if `other` has every basis of this set.
    pub const fn is_within(self, other: BasisSet) -> bool {
        self.0 & !other.0 == 0
    }
}

impl FromIterator<Basis> for BasisSet {
    fn from_iter<I: IntoIterator<Item = Basis>>(bases: I) -> BasisSet {
        bases.into_iter().fold(BasisSet::default(), |set, basis| BasisSet(set.0 | 1 << basis as u8))
    }
}

terms!(
    /// The operation that a request performs on data. It follows from the HTTP method unless the route sets it.
    Operation {
        /// Reads data.
        Disclose = "disclose",
        /// Creates data.
        Collect = "collect",
        /// Changes data.
        Alter = "alter",
        /// Deletes data.
        Destroy = "destroy",
    }
);

terms!(
    /// The origin of data. Without other information, the person provided them.
    #[derive(Default)]
    Origin {
        /// The person provided them.
        #[default]
        #[serde(rename = "self")]
        OwnStatement = "self",
        /// They were recorded automatically while the service was used.
        Automatic = "automatic",
        /// Another person referred this one.
        Referral = "referral",
        /// A reselling partner provided them.
        ResellingPartner = "reselling-partner",
        /// They came with a sign-in at another service.
        FederatedSignIn = "federated-sign-in",
        /// They were collected at an event.
        Event = "event",
        /// They came from a social network.
        Social = "social",
        /// They were taken from a public source.
        Published = "published",
        /// A customer entrusted them to the service.
        Customer = "customer",
    }
);

terms!(
    /// The safeguard for data at a recipient outside the exporter's region (GDPR Art. 45, 46).
    Safeguard {
        /// There is none.
        None = "none",
        /// An adequacy decision (Art. 45).
        Adequacy = "adequacy",
        /// Standard contractual clauses (Art. 46(2)(c)).
        StandardContractualClauses = "standard-contractual-clauses",
        /// Binding corporate rules (Art. 47).
        BindingCorporateRules = "binding-corporate-rules",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_bases_has_what_was_put_in_and_nothing_else() {
        let set = BasisSet::of(&[Basis::Contract, Basis::NotPersonal]);
        let has: Vec<Basis> = Basis::ALL.iter().copied().filter(|basis| set.contains(*basis)).collect();
        assert_eq!(has, [Basis::Contract, Basis::NotPersonal]);
        assert_eq!(set, has.into_iter().collect());
        assert!(set.is_within(BasisSet::ALL) && !BasisSet::ALL.is_within(set));
        assert_eq!(set.without(Basis::Contract), BasisSet::of(&[Basis::NotPersonal]));
        assert!(BasisSet::default().is_empty() && !set.is_empty());
    }
}
