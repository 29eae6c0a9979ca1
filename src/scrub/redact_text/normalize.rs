//! Normalises text for searching: texts that differ only in their encoding become equal.
//!
//! The module does not know what is searched for. It undoes percent-encoding, escapes of JSON and references of
//! HTML ([`escapes`]), replaces full-width forms, digits of other scripts, spaces and dashes by their ASCII
//! counterparts, and removes invisible characters. Each byte of the result records its origin, so that a match in
//! the normalised text gives a range of the original text.

use std::borrow::Cow;
use std::ops::Range;

use super::escapes;

/// Bound on the levels of nested encodings that are undone.
const MAX_ENCODINGS: usize = 6;

/// A normalised text.
#[derive(Debug)]
pub(super) struct NormalizedText<'a> {
    bytes: Cow<'a, [u8]>,
    /// The range of the original text that each byte came from. `None` if the text did not change.
    origins: Option<Vec<Range<u32>>>,
    /// True if an escape was undone.
    decoded: bool,
    /// True if there are more encodings than [`MAX_ENCODINGS`], so that the content is unknown.
    opaque: bool,
}

impl<'a> NormalizedText<'a> {
    /// Normalises a text and undoes its escapes.
    pub(super) fn new(text: &'a [u8]) -> NormalizedText<'a> {
        let mut normalized = NormalizedText::undecoded(text);
        for _ in 0..MAX_ENCODINGS {
            if !normalized.decode() {
                return normalized;
            }
            normalized.normalize_chars();
        }
        normalized.opaque = normalized.decode();
        normalized
    }

    fn undecoded(text: &'a [u8]) -> NormalizedText<'a> {
        let mut normalized =
            NormalizedText { bytes: Cow::Borrowed(text), origins: None, decoded: false, opaque: false };
        normalized.normalize_chars();
        normalized
    }

    /// Normalises a text, undoes its escapes, and folds case and white space. A plus sign counts as a space, as in a
    /// query string.
    pub(super) fn folded(text: &'a [u8]) -> NormalizedText<'a> {
        let mut normalized = NormalizedText::new(text);
        normalized.fold();
        normalized
    }

    /// Like [`NormalizedText::folded`], but leaves escapes as they are.
    pub(super) fn folded_undecoded(text: &'a [u8]) -> NormalizedText<'a> {
        let mut normalized = NormalizedText::undecoded(text);
        normalized.fold();
        normalized
    }

    /// True if an escape was undone.
    pub(super) fn is_decoded(&self) -> bool {
        self.decoded
    }

    /// True if the text is encoded more often than the bound.
    pub(super) fn is_opaque(&self) -> bool {
        self.opaque
    }

    fn normalize_chars(&mut self) {
        if self.bytes.iter().any(|byte| !byte.is_ascii() || byte.is_ascii_control()) {
            self.rewrite(|char, into| {
                if let Some(plain) = plain(char) {
                    into(plain);
                }
            });
        }
    }

    fn fold(&mut self) {
        let mut spaced = false;
        self.rewrite(|char, into| {
            let space = char.is_whitespace() || char == '+';
            if !space {
                char.to_uppercase().flat_map(char::to_lowercase).for_each(|lower| match lower {
                    // The lower case of `İ` has this combining dot.
                    '\u{307}' => {}
                    'ς' => into('σ'),
                    // The lower case of `ẞ`. The upper case of `ß` is `SS` already.
                    'ß' => ['s', 's'].into_iter().for_each(&mut *into),
                    lower => into(lower),
                });
            } else if !spaced {
                into(' ');
            }
            spaced = space;
        });
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the text without tags of HTML, or `None` if it has none.
    pub(super) fn without_tags(&self) -> Option<NormalizedText<'static>> {
        memchr::memchr(b'<', &self.bytes)?;
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut origins = Vec::with_capacity(self.bytes.len());
        let mut at = 0;
        while let Some(&byte) = self.bytes.get(at) {
            match tag(self.bytes.get(at..).unwrap_or_default()) {
                Some(length) => at += length,
                None => {
                    bytes.push(byte);
                    origins.push(self.origin_of_byte(at));
                    at += 1;
                }
            }
        }
        let tagged = bytes.len() < self.bytes.len();
        tagged.then_some(NormalizedText {
            bytes: Cow::Owned(bytes),
            origins: Some(origins),
            decoded: true,
            opaque: false,
        })
    }

    /// Returns the range of the original text that a range of this text came from.
    pub(super) fn origin(&self, of: &Range<usize>) -> Range<usize> {
        let Some(origins) = &self.origins else { return of.clone() };
        let first = origins.get(of.start).map_or(0, |origin| origin.start as usize);
        let last = of.end.checked_sub(1).and_then(|last| origins.get(last));
        first..last.map_or(first, |origin| origin.end as usize)
    }

    fn origin_of_byte(&self, at: usize) -> Range<u32> {
        match &self.origins {
            Some(origins) => origins.get(at).cloned().unwrap_or_default(),
            None => at as u32..at as u32 + 1,
        }
    }

    /// Undoes one level of escapes. Returns true if there was any.
    fn decode(&mut self) -> bool {
        if memchr::memchr3(b'%', b'\\', b'&', &self.bytes).is_none() {
            return false;
        }
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut origins = Vec::with_capacity(self.bytes.len());
        let mut at = 0;
        let mut decoded = false;
        while let Some(&byte) = self.bytes.get(at) {
            let length = match escapes::read(self.bytes.get(at..).unwrap_or_default()) {
                Some((denoted, length)) => {
                    decoded = true;
                    denoted.append(&mut bytes);
                    length
                }
                None => {
                    bytes.push(byte);
                    1
                }
            };
            let origin = self.origin_of_byte(at).start..self.origin_of_byte(at + length - 1).end;
            origins.resize(bytes.len(), origin);
            at += length;
        }
        if decoded {
            (self.bytes, self.origins) = (Cow::Owned(bytes), Some(origins));
        }
        self.decoded |= decoded;
        decoded
    }

    /// Replaces every character. Bytes that are not UTF-8 stay.
    fn rewrite(&mut self, mut change: impl FnMut(char, &mut dyn FnMut(char))) {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut origins = Vec::with_capacity(self.bytes.len());
        let mut at = 0;
        for chunk in self.bytes.utf8_chunks() {
            for char in chunk.valid().chars() {
                let end = at + char.len_utf8();
                let origin = self.origin_of_byte(at).start..self.origin_of_byte(end - 1).end;
                change(char, &mut |char| {
                    bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                    origins.resize(bytes.len(), origin.clone());
                });
                at = end;
            }
            for byte in chunk.invalid() {
                bytes.push(*byte);
                origins.push(self.origin_of_byte(at));
                at += 1;
            }
        }
        (self.bytes, self.origins) = (Cow::Owned(bytes), Some(origins));
    }
}

/// Returns the length of the tag at the beginning of a text. An address in angle brackets is not a tag.
fn tag(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(b"<")?;
    let name = rest.strip_prefix(b"/").unwrap_or(rest);
    let length = name.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let begins = name.first().is_some_and(u8::is_ascii_alphabetic);
    let ends = name.get(length).is_some_and(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>'));
    let end = memchr::memchr2(b'<', b'>', rest).filter(|&end| rest.get(end) == Some(&b'>'));
    if begins && ends { end.map(|end| end + 2) } else { None }
}

/// Returns the plain counterpart of a character, or `None` if it is invisible.
fn plain(char: char) -> Option<char> {
    let offset =
        |first: u32, to: char| char::from_u32(u32::from(char) - first + u32::from(to)).unwrap_or(char);
    Some(match char {
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{61c}'
        | '\u{34f}'
        | '\u{180b}'..='\u{180e}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{e0000}'..='\u{e0fff}'
        | '\u{feff}' => {
            return None;
        }
        '\u{ff01}'..='\u{ff5e}' => offset(0xff01, '!'),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' => '-',
        '\u{fe6b}' => '@',
        '\u{2024}' | '\u{3002}' | '\u{ff61}' => '.',
        _ if char.is_whitespace() => ' ',
        // For example the zero bytes of UTF-16 that was read as UTF-8.
        _ if char.is_control() => return None,
        _ if char.is_ascii() => char,
        _ => digit(char).unwrap_or(char),
    })
}

/// Returns the ASCII digit that a decimal digit of another script stands for.
fn digit(char: char) -> Option<char> {
    // The zeros of the decimal digits (Nd) of Unicode 16. The nine other digits follow each.
    const ZEROS: &[u32] = &[
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50,
        0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40,
        0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x10d40,
        0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x116d0, 0x116da,
        0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50, 0x11d50, 0x11da0, 0x11f50, 0x16130, 0x16a60, 0x16ac0,
        0x16b50, 0x16d70, 0x1ccf0, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0,
        0x1e5f1, 0x1e950, 0x1fbf0,
    ];
    let code = u32::from(char);
    let above = ZEROS.partition_point(|zero| *zero <= code);
    let value = code - ZEROS.get(above.checked_sub(1)?)?;
    char::from_digit(value, 10)
}

#[cfg(test)]
#[allow(clippy::string_slice, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn encodings_and_look_alikes_are_normalised() {
        for (text, reads) in [
            ("jane%40x.org", "jane@x.org"),
            ("jane%2540x.org", "jane@x.org"),
            ("50% off, 100%zz %4", "50% off, 100%zz %4"),
            ("\u{ff4a}ane\u{ff20}x\u{ff0e}org", "jane@x.org"),
            ("ja\u{200b}ne\u{ad}@x", "jane@x"),
            ("\u{661}\u{6f2}\u{969}\u{a0}\u{2011}", "123 -"),
            ("%EF%BC%A0", "@"),
            ("j\u{ff05}40x", "j@x"),
            ("j%2525252540x", "j@x"),
            (r#"j\u0040x\n\"y\/"#, "j@x \"y/"),
            (r"j\\u0040x \ud83d\ude00", "j@x \u{1f600}"),
            ("j&#64;x&#x2E;y&commat;z&amp;#64;", "j@x.y@z@"),
            ("j&NoBreak;ane&ZeroWidthSpace;@x", "jane@x"),
            ("030&NonBreakingSpace;12&hairsp;3", "030 12 3"),
            ("&nope; & &#; &#x110000; \\q \\u00g0 \\ud800", "&nope; & &#; &#x110000; \\q \\u00g0 \\ud800"),
            ("a\u{2066}b\u{fe0f}c\u{34f}", "abc"),
            ("j\0a\0@\0x\0", "ja@x"),
            (r"j\u0000a\u0000@x", "ja@x"),
            (r"j\x40x \u{40} \100 \40 y \000040z \056", "j@x @ @ @y @z ."),
            (r"C:\2024\users \9 \4", r"C:\2024\users \9 \4"),
            ("1\t2\n3\u{2028}4", "1 2 3 4"),
            ("\u{1d7d9}\u{9e8}\u{1fbf3}\u{e59}\u{a6a}", "12394"),
        ] {
            assert_eq!(
                String::from_utf8_lossy(NormalizedText::new(text.as_bytes()).bytes()),
                reads,
                "{text}"
            );
        }
        let folded = |text: &str| {
            String::from_utf8_lossy(NormalizedText::folded(text.as_bytes()).bytes()).into_owned()
        };
        assert_eq!(folded("Jane \n\t DOE"), "jane doe");
        assert_eq!(folded("Jane+Doe%20%C3%84"), "jane doe ä");
        for (one, other) in [
            ("ΣΟΦΟΣ", "σοφος"),
            ("Weiß", "WEISS"),
            ("Weiß", "WEIẞ"),
            ("İnci", "INCI"),
            ("Meſſer", "messer"),
            ("J&Uuml;rgen", "jürgen"),
        ] {
            assert_eq!(folded(one), folded(other));
        }
    }

    #[test]
    fn tags_are_removed() {
        let untagged = |text: &str| {
            let normalized = NormalizedText::new(text.as_bytes());
            normalized.without_tags().map(|untagged| String::from_utf8_lossy(untagged.bytes()).into_owned())
        };
        assert_eq!(untagged("<b>ja</b>ne<br/>@<a href=\"x\">x").as_deref(), Some("jane@x"));
        for text in ["<jane@x.org>", "1 < 2 > 0", "<b", "<1>", "plain", "<<<<"] {
            assert_eq!(untagged(text), None, "{text}");
        }
        let text = "to <b>jane</b>@x.org";
        let normalized = NormalizedText::new(text.as_bytes());
        let untagged = normalized.without_tags().unwrap();
        assert_eq!(&text[untagged.origin(&(3..13))], "jane</b>@x.org");
    }

    #[test]
    fn text_with_too_many_encodings_is_opaque() {
        let encoded = |times: usize| format!("%{}40", "25".repeat(times));
        assert!(!NormalizedText::new(encoded(5).as_bytes()).is_opaque());
        assert!(NormalizedText::new(encoded(6).as_bytes()).is_opaque());
        assert!(!NormalizedText::new(b"100%, 50%zz").is_decoded());
    }

    #[test]
    fn ranges_refer_to_the_original_text() {
        let text = "<jane%40x.org> \u{ff11}\u{200b}\u{ff12}";
        let normalized = NormalizedText::new(text.as_bytes());
        assert_eq!(normalized.bytes(), b"<jane@x.org> 12");
        assert_eq!(&text[normalized.origin(&(1..11))], "jane%40x.org");
        assert_eq!(&text[normalized.origin(&(13..14))], "\u{ff11}");
        assert_eq!(&text[normalized.origin(&(13..15))], "\u{ff11}\u{200b}\u{ff12}");
        // A lone surrogate, as an escape in JSON can spell it.
        let broken = b"a\xed\xa0\x80%41";
        let normalized = NormalizedText::folded(broken);
        assert_eq!(normalized.bytes(), b"a\xed\xa0\x80a");
        assert_eq!(normalized.origin(&(4..5)), 4..7);
    }
}
