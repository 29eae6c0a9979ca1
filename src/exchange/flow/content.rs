//! Scrubs the content of a body: texts of JSON, or a body that is one field and is not read.
//!
//! A body that is one field is decided about the people whom the path names, so before any of it is read. One that may leave is
//! held whole and decided again when it has ended. Invariant: it leaves as it came, or not at all: no form but `clear` can be
//! made of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::decision::{ClassId, Extracted, Permit, RecordFacts};
use crate::exchange::ledger_policy::LedgerPolicy;
use crate::scrub::{JudgedRecord, PathIdentities, PathIds, Plan, RecordPolicy, Scrubber, Unreadable};
use crate::vocabulary::Form;

/// The scrubber of one body.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly all bodies are texts, and a flow holds one scrubber")]
pub(super) enum ContentScrubber {
    /// The body holds texts of JSON.
    Texts(Scrubber),
    /// The body is one field.
    Field(FieldScrubber),
}

/// A body that is one field.
#[derive(Clone)]
pub(super) struct FieldScrubber {
    plan: Arc<Plan>,
    class: ClassId,
    people: PathIdentities,
    /// The chunks so far, which the parts of the window hold, too.
    held: Vec<Bytes>,
    /// Bytes of all chunks.
    length: usize,
    /// True once the body was decided, and does not leave.
    is_withheld: bool,
}

impl FieldScrubber {
    /// A body of this class of the plan. The path has these decoded parameters.
    pub(super) fn new(plan: Arc<Plan>, class: ClassId, parameters: &[(String, String)]) -> FieldScrubber {
        let people = plan.path_identities(parameters);
        FieldScrubber { plan, class, people, held: Vec::new(), length: 0, is_withheld: false }
    }

    /// Decides on the body, and counts it. True if it may leave.
    pub(super) fn judge(&self, policy: &mut LedgerPolicy<'_>) -> bool {
        let permit = path_permit(&self.people, policy);
        let mut counts = vec![0; self.plan.classes().len()];
        if let Some(count) = counts.get_mut(usize::from(self.class.0)) {
            *count = 1;
        }
        policy.account(&permit, &counts);
        permit.form(self.class) == Form::Clear
    }

    fn decide(&mut self, policy: &mut LedgerPolicy<'_>, out: &mut Vec<u8>) {
        self.is_withheld = !self.judge(policy);
        let held = std::mem::take(&mut self.held);
        if !self.is_withheld {
            out.reserve_exact(self.length);
            held.iter().for_each(|chunk| out.extend_from_slice(chunk));
        }
        self.length = 0;
    }
}

/// Decides about the people and the account that a path names, without a record.
pub(super) fn path_permit(named: &PathIdentities, policy: &mut LedgerPolicy<'_>) -> Permit {
    let PathIdentities { subjects, controllers } = named;
    let subjects = match subjects {
        PathIds::Ids(ids) => Some(ids.as_slice()),
        PathIds::Unusable | PathIds::None => None,
    };
    let mut facts = RecordFacts::default();
    let controller = match controllers {
        PathIds::None => None,
        PathIds::Ids(ids) if ids.len() == 1 => ids.first(),
        PathIds::Ids(_) | PathIds::Unusable => {
            // An account that cannot be read may be closed.
            facts.account_closed = Extracted::Unreadable;
            None
        }
    };
    policy.record_permit(&JudgedRecord { set: 0, subjects, controller, facts: &facts })
}

impl ContentScrubber {
    /// Takes the next bytes. Bytes that may leave by now go into `out`.
    ///
    /// # Errors
    /// [`Unreadable`] if the body is not JSON.
    pub(super) fn feed(
        &mut self,
        input: &Bytes,
        policy: &mut LedgerPolicy<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        match self {
            ContentScrubber::Texts(scrubber) => scrubber.feed(input, policy, out),
            ContentScrubber::Field(field) => {
                field.length += input.len();
                field.held.push(input.clone());
                Ok(())
            }
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// [`Unreadable`] if the body is not whole.
    pub(super) fn finish(
        &mut self,
        policy: &mut LedgerPolicy<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        match self {
            ContentScrubber::Texts(scrubber) => scrubber.finish(policy, out),
            ContentScrubber::Field(field) => {
                field.decide(policy, out);
                Ok(())
            }
        }
    }

    /// True if the body is one field. Then it is decided even if it is empty: that a person has none is a part of it.
    pub(super) fn is_field(&self) -> bool {
        matches!(self, ContentScrubber::Field(_))
    }

    /// True if the body is one field that does not leave.
    pub(super) fn is_withheld(&self) -> bool {
        matches!(self, ContentScrubber::Field(field) if field.is_withheld)
    }

    /// Bytes that the scrubber keeps in memory beside the parts.
    pub(super) fn undecided(&self) -> usize {
        match self {
            ContentScrubber::Texts(scrubber) => scrubber.undecided(),
            ContentScrubber::Field(_) => 0,
        }
    }

    /// Bytes of content that are not decided yet.
    pub(super) fn undecided_content(&self) -> usize {
        match self {
            ContentScrubber::Texts(scrubber) => scrubber.undecided_content(),
            ContentScrubber::Field(field) => field.length,
        }
    }

    /// Drops what is held: the body turned out to be unreadable.
    pub(super) fn abandon(&mut self) {
        if let ContentScrubber::Field(field) = self {
            field.held = Vec::new();
        }
    }
}
