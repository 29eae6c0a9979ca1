//! Notice of changes (P-14): compares the configured policies with those that the ledger remembers.
//!
//! A pack's own dates say when a change was announced. The ledger remembers which versions were in force at each place
//! (the default, or a route) and when each version was first seen, so that neither an edit of the pack's files nor a
//! backdated announcement circumvents the notice. Invariant: a place gets no policy that discloses more until the
//! notice period that its remembered policy promised is over. A recorded first sight never changes; a ledger that was
//! restored from an older state has fewer first sights.
//!
//! If the clock is behind an instant that the ledger knows to have passed, either of them may be wrong, so both count:
//! a new version counts as first seen at that instant, and a policy must disclose no more than the one in force by the
//! clock and the one in force by the ledger.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::config::Config;
use crate::finding::Finding;
use crate::ledger::{Ledger, PolicyDigest, PolicyMemory, PolicyPlace, StoreError};
use crate::policy::Pack;
use crate::policy::diff::Difference;
use crate::policy::versioning::{self, NoticePeriod};

/// Name of the place of the default pack.
const DEFAULT: &str = "default";

/// Maximum number of remembered versions of a place before the one in force.
const MAX_EARLIER: usize = 4;

/// Business days that are due if the promise of the earlier version is unknown (P-14).
const UNKNOWN_NOTICE: u32 = 30;

/// The reason why a configuration's policies do not come into force.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// A policy discloses more than its predecessor, and the notice was too short.
    #[error("{}", lines(.0))]
    Unannounced(Vec<Finding>),
    /// The ledger's file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn lines(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let report = finding.report();
        let hint = report.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}: {}{hint}", report.code, report.message)
    };
    findings.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// Checks the policies of a configuration, and makes the ledger remember them as in force.
///
/// # Errors
/// [`NoticeError`]. The ledger remembers first sights even if the notice was too short.
pub(super) fn put_in_force(ledger: &Ledger, config: &Config, now: Timestamp) -> Result<(), NoticeError> {
    let NoticeResult { findings, memory } =
        examine(&ledger.archive().policies()?, &ConfiguredPlaces::of(config), now);
    if findings.is_empty() {
        return Ok(ledger.remember_policies(&memory)?);
    }
    let sights = PolicyMemory { first_seen: memory.first_seen, ..PolicyMemory::default() };
    ledger.remember_policies(&sights)?;
    Err(NoticeError::Unannounced(findings))
}

/// Returns the findings for which [`put_in_force`] would refuse the policies. Changes nothing.
pub fn check(memory: &PolicyMemory, config: &Config, now: Timestamp) -> Vec<Finding> {
    examine(memory, &ConfiguredPlaces::of(config), now).findings
}

/// For each place the versions of its pack, in the order of their effective dates.
struct ConfiguredPlaces<'c>(BTreeMap<String, &'c [Arc<Pack>]>);

impl<'c> ConfiguredPlaces<'c> {
    fn of(config: &'c Config) -> ConfiguredPlaces<'c> {
        let route = |name: &str| format!("route {name}");
        let of_routes = config.routes.iter().map(|it| (route(&it.name), it.pack));
        let places = of_routes.chain([(DEFAULT.to_owned(), 0)]);
        ConfiguredPlaces(
            places.filter_map(|(place, pack)| Some((place, &**config.packs.get(pack)?))).collect(),
        )
    }
}

/// The result of a check: findings, and the memory to store.
struct NoticeResult {
    findings: Vec<Finding>,
    memory: PolicyMemory,
}

fn examine(memory: &PolicyMemory, places: &ConfiguredPlaces<'_>, now: Timestamp) -> NoticeResult {
    let passed = latest_known_instant(memory, now);
    let mut examination = NoticeCheck::new(memory, places, now, passed);
    let mut findings: Vec<Finding> = Vec::new();
    let mut next = PolicyMemory::default();
    for (place, versions) in &places.0 {
        for (digest, sight) in examination.first_sights(place, versions) {
            next.first_seen.entry(digest).and_modify(|known| *known = sight.min(*known)).or_insert(sight);
        }
    }
    for (place, versions) in &places.0 {
        for finding in examination.objections(place, versions, &next.first_seen) {
            let finding = if passed > now { mention_clock(finding, now, passed) } else { finding };
            // Most routes share their pack, and so their findings.
            if !findings.iter().any(|known| known.line() == finding.line()) {
                findings.push(finding);
            }
        }
        let (texts, stands) = examination.remember(place, versions);
        next.texts.extend(texts);
        next.places.insert(place.clone(), stands);
    }
    NoticeResult { findings, memory: next }
}

/// Returns the latest instant that is known to have passed.
fn latest_known_instant(memory: &PolicyMemory, now: Timestamp) -> Timestamp {
    let loaded = memory.places.values().map(|place| place.loaded);
    loaded.chain(memory.first_seen.values().copied()).fold(now, Timestamp::max)
}

/// Adds to a finding that the clock or the ledger is wrong.
fn mention_clock(finding: Finding, now: Timestamp, passed: Timestamp) -> Finding {
    let message = format!(
        "{finding}; the clock says {now}, and the ledger was used at {passed}: one of them is wrong, and both count"
    );
    finding.message(message)
}

/// Returns the version in force and the waiting ones.
fn in_force_and_waiting(versions: &[Arc<Pack>], now: Timestamp) -> &[Arc<Pack>] {
    let before = versions.iter().rposition(|pack| pack.manifest().effective_from() <= now).unwrap_or(0);
    versions.get(before..).unwrap_or_default()
}

fn day(instant: Timestamp) -> Date {
    instant.to_zoned(TimeZone::UTC).date()
}

/// Returns the version of a place that is in force at an instant, or the first one if none is in force yet.
fn in_force_at(place: &PolicyPlace, instant: Timestamp) -> Option<(PolicyDigest, Date)> {
    let today = day(instant);
    let begun = place.versions.iter().filter(|(_, effective)| *effective <= today);
    let first = place.versions.iter().min_by_key(|(_, effective)| *effective);
    begun.max_by_key(|(_, effective)| *effective).or(first).copied()
}

struct NoticeCheck<'m> {
    memory: &'m PolicyMemory,
    places: &'m ConfiguredPlaces<'m>,
    now: Timestamp,
    /// Latest instant that is known to have passed: later than now if the clock was set back.
    passed: Timestamp,
    /// Remembered versions, parsed again; `None` if this program cannot read one.
    loaded: HashMap<PolicyDigest, Option<Arc<Pack>>>,
    /// Findings by pair of versions: most places share their packs, so each pair is compared once.
    objections: HashMap<(PolicyDigest, PolicyDigest, NoticePeriod), Option<Finding>>,
    corrections: HashMap<(PolicyDigest, PolicyDigest), bool>,
}

