//! Splits names of members into words.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Words of a name that are read. No reasonable name has more.
const MAX_WORDS: usize = 24;

/// Returns the letters that stand for an umlaut.
pub(super) fn with_e(c: char) -> String {
    match c {
        'ä' => "ae".to_owned(),
        'ö' => "oe".to_owned(),
        'ü' => "ue".to_owned(),
        'Ä' => "Ae".to_owned(),
        'Ö' => "Oe".to_owned(),
        'Ü' => "Ue".to_owned(),
        other => other.to_string(),
    }
}

/// Splits a name into words in lower case without accents.
pub(super) fn plain_words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let folded: Vec<char> = name.nfd().filter(|c| !is_combining_mark(*c)).collect();
    let mut previous = ' ';
    for (at, &c) in folded.iter().enumerate() {
        let lower_follows = folded.get(at + 1).is_some_and(|next| next.is_lowercase());
        let begins = (c.is_uppercase()
            && (previous.is_lowercase() || (previous.is_uppercase() && lower_follows)))
            || (c.is_numeric() != previous.is_numeric() && previous.is_alphanumeric());
        if (begins || !c.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        match c {
            'ß' => word.push_str("ss"),
            'æ' | 'Æ' => word.push_str("ae"),
            'œ' | 'Œ' => word.push_str("oe"),
            'ł' | 'Ł' => word.push('l'),
            'ø' | 'Ø' => word.push('o'),
            'ı' => word.push('i'),
            c if c.is_alphanumeric() => word.extend(c.to_lowercase()),
            _ => {}
        }
        previous = c;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words.truncate(MAX_WORDS);
    words
}
