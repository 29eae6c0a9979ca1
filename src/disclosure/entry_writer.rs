//! Encodes records into entries and appends them, day by day.
//!
//! Invariants: the entries of a day begin with a `day` entry and end with padding to a whole bundle, whose checkpoint is
//! kept; a day is never earlier than the one before, whatever the clock says; what is removed is on record before.

use std::collections::VecDeque;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::entry::{
    BUNDLE, DayStart, DetailDeletionRecord, Encoder, Entry, EntryKind, FormerLogEnd, ProcessStart,
    PruningRecord, decode_head,
};
use super::former::{FormerSegments, end_of_former, move_aside};
use super::log_settings::LogSettings;
use super::record::Record;
use super::storage::{
    FileOperations, LogReader, OpenLogError, PublishedCheckpoint, Storage, StorageSettings, WriteFailure,
    read_origin,
};
use crate::keys::Keys;
use crate::keys::random;
use crate::ledger::LedgerId;
use crate::retention;

/// Free space in bytes that the disk must have before the log continues; with less, the log would stop again at once.
const MIN_ROOM: usize = 256 << 10;

/// Writes the entries of one log.
pub(super) struct EntryWriter {
    storage: Storage,
    encoder: Encoder,
    retention: SignedDuration,
    gateway: String,
    pseudonym_key: [u8; 16],
    ledger: Option<LedgerId>,
    /// Number of checkpoints of ends of days.
    kept_checkpoints: u64,
    /// The days of the log that still exist: the first entry of each, and its date.
    days: VecDeque<(u64, Date)>,
    /// False while the last of `days` is over and the next one has not begun.
    is_day_open: bool,
    former: FormerSegments,
    /// Size of the last checkpoint that was handed on.
    published: u64,
    /// The start of the last day, in milliseconds since 1970.
    last_day: Arc<AtomicI64>,
}

