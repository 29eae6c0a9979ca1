//! The files of counted circumstances: one for each day, replaced as a whole.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::decision::circumstance::SeenCircumstance;
use crate::retention;

/// Days for which counts are kept, the current one included.
const DAYS: i32 = 30;

/// End of the name of a file of counts.
const COUNTS: &str = ".json";

/// End of the name of a file that was set aside.
const SET_ASIDE: &str = ".unreadable";

/// Maximum size of the file of a day.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The counts of one day as they are in a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DayFile {
    pub(super) day: Date,
    pub(super) circumstances: Vec<CountedCircumstance>,
    pub(super) other: BTreeMap<String, u64>,
}

/// Circumstances with the number of their records.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CountedCircumstance {
    pub(super) records: u64,
    pub(super) of: SeenCircumstance,
}

/// Returns the days of which counts are kept, oldest first; none if there is no folder yet.
///
/// # Errors
/// The system's error if the folder cannot be read.
pub fn days(folder: &Path) -> io::Result<Vec<Date>> {
    match kept(folder, &[COUNTS]) {
        Ok(kept) => Ok(kept.into_iter().map(|(day, _)| day).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Reads the file of a day. Returns `None` if there is none.
///
/// # Errors
/// The error, which is logged, if the file cannot be read.
pub(super) fn read(folder: &Path, day: Date) -> io::Result<Option<DayFile>> {
    let path = path(folder, day);
    let read = match read_file(&path) {
        Ok(file) if file.day == day => Ok(Some(file)),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it is of another day")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    read.inspect_err(|error| {
        tracing::warn!(path = %path.display(), %error, "a file of counted circumstances cannot be read");
    })
}

/// Renames the file of a day, so that it is not replaced. A file that was set aside on the same day before is.
pub(super) fn set_aside(folder: &Path, day: Date) {
    let aside = folder.join(format!("circumstances-{day}{SET_ASIDE}"));
    match std::fs::rename(path(folder, day), &aside) {
        Ok(()) => {
            tracing::warn!(path = %aside.display(), "the file was set aside, and the counts of its day begin again");
        }
        Err(error) => tracing::warn!(path = %aside.display(), %error, "the file cannot be set aside"),
    }
}

fn read_file(path: &Path) -> io::Result<DayFile> {
    if std::fs::metadata(path)?.len() > MAX_FILE_BYTES {
        return Err(too_large());
    }
    serde_json::from_slice(&std::fs::read(path)?).map_err(io::Error::from)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than the counts of a day can be")
}

/// Replaces the file of a day: it has the earlier counts or the later ones, also after a power failure.
pub(super) fn write(folder: &Path, day: Date, counts: &DayFile) -> io::Result<()> {
    let counts = serde_json::to_vec(counts)?;
    if counts.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large());
    }
    std::fs::create_dir_all(folder)?;
    let (path, beside) = (path(folder, day), folder.join("circumstances.tmp"));
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(&counts)?;
    file.sync_all()?;
    std::fs::rename(&beside, &path)
}

/// Removes the files of days past their retention, also those that were set aside. Time counts only as far as the files show
/// that it passed.
pub(super) fn prune(folder: &Path, today: Date) -> io::Result<()> {
    let days = kept(folder, &[COUNTS, SET_ASIDE])?;
    let midnight = |day: Date| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).map_err(io::Error::other);
    let begun: Vec<Timestamp> = days.iter().map(|(day, _)| midnight(*day)).collect::<io::Result<_>>()?;
    let kept = SignedDuration::from_hours(24) * DAYS;
    let Some(newest) = retention::newest_past(&begun, midnight(today)?, kept) else { return Ok(()) };
    days.iter().take(newest + 1).try_for_each(|(_, path)| std::fs::remove_file(path))
}

fn path(folder: &Path, day: Date) -> PathBuf {
    folder.join(format!("circumstances-{day}{COUNTS}"))
}

/// Returns the files of all days with one of these endings, oldest first.
fn kept(folder: &Path, endings: &[&str]) -> io::Result<Vec<(Date, PathBuf)>> {
    let mut days = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        days.extend(endings.iter().find_map(|ending| day_of(&path, ending)).map(|day| (day, path)));
    }
    days.sort();
    Ok(days)
}

/// Returns the day of a file with this ending, or `None` for any other file, which is never removed.
fn day_of(path: &Path, ending: &str) -> Option<Date> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("circumstances-")?.strip_suffix(ending)?.parse().ok()
}
