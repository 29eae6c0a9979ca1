//! Writes leaves: the head of an entry with the commitment to its detail.

use super::Entry;
use super::cbor::MapWriter;
use super::members::{empty_detail, outcome_number};
use super::schema::{EntryKind, HeadKey};
use super::{EntryError, commitment};
use crate::disclosure::record::Outcome;
use crate::vocabulary::Operation;

/// Number of bytes that most leaves need.
const TYPICAL_LEAF: usize = 112;

/// The circumstances of an exchange as numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct NumberedHead {
    pub(super) recipient: u64,
    pub(super) purpose: Option<u64>,
    pub(super) route: u64,
    pub(super) operation: Operation,
    pub(super) policy: u64,
    /// Goes into the detail.
    pub(super) factors: u64,
}

/// An outcome with the number of its code.
#[derive(Clone, Copy, Debug)]
pub(super) struct NumberedOutcome {
    pub(super) outcome: Outcome,
    pub(super) code: Option<u64>,
}

/// Returns the number of an operation in an entry.
pub(super) const fn operation_number(operation: Operation) -> u64 {
    match operation {
        Operation::Disclose => 0,
        Operation::Collect => 1,
        Operation::Alter => 2,
        Operation::Destroy => 3,
    }
}

/// Returns the operation with this number in an entry.
pub(super) fn operation(number: u64) -> Result<Operation, EntryError> {
    let mut all = Operation::ALL.iter().copied();
    all.find(|operation| operation_number(*operation) == number).ok_or(EntryError("an operation is unknown"))
}

/// Begins a leaf.
pub(super) fn begin_leaf(kind: EntryKind, time: u64, detail: &[u8]) -> MapWriter {
    let mut leaf = MapWriter::begin(Vec::with_capacity(TYPICAL_LEAF));
    leaf.head_number(HeadKey::Kind, u64::from(kind.number()));
    leaf.head_number(HeadKey::Time, time);
    leaf.bytes(HeadKey::Commitment.number(), &commitment(detail));
    leaf
}

/// Returns an entry whose detail has no members.
pub(super) fn bare_entry(kind: EntryKind, time: u64, members: impl FnOnce(&mut MapWriter)) -> Entry {
    let detail = empty_detail();
    let mut leaf = begin_leaf(kind, time, &detail);
    members(&mut leaf);
    Entry { leaf: leaf.finish(), detail }
}

impl MapWriter {
    /// Writes the members from the recipient to the policy.
    pub(super) fn circumstances(&mut self, head: &NumberedHead) {
        self.head_number(HeadKey::Recipient, head.recipient);
        if let Some(purpose) = head.purpose {
            self.head_number(HeadKey::Purpose, purpose);
        }
        self.head_number(HeadKey::Route, head.route);
        self.head_number(HeadKey::Operation, operation_number(head.operation));
        self.head_number(HeadKey::Policy, head.policy);
    }

    pub(super) fn outcome(&mut self, NumberedOutcome { outcome, code }: NumberedOutcome) {
        self.head_number(HeadKey::Outcome, outcome_number(outcome));
        if let Some(code) = code {
            self.head_number(HeadKey::Code, code);
        }
    }
}
