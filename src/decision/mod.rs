//! Who may have what, for which purpose, about whom: the decision for one exchange and one record.
//!
//! Pure: values in, values out, `now` included. It asks nothing of the outside; what is known
//! about a data subject is handed to it. Invariant: a [`Permit`] is made here and nowhere else.

mod admission;
mod admitted;
mod gather;
mod permit;
pub mod scenario;
mod standing;
mod subject;

pub use admission::{Asking, Denial, RecipientFacts};
pub use admitted::{Admitted, Classes, Decisions};
pub use gather::Relationship;
pub use permit::{ClassId, Permit, Release};
pub use subject::{
    Addressee, Consent, ConsentStatus, Controller, Objection, Origins, RecordFacts, Relation, Subject, Unsure,
};
