//! The form `masked`: somebody who knows the value recognises it, and nobody else learns it.
//!
//! At least half of the characters are hidden, and never fewer than four. A shorter value is hidden whole. Hidden
//! characters become `***`, regardless of their number, so that the length is hidden as well.

use std::fmt::Write as _;

use super::{HIDDEN, JsonStringWriter, ValueKind};

/// Least number of hidden characters.
const MIN_HIDDEN: usize = 4;
/// Bound on the digits of a phone or card number that are shown.
const MAX_SHOWN_DIGITS: usize = 4;

/// Writes the masked text. Returns `None` if the text has to be hidden whole.
pub(super) fn text(kind: ValueKind, text: &str, into: &mut JsonStringWriter<'_>) -> Option<()> {
    match kind {
        ValueKind::Email => email(text, into),
        ValueKind::Phone | ValueKind::Card => last_digits(text, into),
        ValueKind::Name => initials(text, into),
        ValueKind::Date | ValueKind::Ip | ValueKind::Location | ValueKind::Address | ValueKind::Other => None,
    }
}

/// True if a number is masked like a text: a phone or card number. Other numbers are hidden whole.
pub(super) fn is_text(kind: ValueKind, number: &[u8]) -> bool {
    matches!(kind, ValueKind::Phone | ValueKind::Card) && number.iter().all(u8::is_ascii_digit)
}

/// Writes `j***@example.org`. A local part of one letter is hidden whole. The domain stays, by the definition of this
/// form.
fn email(text: &str, into: &mut JsonStringWriter<'_>) -> Option<()> {
    let (local, domain) = text.rsplit_once('@')?;
    let mut letters = local.chars();
    let first = letters.next()?;
    let is_domain = |char: char| char.is_alphanumeric() || matches!(char, '-' | '.' | '_');
    if !domain.contains('.') || !domain.chars().all(is_domain) {
        return None;
    }
    // The text has to be a single address, without a name before it.
    let plain = first.is_alphanumeric()
        && !local.contains(|char: char| char.is_whitespace() || matches!(char, '@' | ','));
    if plain && letters.next().is_some() {
        into.write_char(first).ok()?;
    }
    into.write_str(HIDDEN).ok()?;
    into.write_char('@').ok()?;
    into.write_str(domain).ok()
}

/// Writes `***4567`.
fn last_digits(text: &str, into: &mut JsonStringWriter<'_>) -> Option<()> {
    let digits = || text.chars().filter(char::is_ascii_digit);
    let all = digits().count();
    let shown = max_shown(all).min(MAX_SHOWN_DIGITS);
    if shown == 0 {
        return None;
    }
    into.write_str(HIDDEN).ok()?;
    digits().skip(all - shown).try_for_each(|digit| into.write_char(digit)).ok()
}

/// Writes `J. D.`.
fn initials(text: &str, into: &mut JsonStringWriter<'_>) -> Option<()> {
    let (mut shown, mut letters) = (0, 0);
    let mut begins = true;
    for char in text.chars() {
        if char.is_whitespace() || char == '-' {
            begins = true;
        } else if char.is_alphabetic() {
            letters += 1;
            if std::mem::take(&mut begins) {
                if shown > 0 {
                    into.write_char(' ').ok()?;
                }
                shown += 1;
                into.write_char(char).ok()?;
                into.write_char('.').ok()?;
            }
        }
    }
    (shown > 0 && shown <= max_shown(letters)).then_some(())
}

/// Returns the number of characters that may be shown.
fn max_shown(characters: usize) -> usize {
    (characters / 2).min(characters.saturating_sub(MIN_HIDDEN))
}

#[cfg(test)]
mod tests {
    use crate::scrub::forms::ValueKind;
    use crate::scrub::forms::tests::written;
    use crate::vocabulary::Form;

    #[test]
    fn masked_values_hide_most_characters() {
        for (kind, value, left) in [
            (ValueKind::Email, "\"jane.doe@example.org\"", "\"j***@example.org\""),
            (ValueKind::Email, "\"j@example.org\"", "\"***@example.org\""),
            (ValueKind::Email, "\"\\u00e9mile@example.org\"", "\"é***@example.org\""),
            (ValueKind::Email, "\"\\\"a@b\\\"@example.org\"", "\"***@example.org\""),
            (ValueKind::Email, "\"jane\"", "\"***\""),
            (ValueKind::Email, "\"@example.org\"", "\"***\""),
            (ValueKind::Email, "\"jane@\"", "\"***\""),
            (ValueKind::Email, "\"jane@x.org;JaneDoe\"", "\"***\""),
            (ValueKind::Email, "\"jane@x.org/+491511234567\"", "\"***\""),
            (ValueKind::Email, "\"jane@x.org(Jane.Doe)\"", "\"***\""),
            (ValueKind::Email, "\"mailto:jane@x.org?cc=bob\"", "\"***\""),
            (ValueKind::Email, "\"jane@müller.example\"", "\"j***@müller.example\""),
            (ValueKind::Email, "\"a@b.org, c@d.org\"", "\"***@d.org\""),
            (ValueKind::Email, "\"Jane <jane@example.org>, x@y z\"", "\"***\""),
            (ValueKind::Phone, "\"+49 (151) 1234-5678\"", "\"***5678\""),
            (ValueKind::Phone, "\"555-0123\"", "\"***123\""),
            (ValueKind::Phone, "\"110\"", "\"***\""),
            (ValueKind::Phone, "491511234567", "\"***4567\""),
            (ValueKind::Phone, "1.5", "null"),
            (ValueKind::Card, "\"4242 4242 4242 4242\"", "\"***4242\""),
            (ValueKind::Card, "\"12/29\"", "\"***\""),
            (ValueKind::Name, "\"Jane Mary Doe\"", "\"J. M. D.\""),
            (ValueKind::Name, "\"João-Luís da Silva\"", "\"J. L. d. S.\""),
            (ValueKind::Name, "\"Jo Li\"", "\"***\""),
            (ValueKind::Name, "\"李小龍\"", "\"***\""),
            (ValueKind::Name, "\"A B C D E F G H\"", "\"***\""),
            (ValueKind::Name, "\"\"", "\"***\""),
            (ValueKind::Other, "\"anything at all\"", "\"***\""),
            (ValueKind::Other, "12", "null"),
            (ValueKind::Other, "true", "null"),
            (ValueKind::Other, "null", "null"),
            (ValueKind::Other, "\"\\ud800\"", "\"***\""),
        ] {
            assert_eq!(written(Form::Masked, kind, value), left, "{kind:?} {value}");
        }
    }
}
