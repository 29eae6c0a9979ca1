//! The steps of a notice: it is open until the recipient was told, then waits for its record on the disclosure log, and is
//! closed.
//!
//! Invariant: a notice is closed only after its outcome is on the disclosure log. A process that ends in between leaves a
//! record that is written again, at worst twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

use super::clock::{self, CLAIM, MAX_DELIVERY, after, next_attempt};
use super::state::{self, ClosedState};
use super::{Channel, Notice, NoticeStatus, Notices, WRITE_ATTEMPTS};
use crate::ledger::{DueRows, MAX_NOTICE_ROWS, NoticeRow, StoreError};
use crate::vocabulary::SubjectId;

/// Number of due notices that are looked at to claim one.
const CANDIDATES: usize = 8;

/// A notice whose recipient was told.
#[derive(Clone, Debug)]
pub enum ToldNotice {
    /// The disclosure log has the outcome.
    Recorded,
    /// The outcome has to be written to the disclosure log; then call [`Notices::recorded`].
    Unrecorded(Box<Notice>),
}

impl Notices {
    /// Returns recipients with notices that are due, in the order in which these are, without those in `except`. At most as
    /// many as the first [`MAX_NOTICE_ROWS`] due notices name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn due_recipients(&self, except: &[Arc<str>], now: Timestamp) -> Result<Vec<Arc<str>>, StoreError> {
        let sought = DueRows::NoticesExcept(except);
        let rows = self.ledger.notice_store().due_notices(now, sought, MAX_NOTICE_ROWS)?;
        let mut seen = BTreeSet::new();
        let names = rows.into_iter().filter_map(|row| row.recipient);
        Ok(names.filter(|name| seen.insert(Arc::clone(name))).collect())
    }

    /// Claims a notice to a recipient that is due. Another gateway sends it if this one has not finished within [`CLAIM`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn claim_notice(&self, recipient: &str, now: Timestamp) -> Result<Option<Notice>, StoreError> {
        let sought = DueRows::NoticesTo(recipient);
        for row in self.ledger.notice_store().due_notices(now, sought, CANDIDATES)? {
            let Some(row) = self.write(NoticeRow { due: after(now, CLAIM), ..row })? else { continue };
            if let Some(notice) = Notice::read(row) {
                return Ok(Some(notice));
            }
        }
        Ok(None)
    }

    /// Returns the person whom a notice is about.
    pub fn person_of(&self, notice: &Notice) -> SubjectId {
        self.person(notice.state.namespace.as_deref(), &notice.state.subject)
    }

    /// True if the notice is open for longer than the limit, by days as [`Notices::count`] has it.
    pub fn is_overdue(&self, notice: &Notice, now: Timestamp) -> bool {
        clock::day_of(notice.since()) < clock::day_of(clock::before(now, self.limit))
    }

    /// True if the time is over in which a notice is sent, or waits in a feed.
    pub fn is_expired(notice: &Notice, now: Timestamp) -> bool {
        clock::age(now, notice.since()) >= MAX_DELIVERY
    }

    /// Records that the recipient has accepted the notice. Returns `None` if another gateway has continued it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delivered(&self, notice: Notice, now: Timestamp) -> Result<Option<Notice>, StoreError> {
        self.told(notice, NoticeStatus::Delivered, now)
    }

    /// Records that an attempt to send the notice has failed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn failed(&self, mut notice: Notice, now: Timestamp) -> Result<(), StoreError> {
        notice.state.attempts += 1;
        notice.row.due = after(now, next_attempt(notice.state.attempts));
        self.rewrite(notice).map(drop)
    }

    /// Leaves a notice to a person, because its time is over. Returns `None` if another gateway has continued it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn expire(&self, mut notice: Notice, now: Timestamp) -> Result<Option<Notice>, StoreError> {
        notice.state.status = NoticeStatus::Expired;
        self.leave_to_person(notice, now)
    }

    /// Moves a notice to the channel that the configuration has now. Returns the notice if that has to be recorded: a person
    /// has to tell the recipient.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn move_to(
        &self,
        mut notice: Notice,
        channel: Channel,
        now: Timestamp,
    ) -> Result<Option<Notice>, StoreError> {
        notice.row.due = match channel {
            Channel::Manual => return self.leave_to_person(notice, now),
            Channel::Webhook => now,
            Channel::Feed => after(notice.since(), MAX_DELIVERY),
        };
        notice.state.channel = channel;
        notice.state.unrecorded = false;
        self.rewrite(notice)?;
        Ok(None)
    }

    fn leave_to_person(&self, mut notice: Notice, now: Timestamp) -> Result<Option<Notice>, StoreError> {
        notice.state.channel = Channel::Manual;
        notice.state.unrecorded = true;
        notice.row.due = after(now, CLAIM);
        self.rewrite(notice)
    }

    fn told(
        &self,
        mut notice: Notice,
        status: NoticeStatus,
        now: Timestamp,
    ) -> Result<Option<Notice>, StoreError> {
        notice.state.status = status;
        notice.state.unrecorded = true;
        // The process that has told the recipient records it; another one does if that one ends.
        notice.row.due = after(now, CLAIM);
        self.rewrite(notice)
    }

    /// Notes that the disclosure log has the outcome of a notice. That closes one whose recipient was told.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn recorded(&self, mut notice: Notice, now: Timestamp) -> Result<(), StoreError> {
        notice.state.unrecorded = false;
        notice.row.open = notice.state.is_untold();
        notice.row.due = clock::NEVER;
        let inquiry = notice.row.inquiry;
        match self.rewrite(notice)? {
            Some(notice) if !notice.row.open => self.wake(inquiry, now),
            _ => Ok(()),
        }
    }

    /// Records that the recipient has acknowledged a notice, also repeatedly. Returns `None` if its feed has no such notice.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn acknowledge(
        &self,
        recipient: &str,
        id: Ulid,
        now: Timestamp,
    ) -> Result<Option<ToldNotice>, StoreError> {
        self.tell(id, NoticeStatus::Acknowledged, now, |notice| {
            *notice.recipient() == *recipient && notice.state.channel == Channel::Feed
        })?
        .map_or_else(|| self.acknowledged_before(recipient, id), |told| Ok(Some(told)))
    }

    /// Returns a notice that was acknowledged before its inquiry ended.
    fn acknowledged_before(&self, recipient: &str, id: Ulid) -> Result<Option<ToldNotice>, StoreError> {
        let row = self.ledger.notice_store().notice(id)?;
        let own = row.filter(|row| row.recipient.as_deref() == Some(recipient));
        let state = own.and_then(|row| serde_json::from_str::<ClosedState>(&row.state).ok());
        Ok(state.filter(|state| state.status == NoticeStatus::Acknowledged).map(|_| ToldNotice::Recorded))
    }

    /// Records that a person has told the recipient, also repeatedly. Returns `None` if there is no such notice.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn told_by_person(&self, id: Ulid, now: Timestamp) -> Result<Option<ToldNotice>, StoreError> {
        self.tell(id, NoticeStatus::Delivered, now, |_| true)
    }

    fn tell(
        &self,
        id: Ulid,
        status: NoticeStatus,
        now: Timestamp,
        may_be_told: impl Fn(&Notice) -> bool,
    ) -> Result<Option<ToldNotice>, StoreError> {
        for _ in 0..WRITE_ATTEMPTS {
            let Some(mut notice) = self.notice(id)?.filter(&may_be_told) else { return Ok(None) };
            if notice.state.is_untold() {
                if status == NoticeStatus::Delivered {
                    notice.state.channel = Channel::Manual;
                }
                match self.told(notice, status, now)? {
                    Some(told) => return Ok(Some(ToldNotice::Unrecorded(Box::new(told)))),
                    None => continue,
                }
            }
            return Ok((notice.state.status == status).then(|| match notice.state.unrecorded {
                true => ToldNotice::Unrecorded(Box::new(notice)),
                false => ToldNotice::Recorded,
            }));
        }
        Err(StoreError::transient("recording that a recipient was told", "other gateways write the same row"))
    }

    /// Returns a notice, as long as its inquiry has not ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn notice(&self, id: Ulid) -> Result<Option<Notice>, StoreError> {
        Ok(self.ledger.notice_store().notice(id)?.and_then(Notice::read))
    }

    fn rewrite(&self, notice: Notice) -> Result<Option<Notice>, StoreError> {
        let Notice { row, state } = notice;
        let row = self.write(NoticeRow { state: state::text(&state), ..row })?;
        Ok(row.map(|row| Notice { row, state }))
    }

    /// Returns open notices ordered by id, those after `after`: all of them, or those to one recipient. Also returns the id to
    /// continue after, if there may be more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(
        &self,
        recipient: Option<&str>,
        after: Option<Ulid>,
        limit: usize,
    ) -> Result<(Vec<Notice>, Option<Ulid>), StoreError> {
        self.list_those(recipient, after, limit, |_| true)
    }

    /// Returns open notices as [`Notices::list`] does: those that a recipient reads in its feed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn feed(
        &self,
        recipient: &str,
        after: Option<Ulid>,
        limit: usize,
    ) -> Result<(Vec<Notice>, Option<Ulid>), StoreError> {
        self.list_those(Some(recipient), after, limit, |notice| notice.state.channel == Channel::Feed)
    }

    fn list_those(
        &self,
        recipient: Option<&str>,
        after: Option<Ulid>,
        limit: usize,
        is_shown: impl Fn(&Notice) -> bool,
    ) -> Result<(Vec<Notice>, Option<Ulid>), StoreError> {
        let (mut listed, mut after) = (Vec::new(), after);
        loop {
            let rows = self.ledger.notice_store().notices(recipient, after, MAX_NOTICE_ROWS)?;
            let is_end = rows.len() < MAX_NOTICE_ROWS;
            for row in rows {
                let id = row.id;
                let notice = Notice::read(row).filter(Notice::is_open);
                if let Some(notice) = notice.filter(&is_shown) {
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

    /// Makes the open notices due whose channel is not that of the configuration any more. `channel` returns the channel of a
    /// notice as the configuration has it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn revisit(&self, channel: impl Fn(&Notice) -> Channel, now: Timestamp) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let (notices, next) = self.list(None, after, MAX_NOTICE_ROWS)?;
            for notice in notices.into_iter().filter(|notice| notice.state.channel != channel(notice)) {
                self.wake(notice.id(), now)?;
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}
