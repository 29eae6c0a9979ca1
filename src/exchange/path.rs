//! The request path: matched and forwarded as the same bytes, or refused.
//!
//! Proxies that normalise paths disagree with origins on the meaning of a path, and an attacker can bypass a rule
//! through the difference (Envoy GHSA-xcx5-93pw-jw2w, CVE-2021-29492). So a path has one accepted spelling: a character
//! that may be raw is raw, and any other is percent-encoded with upper-case digits (RFC 3986, 6.2.2).

use std::fmt::{self, Display, Formatter};

/// Maximum length of a request target, in bytes.
pub const MAX_TARGET: usize = 8 * 1024;

/// Reason for which a path is not accepted. It names one character at most, never its surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It does not begin with a slash.
    Relative,
    /// It has an empty segment, `.` or `..`.
    Segment,
    /// A `%` is not followed by two hexadecimal digits.
    Digits,
    /// This byte must be percent-encoded.
    Raw(u8),
    /// This byte must not be percent-encoded.
    Encoded(u8),
    /// This byte is percent-encoded with lower-case digits.
    LowerCase(u8),
    /// This byte may not occur, raw or encoded.
    Forbidden(u8),
}

impl Display for PathError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            PathError::Relative => write!(f, "a path begins with `/`"),
            PathError::Segment => write!(f, "a path has no empty segment and none that is `.` or `..`"),
            PathError::Digits => write!(f, "two hexadecimal digits follow each `%` of a path"),
            PathError::Raw(byte) => {
                write!(f, "{} cannot stand in a path as it is: write `%{byte:02X}`", DisplayByte(*byte))
            }
            PathError::Encoded(byte) => {
                write!(f, "`%{byte:02X}` is a second spelling in a path: write `{}`", char::from(*byte))
            }
            PathError::LowerCase(byte) => {
                write!(f, "`%{byte:02x}` is a second spelling in a path: write `%{byte:02X}`")
            }
            PathError::Forbidden(byte) => {
                write!(f, "{} cannot stand in a path, neither raw nor percent-encoded", DisplayByte(*byte))
            }
        }
    }
}

/// Displays a byte to the recipient.
struct DisplayByte(u8);

impl Display for DisplayByte {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.is_ascii_graphic() {
            write!(f, "`{}`", char::from(self.0))
        } else {
            write!(f, "the byte `{:02X}`", self.0)
        }
    }
}

/// Checks that a path is spelled in the one accepted way.
///
/// # Errors
/// [`PathError`] for dot segments, empty segments, parameters (`;`), backslashes, bytes outside ASCII,
/// bad percent-encoding, and percent-encoding of a byte that may stand raw or that is a separator or a control character.
pub fn screen(path: &str) -> Result<(), PathError> {
    let segments = path.strip_prefix('/').ok_or(PathError::Relative)?;
    if !segments.is_empty() {
        let mut rest = segments.split('/').peekable();
        while let Some(segment) = rest.next() {
            let last = rest.peek().is_none();
            if segment == "." || segment == ".." || (segment.is_empty() && !last) {
                return Err(PathError::Segment);
            }
        }
    }
    let mut bytes = segments.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (high, low) = bytes.next().zip(bytes.next()).ok_or(PathError::Digits)?;
                screen_encoded(high, low)?;
            }
            b'/' => {}
            _ if is_forbidden(byte) => return Err(PathError::Forbidden(byte)),
            _ if is_segment_byte(byte) => {}
            _ => return Err(PathError::Raw(byte)),
        }
    }
    Ok(())
}

/// Checks that [`screen`] accepts the paths of a route's pattern.
///
/// # Errors
/// The [`PathError`] of the text outside its `{parameters}`.
pub fn screen_pattern(pattern: &str) -> Result<(), PathError> {
    let mut path = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        // A parameter stands for a text without a separator.
        path.extend([before, "x"]);
        rest = after.split_once('}').map_or(after, |(_, after)| after);
    }
    path.push_str(rest);
    screen(&path)
}

/// Decodes the percent-encoding of a segment; `None` if the result is not UTF-8.
pub fn meaning(segment: &str) -> Option<String> {
    percent_encoding::percent_decode_str(segment).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Decodes a name or a value of a query or a form (`application/x-www-form-urlencoded`); `None` if the result is not UTF-8.
pub fn form_meaning(text: &str) -> Option<String> {
    meaning(&text.replace('+', " "))
}

fn screen_encoded(high: u8, low: u8) -> Result<(), PathError> {
    let digits = hex(high).zip(hex(low)).ok_or(PathError::Digits)?;
    let byte = digits.0 << 4 | digits.1;
    if is_forbidden(byte) {
        return Err(PathError::Forbidden(byte));
    }
    if is_segment_byte(byte) {
        return Err(PathError::Encoded(byte));
    }
    if high.is_ascii_lowercase() || low.is_ascii_lowercase() {
        return Err(PathError::LowerCase(byte));
    }
    Ok(())
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// True for a `pchar` of RFC 3986, without `;`.
fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte)
}

