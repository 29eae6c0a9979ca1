//! Shapes of values: what the text of a scalar looks like, whatever its name is.
//!
//! The module keeps a few values of a field for comparison within one proposal; no type that holds them has a `Debug` or
//! `Display`, and no reason quotes them.

/// A shape that a value can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ValueShape {
    Email,
    Phone,
    IpAddress,
    Iban,
    CardNumber,
    /// The number of a mobile device (IMEI, 3GPP TS 23.003): 15 digits whose check digit holds, and no card number.
    Equipment,
    /// A latitude and a longitude in one text.
    Coordinates,
    Token,
    UserAgent,
    Avatar,
    BirthDate,
    Date,
    Url,
    Uuid,
    /// An opaque id: hexadecimal, prefixed (`cus_…`), or a mixture of letters and digits.
    OpaqueId,
    Digits,
    /// Two or more words.
    Prose,
    /// One word in lower or upper case, as constants are written.
    Constant,
    Other,
}

const SHAPES: usize = ValueShape::Other as usize + 1;
/// Values of one field that are kept for comparison.
const MAX_KEPT: usize = 24;
/// Longest value that is looked at, in bytes: a longer one is prose.
const MAX_LENGTH: usize = 512;

/// The shapes of the values of one field.
#[derive(Clone, Default)]
pub(super) struct ValueShapes {
    counts: [u32; SHAPES],
    total: u32,
    kept: Vec<Box<str>>,
}

impl ValueShapes {
    /// Adds one value. Empty texts say nothing.
    pub(super) fn observe(&mut self, text: &str) {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return;
        }
        if let Some(count) = self.counts.get_mut(shape(trimmed) as usize) {
            *count += 1;
        }
        self.total += 1;
        if self.kept.len() < MAX_KEPT
            && trimmed.len() <= MAX_LENGTH
            && !self.kept.iter().any(|kept| **kept == *trimmed)
        {
            self.kept.push(trimmed.into());
        }
    }

    /// True if at least half of the values have this shape.
    pub(super) fn mostly(&self, shape: ValueShape) -> bool {
        self.total > 0 && self.count(shape) * 2 >= self.total
    }

    /// True if one value has this shape.
    pub(super) fn any(&self, shape: ValueShape) -> bool {
        self.count(shape) > 0
    }

    fn count(&self, shape: ValueShape) -> u32 {
        self.counts.get(shape as usize).copied().unwrap_or(0)
    }

    /// True if there was no value that is not empty.
    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Values that were kept for comparison.
    pub(super) fn kept(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().map(|kept| &**kept)
    }

    /// Adds the shapes of another field.
    pub(super) fn merge(&mut self, other: ValueShapes) {
        for (count, added) in self.counts.iter_mut().zip(other.counts) {
            *count += added;
        }
        self.total += other.total;
        let room = MAX_KEPT.saturating_sub(self.kept.len());
        self.kept.extend(other.kept.into_iter().take(room));
    }
}

/// Returns the shape of a text that is trimmed and not empty.
pub(super) fn shape(text: &str) -> ValueShape {
    if text.len() > MAX_LENGTH {
        return if text.starts_with("eyJ") { ValueShape::Token } else { ValueShape::Prose };
    }
    if is_email(text) {
        ValueShape::Email
    } else if text.parse::<std::net::IpAddr>().is_ok() {
        ValueShape::IpAddress
    } else if is_iban(text) {
        ValueShape::Iban
    } else if text.starts_with("eyJ") && text.matches('.').count() == 2 {
        ValueShape::Token
    } else if text.len() > 24
        && ["Mozilla/", "mozilla/", "Opera/", "Dalvik/"].iter().any(|agent| text.starts_with(agent))
    {
        ValueShape::UserAgent
    } else if text.contains("gravatar.com/avatar/") {
        ValueShape::Avatar
    } else if let Some(year) = date_year(text) {
        if text.len() == 10 && (1900..=2020).contains(&year) {
            ValueShape::BirthDate
        } else {
            ValueShape::Date
        }
    } else if is_url(text) {
        ValueShape::Url
    } else if is_uuid(text) {
        ValueShape::Uuid
    } else if is_card_number(text) {
        ValueShape::CardNumber
    } else if is_equipment(text) {
        ValueShape::Equipment
    } else if is_coordinates(text) {
        ValueShape::Coordinates
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        ValueShape::Digits
    } else if is_phone(text) {
        ValueShape::Phone
    } else if is_opaque(text) {
        ValueShape::OpaqueId
    } else if text.split_whitespace().nth(1).is_some() {
        ValueShape::Prose
    } else if is_constant(text) {
        ValueShape::Constant
    } else {
        ValueShape::Other
    }
}

