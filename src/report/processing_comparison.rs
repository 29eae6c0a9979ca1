//! Compares the record of processing activities (GDPR Art. 30) with what the disclosure logs observed, to find purposes that
//! creep: what is declared and not done, and what is done beyond what is declared.
//!
//! It names recipients, purposes and categories, and counts people. It decides nothing: each line is a question for the
//! controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::Serialize;

use crate::decision::{AdmissionRequest, Decisions, LegalReference, RecipientFacts};
use crate::disclosure::observation::{ObservedDay, ObservedExchanges, PeopleCounter};
use crate::disclosure::questions::LogExtent;
use crate::vocabulary::{CategoryId, Form, Operation, PurposeId, Vocabulary};

/// Number of days before a day with whose median the day is compared.
pub const MEDIAN_DAYS: i64 = 28;

/// Minimum number of those days on which the recipient read somebody. With fewer, a day is compared with the largest of them.
const MIN_MEDIAN_DAYS: usize = 7;

/// Number of people up to which a day is not reported that has too few days before it for a median.
const MAX_WITHOUT_MEDIAN: u64 = 20;

/// Multiple of the median above which a day is reported.
const ENUMERATION_FACTOR: u64 = 3;

/// Growth is reported from this factor on.
const GROWTH_FACTOR: u64 = 2;

/// Growth is reported from this number of exchanges on.
const MIN_GROWN: u64 = 100;

/// Codes of refusals of requests that go beyond the recipient's registration.
const BEYOND_REGISTRATION: [&str; 4] =
    ["legal-reference-missing", "no-rule-permits", "purpose-not-permitted", "query-on-withheld-field"];

/// A period of whole days (UTC), the first and the last one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedPeriod {
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
}

impl ObservedPeriod {
    /// Returns the first day that the comparison needs: those of the period before, and those of the medians.
    pub fn first_needed(&self) -> Date {
        let before = self.from.saturating_sub(self.days().days());
        before.min(self.from.saturating_sub(MEDIAN_DAYS.days()))
    }

    fn days(&self) -> i64 {
        self.to.duration_since(self.from).as_hours() / 24 + 1
    }

    fn contains(&self, day: Date) -> bool {
        (self.from..=self.to).contains(&day)
    }

    /// Returns the period of the same length before this one.
    fn before(&self) -> ObservedPeriod {
        let days = self.days().days();
        ObservedPeriod { from: self.from.saturating_sub(days), to: self.to.saturating_sub(days) }
    }
}

/// The declared processing.
#[derive(Clone, Copy)]
pub struct DeclaredProcessing<'d> {
    /// The packs that are in force.
    pub packs: &'d [Arc<Decisions>],
    /// The registered recipients.
    pub recipients: &'d [Arc<RecipientFacts>],
    /// The region from which the gateway exports.
    pub exporter_region: &'d Arc<str>,
}

impl std::fmt::Debug for DeclaredProcessing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeclaredProcessing")
    }
}

/// The comparison.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessingComparison {
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
    /// False if a log could not be read, or does not have all days of the comparison: those from
    /// [`ObservedPeriod::first_needed`] to the last one.
    pub complete: bool,
    /// The logs that were read.
    pub logs: Vec<LogExtent>,
    /// Purposes of the record of processing that nobody used.
    pub unused_purposes: Vec<String>,
    /// Recipients whose requests went beyond their registration.
    pub beyond_registration: Vec<RefusedRequests>,
    /// Categories that a recipient may receive for a purpose for which it asked, and did not receive.
    pub untaken_categories: Vec<UntakenCategories>,
    /// Exchanges that became more frequent than in the period before.
    pub growth: Vec<GrownExchanges>,
    /// Days on which a recipient read about far more people than it used to.
    pub enumeration: Vec<EnumeratedPeople>,
}