/// True for bytes with which rules are bypassed: separators, path parameters (`;`, which some origins read and others do
/// not), `%` (decoded twice) and control characters.
fn is_forbidden(byte: u8) -> bool {
    byte.is_ascii_control() || b"/\\;%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_is_accepted() {
        for path in [
            "/",
            "/customers",
            "/customers/",
            "/customers/c-1",
            "/a/b%20c",
            "/a/%C3%A9",
            "/u/a@b:c,d",
            "/v1/customers:search",
            "/a(1)!$&'*+,=~",
            "/a%22%3C%3E%5B%5D%5E%60%7B%7C%7D%23%3F",
        ] {
            assert_eq!(screen(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn every_other_spelling_is_refused_with_its_fault() {
        use PathError::*;
        for (path, fault) in [
            ("", Relative),
            ("*", Relative),
            ("customers", Relative),
            ("//customers", Segment),
            ("/customers//1", Segment),
            ("/./a", Segment),
            ("/a/..", Segment),
            ("/a/../b", Segment),
            ("/%2e/a", Encoded(b'.')),
            ("/a%2fb", Forbidden(b'/')),
            ("/a%5cb", Forbidden(b'\\')),
            ("/a\\b", Forbidden(b'\\')),
            ("/a%00", Forbidden(0)),
            ("/a%7F", Forbidden(0x7f)),
            ("/a;x=1/b", Forbidden(b';')),
            ("/..;/a", Forbidden(b';')),
            ("/a%3Bb", Forbidden(b';')),
            ("/a%25b", Forbidden(b'%')),
            ("/a%zz", Digits),
            ("/a%2", Digits),
            ("/a%", Digits),
            ("/caf\u{e9}", Raw(0xc3)),
            ("/a b", Raw(b' ')),
            ("/a\"b", Raw(b'"')),
            ("/a[b]", Raw(b'[')),
            ("/a%0d%0a", Forbidden(b'\r')),
            ("/%41", Encoded(b'A')),
            ("/v1/customers%3Asearch", Encoded(b':')),
            ("/v1/customers%3asearch", Encoded(b':')),
            ("/u/a%40b", Encoded(b'@')),
            ("/a%2Cb", Encoded(b',')),
            ("/a%2B", Encoded(b'+')),
            ("/a%28%29", Encoded(b'(')),
            ("/a%7E", Encoded(b'~')),
            ("/caf%c3%a9", LowerCase(0xc3)),
            ("/caf%C3%a9", LowerCase(0xa9)),
            ("/a%5b", LowerCase(b'[')),
        ] {
            assert_eq!(screen(path), Err(fault), "{path}");
        }
    }

    #[test]
    fn every_text_has_one_accepted_spelling() {
        // Every byte, spelled in each of the four ways that decode to it.
        for byte in 0..=u8::MAX {
            let (upper, lower) = (format!("/a%{byte:02X}b"), format!("/a%{byte:02x}b"));
            let mut spellings = vec![upper, lower];
            if byte.is_ascii() && byte != b'/' {
                spellings.push(format!("/a{}b", char::from(byte)));
            }
            spellings.sort_unstable();
            spellings.dedup();
            let accepted = spellings.iter().filter(|path| screen(path).is_ok()).count();
            assert_eq!(accepted, usize::from(!is_forbidden(byte)), "{byte:02X}");
        }
    }

    #[test]
    fn a_fault_tells_the_accepted_spelling() {
        assert_eq!(PathError::Encoded(b':').to_string(), "`%3A` is a second spelling in a path: write `:`");
        assert_eq!(
            PathError::LowerCase(0xc3).to_string(),
            "`%c3` is a second spelling in a path: write `%C3`"
        );
        assert_eq!(PathError::Raw(b'[').to_string(), "`[` cannot stand in a path as it is: write `%5B`");
    }

    #[test]
    fn patterns_need_the_same_spelling() {
        for pattern in ["/", "/customers/{id}", "/v1/{collection}:search", "/a/{*rest}", "/caf%C3%A9/{x}"] {
            assert_eq!(screen_pattern(pattern), Ok(()), "{pattern}");
        }
        for (pattern, fault) in [
            ("/v1/customers%3Asearch", PathError::Encoded(b':')),
            ("/caf%c3%a9/{x}", PathError::LowerCase(0xc3)),
            ("/café", PathError::Raw(0xc3)),
            ("/a//{b}", PathError::Segment),
            ("/a/../{b}", PathError::Segment),
            ("/a/{b};v=1", PathError::Forbidden(b';')),
            ("/a{{b}}", PathError::Raw(b'}')),
            ("/a?b={c}", PathError::Raw(b'?')),
            ("a", PathError::Relative),
        ] {
            assert_eq!(screen_pattern(pattern), Err(fault), "{pattern}");
        }
    }
}
