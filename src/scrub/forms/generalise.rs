//! The form `generalised`: coarser values that many people share.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use super::{JsonStringWriter, ValueKind};

/// Decimal places of a coordinate. A tenth of a degree is about eleven kilometres.
const PLACES: usize = 1;

/// Writes the coarser text. Returns `None` if the text has to be hidden whole.
pub(super) fn text(kind: ValueKind, text: &str, into: &mut JsonStringWriter<'_>) -> Option<()> {
    match kind {
        ValueKind::Date => into.write_str(year(text)?).ok(),
        ValueKind::Ip => network(text, into),
        ValueKind::Location => coordinates(text, into),
        ValueKind::Email
        | ValueKind::Phone
        | ValueKind::Card
        | ValueKind::Name
        | ValueKind::Address
        | ValueKind::Other => None,
    }
}

/// Returns the coarser number, or `None` if it has to be hidden whole.
pub(super) fn number(kind: ValueKind, text: &str) -> Option<String> {
    match kind {
        ValueKind::Date => year_of_instant(text),
        ValueKind::Location => coordinate(text),
        ValueKind::Other => bucket(text),
        ValueKind::Email
        | ValueKind::Phone
        | ValueKind::Card
        | ValueKind::Name
        | ValueKind::Ip
        | ValueKind::Address => None,
    }
}

/// Returns the year of a date in the order of ISO 8601.
fn year(text: &str) -> Option<&str> {
    let (year, rest) = text.split_at_checked(4)?;
    let dated = year.bytes().all(|byte| byte.is_ascii_digit()) && (rest.is_empty() || rest.starts_with('-'));
    dated.then_some(year)
}

/// Returns the year of a Unix time. A number counts as seconds, or as milliseconds if it would be later than the year
/// 5138 in seconds. A number of four digits is itself a year. A number that may be a date without hyphens is
/// ambiguous, and hidden whole.
fn year_of_instant(text: &str) -> Option<String> {
    let number: i64 = text.parse().ok()?;
    if text.len() == 8 && jiff::civil::Date::strptime("%Y%m%d", text).is_ok() {
        return None;
    }
    let instant = match number.unsigned_abs() {
        0..10_000 => return (1000..=9999).contains(&number).then(|| number.to_string()),
        10_000..100_000_000_000 => jiff::Timestamp::from_second(number).ok()?,
        _ => jiff::Timestamp::from_millisecond(number).ok()?,
    };
    Some(instant.to_zoned(jiff::tz::TimeZone::UTC).year().to_string())
}

