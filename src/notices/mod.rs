//! Notices to recipients: an erasure, a correction or a restriction is told to everybody who had received the data (GDPR
//! Art. 19).
//!
//! An inquiry finds who had received data about the person; each of those recipients gets one notice. Inquiries and notices
//! are in the ledger's store, where every gateway finds them: one that does the next step claims the row first. The module
//! knows neither the configuration nor HTTP; [`crate::gateway`] searches the logs and sends.
//!
//! Invariants: an inquiry ends only when it has read all logs and every notice is closed, or when its time is over; the log
//! secret of an erased person is deleted when the inquiry ends, and not before; a notice names a person only in a way in
//! which the recipient already has the person.

mod clock;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use ulid::Ulid;

pub use clock::MAX_DELIVERY;
pub use state::{Channel, InquiryState, NoticeEvent, NoticeState, NoticeStatus, PersonName};

use crate::ledger::{
    Continuation, Entity, EventRow, KnownHistory, Ledger, MAX_NOTICE_ROWS, NoticeCounts, NoticeRow,
    PendingErasure, StoreError,
};
use crate::vocabulary::SubjectId;
use clock::{CLAIM, after, next_attempt, next_search};
use state::{EventTime, ReadPosition};

/// Number of events that are examined at a time.
const PAGE: usize = 1024;

/// Number of rows that a gateway claims at a time.
const MAX_CLAIMS: usize = 32;

/// Maximum number of inquiries that this process remembers to exist.
const MAX_REMEMBERED: usize = 100_000;

/// The notices of a ledger. All methods read or write the store and block meanwhile.
#[derive(Debug)]
pub struct Notices {
    ledger: Arc<Ledger>,
    /// Time after which the log secret of an erased person is deleted, whoever has not been told.
    limit: Duration,
    /// The inquiries into erasures that are known to exist.
    remembered: Mutex<HashSet<Ulid>>,
}

/// An inquiry that this gateway has claimed.
#[derive(Clone, Debug)]
pub struct Inquiry {
    row: NoticeRow,
    /// Its state.
    pub state: InquiryState,
    /// The person.
    pub person: SubjectId,
}

/// A notice to one recipient.
#[derive(Clone, Debug)]
pub struct Notice {
    row: NoticeRow,
    /// Its state.
    pub state: NoticeState,
}

/// The next steps of a gateway.
#[derive(Clone, Debug)]
pub enum Claimed {
    /// Continue an inquiry.
    Inquiry(Inquiry),
    /// Send a notice.
    Notice(Notice),
}

/// The next step of an inquiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InquiryStep {
    /// It waits.
    Wait,
    /// Delete the log secret, then call [`Notices::secret_erased`]. The text says why it is deleted now.
    EraseSecret(&'static str),
    /// It is over and was removed.
    Ended,
}

/// A recipient that had received data about the person, and how it is told.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// The recipient's name.
    pub recipient: Arc<str>,
    /// The categories that it had received.
    pub categories: Vec<String>,
    /// The first disclosure on record.
    pub first: Timestamp,
    /// The last one.
    pub last: Timestamp,
    /// The name by which the recipient knows the person. `None`: a person has to find out.
    pub name: Option<PersonName>,
    /// How the recipient is told.
    pub channel: Channel,
}

impl Notice {
    /// Returns the id.
    pub fn id(&self) -> Ulid {
        self.row.id
    }

    /// Returns the recipient's name.
    pub fn recipient(&self) -> Arc<str> {
        self.row.recipient.clone().unwrap_or_else(|| Arc::from(""))
    }

    /// True while the recipient has not been told.
    pub fn is_open(&self) -> bool {
        self.row.open
    }

    fn read(row: NoticeRow) -> Option<Notice> {
        row.recipient.as_ref()?;
        let state = serde_json::from_str(&row.state).ok()?;
        Some(Notice { row, state })
    }
}