fn is_email(text: &str) -> bool {
    let text = text.strip_prefix("mailto:").unwrap_or(text);
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_local = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.:".contains(c);
    !local.is_empty()
        && !local.contains("//")
        && local.chars().all(is_local)
        && domain.contains('.')
        && domain
            .split('.')
            .all(|label| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-'))
}

/// IBAN (ISO 13616): country, two check digits, at most 30 characters; the remainder modulo 97 is 1.
fn is_iban(text: &str) -> bool {
    let compact: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let Some((head, rest)) = compact.split_at_checked(4) else { return false };
    let shaped =
        head.iter().take(2).all(u8::is_ascii_uppercase) && head.iter().skip(2).all(u8::is_ascii_digit);
    if !shaped || !(11..=30).contains(&rest.len()) {
        return false;
    }
    let mut remainder = 0u32;
    for byte in rest.iter().chain(head) {
        let value = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'A'..=b'Z' => u32::from(byte - b'A') + 10,
            _ => return false,
        };
        remainder = (remainder * if value > 9 { 100 } else { 10 } + value) % 97;
    }
    remainder == 1
}

/// A payment card number in groups, or 13 to 19 digits that begin as the large networks do; Luhn's check holds.
fn is_card_number(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let only = text.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-'));
    // With 15 digits it is a card of one network, or the number of a device.
    let begins = match digits.as_slice() {
        [3, 4 | 7, ..] => true,
        [first, ..] => (3..=6).contains(first) && digits.len() != 15,
        [] => false,
    };
    only && (13..=19).contains(&digits.len()) && begins && has_check_digit(&digits)
}

fn is_equipment(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    digits.len() == 15
        && text.len() == 15
        && matches!(digits.as_slice(), [3 | 8, 5..=9, ..] | [0, 1, ..])
        && has_check_digit(&digits)
}

/// True for two decimals within the bounds of degrees, each with at least three places.
fn is_coordinates(text: &str) -> bool {
    let Some((latitude, longitude)) = text.split_once([',', ';']) else { return false };
    let degrees = |text: &str, bound: f64| {
        let text = text.trim();
        let places = text.split_once('.').map_or(0, |(_, places)| places.len());
        places >= 3 && text.parse::<f64>().is_ok_and(|degrees| degrees.abs() <= bound)
    };
    degrees(latitude, 90.0) && degrees(longitude, 180.0)
}

/// Luhn's check (ISO/IEC 7812-1).
fn has_check_digit(digits: &[u32]) -> bool {
    let double = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, &digit)| if at % 2 == 1 { double(digit) } else { digit })
        .sum();
    sum.is_multiple_of(10)
}

/// An international number with `+`, or groups of digits as telephone numbers are written.
fn is_phone(text: &str) -> bool {
    let text = text.strip_prefix("tel:").unwrap_or(text);
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let only = text.chars().all(|c| c.is_ascii_digit() || " +-./()".contains(c));
    if !only || !(7..=15).contains(&digits) {
        return false;
    }
    let number = text.parse::<f64>().is_ok();
    text.starts_with('+')
        || (!number && (text.starts_with('(') || text.matches(['-', ' ', '/']).count() >= 2))
}

/// Returns the year of a date, or of a date with a time.
fn date_year(text: &str) -> Option<u32> {
    let bytes = text.as_bytes();
    let digits =
        |from: usize, to: usize| bytes.get(from..to).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let separated = |at: usize| bytes.get(at).is_some_and(|byte| matches!(byte, b'-' | b'/' | b'.'));
    let year = |from: usize| text.get(from..from + 4)?.parse().ok();
    let ends = |at: usize| bytes.get(at).is_none_or(|byte| matches!(byte, b'T' | b' '));
    if digits(0, 4) && separated(4) && digits(5, 7) && separated(7) && digits(8, 10) && ends(10) {
        return year(0);
    }
    if digits(0, 2) && separated(2) && digits(3, 5) && separated(5) && digits(6, 10) && ends(10) {
        return year(6);
    }
    None
}

pub(super) fn is_url(text: &str) -> bool {
    ["http://", "https://", "/", "gid://", "mxc://", "urn:"].iter().any(|scheme| text.starts_with(scheme))
        && !text.contains(char::is_whitespace)
        && text.len() > 3
}

/// Number of words of a full name.
const WORDS_OF_NAME: std::ops::RangeInclusive<usize> = 2..=5;

/// True for several capitalised words, as full names are written, with particles between them: `Ana de Souza`.
pub(super) fn looks_like_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_alphabetic() || matches!(c, '.' | ',' | '-' | '\'' | '’');
    let is_particle = |word: &str| word.len() < 4 && word.chars().all(char::is_lowercase);
    let words: Vec<&str> = text.split_whitespace().collect();
    WORDS_OF_NAME.contains(&words.len())
        && text.chars().all(|c| is_letter(c) || c == ' ')
        && words.iter().all(|word| word.starts_with(char::is_uppercase) || is_particle(word))
        && words.last().is_some_and(|word| word.starts_with(char::is_uppercase))
}

/// Letters of each part of a path.
const MIN_PATH_PART: usize = 2;

