//! Finds personal identifiers in free text: e-mail addresses, phone numbers, IP addresses, card numbers and
//! bank accounts.
//!
//! The module does not know where the text comes from. It finds too much rather than too little: an order number that
//! looks like a phone number is lost, but an identifier that is not found is disclosed. The search takes time linear
//! in the length of the text.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

/// Digits of a phone number: the shortest in use, and the bound of E.164.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// Digits of a card number (ISO/IEC 7812).
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// Characters of an IBAN (ISO 13616).
const IBAN_CHARACTERS: std::ops::RangeInclusive<usize> = 15..=34;
/// Bound on the bytes of a quoted local part of an e-mail address (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL_PART: usize = 64;
/// Bound on the characters between two groups of digits of one number.
const MAX_SEPARATOR: usize = 5;

/// Characters that may separate groups of digits.
const SEPARATORS: &[u8] = b" -./()";
/// Characters that may separate groups of digits in card numbers only.
const CARD_SEPARATORS: &[u8] = b"_:,";

/// Adds the range of each identifier. The ranges may overlap.
pub(super) fn find(text: &[u8], into: &mut Vec<Range<usize>>) {
    emails(text, into);
    if text.iter().any(|byte| byte.is_ascii_digit() || *byte == b':') {
        ips(text, into);
        let uuids = uuids(text);
        ibans(text, &uuids, into);
        numbers(text, &uuids, into);
    }
}

/// True if the byte belongs to a letter or digit of an address, in any script. Around numbers only ASCII letters
/// count as part of a word, because quotation marks beyond ASCII and scripts without spaces may stand there.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts bytes that are looked at, so that the unit tests can compare texts. Outside of them it does nothing.
#[inline]
fn count_steps(steps: usize) {
    #[cfg(test)]
    STEPS.set(STEPS.get() + steps);
    #[cfg(not(test))]
    let _ = steps;
}

/// Returns the end of the bytes from `at` on that satisfy a condition.
fn run(text: &[u8], at: usize, is: impl Fn(u8) -> bool) -> usize {
    let length = text.iter().skip(at).take_while(|byte| is(**byte)).count();
    count_steps(length + 1);
    at + length
}

/// Returns the start of the bytes before `at` that satisfy a condition.
fn run_back(text: &[u8], at: usize, is: impl Fn(u8) -> bool) -> usize {
    let before = text.get(..at).unwrap_or_default();
    let length = before.iter().rev().take_while(|byte| is(**byte)).count();
    count_steps(length + 1);
    at - length
}

fn slice(text: &[u8], range: Range<usize>) -> &[u8] {
    text.get(range).unwrap_or_default()
}

/// Finds addresses of RFC 5322 without comments, with or without a dot in the domain.
pub(super) fn emails(text: &[u8], into: &mut Vec<Range<usize>>) {
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'@', slice(text, from..text.len())).map(|at| from + at) {
        let local = |byte: u8| is_word(byte) || b".!#$%&'*+-/=?^_`{|}~".contains(&byte);
        let mut start = run_back(text, at, local).max(from);
        if start == at && text.get(at.wrapping_sub(1)) == Some(&b'"') {
            let first = at.saturating_sub(MAX_LOCAL_PART + 2);
            let quoted = slice(text, first..at - 1);
            count_steps(quoted.len());
            start = quoted.iter().rposition(|&byte| byte == b'"').map_or(at, |quote| first + quote);
        }
        let domain = |byte: u8| is_word(byte) || matches!(byte, b'.' | b'-' | b'_');
        let mut end = run(text, at + 1, domain);
        // Mail software folds lines, so a line break may stand beside the `@`.
        let (name, first) = (before_break(text, at), after_break(text, at + 1));
        let folded = first..run(text, first, domain);
        if (name < at || first > at + 1) && slice(text, folded.clone()).contains(&b'.') {
            start = start.min(run_back(text, name, local).max(from));
            end = folded.end;
        }
        if text.get(at + 1) == Some(&b'[') {
            let literal = run(text, at + 2, |byte| byte.is_ascii_alphanumeric() || b":.".contains(&byte));
            end = if text.get(literal) == Some(&b']') { literal + 1 } else { end };
        }
        while end > at + 1 && matches!(text.get(end - 1), Some(b'.' | b'-' | b'_')) {
            end -= 1;
        }
        if start < at && end > at + 1 {
            into.push(start..end);
        }
        from = at + 1;
    }
}

/// Returns the end of the white space at `at` if it contains a line break, or else `at`.
fn after_break(text: &[u8], at: usize) -> usize {
    let end = run(text, at, |byte| byte.is_ascii_whitespace());
    if has_break(slice(text, at..end)) { end } else { at }
}

