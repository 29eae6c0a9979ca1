//! What a record says of itself: whom it is about, and the facts that rules ask for.
//!
//! Refuses to guess: an id is a string or an integer, a fact is in one of the spellings listed
//! here, and whatever else is there is unreadable, which counts as the value that discloses less.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use smol_str::SmolStr;

use super::evaluate::unquoted;
use super::mapping::{FactKey, Normalise};
use super::number::Decimal;
use crate::decision::{RecordFacts, Unsure};
use crate::vocabulary::Origin;

/// Longest id in bytes; nobody's id is longer, and it is kept and hashed.
const LONGEST_ID: usize = 1024;

/// The id that a JSON value spells: a string that is not empty, or an integer. `1` and `"1"` are one id.
pub(super) fn id(value: &[u8], normalise: Normalise) -> Option<SmolStr> {
    let denoted = match value.first()? {
        b'"' => unquoted(value),
        b'-' | b'0'..=b'9' if is_plain_integer(value) => value.into(),
        _ => return None,
    };
    normalised(std::str::from_utf8(&denoted).ok()?, normalise)
}

/// An id that comes as text.
pub(super) fn normalised(id: &str, normalise: Normalise) -> Option<SmolStr> {
    if id.is_empty() || id.len() > LONGEST_ID {
        return None;
    }
    Some(match normalise {
        Normalise::Exact => id.into(),
        Normalise::Lowercase => id.to_lowercase().into(),
    })
}

/// An integer spelled as one; `1.0`, `1e3` and `-0` are numbers with an integer's value and no ids.
fn is_plain_integer(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    value != b"-0" && digits.iter().all(u8::is_ascii_digit)
}

/// Puts one fact where it belongs; `None` is a fact that several values claim.
pub(super) fn set(facts: &mut RecordFacts, key: FactKey, value: Option<&[u8]>) {
    match key {
        FactKey::Country => facts.country = read(value, country),
        FactKey::Region => facts.region = read(value, region),
        FactKey::BirthDate => facts.birth_date = read(value, date),
        FactKey::AccountClosed => facts.account_closed = read(value, instant),
        FactKey::Origin => facts.origin = read(value, |value| Origin::parse(&text(value)?)),
        FactKey::Created => facts.created = read(value, instant),
    }
}

fn read<T>(value: Option<&[u8]>, as_fact: impl Fn(&[u8]) -> Option<T>) -> Unsure<T> {
    match value {
        Some(b"null") => Unsure::Absent,
        Some(value) => as_fact(value).map_or(Unsure::Unreadable, Unsure::Known),
        None => Unsure::Unreadable,
    }
}

fn text(value: &[u8]) -> Option<String> {
    if value.first() != Some(&b'"') {
        return None;
    }
    String::from_utf8(unquoted(value).into_owned()).ok()
}

/// An ISO 3166-1 alpha-2 code, upper case. Names of countries are not read: they have no spelling.
fn country(value: &[u8]) -> Option<Arc<str>> {
    let text = text(value)?;
    let two_letters = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    two_letters.then(|| text.to_ascii_uppercase().into())
}

/// A label such as `EEA`.
fn region(value: &[u8]) -> Option<Arc<str>> {
    let text = text(value)?;
    let label = (1..=64).contains(&text.len()) && !text.chars().any(char::is_control);
    label.then(|| text.into())
}

/// RFC 3339: a full date, or the date of a date-time as it is written.
fn date(value: &[u8]) -> Option<Date> {
    let text = text(value)?;
    match text.len() {
        10 => full_date(&text),
        _ => {
            date_time(&text)?;
            full_date(text.get(..10)?)
        }
    }
}

fn full_date(text: &str) -> Option<Date> {
    let shape = text.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i16>().ok();
    if text.len() != 10 || !shape {
        return None;
    }
    let (month, day) = (i8::try_from(number(5, 7)?).ok()?, i8::try_from(number(8, 10)?).ok()?);
    Date::new(number(0, 4)?, month, day).ok()
}

fn date_time(text: &str) -> Option<Timestamp> {
    full_date(text.get(..10)?)?;
    text.parse().ok()
}

