//! The one question the scrubber asks: what may this record disclose?

use crate::decision::{Permit, RecordFacts};
use crate::vocabulary::SubjectId;

/// One record, whole, about to leave.
#[derive(Debug)]
pub struct Record<'a> {
    /// Which of the mapping's record sets it belongs to.
    pub set: usize,
    /// Everybody the record is about. `None` where it has no usable subject (absent, of the wrong
    /// type, duplicated): then nothing personal leaves.
    pub subjects: Option<&'a [SubjectId]>,
    /// The controller the record names; `None` where the mapping has no path or nothing is there, and where it is
    /// not one id: then the facts say that its account cannot be told.
    pub controller: Option<&'a SubjectId>,
    pub facts: &'a RecordFacts,
}

/// Decides for each record, and keeps the account of what left.
pub trait RecordPolicy {
    /// The permit for one record. Asked once, when the record is whole.
    fn record_permit(&mut self, record: &Record<'_>) -> Permit;

    /// The permit for what stands outside every record and so belongs to nobody.
    fn document_permit(&mut self) -> Permit;

    /// Told when a record is decided, inner ones before the one they stand in: how many fields of each
    /// class it held, indexed by class. The form they leave in is the permit's.
    fn account(&mut self, permit: &Permit, fields: &[u32]);

    /// Told at the end of each chunk about what stood outside of records, in the same way.
    fn account_outside(&mut self, permit: &Permit, fields: &[u32]);
}
