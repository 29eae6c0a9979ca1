//! Bytes of JSON in, bytes that may leave out.
//!
//! Pure and sans-IO: chunks of any size are fed in, scrubbed bytes come out. What a record may
//! disclose is asked of a [`Judge`] when the record is whole and about to leave. Invariant: a byte
//! of a record leaves only under the permit of the innermost record it stands in; whatever cannot
//! be read stops the body, and no byte of the failing record leaves.

mod judge;
mod mapping;

pub use judge::{Judge, Record, SubjectId};
pub use mapping::{
    DuplicateKeys, FactKey, Mapping, Normalise, RecordMapping, RemovedAs, SubjectSource, Unclassified,
};
