//! Compares logs of one origin: a copy of a log is left out, a fork of it is read.
//!
//! A log is forked if its folder was copied and both folders were written since: they have the same entries up to some size, and
//! others from there on. Invariant: a log is left out only if each of its entries is in another one that is read.

use std::cmp::Reverse;
use std::path::Path;

use super::LogExtent;
use crate::disclosure::entry::BUNDLE;
use crate::disclosure::storage::{LogReader, ReadError};

/// Number of attempts to compare logs whose files change meanwhile.
const ATTEMPTS: usize = 3;

/// The relation of a log to the others that are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRelation {
    /// True if another log has each of its entries: it is not read.
    pub is_copy: bool,
    /// Set if another log has the same origin, and this one is no copy of it.
    pub fork: Option<LogFork>,
}

/// A log that has the origin of another one, and is no copy of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFork {
    /// The number of entries at the beginning that another log has, too, as far as that is known. They are read there.
    pub shared: u64,
    /// Names both folders.
    pub fault: String,
}

/// A log whose origin is known.
#[derive(Clone, Copy)]
struct ComparedLog<'l> {
    place: usize,
    folder: &'l Path,
    origin: &'l str,
    size: u64,
}

/// The comparison of the beginnings of two logs.
#[derive(Debug)]
enum Beginnings {
    /// The shorter log has no other entries than the longer one.
    Same,
    /// So many entries are known to be the same, and no more are, because of an error if there is one.
    Shared(u64, Option<String>),
}

impl LogRelation {
    /// Returns the relation of each log to the others, which are given by their folders and extents; of those that could not be read
    /// nothing is known. Of a log and its copies, the one that goes furthest is read.
    pub fn of_logs<'l>(
        logs: impl IntoIterator<Item = Option<(&'l Path, &'l LogExtent)>>,
    ) -> Vec<LogRelation> {
        let logs: Vec<Option<(&Path, &LogExtent)>> = logs.into_iter().collect();
        let known = |(place, log): (usize, &Option<(&'l Path, &'l LogExtent)>)| {
            let (folder, extent) = (*log)?;
            Some(ComparedLog { place, folder, origin: extent.origin.as_deref()?, size: extent.size })
        };
        let mut known: Vec<ComparedLog<'_>> = logs.iter().enumerate().filter_map(known).collect();
        known.sort_by_key(|log| (Reverse(log.size), log.place));
        let mut relations = vec![LogRelation::default(); logs.len()];
        let mut read: Vec<ComparedLog<'_>> = Vec::new();
        for log in known {
            let others: Vec<_> = read.iter().filter(|other| other.origin == log.origin).copied().collect();
            match forks_of(&log, &others) {
                None => set(&mut relations, log.place, LogRelation { is_copy: true, fork: None }),
                Some(forks) => {
                    read.push(log);
                    add_forks(&mut relations, &log, forks);
                }
            }
        }
        relations
    }
}

impl LogExtent {
    /// Adds that a log of the same origin has other entries.
    #[must_use]
    pub fn with_fork(self, fork: Option<LogFork>) -> LogExtent {
        self.with_faults(fork.map(|fork| fork.fault))
    }
}

fn set(relations: &mut [LogRelation], place: usize, relation: LogRelation) {
    if let Some(known) = relations.get_mut(place) {
        *known = relation;
    }
}

/// A log from which another one is a fork, and the entries that both have.
type ForkedFrom<'l> = (ComparedLog<'l>, u64, Option<String>);

