//! Reads subject ids and facts for rules from the values of a record.
//!
//! The module does not guess. An id is a string or an integer, and a fact has one of the spellings that
//! [`crate::vocabulary`] reads. Any other value is unreadable, and an unreadable fact counts as the value under which
//! less is disclosed.

use std::sync::Arc;

use jiff::Timestamp;

use super::lex::unquoted;
use super::mapping::FactKey;
use super::number::Decimal;
use crate::decision::{Extracted, RecordFacts};
use crate::vocabulary::date::{self, EndTime};
use crate::vocabulary::{IdReader, Origin, Regions, SubjectId, region};

/// Reads an id from a JSON value: a string that is not empty, or an integer. `1` and `"1"` are the same id.
pub(super) fn id(value: &[u8], ids: &IdReader) -> Option<SubjectId> {
    let denoted = match value.first()? {
        b'"' => unquoted(value),
        b'-' | b'0'..=b'9' if is_plain_integer(value) => value.into(),
        _ => return None,
    };
    ids.read(std::str::from_utf8(&denoted).ok()?).ok()
}

/// True if a number is written without a fraction and an exponent. `1.0`, `1e3` and `-0` have the value of an integer
/// but are no ids.
fn is_plain_integer(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    value != b"-0" && digits.iter().all(u8::is_ascii_digit)
}

/// Stores one fact. `None` means that it is unclear which value counts; the fact is then unreadable.
pub(super) fn set(facts: &mut RecordFacts, key: FactKey, value: Option<&[u8]>, regions: &Regions) {
    match key {
        FactKey::Country => {
            facts.country = read(value, |value| region::country(&text(value)?).map(Arc::from));
        }
        FactKey::Region => facts.region = read(value, |value| regions.label(&text(value)?)),
        FactKey::BirthDate => facts.birth_date = read(value, |value| date::latest_birth_date(&text(value)?)),
        FactKey::AccountClosed => {
            facts.account_closed = match read(value, ended) {
                Extracted::Known(EndTime::At(at)) => Extracted::Known(at),
                Extracted::Known(EndTime::Never) | Extracted::Absent => Extracted::Absent,
                Extracted::Unreadable => Extracted::Unreadable,
            };
        }
        FactKey::Origin => facts.origin = read(value, |value| Origin::parse(&text(value)?)),
        FactKey::Created => facts.created = read(value, created),
    }
}

fn read<T>(value: Option<&[u8]>, as_fact: impl Fn(&[u8]) -> Option<T>) -> Extracted<T> {
    match value {
        Some(b"null") => Extracted::Absent,
        Some(value) => as_fact(value).map_or(Extracted::Unreadable, Extracted::Known),
        None => Extracted::Unreadable,
    }
}

fn text(value: &[u8]) -> Option<String> {
    if value.first() != Some(&b'"') {
        return None;
    }
    String::from_utf8(unquoted(value).into_owned()).ok()
}

fn integer(value: &[u8]) -> Option<i64> {
    Decimal::read(value)?.integer()
}

fn ended(value: &[u8]) -> Option<EndTime> {
    match text(value) {
        Some(text) => date::earliest_end(&text),
        None => date::end_at_unix_time(integer(value)?),
    }
}