/// Returns the start of the white space before `at` if it contains a line break, or else `at`.
fn before_break(text: &[u8], at: usize) -> usize {
    let start = run_back(text, at, |byte| byte.is_ascii_whitespace());
    if has_break(slice(text, start..at)) { start } else { at }
}

fn has_break(space: &[u8]) -> bool {
    space.contains(&b'\n') || space.contains(&b'\r')
}

/// Returns the UUIDs (RFC 9562, 4) in order: 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12, as words of
/// their own. Logs are full of them, and their digits are not phone numbers. A UUID needs a letter, because a
/// number can be written in the same groups; the UUID of zeros alone is the exception.
fn uuids(text: &[u8]) -> Vec<Range<usize>> {
    const LENGTH: usize = 36;
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    let is_uuid = |start: usize| {
        let uuid = slice(text, start..start + LENGTH);
        count_steps(uuid.len());
        let shape = uuid.len() == LENGTH
            && uuid.iter().enumerate().all(|(at, byte)| match DASHES.contains(&at) {
                true => *byte == b'-',
                false => byte.is_ascii_hexdigit(),
            });
        let beside = |at: usize| text.get(at).is_some_and(u8::is_ascii_alphanumeric);
        let is_word = !beside(start.wrapping_sub(1)) && !beside(start + LENGTH);
        let letters = uuid.iter().any(u8::is_ascii_alphabetic);
        shape && is_word && (letters || uuid.iter().all(|byte| matches!(byte, b'0' | b'-')))
    };
    let starts = memchr::memchr_iter(b'-', text).filter_map(|dash| dash.checked_sub(8));
    starts.filter(|start| is_uuid(*start)).map(|start| start..start + LENGTH).collect()
}

/// Returns the UUID around an offset.
fn uuid_at(uuids: &[Range<usize>], at: usize) -> Option<&Range<usize>> {
    let after = uuids.partition_point(|uuid| uuid.start <= at);
    uuids.get(after.checked_sub(1)?).filter(|uuid| uuid.contains(&at))
}