impl EntryWriter {
    /// Opens the log, finishes what a crash has interrupted, and records the start of the process.
    pub(super) fn open(
        settings: LogSettings,
        keys: &Keys,
        files: Arc<dyn FileOperations>,
        now: Timestamp,
    ) -> Result<EntryWriter, OpenLogError> {
        let LogSettings { folder, gateway, durability: _, retention, origin, ledger, known_checkpoints } =
            settings;
        move_aside(&folder, keys)?;
        let origin = origin_of(&folder, origin, &gateway)?;
        let signer = keys.log_signing_key(&origin).map_err(|_| OpenLogError::BadOrigin(origin))?;
        let settings = StorageSettings { folder: folder.clone(), signer, outside: known_checkpoints };
        let (storage, recovered) = Storage::open_with(settings, files)?;
        let (days, last) = read_days(&folder, keys.pseudonym_check())?;
        // The end of the old log is checked once: afterwards `audit verify` examines it.
        let former = if has_start(&folder)? { None } else { end_of_former(&folder, keys)? };
        let has_day = recovered.day_start < recovered.size;
        let mut writer = EntryWriter {
            // Its padding may be written without its checkpoint, if the process died in between.
            is_day_open: has_day && last.kind != EntryKind::Padding,
            kept_checkpoints: recovered.kept_checkpoints,
            storage,
            encoder: Encoder::new(keys.subject_pseudonyms()),
            retention: SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX),
            gateway,
            pseudonym_key: keys.pseudonym_check(),
            ledger,
            days,
            former: FormerSegments::list(&folder)?,
            published: 0,
            last_day: Arc::default(),
        };
        if let Some((first, day)) = writer.days.back().filter(|_| has_day) {
            writer.encoder.continue_day(*day, *first, last.time);
        }
        writer.begin(recovered.unclean, recovered.torn_bytes, former, now).map_err(
            |failure| match failure {
                WriteFailure::RolledBack(source) | WriteFailure::Permanent(source) => {
                    OpenLogError::Io { path: folder, doing: "written to", source }
                }
            },
        )?;
        Ok(writer)
    }

    fn begin(
        &mut self,
        unclean: bool,
        torn_bytes: u64,
        former: Option<FormerLogEnd>,
        now: Timestamp,
    ) -> Result<(), WriteFailure> {
        self.change_day_if_due(now)?;
        self.note_last_day();
        if let Some((_, day)) = self.days.back().filter(|(_, day)| midnight(*day) > now) {
            tracing::warn!(
                %day,
                "the clock is behind the disclosure log: records are added to its last day until that day is over"
            );
        }
        let (offset, mut entries) = (self.offset(), Vec::new());
        let version = env!("CARGO_PKG_VERSION");
        let start = ProcessStart { gateway: &self.gateway, version, unclean, torn_bytes, former };
        self.encoder.start(offset, &start, now, &mut entries);
        self.append_durably(&entries)?;
        self.remove_expired(now)
    }

    /// Returns the start of the last day, in milliseconds since 1970. It changes when a day begins.
    pub(super) fn last_day(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.last_day)
    }

    /// Returns the time until the next day begins.
    pub(super) fn time_to_next_day(&self, now: Timestamp) -> Duration {
        let next = self.days.back().filter(|_| self.is_day_open).and_then(|(_, day)| day.tomorrow().ok());
        let rest = next.map(|next| midnight(next).duration_since(now));
        rest.and_then(|rest| Duration::try_from(rest).ok()).unwrap_or_default()
    }

    fn note_last_day(&self) {
        let start = self.days.back().map_or(0, |(_, day)| midnight(*day).as_millisecond());
        self.last_day.store(start, Ordering::Relaxed);
    }

    /// Appends records: all of them or none. Begins a day if it is time, also without records.
    pub(super) fn write<'r>(
        &mut self,
        records: impl Iterator<Item = &'r Record>,
        now: Timestamp,
    ) -> Result<(), WriteFailure> {
        self.change_day_if_due(now)?;
        let mut entries = Vec::new();
        self.encode(records, now, &mut entries);
        self.append(&entries)?;
        self.encoder.written();
        Ok(())
    }

    /// Continues after a failed write: appends a `resume` entry and these records, and makes them durable.
    pub(super) fn resume<'r>(
        &mut self,
        records: impl Iterator<Item = &'r Record>,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(), WriteFailure> {
        self.encoder.roll_back(self.storage.size());
        self.catch_up()?;
        self.storage.check_room(MIN_ROOM)?;
        self.change_day_if_due(now)?;
        let mut entries = Vec::new();
        self.encoder.resume(self.offset(), since, now, &mut entries);
        self.encode(records, now, &mut entries);
        self.append_durably(&entries)?;
        self.encoder.written();
        Ok(())
    }

    /// Records that the process ends. Begins a day if it is time: the first entry of a day is none of another kind.
    pub(super) fn stop(&mut self, now: Timestamp) -> Result<(), WriteFailure> {
        self.change_day_if_due(now)?;
        let mut entries = Vec::new();
        self.encoder.stop(now, &mut entries);
        self.append_durably(&entries)
    }

    /// Deletes the details about exchanges, acts and notices of these days, which are over. The deletion is on record, and the
    /// record is durable and published, before anything is deleted. Returns the number of details.
    pub(super) fn delete_details(
        &mut self,
        days: &RangeInclusive<Date>,
        reason: &str,
        now: Timestamp,
    ) -> Result<u64, WriteFailure> {
        let mut within = self.days.iter().filter(|(_, date)| days.contains(date));
        let Some((from, _)) = within.next().copied() else { return Ok(0) };
        let after = self.days.iter().find(|(_, date)| date > days.end());
        let below = after.map_or(self.storage.size(), |(first, _)| *first);
        let details = self.storage.count_details(&(from..below)).map_err(WriteFailure::RolledBack)?;
        if details == 0 {
            return Ok(0);
        }
        let mut entries = Vec::new();
        let record = DetailDeletionRecord { from, below, details, reason };
        self.encoder.detail_deletion(record, now, &mut entries);
        self.append_durably(&entries)?;
        self.storage.delete_details(from..below).map_err(WriteFailure::RolledBack)?;
        Ok(details)
    }

    /// Publishes everything and releases the folder.
    pub(super) fn close(self) -> io::Result<()> {
        self.storage.close()
    }

    /// Makes durable what was appended.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.storage.sync()
    }

    /// Publishes what was appended, which must be durable.
    pub(super) fn publish(&mut self) -> io::Result<PublishedCheckpoint> {
        let checkpoint = self.storage.publish()?;
        self.published = checkpoint.size;
        Ok(checkpoint)
    }

    /// Begins to publish what was appended, which must be durable.
    pub(super) fn publish_later(&mut self) -> io::Result<()> {
        self.storage.publish_later()
    }

    /// True if a bundle is full and its publication has not begun.
    pub(super) fn has_full_bundle(&self) -> bool {
        self.storage.has_full_bundle()
    }

    /// Begins to publish the bundles that are full, which must be durable.
    pub(super) fn publish_bundles_later(&mut self) -> io::Result<()> {
        self.storage.publish_bundles_later()
    }

    /// Returns the last checkpoint, if it was not returned yet.
    pub(super) fn take_published(&mut self) -> Option<PublishedCheckpoint> {
        let checkpoint = self.storage.checkpoint().filter(|checkpoint| checkpoint.size > self.published)?;
        self.published = checkpoint.size;
        Some(checkpoint)
    }

    /// True if a publication has begun that is not complete.
    pub(super) fn is_publishing(&self) -> bool {
        self.storage.planned() > self.published
    }

    /// Returns the number of entries that no result of [`EntryWriter::publish`] covers yet.
    pub(super) fn unpublished(&self) -> u64 {
        self.storage.size().saturating_sub(self.published)
    }

    /// Sets the number of bytes that may wait for publication.
    #[cfg(test)]
    pub(super) fn limit_unpublished(&mut self, bytes: usize) {
        self.storage.limit_unpublished(bytes);
    }

    /// Returns the distance of the next entry from the first one of its day.
    fn offset(&self) -> u64 {
        self.storage.size().saturating_sub(self.storage.day_start())
    }

    fn encode<'r>(
        &mut self,
        records: impl Iterator<Item = &'r Record>,
        now: Timestamp,
        entries: &mut Vec<Entry>,
    ) {
        let offset = self.offset();
        for record in records {
            self.encoder.encode(record, now, offset + entries.len() as u64, entries);
        }
    }

    /// Appends entries. One without a random salt is not written: its detail could be guessed from the leaf.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), WriteFailure> {
        if !entries.iter().all(Entry::is_salted) {
            let error = io::Error::other("the operating system provides no random bytes");
            return Err(WriteFailure::RolledBack(error));
        }
        self.storage.append(entries)
    }

    fn append_durably(&mut self, entries: &[Entry]) -> Result<(), WriteFailure> {
        self.append(entries)?;
        self.storage.sync().map_err(WriteFailure::Permanent)
    }

    /// Ends the day and begins the next one, if the day of the clock is later. After a failure the next call goes on where
    /// this one stopped.
    fn change_day_if_due(&mut self, now: Timestamp) -> Result<(), WriteFailure> {
        let today = now.to_zoned(TimeZone::UTC).date();
        let last = self.days.back().copied();
        if self.is_day_open && last.is_some_and(|(_, last)| today <= last) {
            return Ok(());
        }
        // Once its padding is written a day is over, even if the clock is set back meanwhile.
        self.is_day_open = false;
        self.catch_up()?;
        if self.storage.day_start() < self.storage.size() {
            self.end_day()?;
        }
        let next = last.and_then(|(_, last)| last.tomorrow().ok());
        let day = next.map_or(today, |next| next.max(today));
        let mut entries = Vec::new();
        let first = self.storage.size();
        let day_start = DayStart {
            first,
            gateway: &self.gateway,
            checkpoints: self.kept_checkpoints,
            pseudonym_key: self.pseudonym_key,
            ledger: self.ledger.map(|ledger| *ledger.bytes()),
        };
        self.encoder.begin_day(day, &day_start, &mut entries);
        self.append_durably(&entries)?;
        self.days.push_back((first, day));
        self.is_day_open = true;
        self.note_last_day();
        if let Some((_, last)) = last {
            warn_about_clock(midnight(last), now, self.retention);
            return self.remove_expired(now);
        }
        Ok(())
    }

    /// Publishes if so much waits for it that nothing can be appended.
    fn catch_up(&mut self) -> Result<(), WriteFailure> {
        if self.storage.is_behind() {
            self.storage.publish().map_err(WriteFailure::RolledBack)?;
        }
        Ok(())
    }

    /// Fills the last bundle, and keeps the checkpoint of the day's end.
    fn end_day(&mut self) -> Result<(), WriteFailure> {
        let missing = (BUNDLE - self.storage.size() % BUNDLE) % BUNDLE;
        let mut entries = Vec::new();
        self.encoder.padding(missing, &mut entries);
        self.append_durably(&entries)?;
        self.storage.end_day().map_err(WriteFailure::RolledBack)?;
        self.kept_checkpoints += 1;
        Ok(())
    }

    /// Removes the days that ended before the retention period, and segments of an earlier version's log. The removal is on
    /// record, and the record is durable and published, before anything is deleted.
    fn remove_expired(&mut self, now: Timestamp) -> Result<(), WriteFailure> {
        let begun: Vec<Timestamp> =
            self.former.begun().chain(self.days.iter().map(|(_, date)| midnight(*date))).collect();
        // A day or a segment ended when the next one began.
        let expired = retention::newest_past(&begun, now, self.retention).unwrap_or(0);
        let segments = expired.min(self.former.len());
        let days = expired - segments;
        let Some((below, _)) = self.days.get(days).copied().filter(|_| expired > 0) else { return Ok(()) };
        let mut entries = Vec::new();
        let former_first = self.former.first_after(segments).filter(|_| segments > 0);
        let pruning = PruningRecord { below, former_segments: segments as u64, former_first };
        self.encoder.pruning(pruning, now, &mut entries);
        self.append_durably(&entries)?;
        if let Err(error) = self.remove(segments, days, below) {
            tracing::warn!(%error, "expired days of the disclosure log are kept until the next start");
        }
        Ok(())
    }

    /// Removes the oldest segments of the old log, and then the oldest days: the entries that vouch for an old log are in the
    /// first day.
    fn remove(&mut self, segments: usize, days: usize, below: u64) -> io::Result<()> {
        self.storage.publish()?;
        self.former.remove_oldest(segments);
        if days > 0 {
            self.storage.prune(below)?;
        }
        self.days.drain(..days);
        Ok(())
    }
}