/// True for words with slashes between them and no blanks: `owner/project`.
pub(super) fn is_path(text: &str) -> bool {
    let is_part = |part: &str| part.len() >= MIN_PATH_PART && part.starts_with(char::is_alphabetic);
    text.contains('/') && !text.contains(char::is_whitespace) && text.split('/').all(is_part)
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// A mixture of letters and digits without blanks, or long hexadecimal digits.
fn is_opaque(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-|:=$!@.".contains(&byte));
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    plain && text.len() >= 6 && digits >= 2 && letters >= 1
}

fn is_constant(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || b"_-.:/".contains(&byte);
    let shout = |byte: u8| byte.is_ascii_uppercase() || b"_-".contains(&byte);
    text.bytes().all(word) || text.bytes().all(shout)
}

/// True if a name of a member is an id or another value rather than a name: digits, a UUID, an e-mail address, a date.
pub(super) fn is_value_like(name: &str) -> bool {
    let is_size = name.split_once('x').is_some_and(|(width, height)| {
        !width.is_empty() && [width, height].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    });
    match shape(name.trim()) {
        _ if name.trim().is_empty() => false,
        ValueShape::Email
        | ValueShape::IpAddress
        | ValueShape::Iban
        | ValueShape::CardNumber
        | ValueShape::Equipment
        | ValueShape::Coordinates
        | ValueShape::BirthDate
        | ValueShape::Date
        | ValueShape::Uuid
        | ValueShape::Digits
        | ValueShape::Phone => true,
        ValueShape::OpaqueId => is_id_key(name),
        _ => is_size || (name.starts_with('@') && name.contains(':')),
    }
}

/// True if a mixture of letters and digits is an id and no name such as `address_line_1`, `oauth2` or `sha256_hash`.
fn is_id_key(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    let hexadecimal = name.len() >= 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let tail = name.rsplit(['_', '-', '.']).next().unwrap_or(name);
    let is_mixed = |text: &str| {
        let changes = text.as_bytes().windows(2).filter(|pair| {
            pair.first().is_some_and(u8::is_ascii_digit) != pair.last().is_some_and(u8::is_ascii_digit)
        });
        changes.count() >= 3
    };
    hexadecimal
        || (name.len() >= 9 && digits >= 3 && is_mixed(tail))
        || (name.starts_with('@') && name.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_shapes() {
        for (text, expected) in [
            ("ada@example.org", ValueShape::Email),
            ("josé@exämple.org", ValueShape::Email),
            ("203.0.113.7", ValueShape::IpAddress),
            ("2001:db8::1", ValueShape::IpAddress),
            ("DE89 3704 0044 0532 0130 00", ValueShape::Iban),
            ("4111 1111 1111 1111", ValueShape::CardNumber),
            ("356938035643809", ValueShape::Equipment),
            ("48.1372,11.5756", ValueShape::Coordinates),
            ("48.1,11.5", ValueShape::Other),
            ("378282246310005", ValueShape::CardNumber),
            ("+49 170 5550188", ValueShape::Phone),
            ("(555) 555-5555", ValueShape::Phone),
            ("1979-05-02", ValueShape::BirthDate),
            ("02.05.1979", ValueShape::BirthDate),
            ("2024-05-02T10:00:00Z", ValueShape::Date),
            ("https://example.org/u/1", ValueShape::Url),
            ("0a1c7d5e-11aa-4a5b-9c1d-2f3e4d5c6b7a", ValueShape::Uuid),
            ("cus_QXg1o8vcGmoR32", ValueShape::OpaqueId),
            ("7731", ValueShape::Digits),
            ("Ada Example", ValueShape::Prose),
            ("in_progress", ValueShape::Constant),
            ("Ada", ValueShape::Other),
        ] {
            assert_eq!(shape(text), expected, "{text}");
        }
        // One digit of the check is wrong.
        assert_ne!(shape("DE88 3704 0044 0532 0130 00"), ValueShape::Iban);
        assert_ne!(shape("4111 1111 1111 1112"), ValueShape::CardNumber);
        assert_ne!(shape("12.50"), ValueShape::Phone);
    }

    #[test]
    fn full_names_and_paths_are_told_from_other_words() {
        for name in ["Rui Tavares", "Ana de Souza", "Deshmukh, Priya", "J.M. van der Heijden"] {
            assert!(looks_like_name(name), "{name}");
        }
        for other in ["Inside sales", "Bug", "Sprint 31", "in progress", "Vienna office", ""] {
            assert!(!looks_like_name(other), "{other}");
        }
        assert!(is_path("orchard/grove"));
        for other in ["02/05/1979", "m/w", "Anna / Bea", "grove"] {
            assert!(!is_path(other), "{other}");
        }
    }

    #[test]
    fn names_that_are_values_are_recognised() {
        for name in [
            "24",
            "48x48",
            "ada@example.org",
            "9143cf3bd1",
            "2024-01-01",
            "@alice:example.org",
            "cus_QXg1o8vcGm3R32",
        ] {
            assert!(is_value_like(name), "{name}");
        }
        for name in [
            "address_line_1",
            "oauth2",
            "md5",
            "sha256_hash",
            "x509Certificates",
            "last_4",
            "line1",
            "e_mail",
            "",
        ] {
            assert!(!is_value_like(name), "{name}");
        }
    }
}
