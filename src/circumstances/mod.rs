//! Counts the circumstances under which records were decided, by day: who asked for what, under which facts, and for which
//! categories, never about whom.
//!
//! Exchanges count each window in memory. A thread writes the counts of the day to a file every minute and at the end, and
//! removes files past their retention. `policy diff --decisions` replays them. Invariants: what is counted and written holds
//! no id and no value of a record ([`crate::decision::circumstance`]); a folder that cannot be written stops nothing; the
//! number of circumstances of a day is bounded.

mod day;
mod files;
mod window;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use dashmap::DashMap;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use prometheus::IntCounter;

use self::day::DayCounts;
pub use self::day::lines;
pub use self::files::days;
pub use self::window::{PeopleNumber, WindowCircumstances};
use crate::decision::circumstance::line::CircumstanceLine;
use crate::decision::circumstance::{ClassSet, RecordPeople};
use crate::decision::{Admitted, LegalReference};
use crate::log_limit::LogLimit;
use crate::vocabulary::Operation;

/// Maximum number of circumstances of a day that are told apart.
pub const MAX_CIRCUMSTANCES: usize = 10_000;

/// Maximum number of days whose counts are held in memory, if they cannot be written.
const MAX_DAYS_HELD: usize = 3;

/// Time between two writes of the counts.
const INTERVAL: Duration = Duration::from_secs(60);

/// Period in which one warning about the folder is written.
const WARNING_PERIOD: Duration = Duration::from_secs(10 * 60);

/// An exchange whose records are counted.
#[derive(Clone, Copy, Debug)]
pub struct CountedExchange<'e> {
    /// The decision on the request. `None` if an observed request would be refused: its records are not told apart.
    pub admitted: Option<&'e Arc<Admitted>>,
    /// Name of the route.
    pub route: &'e Arc<str>,
    /// The operation of the request.
    pub operation: Operation,
    /// The region that data is exported from.
    pub exporter_region: &'e Arc<str>,
}

/// Counts circumstances. Dropping it writes the counts and ends the thread.
#[derive(Debug, Default)]
pub struct CircumstanceCounter {
    counts: Option<Arc<CircumstanceCounts>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The counts, which exchanges and the thread share.
#[derive(Debug)]
struct CircumstanceCounts {
    folder: PathBuf,
    /// Counts since the last collection.
    recent: DashMap<RecentKey, RecentCount>,
    /// The counts of the days that are not written in full.
    days: Mutex<BTreeMap<Date, DayCounts>>,
    failures: IntCounter,
    warned: LogLimit,
}

/// Identifies circumstances until the next collection. The addresses are those of what [`RecentCount`] keeps alive.
#[derive(Debug, PartialEq, Eq)]
struct RecentKey {
    day: Date,
    route: usize,
    /// `None` for records that are not told apart.
    of: Option<RecentCircumstance>,
}

/// Circumstances of a [`RecentKey`].
#[derive(Debug, PartialEq, Eq)]
struct RecentCircumstance {
    slice: usize,
    recipient: usize,
    /// The scope of the cited case. Each case has its own list of categories, so its address would tell too much apart.
    case: LegalReference,
    operation: Operation,
    people: RecordPeople,
    classes: ClassSet,
}

impl Hash for RecentKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The other members differ seldom where these are equal.
        let of = self.of.as_ref();
        (self.route, of.map(|of| (of.slice, of.recipient, &of.people, of.classes))).hash(state);
    }
}

impl RecentKey {
    fn new(exchange: CountedExchange<'_>, day: Date, of: Option<(&RecordPeople, ClassSet)>) -> RecentKey {
        let CountedExchange { admitted, route, operation, exporter_region: _ } = exchange;
        let of = admitted.zip(of).map(|(admitted, (people, classes))| {
            let ([slice, recipient], case) = admitted.identity();
            RecentCircumstance { slice, recipient, case, operation, people: people.clone(), classes }
        });
        RecentKey { day, route: Arc::as_ptr(route).addr(), of }
    }
}

/// Records since the last collection.
#[derive(Debug)]
struct RecentCount {
    /// `None` if the records are not told apart.
    _admitted: Option<Arc<Admitted>>,
    route: Arc<str>,
    /// The description. `None` if the records are not told apart.
    description: Option<Arc<str>>,
    records: u64,
}

impl RecentCount {
    /// Describes circumstances. No record is counted yet.
    fn new(exchange: CountedExchange<'_>, of: Option<(&RecordPeople, ClassSet)>) -> RecentCount {
        let CountedExchange { admitted, route, operation, exporter_region } = exchange;
        let told_apart = admitted.zip(of);
        let seen = told_apart.and_then(|(admitted, (people, classes))| {
            admitted.describe(route, operation, exporter_region, people, classes)
        });
        RecentCount {
            _admitted: told_apart.map(|(admitted, _)| Arc::clone(admitted)),
            route: Arc::clone(route),
            description: seen.and_then(|seen| serde_json::to_string(&seen).ok()).map(Arc::from),
            records: 0,
        }
    }
}

