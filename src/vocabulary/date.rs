//! Parsing of dates as systems write them: birth dates, account closures, creation dates and ends.
//!
//! A text can be less precise than it looks: a date without a zone is a day somewhere on Earth, an instant with a
//! zone can be the next day at the place of birth, a year is any of its days. Each function returns the bound
//! that discloses less. Values that stand for "never set" are unreadable.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

/// Year that systems write for "never".
const NEVER: i16 = 9999;

/// First plausible year of birth: the oldest person alive in 2026 was born in 1909. Earlier years are what
/// systems write for a date that was never set (0001, 1601, 1753, 1900, 1904).
const FIRST_YEAR_OF_BIRTH: i16 = 1905;

/// Smaller numbers are seconds since 1970 (before the year 2100), larger ones milliseconds.
const MAX_SECONDS: i64 = 4_102_444_800;

/// Numbers from here to [`MAX_MILLISECONDS`] are milliseconds in the year 9999.
const NEVER_MILLISECONDS: i64 = 253_370_764_800_000;
const MAX_MILLISECONDS: i64 = 253_402_300_800_000;

/// Offset of the first place on Earth to reach a date.
const EARLIEST_ZONE: Offset = Offset::constant(14);

/// An end date, as a record states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndTime {
    /// The earliest instant that the text can mean.
    At(Timestamp),
    /// There is no end: the date is in the year 9999.
    Never,
}

/// A date at the precision in which it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParsedDate {
    /// One day, or all days of a month or year.
    Days {
        first: Date,
        last: Date,
    },
    /// A date and a time of day without a zone.
    Local(DateTime),
    Instant(DateTime, Offset),
}

/// Parses `1985-04-12`: year, month and day, and nothing else.
pub fn full_date(text: &str) -> Option<Date> {
    match ParsedDate::of_days(text)? {
        ParsedDate::Days { first, last } if first == last => Some(first),
        ParsedDate::Days { .. } | ParsedDate::Local(_) | ParsedDate::Instant(..) => None,
    }
}

/// Returns the latest date of birth that a text can mean: the last day of a month or year, and for an instant the
/// latest date anywhere on Earth (JavaScript writes 2 May in Berlin as 1 May, 22:00 UTC). Returns `None` if the
/// text is unreadable or the date was never set.
pub fn latest_birth_date(text: &str) -> Option<Date> {
    let reading = ParsedDate::of(text)?;
    let year = reading.year();
    if !(FIRST_YEAR_OF_BIRTH..NEVER).contains(&year) {
        return None;
    }
    match reading {
        ParsedDate::Days { last, .. } => Some(last),
        ParsedDate::Local(at) => Some(at.date()),
        ParsedDate::Instant(..) => Some(EARLIEST_ZONE.to_datetime(reading.earliest()?).date()),
    }
}

/// Returns the earliest end that a text can mean. Returns `None` if the text is unreadable or the date was never
/// set.
pub fn earliest_end(text: &str) -> Option<EndTime> {
    let reading = ParsedDate::of(text)?;
    if reading.year() == NEVER {
        return Some(EndTime::Never);
    }
    reject_unset(reading.earliest()?).map(EndTime::At)
}

/// Returns the end that a Unix time means, in seconds (up to the year 2100) or in milliseconds. Returns `None` if
/// the number is out of range, its unit is unclear, or the date was never set.
pub fn end_at_unix_time(number: i64) -> Option<EndTime> {
    match number {
        NEVER_MILLISECONDS..MAX_MILLISECONDS => Some(EndTime::Never),
        _ => unix_time(number).map(EndTime::At),
    }
}

/// Returns the earliest time of creation that a text can mean. Returns `None` if the text is unreadable or the
/// date was never set.
pub fn earliest_creation(text: &str) -> Option<Timestamp> {
    match earliest_end(text)? {
        EndTime::At(at) => Some(at),
        EndTime::Never => None,
    }
}

/// Returns the time of creation that a Unix time means, read as in [`end_at_unix_time`].
pub fn creation_at_unix_time(number: i64) -> Option<Timestamp> {
    match end_at_unix_time(number)? {
        EndTime::At(at) => Some(at),
        EndTime::Never => None,
    }
}

/// Parses the instant at which something expires (RFC 3339). An instant in the year 9999 that cannot be
/// represented is read as the last one that can.
pub fn expiry(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    match ParsedDate::of(text)? {
        ParsedDate::Instant(at, _) if at.year() == NEVER => Some(Timestamp::MAX),
        ParsedDate::Days { .. } | ParsedDate::Local(_) | ParsedDate::Instant(..) => None,
    }
}

fn unix_time(number: i64) -> Option<Timestamp> {
    const FIRST_MILLISECONDS: i64 = 100_000_000_000;
    let at = match number {
        ..MAX_SECONDS => Timestamp::from_second(number),
        // The unit is unclear: after 2100 if in seconds, before 1973 if in milliseconds.
        MAX_SECONDS..FIRST_MILLISECONDS => return None,
        _ => Timestamp::from_millisecond(number),
    };
    at.ok().and_then(reject_unset)
}