/// Requests of a recipient that were refused with one code, or would have been if their routes were enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedRequests {
    /// The recipient's configured name.
    pub recipient: String,
    /// The problem code.
    pub code: String,
    /// The number of requests.
    pub requests: u64,
    /// The number of these that were answered all the same, because their routes are observed.
    pub observed: u64,
    /// Purposes that the requests declared.
    pub declared: BTreeSet<String>,
}

/// Categories that a recipient did not receive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UntakenCategories {
    /// The recipient's configured name.
    pub recipient: String,
    /// The purpose.
    pub purpose: String,
    /// The categories.
    pub categories: Vec<String>,
}

/// Exchanges of a recipient for a purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GrownExchanges {
    /// The recipient's configured name.
    pub recipient: String,
    /// The purpose.
    pub purpose: String,
    /// The number of exchanges in the period before.
    pub before: u64,
    /// The number of exchanges in the period.
    pub exchanges: u64,
}

/// A day on which a recipient read about far more people than it used to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnumeratedPeople {
    /// The recipient's configured name.
    pub recipient: String,
    /// The day.
    pub day: Date,
    /// The number of people.
    pub people: u64,
    /// The median of the days before on which it read somebody; the largest of them if there are fewer than seven, 0 if there
    /// are none.
    pub median: u64,
}

/// The days of several logs. The logs have different pseudonyms only under different keys; people whom a recipient read
/// through two gateways count once under the same keys.
pub type ObservedDays = BTreeMap<Date, ObservedDay>;

/// Adds the days of one log to those of others.
pub fn add_days(all: &mut ObservedDays, days: ObservedDays) {
    for (date, ObservedDay { exchanges, people }) in days {
        let day = all.entry(date).or_default();
        for (parties, more) in exchanges {
            day.exchanges.entry(parties).or_default().add(&more);
        }
        for (recipient, counter) in people {
            day.people.entry(recipient).or_default().merge(&counter);
        }
    }
}

/// Compares the declared processing with the days that were observed.
pub fn compare(
    declared: &DeclaredProcessing<'_>,
    days: &ObservedDays,
    period: ObservedPeriod,
    logs: Vec<LogExtent>,
) -> ProcessingComparison {
    let reaches_back =
        |log: &LogExtent| log.fault.is_none() && log.since.is_some_and(|day| day <= period.first_needed());
    let complete = !logs.is_empty() && logs.iter().all(reaches_back);
    let observed = sum(days, period);
    ProcessingComparison {
        from: period.from,
        to: period.to,
        complete,
        logs,
        unused_purposes: unused_purposes(declared, &observed),
        beyond_registration: beyond_registration(&observed),
        untaken_categories: untaken_categories(declared, &observed),
        growth: growth(&sum(days, period.before()), &observed),
        enumeration: enumeration(days, period),
    }
}

/// The exchanges of a period by recipient and purpose.
type SummedExchanges = BTreeMap<(Arc<str>, Arc<str>), ObservedExchanges>;

fn sum(days: &ObservedDays, period: ObservedPeriod) -> SummedExchanges {
    let mut summed = SummedExchanges::new();
    for day in days.iter().filter(|(date, _)| period.contains(**date)).map(|(_, day)| day) {
        for (parties, exchanges) in &day.exchanges {
            summed.entry(parties.clone()).or_default().add(exchanges);
        }
    }
    summed
}

fn unused_purposes(declared: &DeclaredProcessing<'_>, observed: &SummedExchanges) -> Vec<String> {
    let mut unused = BTreeSet::new();
    for decisions in declared.packs {
        let tree = decisions.pack().vocabulary().purposes();
        for activity in &decisions.pack().manifest().processing {
            let is_within = |name: &str| {
                let ids = tree.find(name).zip(tree.find(&activity.purpose));
                ids.is_some_and(|(used, outer)| tree.within(used, outer))
            };
            let mut used = observed.iter().filter(|(_, exchanges)| exchanges.exchanges > 0);
            if !used.any(|((_, purpose), _)| is_within(purpose)) {
                unused.insert(activity.purpose.clone());
            }
        }
    }
    unused.into_iter().collect()
}

