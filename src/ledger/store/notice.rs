//! Storage of notices: what recipients have to be told about people (GDPR Art. 19), until they have been told.
//!
//! A row is written only if nobody else has written it meanwhile, so a gateway that shares the store claims a notice by
//! moving its time ahead. The store does not read the state that a row holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

use super::StoreError;

/// Maximum number of rows that one question returns.
pub const MAX_NOTICE_ROWS: usize = 1000;

/// A notice to a recipient, or an inquiry into who has to get one. `Debug` prints its id only.
#[derive(Clone, PartialEq, Eq)]
pub struct NoticeRow {
    /// The id. It contains the time at which the row was made.
    pub id: Ulid,
    /// The inquiry that the row belongs to; its own id for an inquiry.
    pub inquiry: Ulid,
    /// The recipient to tell; `None` for an inquiry.
    pub recipient: Option<Arc<str>>,
    /// The time at which a gateway has to do something.
    pub due: Timestamp,
    /// False once nothing is left to do.
    pub open: bool,
    /// The number of times that the row was written.
    pub version: u64,
    /// The rest, as JSON.
    pub state: String,
}

impl std::fmt::Debug for NoticeRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NoticeRow({})", self.id)
    }
}

/// The rows that are sought among those that are due.
#[derive(Clone, Copy, Debug)]
pub enum DueRows<'r> {
    /// Inquiries.
    Inquiries,
    /// Notices to this recipient.
    NoticesTo(&'r str),
    /// Notices to all recipients but these.
    NoticesExcept(&'r [Arc<str>]),
}

impl DueRows<'_> {
    /// True if a row to this recipient is sought; `None` for an inquiry.
    pub(in crate::ledger) fn contain(&self, recipient: Option<&str>) -> bool {
        match (self, recipient) {
            (DueRows::Inquiries, recipient) => recipient.is_none(),
            (DueRows::NoticesTo(sought), Some(recipient)) => *sought == recipient,
            (DueRows::NoticesExcept(except), Some(recipient)) => {
                !except.iter().any(|other| **other == *recipient)
            }
            (DueRows::NoticesTo(_) | DueRows::NoticesExcept(_), None) => false,
        }
    }
}

/// Numbers of notices that are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoticeCounts {
    /// All open notices.
    pub open: u64,
    /// The open notices that were made before the asked time.
    pub overdue: u64,
}

/// A store of notices. Every gateway of a shared ledger uses the same.
///
/// # Errors
/// Every method returns [`StoreError`] if the database fails.
#[allow(clippy::missing_errors_doc, reason = "the errors of all methods are described at the trait")]
pub trait NoticeStore: Send + Sync {
    /// Returns rows ordered by id, those after `after`: all rows, the notices to one recipient, or with an empty name those
    /// that are no notices. At most `limit`, which is not above [`MAX_NOTICE_ROWS`].
    fn notices(
        &self,
        recipient: Option<&str>,
        after: Option<Ulid>,
        limit: usize,
    ) -> Result<Vec<NoticeRow>, StoreError>;

    /// Returns the row with this id.
    fn notice(&self, id: Ulid) -> Result<Option<NoticeRow>, StoreError>;

    /// Returns an inquiry and its notices, ordered by id. There is at most one notice to each recipient.
    fn notices_of(&self, inquiry: Ulid) -> Result<Vec<NoticeRow>, StoreError>;

    /// Returns the open rows among `sought` that are due, those that are due for the longest time first.
    fn due_notices(
        &self,
        now: Timestamp,
        sought: DueRows<'_>,
        limit: usize,
    ) -> Result<Vec<NoticeRow>, StoreError>;

    /// Counts open notices, and those that were made before `before`.
    fn count_notices(&self, before: Timestamp) -> Result<NoticeCounts, StoreError>;

    /// Counts the open notices to each recipient that has some.
    fn count_notices_to(&self) -> Result<BTreeMap<Arc<str>, u64>, StoreError>;

    /// Writes rows, all or none: those with version 1 are new, and any other replaces the version before it. Returns false,
    /// and writes nothing, if somebody else wrote one of them.
    fn write_notices(&self, rows: &[NoticeRow]) -> Result<bool, StoreError>;

    /// Removes an inquiry with its notices, and puts these new rows in their place. Returns false, and changes nothing, unless
    /// the row of the inquiry has this version: somebody else may have begun a notice. A store in a file leaves no copy of what
    /// was removed in its journal.
    fn remove_inquiry(&self, inquiry: Ulid, version: u64, rows: &[NoticeRow]) -> Result<bool, StoreError>;
}

/// The time of a row that waits for nobody.
pub const NEVER: Timestamp = Timestamp::constant(253_402_207_200, 0);

/// Number of attempts to write a row that another gateway writes at the same time.
const WRITE_ATTEMPTS: usize = 3;

/// Writes a row that no recipient and no inquiry has: a statement of a gateway. `change` returns its new state, if that changes.
///
/// # Errors
/// [`StoreError`], also if other gateways write the row all the time.
pub fn rewrite_row(
    store: &dyn NoticeStore,
    id: Ulid,
    doing: &'static str,
    change: impl Fn(Option<&str>) -> Option<String>,
) -> Result<(), StoreError> {
    for _ in 0..WRITE_ATTEMPTS {
        let row = store.notice(id)?;
        let Some(state) = change(row.as_ref().map(|row| &*row.state)) else { return Ok(()) };
        let version = row.map_or(0, |row| row.version) + 1;
        let row = NoticeRow { id, inquiry: id, recipient: None, due: NEVER, open: false, version, state };
        if store.write_notices(&[row])? {
            return Ok(());
        }
    }
    Err(StoreError::transient(doing, "other gateways write the same row"))
}

/// Returns the smallest id of the millisecond of a time.
pub(in crate::ledger) fn first_id(time: Timestamp) -> Ulid {
    Ulid::from_parts(u64::try_from(time.as_millisecond()).unwrap_or(0), 0)
}
