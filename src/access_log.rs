//! The access log: one line for each exchange, for the operators of the gateway. It is off unless configured.
//!
//! A line contains configured names, an outcome and figures, but no path, query, address, subject or personal value
//! (P-7c). Each day has its own file. Files older than the retention period are removed. A long jump of the clock does
//! not make a file older ([`crate::retention`]).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};
use ulid::Ulid;

use crate::log_limit::LogLimit;
use crate::retention;
use crate::traces::TraceId;

/// A finished exchange.
#[derive(Debug, Serialize)]
pub struct AccessLogLine<'a> {
    /// End of the exchange.
    pub time: Timestamp,
    /// The decision's id.
    #[serde(serialize_with = "display")]
    pub decision: Ulid,
    /// The id of the trace, if exchanges are traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceId>,
    /// The recipient's configured name.
    pub recipient: &'a str,
    /// The accepted purpose.
    pub purpose: &'a str,
    /// The route's configured name.
    pub route: &'a str,
    /// `enforce` or `observe`.
    pub mode: &'a str,
    /// The method; `_OTHER` for one that HTTP does not define.
    pub method: &'a str,
    /// The status of the response.
    pub status: u16,
    /// `released`, `aborted`, or the code of a refusal.
    pub outcome: &'a str,
    /// Duration of the exchange in milliseconds.
    pub milliseconds: u64,
    /// The same in microseconds.
    pub microseconds: u64,
    /// Size in bytes of the body that was released.
    pub bytes: u64,
}

fn display<S: Serializer>(decision: &Ulid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(decision)
}

/// Writes lines, or nothing if no folder is configured.
#[derive(Debug, Default)]
pub struct AccessLog {
    to: Option<DailyFiles>,
}

#[derive(Debug)]
struct DailyFiles {
    folder: PathBuf,
    days: u32,
    today: Mutex<Option<(Date, File)>>,
}

impl AccessLog {
    /// Opens the log in this folder. It keeps the lines of `days` days, today included.
    ///
    /// # Errors
    /// If the folder cannot be created or nothing can be written there.
    pub fn open(folder: &Path, days: u32, now: Timestamp) -> io::Result<AccessLog> {
        std::fs::create_dir_all(folder)?;
        let daily = DailyFiles { folder: folder.to_owned(), days, today: Mutex::default() };
        daily.file(day(now))?;
        Ok(AccessLog { to: Some(daily) })
    }

    /// Appends a line. A line that cannot be written is dropped with a warning. No disclosure goes unrecorded: the
    /// disclosure log records every disclosure, and nothing personal leaves without it.
    pub fn write(&self, line: &AccessLogLine<'_>) {
        let Some(daily) = &self.to else { return };
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        if let Err(error) = daily.write(&text, line.time) {
            static DROPPED: LogLimit = LogLimit::new();
            if let Some(count) = DROPPED.admit() {
                tracing::warn!(%error, count, "lines of the access log were dropped");
            }
        }
    }

    /// Removes expired files. Call it periodically, because an idle gateway may write no line for days.
    pub fn prune(&self, now: Timestamp) {
        if let Some(daily) = &self.to
            && let Err(error) = daily.prune(day(now))
        {
            tracing::warn!(%error, "old files of the access log cannot be removed");
        }
    }
}

impl DailyFiles {
    fn write(&self, text: &[u8], now: Timestamp) -> io::Result<()> {
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        let date = day(now);
        if today.as_ref().is_none_or(|(of, _)| *of != date) {
            *today = Some((date, self.file(date)?));
        }
        match today.as_mut() {
            Some((_, file)) => append(file, text),
            None => Ok(()),
        }
    }

    fn file(&self, date: Date) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(self.folder.join(format!("access-{date}.ndjson")))
    }

    fn prune(&self, today: Date) -> io::Result<()> {
        // Creates today's file even if nothing is written, so that the files show that the day passed.
        self.file(today)?;
        let mut files: Vec<(Date, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            files.extend(date_of(&path).map(|date| (date, path)));
        }
        files.sort();
        let midnight = |date: Date| TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).map_err(io::Error::other);
        let begun: Vec<Timestamp> =
            files.iter().map(|(date, _)| midnight(*date)).collect::<io::Result<_>>()?;
        let kept = SignedDuration::from_hours(24 * i64::from(self.days));
        let Some(newest) = retention::newest_past(&begun, midnight(today)?, kept) else { return Ok(()) };
        files.iter().take(newest + 1).try_for_each(|(_, path)| std::fs::remove_file(path))
    }
}

