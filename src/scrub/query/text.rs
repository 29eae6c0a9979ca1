//! Checks the text of a query before parsing, because the parser trims names, rounds numbers and takes exponential time
//! for nested brackets.
//!
//! The module does not know what a query means. It only distinguishes strings, names, numbers and brackets.

use super::{MappingFault, QueryResult};

/// The greatest number of significant digits that a double always preserves. The parser keeps numbers as doubles.
pub(super) const MAX_DIGITS: usize = 15;
/// Greatest integer up to which a double represents every integer (RFC 9535, 2.1; RFC 7493, 2.2).
const MAX_INTEGER: u64 = (1 << 53) - 1;
/// Lower bound of the numbers that a double represents with full precision. The exact bound is 2.2e-308.
const MIN_NORMAL: f64 = 1e-307;

/// A token of a query's text.
enum Token<'a> {
    String,
    Number(&'a str),
    /// `.name` or `..name`.
    Dotted(&'a str),
    Word,
    Other(char),
}

/// Returns the tokens with their offsets. The parser decides if they form a query.
fn tokens(text: &str) -> impl Iterator<Item = (usize, Token<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let run = |from: usize, belongs: fn(char) -> bool| {
            let rest = rest.get(from..).unwrap_or_default();
            from + rest.find(|char| !belongs(char)).unwrap_or(rest.len())
        };
        let first = rest.chars().next()?;
        let length = match first {
            '\'' | '"' => quoted(rest),
            '0'..='9' => {
                let digits = |from| run(from, |char| char.is_ascii_digit());
                let mut end = digits(0);
                if rest.get(end..).is_some_and(|rest| rest.starts_with('.')) {
                    end = digits(end + 1);
                }
                if rest.get(end..).is_some_and(|rest| rest.starts_with(['e', 'E'])) {
                    let signed = rest.get(end + 1..).is_some_and(|rest| rest.starts_with(['+', '-']));
                    end = digits(end + 1 + usize::from(signed));
                }
                end
            }
            '.' => run(if rest.starts_with("..") { 2 } else { 1 }, |char| {
                char.is_ascii_alphanumeric() || char == '_' || !char.is_ascii()
            }),
            'a'..='z' => run(1, |char| char.is_ascii_alphanumeric() || char == '_'),
            other => other.len_utf8(),
        };
        let (begins, own) = (at, rest.get(..length).unwrap_or(rest));
        at += length;
        let token = match first {
            '\'' | '"' => Token::String,
            '0'..='9' => Token::Number(own),
            '.' => Token::Dotted(own),
            'a'..='z' => Token::Word,
            other => Token::Other(other),
        };
        Some((begins, token))
    })
}

/// Returns the length of a string with its quotes.
fn quoted(rest: &str) -> usize {
    let quote = rest.as_bytes().first();
    let mut bytes = rest.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            // An escaped quote does not end the string.
            b'\\' => drop(bytes.next()),
            _ if Some(&byte) == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Returns the greatest number of brackets and parentheses that are open at once.
pub(super) fn max_open_brackets(text: &str) -> usize {
    let (mut open, mut max) = (0usize, 0);
    for (_, token) in tokens(text) {
        match token {
            Token::Other('[' | '(') => open += 1,
            Token::Other(']' | ')') => open = open.saturating_sub(1),
            Token::Other(_) | Token::String | Token::Number(_) | Token::Dotted(_) | Token::Word => {}
        }
        max = max.max(open);
    }
    max
}

/// Returns the query with brackets around each name that the parser would trim: in RFC 9535, white space beyond ASCII
/// is an ordinary character of a name.
///
/// # Errors
/// Returns an error if the query has a number that the parser would round, or letters beyond ASCII outside of names
/// and strings.
pub(super) fn prepare(text: &str) -> QueryResult<String> {
    let mut respelled = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, token) in tokens(text) {
        match token {
            Token::Dotted(dotted) if dotted.contains(char::is_whitespace) => {
                let name = dotted.trim_start_matches('.');
                let dots = if dotted.starts_with("..") { ".." } else { "" };
                let before = text.get(..at).unwrap_or_default();
                if name.starts_with(|first: char| first.is_ascii_digit()) || before.ends_with('.') {
                    return Err(MappingFault::NotInRfc(
                        "a name does not begin with a digit and follows at most two dots",
                    ));
                }
                respelled += text.get(copied..at).unwrap_or_default();
                respelled += &format!("{dots}['{name}']");
                copied = at + dotted.len();
            }
            Token::Number(number) if !is_exact(number) => {
                return Err(MappingFault::NotExact(number.to_owned()));
            }
            Token::Other(other) if !other.is_ascii() => {
                return Err(MappingFault::NotInRfc("a letter beyond ASCII outside of names and strings"));
            }
            Token::Other(_) | Token::String | Token::Number(_) | Token::Dotted(_) | Token::Word => {}
        }
    }
    Ok(respelled + text.get(copied..).unwrap_or_default())
}