/// Finds IPv4 and IPv6 addresses.
fn ips(text: &[u8], into: &mut Vec<Range<usize>>) {
    let mut at = 0;
    while at < text.len() {
        let start = run(text, at, |byte| !(byte.is_ascii_hexdigit() || byte == b':'));
        let end = run(text, start, |byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
        at = end.max(at + 1);
        let beside = |at: usize| text.get(at).is_some_and(u8::is_ascii_alphanumeric);
        match v6(slice(text, start..end), beside(start.wrapping_sub(1)), beside(end)) {
            Some(address) => {
                // The zone belongs to the address.
                let zone = text.get(end) == Some(&b'%');
                let end = if zone { run(text, end + 1, is_word) } else { start + address.end };
                into.push(start + address.start..end);
            }
            None => v4s(text, start..end, into),
        }
    }
}

/// Returns the range of an IPv6 address, or of text that looks like one, in a run of hexadecimal digits, colons
/// and dots. If a word touches the run, the run may include letters of that word.
fn v6(run: &[u8], word_before: bool, word_after: bool) -> Option<Range<usize>> {
    count_steps(run.len());
    let mut range = 0..run.len();
    // A final full stop or a final single colon is punctuation of the sentence. Two final colons belong to the
    // address.
    while range.len() > 1 && matches!(slice(run, range.clone()), [.., b'.'] | [.., 0..b':' | b'A'.., b':']) {
        range.end -= 1;
    }
    if let [b':', second, ..] = slice(run, range.clone())
        && *second != b':'
    {
        range.start += 1;
    }
    let address = slice(run, range.clone());
    let first = address.iter().position(|byte| *byte == b':')?;
    let last = address.iter().rposition(|byte| *byte == b':')?;
    // Paths such as `std::fmt` are not addresses.
    let colons = address.iter().filter(|byte| **byte == b':').count();
    let is_name = (word_before || word_after) && colons < 3 && !address.iter().any(u8::is_ascii_digit);
    let found = is_v6(address)
        || (word_before
            && (is_v6(slice(address, first..address.len()))
                || is_v6(slice(address, first + 1..address.len()))))
        || (word_after && is_v6(slice(address, 0..last + 1)));
    (found && !is_name).then_some(range)
}

fn is_v6(address: &[u8]) -> bool {
    let digits = address.iter().any(u8::is_ascii_hexdigit);
    let colons = address.iter().filter(|byte| **byte == b':').count();
    let doubled = address.windows(2).any(|pair| pair == b"::");
    let parses = std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    digits && (parses || colons >= 7 || (doubled && colons >= 3))
}

/// Finds IPv4 addresses: four groups of digits with dots between, anywhere in the run.
fn v4s(text: &[u8], run: Range<usize>, into: &mut Vec<Range<usize>>) {
    count_steps(run.len());
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut start = run.start;
    for group in slice(text, run).split(|byte| !byte.is_ascii_digit()) {
        groups.push(start..start + group.len());
        start += group.len() + 1;
    }
    for four in groups.windows(4) {
        let (Some(first), Some(last)) = (four.first(), four.last()) else { continue };
        let spelled = std::str::from_utf8(slice(text, first.start..last.end)).unwrap_or_default();
        // The parser refuses leading zeros, but other programs accept them.
        let groups = spelled.split('.').map(str::parse::<u8>);
        let address = spelled.parse::<IpAddr>().is_ok() || groups.clone().all(|group| group.is_ok());
        if address && groups.count() == 4 {
            into.push(first.start..last.end);
        }
    }
}

/// Finds IBANs: country, check digits and account, with separators between; the number is 1 modulo 97.
fn ibans(text: &[u8], uuids: &[Range<usize>], into: &mut Vec<Range<usize>>) {
    for start in 0..text.len().saturating_sub(*IBAN_CHARACTERS.start() - 1) {
        let &[a, b, c, d] = slice(text, start..start + 4) else { return };
        let begins =
            a.is_ascii_alphabetic() && b.is_ascii_alphabetic() && c.is_ascii_digit() && d.is_ascii_digit();
        let after_word = start > 0 && slice(text, start - 1..start).iter().any(u8::is_ascii_alphanumeric);
        if begins && !after_word && uuid_at(uuids, start).is_none() {
            into.extend(iban_end(text, start).map(|end| start..end));
        }
    }
}

/// Returns the end of the longest IBAN that begins at `start`.
fn iban_end(text: &[u8], start: usize) -> Option<usize> {
    let mut account = Vec::with_capacity(*IBAN_CHARACTERS.end());
    let mut found = None;
    let mut at = start;
    while let Some(&byte) = text.get(at) {
        count_steps(1);
        match byte {
            _ if byte.is_ascii_alphanumeric() => account.push(byte.to_ascii_uppercase()),
            b' ' | b'-' | b'.' | b'_' if text.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) => {}
            _ => break,
        }
        at += 1;
        if account.len() > *IBAN_CHARACTERS.end() {
            break;
        }
        let whole = !text.get(at).is_some_and(u8::is_ascii_alphanumeric);
        if whole && IBAN_CHARACTERS.contains(&account.len()) && is_one_modulo_97(&account) {
            found = Some(at);
        }
    }
    found
}

fn is_one_modulo_97(account: &[u8]) -> bool {
    count_steps(account.len());
    let (head, tail) = account.split_at(account.len().min(4));
    let mut digits = tail.iter().chain(head).map(|byte| char::from(*byte).to_digit(36));
    let rest = digits.try_fold(0u32, |rest, value| {
        let value = value?;
        Some((rest * if value > 9 { 100 } else { 10 } + value) % 97)
    });
    rest == Some(1)
}

/// Finds card and phone numbers in chains: groups of digits with only separators between.
fn numbers(text: &[u8], uuids: &[Range<usize>], into: &mut Vec<Range<usize>>) {
    let mut chain: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let start = run(text, at, |byte| !byte.is_ascii_digit());
        if let Some(uuid) = uuid_at(uuids, start) {
            add_numbers(text, &chain, into);
            chain.clear();
            at = uuid.end;
            continue;
        }
        let end = run(text, start, |byte| byte.is_ascii_digit());
        at = end.max(at + 1);
        if let Some(last) = chain.last() {
            let between = slice(text, last.end..start);
            let together = between.len() <= MAX_SEPARATOR
                && between.iter().all(|byte| SEPARATORS.contains(byte) || CARD_SEPARATORS.contains(byte));
            if !together || start == end {
                add_numbers(text, &chain, into);
                chain.clear();
            }
        }
        if start < end {
            chain.push(start..end);
        }
    }
    add_numbers(text, &chain, into);
}