impl<'m> NoticeCheck<'m> {
    fn new(
        memory: &'m PolicyMemory,
        places: &'m ConfiguredPlaces<'m>,
        now: Timestamp,
        passed: Timestamp,
    ) -> NoticeCheck<'m> {
        NoticeCheck {
            memory,
            places,
            now,
            passed,
            loaded: HashMap::new(),
            objections: HashMap::new(),
            corrections: HashMap::new(),
        }
    }

    /// Returns the texts and the state to remember of a place once these versions are in force there.
    fn remember(
        &mut self,
        place: &str,
        versions: &[Arc<Pack>],
    ) -> (Vec<(PolicyDigest, String)>, PolicyPlace) {
        let known = self.memory.places.get(place);
        let loaded = known.map_or(self.now, |known| known.loaded.max(self.now));
        let coming = in_force_and_waiting(versions, self.now);
        let texts = coming.iter().map(|pack| (pack.digest(), pack.to_text()));
        let mut texts: Vec<(PolicyDigest, String)> = texts.collect();
        let mut stand: Vec<(PolicyDigest, Date)> = Vec::new();
        if let Some(next) = coming.first() {
            // While the clock was ahead, this version may have come into force before its day.
            let earlier = known.iter().flat_map(|known| &known.versions);
            stand.extend(earlier.filter(|(_, since)| *since < next.manifest().effective));
            stand.retain(|(digest, _)| coming.iter().all(|pack| pack.digest() != *digest));
            stand.sort_unstable_by_key(|(_, since)| *since);
            stand.drain(..stand.len().saturating_sub(MAX_EARLIER));
        }
        for (digest, _) in &stand {
            texts.extend(self.pack(*digest).map(|pack| (*digest, pack.to_text())));
        }
        stand.extend(coming.iter().map(|pack| (pack.digest(), pack.manifest().effective)));
        (texts, PolicyPlace { loaded, versions: stand })
    }

    /// Returns the version that is in force at a place by the latest known instant.
    fn in_force_before(&self, place: &PolicyPlace) -> Option<PolicyDigest> {
        in_force_at(place, self.passed).map(|(digest, _)| digest)
    }

    /// Returns the versions in force by the ledger and by the clock; they differ if the clock was set back before a change
    /// of version.
    fn in_force_by_either(&self, place: &PolicyPlace) -> impl Iterator<Item = PolicyDigest> + use<> {
        let by_the_clock = in_force_at(place, self.now).map(|(digest, _)| digest);
        self.in_force_before(place).into_iter().chain(by_the_clock)
    }

    /// Returns when each of these versions was first seen.
    fn first_sights(&mut self, place: &str, versions: &[Arc<Pack>]) -> Vec<(PolicyDigest, Timestamp)> {
        let mut sights = Vec::new();
        for pack in versions {
            let known = self.memory.first_seen.get(&pack.digest()).copied();
            let sight = known.or_else(|| self.first_seen_as_correction(place, pack));
            sights.push((pack.digest(), sight.unwrap_or(self.passed)));
        }
        sights
    }

    /// Returns when the waiting version that `pack` corrects was first seen. A correction discloses no more and takes
    /// effect no earlier.
    fn first_seen_as_correction(&mut self, place: &str, pack: &Pack) -> Option<Timestamp> {
        let known = self.memory.places.get(place)?;
        let before = self.in_force_before(known)?;
        let (_, since) = known.versions.iter().find(|(digest, _)| *digest == before)?;
        let effective = pack.manifest().effective;
        let waited = known.versions.iter().filter(|(_, from)| from > since && *from <= effective);
        let seen = |(digest, _): &(PolicyDigest, Date)| {
            let waiting = self.pack(*digest)?;
            let is_correction = self.corrections.entry((*digest, pack.digest())).or_insert_with(|| {
                Difference::of(&waiting, pack).is_ok_and(|difference| difference.more == 0)
            });
            self.memory.first_seen.get(digest).copied().filter(|_| *is_correction)
        };
        waited.filter_map(seen).min()
    }

    /// Returns the findings about the versions of one place.
    fn objections(
        &mut self,
        place: &str,
        versions: &[Arc<Pack>],
        seen: &BTreeMap<PolicyDigest, Timestamp>,
    ) -> Vec<Finding> {
        let coming = in_force_and_waiting(versions, self.now);
        let Some(next) = coming.first() else { return Vec::new() };
        let today = day(self.now);
        let notice = |pack: &Pack| {
            let seen = seen.get(&pack.digest()).map_or(today, |seen| day(*seen));
            let manifest = pack.manifest();
            NoticePeriod { announced: manifest.announced.max(seen), effective: manifest.effective.max(today) }
        };
        let mut findings = Vec::new();
        // By the ledger, these versions should be in force already, although the clock says that they wait.
        let begun = coming.iter().filter(|pack| pack.manifest().effective <= day(self.passed));
        let begun = begun.filter(|_| self.passed > self.now).map(|pack| pack.digest()).next_back();
        for before in self.before(place, next).into_iter().chain(begun) {
            if before == next.digest() {
                continue;
            }
            match self.pack(before) {
                Some(before) => findings.extend(self.objection(notice(next), &before, next)),
                None => findings.extend(unreadable(next, notice(next))),
            }
        }
        for pair in coming.windows(2) {
            let [earlier, later] = pair else { continue };
            findings.extend(self.objection(notice(later), earlier, later));
        }
        findings
    }

    fn objection(&mut self, notice: NoticePeriod, before: &Pack, next: &Pack) -> Option<Finding> {
        let key = (before.digest(), next.digest(), notice);
        self.objections.entry(key).or_insert_with(|| notice.finding(before, next)).clone()
    }

    /// Returns the versions that `next` replaces at a place.
    ///
    /// A new place, such as a renamed route, is compared with every place that had a pack of the same title, so that
    /// renaming a route does not circumvent the notice. A pack with another title is another document, which has no
    /// predecessor.
    fn before(&mut self, place: &str, next: &Pack) -> BTreeSet<PolicyDigest> {
        if let Some(known) = self.memory.places.get(place) {
            return self.in_force_by_either(known).collect();
        }
        let everywhere: BTreeSet<PolicyDigest> =
            self.memory.places.values().flat_map(|known| self.in_force_by_either(known)).collect();
        let same = |digest: &PolicyDigest| {
            // A version that cannot be read may have had the same title.
            self.pack(*digest).is_none_or(|pack| pack.manifest().title == next.manifest().title)
        };
        everywhere.into_iter().filter(same).collect()
    }

    /// Returns a version by its digest, from the configuration or parsed again from its texts.
    fn pack(&mut self, digest: PolicyDigest) -> Option<Arc<Pack>> {
        let mut configured = self.places.0.values().flat_map(|versions| versions.iter());
        if let Some(pack) = configured.find(|pack| pack.digest() == digest) {
            return Some(Arc::clone(pack));
        }
        let texts = self.memory.texts.get(&digest);
        let read = || Some(Arc::new(Pack::from_text(texts?).ok()?));
        self.loaded.entry(digest).or_insert_with(read).clone()
    }
}

/// Checks the successor of a version that cannot be read: it may disclose more, and the promised notice is unknown.
fn unreadable(
    next: &Pack,
    NoticePeriod { announced: known, effective: from }: NoticePeriod,
) -> Option<Finding> {
    let manifest = next.manifest();
    let ahead = versioning::business_days(known, from, &manifest.holidays);
    let due = manifest.notice_business_days.max(UNKNOWN_NOTICE);
    if ahead >= due {
        return None;
    }
    let message = format!(
        "version {} of \"{}\" follows one that this program cannot read, so that nobody knows whether it discloses more",
        manifest.version, manifest.title
    );
    let hint = format!(
        "it was known {ahead} business days ahead, and {due} are due; until then the program that could read it serves"
    );
    Some(manifest.place(Finding::error("policy-not-comparable", message).hint(hint)))
}

#[cfg(test)]
mod tests;
