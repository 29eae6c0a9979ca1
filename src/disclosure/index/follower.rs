//! A thread that keeps indexes up to date while gateways write their logs, and counts the people whom recipients read.
//!
//! It reads what was published and writes outside of the logs' folders, so it holds up nothing. A failed
//! update is tried again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::extend::Indexer;
use super::{IndexError, file};
use crate::disclosure::observation::Observer;
use crate::disclosure::storage::LogReader;
use crate::log_limit::LogLimit;

/// Time between two updates.
const INTERVAL: Duration = Duration::from_secs(2);

/// Period in which one warning about a log is written.
const WARNING_PERIOD: Duration = Duration::from_secs(10 * 60);

/// Receives the number of people about whom a recipient received something today.
pub type PeopleReport = Box<dyn FnMut(&str, u64) + Send>;

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub struct IndexFollower {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl IndexFollower {
    /// Starts a thread that keeps the indexes of these logs in a folder. The first log is that of this gateway: `people`
    /// hears of it.
    ///
    /// # Errors
    /// The system's error if there can be no thread.
    pub fn start(folder: PathBuf, logs: Vec<PathBuf>, people: PeopleReport) -> io::Result<IndexFollower> {
        let (stop, stopped) = mpsc::channel();
        let mut people = Some(people);
        let mut followed: Vec<FollowedLog> =
            logs.into_iter().map(|log| FollowedLog::new(log, people.take())).collect();
        let thread = std::thread::Builder::new().name("disclosure-index".to_owned()).spawn(move || {
            let mut wait = Duration::ZERO;
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
                wait = INTERVAL;
                for log in &mut followed {
                    match log.update(&folder) {
                        // A large backlog goes on at once, unless the gateway ends.
                        Ok(true) => wait = Duration::ZERO,
                        Ok(false) => {}
                        Err(error) => log.report(&error),
                    }
                }
            }
        })?;
        Ok(IndexFollower { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for IndexFollower {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A log and its index.
struct FollowedLog {
    folder: PathBuf,
    open: Option<(LogReader, Indexer)>,
    people: Option<PeopleReport>,
    observer: Observer,
    /// The entry that is observed next.
    observed: u64,
    warned: LogLimit,
}

impl FollowedLog {
    fn new(folder: PathBuf, people: Option<PeopleReport>) -> FollowedLog {
        FollowedLog {
            folder,
            open: None,
            people,
            observer: Observer::default(),
            observed: 0,
            warned: LogLimit::per_period(1, WARNING_PERIOD),
        }
    }

    /// Indexes and observes what was published since. Returns true if there is more to index.
    fn update(&mut self, indexes: &Path) -> Result<bool, IndexError> {
        // After an error, the files are opened again.
        let (mut log, indexer) = match self.open.take() {
            Some((mut log, indexer)) => {
                log.refresh()?;
                (log, indexer)
            }
            None => {
                let log = LogReader::open(&self.folder)?;
                let indexer = Indexer::open(indexes, &log)?;
                (log, indexer)
            }
        };
        let (indexer, more) = indexer.update(&mut log)?;
        let observed = if more { Ok(()) } else { self.observe(&mut log) };
        self.open = Some((log, indexer));
        observed?;
        Ok(more)
    }

    /// Counts people from the beginning of the current day on.
    fn observe(&mut self, log: &mut LogReader) -> Result<(), IndexError> {
        let Some(people) = &mut self.people else { return Ok(()) };
        let published = log.published();
        let today = log.day_start_of(published.saturating_sub(1));
        self.observed = self.observed.max(today);
        while self.observed < published {
            self.observer.add(log, self.observed)?;
            self.observed += 1;
        }
        while self.observer.days.len() > 1 {
            // The counts of recipients who have read nobody yet today.
            let past = self.observer.days.pop_first();
            past.iter().flat_map(|(_, day)| day.people.keys()).for_each(|recipient| people(recipient, 0));
        }
        for (recipient, counter) in self.observer.days.values().flat_map(|day| &day.people) {
            people(recipient, counter.count());
        }
        Ok(())
    }

    fn report(&self, error: &IndexError) {
        // `audit index` has it open.
        if matches!(error, IndexError::InUse(_)) {
            return;
        }
        if let Some(count) = self.warned.admit() {
            tracing::warn!(
                count, log = %self.folder.display(), error = error as &dyn std::error::Error,
                "the index of a disclosure log cannot be kept: questions read the log itself"
            );
        }
    }
}

/// Builds the index of a log, or brings it up to date. `progress` hears how many of how many entries are indexed. Returns the
/// number of entries and the size of the index in bytes.
///
/// # Errors
/// [`IndexError`].
pub fn build(
    folder: &Path,
    log: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<(u64, u64), IndexError> {
    let mut log = LogReader::open(log)?;
    let mut indexer = Indexer::open(folder, &log)?;
    loop {
        let (updated, more) = indexer.update(&mut log)?;
        indexer = updated;
        progress(indexer.size(), log.published());
        if !more {
            break;
        }
    }
    let size = indexer.size();
    drop(indexer);
    let path = file(folder, log.origin());
    let bytes = std::fs::metadata(&path).map_err(|source| IndexError::Io { path, source })?.len();
    Ok((size, bytes))
}
