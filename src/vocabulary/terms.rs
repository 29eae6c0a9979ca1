//! The closed lists: what no pack can extend.

use serde::{Deserialize, Serialize};

macro_rules! terms {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word used in packs, logs and metrics.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// The value with this word, if there is one.
            pub fn parse(text: &str) -> Option<$name> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

terms!(
    /// How a field leaves, most revealing first: a greater form reveals less.
    Form {
        Clear = "clear",
        Masked = "masked",
        Generalised = "generalised",
        Pseudonymised = "pseudonymised",
        /// It does not leave.
        Removed = "removed",
    }
);

terms!(
    /// The closed set of legal bases (GDPR Art. 6(1); `not-personal` where the GDPR does not apply).
    Basis {
        Consent = "consent",
        Contract = "contract",
        LegitimateInterest = "legitimate-interest",
        LegalObligation = "legal-obligation",
        VitalInterest = "vital-interest",
        PublicTask = "public-task",
        NotPersonal = "not-personal",
    }
);

terms!(
    /// What a request does with the data; follows from the HTTP method unless the route says otherwise.
    Operation {
        Disclose = "disclose",
        Collect = "collect",
        Alter = "alter",
        Destroy = "destroy",
    }
);

terms!(
    /// Where the data came from; what nobody says otherwise of came from the person.
    #[derive(Default)]
    Origin {
        #[default]
        #[serde(rename = "self")]
        OwnStatement = "self",
        Automatic = "automatic",
        Referral = "referral",
        ResellingPartner = "reselling-partner",
        FederatedSignIn = "federated-sign-in",
        Event = "event",
        Social = "social",
        Published = "published",
        Customer = "customer",
    }
);

terms!(
    /// What protects data at a recipient outside the exporter's region (GDPR Art. 45, 46).
    Safeguard {
        None = "none",
        Adequacy = "adequacy",
        StandardContractualClauses = "standard-contractual-clauses",
        BindingCorporateRules = "binding-corporate-rules",
    }
);
