//! The request path: matched and forwarded as the same bytes, or refused.
//!
//! Normalising proxies and origins disagree on what a path means, and the difference is a way
//! around a rule (Envoy GHSA-xcx5-93pw-jw2w, CVE-2021-29492). So a path has one accepted spelling.

use super::Refusal;

/// Longest request target, in bytes.
pub const MAX_TARGET: usize = 8 * 1024;

/// Checks that a path has exactly one reading.
///
/// # Errors
/// [`Refusal::RequestMalformed`] for dot segments, empty segments, parameters (`;`), backslashes,
/// bytes outside ASCII, bad percent-encoding, and percent-encoding of what needs none or hides a
/// separator, a dot or a control character.
pub fn screen(path: &str) -> Result<(), Refusal> {
    let malformed = Err(Refusal::RequestMalformed);
    let Some(segments) = path.strip_prefix('/') else { return malformed };
    if !segments.is_empty() {
        let mut rest = segments.split('/').peekable();
        while let Some(segment) = rest.next() {
            let last = rest.peek().is_none();
            if segment == "." || segment == ".." || (segment.is_empty() && !last) {
                return malformed;
            }
        }
    }
    let mut bytes = segments.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = bytes.next().and_then(hex).zip(bytes.next().and_then(hex));
                if !digits.is_some_and(|(high, low)| may_be_encoded(high << 4 | low)) {
                    return malformed;
                }
            }
            b'/' => {}
            _ if is_segment_byte(byte) => {}
            _ => return malformed,
        }
    }
    Ok(())
}

/// What a segment means: its percent-encoding undone. `None` where that is not UTF-8.
pub fn meaning(segment: &str) -> Option<String> {
    percent_encoding::percent_decode_str(segment).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// RFC 3986 pchar without `;` (path parameters, read by some origins and not by others).
fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte)
}

/// Unreserved characters have no business being encoded (RFC 3986, 6.2.2.2); separators, `;`,
/// dots and controls are how rules are walked around.
fn may_be_encoded(byte: u8) -> bool {
    !(byte.is_ascii_alphanumeric() || byte.is_ascii_control() || b"-._~/\\;%".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_is_accepted() {
        for path in
            ["/", "/customers", "/customers/", "/customers/c-1", "/a/b%20c", "/a/%C3%A9", "/u/a@b:c,d"]
        {
            assert_eq!(screen(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let paths = [
            "",
            "*",
            "customers",
            "//customers",
            "/customers//1",
            "/./a",
            "/a/..",
            "/a/../b",
            "/%2e/a",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a;x=1/b",
            "/..;/a",
            "/a%zz",
            "/a%2",
            "/a%",
            "/caf\u{e9}",
            "/%41",
            "/a%3Bb",
            "/a%25b",
            "/a b",
            "/a\"b",
            "/a%0d%0a",
        ];
        for path in paths {
            assert_eq!(screen(path), Err(Refusal::RequestMalformed), "{path}");
        }
    }
}