/// Adds the card and phone numbers of one chain.
fn add_numbers(text: &[u8], chain: &[Range<usize>], into: &mut Vec<Range<usize>>) {
    // Overlapping numbers are merged into one range.
    let known = into.len();
    let mut first = 0;
    while let Some(group) = chain.get(first) {
        if let Some(length) = instant_length(text, slice_of(chain, first)) {
            first += length;
            continue;
        }
        let mut digits = 0;
        let mut may_be_phone = true;
        let mut end = group.start;
        for (more, last) in slice_of(chain, first).iter().enumerate() {
            count_steps(1);
            if more > 0 && instant_length(text, slice_of(chain, first + more)).is_some() {
                break;
            }
            digits += last.len();
            may_be_phone &=
                more == 0 || slice(text, end..last.start).iter().all(|byte| SEPARATORS.contains(byte));
            end = last.end;
            let number = group.start..last.end;
            let card = CARD_DIGITS.contains(&digits) && is_luhn(slice(text, number.clone()));
            if card || (may_be_phone && PHONE_DIGITS.contains(&digits)) {
                let from = run_back(text, number.start, |byte| matches!(byte, b'+' | b'('));
                match into.get_mut(known..).and_then(<[_]>::last_mut) {
                    Some(before) if before.end >= from => before.end = before.end.max(number.end),
                    Some(_) | None => into.push(from..number.end),
                }
            }
            if digits > *CARD_DIGITS.end() {
                break;
            }
        }
        first += 1;
    }
}

fn slice_of(chain: &[Range<usize>], from: usize) -> &[Range<usize>] {
    chain.get(from..).unwrap_or_default()
}

/// Returns the number of groups that form a date or a time of day with a fraction. Dates and times are not phone
/// numbers.
fn instant_length(text: &[u8], chain: &[Range<usize>]) -> Option<usize> {
    date_length(text, chain).or_else(|| time_length(text, chain))
}

/// Returns 4 if the first four groups form a time of day with a fraction: `10:30:00.123456`, `10:30:00,123`.
fn time_length(text: &[u8], chain: &[Range<usize>]) -> Option<usize> {
    let [hour, minute, second, fraction, ..] = chain else { return None };
    let is_below = |group: &Range<usize>, bound: u8| {
        let value =
            std::str::from_utf8(slice(text, group.clone())).ok().and_then(|text| text.parse::<u8>().ok());
        (1..=2).contains(&group.len()) && value.is_some_and(|value| value < bound)
    };
    let between = |one: &Range<usize>, other: &Range<usize>| slice(text, one.end..other.start);
    let is_time = is_below(hour, 24) && is_below(minute, 60) && is_below(second, 61);
    let is_spelled = between(hour, minute) == b":"
        && between(minute, second) == b":"
        && matches!(between(second, fraction), b"." | b",");
    // Nanoseconds take nine digits.
    (is_time && is_spelled && fraction.len() <= 9).then_some(4)
}

/// Returns 3 if the first three groups form a date: `2026-11-22`, `22.11.2026`, `11/22/2026`.
fn date_length(text: &[u8], chain: &[Range<usize>]) -> Option<usize> {
    let [a, b, c, ..] = chain else { return None };
    let separator = |one: &Range<usize>, other: &Range<usize>| match slice(text, one.end..other.start) {
        [one @ (b'-' | b'.' | b'/')] => Some(*one),
        _ => None,
    };
    let same = separator(a, b)? == separator(b, c)?;
    let value =
        |group: &Range<usize>| std::str::from_utf8(slice(text, group.clone())).ok()?.parse::<u16>().ok();
    let (year, one, other) = match (a.len(), b.len(), c.len()) {
        (4, 2, 2) => (value(a)?, value(b)?, value(c)?),
        (1 | 2, 1 | 2, 4) => (value(c)?, value(a)?, value(b)?),
        _ => return None,
    };
    let day_and_month = (1..=31).contains(&one) && (1..=31).contains(&other) && one.min(other) <= 12;
    // Groups with an earlier or later year do not count as a date, because they may be a phone number.
    (same && day_and_month && (1900..=2100).contains(&year)).then_some(3)
}

