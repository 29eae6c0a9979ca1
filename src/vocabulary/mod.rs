//! The words of a policy: purposes, data categories, recipient kinds, relations, forms, bases.
//!
//! Pure: it knows trees of names and nothing of rules, requests or files.

mod terms;

pub use terms::{Basis, Form, Operation, Origin, Safeguard};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) u16);

        impl $name {
            /// Position in the vocabulary's list of this tree.
            pub fn index(self) -> usize {
                usize::from(self.0)
            }
        }
    };
}

id!(
    /// A purpose of the vocabulary.
    PurposeId
);
id!(
    /// A data category of the vocabulary.
    CategoryId
);
id!(
    /// A recipient kind of the vocabulary.
    KindId
);
id!(
    /// A relation between a data subject and a recipient (`domain-registrant`, …).
    RelationId
);
