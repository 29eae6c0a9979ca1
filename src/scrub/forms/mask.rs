//! `masked`: a person who knows the value recognises it, nobody else learns it.
//!
//! At least half of the characters are hidden and never fewer than four; a value too short for
//! that is hidden whole. What is hidden is always `***`, so that its length is hidden too.

use super::{HIDDEN, Shape, quoted};

const FEWEST_HIDDEN: usize = 4;
const MOST_DIGITS: usize = 4;

/// The masked text; `None` where all of it is hidden.
pub(super) fn text(shape: Shape, text: &str) -> Option<String> {
    match shape {
        Shape::Email => email(text),
        Shape::Phone | Shape::Card => last_digits(text),
        Shape::Name => initials(text),
        Shape::Date | Shape::Ip | Shape::Location | Shape::Address | Shape::Other => None,
    }
}

/// A number that is a phone or a card keeps its last digits, as a string; others are hidden whole.
pub(super) fn number(shape: Shape, number: &str) -> Option<String> {
    match shape {
        Shape::Phone | Shape::Card if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(quoted(last_digits(number).as_deref().unwrap_or(HIDDEN)))
        }
        _ => None,
    }
}

/// `j***@example.org`; a local part of one letter is hidden whole. The domain is not hidden: the
/// form is as the issue that asked for it spells it.
fn email(text: &str) -> Option<String> {
    let (local, domain) = text.rsplit_once('@')?;
    let mut letters = local.chars();
    let first = letters.next()?;
    if domain.is_empty()
        || !domain.contains('.')
        || domain.contains(|char: char| char.is_whitespace() || char == ',')
    {
        return None;
    }
    // One address, not several and not a name before it.
    let plain = first.is_alphanumeric()
        && !local.contains(|char: char| char.is_whitespace() || matches!(char, '@' | ','));
    let shown = letters.next().map(|_| first).filter(|_| plain);
    Some(format!("{}{HIDDEN}@{domain}", shown.map(String::from).unwrap_or_default()))
}

fn last_digits(text: &str) -> Option<String> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_digit).collect();
    let shown = allowed(digits.len()).min(MOST_DIGITS);
    let last = digits.get(digits.len() - shown..)?;
    (shown > 0).then(|| format!("{HIDDEN}{}", last.iter().collect::<String>()))
}

/// `J. D.`
fn initials(text: &str) -> Option<String> {
    let (mut out, mut shown, mut letters) = (String::new(), 0, 0);
    let mut begins = true;
    for char in text.chars() {
        if matches!(char, ' ' | '\u{a0}' | '-') {
            begins = true;
        } else if char.is_alphabetic() {
            letters += 1;
            if std::mem::take(&mut begins) {
                shown += 1;
                out.extend((!out.is_empty()).then_some(' '));
                out.extend([char, '.']);
            }
        }
    }
    (shown > 0 && shown <= allowed(letters)).then_some(out)
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