/// True if no other number with as many digits has the same nearest double.
fn is_exact(number: &str) -> bool {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let significant = mantissa.trim_start_matches(['0', '.']);
    let digits = significant.bytes().filter(u8::is_ascii_digit).count();
    // Subnormal doubles have fewer digits.
    let normal = significant.is_empty() || number.parse().is_ok_and(|double: f64| double >= MIN_NORMAL);
    normal && digits <= MAX_DIGITS || number.parse().is_ok_and(|integer: u64| integer <= MAX_INTEGER)
}

#[cfg(test)]
mod tests {
    use super::super::{Selector, read};
    use super::*;

    #[test]
    fn white_space_beyond_ascii_belongs_to_names() {
        let names = |text: &str| -> Vec<String> {
            let segments = read(text).unwrap().1.segments;
            let selectors = segments.iter().flat_map(|segment| &segment.selectors);
            selectors
                .filter_map(|one| if let Selector::Name(name) = one { Some(name.to_string()) } else { None })
                .collect()
        };
        for name in ["a\u{a0}", "\u{3000}a", "a\u{2028}b\u{85}", "ä"] {
            assert_eq!(names(&format!("$.{name}.b")), [name, "b"]);
            assert_eq!(names(&format!("@..{name}")), [name]);
            assert_eq!(names(&format!("$['{name}']")), [name]);
            let told = format!("{:?}", read(&format!("$[?@.{name}==1 && @['.{name}']]")).unwrap());
            assert!(told.contains(&format!("Name({name:?})")), "{told}");
            assert!(told.contains(&format!("Name({:?})", format!(".{name}"))), "{told}");
        }
        for text in [
            "$.1a\u{a0}",
            "$...a\u{a0}",
            "$\u{a0}",
            "$\u{a0}.a",
            "$.a[\u{a0}0]",
            "$.a ",
            "$..a\n",
            "@ ",
            "$.a.b\t",
        ] {
            assert!(matches!(read(text), Err(MappingFault::NotInRfc(_))), "{text:?}");
        }
        assert!(read("$ .a [0] ['b']").is_ok());
    }

    #[test]
    fn numbers_that_would_be_rounded_are_refused() {
        for number in [
            "0.1",
            "9007199254740991",
            "-1",
            "1e-7",
            "123456789012345e3",
            "0.000000123456789012345",
            "1e-307",
            "-0.0e-999",
        ] {
            assert!(read(&format!("$[?@.a == {number}]")).is_ok(), "{number}");
        }
        for number in [
            "0.10000000000000001",
            "9007199254740993",
            "-1234567890123456.5",
            "1234567890123456e1",
            "1e-400",
            "4e-324",
            "1.5e-310",
        ] {
            let text = format!("$[?@.a == {number}]");
            assert!(matches!(read(&text), Err(MappingFault::NotExact(_))), "{number}");
        }
        assert!(read("$.a12345678901234567890['12345678901234567890']").is_ok());
    }
}
