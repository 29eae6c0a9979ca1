//! Who says in which form a class leaves: a judge, or the fixed rule of `scrub --remove`.
//!
//! The walk below is the same for both. It refuses to know why: it asks for a verdict and, for each
//! class, for the verdict's form.

use super::class::UNCLASSIFIED;
use super::record_policy::{Record, RecordPolicy};
use crate::decision::{ClassId, Permit};
use crate::vocabulary::Form;

/// Gives verdicts over records and over what stands outside of them.
pub(super) trait FormPolicy {
    type Permit;

    fn record_permit(&mut self, record: &Record<'_>) -> Self::Permit;
    fn document_permit(&mut self) -> Self::Permit;
    fn form(&self, permit: &Self::Permit, class: ClassId) -> Form;
    fn account(&mut self, permit: &Self::Permit, fields: &[u32]);
    fn account_outside(&mut self, permit: &Self::Permit, fields: &[u32]);
}

/// A judge.
#[derive(Debug)]
pub(super) struct PermitForms<'a, J>(pub(super) &'a mut J);

impl<J: RecordPolicy> FormPolicy for PermitForms<'_, J> {
    type Permit = Permit;

    fn record_permit(&mut self, record: &Record<'_>) -> Permit {
        self.0.record_permit(record)
    }

    fn document_permit(&mut self) -> Permit {
        self.0.document_permit()
    }

    fn form(&self, permit: &Permit, class: ClassId) -> Form {
        permit.form(class)
    }

    fn account(&mut self, permit: &Permit, fields: &[u32]) {
        self.0.account(permit, fields);
    }

    fn account_outside(&mut self, permit: &Permit, fields: &[u32]) {
        self.0.account_outside(permit, fields);
    }
}

/// What a query selected goes, the rest stays.
#[derive(Debug)]
pub(super) struct FixedRemoval;

impl FormPolicy for FixedRemoval {
    type Permit = ();

    fn record_permit(&mut self, _: &Record<'_>) {}

    fn document_permit(&mut self) {}

    fn form(&self, (): &(), class: ClassId) -> Form {
        if class == UNCLASSIFIED { Form::Clear } else { Form::Removed }
    }

    fn account(&mut self, (): &(), _: &[u32]) {}

    fn account_outside(&mut self, (): &(), _: &[u32]) {}
}
