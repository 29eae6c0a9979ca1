//! A text as somebody reads it: what differs only in how it is encoded is the same.
//!
//! Refuses to know what is looked for. Percent-encoding is undone, wide and other digits, spaces and
//! dashes are the plain ones, what cannot be seen is left out. Every byte knows where it came from,
//! so that a place in what is read is a place in the text.

use std::borrow::Cow;
use std::ops::Range;

/// Percent-encoding of percent-encoding, so many times.
const MOST_ENCODINGS: usize = 3;

/// A text as it reads.
#[derive(Debug)]
pub(super) struct Legible<'a> {
    bytes: Cow<'a, [u8]>,
    /// For each byte the place in the text that it came from; none if they are the same.
    places: Option<Vec<Range<u32>>>,
}

impl<'a> Legible<'a> {
    /// As it reads to somebody who knows what an address looks like.
    pub(super) fn of(text: &'a [u8]) -> Legible<'a> {
        let mut legible = Legible { bytes: Cow::Borrowed(text), places: None };
        for _ in 0..MOST_ENCODINGS {
            if !legible.bytes.contains(&b'%') || !legible.decode_percent() {
                break;
            }
        }
        if !legible.bytes.is_ascii() {
            legible.rewrite(|char, into| match plain(char) {
                Plain::Char(plain) => into(plain),
                Plain::Nothing => {}
            });
        }
        legible
    }

    /// The same, whatever the case and however it is spaced; a plus is a space, as in a query.
    pub(super) fn folded(text: &'a [u8]) -> Legible<'a> {
        let mut legible = Legible::of(text);
        let mut spaced = false;
        legible.rewrite(|char, into| {
            let space = char.is_whitespace() || char == '+';
            if !space {
                char.to_lowercase().for_each(into);
            } else if !spaced {
                into(' ');
            }
            spaced = space;
        });
        legible
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The place in the text that a stretch of what is read came from.
    pub(super) fn place(&self, of: &Range<usize>) -> Range<usize> {
        let Some(places) = &self.places else { return of.clone() };
        let first = places.get(of.start).map_or(0, |place| place.start as usize);
        let last = of.end.checked_sub(1).and_then(|last| places.get(last));
        first..last.map_or(first, |place| place.end as usize)
    }

    fn place_of_byte(&self, at: usize) -> Range<u32> {
        match &self.places {
            Some(places) => places.get(at).cloned().unwrap_or_default(),
            None => at as u32..at as u32 + 1,
        }
    }

    /// Tells whether there was something to decode.
    fn decode_percent(&mut self) -> bool {
        let digit = |at: usize| char::from(*self.bytes.get(at)?).to_digit(16);
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut places = Vec::with_capacity(self.bytes.len());
        let mut at = 0;
        let mut decoded = false;
        while let Some(&byte) = self.bytes.get(at) {
            let encoded = if byte == b'%' { digit(at + 1).zip(digit(at + 2)) } else { None };
            let length = if encoded.is_some() { 3 } else { 1 };
            decoded |= encoded.is_some();
            bytes.push(encoded.map_or(byte, |(high, low)| (high * 16 + low) as u8));
            places.push(self.place_of_byte(at).start..self.place_of_byte(at + length - 1).end);
            at += length;
        }
        if decoded {
            (self.bytes, self.places) = (Cow::Owned(bytes), Some(places));
        }
        decoded
    }

    /// Replaces every character; bytes that are none stay.
    fn rewrite(&mut self, mut change: impl FnMut(char, &mut dyn FnMut(char))) {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut places = Vec::with_capacity(self.bytes.len());
        let mut at = 0;
        for chunk in self.bytes.utf8_chunks() {
            for char in chunk.valid().chars() {
                let end = at + char.len_utf8();
                let place = self.place_of_byte(at).start..self.place_of_byte(end - 1).end;
                change(char, &mut |char| {
                    bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                    places.resize(bytes.len(), place.clone());
                });
                at = end;
            }
            for byte in chunk.invalid() {
                bytes.push(*byte);
                places.push(self.place_of_byte(at));
                at += 1;
            }
        }
        (self.bytes, self.places) = (Cow::Owned(bytes), Some(places));
    }
}

/// How a character reads.
enum Plain {
    Char(char),
    /// It cannot be seen.
    Nothing,
}

fn plain(char: char) -> Plain {
    let offset =
        |first: u32, to: char| char::from_u32(u32::from(char) - first + u32::from(to)).unwrap_or(char);
    Plain::Char(match char {
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}'
        | '\u{feff}' => {
            return Plain::Nothing;
        }
        '\u{ff01}'..='\u{ff5e}' => offset(0xff01, '!'),
        '\u{660}'..='\u{669}' => offset(0x660, '0'),
        '\u{6f0}'..='\u{6f9}' => offset(0x6f0, '0'),
        '\u{966}'..='\u{96f}' => offset(0x966, '0'),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' => '-',
        '\u{fe6b}' => '@',
        '\u{2024}' | '\u{3002}' | '\u{ff61}' => '.',
        _ if char.is_whitespace() && !char.is_ascii() => ' ',
        _ => char,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_alike_is_alike() {
        for (text, reads) in [
            ("jane%40x.org", "jane@x.org"),
            ("jane%2540x.org", "jane@x.org"),
            ("50% off, 100%zz %4", "50% off, 100%zz %4"),
            ("\u{ff4a}ane\u{ff20}x\u{ff0e}org", "jane@x.org"),
            ("ja\u{200b}ne\u{ad}@x", "jane@x"),
            ("\u{661}\u{6f2}\u{969}\u{a0}\u{2011}", "123 -"),
            ("%EF%BC%A0", "@"),
        ] {
            assert_eq!(String::from_utf8_lossy(Legible::of(text.as_bytes()).bytes()), reads, "{text}");
        }
        let folded =
            |text: &str| String::from_utf8_lossy(Legible::folded(text.as_bytes()).bytes()).into_owned();
        assert_eq!(folded("Jane \n\t DOE"), "jane doe");
        assert_eq!(folded("Jane+Doe%20%C3%84"), "jane doe ä");
    }

    #[test]
    fn every_place_is_one_of_the_text() {
        let text = "<jane%40x.org> \u{ff11}\u{200b}\u{ff12}";
        let legible = Legible::of(text.as_bytes());
        assert_eq!(legible.bytes(), b"<jane@x.org> 12");
        assert_eq!(&text[legible.place(&(1..11))], "jane%40x.org");
        assert_eq!(&text[legible.place(&(13..14))], "\u{ff11}");
        assert_eq!(&text[legible.place(&(13..15))], "\u{ff11}\u{200b}\u{ff12}");
        // Half of a surrogate pair, as an escape can spell it.
        let broken = b"a\xed\xa0\x80%41";
        let legible = Legible::folded(broken);
        assert_eq!(legible.bytes(), b"a\xed\xa0\x80a");
        assert_eq!(legible.place(&(4..5)), 4..7);
    }
}