/// Writes the network of an address: /24 for IPv4, /48 for IPv6.
fn network(text: &str, into: &mut JsonStringWriter<'_>) -> Option<()> {
    let address = text.trim().parse::<IpAddr>().ok()?.to_canonical();
    let written = match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            write!(into, "{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            // A 6to4 address (RFC 3056) has a whole IPv4 address in these bits.
            if a == 0x2002 {
                return None;
            }
            write!(into, "{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    };
    written.ok()
}

/// Writes coordinates such as `52.52,13.405` or a `geo:` URI (RFC 5870), without altitude and uncertainty.
fn coordinates(text: &str, into: &mut JsonStringWriter<'_>) -> Option<()> {
    let (scheme, rest) = match text.strip_prefix("geo:") {
        Some(rest) => ("geo:", rest.split(';').next()?),
        None => ("", text),
    };
    let mut parts = rest.split(',').map(|part| coordinate(part.trim()));
    let (latitude, longitude) = (parts.next()??, parts.next()??);
    write!(into, "{scheme}{latitude},{longitude}").ok()
}

fn coordinate(text: &str) -> Option<String> {
    let degrees: f64 = text.parse().ok()?;
    (degrees.abs() <= 360.0).then(|| {
        let coarse = format!("{degrees:.PLACES$}");
        if coarse == "-0.0" { "0.0".to_owned() } else { coarse }
    })
}

/// Returns the lower end of the number's bucket: its first digit, followed by zeros. Works on the text, so that no
/// number is too large or too long.
fn bucket(text: &str) -> Option<String> {
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let e = unsigned.find(['e', 'E']).unwrap_or(unsigned.len());
    let (mantissa, exponent) = unsigned.split_at(e);
    let exponent: i64 = match exponent.get(1..) {
        Some(digits) => digits.parse().ok()?,
        None => 0,
    };
    let dot = mantissa.find('.').unwrap_or(mantissa.len());
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let Some(first) = digits.find(|digit| digit != '0') else { return Some("0".to_owned()) };
    let digit = digits.get(first..=first)?;
    // The power of ten of the first digit.
    let power =
        i64::try_from(dot).ok()?.checked_sub(i64::try_from(first).ok()? + 1)?.checked_add(exponent)?;
    Some(match power {
        0..=20 => format!("{sign}{digit}{}", "0".repeat(usize::try_from(power).ok()?)),
        -6..0 => format!("{sign}0.{}{digit}", "0".repeat(usize::try_from(-power - 1).ok()?)),
        _ => format!("{sign}{digit}e{power}"),
    })
}

#[cfg(test)]
mod tests {
    use crate::scrub::forms::ValueKind;
    use crate::scrub::forms::tests::written;
    use crate::vocabulary::Form;

    #[test]
    fn generalised_values_are_coarser() {
        for (kind, value, left) in [
            (ValueKind::Date, "\"1984-05-06\"", "\"1984\""),
            (ValueKind::Date, "\"1984-05-06T07:08:09Z\"", "\"1984\""),
            (ValueKind::Date, "\"1984\"", "\"1984\""),
            (ValueKind::Date, "\"06.05.1984\"", "\"***\""),
            (ValueKind::Date, "\"19840506\"", "\"***\""),
            (ValueKind::Date, "19840506", "null"),
            (ValueKind::Date, "19841506", "1970"),
            (ValueKind::Date, "\"é84-05\"", "\"***\""),
            (ValueKind::Date, "452674800", "1984"),
            (ValueKind::Date, "452674800000", "1984"),
            (ValueKind::Date, "1984", "1984"),
            (ValueKind::Date, "1.5", "null"),
            (ValueKind::Ip, "\"192.0.2.77\"", "\"192.0.2.0/24\""),
            (ValueKind::Ip, "\"2001:db8:1:2::3\"", "\"2001:db8:1::/48\""),
            (ValueKind::Ip, "\"::ffff:192.0.2.77\"", "\"192.0.2.0/24\""),
            (ValueKind::Ip, "\"2002:c000:024d::1\"", "\"***\""),
            (ValueKind::Ip, "\"192.0.2.77:80\"", "\"***\""),
            (ValueKind::Location, "\"52.520008, 13.404954\"", "\"52.5,13.4\""),
            (ValueKind::Location, "\"geo:52.52,13.40,34;u=10\"", "\"geo:52.5,13.4\""),
            (ValueKind::Location, "52.520008", "52.5"),
            (ValueKind::Location, "-0.01", "0.0"),
            (ValueKind::Location, "1e99", "null"),
            (ValueKind::Location, "\"Berlin\"", "\"***\""),
            (ValueKind::Other, "1234.5", "1000"),
            (ValueKind::Other, "-37", "-30"),
            (ValueKind::Other, "0.0372", "0.03"),
            (ValueKind::Other, "-0.00", "0"),
            (ValueKind::Other, "7", "7"),
            (ValueKind::Other, "15e-1", "1"),
            (ValueKind::Other, "1.5e300", "1e300"),
            (ValueKind::Other, "1e99999999999999999999", "null"),
            (ValueKind::Other, "true", "null"),
            (ValueKind::Other, "\"free text\"", "\"***\""),
            (ValueKind::Email, "\"a@b.org\"", "\"***\""),
            (ValueKind::Phone, "123", "null"),
        ] {
            assert_eq!(written(Form::Generalised, kind, value), left, "{kind:?} {value}");
        }
    }
}
