//! Short codes, as APIs name the reason of an error: `required`, `TOO_LONG`, `number.min`, `E-1042`, `23505`.
//!
//! A name or an identifier of a person can look like a code, so a form alone is not enough: each word of a code is known, and a
//! code has few digits. Invariant: a code holds no word but those of [`words`](super::words) and those that the caller knows.

use super::words;

/// Maximum letters of a code.
const MAX_CODE: usize = 40;
/// Maximum digits of a code: fewer than a date of birth, a telephone number or an account has.
const MAX_DIGITS: usize = 5;
/// Maximum letters of an unknown word before the digits of a code, such as `E` or `ORA`.
const MAX_PREFIX: usize = 4;

/// True if a text is a code. `is_word` is true for further known words, in lower case.
pub(super) fn is_code(text: &str, is_word: impl Fn(&str) -> bool) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let ends = [text.bytes().next(), text.bytes().next_back()];
    if text.len() > MAX_CODE
        || !text.bytes().all(is_letter)
        || !ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
    {
        return false;
    }
    let (numbers, words): (Vec<&str>, Vec<&str>) =
        split(text).partition(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    if numbers.iter().map(|number| number.len()).sum::<usize>() > MAX_DIGITS {
        return false;
    }
    let is_known = |word: &str| words::is_known(word) || is_word(word);
    let words: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    match &*words {
        [] => numbers.len() == 1,
        [prefix] if numbers.len() == 1 && !is_known(prefix) => is_prefixed(text),
        words => {
            words.iter().all(|word| is_known(word)) && words.iter().any(|word| !words::is_also_name(word))
        }
    }
}

/// True for capitals, at most one separator and digits, in this order.
fn is_prefixed(text: &str) -> bool {
    let number = text.trim_start_matches(|letter: char| letter.is_ascii_uppercase());
    let prefix = text.len() - number.len();
    let number = number.strip_prefix(['-', '_', '.']).unwrap_or(number);
    (1..=MAX_PREFIX).contains(&prefix)
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
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
            "E1042",
            "ORA-01400",
            "ERR_17",
            "23505",
            "422",
            "error_42",
            "max_length",
            "emailInvalid",
            "HTTPError",
        ] {
            assert!(is_code(code, |word| word == "http"), "{code}");
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
            "a_very_long_code_a_very_long_code_of_words",
        ] {
            assert!(!is_code(text, |word| word == "very" || word == "customer"), "{text}");
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