/// Rejects instants that systems write for a date that was never set: Unix time 0 in any zone, and everything
/// before.
fn reject_unset(at: Timestamp) -> Option<Timestamp> {
    const DAY: i64 = 24 * 60 * 60;
    (at.as_second() >= DAY).then_some(at)
}

impl ParsedDate {
    fn of(text: &str) -> Option<ParsedDate> {
        let text = text.trim();
        let Some((date, rest)) = text.split_at_checked(10).filter(|(_, rest)| !rest.is_empty()) else {
            return ParsedDate::of_days(text);
        };
        let date = full_date(date)?;
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let (time, zone) = match rest.find(['Z', 'z', '+', '-']) {
            Some(at) => rest.split_at_checked(at)?,
            None => (rest, ""),
        };
        let at = DateTime::from_parts(date, time_of_day(time)?);
        if zone.is_empty() {
            return Some(ParsedDate::Local(at));
        }
        Some(ParsedDate::Instant(at, offset(zone)?))
    }

    /// Parses `1985-04-12`, `1985-04` or `1985`.
    fn of_days(text: &str) -> Option<ParsedDate> {
        let mut parts = text.split('-');
        let year = digits(parts.next()?, 4)?;
        let month = parts.next().map(|month| digits(month, 2));
        let day = parts.next().map(|day| digits(day, 2));
        if parts.next().is_some() {
            return None;
        }
        let date = |month: i16, day: i16| Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok();
        Some(match (month, day) {
            (None, _) => ParsedDate::Days { first: date(1, 1)?, last: date(12, 31)? },
            (Some(month), None) => {
                let first = date(month?, 1)?;
                ParsedDate::Days { first, last: first.last_of_month() }
            }
            (Some(month), Some(day)) => {
                let date = date(month?, day?)?;
                ParsedDate::Days { first: date, last: date }
            }
        })
    }

    fn year(self) -> i16 {
        match self {
            ParsedDate::Days { first, .. } => first.year(),
            ParsedDate::Local(at) | ParsedDate::Instant(at, _) => at.year(),
        }
    }

    /// Returns the earliest instant that it can mean.
    fn earliest(self) -> Option<Timestamp> {
        let (at, offset) = match self {
            ParsedDate::Days { first, .. } => (first.to_datetime(Time::midnight()), EARLIEST_ZONE),
            ParsedDate::Local(at) => (at, EARLIEST_ZONE),
            ParsedDate::Instant(at, offset) => (at, offset),
        };
        offset.to_timestamp(at).ok()
    }
}

/// Parses a number of exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<i16> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// Parses `23:59`, `23:59:59` or `23:59:59.9999999`; `:60` is a leap second.
fn time_of_day(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, part)| (whole, Some(part)));
    let mut parts = whole.split(':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    let second = parts.next();
    let is_fraction =
        |part: &str| second.is_some() && !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some() || !fraction.is_none_or(is_fraction) {
        return None;
    }
    let second = second.map_or(Some(0), |second| digits(second, 2))?;
    let second = if second == 60 { 59 } else { second };
    Time::new(hour.try_into().ok()?, minute.try_into().ok()?, second.try_into().ok()?, 0).ok()
}

