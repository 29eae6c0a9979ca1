//! I-Regexp (RFC 9485), the regular expressions of RFC 9535, on top of the `regex` crate.
//!
//! The module refuses syntax that the RFC does not have: look-around and references (`regex` lacks these too), word
//! boundaries, classes such as `\d`, lazy repetition and flags. By RFC 9535 such a pattern matches nothing. Matching
//! takes time linear in the length of the text.

use regex::{Regex, RegexBuilder};

/// Bound on the bytes of a compiled pattern. Repetitions of repetitions multiply its size.
const MAX_COMPILED_BYTES: usize = 10 << 20;

/// Bound on the bytes of a compiled pattern that comes from the document. Each record may have a different pattern.
const MAX_COMPUTED_BYTES: usize = 1 << 15;

/// Bound on the bytes of the matcher's cache, for each pattern and thread.
const MAX_CACHE_BYTES: usize = 1 << 18;

/// The error that a compiled pattern exceeds its bound.
pub(super) struct TooLarge;

/// Compiles a pattern for a whole string (`match`) or a part of it (`search`). Returns `None` if the pattern is no
/// I-Regexp.
///
/// # Errors
/// Returns an error if the compiled pattern exceeds [`MAX_COMPILED_BYTES`].
pub(super) fn compile(pattern: &str, whole: bool) -> Result<Option<Regex>, TooLarge> {
    build(pattern, whole, MAX_COMPILED_BYTES)
}

/// Like [`compile`], for a pattern from the document, with the bound [`MAX_COMPUTED_BYTES`].
pub(super) fn compile_computed(pattern: &str, whole: bool) -> Result<Option<Regex>, TooLarge> {
    build(pattern, whole, MAX_COMPUTED_BYTES)
}

fn build(pattern: &str, whole: bool, bound: usize) -> Result<Option<Regex>, TooLarge> {
    let Some(inner) = translate(pattern) else { return Ok(None) };
    let pattern = if whole { format!(r"\A(?:{inner})\z") } else { inner };
    match RegexBuilder::new(&pattern).size_limit(bound).dfa_size_limit(bound.min(MAX_CACHE_BYTES)).build() {
        Ok(regex) => Ok(Some(regex)),
        Err(regex::Error::CompiledTooBig(_)) => Err(TooLarge),
        Err(_) => Ok(None),
    }
}

