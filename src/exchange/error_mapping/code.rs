//! Short codes, as APIs name the reason of an error: `required`, `TOO_LONG`, `number.min`.
//!
//! A name or an identifier of a person can look like a code, so a form alone is not enough. Invariant: a code that no route lists
//! has no digit, and no word but those of [`words`](super::words).

use super::words;

/// Maximum letters of a code.
const MAX_CODE: usize = 40;
/// True if a text has the form of a code, as a route may list it.
pub fn has_code_form(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let ends = [text.bytes().next(), text.bytes().next_back()];
    text.len() <= MAX_CODE
        && text.bytes().all(is_letter)
        && ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

/// True if a text is a code of known words. A number can be an id, an age or a postal code, so a text with digits is none.
pub(super) fn is_code(text: &str) -> bool {
    if !has_code_form(text) || text.bytes().any(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let words: Vec<String> = split(text).map(str::to_ascii_lowercase).collect();
    words.iter().all(|word| words::is_known(word)) && words.iter().any(|word| words::tells_error(word))
}

/// Splits a text into words and numbers: at everything that is no letter and no digit, between letters and digits, before a capital that
/// follows a small letter, and before the last of several capitals that a small letter follows (`HTTPError`).
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .flat_map(|part| {
            let letters: Vec<(usize, char)> = part.char_indices().collect();
            let mut starts = vec![0];
            for (at, window) in letters.windows(2).enumerate() {
                let [(_, before), (here, letter)] = *window else { continue };
                let next = letters.get(at + 2).map(|(_, next)| *next);
                let begins = letter.is_uppercase()
                    && (before.is_lowercase()
                        || (before.is_uppercase() && next.is_some_and(char::is_lowercase)));
                if before.is_numeric() != letter.is_numeric() || begins {
                    starts.push(here);
                }
            }
            let ends = starts.iter().copied().skip(1).chain([part.len()]);
            let words: Vec<&str> =
                starts.iter().copied().zip(ends).filter_map(|(start, end)| part.get(start..end)).collect();
            words
        })
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_usual_validators_are_codes() {
        for code in [
            "required",
            "REQUIRED",
            "taken",
            "too_long",
            "TooLong",
            "not-unique",
            "number.min",
            "string.email",
            "value_error.missing",
            "NotNullValidator",
            "ALREADY_EXISTS",
            "max_length",
            "emailInvalid",
            "XMLError",
            "not_null",
        ] {
            assert!(is_code(code), "{code}");
        }
    }

    #[test]
    fn names_identifiers_and_texts_are_no_codes() {
        for text in [
            "",
            "Doe",
            "JaneDoe",
            "jane_doe",
            "jane.doe",
            "MUELLER",
            "jane@example.org",
            "Max",
            "max.long",
            "is required",
            "required!",
            "-required",
            "required.",
            "required\n",
            "ｒequired",
            "réquired",
            "%72equired",
            "19800101",
            "1980-01-01",
            "491512345",
            "0151 2345",
            "123456",
            "E-123456",
            "A1B2C3",
            "Doe1980",
            "DOE-1980-1",
            "ABCDE1",
            "sk1042",
            "deceased",
            "CUSTOMER_DECEASED",
            "SmFuZQ",
            "4a616e65",
            "a_long_code_a_long_code_a_long_code_of_words",
            "E1042",
            "C-1042",
            "K1042",
            "ORA-01400",
            "24103",
            "422",
            "error_42",
            "account_10042",
            "DECEASED",
            "is_minor",
            "minor_not_allowed",
            "An",
            "to",
            "True",
            "Begin Field",
            "an.field",
            "Max_Right",
            "Place.Able",
            "Dot-Key",
            "to_host",
            "Uri",
            "Blank",
            "parent",
            "ACCOUNT_DELETED",
            "account_expired",
            "MEMBER_DELETED",
            "RESULT_POSITIVE",
            "status_single",
            "First",
            "General",
            "Negative",
        ] {
            assert!(!is_code(text), "{text}");
        }
    }

    #[test]
    fn a_listed_text_has_the_form_of_a_code() {
        for text in ["iban_checksum", "E-1042", "23505", "a.b-c"] {
            assert!(has_code_form(text), "{text}");
        }
        for text in ["", "Jane Doe", "jane@example.org", "-5", "größe", "a/b", &"x".repeat(41)] {
            assert!(!has_code_form(text), "{text}");
        }
    }

    #[test]
    fn a_text_is_split_where_a_reader_sees_a_word() {
        let split = |text| split(text).collect::<Vec<_>>();
        assert_eq!(split("birthDate"), ["birth", "Date"]);
        assert_eq!(split("HTTPError2xx_a-b"), ["HTTP", "Error", "2", "xx", "a", "b"]);
        assert_eq!(split("__"), [""; 0]);
        assert_eq!(split("Straße"), ["Straße"]);
    }
}
