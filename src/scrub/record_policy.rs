//! The only question that the scrubber asks: what may this record disclose?

use crate::decision::{Permit, RecordFacts};
use crate::vocabulary::SubjectId;

/// A whole record that is about to leave.
#[derive(Debug)]
pub struct JudgedRecord<'a> {
    /// The number of the record set in the mapping.
    pub set: usize,
    /// Everybody that the record is about. `None` if the record has no usable subject: an id is absent, of the wrong
    /// type, or under a duplicate name. Nothing personal leaves then.
    pub subjects: Option<&'a [SubjectId]>,
    /// The controller that the record names. `None` if the mapping has no path for it, if nothing is there, or if
    /// there is not exactly one id. In the last case [`RecordFacts::account_closed`] is unreadable.
    pub controller: Option<&'a SubjectId>,
    /// The facts in the record that rules may depend on.
    pub facts: &'a RecordFacts,
}

/// Decides what each record may disclose, and accounts for the fields that left.
pub trait RecordPolicy {
    /// Returns the permit for one record. Called once per record, when the record is whole.
    fn record_permit(&mut self, record: &JudgedRecord<'_>) -> Permit;

    /// Returns the permit for everything outside of records, which belongs to no data subject.
    fn document_permit(&mut self) -> Permit;

    /// Takes the number of a record's fields, by class. Called when the record is decided, for inner records before
    /// outer ones. The permit gives the forms in which the fields leave.
    fn account(&mut self, permit: &Permit, counts: &[u32]);

    /// Takes the number of fields outside of records, by class. Called at the end of each chunk.
    fn account_outside(&mut self, permit: &Permit, counts: &[u32]);
}