/// Appends a line completely or not at all.
fn append(file: &mut File, line: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    let written = file.write_all(line);
    if written.is_err() {
        file.set_len(before)?;
    }
    written
}

/// Returns the day of a file of this log, or `None` for any other file, which is never removed.
fn date_of(path: &Path) -> Option<Date> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("access-")?.strip_suffix(".ndjson")?.parse().ok()
}

fn day(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECISION: &str = "01KB7Z9M2Q8R5T3V6W1X4Y0ZAB";

    fn line(time: &str) -> AccessLogLine<'_> {
        AccessLogLine {
            time: time.parse().unwrap(),
            decision: DECISION.parse().unwrap(),
            trace: None,
            recipient: "acme",
            purpose: "billing",
            route: "customers",
            mode: "enforce",
            method: "GET",
            status: 200,
            outcome: "released",
            milliseconds: 3,
            microseconds: 3141,
            bytes: 42,
        }
    }

    fn files(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn each_day_has_its_file_and_expired_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("access-notes.txt"), "mine").unwrap();
        let log = AccessLog::open(folder.path(), 15, "2026-11-01T12:00:00Z".parse().unwrap()).unwrap();
        log.write(&line("2026-11-01T23:59:59Z"));
        log.write(&line("2026-11-02T00:00:00Z"));
        log.write(&line("2026-11-02T00:00:01Z"));
        assert_eq!(
            files(folder.path()),
            ["access-2026-11-01.ndjson", "access-2026-11-02.ndjson", "access-notes.txt"]
        );
        let second = std::fs::read_to_string(folder.path().join("access-2026-11-02.ndjson")).unwrap();
        assert_eq!(second.lines().count(), 2);
        let begin = format!(r#"{{"time":"2026-11-02T00:00:00Z","decision":"{DECISION}","recipient":"acme""#);
        assert!(second.starts_with(&begin), "{second}");

        // Days on which nothing is written.
        for day in 3..=15 {
            log.prune(format!("2026-11-{day:02}T23:59:59Z").parse().unwrap());
        }
        assert_eq!(files(folder.path())[0], "access-2026-11-01.ndjson", "not fifteen days old yet");
        log.prune("2026-11-16T00:00:00Z".parse().unwrap());
        assert_eq!(files(folder.path())[0], "access-2026-11-02.ndjson");
    }

    #[test]
    fn a_clock_that_jumps_ahead_removes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |time: &str| -> Timestamp { time.parse().unwrap() };
        let log = AccessLog::open(folder.path(), 15, at("2026-11-01T12:00:00Z")).unwrap();
        log.write(&line("2026-11-01T12:00:00Z"));
        log.prune(at("2028-04-01T00:00:00Z"));
        log.write(&line("2028-04-01T00:00:01Z"));
        log.prune(at("2028-04-02T00:00:00Z"));
        drop(log);
        AccessLog::open(folder.path(), 15, at("2028-04-03T00:00:00Z"))
            .unwrap()
            .prune(at("2028-04-03T00:00:00Z"));
        let log = AccessLog::open(folder.path(), 15, at("2026-11-02T00:00:00Z")).unwrap();
        log.prune(at("2026-11-02T00:00:00Z"));
        assert_eq!(files(folder.path())[0], "access-2026-11-01.ndjson");
    }

    /// A path that is not absolute would be below the working folder.
    #[test]
    fn without_a_folder_nothing_is_written() {
        let log = AccessLog::default();
        log.write(&line("2026-11-01T00:00:00Z"));
        log.prune(Timestamp::UNIX_EPOCH);
        assert!(log.to.is_none());
        let here = files(Path::new("."));
        assert!(!here.iter().any(|name| name.starts_with("access-")), "{here:?}");
    }
}
