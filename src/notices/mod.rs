//! Notices to recipients: an erasure, a correction or a restriction is told to everybody who had received the data (GDPR
//! Art. 19).
//!
//! An inquiry finds who had received data about the person; each of those recipients gets one notice. Inquiries and notices
//! are in the ledger's store, where every gateway finds them: one that does the next step claims the row first. The module
//! knows neither the configuration nor HTTP; [`crate::gateway`] searches the logs and sends.
//!
//! A notice is open until the recipient was told; then it waits for its record on the disclosure log, and is closed.
//!
//! Invariants: an inquiry ends only when it has read all logs up to the event and every notice is closed, or when its time is
//! over; the log secret of an erased person is deleted when the last inquiry about the person ends, or when the time of one
//! is over, and not before; a notice names a person only in a way in which the recipient already has the person.

mod clock;
mod counted_time;
mod delivery;
mod events;
mod inquiry;
mod log_statement;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use ulid::Ulid;

pub use clock::MAX_DELIVERY;
pub use delivery::ToldNotice;
pub use inquiry::InquiryStep;
pub use log_statement::{LogStatement, Naming, SearchedLog};
pub use state::{Channel, InquiryState, NoticeEvent, NoticeState, NoticeStatus, PersonName, SecretDeletion};

use self::counted_time::CountedTime;
use crate::ledger::{Ledger, MAX_NOTICE_ROWS, NoticeCounts, NoticeRow, StoreError};
use crate::vocabulary::{SubjectId, time_of};

/// Number of attempts to write a row that another gateway writes at the same time.
const WRITE_ATTEMPTS: usize = 3;

/// The notices of a ledger. All methods read or write the store and block meanwhile. The parameter `now` is the time of notices
/// ([`Notices::now`]), which no clock of a gateway changes.
#[derive(Debug)]
pub struct Notices {
    ledger: Arc<Ledger>,
    /// Time after which the log secret of an erased person is deleted, whoever has not been told.
    limit: Duration,
    /// True if this process has written a row since the counts were last taken.
    changed: AtomicBool,
    /// The inquiries whose search was not complete when they were last counted.
    incomplete: AtomicU64,
    time: CountedTime,
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
    /// A digest of who it is; `None` if it is not registered.
    pub identity: Option<String>,
}

impl Inquiry {
    /// Returns the id.
    pub fn id(&self) -> Ulid {
        self.row.id
    }
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

    /// Returns the time since which the recipient has to be told.
    pub fn since(&self) -> Timestamp {
        self.state.begun.unwrap_or_else(|| time_of(self.row.id))
    }

    /// True while the recipient has not been told.
    pub fn is_open(&self) -> bool {
        self.row.open && self.state.is_untold()
    }

    /// Reads a row. A state that does not read is left for a later version of the program.
    fn read(row: NoticeRow) -> Option<Notice> {
        row.recipient.as_ref()?;
        let state = serde_json::from_str(&row.state).ok()?;
        Some(Notice { row, state })
    }
}

impl Notices {
    /// Returns the notices of a ledger.
    pub fn new(ledger: Arc<Ledger>, limit: Duration) -> Notices {
        let (changed, incomplete) = (AtomicBool::new(true), AtomicU64::default());
        Notices { ledger, limit, changed, incomplete, time: CountedTime::default() }
    }

    /// Returns the person of an inquiry or a notice.
    fn person(&self, namespace: Option<&str>, subject: &str) -> SubjectId {
        self.ledger.terms().namespaces().reader(namespace).read_recorded(subject)
    }

    /// Writes the next version of a row. Returns `None` if another gateway was faster.
    fn write(&self, row: NoticeRow) -> Result<Option<NoticeRow>, StoreError> {
        let row = NoticeRow { version: row.version + 1, ..row };
        let is_written = self.ledger.notice_store().write_notices(std::slice::from_ref(&row))?;
        self.changed.fetch_or(is_written, Ordering::SeqCst);
        Ok(is_written.then_some(row))
    }

    /// Makes a row due at once. No effect if it is gone.
    fn wake(&self, id: Ulid, now: Timestamp) -> Result<(), StoreError> {
        for _ in 0..WRITE_ATTEMPTS {
            let Some(row) = self.ledger.notice_store().notice(id)?.filter(|row| row.due > now) else {
                return Ok(());
            };
            if self.write(NoticeRow { due: now, ..row })?.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// True if this process has written something since the last call. The next counts then differ.
    pub fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::SeqCst)
    }

    /// Counts the open notices, and those that are open for longer than the limit. The ids have the days on which notices
    /// began, so one counts from the end of its day on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn count(&self, now: Timestamp) -> Result<NoticeCounts, StoreError> {
        self.ledger.notice_store().count_notices(clock::day_of(clock::before(now, self.limit)))
    }

    /// Counts the open notices to each recipient that has some.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn count_by_recipient(&self) -> Result<BTreeMap<Arc<str>, u64>, StoreError> {
        self.ledger.notice_store().count_notices_to()
    }

    /// Counts the inquiries that have searched the logs, and have not found all of them complete.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn count_incomplete(&self) -> Result<u64, StoreError> {
        let (mut count, mut after) = (0, None);
        loop {
            let rows = self.ledger.notice_store().notices(Some(""), after, MAX_NOTICE_ROWS)?;
            let states = rows.iter().filter(|row| row.open);
            let states = states.filter_map(|row| serde_json::from_str::<InquiryState>(&row.state).ok());
            count += states.filter(|state| state.searches > 0 && !state.complete).count() as u64;
            if rows.len() < MAX_NOTICE_ROWS {
                self.incomplete.store(count, Ordering::Relaxed);
                return Ok(count);
            }
            after = rows.last().map(|row| row.id);
        }
    }

    /// True unless a search for recipients was not complete when they were last counted: there may be more to tell.
    pub fn is_complete(&self) -> bool {
        self.incomplete.load(Ordering::Relaxed) == 0
    }
}