/// Returns the logs from which this one is a fork; `None` if it is a copy of one of them.
fn forks_of<'l>(log: &ComparedLog<'l>, others: &[ComparedLog<'l>]) -> Option<Vec<ForkedFrom<'l>>> {
    let mut forks = Vec::new();
    for other in others {
        match compare_repeatedly(log, other) {
            Beginnings::Same => return None,
            Beginnings::Shared(shared, why) => forks.push((*other, shared, why)),
        }
    }
    Some(forks)
}

/// Notes a fork at both logs. The entries that both have are read in the longer one.
fn add_forks(relations: &mut [LogRelation], log: &ComparedLog<'_>, forks: Vec<ForkedFrom<'_>>) {
    for (other, shared, why) in forks {
        let [one, two] = [log.folder, other.folder].map(Path::display);
        let why = why.map_or_else(
            || format!("is no copy of it: they differ from entry {shared} on"),
            |why| format!("cannot be compared with it: {why}"),
        );
        let fault = format!("the log in {one} has the origin of the one in {two}, and {why}; both are read");
        for (place, shared) in [(other.place, 0), (log.place, shared)] {
            let Some(relation) = relations.get_mut(place) else { continue };
            let fork = relation.fork.get_or_insert_with(|| LogFork { shared, fault: fault.clone() });
            fork.shared = fork.shared.max(shared);
        }
    }
}

/// Compares two logs, which processes may write meanwhile.
fn compare_repeatedly(shorter: &ComparedLog<'_>, longer: &ComparedLog<'_>) -> Beginnings {
    let mut failure = None;
    for _ in 0..ATTEMPTS {
        match compare(shorter.folder, longer.folder, shorter.size) {
            Ok(compared) => return compared,
            Err(error) => failure = Some(error.to_string()),
        }
    }
    Beginnings::Shared(0, failure)
}

/// Compares the first entries of two logs: what both have published by the roots of their trees, the rest entry by entry.
fn compare(one: &Path, other: &Path, size: u64) -> Result<Beginnings, ReadError> {
    let (mut one, mut other) = (LogReader::open(one)?, LogReader::open(other)?);
    let published = one.published().min(other.published()).min(size);
    // Tiles of level 0 are pruned with their days; those above are not.
    let pruned = one.begin().max(other.begin());
    let is_readable = |size: u64| size >= pruned || size.is_multiple_of(BUNDLE);
    let gone = || Some(format!("the days up to entry {pruned} were pruned"));
    if !is_readable(published) {
        return Ok(Beginnings::Shared(0, gone()));
    }
    if published > 0 && one.root(published)? != other.root(published)? {
        let (mut same, mut different) = (0, published);
        while different - same > 1 {
            let middle = same + (different - same) / 2;
            let middle = if is_readable(middle) { middle } else { middle - middle % BUNDLE };
            if middle == same {
                return Ok(Beginnings::Shared(same, gone()));
            }
            match one.root(middle)? == other.root(middle)? {
                true => same = middle,
                false => different = middle,
            }
        }
        return Ok(Beginnings::Shared(same, None));
    }
    for index in published..size {
        let (Some(entry), Some(compared)) = (one.entry(index)?, other.entry(index)?) else {
            return Ok(Beginnings::Shared(index, gone()));
        };
        if entry.leaf != compared.leaf {
            return Ok(Beginnings::Shared(index, None));
        }
    }
    Ok(Beginnings::Same)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::disclosure::questions::tests::WrittenLog;

    fn relations(logs: &[&Path]) -> Vec<LogRelation> {
        let extents: Vec<_> = logs.iter().map(|folder| LogExtent::of_folder(folder).unwrap()).collect();
        LogRelation::of_logs(logs.iter().zip(&extents).map(|(folder, extent)| Some((*folder, extent))))
    }

    /// Returns true for a copy, or the number of entries that a fork shares with others.
    fn short(relations: Vec<LogRelation>) -> Vec<(bool, Option<u64>)> {
        relations.into_iter().map(|one| (one.is_copy, one.fork.map(|fork| fork.shared))).collect()
    }

    const READ: (bool, Option<u64>) = (false, None);
    const COPY: (bool, Option<u64>) = (true, None);

    fn shares(entries: u64) -> (bool, Option<u64>) {
        (false, Some(entries))
    }

    fn begin(exchanges: u128) -> WrittenLog {
        let mut log = WrittenLog::begin(date(2026, 11, 27));
        log.exchanges(exchanges);
        log
    }

    #[test]
    fn of_a_log_and_its_copies_the_one_that_goes_furthest_is_read() {
        let mut log = begin(300);
        let unpublished = log.copy();
        log.publish();
        let early = log.copy();
        log.exchanges(700);
        log.publish();
        log.exchanges(1);
        let late = log.copy();
        let other = WrittenLog::begin_as("gateway-2/09ab", date(2026, 11, 27));
        let logs = [&early, &log.folder, &late, &unpublished, &other.folder, &other.folder];
        assert_eq!(
            short(relations(&logs.map(tempfile::TempDir::path))),
            [COPY, READ, COPY, COPY, READ, COPY]
        );
        let extent = LogExtent::of_folder(late.path()).unwrap();
        let former = LogExtent::of_folder(tempfile::tempdir().unwrap().path()).unwrap();
        let late = late.path();
        let logs = [None, Some((late, &extent)), Some((late, &former)), Some((late, &former))];
        assert_eq!(
            short(LogRelation::of_logs(logs)),
            [READ; 4],
            "nothing is known of a log without an origin"
        );
    }

    #[test]
    fn a_shorter_log_with_other_entries_is_no_copy() {
        for (exchanges, is_published) in [(0, false), (0, true), (300, true), (300, false)] {
            let mut log = begin(400);
            log.publish();
            let size = log.reader().size();
            let mut fork = log.fork();
            fork.exchanges(exchanges);
            if is_published {
                fork.publish();
            }
            log.exchanges(600);
            log.publish();
            let copy = fork.copy();
            let [one, two] = [&fork, &log].map(|log| log.folder.path());
            let found = relations(&[one, two, copy.path()]);
            let fault = found[0].fork.as_ref().unwrap().fault.clone();
            let expected = format!(
                "the log in {} has the origin of the one in {}, and is no copy of it: \
                 they differ from entry {size} on; both are read",
                one.display(),
                two.display()
            );
            assert_eq!((&fault, Some(&fault)), (&expected, found[1].fork.as_ref().map(|fork| &fork.fault)));
            assert_eq!(short(found), [shares(size), shares(0), COPY], "{exchanges} {is_published}");
        }
    }

    #[test]
    fn the_entries_that_two_forks_share_are_read_once() {
        let mut log = begin(20);
        let size = log.reader().size();
        let mut fork = log.fork();
        fork.exchanges(30);
        let longer = fork.reader().size();
        let second = fork.fork();
        fork.exchanges(3);
        log.exchanges(90);
        let found = relations(&[&second, &fork, &log].map(|log| log.folder.path()));
        assert_eq!(short(found), [shares(longer), shares(size), shares(0)]);
    }

    #[test]
    fn a_copy_that_ends_in_pruned_days_is_read_with_a_fault() {
        let mut log = begin(300);
        log.publish();
        let copy = log.copy();
        log.next_day();
        let below = log.reader().size() - 1;
        log.exchanges(1);
        log.prune(below);
        let found = relations(&[copy.path(), log.folder.path()]);
        let fault = &found[0].fork.as_ref().unwrap().fault;
        assert!(fault.contains(&format!("the days up to entry {below} were pruned")), "{fault}");
        assert_eq!(short(found), [shares(0), shares(0)]);
    }
}