impl Notices {
    /// Returns the notices of a ledger.
    pub fn new(ledger: Arc<Ledger>, limit: Duration) -> Notices {
        Notices { ledger, limit, remembered: Mutex::default() }
    }

    /// Begins an inquiry for each erasure, correction and restriction that has none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn watch(&self, now: Timestamp) -> Result<(), StoreError> {
        for PendingErasure { person, erased } in self.ledger.pending_erasures() {
            self.begin(NoticeEvent::Erasure, &person, erased, now)?;
        }
        self.read_events(now)
    }

    /// Reads the events since the last one that was examined. The first time, only the end of the ledger is noted: what was
    /// recorded before is not told again.
    fn read_events(&self, now: Timestamp) -> Result<(), StoreError> {
        let store = self.ledger.notice_store();
        let Some(row) = store.notice(Ulid::nil())? else {
            let known = self.ledger.history_end()?;
            store.write_notices(&[read_position_row(&known, 1)])?;
            return Ok(());
        };
        let position: ReadPosition = serde_json::from_str(&row.state).unwrap_or_default();
        let known = position.history();
        if known.position >= self.ledger.position() {
            return Ok(());
        }
        let next = match self.ledger.follow(&known, PAGE)? {
            Continuation::Continues { head, events } => {
                for event in &events {
                    self.examine(event, now)?;
                }
                let is_all = events.len() < PAGE;
                let end = events.last().map_or(known, |event| KnownHistory::ending_with(&event.stored));
                KnownHistory { position: if is_all { head } else { end.position }, ..end }
            }
            // The history was lost, and with it the events that had been examined.
            Continuation::Diverges { .. } => self.ledger.history_end()?,
        };
        if next != known {
            // Another gateway may have written it: it has begun the same inquiries.
            store.write_notices(&[read_position_row(&next, row.version + 1)])?;
        }
        Ok(())
    }

    fn examine(&self, event: &EventRow, now: Timestamp) -> Result<(), StoreError> {
        let kind = match serde_json::from_str::<EventTime>(&event.stored.event) {
            Ok(EventTime { kind, .. }) if kind == "correction" => NoticeEvent::Correction,
            Ok(EventTime { kind, .. }) if kind == "restriction" => NoticeEvent::Restriction,
            // Erasures are found where they wait for the deletion of the log secret.
            _ => return Ok(()),
        };
        let at = serde_json::from_str::<EventTime>(&event.stored.event).ok().and_then(|event| event.at);
        match event.entity.entity(self.ledger.terms().namespaces()) {
            Entity::Subject(person) => self.begin(kind, &person, at.unwrap_or(event.stored.recorded), now),
            Entity::Controller(_) | Entity::Recipient(_) | Entity::Case(_) => Ok(()),
        }
    }

    /// Begins an inquiry, unless there is one.
    fn begin(
        &self,
        event: NoticeEvent,
        person: &SubjectId,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = state::inquiry_id(event, person, at);
        if self.remembered.lock().unwrap_or_else(PoisonError::into_inner).contains(&id) {
            return Ok(());
        }
        let state = InquiryState::new(event, person, at, now);
        let state = state.map_err(|error| StoreError::transient("beginning an inquiry", error))?;
        let row = NoticeRow {
            id,
            inquiry: id,
            recipient: None,
            due: now,
            open: true,
            version: 1,
            state: state::text(&state),
        };
        // False if there is one.
        self.ledger.notice_store().write_notices(&[row])?;
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(id);
        Ok(())
    }

    /// Claims what is due. Another gateway does it if this one has not finished within [`CLAIM`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn claim(&self, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
        let mut claimed = Vec::new();
        for row in self.ledger.notice_store().due_notices(now, MAX_CLAIMS)? {
            let Some(row) = self.write(NoticeRow { due: after(now, CLAIM), ..row })? else { continue };
            claimed.extend(self.read(row));
        }
        Ok(claimed)
    }

    /// Reads a row. A state that does not read is left for a later version of the program.
    fn read(&self, row: NoticeRow) -> Option<Claimed> {
        if row.recipient.is_some() {
            return Notice::read(row).map(Claimed::Notice);
        }
        let state: InquiryState = serde_json::from_str(&row.state).ok()?;
        let reader = self.ledger.terms().namespaces().reader(state.namespace.as_deref());
        let person = reader.read_recorded(&state.subject);
        Some(Claimed::Inquiry(Inquiry { row, state, person }))
    }

    /// Writes the next version of a row. Returns `None` if another gateway was faster.
    fn write(&self, row: NoticeRow) -> Result<Option<NoticeRow>, StoreError> {
        let row = NoticeRow { version: row.version + 1, ..row };
        let is_written = self.ledger.notice_store().write_notices(std::slice::from_ref(&row))?;
        Ok(is_written.then_some(row))
    }

    /// Records who had received the data, and begins a notice to each recipient that has none. Returns the new notices. An
    /// inquiry that did not read all logs is repeated.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn found(
        &self,
        inquiry: &mut Inquiry,
        receivers: Vec<Receiver>,
        is_complete: bool,
        now: Timestamp,
    ) -> Result<Vec<Notice>, StoreError> {
        let known = self.ledger.notice_store().notices_of(inquiry.row.id)?;
        let mut begun = Vec::new();
        for receiver in receivers {
            if known.iter().any(|row| row.recipient.as_ref() == Some(&receiver.recipient)) {
                continue;
            }
            let recipient = Arc::clone(&receiver.recipient);
            let state = NoticeState::new(&inquiry.state, receiver);
            let row = NoticeRow {
                id: inquiry.state.notice_id(&recipient),
                inquiry: inquiry.row.id,
                recipient: Some(recipient),
                due: if state.channel == Channel::Webhook { now } else { clock::NEVER },
                open: true,
                version: 1,
                state: state::text(&state),
            };
            if self.ledger.notice_store().write_notices(std::slice::from_ref(&row))? {
                begun.push(Notice { row, state });
            }
        }
        inquiry.state.complete = is_complete;
        inquiry.state.searches += 1;
        Ok(begun)
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
        let has_secret = state.event == NoticeEvent::Erasure && !state.secret_erased;
        let is_over = is_told && (state.complete || is_late);
        if has_secret && (is_over || is_late) {
            return Ok(InquiryStep::EraseSecret(if is_over { "delivered" } else { "notice-limit" }));
        }
        if is_over {
            self.ledger.notice_store().remove_inquiry(inquiry.row.id)?;
            return Ok(InquiryStep::Ended);
        }
        let due = if state.complete { clock::LOOK_AGAIN } else { next_search(state.searches) };
        self.write_inquiry(inquiry, after(now, due))?;
        Ok(InquiryStep::Wait)
    }

    /// Notes that the log secret was deleted. The inquiry goes on until everybody was told.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn secret_erased(&self, inquiry: &mut Inquiry, now: Timestamp) -> Result<(), StoreError> {
        inquiry.state.secret_erased = true;
        self.write_inquiry(inquiry, now)
    }

    fn write_inquiry(&self, inquiry: &mut Inquiry, due: Timestamp) -> Result<(), StoreError> {
        let row = NoticeRow { due, state: state::text(&inquiry.state), ..inquiry.row.clone() };
        if let Some(row) = self.write(row)? {
            inquiry.row = row;
        }
        Ok(())
    }

    /// Records the outcome of an attempt to send a notice. Returns the notice if it is settled now: delivered, or left to a
    /// person because its time is over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn attempted(
        &self,
        mut notice: Notice,
        is_delivered: bool,
        now: Timestamp,
    ) -> Result<Option<Notice>, StoreError> {
        if is_delivered {
            return self.close(notice, NoticeStatus::Delivered, now);
        }
        notice.state.attempts += 1;
        if clock::age(now, clock::time_of(notice.row.id)) >= MAX_DELIVERY {
            notice.state.status = NoticeStatus::Expired;
            notice.state.channel = Channel::Manual;
            notice.row.due = clock::NEVER;
            return self.rewrite(notice);
        }
        notice.row.due = after(now, next_attempt(notice.state.attempts));
        self.rewrite(notice)?;
        Ok(None)
    }

    /// Records that the recipient has acknowledged a notice. Returns `None` if it has no such notice that is open.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn acknowledge(
        &self,
        recipient: &str,
        id: Ulid,
        now: Timestamp,
    ) -> Result<Option<Notice>, StoreError> {
        let notice = self.open_notice(id)?.filter(|notice| *notice.recipient() == *recipient);
        match notice.filter(|notice| notice.state.channel == Channel::Feed) {
            Some(notice) => self.close(notice, NoticeStatus::Acknowledged, now),
            None => Ok(None),
        }
    }

    /// Records that a person has told the recipient. Returns `None` if there is no such notice that is open.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn told_by_person(&self, id: Ulid, now: Timestamp) -> Result<Option<Notice>, StoreError> {
        match self.open_notice(id)? {
            Some(mut notice) => {
                notice.state.channel = Channel::Manual;
                self.close(notice, NoticeStatus::Delivered, now)
            }
            None => Ok(None),
        }
    }

    fn open_notice(&self, id: Ulid) -> Result<Option<Notice>, StoreError> {
        let row = self.ledger.notice_store().notice(id)?;
        Ok(row.and_then(Notice::read).filter(Notice::is_open))
    }

    fn close(
        &self,
        mut notice: Notice,
        status: NoticeStatus,
        now: Timestamp,
    ) -> Result<Option<Notice>, StoreError> {
        notice.state.status = status;
        notice.row.open = false;
        let inquiry = notice.row.inquiry;
        let Some(closed) = self.rewrite(notice)? else { return Ok(None) };
        if let Some(row) = self.ledger.notice_store().notice(inquiry)? {
            // Where another gateway has the inquiry, it looks again later.
            self.write(NoticeRow { due: now, ..row })?;
        }
        Ok(Some(closed))
    }

    fn rewrite(&self, notice: Notice) -> Result<Option<Notice>, StoreError> {
        let Notice { row, state } = notice;
        let row = self.write(NoticeRow { state: state::text(&state), ..row })?;
        Ok(row.map(|row| Notice { row, state }))
    }

    /// Returns open notices ordered by id, those after `after`: all of them, or those that one recipient reads in its feed. Also
    /// returns the id to continue after, if there may be more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(
        &self,
        recipient: Option<&str>,
        after: Option<Ulid>,
        limit: usize,
    ) -> Result<(Vec<Notice>, Option<Ulid>), StoreError> {
        let (mut listed, mut after) = (Vec::new(), after);
        loop {
            let rows = self.ledger.notice_store().notices(recipient, after, MAX_NOTICE_ROWS)?;
            let is_end = rows.len() < MAX_NOTICE_ROWS;
            for row in rows {
                let id = row.id;
                let notice = Notice::read(row).filter(Notice::is_open);
                let is_shown = |notice: &Notice| recipient.is_none() || notice.state.channel == Channel::Feed;
                if let Some(notice) = notice.filter(is_shown) {
                    if listed.len() == limit {
                        return Ok((listed, after));
                    }
                    listed.push(notice);
                }
                after = Some(id);
            }
            if is_end {
                return Ok((listed, None));
            }
        }
    }

    /// Counts the open notices, and those that are open for longer than the limit.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn count(&self, now: Timestamp) -> Result<NoticeCounts, StoreError> {
        self.ledger.notice_store().count_notices(clock::before(now, self.limit))
    }
}

fn read_position_row(known: &KnownHistory, version: u64) -> NoticeRow {
    NoticeRow {
        id: Ulid::nil(),
        inquiry: Ulid::nil(),
        recipient: None,
        due: clock::NEVER,
        open: false,
        version,
        state: state::text(&ReadPosition::of(known)),
    }
}
