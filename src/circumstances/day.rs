//! The counts of one day.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;

use super::MAX_CIRCUMSTANCES;
use super::files::{self, CountedCircumstance, DayFile};
use crate::decision::circumstance::SeenCircumstance;
use crate::decision::circumstance::line::{CircumstanceLine, LineOf};

/// Number of records of a day below which circumstances are not shown by themselves.
pub(super) const MIN_RECORDS: u64 = 5;

/// Maximum size of all descriptions of a day. With their counts and those of the routes they fit into a file that can be read
/// again.
const MAX_DESCRIBED_BYTES: usize = 48 << 20;

/// The records of one day by their circumstances.
#[derive(Clone, Debug)]
pub(super) struct DayCounts {
    date: Date,
    /// Records by description.
    described: BTreeMap<Arc<str>, u64>,
    /// Bytes of all descriptions.
    described_bytes: usize,
    /// Records that are not told apart, by route.
    other: BTreeMap<String, u64>,
    is_changed: bool,
}

impl DayCounts {
    /// Returns a day of a list. A day that is not in the list yet goes on from its file. A file that cannot be read is set
    /// aside.
    pub(super) fn of<'d>(
        days: &'d mut BTreeMap<Date, DayCounts>,
        date: Date,
        folder: &Path,
    ) -> &'d mut DayCounts {
        let begin = || DayCounts {
            date,
            described: BTreeMap::new(),
            described_bytes: 0,
            other: BTreeMap::new(),
            is_changed: true,
        };
        let read = || match files::read(folder, date) {
            Ok(Some(file)) => DayCounts::from_file(file),
            Ok(None) => begin(),
            Err(_) => {
                files::set_aside(folder, date);
                begin()
            }
        };
        days.entry(date).or_insert_with(read)
    }

    /// Returns the descriptions with their records.
    #[cfg(test)]
    pub(super) fn described(&self) -> impl Iterator<Item = (&str, u64)> {
        self.described.iter().map(|(description, records)| (&**description, *records))
    }

    /// True if something is not written yet.
    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Adds records. Beyond [`MAX_CIRCUMSTANCES`] and [`MAX_DESCRIBED_BYTES`] new circumstances are not told apart.
    pub(super) fn add(&mut self, route: &str, description: Option<&Arc<str>>, records: u64) {
        self.is_changed = true;
        let has_room = |description: &str| {
            self.described.len() < MAX_CIRCUMSTANCES
                && self.described_bytes + description.len() <= MAX_DESCRIBED_BYTES
        };
        let count = match description {
            Some(description) if self.described.contains_key(description) => {
                self.described.entry(Arc::clone(description)).or_default()
            }
            Some(description) if has_room(description) => {
                self.described_bytes += description.len();
                self.described.entry(Arc::clone(description)).or_default()
            }
            Some(_) | None => self.other.entry(route.to_owned()).or_default(),
        };
        *count = count.saturating_add(records);
    }

    /// Writes the counts if they have changed.
    pub(super) fn write(&mut self, folder: &Path) -> io::Result<()> {
        if self.is_changed {
            files::write(folder, self.date, &self.to_file())?;
            self.is_changed = false;
        }
        Ok(())
    }

    fn from_file(file: DayFile) -> DayCounts {
        let DayFile { day: date, circumstances, other } = file;
        let described = circumstances.into_iter().filter_map(|CountedCircumstance { records, of }| {
            Some((Arc::from(serde_json::to_string(&of).ok()?), records))
        });
        let described: BTreeMap<Arc<str>, u64> = described.collect();
        let described_bytes = described.keys().map(|description| description.len()).sum();
        DayCounts { date, described, described_bytes, other, is_changed: false }
    }

    fn to_file(&self) -> DayFile {
        let circumstances = self.described.iter().filter_map(|(of, records)| {
            Some(CountedCircumstance { records: *records, of: serde_json::from_str(of).ok()? })
        });
        DayFile { day: self.date, circumstances: circumstances.collect(), other: self.other.clone() }
    }

    /// Returns the lines of the day. Circumstances of few records are merged by route: together with knowledge from
    /// elsewhere they could tell about one person.
    pub(super) fn lines(&self) -> Vec<CircumstanceLine> {
        let line = |records, of| CircumstanceLine { day: self.date, records, of };
        let mut rare: BTreeMap<String, u64> = BTreeMap::new();
        let mut lines = Vec::new();
        for (description, records) in &self.described {
            let Ok(seen) = serde_json::from_str::<SeenCircumstance>(description) else { continue };
            if *records < MIN_RECORDS {
                let count = rare.entry(seen.route).or_default();
                *count = count.saturating_add(*records);
            } else {
                lines.push(line(*records, LineOf::Seen(Box::new(seen))));
            }
        }
        lines.extend(self.other.iter().map(|(route, records)| line(*records, LineOf::Other(route.clone()))));
        lines.extend(rare.into_iter().map(|(route, records)| line(records, LineOf::Rare(route))));
        lines
    }
}

/// Returns the lines of a day; none, with a warning, if its file cannot be read.
pub fn lines(folder: &Path, day: Date) -> Vec<CircumstanceLine> {
    let read = files::read(folder, day).ok().flatten();
    read.map(|file| DayCounts::from_file(file).lines()).unwrap_or_default()
}