/// Returns the origin of the log in a folder, the configured one for a new log, or else one of the gateway's name and
/// random digits.
fn origin_of(folder: &Path, configured: Option<String>, gateway: &str) -> Result<String, OpenLogError> {
    if let Some(configured) = configured {
        return Ok(configured);
    }
    let read = |source| OpenLogError::Io { path: folder.to_owned(), doing: "read", source };
    if let Some(origin) = read_origin(folder).map_err(read)? {
        return Ok(origin);
    }
    let digits = random::bits().map_err(OpenLogError::Random)?;
    Ok(format!("{gateway}/{digits:032x}"))
}

/// The last entry of a log.
#[derive(Clone, Copy)]
struct LastEntry {
    kind: EntryKind,
    /// Milliseconds since the start of its day.
    time: u64,
}

/// Returns the first entries and the dates of a log's days, and its last entry.
fn read_days(
    folder: &Path,
    pseudonym_key: [u8; 16],
) -> Result<(VecDeque<(u64, Date)>, LastEntry), OpenLogError> {
    let damaged = || OpenLogError::Inconsistent {
        file: folder.to_owned(),
        problem: "the first entry of a day is not that of a day",
    };
    let mut reader = LogReader::open(folder)?;
    reader.check_last_day()?;
    let mut days = VecDeque::new();
    for first in reader.days().to_vec() {
        let Some(entry) = reader.entry(first)? else { continue };
        let head = decode_head(&entry.leaf).map_err(|_| damaged())?;
        if head.pseudonym_key.is_some_and(|key| key != pseudonym_key) {
            return Err(OpenLogError::OtherPseudonyms(folder.to_owned()));
        }
        days.push_back((first, head.day().ok_or_else(damaged)?));
    }
    let last = reader.size().checked_sub(1).map(|last| reader.entry(last)).transpose()?.flatten();
    let head = last.as_ref().and_then(|entry| decode_head(&entry.leaf).ok());
    let last = head.map(|head| LastEntry { kind: head.kind, time: head.time });
    Ok((days, last.unwrap_or(LastEntry { kind: EntryKind::Day, time: 0 })))
}

/// True if a process has recorded its start. A first start that failed leaves a log that has the first entries of days, and
/// perhaps padding.
fn has_start(folder: &Path) -> Result<bool, OpenLogError> {
    let mut reader = LogReader::open(folder)?;
    if reader.begin() > 0 {
        return Ok(true);
    }
    for entry in reader.entries(0) {
        let (_, entry) = entry?;
        let kind = decode_head(&entry.leaf).ok().map(|head| head.kind);
        if !matches!(kind, Some(EntryKind::Day | EntryKind::Padding)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn midnight(date: Date) -> Timestamp {
    date.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |start| start.timestamp())
}

/// Warns if the clock is so far ahead of the log that the time in between does not count towards retention.
fn warn_about_clock(before: Timestamp, now: Timestamp, retention: SignedDuration) {
    let ahead = now.duration_since(before);
    if ahead > retention::longest_gap(retention) {
        tracing::warn!(
            days = ahead.as_hours() / 24,
            "the clock is far ahead of the disclosure log: the time in between does not count towards retention"
        );
    }
}
