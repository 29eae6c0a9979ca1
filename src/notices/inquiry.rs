//! Inquiries: they search the logs until these are complete, wait until everybody was told, and delete the log secret.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use ulid::Ulid;

use super::clock::{self, CLAIM, KEPT_AFTER_END, NOT_IN_FORCE, after, next_search};
use super::events::inquired_past;
use super::state::{self, ClosedState, EndedState, InquiryState, NoticeState, NoticeStatus, SecretDeletion};
use super::{Channel, Inquiry, Notice, NoticeEvent, Notices, Receiver, WRITE_ATTEMPTS};
use crate::keys::random;
use crate::ledger::{DueRows, Entity, EventKind, NoticeRow, PastEvent, Position, StoreError};

/// Maximum number of events about a person, the latest ones, whose inquiries are looked at before the log secret is deleted.
const MAX_RELATED: usize = 256;

/// Number of due inquiries that are looked at to claim one.
const CANDIDATES: usize = 8;

/// The next step of an inquiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InquiryStep {
    /// It waits.
    Wait,
    /// Delete the log secret, write that to the disclosure log, then call [`Notices::secret_recorded`]. The text says why it
    /// is deleted now.
    EraseSecret(&'static str),
    /// The log secret was deleted, and the disclosure log may lack the record: write it, then call
    /// [`Notices::secret_recorded`].
    RecordErasure(&'static str),
    /// It is over and was removed.
    Ended,
}

/// The time in the ids of inquiries that have ended, in milliseconds: that of no notice, and not those of the rows about logs.
const ENDED: u64 = 2;

/// The step of an inquiry that is over towards the deletion of the log secret.
enum SecretStep {
    Nothing,
    Wait,
    Erase,
    Record,
}

/// The last deletion of the log secret of an erased person.
enum LastDeletion {
    /// There is none since the last erasure.
    Waits,
    /// The person was not erased, or this inquiry has not deleted the secret.
    OfOthers,
    /// This inquiry has deleted it.
    Own,
}

/// Another inquiry about the same person.
struct Related {
    id: Ulid,
    event: NoticeEvent,
    position: u64,
}

impl Notices {
    /// Claims an inquiry that is due. Another gateway continues it if this one has not finished within [`CLAIM`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn claim_inquiry(&self, now: Timestamp) -> Result<Option<Inquiry>, StoreError> {
        let store = self.ledger.notice_store();
        for row in store.due_notices(now, DueRows::Inquiries, CANDIDATES)? {
            if serde_json::from_str::<EndedState>(&row.state).is_ok() {
                store.remove_inquiry(row.id, row.version, &[])?;
                continue;
            }
            let Some(row) = self.write(NoticeRow { due: after(now, CLAIM), ..row })? else { continue };
            // A state that does not read is left for a later version of the program.
            let Ok(state) = serde_json::from_str::<InquiryState>(&row.state) else { continue };
            let person = self.person(state.namespace.as_deref(), &state.subject);
            return Ok(Some(Inquiry { row, state, person }));
        }
        Ok(None)
    }

    /// Prepares a search of the logs. Returns false, and lets the inquiry wait, if its event is not in force here yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin_search(&self, inquiry: &mut Inquiry, now: Timestamp) -> Result<bool, StoreError> {
        if self.ledger.position() < Position(inquiry.state.position) {
            self.write_inquiry(inquiry, after(now, NOT_IN_FORCE))?;
            return Ok(false);
        }
        self.ask_for_statements(inquiry.state.position)?;
        Ok(true)
    }

    /// Records who had received the data, and begins a notice to each recipient that has none. Returns the new notices. An
    /// inquiry whose search was not complete searches again; so does one whose person cannot be found any more, until its time
    /// is over.
    ///
    /// # Errors
    /// [`StoreError`], also if another gateway has continued the inquiry: then nothing was written.
    pub fn found(
        &self,
        inquiry: &mut Inquiry,
        receivers: Vec<Receiver>,
        is_complete: bool,
        now: Timestamp,
    ) -> Result<Vec<Notice>, StoreError> {
        let known = self.ledger.notice_store().notices_of(inquiry.row.id)?;
        let complete = is_complete && !self.is_hidden(inquiry)?;
        let mut begun = Vec::new();
        for receiver in receivers {
            if known.iter().any(|row| row.recipient.as_ref() == Some(&receiver.recipient)) {
                continue;
            }
            let recipient = receiver.recipient.clone();
            let state = NoticeState::new(&inquiry.state, receiver);
            let due = match state.channel {
                // A person is told of it by a record, as the first step.
                Channel::Webhook | Channel::Manual => now,
                Channel::Feed => after(inquiry.state.begun, clock::MAX_DELIVERY),
            };
            let row = NoticeRow {
                id: inquiry.state.notice_id(&recipient),
                inquiry: inquiry.row.id,
                recipient: Some(recipient),
                due,
                open: true,
                version: 1,
                state: state::text(&state),
            };
            begun.push(Notice { row, state });
        }
        inquiry.state.complete = complete;
        inquiry.state.searches += 1;
        let rows: Vec<NoticeRow> = begun.iter().map(|notice| notice.row.clone()).collect();
        if !self.write_inquiry_with(inquiry, inquiry.row.due, &rows)? {
            let doing = "recording who had received data";
            return Err(StoreError::transient(doing, "another gateway has continued the inquiry"));
        }
        Ok(begun)
    }

    /// True if the log secret was deleted under which disclosures before the event of an inquiry are on record.
    fn is_hidden(&self, inquiry: &Inquiry) -> Result<bool, StoreError> {
        let history = self.ledger.archive().history(&Entity::Subject(inquiry.person.clone()))?;
        let after = |past: &PastEvent| past.position > Position(inquiry.state.position);
        Ok(history.iter().any(|past| past.event.kind == EventKind::LogSecretErased && after(past)))
    }

    /// Determines the next step of an inquiry, and writes it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn next_step(&self, inquiry: &mut Inquiry, now: Timestamp) -> Result<InquiryStep, StoreError> {
        let rows = self.ledger.notice_store().notices_of(inquiry.row.id)?;
        let is_told = !rows.iter().any(|row| row.open && row.recipient.is_some());
        let state = &inquiry.state;
        let is_late = clock::age(now, state.begun) >= self.limit;
        let is_over = is_told && (state.complete || is_late);
        if is_over || is_late {
            let reason = if is_told && state.complete { "delivered" } else { "notice-limit" };
            match self.secret_step(inquiry, is_late)? {
                SecretStep::Nothing => {}
                SecretStep::Wait => return self.wait(inquiry, now),
                SecretStep::Record => return Ok(InquiryStep::RecordErasure(reason)),
                SecretStep::Erase => {
                    inquiry.state.secret = SecretDeletion::Begun;
                    let is_written = self.write_inquiry(inquiry, after(now, CLAIM))?;
                    return Ok(if is_written { InquiryStep::EraseSecret(reason) } else { InquiryStep::Wait });
                }
            }
        }
        if is_over {
            let is_ended = self.end(inquiry, &rows, now)?;
            return Ok(if is_ended { InquiryStep::Ended } else { InquiryStep::Wait });
        }
        self.wait(inquiry, now)
    }

    fn wait(&self, inquiry: &mut Inquiry, now: Timestamp) -> Result<InquiryStep, StoreError> {
        let state = &inquiry.state;
        let due = if state.complete { clock::LOOK_AGAIN } else { next_search(state.searches) };
        self.write_inquiry(inquiry, after(now, due))?;
        Ok(InquiryStep::Wait)
    }

    /// Determines what an inquiry that is over, or late, has to do about the log secret. The last inquiry about a person
    /// deletes it; one that is late does not wait for the others.
    fn secret_step(&self, inquiry: &Inquiry, is_late: bool) -> Result<SecretStep, StoreError> {
        let state = &inquiry.state;
        if state.event != NoticeEvent::Erasure || state.secret == SecretDeletion::Recorded {
            return Ok(SecretStep::Nothing);
        }
        match self.last_deletion(inquiry)? {
            LastDeletion::Waits => {}
            LastDeletion::Own if state.secret == SecretDeletion::Begun => return Ok(SecretStep::Record),
            // The inquiry that has deleted it records it.
            LastDeletion::Own | LastDeletion::OfOthers => return Ok(SecretStep::Nothing),
        }
        if is_late {
            return Ok(SecretStep::Erase);
        }
        let open = self.open_inquiries(inquiry)?;
        let is_later_erasure =
            |other: &Related| other.event == NoticeEvent::Erasure && other.position > state.position;
        Ok(match open.is_empty() {
            true => SecretStep::Erase,
            // The inquiry into the later erasure deletes the secret.
            false if open.iter().any(is_later_erasure) => SecretStep::Nothing,
            false => SecretStep::Wait,
        })
    }

    /// Determines if the log secret of the person of an inquiry was deleted, and by whom.
    fn last_deletion(&self, inquiry: &Inquiry) -> Result<LastDeletion, StoreError> {
        let history = self.ledger.archive().history(&Entity::Subject(inquiry.person.clone()))?;
        let last = history.iter().rev().find_map(|past| match past.event.kind {
            EventKind::Erasure => Some(LastDeletion::Waits),
            EventKind::LogSecretErased => {
                let by = past.event.provenance.evidence.as_deref();
                // Events of earlier versions do not name the inquiry.
                let is_own = by.is_none_or(|by| *by == *inquiry.row.id.to_string());
                Some(if is_own { LastDeletion::Own } else { LastDeletion::OfOthers })
            }
            _ => None,
        });
        Ok(last.unwrap_or(LastDeletion::OfOthers))
    }

    /// Returns the other inquiries about the person that are open, also those that have not begun.
    fn open_inquiries(&self, inquiry: &Inquiry) -> Result<Vec<Related>, StoreError> {
        let history = self.ledger.archive().history(&Entity::Subject(inquiry.person.clone()))?;
        let read = self.read_position()?;
        let told = history.iter().rev().filter_map(|past| inquired_past(past, &inquiry.person));
        let mut open = Vec::new();
        for event in told.take(MAX_RELATED) {
            let (id, position) = (state::inquiry_id(event.event, event.id), event.position.0);
            let row = self.ledger.notice_store().notice(id)?;
            let is_open = match &row {
                Some(row) => serde_json::from_str::<EndedState>(&row.state).is_err(),
                None => position > read,
            };
            if id != inquiry.row.id && is_open {
                open.push(Related { id, event: event.event, position });
            }
        }
        Ok(open)
    }

    /// Removes an inquiry. Acknowledged notices stay known for a while, without what they said: a recipient that has no
    /// answer acknowledges again. The id of the inquiry follows from that of the event, so what stays has another one, which is
    /// random, and times to the day. Returns false if another gateway has continued the inquiry.
    fn end(&self, inquiry: &mut Inquiry, rows: &[NoticeRow], now: Timestamp) -> Result<bool, StoreError> {
        let random = random::bits().map_err(|error| StoreError::transient("ending an inquiry", error))?;
        let (id, mut kept) = (Ulid::from_parts(ENDED, random), Vec::new());
        for row in rows.iter().filter(|row| row.recipient.is_some()) {
            if let Ok(state) = serde_json::from_str::<ClosedState>(&row.state)
                && state.status == NoticeStatus::Acknowledged
            {
                let state = state::text(&state);
                kept.push(NoticeRow { inquiry: id, open: false, version: 1, state, ..row.clone() });
            }
        }
        if !kept.is_empty() {
            let ended = clock::day_of(now);
            let (due, state) = (after(ended, KEPT_AFTER_END), state::text(&EndedState { ended }));
            kept.push(NoticeRow {
                id,
                inquiry: id,
                due,
                open: true,
                version: 1,
                state,
                ..inquiry.row.clone()
            });
        }
        // The inquiry is written as it is, so that nobody else has continued it since `rows` were read.
        if !self.write_inquiry(inquiry, inquiry.row.due)?
            || !self.ledger.notice_store().remove_inquiry(inquiry.row.id, inquiry.row.version, &kept)?
        {
            return Ok(false);
        }
        self.changed.store(true, Ordering::SeqCst);
        // An inquiry into an erasure may wait for this one.
        if matches!(self.last_deletion(inquiry)?, LastDeletion::Waits) {
            for other in self.open_inquiries(inquiry)? {
                if other.event == NoticeEvent::Erasure {
                    self.wake(other.id, now)?;
                }
            }
        }
        Ok(true)
    }

    /// Notes that the deletion of the log secret is on record. The inquiry goes on until everybody was told.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn secret_recorded(&self, inquiry: &mut Inquiry, now: Timestamp) -> Result<(), StoreError> {
        inquiry.state.secret = SecretDeletion::Recorded;
        self.write_inquiry(inquiry, after(now, CLAIM)).map(drop)
    }

    /// Writes an inquiry. A notice that closes meanwhile makes the inquiry due, which is kept. Returns false if another
    /// gateway has continued the inquiry: then this one has to leave it.
    fn write_inquiry(&self, inquiry: &mut Inquiry, due: Timestamp) -> Result<bool, StoreError> {
        self.write_inquiry_with(inquiry, due, &[])
    }

    /// Writes an inquiry with new notices, all or none.
    fn write_inquiry_with(
        &self,
        inquiry: &mut Inquiry,
        due: Timestamp,
        notices: &[NoticeRow],
    ) -> Result<bool, StoreError> {
        let mut due = due;
        for _ in 0..WRITE_ATTEMPTS {
            let (state, version) = (state::text(&inquiry.state), inquiry.row.version + 1);
            let mut rows = notices.to_vec();
            rows.push(NoticeRow { due, version, state, ..inquiry.row.clone() });
            if self.ledger.notice_store().write_notices(&rows)? {
                self.changed.store(true, Ordering::SeqCst);
                inquiry.row = rows.pop().unwrap_or_else(|| inquiry.row.clone());
                return Ok(true);
            }
            match self.ledger.notice_store().notice(inquiry.row.id)? {
                Some(row) if row.state == inquiry.row.state => {
                    due = due.min(row.due);
                    inquiry.row = row;
                }
                _ => return Ok(false),
            }
        }
        Ok(false)
    }
}