/// True if the digits have a valid check digit (ISO/IEC 7812, annex B).
fn is_luhn(number: &[u8]) -> bool {
    count_steps(number.len());
    let digits = number.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(at, digit)| if at % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text with `#` in the place of each identifier.
    fn found(text: &str) -> String {
        let mut spans = Vec::new();
        find(text.as_bytes(), &mut spans);
        let mut bytes = text.as_bytes().to_vec();
        for span in spans {
            bytes[span].fill(b'#');
        }
        let mut text = String::from_utf8(bytes).unwrap();
        while text.contains("##") {
            text = text.replace("##", "#");
        }
        text
    }

    #[test]
    fn identifiers_are_found() {
        for (text, left) in [
            ("Write to jane.doe+x@example.org.", "Write to #."),
            ("<j@localhost>, \"jane doe\"@x.org", "<#>, #"),
            ("jörg@müller.example and a@[192.0.2.1]", "# and #"),
            ("mailto:jane@x.org?subject=1", "mailto:#?subject=1"),
            ("from 192.0.2.77, 010.0.0.1:80 or ::ffff:192.0.2.1", "from #, #:80 or #"),
            ("at 2001:db8::1. [fe80::1%eth0]:443 and 2001:DB8:0:0:1:2:3:4", "at #. [#]:443 and #"),
            ("call +49 (151) 1234-5678 or 030/1234567", "call # or #"),
            ("(555) 123-4567", "#"),
            ("00491511234567", "#"),
            ("555.123.4567 x", "# x"),
            ("030 1234567 0171 1234567", "#"),
            ("card 4111 1111 1111 1111, 12/29", "card #, 12/29"),
            ("5500-0000-0000-0004", "#"),
            ("378282246310005", "#"),
            ("DE89 3704 0044 0532 0130 00 and more", "# and more"),
            ("IBAN_CHARACTERS:GB82WEST12345698765432.", "IBAN_CHARACTERS:#."),
            ("nl91abna0417164300", "#"),
            ("DE89_3704.0044 0532.0130_00", "#"),
            ("4111_1111_1111_1111 4111:1111:1111:1111 4111,1111, 1111,1111", "#"),
            ("\u{201e}DE89370400440532013000\u{201c}", "\u{201e}#\u{201c}"),
            ("\u{8d26}\u{53f7}DE89370400440532013000\u{3002}", "\u{8d26}\u{53f7}#\u{3002}"),
            ("\u{201e}2001:db8::1\u{201c} \u{5728}fe80::1\u{5728}", "\u{201e}#\u{201c} \u{5728}#\u{5728}"),
            ("[IPv6:2001:db8::1]", "[IPv#]"),
            ("Adresse:2001:db8::1, node:fe80::1", "Adress#, no#"),
            ("node:1:2:3:4:5:6:7:8 decade:::1", "no# #"),
            ("x2001:db8::1 and fe80::1z fe80::abcdefg", "x# and #z #g"),
            ("call 030 / (0) 1234567", "call #"),
            ("at 10:30:00.123 call 030 1234567", "at 10:30:00.123 call #"),
            ("10:30:00.1234567890", "10:30:#"),
            ("550e8400-e29b-41d4-a716-446655440000 030 1234567", "550e8400-e29b-41d4-a716-446655440000 #"),
            ("00000000-0000-0000-0001-491511234567", "#-#"),
            ("x550e8400-e29b-41d4-a716-446655440000", "x550e8400-e29b-41d4-a#"),
            ("jane@\r\nexample.org and joe\n @example.org", "# and #"),
        ] {
            assert_eq!(found(text), left, "{text}");
        }
    }

    #[test]
    fn other_text_is_left_alone() {
        for text in [
            "",
            "nothing here",
            "a @ b, @home, x@",
            "12:30:15 and 10:45",
            "on 2026-11-22 10:30, or 22.11.2026 12.5",
            "std::fmt, a ::= b, :: and x::",
            "xyz::def, face::new and add::x",
            "version 1.2.3 and 1.2.3.999",
            "123456, 12 345",
            "2026-11-22T10:30:00.123456Z started",
            "2026-11-22 10:30:00,123 9:05:59.000000001 10:30:60.12-05:00",
            "trace 550e8400-e29b-41d4-a716-446655440000, pvc-F47AC10B-58CC-4372-A567-0E02B2C3D479.",
            "00000000-0000-0000-0000-000000000000",
            "signed jane@\nregards, thanks\n@john",
            "12345678901234567890123",
        ] {
            assert_eq!(found(text), text);
        }
    }

    #[test]
    fn overlapping_numbers_are_one_range() {
        let mut found = Vec::new();
        find("123 ".repeat(1 << 12).as_bytes(), &mut found);
        assert_eq!(found.len(), 1);
        assert_eq!(found.pop(), Some(0..(4 << 12) - 1));
    }

    #[test]
    fn the_steps_for_a_repetitive_text_grow_in_proportion_to_its_length() {
        for part in
            ["@", "1.", "a@", ":1", "DE11 ", "\"@", "1 ", "@\n\n\n", "00000000-0000-0000-0000-000000000000-"]
        {
            let steps = |repetitions: usize| {
                STEPS.set(0);
                find(part.repeat(repetitions).as_bytes(), &mut Vec::new());
                STEPS.get()
            };
            let (less, more) = (steps(1 << 11), steps(1 << 12));
            assert!(
                less > 1 << 11 && more * 10 < less * 21,
                "{part}: {less} steps, {more} for twice the text"
            );
        }
    }
}
