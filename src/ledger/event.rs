//! Events: facts about an entity with the time from which they count.
//!
//! This module defines the parts that all kinds of events share; the kinds are in [`super::kinds`]. It does not
//! know how events are written (see [`super::event_json`]) or stored (see [`super::store`]).

use std::fmt;

use jiff::Timestamp;

use super::kinds::{EventEffect, EventKind};
use super::payload::Provenance;

/// An event as a sender reports it.
#[derive(Clone, PartialEq, Eq)]
pub struct EventDraft {
    /// The kind of the event, with its members.
    pub kind: EventKind,
    /// The time from which the event counts; `None`: the time at which the ledger accepts it.
    pub at: Option<Timestamp>,
    /// Evidence of how the event came about.
    pub provenance: Provenance,
}

impl fmt::Debug for EventDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventDraft({})", self.kind.name())
    }
}

/// An event with its time.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// The kind of the event, with its members.
    pub kind: EventKind,
    /// The time from which the event counts.
    pub at: Timestamp,
    /// Evidence of how the event came about.
    pub provenance: Provenance,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({})", self.kind.name())
    }
}

impl Event {
    /// True if the event is the approval of a case by the actor who was signed in.
    pub(super) fn has_verified_approver(&self) -> bool {
        let EventKind::CaseApproved { approver } = &self.kind else { return false };
        let recorded_by = self.provenance.recorded_by.as_ref();
        recorded_by.is_some_and(|by| by.verified && approver.is(&by.name))
    }

    /// Returns the part of this event that is in force before the event is durable. It can only withhold.
    pub(super) fn withholding_part(&self) -> Option<Event> {
        match (&self.kind, self.kind.effect()) {
            (EventKind::Fact { facts } | EventKind::Correction { facts }, _) => {
                Some(Event { kind: EventKind::Fact { facts: facts.most_restrictive() }, ..self.clone() })
            }
            (_, EventEffect::Restrictive) => Some(self.clone()),
            (_, EventEffect::Permissive | EventEffect::Mixed | EventEffect::Neutral) => None,
        }
    }
}
