//! The paths of a route that nothing in its mapping classifies, as the running gateway sees them: where they are, of
//! which types, how often. Never a value, and no name that may be one ([`name`], [`tree`]).
//!
//! The scrubber counts unclassified fields and does not look at their names. So the first window of an answer is read again
//! ([`survey_unclassified`]), if the count of the window grew and the route's rate in bytes permits it. A second reading takes
//! some 30 ns a byte, ten times the scrubber's own: without the rate, a route with large answers would spend its time on
//! it. The window still holds its input at that moment, so nothing is kept for this. An answer without unclassified fields
//! costs a look at its counts.

mod name;
mod tree;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError, TryLockError};

use bytes::Bytes;
use governor::{DefaultDirectRateLimiter, Quota};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use self::tree::{MAX_PATHS, PathTree};
use crate::scrub::{Framing, Plan, SurveyVisitor, UnclassifiedType, UnclassifiedValue, survey_unclassified};

/// Bytes in the unit in which the rate is counted. An answer counts as a unit at least.
const UNIT: usize = 1 << 10;
/// Units of a route that are read again at once, before [`UNITS_PER_SECOND`] applies: the first answers show most paths.
const FIRST_UNITS: NonZeroU32 = NonZeroU32::MIN.saturating_add((4 << 10) - 1);
/// Units of a route that are read again in a second, on average: half a percent of a core.
const UNITS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(127);
/// Maximum bytes of an answer that are read again. A window is as long, and a record longer at most.
const MAX_SURVEYED_BYTES: usize = 1 << 20;

/// The unclassified paths of one route.
#[derive(Debug)]
pub struct UnclassifiedPaths {
    rate: DefaultDirectRateLimiter,
    collected: Mutex<Collected>,
}

/// One unclassified path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnclassifiedPath {
    /// The number of the record set; `None` for a path from the document.
    pub record: Option<usize>,
    /// The path (RFC 9535), `@…` from the record or `$…` from the document.
    pub path: String,
    /// The types of the values.
    pub types: Vec<UnclassifiedType>,
    /// The number of values.
    pub count: u64,
    /// The day of the first value, UTC.
    pub first: Date,
    /// The day of the last value, UTC.
    pub last: Date,
}

/// All unclassified paths of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnclassifiedReport {
    /// The beginning of the collection.
    pub since: Timestamp,
    /// The number of records that were read.
    pub records: u64,
    /// The paths, by record set and path.
    pub paths: Vec<UnclassifiedPath>,
    /// The number of values at further paths.
    pub others: u64,
}

#[derive(Debug)]
struct Collected {
    since: Timestamp,
    records: u64,
    /// A tree for each record set, and one for everything outside of records.
    trees: BTreeMap<Option<usize>, PathTree>,
    others: u64,
}

impl UnclassifiedPaths {
    /// Starts a collection.
    pub fn new(since: Timestamp) -> UnclassifiedPaths {
        let quota = Quota::per_second(UNITS_PER_SECOND).allow_burst(FIRST_UNITS);
        let collected = Collected::new(since);
        UnclassifiedPaths { rate: DefaultDirectRateLimiter::direct(quota), collected: Mutex::new(collected) }
    }

    /// Reads the first window of an answer in which there are unclassified fields, if the rate permits it now and no other answer
    /// is read at this moment.
    pub(super) fn survey<'b>(
        &self,
        plan: &Plan,
        framing: Framing,
        chunks: impl Iterator<Item = &'b Bytes> + Clone,
        now: Timestamp,
    ) {
        // No exchange waits for another one's survey.
        let mut collected = match self.collected.try_lock() {
            Ok(collected) => collected,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let length = chunks.clone().map(Bytes::len).sum::<usize>().min(MAX_SURVEYED_BYTES);
        let units =
            u32::try_from(length.div_ceil(UNIT)).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        if !matches!(self.rate.check_n(units), Ok(Ok(()))) {
            return;
        }
        let today = now.to_zoned(TimeZone::UTC).date();
        let mut body = Vec::with_capacity(length);
        for chunk in chunks {
            let room = length - body.len();
            body.extend_from_slice(chunk.get(..chunk.len().min(room)).unwrap_or_default());
        }
        survey_unclassified(plan, framing, &body, &mut DayCollector { collected: &mut collected, today });
    }

    /// Returns everything that was collected.
    pub fn report(&self) -> UnclassifiedReport {
        let collected = self.collected.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = collected.trees.iter().flat_map(|(record, tree)| tree.paths(*record)).collect();
        UnclassifiedReport {
            since: collected.since,
            records: collected.records,
            paths,
            others: collected.others,
        }
    }

    /// Continues the collection of the same route before a reload that did not change its mapping.
    pub(super) fn continue_from(&self, before: &UnclassifiedPaths) {
        let mut before = before.collected.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Collected::new(before.since);
        let collected = std::mem::replace(&mut *before, fresh);
        *self.collected.lock().unwrap_or_else(PoisonError::into_inner) = collected;
    }
}

