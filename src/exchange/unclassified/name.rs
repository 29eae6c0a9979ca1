//! Tells names of members, which a developer chose, from values that stand in the place of a name: the keys of a map.
//!
//! A name that may be a value is never shown: when in doubt, it is a value. The check sees one name. That a name is one of
//! many ([`super::tree`]) shows values that look like names.

use crate::discover::{is_ordinary_name, is_value};

/// Maximum bytes of a name.
const MAX_NAME: usize = 64;
/// Maximum digits of a name: `sha256` and `line1` are names, `2026` and `c1042` are not.
const MAX_DIGITS: usize = 3;
/// Minimum letters of a name with a digit. `p-1` and `u17` look like ids.
const MIN_LETTERS_BESIDE_DIGITS: usize = 3;
/// Minimum length of a name that is read as hexadecimal digits or as base64 if it looks like it.
const MIN_HEX: usize = 8;
const MIN_BASE64: usize = 20;
/// Maximum changes from a small letter or a digit to a capital in a name, for each ten of its characters: camel case has
/// words of several letters.
const MAX_HUMPS_OF_TEN: usize = 3;

/// True if a name looks like a value: an id, a number, a date, an address, a text.
pub(super) fn looks_like_a_value(name: &str) -> bool {
    if name.is_empty() || name.len() > MAX_NAME || !has_shape_of_a_name(name) || is_value(name) {
        return true;
    }
    let digits = name.chars().filter(|c| c.is_numeric()).count();
    let letters = name.chars().filter(|c| c.is_alphabetic()).count();
    if letters == 0 || digits > MAX_DIGITS || (digits > 0 && letters < MIN_LETTERS_BESIDE_DIGITS) {
        return true;
    }
    // `alice93` and `@alice` are written as `line1` and `@type` are.
    if (digits > 0 || name.starts_with('@')) && !is_ordinary_name(name) {
        return true;
    }
    let is_hex = name.len() >= MIN_HEX && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let is_long = name.len() >= MIN_BASE64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_hex || (is_long && (digits > 0 || humps(name) * 10 > name.len() * MAX_HUMPS_OF_TEN))
}

/// True if a name has letters, digits, and the few signs that names have: `_`, `-` and `:` between others (`dc:title`),
/// `@`, `$`, `_` or `:` before them (`@type`, `$ref`).
fn has_shape_of_a_name(name: &str) -> bool {
    let body = name.trim_start_matches(['@', '$', '_', ':']);
    let has_few_signs = name.len() - body.len() <= 2;
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':');
    has_few_signs && body.chars().next().is_some_and(char::is_alphabetic) && body.chars().all(is_part)
}

/// Returns the number of places where a capital follows a small letter or a digit.
fn humps(name: &str) -> usize {
    let pairs = name.as_bytes().windows(2);
    pairs.filter(|pair| matches!(pair, [before, after] if !before.is_ascii_uppercase() && after.is_ascii_uppercase())).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_developers_choose_are_names() {
        for name in [
            "id",
            "e",
            "email",
            "dateOfBirth",
            "fecha_nacimiento",
            "first-name",
            "line1",
            "address2",
            "@type",
            "$ref",
            "_links",
            "__typename",
            "dc:title",
            "prénom",
            "Straße",
            "sha256",
            "oauth2Token",
            "ipv4",
            "@context",
            "IBAN",
            "preferredContactMethodForBilling",
            "allow_promotion_codes_and_discounts",
            "cafe",
        ] {
            assert!(!looks_like_a_value(name), "{name}");
        }
    }

    #[test]
    fn ids_numbers_dates_addresses_and_texts_are_values() {
        for value in [
            "",
            "17",
            "0",
            "2026",
            "2026-11-29",
            "29.11.2026",
            "p-1",
            "C-1042",
            "u17",
            "cus_NffrFeUfNV2Hib123",
            "ada@example.org",
            "ada.lovelace",
            "Ada Lovelace",
            "+49 30 901820",
            "+4930901820",
            "192.0.2.1",
            "2001:db8::1",
            "018f4c1e-7a3b-7c7e-9d55-0a1b2c3d4e5f",
            "deadbeef",
            "abcdefab-cdef",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "VGhpcyBpcyBub3QgYSBuYW1l",
            "https://example.org/ada",
            "ada/lovelace",
            "#17",
            "a\u{0}b",
            "💡",
            "DE89370400440532013000",
            "abcd::ef",
            "alice93",
            "jdoe2",
            "@alice",
            "@alice_lovelace",
            "x".repeat(65).as_str(),
        ] {
            assert!(looks_like_a_value(value), "{value}");
        }
    }
}
