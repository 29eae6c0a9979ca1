//! Who may have what, for which purpose, about whom: the decision for one exchange and one record.
//!
//! Pure: values in, values out, `now` included. It asks nothing of the outside; what is known
//! about a data subject is handed to it. Invariant: a [`Permit`] is made here and nowhere else.

mod permit;
mod subject;

pub use permit::{ClassId, Permit, Release};
pub use subject::{
    Addressee, Consent, ConsentStatus, Controller, Objection, Origins, RecordFacts, Relation, Subject, Unsure,
};