fn beyond_registration(observed: &SummedExchanges) -> Vec<RefusedRequests> {
    let mut refused: BTreeMap<(String, String), RefusedRequests> = BTreeMap::new();
    for ((recipient, _), exchanges) in observed.iter().filter(|((recipient, _), _)| !recipient.is_empty()) {
        let refused_requests = exchanges.refused.iter().map(|(code, requests)| (code, *requests, 0));
        let observed = exchanges.would_refuse.iter().map(|(code, requests)| (code, *requests, *requests));
        for (code, requests, observed) in refused_requests.chain(observed) {
            if !BEYOND_REGISTRATION.contains(&&**code) {
                continue;
            }
            let key = (recipient.to_string(), code.clone());
            let line = refused.entry(key).or_insert_with(|| RefusedRequests {
                recipient: recipient.to_string(),
                code: code.clone(),
                requests: 0,
                observed: 0,
                declared: BTreeSet::new(),
            });
            line.requests += requests;
            line.observed += observed;
            line.declared.extend(exchanges.declared.iter().cloned());
        }
    }
    refused.into_values().collect()
}

fn untaken_categories(
    declared: &DeclaredProcessing<'_>,
    observed: &SummedExchanges,
) -> Vec<UntakenCategories> {
    let mut untaken = Vec::new();
    for ((recipient, purpose), exchanges) in observed {
        let facts = declared.recipients.iter().find(|facts| *facts.name == **recipient);
        let Some(facts) = facts.filter(|_| exchanges.exchanges > 0) else { continue };
        let mut granted = BTreeSet::new();
        for decisions in declared.packs {
            granted.extend(granted_categories(declared, decisions, facts, purpose));
        }
        let categories: Vec<String> =
            granted.into_iter().filter(|name| !exchanges.categories.contains_key(name)).collect();
        if !categories.is_empty() {
            let (recipient, purpose) = (recipient.to_string(), purpose.to_string());
            untaken.push(UntakenCategories { recipient, purpose, categories });
        }
    }
    untaken
}

/// Returns the categories of people's data that a recipient may receive for a purpose, in some form, whatever is known about
/// the person.
fn granted_categories(
    declared: &DeclaredProcessing<'_>,
    decisions: &Decisions,
    facts: &Arc<RecipientFacts>,
    purpose: &str,
) -> Vec<String> {
    let words: &Vocabulary = decisions.pack().vocabulary();
    let purpose: Option<PurposeId> = words.purposes().find(purpose);
    let request = purpose.map(|purpose| AdmissionRequest {
        recipient: Arc::clone(facts),
        purpose,
        operation: Operation::Disclose,
        exporter_region: Arc::clone(declared.exporter_region),
        upstream_backup: false,
        legal_reference: LegalReference::None,
    });
    let Some(best) = request.as_ref().and_then(|request| decisions.best_forms(request).ok()) else {
        return Vec::new();
    };
    let tree = words.categories();
    let granted = |category: &CategoryId| words.has_owner(*category) && best(*category) != Form::Removed;
    tree.ids().filter(granted).map(|category| tree.name(category).to_owned()).collect()
}

fn growth(before: &SummedExchanges, observed: &SummedExchanges) -> Vec<GrownExchanges> {
    let line = |(parties, exchanges): (&(Arc<str>, Arc<str>), &ObservedExchanges)| {
        let (recipient, purpose) = parties;
        let earlier = before.get(parties).map_or(0, |exchanges| exchanges.exchanges);
        // A purpose that a recipient begins to use has grown from nothing.
        let has_grown =
            exchanges.exchanges >= MIN_GROWN && exchanges.exchanges >= earlier.saturating_mul(GROWTH_FACTOR);
        has_grown.then(|| GrownExchanges {
            recipient: recipient.to_string(),
            purpose: purpose.to_string(),
            before: earlier,
            exchanges: exchanges.exchanges,
        })
    };
    observed.iter().filter_map(line).collect()
}