/// Parses `Z`, `+02:00`, `+0200` or `-05`.
fn offset(text: &str) -> Option<Offset> {
    if text.eq_ignore_ascii_case("Z") {
        return Some(Offset::UTC);
    }
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, minutes) = match text.len() {
        2 => (text, "00"),
        4 => text.split_at_checked(2)?,
        _ => text.split_once(':')?,
    };
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    // No place is more than 14 hours from UTC.
    let seconds = i32::from(hours) * 3600 + i32::from(minutes) * 60;
    (minutes < 60 && seconds <= EARLIEST_ZONE.seconds()).then(|| Offset::from_seconds(sign * seconds).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_birth_date_is_the_latest_possible() {
        for (text, born) in [
            ("1985-04-12", "1985-04-12"),
            (" 1985-04-12 ", "1985-04-12"),
            ("1985-04-12T00:00:00", "1985-04-12"),
            ("1985-04-12T23:59", "1985-04-12"),
            ("1985-04-12T00:00:00.0000000", "1985-04-12"),
            ("1985-04-12 00:00:00", "1985-04-12"),
            ("1985-04", "1985-04-30"),
            ("1984-02", "1984-02-29"),
            ("1985", "1985-12-31"),
            // Midnight UTC, and midnight west of Greenwich.
            ("1985-04-12T00:00:00Z", "1985-04-12"),
            ("1985-04-12t05:00:00z", "1985-04-12"),
            ("1985-04-12T00:00:00-05:00", "1985-04-12"),
            // Midnight of the next day, east of Greenwich.
            ("1985-04-12T22:00:00.000Z", "1985-04-13"),
            ("1985-04-12T10:00:00Z", "1985-04-13"),
            ("1985-04-12 23:59:59+0200", "1985-04-13"),
            ("1985-12-31T23:00:00+00", "1986-01-01"),
            ("1985-04-12T00:00:00+02:00", "1985-04-12"),
        ] {
            assert_eq!(latest_birth_date(text), Some(born.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn placeholders_for_unset_dates_are_not_birth_dates() {
        for text in [
            "0001-01-01",
            "0001-01-01T00:00:00",
            "1582-10-15",
            "1601-01-01T00:00:00Z",
            "1753-01-01 00:00:00.000",
            "1899-12-30",
            "1900-01-01",
            "1904-01-01",
            "9999-12-31",
            "9999-12-31T23:59:59.9999999",
            "9999",
            "0000-00-00",
            "0000-00-00 00:00:00",
        ] {
            assert_eq!(latest_birth_date(text), None, "{text}");
        }
        assert!(latest_birth_date("1905-01-01").is_some());
    }

    #[test]
    fn malformed_dates_are_unreadable() {
        for text in [
            "",
            "1985-",
            "85",
            "1985-4-12",
            "1985-13",
            "1985-02-30",
            "12.04.1985",
            "04/12/1985",
            "19850412",
            "1985-102",
            "1985-W15-5",
            "1985-04-12T",
            "1985-04-12T0",
            "1985-04-12T24:00:00",
            "1985-04-12T00:00:00.",
            "1985-04-12T00:00:00+25:00",
            "1985-04-12T00:00:00+",
            "1985-04-12T00:00:00 UTC",
            "1985-04-12T00:00:00Z[UTC]",
            "1985-04-12X00:00:00",
            "/Date(482112000000)/",
            "482112000",
            "Fri, 12 Apr 1985 00:00:00 GMT",
            "１９８５-04-12",
            "-1985-04-12",
            "+1985-04-12",
        ] {
            assert_eq!(latest_birth_date(text), None, "{text}");
            assert_eq!(earliest_end(text), None, "{text}");
        }
    }

    #[test]
    fn an_end_is_the_earliest_possible() {
        for (text, ended_at) in [
            ("2026-03-17T12:00:00Z", "2026-03-17T12:00:00Z"),
            ("2026-03-17T12:00:00+02:00", "2026-03-17T10:00:00Z"),
            ("2026-03-17", "2026-03-16T10:00:00Z"),
            ("2026-03-17T12:00:00", "2026-03-16T22:00:00Z"),
            ("2026-03", "2026-02-28T10:00:00Z"),
            ("2026", "2025-12-31T10:00:00Z"),
        ] {
            assert_eq!(earliest_end(text), Some(EndTime::At(at(ended_at))), "{text}");
            assert_eq!(earliest_creation(text), Some(at(ended_at)), "{text}");
        }
        for text in
            ["9999-12-31", "9999-12-31T23:59:59.9999999", "9999-12-31T23:59:59Z", "9999", "9999-01-01"]
        {
            assert_eq!(earliest_end(text), Some(EndTime::Never), "{text}");
            assert_eq!(earliest_creation(text), None, "{text}");
        }
        for text in ["0001-01-01T00:00:00", "1900-01-01", "1970-01-01T00:00:00Z", "1969-12-31T19:00:00-05:00"]
        {
            assert_eq!(earliest_end(text), None, "{text}");
            assert_eq!(earliest_creation(text), None, "{text}");
        }
    }

    #[test]
    fn unix_time_is_in_seconds_or_milliseconds() {
        let closed = EndTime::At(Timestamp::from_second(1_700_000_000).unwrap());
        for number in [1_700_000_000, 1_700_000_000_000] {
            assert_eq!(end_at_unix_time(number), Some(closed), "{number}");
        }
        for number in
            [0, -1, -62_135_596_800, 50_000_000_000, i64::MAX, 1_700_000_000_000_000, 253_402_300_800_000]
        {
            assert_eq!(end_at_unix_time(number), None, "{number}");
        }
        assert_eq!(end_at_unix_time(253_402_300_799_999), Some(EndTime::Never));
        assert_eq!(creation_at_unix_time(253_402_300_799_999), None);
    }

    #[test]
    fn an_end_in_9999_is_the_last_instant() {
        assert_eq!(expiry("9999-12-31T23:59:59Z"), Some(Timestamp::MAX));
        assert_eq!(expiry("9999-12-31T23:59:59.999+02:00"), Some(Timestamp::MAX));
        assert_eq!(expiry("2027-01-01T00:00:00Z"), Some(at("2027-01-01T00:00:00Z")));
        for text in ["9999-12-31", "2027-01-01", "never", ""] {
            assert_eq!(expiry(text), None, "{text}");
        }
    }
}