impl Collected {
    fn new(since: Timestamp) -> Collected {
        Collected { since, records: 0, trees: BTreeMap::new(), others: 0 }
    }
}

/// Adds the results of a survey to a collection.
struct DayCollector<'c> {
    collected: &'c mut Collected,
    today: Date,
}

impl SurveyVisitor for DayCollector<'_> {
    fn record(&mut self, set: Option<usize>) {
        self.collected.records += u64::from(set.is_some());
        self.collected.trees.entry(set).or_default().begin_record();
    }

    fn value(&mut self, value: &UnclassifiedValue<'_>) {
        let leaves: usize = self.collected.trees.values().map(PathTree::leaves).sum();
        let Some(tree) = self.collected.trees.get_mut(&value.record) else { return };
        let room = MAX_PATHS.saturating_sub(leaves);
        if !tree.add(value, self.today, room) {
            self.collected.others += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrub::{FieldMapping, Mapping, RecordMapping};
    use crate::vocabulary::{CategoryId, Vocabulary};

    fn plan() -> Plan {
        let field =
            FieldMapping { path: "@.name".to_owned(), categories: vec![CategoryId(1)], embedded: false };
        let records = vec![RecordMapping {
            path: "$.items[*]".to_owned(),
            fields: vec![field],
            ..RecordMapping::default()
        }];
        Plan::compile(&Mapping { records, ..Mapping::default() }, &Vocabulary::standard()).unwrap()
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn survey(paths: &UnclassifiedPaths, body: &str, now: &str) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let (head, rest) = (body.slice(..body.len() / 2), body.slice(body.len() / 2..));
        paths.survey(&plan(), Framing::Document, [&head, &rest].into_iter(), at(now));
    }

    /// Returns path, types, count and days of each path.
    fn lines(paths: &UnclassifiedPaths) -> Vec<String> {
        let line = |path: &UnclassifiedPath| {
            let types: Vec<&str> = path.types.iter().map(|one| one.name()).collect();
            format!("{} {} {} {} {}", path.path, types.join("|"), path.count, path.first, path.last)
        };
        paths.report().paths.iter().map(line).collect()
    }

    #[test]
    fn paths_have_types_counts_and_days_and_no_values() {
        let paths = UnclassifiedPaths::new(at("2026-11-29T10:00:00Z"));
        for _ in 0..4 {
            survey(
                &paths,
                r#"{"n":1,"items":[{"name":"Ada","tel":"+49","a b":null}]}"#,
                "2026-11-29T23:00:00Z",
            );
        }
        let body = r#"{"items":[{"tel":17},{"tel":"x","x-y":{"z":[true]}}]}"#;
        survey(&paths, body, "2026-11-30T01:00:00Z");
        let report = paths.report();
        assert_eq!((report.records, report.others, report.since), (6, 0, at("2026-11-29T10:00:00Z")));
        let expected = [
            "$.n number 4 2026-11-29 2026-11-29",
            "@.* null 4 2026-11-29 2026-11-29",
            "@.*.*[*] boolean 1 2026-11-30 2026-11-30",
            "@.tel string|number 6 2026-11-29 2026-11-30",
        ];
        assert_eq!(lines(&paths), expected);
        assert!(!format!("{paths:?}").contains("Ada"));
    }

    #[test]
    fn names_that_vary_are_not_shown() {
        let paths = UnclassifiedPaths::new(at("2026-11-29T10:00:00Z"));
        let day = "2026-11-29T11:00:00Z";
        survey(&paths, r#"{"items":[{"balances":{"alice":5},"alice":1,"email":"x"}]}"#, day);
        survey(&paths, r#"{"items":[{"balances":{"bob":7},"bob":1,"email":"x"}]}"#, day);
        let days = "2026-11-29 2026-11-29";
        let early = [
            format!("@.* number 2 {days}"),
            format!("@.balances.* number 2 {days}"),
            format!("@.email string 2 {days}"),
        ];
        assert_eq!(lines(&paths), early, "nobody knows yet which names vary");
        for name in ["cleo", "dora", "emil", "fay"] {
            let body = format!(r#"{{"items":[{{"balances":{{"{name}":5}},"{name}":1,"email":"x"}}]}}"#);
            survey(&paths, &body, day);
        }
        let later = [
            format!("@.* number 6 {days}"),
            format!("@.balances.* number 6 {days}"),
            format!("@.email string 6 {days}"),
        ];
        assert_eq!(lines(&paths), later);
        // One person's map, again and again.
        let paths = UnclassifiedPaths::new(at("2026-11-29T10:00:00Z"));
        for _ in 0..6 {
            survey(&paths, r#"{"items":[{"balances":{"alice":5,"bob":7}}]}"#, day);
        }
        assert_eq!(lines(&paths), [format!("@.balances.* number 12 {days}")]);
    }

    /// Returns the paths after the same record was asked for again and again.
    fn paths_of(record: &str) -> Vec<String> {
        let paths = UnclassifiedPaths::new(at("2026-11-29T10:00:00Z"));
        for _ in 0..6 {
            survey(&paths, &format!(r#"{{"items":[{record}]}}"#), "2026-11-29T11:00:00Z");
        }
        paths.report().paths.into_iter().map(|path| path.path).collect()
    }

    #[test]
    fn the_names_of_a_map_that_does_not_vary_are_not_shown() {
        for (record, expected) in [
            // From people to objects, with optional members, empty ones and null.
            (
                r#"{"by":{"alice":{"role":"x","since":1},"bob":{"role":"y"}},"n":1}"#,
                "@.by.*.role @.by.*.since @.n",
            ),
            (r#"{"by":{"alice":{"role":"x"},"bob":{},"max":null},"n":1}"#, "@.by.* @.by.*.* @.n"),
            (r#"{"by":{"alice":{"role":"x"},"bob":[]},"n":1}"#, "@.by.* @.by.*.* @.n"),
            (r#"{"by":{"alice":{"role":"x"},"bob":[1],"carol":[]},"n":1}"#, "@.by.* @.by.*.* @.by.*[*] @.n"),
            (r#"{"by":{"alice":5,"bob":null,"iris":7},"n":true}"#, "@.by.* @.n"),
            (r#"{"by":{"alice":[1],"bob":[2,3]},"n":1}"#, "@.by.*[*] @.n"),
            (
                r#"{"by":{"alice":{"bob":{"x":1},"carol":{"x":1}},"dan":{"erin":{"x":1},"fay":{"x":2}}},"n":1}"#,
                "@.by.*.*.* @.n",
            ),
            (r#"{"alice":{"role":"x"},"bob":{"role":"y"}}"#, "@.*.*"),
            // One name is an ordinary word; handles among different members.
            (
                r#"{"by":{"alice":{"role":1,"x":"y"},"carol":{"role":2,"x":"y"},"home":{"role":3,"x":"y"}},"n":1}"#,
                "@.by.*.role @.by.*.x @.n",
            ),
            (
                r#"{"by":{"alice93":1,"@bob":"x","count":2,"label":"y"},"n":1}"#,
                "@.by.* @.by.count @.by.label @.n",
            ),
        ] {
            assert_eq!(paths_of(record).join(" "), expected, "{record}");
        }
    }

    #[test]
    fn names_of_ordinary_structures_are_shown() {
        for (record, expected) in [
            (r#"{"billing":{"city":"x"},"shipping":{"city":"y"}}"#, "@.billing.city @.shipping.city"),
            (
                r#"{"hours":{"monday":{"from":"x","to":1},"friday":{"from":"x","to":1}},"n":1}"#,
                "@.hours.friday.from @.hours.friday.to @.hours.monday.from @.hours.monday.to @.n",
            ),
            // Different members, whatever the names are.
            (
                r#"{"motor":{"hubraum":1,"takt":"x"},"achse":{"last":2,"rad":"y"}}"#,
                "@.achse.last @.achse.rad @.motor.hubraum @.motor.takt",
            ),
            (r#"{"farbe":"rot","lack":"matt"}"#, "@.farbe @.lack"),
            // The ordinary names among others.
            (
                r#"{"billing":{"x":1,"y":"z"},"shipping":{"x":1,"y":"z"},"lager":{"x":1,"y":"z"}}"#,
                "@.*.x @.*.y @.billing.x @.billing.y @.shipping.x @.shipping.y",
            ),
            (r#"{"home":{"email":"x","city":"y"},"n":1}"#, "@.home.city @.home.email @.n"),
        ] {
            assert_eq!(paths_of(record).join(" "), expected, "{record}");
        }
    }

    #[test]
    fn an_exchange_does_not_wait_for_a_survey_or_a_report() {
        let paths = UnclassifiedPaths::new(at("2026-11-29T10:00:00Z"));
        let held = paths.collected.lock().unwrap();
        survey(&paths, r#"{"items":[{"a":1}]}"#, "2026-11-29T11:00:00Z");
        drop(held);
        assert_eq!(paths.report().records, 0);
    }

    #[test]
    fn the_number_of_paths_is_bounded_and_the_rest_is_counted() {
        let paths = UnclassifiedPaths::new(at("2026-11-29T10:00:00Z"));
        // Objects with members of three letters each, of which neighbours have different ones: no maps and no values.
        let name = |kind: usize, number: usize| {
            let letter = |digit: usize| char::from(b'a' + u8::try_from(digit % 20).unwrap());
            format!("{}{}{}x", letter(number), letter(number / 20), ["q", "z"][kind])
        };
        let members = |kind: usize, values: [&str; 2], count| {
            let member = |at: usize| format!("\"{}\":{}", name(kind, at), values[at % 2]);
            let members: Vec<String> = (0..count).map(member).collect();
            format!("{{{}}}", members.join(","))
        };
        let inner = [0, 1].map(|kind| members(kind, ["1", "true"], 30));
        let middle = [0, 1].map(|kind| members(kind, inner.each_ref().map(String::as_str), 10));
        let outer = members(0, middle.each_ref().map(String::as_str), 8);
        let body = format!("{{\"items\":[{outer}]}}");
        for _ in 0..4 {
            survey(&paths, &body, "2026-11-29T11:00:00Z");
        }
        let report = paths.report();
        assert_eq!(report.paths.len(), MAX_PATHS);
        assert_eq!(report.others, 4 * (8 * 10 * 30 - 1000));
    }

    #[test]
    fn answers_are_read_again_at_a_limited_rate_in_bytes() {
        let paths = UnclassifiedPaths::new(at("2026-11-29T10:00:00Z"));
        // Of 64 units each. The rate would take 150 seconds for all.
        let body = format!(r#"{{"items":[{{"a":"{}"}}]}}"#, "x".repeat(64 * UNIT - 100));
        for _ in 0..FIRST_UNITS.get() / 64 + 300 {
            survey(&paths, &body, "2026-11-29T11:00:00Z");
        }
        let records = paths.report().records;
        assert!((64..364).contains(&records), "{records}");
    }

    #[test]
    fn a_window_is_read_as_a_whole_up_to_a_bound() {
        let paths = UnclassifiedPaths::new(at("2026-11-29T10:00:00Z"));
        let with_late =
            |padding: usize| format!(r#"{{"items":[{{"name":"{}"}},{{"email":1}}]}}"#, "x".repeat(padding));
        let late = |paths: &UnclassifiedPaths| {
            let found = paths.report().paths;
            found.iter().find(|path| path.path == "@.email").map_or(0, |path| path.count)
        };
        survey(&paths, &with_late(MAX_SURVEYED_BYTES / 2), "2026-11-29T11:00:00Z");
        assert_eq!(late(&paths), 1);
        survey(&paths, &with_late(MAX_SURVEYED_BYTES), "2026-11-29T11:00:00Z");
        assert_eq!((late(&paths), paths.report().records), (1, 3), "the bound");
    }

    #[test]
    fn a_reload_continues_the_collection() {
        let before = UnclassifiedPaths::new(at("2026-11-29T10:00:00Z"));
        survey(&before, r#"{"items":[{"a":1}]}"#, "2026-11-29T11:00:00Z");
        let expected = before.report();
        let after = UnclassifiedPaths::new(at("2026-11-30T10:00:00Z"));
        after.continue_from(&before);
        assert_eq!(after.report(), expected);
    }
}
