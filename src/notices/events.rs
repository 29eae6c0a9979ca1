//! Begins an inquiry for each erasure, correction and restriction.
//!
//! The gateways read the ledger's events once, together: the place up to which they were read is a row of the store, which is
//! written in one transaction with the inquiries into the events before it. Invariant: an event has one inquiry, also if a
//! gateway ends in between or two of them read the event at once.

use jiff::Timestamp;
use ulid::Ulid;

use super::clock::{self, MARGIN, after};
use super::state::{self, EventTime, InquiredEvent, InquiryState, NoticeEvent, ReadPosition};
use super::{Notices, WRITE_ATTEMPTS};
use crate::ledger::{
    Continuation, Entity, EventKind, EventRow, KnownHistory, NoticeRow, PastEvent, StoreError,
};
use crate::vocabulary::SubjectId;

/// Number of events that are read at a time.
const PAGE: usize = 1024;

/// Maximum number of pages that are read in one call.
const MAX_PAGES: usize = 16;

/// The row with the place up to which events were read.
pub(super) const READ_POSITION: Ulid = Ulid::nil();

impl NoticeEvent {
    /// Returns the event that recipients are told of, if an event of this kind is one.
    pub(super) fn of_kind(kind: &EventKind) -> Option<NoticeEvent> {
        match kind {
            EventKind::Erasure => Some(NoticeEvent::Erasure),
            EventKind::Restriction => Some(NoticeEvent::Restriction),
            EventKind::Correction { .. } => Some(NoticeEvent::Correction),
            _ => None,
        }
    }
}

impl Notices {
    /// Begins an inquiry for each erasure, correction and restriction that was recorded since the last call of any gateway.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn watch(&self, now: Timestamp) -> Result<(), StoreError> {
        for _ in 0..MAX_PAGES {
            if !self.read_page(now)? {
                break;
            }
        }
        Ok(())
    }

    /// Reads a page of events. Returns true if there may be more.
    fn read_page(&self, now: Timestamp) -> Result<bool, StoreError> {
        let Some(row) = self.ledger.notice_store().notice(READ_POSITION)? else {
            return self.begin_reading(1, now);
        };
        let position: ReadPosition = serde_json::from_str(&row.state)
            .map_err(|error| StoreError::transient("reading how far events were told", error))?;
        let known = position.history();
        if known.position >= self.ledger.position() {
            return Ok(false);
        }
        match self.ledger.follow(&known, PAGE)? {
            Continuation::Continues { head, events } => {
                let is_all = events.len() < PAGE;
                let end = events.last().map_or(known, |event| KnownHistory::ending_with(&event.stored));
                let next = KnownHistory { position: if is_all { head } else { end.position }, ..end };
                if next == known {
                    return Ok(false);
                }
                let inquiries = events.iter().filter_map(|event| self.inquired(event));
                let inquiries: Vec<NoticeRow> =
                    inquiries.map(|event| inquiry_row(&event, now)).collect::<Result<_, _>>()?;
                self.write_begun(inquiries, read_position_row(&next, row.version + 1))?;
                Ok(!is_all)
            }
            // The history was lost, and with it the events that had been read.
            Continuation::Diverges { .. } => {
                tracing::warn!(
                    "the ledger has another history than before: corrections and restrictions that it had and of which recipients were not told yet are told by nobody"
                );
                self.begin_reading(row.version + 1, now)
            }
        }
    }

    /// Begins to read at the end of the ledger: what was recorded before is not told again, or not at all if nobody has read it.
    /// Only an erasure after which the log secret was not deleted gets an inquiry, because that ends with the deletion.
    fn begin_reading(&self, version: u64, now: Timestamp) -> Result<bool, StoreError> {
        if !self.ledger.is_loaded() {
            return Ok(false);
        }
        let end = self.ledger.history_end()?;
        for pending in self.ledger.pending_erasures() {
            let history = self.ledger.archive().history(&Entity::Subject(pending.person.clone()))?;
            let last = history.iter().rev().find(|past| past.event.kind == EventKind::Erasure);
            if let Some(event) = last.and_then(|past| inquired_past(past, &pending.person)) {
                // False if there is one.
                self.ledger.notice_store().write_notices(&[inquiry_row(&event, now)?])?;
            }
        }
        // False if another gateway has begun to read.
        self.ledger.notice_store().write_notices(&[read_position_row(&end, version)])?;
        Ok(false)
    }

    /// Returns an event that recipients are told of.
    fn inquired(&self, row: &EventRow) -> Option<InquiredEvent> {
        let EventTime { kind, at } = serde_json::from_str(&row.stored.event).ok()?;
        let all = [NoticeEvent::Erasure, NoticeEvent::Correction, NoticeEvent::Restriction];
        let event = all.into_iter().find(|event| event.name() == kind)?;
        let Entity::Subject(person) = row.entity.entity(self.ledger.terms().namespaces()) else {
            return None;
        };
        let stored = &row.stored;
        Some(InquiredEvent {
            event,
            person,
            at: at.unwrap_or(stored.recorded),
            id: stored.id,
            position: stored.position,
            recorded: stored.recorded,
        })
    }

    /// Writes inquiries and the place up to which events were read, all or none.
    pub(super) fn write_begun(
        &self,
        mut inquiries: Vec<NoticeRow>,
        position: NoticeRow,
    ) -> Result<(), StoreError> {
        let store = self.ledger.notice_store();
        for _ in 0..WRITE_ATTEMPTS {
            let mut rows = inquiries.clone();
            rows.push(position.clone());
            if store.write_notices(&rows)? {
                return Ok(());
            }
            let present = store.notice(READ_POSITION)?.map_or(0, |row| row.version);
            if present + 1 != position.version {
                // Another gateway has read these events.
                return Ok(());
            }
            // Those of erasures that were recorded while a gateway began to read.
            let mut unknown = Vec::with_capacity(inquiries.len());
            for row in inquiries {
                if store.notice(row.id)?.is_none() {
                    unknown.push(row);
                }
            }
            inquiries = unknown;
        }
        Err(StoreError::transient("beginning an inquiry", "other gateways write the same rows"))
    }

    /// Returns the position up to which events were read.
    pub(super) fn read_position(&self) -> Result<u64, StoreError> {
        let row = self.ledger.notice_store().notice(READ_POSITION)?;
        let position = row.and_then(|row| serde_json::from_str::<ReadPosition>(&row.state).ok());
        Ok(position.map_or(0, |position| position.history().position.0))
    }
}

/// Returns an event of a person's history that recipients are told of.
pub(super) fn inquired_past(past: &PastEvent, person: &SubjectId) -> Option<InquiredEvent> {
    Some(InquiredEvent {
        event: NoticeEvent::of_kind(&past.event.kind)?,
        person: person.clone(),
        at: past.event.at,
        id: past.id,
        position: past.position,
        recorded: past.recorded,
    })
}

fn inquiry_row(event: &InquiredEvent, now: Timestamp) -> Result<NoticeRow, StoreError> {
    let id = state::inquiry_id(event.event, event.id);
    let state = InquiryState::new(event, now);
    let state = state.map_err(|error| StoreError::transient("beginning an inquiry", error))?;
    let (due, state) = (after(now, MARGIN), state::text(&state));
    Ok(NoticeRow { id, inquiry: id, recipient: None, due, open: true, version: 1, state })
}

fn read_position_row(known: &KnownHistory, version: u64) -> NoticeRow {
    NoticeRow {
        id: READ_POSITION,
        inquiry: READ_POSITION,
        recipient: None,
        due: clock::NEVER,
        open: false,
        version,
        state: state::text(&ReadPosition::of(known)),
    }
}
