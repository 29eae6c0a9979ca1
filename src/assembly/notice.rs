//! Notice of changes (P-14): what is to be in force is compared with what the ledger remembers.
//!
//! A pack's own dates say when a change was announced; the ledger remembers what was in force at each place
//! (the default, or a route) and since when a version is known, so that neither an edit where the pack lies
//! nor a backdated announcement goes round the notice. Invariant: a place never gets a policy that discloses
//! more than the one remembered there before the days are over that this one promised. A first sight never
//! moves; a ledger put back to an older state knows fewer first sights.
//!
//! Where the clock is behind an instant that the ledger knows to have passed, one of the two is wrong, and nobody
//! can tell which. Then both count: a version is known since that instant, and what is to be in force may
//! disclose no more than what was in force by either.

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
use crate::policy::versioning::{self, Notice};

/// The place of the default pack.
const DEFAULT: &str = "default";

/// How many versions are remembered at a place that came before the one in force.
const MAX_EARLIER: usize = 4;

/// The business days that are due where nobody knows what was promised (P-14).
const UNKNOWN_NOTICE: u32 = 30;

/// Why a configuration's policies do not come into force.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    #[error("{}", lines(.0))]
    Unannounced(Vec<Finding>),
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

/// Puts the policies of a configuration in force, as far as the ledger is concerned: remembers them.
///
/// # Errors
/// Where one was not announced in time, or the ledger fails. That a version was seen is remembered all the same.
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

/// The findings of `check`: what [`put_in_force`] would refuse. It changes nothing.
pub fn check(memory: &PolicyMemory, config: &Config, now: Timestamp) -> Vec<Finding> {
    examine(memory, &ConfiguredPlaces::of(config), now).findings
}

/// The versions of the pack of each place, in the order of their effective dates.
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

/// What is wrong with the notice of what is to be in force, and what is to be remembered of it.
struct NoticeResult {
    findings: Vec<Finding>,
    memory: PolicyMemory,
}

fn examine(memory: &PolicyMemory, places: &ConfiguredPlaces<'_>, now: Timestamp) -> NoticeResult {
    let passed = passed(memory, now);
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
            let finding = if passed > now { names_the_clock(&finding, now, passed) } else { finding };
            // Most routes share their pack.
            if !findings.iter().any(|known| known.to_string() == finding.to_string()) {
                findings.push(finding);
            }
        }
        let (texts, stands) = examination.stands(place, versions);
        next.texts.extend(texts);
        next.places.insert(place.clone(), stands);
    }
    NoticeResult { findings, memory: next }
}

/// The latest instant that is known to have passed.
fn passed(memory: &PolicyMemory, now: Timestamp) -> Timestamp {
    let loaded = memory.places.values().map(|place| place.loaded);
    loaded.chain(memory.first_seen.values().copied()).fold(now, Timestamp::max)
}

/// Adds to an objection that a clock which is set right may answer it.
fn names_the_clock(finding: &Finding, now: Timestamp, passed: Timestamp) -> Finding {
    let (code, report) = (finding.code(), finding.report());
    let message = format!(
        "{}; the clock says {now}, and the ledger was used at {passed}: one of them is wrong, and both count",
        report.message
    );
    Finding::error(code, message).hint(report.hint.unwrap_or_default())
}

/// The version in force and those that wait.
fn coming(versions: &[Arc<Pack>], now: Timestamp) -> &[Arc<Pack>] {
    let before = versions.iter().rposition(|pack| pack.manifest().effective_from() <= now).unwrap_or(0);
    versions.get(before..).unwrap_or_default()
}

fn day(instant: Timestamp) -> Date {
    instant.to_zoned(TimeZone::UTC).date()
}