/// Translates a pattern into the syntax of the `regex` crate.
fn translate(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    let mut repeatable = false;
    while let Some(char) = chars.next() {
        match char {
            // RFC 9485, 5.3: any character except line feed and carriage return.
            '.' => out.push_str(r"[^\n\r]"),
            '\\' => escape(&mut chars, &mut out)?,
            '[' => class(&mut chars, &mut out)?,
            '(' => {
                if chars.peek() == Some(&'?') {
                    return None;
                }
                out.push_str("(?:");
                repeatable = false;
                continue;
            }
            '|' => {
                out.push('|');
                repeatable = false;
                continue;
            }
            '*' | '+' | '?' | '{' => {
                if !repeatable {
                    return None;
                }
                out.push(char);
                if char == '{' {
                    quantity(&mut chars, &mut out)?;
                }
                // A second quantifier would make the first one lazy, which the RFC does not have.
                repeatable = false;
                continue;
            }
            ')' => out.push(')'),
            ']' | '}' => return None,
            // RFC 9485 treats these as ordinary characters. The compliance suite of RFC 9535 and most authors of
            // patterns treat them as the ends of the text.
            '^' | '$' => {
                out.push(char);
                repeatable = false;
                continue;
            }
            '#' | '&' | '~' | '-' => {
                out.push('\\');
                out.push(char);
            }
            plain => out.push(plain),
        }
        repeatable = true;
    }
    Some(out)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Translates a quantifier, after its opening brace.
fn quantity(chars: &mut Chars<'_>, out: &mut String) -> Option<()> {
    let mut empty = true;
    for char in chars.by_ref() {
        out.push(char);
        match char {
            '0'..='9' => empty = false,
            ',' if !empty => {}
            '}' if !empty => return Some(()),
            _ => return None,
        }
    }
    None
}

/// Translates a SingleCharEsc or a category escape, after its backslash.
fn escape(chars: &mut Chars<'_>, out: &mut String) -> Option<()> {
    let char = chars.next()?;
    match char {
        'n' | 'r' | 't' => {
            out.push('\\');
            out.push(char);
        }
        '(' | ')' | '*' | '+' | '-' | '.' | '?' | '[' | '\\' | ']' | '^' | '{' | '|' | '}' => {
            out.push('\\');
            out.push(char);
        }
        'p' | 'P' => {
            if chars.next() != Some('{') {
                return None;
            }
            out.push('\\');
            out.push(char);
            out.push('{');
            loop {
                match chars.next()? {
                    '}' => break,
                    letter if letter.is_ascii_alphabetic() => out.push(letter),
                    _ => return None,
                }
            }
            out.push('}');
        }
        _ => return None,
    }
    Some(())
}

/// Translates a character class, after its bracket.
fn class(chars: &mut Chars<'_>, out: &mut String) -> Option<()> {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        match chars.next()? {
            ']' if first => return None,
            ']' => break,
            '\\' => escape(chars, out)?,
            '-' => {
                // A hyphen at either end of the class is a literal; any other one makes a range.
                let literal = first || chars.peek() == Some(&']');
                out.push_str(if literal { r"\-" } else { "-" });
            }
            '[' => return None,
            char @ ('^' | '&' | '~' | '#') => {
                out.push('\\');
                out.push(char);
            }
            char => out.push(char),
        }
        first = false;
    }
    out.push(']');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &str) -> Option<Regex> {
        compile(pattern, true).ok().unwrap()
    }

    fn found(pattern: &str, whole: bool, text: &str) -> bool {
        compile(pattern, whole).ok().flatten().unwrap().is_match(text)
    }

    #[test]
    fn large_patterns_compile_and_too_large_ones_are_an_error() {
        assert!(found("[^@]{1,64}@[^@]{1,255}", true, "jane.doe@example.org"));
        assert!(found(r"\p{Lu}\p{Ll}{1,40} \p{Lu}\p{Ll}{1,40}", true, "Ada Example"));
        assert!(compile(r"(\p{L}{1,1000}){1,1000}", true).is_err());
        assert!(compile_computed(r"\p{L}{1,100}", true).is_err());
    }

    #[test]
    fn match_tests_the_whole_text_and_search_a_part() {
        assert!(found("b.*", true, "bcd"));
        assert!(!found("b", true, "abc"));
        assert!(found("b", false, "abc"));
        assert!(found("a|b", true, "b") && !found("a|b", true, "ab"));
    }

    #[test]
    fn dot_matches_no_line_break() {
        assert!(!found(".", true, "\n") && !found(".", true, "\r"));
        assert!(found(".", true, "\u{2028}") && found(".", true, "😀"));
        assert!(found("[.b]", true, ".") && !found("[.b]", true, "x"));
        assert!(found(r"\.", true, ".") && !found(r"\.", true, "x"));
    }

    #[test]
    fn syntax_beyond_the_rfc_is_refused() {
        for pattern in [
            r"\d", r"\w+", r"\b", "(?i)a", "a*?", "a**", "*a", "a{,2}", "a{", "[", "[]", "]", "(", r"\q",
            "(?:a)",
        ] {
            assert!(read(pattern).is_none(), "{pattern}");
        }
        for pattern in
            ["", "()", "a{2}", "a{2,}", "[a-c]", "[^a-c]", "[-a]", "[a-]", r"\p{Lu}", "^a$", "#", "a&&b"]
        {
            assert!(read(pattern).is_some(), "{pattern}");
        }
        assert!(found("^a$", true, "a") && found("^a", false, "ab") && !found("^b", false, "ab"));
    }
}