impl CircumstanceCounter {
    /// Starts to count, and to write to this folder. `failures` counts writes that failed.
    pub fn start(folder: PathBuf, failures: IntCounter) -> CircumstanceCounter {
        let counts = Arc::new(CircumstanceCounts {
            folder,
            recent: DashMap::new(),
            days: Mutex::default(),
            failures,
            warned: LogLimit::per_period(1, WARNING_PERIOD),
        });
        let (stop, stopped) = mpsc::channel();
        let of_thread = Arc::clone(&counts);
        let thread = std::thread::Builder::new()
            .name("circumstances".to_owned())
            .spawn(move || of_thread.write_regularly(&stopped))
            .inspect_err(
                |error| tracing::warn!(%error, "there is no thread that writes counted circumstances"),
            )
            .ok();
        CircumstanceCounter { counts: Some(counts), stop: Some(stop), thread }
    }

    /// Counts the records of a window.
    pub fn count(&self, exchange: CountedExchange<'_>, window: &WindowCircumstances) {
        if let Some(counts) = self.counts.as_ref().filter(|_| !window.is_empty()) {
            counts.count(exchange, window, today());
        }
    }

    /// Writes the counts. Blocks. A failure is logged and counted.
    pub fn write(&self) {
        if let Some(counts) = &self.counts {
            counts.write(today());
        }
    }

    /// Returns the days of which counts are kept, oldest first. Reads the folder.
    pub fn days(&self) -> Vec<Date> {
        self.counts.as_ref().map(|counts| counts.days(today())).unwrap_or_default()
    }

    /// Returns the lines of a day: what is in memory, or else what is written. Reads a file.
    pub fn lines(&self, day: Date) -> Vec<CircumstanceLine> {
        self.counts.as_ref().map(|counts| counts.lines(day, today())).unwrap_or_default()
    }
}

impl Drop for CircumstanceCounter {
    fn drop(&mut self) {
        drop(self.stop.take());
        match self.thread.take() {
            Some(thread) => drop(thread.join()),
            None => self.write(),
        }
    }
}

impl CircumstanceCounts {
    fn count(&self, exchange: CountedExchange<'_>, window: &WindowCircumstances, day: Date) {
        for (of, records) in window.iter() {
            let key = RecentKey::new(exchange, day, of);
            if let Some(mut known) = self.recent.get_mut(&key) {
                known.records += records;
                continue;
            }
            // Beyond the bound there is one more entry for each route and day.
            let is_full = self.recent.len() >= MAX_CIRCUMSTANCES;
            let key = if is_full { RecentKey { of: None, ..key } } else { key };
            // It is described without a lock.
            let new = RecentCount::new(exchange, of.filter(|_| !is_full));
            self.recent.entry(key).or_insert(new).records += records;
        }
    }

    fn write_regularly(&self, stopped: &Receiver<()>) {
        self.write(today());
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
            self.write(today());
        }
        self.write(today());
    }

    /// Writes each day whose counts have changed, and removes files past their retention.
    fn write(&self, today: Date) {
        let mut days = self.collect(today);
        let written = days.values_mut().try_for_each(|day| day.write(&self.folder));
        // Counts that were not written stay for the next time.
        days.retain(|date, day| day.is_changed() || *date == today);
        while days.len() > MAX_DAYS_HELD {
            days.pop_first();
        }
        drop(days);
        if let Err(error) = written.and_then(|()| files::prune(&self.folder, today)) {
            self.failures.inc();
            if let Some(count) = self.warned.admit() {
                let folder = self.folder.display();
                tracing::warn!(%folder, %error, count, "counted circumstances cannot be written: a stop loses those since");
            }
        }
    }

    /// Moves recent counts to their days. Reads the file of a day that begins.
    fn collect(&self, today: Date) -> MutexGuard<'_, BTreeMap<Date, DayCounts>> {
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        DayCounts::of(&mut days, today, &self.folder);
        self.recent.retain(|key, count| {
            let records = std::mem::take(&mut count.records);
            if records > 0 {
                let day = DayCounts::of(&mut days, key.day, &self.folder);
                day.add(&count.route, count.description.as_ref(), records);
            }
            records > 0 && key.day == today
        });
        days
    }

    fn days(&self, today: Date) -> Vec<Date> {
        let mut days = days(&self.folder).unwrap_or_default();
        days.extend(self.collect(today).keys());
        days.sort_unstable();
        days.dedup();
        days
    }

    fn lines(&self, day: Date, today: Date) -> Vec<CircumstanceLine> {
        let in_memory = self.collect(today).get(&day).cloned();
        in_memory.map_or_else(|| lines(&self.folder, day), |day| day.lines())
    }
}

fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests;
