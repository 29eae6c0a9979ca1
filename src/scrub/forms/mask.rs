//! `masked`: a person who knows the value recognises it, nobody else learns it.
//!
//! At least half of the characters are hidden and never fewer than four; a value too short for
//! that is hidden whole. What is hidden is always `***`, so that its length is hidden too.

use std::fmt::Write as _;

use super::{HIDDEN, Shape, Spelled};

const FEWEST_HIDDEN: usize = 4;
const MOST_DIGITS: usize = 4;

/// Writes the masked text; `None` where all of it is hidden.
pub(super) fn text(shape: Shape, text: &str, into: &mut Spelled<'_>) -> Option<()> {
    match shape {
        Shape::Email => email(text, into),
        Shape::Phone | Shape::Card => last_digits(text, into),
        Shape::Name => initials(text, into),
        Shape::Date | Shape::Ip | Shape::Location | Shape::Address | Shape::Other => None,
    }
}

/// Whether a number is masked as a text is: a phone or a card. Others are hidden whole.
pub(super) fn is_text(shape: Shape, number: &[u8]) -> bool {
    matches!(shape, Shape::Phone | Shape::Card) && number.iter().all(u8::is_ascii_digit)
}

/// `j***@example.org`; a local part of one letter is hidden whole. The domain is not hidden: the
/// form is as the issue that asked for it spells it.
fn email(text: &str, into: &mut Spelled<'_>) -> Option<()> {
    let (local, domain) = text.rsplit_once('@')?;
    let mut letters = local.chars();
    let first = letters.next()?;
    let is_domain = |char: char| char.is_alphanumeric() || matches!(char, '-' | '.' | '_');
    if !domain.contains('.') || !domain.chars().all(is_domain) {
        return None;
    }
    // One address, not several and not a name before it.
    let plain = first.is_alphanumeric()
        && !local.contains(|char: char| char.is_whitespace() || matches!(char, '@' | ','));
    if plain && letters.next().is_some() {
        into.write_char(first).ok()?;
    }
    into.write_str(HIDDEN).ok()?;
    into.write_char('@').ok()?;
    into.write_str(domain).ok()
}

fn last_digits(text: &str, into: &mut Spelled<'_>) -> Option<()> {
    let digits = || text.chars().filter(char::is_ascii_digit);
    let all = digits().count();
    let shown = allowed(all).min(MOST_DIGITS);
    if shown == 0 {
        return None;
    }
    into.write_str(HIDDEN).ok()?;
    digits().skip(all - shown).try_for_each(|digit| into.write_char(digit)).ok()
}

/// `J. D.`
fn initials(text: &str, into: &mut Spelled<'_>) -> Option<()> {
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
    (shown > 0 && shown <= allowed(letters)).then_some(())
}

/// How many of so many characters may be shown.
fn allowed(characters: usize) -> usize {
    (characters / 2).min(characters.saturating_sub(FEWEST_HIDDEN))
}

#[cfg(test)]
mod tests {
    use crate::scrub::forms::Shape;
    use crate::scrub::forms::tests::written;
    use crate::vocabulary::Form;

    #[test]
    fn what_remains() {
        for (shape, value, left) in [
            (Shape::Email, "\"jane.doe@example.org\"", "\"j***@example.org\""),
            (Shape::Email, "\"j@example.org\"", "\"***@example.org\""),
            (Shape::Email, "\"\\u00e9mile@example.org\"", "\"é***@example.org\""),
            (Shape::Email, "\"\\\"a@b\\\"@example.org\"", "\"***@example.org\""),
            (Shape::Email, "\"jane\"", "\"***\""),
            (Shape::Email, "\"@example.org\"", "\"***\""),
            (Shape::Email, "\"jane@\"", "\"***\""),
            (Shape::Email, "\"jane@x.org;JaneDoe\"", "\"***\""),
            (Shape::Email, "\"jane@x.org/+491511234567\"", "\"***\""),
            (Shape::Email, "\"jane@x.org(Jane.Doe)\"", "\"***\""),
            (Shape::Email, "\"mailto:jane@x.org?cc=bob\"", "\"***\""),
            (Shape::Email, "\"jane@müller.example\"", "\"j***@müller.example\""),
            (Shape::Email, "\"a@b.org, c@d.org\"", "\"***@d.org\""),
            (Shape::Email, "\"Jane <jane@example.org>, x@y z\"", "\"***\""),
            (Shape::Phone, "\"+49 (151) 1234-5678\"", "\"***5678\""),
            (Shape::Phone, "\"555-0123\"", "\"***123\""),
            (Shape::Phone, "\"110\"", "\"***\""),
            (Shape::Phone, "491511234567", "\"***4567\""),
            (Shape::Phone, "1.5", "null"),
            (Shape::Card, "\"4242 4242 4242 4242\"", "\"***4242\""),
            (Shape::Card, "\"12/29\"", "\"***\""),
            (Shape::Name, "\"Jane Mary Doe\"", "\"J. M. D.\""),
            (Shape::Name, "\"João-Luís da Silva\"", "\"J. L. d. S.\""),
            (Shape::Name, "\"Jo Li\"", "\"***\""),
            (Shape::Name, "\"李小龍\"", "\"***\""),
            (Shape::Name, "\"A B C D E F G H\"", "\"***\""),
            (Shape::Name, "\"\"", "\"***\""),
            (Shape::Other, "\"anything at all\"", "\"***\""),
            (Shape::Other, "12", "null"),
            (Shape::Other, "true", "null"),
            (Shape::Other, "null", "null"),
            (Shape::Other, "\"\\ud800\"", "\"***\""),
        ] {
            assert_eq!(written(Form::Masked, shape, value), left, "{shape:?} {value}");
        }
    }
}
