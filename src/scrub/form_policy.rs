//! The source of the form in which each class leaves: the permits of a [`RecordPolicy`], or the fixed rule of
//! `scrub --remove`.
//!
//! The walk is the same for both. It asks for a permit and, for each class, for the form in that permit; it does not
//! know the reasons.

use super::class::UNCLASSIFIED;
use super::record_policy::{JudgedRecord, RecordPolicy};
use crate::decision::{ClassId, Permit};
use crate::vocabulary::Form;

/// Gives permits for records and for the document around them.
pub(super) trait FormPolicy {
    type Permit;

    /// Returns the permit for one record.
    fn record_permit(&mut self, record: &JudgedRecord<'_>) -> Self::Permit;
    /// Returns the permit for everything outside of records.
    fn document_permit(&mut self) -> Self::Permit;
    /// Returns the form that a permit gives to a class.
    fn form(&self, permit: &Self::Permit, class: ClassId) -> Form;
    /// Takes the number of a record's fields, by class.
    fn account(&mut self, permit: &Self::Permit, counts: &[u32]);
    /// Takes the number of fields outside of records, by class.
    fn account_outside(&mut self, permit: &Self::Permit, counts: &[u32]);
}

/// Takes the forms from the permits of a [`RecordPolicy`].
#[derive(Debug)]
pub(super) struct PermitForms<'a, P>(pub(super) &'a mut P);

impl<P: RecordPolicy> FormPolicy for PermitForms<'_, P> {
    type Permit = Permit;

    fn record_permit(&mut self, record: &JudgedRecord<'_>) -> Permit {
        self.0.record_permit(record)
    }

    fn document_permit(&mut self) -> Permit {
        self.0.document_permit()
    }

    fn form(&self, permit: &Permit, class: ClassId) -> Form {
        permit.form(class)
    }

    fn account(&mut self, permit: &Permit, counts: &[u32]) {
        self.0.account(permit, counts);
    }

    fn account_outside(&mut self, permit: &Permit, counts: &[u32]) {
        self.0.account_outside(permit, counts);
    }
}

/// Removes every node that a query selects, and keeps the rest.
#[derive(Debug)]
pub(super) struct FixedRemoval;

impl FormPolicy for FixedRemoval {
    type Permit = ();

    fn record_permit(&mut self, _: &JudgedRecord<'_>) {}

    fn document_permit(&mut self) {}

    fn form(&self, (): &(), class: ClassId) -> Form {
        if class == UNCLASSIFIED { Form::Clear } else { Form::Removed }
    }

    fn account(&mut self, (): &(), _: &[u32]) {}

    fn account_outside(&mut self, (): &(), _: &[u32]) {}
}