/// The version of a place that is in force at an instant, the first where none is yet.
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
    /// The latest instant that is known to have passed: later than now where the clock was put back.
    passed: Timestamp,
    /// Versions that were remembered and are read again.
    loaded: HashMap<PolicyDigest, Option<Arc<Pack>>>,
    /// Most places share their packs: each pair is compared once.
    objections: HashMap<(PolicyDigest, PolicyDigest, Notice), Option<Finding>>,
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

    /// What is to be remembered of a place once these versions are in force there.
    fn stands(&mut self, place: &str, versions: &[Arc<Pack>]) -> (Vec<(PolicyDigest, String)>, PolicyPlace) {
        let known = self.memory.places.get(place);
        let loaded = known.map_or(self.now, |known| known.loaded.max(self.now));
        let coming = coming(versions, self.now);
        let texts = coming.iter().map(|pack| (pack.digest(), pack.to_text()));
        let mut texts: Vec<(PolicyDigest, String)> = texts.collect();
        let mut stand: Vec<(PolicyDigest, Date)> = Vec::new();
        if let Some(next) = coming.first() {
            // By a clock that was put forward this one may have come into force before its day.
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

    /// What was in force at a place when a gateway last looked, or should be by now.
    fn in_force_before(&self, place: &PolicyPlace) -> Option<PolicyDigest> {
        in_force_at(place, self.passed).map(|(digest, _)| digest)
    }

    /// The same, by the ledger and by the clock: two where the clock was put back behind a switch.
    fn in_force_by_either(&self, place: &PolicyPlace) -> impl Iterator<Item = PolicyDigest> + use<> {
        let by_the_clock = in_force_at(place, self.now).map(|(digest, _)| digest);
        self.in_force_before(place).into_iter().chain(by_the_clock)
    }

    /// When each of these versions was first seen.
    fn first_sights(&mut self, place: &str, versions: &[Arc<Pack>]) -> Vec<(PolicyDigest, Timestamp)> {
        let mut sights = Vec::new();
        for pack in versions {
            let known = self.memory.first_seen.get(&pack.digest()).copied();
            let sight = known.or_else(|| self.seen_as_another(place, pack));
            sights.push((pack.digest(), sight.unwrap_or(self.passed)));
        }
        sights
    }

    /// When a version that waits at the place was first seen of which this one is a correction: it discloses
    /// nothing that the other does not, and comes no earlier.
    fn seen_as_another(&mut self, place: &str, pack: &Pack) -> Option<Timestamp> {
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

    /// Why what is to be in force at a place may not be.
    fn objections(
        &mut self,
        place: &str,
        versions: &[Arc<Pack>],
        seen: &BTreeMap<PolicyDigest, Timestamp>,
    ) -> Vec<Finding> {
        let coming = coming(versions, self.now);
        let Some(next) = coming.first() else { return Vec::new() };
        let today = day(self.now);
        let notice = |pack: &Pack| {
            let seen = seen.get(&pack.digest()).map_or(today, |seen| day(*seen));
            let manifest = pack.manifest();
            Notice { announced: manifest.announced.max(seen), effective: manifest.effective.max(today) }
        };
        let mut findings = Vec::new();
        // By the ledger, these should have come into force; they did not wait for the clock.
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

    fn objection(&mut self, notice: Notice, before: &Pack, next: &Pack) -> Option<Finding> {
        let key = (before.digest(), next.digest(), notice);
        self.objections.entry(key).or_insert_with(|| notice.finding(before, next)).clone()
    }

    /// What was in force before, as far as this version takes its place.
    ///
    /// A place that is new, a route with another name, is given what any place had under the pack's title:
    /// renaming a route is no way round the notice. Another title is another document, and follows none.
    fn before(&mut self, place: &str, next: &Pack) -> BTreeSet<PolicyDigest> {
        if let Some(known) = self.memory.places.get(place) {
            return self.in_force_by_either(known).collect();
        }
        let everywhere: BTreeSet<PolicyDigest> =
            self.memory.places.values().flat_map(|known| self.in_force_by_either(known)).collect();
        let same = |digest: &PolicyDigest| {
            // One that cannot be read may have had the title.
            self.pack(*digest).is_none_or(|pack| pack.manifest().title == next.manifest().title)
        };
        everywhere.into_iter().filter(same).collect()
    }

    /// A version by its digest: one of the configuration, or one that is read again from its texts.
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

/// What follows a version that cannot be read may disclose more, and nobody knows what that one promised.
fn unreadable(next: &Pack, Notice { announced: known, effective: from }: Notice) -> Option<Finding> {
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
    Some(Finding::error("policy-not-comparable", message).hint(hint))
}

#[cfg(test)]
mod tests;