fn created(value: &[u8]) -> Option<Timestamp> {
    match text(value) {
        Some(text) => date::earliest_creation(&text),
        None => date::creation_at_unix_time(integer(value)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{IdRule, MAX_ID_BYTES, Namespaces, Normalization};

    #[test]
    fn ids_are_strings_and_integers() {
        let exact = |text: &str| id(text.as_bytes(), &IdReader::default()).map(|id| id.id().to_string());
        assert_eq!(exact("1"), exact("\"1\""));
        assert_eq!(exact("\"\\u0061\"").as_deref(), Some("a"));
        assert_eq!(
            exact("123456789012345678901234567890").as_deref(),
            Some("123456789012345678901234567890")
        );
        for unusable in ["1.0", "1e0", "-0", "null", "true", "{}", "[]", "[1]", "\"\"", "\"\\ud800\""] {
            assert_eq!(exact(unusable), None, "{unusable}");
        }
        assert_ne!(exact("\"01\""), exact("1"));
        let (longest, longer) = ("x".repeat(MAX_ID_BYTES), "x".repeat(MAX_ID_BYTES + 1));
        assert!(exact(&format!("\"{longest}\"")).is_some() && exact(&format!("\"{longer}\"")).is_none());
    }

    #[test]
    fn a_namespace_rule_applies_to_strings_and_integers() {
        let rule = IdRule::new(Normalization::default(), Some("^(?:Patient/)?([0-9]+)$")).unwrap();
        let ids = Namespaces::new([("crm".into(), rule)]).reader(Some("crm"));
        assert!(id(b"17", &ids).is_some() && id(b"17", &ids) == id(b"\"Patient\\/17\"", &ids));
        assert_eq!(id(b"-17", &ids), None);
    }

    /// Reads a single fact.
    fn set_alone(key: FactKey, value: Option<&str>) -> RecordFacts {
        let mut facts = RecordFacts::default();
        set(&mut facts, key, value.map(str::as_bytes), &Regions::default());
        facts
    }

    #[test]
    fn facts_are_known_absent_or_unreadable() {
        let country = |value| set_alone(FactKey::Country, value).country;
        assert_eq!(country(Some("\"de\"")), Extracted::Known("DE".into()));
        assert_eq!(country(Some("\"\\u0044E \"")), Extracted::Known("DE".into()));
        for unreadable in ["\"Germany\"", "\"DEU\"", "\"ZZ\"", "\"UK\"", "49", "\"\"", "[\"DE\"]"] {
            assert_eq!(country(Some(unreadable)), Extracted::Unreadable, "{unreadable}");
        }
        assert_eq!(country(Some("null")), Extracted::Absent);
        assert_eq!(country(None), Extracted::Unreadable);
        let region = |value| set_alone(FactKey::Region, Some(value)).region;
        for (value, label) in [("\"eea\"", "EEA"), ("\"EU\"", "EEA"), ("\"us\"", "US"), ("\"apac\"", "APAC")]
        {
            assert_eq!(region(value), Extracted::Known(label.into()), "{value}");
        }
        for unreadable in ["\"Europe\"", "\"XX\"", "\"\"", "1"] {
            assert_eq!(region(unreadable), Extracted::Unreadable, "{unreadable}");
        }
        let origin = |value| set_alone(FactKey::Origin, Some(value)).origin;
        assert_eq!(origin("\"reselling-partner\""), Extracted::Known(Origin::ResellingPartner));
        assert_eq!(origin("\"elsewhere\""), Extracted::Unreadable);
    }

    #[test]
    fn dates_and_instants_are_read_in_the_documented_spellings() {
        let born = |value| set_alone(FactKey::BirthDate, Some(value)).birth_date;
        for (text, date) in [
            ("\"2010-02-28\"", "2010-02-28"),
            ("\"2010-02-28T00:00:00\"", "2010-02-28"),
            ("\"2010-02-28T23:59:59+02:00\"", "2010-03-01"),
            ("\"2010-02-28T00:00:00Z\"", "2010-02-28"),
            ("\"2010\"", "2010-12-31"),
        ] {
            assert_eq!(born(text), Extracted::Known(date.parse().unwrap()), "{text}");
        }
        for text in ["\"2010-02-30\"", "\"28.02.2010\"", "20100228", "2010", "\"\"", "\"0001-01-01\"", "{}"] {
            assert_eq!(born(text), Extracted::Unreadable, "{text}");
        }
        assert_eq!(born("null"), Extracted::Absent);
        let closed = |value| set_alone(FactKey::AccountClosed, Some(value)).account_closed;
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        for text in ["1700000000", "1700000000000", "\"2023-11-14T22:13:20Z\"", "1.7e9"] {
            assert_eq!(closed(text), Extracted::Known(at), "{text}");
        }
        for text in ["null", "\"9999-12-31\"", "\"9999-12-31T23:59:59.9999999\"", "253402300799000"] {
            assert_eq!(closed(text), Extracted::Absent, "{text}");
        }
        for text in ["false", "1.5", "0", "\"soon\"", "99999999999999999999", "\"0001-01-01T00:00:00\""] {
            assert_eq!(closed(text), Extracted::Unreadable, "{text}");
        }
        let created = |value| set_alone(FactKey::Created, Some(value)).created;
        assert_eq!(created("1700000000"), Extracted::Known(at));
        assert_eq!(created("\"9999-12-31\""), Extracted::Unreadable);
    }
}