/// RFC 3339 (a full date is its first moment in UTC), or Unix time: in seconds up to the year
/// 5138, which is 11 digits, and in milliseconds from there.
fn instant(value: &[u8]) -> Option<Timestamp> {
    if value.first() != Some(&b'"') {
        let number = Decimal::read(value)?.integer()?;
        return match number.unsigned_abs() {
            0..100_000_000_000 => Timestamp::from_second(number).ok(),
            _ => Timestamp::from_millisecond(number).ok(),
        };
    }
    let text = text(value)?;
    match text.len() {
        10 => full_date(&text)?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|start| start.timestamp()),
        _ => date_time(&text),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_strings_and_integers() {
        let exact = |text: &str| id(text.as_bytes(), Normalise::Exact);
        assert_eq!(exact("1"), exact("\"1\""));
        assert_eq!(exact("\"\\u0061\""), Some("a".into()));
        assert_eq!(
            exact("123456789012345678901234567890").as_deref(),
            Some("123456789012345678901234567890")
        );
        for unusable in ["1.0", "1e0", "-0", "null", "true", "{}", "[]", "[1]", "\"\"", "\"\\ud800\""] {
            assert_eq!(exact(unusable), None, "{unusable}");
        }
        assert_eq!(id(b"\"Ann@X.org\"", Normalise::Lowercase).as_deref(), Some("ann@x.org"));
        assert_ne!(exact("\"01\""), exact("1"));
    }

    #[test]
    fn facts_are_known_absent_or_unreadable() {
        let mut facts = RecordFacts::default();
        set(&mut facts, FactKey::Country, Some(b"\"de\""));
        assert_eq!(facts.country, Unsure::Known("DE".into()));
        for (unreadable, key) in
            [("\"Germany\"", FactKey::Country), ("49", FactKey::Country), ("\"\"", FactKey::Country)]
        {
            set(&mut facts, key, Some(unreadable.as_bytes()));
            assert_eq!(facts.country, Unsure::Unreadable, "{unreadable}");
        }
        set(&mut facts, FactKey::Country, Some(b"null"));
        assert_eq!(facts.country, Unsure::Absent);
        set(&mut facts, FactKey::Country, None);
        assert_eq!(facts.country, Unsure::Unreadable);
        set(&mut facts, FactKey::Origin, Some(b"\"reselling-partner\""));
        assert_eq!(facts.origin, Unsure::Known(Origin::ResellingPartner));
        set(&mut facts, FactKey::Origin, Some(b"\"elsewhere\""));
        assert_eq!(facts.origin, Unsure::Unreadable);
    }

    #[test]
    fn dates_and_instants() {
        let mut facts = RecordFacts::default();
        let born = Date::new(2010, 2, 28).unwrap();
        for text in ["\"2010-02-28\"", "\"2010-02-28T23:59:59+02:00\"", "\"2010-02-28T00:00:00Z\""] {
            set(&mut facts, FactKey::BirthDate, Some(text.as_bytes()));
            assert_eq!(facts.birth_date, Unsure::Known(born), "{text}");
        }
        for text in
            ["\"2010-02-30\"", "\"28.02.2010\"", "\"2010\"", "20100228", "\"\"", "\"2010-02-28T\"", "{}"]
        {
            set(&mut facts, FactKey::BirthDate, Some(text.as_bytes()));
            assert_eq!(facts.birth_date, Unsure::Unreadable, "{text}");
        }
        let closed = Timestamp::from_second(1_700_000_000).unwrap();
        for text in ["1700000000", "1700000000000", "\"2023-11-14T22:13:20Z\"", "1.7e9"] {
            set(&mut facts, FactKey::AccountClosed, Some(text.as_bytes()));
            assert_eq!(facts.account_closed, Unsure::Known(closed), "{text}");
        }
        set(&mut facts, FactKey::AccountClosed, Some(b"\"2023-11-14\""));
        assert!(matches!(facts.account_closed, Unsure::Known(_)));
        for text in ["false", "1.5", "\"soon\"", "99999999999999999999"] {
            set(&mut facts, FactKey::AccountClosed, Some(text.as_bytes()));
            assert_eq!(facts.account_closed, Unsure::Unreadable, "{text}");
        }
    }
}