fn enumeration(days: &ObservedDays, period: ObservedPeriod) -> Vec<EnumeratedPeople> {
    let mut found = Vec::new();
    for (date, day) in days.iter().filter(|(date, _)| period.contains(**date)) {
        let first = date.saturating_sub(MEDIAN_DAYS.days());
        for (recipient, people) in &day.people {
            let past = days.range(first..*date).filter_map(|(_, day)| day.people.get(recipient));
            let mut past: Vec<u64> = past.map(PeopleCounter::count).filter(|people| *people > 0).collect();
            past.sort_unstable();
            let has_median = past.len() >= MIN_MEDIAN_DAYS;
            let usual = if has_median { past.get(past.len() / 2) } else { past.last() };
            let (median, people) = (usual.copied().unwrap_or_default(), people.count());
            let is_many = has_median || people > MAX_WITHOUT_MEDIAN;
            if is_many && people > median.saturating_mul(ENUMERATION_FACTOR) {
                found.push(EnumeratedPeople { recipient: recipient.to_string(), day: *date, people, median });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::config::pack::read_pack;
    use crate::keys::Pseudonym;
    use crate::vocabulary::Safeguard;

    const PERIOD: ObservedPeriod = ObservedPeriod { from: date(2026, 11, 1), to: date(2026, 11, 30) };

    fn exchanges(exchanges: u64, categories: &[&str]) -> ObservedExchanges {
        let categories = categories.iter().map(|name| ((*name).to_owned(), exchanges)).collect();
        ObservedExchanges { exchanges, categories, ..ObservedExchanges::default() }
    }

    fn people(number: u64) -> PeopleCounter {
        let mut counter = PeopleCounter::default();
        for person in 0..number {
            let mut bytes = [0; 12];
            bytes[..8].copy_from_slice(&person.to_le_bytes());
            counter.add(&Pseudonym::from_bytes(bytes));
        }
        counter
    }

    fn extent(since: Date) -> LogExtent {
        let mut extent = LogExtent::without_origin(None);
        extent.since = Some(since);
        extent
    }

    /// Compares these days with the processing that the pack of a partner programme declares.
    fn compared(days: &ObservedDays, logs: Vec<LogExtent>) -> ProcessingComparison {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/one-partner-360");
        let pack = Arc::new(read_pack(&folder).unwrap());
        let words = pack.vocabulary();
        let facts = RecipientFacts {
            name: "support".into(),
            kind: words.kinds().find("employee").unwrap(),
            country: Some("DE".into()),
            region: None,
            purposes: vec![words.purposes().find("customer-support").unwrap()],
            agreement: true,
            safeguard: Safeguard::None,
            suspended: false,
        };
        let (packs, recipients) = ([Arc::new(Decisions::new(Arc::clone(&pack)))], [Arc::new(facts)]);
        let declared =
            DeclaredProcessing { packs: &packs, recipients: &recipients, exporter_region: &"EEA".into() };
        compare(&declared, days, PERIOD, logs)
    }

    fn parties(purpose: &str) -> (Arc<str>, Arc<str>) {
        ("support".into(), purpose.into())
    }

    #[test]
    fn what_is_declared_and_not_done_is_listed() {
        let mut days = ObservedDays::new();
        days.entry(date(2026, 11, 3))
            .or_default()
            .exchanges
            .insert(parties("customer-support"), exchanges(5, &["email"]));
        let found = compared(&days, vec![extent(date(2026, 1, 1))]);
        assert!(found.complete && found.growth.is_empty() && found.enumeration.is_empty());
        assert!(found.unused_purposes.iter().any(|purpose| purpose == "marketing"), "{found:?}");
        assert!(!found.unused_purposes.iter().any(|purpose| purpose == "customer-support"));
        let [untaken] = &*found.untaken_categories else { panic!("{found:?}") };
        assert_eq!((&*untaken.recipient, &*untaken.purpose), ("support", "customer-support"));
        assert!(untaken.categories.iter().any(|name| name == "name"), "{untaken:?}");
        assert!(!untaken.categories.iter().any(|name| name == "email"), "{untaken:?}");
        assert!(compared(&days, vec![extent(date(2026, 10, 2))]).complete);
        for later in [date(2026, 10, 3), date(2026, 11, 2)] {
            assert!(!compared(&days, vec![extent(later)]).complete, "days of the comparison are missing");
        }
        assert!(!compared(&days, vec![]).complete);
    }

    #[test]
    fn requests_beyond_the_registration_are_counted() {
        let mut days = ObservedDays::new();
        for day in [3, 4] {
            let refused = ObservedExchanges {
                refused: [("purpose-not-permitted", 2), ("overloaded", 9)]
                    .map(|(code, n)| (code.to_owned(), n))
                    .into(),
                would_refuse: [("purpose-not-permitted", 3), ("purpose-missing", 7)]
                    .map(|(code, n)| (code.to_owned(), n))
                    .into(),
                declared: ["data-sale".to_owned()].into(),
                ..ObservedExchanges::default()
            };
            days.entry(date(2026, 11, day)).or_default().exchanges.insert(parties(""), refused);
        }
        let found = compared(&days, vec![extent(date(2026, 1, 1))]);
        let expected = RefusedRequests {
            recipient: "support".to_owned(),
            code: "purpose-not-permitted".to_owned(),
            requests: 10,
            observed: 6,
            declared: ["data-sale".to_owned()].into(),
        };
        assert_eq!(found.beyond_registration, [expected]);
    }

    #[test]
    fn growth_is_that_over_the_period_before() {
        let mut days = ObservedDays::new();
        for (day, number) in [(date(2026, 10, 15), 60), (date(2026, 11, 15), 120)] {
            let observed = &mut days.entry(day).or_default().exchanges;
            observed.insert(parties("customer-support"), exchanges(number, &[]));
            observed.insert(parties("account-management"), exchanges(number / 2, &[]));
        }
        let observed = &mut days.entry(date(2026, 11, 16)).or_default().exchanges;
        observed.insert(parties("marketing"), exchanges(100, &[]));
        observed.insert(parties("research"), exchanges(99, &[]));
        let found = compared(&days, vec![extent(date(2026, 1, 1))]);
        let grown = found.growth.iter().map(|grown| (&*grown.purpose, grown.before, grown.exchanges));
        let grown: Vec<_> = grown.collect();
        assert_eq!(grown, [("customer-support", 60, 120), ("marketing", 0, 100)]);
        assert_eq!(PERIOD.first_needed(), date(2026, 10, 2));
    }

    #[test]
    fn a_day_above_three_times_the_median_is_enumeration() {
        let mut days = ObservedDays::new();
        for before in 1..=28 {
            let day = date(2026, 11, 20).saturating_sub(before.days());
            days.entry(day).or_default().people.insert("support".into(), people(10));
        }
        for (day, number) in [(20, 31), (21, 30)] {
            days.entry(date(2026, 11, day)).or_default().people.insert("support".into(), people(number));
        }
        // One that read nobody before, or a few people on a few days.
        for (day, recipient, number) in
            [(20, "new", 1000), (21, "new", 1000), (20, "small", 20), (6, "weekly", 50), (20, "weekly", 150)]
        {
            let day = days.entry(date(2026, 11, day)).or_default();
            day.people.insert(recipient.into(), people(number));
        }
        let found = compared(&days, vec![extent(date(2026, 1, 1))]);
        let found: Vec<_> =
            found.enumeration.iter().map(|line| (&*line.recipient, line.people > 20, line.median)).collect();
        assert_eq!(found, [("weekly", true, 0), ("new", true, 0), ("support", true, 10)]);
    }
}
